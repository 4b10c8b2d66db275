// The KVM of the core (assembly/kvm), in C: memslots, the fault as snapshot, resolve and commit, TDP tables, invalidation,
// remote flush, and the vCPU's run loop. Profile v6.13, every rule in force, 4 KiB pages.
#pragma once

#include "host.h"
#include "walk.h"

#define MMU_LOCK ((struct rwlock *)(M + KVM_MMU_LOCK))
#define WORD(address) ((u32 *)(M + (address)))
#define WORD64(address) ((u64 *)(M + (address)))

struct fault {
  u64 gpa, gfn, hva;
  u32 seq, pfn, slot, write, host_writable, goal_shift, early_shift, wait_ends, managed, root, slot_hint;
  u64 value;
};
_Static_assert(offsetof(struct fault, value) == FAULT_OFFSET_VALUE, "struct fault is not the core's");
static inline struct fault *fault_of(char *vcpu) { return (struct fault *)(vcpu + ACTOR_FAULT); }

struct slot {
  u64 base_gfn, npages, hva;
  u32 id, flags;
};
_Static_assert(sizeof(struct slot) == 1 << SLOT_SHIFT && offsetof(struct slot, hva) == SLOT_OFFSET_HVA &&
                   offsetof(struct slot, flags) == SLOT_OFFSET_FLAGS,
               "a memslot is not the core's");
struct slot_by_hva {
  u64 max_end;
  u32 position, pad;
};

// --- memslots ---

static inline char *active_slots(void) { return SLOTS + LOAD_ACQUIRE(WORD(KVM_SLOTS_ACTIVE)) * SLOT_COPY_SIZE; }
static inline u32 slot_count(char *copy) { return AT(u32, copy); }
static inline struct slot *slot_at(char *copy, u32 i) {
  return (struct slot *)(copy + SLOTS_HEAD_SIZE + ((u64)i << SLOT_SHIFT));
}
static inline struct slot_by_hva *slot_by_hva(char *copy, u32 i) {
  return (struct slot_by_hva *)(copy + SLOTS_HEAD_SIZE + ((u64)SLOT_MAX << SLOT_SHIFT) + ((u64)i << SLOT_BY_HVA_SHIFT));
}
static struct slot *find_slot(char *vcpu, u64 gfn) {
  char *copy = active_slots();
  u32 hint = fault_of(vcpu)->slot_hint;
  if (hint < slot_count(copy)) {
    struct slot *s = slot_at(copy, hint);
    if (gfn - s->base_gfn < s->npages) return s;
  }
  u32 low = 0, high = slot_count(copy);
  while (low < high) {
    u32 middle = (low + high) >> 1;
    if (slot_at(copy, middle)->base_gfn <= gfn) low = middle + 1;
    else high = middle;
  }
  if (low == 0) return 0;
  struct slot *s = slot_at(copy, low - 1);
  if (gfn - s->base_gfn >= s->npages) return 0;
  fault_of(vcpu)->slot_hint = low - 1;
  return s;
}
static u32 slots_below(char *copy, u64 end) {
  u32 low = 0, high = slot_count(copy);
  while (low < high) {
    u32 middle = (low + high) >> 1;
    if (slot_at(copy, slot_by_hva(copy, middle)->position)->hva < end) low = middle + 1;
    else high = middle;
  }
  return low;
}

// --- SPTEs and TDP tables ---

