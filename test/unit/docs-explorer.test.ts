// docs/explorer.md shows a race table: it is the one that the command prints, but for the lines of sources.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type RuleName } from "../../src/core/rules.js";
import { explore } from "../../src/explore/explore.js";
import { type Scenario } from "../../src/explore/scenario.js";
import { raceTable } from "../../src/report/race-table.js";
import { SCENARIOS } from "../../src/scenarios/index.js";

const text = readFileSync(new URL("../../docs/explorer.md", import.meta.url), "utf8");

/** Without what an edit elsewhere in the core changes: lines of sources, columns as wide as these, counts of accesses. */
function normalised(table: string): string[] {
  return table
    .trim()
    .split("\n")
    .map((line) => line.replace(/(\.ts):\d+/g, "$1").replace(/-+\+[-+]*/g, "-+-"))
    .map((line) => line.replace(/ +/g, " ").replace(/-{4,}$/, "---"))
    .map((line) => line.replace(/^shown .*/, "shown"));
}

describe("docs/explorer.md", () => {
  test("the sample table is what its command prints", () => {
    const [, name, rule, sample] =
      /`guestmmu explore (\S+) --without (\S+)` prints:\n\n```\n(.*?)\n```/s.exec(text)!;
    const scenario = SCENARIOS.find((known) => known.name === name) as Scenario;
    const { trace } = explore(scenario, { without: [rule as RuleName] }).violations[0]!;
    const printed = raceTable(trace);
    expect(normalised(sample!)).toEqual(normalised(printed.slice(0, printed.indexOf("\nrepeat "))));
  });

  test("what a verdict means fits a page", () => {
    const section = text.slice(
      text.indexOf('## What "holds" means'),
      text.indexOf("## Reading a race table"),
    );
    expect(section.split("\n").length).toBeLessThanOrEqual(60);
  });
});
