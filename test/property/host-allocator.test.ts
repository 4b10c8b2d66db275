// The allocator against a model: a set of blocks held. Whatever is allocated is aligned, overlaps nothing held, and
// the number of free frames is exact; when all is given back, the zone is as it was made.
import fc from "fast-check";
import { expect, test } from "vitest";
import { HostMachine, MachineOption } from "../host-machine.js";

const FRAMES = 3000;
const ACTORS = 3;

interface Model {
  held: Map<number, number>;
  free: number;
}

class Alloc implements fc.Command<Model, HostMachine> {
  constructor(
    readonly actor: number,
    readonly order: number,
  ) {}
  check(): boolean {
    return true;
  }
  run(model: Model, m: HostMachine): void {
    const pfn =
      this.order === 0 ? m.u32("hostAllocPage", this.actor) : m.u32("hostAllocBlock", this.actor, this.order);
    const frames = 1 << this.order;
    if (pfn === 0) {
      if (this.order === 0) expect(model.free).toBe(0);
      return;
    }
    expect(pfn % frames).toBe(0);
    expect(pfn + frames).toBeLessThanOrEqual(FRAMES);
    for (const [other, order] of model.held)
      expect(pfn + frames <= other || other + (1 << order) <= pfn).toBe(true);
    model.held.set(pfn, this.order);
    model.free -= frames;
    expect([m.free, m.refcount(pfn)]).toEqual([model.free, 1]);
  }
  toString(): string {
    return `alloc(actor ${this.actor}, order ${this.order})`;
  }
}

class Put implements fc.Command<Model, HostMachine> {
  constructor(
    readonly actor: number,
    readonly pick: number,
  ) {}
  check(model: Model): boolean {
    return model.held.size > 0;
  }
  run(model: Model, m: HostMachine): void {
    const pfn = [...model.held.keys()][this.pick % model.held.size]!;
    const frames = 1 << model.held.get(pfn)!;
    const epoch = m.epoch(pfn);
    // Any page of the block stands for it.
    m.put(pfn + (this.pick % frames), this.actor);
    model.held.delete(pfn);
    model.free += frames;
    expect([m.free, m.refcount(pfn), m.epoch(pfn)]).toEqual([model.free, 0, epoch + 1]);
  }
  toString(): string {
    return `put(actor ${this.actor}, ${this.pick})`;
  }
}

/** Takes all that is left as single pages, through one actor, and gives it back through another. */
class Exhaust implements fc.Command<Model, HostMachine> {
  constructor(
    readonly taker: number,
    readonly giver: number,
  ) {}
  check(): boolean {
    return true;
  }
  run(model: Model, m: HostMachine): void {
    const pages = Array.from({ length: model.free }, () => m.u32("hostAllocPage", this.taker));
    expect(pages).not.toContain(0);
    expect(new Set(pages).size).toBe(model.free);
    expect([m.u32("hostAllocPage", this.giver), m.free]).toEqual([0, 0]);
    for (const pfn of pages) m.put(pfn, this.giver);
    expect(m.free).toBe(model.free);
  }
  toString(): string {
    return `exhaust(${this.taker} -> ${this.giver})`;
  }
}

const actor = fc.nat({ max: ACTORS - 1 });
const order = fc.oneof(
  { weight: 3, arbitrary: fc.constant(0) },
  { weight: 2, arbitrary: fc.nat({ max: 10 }) },
);
const commands = fc.commands(
  [
    fc.tuple(actor, order).map((a) => new Alloc(...a)),
    fc.tuple(actor, order).map((a) => new Alloc(...a)),
    fc.tuple(actor, fc.nat()).map((a) => new Put(...a)),
    fc.tuple(actor, actor).map((a) => new Exhaust(...a)),
  ],
  { maxCommands: 120 },
);

function freeBlocks(m: HostMachine): number[] {
  m.raw["hostDrain"]!(0);
  return Array.from({ length: 11 }, (_, o) => m.u32("hostFreeBlocks", 0, o));
}

for (const [name, options] of [
  ["plain", 0],
  ["poisoned", MachineOption.Poison],
] as const) {
  test(`allocator, ${name}: no overlap, exact counts, everything merges again`, () => {
    fc.assert(
      fc.property(commands, (sequence) => {
        const m = new HostMachine({ frames: FRAMES, vcpus: ACTORS, options });
        const fresh = freeBlocks(m);
        const model: Model = { held: new Map(), free: m.free };
        fc.modelRun(() => ({ model, real: m }), sequence);
        for (const pfn of model.held.keys()) m.put(pfn, 0);
        expect(freeBlocks(m)).toEqual(fresh);
        expect(m.imbalance).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
}
