// Scenarios that nobody thought of. All rules hold: no checker may object. And what an exploration comes to depends on the
// scenario alone: not on the build, nor on how the search was made.
import { describe, expect, test } from "vitest";
import { explore, type ExploreOptions, type Verdict } from "../../src/explore/explore.js";
import { randomScenario } from "../../src/explore/random-scenario.js";
import { type Scenario } from "../../src/explore/scenario.js";
import { faultVsDontneed } from "../../src/scenarios/fault-vs-dontneed.js";

/** The founding race with the results of its calls as outcomes. */
const founding = {
  ...faultVsDontneed,
  judge: ({ results }) => ({ outcome: JSON.stringify(results) }),
} as Scenario;

function explored(scenario: Scenario, options: ExploreOptions = {}): Verdict {
  return explore(scenario, { profile: scenario.profiles?.[0] ?? "v6.13", maxStates: 500_000, ...options });
}

describe("the generator", () => {
  test("one number, one scenario", () => {
    for (const seed of [0, 1, 77]) {
      expect(randomScenario(seed).prose).toBe(randomScenario(seed).prose);
      expect(randomScenario(seed).name).toBe(`random-${seed}`);
    }
  });
  test("hundreds of different ones, on every profile", () => {
    const made = Array.from({ length: 300 }, (_, seed) => randomScenario(seed));
    expect(new Set(made.map(({ prose }) => prose)).size).toBeGreaterThan(280);
    expect(new Set(made.map(({ profiles }) => profiles![0])).size).toBe(4);
  });
  test.each([-1, 0.5, NaN, 2 ** 60])("%d is no number of one", (seed) => {
    expect(() => randomScenario(seed)).toThrow(RangeError);
  });
});

/** Scenarios that take longer than a test should: most of them take a warm secondary MMU apart, entry by entry. */
const SLOW: ReadonlySet<number> = new Set([1, 7, 9, 15, 21, 24, 34]);
const HELD = Array.from({ length: 48 }, (_, seed) => seed).filter((seed) => !SLOW.has(seed));

test.each(HELD)("random-%d holds", (seed) => {
  const { verdict, violations } = explored(randomScenario(seed));
  expect(violations.map(({ name, says }) => `${name}: ${says}`)).toEqual([]);
  expect(verdict).toBe("holds");
});

const COMPARED: readonly Scenario[] = [founding, ...[5, 14, 29, 43, 44, 46].map(randomScenario)];

describe("outcomes", () => {
  test.each(COMPARED)("of release and lab are the same: $name", (scenario) => {
    const lab = explored(scenario);
    const release = explored(scenario, { build: "release" });
    expect([lab.verdict, release.verdict]).toEqual(["holds", "holds"]);
    expect(Object.keys(release.outcomes)).toEqual(Object.keys(lab.outcomes));
  });
  test.each(COMPARED)("and states do not depend on the warm-up: $name", (scenario) => {
    const found = [1, 2, 77].map((seed) => {
      const { states, outcomes, cells } = explored(scenario, { seed });
      return { states, outcomes, cells };
    });
    expect(found[1]).toEqual(found[0]);
    expect(found[2]).toEqual(found[0]);
  });
});