#define ROOT_SHIFT 39
static inline int spte_present(u64 e) { return (e & SPTE_SHADOW_PRESENT) != 0; }
static inline int spte_leaf(u64 e, u32 shift) { return shift == 12 || (e & SPTE_PS) != 0; }
static inline u32 spte_pfn(u64 e) { return (u32)((e & 0x000ffffffffff000ull) >> 12); }
static inline u64 spte_link(u32 pfn) {
  return ((u64)pfn << 12) | SPTE_R | SPTE_W | SPTE_X | SPTE_A | SPTE_SHADOW_PRESENT;
}
static inline u64 spte_make(u32 pfn, int host_writable, int slot_writable, int write) {
  u64 e = ((u64)pfn << 12) | SPTE_R | SPTE_X | SPTE_MEMTYPE_WB | SPTE_IPAT | SPTE_A | SPTE_SHADOW_PRESENT;
  if (host_writable) {
    e |= SPTE_HOST_WRITABLE;
    if (slot_writable) e |= SPTE_MMU_WRITABLE | SPTE_W;
  }
  if (write) e |= SPTE_D;
  return e;
}
static inline u64 *sptep_of(char *table, u64 gfn, u32 shift) {
  return (u64 *)(table + (((u32)(gfn >> (shift - 12)) & 511) << 3));
}
static __attribute__((noinline)) int link_tdp_table(char *actor, u64 *sptep, u64 found, u64 gfn, u32 shift) {
  if (spte_present(found)) die("huge leaves are not in this twin");
  u32 pfn = take_table(actor);
  struct page *p = page_at(pfn);
  p->flags = PageFlag_KvmTable;
  p->own = shift - 9;
  p->index = (gfn >> (shift - 12)) << (shift - 12);
  p->mapcount = 0;
  ADD(WORD(KVM_TABLE_COUNT), 1u, NONE);
  if (CAS(sptep, found, spte_link(pfn), FULL) == found) {
    count(actor, Stat_TablesLinked, 1);
    return 1;
  }
  SUB(WORD(KVM_TABLE_COUNT), 1u, NONE);
  p->flags = 0;
  give_table(actor, pfn);
  return 0;
}

enum { INSTALLED_FIXED, INSTALLED_SPURIOUS, INSTALLED_RACED };

static inline int install_at(u64 *sptep, u64 found, struct fault *f) {
  int slot_writable = (((struct slot *)(M + f->slot))->flags & SlotFlag_ReadOnly) == 0;
  u64 spte = spte_make(f->pfn, f->host_writable != 0, slot_writable, f->write != 0);
  if (spte_present(found)) {
    ensure(spte_pfn(found) == f->pfn, "a present leaf would change its pfn");
    if (f->write == 0 || found & SPTE_W) return INSTALLED_SPURIOUS;
  }
  return CAS(sptep, found, spte, FULL) == found ? INSTALLED_FIXED : INSTALLED_RACED;
}
static inline int install_leaf_locked(char *actor) {
  struct fault *f = fault_of(actor);
  u64 gfn = f->gfn;
  u32 goal = f->goal_shift;
  rcu_lock(actor);
  char *table = frame_at(f->root);
  int result = INSTALLED_RACED;
  for (u32 shift = ROOT_SHIFT;;) {
    u64 *sptep = sptep_of(table, gfn, shift);
    u64 e = LOAD_ACQUIRE(sptep);
    if (e == SPTE_FROZEN) break;
    if (shift == goal) {
      result = install_at(sptep, e, f);
      break;
    }
    if (spte_present(e) && !spte_leaf(e, shift)) {
      table = frame_at(spte_pfn(e));
      shift -= 9;
      continue;
    }
    if (!link_tdp_table(actor, sptep, e, gfn, shift)) break;
  }
  rcu_unlock(actor);
  return result;
}

// --- requests and the remote flush ---

static inline u32 *requests_of(char *vcpu) { return (u32 *)(vcpu + CONTROL_REQUESTS); }
static inline u32 *mode_of(char *vcpu) { return (u32 *)(vcpu + CONTROL_MODE); }

static void request_all(char *actor, u32 request) {
  for (u32 i = 0; i < VCPU_COUNT; i++) {
    char *vcpu = actor_at(i);
    OR(requests_of(vcpu), request, FULL);
    if (vcpu == actor) continue;
    u32 mode = CAS(mode_of(vcpu), (u32)VcpuMode_InGuest, (u32)VcpuMode_ExitingGuest, FULL);
    if (mode == VcpuMode_InGuest) count(actor, Stat_Ipis, 1);
  }
  for (u32 i = 0; i < VCPU_COUNT; i++) {
    char *vcpu = actor_at(i);
    if (vcpu == actor) continue;
    wait_while_equal(mode_of(vcpu), VcpuMode_ExitingGuest, (u32 *)(vcpu + CONTROL_MODE_WAITERS), actor);
  }
}
static void flush_remote_tlbs(char *actor) {
  count(actor, Stat_RemoteFlushes, 1);
  request_all(actor, Request_TlbFlush);
}

