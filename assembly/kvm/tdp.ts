// The TDP MMU: installing and zapping leaves of the secondary tables (docs/protocol.md, Faults).
//
// Faults install under mmu_lock (read) by compare-and-swap; an invalidation zaps under mmu_lock (write), in slices:
// when others wait for the lock it flushes, lets them in, and goes on behind the last gfn it finished. A table is
// taken out entry by entry with every entry frozen, so that nothing can be installed in it, and freed after a grace
// period, as lockless walkers may still be in it.

import { ACTOR_FAULT } from "../layout/actor";
import { Fault } from "../layout/fault";
import { Map, PAGE_SIZE } from "../layout/map";
import { SlotFlag, Slot } from "../layout/slot";
import { Stat, Stats } from "../layout/stats";
import { headOf } from "../host/page";
import { NOTE_SPLIT, Note, Notes } from "../note";
import { Rule, Rules } from "../rules";
import { Rcu } from "../sync/grace";
import { Ops, Order } from "../sync/ops";
import { park, relax } from "../sync/wait";
import { Trap, trap } from "../trap";
import { flushRemoteTlbs } from "./flush";
import { MmuLock } from "./lock";
import { prefetchLocked } from "./prefetch";
import { markDirty } from "./release";
import { Index, SPTE_FROZEN, SPTE_NONPRESENT, SPTE_D, SPTE_PS, SPTE_W, Spte } from "./spte";
import { dropUnusedTable, freeTableAfterGrace, newTable } from "./tables";

/** Shift of the entries of a root: 4-level tables, 512 GiB an entry. */
export const ROOT_SHIFT: u32 = 39;

/** How an installation ended. */
export enum Installed {
  /** The leaf is in place. */
  Fixed = 0,
  /** It was there already. */
  Spurious = 1,
  /** Somebody else changed an entry on the way. */
  Raced = 2,
}

/**
 * What the checkers are told of entries: the first gfn an entry translates, its shift, and the root it is reached from.
 * Nothing in the release build, which is why functions that have them for this alone are handed 0 there (`LAB ? ...`).
 */
class Tell {
  /** A leaf that became `spte`, 0 for none. */
  @inline static leaf(root: u32, gfn: u64, shift: u32, spte: u64): void {
    Notes.tell(Note.SpteLeaf | (root << 16), Tell.place(gfn, shift), spte);
  }
  /** A link to a table that became `spte`, 0 for none. */
  @inline static link(root: u32, gfn: u64, shift: u32, spte: u64): void {
    Notes.tell(Note.SpteLink | (root << 16), Tell.place(gfn, shift), spte);
  }
  /** The large leaf `spte` became a table of leaves. */
  @inline static split(root: u32, gfn: u64, shift: u32, spte: u64): void {
    Notes.tell(Note.SpteLeaf | NOTE_SPLIT | (root << 16), Tell.place(gfn, shift), spte);
  }
  @inline static place(gfn: u64, shift: u32): u64 {
    return ((<u64>shift) << 56) | ((gfn >> (shift - 12)) << (shift - 12));
  }
  /** gfn of the entry at byte offset `at` of a table for gfns from `gfn` with entries of `shift`. */
  @inline static gfnAt(gfn: u64, at: usize, shift: u32): u64 {
    return LAB ? gfn + ((<u64>(at >> 3)) << (shift - 12)) : 0;
  }
}

function lowerTable(entry: u64): usize {
  return Map.frame(Spte.pfn(entry));
}

/** Links a new table in place of `found` at `sptep`. False if somebody was faster. */
function linkTable(actor: usize, root: u32, sptep: usize, found: u64, gfn: u64, shift: u32): bool {
  const below = shift - 9;
  const pfn = newTable(actor, (gfn >> (shift - 12)) << (shift - 12), below);
  if (Spte.present(found)) fillFromHuge(pfn, found, below);
  if (Ops.cas<u64>(sptep, found, Spte.link(pfn), Order.Full) == found) {
    if (LAB) {
      if (Spte.present(found)) Tell.split(root, gfn, shift, found);
      Tell.link(root, gfn, shift, Spte.link(pfn));
    }
    Stats.add(actor, Stat.TablesLinked, 1);
    return true;
  }
  if (Spte.present(found)) memory.fill(Map.frame(pfn), 0, PAGE_SIZE);
  dropUnusedTable(actor, pfn);
  return false;
}

