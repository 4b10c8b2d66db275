// Data races of the core: none where every rule holds, and the known one where the updater of memslots does not wait.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { explore } from "../../src/explore/explore.js";
import { RACE_EXCEPTIONS } from "../../src/explore/races.js";
import { faultVsDontneed } from "../../src/scenarios/fault-vs-dontneed.js";
import { gupVsReuse } from "../../src/scenarios/gup-vs-reuse.js";
import { lookupVsSlotDelete } from "../../src/scenarios/lookup-vs-slot-delete.js";
import { type Scenario } from "../../src/explore/scenario.js";

const lookup = lookupVsSlotDelete as Scenario;
const without = ["UpdaterSynchronizes"] as const;

describe("races", () => {
  test.each([faultVsDontneed, gupVsReuse, lookupVsSlotDelete].map((s) => [s.name, s as Scenario]))(
    "%s has none",
    (_, scenario) => {
      expect(explore(scenario, { all: true })).toMatchObject({ verdict: "holds", racesChecked: true });
    },
  );
  test("an updater that does not wait for readers copies under them", () => {
    const { violations } = explore(lookup, { without, all: true });
    const races = violations.filter(({ name }) => name === "data-race");
    expect(races.length).toBeGreaterThan(0);
    for (const { says, trace, shortest } of races) {
      expect(says).toMatch(/^slots\[\d\]\S*: .*plain load\) and .*plain (copy|store)\) at the same time$/);
      expect(shortest).toBe(true);
      // Of the last two steps, an access each: of the same bytes, one of them plain.
      const [before, last] = [...new Set(trace.accesses.map(({ step }) => step))].slice(-2);
      const pairs = trace.accesses
        .filter(({ step }) => step === before)
        .flatMap((one) => trace.accesses.filter(({ step }) => step === last).map((other) => [one, other]))
        .filter(([one, other]) => !one!.site.atomic || !other!.site.atomic)
        .filter(([one, other]) => one!.address < other!.address + other!.size)
        .filter(([one, other]) => other!.address < one!.address + one!.size);
      expect(pairs.length).toBeGreaterThan(0);
      for (const [one, other] of pairs) expect(one!.actor).not.toBe(other!.actor);
    }
  });
  test("harm that is done is told before a race", () => {
    for (const strategy of ["exhaustive", "bounded"] as const) {
      const bound = strategy === "bounded" ? { maxSwitches: 4 } : {};
      const [first] = explore(lookup, { without, strategy, ...bound }).violations;
      expect(first!.name).toBe(lookup.name);
    }
  });
  test("they can be left alone", () => {
    const { violations, racesChecked } = explore(lookup, { without, all: true, races: false });
    expect(racesChecked).toBe(false);
    expect(violations.map(({ name }) => name)).not.toContain("data-race");
  });
});

test("every exception names sources that there are, and gives a reason", () => {
  const rows = (JSON.parse(readFileSync("build/lab-explore.sites.json", "utf8")) as { strings: string[] })
    .strings;
  for (const { file, functions = [], reason } of RACE_EXCEPTIONS) {
    expect(
      rows.some((name) => name.startsWith(file)),
      file,
    ).toBe(true);
    for (const name of functions) expect(rows).toContain(name);
    expect(reason).toMatch(/\.$/);
  }
});
