// Test module: a value that is live across memory.atomic.wait, in one function with it and in a function of its own.

import { park } from "../../assembly/sync/wait";

/** Returns `value + 1`, computed before the wait and returned after it. */
export function acrossWait(address: usize, value: i32): i32 {
  const kept = value + load<i32>(address, 4);
  atomic.wait<i32>(address, 1, 1000);
  return kept + 1;
}

/** The same through the core's own wait. */
export function aroundPark(address: usize, value: i32): i32 {
  const kept = value + load<i32>(address, 4);
  park(address, 1, 0);
  return kept + 1;
}
