/**
 * The protective clauses of the fault/invalidate protocol, one row for each `Rule` of assembly/rules.ts: what the clause
 * is, why it is there, where the kernel has it, and the defects that its absence repeats. A defect of the zoo is one that
 * was, or could have been, in a kernel, under a number of ours: rows that repeat the same defect carry the same number.
 */

import { GuestMmuError } from "../errors.js";
import { type ProfileName } from "./profiles.js";
import { Rule } from "./layout.generated.js";

export type RuleName = keyof typeof Rule;

/** One protective clause. */
export interface RuleRow {
  /** Never given to another clause. */
  readonly number: Rule;
  readonly name: RuleName;
  /** What the clause is, as a statement that holds. */
  readonly says: string;
  /** What would happen without it. */
  readonly reason: string;
  /** Function and file of the kernel, as of 6.13 where nothing else is said. */
  readonly source: string;
  /** Numbers of the defects that the absence of the clause repeats: equal numbers, equal defects. */
  readonly zoo: readonly string[];
  /** Profiles in whose protocol the clause has a place: elsewhere, leaving it out changes nothing. */
  readonly profiles: readonly ProfileName[];
}

const ALL: readonly ProfileName[] = ["v5.3", "v5.4", "v6.13", "v6.15"];
const SINCE_RWLOCK: readonly ProfileName[] = ["v6.13", "v6.15"];

type Text = Omit<RuleRow, "number" | "name">;

