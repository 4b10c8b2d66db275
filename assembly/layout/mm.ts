// mm_struct: the address space of the VMM process, and the zone its pages come from. Words that every fault writes
// (mmap_lock, zone lock) lie apart from those that every fault reads.
//
//     0  mmap_lock                            384  zone: lock
//   128  VMA table, pgd, notifiers            512  zone: buddy free lists
//   256  host TLB flushes, rmap lock         3072  direct I/O

import { KVM_BASE, KVM_SIZE } from "./kvm";

export const MM_BASE: usize = KVM_BASE + KVM_SIZE;
export const MM_SIZE: usize = 4096;

/** mmap_lock: an rwlock, three words. Guards the VMA table; held for read, it also keeps host page tables in place. */
export const MM_MMAP_LOCK: usize = 0;

/** Read by every fault, written by few. */
@unmanaged
export class Mm {
  /** pfn of the top host page table. */
  pgd: u32;
  /** VMAs in the table, sorted by start. mmap_lock. */
  vmaCount: u32;
  /** Registered notifiers, `Notifier` kind in bits 7:0 and instance above; 0 is an empty place. */
  notifier0: u32;
  notifier1: u32;
  notifier2: u32;
  notifier3: u32;
  /** pfn of the shared zero page; 0 without MachineOption.SharedZeroPage. */
  zeroPfn: u32;
  /** mm.write_protect_seq: odd while a fork makes pages copy-on-write. Written under mmap_lock (write). */
  writeProtectSeq: u32;
}
const MM_FIELDS: usize = 128;
export const MM_PGD: usize = MM_FIELDS + offsetof<Mm>("pgd");
export const MM_VMA_COUNT: usize = MM_FIELDS + offsetof<Mm>("vmaCount");
export const MM_NOTIFIERS: usize = MM_FIELDS + offsetof<Mm>("notifier0");
export const MM_ZERO_PFN: usize = MM_FIELDS + offsetof<Mm>("zeroPfn");
export const MM_WRITE_PROTECT_SEQ: usize = MM_FIELDS + offsetof<Mm>("writeProtectSeq");
export const MM_NOTIFIER_SLOTS: u32 = 4;

/** Host TLB flushes done: a u64. */
export const MM_TLB_FLUSHES: usize = 256;

/** The rmap lock (i_mmap_rwsem), an rwlock: who changes the VMA table of a machine with files holds it for write. */
export const MM_RMAP_LOCK: usize = 272;

/** Where the search for a free range begins, and where user space ends: the top page is never mapped. */
export const MM_MMAP_BASE: u64 = 0x1000_0000_0000;
export const MM_TASK_SIZE: u64 = 0x7fff_ffff_f000;
/** The lowest address that can be mapped: vm.mmap_min_addr. Results below are `HostStatus` codes. */
export const MM_MMAP_MIN: u64 = 0x1_0000;

/** The zone: one per machine, in the page of the first mm. */
export const ZONE_BASE: usize = MM_BASE + 384;
/** zone.lock, a spin lock: guards the free lists, and the Buddy flag and links of free frames. */
export const ZONE_LOCK: usize = ZONE_BASE;
/** Frames in the buddy lists. Written under the lock, read by anyone. */
export const ZONE_FREE: usize = ZONE_BASE + 64;
/** Frames that may be handed out at all. */
export const ZONE_MANAGED: usize = ZONE_BASE + 68;
/** Heads (pfn, 0 for none) of the free lists, 4 bytes an order. */
export const ZONE_LISTS: usize = ZONE_BASE + 128;
/** Orders 0 to 10: blocks of 4 KiB to 4 MiB. */
export const ZONE_ORDERS: u32 = 11;

/** Direct I/O under way: one row a transfer. */
export const DIO_BASE: usize = MM_BASE + 3072;
export const DIO_MAX: u32 = 8;
export const DIO_SHIFT: u32 = 7;
/** Pages that one transfer may touch. */
export const DIO_PAGES: u32 = 24;

@unmanaged
export class Dio {
  /** `DioState`; claimed by compare-and-swap. */
  state: u32;
  /** Pages pinned: pfns from `DIO_PFNS`. */
  pages: u32;
  /** Offset of the first byte in the first page. */
  offset: u32;
  length: u32;
  /** 1: the device writes to memory. */
  write: u32;
}
export const DIO_PFNS: usize = 32;

export enum DioState {
  Free = 0,
  /** Being set up or taken down by one actor. */
  Claimed = 1,
  /** Pinned: a device may transfer. */
  Ready = 2,
}

export class Dios {
  @inline static row(index: u32): usize {
    return DIO_BASE + ((<usize>index) << DIO_SHIFT);
  }
}
if (offsetof<Dio>() > DIO_PFNS) ERROR("the fields of a transfer must end before its pfns");
if (DIO_PFNS + DIO_PAGES * 4 > (<usize>1) << DIO_SHIFT) ERROR("a transfer must fit its row");
if (DIO_BASE + ((<usize>DIO_MAX) << DIO_SHIFT) > MM_BASE + MM_SIZE) ERROR("transfers must end with the page");

/** What a notifier registration names. */
export enum Notifier {
  None = 0,
  Kvm = 1,
}

/** One row of the VMA table: [start, end) of hva, page aligned. */
@unmanaged
export class Vma {
  start: u64;
  end: u64;
  /** `VmaFlag` bits. */
  flags: u32;
  /** log2 of the page size that faults install: 12, or 21 where an aligned 2 MiB lie within the VMA. */
  pageShift: u32;
  /** The file behind it, 0 for none (VmaFlag.File, VmaFlag.Dax). */
  file: u32;
  /** Page offset in the file of `start`; of a remapped range (VmaFlag.Pfnmap) its first pfn. */
  pgoff: u32;
}
export const VMA_SHIFT: u32 = 5;

export enum VmaFlag {
  Read = 1 << 0,
  Write = 1 << 1,
  Exec = 1 << 2,
  /** Shared mapping of a file in the page cache. */
  File = 1 << 8,
  /** Shared mapping of a DAX file: its pages are ZONE_DEVICE pages of the device. */
  Dax = 1 << 9,
  /** Remapped pfns (VM_PFNMAP): no lookup takes a reference. */
  Pfnmap = 1 << 10,
  /** hugetlb: the page size is the VMA's, never split. */
  Hugetlb = 1 << 11,
}
/** The bits that say what may be done, the others say what it is. */
export const VMA_PROTECTION: u32 = VmaFlag.Read | VmaFlag.Write | VmaFlag.Exec;
/** Anonymous and private: pages that a fork shares and a write copies. */
export const VMA_NOT_COPIED: u32 = VmaFlag.File | VmaFlag.Dax | VmaFlag.Pfnmap | VmaFlag.Hugetlb;
if (offsetof<Vma>() > (<usize>1) << VMA_SHIFT) ERROR("a VMA must fit its row");
if (offsetof<Mm>() > 64) ERROR("Mm must fit its line");
if (ZONE_LISTS + ZONE_ORDERS * 4 > DIO_BASE) ERROR("the zone must end before the transfers");
