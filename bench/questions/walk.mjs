// How fast is a four-level walk, beside the same walk in C and two in JavaScript? No TLB, no load of data.
import * as L from "../../dist/core/layout.generated.js";
import { WalkerBigInt } from "../javascript/walker-bigint.mjs";
import { WalkerU32 } from "../javascript/walker-u32.mjs";
import { Machine } from "../machine.mjs";
import { pageOrder } from "../random.mjs";
import { FIRST_TABLE, mapLinear, mapNested } from "../tables.mjs";
import { compareRow, onProcessor, takeTurns } from "../turns.mjs";

/** Low half above 0 and below 2^30, so that an address of a JavaScript walker needs no carry. */
const BASE = 0x5555_4000_0000n;
const CR = { maxphyaddr: 46, nxe: true, wp: true, user: true };

/** One kernel of the core, and of C, over one set of tables; `others` are sides over the same memory. */
async function compareKernel(context, machine, { what, dependent, pages, count, unit, others = [] }) {
  const { seed } = context;
  const core = {
    name: "core",
    run() {
      const { result, ns } = onProcessor(() =>
        machine.calls.measureWalk(0, what, dependent, BASE, pages, count, seed),
      );
      if (result === L.MEASURE_FAILED) throw new Error("a walk failed");
      return { value: ns / count, digest: String(result), counts: { [unit]: count } };
    },
  };
  const sides = [core, ...others];
  if (context.twin) {
    sides.push({
      name: "C",
      async run() {
        const [digest, ns] = await context.twin.ask(
          "measure",
          what,
          Number(dependent),
          BASE,
          pages,
          count,
          seed,
        );
        return { value: Number(ns) / count, digest };
      },
    });
  }
  return takeTurns(sides, context.rounds);
}

function javascriptSides(machine, { cr3, pages, count, dependent, seed }) {
  const order = pageOrder(pages, count, seed);
  const limit = machine.frameCount * L.PAGE_SIZE;
  const u32 = new WalkerU32(machine.u32, { ...CR, base: machine.frames / 4, limit, cr3 });
  const big = new WalkerBigInt(machine.u64, {
    ...CR,
    base: machine.frames / 8,
    limit: BigInt(limit),
    cr3: BigInt(cr3),
  });
  const high = Number(BASE >> 32n);
  const low = Number(BASE & 0xffff_ffffn);
  const side = (name, measure) => ({
    name,
    run() {
      const { result, ns } = onProcessor(measure);
      return { value: ns / count, digest: String(result) };
    },
  });
  return [
    side("JS u32", () => u32.measure(low, high, pages, order, dependent)),
    side("JS BigInt", () => big.measure(BASE, pages, order, dependent)),
  ];
}

const NAMES = { true: "dependent", false: "independent" };

function walkQuestion({ name, says, pages, targets = {} }) {
  return {
    name,
    says,
    clock: "processor",
    native: true,
    async run(context) {
      const machine = await Machine.create({ frames: FIRST_TABLE + 64 + Math.ceil(pages / 512) * 2 + pages });
      const { used } = mapLinear(machine, BASE, pages);
      const image = machine.save(used);
      await context.load(image);
      const cr3 = Number(machine.calls.registerRead(0, L.Register.Cr3));
      const rows = [];
      for (const dependent of [true, false]) {
        const count = context.quick ? 1 << 15 : 1 << 17;
        const others = javascriptSides(machine, { cr3, pages, count, dependent, seed: context.seed });
        const taken = await compareKernel(context, machine, {
          what: L.Measure.Walk,
          dependent,
          pages,
          count,
          unit: "walks",
          others,
        });
        const { core } = taken;
        const common = { case: NAMES[dependent], unit: "ns/walk", core };
        if (taken.C) {
          const target = targets[`C ${NAMES[dependent]}`];
          rows.push(
            compareRow({ ...common, against: "C", other: taken.C, above: "core", reads: "core / C", target }),
          );
          const itself = { ...common, case: `  C itself`, core: taken.C, context: true, reads: "JS u32 / C" };
          rows.push(compareRow({ ...itself, against: "JS u32", other: taken["JS u32"], above: "other" }));
        }
        for (const against of ["JS u32", "JS BigInt"]) {
          const target = targets[against];
          rows.push(
            compareRow({
              ...common,
              against,
              other: taken[against],
              above: "other",
              reads: `${against} / core`,
              target,
            }),
          );
        }
      }
      return rows;
    },
  };
}

