import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { Profile, PROFILE_COUNT, Rule, RULE_COUNT, Switch } from "../../src/core/layout.generated.js";
import { PROFILES, RULES, ruleRow, SWITCH_SENTENCES } from "../../src/index.js";

describe("rules", () => {
  test("one row for each enumerator, with its number", () => {
    expect(Object.fromEntries(RULES.map(({ name, number }) => [name, number]))).toEqual(Rule);
    expect(RULES).toHaveLength(RULE_COUNT);
    expect(new Set(RULES.map(({ number }) => number)).size).toBe(RULE_COUNT);
    expect(RULES.map(({ number }) => number)).toEqual(Array.from({ length: RULE_COUNT }, (_, i) => i + 1));
  });

  test.each(RULES)("$name says what, why and where", ({ name, says, reason, source, zoo, profiles }) => {
    expect(says).toMatch(/^\S.*\.$/);
    expect(reason).toMatch(/^\S.*\.$/);
    expect(source).toMatch(/\.[ch]\b|\.rst\b/);
    for (const id of zoo) expect(id).toMatch(/^Z\d\d[a-z]?$/);
    expect(profiles.length).toBeGreaterThan(0);
    for (const profile of profiles) expect(PROFILES).toHaveProperty([profile]);
    expect(ruleRow(name)).toEqual(RULES[Rule[name] - 1]);
  });

  test("no two rules say the same", () => {
    expect(new Set(RULES.map(({ says }) => says)).size).toBe(RULE_COUNT);
    expect(new Set(RULES.map(({ reason }) => reason)).size).toBe(RULE_COUNT);
  });
});

test("an unknown rule has no row", () => {
  for (const name of ["NoSuchRule", "toString"]) expect(() => ruleRow(name as "SeqChecked")).toThrow(name);
});

test("no page is named that is not in the repository", () => {
  for (const file of ["core/rules", "machine/lab"]) {
    const source = readFileSync(new URL(`../../src/${file}.ts`, import.meta.url), "utf8");
    expect(source).not.toMatch(/shared\/|bug-zoo|kvm-protocol/);
  }
});

describe("profiles", () => {
  test("one row for each enumerator, with its number", () => {
    expect(
      Object.values(PROFILES)
        .map(({ number }) => number)
        .sort(),
    ).toEqual(Object.values(Profile).sort());
    expect(Object.keys(PROFILES)).toHaveLength(PROFILE_COUNT);
    for (const [name, row] of Object.entries(PROFILES)) expect(row.name).toBe(name);
  });

  test("every switch has words for on and off, and every switch of a profile is one", () => {
    expect(Object.keys(SWITCH_SENTENCES).sort()).toEqual(Object.keys(Switch).sort());
    for (const { switches } of Object.values(PROFILES))
      for (const s of switches) expect(Switch).toHaveProperty([s]);
    for (const { on, off } of Object.values(SWITCH_SENTENCES)) expect(on).not.toBe(off);
  });
});
