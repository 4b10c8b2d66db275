// What do two vCPUs on one machine lose to each other, and to an invalidator beside them?
import * as L from "../../dist/core/layout.generated.js";
import { guestMachine } from "../guest.mjs";
import { Threads } from "../threads.mjs";
import { compareRow, takeTurns } from "../turns.mjs";

let nextId = 1;
const shared = (machine) =>
  (machine.jobId ??= { id: nextId++, module: machine.module, memory: machine.memory });

/**
 * The control is two workers on two machines: they share the processor's caches and whatever else runs here, and nothing
 * of ours. All three run in turns, so that what is compared was taken in the same seconds.
 */
async function scale(context, { label, activity, steps, options = 0, fill = false, target }) {
  const make = (vcpus) => guestMachine({ pages: steps * vcpus, vcpus, options }, context.seed);
  const [both, left, right] = [await make(2), await make(1), await make(1)];
  for (const machine of [both, left, right]) {
    for (let vcpu = 0; vcpu * steps < machine.region.pages; vcpu++) {
      machine.calls.driveCycleChunk(vcpu, 64, machine.region.hva - machine.region.gpa);
      if (fill) machine.calls.drivePopulate(vcpu, steps);
    }
    machine.save().remove();
  }
  const threads = new Threads(2);
  context.later(() => threads.close());
  const side = (name, machines, actors) => ({
    name,
    async run() {
      for (const machine of machines) machine.restore();
      const jobs = actors.map(([machine, actor]) => ({
        kind: "steps",
        machine: shared(machine),
        activity,
        actor,
        count: steps,
      }));
      const { wall_ns, processors } = await threads.run(jobs);
      const counts = { steps: steps * actors.length };
      return { value: (steps * actors.length * 1000) / wall_ns, digest: "", counts, processors };
    },
  });
  const taken = await takeTurns(
    [
      side("one", [left], [[left, 0]]),
      side(
        "two",
        [both],
        [
          [both, 0],
          [both, 1],
        ],
      ),
      side(
        "control",
        [left, right],
        [
          [left, 0],
          [right, 0],
        ],
      ),
    ],
    context.rounds,
  );
  const { one, two, control } = taken;
  const common = { unit: "M steps/s", digests: false };
  return [
    compareRow({
      ...common,
      case: label,
      core: two,
      other: control,
      against: "control",
      above: "core",
      reads: "two workers / control",
      target,
      processors: 1.6,
    }),
    compareRow({
      ...common,
      case: `  1 to 2 workers`,
      core: two,
      other: one,
      against: "one",
      above: "core",
      reads: "two workers / one",
      context: true,
    }),
    compareRow({
      ...common,
      case: `  1 to 2 machines`,
      core: control,
      other: one,
      against: "one",
      above: "core",
      reads: "control / one",
      context: true,
    }),
  ];
}

export const twoWorkers = {
  name: "two-workers",
  says: "two vCPUs of one machine, as a share of what two machines of one vCPU do in the same seconds",
  clock: "wall",
  async run(context) {
    const steps = context.quick ? 1 << 13 : 1 << 15;
    const target = { atLeast: 0.85 };
    return [
      ...(await scale(context, { label: "populate, zeroing off", activity: "populate", steps, target })),
      ...(await scale(context, {
        label: "populate, zeroing on",
        activity: "populate",
        steps,
        options: L.MachineOption.ZeroPages,
        target,
      })),
      ...(await scale(context, {
        label: "TLB misses, no faults",
        activity: "run",
        steps,
        fill: true,
        target,
      })),
    ];
  },
};

