// The core's locks and grace periods (assembly/sync), word for word: a spin lock and a reader-writer lock that sleep when
// it takes long, SRCU and RCU read sections as published epochs.
#pragma once

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"

#define SPIN_LIMIT 100

static __attribute__((noinline)) void park(u32 *word, u32 value) {
  struct timespec slice = {0, 2000000};
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &slice, 0, 0);
}
static __attribute__((noinline)) void wake(u32 *word, int n) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, 0, 0, 0); }

static inline u32 owner_of(char *actor) { return actor_index(actor) + 1; }

#define CONTENDED 0x80000000u

static __attribute__((noinline)) void spin_lock_slow(u32 *lock, char *actor) {
  u32 me = owner_of(actor);
  for (u32 i = 0; i < SPIN_LIMIT; i++) {
    if (LOAD(lock) == 0 && CAS(lock, 0u, me, ACQUIRE) == 0) return;
  }
  for (;;) {
    u32 seen = LOAD(lock);
    if (seen == 0) {
      if (CAS(lock, 0u, me | CONTENDED, ACQUIRE) == 0) return;
    } else if (seen & CONTENDED || CAS(lock, seen, seen | CONTENDED, RELAXED) == seen) {
      park(lock, seen | CONTENDED);
    }
  }
}
static inline void spin_lock(u32 *lock, char *actor) {
  if (unlikely(CAS(lock, 0u, owner_of(actor), ACQUIRE) != 0)) spin_lock_slow(lock, actor);
}
static inline void spin_unlock(u32 *lock, char *actor) {
  u32 found = SWAP(lock, 0u, RELEASE);
  if (unlikely(found != owner_of(actor))) wake(lock, 1);
}

#define WRITER (1u << 31)
#define WRITER_WAITS (1u << 30)
#define READERS 0xffffu
struct rwlock {
  u32 state, owner, waiters;
};

static __attribute__((noinline)) void rw_wake(struct rwlock *l) { wake(&l->state, 1 << 30); }
static inline void read_unlock(struct rwlock *l) {
  u32 found = SUB(&l->state, 1u, RELEASE);
  ensure((found & READERS) != 0, "read lock released by another");
  if (unlikely(found & WRITER_WAITS) && (found & READERS) == 1 && LOAD_FULL(&l->waiters)) rw_wake(l);
}
static __attribute__((noinline)) void read_lock_slow(struct rwlock *l) {
  read_unlock(l);
  ADD(&l->waiters, 1u, FULL);
  u32 spins = 0;
  for (;;) {
    u32 seen = LOAD(&l->state);
    if ((seen & (WRITER | WRITER_WAITS)) == 0) {
      if (CAS(&l->state, seen, seen + 1, ACQUIRE) == seen) break;
    } else if (++spins > SPIN_LIMIT) {
      park(&l->state, seen);
    }
  }
  SUB(&l->waiters, 1u, FULL);
}
static inline void read_lock(struct rwlock *l) {
  if (unlikely(ADD(&l->state, 1u, ACQUIRE) & (WRITER | WRITER_WAITS))) read_lock_slow(l);
}
static __attribute__((noinline)) void write_lock_slow(struct rwlock *l) {
  ADD(&l->waiters, 1u, FULL);
  u32 spins = 0;
  for (;;) {
    u32 seen = LOAD(&l->state);
    if ((seen & (WRITER | READERS)) == 0) {
      if (CAS(&l->state, seen, WRITER, ACQUIRE) == seen) break;
    } else if ((seen & WRITER_WAITS) == 0) {
      CAS(&l->state, seen, seen | WRITER_WAITS, RELAXED);
    } else if (++spins > SPIN_LIMIT) {
      park(&l->state, seen);
    }
  }
  SUB(&l->waiters, 1u, FULL);
}

static inline void write_lock(struct rwlock *l, char *actor) {
  if (unlikely(CAS(&l->state, 0u, WRITER, ACQUIRE) != 0)) write_lock_slow(l);
  STORE(&l->owner, owner_of(actor));
}
static inline void write_unlock(struct rwlock *l, char *actor) {
  ensure(LOAD(&l->owner) == owner_of(actor), "write lock released by another");
  STORE(&l->owner, 0u);
  AND(&l->state, ~WRITER, RELEASE);
  if (unlikely(LOAD_FULL(&l->waiters))) rw_wake(l);
}
static inline int rw_contended(struct rwlock *l) { return LOAD(&l->waiters) != 0; }

static u32 wait_while_equal(u32 *word, u32 value, u32 *waiters) {
  u32 now = LOAD_ACQUIRE(word);
  for (u32 i = 0; now == value && i < SPIN_LIMIT; i++) now = LOAD_ACQUIRE(word);
  if (now != value) return now;
  ADD(waiters, 1u, FULL);
  do {
    park(word, value);
    now = LOAD_ACQUIRE(word);
  } while (now == value);
  SUB(waiters, 1u, FULL);
  return now;
}

static inline void section_enter(char *actor, u32 depth_at, u32 word_at, u32 epoch_at) {
  u32 depth = AT(u32, actor + depth_at);
  AT(u32, actor + depth_at) = depth + 1;
  if (depth == 0) STORE_FULL((u32 *)(actor + word_at), LOAD((u32 *)(M + epoch_at)));
}
static inline void section_leave(char *actor, u32 depth_at, u32 word_at) {
  u32 depth = AT(u32, actor + depth_at) - 1;
  ensure((i32)depth >= 0, "a read section was left that had not been entered");
  AT(u32, actor + depth_at) = depth;
  if (depth == 0) STORE_RELEASE((u32 *)(actor + word_at), 0u);
}
static inline void srcu_lock(char *actor) { section_enter(actor, GRACE_SRCU_DEPTH, GRACE_SRCU, KVM_SRCU_EPOCH); }
static inline void srcu_unlock(char *actor) { section_leave(actor, GRACE_SRCU_DEPTH, GRACE_SRCU); }
static inline void rcu_lock(char *actor) { section_enter(actor, GRACE_RCU_DEPTH, GRACE_RCU, KVM_RCU_EPOCH); }
static inline void rcu_unlock(char *actor) { section_leave(actor, GRACE_RCU_DEPTH, GRACE_RCU); }
