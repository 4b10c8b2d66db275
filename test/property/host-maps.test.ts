// Stores, forks, splits, unmaps and lookups in any order against a model of contents: the parent reads what it stored last,
// each child has what the parent had at its fork, and the books balance after every step.
import fc from "fast-check";
import { expect, test } from "vitest";
import { HostMachine, HostStatus, HUGE, MachineOption, PAGE, READ, WRITE } from "../host-machine.js";

/** Pages that are looked at: six small ones, and four of a 2 MiB page. */
const SMALL = 6;
const PAGES = 10;
const LARGE_AT = [0n, 1n, 255n, 511n];

type Action =
  | { kind: "store"; at: number; value: bigint }
  | { kind: "load" | "get" | "getFast" | "dontneed" | "split"; at: number }
  | { kind: "fork"; first: number; count: number }
  | { kind: "exit" | "put"; which: number }
  | { kind: "protect"; at: number };

class Model {
  readonly m: HostMachine;
  readonly small: bigint;
  readonly large: bigint;
  /** Bytes stored last; null: nothing since the page was mapped or discarded. */
  readonly values: (bigint | null)[] = Array<null>(PAGES).fill(null);
  readonly children: { handle: number; values: (bigint | null)[] }[] = [];
  readonly held: number[] = [];

  constructor(zeroPage: boolean) {
    const options =
      MachineOption.ZeroPages | MachineOption.Poison | (zeroPage ? MachineOption.SharedZeroPage : 0);
    this.m = new HostMachine({ frames: 2048, options });
    this.small = this.m.map(BigInt(SMALL) * PAGE);
    this.large = this.m.map(HUGE, { shift: 21 });
  }

  hva(at: number): bigint {
    return at < SMALL ? this.small + BigInt(at) * PAGE : this.large + LARGE_AT[at - SMALL]! * PAGE;
  }

  apply(action: Action): void {
    const { m, values, children, held } = this;
    switch (action.kind) {
      case "store":
        expect(m.store(this.hva(action.at), action.value)).toBe(HostStatus.Ok);
        values[action.at] = action.value;
        break;
      case "load":
        expect(m.load(this.hva(action.at))).toBe(values[action.at] ?? 0n);
        values[action.at] ??= 0n;
        break;
      case "get":
        held.push(m.gup(this.hva(action.at)).pfn);
        values[action.at] ??= 0n;
        break;
      case "getFast": {
        const pfn = m.gupFast(this.hva(action.at));
        if (pfn) held.push(pfn);
        break;
      }
      case "dontneed":
        expect(m.dontneed(this.hva(action.at), PAGE)).toBe(HostStatus.Ok);
        values[action.at] = null;
        break;
      case "split":
        m.u32("hostSplitPage", 0, this.hva(action.at));
        break;
      case "fork":
        this.fork(action.first, Math.min(PAGES, action.first + action.count));
        break;
      case "exit":
        for (const child of children.splice(action.which % (children.length || 1), 1)) {
          expect(m.forkExit(child.handle)).toBe(HostStatus.Ok);
        }
        break;
      case "put":
        for (const pfn of held.splice(action.which % (held.length || 1), 1)) m.put(pfn);
        break;
      case "protect":
        m.protect(this.hva(action.at), PAGE, READ);
        m.protect(this.hva(action.at), PAGE, READ | WRITE);
        break;
    }
    this.check();
  }

  fork(first: number, last: number): void {
    const from = this.hva(first);
    const handle = this.m.fork(from, this.hva(last - 1) + PAGE - from);
    this.children.push({ handle, values: this.values.map((v, i) => (i >= first && i < last ? v : null)) });
  }

  /** Every child has what it was given; every page that nobody holds by a lookup is in balance. */
  check(): void {
    const { m, children, held } = this;
    for (const { handle, values } of children) {
      values.forEach((value, at) => {
        if (value === null) return;
        expect(m.frameWord(m.childPfn(handle, this.hva(at)))).toBe(value);
      });
    }
    expect(m.imbalance).toBe(new Set(held.map((pfn) => m.u32("hostHead", pfn))).size);
  }

  /** Gives all back; nothing is lost. */
  finish(): void {
    const { m, children, held } = this;
    this.values.forEach((value, at) => expect(m.load(this.hva(at))).toBe(value ?? 0n));
    for (const { handle } of children.splice(0)) m.forkExit(handle);
    for (const pfn of held.splice(0)) m.put(pfn);
    m.unmap(this.small, BigInt(SMALL) * PAGE);
    m.unmap(this.large, HUGE);
    expect(m.imbalance).toBe(0);
  }
}

const at = fc.integer({ min: 0, max: PAGES - 1 });
const which = fc.nat({ max: 9 });
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("store" as const), at, value: fc.bigInt(1n, 1n << 63n) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constantFrom("load", "get", "getFast", "dontneed", "split"), at }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("fork" as const),
      first: at,
      count: fc.integer({ min: 1, max: 6 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("exit", "put"), which }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("protect" as const), at }) },
);

test.each([false, true])("contents and counts, shared zero page: %s", (zeroPage) => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 40 }), (actions) => {
      const model = new Model(zeroPage);
      for (const step of actions) model.apply(step);
      model.finish();
    }),
    { numRuns: 150 },
  );
});
