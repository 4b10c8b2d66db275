// Every kind of plan, run by real threads: what the threads say they did is what the machine counted, and nothing is
// left behind.
import { afterEach, describe, expect, test } from "vitest";
import { Stat } from "../../src/core/layout.generated.js";
import {
  LoadedGuest,
  Machine,
  VcpuPool,
  type ActorPlan,
  type Guest,
  type GuestSpec,
  type MachineOptions,
  type MachineView,
  type Pool,
  type RunReport,
} from "./built.js";

const TIMING = { durationMs: 150, samples: 5, warmupMs: 10, seed: 3 };
const VCPUS = 2;

const pools: Pool[] = [];
afterEach(() => Promise.all(pools.splice(0).map((pool) => pool.close())));

function loaded(
  spec: GuestSpec,
  options: MachineOptions = {},
): { machine: MachineView; guest: Guest; pool: Pool } {
  const frames = LoadedGuest.frames(spec, VCPUS, 2);
  const machine = Machine.create({ frames, vcpus: VCPUS, hostThreads: 2, poison: true, ...options });
  const pool = new VcpuPool({ threads: VCPUS + 1 });
  pools.push(pool);
  return { machine, guest: LoadedGuest.boot(machine, spec), pool };
}

const invalidate = (perSecond: number): ActorPlan => ({ kind: "invalidate", host: 1, perSecond });

function vcpuCount(report: RunReport, stat: number): number {
  return report.actors
    .filter(({ plan }) => plan.kind !== "invalidate")
    .reduce((sum, { counts }) => sum + counts[stat]!, 0);
}

function operations(report: RunReport): number {
  return report.actors
    .filter(({ plan }) => plan.kind !== "invalidate")
    .reduce((sum, actor) => sum + actor.operations, 0);
}

describe.each(["v5.4", "v6.13"] as const)("profile %s", (profile) => {
  test("populate: a fault for every first touch", async () => {
    const { machine, guest, pool } = loaded({ memory: 4 << 20 }, { profile });
    for (let vcpu = 0; vcpu < VCPUS; vcpu++) guest.configure(vcpu, { first: vcpu * 512, pages: 512 });
    const plan = (vcpu: number): ActorPlan => ({ kind: "populate", vcpu, discard: guest.region });
    const report = await pool.start(machine, [plan(0), plan(1)], TIMING).finished;
    expect(report.stopped).toBe(false);
    for (const { samples } of report.actors) {
      // A thread that was kept from running to the end has nothing to tell of the last ones.
      expect(samples.length).toBeGreaterThan(0);
      expect(samples.length).toBeLessThanOrEqual(TIMING.samples);
    }
    expect(vcpuCount(report, Stat.FaultsFixed)).toBeGreaterThanOrEqual(operations(report));
    expect(guest.unload()).toBe(0);
    expect(machine.mm.countImbalances()).toBe(0);
  });

  test("cycle, against an invalidator without a pause", async () => {
    const { machine, guest, pool } = loaded({ memory: 2 << 20 }, { profile });
    for (let vcpu = 0; vcpu < VCPUS; vcpu++) guest.configure(vcpu, { first: vcpu * 256, pages: 256 });
    guest.configureInvalidator(1, { span: 16 });
    const plans: ActorPlan[] = [{ kind: "cycle", vcpu: 0 }, { kind: "cycle", vcpu: 1 }, invalidate(Infinity)];
    const report = await pool.start(machine, plans, TIMING).finished;
    expect(vcpuCount(report, Stat.FaultsFixed)).toBeGreaterThanOrEqual(operations(report));
    expect(report.actors[2]!.operations).toBeGreaterThan(0);
    expect(report.actors[2]!.counts[Stat.Invalidations]).toBe(report.actors[2]!.operations);
    expect(guest.unload()).toBe(0);
    expect(machine.mm.countImbalances()).toBe(0);
  });

  test.each(["sequential", "uniform", "zipf", "chase", "shift"] as const)(
    "run, %s, on one region",
    async (workload) => {
      const { machine, guest, pool } = loaded({ memory: 8 << 20 }, { profile });
      for (let vcpu = 0; vcpu < VCPUS; vcpu++) {
        guest.configure(vcpu, { workload, writePercent: 20 });
        guest.touch(vcpu);
      }
      guest.configureInvalidator(1, { span: 1 });
      const plans: ActorPlan[] = [{ kind: "run", vcpu: 0 }, { kind: "run", vcpu: 1 }, invalidate(2000)];
      const report = await pool.start(machine, plans, TIMING).finished;
      expect(operations(report)).toBeGreaterThan(1000);
      expect(vcpuCount(report, Stat.Accesses)).toBeGreaterThanOrEqual(operations(report));
      expect(vcpuCount(report, Stat.AccessFaults) + vcpuCount(report, Stat.FaultErrors)).toBe(0);
      expect(guest.unload()).toBe(0);
      expect(machine.mm.countImbalances()).toBe(0);
    },
  );
});

test("large pages are installed whole", async () => {
  const spec = { memory: 32 << 20, pageSize: 2097152 } as const;
  const { machine, guest, pool } = loaded(spec);
  for (let vcpu = 0; vcpu < VCPUS; vcpu++) guest.configure(vcpu, { first: vcpu * 8, pages: 8 });
  const report = await pool.start(
    machine,
    [
      { kind: "cycle", vcpu: 0 },
      { kind: "cycle", vcpu: 1 },
    ],
    TIMING,
  ).finished;
  expect(vcpuCount(report, Stat.HugeLeaves)).toBe(vcpuCount(report, Stat.FaultsFixed));
  expect(guest.unload()).toBe(0);
});

test("an invalidator keeps the pace it was given", async () => {
  const { machine, guest, pool } = loaded({ memory: 1 << 20 });
  guest.configure(0);
  guest.configureInvalidator(1);
  const plans: ActorPlan[] = [{ kind: "run", vcpu: 0 }, invalidate(500)];
  const report = await pool.start(machine, plans, { ...TIMING, durationMs: 600 }).finished;
  const { operations: done, wallMs } = report.actors[1]!;
  // Never faster; slower only as far as the machine is busy with other things.
  expect(done / wallMs).toBeLessThanOrEqual(0.55);
  expect(done).toBeGreaterThan(20);
  expect(guest.unload()).toBe(0);
});

test("runs follow one another on one pool and one machine, each with its own counts", async () => {
  const { machine, guest, pool } = loaded({ memory: 1 << 20 });
  guest.configure(0);
  const plans: ActorPlan[] = [{ kind: "cycle", vcpu: 0 }];
  const first = await pool.start(machine, plans, TIMING).finished;
  expect(() => pool.start(machine, [{ kind: "cycle", vcpu: 9 }], TIMING)).toThrow(/no vCPU 9/);
  const running = pool.start(machine, plans, TIMING);
  expect(() => pool.start(machine, plans, TIMING)).toThrow(/runs something already/);
  const second = await running.finished;
  for (const { actors } of [first, second]) {
    const [{ counts, operations: done }] = actors as [(typeof actors)[0]];
    expect(counts[Stat.FaultsFixed]).toBeGreaterThanOrEqual(done);
    // Each slice is followed by one timed operation, which the rate leaves out.
    expect(counts[Stat.FaultsFixed]).toBeLessThan(done * 2 + 100);
  }
  await pool.close();
  expect(() => pool.start(machine, plans, TIMING)).toThrow(/closed/);
  expect(guest.unload()).toBe(0);
});
