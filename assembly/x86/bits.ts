// Bits of the x86-64 paging structures and of the registers that govern them, by the names of the Intel SDM, vol. 3.
//
// 4.5, an entry of a PML5, PML4, PDPT, PD or page table (one name for all levels):
//
//   63  62:59  58:52    51:12          11:9  8  7       6  5  4    3    2    1    0
//   XD  key    ignored  page or table  ign.  G  PS/PAT  D  A  PCD  PWT  U/S  R/W  P
//       \ key, G, D, PAT: in an entry that maps a page; PAT of a large page is bit 12
//
// 29.3.2, an EPT entry:
//
//   63   62:58  57:52    51:12          11    10  9  8  7      6     5:3   2  1  0
//   SVE  ign.   ignored  page or table  ign.  XU  D  A  large  IPAT  type  X  W  R
//                                                 \ D, IPAT, type: in an entry that maps a page

export const PTE_P: u64 = 1 << 0;
export const PTE_RW: u64 = 1 << 1;
export const PTE_US: u64 = 1 << 2;
export const PTE_PWT: u64 = 1 << 3;
export const PTE_PCD: u64 = 1 << 4;
export const PTE_A: u64 = 1 << 5;
export const PTE_D: u64 = 1 << 6;
/** Maps a page, in a PDPTE or PDE; reserved in a PML5E or PML4E. The same bit is PAT in a PTE. */
export const PTE_PS: u64 = 1 << 7;
export const PTE_G: u64 = 1 << 8;
/** Execute-disable; reserved while EFER.NXE is clear. */
export const PTE_XD: u64 = 1 << 63;
/** Physical address of the page or table, in an entry of any level and either format. */
export const PTE_ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/** Protection key: four bits from here. */
export const PTE_KEY_SHIFT: u64 = 59;
/** Bits that must be zero in an entry that maps a 2-MByte page: 20:13. */
export const PTE_2M_RESERVED: u64 = 0x001f_e000;
/** Bits that must be zero in an entry that maps a 1-GByte page: 29:13. */
export const PTE_1G_RESERVED: u64 = 0x3fff_e000;

export const EPT_R: u64 = 1 << 0;
export const EPT_W: u64 = 1 << 1;
export const EPT_X: u64 = 1 << 2;
export const EPT_RWX: u64 = 7;
export const EPT_MEMTYPE: u64 = 7 << 3;
export const EPT_MEMTYPE_WB: u64 = 6 << 3;
export const EPT_IPAT: u64 = 1 << 6;
/** Maps a page, in a PDPTE or PDE. */
export const EPT_PS: u64 = 1 << 7;
export const EPT_A: u64 = 1 << 8;
export const EPT_D: u64 = 1 << 9;
/** Execute access for user-mode linear addresses, with mode-based execute control only. */
export const EPT_XU: u64 = 1 << 10;
export const EPT_SUPPRESS_VE: u64 = 1 << 63;
/** Bits that must be zero in an EPT PML4E: 7:3. */
export const EPT_PML4E_RESERVED: u64 = 0xf8;
/** Bits that must be zero in an EPT PDPTE or PDE that refers to a table: 6:3. */
export const EPT_TABLE_RESERVED: u64 = 0x78;
/** Bits that must be zero in an EPT entry that maps a 2-MByte page: 20:12. */
export const EPT_2M_RESERVED: u64 = 0x001f_f000;
/** Bits that must be zero in an EPT entry that maps a 1-GByte page: 29:12. */
export const EPT_1G_RESERVED: u64 = 0x3fff_f000;

/** EPTP: memory type WB and a walk of four levels (25.6.11). */
export const EPTP_WB_4LEVEL: u64 = 6 | (3 << 3);
export const EPTP_MEMTYPE: u64 = 7;
export const EPTP_LEVELS: u64 = 7 << 3;
/** EPTP: memory type WB and a walk of five levels. */
export const EPTP_WB_5LEVEL: u64 = 6 | (4 << 3);
/** Accessed and dirty flags for EPT. */
export const EPTP_AD: u64 = 1 << 6;

export const CR0_PE: u64 = 1 << 0;
export const CR0_ET: u64 = 1 << 4;
export const CR0_WP: u64 = 1 << 16;
export const CR0_NW: u64 = 1 << 29;
export const CR0_CD: u64 = 1 << 30;
export const CR0_PG: u64 = 1 << 31;
/** The bits that there are: the others stay clear after any load (SDM vol. 2A, MOV to control registers). */
export const CR0_DEFINED: u64 = 0x3f | CR0_WP | (1 << 18) | CR0_NW | CR0_CD | CR0_PG;

