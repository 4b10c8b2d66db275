// The control block of a run, and what is read from a machine's memory about locks.
import { expect, test } from "vitest";
import {
  ACTOR_SIZE,
  GRACE_MMAP_READER,
  HEADER_OFFSET_ACTORS_BASE,
  KVM_MMU_LOCK,
  KVM_SLOTS_LOCK,
  ZONE_LOCK,
} from "../../src/core/layout.generated.js";
import { Machine } from "../../src/machine/machine.js";
import { RunControl, SharedClock } from "../../src/workers/control.js";
import { locksHeldBy } from "../../src/workers/locks.js";

test("samples, totals and counters of each actor are its own", () => {
  const { memory } = Machine.create({ frames: 64, vcpus: 2 }).core;
  const control = RunControl.create(3, 2, 4);
  control.beginCounts(1, memory, 1);
  control.record(1, 10, 2);
  control.record(1, 20, 3);
  control.endSample(1, 0, 30, 5);
  control.endSample(1, 2, 7, 1); // sample 1 was missed
  control.endSample(1, 4, 99, 9); // beyond the last
  control.time(1, "first", 100);
  control.time(1, "last", 250);
  control.endCounts(1, memory, 1);
  const other = new RunControl(control.buffer, 3).measure(1, memory, 1);
  expect(other.samples).toEqual([
    { operations: 30, ms: 5 },
    { operations: 0, ms: 0 },
    { operations: 7, ms: 1 },
  ]);
  expect(other).toMatchObject({ operations: 30, busyMs: 5, wallMs: 150 });
  expect(other.counts.every((count) => count === 0)).toBe(true);
  expect(control.measure(0, memory, 0)).toMatchObject({ samples: [], operations: 0, wallMs: 0 });
});

test("the time of an actor goes on while it is at it, and not before", () => {
  const { memory } = Machine.create({ frames: 64 }).core;
  const control = RunControl.create(1, 1, 1);
  expect(control.measure(0, memory, 0).wallMs).toBe(0);
  control.time(0, "first", new SharedClock().now() - 1000);
  control.beginCounts(0, memory, 0);
  expect(control.measure(0, memory, 0).wallMs).toBeGreaterThanOrEqual(1000);
});

test("the last to arrive decides, and a stop lets nobody through", () => {
  const control = RunControl.create(1, 1, 1);
  let decided = 0;
  expect(control.arrive(1, () => decided++)).toBe(true);
  expect(control.arriveVcpus(1, () => decided++)).toBe(true);
  expect(decided).toBe(2);
  control.stop();
  expect(control.arrive(2)).toBe(false);
  expect(control.arriveVcpus(2)).toBe(false);
});

test("locks that an actor holds are named, and nobody else's", () => {
  const { memory } = Machine.create({ frames: 64, vcpus: 2 }).core;
  const words = new Uint32Array(memory.buffer);
  expect(locksHeldBy(memory, 0)).toEqual([]);
  words[KVM_MMU_LOCK / 4] = 1;
  words[ZONE_LOCK / 4] = 0x80000001; // somebody sleeps on it
  words[KVM_SLOTS_LOCK / 4] = 2;
  expect(locksHeldBy(memory, 0)).toEqual(["mmu_lock (write)", "zone.lock"]);
  expect(locksHeldBy(memory, 1)).toEqual(["slots_lock"]);
  const block = words[HEADER_OFFSET_ACTORS_BASE / 4]! + ACTOR_SIZE;
  words[(block + GRACE_MMAP_READER) / 4] = 1;
  expect(locksHeldBy(memory, 0)).toEqual(["mmu_lock (write)", "zone.lock"]);
  expect(locksHeldBy(memory, 1)).toEqual(["mmap_lock (read)", "slots_lock"]);
});
