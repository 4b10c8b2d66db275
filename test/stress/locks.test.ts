// The locks under real threads: what they protect stays whole, and misuse traps with its reason.
import { Worker } from "node:worker_threads";
import { beforeAll, beforeEach, expect, test } from "vitest";
import {
  HEADER_ABORT,
  HEADER_OFFSET_FRAME_COUNT,
  HEADER_OFFSET_HOST_COUNT,
  HEADER_OFFSET_VCPU_COUNT,
  HEADER_TRAP_CODE,
  Trap,
} from "../../src/core/layout.generated.js";
import { compileTestModule } from "../compile-core.js";

interface Locks {
  setup(): number;
  counterA(): number;
  lockTwice(actor: number): void;
  unlockOther(actor: number, other: number): void;
}

const SOURCE = `
  const { parentPort, workerData } = require("node:worker_threads");
  const { module, memory, name, args } = workerData;
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  exports.setup();
  parentPort.postMessage("ready");
  parentPort.once("message", () => {
    try { parentPort.postMessage({ result: exports[name](...args) }); }
    catch (error) { parentPort.postMessage({ error: String(error) }); }
  });
`;

let module: WebAssembly.Module;
let memory: WebAssembly.Memory;
let main: Locks;
let words: Uint32Array;

beforeAll(async () => {
  module = await compileTestModule("test/assembly/locks.ts");
});

beforeEach(() => {
  memory = new WebAssembly.Memory({ initial: 64, maximum: 65536, shared: true });
  words = new Uint32Array(memory.buffer);
  words[HEADER_OFFSET_VCPU_COUNT >> 2] = 3;
  words[HEADER_OFFSET_HOST_COUNT >> 2] = 1;
  words[HEADER_OFFSET_FRAME_COUNT >> 2] = 16;
  main = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Locks;
  expect(main.setup()).toBeGreaterThan(0);
});

/** Runs the calls at once, one thread each; what each returned. */
async function together(...calls: [name: string, ...args: number[]][]) {
  const workers = calls.map(
    ([name, ...args]) => new Worker(SOURCE, { eval: true, workerData: { module, memory, name, args } }),
  );
  const next = (worker: Worker) =>
    new Promise<{ result?: number; error?: string }>((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
  await Promise.all(workers.map(next));
  const results = workers.map(next);
  for (const worker of workers) worker.postMessage("go");
  const found = await Promise.all(results);
  await Promise.all(workers.map((worker) => worker.terminate()));
  return found;
}

test("a spin lock loses no increment of three threads on two cores", async () => {
  const count = 60_000;
  await together(["spinIncrements", 0, count], ["spinIncrements", 1, count], ["spinIncrements", 2, count]);
  expect(main.counterA()).toBe(3 * count);
});

test("readers of an rwlock never see a writer's section, and neither side starves", async () => {
  const found = await together(["rwReads", 0, 60_000], ["rwReads", 1, 60_000], ["rwWrites", 2, 30_000]);
  expect(found.map(({ result, error }) => error ?? result)).toEqual([0, 0, undefined]);
  expect(main.counterA()).toBe(30_000);
});

test("two writers of an rwlock exclude each other", async () => {
  await together(["rwWrites", 0, 40_000], ["rwWrites", 1, 40_000]);
  expect(main.counterA()).toBe(80_000);
});

test("an SRCU updater waits for the readers of what it retires", async () => {
  const found = await together(
    ["srcuReads", 0, 200_000],
    ["srcuReads", 1, 200_000],
    ["srcuUpdates", 3, 2_000],
  );
  expect(found.map(({ result, error }) => error ?? result)).toEqual([0, 0, undefined]);
});

test("a lock that is taken twice traps instead of waiting for itself", () => {
  expect(() => main.lockTwice(1)).toThrow(WebAssembly.RuntimeError);
  expect(words[HEADER_TRAP_CODE >> 2]).toBe(Trap.LockTwice);
});

test("a lock that another actor holds cannot be released", () => {
  expect(() => main.unlockOther(1, 2)).toThrow(WebAssembly.RuntimeError);
  expect(words[HEADER_TRAP_CODE >> 2]).toBe(Trap.UnlockByOther);
});

test("a wait whose holder never releases ends when the machine is aborted", async () => {
  const holder = together(["spinIncrements", 0, 1]);
  await holder;
  // Actor 1 takes the lock and stops holding it for good: the state that a dead thread leaves.
  expect(() => main.unlockOther(1, 2)).toThrow();
  words[(16384 + 65536 * 8) >> 2] = 2; // index 1 + 1
  words[HEADER_TRAP_CODE >> 2] = 0;
  const waiting = together(["spinIncrements", 0, 1]);
  await new Promise((resolve) => setTimeout(resolve, 100));
  Atomics.store(words, HEADER_ABORT >> 2, 1);
  const [found] = await waiting;
  expect(found?.error).toContain("unreachable");
  expect(words[HEADER_TRAP_CODE >> 2]).toBe(Trap.Aborted);
});
