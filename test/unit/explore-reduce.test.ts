// Reduction changes no outcome and no verdict: on scenarios that hold, on broken variants of them, on litmus programs, and on
// scenarios at random.
import { beforeAll, describe, expect, test } from "vitest";
import { CHECKERS } from "../../src/invariants/index.js";
import { explore, type ExploreOptions, type Verdict } from "../../src/explore/explore.js";
import { randomScenario } from "../../src/explore/random-scenario.js";
import { type Scenario } from "../../src/explore/scenario.js";
import { SCENARIOS } from "../../src/scenarios/index.js";
import { faultVsDontneed } from "../../src/scenarios/fault-vs-dontneed.js";
import { gupVsReuse } from "../../src/scenarios/gup-vs-reuse.js";
import { slotAddVsDontneed } from "../../src/scenarios/slot-add-vs-dontneed.js";
import { twoSlotsZapped } from "../../src/scenarios/two-slots-zapped.js";
import { profilesOf } from "../../src/verify/options.js";
import { compileExploredModule } from "../compile-core.js";
import { LitmusGround, type Litmus } from "../explored-litmus.js";

const all = { all: true, shorten: false, races: false } as const;

function ends({ verdict, outcomes, violations }: Verdict): unknown {
  return { verdict, outcomes, names: [...new Set(violations.map(({ name }) => name))].sort() };
}

function expectSame(scenario: Scenario, options: ExploreOptions): void {
  const full = explore(scenario, { ...all, ...options });
  const reduced = explore(scenario, { ...all, ...options, reduce: true });
  expect(full.limit).toBeNull();
  expect(ends(reduced), scenario.name).toEqual(ends(full));
  if (full.verdict === "holds") {
    expect(reduced.states).toBeLessThanOrEqual(full.states);
    expect(reduced.steps).toBeLessThanOrEqual(full.steps);
  }
}

describe("scenarios", () => {
  test.each(
    [faultVsDontneed, gupVsReuse, slotAddVsDontneed, twoSlotsZapped].map((s) => [s.name, s as Scenario]),
  )("%s", (_, scenario) => {
    expectSame(scenario, {});
    for (const rule of (scenario.brokenWithout ?? []).slice(0, 3)) {
      expectSame(scenario, { without: [typeof rule === "string" ? rule : rule.rule] });
    }
  });
  // Under sequential consistency, which reduction is for; those that take many seconds each are left out.
  const LONG = [
    "fault-vs-split",
    "flush-vs-structures",
    "read-vs-slot-delete",
    "slot-delete-vs-dontneed",
    "two-invalidations",
  ];
  const small = SCENARIOS.filter(
    ({ name, large, model = "sc" }) => !large && model === "sc" && !LONG.includes(name),
  );
  test.each(
    small.flatMap((scenario) =>
      (["v5.4", "v6.13"] as const)
        .filter((profile) => profilesOf(scenario).includes(profile))
        .map((profile) => [scenario.name, profile, scenario] as const),
    ),
  )("%s on %s, all violations", (_name, profile, scenario) => {
    expectSame(scenario, { profile });
  });
  test("what is left out is there", () => {
    const names = SCENARIOS.map(({ name }) => name);
    expect(LONG.filter((name) => !names.includes(name))).toEqual([]);
    expect(small.length).toBeGreaterThan(40);
  });
  test("it does reduce", () => {
    const full = explore(faultVsDontneed, all);
    const reduced = explore(faultVsDontneed, { ...all, reduce: true });
    expect(reduced.states).toBeLessThan(0.8 * full.states);
    expect(reduced.steps).toBeLessThan(0.5 * full.steps);
  });
  test.each([3, 5, 11, 12, 19])("random scenario %i", (number) => {
    const scenario = randomScenario(number);
    expectSame(scenario, { profile: scenario.profiles![0]!, maxStates: 300_000 });
  });
  test("checkers that say what they touch are believed, the others touch all", () => {
    const silent = CHECKERS.map(({ touches: _, ...checker }) => checker);
    const coarse = explore(faultVsDontneed, { ...all, reduce: true, checkers: silent });
    const fine = explore(faultVsDontneed, { ...all, reduce: true });
    expect(coarse.states).toBeGreaterThan(fine.states);
    expect(ends(coarse)).toEqual(ends(fine));
  });
});

describe("litmus programs", () => {
  let ground: LitmusGround;
  beforeAll(async () => {
    ground = new LitmusGround(await compileExploredModule("test/assembly/litmus.ts"));
  });
  const PROGRAMS: Readonly<Record<string, Litmus>> = {
    increments: { actors: [[["increments", 2]], [["increments", 2]]] },
    "locks crossed": { actors: [[["twoLocks", 0, 1]], [["twoLocks", 1, 0]]] },
    "a wake-up that is lost": { actors: [[["awaitFlag", 0]], [["raiseFlag", 0]]] },
    "a seqcount": { actors: [[["writePair", 1, 1]], [["readPair", 1]]] },
    "store buffering": { actors: [[["storeThenLoad", 0, 1]], [["storeThenLoad", 1, 0]]] },
    "references in two accesses": { actors: [[["put", 0]], [["put", 0]], [["put", 1]]], start: [3] },
    choices: { actors: [[["choice", 3, 0]], [["choice", 2, 1]], [["choice", 2, 0]]] },
    "a trap": { actors: [[["choice", 2, 0]], [["trapOnTwo"]]] },
    "words of their own": { actors: [[["storeThenLoad", 0, 0]], [["storeThenLoad", 1, 1]]] },
    "three locked": { actors: [[["lockedIncrement"]], [["lockedIncrement"]], [["lockedIncrement"]]] },
  };
  test.each(Object.entries(PROGRAMS))("%s", (_, litmus) => {
    const full = ground.search(litmus);
    for (const options of [{}, { seed: 7 }]) {
      const reduced = ground.search(litmus, { ...options, reduce: true });
      expect(reduced.outcomes).toEqual(full.outcomes);
      expect(reduced.count).toBeLessThanOrEqual(full.count);
    }
  });
});
