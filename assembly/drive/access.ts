// One access of a driver: the TLB hit inline, everything else in one call.

import { ACTOR_DRIVE, ACTOR_WALK } from "../layout/actor";
import { Drive, DriveStatus } from "../layout/drive";
import { GuestStatus } from "../layout/guest";
import { HEADER_STOP } from "../layout/header";
import { Stat, Stats } from "../layout/stats";
import { Access, Outcome, Walk } from "../layout/walk";
import { guestPageFault } from "../guest/fault";
import { Guest, beginRun, endRun } from "../kvm/vcpu";
import { Ops, Order } from "../sync/ops";

/** A driver looks at `Header.stop` whenever this mask of its count is 0. */
export const STOP_MASK: u32 = 63;
/** Page faults in a row that one access may draw: more, and kernel and processor disagree about the page. */
const FAULTS_PER_ACCESS: u32 = 64;

export class Touch {
  @inline static drive(actor: usize): Drive {
    return changetype<Drive>(actor + ACTOR_DRIVE);
  }
  @inline static stopped(): bool {
    return Ops.load<u32>(HEADER_STOP, Order.Relaxed) != 0;
  }
  /** Address of the byte at `gva`; 0 if there is a request or the TLB does not have it. In guest mode. */
  @inline static hit(vcpu: usize, gva: u64, access: Access): usize {
    return Guest.hit(vcpu, gva, access);
  }
  /** Tells the checkers of the data access that comes next (`Guest.use`). */
  @inline static use(vcpu: usize, gva: u64, host: usize, access: Access): void {
    Guest.use(vcpu, gva, host, (access & 1) != 0);
  }
  /** Address of the byte at `gva`, whatever it takes; 0 as `reachSlow`. */
  @inline static reach(vcpu: usize, gva: u64, access: Access): usize {
    const host = Touch.hit(vcpu, gva, access);
    return host ? host : reachSlow(vcpu, gva, access);
  }
  /**
   * The address of step `i`. Its cache line within the page moves on from step to step: all at one offset would meet in
   * a few sets of the host's cache.
   */
  @inline static step(base: u64, i: u32, shift: u64): u64 {
    return base + ((<u64>i) << shift) + (((<u64>i) << 6) & 0xfc0);
  }
}

/** KVM_RUN: into guest mode. False, with the status set, if the vCPU may not run. */
export function beginDrive(vcpu: usize): bool {
  const drive = Touch.drive(vcpu);
  drive.givenUp = 0;
  drive.lateHits = 0;
  drive.status = DriveStatus.Ok;
  if (beginRun(vcpu)) return true;
  const interrupted = changetype<Walk>(vcpu + ACTOR_WALK).outcome == Outcome.Interrupted;
  drive.status = interrupted ? DriveStatus.Interrupted : DriveStatus.OutOfFrames;
  return false;
}

/** Out of guest mode, where an interrupted vCPU is already, and the counts of the slice. */
export function endDrive(vcpu: usize, done: u32, misses: u32): void {
  const drive = Touch.drive(vcpu);
  if (drive.status != DriveStatus.Interrupted) endRun(vcpu);
  Stats.add(vcpu, Stat.Accesses, done - min(drive.givenUp, done));
  Stats.add(vcpu, Stat.TlbHits, done - misses + drive.lateHits);
}

/**
 * A whole access in one call, for slices whose accesses mostly miss. A write stores `value`. Returns 1 if it missed the
 * TLB and 0 if it hit; an access that could not be made shows in the status, as of `reachSlow`.
 */
export function touchOnce(vcpu: usize, gva: u64, access: Access, value: u64): u32 {
  const hit = Touch.hit(vcpu, gva, access);
  const host = hit ? hit : reachSlow(vcpu, gva, access);
  if (host == 0) return 1;
  Touch.use(vcpu, gva, host, access);
  if (access == Access.Read) Touch.drive(vcpu).sink ^= load<u64>(host);
  else store<u64>(host, value);
  return hit ? 0 : 1;
}

/**
 * The address of an access that missed, its page faults handled by the guest kernel. 0: the access was given up, and
 * `status` is Ok if the driver may go on with the next.
 */
export function reachSlow(vcpu: usize, gva: u64, access: Access): usize {
  const walk = changetype<Walk>(vcpu + ACTOR_WALK);
  const walks = Stats.read(vcpu, Stat.Walks);
  let faults: u32 = 0;
  while (true) {
    const host = Guest.address(vcpu, gva, access);
    if (host) {
      if (Stats.read(vcpu, Stat.Walks) == walks) Touch.drive(vcpu).lateHits++;
      return host;
    }
    if (walk.outcome != Outcome.PageFault || ++faults > FAULTS_PER_ACCESS) return giveUp(vcpu, walk.outcome);
    const status = guestPageFault(vcpu, walk.gva, <u32>walk.error);
    if (status != GuestStatus.Ok) return giveUpInKernel(vcpu, status);
  }
}

/** Ends the slice at an access that is not counted. */
function endSlice(vcpu: usize, status: DriveStatus): usize {
  Touch.drive(vcpu).status = status;
  return 0;
}

function giveUp(vcpu: usize, outcome: u32): usize {
  switch (outcome) {
    case Outcome.Interrupted:
      return endSlice(vcpu, DriveStatus.Interrupted);
    case Outcome.OutOfFrames:
      return endSlice(vcpu, DriveStatus.OutOfFrames);
    case Outcome.HostFault:
      return endSlice(vcpu, DriveStatus.HostFault);
    default:
      break;
  }
  // An exit to the embedder was counted where it was found.
  if (outcome != Outcome.Mmio) Stats.add(vcpu, Stat.AccessFaults, 1);
  Touch.drive(vcpu).givenUp++;
  return 0;
}

function giveUpInKernel(vcpu: usize, status: GuestStatus): usize {
  if (status == GuestStatus.OutOfMemory) return endSlice(vcpu, DriveStatus.GuestOutOfMemory);
  const own = status == GuestStatus.HostError || status == GuestStatus.Interrupted;
  return giveUp(vcpu, own ? changetype<Walk>(vcpu + ACTOR_WALK).outcome : Outcome.PageFault);
}
