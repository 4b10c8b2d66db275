/**
 * Is each rule needed? Every scenario that names a rule is explored with it and without it; where the rule is known not to
 * be missed (src/scenarios/redundant.ts), that is explored as well.
 */

import { type ProfileName } from "../core/profiles.js";
import { RULES, type RuleName } from "../core/rules.js";
import { type MemoryModel } from "../explore/memory-model.js";
import { type Scenario } from "../explore/scenario.js";
import { type Strategy } from "../explore/strategies/index.js";
import { wrap } from "../report/race-table.js";
import { renderTable } from "../report/table.js";
import { formatCount, formatCounted, formatDurationNs } from "../report/units.js";
import { REDUNDANT, redundancyOf } from "../scenarios/redundant.js";
import { type Job, type JobOptions, type JobResult, type Source } from "./jobs.js";
import { brokenWithout, expectationOf } from "./options.js";
import { remarks } from "./text.js";
import { limitInWords } from "./words.js";

/** What is known of a rule after all explorations. */
export interface RuleFinding {
  readonly number: number;
  readonly rule: RuleName;
  /**
   * needed: some scenario holds with the rule and is violated without it. redundant: all that were explored hold without
   * it. unnamed: none was explored without it. open: a limit or an error came in between.
   */
  readonly finding: "needed" | "redundant" | "unnamed" | "open";
  readonly shownBy: readonly {
    readonly scenario: string;
    readonly profile: ProfileName;
    readonly objection: string;
    readonly switches: number;
    readonly repeat: string;
  }[];
  /** Scenarios and profiles that hold with it and without it, as was said of them. */
  readonly redundantIn: readonly {
    readonly scenario: string;
    readonly profile: ProfileName;
    readonly model: MemoryModel;
    readonly strategy: Strategy;
    readonly states: number;
    readonly ends: number;
    /** What else does its work there. */
    readonly why: string;
  }[];
  /** Scenarios and profiles that hold without it, although they say that they need it. */
  readonly notMissedBy: readonly { readonly scenario: string; readonly profile: ProfileName }[];
}

interface Found {
  readonly scenario: Scenario;
  readonly source: Source;
}

/** Rules to leave out of a scenario, where, and what must come out. */
function trialsOf({ scenario, source }: Found) {
  const needed = brokenWithout(scenario).map((one) => ({ ...one, expected: "violated" as const }));
  // A file may have a scenario of the same name.
  const mine = source.kind === "named" ? REDUNDANT.filter((one) => one.scenario === scenario.name) : [];
  return [...needed, ...mine.map(({ rule, profiles }) => ({ rule, profiles, expected: "holds" as const }))];
}

/** For each scenario and profile one job with all rules, and one without each rule that is said to be needed or not missed. */
export function everyRuleJobs(
  found: readonly Found[],
  profiles: readonly ProfileName[] | undefined,
  common: Omit<JobOptions, "profile" | "without">,
): Job[] {
  return found.flatMap(({ scenario, source }) => {
    const trials = trialsOf({ scenario, source });
    const places = [...new Set(trials.flatMap(({ profiles: some }) => some))].filter(
      (profile) => profiles?.includes(profile) ?? true,
    );
    const base = { source, scenario: scenario.name };
    return places.flatMap((profile): Job[] => {
      const whole = { ...common, profile, without: [] };
      return [
        { ...base, options: whole, expected: expectationOf(scenario, whole) },
        ...trials
          .filter(({ profiles: some }) => some.includes(profile))
          .map(({ rule, expected }): Job => ({
            ...base,
            options: { ...common, profile, without: [rule] },
            expected,
          })),
      ];
    });
  });
}

/** What the results say of each rule. */
export function everyRule(results: readonly JobResult[]): RuleFinding[] {
  const holdsWithAll = new Set(
    results
      .filter(({ job, verdict }) => job.options.without.length === 0 && verdict?.verdict === "holds")
      .map(({ job }) => `${job.scenario} ${job.options.profile}`),
  );
  return RULES.map(({ number, name }): RuleFinding => {
    const mine = results.filter(({ job }) => job.options.without.includes(name));
    const place = ({ job }: JobResult) => ({ scenario: job.scenario, profile: job.options.profile });
    const holdsWhole = (result: JobResult): boolean => {
      const { scenario, profile } = place(result);
      return holdsWithAll.has(`${scenario} ${profile}`);
    };
    const shownBy = mine.flatMap((result) => {
      const first = result.verdict?.violations[0];
      if (!first || !holdsWhole(result)) return [];
      return [
        {
          ...place(result),
          objection: first.name,
          switches: first.switches,
          repeat: first.trace.repeat,
        },
      ];
    });
    const holding = mine.filter(({ verdict }) => verdict?.verdict === "holds");
    const redundantIn = holding
      .filter((result) => result.job.expected === "holds" && holdsWhole(result))
      .map((result) => {
        const { scenario, profile } = place(result);
        const { model, strategy, states, ends } = result.verdict!;
        return {
          scenario,
          profile,
          model,
          strategy,
          states,
          ends,
          why: redundancyOf(name, scenario, profile)!.why,
        };
      });
    const notMissedBy = holding.filter(({ job }) => job.expected === "violated").map(place);
    const finding =
      mine.length === 0
        ? "unnamed"
        : shownBy.length > 0
          ? "needed"
          : holding.length === mine.length
            ? "redundant"
            : "open";
    return { number, rule: name, finding, shownBy, redundantIn, notMissedBy };
  });
}

