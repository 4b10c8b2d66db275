// The hot loops, one an order of access. Each runs inside guest mode and leaves it to its caller; what it counts lives
// in locals until the end of the slice. Per access: a number, a poll of the vCPU's requests, one TLB line, the data.

import { Access } from "../layout/walk";
import { Drive, DriveStatus } from "../layout/drive";
import { STOP_MASK, Touch, endDrive, reachSlow, touchOnce } from "./access";
import { Random, nextRandom } from "./random";
import { Mix, Steps, nextZipf } from "./workload";

/** `Drive.writeShare` of a workload that only writes. */
const WRITES_ONLY: u32 = 65536;

/** Before access number `done`: is it time to leave? */
class Slice {
  @inline static over(drive: Drive, done: u32): bool {
    if ((done & STOP_MASK) != 0 || !Touch.stopped()) return false;
    drive.status = DriveStatus.Stopped;
    return true;
  }
  /** After an access that was not made: is that the end? */
  @inline static broken(drive: Drive): bool {
    return drive.status != DriveStatus.Ok;
  }
  @inline static move(vcpu: usize, gva: u64, host: usize, access: Access, value: u64): u64 {
    Touch.use(vcpu, gva, host, access);
    if (access == Access.Read) return load<u64>(host);
    store<u64>(host, value);
    return 0;
  }
}

/** One after another, round and round. */
export function runSequential(vcpu: usize, count: u32): u32 {
  const drive = Touch.drive(vcpu);
  const base = drive.gva;
  const shift = <u64>drive.strideShift;
  const steps = drive.steps;
  const share = drive.writeShare;
  const mixed = share != 0 && share < WRITES_ONLY;
  let access: Access = share ? Access.Write : Access.Read;
  let s0 = drive.random0;
  let s1 = drive.random1;
  let i = drive.position;
  let sink: u64 = 0;
  let misses: u32 = 0;
  let done: u32 = 0;
  for (; done < count && !Slice.over(drive, done); done++) {
    if (mixed) {
      access = Mix.access(s0 + s1, share);
      s1 ^= s0;
      s0 = Random.first(s0, s1);
      s1 = Random.second(s1);
    }
    const gva = Touch.step(base, i, shift);
    let host = Touch.hit(vcpu, gva, access);
    if (host == 0) {
      host = reachSlow(vcpu, gva, access);
      if (Slice.broken(drive)) break;
      misses++;
    }
    if (host) sink ^= Slice.move(vcpu, gva, host, access, gva);
    i = i + 1 == steps ? 0 : i + 1;
  }
  drive.random0 = s0;
  drive.random1 = s1;
  drive.position = i;
  drive.sink ^= sink;
  return finish(vcpu, done, misses);
}

/** Each step alike. */
export function runUniform(vcpu: usize, count: u32): u32 {
  const drive = Touch.drive(vcpu);
  const base = drive.gva;
  const shift = <u64>drive.strideShift;
  const steps = drive.steps;
  const share = drive.writeShare;
  let s0 = drive.random0;
  let s1 = drive.random1;
  let sink: u64 = 0;
  let misses: u32 = 0;
  let done: u32 = 0;
  for (; done < count && !Slice.over(drive, done); done++) {
    const draw = s0 + s1;
    s1 ^= s0;
    s0 = Random.first(s0, s1);
    s1 = Random.second(s1);
    const access = Mix.access(draw, share);
    const gva = Touch.step(base, Random.below(draw, steps), shift);
    let host = Touch.hit(vcpu, gva, access);
    if (host == 0) {
      host = reachSlow(vcpu, gva, access);
      if (Slice.broken(drive)) break;
      misses++;
    }
    if (host) sink ^= Slice.move(vcpu, gva, host, access, draw);
  }
  drive.random0 = s0;
  drive.random1 = s1;
  drive.sink ^= sink;
  return finish(vcpu, done, misses);
}

/** Uniform in `setSteps` steps, which move on by `setMove` after every `setPeriod` accesses. */
export function runShifting(vcpu: usize, count: u32): u32 {
  const drive = Touch.drive(vcpu);
  const base = drive.gva;
  const shift = <u64>drive.strideShift;
  const steps = drive.steps;
  const share = drive.writeShare;
  let s0 = drive.random0;
  let s1 = drive.random1;
  let sink: u64 = 0;
  let misses: u32 = 0;
  let done: u32 = 0;
  for (; done < count && !Slice.over(drive, done); done++) {
    if (drive.setLeft-- == 0) shiftSet(drive);
    const draw = s0 + s1;
    s1 ^= s0;
    s0 = Random.first(s0, s1);
    s1 = Random.second(s1);
    const access = Mix.access(draw, share);
    let i = drive.setFirst + Random.below(draw, drive.setSteps);
    if (i >= steps) i -= steps;
    const gva = Touch.step(base, i, shift);
    let host = Touch.hit(vcpu, gva, access);
    if (host == 0) {
      host = reachSlow(vcpu, gva, access);
      if (Slice.broken(drive)) break;
      misses++;
    }
    if (host) sink ^= Slice.move(vcpu, gva, host, access, draw);
  }
  drive.random0 = s0;
  drive.random1 = s1;
  drive.sink ^= sink;
  return finish(vcpu, done, misses);
}

