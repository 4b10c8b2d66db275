// Host page tables: four levels in frames, in the format of the processor (x86/bits.ts).
//
//   level 4  PGD entry  -> table          level 2  PMD entry  -> table, or a 2 MiB page (PS)
//   level 3  PUD entry  -> table          level 1  PTE        -> a 4 KiB page
//
// An entry leaves the state "none" by compare-and-swap: whoever is first wins, and there is nothing that a lock would
// protect. Every other change of a PMD entry or a PTE is made under the lock of the table that holds it (the split PTL,
// in its struct page); only the processor's A and D bits are set without it. A table goes away under mmap_lock (write) only,
// and its frame is freed after an RCU grace period: with mmap_lock (read) or in an RCU section, a table that was
// reached stays one. Host physical addresses end below 2^32, so that `entry >> 12`, cut to 32 bits, is the pfn.
//
// PROT_NONE clears P and sets bit 8, as Linux does: the processor sees nothing, the entry keeps its page.

import { Map } from "../layout/map";
import { MM_PGD, MM_TASK_SIZE } from "../layout/mm";
import { PAGE_FLAGS, PAGE_LOCK, PAGE_MAPCOUNT, PAGE_OWN, PAGE_REFCOUNT, PageFlag } from "../layout/page";
import { NOTE_SPLIT, Note, Notes } from "../note";
import { Rcu } from "../sync/grace";
import { Ops, Order } from "../sync/ops";
import { Spin } from "../sync/spin";
import { PTE_A, PTE_D, PTE_G, PTE_P, PTE_PS, PTE_RW, PTE_US } from "../x86/bits";
import { MODE_HOST, Mode } from "../x86/modes";
import { Found, Step } from "../x86/step";
import { putPage } from "./page";
import { allocZeroed } from "./pool";

export const PGD_SHIFT: u64 = 39;
export const PUD_SHIFT: u64 = 30;
export const PMD_SHIFT: u64 = 21;
export const PTE_SHIFT: u64 = 12;
export const PMD_SIZE: u64 = 1 << PMD_SHIFT;
/** log2 of the pages of a PMD entry: order of the compound page that it maps. */
export const PMD_ORDER: u32 = 9;
const PTES: u32 = 512;

/** In an entry without P: the page is there, nobody may access it (_PAGE_PROTNONE). */
export const PTE_PROTNONE: u64 = PTE_G;

/** The page belongs to a device (_PAGE_DEVMAP, a bit that the processor leaves to software). */
export const PTE_DEVMAP: u64 = (<u64>1) << 58;

/**
 * The page of this PTE is not managed (_PAGE_SPECIAL, an ignored bit): a remapped pfn, or the shared zero page. The
 * mapping holds no reference and is not counted, and a lookup without a lock leaves the entry alone.
 */
export const PTE_SPECIAL: u64 = 1 << 9;

const TABLE_BITS: u64 = PTE_P | PTE_RW | PTE_US | PTE_A | PTE_D;

export class HostEntry {
  /** Address of the entry for `hva` in the table of pfn `table`, whose entries span 2^shift bytes. */
  @inline static at(table: u32, hva: u64, shift: u64): usize {
    return Map.frame(table) + ((<usize>(hva >> (shift - 3))) & 0xff8);
  }
  /** READ_ONCE of an entry. */
  @inline static read(slot: usize): u64 {
    return Ops.load<u64>(slot, Order.Relaxed);
  }
  /** The entry refers to a table. Not asked of a PTE. */
  @inline static isTable(entry: u64): bool {
    return (entry & (PTE_P | PTE_PS)) == PTE_P;
  }
  @inline static pfn(entry: u64): u32 {
    return <u32>(entry >> 12);
  }
  /** Tells the checkers of the leaf of 2^shift bytes for `hva`, which is `entry` now; 0 for none. */
  @inline static tell(hva: u64, shift: u64, entry: u64): void {
    Notes.tell(Note.HostLeaf, ((hva >> shift) << shift) | shift, entry);
  }
  /** Page-table lock of the entry at `slot`. */
  @inline static lockOf(slot: usize): usize {
    return Map.page(Map.pfnOf(slot)) + PAGE_LOCK;
  }
}

/** Address of the PMD entry for `hva`, 0 if it has no table. Lockless: in an RCU section, or with mmap_lock. */
export function pmdSlot(mm: usize, hva: u64): usize {
  const pgd = HostEntry.read(HostEntry.at(load<u32>(mm + MM_PGD), hva, PGD_SHIFT));
  if (pgd == 0) return 0;
  const pud = HostEntry.read(HostEntry.at(HostEntry.pfn(pgd), hva, PUD_SHIFT));
  if (pud == 0) return 0;
  return HostEntry.at(HostEntry.pfn(pud), hva, PMD_SHIFT);
}

