// The notifier side: invalidate_range_start and _end (docs/protocol.md, Invalidations).
//
//   start   active++ ; pfn caches ; per slot that overlaps: lock, in_progress++ (once), range += , zap ; flush ; unlock
//   end     lock, seq++, in_progress--, unlock ; active--

import {
  KVM_INVALIDATE_ENDS,
  KVM_INVALIDATE_IN_PROGRESS,
  KVM_INVALIDATE_RANGE_END,
  KVM_INVALIDATE_RANGE_START,
  KVM_INVALIDATE_SEQ,
  KVM_INVALIDATE_WAITERS,
  KVM_MN_ACTIVE_COUNT,
  KVM_MN_ACTIVE_WAITERS,
  KVM_MN_INVALIDATE_LOCK,
  RANGE_SENTINEL,
} from "../layout/kvm";
import { Slot, SlotByHva } from "../layout/slot";
import { Stat, Stats } from "../layout/stats";
import { Note, Notes } from "../note";
import { Profiles, Switch } from "../profile";
import { Rule, Rules } from "../rules";
import { Srcu } from "../sync/grace";
import { Barrier, Ops, Order } from "../sync/ops";
import { Spin } from "../sync/spin";
import { wakeAll } from "../sync/wait";
import { Trap, trap } from "../trap";
import { flushRemoteTlbs } from "./flush";
import { MmuLock } from "./lock";
import { Slots, slotsBelow } from "./memslots";
import { invalidateCaches } from "./pfncache";
import { Root, putRootLocked } from "./roots";
import { reapTables } from "./tables";
import { zapRangeLocked } from "./tdp";

/** Stores mmu_invalidate_in_progress; `seq` is for the checkers. */
function writeInProgress(open: u32, seq: u32): void {
  Ops.store<u32>(KVM_INVALIDATE_IN_PROGRESS, open, Order.Relaxed);
  Notes.tell(Note.InProgress, open, seq);
}

/** mmu_invalidate_seq for an event, read by who holds mmu_lock for write: nobody else changes it. */
function seqForEvent(): u32 {
  return LAB ? load<u32>(KVM_INVALIDATE_SEQ) : 0;
}

/** mmu_invalidate_begin: mmu_lock held for write. */
function beginLocked(): void {
  const open = Ops.load<u32>(KVM_INVALIDATE_IN_PROGRESS, Order.Relaxed) + 1;
  writeInProgress(open, seqForEvent());
  if (open == 1) {
    Ops.store<u64>(KVM_INVALIDATE_RANGE_START, RANGE_SENTINEL, Order.Relaxed);
    Ops.store<u64>(KVM_INVALIDATE_RANGE_END, 0, Order.Relaxed);
    Notes.tell(Note.Range, RANGE_SENTINEL, 0);
  }
  if (!Rules.hold(Rule.SeqRaisedInEnd)) Ops.add<u32>(KVM_INVALIDATE_SEQ, 1, Order.Relaxed);
}

/** mmu_invalidate_range_add: the union grows, and never shrinks before the count is back at 0. */
function addRangeLocked(start: u64, end: u64): void {
  const union = Rules.hold(Rule.RangeOfAllOpen);
  const lowest = Ops.load<u64>(KVM_INVALIDATE_RANGE_START, Order.Relaxed);
  const highest = Ops.load<u64>(KVM_INVALIDATE_RANGE_END, Order.Relaxed);
  const first = union ? min<u64>(start, lowest) : start;
  const after = union ? max<u64>(end, highest) : end;
  if (first != lowest) {
    Ops.store<u64>(KVM_INVALIDATE_RANGE_START, first, Order.Relaxed);
    Notes.tell(Note.Range, first, highest);
  }
  if (after != highest) {
    Ops.store<u64>(KVM_INVALIDATE_RANGE_END, after, Order.Relaxed);
    Notes.tell(Note.Range, first, after);
  }
}

/** mmu_invalidate_end: mmu_lock held for write. */
function endLocked(actor: usize): void {
  // I14: whatever was begun has added its range. (A profile that begins without a slot has none to add.)
  const start = Ops.load<u64>(KVM_INVALIDATE_RANGE_START, Order.Relaxed);
  if (start == RANGE_SENTINEL && Profiles.has(Switch.BeginOnlyOnOverlap)) trap(Trap.RangeSentinel, 0, actor);
  if (!Rules.hold(Rule.SeqBeforeCount)) lowerCountLocked(actor);
  if (Rules.hold(Rule.SeqRaisedInEnd)) {
    Ops.store<u32>(KVM_INVALIDATE_SEQ, Ops.load<u32>(KVM_INVALIDATE_SEQ, Order.Relaxed) + 1, Order.Relaxed);
  }
  // Pairs with the read barrier in retryReason: a reader that sees the count lowered sees the sequence raised.
  if (Rules.hold(Rule.SeqCountBarriers)) Ops.barrier(Barrier.Wmb);
  if (Rules.hold(Rule.SeqBeforeCount)) lowerCountLocked(actor);
  // Whoever sees it raised sees the count lowered: he may not wait for this end once more.
  Ops.store<u32>(KVM_INVALIDATE_ENDS, Ops.load<u32>(KVM_INVALIDATE_ENDS, Order.Relaxed) + 1, Order.Release);
}

