// Memslots: gfn -> hva. Two copies of the array; readers under kvm.srcu use the active one, an updater prepares the
// other, publishes it and waits for the readers (docs/protocol.md, Memslots).

import { ACTOR_FAULT } from "../layout/actor";
import { Fault } from "../layout/fault";
import {
  KVM_GENERATION,
  KVM_MN_ACTIVE_COUNT,
  KVM_MN_ACTIVE_WAITERS,
  KVM_MN_INVALIDATE_LOCK,
  KVM_SLOTS_ACTIVE,
  KVM_SLOTS_ARCH_LOCK,
  KVM_SLOTS_LOCK,
} from "../layout/kvm";
import { Map } from "../layout/map";
import {
  SLOTS_HEAD_SIZE,
  SLOT_BY_HVA_SHIFT,
  SLOT_SHIFT,
  Slot,
  SlotByHva,
  SlotFlag,
  SlotsHead,
} from "../layout/slot";
import { Note, Notes } from "../note";
import { Profiles, Switch } from "../profile";
import { Rule, Rules } from "../rules";
import { synchronizeSrcu } from "../sync/grace";
import { Ops, Order } from "../sync/ops";
import { Mutex, Spin } from "../sync/spin";
import { waitWhileEqual, wakeAll } from "../sync/wait";
import { zapAllFast } from "./roots";

/** What a memslot update answers. */
export enum SlotStatus {
  Ok = 0,
  /** The gfn range overlaps another slot's. */
  Overlap = 1,
  /** As many slots as the machine was configured for. */
  Full = 2,
  /** No slot has that id. */
  Unknown = 3,
  /** Size or read-only flag of a slot cannot be changed: delete it and add it again. */
  Immutable = 4,
}

/** One copy of the memslots. */
export class Slots {
  /** The active copy. The caller is in an SRCU section, or holds slots_lock. */
  @inline static active(): usize {
    return Map.slots(Ops.load<u32>(KVM_SLOTS_ACTIVE, Order.Acquire));
  }
  /** Generation of this copy. */
  @inline static generation(copy: usize): u32 {
    return changetype<SlotsHead>(copy).generation;
  }
  @inline static count(copy: usize): u32 {
    return changetype<SlotsHead>(copy).count;
  }
  /** Row `i` in order of gfn. */
  @inline static at(copy: usize, i: u32): usize {
    return copy + SLOTS_HEAD_SIZE + ((<usize>i) << SLOT_SHIFT);
  }
  /** Row `i` of the index by hva. */
  @inline static byHva(copy: usize, i: u32): usize {
    return copy + SLOTS_HEAD_SIZE + ((<usize>Map.slotMax) << SLOT_SHIFT) + ((<usize>i) << SLOT_BY_HVA_SHIFT);
  }
  @inline static holds(slot: usize, gfn: u64): bool {
    const s = changetype<Slot>(slot);
    return gfn - s.baseGfn < s.npages;
  }
}