// --- invalidation ---

#define ENTRIES_PER_YIELD 64
static int zap_range_locked(char *actor, u32 root, u64 start, u64 end, int flush) {
  u64 gfn = start;
  u32 looked = 0;
  while (gfn < end) {
    char *table = frame_at(root);
    u32 shift = ROOT_SHIFT;
    u64 *sptep = sptep_of(table, gfn, shift);
    u64 e = LOAD(sptep);
    while (spte_present(e) && !spte_leaf(e, shift)) {
      table = frame_at(spte_pfn(e));
      shift -= 9;
      sptep = sptep_of(table, gfn, shift);
      e = LOAD(sptep);
    }
    u64 span = 1ull << (shift - 12);
    do {
      if (looked >= ENTRIES_PER_YIELD && rw_contended(MMU_LOCK)) {
        if (flush) flush_remote_tlbs(actor);
        flush = 0;
        write_unlock(MMU_LOCK, actor);
        count(actor, Stat_Yields, 1);
        for (u32 i = 0; i < SPIN_LIMIT && rw_contended(MMU_LOCK); i++) relax(actor);
        write_lock(MMU_LOCK, GRACE_MMU_READER, actor);
        looked = 0;
        break;
      }
      if (spte_present(e)) {
        if (!spte_leaf(e, shift)) break;
        u64 old = SWAP(sptep, (u64)SPTE_NONPRESENT, FULL);
        if (old & SPTE_D) {
          u32 *flags = &head_of(page_at(spte_pfn(old)))->flags;
          if ((LOAD(flags) & PageFlag_Dirty) == 0) OR(flags, (u32)PageFlag_Dirty, NONE);
        }
        count(actor, Stat_LeavesZapped, 1);
        flush = 1;
      }
      looked++;
      gfn = (gfn & ~(span - 1)) + span;
      sptep++;
      if (gfn >= end || ((uintptr_t)sptep & (PAGE_SIZE - 1)) == 0) break;
      e = LOAD(sptep);
    } while (1);
  }
  return flush;
}
static int zap_gfn_range_locked(char *actor, u64 start, u64 end, int flush) {
  for (u32 root = LOAD(WORD(KVM_ROOTS_HEAD)); root; root = page_at(root)->next) {
    ADD(&page_at(root)->mapcount, 1, NONE);
    flush = zap_range_locked(actor, root, start, end, flush);
    i32 old = SUB(&page_at(root)->mapcount, 1, FULL);
    ensure(old > 1, "a root was put more often than taken");
  }
  return flush;
}
static void begin_locked(void) {
  u32 open = LOAD(WORD(KVM_INVALIDATE_IN_PROGRESS)) + 1;
  if (open == 1) {
    STORE(WORD64(KVM_INVALIDATE_RANGE_START), (u64)RANGE_SENTINEL);
    STORE(WORD64(KVM_INVALIDATE_RANGE_END), 0ull);
  }
  STORE(WORD(KVM_INVALIDATE_IN_PROGRESS), open);
}
static void add_range_locked(u64 start, u64 end) {
  if (start < LOAD(WORD64(KVM_INVALIDATE_RANGE_START))) STORE(WORD64(KVM_INVALIDATE_RANGE_START), start);
  if (end > LOAD(WORD64(KVM_INVALIDATE_RANGE_END))) STORE(WORD64(KVM_INVALIDATE_RANGE_END), end);
}
static void invalidate_start(char *actor, u64 start, u64 end) {
  count(actor, Stat_Invalidations, 1);
  spin_lock(WORD(KVM_MN_INVALIDATE_LOCK), actor);
  ADD(WORD(KVM_MN_ACTIVE_COUNT), 1u, NONE);
  spin_unlock(WORD(KVM_MN_INVALIDATE_LOCK), actor);
  srcu_lock(actor);
  int locked = 0, flush = 0;
  char *slots = active_slots();
  for (u32 i = slots_below(slots, end); i > 0; i--) {
    struct slot_by_hva *row = slot_by_hva(slots, i - 1);
    if (row->max_end <= start) break;
    struct slot *s = slot_at(slots, row->position);
    u64 slot_end = s->hva + (s->npages << 12);
    if (slot_end <= start) continue;
    if (!locked) {
      write_lock(MMU_LOCK, GRACE_MMU_READER, actor);
      begin_locked();
      locked = 1;
    }
    u64 from = start > s->hva ? start : s->hva, to = end < slot_end ? end : slot_end;
    u64 gfn = s->base_gfn + ((from - s->hva) >> 12), gfn_end = s->base_gfn + ((to - s->hva + 4095) >> 12);
    add_range_locked(gfn, gfn_end);
    flush = zap_gfn_range_locked(actor, gfn, gfn_end, flush);
  }
  if (flush) flush_remote_tlbs(actor);
  if (locked) write_unlock(MMU_LOCK, actor);
  srcu_unlock(actor);
}
static int any_slot_overlaps(u64 start, u64 end) {
  char *slots = active_slots();
  for (u32 i = slots_below(slots, end); i > 0; i--) {
    struct slot_by_hva *row = slot_by_hva(slots, i - 1);
    if (row->max_end <= start) return 0;
    struct slot *s = slot_at(slots, row->position);
    if (s->hva + (s->npages << 12) > start) return 1;
  }
  return 0;
}
static void invalidate_end(char *actor, u64 start, u64 end) {
  srcu_lock(actor);
  if (any_slot_overlaps(start, end)) {
    write_lock(MMU_LOCK, GRACE_MMU_READER, actor);
    STORE(WORD(KVM_INVALIDATE_SEQ), LOAD(WORD(KVM_INVALIDATE_SEQ)) + 1);
    WMB();
    u32 open = LOAD(WORD(KVM_INVALIDATE_IN_PROGRESS));
    ensure(open != 0, "in_progress would become negative");
    STORE(WORD(KVM_INVALIDATE_IN_PROGRESS), open - 1);
    STORE_RELEASE(WORD(KVM_INVALIDATE_ENDS), LOAD(WORD(KVM_INVALIDATE_ENDS)) + 1);
    write_unlock(MMU_LOCK, actor);
    if (LOAD_FULL(WORD(KVM_INVALIDATE_WAITERS))) wake(WORD(KVM_INVALIDATE_ENDS), 1 << 30);
  }
  srcu_unlock(actor);
  spin_lock(WORD(KVM_MN_INVALIDATE_LOCK), actor);
  u32 open = SUB(WORD(KVM_MN_ACTIVE_COUNT), 1u, NONE);
  ensure(open != 0, "active count would become negative");
  spin_unlock(WORD(KVM_MN_INVALIDATE_LOCK), actor);
  if (open == 1 && LOAD_FULL(WORD(KVM_MN_ACTIVE_WAITERS))) wake(WORD(KVM_MN_ACTIVE_COUNT), 1 << 30);
  if (LOAD(WORD(KVM_DEFERRED_COUNT))) die("no table is freed in these questions");
}

