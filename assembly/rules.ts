// The protective clauses of the protocol, one row each. A number, once given, is never used for another clause.
// The core asks `Rules.hold(Rule.X)` where the clause is applied. In the release build the answer is the constant
// true and costs nothing; in the lab build a machine may be created without a clause, to see what breaks. There is
// no other way to break the protocol. Reasons, kernel sources and zoo ids: src/core/rules.ts, one row per number.
//
// An *order* rule chooses between two orders of the same steps: held, the right one.

import { HEADER_BASE, Header } from "./layout/header";

export enum Rule {
  /** end raises mmu_invalidate_seq; without it start does. */
  SeqRaisedInEnd = 1,
  /** A fault retries while an invalidation of its gfn is open. */
  CountChecked = 2,
  /** A fault retries if mmu_invalidate_seq moved since its snapshot. */
  SeqChecked = 3,
  /** Order: snapshot, then gup. */
  SnapshotBeforeGup = 4,
  /** The retry check is made under mmu_lock; without it, before the lock only. */
  RetryUnderLock = 5,
  /** mmu_lock is held from the check to the installation. */
  LockHeldToInstall = 6,
  /** Order: end raises the sequence, then lowers the count. */
  SeqBeforeCount = 7,
  /** start flushes the vCPUs' TLBs before it returns. */
  FlushBeforeStartReturns = 8,
  /** A zap flushes before it gives mmu_lock up. */
  FlushBeforeYield = 9,
  /** A notifier zaps invalid roots as well. */
  ZapInvalidRoots = 10,
  /** A fault retries if its root has become obsolete. */
  ObsoleteRootChecked = 11,
  /** A memslot updater waits until no invalidation is open. */
  UpdaterWaitsForInvalidations = 12,
  /** A fault that finds its slot invalid retries; without it, the slot counts as absent. */
  InvalidSlotRetries = 13,
  /** The range union grows before the zap, whose first yield lets faults look at it. */
  RangeAddedBeforeZap = 14,
  /** gup-fast reads the PTE again after it has taken the reference. */
  GupRechecksPte = 15,
  /** gup-fast takes no reference on a page that has none. */
  GetUnlessZero = 16,
  /** A fault that retries puts the page it looked up. */
  PutOnRetry = 17,
  /** The host drops the references of unmapped pages after its TLB flush. */
  HostFlushBeforePut = 18,
  /** A table taken out of the secondary MMU is freed after an RCU grace period. */
  TableFreeWaitsForRcu = 19,
  /** Entries of a table that is taken out are frozen, so that nothing is installed in it. */
  RemovedTableFrozen = 20,
  /** A zap exchanges the SPTE atomically, so that flags set meanwhile are not lost. */
  ZapExchanges = 21,
  /** Order: the mapping level is read from the host tables after the retry check. */
  HostLevelAfterCheck = 22,
  /** A memslot updater waits for readers of the old array. */
  UpdaterSynchronizes = 23,
  /** A fault that puts a huge leaf in a table's place flushes. */
  FlushOnTableReplaced = 24,
  /** Order: install, then put; without it the page is put right after gup (claim C1). */
  PutAfterInstall = 25,
  /** vCPU entry looks for requests after it has published its mode. */
  EntryChecksRequests = 26,
  /** A flush waits until each vCPU that was in guest mode has left it. */
  FlushWaitsForAck = 27,
  /** Order: make the request, then look at the vCPU's mode. */
  RequestBeforeModeCheck = 28,
  /** Order: start, then clear the host PTE. */
  StartBeforeClear = 29,
  /** Order: clear the host PTEs, then end. */
  HostPteClearedBeforeEnd = 30,
  /** zap-all requests the reload of roots in the critical section that invalidates them. */
  ReloadRequestedWithInvalidation = 31,
  /** A leaf is installed by compare-and-swap. */
  InstallCompares = 32,
  /** The range that a fault is compared with is the union of all open invalidations; without it, the latest one. */
  RangeOfAllOpen = 33,
  /** kvm_vcpu_map keeps its reference until the unmap. */
  VcpuMapHoldsReference = 34,
  /** The reference of kvm_vcpu_map is a pin (FOLL_PIN). */
  VcpuMapPins = 35,
  /** kvm_vcpu_unmap tells a mapping with a struct page from one without by the sentinel that map stored. */
  UnmapChecksPage = 36,
  /** kvm_vcpu_unmap marks the page of a writable mapping dirty. */
  UnmapMarksDirty = 37,
  /** A ZONE_DEVICE page that was looked up is put like any other, although its struct page says reserved. */
  ZoneDeviceNotReserved = 38,
  /** The shared zero page is put like any other page. */
  ZeroPageNotReserved = 39,
  /** A remapped pfn whose page is not refcounted is neither got nor put. */
  PfnmapNotRefcounted = 40,
  /** Whether a remapped pfn may be written is read from its host PTE. */
  PfnmapHonoursWrite = 41,
  /** The page lookup refuses a reference on a page whose count is about to overflow. */
  RefcountOverflowRefused = 42,
  /** The lockless page lookup makes sure that the head it holds is still the head of its page. */
  GupRechecksHead = 43,
  /** Truncate of a DAX file waits until no page of the range is held. */
  DaxTruncateWaitsIdle = 44,
  /** A pin without a bound on its life (FOLL_LONGTERM) is refused on pages of a DAX file. */
  LongtermRefusedOnDax = 45,
  /** A fault maps no neighbours while an invalidation is open. */
  PrefetchSkipsOpenRange = 46,
  /** The refresh of a gfn_to_pfn_cache retries while mn_active_invalidate_count is raised. */
  GpcRetriesOnActiveCount = 47,
  /** Refreshes of a gfn_to_pfn_cache exclude each other. */
  GpcRefreshSerialised = 48,
  /** A gfn_to_pfn_cache that is not active can be neither refreshed nor used. */
  GpcActiveChecked = 49,
  /** A gfn_to_pfn_cache is used with its lock held for read. */
  GpcHeldWhileUsed = 50,
  /** The sequence is raised before the count is lowered in the eyes of everybody: a write barrier between them, a read barrier in the check. */
  SeqCountBarriers = 51,
  /** A read barrier stands between the snapshot of the sequence and the page lookup. */
  SnapshotBarrier = 52,
  /** A full barrier stands between the publication that a vCPU is in guest mode and its last look at its requests. */
  EntryBarrier = 53,
}

/** Rules known to this core, numbers 1 to `RULE_COUNT`. */
export const RULE_COUNT: u32 = 53;

let OFF0: u64 = 0;
let OFF1: u64 = 0;

/** Takes the rules of the attached machine over. */
export function attachRules(): void {
  const h = changetype<Header>(HEADER_BASE);
  OFF0 = h.rulesOff0;
  OFF1 = h.rulesOff1;
}

export class Rules {
  /** True unless the machine was created without the clause (lab build only). */
  @inline static hold(rule: Rule): bool {
    if (!LAB) return true;
    return ((rule < 64 ? OFF0 >> rule : OFF1 >> (rule - 64)) & 1) == 0;
  }
}
