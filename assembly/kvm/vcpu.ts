// A vCPU's run loop: guest mode, exits, and the accesses in between (docs/protocol.md, Remote flush).
//
// In guest mode a vCPU translates and accesses memory and takes no lock. It polls its requests at every access, so that
// a flush waits for one access at most. An EPT violation leaves guest mode, handles the fault in an SRCU section, and
// enters again.

import { ACTOR_FAULT, ACTOR_WALK } from "../layout/actor";
import { CONTROL_MODE, CONTROL_MODE_WAITERS, CONTROL_REQUESTS, Request, VcpuMode } from "../layout/control";
import { CPU_IN_GUEST } from "../layout/cpu";
import { Fault } from "../layout/fault";
import { Stat, Stats } from "../layout/stats";
import { Access, Outcome, Walk } from "../layout/walk";
import { Map } from "../layout/map";
import { Note, Notes } from "../note";
import { Rule, Rules } from "../rules";
import { Srcu } from "../sync/grace";
import { Ops, Order } from "../sync/ops";
import { wakeAll } from "../sync/wait";
import { tlbFlushAll } from "../x86/tlb";
import { Translate, translateMiss } from "../x86/translate";
import { FaultResult, forgetFault, pageFault, waitToRetry } from "./fault";
import { Root, loadRoot, unloadRoot } from "./roots";
import { unmapAll } from "./vcpu-map";

/** Services what others have asked for. Outside guest mode, in an SRCU section. */
function serviceRequests(vcpu: usize): void {
  // Exit is for the embedder: it stays until he withdraws it.
  const requests = Ops.and<u32>(vcpu + CONTROL_REQUESTS, Request.Exit, Order.Full);
  if (requests & Request.FreeObsoleteRoots) {
    const root = changetype<Fault>(vcpu + ACTOR_FAULT).root;
    if (root && Root.invalid(root)) unloadRoot(vcpu);
  }
  if (requests & Request.TlbFlush) {
    tlbFlushAll(vcpu);
    Stats.add(vcpu, Stat.TlbFlushes, 1);
  }
}

/** Says why the vCPU did not enter guest mode. */
function refuse(vcpu: usize, outcome: Outcome): bool {
  changetype<Walk>(vcpu + ACTOR_WALK).outcome = outcome;
  return false;
}

/** From outside, in an SRCU section, into guest mode, outside of it. False, and the outcome: no frame, or Request.Exit. */
function enterGuest(vcpu: usize): bool {
  while (true) {
    if (Ops.load<u32>(vcpu + CONTROL_REQUESTS, Order.Relaxed)) {
      serviceRequests(vcpu);
      if (Ops.load<u32>(vcpu + CONTROL_REQUESTS, Order.Relaxed) & Request.Exit) {
        return refuse(vcpu, Outcome.Interrupted);
      }
    }
    if (!loadRoot(vcpu)) return refuse(vcpu, Outcome.OutOfFrames);
    const order = Rules.hold(Rule.EntryBarrier) ? Order.Full : Order.Release;
    Ops.store<u32>(vcpu + CONTROL_MODE, VcpuMode.InGuest, order);
    // Pairs with request-then-mode in requestAndKick: a request made before that look is seen here, one made after
    // it finds this vCPU in guest mode.
    if (!Rules.hold(Rule.EntryChecksRequests) || Ops.load<u32>(vcpu + CONTROL_REQUESTS, Order.Relaxed) == 0)
      break;
    leaveGuestMode(vcpu);
  }
  if (LAB) store<u32>(vcpu + CPU_IN_GUEST, 1);
  Notes.tell(Note.GuestEnter | (Map.actorIndex(vcpu) << 16), 0, 0);
  Srcu.readUnlock(vcpu);
  return true;
}

function leaveGuestMode(vcpu: usize): void {
  // Full: before the look at the sleepers. Pairs with announce-then-compare in waitWhileEqual.
  Ops.store<u32>(vcpu + CONTROL_MODE, VcpuMode.OutsideGuest, Order.Full);
  if (LAB) store<u32>(vcpu + CPU_IN_GUEST, 0);
  Notes.tell(Note.GuestExit | (Map.actorIndex(vcpu) << 16), 0, 0);
  if (Ops.load<u32>(vcpu + CONTROL_MODE_WAITERS, Order.Acquire)) wakeAll(vcpu + CONTROL_MODE);
}

