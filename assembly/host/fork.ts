// fork: a child gets the anonymous pages of a range as they are now. It is a holder, not a second address space: a record
// of the entries that its tables would have, each with the reference and the count of a mapping, until it exits. It
// neither writes nor unmaps. Shared mappings (files, DAX, hugetlb) and remapped pfns concern only the parent here.
//
//   mmap_lock (write) ; write_protect_seq odd ; for each VMA:
//     start(PROTECTION_PAGE) ; page-table locks: take W away, one more reference each ; host TLB flush ; end
//   write_protect_seq even
//
// A record frame:   0 next frame   4 entries in use   16 entries: hva, PTE

import { NotifyEvent } from "../dispatch";
import { GRACE_MMAP_READER } from "../layout/control";
import { Map, PAGE_SIZE } from "../layout/map";
import { MM_MMAP_LOCK, VMA_NOT_COPIED } from "../layout/mm";
import { PAGE_FLAGS, PAGE_MAPCOUNT, PAGE_OWN, PageFlag } from "../layout/page";
import { Note, Notes } from "../note";
import { Ops, Order } from "../sync/ops";
import { RwLock } from "../sync/rwlock";
import { Spin } from "../sync/spin";
import { PTE_RW } from "../x86/bits";
import { WriteProtectSeq } from "./cow";
import { Gup } from "./fault";
import { flushHostTlb } from "./gather";
import { isRange } from "./mm";
import { notifyAfter, notifyBefore } from "./notify";
import { getMappedPage, headOf, putPage } from "./page";
import { maybePinned } from "./pin";
import { allocPage } from "./pool";
import { HostStatus } from "./status";
import { HostEntry, PMD_SHIFT, PTE_SHIFT, PTE_SPECIAL, newHostTable, pmdSlot } from "./tables";
import { Vmas, firstEndingAbove } from "./vma";
import { dropMapping, nextEntry, nextMapped, splitAround } from "./zap";

/** "Levels" of the frames of a record, which are tables of the child: the first one, which is its handle, and the others. */
const FIRST: u32 = 0x100;
const LATER: u32 = 0x101;
const NEXT: usize = 0;
const COUNT: usize = 4;
const ENTRIES: usize = 16;
const ENTRIES_MAX: u32 = (PAGE_SIZE - <u32>ENTRIES) / 16;

/** Frames of the records of children. */
export class ForkRecord {
  /** Frame `pfn` belongs to a record. */
  @inline static is(pfn: u32): bool {
    const page = Map.page(pfn);
    if ((Ops.load<u32>(page + PAGE_FLAGS, Order.Relaxed) & PageFlag.HostTable) == 0) return false;
    return (load<u32>(page + PAGE_OWN) | 1) == LATER;
  }
  @inline static count(pfn: u32): u32 {
    return load<u32>(Map.frame(pfn) + COUNT);
  }
  @inline static hva(pfn: u32, index: u32): u64 {
    return load<u64>(Map.frame(pfn) + ENTRIES + ((<usize>index) << 4));
  }
  @inline static entry(pfn: u32, index: u32): u64 {
    return load<u64>(Map.frame(pfn) + ENTRIES + ((<usize>index) << 4) + 8);
  }
  @inline static next(pfn: u32): u32 {
    return load<u32>(Map.frame(pfn) + NEXT);
  }
}

/** Makes sure that the record's last frame has room for an entry; returns that frame, 0 if there is no other. */
function roomIn(actor: usize, last: u32): u32 {
  if (ForkRecord.count(last) < ENTRIES_MAX) return last;
  const pfn = newHostTable(actor, LATER);
  if (pfn) store<u32>(Map.frame(last) + NEXT, pfn);
  return pfn;
}

function append(record: u32, hva: u64, entry: u64): void {
  const count = ForkRecord.count(record);
  const at = Map.frame(record) + ENTRIES + ((<usize>count) << 4);
  store<u64>(at, hva);
  store<u64>(at + 8, entry);
  store<u32>(Map.frame(record) + COUNT, count + 1);
}

/** A copy of the page of `entry` for the child alone: its entry, 0 if there is no frame. */
function copyForChild(actor: usize, entry: u64): u64 {
  const pfn = allocPage(actor);
  if (pfn == 0) return 0;
  memory.copy(Map.frame(pfn), Map.frame(HostEntry.pfn(entry)), PAGE_SIZE);
  const page = Map.page(pfn);
  store<i32>(page + PAGE_MAPCOUNT, 1);
  store<u32>(page + PAGE_FLAGS, PageFlag.AnonExclusive);
  return (entry & (((<u64>1) << PTE_SHIFT) - 1)) | ((<u64>pfn) << PTE_SHIFT);
}

/**
 * copy_present_pte: the child's entry for what the PTE at `slot` maps, 0 if there is no frame, or no further reference to
 * be had. A page that may be pinned stays the parent's own, writable; any other is shared, and neither may write. PTL held.
 */
function shareLocked(actor: usize, slot: usize, hva: u64, entry: u64): u64 {
  if (entry & PTE_SPECIAL) return entry;
  const page = Map.page(HostEntry.pfn(entry));
  const head = headOf(page);
  if (Ops.load<u32>(head + PAGE_FLAGS, Order.Relaxed) & PageFlag.AnonExclusive) {
    if (maybePinned(head)) return copyForChild(actor, entry);
    if (!getMappedPage(page, actor)) return 0;
    Ops.and<u32>(head + PAGE_FLAGS, ~PageFlag.AnonExclusive, Order.None);
  } else if (!getMappedPage(page, actor)) return 0;
  Ops.add<i32>(head + PAGE_MAPCOUNT, 1, Order.None);
  if (entry & PTE_RW) {
    // By an atomic operation: the processor may set A or D until then (ptep_set_wrprotect).
    entry = Ops.and<u64>(slot, ~PTE_RW, Order.None) & ~PTE_RW;
    Notes.tell(Note.HostLeaf, hva | PTE_SHIFT, entry);
  }
  return entry;
}

