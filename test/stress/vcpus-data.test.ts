// Real threads: two vCPUs run guest accesses while a third thread discards the memory behind them. What a vCPU reads
// is what it wrote or nothing, sums are exact, freed frames stay untouched (poison), and no reference is left over.
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import {
  DriveMachine,
  DriveStatus,
  GuestMapping,
  MIB,
  MachineOption,
  PAGE,
  Profile,
  Stat,
  USER,
  Workload,
} from "../drive-machine.js";

const { HEADER_ABORT } = layout;
const OPTIONS = MachineOption.ZeroPages | MachineOption.Poison | MachineOption.Page1GB;

/** A thread that calls one export in slices until the driver says that it was stopped, or an error ends it. */
const SOURCE = `
  const { parentPort, workerData } = require("node:worker_threads");
  const { module, memory, begun, name, actor, slice, ok } = workerData;
  const env = { memory, order() {}, note() {}, choose: () => 0 };
  const { exports } = new WebAssembly.Instance(module, { env });
  exports.attach();
  parentPort.postMessage("ready");
  parentPort.once("message", () => {
    let done = 0;
    try {
      for (;;) {
        const first = done === 0;
        done += exports[name](actor, slice) >>> 0;
        if (first && done !== 0) Atomics.add(begun, 0, 1);
        const status = exports.driveStatus(actor);
        if (status !== ok) return parentPort.postMessage({ done, status });
      }
    } catch (error) {
      parentPort.postMessage({ done, error: String(error) });
    }
  });
`;

interface Task {
  name: string;
  actor: number;
  slice: number;
}
interface Result {
  done: number;
  status?: number;
  error?: string;
}