// --- the fault ---

enum { RETRY_NONE, RETRY_COUNT, RETRY_SEQ };
static inline int retry_reason(char *actor) {
  struct fault *f = fault_of(actor);
  f->wait_ends = LOAD_ACQUIRE(WORD(KVM_INVALIDATE_ENDS));
  if (LOAD(WORD(KVM_INVALIDATE_IN_PROGRESS)) != 0) {
    u64 start = LOAD(WORD64(KVM_INVALIDATE_RANGE_START)), end = LOAD(WORD64(KVM_INVALIDATE_RANGE_END));
    if (start >= end || (f->gfn >= start && f->gfn < end)) return RETRY_COUNT;
  }
  RMB();
  return LOAD(WORD(KVM_INVALIDATE_SEQ)) != f->seq ? RETRY_SEQ : RETRY_NONE;
}
static inline u32 retry_result(int reason) {
  if (reason == RETRY_NONE) return FaultResult_Continue;
  return reason == RETRY_COUNT ? FaultResult_RetryCount : FaultResult_RetrySeq;
}
static inline u32 resolve(char *vcpu) {
  struct fault *f = fault_of(vcpu);
  struct slot *s = find_slot(vcpu, f->gfn);
  if (s == 0) return FaultResult_Mmio;
  if (s->flags & SlotFlag_Invalid) return FaultResult_RetryRoot;
  if (f->write && s->flags & SlotFlag_ReadOnly) return FaultResult_Mmio;
  f->slot = (u32)((char *)s - M);
  f->hva = s->hva + ((f->gfn - s->base_gfn) << 12);
  u32 stale = retry_result(retry_reason(vcpu));
  if (stale != FaultResult_Continue) return stale;
  u64 found = gup(vcpu, f->hva, f->write != 0);
  if (gup_status(found) != HostStatus_Ok) return FaultResult_HostFault;
  f->pfn = (u32)found;
  f->host_writable = (found & GUP_WRITABLE) != 0;
  return FaultResult_Continue;
}
static inline void release_page(char *vcpu, struct fault *f, int installed) {
  struct page *p = head_of(page_at(f->pfn));
  if (installed && f->host_writable && (LOAD(&p->flags) & PageFlag_Dirty) == 0) OR(&p->flags, (u32)PageFlag_Dirty, NONE);
  put_page(p, vcpu);
}
static inline u32 commit(char *vcpu) {
  struct fault *f = fault_of(vcpu);
  u32 stale = retry_result(retry_reason(vcpu));
  if (stale != FaultResult_Continue) {
    release_page(vcpu, f, 0);
    return stale;
  }
  read_lock(MMU_LOCK, GRACE_MMU_READER, vcpu);
  stale = LOAD_ACQUIRE(&page_at(f->root)->flags) & PageFlag_RootInvalid ? (u32)FaultResult_RetryRoot
                                                                         : retry_result(retry_reason(vcpu));
  if (stale != FaultResult_Continue) {
    read_unlock(MMU_LOCK, GRACE_MMU_READER, vcpu);
    release_page(vcpu, f, 0);
    return stale;
  }
  f->goal_shift = 12;
  if (has(MachineOption_HugePages)) die("huge pages are not in this twin");
  int installed = install_leaf_locked(vcpu);
  release_page(vcpu, f, installed != INSTALLED_RACED);
  read_unlock(MMU_LOCK, GRACE_MMU_READER, vcpu);
  if (installed == INSTALLED_RACED) return FaultResult_RetryRace;
  return installed == INSTALLED_FIXED ? FaultResult_Fixed : FaultResult_Spurious;
}
static u32 tdp_page_fault(char *vcpu, u64 gpa, int write) {
  struct fault *f = fault_of(vcpu);
  f->gpa = gpa;
  f->gfn = gpa >> 12;
  f->write = (u32)write;
  count(vcpu, Stat_Faults, 1);
  top_up_tables(vcpu, 3);
  f->seq = LOAD(WORD(KVM_INVALIDATE_SEQ));
  RMB();
  u32 result = resolve(vcpu);
  if (result == FaultResult_Continue) result = commit(vcpu);
  switch (result) {
    case FaultResult_Fixed: count(vcpu, Stat_FaultsFixed, 1); break;
    case FaultResult_Spurious: count(vcpu, Stat_FaultsSpurious, 1); break;
    case FaultResult_RetryCount: count(vcpu, Stat_RetriesCount, 1); break;
    case FaultResult_RetrySeq: count(vcpu, Stat_RetriesSeq, 1); break;
    case FaultResult_RetryRoot: count(vcpu, Stat_RetriesRoot, 1); break;
    case FaultResult_RetryRace: count(vcpu, Stat_RetriesRace, 1); break;
    default: die("a fault of a page without memory");
  }
  return result;
}
static inline int still_open(struct fault *f) {
  return LOAD_ACQUIRE(WORD(KVM_INVALIDATE_IN_PROGRESS)) != 0 && LOAD_ACQUIRE(WORD(KVM_INVALIDATE_ENDS)) == f->wait_ends;
}
static void wait_for_invalidation(char *vcpu) {
  struct fault *f = fault_of(vcpu);
  if (has(MachineOption_SpinOnRetry) || !still_open(f)) return;
  count(vcpu, Stat_RetryWaits, 1);
  for (u32 i = 0; i < SPIN_LIMIT; i++) {
    relax(vcpu);
    if (!still_open(f)) return;
  }
  ADD(WORD(KVM_INVALIDATE_WAITERS), 1u, FULL);
  while (still_open(f)) park(WORD(KVM_INVALIDATE_ENDS), f->wait_ends);
  SUB(WORD(KVM_INVALIDATE_WAITERS), 1u, FULL);
}

