// mm_struct: the address space of the VMM process, and the zone its pages come from.
//
//     0  mmap_lock, VMA table                  256  zone: buddy free lists
//   128  notifiers, host TLB

import { KVM_BASE, KVM_SIZE } from "./kvm";

export const MM_BASE: usize = KVM_BASE + KVM_SIZE;
export const MM_SIZE: usize = 4096;

@unmanaged
export class Mm {
  /** mmap_lock: an rwlock. */
  mmapLockWord: u32;
  mmapLockOwner: u32;
  mmapLockWaiters: u32;
  /** pfn of the top host page table. */
  pgd: u32;
  /** VMAs in the table, sorted by start. */
  vmaCount: u32;
  /** Where the search for a free hva range begins. */
  mmapBaseLow: u32;
}
export const MM_MMAP_LOCK: usize = offsetof<Mm>("mmapLockWord");

@unmanaged
export class MmNotifiers {
  /** Registered notifiers, `Notifier` kind in bits 7:0 and instance above; 0 is an empty place. */
  slot0: u32;
  slot1: u32;
  slot2: u32;
  slot3: u32;
  /** Host TLB flushes done. */
  tlbFlushes: u64;
}
export const MM_NOTIFIERS: usize = 128;
export const MM_NOTIFIER_SLOTS: u32 = 4;
export const MM_TLB_FLUSHES: usize = MM_NOTIFIERS + offsetof<MmNotifiers>("tlbFlushes");

/** The zone: one per machine, in the page of the first mm. Free lists of the buddy allocator, one an order. */
export const ZONE_BASE: usize = MM_BASE + 256;
export const ZONE_LOCK: usize = ZONE_BASE;
/** Frames in the buddy lists. */
export const ZONE_FREE: usize = ZONE_BASE + 4;
/** Frames that may be handed out at all. */
export const ZONE_MANAGED: usize = ZONE_BASE + 8;
/** Heads (pfn, 0 for none) of the free lists, 4 bytes an order. */
export const ZONE_LISTS: usize = ZONE_BASE + 64;
/** Orders 0 to 10: blocks of 4 KiB to 4 MiB. */
export const ZONE_ORDERS: u32 = 11;

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
  /** log2 of the page size that faults install: 12 or 21. */
  pageShift: u32;
}
export const VMA_SHIFT: u32 = 5;
if (offsetof<Vma>() > <usize>1 << VMA_SHIFT) ERROR("a VMA must fit its row");

export enum VmaFlag {
  Read = 1 << 0,
  Write = 1 << 1,
  Exec = 1 << 2,
}
if (offsetof<Mm>() > 128) ERROR("Mm must fit its line pair");
