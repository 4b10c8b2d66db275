// End-to-end checks of the data, under whatever the host does meanwhile.
//
// Owned words: each vCPU owns the word at offset 8 * vcpu of every step of its window, and nobody else writes it. In
// pass r it must find there what it wrote in pass r - 1, or 0 if the host has discarded the page; then it writes the
// word of pass r. Pass 0 only writes. Anything else is a lost or stray write, or a read through a stale translation.
//
// Added words: all vCPUs add 1, atomically, to the word at offset 4088 of random steps. Where nothing is discarded, the
// words' sum grows by exactly as much as was added.

import { ACTOR_INTEGRITY, Drive, DriveStatus, Integrity } from "../layout/drive";
import { MachineOption } from "../layout/header";
import { Map } from "../layout/map";
import { Stat, Stats } from "../layout/stats";
import { Access } from "../layout/walk";
import { Permutation } from "../guest/permutation";
import { Ops, Order } from "../sync/ops";
import { STOP_MASK, Touch, beginDrive, endDrive, reachSlow } from "./access";
import { Random, nextRandom } from "./random";
import { Steps } from "./workload";

/** Offset of the added word in a step. */
export const ADDED_OFFSET: u64 = 4088;

class Checked {
  @inline static of(vcpu: usize): Integrity {
    return changetype<Integrity>(vcpu + ACTOR_INTEGRITY);
  }
}

/** What a vCPU writes to the word at `gva` in `pass`: never 0. */
export function ownedValue(gva: u64, vcpuIndex: u32, pass: u64): u64 {
  return Random.mix(gva ^ Random.mix((pass << 16) + vcpuIndex)) | 1;
}

function recordMismatch(vcpu: usize, gva: u64, expected: u64, found: u64): void {
  const check = Checked.of(vcpu);
  if (check.errors++ == 0) {
    check.gva = gva;
    check.expected = expected;
    check.found = found;
  }
  Stats.add(vcpu, Stat.IntegrityErrors, 1);
}

function checkWord(vcpu: usize, gva: u64, found: u64): void {
  const check = Checked.of(vcpu);
  if (check.pass == 0) return;
  const expected = ownedValue(gva, Map.actorIndex(vcpu), check.pass - 1);
  if (found == expected) check.kept++;
  else if (found == 0) check.discarded++;
  else recordMismatch(vcpu, gva, expected, found);
}

/** Address of the word at `gva`, or 0 if the slice is over; counts a miss by adding to `drive.visited`. */
function reachWord(vcpu: usize, gva: u64, access: Access): usize {
  const hit = Touch.hit(vcpu, gva, access);
  if (hit) return hit;
  Touch.drive(vcpu).visited++;
  return reachSlow(vcpu, gva, access);
}

/** Reads and writes the owned word of one step. False if it could not, or not as a whole. */
function visitOwned(vcpu: usize, drive: Drive, check: Integrity): bool {
  const index = Map.actorIndex(vcpu);
  // Each vCPU and each pass has its own order, so that they do not march in step.
  const key = drive.key + ((<u64>index) << 32) + check.pass;
  const step = <u32>Permutation.of(check.position, drive.steps, drive.stepBits, key);
  const gva = Steps.start(drive, step) + ((<u64>index) << 3);
  const from = reachWord(vcpu, gva, Access.Read);
  if (from == 0) return false;
  // Atomic, as are all accesses to words of a page that several vCPUs write; ordered by nothing.
  Touch.use(vcpu, gva, from, Access.Read);
  const found = Ops.load<u64>(from, Order.Relaxed);
  const to = reachWord(vcpu, gva, Access.Write);
  if (to == 0) return false;
  Touch.use(vcpu, gva, to, Access.Write);
  Ops.store<u64>(to, ownedValue(gva, index, check.pass), Order.Relaxed);
  checkWord(vcpu, gva, found);
  return true;
}

/** Visits up to `count` owned words. Needs a host that zeroes pages, and room for the vCPU's word in a step. */
export function runVerify(vcpu: usize, count: u32): u32 {
  const drive = Touch.drive(vcpu);
  if (!Map.has(MachineOption.ZeroPages) || <u32>8 * (Map.actorIndex(vcpu) + 1) > 4088) {
    drive.status = DriveStatus.Unsupported;
    return 0;
  }
  if (!beginDrive(vcpu)) return 0;
  const check = Checked.of(vcpu);
  drive.visited = 0;
  let done: u32 = 0;
  for (; done < count; done++) {
    if ((done & STOP_MASK) == 0 && Touch.stopped()) {
      drive.status = DriveStatus.Stopped;
      break;
    }
    if (!visitOwned(vcpu, drive, check)) {
      // An access that was given up is as bad as a wrong value: the region must be backed as a whole.
      if (drive.status == DriveStatus.Ok) drive.status = DriveStatus.Unsupported;
      break;
    }
    if (++check.position == drive.steps) {
      check.position = 0;
      check.pass++;
    }
  }
  endDrive(vcpu, done * 2, min<u32>(drive.visited, done * 2));
  return done;
}

/** Adds 1 to the added words of `count` random steps. */
export function runAdd(vcpu: usize, count: u32): u32 {
  if (!beginDrive(vcpu)) return 0;
  const drive = Touch.drive(vcpu);
  const check = Checked.of(vcpu);
  drive.visited = 0;
  let done: u32 = 0;
  for (; done < count; done++) {
    if ((done & STOP_MASK) == 0 && Touch.stopped()) {
      drive.status = DriveStatus.Stopped;
      break;
    }
    const step = Random.below(nextRandom(drive), drive.steps);
    const gva = Steps.start(drive, step) + ADDED_OFFSET;
    const host = reachWord(vcpu, gva, Access.Modify);
    if (host == 0) {
      if (drive.status == DriveStatus.Ok) drive.status = DriveStatus.Unsupported;
      break;
    }
    Touch.use(vcpu, gva, host, Access.Modify);
    Ops.add<u64>(host, 1, Order.Full);
    check.additions++;
  }
  endDrive(vcpu, done, min<u32>(drive.visited, done));
  return done;
}

/** Sum of the added words of all steps of the window, in `Integrity.sum`. False if a page cannot be read. */
export function sumAdded(vcpu: usize): bool {
  if (!beginDrive(vcpu)) return false;
  const drive = Touch.drive(vcpu);
  const check = Checked.of(vcpu);
  check.sum = 0;
  let step: u32 = 0;
  for (; step < drive.steps; step++) {
    const gva = Steps.start(drive, step) + ADDED_OFFSET;
    const host = Touch.reach(vcpu, gva, Access.Read);
    if (host == 0) break;
    Touch.use(vcpu, gva, host, Access.Read);
    check.sum += Ops.load<u64>(host, Order.Relaxed);
  }
  endDrive(vcpu, 0, 0);
  return step == drive.steps;
}