/** With CR4.PCIDE: keep what the TLB has for the new PCID. */
export const CR3_NO_FLUSH: u64 = 1 << 63;
export const CR3_PCID: u64 = 0xfff;

export const CR4_PSE: u64 = 1 << 4;
export const CR4_PAE: u64 = 1 << 5;
export const CR4_PGE: u64 = 1 << 7;
export const CR4_LA57: u64 = 1 << 12;
export const CR4_VMXE: u64 = 1 << 13;
export const CR4_FSGSBASE: u64 = 1 << 16;
export const CR4_PCIDE: u64 = 1 << 17;
export const CR4_OSXSAVE: u64 = 1 << 18;
export const CR4_SMEP: u64 = 1 << 20;
export const CR4_SMAP: u64 = 1 << 21;
export const CR4_PKE: u64 = 1 << 22;
export const CR4_PKS: u64 = 1 << 24;
/** What may be set: everything above, VME to MCE, PCE, OSFXSR, OSXMMEXCPT and UMIP. */
export const CR4_VALID: u64 =
  0x7f |
  CR4_PGE |
  (0xf << 8) |
  CR4_LA57 |
  CR4_VMXE |
  CR4_FSGSBASE |
  CR4_PCIDE |
  CR4_OSXSAVE |
  CR4_SMEP |
  CR4_SMAP |
  CR4_PKE |
  CR4_PKS;

export const EFER_SCE: u64 = 1 << 0;
export const EFER_LME: u64 = 1 << 8;
export const EFER_LMA: u64 = 1 << 10;
export const EFER_NXE: u64 = 1 << 11;

export const RFLAGS_FIXED: u64 = 1 << 1;
export const RFLAGS_AC: u64 = 1 << 18;

/** #PF error code (4.7). */
export const PFERR_P: u32 = 1 << 0;
export const PFERR_WR: u32 = 1 << 1;
export const PFERR_US: u32 = 1 << 2;
export const PFERR_RSVD: u32 = 1 << 3;
export const PFERR_ID: u32 = 1 << 4;
export const PFERR_PK: u32 = 1 << 5;

/** Exit qualification of an EPT violation (28.2.1, table 28-7). */
export const EPT_VIOLATION_READ: u32 = 1 << 0;
export const EPT_VIOLATION_WRITE: u32 = 1 << 1;
export const EPT_VIOLATION_FETCH: u32 = 1 << 2;
/** R, W and X of all entries used, ANDed: three bits from here. */
export const EPT_VIOLATION_RIGHTS_SHIFT: u32 = 3;
/** XU of all entries used, ANDed; with mode-based execute control only. */
export const EPT_VIOLATION_XU: u32 = 1 << 6;
/** The guest-linear address is valid. */
export const EPT_VIOLATION_LINEAR: u32 = 1 << 7;
/** The access was to the translation of that address; clear: to a guest paging-structure entry. */
export const EPT_VIOLATION_FINAL: u32 = 1 << 8;
/** Advanced information, with EPT_VIOLATION_FINAL: the linear address is a user-mode one. */
export const EPT_VIOLATION_USER: u32 = 1 << 9;
/** The guest's tables let it be written. */
export const EPT_VIOLATION_GUEST_WRITABLE: u32 = 1 << 10;
/** The guest's tables do not let it be executed. */
export const EPT_VIOLATION_GUEST_XD: u32 = 1 << 11;

/** EXITINFO1 of a nested page fault, beside the bits of a #PF error code (APM vol. 2, 15.25.6). */
export const NPF_FINAL: u64 = 1 << 32;
/** The access was to a table of the guest. */
export const NPF_TABLE: u64 = 1 << 33;

/** NP_ENABLE of a VMCB (APM vol. 2, 15.25.3). */
export const NP_ENABLE: u64 = 1 << 0;

/** Secondary processor-based VM-execution controls (25.6.2). */
export const SECONDARY_PML: u64 = 1 << 17;
export const SECONDARY_MBEC: u64 = 1 << 22;

/** IA32_VMX_EPT_VPID_CAP (A.10). */
export const EPT_CAP_EXECUTE_ONLY: u64 = 1 << 0;
export const EPT_CAP_5LEVEL: u64 = 1 << 7;
export const EPT_CAP_ADVANCED: u64 = 1 << 22;

/** Entries of a page-modification log (29.3.6). */
export const PML_ENTRIES: u32 = 512;
