// Discarding memory: by a vCPU's own thread, which faults it in again, and by an invalidator beside the vCPUs.

import { Drive, DriveStatus, Workload } from "../layout/drive";
import { GuestMapping } from "../layout/guest";
import { PAGE_SHIFT } from "../layout/map";
import { MM_BASE } from "../layout/mm";
import { Kernel } from "../guest/memory";
import { Region } from "../guest/region";
import { hostDontneed } from "../host/mm";
import { HostStatus } from "../host/status";
import { STOP_MASK, Touch, beginDrive, endDrive, touchOnce } from "./access";
import { Random, nextRandom } from "./random";
import { Mix, Steps } from "./workload";

/** MADV_DONTNEED of what is behind the steps [first, first + n) of the window. */
function discardSteps(vcpu: usize, drive: Drive, first: u32, n: u32): HostStatus {
  const space = Kernel.space(vcpu);
  const size = (<u64>1) << (<u64>drive.strideShift);
  const gva = Steps.start(drive, first);
  if (Region.linear(space)) {
    return hostDontneed(vcpu, MM_BASE, drive.hvaOfGpa + Region.gpa(space, gva), size * n);
  }
  for (let i: u32 = 0; i < n; i++) {
    const gpa = Region.gpa(space, gva + i * size);
    const status = hostDontneed(vcpu, MM_BASE, drive.hvaOfGpa + gpa, size);
    if (status != HostStatus.Ok) return status;
  }
  return HostStatus.Ok;
}

/** True if the gpa of every step can be computed, and a step is no larger than a page of the region. */
function canDiscard(vcpu: usize, drive: Drive): bool {
  const space = Kernel.space(vcpu);
  if (space.kind == GuestMapping.FirstTouch || drive.strideShift < PAGE_SHIFT) return false;
  return Region.linear(space) || drive.strideShift <= space.pageShift;
}

/**
 * If the chunk is used up, discards the next one of the window; then, as before, `chunkLeft` steps are to be touched.
 * Outside guest mode: what a VMM does between two KVM_RUNs.
 */
export function prepareCycle(vcpu: usize): bool {
  const drive = Touch.drive(vcpu);
  if (drive.chunkLeft) return true;
  if (!canDiscard(vcpu, drive)) {
    drive.status = DriveStatus.Unsupported;
    return false;
  }
  if (drive.chunkNext == drive.steps) drive.chunkNext = 0;
  const n = min<u32>(max<u32>(drive.chunkPages, 1), drive.steps - drive.chunkNext);
  const status = discardSteps(vcpu, drive, drive.chunkNext, n);
  drive.hostStatus = status;
  if (status != HostStatus.Ok) {
    drive.status = DriveStatus.HostRefused;
    return false;
  }
  drive.chunkNext += n;
  drive.chunkLeft = n;
  return true;
}

/** Touches up to `count` steps of the discarded chunk, in order. */
export function refaultChunk(vcpu: usize, count: u32): u32 {
  if (!beginDrive(vcpu)) return 0;
  const drive = Touch.drive(vcpu);
  const n = min<u32>(count, drive.chunkLeft);
  let misses: u32 = 0;
  let done: u32 = 0;
  for (; done < n; done++) {
    if ((done & STOP_MASK) == 0 && Touch.stopped()) {
      drive.status = DriveStatus.Stopped;
      break;
    }
    const draw = nextRandom(drive);
    const access = Mix.access(draw, drive.writeShare);
    const gva = Steps.gva(drive, drive.chunkNext - drive.chunkLeft);
    const missed = touchOnce(vcpu, gva, access, draw);
    if (drive.status != DriveStatus.Ok) break;
    misses += missed;
    drive.chunkLeft--;
  }
  endDrive(vcpu, done, misses);
  return done;
}

/** Discards and refaults chunk after chunk until `count` steps have been touched. */
export function runCycle(vcpu: usize, count: u32): u32 {
  const drive = Touch.drive(vcpu);
  let done: u32 = 0;
  while (done < count) {
    if (!prepareCycle(vcpu)) break;
    done += refaultChunk(vcpu, count - done);
    if (drive.status != DriveStatus.Ok) break;
  }
  return done;
}

/** First page of the next invalidation. */
function nextSpan(drive: Drive, pages: u32): u32 {
  const places = drive.spanTotal - pages + 1;
  if (drive.spanOrder == Workload.Uniform) {
    return Random.below(nextRandom(drive), places);
  }
  const first = drive.spanNext < places ? drive.spanNext : 0;
  drive.spanNext = first + pages;
  return first;
}

/** A host thread's `count` invalidations of `spanPages` pages each. */
export function runInvalidate(actor: usize, count: u32): u32 {
  const drive = Touch.drive(actor);
  drive.status = DriveStatus.Ok;
  const pages = min<u32>(drive.spanPages, drive.spanTotal);
  if (pages == 0) {
    drive.status = DriveStatus.Unsupported;
    return 0;
  }
  for (let done: u32 = 0; done < count; done++) {
    if (Touch.stopped()) {
      drive.status = DriveStatus.Stopped;
      return done;
    }
    const hva = drive.spanHva + ((<u64>nextSpan(drive, pages)) << PAGE_SHIFT);
    const status = hostDontneed(actor, MM_BASE, hva, (<u64>pages) << PAGE_SHIFT);
    drive.hostStatus = status;
    if (status != HostStatus.Ok) {
      drive.status = DriveStatus.HostRefused;
      return done;
    }
  }
  return count;
}
