// Slices of a driver: guest mode, the loop of the configured workload, and out again.

import { Activity, Workload } from "../layout/drive";
import { Touch, beginDrive } from "./access";
import { prepareCycle, refaultChunk } from "./cycle";
import { buildChase, runChase, runPopulate, runSequential, runShifting, runUniform, runZipf } from "./loops";

/** Up to `count` accesses of the actor's workload. */
export function runWorkload(vcpu: usize, count: u32): u32 {
  if (!beginDrive(vcpu)) return 0;
  switch (Touch.drive(vcpu).workload) {
    case Workload.Uniform:
      return runUniform(vcpu, count);
    case Workload.Zipf:
      return runZipf(vcpu, count);
    case Workload.Chase:
      return runChase(vcpu, count);
    case Workload.Shifting:
      return runShifting(vcpu, count);
    default:
      return runSequential(vcpu, count);
  }
}

export function populateWindow(vcpu: usize, count: u32): u32 {
  return beginDrive(vcpu) ? runPopulate(vcpu, count) : 0;
}

export function buildCycle(vcpu: usize, count: u32): u32 {
  return beginDrive(vcpu) ? buildChase(vcpu, count) : 0;
}

/** One step of an activity, as short as it can be: what a latency is measured of. */
export function sampleStep(vcpu: usize, activity: Activity): u32 {
  switch (activity) {
    case Activity.Populate:
      return populateWindow(vcpu, 1);
    case Activity.Cycle:
      return prepareCycle(vcpu) ? refaultChunk(vcpu, 1) : 0;
    default:
      return runWorkload(vcpu, 1);
  }
}
