// KVM: memslots, and what the secondary MMU holds.

import { ACTOR_FAULT } from "../layout/actor";
import { Fault } from "../layout/fault";
import {
  KVM_CURRENT_ROOT,
  KVM_GENERATION,
  KVM_INVALIDATE_IN_PROGRESS,
  KVM_INVALIDATE_SEQ,
  KVM_MN_ACTIVE_COUNT,
  KVM_TABLE_COUNT,
} from "../layout/kvm";
import { Map } from "../layout/map";
import { unloadAll } from "../kvm/kvm";
import { MmuLock } from "../kvm/lock";
import { SlotStatus, Slots, setMemslot } from "../kvm/memslots";
import { Root } from "../kvm/roots";
import { ROOT_SHIFT, countLeaves, leafOf } from "../kvm/tdp";
import { Rcu } from "../sync/grace";
import { Ops, Order } from "../sync/ops";

/** Adds, moves, changes or (`npages` 0) deletes memslot `id`: KVM_SET_USER_MEMORY_REGION. */
export function kvmSetMemslot(
  actor: u32,
  id: u32,
  baseGfn: u64,
  npages: u64,
  hva: u64,
  flags: u32,
): SlotStatus {
  return setMemslot(Map.actor(actor), id, baseGfn, npages, hva, flags);
}

/** Memslots in force. */
export function kvmSlotCount(): u32 {
  return Slots.count(Slots.active());
}

/** Address of the `i`th memslot in order of gfn, a `Slot`. Valid until the next change of a slot. */
export function kvmSlotAt(i: u32): usize {
  return Slots.at(Slots.active(), i);
}

/** memslots.generation: even when stable. */
export function kvmGeneration(): u32 {
  return Ops.load<u32>(KVM_GENERATION, Order.Relaxed);
}

/** mmu_invalidate_seq. */
export function kvmInvalidateSeq(): u32 {
  return Ops.load<u32>(KVM_INVALIDATE_SEQ, Order.Relaxed);
}

/** mmu_invalidate_in_progress. */
export function kvmInvalidateInProgress(): u32 {
  return Ops.load<u32>(KVM_INVALIDATE_IN_PROGRESS, Order.Relaxed);
}

/** mn_active_invalidate_count. */
export function kvmActiveInvalidations(): u32 {
  return Ops.load<u32>(KVM_MN_ACTIVE_COUNT, Order.Relaxed);
}

/** Table pages of the secondary MMU, roots and those waiting for a grace period included. */
export function kvmTableCount(): u32 {
  return Ops.load<u32>(KVM_TABLE_COUNT, Order.Relaxed);
}

/** Leaves mapped under all roots. */
export function kvmLeafCount(actor: u32): u64 {
  const a = Map.actor(actor);
  let n: u64 = 0;
  MmuLock.lock(a);
  for (let root = Root.first(); root; root = Root.after(root)) n += countLeaves(root, ROOT_SHIFT);
  MmuLock.unlock(a);
  return n;
}

/** Leaf SPTE of `gfn` under the current root, 0 for none. */
export function kvmLeaf(actor: u32, gfn: u64): u64 {
  const a = Map.actor(actor);
  // Before the root is read: it may be unlinked and freed as soon as nobody can be looking.
  Rcu.readLock(a);
  const root = Ops.load<u32>(KVM_CURRENT_ROOT, Order.Acquire);
  const leaf = root ? leafOf(a, root, gfn) : 0;
  Rcu.readUnlock(a);
  return leaf;
}

/** pfn of the root that a vCPU has loaded, 0 for none. */
export function kvmVcpuRoot(vcpu: u32): u32 {
  return changetype<Fault>(Map.actor(vcpu) + ACTOR_FAULT).root;
}

/** Gives all tables of the secondary MMU back to the pool. No vCPU may be running. */
export function kvmUnloadAll(actor: u32): void {
  unloadAll(Map.actor(actor));
}
