// Copy-on-write: what a write does to anonymous memory that its process may not write to yet, and the shared zero page.
//
// A page is *exclusive* (PageFlag.AnonExclusive) while the one process that maps it is the only one that may: it is from
// its first fault to a fork, and again when a write finds that nobody else refers to it. The flag of a compound page is
// that of its head. A page that is pinned is exclusive: fork gives the child a copy of it.

import { NotifyEvent } from "../dispatch";
import { Map, PAGE_SIZE } from "../layout/map";
import { MM_WRITE_PROTECT_SEQ, MM_ZERO_PFN, VMA_NOT_COPIED } from "../layout/mm";
import { PAGE_FLAGS, PAGE_MAPCOUNT, PAGE_REFCOUNT, PageFlag } from "../layout/page";
import { Stat, Stats } from "../layout/stats";
import { Note, Notes } from "../note";
import { Barrier, Ops, Order } from "../sync/ops";
import { Spin } from "../sync/spin";
import { PTE_A, PTE_D, PTE_P, PTE_US, PTE_XD } from "../x86/bits";
import { flushHostTlb } from "./gather";
import { notifyAfter, notifyBefore } from "./notify";
import { getPage, headOf, putPage } from "./page";
import { allocPage, allocReferences } from "./pool";
import { HostEntry, PTE_PROTNONE, PTE_SHIFT, PTE_SPECIAL } from "./tables";
import { dropMapping } from "./zap";

/**
 * mm.write_protect_seq, for a lookup without a lock that pins: a fork that has found the page not pinned may write-protect
 * its entry right after the lookup has looked at that again, and the child would share a page that is pinned.
 */
export class WriteProtectSeq {
  /** raw_read_seqcount: odd while a fork is at it, when a lookup that pins takes the slow way. */
  @inline static read(mm: usize): u32 {
    return Ops.load<u32>(mm + MM_WRITE_PROTECT_SEQ, Order.Acquire);
  }
  /** read_seqcount_retry, after the pin and the second look at the entry: the pin is to be given back. */
  @inline static changed(mm: usize, seq: u32): bool {
    Ops.barrier(Barrier.Rmb);
    return Ops.load<u32>(mm + MM_WRITE_PROTECT_SEQ, Order.Relaxed) != seq;
  }
  /** Around the copying of a fork, mmap_lock held for write. */
  @inline static advance(mm: usize): void {
    Ops.add<u32>(mm + MM_WRITE_PROTECT_SEQ, 1, Order.Full);
  }
}

/** Makes the zero page, as the machine is made. False if there is no frame. */
export function createZeroPage(actor: usize, mm: usize): bool {
  const pfn = allocPage(actor);
  if (pfn == 0) return false;
  memory.fill(Map.frame(pfn), 0, PAGE_SIZE);
  store<u32>(Map.page(pfn) + PAGE_FLAGS, PageFlag.Zero | PageFlag.Reserved);
  store<u32>(mm + MM_ZERO_PFN, pfn);
  return true;
}

/** The PTE of a read fault that maps the zero page; the mapping holds no reference on it. */
export function zeroEntry(mm: usize, executable: bool): u64 {
  const bits: u64 = PTE_P | PTE_US | PTE_A | PTE_SPECIAL;
  return ((<u64>load<u32>(mm + MM_ZERO_PFN)) << PTE_SHIFT) | bits | (executable ? 0 : PTE_XD);
}

/**
 * wp_can_reuse_anon_folio: the write-protected page of `entry`, in a VMA with these flags that allows the write, may be
 * made writable where it is. Then it is exclusive. PTL held.
 */
export function canReuse(entry: u64, vmaFlags: u32): bool {
  if (vmaFlags & VMA_NOT_COPIED) return true;
  if (entry & PTE_SPECIAL) return false;
  const head = headOf(Map.page(HostEntry.pfn(entry)));
  const flags = Ops.load<u32>(head + PAGE_FLAGS, Order.Relaxed);
  if (flags & PageFlag.AnonExclusive) return true;
  // Any other reference may be that of somebody who was given the page to read: then he keeps what it holds now.
  if (flags & PageFlag.Head || Ops.load<i32>(head + PAGE_REFCOUNT, Order.Relaxed) != 1) return false;
  Ops.or<u32>(head + PAGE_FLAGS, PageFlag.AnonExclusive, Order.None);
  return true;
}

