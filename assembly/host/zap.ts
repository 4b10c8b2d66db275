// Taking mappings out of the host tables, and changing their protection. The cost is what is mapped: what has no upper
// table is stepped over. Every function here runs inside notifyStart .. notifyEnd, with mmap_lock.

import { notifyEnd, notifyStart, NotifyEvent } from "../dispatch";
import { Map, PAGE_SIZE } from "../layout/map";
import { MM_PGD, VmaFlag } from "../layout/mm";
import { PAGE_MAPCOUNT, PAGE_MAPPING, PAGE_NEXT, PAGE_OWN } from "../layout/page";
import { Ops, Order } from "../sync/ops";
import { Spin } from "../sync/spin";
import { Ensure, Trap } from "../trap";
import { PTE_D, PTE_P, PTE_RW, PTE_XD } from "../x86/bits";
import { Gather, flushHostTlb, releaseGathered } from "./gather";
import { headOf, markPageDirty, putPage } from "./page";
import {
  HostEntry,
  PGD_SHIFT,
  PMD_SHIFT,
  PMD_SIZE,
  PTE_PROTNONE,
  PTE_SHIFT,
  PTE_SPECIAL,
  PUD_SHIFT,
  pmdSlot,
  splitLeaf,
} from "./tables";

/** First address above `at` that another entry of 2^shift bytes translates. */
export function nextEntry(at: u64, shift: u64): u64 {
  return ((at >> shift) + 1) << shift;
}

/** The first address from `at` that has a PMD entry which is not none, or something at or above `end`. */
export function nextMapped(mm: usize, at: u64, end: u64): u64 {
  while (at < end) {
    const pgd = HostEntry.read(HostEntry.at(load<u32>(mm + MM_PGD), at, PGD_SHIFT));
    if (pgd == 0) {
      at = nextEntry(at, PGD_SHIFT);
      continue;
    }
    const pud = HostEntry.read(HostEntry.at(HostEntry.pfn(pgd), at, PUD_SHIFT));
    if (pud == 0) {
      at = nextEntry(at, PUD_SHIFT);
      continue;
    }
    if (HostEntry.read(HostEntry.at(HostEntry.pfn(pud), at, PMD_SHIFT))) return at;
    at = nextEntry(at, PMD_SHIFT);
  }
  return at;
}

/** Splits the 2 MiB leaf around `hva`: a notified change of its own, as listeners may map all of it (split_huge_pmd). */
export function splitAround(actor: usize, mm: usize, slot: usize, hva: u64): void {
  const first = hva & ~(PMD_SIZE - 1);
  notifyStart(actor, mm, first, first + PMD_SIZE, NotifyEvent.Clear);
  splitLeaf(actor, slot, hva);
  flushHostTlb(actor, mm);
  notifyEnd(actor, mm, first, first + PMD_SIZE, NotifyEvent.Clear);
}

/** One entry less maps the page, a head. */
export function dropMapping(page: usize, actor: usize): void {
  const old = Ops.sub<i32>(page + PAGE_MAPCOUNT, 1, Order.None);
  Ensure.that(old > 0, Trap.MapcountUnderflow, Map.pagePfn(page), actor);
}

/** The D bit of a cleared PTE: the page of a file takes it over, before its reference can fall (folio_mark_dirty). */
function keepDirty(pfn: u32): void {
  if (Ops.load<u32>(Map.page(pfn) + PAGE_MAPPING, Order.Relaxed)) markPageDirty(Map.page(pfn));
}

/** Clears the PTEs of [at, end) in one table; stops when the gather list is full. Returns where it stopped. */
function zapPtes(actor: usize, table: u32, at: u64, end: u64): u64 {
  const lock = HostEntry.lockOf(Map.frame(table));
  Spin.lock(lock, actor);
  while (at < end && !Gather.full(actor)) {
    const slot = HostEntry.at(table, at, PTE_SHIFT);
    at += PAGE_SIZE;
    if (HostEntry.read(slot) == 0) continue;
    // By exchange: the processor may set A or D until then (ptep_get_and_clear).
    const entry = Ops.swap<u64>(slot, 0, Order.Full);
    HostEntry.tell(at - PAGE_SIZE, PTE_SHIFT, 0);
    if (entry & PTE_SPECIAL) {
      Gather.add(actor, 0);
      continue;
    }
    const pfn = HostEntry.pfn(entry);
    if (entry & PTE_D) keepDirty(pfn);
    dropMapping(headOf(Map.page(pfn)), actor); // of a page that was split, the count is still on the head
    Gather.add(actor, pfn);
  }
  Spin.unlock(lock, actor);
  return at;
}

/** Clears the 2 MiB leaf for `hva` at `slot`, if it is one still. */
function zapHuge(actor: usize, slot: usize, hva: u64): void {
  const lock = HostEntry.lockOf(slot);
  let table: u32 = 0;
  Spin.lock(lock, actor);
  const entry = HostEntry.read(slot);
  if (entry != 0 && !HostEntry.isTable(entry)) {
    const pfn = HostEntry.pfn(Ops.swap<u64>(slot, 0, Order.Full));
    HostEntry.tell(hva, PMD_SHIFT, 0);
    const head = Map.page(pfn);
    table = load<u32>(head + PAGE_OWN);
    store<u32>(head + PAGE_OWN, 0);
    dropMapping(head, actor);
    Gather.add(actor, pfn);
  }
  Spin.unlock(lock, actor);
  if (table) putPage(Map.page(table), actor);
}