/** Runs the tasks at once, a thread each, for `ms` and until each has done something, and then stops them. */
async function together(m: DriveMachine, ms: number, tasks: readonly Task[]): Promise<Result[]> {
  const { module, memory } = m;
  const begun = new Int32Array(new SharedArrayBuffer(4));
  const workers = tasks.map(
    (task) =>
      new Worker(SOURCE, {
        eval: true,
        workerData: { module, memory, begun, ok: DriveStatus.Ok, ...task },
      }),
  );
  const next = <T>(worker: Worker): Promise<T> =>
    new Promise((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
  await Promise.all(workers.map((worker) => next(worker)));
  const results = workers.map((worker) => next<Result>(worker));
  for (const worker of workers) worker.postMessage("go");
  const words = new Int32Array(memory.buffer);
  const end = performance.now() + ms;
  // Other work on the machine may have kept a thread from its first slice for longer than that.
  const late = end + 10_000;
  const over = (now: number): boolean =>
    now >= late || (now >= end && Atomics.load(begun, 0) === tasks.length);
  while (!over(performance.now()) && m.trap === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  m.stop = true;
  // A thread that does not come back would hang the test: let its waits end in a trap.
  const alarm = setTimeout(() => Atomics.store(words, HEADER_ABORT >> 2, 1), 10_000);
  const found = await Promise.all(results);
  clearTimeout(alarm);
  m.stop = false;
  await Promise.all(workers.map((worker) => worker.terminate()));
  return found;
}

/** Nothing trapped, every thread was stopped and not broken, and all references are accounted for. */
function expectSound(m: DriveMachine, results: readonly Result[]): void {
  expect({ trap: m.trap, results: results.map(({ error, status }) => error ?? status) }).toEqual({
    trap: layout.Trap.None,
    results: results.map(() => DriveStatus.Stopped),
  });
  for (const { done } of results) expect(done).toBeGreaterThan(0);
  expect(m.u32("kvmInvalidateInProgress")).toBe(0);
  expect(m.u32("kvmActiveInvalidations")).toBe(0);
  expect(m.imbalance).toBe(0);
}

const INVALIDATOR = 2;
const PROFILES = Object.entries(Profile);

describe.each(PROFILES)("profile %s", (_name, profile) => {
  test.each([
    ["single pages", 128, 1, GuestMapping.Random],
    ["spans of 64 pages", 512, 64, GuestMapping.Offset],
    ["everything at once", 96, 96, GuestMapping.FirstTouch],
  ])("owned words survive invalidations of %s", async (_what, pages, span, mapping) => {
    const m = new DriveMachine({ options: OPTIONS, profile, frames: 2048, ram: 16n * MIB });
    m.map(BigInt(pages) * PAGE, { mapping });
    for (const vcpu of [0, 1]) m.drive(vcpu, { steps: pages, seed: 42n });
    // All of guest RAM behind the tables' part: the region lies there, wherever its mapping puts it.
    const from =
      mapping === GuestMapping.FirstTouch ? userFrames(m) : m.u64("guestRegionGpa", 0, USER) & ~0xfffn;
    const first = mapping === GuestMapping.Random ? lowestFrame(m, pages) : from;
    m.raw["driveSpan"]!(INVALIDATOR, 7n, m.hva + first, pages, span, Workload.Uniform);
    const results = await together(m, 200, [
      { name: "driveVerify", actor: 0, slice: 256 },
      { name: "driveVerify", actor: 1, slice: 256 },
      { name: "driveInvalidate", actor: INVALIDATOR, slice: 16 },
    ]);
    for (const vcpu of [0, 1]) {
      const { errors, gva, expected, found, discarded, pass } = m.integrity(vcpu);
      expect({ errors, gva, expected, found }).toEqual({ errors: 0n, gva: 0n, expected: 0n, found: 0n });
      if (pass > 2n) expect(discarded).toBeGreaterThan(0n);
    }
    expect(m.stat(0, Stat.IntegrityErrors) + m.stat(1, Stat.IntegrityErrors)).toBe(0);
    expectSound(m, results);
  });

  test.each([
    ["4-KByte", 12],
    ["2-MByte", 21],
  ])("owned words survive the splitting of huge pages, below %s guest pages", async (_what, shift) => {
    const options = OPTIONS | MachineOption.HugePages;
    const m = new DriveMachine({ options, profile, frames: 8192, ram: 32n * MIB, vmaShift: 21 });
    const pages = 2048;
    m.map(BigInt(pages) * PAGE, { mapping: GuestMapping.Offset, shift });
    for (const vcpu of [0, 1]) m.drive(vcpu, { steps: pages, seed: 3n });
    const gpa = m.u64("guestRegionGpa", 0, USER);
    m.raw["driveSpan"]!(INVALIDATOR, 7n, m.hva + gpa, pages, 300, Workload.Uniform);
    const results = await together(m, 200, [
      { name: "driveVerify", actor: 0, slice: 256 },
      { name: "driveVerify", actor: 1, slice: 256 },
      { name: "driveInvalidate", actor: INVALIDATOR, slice: 16 },
    ]);
    for (const vcpu of [0, 1]) expect(m.integrity(vcpu)).toMatchObject({ errors: 0n, gva: 0n });
    expect(m.stat(0, Stat.HugeLeaves) + m.stat(1, Stat.HugeLeaves)).toBeGreaterThan(0);
    expectSound(m, results);
  });

  test("atomic additions are exact, next to memory that is discarded", async () => {
    const m = new DriveMachine({ options: OPTIONS, profile, frames: 2048, ram: 16n * MIB });
    const pages = 16;
    m.map(256n * PAGE, { mapping: GuestMapping.Offset });
    for (const vcpu of [0, 1]) m.drive(vcpu, { steps: pages });
    const behind = m.u64("guestRegionGpa", 0, USER) + BigInt(pages) * PAGE;
    m.raw["driveSpan"]!(INVALIDATOR, 7n, m.hva + behind, 128, 4, Workload.Uniform);
    m.raw["hostTouch"]!(0, m.hva + behind, 128n * PAGE, 1);
    const results = await together(m, 150, [
      { name: "driveAdd", actor: 0, slice: 512 },
      { name: "driveAdd", actor: 1, slice: 512 },
      { name: "driveInvalidate", actor: INVALIDATOR, slice: 16 },
    ]);
    expect(m.u32("driveSum", 0)).toBe(1);
    const { sum } = m.integrity(0);
    expect(sum).toBe(m.integrity(0).additions + m.integrity(1).additions);
    expectSound(m, results);
  });

  test("vCPUs that discard their own parts of a region do not meet", async () => {
    const m = new DriveMachine({ options: OPTIONS, profile, frames: 2048, ram: 16n * MIB });
    m.map(512n * PAGE, { mapping: GuestMapping.Offset });
    for (const vcpu of [0, 1]) {
      m.drive(vcpu, { gva: USER + BigInt(vcpu) * 256n * PAGE, steps: 256, write: 1000, chunk: 16 });
    }
    const results = await together(m, 150, [
      { name: "driveCycle", actor: 0, slice: 1024 },
      { name: "driveCycle", actor: 1, slice: 1024 },
    ]);
    for (const vcpu of [0, 1]) {
      expect(m.stat(vcpu, Stat.FaultsFixed)).toBeGreaterThanOrEqual(results[vcpu]!.done);
      expect(m.stat(vcpu, Stat.AccessFaults)).toBe(0);
    }
    expectSound(m, results);
  });
});

// The canary: a check that cannot fail proves nothing.
test.each([
  ["FlushBeforeStartReturns", layout.Rule.FlushBeforeStartReturns],
  ["FlushWaitsForAck", layout.Rule.FlushWaitsForAck],
])("without %s the same threads are caught within seconds", async (_name, rule) => {
  let caught = false;
  for (let attempt = 0; attempt < 8 && !caught; attempt++) {
    const m = new DriveMachine({ options: OPTIONS, frames: 512, ram: 16n * MIB, without: [rule] });
    m.map(32n * PAGE, { mapping: GuestMapping.Offset });
    for (const vcpu of [0, 1]) m.drive(vcpu, { steps: 32 });
    m.raw["driveSpan"]!(INVALIDATOR, 7n, m.hva + m.u64("guestRegionGpa", 0, USER), 32, 1, Workload.Uniform);
    await together(m, 200, [
      { name: "driveVerify", actor: 0, slice: 256 },
      { name: "driveVerify", actor: 1, slice: 256 },
      { name: "driveInvalidate", actor: INVALIDATOR, slice: 16 },
    ]);
    caught = m.trap !== 0 || m.integrity(0).errors + m.integrity(1).errors > 0n;
  }
  expect(caught).toBe(true);
});

test("two vCPUs that fault the same fresh pages in agree on every frame", async () => {
  const m = new DriveMachine({ options: OPTIONS, frames: 16384, ram: 64n * MIB });
  const pages = 4096;
  m.map(BigInt(pages) * PAGE, { mapping: GuestMapping.FirstTouch });
  for (const vcpu of [0, 1]) m.drive(vcpu, { steps: pages, write: 1000 });
  const results = await together(m, 200, [
    { name: "driveAdd", actor: 0, slice: 64 },
    { name: "driveAdd", actor: 1, slice: 64 },
  ]);
  expect(m.u32("driveSum", 0)).toBe(1);
  expect(m.integrity(0).sum).toBe(m.integrity(0).additions + m.integrity(1).additions);
  const frames = new Set<bigint>();
  for (let i = 0n; i < BigInt(pages); i++) frames.add(m.leaf(USER + i * PAGE) & layout.PTE_ADDRESS);
  expect(frames.size).toBe(pages);
  expectSound(m, results);
});

/** gpa of the first frame that FirstTouch will hand out: what one page's fault takes. */
function userFrames(m: DriveMachine): bigint {
  m.load(USER);
  return m.leaf(USER) & layout.PTE_ADDRESS;
}

/** Lowest gpa of a permuted region. */
function lowestFrame(m: DriveMachine, pages: number): bigint {
  let lowest = m.u64("guestRegionGpa", 0, USER);
  for (let i = 1n; i < BigInt(pages); i++) {
    const gpa = m.u64("guestRegionGpa", 0, USER + i * PAGE);
    if (gpa < lowest) lowest = gpa;
  }
  return lowest & ~0xfffn;
}
