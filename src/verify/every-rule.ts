/** Is each rule needed? Every scenario that names a rule is explored with it and without it. */

import { type ProfileName } from "../core/profiles.js";
import { RULES, type RuleName } from "../core/rules.js";
import { type Scenario } from "../explore/scenario.js";
import { wrap } from "../report/race-table.js";
import { renderTable } from "../report/table.js";
import { formatDurationNs } from "../report/units.js";
import { type Job, type JobOptions, type JobResult, type Source } from "./jobs.js";
import { brokenWithout, expectationOf } from "./options.js";
import { remarks } from "./text.js";
import { limitInWords } from "./words.js";

/** What is known of a rule after all explorations. */
export interface RuleFinding {
  readonly number: number;
  readonly rule: RuleName;
  /**
   * needed: some scenario holds with the rule and is violated without it. redundant: scenarios name it, and all hold
   * without it. unnamed: no scenario names it. open: a limit or an error came in between.
   */
  readonly finding: "needed" | "redundant" | "unnamed" | "open";
  readonly shownBy: readonly {
    readonly scenario: string;
    readonly profile: ProfileName;
    readonly objection: string;
    readonly switches: number;
    readonly repeat: string;
  }[];
  /** Scenarios and profiles that hold without it. */
  readonly notMissedBy: readonly { readonly scenario: string; readonly profile: ProfileName }[];
}

interface Found {
  readonly scenario: Scenario;
  readonly source: Source;
}

/** For each scenario and profile one job with all rules, and one without each of the rules that it names. */
export function everyRuleJobs(
  found: readonly Found[],
  profiles: readonly ProfileName[] | undefined,
  common: Omit<JobOptions, "profile" | "without">,
): Job[] {
  return found.flatMap(({ scenario, source }) => {
    const rules = brokenWithout(scenario);
    const places = [...new Set(rules.flatMap(({ profiles: some }) => some))].filter(
      (profile) => profiles?.includes(profile) ?? true,
    );
    const base = { source, scenario: scenario.name };
    return places.flatMap((profile): Job[] => {
      const whole = { ...common, profile, without: [] };
      return [
        { ...base, options: whole, expected: expectationOf(scenario, whole) },
        ...rules
          .filter(({ profiles: some }) => some.includes(profile))
          .map(({ rule }): Job => ({
            ...base,
            options: { ...common, profile, without: [rule] },
            expected: "violated",
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
    const shownBy = mine.flatMap((result) => {
      const first = result.verdict?.violations[0];
      const { scenario, profile } = place(result);
      if (!first || !holdsWithAll.has(`${scenario} ${profile}`)) return [];
      return [
        { scenario, profile, objection: first.name, switches: first.switches, repeat: first.trace.repeat },
      ];
    });
    const notMissedBy = mine.filter(({ verdict }) => verdict?.verdict === "holds").map(place);
    const finding =
      mine.length === 0
        ? "unnamed"
        : shownBy.length > 0
          ? "needed"
          : notMissedBy.length === mine.length
            ? "redundant"
            : "open";
    return { number, rule: name, finding, shownBy, notMissedBy };
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
    { header: "shown by" },
    { header: "profile" },
    { header: "objection" },
    { header: "switches" },
  ];
  const named = findings.filter(({ finding }) => finding !== "unnamed");
  const rows = named.flatMap(({ number, rule, finding, shownBy }) =>
    shownBy.length === 0
      ? [[String(number), rule, finding, null, null, null, null]]
      : shownBy.map((by, i) => [
          i === 0 ? String(number) : "",
          i === 0 ? rule : "",
          i === 0 ? finding : "",
          by.scenario,
          by.profile,
          by.objection,
          String(by.switches),
        ]),
  );
  const lines = [renderTable(columns, rows), ""];
  for (const { rule, notMissedBy } of named)
    for (const { scenario, profile } of notMissedBy)
      lines.push(`${rule} is not missed by ${scenario} on ${profile}, which says that it is.`);
  const redundant = findings.filter(({ finding }) => finding === "redundant").map(({ rule }) => rule);
  if (redundant.length > 0)
    lines.push(
      `Without a counterexample in this model, as far as these scenarios go: ${redundant.join(", ")}.`,
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
      `${needed} of ${whole ? findings.length : named.length} rules are shown to be needed.`,
  );
  return lines.join("\n");
}
