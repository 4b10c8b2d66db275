/** The clock that latencies are read from, and what else is in them: reading it, and calling the core. */

import { Machine } from "../machine/machine.js";

import type { TimerJson } from "./results.js";

const ROUNDS = 80;
const READINGS = 500;

/** Measures clock and call on this thread; takes about 5 ms. The best round counts: in others the thread lost its core. */
export function measureTimer(): TimerJson {
  let reading = Infinity;
  let step = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const begin = performance.now();
    let previous = begin;
    for (let i = 0; i < READINGS; i++) {
      const now = performance.now();
      if (now > previous) step = Math.min(step, now - previous);
      previous = now;
    }
    reading = Math.min(reading, (previous - begin) / READINGS);
  }
  return {
    reading_ns: rounded(reading * 1e6),
    call_ns: rounded(measureCall() * 1e6),
    step_ns: rounded(Number.isFinite(step) ? step * 1e6 : 0),
  };
}

/** Milliseconds of a call of the core that reads one word. */
function measureCall(): number {
  const machine = Machine.create({ frames: 16 });
  const { calls } = machine.core;
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const begin = performance.now();
    for (let i = 0; i < READINGS; i++) calls.driveStatus(0);
    best = Math.min(best, (performance.now() - begin) / READINGS);
  }
  machine.dispose();
  return best;
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}