/**
 * The findings as a table, then what is noteworthy.
 *
 * @param whole all scenarios of the package were asked: rules that none of them names are told
 */
export function everyRuleText(
  findings: readonly RuleFinding[],
  results: readonly JobResult[],
  milliseconds: number,
  whole: boolean,
): string {
  const columns = [
    { header: "no." },
    { header: "rule" },
    { header: "finding" },
    { header: "scenario" },
    { header: "profile" },
    { header: "objection" },
    { header: "switches" },
  ];
  const named = findings.filter(({ finding }) => finding !== "unnamed");
  const rows = named.flatMap(({ number, rule, finding, shownBy, redundantIn }) => {
    const cells = [
      ...shownBy.map((by) => [by.scenario, by.profile, by.objection, String(by.switches)]),
      ...redundantIn.map((by) => [by.scenario, by.profile, `none under ${by.model}`, "-"]),
    ];
    if (cells.length === 0) cells.push(["-", "-", "-", "-"]);
    return cells.map((row, i) => [...(i === 0 ? [String(number), rule, finding] : ["", "", ""]), ...row]);
  });
  const lines = [renderTable(columns, rows), ""];
  for (const finding of named) lines.push(...redundancyLines(finding));
  for (const { rule, notMissedBy } of named)
    for (const { scenario, profile } of notMissedBy)
      lines.push(`${rule} is not missed by ${scenario} on ${profile}, which says that it is.`);
  for (const { job, verdict } of results)
    if (job.options.without.length > 0 && job.expected === "holds" && verdict?.verdict === "violated")
      lines.push(
        `${job.options.without.join(", ")} is missed by ${job.scenario} on ${job.options.profile}, where it is said to be redundant.`,
      );
  const redundant = findings.filter(({ finding }) => finding === "redundant").map(({ rule }) => rule);
  if (redundant.length > 0)
    lines.push(
      ...wrap(
        `Without a counterexample in this model, as far as these scenarios go: ${redundant.join(", ")}.`,
        120,
      ),
    );
  const unnamed = findings.filter(({ finding }) => finding === "unnamed").map(({ rule }) => rule);
  if (unnamed.length > 0 && whole) lines.push(...wrap(`No scenario names ${unnamed.join(", ")}.`, 120));
  for (const { job, verdict } of results)
    if (job.options.without.length === 0 && verdict?.verdict === "violated")
      lines.push(`${job.scenario} on ${job.options.profile} is violated with all rules in force.`);
  lines.push(...remarks(results));
  const open = results.filter(({ verdict }) => verdict !== null && limitInWords(verdict) !== null).length;
  const needed = findings.filter(({ finding }) => finding === "needed").length;
  lines.push(
    `${results.length} explorations in ${formatDurationNs(milliseconds * 1e6)}, ${open} inconclusive; ` +
      `${needed} of ${whole ? findings.length : named.length} rules are shown to be needed, ${redundant.length} redundant as far as is known.`,
  );
  return lines.join("\n");
}

/** Where a rule is redundant, a paragraph for each scenario, with what was explored. */
function redundancyLines({ rule, redundantIn }: RuleFinding): string[] {
  const scenarios = [...new Set(redundantIn.map(({ scenario }) => scenario))];
  return scenarios.flatMap((scenario) => {
    const places = redundantIn.filter((one) => one.scenario === scenario);
    const { model, strategy } = places[0]!;
    // Kernels of one era share a reason.
    return [...new Set(places.map(({ why }) => why))].flatMap((why) => {
      const mine = places.filter((one) => one.why === why);
      const states = Math.max(...mine.map((one) => one.states));
      const ends = Math.max(...mine.map((one) => one.ends));
      return wrap(
        `${rule}: REDUNDANT in ${scenario} under ${model} (${mine.map(({ profile }) => profile).join(", ")}; ` +
          `${strategy}, up to ${formatCount(states)} states, ${formatCounted(ends, "end")}): ${why}.`,
        120,
      );
    });
  });
}
