// struct kvm: the virtual machine of the machine. Words that different actors hammer lie 128 bytes apart.
//
//     0  mmu_lock                              256  active invalidations, slots_lock
//   128  the retry protocol                    384  roots, memslot pointer, grace periods
//   512  pfn caches (layout/pfncache.ts)      2048  the guest kernel (layout/guest.ts)

import { Header, HEADER_BASE, HEADER_SIZE } from "./header";

export const KVM_BASE: usize = HEADER_BASE + HEADER_SIZE;
export const KVM_SIZE: usize = 4096;

/** mmu_lock: an rwlock (sync/rwlock.ts). A profile whose mmu_lock is a spin lock takes it for write only. */
export const KVM_MMU_LOCK: usize = KVM_BASE;

const RETRY: usize = KVM_BASE + 128;
const ACTIVE: usize = KVM_BASE + 256;
const ROOTS: usize = KVM_BASE + 384;

@unmanaged
class RetryLine {
  /** Completed invalidations; raised under mmu_lock (write) in `end`. */
  seq: u32;
  /** Open invalidations that touch a memslot; mmu_lock (write). */
  inProgress: u32;
  /** Union of the gfn ranges of all open invalidations; the sentinel when the count leaves 0. */
  rangeStart: u64;
  /** Exclusive. */
  rangeEnd: u64;
  /** Faults that sleep on `ends`. */
  waiters: u32;
  /** The last word that an `end` writes, raised by each: not KVM's. A fault that must retry sleeps on it. */
  ends: u32;
}
export const KVM_INVALIDATE_SEQ: usize = RETRY + offsetof<RetryLine>("seq");
export const KVM_INVALIDATE_IN_PROGRESS: usize = RETRY + offsetof<RetryLine>("inProgress");
export const KVM_INVALIDATE_RANGE_START: usize = RETRY + offsetof<RetryLine>("rangeStart");
export const KVM_INVALIDATE_RANGE_END: usize = RETRY + offsetof<RetryLine>("rangeEnd");
export const KVM_INVALIDATE_WAITERS: usize = RETRY + offsetof<RetryLine>("waiters");
export const KVM_INVALIDATE_ENDS: usize = RETRY + offsetof<RetryLine>("ends");
/** Start of a range union that holds nothing: no gfn is at or above it. End is then 0. */
export const RANGE_SENTINEL: u64 = u64.MAX_VALUE;

@unmanaged
class ActiveLine {
  /** mn_invalidate_lock: guards `count`, and the store of the memslot pointer. Spin lock. */
  lock: u32;
  /** mn_active_invalidate_count: open invalidations, whether or not they touch a memslot. */
  count: u32;
  /** Memslot updaters that sleep until `count` is 0. */
  waiters: u32;
  /** slots_lock, a mutex: memslot updates, one at a time. */
  slotsLock: u32;
  /** slots_arch_lock, a mutex: copy of the slot array that is being changed. */
  slotsArchLock: u32;
}
export const KVM_MN_INVALIDATE_LOCK: usize = ACTIVE + offsetof<ActiveLine>("lock");
export const KVM_MN_ACTIVE_COUNT: usize = ACTIVE + offsetof<ActiveLine>("count");
export const KVM_MN_ACTIVE_WAITERS: usize = ACTIVE + offsetof<ActiveLine>("waiters");
export const KVM_SLOTS_LOCK: usize = ACTIVE + offsetof<ActiveLine>("slotsLock");
export const KVM_SLOTS_ARCH_LOCK: usize = ACTIVE + offsetof<ActiveLine>("slotsArchLock");

@unmanaged
class RootsLine {
  /** Active copy of the memslot array: 0 or 1. Readers hold kvm.srcu. */
  slotsActive: u32;
  /** memslots.generation: even when stable, odd while an update is under way. A fault that met it sleeps on this word. */
  generation: u32;
  /** First TDP root of the list (pfn), invalid roots included; linked by page.next under mmu_lock (write). */
  rootsHead: u32;
  /** The root that a vCPU without one loads (pfn), 0 for none yet; mmu_lock (write). */
  currentRoot: u32;
  /** Epoch of SRCU grace periods; 0 never occurs. */
  srcuEpoch: u32;
  /** Epoch of RCU grace periods; 0 never occurs. */
  rcuEpoch: u32;
  /** Table pages of the secondary MMU in use, roots included. */
  tableCount: u32;
  /** rcu free list: guarded by `deferredLock`. Head pfn, linked by page.next, epoch in page.own. */
  deferredHead: u32;
  deferredLock: u32;
  deferredCount: u32;
}
export const KVM_SLOTS_ACTIVE: usize = ROOTS + offsetof<RootsLine>("slotsActive");
export const KVM_GENERATION: usize = ROOTS + offsetof<RootsLine>("generation");
export const KVM_ROOTS_HEAD: usize = ROOTS + offsetof<RootsLine>("rootsHead");
export const KVM_CURRENT_ROOT: usize = ROOTS + offsetof<RootsLine>("currentRoot");
export const KVM_SRCU_EPOCH: usize = ROOTS + offsetof<RootsLine>("srcuEpoch");
export const KVM_RCU_EPOCH: usize = ROOTS + offsetof<RootsLine>("rcuEpoch");
export const KVM_TABLE_COUNT: usize = ROOTS + offsetof<RootsLine>("tableCount");
export const KVM_DEFERRED_HEAD: usize = ROOTS + offsetof<RootsLine>("deferredHead");
export const KVM_DEFERRED_LOCK: usize = ROOTS + offsetof<RootsLine>("deferredLock");
export const KVM_DEFERRED_COUNT: usize = ROOTS + offsetof<RootsLine>("deferredCount");

if (offsetof<RetryLine>() > 128 || offsetof<ActiveLine>() > 128 || offsetof<RootsLine>() > 128) {
  ERROR("each part of struct kvm must fit its line pair");
}
if (offsetof<Header>() > HEADER_SIZE) ERROR("the header must fit its page");
