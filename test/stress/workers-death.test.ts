// Threads of a run die, trap, or are told to stop: the run ends with a clear error, never a hang.
import { afterEach, describe, expect, test } from "vitest";
import { HEADER_TRAP_CODE, KVM_INVALIDATE_IN_PROGRESS } from "../../src/core/layout.generated.js";
import {
  LoadedGuest,
  Machine,
  VcpuPool,
  type ActorPlan,
  type Guest,
  type MachineView,
  type Pool,
} from "./built.js";

const SPEC = { memory: 1 << 20 };
const ENTRY = new URL("./fixtures/dying-worker.mjs", import.meta.url).href;
/** Far above what any of these takes, far below what a hang would. */
const PATIENCE_MS = 10_000;

let pool: Pool;

afterEach(() => pool.close());

function loaded(vcpus: number): { machine: MachineView; guest: Guest } {
  const machine = Machine.create({ frames: LoadedGuest.frames(SPEC, vcpus, 2), vcpus, hostThreads: 2 });
  const guest = LoadedGuest.boot(machine, SPEC);
  for (let vcpu = 0; vcpu < vcpus; vcpu++) guest.configure(vcpu, { seed: 7 });
  guest.configureInvalidator(1, { span: 4, seed: 7 });
  return { machine, guest };
}

/** What a rejection says, and how long it took. */
async function failureOf(promise: Promise<unknown>): Promise<{ code: string; message: string; ms: number }> {
  const begin = performance.now();
  const error = await promise.then(
    () => ({ code: "none", message: "it did not fail" }),
    (reason: { code: string; message: string }) => ({ code: reason.code, message: reason.message }),
  );
  return { ...error, ms: performance.now() - begin };
}

const dying = (dies: string): ActorPlan => ({ kind: "cycle", vcpu: 0, dies }) as ActorPlan;
const cycle = (vcpu: number): ActorPlan => ({ kind: "cycle", vcpu });
const invalidate: ActorPlan = { kind: "invalidate", host: 1, perSecond: Infinity };

describe("a thread that dies while it holds mmu_lock", () => {
  test.each([
    ["process.exit", "exit", "worker exited with code: 7"],
    ["an exception", "throw", "out of luck"],
  ])("by %s ends the run with the actor and the lock", async (_, how, why) => {
    const { machine } = loaded(2);
    pool = new VcpuPool({ threads: 3, entry: ENTRY });
    const run = pool.start(machine, [dying(how), cycle(1), invalidate], { durationMs: 60_000, warmupMs: 0 });
    const failure = await failureOf(run.finished);
    expect(failure.code).toBe("WORKER_DIED");
    expect(failure.message).toContain("vCPU 0");
    expect(failure.message).toContain(why);
    expect(failure.message).toContain("mmu_lock (write)");
    expect(failure.ms).toBeLessThan(PATIENCE_MS);
    // What it held is held for ever: nothing may seem to run on this machine again.
    expect(() => pool.start(machine, [cycle(1)], { durationMs: 50 })).toThrow(
      expect.objectContaining({ code: "ABORTED" }) as Error,
    );
  });

  test("leaves the pool usable for another machine", async () => {
    pool = new VcpuPool({ threads: 2, entry: ENTRY });
    const first = loaded(2);
    const run = pool.start(first.machine, [dying("exit"), cycle(1)], { durationMs: 60_000 });
    expect((await failureOf(run.finished)).code).toBe("WORKER_DIED");
    const second = loaded(2);
    const report = await pool.start(second.machine, [cycle(0), cycle(1)], { durationMs: 50, warmupMs: 0 })
      .finished;
    expect(report.stopped).toBe(false);
    expect(second.guest.unload()).toBe(0);
  });

  test("or hangs: the others are ended when the run is stopped, and the thread is killed", async () => {
    const { machine } = loaded(2);
    pool = new VcpuPool({ threads: 2, entry: ENTRY });
    const run = pool.start(machine, [dying("hang"), cycle(1)], { durationMs: 60_000, warmupMs: 0 });
    setTimeout(() => run.stop(), 100);
    const failure = await failureOf(run.finished);
    expect(failure.code).toBe("WORKER_DIED");
    expect(failure.message).toContain("vCPU 0");
    expect(failure.ms).toBeLessThan(PATIENCE_MS);
  });
});

