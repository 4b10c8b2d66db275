// What the lab build tells its host while it runs: events for checkers that keep ghost state beside the machine
// (src/invariants). An event belongs to the access before it: nothing can come between the two, as no shared word is
// touched on the way. In the release build there is none of it.

import { note } from "./env";

/** Kinds of events: bits 7:0 of `kind`. Bits 31:16 carry a detail where one is named. Two 64-bit arguments, a and b. */
export enum Note {
  /** start was called for hva [a, b). Bits 15:8: `NotifyEvent`. */
  NotifyStart = 1,
  /** start has returned to the host: every listener is done with the range. Arguments and bits as NotifyStart. */
  NotifyStarted = 2,
  /** end was called. Arguments and bits as NotifyStart. */
  NotifyEnd = 3,
  /**
   * A leaf entry of the host tables was written, other than A and D. a: hva, its shift in bits 5:0; b: entry, 0 none.
   * With NOTE_SPLIT: the 2 MiB leaf b became 512 PTEs of the same pages and rights, told once for all of them.
   */
  HostLeaf = 4,
  /** The host's TLBs were flushed. */
  HostFlush = 5,
  /** A page was handed out, tables included. a: pfn, b: references << 8 | order. */
  PageAlloc = 6,
  /** A page became free: PagePut has told of a count of 0, nothing of it was given away yet. a: pfn, b: order. */
  PageFree = 7,
  /** References were taken: one, or 511 by a split. a: pfn of the head, b: count afterwards. */
  PageGet = 8,
  /** A reference was dropped. a: pfn of the head, b: count afterwards. */
  PagePut = 9,
  /**
   * A leaf SPTE was written, other than A and D. a: gfn, its shift in bits 63:56; b: SPTE, 0 for none or frozen. Bits
   * 31:16: low bits of the pfn of the root, also of a table that has been unlinked from it. With NOTE_SPLIT: the large
   * leaf b became a table of 512 leaves of the same pages and rights; SpteLink follows.
   */
  SpteLeaf = 10,
  /** A link to a lower table changed. a: gfn, shift of the entry in bits 63:56; b: SPTE. Bits 31:16: pfn of the root. */
  SpteLink = 11,
  /** A table of the secondary MMU is in use from here on. a: pfn, b: shift of its entries. */
  TableAlloc = 12,
  /** A table of the secondary MMU is given back. a: pfn. */
  TableFree = 13,
  /**
   * A TLB entry was made, or renewed. a: gva of its page, b: host-physical page, bit 0: EPT lets it be written. Bits
   * 15:8: log2 of its size, 31:16: vCPU. One translation may make two entries, a large one and a 4 KiB piece of it.
   */
  TlbFill = 14,
  /** A vCPU's TLB was emptied; with NOTE_NON_GLOBAL, of what is not global. Bits 31:16: vCPU. */
  TlbFlush = 15,
  /** A TLB entry went, dropped or replaced. a: gva of its page. Bits 15:8: log2 of its size, 31:16: vCPU. */
  TlbDrop = 16,
  /**
   * The guest accesses memory next: told after the translation, before the access. a: gva, b: address in this memory
   * << 1 | write. Bits 31:16: vCPU.
   */
  GuestUse = 17,
  /** The vCPU is in guest mode, its requests looked at: its TLB is used from here on. Bits 31:16: vCPU. */
  GuestEnter = 18,
  /** The vCPU is out of guest mode, where it may have been before. Bits 31:16: vCPU. */
  GuestExit = 19,
  /** A remote flush begins: SPTE changes of this actor up to here are covered by it. */
  FlushBegin = 20,
  /** It is over: every vCPU that was in guest mode has acknowledged it (unless Rule.FlushWaitsForAck is left out). */
  FlushDone = 21,
  /** A lock is about to be taken. a: address, b: 1 to write. Bits 15:8: `LockKind`. */
  LockWanted = 22,
  /** It is held. Arguments as LockWanted. */
  LockTaken = 23,
  /** It is given up. a: address. */
  LockDropped = 24,
  /** The actor may sleep here: not to be done with a spin lock or an rwlock held. a: why, an address or 0. */
  MaySleep = 25,
  /** The outermost read section of SRCU (a: 0) or RCU (a: 1) begins. */
  ReadEnter = 26,
  /** It ends. */
  ReadLeave = 27,
  /** mmu_invalidate_in_progress was written. a: its value, b: mmu_invalidate_seq. */
  InProgress = 28,
  /** mn_active_invalidate_count was written. a: its value. */
  ActiveCount = 29,
  /** The range union was written. a: first gfn, b: gfn behind the last. */
  Range = 30,
  /** kvm_vcpu_map succeeded. a: pfn, b: gfn. Bits 31:16: vCPU. */
  MapTaken = 31,
  /** A mapping of kvm_vcpu_map is used. a: pfn, b: address << 1 | write. Bits 31:16: vCPU. */
  MapUse = 32,
  /** kvm_vcpu_unmap has let go. a: pfn, b: gfn. Bits 31:16: vCPU. */
  MapDropped = 33,
  /** A gfn_to_pfn_cache became valid. a: uhva, b: pfn. Bits 31:16: cache. */
  GpcValid = 34,
  /** It became invalid. Bits 31:16: cache. */
  GpcInvalid = 35,
  /** It is used. a: pfn, b: address << 1 | write. Bits 31:16: cache. */
  GpcUse = 36,
  /** struct page of a page is used in a way that needs the page held. a: pfn. */
  MetaUse = 37,
  /** A frame belongs to a file from here on. a: pfn, b: file << 40 | index. */
  FileAdd = 38,
  /** A frame belongs to no file any more: truncated, its block may be given to another. a: pfn. */
  FileRemove = 39,
  /** A device accesses memory. a: pfn, b: address << 1 | write. */
  DmaUse = 40,
  /** New memslots are in force. a: generation, odd as the update is under way. */
  SlotsPublished = 41,
  /** Deletion of a memslot is over, or the first half of a move: nothing of it is mapped. a: first gfn, b: pages. */
  SlotDeleted = 42,
  /** A root was made obsolete. a: pfn. */
  RootInvalid = 43,
  /** A root was loaded by a vCPU. a: pfn, 0 when it gives its root up. Bits 31:16: vCPU. */
  RootLoaded = 44,
  /** A page was marked dirty. a: pfn of the head. */
  PageDirty = 45,
  /** What follows, up to AtomicEnd, is one step of hardware. */
  AtomicBegin = 46,
  AtomicEnd = 47,
  /** A pin (FOLL_PIN) was taken. a: pfn of the head. */
  PinTaken = 48,
  /** It was dropped. a: pfn of the head. */
  PinDropped = 49,
  /** A device's memory is gone: nobody may use its pages. a: pgmap. */
  PgmapGone = 50,
  /** The host stores to a page on behalf of user space or KVM. a: pfn, b: address << 1 | write. */
  HostUse = 51,
}

/** Bits 15:8 of HostLeaf and SpteLeaf: a large leaf has become a table of leaves of the next smaller size. */
export const NOTE_SPLIT: i32 = 1 << 8;
/** Bits 15:8 of TlbFlush: global entries are spared. */
export const NOTE_NON_GLOBAL: i32 = 1 << 8;

/** Bits 15:8 of the lock events: what may be done while it is held. */
export enum LockKind {
  /** spinlock_t: no sleeping. */
  Spin = 0,
  /** rwlock_t: no sleeping. */
  RwLock = 1,
  /** struct mutex, rw_semaphore. */
  Sleeping = 2,
}

export class Notes {
  @inline static tell(kind: i32, a: u64, b: u64): void {
    if (LAB) note(kind, a, b);
  }
}
