// Recognising states changes no outcome and no verdict: beside the search, each execution on its own and to its end, wherever
// there are few enough, of every scenario on an old and a new profile; then with each rule that it names left out.
import { describe, expect, test } from "vitest";
import { type ProfileName } from "../../src/core/profiles.js";
import { explore, type ExploreOptions, type Verdict } from "../../src/explore/explore.js";
import { SCENARIOS } from "../../src/scenarios/index.js";

const all = { all: true, shorten: false, races: false } as const;
/** Visits that are too many for a test. */
const VISITS = 150_000;
const PROFILES: readonly ProfileName[] = ["v5.4", "v6.13"];

function found({ outcomes, violations }: Verdict): unknown {
  return { outcomes, violations: violations.map(({ name, says }) => `${name}: ${says}`).sort() };
}

/** Explores both ways; false if there are too many executions. */
function compare(name: string, options: ExploreOptions): boolean {
  const scenario = SCENARIOS.find((one) => one.name === name)!;
  const plain = explore(scenario, { ...all, ...options, match: false, maxStates: VISITS });
  if (plain.limit !== null) {
    expect(plain).toMatchObject({ limit: "states", states: VISITS });
    return false;
  }
  const matched = explore(scenario, { ...all, ...options });
  expect(matched.limit).toBeNull();
  expect(found(plain)).toEqual(found(matched));
  expect(plain.states).toBeGreaterThanOrEqual(matched.states);
  expect(plain.ends).toBeGreaterThanOrEqual(matched.ends);
  return true;
}

describe("with and without recognising states", () => {
  test("every scenario that is small enough, on its profiles, and without each rule that it names", () => {
    const done = new Set<string>();
    let compared = 0;
    for (const scenario of SCENARIOS) {
      if ((scenario.model ?? "sc") !== "sc" || scenario.name.startsWith("scale-")) continue;
      const rules = (scenario.brokenWithout ?? []).map((one) => (typeof one === "string" ? one : one.rule));
      for (const profile of PROFILES) {
        if (!(scenario.profiles ?? PROFILES).includes(profile) || !compare(scenario.name, { profile }))
          continue;
        done.add(scenario.name);
        compared++;
        for (const rule of rules) if (compare(scenario.name, { profile, without: [rule] })) compared++;
      }
    }
    // What is said above is about so many.
    expect(done.size).toBeGreaterThanOrEqual(12);
    expect(compared).toBeGreaterThanOrEqual(45);
  }, 240_000);
});