/** The same page with the same rights: what the processor sets meanwhile is no change (pte_same). */
function isSame(a: u64, b: u64): bool {
  return ((a ^ b) & ~(PTE_A | PTE_D)) == 0;
}

/** A new page with what `old` maps, for a mapping and `references` more; 0 if there is no frame. */
function copyOf(actor: usize, old: u64, references: i32): u32 {
  const pfn = allocReferences(actor, 1 + references);
  if (pfn == 0) return 0;
  if (old & PTE_SPECIAL) memory.fill(Map.frame(pfn), 0, PAGE_SIZE);
  else memory.copy(Map.frame(pfn), Map.frame(HostEntry.pfn(old)), PAGE_SIZE);
  const page = Map.page(pfn);
  store<i32>(page + PAGE_MAPCOUNT, 1);
  store<u32>(page + PAGE_FLAGS, PageFlag.AnonExclusive);
  return pfn;
}

/** How `breakCow` ended, where it is no pfn. */
export const COW_NO_FRAME: u32 = 0;
export const COW_AGAIN: u32 = u32.MAX_VALUE;

/**
 * wp_page_copy: puts a copy in the place of the write-protected page that `old` was seen to map, with the PTE bits
 * `bits`, and `references` for the caller. Returns its pfn. The page of `old` is held by the caller, if it is not the
 * zero page, and is put here. mmap_lock is held for read, no spin lock.
 */
export function breakCow(
  actor: usize,
  mm: usize,
  slot: usize,
  hva: u64,
  old: u64,
  bits: u64,
  references: i32,
): u32 {
  const first = hva & ~(<u64>(PAGE_SIZE - 1));
  const pfn = copyOf(actor, old, references);
  if (pfn == 0) {
    if ((old & PTE_SPECIAL) == 0) putPage(Map.page(HostEntry.pfn(old)), actor);
    return COW_NO_FRAME;
  }
  notifyBefore(actor, mm, first, first + PAGE_SIZE, NotifyEvent.Clear);
  const replaced = replaceEntry(actor, mm, slot, first, old, ((<u64>pfn) << PTE_SHIFT) | bits);
  notifyAfter(actor, mm, first, first + PAGE_SIZE, NotifyEvent.Clear);
  if ((old & PTE_SPECIAL) == 0) {
    const page = Map.page(HostEntry.pfn(old));
    if (replaced) putPage(page, actor); // the mapping's: the host TLB was flushed
    putPage(page, actor);
  }
  if (replaced) {
    Stats.add(actor, Stat.HostFaults, 1);
    return pfn;
  }
  const page = Map.page(pfn);
  store<i32>(page + PAGE_MAPCOUNT, 0);
  for (let i = -1; i < references; i++) putPage(page, actor);
  return COW_AGAIN;
}

/**
 * Clear, flush, set: nobody uses the old page through the tables when the new one can be reached. In between the entry is
 * not present, but not none either, which whoever faults would fill without the lock. False: it has changed.
 */
function replaceEntry(actor: usize, mm: usize, slot: usize, hva: u64, old: u64, entry: u64): bool {
  const lock = HostEntry.lockOf(slot);
  Spin.lock(lock, actor);
  const same = isSame(HostEntry.read(slot), old);
  if (same) {
    Ops.swap<u64>(slot, (old & ~PTE_P) | PTE_PROTNONE, Order.Full);
    Notes.tell(Note.HostLeaf, hva | PTE_SHIFT, 0);
    flushHostTlb(actor, mm);
    Ops.store<u64>(slot, entry, Order.Release);
    Notes.tell(Note.HostLeaf, hva | PTE_SHIFT, entry);
    if ((old & PTE_SPECIAL) == 0) dropMapping(headOf(Map.page(HostEntry.pfn(old))), actor);
  }
  Spin.unlock(lock, actor);
  return same;
}

/** Holds the page of `entry` beyond its PTL, for `breakCow`. PTL held. */
export function holdForCopy(entry: u64, actor: usize): void {
  if ((entry & PTE_SPECIAL) == 0) getPage(Map.page(HostEntry.pfn(entry)), actor);
}
