import { ACTOR_CPU, ACTOR_STATS } from "./actor";

/**
 * Processor state of a vCPU; private to it. The first line is what a TLB hit reads; what a walk reads comes next, all
 * of it derived from the registers at the end by `updateDerived` (x86/cpu.ts).
 */
@unmanaged
export class Cpu {
  /** PCID, VPID and EP4TA of now, as in a TLB entry. */
  context: u64;
  /** TLB entries of another generation are empty, global ones down to `keptGeneration` aside. */
  generation: u32;
  tlbBase: u32;
  /** Bytes of the 4-KByte entries less one entry: masks a page number << 5. */
  tlbMask: u32;
  /** Last flush of all linear addresses: older entries are empty, global or not. */
  keptGeneration: u32;
  /** Deny masks, one a kind of access (x86/rights.ts). */
  denyRead: u64;
  denyWrite: u64;
  denyFetch: u64;
  denyModify: u64;
  denyImplicitRead: u64;
  denyImplicitWrite: u64;
  denyStackRead: u64;
  denyStackWrite: u64;

  /** P, A, and the bits reserved at every level: an entry that has just P and A of these takes the fast form. */
  test: u64;
  /** Bits reserved at every level. */
  reserved: u64;
  /** Likewise for the nested tables: R or P, A where it is kept, and reserved bits. */
  nestedTest: u64;
  nestedReserved: u64;
  /** Obstacles to a read of a guest's table entry: a write, where the nested tables keep accessed and dirty flags. */
  denyTable: u64;
  /** Address of the top guest table in this memory, for the fast form without EPT; 0 where that form does not apply. */
  root: u32;
  /** Address of the top EPT table in this memory, for the fast form; 0 where that form does not apply. */
  nestedRoot: u32;
  /** `Shape`: which dimensions there are. */
  shape: u32;
  /** Paging mode of the guest (x86/modes.ts). */
  mode: u32;
  tlbLargeBase: u32;
  tlbLargeMask: u32;
  walkCacheBase: u32;
  walkCacheMask: u32;
  /** 1 if a translation of a large guest page was entered since the last full flush. */
  largeSeen: u32;
  cpl: u32;

  cr3: u64;
  eptp: u64;
  cr0: u32;
  cr4: u32;
  efer: u32;
  rflags: u32;
  pkru: u32;
  pkrs: u32;
  vpid: u32;
  /** Stands in for the rows of a walk cache that the machine does not have: a row that matches nothing. */
  noWalkCache0: u64;
  noWalkCache1: u64;
  /** Invalidations of the TLB other than new generations; counted by the lab build only (x86/hardware.ts). */
  invalidations: u32;

  /** Paging mode of the nested dimension (x86/modes.ts). */
  nestedMode: u32;
  /** nCR3: host-physical address of the top table of AMD nested paging. */
  ncr3: u64;
  /** Likewise `nestedRoot`, of AMD nested paging. */
  nptRoot: u32;
  /** `Register.NestedControl`. */
  nestedControl: u32;
  /** `Register.SecondaryControls`. */
  secondaryControls: u32;
  pmlIndex: u32;
  pmlAddress: u64;
  eptVpidCap: u64;
  /** Generation of the last flush of guest-physical addresses: rows of the walk cache of another one are empty. */
  tablesGeneration: u32;
  /** 1 if the VPID changed since everything was flushed: entries of several may be there. */
  vpidsSeen: u32;
  /** Which nested tables a row of the walk cache comes from, as its tag says it (layout/walkcache.ts). */
  tablesTag: u64;
  /** Rows of the paging-structure caches, 0 without (layout/structures.ts); their bytes less one row. */
  structuresBase: u32;
  structuresMask: u32;
  /** 1 between VM entry and VM exit; kept by the lab build only (x86/speculation.ts). */
  inGuest: u32;
  /** Of a block that is lent to a page walker: the vCPU whose walker it is; else 0. Lab build only. */
  walksFor: u32;
}
if (ACTOR_CPU + offsetof<Cpu>() > ACTOR_STATS) ERROR("Cpu must fit its part");
if (offsetof<Cpu>("denyImplicitRead") > 64) ERROR("what a TLB hit reads must fit one line");