/** Number of slots whose base is at or below `gfn`: the slot that may hold it is the one before. */
function upperBound(copy: usize, gfn: u64): u32 {
  let low: u32 = 0;
  let high = Slots.count(copy);
  while (low < high) {
    const middle = (low + high) >> 1;
    if (changetype<Slot>(Slots.at(copy, middle)).baseGfn <= gfn) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Row of the slot that holds `gfn`, or 0. Remembers it for the actor's next lookup. */
export function findSlot(actor: usize, gfn: u64): usize {
  return findSlotIn(actor, Slots.active(), gfn);
}

/** The same, in one copy: for those who want more of the copy than the slot. */
export function findSlotIn(actor: usize, copy: usize, gfn: u64): usize {
  const fault = changetype<Fault>(actor + ACTOR_FAULT);
  const hint = fault.slotHint;
  if (hint < Slots.count(copy)) {
    const slot = Slots.at(copy, hint);
    if (Slots.holds(slot, gfn)) return slot;
  }
  const after = upperBound(copy, gfn);
  if (after == 0) return 0;
  const slot = Slots.at(copy, after - 1);
  if (!Slots.holds(slot, gfn)) return 0;
  fault.slotHint = after - 1;
  return slot;
}

/** Rows of the hva index whose slot begins below `end`: candidates for an overlap, from the last backwards. */
export function slotsBelow(copy: usize, end: u64): u32 {
  let low: u32 = 0;
  let high = Slots.count(copy);
  while (low < high) {
    const middle = (low + high) >> 1;
    const row = changetype<SlotByHva>(Slots.byHva(copy, middle));
    if (changetype<Slot>(Slots.at(copy, row.position)).hva < end) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Position in the array sorted by gfn of the slot with this id, or -1. */
function positionOf(copy: usize, id: u32): i32 {
  for (let i: u32 = 0, n = Slots.count(copy); i < n; i++) {
    if (changetype<Slot>(Slots.at(copy, i)).id == id) return i;
  }
  return -1;
}

function copySlots(to: usize, from: usize): void {
  const n = Slots.count(from);
  changetype<SlotsHead>(to).count = n;
  memory.copy(Slots.at(to, 0), Slots.at(from, 0), (<usize>n) << SLOT_SHIFT);
  memory.copy(Slots.byHva(to, 0), Slots.byHva(from, 0), (<usize>n) << SLOT_BY_HVA_SHIFT);
}

/** Renews `maxEnd` of the hva index, which an overlap search walks backwards by. */
function renewMaxEnd(copy: usize): void {
  let max: u64 = 0;
  for (let i: u32 = 0, n = Slots.count(copy); i < n; i++) {
    const row = changetype<SlotByHva>(Slots.byHva(copy, i));
    const slot = changetype<Slot>(Slots.at(copy, row.position));
    const end = slot.hva + (slot.npages << 12);
    if (end > max) max = end;
    row.maxEnd = max;
  }
}

function insertSlot(copy: usize, baseGfn: u64, npages: u64, hva: u64, id: u32, flags: u32): void {
  const n = Slots.count(copy);
  const at = upperBound(copy, baseGfn);
  memory.copy(Slots.at(copy, at + 1), Slots.at(copy, at), (<usize>(n - at)) << SLOT_SHIFT);
  const slot = changetype<Slot>(Slots.at(copy, at));
  slot.baseGfn = baseGfn;
  slot.npages = npages;
  slot.hva = hva;
  slot.id = id;
  slot.flags = flags;
  let byHva: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const row = changetype<SlotByHva>(Slots.byHva(copy, i));
    if (row.position >= at) row.position++;
    if (changetype<Slot>(Slots.at(copy, row.position)).hva <= hva) byHva = i + 1;
  }
  memory.copy(
    Slots.byHva(copy, byHva + 1),
    Slots.byHva(copy, byHva),
    (<usize>(n - byHva)) << SLOT_BY_HVA_SHIFT,
  );
  changetype<SlotByHva>(Slots.byHva(copy, byHva)).position = at;
  changetype<SlotsHead>(copy).count = n + 1;
  renewMaxEnd(copy);
}

function removeSlot(copy: usize, at: u32): void {
  const n = Slots.count(copy) - 1;
  memory.copy(Slots.at(copy, at), Slots.at(copy, at + 1), (<usize>(n - at)) << SLOT_SHIFT);
  let to: u32 = 0;
  for (let i: u32 = 0; i <= n; i++) {
    const position = changetype<SlotByHva>(Slots.byHva(copy, i)).position;
    if (position == at) continue;
    changetype<SlotByHva>(Slots.byHva(copy, to++)).position = position > at ? position - 1 : position;
  }
  changetype<SlotsHead>(copy).count = n;
  renewMaxEnd(copy);
}

/** True if [baseGfn, baseGfn + npages) meets a slot other than `except` (a position, -1 for none). */
function overlaps(copy: usize, baseGfn: u64, npages: u64, except: i32): bool {
  const last = upperBound(copy, baseGfn + npages - 1);
  for (let i: i32 = <i32>last - 1; i >= 0; i--) {
    if (i == except) continue;
    const slot = changetype<Slot>(Slots.at(copy, i));
    return slot.baseGfn + slot.npages > baseGfn;
  }
  return false;
}

/** The copy that nobody reads, made equal to the active one. Holds slots_arch_lock until `publish`. */
function prepare(actor: usize): usize {
  Mutex.lock(KVM_SLOTS_ARCH_LOCK, actor);
  const active = Ops.load<u32>(KVM_SLOTS_ACTIVE, Order.Relaxed);
  const copy = Map.slots(active ^ 1);
  copySlots(copy, Map.slots(active));
  changetype<SlotsHead>(copy).generation = Slots.generation(Map.slots(active)) + 1;
  return copy;
}

/**
 * kvm_swap_active_memslots. The pointer may not change while an invalidation is open: its start and its end must see
 * the same slots, or the count of open invalidations would not balance. Start takes no slots_lock, so waiting here
 * with the lock held cannot deadlock.
 */
function publish(actor: usize, copy: usize): void {
  Spin.lock(KVM_MN_INVALIDATE_LOCK, actor);
  if (Rules.hold(Rule.UpdaterWaitsForInvalidations) && Profiles.has(Switch.BeginOnlyOnOverlap)) {
    let open = Ops.load<u32>(KVM_MN_ACTIVE_COUNT, Order.Relaxed);
    while (open != 0) {
      Spin.unlock(KVM_MN_INVALIDATE_LOCK, actor);
      Notes.tell(Note.MaySleep, KVM_MN_ACTIVE_COUNT, 0);
      waitWhileEqual(KVM_MN_ACTIVE_COUNT, open, KVM_MN_ACTIVE_WAITERS, actor);
      Spin.lock(KVM_MN_INVALIDATE_LOCK, actor);
      open = Ops.load<u32>(KVM_MN_ACTIVE_COUNT, Order.Relaxed);
    }
  }
  // slots_lock is held: nobody else changes the generation.
  const generation: u32 = LAB ? load<u32>(KVM_GENERATION) : 0;
  Ops.store<u32>(KVM_SLOTS_ACTIVE, copy == Map.slots(0) ? 0 : 1, Order.Release);
  Notes.tell(Note.SlotsPublished, generation, 0);
  Spin.unlock(KVM_MN_INVALIDATE_LOCK, actor);
  Mutex.unlock(KVM_SLOTS_ARCH_LOCK, actor);
  if (Rules.hold(Rule.UpdaterSynchronizes)) synchronizeSrcu(actor);
}

/** Delete and move begin alike: faults must retry at the slot, and nothing may stay mapped through it. */
function invalidateSlot(actor: usize, id: u32): void {
  const copy = prepare(actor);
  changetype<Slot>(Slots.at(copy, positionOf(copy, id))).flags |= SlotFlag.Invalid;
  publish(actor, copy);
  zapAllFast(actor);
}

function removeInvalid(actor: usize, id: u32): usize {
  const copy = prepare(actor);
  removeSlot(copy, positionOf(copy, id));
  return copy;
}

function updateLocked(actor: usize, id: u32, baseGfn: u64, npages: u64, hva: u64, flags: u32): SlotStatus {
  const active = Slots.active();
  const position = positionOf(active, id);
  if (npages == 0) {
    if (position < 0) return SlotStatus.Unknown;
    const gone = Slots.at(active, position);
    const first: u64 = LAB ? changetype<Slot>(gone).baseGfn : 0;
    const pages: u64 = LAB ? changetype<Slot>(gone).npages : 0;
    invalidateSlot(actor, id);
    publish(actor, removeInvalid(actor, id));
    Notes.tell(Note.SlotDeleted, first, pages);
    return SlotStatus.Ok;
  }
  if (overlaps(active, baseGfn, npages, position)) return SlotStatus.Overlap;
  if (position < 0) {
    if (Slots.count(active) == Map.slotMax) return SlotStatus.Full;
    const copy = prepare(actor);
    insertSlot(copy, baseGfn, npages, hva, id, flags);
    publish(actor, copy);
    return SlotStatus.Ok;
  }
  const old = changetype<Slot>(Slots.at(active, position));
  if (old.npages != npages || old.hva != hva || ((old.flags ^ flags) & SlotFlag.ReadOnly) != 0) {
    return SlotStatus.Immutable;
  }
  const from: u64 = LAB ? old.baseGfn : 0;
  if (old.baseGfn != baseGfn) {
    invalidateSlot(actor, id);
    // Now, and not when the move is done: where it overlaps itself it is mapped again from the publishing on.
    Notes.tell(Note.SlotDeleted, from, npages);
    const copy = removeInvalid(actor, id);
    insertSlot(copy, baseGfn, npages, hva, id, flags);
    publish(actor, copy);
  } else {
    const copy = prepare(actor);
    changetype<Slot>(Slots.at(copy, position)).flags = flags;
    publish(actor, copy);
  }
  return SlotStatus.Ok;
}

/**
 * KVM_SET_USER_MEMORY_REGION. `npages` 0 deletes slot `id`; a new id adds a slot; a known id moves it (`baseGfn`) or
 * changes its flags. Page counts and addresses have been checked by the host. Not to be called in an SRCU section.
 */
export function setMemslot(
  actor: usize,
  id: u32,
  baseGfn: u64,
  npages: u64,
  hva: u64,
  flags: u32,
): SlotStatus {
  Mutex.lock(KVM_SLOTS_LOCK, actor);
  Ops.add<u32>(KVM_GENERATION, 1, Order.Full);
  // `Invalid` is KVM's own.
  const status = updateLocked(actor, id, baseGfn, npages, hva, flags & SlotFlag.ReadOnly);
  Ops.add<u32>(KVM_GENERATION, 1, Order.Full);
  wakeAll(KVM_GENERATION);
  Mutex.unlock(KVM_SLOTS_LOCK, actor);
  return status;
}