// --- the vCPU ---

static void service_requests(char *vcpu) {
  u32 requests = SWAP(requests_of(vcpu), 0u, FULL);
  if (requests & ~Request_TlbFlush) die("only flushes are requested in these questions");
  tlb_flush_all(vcpu);
  count(vcpu, Stat_TlbFlushes, 1);
}
static inline void leave_guest_mode(char *vcpu) {
  STORE_RELEASE(mode_of(vcpu), (u32)VcpuMode_OutsideGuest);
  if (unlikely(LOAD((u32 *)(vcpu + CONTROL_MODE_WAITERS)))) wake(mode_of(vcpu), 1 << 30);
}
static inline void enter_guest(char *vcpu) {
  for (;;) {
    if (LOAD_ACQUIRE(requests_of(vcpu))) service_requests(vcpu);
    ensure(fault_of(vcpu)->root != 0, "the vCPU has no root");
    STORE_FULL(mode_of(vcpu), (u32)VcpuMode_InGuest);
    if (LOAD_ACQUIRE(requests_of(vcpu)) == 0) break;
    leave_guest_mode(vcpu);
  }
  srcu_unlock(vcpu);
}
static inline void exit_guest(char *vcpu) {
  leave_guest_mode(vcpu);
  srcu_lock(vcpu);
  count(vcpu, Stat_Exits, 1);
}
static __attribute__((noinline)) char *address_miss(char *vcpu, u64 gva, u32 access) {
  for (;;) {
    if (LOAD(requests_of(vcpu))) {
      exit_guest(vcpu);
      enter_guest(vcpu);
    }
    char *host = translate_miss(vcpu, gva, access);
    if (host) return host;
    if (AT(u32, vcpu + WALK_OUTCOME) != Outcome_EptViolation) return 0;
    u64 gpa = AT(u64, vcpu + WALK_GPA);
    int write = (AT(u32, vcpu + WALK_ERROR) & 2) != 0;
    exit_guest(vcpu);
    u32 result = tdp_page_fault(vcpu, gpa, write);
    if (result == FaultResult_RetryCount) {
      srcu_unlock(vcpu);
      wait_for_invalidation(vcpu);
      srcu_lock(vcpu);
    }
    enter_guest(vcpu);
  }
}
static inline char *guest_address(char *vcpu, u64 gva, u32 access) {
  if (likely(LOAD(requests_of(vcpu)) == 0)) {
    char *host = tlb_hit(vcpu, gva, access);
    if (host) return host;
  }
  return address_miss(vcpu, gva, access);
}
static inline int guest_store(char *vcpu, u64 gva, u64 value) {
  char *at = guest_address(vcpu, gva, Access_Write);
  if (at == 0) return 0;
  AT(u64, at) = value;
  count(vcpu, Stat_Accesses, 1);
  return 1;
}
static inline void begin_run(char *vcpu) {
  srcu_lock(vcpu);
  enter_guest(vcpu);
}
static inline void end_run(char *vcpu) { leave_guest_mode(vcpu); }
