// The zoo, the rules and the scenarios refer to each other by number and name: no reference leads nowhere.
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { RULES } from "../../src/core/rules.js";
import { CLAIMS } from "../../src/scenarios/claims.js";
import { SCENARIOS } from "../../src/scenarios/index.js";
import { ZOO } from "../../src/scenarios/zoo.js";
import { brokenWithout, profilesOf } from "../../src/verify/options.js";
import { exhibits, pageOf } from "../../src/verify/zoo-page.js";

const ids = ZOO.map(({ id }) => id);

test("every defect has a number of its own, and a title that is no sentence", () => {
  expect(new Set(ids).size).toBe(ids.length);
  for (const { id, title } of ZOO) {
    expect(id).toMatch(/^Z\d\db?$/);
    expect(title, id).not.toMatch(/\.$|^[A-Z][a-z]/);
  }
});

test("every defect that a rule repeats is in the zoo, and none of them is said to be inexpressible", () => {
  const ofRules = new Set(RULES.flatMap(({ zoo }) => zoo));
  expect([...ofRules].filter((id) => !ids.includes(id))).toEqual([]);
  expect(
    ZOO.filter(({ id, missing }) => missing !== undefined && ofRules.has(id)).map(({ id }) => id),
  ).toEqual([]);
});

test("an analogue is shown, says how it differs, and does not count as found", () => {
  const shown = new Set(exhibits().map(({ entry }) => entry.id));
  for (const { id, analogue, missing } of ZOO) {
    if (analogue === undefined) continue;
    expect(shown, id).toContain(id);
    expect(missing, id).toBeUndefined();
    expect(analogue, id).not.toMatch(/\.$/);
  }
});

test("the page counts what is found without the analogues, which have a list of their own", () => {
  const page = pageOf(exhibits(), () => ({
    job: undefined as never,
    verdict: null,
    scope: null,
    holds: "",
    error: null,
  }));
  const [found, alike] = page.slice(page.indexOf("## Found")).split("## Only an analogue");
  const inTable = (text: string) => new Set([...text.matchAll(/^\| (Z\d\db?) \|/gm)].map(([, id]) => id));
  const analogues = ZOO.filter(({ analogue }) => analogue !== undefined).map(({ id }) => id);
  expect(analogues).toContain("Z41");
  expect(analogues.filter((id) => inTable(found!).has(id))).toEqual([]);
  for (const id of analogues) expect(alike).toMatch(new RegExp(`^- ${id}: .*\\.$`, "m"));
  expect(found).toContain(`${inTable(found!).size} of ${ZOO.length}.`);
});

test("what the zoo was asked to have is found", () => {
  const asked =
    "Z01 Z01b Z02 Z03 Z04 Z05 Z06 Z07 Z08 Z10 Z13 Z14 Z15 Z16 Z25b Z31 Z32 Z34 Z36 Z37 Z44 Z45 Z47 Z49 Z53";
  const found = new Set(
    exhibits()
      .filter(({ entry }) => entry.analogue === undefined)
      .map(({ entry }) => entry.id),
  );
  expect(asked.split(" ").filter((id) => !found.has(id))).toEqual([]);
});

test("what scenarios decide is a defect or a claim", () => {
  const known = [...ids, ...CLAIMS.map(({ id }) => id)];
  for (const { name, decides = [] } of SCENARIOS)
    expect(
      decides.filter((id) => !known.includes(id) && !/^C\d/.test(id)),
      name,
    ).toEqual([]);
});

test("scenarios have names of their own, and are broken only where they make sense", () => {
  const names = SCENARIOS.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  for (const scenario of SCENARIOS) {
    const sensible = profilesOf(scenario);
    expect(
      (scenario.brokenOn ?? []).filter((profile) => !sensible.includes(profile)),
      scenario.name,
    ).toEqual([]);
    for (const { rule, profiles } of brokenWithout(scenario))
      expect(profiles, `${scenario.name} without ${rule}`).not.toEqual([]);
  }
});

test("docs/zoo.md has a row for every defect and every exhibit", async () => {
  const page = await readFile("docs/zoo.md", "utf8");
  const rows = page.split("\n").filter((line) => /^\| Z\d/.test(line));
  const cells = rows.map((row) => row.split("|").map((cell) => cell.trim()));
  for (const { id } of ZOO) expect(cells.filter((row) => row[1] === id).length, id).toBeGreaterThan(0);
  for (const { entry, scenario, profile, rule } of exhibits()) {
    const mine = cells.filter(
      (row) =>
        row[1] === entry.id &&
        row[4] === scenario.name &&
        row[5] === profile &&
        row[6] === (rule ?? "nothing"),
    );
    expect(mine.length, `${entry.id} ${scenario.name} ${rule}`).toBe(1);
    expect(mine[0]![7], `${entry.id} ${scenario.name} ${rule}`).not.toMatch(/^(no|open|error|)$/);
  }
  // A row of what is found names a scenario that there is.
  const names = SCENARIOS.map(({ name }) => name);
  const found = cells.filter((row) => row.length > 8);
  expect(found.filter((row) => !names.includes(row[4]!))).toEqual([]);
});
