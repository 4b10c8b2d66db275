// The load generators of the core (assembly/drive): populate, cycle and invalidate, of a sequential window.
#pragma once

#include "kvm.h"

#define STOP_MASK 63

struct drive {
  u64 random0, random1, gva;
  u32 steps, stride_shift, workload, write_share, position, step_bits;
  u64 key;
  u32 set_steps, set_move, set_period, set_left, set_first, status, given_up, late_hits, visited;
  u64 sink, hva_of_gpa;
  u32 chunk_pages, chunk_next, chunk_left, host_status;
  u64 span_hva;
  u32 span_total, span_pages, span_order, span_next;
};
_Static_assert(ACTOR_DRIVE + offsetof(struct drive, status) == DRIVE_OFFSET_STATUS &&
                   ACTOR_DRIVE + offsetof(struct drive, host_status) == DRIVE_OFFSET_HOST_STATUS,
               "struct drive is not the core's");
static inline struct drive *drive_of(char *actor) { return (struct drive *)(actor + ACTOR_DRIVE); }

// The region that the guest kernel backs: neighbours in gva are neighbours in gpa.
static u64 REGION_START, REGION_GPA;

// xoroshiro128+.
static inline u64 next_random(struct drive *d) {
  u64 s0 = d->random0, mixed = s0 ^ d->random1, draw = s0 + d->random1;
  d->random0 = (s0 << 24 | s0 >> 40) ^ mixed ^ (mixed << 16);
  d->random1 = mixed << 37 | mixed >> 27;
  return draw;
}
static inline int draws_write(struct drive *d, u64 draw) { return (u32)draw >> 16 < d->write_share; }
static inline u64 step_gva(struct drive *d, u32 i) {
  return d->gva + ((u64)i << d->stride_shift) + (((u64)i << 6) & 0xfc0);
}
static inline int stopped(void) { return LOAD(WORD(HEADER_STOP)) != 0; }

static inline char *touch_hit(char *vcpu, u64 gva, u32 access) {
  return likely(LOAD(requests_of(vcpu)) == 0) ? tlb_hit(vcpu, gva, access) : 0;
}
static __attribute__((noinline)) char *reach_slow(char *vcpu, u64 gva, u32 access) {
  char *host = guest_address(vcpu, gva, access);
  if (!host) die("the guest faulted: its tables are to be complete in these questions");
  return host;
}
static inline void end_drive(char *vcpu, u32 done, u32 misses) {
  end_run(vcpu);
  count(vcpu, Stat_Accesses, done);
  count(vcpu, Stat_TlbHits, done - misses);
}

// One access; 1 if it missed the TLB.
static inline u32 touch_once(char *vcpu, u64 gva, int write, u64 value) {
  char *host = touch_hit(vcpu, gva, (u32)write);
  u32 missed = host == 0;
  if (missed) host = reach_slow(vcpu, gva, (u32)write);
  if (write) AT(u64, host) = value;
  else drive_of(vcpu)->sink ^= AT(u64, host);
  return missed;
}

static u32 drive_populate(char *vcpu, u32 n) {
  struct drive *d = drive_of(vcpu);
  d->given_up = 0;
  d->status = 0;
  begin_run(vcpu);
  u32 misses = 0, done = 0;
  for (; done < n; done++) {
    if ((done & STOP_MASK) == 0 && stopped()) break;
    if (d->visited == d->steps) break;
    u64 draw = next_random(d);
    misses += touch_once(vcpu, step_gva(d, d->visited), draws_write(d, draw), draw);
    d->visited++;
  }
  end_drive(vcpu, done, misses);
  return done;
}

static void prepare_cycle(char *vcpu) {
  struct drive *d = drive_of(vcpu);
  if (d->chunk_left) return;
  if (d->chunk_next == d->steps) d->chunk_next = 0;
  u32 n = d->chunk_pages ? d->chunk_pages : 1, left = d->steps - d->chunk_next;
  if (n > left) n = left;
  u64 size = 1ull << d->stride_shift, gva = d->gva + ((u64)d->chunk_next << d->stride_shift);
  host_dontneed(vcpu, d->hva_of_gpa + REGION_GPA + (gva - REGION_START), size * n);
  d->chunk_next += n;
  d->chunk_left = n;
}
static u32 refault_chunk(char *vcpu, u32 limit) {
  struct drive *d = drive_of(vcpu);
  d->given_up = 0;
  d->status = 0;
  begin_run(vcpu);
  u32 n = limit < d->chunk_left ? limit : d->chunk_left, misses = 0, done = 0;
  for (; done < n; done++) {
    if ((done & STOP_MASK) == 0 && stopped()) break;
    u64 draw = next_random(d);
    misses += touch_once(vcpu, step_gva(d, d->chunk_next - d->chunk_left), draws_write(d, draw), draw);
    d->chunk_left--;
  }
  end_drive(vcpu, done, misses);
  return done;
}
static u32 drive_cycle(char *vcpu, u32 n) {
  u32 done = 0;
  while (done < n) {
    prepare_cycle(vcpu);
    done += refault_chunk(vcpu, n - done);
    if (stopped()) break;
  }
  return done;
}

static u32 drive_invalidate(char *actor, u32 n) {
  struct drive *d = drive_of(actor);
  u32 pages = d->span_pages < d->span_total ? d->span_pages : d->span_total;
  for (u32 done = 0; done < n; done++) {
    if (stopped()) return done;
    u32 places = d->span_total - pages + 1, first;
    if (d->span_order == Workload_Uniform) {
      first = (u32)(((next_random(d) >> 32) * places) >> 32);
    } else {
      first = d->span_next < places ? d->span_next : 0;
      d->span_next = first + pages;
    }
    host_dontneed(actor, d->span_hva + ((u64)first << PAGE_SHIFT), (u64)pages << PAGE_SHIFT);
  }
  return n;
}
