// The machine's memory as the core lays it out, for native code: the same structures at the same offsets. `layout.h` is
// generated from the core's own constants (bench/native.mjs), so a field that moves there moves here.
//
// The memory is a private copy of what the WebAssembly machine held. The core's addresses are offsets into it.
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layout.h"

typedef uint8_t u8;
typedef uint32_t u32;
typedef int32_t i32;
typedef uint64_t u64;
typedef int64_t i64;

static char *M;          // address 0 of the core
static char *FRAMES;     // host physical memory
static char *PAGES;      // struct page array
static char *ACTORS;     // vCPUs, then host threads
static char *SLOTS;      // two copies of the memslots
static char *VMAS;       // the VMA table
static char *BATCHES;    // access records
static u64 LIMIT;        // bytes of host physical memory
static u32 FRAME_COUNT, VCPU_COUNT, ACTOR_COUNT, SLOT_MAX, BATCH_SIZE, OPTIONS;
static u64 SLOT_COPY_SIZE;

#define AT(type, address) (*(type *)(address))
#define HEADER(field) AT(u32, M + HEADER_OFFSET_##field)

// The kernel's orderings, as C11 has them: what the core passes to `Ops` as `Order`, in effect here.
#define LOAD(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define LOAD_ACQUIRE(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define LOAD_FULL(p) __atomic_load_n(p, __ATOMIC_SEQ_CST)
#define STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define STORE_RELEASE(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define STORE_FULL(p, v) __atomic_store_n(p, v, __ATOMIC_SEQ_CST)
#define ADD(p, v, order) __atomic_fetch_add(p, v, order)
#define SUB(p, v, order) __atomic_fetch_sub(p, v, order)
#define OR(p, v, order) __atomic_fetch_or(p, v, order)
#define AND(p, v, order) __atomic_fetch_and(p, v, order)
#define SWAP(p, v, order) __atomic_exchange_n(p, v, order)
#define NONE __ATOMIC_RELAXED
#define RELAXED __ATOMIC_RELAXED
#define ACQUIRE __ATOMIC_ACQUIRE
#define RELEASE __ATOMIC_RELEASE
#define FULL __ATOMIC_SEQ_CST
#define WMB() __atomic_thread_fence(__ATOMIC_RELEASE)
#define RMB() __atomic_thread_fence(__ATOMIC_ACQUIRE)
// Compares and swaps; the value found, which equals `expected` on success.
#define CAS(p, expected, value, order)                                                        \
  ({                                                                                          \
    __typeof__(*(p)) found_ = (expected);                                                     \
    __atomic_compare_exchange_n(p, &found_, value, 0, order,                                  \
                                (order) == RELEASE ? __ATOMIC_RELAXED : (order));             \
    found_;                                                                                   \
  })

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

static __attribute__((noreturn, noinline, cold)) void die(const char *what) {
  fprintf(stderr, "twin: %s\n", what);
  _exit(70);
}
static inline void ensure(int condition, const char *what) {
  if (unlikely(!condition)) die(what);
}

struct page {
  i32 refcount, mapcount;
  u32 flags;
  i32 pincount;
  u32 order, head, mapping, lock;
  u64 index;
  u32 next, previous, pgmap, rmap, own, epoch;
};
_Static_assert(sizeof(struct page) == PAGE_STRUCT_SIZE && offsetof(struct page, flags) == PAGE_FLAGS &&
                   offsetof(struct page, head) == PAGE_HEAD && offsetof(struct page, lock) == PAGE_LOCK &&
                   offsetof(struct page, next) == PAGE_NEXT && offsetof(struct page, own) == PAGE_OWN &&
                   offsetof(struct page, epoch) == PAGE_EPOCH,
               "struct page is not the core's");

static inline char *actor_at(u32 index) { return ACTORS + ((u64)index << ACTOR_SHIFT); }
static inline u32 actor_index(char *actor) { return (u32)((actor - ACTORS) >> ACTOR_SHIFT); }
static inline struct page *page_at(u32 pfn) { return (struct page *)(PAGES + ((u64)pfn << PAGE_STRUCT_SHIFT)); }
static inline u32 pfn_of_page(struct page *page) { return (u32)(((char *)page - PAGES) >> PAGE_STRUCT_SHIFT); }
static inline char *frame_at(u32 pfn) { return FRAMES + ((u64)pfn << PAGE_SHIFT); }
static inline u32 pfn_of(void *address) { return (u32)(((char *)address - FRAMES) >> PAGE_SHIFT); }
static inline int has(u32 option) { return (OPTIONS & option) != 0; }
static inline u64 *stat_of(char *actor, u32 stat) { return (u64 *)(actor + ACTOR_STATS + (stat << 3)); }
static inline void count(char *actor, u32 stat, u64 n) { *stat_of(actor, stat) += n; }

static void attach(char *memory) {
  M = memory;
  ACTORS = M + HEADER(ACTORS_BASE);
  SLOTS = M + HEADER(SLOTS_BASE);
  VMAS = M + HEADER(VMAS_BASE);
  BATCHES = M + HEADER(BATCHES_BASE);
  PAGES = M + HEADER(PAGES_BASE);
  FRAMES = M + HEADER(FRAMES_BASE);
  FRAME_COUNT = HEADER(FRAME_COUNT);
  VCPU_COUNT = HEADER(VCPU_COUNT);
  ACTOR_COUNT = VCPU_COUNT + HEADER(HOST_COUNT);
  SLOT_MAX = HEADER(SLOT_MAX);
  BATCH_SIZE = HEADER(BATCH_SIZE);
  OPTIONS = HEADER(OPTIONS);
  LIMIT = (u64)FRAME_COUNT << PAGE_SHIFT;
  u64 copy = SLOTS_HEAD_SIZE + ((u64)SLOT_MAX << SLOT_SHIFT) + ((u64)SLOT_MAX << SLOT_BY_HVA_SHIFT);
  SLOT_COPY_SIZE = (copy + 63) & ~63ull;
}
