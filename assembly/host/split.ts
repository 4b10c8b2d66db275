// split_huge_page: a compound page becomes single pages.
//
// The head's count is frozen: exchanged for 0 if it is what the PTEs account for, and only then. From there on nobody can
// take a reference; a lookup that already has one on the head has made the freeze fail. The kernel takes the PTEs away
// for the time of it (migration entries) and puts equal ones back; here their lock is held instead, which keeps out the
// same: zaps, faults and the slow lookup. The lookup without a lock sees equal entries before and after in both, and
// tells a split by the head (Rule.GupRechecksHead).

import { NotifyEvent } from "../dispatch";
import { GRACE_MMAP_READER } from "../layout/control";
import { Map, PAGE_SIZE } from "../layout/map";
import { MM_MMAP_LOCK, MM_TASK_SIZE, VMA_NOT_COPIED, Vma } from "../layout/mm";
import {
  PAGE_FLAGS,
  PAGE_HEAD,
  PAGE_MAPCOUNT,
  PAGE_NEXT,
  PAGE_ORDER,
  PAGE_REFCOUNT,
  PageFlag,
} from "../layout/page";
import { Note, Notes } from "../note";
import { Ops, Order } from "../sync/ops";
import { RwLock } from "../sync/rwlock";
import { Spin } from "../sync/spin";
import { notifyAfter, notifyBefore } from "./notify";
import { headOf, putPage } from "./page";
import { HostStatus } from "./status";
import { HostEntry, PMD_SIZE, PTE_SHIFT, PTE_SPECIAL, pmdSlot } from "./tables";
import { findVma } from "./vma";
import { splitAround } from "./zap";

/** The compound page that `entry` maps: its head, 0 if it maps none, or a single page. */
function compoundOf(entry: u64): usize {
  if (entry == 0 || entry & PTE_SPECIAL) return 0;
  const head = headOf(Map.page(HostEntry.pfn(entry)));
  return Ops.load<u32>(head + PAGE_FLAGS, Order.Relaxed) & PageFlag.Head ? head : 0;
}

/** PTEs of `table` that map the compound page. PTL held. */
function countMappings(table: u32, head: usize): i32 {
  let n: i32 = 0;
  for (let slot = Map.frame(table), end = slot + PAGE_SIZE; slot < end; slot += 8) {
    n += i32(compoundOf(HostEntry.read(slot)) == head);
  }
  return n;
}

/** Marks in `mapcount` of each page of the compound page whether a PTE maps it. PTL held, head frozen. */
function markMapped(table: u32, head: usize): void {
  for (let slot = Map.frame(table), end = slot + PAGE_SIZE; slot < end; slot += 8) {
    const entry = HostEntry.read(slot);
    if (compoundOf(entry) == head) store<i32>(Map.page(HostEntry.pfn(entry)) + PAGE_MAPCOUNT, 1);
  }
}

/** What a part keeps of the flags of the whole. */
const INHERITED: u32 = PageFlag.Dirty | PageFlag.Referenced | PageFlag.AnonExclusive;

/**
 * Makes each page of the frozen compound page one of its own, with one reference: that of its PTE, or, where no PTE maps
 * it any more, one that is put afterwards. Returns those as a list linked by page.next. PTL held.
 */
function distribute(table: u32, head: usize): u32 {
  const first = Map.pagePfn(head);
  const count: u32 = 1 << load<u32>(head + PAGE_ORDER);
  const flags = Ops.load<u32>(head + PAGE_FLAGS, Order.Relaxed) & INHERITED;
  store<i32>(head + PAGE_MAPCOUNT, 0);
  markMapped(table, head);
  store<u32>(head + PAGE_ORDER, 0);
  Ops.and<u32>(head + PAGE_FLAGS, ~PageFlag.Head, Order.None);
  let unmapped: u32 = 0;
  for (let pfn = first + count - 1; pfn >= first; pfn--) {
    const page = Map.page(pfn);
    if (page != head) {
      Ops.store<u32>(page + PAGE_FLAGS, flags, Order.Relaxed);
      Ops.store<i32>(page + PAGE_REFCOUNT, 1, Order.Relaxed);
      // Release: who finds the page to be its own head finds its count (smp_wmb in __split_huge_page_tail).
      Ops.store<u32>(page + PAGE_HEAD, 0, Order.Release);
    } else Ops.store<i32>(page + PAGE_REFCOUNT, 1, Order.Release); // page_ref_unfreeze
    Notes.tell(Note.PageGet, pfn, 1);
    if (load<i32>(page + PAGE_MAPCOUNT)) continue;
    store<u32>(page + PAGE_NEXT, unmapped);
    unmapped = pfn;
  }
  return unmapped;
}

/** Splits the compound page, which the PTEs of `table` map. Returns a `HostStatus`. mmap_lock held. */
function splitPage(actor: usize, table: u32, slot: usize): HostStatus {
  const lock = HostEntry.lockOf(slot);
  Spin.lock(lock, actor);
  const head = compoundOf(HostEntry.read(slot));
  if (head == 0) {
    Spin.unlock(lock, actor);
    return HostStatus.Invalid;
  }
  const expected = countMappings(table, head);
  if (Ops.cas<i32>(head + PAGE_REFCOUNT, expected, 0, Order.Full) != expected) {
    Spin.unlock(lock, actor);
    return HostStatus.Busy;
  }
  Notes.tell(Note.PagePut, Map.pagePfn(head), 0);
  let unmapped = distribute(table, head);
  Spin.unlock(lock, actor);
  while (unmapped) {
    const page = Map.page(unmapped);
    unmapped = load<u32>(page + PAGE_NEXT);
    putPage(page, actor);
  }
  return HostStatus.Ok;
}

function splitLocked(actor: usize, mm: usize, hva: u64): HostStatus {
  const row = findVma(actor, mm, hva);
  if (row == 0) return HostStatus.NoVma;
  if (changetype<Vma>(row).flags & VMA_NOT_COPIED) return HostStatus.Invalid;
  const pmd = pmdSlot(mm, hva);
  let entry = pmd ? HostEntry.read(pmd) : 0;
  if (entry == 0) return HostStatus.Invalid;
  if (!HostEntry.isTable(entry)) {
    splitAround(actor, mm, pmd, hva);
    entry = HostEntry.read(pmd);
    if (!HostEntry.isTable(entry)) return HostStatus.Invalid; // zapped meanwhile
  }
  const table = HostEntry.pfn(entry);
  const first = hva & ~(PMD_SIZE - 1);
  // As with migration entries: a listener is done with the page, and with its struct page, before that is taken apart.
  notifyBefore(actor, mm, first, first + PMD_SIZE, NotifyEvent.Clear);
  const status = splitPage(actor, table, HostEntry.at(table, hva, PTE_SHIFT));
  notifyAfter(actor, mm, first, first + PMD_SIZE, NotifyEvent.Clear);
  return status;
}

/**
 * Splits the compound page that anonymous memory has at `hva`, its 2 MiB mapping first. Ok; `Busy`: somebody holds the
 * page, or a child shares it, and only the mapping was split; `Invalid`: no compound page there, or one that is never
 * split; `NoVma`.
 */
export function hostSplitPage(actor: usize, mm: usize, hva: u64): HostStatus {
  if (hva >= MM_TASK_SIZE) return HostStatus.NoVma;
  RwLock.readLock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  const status = splitLocked(actor, mm, hva);
  RwLock.readUnlock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  return status;
}
