// Roots of the TDP MMU. All vCPUs load the same root; mapcount of its struct page counts who uses it: each vCPU that
// has it loaded, each walk that may drop mmu_lock, and the MMU itself until the root is invalidated. An invalid root
// stays on the list until it has been taken apart, for notifiers must reach its leaves.

import { ACTOR_FAULT } from "../layout/actor";
import { Request } from "../layout/control";
import { Fault } from "../layout/fault";
import { KVM_CURRENT_ROOT, KVM_ROOTS_HEAD } from "../layout/kvm";
import { Map } from "../layout/map";
import { PAGE_FLAGS, PAGE_MAPCOUNT, Page, PageFlag } from "../layout/page";
import { Note, Notes } from "../note";
import { Rule, Rules } from "../rules";
import { Ops, Order } from "../sync/ops";
import { Trap, trap } from "../trap";
import { loadEptp } from "../x86/cpu";
import { requestAll } from "./flush";
import { MmuLock } from "./lock";
import { freeTableAfterGrace, newTable, reapTables, topUpOrReap } from "./tables";
import { ROOT_SHIFT, takeOutRoot } from "./tdp";

/** Roots on the list. */
export class Root {
  @inline static first(): u32 {
    return Ops.load<u32>(KVM_ROOTS_HEAD, Order.Relaxed);
  }
  @inline static after(root: u32): u32 {
    return changetype<Page>(Map.page(root)).next;
  }
  /** role.invalid: a memslot update has made it obsolete. */
  @inline static invalid(root: u32): bool {
    return (Ops.load<u32>(Map.page(root) + PAGE_FLAGS, Order.Acquire) & PageFlag.RootInvalid) != 0;
  }
  @inline static get(root: u32): void {
    Ops.add<i32>(Map.page(root) + PAGE_MAPCOUNT, 1, Order.None);
  }
}

/** Drops a use of a root; the last one unlinks it. mmu_lock held for write. */
export function putRootLocked(actor: usize, root: u32): void {
  const old = Ops.sub<i32>(Map.page(root) + PAGE_MAPCOUNT, 1, Order.Full);
  if (old <= 0) trap(Trap.RootUnderflow, root, actor);
  if (old != 1) return;
  let previous: u32 = 0;
  let at = Root.first();
  while (at != root) {
    previous = at;
    at = Root.after(at);
  }
  const next = Root.after(root);
  if (previous) changetype<Page>(Map.page(previous)).next = next;
  else Ops.store<u32>(KVM_ROOTS_HEAD, next, Order.Relaxed);
  freeTableAfterGrace(actor, root);
}

/** kvm_mmu_load: gives a vCPU that has no root the current one, made if need be. False if out of frames. */
export function loadRoot(vcpu: usize): bool {
  const fault = changetype<Fault>(vcpu + ACTOR_FAULT);
  if (fault.root) return true;
  if (!topUpOrReap(vcpu, 1)) return false;
  MmuLock.lock(vcpu);
  let root = Ops.load<u32>(KVM_CURRENT_ROOT, Order.Relaxed);
  if (root == 0) {
    root = newTable(vcpu, 0, ROOT_SHIFT);
    Root.get(root); // the MMU's own use
    changetype<Page>(Map.page(root)).next = Root.first();
    Ops.store<u32>(KVM_ROOTS_HEAD, root, Order.Relaxed);
    Ops.store<u32>(KVM_CURRENT_ROOT, root, Order.Relaxed);
  }
  Root.get(root);
  MmuLock.unlock(vcpu);
  fault.root = root;
  // A freed root's frame may come back as a root: what was cached under the same EP4TA must go.
  loadEptp(vcpu, root);
  Notes.tell(Note.RootLoaded | (Map.actorIndex(vcpu) << 16), root, 0);
  return true;
}

/** kvm_mmu_unload: the vCPU gives its root up. */
export function unloadRoot(vcpu: usize): void {
  const fault = changetype<Fault>(vcpu + ACTOR_FAULT);
  const root = fault.root;
  if (root == 0) return;
  fault.root = 0;
  // Before the root can be freed: neither the TLB nor a walk may lead into it any more.
  loadEptp(vcpu, 0);
  Notes.tell(Note.RootLoaded | (Map.actorIndex(vcpu) << 16), 0, 0);
  MmuLock.lock(vcpu);
  putRootLocked(vcpu, root);
  MmuLock.unlock(vcpu);
}

/** Marks every valid root obsolete. Returns how many were. mmu_lock held for write. */
function invalidateRootsLocked(): u32 {
  let n: u32 = 0;
  for (let root = Root.first(); root; root = Root.after(root)) {
    if (Root.invalid(root)) continue;
    Ops.or<u32>(Map.page(root) + PAGE_FLAGS, PageFlag.RootInvalid, Order.Release);
    Notes.tell(Note.RootInvalid, root, 0);
    n++;
  }
  Ops.store<u32>(KVM_CURRENT_ROOT, 0, Order.Relaxed);
  return n;
}

/** An invalid root that still has the MMU's own use, or 0. mmu_lock held. */
function nextRootToTakeOut(): u32 {
  for (let root = Root.first(); root; root = Root.after(root)) {
    // The mark is cleared from `index` by whoever takes the root apart: slots_lock admits one.
    if (Root.invalid(root) && changetype<Page>(Map.page(root)).index == 0) return root;
  }
  return 0;
}

/**
 * kvm_mmu_zap_all_fast: makes every root obsolete and takes it apart before it returns, so that no SPTE outlives the
 * slot. The request to reload goes out in the section that invalidates: a vCPU that enters later finds it.
 */
export function zapAllFast(actor: usize): void {
  MmuLock.lock(actor);
  const any = invalidateRootsLocked();
  if (any && Rules.hold(Rule.ReloadRequestedWithInvalidation)) requestAll(actor, Request.FreeObsoleteRoots);
  MmuLock.unlock(actor);
  if (any && !Rules.hold(Rule.ReloadRequestedWithInvalidation)) requestAll(actor, Request.FreeObsoleteRoots);
  while (true) {
    MmuLock.lock(actor);
    const root = nextRootToTakeOut();
    if (root) changetype<Page>(Map.page(root)).index = 1;
    MmuLock.unlock(actor);
    if (root == 0) break;
    MmuLock.lockShared(actor);
    takeOutRoot(actor, root);
    MmuLock.unlockShared(actor);
    MmuLock.lock(actor);
    putRootLocked(actor, root);
    MmuLock.unlock(actor);
  }
  reapTables(actor);
}