/** Shares the pages of [at, end) in one table. Returns the record's last frame, 0 if one cannot be shared. */
function sharePtes(actor: usize, table: u32, at: u64, end: u64, record: u32): u32 {
  const lock = HostEntry.lockOf(Map.frame(table));
  let last = record;
  Spin.lock(lock, actor);
  for (; at < end && last; at += PAGE_SIZE) {
    const slot = HostEntry.at(table, at, PTE_SHIFT);
    const entry = HostEntry.read(slot);
    if (entry == 0) continue;
    last = roomIn(actor, last);
    const shared = last ? shareLocked(actor, slot, at, entry) : 0;
    if (shared) append(last, at, shared);
    else last = 0;
  }
  Spin.unlock(lock, actor);
  return last;
}

/** copy_page_range of a part of a VMA, large pages split first. Returns as sharePtes. */
function shareRange(actor: usize, mm: usize, start: u64, end: u64, record: u32): u32 {
  let last = record;
  for (let at = nextMapped(mm, start, end); at < end && last; at = nextMapped(mm, at, end)) {
    const slot = pmdSlot(mm, at);
    const entry = HostEntry.read(slot);
    if (!HostEntry.isTable(entry)) {
      splitAround(actor, mm, slot, at);
      continue;
    }
    const next = min(nextEntry(at, PMD_SHIFT), end);
    last = sharePtes(actor, HostEntry.pfn(entry), at, next, last);
    at = next;
  }
  return last;
}

/** dup_mmap over [start, end). False if a page could not be shared. mmap_lock (write). */
function shareVmas(actor: usize, mm: usize, start: u64, end: u64, record: u32): bool {
  let last = record;
  for (let i = firstEndingAbove(mm, start), n = Vmas.count(mm); i < n && last; i++) {
    const row = Vmas.row(i);
    if (row.start >= end) break;
    if (row.flags & VMA_NOT_COPIED) continue;
    const from = max(row.start, start);
    const to = min(row.end, end);
    notifyBefore(actor, mm, from, to, NotifyEvent.ProtectionPage);
    last = shareRange(actor, mm, from, to, last);
    flushHostTlb(actor, mm);
    notifyAfter(actor, mm, from, to, NotifyEvent.ProtectionPage);
  }
  return last != 0;
}

/**
 * fork of the anonymous memory in [hva, hva + length); what lies outside counts as MADV_DONTFORK. Returns the child's
 * handle in bits 31:0 and a `HostStatus` in 39:32: Ok, Invalid, or OutOfFrames, when there is no child and the parent's
 * pages are write-protected.
 */
export function hostFork(actor: usize, mm: usize, hva: u64, length: u64): u64 {
  if (!isRange(hva, length)) return Gup.failed(HostStatus.Invalid);
  const record = newHostTable(actor, LATER);
  if (record == 0) return Gup.failed(HostStatus.OutOfFrames);
  RwLock.writeLock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  WriteProtectSeq.advance(mm);
  const shared = shareVmas(actor, mm, hva, hva + length, record);
  WriteProtectSeq.advance(mm);
  RwLock.writeUnlock(mm + MM_MMAP_LOCK, actor);
  // Only a whole record has a handle.
  Ops.store<u32>(Map.page(record) + PAGE_OWN, FIRST, Order.Release);
  if (shared) return Gup.found(record, false);
  hostForkExit(actor, record);
  return Gup.failed(HostStatus.OutOfFrames);
}

/** Gives back what the entries of one frame of a record hold. */
function dropEntries(actor: usize, record: u32): void {
  for (let i: u32 = 0, n = ForkRecord.count(record); i < n; i++) {
    const entry = ForkRecord.entry(record, i);
    if (entry & PTE_SPECIAL) continue;
    const page = Map.page(HostEntry.pfn(entry));
    dropMapping(headOf(page), actor);
    putPage(page, actor);
  }
}

function isHandle(child: u32): bool {
  return child != 0 && child < Map.frameCount && ForkRecord.is(child);
}

/** The child exits: its references and mappings fall. Invalid if there is no such child, or not any more. */
export function hostForkExit(actor: usize, child: u32): HostStatus {
  if (!isHandle(child)) return HostStatus.Invalid;
  // Two that would end the same child: one does.
  if (Ops.cas<u32>(Map.page(child) + PAGE_OWN, FIRST, LATER, Order.Full) != FIRST) return HostStatus.Invalid;
  for (let record = child; record;) {
    const next = ForkRecord.next(record);
    dropEntries(actor, record);
    putPage(Map.page(record), actor);
    record = next;
  }
  return HostStatus.Ok;
}

/** The entry of the child for the page at `hva`; 0 if it has none, or there is no such child. */
export function forkEntry(child: u32, hva: u64): u64 {
  if (!isHandle(child)) return 0;
  const first = hva & ~(<u64>(PAGE_SIZE - 1));
  for (let record = child; record; record = ForkRecord.next(record)) {
    for (let i: u32 = 0, n = ForkRecord.count(record); i < n; i++) {
      if (ForkRecord.hva(record, i) == first) return ForkRecord.entry(record, i);
    }
  }
  return 0;
}
