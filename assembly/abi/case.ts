// Cases: whole situations - registers, a few words of memory, one access - in the vCPU's batch buffer, each run from a
// processor that has just been reset. For conformance tests, and for whoever has many translations of different guests.

import { Map } from "../layout/map";
import { runCase } from "../x86/case";

/**
 * Runs `count` cases (layout/case.ts: `Case`, its registers, its words; the next case follows) and writes into each what
 * came of it. All windows are dropped; the vCPU is left in the state of the last case. Returns how many were run: fewer
 * than `count` where the buffer ends, or at a case with more words than three quarters of `Header.windowCount`.
 */
export function runCases(vcpu: u32, count: u32): u32 {
  const actor = Map.actor(vcpu);
  let at = Map.batch(actor);
  const end = at + Map.batchSize;
  for (let i: u32 = 0; i < count; i++) {
    at = runCase(actor, at, end);
    if (at == 0) return i;
  }
  return count;
}