export const CPU_CONTEXT: usize = ACTOR_CPU + offsetof<Cpu>("context");
export const CPU_GENERATION: usize = ACTOR_CPU + offsetof<Cpu>("generation");
export const CPU_TLB_BASE: usize = ACTOR_CPU + offsetof<Cpu>("tlbBase");
export const CPU_TLB_MASK: usize = ACTOR_CPU + offsetof<Cpu>("tlbMask");
export const CPU_KEPT_GENERATION: usize = ACTOR_CPU + offsetof<Cpu>("keptGeneration");
/** Deny mask of `Access` k: at this offset + 8 k. */
export const CPU_DENY: usize = ACTOR_CPU + offsetof<Cpu>("denyRead");
export const CPU_TEST: usize = ACTOR_CPU + offsetof<Cpu>("test");
export const CPU_RESERVED: usize = ACTOR_CPU + offsetof<Cpu>("reserved");
export const CPU_NESTED_TEST: usize = ACTOR_CPU + offsetof<Cpu>("nestedTest");
export const CPU_NESTED_RESERVED: usize = ACTOR_CPU + offsetof<Cpu>("nestedReserved");
export const CPU_DENY_TABLE: usize = ACTOR_CPU + offsetof<Cpu>("denyTable");
export const CPU_ROOT: usize = ACTOR_CPU + offsetof<Cpu>("root");
export const CPU_NESTED_ROOT: usize = ACTOR_CPU + offsetof<Cpu>("nestedRoot");
export const CPU_SHAPE: usize = ACTOR_CPU + offsetof<Cpu>("shape");
export const CPU_MODE: usize = ACTOR_CPU + offsetof<Cpu>("mode");
export const CPU_TLB_LARGE_BASE: usize = ACTOR_CPU + offsetof<Cpu>("tlbLargeBase");
export const CPU_TLB_LARGE_MASK: usize = ACTOR_CPU + offsetof<Cpu>("tlbLargeMask");
export const CPU_WALK_CACHE_BASE: usize = ACTOR_CPU + offsetof<Cpu>("walkCacheBase");
export const CPU_WALK_CACHE_MASK: usize = ACTOR_CPU + offsetof<Cpu>("walkCacheMask");
export const CPU_LARGE_SEEN: usize = ACTOR_CPU + offsetof<Cpu>("largeSeen");
export const CPU_CPL: usize = ACTOR_CPU + offsetof<Cpu>("cpl");
export const CPU_CR3: usize = ACTOR_CPU + offsetof<Cpu>("cr3");
export const CPU_EPTP: usize = ACTOR_CPU + offsetof<Cpu>("eptp");
export const CPU_CR0: usize = ACTOR_CPU + offsetof<Cpu>("cr0");
export const CPU_CR4: usize = ACTOR_CPU + offsetof<Cpu>("cr4");
export const CPU_EFER: usize = ACTOR_CPU + offsetof<Cpu>("efer");
export const CPU_RFLAGS: usize = ACTOR_CPU + offsetof<Cpu>("rflags");
export const CPU_PKRU: usize = ACTOR_CPU + offsetof<Cpu>("pkru");
export const CPU_PKRS: usize = ACTOR_CPU + offsetof<Cpu>("pkrs");
export const CPU_VPID: usize = ACTOR_CPU + offsetof<Cpu>("vpid");
export const CPU_INVALIDATIONS: usize = ACTOR_CPU + offsetof<Cpu>("invalidations");
export const CPU_NO_WALK_CACHE: usize = ACTOR_CPU + offsetof<Cpu>("noWalkCache0");
export const CPU_NESTED_MODE: usize = ACTOR_CPU + offsetof<Cpu>("nestedMode");
export const CPU_NCR3: usize = ACTOR_CPU + offsetof<Cpu>("ncr3");
export const CPU_NPT_ROOT: usize = ACTOR_CPU + offsetof<Cpu>("nptRoot");
export const CPU_NESTED_CONTROL: usize = ACTOR_CPU + offsetof<Cpu>("nestedControl");
export const CPU_SECONDARY_CONTROLS: usize = ACTOR_CPU + offsetof<Cpu>("secondaryControls");
export const CPU_PML_INDEX: usize = ACTOR_CPU + offsetof<Cpu>("pmlIndex");
export const CPU_PML_ADDRESS: usize = ACTOR_CPU + offsetof<Cpu>("pmlAddress");
export const CPU_EPT_VPID_CAP: usize = ACTOR_CPU + offsetof<Cpu>("eptVpidCap");
export const CPU_TABLES_GENERATION: usize = ACTOR_CPU + offsetof<Cpu>("tablesGeneration");
export const CPU_VPIDS_SEEN: usize = ACTOR_CPU + offsetof<Cpu>("vpidsSeen");
export const CPU_TABLES_TAG: usize = ACTOR_CPU + offsetof<Cpu>("tablesTag");
export const CPU_STRUCTURES_BASE: usize = ACTOR_CPU + offsetof<Cpu>("structuresBase");
export const CPU_STRUCTURES_MASK: usize = ACTOR_CPU + offsetof<Cpu>("structuresMask");
export const CPU_IN_GUEST: usize = ACTOR_CPU + offsetof<Cpu>("inGuest");
export const CPU_WALKS_FOR: usize = ACTOR_CPU + offsetof<Cpu>("walksFor");

