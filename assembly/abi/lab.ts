// Lab module only: the three functions of the fault path one by one, and the two ends of an invalidation, so that a
// test can stand in every row of the retry matrix (docs/protocol.md). They are the functions that the release module
// runs, exported; no second path. And two that act beside the threads: the page walker of a processor, and RCU.

import { ACTOR_FAULT } from "../layout/actor";
import { Fault } from "../layout/fault";
import { Map } from "../layout/map";
import { Access } from "../layout/walk";
import { FaultResult, commit, levelFromVma, resolve, snapshot } from "../kvm/fault";
import { invalidateEnd, invalidateStart } from "../kvm/invalidate";
import { loadRoot } from "../kvm/roots";
import { awaitTables } from "../kvm/tables";
import { topUpTables } from "../host/pool";
import { Srcu } from "../sync/grace";
import { speculate } from "../x86/hardware";

/** Begins a fault at `gpa`: root, tables, SRCU, and in profiles that take it from the VMA the size. False if out of frames. */
export function labFaultBegin(vcpu: u32, gpa: u64, write: u32): bool {
  const actor = Map.actor(vcpu);
  const fault = changetype<Fault>(actor + ACTOR_FAULT);
  fault.gpa = gpa;
  fault.gfn = gpa >> 12;
  fault.write = write;
  Srcu.readLock(actor);
  if (loadRoot(actor) && topUpTables(actor, 4)) {
    levelFromVma(actor);
    return true;
  }
  Srcu.readUnlock(actor);
  return false;
}

/** Step 1: the sequence. */
export function labSnapshot(vcpu: u32): void {
  snapshot(Map.actor(vcpu));
}

/** Step 2: memslot and gup; on `Continue` the page is held. */
export function labResolve(vcpu: u32): FaultResult {
  return resolve(Map.actor(vcpu));
}

/** Step 3: lock, check, install, release. */
export function labCommit(vcpu: u32): FaultResult {
  return commit(Map.actor(vcpu));
}

/** Ends the SRCU section that `labFaultBegin` began. */
export function labFaultEnd(vcpu: u32): void {
  Srcu.readUnlock(Map.actor(vcpu));
}

/** invalidate_range_start for hva [start, end), without a change of the host tables. */
export function labInvalidateStart(actor: u32, start: u64, end: u64): void {
  invalidateStart(Map.actor(actor), start, end);
}

/** invalidate_range_end for the same range. */
export function labInvalidateEnd(actor: u32, start: u64, end: u64): void {
  invalidateEnd(Map.actor(actor), start, end);
}

/**
 * What the kernel's RCU thread does: waits until the grace period of every table deferred so far is over, and frees those
 * tables. `actor` is a host thread of its own.
 */
export function labRcuGrace(actor: u32): void {
  awaitTables(Map.actor(actor));
}

/**
 * The page walker of a vCPU acts by itself (x86/hardware.ts): walks for an access that the guest does not make, and fills
 * the vCPU's TLB. `actor`, a host thread of its own, lends its block. Returns whether it filled.
 */
export function labSpeculate(actor: u32, vcpu: u32, gva: u64, access: Access): bool {
  return speculate(Map.actor(actor), Map.actor(vcpu), gva, access);
}
