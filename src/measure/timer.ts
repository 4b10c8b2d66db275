/** The clock that latencies are read from, and what reading it costs. */

import type { TimerJson } from "./results.js";

const READINGS = 20_000;

/** Measures the clock of this thread; takes about 2 ms. */
export function measureTimer(): TimerJson {
  const steps: number[] = [];
  let previous = performance.now();
  const begin = previous;
  for (let i = 0; i < READINGS; i++) {
    const now = performance.now();
    if (now > previous) steps.push(now - previous);
    previous = now;
  }
  const reading = ((previous - begin) * 1e6) / READINGS;
  return { reading_ns: round(reading), step_ns: round(steps.length === 0 ? 0 : Math.min(...steps) * 1e6) };
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