/** A vCPU that discards and refaults, with an invalidator at `rate` (null: none; 0: flat out) on the same pages. */
function cycleSide(context, { name, machine, threads, rate, duration_ms }) {
  return {
    name,
    async run() {
      machine.restore();
      const job = { kind: "untilStopped", machine: shared(machine), activity: "cycle", actor: 0, slice: 256 };
      const jobs = [job];
      if (rate !== null) jobs.push({ kind: "invalidate", machine: shared(machine), actor: 1, rate });
      const { done, each_ns, processors } = await threads.run(jobs, duration_ms);
      const stat = (actor, which) => machine.stat(actor, L.Stat[which]);
      const counts = {
        faults: stat(0, "FaultsFixed"),
        retries_seq: stat(0, "RetriesSeq"),
        retries_count: stat(0, "RetriesCount"),
        retry_waits: stat(0, "RetryWaits"),
      };
      if (rate !== null) counts.invalidations_per_s = Math.round((done[1] / each_ns[1]) * 1e9);
      return { value: (done[0] * 1000) / each_ns[0], digest: "", counts, processors };
    },
  };
}

async function cycleMachine(context, { pages, spanPages, options = 0 }) {
  const machine = await guestMachine({ pages, vcpus: 1, hosts: 2, options }, context.seed);
  const { calls, region } = machine;
  calls.driveCycleChunk(0, 64, region.hva - region.gpa);
  calls.driveSpan(1, context.seed, region.hva, region.pages, spanPages, L.Workload.Uniform);
  calls.drivePopulate(0, region.pages);
  const image = machine.save();
  context.later(() => image.remove());
  return Object.assign(machine, { image });
}

/** The same race in C, for what the two threads of this machine allow. Its span is the machine's own. */
function twinSide(context, { name, rate, duration_ms }) {
  return {
    name,
    async run() {
      await context.twin.ask("restore");
      const [steps, ns] = await context.twin.ask("race", rate ?? -1, duration_ms);
      return { value: (Number(steps) * 1000) / Number(ns), digest: "" };
    },
  };
}

export const invalidator = {
  name: "invalidator",
  says: "the fault cycle of one vCPU (64 pages at a time, no zeroing) beside a thread that invalidates what it touches",
  clock: "wall",
  async run(context) {
    const duration_ms = context.quick ? 60 : 150;
    const threads = new Threads(2);
    context.later(() => threads.close());
    const common = { threads, duration_ms };
    const single = await cycleMachine(context, { pages: 4096, spanPages: 1 });
    await context.load(single.image, single.region);
    const sides = [
      cycleSide(context, { name: "quiet", machine: single, rate: null, ...common }),
      cycleSide(context, { name: "100k", machine: single, rate: 100_000, ...common }),
    ];
    if (context.twin) {
      sides.push(twinSide(context, { name: "C quiet", rate: null, ...common }));
      sides.push(twinSide(context, { name: "C 100k", rate: 100_000, ...common }));
    }
    const paced = await takeTurns(sides, context.rounds);
    const waiting = await cycleMachine(context, { pages: 64, spanPages: 64 });
    const spinning = await cycleMachine(context, {
      pages: 64,
      spanPages: 64,
      options: L.MachineOption.SpinOnRetry,
    });
    const flat = await takeTurns(
      [
        cycleSide(context, { name: "waiting", machine: waiting, rate: 0, ...common }),
        cycleSide(context, { name: "spinning", machine: spinning, rate: 0, ...common }),
      ],
      context.rounds,
    );
    const row = { unit: "M faults/s", digests: false, above: "core" };
    const rows = [
      compareRow({
        ...row,
        case: "100,000 single pages/s of 4,096",
        core: paced["100k"],
        other: paced.quiet,
        against: "quiet",
        reads: "share of the quiet rate",
        target: { atLeast: 0.7 },
        processors: 1.2,
      }),
    ];
    if (context.twin) {
      rows.push(
        compareRow({
          ...row,
          case: "  the same in C",
          core: paced["C 100k"],
          other: paced["C quiet"],
          against: "C quiet",
          reads: "share of C's quiet rate",
          context: true,
        }),
      );
    }
    rows.push(
      compareRow({
        ...row,
        case: "64-page spans of 64 flat out",
        core: flat.waiting,
        other: flat.spinning,
        against: "spinning",
        reads: "waiting / spinning",
        target: { atLeast: 2 },
        processors: 1.6,
      }),
      compareRow({
        ...row,
        case: "  spinning",
        core: flat.spinning,
        other: flat.waiting,
        against: "waiting",
        reads: "spinning / waiting",
        context: true,
      }),
    );
    return rows;
  },
};
