// The header page: what a machine is, where its regions are, and how it ended if it trapped.
// Written once by `create`; afterwards only the words of the "live" part change.
//
//   0  identity   magic, ABI version, size      80  region bases      136  live words (abort, trap, stop)
//   16 config     counts, options, build       120  rules left out    164  files

/** "GMMU" in little-endian bytes: the first word of a header page. */
export const MAGIC: u32 = 0x554d4d47;

/** Raised when the layout, an export's signature or the meaning of a word changes. */
export const ABI_VERSION: u32 = 1;

/** The page below the header is never read or written, so that a null pointer has nothing to hit. */
export const HEADER_BASE: usize = 4096;
export const HEADER_SIZE: usize = 4096;

/** `Header.spinLimit` of an ordinary machine: one to two microseconds of looks, as long as most sections last. */
export const SPIN_LIMIT_DEFAULT: u32 = 200;

/** PTE_PREFETCH_NUM: `Header.prefetchGroup` of a kernel that prefetches, and the most there can be. */
export const PREFETCH_GROUP_MAX: u32 = 8;
/** `Header.refcountLimit` of an ordinary machine: far from where a signed 32-bit count wraps. */
export const REFCOUNT_LIMIT_DEFAULT: u32 = 0x7fff0000;

@unmanaged
export class Header {
  magic: u32;
  abiVersion: u32;
  /** Bytes of memory that the machine takes, from address 0. */
  size: u32;
  /** `Profile`, see profile.ts. */
  profile: u32;

  /** Frames of host physical memory, pfn 0 included (which is never handed out). */
  frameCount: u32;
  vcpuCount: u32;
  /** Host threads (mm, ioctl, invalidators) that may act beside the vCPUs. */
  hostCount: u32;
  /** Memslots a VM may have. */
  slotMax: u32;
  /** VMAs an mm may have. */
  vmaMax: u32;
  /** 4 KiB entries of each vCPU's TLB: a power of two. */
  tlbEntries: u32;
  /** Large-page entries of each vCPU's TLB: a power of two. */
  tlbLargeEntries: u32;
  /** Bytes of each actor's batch buffer. */
  batchSize: u32;
  /** Physical pages that the window table can hold at a time; 0 leaves the table out. */
  windowCount: u32;
  /** `MachineOption` bits. */
  options: u32;
  /** Physical-address width of the emulated processor, 32 to 52. */
  maxphyaddr: u32;
  /** Entries of each vCPU's cache of guest-physical translations of table pages: a power of two. */
  walkCacheEntries: u32;
  /** `Build` that made the machine; written by the host, which knows what it instantiates. */
  build: u32;
  /** Looks at a word before an actor sleeps on it; 0 sleeps at once, as the explorer wants it. */
  spinLimit: u32;
  /** SPTEs of the aligned group that a fault fills beside its own: a power of two, 0 for none. */
  prefetchGroup: u32;
  /** A page's reference count that a lookup does not raise any more; 0 is REFCOUNT_LIMIT_DEFAULT. */
  refcountLimit: u32;

  actorsBase: u32;
  histogramsBase: u32;
  slotsBase: u32;
  vmasBase: u32;
  tlbsBase: u32;
  walkCachesBase: u32;
  batchesBase: u32;
  windowsBase: u32;
  pagesBase: u32;
  framesBase: u32;

  /** Protective clauses that are off, one bit a `Rule` (lab build only; see rules.ts). */
  rulesOff0: u64;
  rulesOff1: u64;

  /** Nonzero: every wait ends in a trap. Set by the host when a thread died or a run is to end now. */
  abort: u32;
  /** First trap of the machine: `Trap`, 0 for none. Claimed by compare-and-swap, so later ones do not hide it. */
  trapCode: u32;
  /** Index of the actor that trapped. */
  trapActor: u32;
  /** What the code says of it: an address, a count, a pfn. */
  trapArgument: u64;
  /** Nonzero: drivers leave their loops at the next access. */
  stop: u32;

  /** Files that there may be at a time; 0 leaves files, and devices, out. */
  fileMax: u32;
  /** Pages that a file may have. */
  filePages: u32;
  filesBase: u32;

  /** Rows of each half of a vCPU's table cache (layout/tablecache.ts): a power of two; 0 leaves the cache out. */
  tableCacheEntries: u32;
  tableCachesBase: u32;
  /** Rows of each vCPU's paging-structure caches (lab build): a power of two, 0 for none. */
  structureEntries: u32;
  structuresBase: u32;
}

export const HEADER_ABORT: usize = HEADER_BASE + offsetof<Header>("abort");
export const HEADER_TRAP_CODE: usize = HEADER_BASE + offsetof<Header>("trapCode");
export const HEADER_TRAP_ACTOR: usize = HEADER_BASE + offsetof<Header>("trapActor");
export const HEADER_TRAP_ARGUMENT: usize = HEADER_BASE + offsetof<Header>("trapArgument");
export const HEADER_STOP: usize = HEADER_BASE + offsetof<Header>("stop");

/** Modules that can make a machine. Attaching with another one than that is refused by the host. */
export enum Build {
  Release = 0,
  Lab = 1,
  /** One thread, memory that is not shared. */
  Embed = 2,
}

/** Options of a machine, bits of `Header.options`. */
export enum MachineOption {
  /** Zero a page before it is handed to user space, as a host must; off only to see what it costs. */
  ZeroPages = 1 << 0,
  /** Fill a freed frame with a pattern and verify it when the frame is handed out again. */
  Poison = 1 << 1,
  /** A fault that meets an open invalidation spins instead of waiting for its end. */
  SpinOnRetry = 1 << 2,
  /** EPT with accessed and dirty flags (EPTP bit 6). */
  EptAccessedDirty = 1 << 3,
  /** 1-GByte pages: CPUID.80000001H:EDX.Page1GB. */
  Page1GB = 1 << 4,
  /** KVM may map 2-MByte pages where host and slot allow it. */
  HugePages = 1 << 5,
  /** Lab build: where the manual lets a cached translation live or go, both are tried (x86/choice.ts). */
  ArchitecturalTlb = 1 << 7,
  /** Read faults of anonymous memory map one page of zeroes that all share; off: each gets a page of its own. */
  SharedZeroPage = 1 << 6,
}