function shiftSet(drive: Drive): void {
  drive.setLeft = drive.setPeriod - 1;
  const first = drive.setFirst + drive.setMove;
  drive.setFirst = first >= drive.steps ? first - drive.steps : first;
}

/** Zipf; the ranks are permuted, so that hot steps do not lie side by side. */
export function runZipf(vcpu: usize, count: u32): u32 {
  const drive = Touch.drive(vcpu);
  let sink: u64 = 0;
  let misses: u32 = 0;
  let done: u32 = 0;
  for (; done < count && !Slice.over(drive, done); done++) {
    const gva = Steps.gva(drive, Steps.permuted(drive, nextZipf(drive)));
    const draw = nextRandom(drive);
    const access = Mix.access(draw, drive.writeShare);
    let host = Touch.hit(vcpu, gva, access);
    if (host == 0) {
      host = reachSlow(vcpu, gva, access);
      if (Slice.broken(drive)) break;
      misses++;
    }
    if (host) sink ^= Slice.move(vcpu, gva, host, access, draw);
  }
  drive.sink ^= sink;
  return finish(vcpu, done, misses);
}

/**
 * Follows the cycle that `buildChase` has written: each load's value is the next address. With a write share, a step
 * may also store to the word behind the link it has just read: one more access.
 */
export function runChase(vcpu: usize, count: u32): u32 {
  const drive = Touch.drive(vcpu);
  const base = drive.gva;
  const steps = drive.steps;
  const size = (<u64>steps) << (<u64>drive.strideShift);
  const share = drive.writeShare;
  let i = drive.position;
  let gva = Steps.gva(drive, Steps.permuted(drive, i));
  let misses: u32 = 0;
  let done: u32 = 0;
  for (; done < count && !Slice.over(drive, done); done++) {
    let host = Touch.hit(vcpu, gva, Access.Read);
    if (host == 0) {
      host = reachSlow(vcpu, gva, Access.Read);
      if (Slice.broken(drive)) break;
      misses++;
    }
    if (host) Touch.use(vcpu, gva, host, Access.Read);
    let next = host ? load<u64>(host) : 0;
    if (next - base >= size) {
      // The host has discarded the link.
      next = repairLink(vcpu, drive, i);
      if (Slice.broken(drive)) break;
    }
    if (share && storeChosen(drive, share)) {
      // One more access: to the word behind the link.
      misses += touchOnce(vcpu, gva + 8, Access.Write, gva);
      if (Slice.broken(drive)) break;
      done++;
    }
    i = i + 1 == steps ? 0 : i + 1;
    gva = next;
  }
  drive.position = i;
  return finish(vcpu, done, misses);
}

function storeChosen(drive: Drive, share: u32): bool {
  return Random.share(nextRandom(drive)) < share;
}

/** Writes the link of the `i`th step of the cycle; returns the address that it names. */
function repairLink(vcpu: usize, drive: Drive, i: u32): u64 {
  const gva = Steps.gva(drive, Steps.permuted(drive, i));
  const next = Steps.gva(drive, Steps.permuted(drive, i + 1 == drive.steps ? 0 : i + 1));
  touchOnce(vcpu, gva, Access.Write, next);
  return next;
}

/** Writes up to `count` more links of the cycle. Ends with `Finished` behind the last. */
export function buildChase(vcpu: usize, count: u32): u32 {
  const drive = Touch.drive(vcpu);
  let done: u32 = 0;
  for (; done < count && !Slice.over(drive, done); done++) {
    if (drive.visited == drive.steps) {
      drive.status = DriveStatus.Finished;
      break;
    }
    repairLink(vcpu, drive, drive.visited);
    if (Slice.broken(drive)) break;
    drive.visited++;
  }
  return finish(vcpu, done, done);
}

/** Touches up to `count` more steps of the window, each once. Ends with `Finished` behind the last. */
export function runPopulate(vcpu: usize, count: u32): u32 {
  const drive = Touch.drive(vcpu);
  let misses: u32 = 0;
  let done: u32 = 0;
  for (; done < count && !Slice.over(drive, done); done++) {
    if (drive.visited == drive.steps) {
      drive.status = DriveStatus.Finished;
      break;
    }
    const draw = nextRandom(drive);
    const access = Mix.access(draw, drive.writeShare);
    const missed = touchOnce(vcpu, Steps.gva(drive, Steps.inOrder(drive, drive.visited)), access, draw);
    if (Slice.broken(drive)) break;
    misses += missed;
    drive.visited++;
  }
  return finish(vcpu, done, misses);
}

/** Leaves guest mode; the count of accesses, those given up included. */
function finish(vcpu: usize, done: u32, misses: u32): u32 {
  endDrive(vcpu, done, misses);
  return done;
}