describe("a run that is told to stop", () => {
  test("by its signal rejects with ABORTED, and the machine is intact", async () => {
    const { machine, guest } = loaded(1);
    pool = new VcpuPool({ threads: 2 });
    const controller = new AbortController();
    const plans = [cycle(0), invalidate];
    const run = pool.start(machine, plans, { durationMs: 60_000, signal: controller.signal });
    setTimeout(() => controller.abort(), 200);
    const failure = await failureOf(run.finished);
    expect(failure.code).toBe("ABORTED");
    expect(failure.ms).toBeLessThan(PATIENCE_MS);
    const again = await pool.start(machine, plans, { durationMs: 50, samples: 5 }).finished;
    expect(again.actors[0]!.samples).toHaveLength(5);
    expect(guest.unload()).toBe(0);
  });

  test("before it began rejects as well", async () => {
    const { machine } = loaded(1);
    pool = new VcpuPool({ threads: 1 });
    const run = pool.start(machine, [cycle(0)], { durationMs: 60_000, signal: AbortSignal.abort() });
    expect((await failureOf(run.finished)).code).toBe("ABORTED");
  });

  test("by stop() gives what was measured so far", async () => {
    const { machine, guest } = loaded(1);
    pool = new VcpuPool({ threads: 2 });
    const run = pool.start(machine, [cycle(0), invalidate], {
      durationMs: 60_000,
      samples: 1200,
      warmupMs: 10,
    });
    await expect.poll(() => run.progress()[0]!.samples.length, { timeout: PATIENCE_MS }).toBeGreaterThan(2);
    run.stop();
    const report = await run.finished;
    expect(report.stopped).toBe(true);
    expect(report.actors[0]!.operations).toBeGreaterThan(0);
    expect(guest.unload()).toBe(0);
  });
});

test("a trap of the core is a sentence, and ends all threads", async () => {
  const { machine } = loaded(2);
  pool = new VcpuPool({ threads: 3 });
  const run = pool.start(machine, [cycle(0), cycle(1), invalidate], { durationMs: 60_000, warmupMs: 10 });
  await expect.poll(() => run.progress()[0]!.operations, { timeout: PATIENCE_MS }).toBeGreaterThan(100);
  // The count of open invalidations is broken until somebody's end finds it wrong.
  const words = new Uint32Array(machine.core.memory.buffer);
  const deadline = performance.now() + PATIENCE_MS;
  while (Atomics.load(words, HEADER_TRAP_CODE / 4) === 0 && performance.now() < deadline) {
    Atomics.store(words, KVM_INVALIDATE_IN_PROGRESS / 4, 0);
  }
  const failure = await failureOf(run.finished);
  expect(failure.code).toBe("CORE_TRAP");
  expect(failure.message).toMatch(
    /mmu_invalidate_in_progress would have become negative|the union of the open ranges is empty/,
  );
  expect(() => pool.start(machine, [cycle(0)], { durationMs: 50 })).toThrow(
    expect.objectContaining({ code: "CORE_TRAP" }) as Error,
  );
  expect(failure.ms).toBeLessThan(PATIENCE_MS);
});

describe("plans that cannot run together are refused", () => {
  const refused = (plans: ActorPlan[], threads = 3): string => {
    const { machine } = loaded(2);
    pool = new VcpuPool({ threads });
    try {
      pool.start(machine, plans, { durationMs: 10 });
    } catch (error) {
      return (error as Error).message;
    }
    return "accepted";
  };

  test.each<[string, ActorPlan[], RegExp]>([
    ["none", [], /nothing to run/],
    ["a vCPU that is not there", [cycle(2)], /no vCPU 2/],
    [
      "a host thread that is not there",
      [cycle(0), { ...invalidate, host: 5 } as ActorPlan],
      /no host thread 5/,
    ],
    ["one vCPU twice", [cycle(0), cycle(0)], /two plans/],
    ["invalidators alone", [invalidate], /no vCPU in the plans/],
    ["a rate of 0", [cycle(0), { ...invalidate, perSecond: 0 } as ActorPlan], /not a rate/],
  ])("%s", (_, plans, expected) => {
    expect(refused(plans)).toMatch(expected);
  });

  test.each<[string, unknown, unknown, RegExp]>([
    ["no plans", undefined, { durationMs: 10 }, /plans is undefined/],
    ["no options", [cycle(0)], undefined, /options of a run/],
    ["samples that no memory holds", [cycle(0)], { durationMs: 10, samples: 1e9 }, /samples is 1000000000/],
    ["a kind that is none", [{ kind: "zzz", vcpu: 0 }], { durationMs: 10 }, /"zzz"/],
    ["a trace without records", [{ kind: "trace", vcpu: 0 }], { durationMs: 10 }, /records of vCPU 0/],
  ])("%s", (_, plans, options, message) => {
    const { machine } = loaded(2);
    pool = new VcpuPool({ threads: 3 });
    const start = (): unknown => pool.start(machine, plans as ActorPlan[], options as { durationMs: number });
    expect(start).toThrow(expect.objectContaining({ code: "USAGE" }) as Error);
    expect(start).toThrow(message);
    expect(pool.start(machine, [cycle(0)], { durationMs: 5, warmupMs: 0 })).toBeDefined();
  });

  test.each([[undefined], [{}], [{ threads: 0 }], [{ threads: "2" }], [{ threads: 513 }]])(
    "a pool of %j",
    (options) => {
      pool = new VcpuPool({ threads: 1 });
      const make = (): unknown => new VcpuPool(options as { threads: number });
      expect(make).toThrow(expect.objectContaining({ code: "USAGE" }) as Error);
    },
  );

  test("more actors than threads", () => {
    expect(refused([cycle(0), cycle(1)], 1)).toMatch(/2 actors cannot run at once in 1 thread/);
  });
});