/** Clears every mapping in [start, end); the pages go to the gather list, which is released whenever it is full. */
export function zapRange(actor: usize, mm: usize, start: u64, end: u64): void {
  for (let at = nextMapped(mm, start, end); at < end; at = nextMapped(mm, at, end)) {
    const slot = pmdSlot(mm, at);
    const next = min(nextEntry(at, PMD_SHIFT), end);
    const entry = HostEntry.read(slot);
    if (HostEntry.isTable(entry)) at = zapPtes(actor, HostEntry.pfn(entry), at, next);
    else if (entry != 0 && next - at < PMD_SIZE) splitAround(actor, mm, slot, at);
    else zapHuge(actor, slot, at);
    if (Gather.full(actor)) releaseGathered(actor, mm);
  }
}

/** The entry under new VMA flags. W is only taken away here: the next write fault gives it back (R4: not notified). */
function withProtection(entry: u64, flags: u32): u64 {
  let bits = entry & ~(PTE_P | PTE_PROTNONE | PTE_XD);
  bits |= flags & VmaFlag.Read ? PTE_P : PTE_PROTNONE;
  if ((flags & VmaFlag.Write) == 0) bits &= ~PTE_RW;
  if ((flags & VmaFlag.Exec) == 0) bits |= PTE_XD;
  return bits;
}

/** Returns what the entry is now. */
function protectEntry(slot: usize, flags: u32): u64 {
  let seen = HostEntry.read(slot);
  while (true) {
    const next = withProtection(seen, flags);
    const found = Ops.cas<u64>(slot, seen, next, Order.Full);
    if (found == seen) return next;
    seen = found;
  }
}

function protectPtes(actor: usize, table: u32, at: u64, end: u64, flags: u32): void {
  const lock = HostEntry.lockOf(Map.frame(table));
  Spin.lock(lock, actor);
  for (; at < end; at += PAGE_SIZE) {
    const slot = HostEntry.at(table, at, PTE_SHIFT);
    if (HostEntry.read(slot) == 0) continue;
    const entry = protectEntry(slot, flags);
    if (LAB) HostEntry.tell(at, PTE_SHIFT, entry);
  }
  Spin.unlock(lock, actor);
}

function protectHuge(actor: usize, slot: usize, hva: u64, flags: u32): void {
  const lock = HostEntry.lockOf(slot);
  Spin.lock(lock, actor);
  const entry = HostEntry.read(slot);
  if (entry != 0 && !HostEntry.isTable(entry)) {
    const next = protectEntry(slot, flags);
    if (LAB) HostEntry.tell(hva, PMD_SHIFT, next);
  }
  Spin.unlock(lock, actor);
}

/** Gives every mapping in [start, end) the protection of VMAs with these flags. mmap_lock held for write. */
export function protectRange(actor: usize, mm: usize, start: u64, end: u64, flags: u32): void {
  for (let at = nextMapped(mm, start, end); at < end; at = nextMapped(mm, at, end)) {
    const slot = pmdSlot(mm, at);
    const next = min(nextEntry(at, PMD_SHIFT), end);
    const entry = HostEntry.read(slot);
    if (entry != 0 && !HostEntry.isTable(entry) && next - at < PMD_SIZE) {
      splitAround(actor, mm, slot, at);
      continue;
    }
    if (HostEntry.isTable(entry)) protectPtes(actor, HostEntry.pfn(entry), at, next, flags);
    else protectHuge(actor, slot, at, flags);
    at = next;
  }
}

/**
 * free_pgtables: unlinks the tables below `table`, whose entries span 2^shift bytes, that translate part of
 * [start, end) and nothing outside of [floor, ceiling), where no VMA is. Returns them as a list on top of `list`.
 * Nothing is mapped in the range; mmap_lock held for write.
 */
export function unlinkTables(
  table: u32,
  shift: u64,
  start: u64,
  end: u64,
  floor: u64,
  ceiling: u64,
  list: u32,
): u32 {
  for (let at = start; at < end; at = nextEntry(at, shift)) {
    const slot = HostEntry.at(table, at, shift);
    const entry = HostEntry.read(slot);
    if (!HostEntry.isTable(entry)) continue;
    const pfn = HostEntry.pfn(entry);
    const next = nextEntry(at, shift);
    if (shift > PMD_SHIFT) list = unlinkTables(pfn, shift - 9, at, min(next, end), floor, ceiling, list);
    if ((at >> shift) << shift < floor || next > ceiling) continue;
    Ops.store<u64>(slot, 0, Order.Release);
    store<u32>(Map.page(pfn) + PAGE_NEXT, list);
    list = pfn;
  }
  return list;
}