export const walkCached = walkQuestion({
  name: "walk-cached",
  says: "a 4-level walk of 64 pages: all entries in the first-level cache",
  pages: 64,
  targets: {
    "C dependent": { atMost: 1.4 },
    "C independent": { atMost: 2.2 },
    "JS u32": { atLeast: 3 },
    "JS BigInt": { atLeast: 30 },
  },
});

export const walkL2 = walkQuestion({
  name: "walk-l2",
  says: "a 4-level walk of 16,384 pages: 128 KiB of entries, in the second-level cache",
  pages: 1 << 14,
});

export const walkDistinct = walkQuestion({
  name: "walk-distinct",
  says: "a 4-level walk of 524,288 pages in as many frames: 4 MiB of entries",
  pages: 1 << 19,
});

/** Rows of one kernel against C, dependent and independent. */
async function kernelRows(context, machine, { what, pages, count, unit, label, targets }) {
  const rows = [];
  for (const dependent of [true, false]) {
    const taken = await compareKernel(context, machine, { what, dependent, pages, count, unit });
    if (!taken.C) continue;
    rows.push(
      compareRow({
        case: `${label}${NAMES[dependent]}`,
        unit: what === L.Measure.TlbLoad ? "ns/load" : "ns/walk",
        core: taken.core,
        other: taken.C,
        against: "C",
        above: "core",
        reads: "core / C",
        target: targets[NAMES[dependent]],
      }),
    );
  }
  return rows;
}

export const walkNested = {
  name: "walk-2d",
  says: "a walk in both dimensions of 64 pages: 24 references, or what the walk cache leaves of them",
  clock: "processor",
  native: true,
  async run(context) {
    const rows = [];
    for (const walkCacheEntries of [0, 64]) {
      const machine = await Machine.create({ frames: 16384, walkCacheEntries });
      const { used } = mapNested(machine, BASE, 64);
      await context.load(machine.save(used));
      const target = walkCacheEntries === 0 ? { atMost: 1.7 } : undefined;
      rows.push(
        ...(await kernelRows(context, machine, {
          what: L.Measure.NestedWalk,
          pages: 64,
          count: context.quick ? 1 << 14 : 1 << 16,
          unit: "walks",
          label: walkCacheEntries === 0 ? "24 references, " : "walk cache, ",
          targets: { dependent: target, independent: target },
        })),
      );
    }
    return rows;
  },
};

export const tlbHit = {
  name: "tlb-hit",
  says: "a TLB hit and the load of 8 bytes behind it",
  clock: "processor",
  native: true,
  async run(context) {
    const rows = [];
    for (const pages of [64, 2048]) {
      const machine = await Machine.create({ frames: 16384, tlbEntries: 4096 });
      const { used, data } = mapLinear(machine, BASE, pages);
      for (let i = 0; i < pages; i++) {
        machine.u64[machine.frame(data + i) / 8] = BigInt(data + i) << 12n;
        used.push(data + i);
        if (machine.calls.tlbAccess(0, BASE + BigInt(i) * 4096n, L.Access.Read) === 0)
          throw new Error("a page is not mapped");
      }
      await context.load(machine.save(used));
      const label = `${pages} pages, `;
      const targets = pages === 64 ? { dependent: { atMost: 1.2 } } : {};
      const count = context.quick ? 1 << 16 : 1 << 18;
      rows.push(
        ...(await kernelRows(context, machine, {
          what: L.Measure.TlbLoad,
          pages,
          count,
          unit: "loads",
          label,
          targets,
        })),
      );
    }
    return rows;
  },
};