/** From guest mode to outside, into an SRCU section. */
function exitGuest(vcpu: usize): void {
  leaveGuestMode(vcpu);
  changetype<Fault>(vcpu + ACTOR_FAULT).left = 1;
  Srcu.readLock(vcpu);
  Stats.add(vcpu, Stat.Exits, 1);
}

/** KVM_RUN begins: from here to `endRun` the vCPU is in guest mode between accesses. False: see the walk's outcome. */
export function beginRun(vcpu: usize): bool {
  changetype<Fault>(vcpu + ACTOR_FAULT).managed = 1;
  Srcu.readLock(vcpu);
  if (enterGuest(vcpu)) return true;
  notEntered(vcpu);
  return false;
}

/** KVM_RUN returns. Harmless if the run has ended already. */
export function endRun(vcpu: usize): void {
  leaveGuestMode(vcpu);
}

/** The vCPU destroys itself: gives back what it holds. Outside guest mode. */
export function releaseVcpu(vcpu: usize): void {
  unmapAll(vcpu);
  unloadRoot(vcpu);
}

/** One access's way to memory. */
export class Guest {
  /** Address of the byte at `gva` if the TLB has it and nothing is asked of the vCPU; else 0. In guest mode. */
  @inline static hit(vcpu: usize, gva: u64, access: Access): usize {
    return Ops.load<u32>(vcpu + CONTROL_REQUESTS, Order.Relaxed) == 0 ? Translate.hit(vcpu, gva, access) : 0;
  }
  /**
   * Address, in this memory, of the byte at `gva`, for an access that stays within its page; 0 if there is none, with
   * the outcome in the actor's walk record. The vCPU is in guest mode, and still is when this returns an address.
   * On 0 it is in guest mode too, or, if it could not enter again (`Interrupted`, `OutOfFrames`), outside of it.
   */
  @inline static address(vcpu: usize, gva: u64, access: Access): usize {
    const host = Guest.hit(vcpu, gva, access);
    return host ? host : addressMiss(vcpu, gva, access);
  }
  /** Tells the checkers that the guest accesses the byte at `gva`, which is at `host`: directly before it does. */
  @inline static use(vcpu: usize, gva: u64, host: usize, write: bool): void {
    Notes.tell(Note.GuestUse | (Map.actorIndex(vcpu) << 16), gva, ((<u64>host) << 1) | u64(write));
  }
}

/** The run has ended on the way into guest mode; the outcome says why. */
function notEntered(vcpu: usize): usize {
  Srcu.readUnlock(vcpu);
  return 0;
}

/** Requests, a TLB miss, or both; and every fault of the second dimension on the way. */
export function addressMiss(vcpu: usize, gva: u64, access: Access): usize {
  const walk = changetype<Walk>(vcpu + ACTOR_WALK);
  while (true) {
    if (Ops.load<u32>(vcpu + CONTROL_REQUESTS, Order.Relaxed)) {
      exitGuest(vcpu);
      if (!enterGuest(vcpu)) return notEntered(vcpu);
    }
    const host = translateMiss(vcpu, gva, access);
    if (host) return host;
    if (walk.outcome != Outcome.EptViolation) return 0;
    const gpa = walk.gpa;
    const write = (walk.error & 2) != 0;
    exitGuest(vcpu);
    const result = pageFault(vcpu, gpa, write);
    if (result == FaultResult.RetryCount || result == FaultResult.RetryRoot) waitToRetry(vcpu, result);
    // Nobody looks at it any more: to the explorer, vCPUs that differ in nothing else are in the same state.
    if (LAB) forgetFault(vcpu);
    if (!enterGuest(vcpu)) return notEntered(vcpu);
    switch (result) {
      case FaultResult.Mmio:
        walk.outcome = Outcome.Mmio;
        return 0;
      case FaultResult.HostFault:
        walk.outcome = Outcome.HostFault;
        return 0;
      case FaultResult.OutOfFrames:
        walk.outcome = Outcome.OutOfFrames;
        return 0;
      default:
        break; // fixed, or to be tried again: either way the walk decides
    }
  }
}