const TEXTS: Readonly<Record<RuleName, Text>> = {
  SeqRaisedInEnd: {
    says: "The end of an invalidation raises mmu_invalidate_seq, not its start.",
    reason:
      "A fault that begins inside an invalidation takes the raised number as its snapshot, looks up the old page before its PTE is cleared, and finds nothing changed once the invalidation is over.",
    source: "kvm_mmu_invalidate_end, virt/kvm/kvm_main.c",
    zoo: ["Z14"],
    profiles: ALL,
  },
  CountChecked: {
    says: "A fault retries while an invalidation that may concern its gfn is open.",
    reason:
      "The sequence moves at the end only: between start and end it says nothing, and the fault would install a page that is being taken away.",
    source: "mmu_invalidate_retry_gfn, include/linux/kvm_host.h",
    zoo: ["Z14"],
    profiles: ALL,
  },
  SeqChecked: {
    says: "A fault retries if mmu_invalidate_seq moved since its snapshot.",
    reason: "An invalidation that begins and ends between lookup and check leaves the count where it was.",
    source: "mmu_invalidate_retry_gfn, include/linux/kvm_host.h",
    zoo: ["Z14"],
    profiles: ALL,
  },
  SnapshotBeforeGup: {
    says: "A fault takes its snapshot of the sequence before it looks the page up.",
    reason:
      "An invalidation that completes between lookup and snapshot would be part of the snapshot and never be seen.",
    source: "kvm_mmu_faultin_pfn, arch/x86/kvm/mmu/mmu.c",
    zoo: ["Z14"],
    profiles: ALL,
  },
  RetryUnderLock: {
    says: "The retry check is made under mmu_lock.",
    reason: "An invalidation may begin, and zap, between a check without the lock and the installation.",
    source: "is_page_fault_stale, arch/x86/kvm/mmu/mmu.c",
    zoo: ["Z14"],
    profiles: ALL,
  },
  LockHeldToInstall: {
    says: "mmu_lock is held from the retry check until the leaf is installed.",
    reason: "A start that gets the lock in between finds no leaf to zap, and the leaf comes after it.",
    source: "kvm_tdp_mmu_page_fault, arch/x86/kvm/mmu/mmu.c",
    zoo: ["Z14"],
    profiles: ALL,
  },
  SeqBeforeCount: {
    says: "The end of an invalidation raises the sequence before it lowers the count.",
    reason:
      "A check without the lock could see the count lowered and the sequence not yet raised: no sign is left.",
    source: "kvm_mmu_invalidate_end, virt/kvm/kvm_main.c",
    zoo: ["Z14"],
    profiles: SINCE_RWLOCK,
  },
  FlushBeforeStartReturns: {
    says: "The start of an invalidation flushes the TLBs of the vCPUs before it returns.",
    reason:
      "The host may free the pages as soon as start has returned; a vCPU would go on using them through its TLB.",
    source: "kvm_handle_hva_range, virt/kvm/kvm_main.c",
    zoo: ["Z47"],
    profiles: ALL,
  },
  FlushBeforeYield: {
    says: "A zap flushes what it owes before it gives mmu_lock up.",
    reason:
      "Whoever gets the lock may invalidate the same range, find nothing left to zap, not flush, and free the pages.",
    source: "tdp_mmu_iter_cond_resched, arch/x86/kvm/mmu/tdp_mmu.c (a835429cda91)",
    zoo: ["Z47"],
    profiles: SINCE_RWLOCK,
  },
  ZapInvalidRoots: {
    says: "A notifier zaps under every root, obsolete ones included.",
    reason:
      "An obsolete root that has not been taken apart yet still maps pages, and a vCPU may still be on it.",
    source: "kvm_tdp_mmu_unmap_gfn_range, arch/x86/kvm/mmu/tdp_mmu.c (d62007edf01f)",
    zoo: ["Z45"],
    profiles: SINCE_RWLOCK,
  },
  ObsoleteRootChecked: {
    says: "A fault retries if its root has become obsolete.",
    reason:
      "A fault that looked its slot up before the deletion would install in a root that was zapped already.",
    source: "is_page_fault_stale, arch/x86/kvm/mmu/mmu.c (a955cad84cda)",
    zoo: ["Z44"],
    profiles: ALL,
  },
  UpdaterWaitsForInvalidations: {
    says: "A memslot updater publishes its array only while no invalidation is open.",
    reason:
      "Start and end of an invalidation would see different slots: the count would be lowered without having been raised, or stay raised for ever.",
    source: "kvm_swap_active_memslots, virt/kvm/kvm_main.c (52ac8b358b0c)",
    zoo: ["Z15"],
    profiles: SINCE_RWLOCK,
  },
  InvalidSlotRetries: {
    says: "A fault that finds its slot being deleted or moved retries.",
    reason: "Taken for an address without a slot, it would become an MMIO exit for memory that is there.",
    source: "kvm_mmu_faultin_pfn, arch/x86/kvm/mmu/mmu.c (e0c378684b65)",
    zoo: ["Z53"],
    profiles: ALL,
  },
  RangeAddedBeforeZap: {
    says: "The union of open ranges grows before the zap begins.",
    reason: "The zap may let mmu_lock go: a fault that gets it would not find its gfn in the union.",
    source: "kvm_mmu_unmap_gfn_range, virt/kvm/kvm_main.c",
    zoo: ["Z16"],
    profiles: SINCE_RWLOCK,
  },
  GupRechecksPte: {
    says: "The lockless page lookup reads the PTE again after it has taken its reference.",
    reason: "The page may have been unmapped, freed and handed out anew between the read and the reference.",
    source: "gup_fast_pte_range, mm/gup.c",
    zoo: ["Z08"],
    profiles: ALL,
  },
  GetUnlessZero: {
    says: "The lockless page lookup takes no reference on a page that has none.",
    reason:
      "A page without references is free, or about to be: its count would go 0, 1, 0 and free it a second time.",
    source: "try_grab_folio_fast, mm/gup.c; CVE-2021-22543 (f8be156be163)",
    zoo: ["Z04"],
    profiles: ALL,
  },
  PutOnRetry: {
    says: "A fault that retries puts the page it had looked up.",
    reason: "Every retry would leak a reference, and the page could never be freed.",
    source: "kvm_mmu_finish_page_fault, arch/x86/kvm/mmu/mmu.c",
    zoo: ["Z13"],
    profiles: ALL,
  },
  HostFlushBeforePut: {
    says: "The host drops the references of unmapped pages after its own TLB flush.",
    reason:
      "Another thread of the process could still write through a stale entry to a page that has a new owner.",
    source: "tlb_flush_mmu, mm/mmu_gather.c",
    zoo: ["Z21"],
    profiles: ALL,
  },
  TableFreeWaitsForRcu: {
    says: "A table taken out of the secondary MMU is freed after an RCU grace period.",
    reason: "A walker without a lock may still be in it.",
    source: "tdp_mmu_free_sp_rcu_callback, arch/x86/kvm/mmu/tdp_mmu.c",
    zoo: ["Z49"],
    profiles: ALL,
  },
  RemovedTableFrozen: {
    says: "The entries of a table that is taken out are frozen.",
    reason:
      "A fault on its way could install a leaf in a table that nobody reaches any more, and the leaf would leak.",
    source: "handle_removed_pt, arch/x86/kvm/mmu/tdp_mmu.c",
    zoo: ["Z49"],
    profiles: SINCE_RWLOCK,
  },
  ZapExchanges: {
    says: "A zap exchanges the SPTE atomically.",
    reason:
      "A plain store loses an accessed or dirty flag that the processor has set since the entry was read.",
    source: "kvm_tdp_mmu_write_spte, arch/x86/kvm/mmu/tdp_iter.h (ba3a6120a4e7)",
    zoo: ["Z50"],
    profiles: ALL,
  },
  HostLevelAfterCheck: {
    says: "The size of a mapping is read from the host tables after the retry check.",
    reason:
      "A size sampled before the snapshot may be that of a mapping that is gone: a huge leaf over a small page.",
    source: "kvm_mmu_hugepage_adjust, arch/x86/kvm/mmu/mmu.c",
    zoo: ["Z25", "Z25b"],
    profiles: ALL,
  },
  UpdaterSynchronizes: {
    says: "A memslot updater waits until nobody reads the array it replaced.",
    reason:
      "The next update writes to that array, under the eyes of a fault that still looks its slot up in it.",
    source: "kvm_swap_active_memslots, virt/kvm/kvm_main.c",
    zoo: ["Z44"],
    profiles: ALL,
  },
  FlushOnTableReplaced: {
    says: "A fault that puts a huge leaf in the place of a table flushes.",
    reason: "Processors cache the entries of upper levels: one would go on walking a table that is freed.",
    source: "tdp_mmu_map_handle_target_level, arch/x86/kvm/mmu/tdp_mmu.c (08f07c800e9d)",
    zoo: ["Z49"],
    profiles: ALL,
  },
  PutAfterInstall: {
    says: "A fault puts its page after it has installed the leaf.",
    reason:
      "Claim C1 of the founding thread: without it translations are still safe, as the check decides, but what is read from struct page meanwhile is that of a page that may be free.",
    source: "kvm_mmu_finish_page_fault, arch/x86/kvm/mmu/mmu.c",
    zoo: ["Z01b"],
    profiles: ALL,
  },
  EntryChecksRequests: {
    says: "A vCPU looks for requests after it has published that it is in guest mode.",
    reason:
      "A flush requested between the last look and the entry found the vCPU outside and does not wait for it.",
    source: "vcpu_enter_guest, arch/x86/kvm/x86.c; Documentation/virt/kvm/vcpu-requests.rst",
    zoo: ["Z41"],
    profiles: ALL,
  },
  FlushWaitsForAck: {
    says: "A remote flush waits until every vCPU that was in guest mode has left it.",
    reason: "The request alone empties no TLB: the vCPU finishes an access with the old translation.",
    source: "kvm_make_vcpus_request_mask, virt/kvm/kvm_main.c",
    zoo: ["Z42"],
    profiles: ALL,
  },
  RequestBeforeModeCheck: {
    says: "A flusher makes its request before it looks at the vCPU's mode.",
    reason: "A vCPU that enters between look and request is neither kicked nor does it find the request.",
    source: "kvm_make_vcpu_request, virt/kvm/kvm_main.c",
    zoo: ["Z41"],
    profiles: ALL,
  },
  StartBeforeClear: {
    says: "The host calls start before it clears its PTE.",
    reason:
      "A fault that looked the page up before the clear would not meet an open invalidation at its check.",
    source: "mmu_notifier_invalidate_range_start, include/linux/mmu_notifier.h",
    zoo: ["Z23", "Z24"],
    profiles: ALL,
  },
  HostPteClearedBeforeEnd: {
    says: "The host clears its PTEs before it calls end.",
    reason:
      "A fault that begins after the end would look up the page that is about to go, and nothing would stop it.",
    source: "mmu_notifier_invalidate_range_end, include/linux/mmu_notifier.h",
    zoo: ["Z24"],
    profiles: ALL,
  },
  ReloadRequestedWithInvalidation: {
    says: "zap-all asks the vCPUs to reload their roots in the critical section that makes the roots obsolete.",
    reason: "A vCPU that enters in between goes on with a root that is being taken apart.",
    source: "kvm_mmu_zap_all_fast, arch/x86/kvm/mmu/mmu.c",
    zoo: ["Z44"],
    profiles: ALL,
  },
  InstallCompares: {
    says: "A leaf is installed by compare-and-swap against the entry that was examined.",
    reason:
      "Faults that hold mmu_lock for read install side by side: a plain store undoes what another one did.",
    source: "tdp_mmu_set_spte_atomic, arch/x86/kvm/mmu/tdp_mmu.c",
    zoo: ["Z50"],
    profiles: SINCE_RWLOCK,
  },
  RangeOfAllOpen: {
    says: "The range that a fault is compared with is the union of all open invalidations.",
    reason: "With the range of the latest one only, a fault in an earlier one that is still open would pass.",
    source: "kvm_mmu_invalidate_range_add, virt/kvm/kvm_main.c (8569992d64b8)",
    zoo: ["Z16"],
    profiles: SINCE_RWLOCK,
  },
  VcpuMapHoldsReference: {
    says: "kvm_vcpu_map keeps its reference until the unmap.",
    reason:
      "The mapping goes on being used across invalidations: without a reference its page is freed under it.",
    source: "kvm_vcpu_map, virt/kvm/kvm_main.c",
    zoo: ["Z01"],
    profiles: ALL,
  },
  VcpuMapPins: {
    says: "The reference of kvm_vcpu_map is a pin (FOLL_PIN).",
    reason:
      "A plain reference does not tell fork, copy-on-write and migration that somebody writes to the page: the owner goes on with a copy.",
    source: "kvm_vcpu_map, virt/kvm/kvm_main.c (2bcb52a3602b)",
    zoo: ["Z36"],
    profiles: SINCE_RWLOCK,
  },
  UnmapChecksPage: {
    says: "kvm_vcpu_unmap tells a mapping with a struct page from one without by the sentinel that map stored.",
    reason: "A remapped region without struct page would be given back as a page, or a page not at all.",
    source: "kvm_vcpu_unmap, virt/kvm/kvm_main.c (b614c6027896)",
    zoo: ["Z37"],
    profiles: ALL,
  },
  UnmapMarksDirty: {
    says: "kvm_vcpu_unmap marks the page of a writable mapping dirty.",
    reason: "Its content could be dropped as clean, and what was written with it.",
    source: "kvm_vcpu_unmap, virt/kvm/kvm_main.c (7afe79f5734a)",
    zoo: ["Z38"],
    profiles: ALL,
  },
  ZoneDeviceNotReserved: {
    says: "A ZONE_DEVICE page that was looked up is put like any other, although its struct page says reserved.",
    reason: "The reference of every lookup would leak, and the device could never be taken away.",
    source: "kvm_is_reserved_pfn, virt/kvm/kvm_main.c (a78986aae9b2)",
    zoo: ["Z02"],
    profiles: ALL,
  },
  ZeroPageNotReserved: {
    says: "The shared zero page is put like any other page.",
    reason: "Each read fault would leak a reference on one and the same page until its count overflows.",
    source: "kvm_is_reserved_pfn, virt/kvm/kvm_main.c (7df003c85218)",
    zoo: ["Z06"],
    profiles: ALL,
  },
  PfnmapNotRefcounted: {
    says: "A remapped pfn whose page is not refcounted is neither got nor put.",
    reason: "Its count would go 0, 1, 0, and the put would free a page that is in use.",
    source: "hva_to_pfn_remapped, virt/kvm/kvm_main.c; CVE-2021-22543 (f8be156be163)",
    zoo: ["Z04"],
    profiles: ALL,
  },
  PfnmapHonoursWrite: {
    says: "Whether a remapped pfn may be written is read from its host PTE.",
    reason: "The guest would write through a mapping that the host made read-only.",
    source: "hva_to_pfn_remapped, virt/kvm/kvm_main.c (bd2fae8da794)",
    zoo: ["Z05"],
    profiles: ALL,
  },
  RefcountOverflowRefused: {
    says: "The page lookup refuses a reference on a page whose count is about to overflow.",
    reason: "Enough leaked references wrap the count to 0, and the next put frees a page in use.",
    source: "try_get_folio, mm/gup.c (8fde12ca79af)",
    zoo: ["Z07"],
    profiles: ALL,
  },
  GupRechecksHead: {
    says: "The lockless page lookup makes sure that the head it holds is still the head of its page.",
    reason: "A huge page that is split meanwhile leaves the reference on another page than the one returned.",
    source: "try_get_folio, mm/gup.c (c24d37322548)",
    zoo: ["Z08"],
    profiles: ALL,
  },
  DaxTruncateWaitsIdle: {
    says: "Truncate of a DAX file waits until no page of the range is held.",
    reason: "The blocks would go to another file while a device or a kernel mapping still writes to them.",
    source: "dax_layout_busy_page, fs/dax.c (5fac7408d828)",
    zoo: ["Z10"],
    profiles: ALL,
  },
  LongtermRefusedOnDax: {
    says: "A pin without a bound on its life (FOLL_LONGTERM) is refused on pages of a DAX file.",
    reason: "Truncate would wait for ever.",
    source: "check_vma_flags, mm/gup.c (2bb6d2837083)",
    zoo: ["Z10"],
    profiles: ALL,
  },
  PrefetchSkipsOpenRange: {
    says: "A fault maps no neighbours while an invalidation is open.",
    reason:
      "The check was passed for the faulting gfn: its neighbour may be in the range that is being invalidated.",
    source: "direct_pte_prefetch, arch/x86/kvm/mmu/mmu.c (4a42d848db95)",
    zoo: ["Z16"],
    profiles: SINCE_RWLOCK,
  },
  GpcRetriesOnActiveCount: {
    says: "The refresh of a gfn_to_pfn_cache retries while mn_active_invalidate_count is raised.",
    reason:
      "Caches are invalidated before mmu_invalidate_in_progress rises: looking at that one, a refresh validates in the gap.",
    source: "mmu_notifier_retry_cache, virt/kvm/pfncache.c (58cd407ca4c6)",
    zoo: ["Z31"],
    profiles: ALL,
  },
  GpcRefreshSerialised: {
    says: "Refreshes of a gfn_to_pfn_cache exclude each other.",
    reason:
      "A second refresh sees the new generation and address, skips the lookup, and goes on with the old mapping.",
    source: "__kvm_gpc_refresh, virt/kvm/pfncache.c (93984f19e7bc)",
    zoo: ["Z32"],
    profiles: ALL,
  },
  GpcActiveChecked: {
    says: "A gfn_to_pfn_cache that is not active can be neither refreshed nor used.",
    reason: "It is on no list: an invalidation does not find it.",
    source: "kvm_gpc_check, virt/kvm/pfncache.c; CVE-2022-49882 (ecbcf030b456)",
    zoo: ["Z34"],
    profiles: ALL,
  },
  GpcHeldWhileUsed: {
    says: "A gfn_to_pfn_cache is used with its lock held for read.",
    reason: "The invalidation waits for that lock: without it the page goes away between check and use.",
    source: "kvm_gpc_check, include/linux/kvm_host.h",
    zoo: ["Z31"],
    profiles: ALL,
  },
  SeqCountBarriers: {
    says: "The sequence is raised before the count is lowered in the eyes of everybody: a write barrier between them, a read barrier in the check.",
    reason: "On a machine that reorders, a check could see the count lowered and the old sequence.",
    source: "kvm_mmu_invalidate_end, virt/kvm/kvm_main.c; mmu_invalidate_retry_gfn, include/linux/kvm_host.h",
    zoo: ["Z14"],
    profiles: ALL,
  },
  SnapshotBarrier: {
    says: "A read barrier stands between the snapshot of the sequence and the page lookup.",
    reason: "On a machine that reorders, the page could be looked up before the sequence is read.",
    source: "kvm_mmu_faultin_pfn, arch/x86/kvm/mmu/mmu.c",
    zoo: ["Z14"],
    profiles: ALL,
  },
  EntryBarrier: {
    says: "A full barrier stands between the publication that a vCPU is in guest mode and its last look at its requests.",
    reason:
      "The publication may still lie in the store buffer when a flusher looks: it does not wait, and the vCPU has not seen its request.",
    source: "vcpu_enter_guest, arch/x86/kvm/x86.c; Documentation/virt/kvm/vcpu-requests.rst",
    zoo: ["Z41"],
    profiles: ALL,
  },
};

/** One row for each rule, by number. */
export const RULES: readonly RuleRow[] = (Object.keys(TEXTS) as RuleName[])
  .map((name) => ({ number: Rule[name], name, ...TEXTS[name] }))
  .sort((a, b) => a.number - b.number);

/** True for the names that `RULES` has. */
export function isRuleName(value: unknown): value is RuleName {
  return typeof value === "string" && Object.hasOwn(TEXTS, value);
}

/** The rule of this name, or `USAGE`. */
export function ruleRow(name: RuleName): RuleRow {
  if (isRuleName(name)) return { number: Rule[name], name, ...TEXTS[name] };
  throw new GuestMmuError("USAGE", {
    message: `There is no rule ${JSON.stringify(name)}.`,
    hint: "The names are those of RULES.",
  });
}
