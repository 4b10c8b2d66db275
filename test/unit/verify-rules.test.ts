// Is each rule needed? Every rule has a row in what `explore --every-rule` prints: a scenario that fails without it, or one
// that comes near it and holds.
import { describe, expect, test } from "vitest";
import { RULES } from "../../src/core/rules.js";
import { explore } from "../../src/explore/explore.js";
import { SCENARIOS } from "../../src/scenarios/index.js";
import { REDUNDANT } from "../../src/scenarios/redundant.js";
import { everyRule, everyRuleJobs, everyRuleText } from "../../src/verify/every-rule.js";
import { type Job, type JobResult } from "../../src/verify/jobs.js";
import { brokenWithout, expectationOf, profilesOf } from "../../src/verify/options.js";
import { unexpected } from "../../src/verify/outcome.js";

const named = (name: string) => SCENARIOS.find((scenario) => scenario.name === name)!;
const found = (name: string) => [{ scenario: named(name), source: { kind: "named" as const, name } }];
const COMMON = { build: "lab", strategy: "exhaustive", all: false } as const;

function run(job: Job): JobResult {
  const scenario = named(job.scenario);
  return { job, verdict: explore(scenario, job.options), scope: null, holds: scenario.holds, error: null };
}

test("every rule is left out somewhere", () => {
  const all = SCENARIOS.filter(({ large }) => !large).flatMap(({ name }) => found(name));
  const jobs = everyRuleJobs(all, undefined, COMMON);
  const tried = new Set(jobs.flatMap(({ options }) => options.without));
  expect(RULES.map(({ name }) => name).filter((name) => !tried.has(name))).toEqual([]);
});

describe("where a rule is redundant", () => {
  test.each(REDUNDANT.map((one) => [one.rule, one.scenario, one] as const))(
    "%s in %s: a scenario of the package that does not say that it needs it",
    (rule, name, { profiles, why }) => {
      expect(profiles.filter((profile) => !profilesOf(named(name)).includes(profile))).toEqual([]);
      const broken = brokenWithout(named(name)).find((one) => one.rule === rule)?.profiles ?? [];
      expect(profiles.filter((profile) => broken.includes(profile))).toEqual([]);
      expect(named(name).large ?? false).toBe(false);
      expect(why).not.toMatch(/\.$/);
    },
  );
  test.each(REDUNDANT.map((one) => [one.rule, one.scenario, one.profiles[0]!] as const))(
    "%s in %s on %s: it holds without",
    (rule, name, profile) => {
      const verdict = explore(named(name), { profile, without: [rule], shorten: false, maxTime: 60_000 });
      expect(verdict.verdict).toBe("holds");
    },
  );
  test("the barriers between sequence and count: redundant under mmu_lock, needed where one side has none", () => {
    const weak = everyRuleJobs(found("fault-vs-dontneed-weak"), ["v6.13"], COMMON);
    const cache = everyRuleJobs(found("users-cache-refresh-weak"), ["v6.13"], COMMON);
    const jobs = [...weak, ...cache].filter(
      ({ options: { without } }) => without.length === 0 || without[0] === "SeqCountBarriers",
    );
    const results = jobs.map(run);
    expect(results.filter(unexpected)).toEqual([]);
    const finding = everyRule(results).find(({ rule }) => rule === "SeqCountBarriers")!;
    expect(finding).toMatchObject({
      finding: "needed",
      shownBy: [{ scenario: "users-cache-refresh-weak" }],
      redundantIn: [{ scenario: "fault-vs-dontneed-weak", profile: "v6.13", model: "weak" }],
    });
    expect(everyRuleText([finding], results, 1, false)).toMatch(
      /SeqCountBarriers: REDUNDANT in fault-vs-dontneed-weak under weak \(v6\.13; exhaustive, up to [\d\s]+states/,
    );
  });
  test("it is told, and unexpected, if a rule is missed after all", () => {
    const jobs = everyRuleJobs(found("fault-vs-dontneed"), ["v6.13"], COMMON).filter(
      ({ options: { without } }) => without.length === 0 || without[0] === "SeqBeforeCount",
    );
    const [whole, without] = jobs.map(run);
    // As if the count could be seen lowered and the sequence not yet raised.
    const bad = run({ ...without!.job, options: { ...without!.job.options, without: ["CountChecked"] } });
    const results = [whole!, { ...bad, job: without!.job }];
    expect(results.map(unexpected)).toEqual([false, true]);
    const finding = everyRule(results).find(({ rule }) => rule === "SeqBeforeCount")!;
    expect(finding.redundantIn).toEqual([]);
    expect(everyRuleText([finding], results, 1, false)).toMatch(
      /^SeqBeforeCount is missed by fault-vs-dontneed on v6\.13, where it is said to be redundant\.$/m,
    );
  });
});

test("what is expected without a rule: of a kernel that was wrong that it stays so, of others nothing", () => {
  const without = ["SnapshotBarrier"] as const;
  const remapped = named("host-remapped-fault");
  expect(expectationOf(remapped, { profile: "v5.4", without })).toBe("violated");
  expect(expectationOf(remapped, { profile: "v6.13", without })).toBeNull();
  expect(expectationOf(remapped, { profile: "v6.13", without: [] })).toBe("holds");
});