/** Splits a huge leaf: the new table maps the same pages with the same rights, at the next smaller size. */
function fillFromHuge(pfn: u32, huge: u64, shift: u32): void {
  const table = Map.frame(pfn);
  const step: u64 = (<u64>1) << shift;
  // Bit 7 says "leaf" above the last level and is ignored there: left out, so that an entry has one form.
  const first = shift == 12 ? huge & ~SPTE_PS : huge;
  for (let i: u64 = 0; i < 512; i++) store<u64>(table + <usize>(i << 3), first + i * step);
}

/** Installs what `fault` describes, below its root. mmu_lock held for a fault, the stale check passed. */
export function installLeafLocked(actor: usize): Installed {
  const fault = changetype<Fault>(actor + ACTOR_FAULT);
  const gfn = fault.gfn;
  const goal = fault.goalShift;
  Rcu.readLock(actor);
  const root = fault.root;
  let table = Map.frame(root);
  let result = Installed.Raced;
  for (let shift = ROOT_SHIFT; ;) {
    const sptep = table + Index.of(gfn, shift);
    const entry = Ops.load<u64>(sptep, Order.Acquire);
    // The table is being taken out, hence was unlinked: the next attempt does not come here again.
    if (entry == SPTE_FROZEN) break;
    if (shift == goal) {
      result = installAt(actor, root, gfn, sptep, entry, fault);
      if (Map.prefetchGroup && goal == 12 && result == Installed.Fixed) prefetchLocked(actor, fault, table);
      break;
    }
    if (Spte.present(entry) && !Spte.leaf(entry, shift)) {
      table = lowerTable(entry);
      shift -= 9;
      continue;
    }
    // Nothing here, or a huge leaf in the way: link a table, then look at the entry again.
    if (!linkTable(actor, root, sptep, entry, gfn, shift)) break;
  }
  Rcu.readUnlock(actor);
  return result;
}

function installAt(actor: usize, root: u32, gfn: u64, sptep: usize, found: u64, fault: Fault): Installed {
  const shift = fault.goalShift;
  const slotWritable = (changetype<Slot>(<usize>fault.slot).flags & SlotFlag.ReadOnly) == 0;
  const pfn = fault.leafPfn;
  const spte = Spte.make(pfn, shift, fault.hostWritable != 0, slotWritable, fault.write != 0);
  const present = Spte.present(found);
  const table = present && !Spte.leaf(found, shift);
  if (present && !table) {
    // Permission may be added in place; another pfn may not appear without a zap and a flush between.
    if (Spte.pfn(found) != pfn) trap(Trap.LeafChanged, sptep, actor);
    if (fault.write == 0 || found & SPTE_W) return Installed.Spurious;
  }
  if (!Rules.hold(Rule.InstallCompares)) Ops.store<u64>(sptep, spte, Order.Full);
  else if (Ops.cas<u64>(sptep, found, spte, Order.Full) != found) return Installed.Raced;
  if (LAB) {
    if (table) Tell.link(root, gfn, shift, 0);
    Tell.leaf(root, gfn, shift, spte);
  }
  if (table) {
    takeOutTable(actor, Spte.pfn(found), shift - 9, LAB ? root : 0, LAB ? gfn & ~(<u64>511) : 0);
    if (Rules.hold(Rule.FlushOnTableReplaced)) flushRemoteTlbs(actor);
  }
  if (shift != 12) Stats.add(actor, Stat.HugeLeaves, 1);
  return Installed.Fixed;
}

/** A leaf was taken out; `spte` is what it was last. Its page must be known dirty before its references fall (I8b). */
function leafIsGone(actor: usize, spte: u64): void {
  Stats.add(actor, Stat.LeavesZapped, 1);
  // A pfn that was remapped from a device has no struct page.
  if ((spte & SPTE_D) == 0 || Spte.pfn(spte) >= Map.frameCount) return;
  markDirty(headOf(Map.page(Spte.pfn(spte))));
}

/**
 * Exchanges an entry, whatever an installer makes of it meanwhile, for a frozen one; returns what it was. One that is
 * frozen already belongs to another actor, who is waited for: bit 59 is in the upper half of the entry, which any value
 * but a frozen one changes. No actor of this core thaws an entry, nor takes a table out that another does: as long as
 * every rule holds there is nothing to wait for.
 */
