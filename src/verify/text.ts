/** Verdicts on a terminal: one in full, several as a table, counterexamples as race tables. */

import { type Counterexample } from "../explore/explore.js";
import { raceTable, wrap } from "../report/race-table.js";
import { renderTable } from "../report/table.js";
import { formatBytes, formatCount, formatCounted, formatDurationNs } from "../report/units.js";
import { type JobResult } from "./jobs.js";
import { boundLines, limitInWords, rulesInWords, verdictInWords } from "./words.js";

/** What a terminal can do. */
export interface Screen {
  readonly width: number;
  readonly color: boolean;
  /** Every access of a counterexample, and the bounds of every verdict. */
  readonly verbose: boolean;
}

const WIDTH = 120;
const LABEL = 10;

/** The screen that standard output is. */
export function screenOf(verbose: boolean): Screen {
  const { isTTY, columns } = process.stdout;
  const color = isTTY === true && (process.env.NO_COLOR ?? "") === "" && process.env.TERM !== "dumb";
  return { width: isTTY && columns ? Math.max(80, columns) : WIDTH, color, verbose };
}

/** A paragraph of at most 120 columns; all lines but the first begin with `margin`. */
export function paragraph(text: string, { width }: Screen, margin = ""): string {
  const [first, ...rest] = wrap(text, Math.min(width, WIDTH) - margin.length);
  return [first, ...rest.map((line) => margin + line.trim())].join("\n");
}

/** Lines with a label each, wrapped. */
export function labelled(lines: readonly (readonly [string, string])[], { width }: Screen): string {
  return lines
    .flatMap(([label, text]) =>
      wrap(text, Math.min(width, WIDTH) - LABEL).map(
        (line, i) => (i === 0 ? label.padEnd(LABEL) : " ".repeat(LABEL)) + line.trim(),
      ),
    )
    .join("\n");
}

const HEADINGS = { holds: "HOLDS", violated: "VIOLATED", inconclusive: "INCONCLUSIVE" } as const;

/** One verdict in full: what holds or does not, with its bounds. */
export function verdictText(result: JobResult, screen: Screen): string {
  const { job, verdict, holds, error } = result;
  if (verdict === null) {
    const name = `${job.scenario}: `;
    return error === null
      ? `INTERRUPTED   ${name}before it came to a verdict`
      : labelled([["ERROR", `${name}${error.message} ${error.hint}`]], screen);
  }
  const names = [...new Set(verdict.violations.map(({ name }) => name))];
  const title = [
    HEADINGS[verdict.verdict] + (names.length > 0 ? `  ${names.join(", ")}` : ""),
    `scenario ${job.scenario}`,
    `profile ${verdict.profile}`,
    rulesInWords(verdict.without),
  ].join("   ");
  const lines: [string, string][] = [["claim", holds], ...boundLines(result)];
  if (job.expected === "violated") {
    lines.unshift([
      "expected",
      verdict.verdict === "violated"
        ? "violated, as that kernel was"
        : "violated, as that kernel was: the explorer missed it",
    ]);
  }
  return `${title}\n\n${labelled(lines, screen)}`;
}

/** A counterexample as a race table. */
export function counterexampleText({ trace, shortest, switches }: Counterexample, screen: Screen): string {
  const { width, color, verbose } = screen;
  const known = !shortest
    ? "There may be an execution with fewer switches between actors."
    : switches === 0
      ? "It takes no switch between actors."
      : `No execution with fewer than ${formatCounted(switches, "switch", "switches")} between actors shows it.`;
  return `${raceTable(trace, { width, color, verbose })}\n${known}`;
}

const COLUMNS = [
  { header: "scenario", align: "left" },
  { header: "profile", align: "left" },
  { header: "model", align: "left" },
  { header: "rules", align: "left", wrap: 30 },
  { header: "verdict", align: "left" },
  { header: "states", align: "right" },
  { header: "ends", align: "right" },
  { header: "memory", align: "right" },
  { header: "time", align: "right" },
] as const;

/** Verdicts side by side. */
export function verdictTable(results: readonly JobResult[]): string {
  return renderTable(
    COLUMNS,
    results.map((result) => {
      const { job, verdict } = result;
      return [
        job.scenario,
        job.options.profile,
        verdict === null ? null : verdict.model,
        rulesInWords(job.options.without),
        verdictInWords(result),
        ...workCells(result),
        verdict === null ? null : formatDurationNs(verdict.milliseconds * 1e6),
      ];
    }),
  );
}

function workCells({ verdict }: JobResult): (string | null)[] {
  if (verdict === null) return [null, null, null];
  return [formatCount(verdict.states), formatCount(verdict.ends), formatBytes(verdict.bytes)];
}

/** Lines about results that a table cannot hold: errors and limits. */
export function remarks(results: readonly JobResult[]): string[] {
  return results.flatMap(({ job, verdict, error }) => {
    const what = `${job.scenario} on ${job.options.profile}`;
    if (error !== null) return [`${what}: ${error.message} ${error.hint}`];
    // Of what was interrupted before it came to anything, the table says enough.
    const limit = verdict === null ? null : limitInWords(verdict);
    return limit === null ? [] : [`${what} is inconclusive: ${limit}.`];
  });
}