/** The same, with the tables above made if need be: 0 if out of frames. mmap_lock held. */
export function pmdSlotAlloc(actor: usize, mm: usize, hva: u64): usize {
  const top = load<u32>(mm + MM_PGD);
  if (top == 0) return 0;
  const pgd = HostEntry.at(top, hva, PGD_SHIFT);
  if (HostEntry.read(pgd) == 0 && !linkTable(actor, pgd, 3)) return 0;
  const pud = HostEntry.at(HostEntry.pfn(HostEntry.read(pgd)), hva, PUD_SHIFT);
  if (HostEntry.read(pud) == 0 && !linkTable(actor, pud, 2)) return 0;
  return HostEntry.at(HostEntry.pfn(HostEntry.read(pud)), hva, PMD_SHIFT);
}

/** A zeroed table of `level`, or 0. Nobody else knows of it. */
export function newHostTable(actor: usize, level: u32): u32 {
  const pfn = allocZeroed(actor);
  if (pfn == 0) return 0;
  const page = Map.page(pfn);
  store<u32>(page + PAGE_FLAGS, PageFlag.HostTable);
  store<u32>(page + PAGE_OWN, level);
  store<u32>(page + PAGE_LOCK, 0);
  return pfn;
}

/** Puts an empty table of `level` in a none entry, unless another actor fills it first. False if out of frames. */
export function linkTable(actor: usize, slot: usize, level: u32): bool {
  const pfn = newHostTable(actor, level);
  if (pfn == 0) return false;
  // The zeroes are in place before the table can be reached: pairs with the address dependency of a walk.
  if (Ops.cas<u64>(slot, 0, ((<u64>pfn) << 12) | TABLE_BITS, Order.Full) != 0) putPage(Map.page(pfn), actor);
  return true;
}

/** Splits the leaf for `hva` that was read at `slot`. Its PTL is held: only A and D can change meanwhile. */
function splitLocked(slot: usize, hva: u64, leaf: u64): void {
  const head = Map.page(HostEntry.pfn(leaf));
  const table = load<u32>(head + PAGE_OWN);
  store<u32>(head + PAGE_OWN, 0);
  // First the counts, then the PTEs: whoever finds the table may zap in it at once, under the lock of that table.
  const references = Ops.add<i32>(head + PAGE_REFCOUNT, PTES - 1, Order.None);
  Notes.tell(Note.PageGet, Map.pagePfn(head), references + PTES - 1);
  Ops.add<i32>(head + PAGE_MAPCOUNT, PTES - 1, Order.None);
  const first = Map.frame(table);
  while (true) {
    for (let i: u32 = 0; i < PTES; i++) {
      store<u64>(first + ((<usize>i) << 3), (leaf & ~PTE_PS) + ((<u64>i) << 12));
    }
    const found = Ops.cas<u64>(slot, leaf, ((<u64>table) << 12) | TABLE_BITS, Order.Full);
    if (found == leaf) {
      Notes.tell(Note.HostLeaf | NOTE_SPLIT, (hva & ~(PMD_SIZE - 1)) | PMD_SHIFT, leaf);
      return;
    }
    leaf = found; // with A or D set by the walker: the bits must not be lost
  }
}

/**
 * Replaces the 2 MiB leaf for `hva` at `slot`, if it is one still, by the table kept for this, with 512 PTEs of the same pages:
 * the one mapping of the compound page becomes 512, each with its reference. mmap_lock held.
 */
export function splitLeaf(actor: usize, slot: usize, hva: u64): void {
  const lock = HostEntry.lockOf(slot);
  Spin.lock(lock, actor);
  const leaf = HostEntry.read(slot);
  if (leaf != 0 && !HostEntry.isTable(leaf)) splitLocked(slot, hva, leaf);
  Spin.unlock(lock, actor);
}

/** The leaf entry for `hva`, 0 for none, each entry on the way read once. */
export function hostEntryOf(actor: usize, mm: usize, hva: u64): u64 {
  if (hva >= MM_TASK_SIZE) return 0;
  Rcu.readLock(actor);
  let level: u32 = Mode.levels(MODE_HOST);
  let entry = HostEntry.read(Map.frame(load<u32>(mm + MM_PGD)) + Mode.offset(level, hva));
  while (Step.find(MODE_HOST, level, PTE_P, 0, entry) == Found.Table) {
    entry = HostEntry.read(Map.frame(HostEntry.pfn(entry)) + Mode.offset(--level, hva));
  }
  Rcu.readUnlock(actor);
  return entry;
}