function freeze(actor: usize, sptep: usize): u64 {
  let spins: u32 = 0;
  while (true) {
    const entry = Ops.swap<u64>(sptep, SPTE_FROZEN, Order.Full);
    if (entry != SPTE_FROZEN) return entry;
    if (++spins > Map.spinLimit) park(sptep + 4, <u32>(SPTE_FROZEN >> 32), actor);
    else relax(actor);
  }
}

/** The entry that was `spte` is frozen, or not present any more. */
function tellGone(root: u32, gfn: u64, shift: u32, spte: u64): void {
  if (!Spte.present(spte)) return;
  if (Spte.leaf(spte, shift)) Tell.leaf(root, gfn, shift, 0);
  else Tell.link(root, gfn, shift, 0);
}

/**
 * handle_removed_pt: freezes every entry of an unlinked table, takes out what is below, frees it after a grace period. What
 * else is here keeps installers out already: a root is taken apart when it is obsolete, and the faults that hold mmu_lock
 * together want leaves of one size. So nothing of this core fails without the freeze alone (Rule.RemovedTableFrozen).
 * `root` and `gfn`, from where its entries were reached, are for the checkers.
 */
function takeOutTable(actor: usize, pfn: u32, shift: u32, root: u32, gfn: u64): void {
  const table = Map.frame(pfn);
  for (let i: usize = 0; i < PAGE_SIZE; i += 8) {
    let entry = Ops.load<u64>(table + i, Order.Relaxed);
    if (Rules.hold(Rule.RemovedTableFrozen)) entry = freeze(actor, table + i);
    if (LAB) tellGone(root, Tell.gfnAt(gfn, i, shift), shift, entry);
    if (!Spte.present(entry)) continue;
    if (Spte.leaf(entry, shift)) leafIsGone(actor, entry);
    else takeOutTable(actor, Spte.pfn(entry), shift - 9, LAB ? root : 0, Tell.gfnAt(gfn, i, shift));
  }
  freeTableAfterGrace(actor, pfn);
}

/**
 * Zaps the leaf for `gfn` that was read as `seen`. By exchange: hardware may set D until then, and what it set is in the value
 * found.
 */
function zapLeaf(actor: usize, root: u32, gfn: u64, shift: u32, sptep: usize, seen: u64): void {
  let spte = seen;
  if (Rules.hold(Rule.ZapExchanges)) spte = Ops.swap<u64>(sptep, SPTE_NONPRESENT, Order.Full);
  else Ops.store<u64>(sptep, SPTE_NONPRESENT, Order.Relaxed);
  if (LAB) Tell.leaf(root, gfn, shift, 0);
  leafIsGone(actor, spte);
}

/**
 * Lets those in who wait for mmu_lock. What was zapped so far is flushed first: whoever comes next may find nothing
 * left to zap for its range, hence not flush, and free pages that a TLB still maps.
 */
function yieldLock(actor: usize, flush: bool): bool {
  if (flush && Rules.hold(Rule.FlushBeforeYield)) {
    flushRemoteTlbs(actor);
    flush = false;
  }
  MmuLock.unlock(actor);
  Stats.add(actor, Stat.Yields, 1);
  for (let i: u32 = 0; i < Map.spinLimit && MmuLock.contended(); i++) relax(actor);
  MmuLock.lock(actor);
  return flush;
}

/**
 * Entries that a zap looks at, present or not, before it may give the lock up. The kernel's lock is a queue, and a yield
 * hands it over; this one may be taken back before a sleeper is awake, so that a yield must be worth its flush.
 */
const ENTRIES_PER_YIELD: u32 = 64;

/**
 * Zaps the leaves of [start, end) under one root. mmu_lock is held for write, and the caller keeps the root from
 * being freed; the lock may be dropped on the way. Returns whether a flush is owed.
 */
