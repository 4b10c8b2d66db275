// The core's locks and grace periods (assembly/sync), word for word: a spin lock and a reader-writer lock that sleep when
// it takes long, SRCU and RCU read sections as published epochs.
#pragma once

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"

#define SPIN_LIMIT 200

// What a spinner does between two looks: the processor has an instruction for it.
static inline void relax(char *actor) {
  (void)actor;
  for (int i = 0; i < 4; i++) __builtin_ia32_pause();
}

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

// Readers say so in a word of their own block; a writer takes the state, then waits for each of those words.
struct rwlock {
  u32 state, waiters, drainers;
};

static __attribute__((noinline)) void rw_wake(u32 *word) { wake(word, 1 << 30); }
static void await_free(struct rwlock *l) {
  for (u32 spins = 0, seen; (seen = LOAD(&l->state)) != 0;) {
    if (++spins > SPIN_LIMIT) park(&l->state, seen);
    else relax(0);
  }
}
static __attribute__((noinline)) void read_lock_slow(struct rwlock *l, u32 *mine) {
  ADD(&l->waiters, 1u, FULL);
  do {
    STORE_RELEASE(mine, 0u);
    if (LOAD_FULL(&l->drainers)) rw_wake(mine);
    await_free(l);
    STORE_FULL(mine, 1u);
  } while (LOAD_ACQUIRE(&l->state) != 0);
  SUB(&l->waiters, 1u, FULL);
}
static inline void read_lock(struct rwlock *l, u32 reader, char *actor) {
  u32 *mine = (u32 *)(actor + reader);
  STORE_FULL(mine, 1u);
  if (unlikely(LOAD_ACQUIRE(&l->state) != 0)) read_lock_slow(l, mine);
}
static inline void read_unlock(struct rwlock *l, u32 reader, char *actor) {
  u32 *mine = (u32 *)(actor + reader);
  ensure(LOAD(mine) != 0, "read lock released by another");
  // A full store: the look at `drainers` must not come first.
  STORE_FULL(mine, 0u);
  if (unlikely(LOAD_FULL(&l->drainers))) rw_wake(mine);
}
static __attribute__((noinline)) void write_lock_slow(struct rwlock *l, u32 me) {
  ADD(&l->waiters, 1u, FULL);
  do await_free(l);
  while (CAS(&l->state, 0u, me, ACQUIRE) != 0);
  SUB(&l->waiters, 1u, FULL);
}
static inline void write_lock(struct rwlock *l, u32 reader, char *actor) {
  u32 me = owner_of(actor);
  if (unlikely(CAS(&l->state, 0u, me, FULL) != 0)) write_lock_slow(l, me);
  for (u32 i = 0, n = ACTOR_COUNT; i < n; i++) {
    u32 *word = (u32 *)(actor_at(i) + reader);
    for (u32 spins = 0; unlikely(LOAD_ACQUIRE(word));) {
      relax(actor);
      if (++spins <= SPIN_LIMIT) continue;
      ADD(&l->drainers, 1u, FULL);
      park(word, 1);
      SUB(&l->drainers, 1u, FULL);
    }
  }
}
static inline void write_unlock(struct rwlock *l, char *actor) {
  ensure(SWAP(&l->state, 0u, RELEASE) == owner_of(actor), "write lock released by another");
  if (unlikely(LOAD_FULL(&l->waiters))) rw_wake(&l->state);
}
static inline int rw_contended(struct rwlock *l) { return LOAD(&l->waiters) != 0; }

static u32 wait_while_equal(u32 *word, u32 value, u32 *waiters, char *actor) {
  u32 now = LOAD_ACQUIRE(word);
  for (u32 i = 0; now == value && i < SPIN_LIMIT; i++) {
    relax(actor);
    now = LOAD_ACQUIRE(word);
  }
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
