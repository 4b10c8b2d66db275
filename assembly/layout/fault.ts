import { ACTOR_FAULT, ACTOR_GATHER } from "./actor";

/** The page fault that a vCPU is handling (struct kvm_page_fault), and what it keeps between faults. Private. */
@unmanaged
export class Fault {
  gpa: u64;
  gfn: u64;
  hva: u64;
  /** mmu_invalidate_seq when the fault began. */
  seq: u32;
  /** pfn that gup found. */
  pfn: u32;
  /** Row of the memslot, in the copy that was active at the lookup. */
  slot: u32;
  /** Nonzero for a write. */
  write: u32;
  /** Nonzero if the host maps the page writable. */
  hostWritable: u32;
  /** log2 of the size of the leaf to install. */
  goalShift: u32;
  /** Host mapping level sampled before the snapshot: only without Rule.HostLevelAfterCheck. */
  earlyShift: u32;
  /** Ends of invalidations before the count was looked at: a retry sleeps until there is another. */
  waitEnds: u32;
  /** 1 from the first KVM_RUN on: the vCPU is KVM's, and translates in guest mode only. */
  managed: u32;
  /** pfn of the root that the vCPU has loaded, 0 for none. */
  root: u32;
  /** Memslot found last: index in the array sorted by gfn. */
  slotHint: u32;
  /** Value of the last read or read-modify-write, for the host to fetch. */
  value: u64;
  /** Where the two parts of a page-crossing access are in this memory. */
  crossFirst: u32;
  crossSecond: u32;
  /** Set when the vCPU leaves guest mode, cleared by who wants to know: statistics decide nothing. */
  left: u32;
  /** Nonzero if the pfn was found without a reference: it is neither put nor is its struct page looked at. */
  noReference: u32;
  /** log2 of the page size of the VMA, sampled before the snapshot; 0 where the profile does not ask for it. */
  vmaShift: u32;
  /** First pfn of the leaf to install: that of the page, or of the large page around it. */
  leafPfn: u32;
}
/** What a vCPU keeps from one fault to the next. */
export const FAULT_ROOT: usize = ACTOR_FAULT + offsetof<Fault>("root");
export const FAULT_MANAGED: usize = ACTOR_FAULT + offsetof<Fault>("managed");
export const FAULT_OFFSET_VALUE: usize = offsetof<Fault>("value");
if (ACTOR_FAULT + offsetof<Fault>() > ACTOR_GATHER) ERROR("Fault must end before the gather list");