export function zapRangeLocked(actor: usize, root: u32, start: u64, end: u64, owed: bool): bool {
  let flush = owed;
  let gfn = start;
  let looked: u32 = 0;
  while (gfn < end) {
    // From the root down to the entry that decides about this gfn; a hole is skipped whole.
    let table = Map.frame(root);
    let shift = ROOT_SHIFT;
    let sptep = table + Index.of(gfn, shift);
    let entry = Ops.load<u64>(sptep, Order.Relaxed);
    while (Spte.present(entry) && !Spte.leaf(entry, shift)) {
      table = lowerTable(entry);
      shift -= 9;
      sptep = table + Index.of(gfn, shift);
      entry = Ops.load<u64>(sptep, Order.Relaxed);
    }
    // Along the entries of this table: up to its end, or to one that leads further down.
    const span: u64 = (<u64>1) << (shift - 12);
    do {
      if (looked >= ENTRIES_PER_YIELD && MmuLock.contended()) {
        flush = yieldLock(actor, flush);
        looked = 0;
        break; // the table may be gone: start again from the root, at the same gfn
      }
      if (Spte.present(entry)) {
        if (!Spte.leaf(entry, shift)) break;
        zapLeaf(actor, root, gfn, shift, sptep, entry);
        flush = true;
      }
      looked++;
      gfn = (gfn & ~(span - 1)) + span;
      sptep += 8;
      if (gfn >= end || (sptep & (PAGE_SIZE - 1)) == 0) break;
      entry = Ops.load<u64>(sptep, Order.Relaxed);
    } while (true);
  }
  return flush;
}

/** Lets those in who wait for mmu_lock, which is held shared. */
function yieldShared(actor: usize): void {
  if (!MmuLock.sharedContended()) return;
  MmuLock.unlockShared(actor);
  Stats.add(actor, Stat.Yields, 1);
  MmuLock.lockShared(actor);
}

/**
 * Takes a whole obsolete root apart, mmu_lock held shared: a gibibyte at a time, with a chance for others between. No
 * vCPU can run on the root any more (its request to reload comes first at entry), nothing is installed in it any more, and its tables are unlinked only here.
 */
export function takeOutRoot(actor: usize, root: u32): void {
  const table = Map.frame(root);
  for (let i: usize = 0; i < PAGE_SIZE; i += 8) {
    const entry = Ops.load<u64>(table + i, Order.Relaxed);
    if (!Spte.present(entry)) continue;
    const lower = lowerTable(entry);
    for (let j: usize = 0; j < PAGE_SIZE; j += 8) {
      if (!Spte.present(Ops.load<u64>(lower + j, Order.Relaxed))) continue;
      const found = Ops.swap<u64>(lower + j, SPTE_NONPRESENT, Order.Full);
      const gfn: u64 = LAB ? Tell.gfnAt(Tell.gfnAt(0, i, ROOT_SHIFT), j, ROOT_SHIFT - 9) : 0;
      if (LAB) tellGone(root, gfn, ROOT_SHIFT - 9, found);
      if (Spte.leaf(found, ROOT_SHIFT - 9)) leafIsGone(actor, found);
      else takeOutTable(actor, Spte.pfn(found), ROOT_SHIFT - 18, LAB ? root : 0, gfn);
      yieldShared(actor);
    }
    Ops.store<u64>(table + i, SPTE_NONPRESENT, Order.Release);
    const gfn: u64 = LAB ? Tell.gfnAt(0, i, ROOT_SHIFT) : 0;
    if (LAB) tellGone(root, gfn, ROOT_SHIFT, entry);
    takeOutTable(actor, Spte.pfn(entry), ROOT_SHIFT - 9, LAB ? root : 0, gfn);
  }
}

/** Leaves present under a table whose entries span `1 << shift`: for tests and reports. mmu_lock held. */
export function countLeaves(pfn: u32, shift: u32): u64 {
  let n: u64 = 0;
  const table = Map.frame(pfn);
  for (let i: usize = 0; i < PAGE_SIZE; i += 8) {
    const entry = Ops.load<u64>(table + i, Order.Relaxed);
    if (!Spte.present(entry)) continue;
    n += Spte.leaf(entry, shift) ? 1 : countLeaves(Spte.pfn(entry), shift - 9);
  }
  return n;
}

/** Leaf SPTE that translates `gfn` under `root`, or 0; lockless, for reports. */
export function leafOf(actor: usize, root: u32, gfn: u64): u64 {
  Rcu.readLock(actor);
  let table = Map.frame(root);
  let shift = ROOT_SHIFT;
  let entry = Ops.load<u64>(table + Index.of(gfn, shift), Order.Acquire);
  while (Spte.present(entry) && !Spte.leaf(entry, shift)) {
    table = lowerTable(entry);
    shift -= 9;
    entry = Ops.load<u64>(table + Index.of(gfn, shift), Order.Acquire);
  }
  Rcu.readUnlock(actor);
  return Spte.present(entry) ? entry : 0;
}
