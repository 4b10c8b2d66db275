// How many faults a second, with the whole protocol, beside the same protocol in C?
import * as L from "../../dist/core/layout.generated.js";
import { guestMachine } from "../guest.mjs";
import { Threads } from "../threads.mjs";
import { compareRow, onProcessor, takeTurns } from "../turns.mjs";

const COUNTED = [
  "Faults",
  "FaultsFixed",
  "FaultsSpurious",
  "RetriesSeq",
  "RetriesCount",
  "RetriesRace",
  "GupSlow",
  "TablesLinked",
  "RemoteFlushes",
  "Ipis",
];

/** Counters of vCPUs 0 to `vcpus` - 1 added up; what they had before the round is taken off. */
function counters(machine, vcpus, before = {}) {
  const sums = {};
  for (const name of COUNTED) {
    let sum = 0;
    for (let vcpu = 0; vcpu < vcpus; vcpu++) sum += machine.stat(vcpu, L.Stat[name]);
    sums[name] = sum - (before[name] ?? 0);
  }
  return sums;
}

const used = (counts) => Object.fromEntries(Object.entries(counts).filter(([, n]) => n !== 0));

/** Digest of the core after a round: what maps each page, and on one vCPU the counters too. */
function digestOf(machine, vcpus, counts) {
  const one = vcpus === 1;
  return `${machine.regionDigest(one)} ${one ? Object.values(counts).join(",") : counts.FaultsFixed}`;
}

async function twinDigest(twin, { region }, vcpus, before) {
  const [hash] = await twin.ask("digest", region.pages, region.gpa >> 12n, region.hva, Number(vcpus === 1));
  const counts = {};
  for (const name of COUNTED) {
    let sum = 0;
    for (let vcpu = 0; vcpu < vcpus; vcpu++) sum += Number((await twin.ask("stat", vcpu, L.Stat[name]))[0]);
    counts[name] = sum - before[name];
  }
  return `${hash} ${vcpus === 1 ? Object.values(counts).join(",") : counts.FaultsFixed}`;
}

/**
 * The core, its native twin and the operating system at one activity.
 * On one vCPU the time is that of the processor; on several it is the clock's, and the control of `two-workers` says
 * what that is worth.
 */
async function compareActivity(
  context,
  { label, activity, steps, vcpus, options, target, pages, chunk = 1, system },
) {
  const machine = await guestMachine({ pages, vcpus, options }, context.seed);
  for (let vcpu = 0; vcpu < vcpus; vcpu++)
    machine.calls.driveCycleChunk(vcpu, chunk, machine.region.hva - machine.region.gpa);
  if (activity === "cycle") {
    for (let vcpu = 0; vcpu < vcpus; vcpu++) machine.calls.drivePopulate(vcpu, machine.region.part);
  }
  const before = counters(machine, vcpus);
  await context.load(machine.save(), machine.region);
  const threads = new Threads(vcpus);
  context.later(() => threads.close());
  const shared = { id: 0, module: machine.module, memory: machine.memory };
  const call = { populate: "drivePopulate", cycle: "driveCycle" }[activity];
  const all = steps * vcpus;
  const core = {
    name: "core",
    async run() {
      machine.restore();
      let ns;
      let processors;
      if (vcpus === 1) {
        const { result, ns: spent } = onProcessor(() => machine.calls[call](0, steps));
        if (result !== steps)
          throw new Error(`${activity} stopped after ${result}: status ${machine.calls.driveStatus(0)}`);
        ns = spent;
      } else {
        const jobs = Array.from({ length: vcpus }, (_, actor) => ({
          kind: "steps",
          machine: shared,
          activity,
          actor,
          count: steps,
        }));
        ({ wall_ns: ns, processors } = await threads.run(jobs));
      }
      const counts = counters(machine, vcpus, before);
      return { value: ns / all, digest: digestOf(machine, vcpus, counts), counts: used(counts), processors };
    },
  };
  const sides = [core];
  if (context.twin) {
    sides.push({
      name: "C",
      async run() {
        await context.twin.ask("restore");
        const [wall, processor] = await context.twin.ask("run", activity, steps, vcpus);
        const digest = await twinDigest(context.twin, machine, vcpus, before);
        if (vcpus === 1) return { value: Number(processor) / all, digest };
        return { value: Number(wall) / all, digest, processors: Number(processor) / Number(wall) };
      },
    });
  }
  const linux = system && context.native("system");
  if (linux) {
    sides.push({
      name: "Linux",
      async run() {
        const [wall, processor] = await linux.ask(...system);
        if (vcpus === 1) return { value: Number(processor) / all, digest: "" };
        return { value: Number(wall) / all, digest: "", processors: Number(processor) / Number(wall) };
      },
    });
  }
  const taken = await takeTurns(sides, context.rounds);
  const common = { case: label, unit: "ns/fault", core: taken.core };
  const rows = [];
  if (taken.C) {
    rows.push(
      compareRow({
        ...common,
        against: "C",
        other: taken.C,
        above: "other",
        reads: "C / core (rate kept)",
        target,
      }),
    );
  }
  if (taken.Linux) {
    const reads = "Linux, traps included / core";
    rows.push(
      compareRow({
        ...common,
        against: "Linux",
        other: taken.Linux,
        above: "other",
        reads,
        digests: false,
        context: true,
      }),
    );
  }
  return rows;
}

const ZERO = L.MachineOption.ZeroPages;

export const populate = {
  name: "populate",
  says: "each page of fresh memory is written once: a fault with the full protocol",
  clock: "one vCPU: processor; two: wall",
  native: true,
  async run(context) {
    const rows = [];
    const steps = context.quick ? 1 << 13 : 1 << 15;
    for (const vcpus of [1, 2]) {
      for (const zero of [false, true]) {
        rows.push(
          ...(await compareActivity(context, {
            label: `${vcpus} vCPU${vcpus > 1 ? "s" : ""}, zeroing ${zero ? "on" : "off"}`,
            activity: "populate",
            vcpus,
            pages: steps * vcpus,
            steps,
            options: zero ? ZERO : 0,
            target: { atLeast: zero ? 0.75 : 0.7 },
            system: zero ? ["populate", steps, vcpus] : null,
          })),
        );
      }
    }
    return rows;
  },
};

export const cycle = {
  name: "cycle",
  says: "pages are discarded (MADV_DONTNEED) and written again: an invalidation and its faults",
  clock: "processor",
  native: true,
  async run(context) {
    const rows = [];
    const steps = context.quick ? 1 << 13 : 1 << 15;
    for (const [zero, chunk] of [
      [false, 1],
      [false, 64],
      [true, 1],
    ]) {
      rows.push(
        ...(await compareActivity(context, {
          label: `${chunk === 1 ? "one page" : `${chunk} pages`} at a time, zeroing ${zero ? "on" : "off"}`,
          activity: "cycle",
          vcpus: 1,
          pages: 4096,
          steps,
          chunk,
          options: zero ? ZERO : 0,
          target: { atLeast: zero ? 0.75 : 0.7 },
          system: zero ? ["cycle", steps, chunk] : null,
        })),
      );
    }
    return rows;
  },
};