/** Dimensions of translation: bit 0 the guest's tables, bit 1 nested tables (EPT or AMD nested paging). */
export enum Shape {
  /** Neither: the linear address is the physical one. */
  None = 0,
  Guest = 1,
  Nested = 2,
  Both = 3,
}

/** Registers by name, for the ABI. */
export enum Register {
  Cr0 = 0,
  Cr3 = 1,
  Cr4 = 2,
  Efer = 3,
  Rflags = 4,
  Cpl = 5,
  Pkru = 6,
  Pkrs = 7,
  Eptp = 8,
  /** VPID, or the ASID of AMD. 0 is that of software without either. */
  Vpid = 9,
  /**
   * AMD nested paging: bit 0 NP_ENABLE of the VMCB (APM vol. 2 15.25.3), and of the host's registers what its nested
   * tables are walked with, each at its place there: EFER.NXE (bit 11), CR4.LA57 (bit 12).
   */
  NestedControl = 10,
  /** nCR3 of the VMCB. */
  Ncr3 = 11,
  /** Secondary processor-based VM-execution controls: bit 17 enable PML, bit 22 mode-based execute control for EPT. */
  SecondaryControls = 12,
  /** PML address of the VMCS. */
  PmlAddress = 13,
  /** PML index, a guest-state field of the VMCS: 16 bits. */
  PmlIndex = 14,
  /**
   * IA32_VMX_EPT_VPID_CAP, of what a walk depends on: bit 0 execute-only translations, bit 7 page walks of five levels,
   * bit 22 advanced VM-exit information for EPT violations. Not a register that software writes: which processor it is.
   */
  EptVpidCap = 15,
}

/** What became of a register write, or of an instruction that invalidates. */
export enum RegisterWrite {
  Ok = 0,
  /** #GP(0): a reserved bit, or a combination that the manual forbids. */
  GeneralProtection = 1,
  /** The manual allows it, this processor does not have it (32-bit and PAE paging). */
  Unsupported = 2,
  /** VMfail, error 28: invalid operand to INVEPT or INVVPID. */
  VmFail = 3,
}
