// The pace of an invalidator, with a clock of our own.
import { expect, test } from "vitest";
import { Pace } from "../../src/workers/pace.js";

/** Runs a pace for `ms`, looking every `stepMs`; returns what was done. */
function runFor(perSecond: number, ms: number, stepMs: number): number {
  const pace = new Pace(perSecond, 0);
  let done = 0;
  for (let now = 0; now <= ms; now += stepMs) {
    const due = pace.due(now);
    pace.did(due);
    done += due;
  }
  return done;
}

test.each([10, 1000, 10_000, 100_000])("%i a second are that many, however often one looks", (rate) => {
  for (const stepMs of [0.01, 0.1, 0.5]) {
    expect(runFor(rate, 1000, stepMs)).toBeGreaterThanOrEqual(Math.floor(rate * 0.999));
    expect(runFor(rate, 1000, stepMs)).toBeLessThanOrEqual(rate);
  }
});

test("what was missed for long is not made up for in a burst", () => {
  const pace = new Pace(10_000, 0);
  let burst = 0;
  for (let due = pace.due(1000); due > 0; due = pace.due(1000)) {
    pace.did(due);
    burst += due;
  }
  expect(burst).toBeLessThanOrEqual(60); // 5 ms of it
});

test("it sleeps while the deadline is far, and spins when it is near", () => {
  const pace = new Pace(100, 0);
  expect(pace.waitMs(0)).toBeCloseTo(9.9, 5);
  expect(pace.waitMs(9.85)).toBe(0);
  expect(new Pace(100_000, 0).waitMs(0)).toBe(0);
  expect(new Pace(Infinity, 0).waitMs(0)).toBe(0);
});

test("flat out there is always something due", () => {
  expect(new Pace(Infinity, 0).due(0)).toBeGreaterThan(0);
});