function lowerCountLocked(actor: usize): void {
  const open = Ops.load<u32>(KVM_INVALIDATE_IN_PROGRESS, Order.Relaxed);
  if (open == 0) trap(Trap.InProgressUnderflow, 0, actor);
  writeInProgress(open - 1, seqForEvent());
}

/** Zaps [start, end) under every root, obsolete ones too: their leaves map pages as well. */
function zapGfnRangeLocked(actor: usize, start: u64, end: u64, owed: bool): bool {
  let flush = owed;
  let root = Root.first();
  while (root) {
    let next = Root.after(root);
    if (!Root.invalid(root) || Rules.hold(Rule.ZapInvalidRoots)) {
      Root.get(root); // the zap may let the lock go
      flush = zapRangeLocked(actor, root, start, end, flush);
      next = Root.after(root);
      putRootLocked(actor, root);
    }
    root = next;
  }
  return flush;
}

/** Invalidates what one slot has of [start, end). Returns whether a flush is owed. */
function invalidateSlotLocked(actor: usize, slot: Slot, start: u64, end: u64, owed: bool): bool {
  const slotEnd = slot.hva + (slot.npages << 12);
  const from = max<u64>(start, slot.hva);
  const to = min<u64>(end, slotEnd);
  const gfn = slot.baseGfn + ((from - slot.hva) >> 12);
  const gfnEnd = slot.baseGfn + ((to - slot.hva + 4095) >> 12);
  if (Rules.hold(Rule.RangeAddedBeforeZap)) addRangeLocked(gfn, gfnEnd);
  const flush = zapGfnRangeLocked(actor, gfn, gfnEnd, owed);
  if (!Rules.hold(Rule.RangeAddedBeforeZap)) addRangeLocked(gfn, gfnEnd);
  return flush;
}

/** invalidate_range_start for hva [start, end): when it returns, nothing of it is mapped or cached by the VM. */
export function invalidateStart(actor: usize, start: u64, end: u64): void {
  Stats.add(actor, Stat.Invalidations, 1);
  Spin.lock(KVM_MN_INVALIDATE_LOCK, actor);
  const open = Ops.add<u32>(KVM_MN_ACTIVE_COUNT, 1, Order.None);
  Notes.tell(Note.ActiveCount, open + 1, 0);
  Spin.unlock(KVM_MN_INVALIDATE_LOCK, actor);

  // Before mmu_lock, which their users may never take, and before mmu_invalidate_in_progress, which they do not ask.
  invalidateCaches(actor, start, end);

  Srcu.readLock(actor);
  let locked = false;
  if (!Profiles.has(Switch.BeginOnlyOnOverlap)) {
    MmuLock.lock(actor);
    beginLocked();
    locked = true;
  }
  let flush: bool = false;
  const slots = Slots.active();
  for (let i = slotsBelow(slots, end); i > 0; i--) {
    const row = changetype<SlotByHva>(Slots.byHva(slots, i - 1));
    if (row.maxEnd <= start) break; // neither this one nor any before it reaches so far
    const slot = changetype<Slot>(Slots.at(slots, row.position));
    if (slot.hva + (slot.npages << 12) <= start) continue;
    if (!locked) {
      MmuLock.lock(actor);
      beginLocked();
      locked = true;
    }
    flush = invalidateSlotLocked(actor, slot, start, end, flush);
  }
  // R3: pages may be freed before end, so no TLB may hold them when this returns.
  if (flush && Rules.hold(Rule.FlushBeforeStartReturns)) flushRemoteTlbs(actor);
  if (locked) MmuLock.unlock(actor);
  Srcu.readUnlock(actor);
}

/** True if a slot overlaps hva [start, end). SRCU held. */
function anySlotOverlaps(start: u64, end: u64): bool {
  const slots = Slots.active();
  for (let i = slotsBelow(slots, end); i > 0; i--) {
    const row = changetype<SlotByHva>(Slots.byHva(slots, i - 1));
    if (row.maxEnd <= start) return false;
    const slot = changetype<Slot>(Slots.at(slots, row.position));
    if (slot.hva + (slot.npages << 12) > start) return true;
  }
  return false;
}

/** invalidate_range_end: from here on translations of the range may be made again. */
export function invalidateEnd(actor: usize, start: u64, end: u64): void {
  Srcu.readLock(actor);
  if (!Profiles.has(Switch.BeginOnlyOnOverlap) || anySlotOverlaps(start, end)) {
    MmuLock.lock(actor);
    endLocked(actor);
    MmuLock.unlock(actor);
    // After the unlock, which is a full barrier: pairs with announce-then-ends in waitForInvalidation.
    if (Ops.load<u32>(KVM_INVALIDATE_WAITERS, Order.Relaxed)) wakeAll(KVM_INVALIDATE_ENDS);
  }
  Srcu.readUnlock(actor);

  Spin.lock(KVM_MN_INVALIDATE_LOCK, actor);
  const open = Ops.sub<u32>(KVM_MN_ACTIVE_COUNT, 1, Order.None);
  Notes.tell(Note.ActiveCount, open - 1, 0);
  if (open == 0) trap(Trap.ActiveUnderflow, 0, actor);
  Spin.unlock(KVM_MN_INVALIDATE_LOCK, actor);
  // rcuwait_wake_up: the count, then the look at who waits for it.
  Ops.barrier(Barrier.Mb);
  if (open == 1 && Ops.load<u32>(KVM_MN_ACTIVE_WAITERS, Order.Relaxed)) wakeAll(KVM_MN_ACTIVE_COUNT);
  reapTables(actor);
}
