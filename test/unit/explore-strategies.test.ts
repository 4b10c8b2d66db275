// The strategies that do not look at everything: what they find, what they promise, and that equal seeds are equal.
import { describe, expect, test } from "vitest";
import { explore, type ExploreOptions, type Verdict } from "../../src/explore/explore.js";
import { PctSampler } from "../../src/explore/strategies/pct.js";
import { RandomSampler } from "../../src/explore/strategies/random.js";
import { Random } from "../../src/explore/walk.js";
import { faultVsDontneed } from "../../src/scenarios/fault-vs-dontneed.js";

const run = (options: ExploreOptions): Verdict => explore(faultVsDontneed, options);
const broken = { without: ["SeqChecked"] } as const;

describe("bounded", () => {
  test("is inconclusive beyond its bound, and finds nothing that is not there", () => {
    const verdict = run({ strategy: "bounded", maxSwitches: 2 });
    expect(verdict).toMatchObject({ verdict: "inconclusive", bound: 2, limit: "switches", violations: [] });
    expect(verdict.depth).toBeGreaterThan(100);
    expect(Object.keys(run({}).outcomes)).toEqual(expect.arrayContaining(Object.keys(verdict.outcomes)));
  });
  test("one switch fewer than a violation takes is too few", () => {
    const found = run({ strategy: "bounded", maxSwitches: 4, ...broken });
    expect(found.verdict).toBe("violated");
    const { switches } = found.violations[0]!;
    expect(run({ strategy: "bounded", maxSwitches: switches, ...broken }).verdict).toBe("violated");
    expect(run({ strategy: "bounded", maxSwitches: switches - 1, ...broken })).toMatchObject({
      verdict: "inconclusive",
      limit: "switches",
      bound: switches - 1,
    });
  });
  test("a bound that nothing reaches is none", () => {
    const verdict = run({ strategy: "bounded", maxSwitches: 1000 });
    expect(verdict).toMatchObject({ verdict: "holds", bound: null });
    expect(verdict.outcomes).toEqual(run({}).outcomes);
  });
  test("a limit of states makes it inconclusive, and says how far it came", () => {
    const verdict = run({ strategy: "bounded", maxSwitches: 3, maxStates: 200 });
    expect(verdict).toMatchObject({ verdict: "inconclusive", limit: "states" });
    expect(verdict.bound).toBeLessThan(3);
  });
});

describe.each(["random", "pct"] as const)("%s", (strategy) => {
  test("that finds nothing proves nothing", () => {
    const verdict = run({ strategy, executions: 500 });
    expect(verdict).toMatchObject({ verdict: "inconclusive", limit: "executions", ends: 500, bound: null });
    const all = run({});
    for (const outcome of Object.keys(verdict.outcomes)) expect(all.outcomes).toHaveProperty([outcome]);
    expect(verdict.states).toBeLessThanOrEqual(all.ends);
  });
  test("finds a rule that is left out", () => {
    const verdict = run({ strategy, executions: 5000, ...broken });
    expect(verdict).toMatchObject({ verdict: "violated", limit: null });
    expect(verdict.violations[0]!.name).toBe(run(broken).violations[0]!.name);
  });
  test("equal seeds, equal executions", () => {
    const figures = (seed: number): unknown => {
      const { steps, outcomes, depth } = run({ strategy, executions: 200, seed });
      return { steps, outcomes, depth };
    };
    expect(figures(5)).toEqual(figures(5));
    expect(figures(5)).not.toEqual(figures(6));
  });
});

test.each([
  [{ strategy: "best" as never }, /no strategy/],
  [{ strategy: "random", reduce: true } as const, /no reduction/],
  [{ strategy: "random", model: "tso" } as const, /exhaustively/],
])("options that do not go together %#", (options, message) => {
  expect(() => run(options)).toThrow(message);
});

test("random is uniform over those who can act", () => {
  const sampler = new RandomSampler(new Random(1));
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < 30_000; i++) counts[sampler.pick(0b1011)]!++;
  expect(counts[2]).toBe(0);
  for (const a of [0, 1, 3]) expect(Math.abs(counts[a]! - 10_000)).toBeLessThan(400);
});

describe("pct", () => {
  const picks = (depth: number, executions: number, able: (step: number) => number): number[][] => {
    const sampler = new PctSampler(new Random(3), 3, depth);
    return Array.from({ length: executions }, () => {
      sampler.begin(20);
      return Array.from({ length: 20 }, (_, step) => sampler.pick(able(step), step));
    });
  };
  test("of depth 1 never leaves an actor that can go on", () => {
    for (const execution of picks(1, 50, () => 0b111)) expect(new Set(execution).size).toBe(1);
  });
  test("of depth d leaves one at most d - 1 times", () => {
    const switches = picks(3, 200, () => 0b111).map(
      (execution) => execution.filter((a, i) => i > 0 && a !== execution[i - 1]).length,
    );
    expect(Math.max(...switches)).toBe(2);
  });
  test("every actor comes first equally often", () => {
    const first = picks(1, 3000, () => 0b111).map(([a]) => a);
    for (const a of [0, 1, 2]) {
      expect(Math.abs(first.filter((b) => a === b).length - 1000)).toBeLessThan(120);
    }
  });
  test("takes only those who can act", () => {
    for (const execution of picks(3, 100, (step) => (step % 2 ? 0b101 : 0b010))) {
      execution.forEach((a, step) => expect(step % 2 ? [0, 2] : [1]).toContain(a));
    }
  });
});
