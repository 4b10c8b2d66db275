/** `guestmmu claims`: decides the claims of the founding thread, and shows what refutes them. */

import { type RuleName } from "../core/rules.js";
import { usageError } from "../errors.js";
import { renderTable } from "../report/table.js";
import { formatCount, formatDurationNs } from "../report/units.js";
import { CLAIMS, type Claim, type ClaimRow } from "../scenarios/claims.js";
import { document, resultJson } from "./json.js";
import { type Job, type JobResult } from "./jobs.js";
import { parseCount, parseProfiles, parseRules } from "./options.js";
import { outcomeOf, requireExplored, type ExploreOutcome } from "./outcome.js";
import { runJobs } from "./run.js";
import { counterexampleText, paragraph, remarks, screenOf, type Screen } from "./text.js";
import { rulesInWords, verdictInWords } from "./words.js";

/** What the command line gives. */
export interface ClaimsCommandOptions {
  readonly profile?: string;
  readonly without?: string;
  readonly maxWorkers?: string;
  readonly verbose?: boolean;
  readonly json?: boolean;
}

/** A row takes seconds at most; one that takes longer is inconclusive rather than endless. */
const MAX_TIME = 110_000;

interface Asked {
  readonly claim: Claim;
  readonly row: ClaimRow;
  readonly job: Job;
}

/** Decides claims; all of them if `ids` is empty. Throws `USAGE` for ids and profiles that there are not. */
export async function runClaimsCommand(
  ids: readonly string[],
  options: ClaimsCommandOptions,
): Promise<ExploreOutcome> {
  const screen = screenOf(options.verbose ?? false);
  const asked = askedOf(ids, options);
  const workers =
    options.maxWorkers === undefined
      ? {}
      : { maxWorkers: parseCount("--max-workers", options.maxWorkers, 1, 64) };
  const { results, interrupted, milliseconds } = await runJobs(
    asked.map(({ job }) => job),
    workers,
  );
  if (options.json) {
    const rows = results.map((result, i) => ({
      claim: asked[i]!.claim.id,
      shows: asked[i]!.row.shows,
      ...resultJson(result),
    }));
    const claims = CLAIMS.map(({ id, says, who }) => ({ id, says, who }));
    process.stdout.write(document("claims", { interrupted, milliseconds, claims, verdicts: rows }));
  } else {
    process.stdout.write(`${claimsText(asked, results, screen)}\n${closing(results, milliseconds)}\n`);
  }
  requireExplored(results);
  return outcomeOf(results, interrupted);
}

function askedOf(ids: readonly string[], { profile, without }: ClaimsCommandOptions): Asked[] {
  for (const id of ids) {
    if (!CLAIMS.some((claim) => claim.id === id))
      throw usageError(
        `There is no claim ${JSON.stringify(id)}.`,
        `There are ${CLAIMS.map((claim) => claim.id).join(", ")}.`,
      );
  }
  const profiles = parseProfiles(profile);
  const more = parseRules(without);
  const asked = CLAIMS.flatMap((claim, c) =>
    claim.rows.flatMap((row, r): Asked[] => {
      if (ids.length > 0 && !ids.includes(claim.id)) return [];
      if (profiles && !profiles.includes(row.profile)) return [];
      return [{ claim, row, job: jobOf(row, c, r, more) }];
    }),
  );
  if (asked.length === 0) throw usageError("No claim is about these profiles.", "Leave --profile out.");
  return asked;
}

function jobOf(row: ClaimRow, claim: number, index: number, more: readonly RuleName[]): Job {
  return {
    source: { kind: "claim", claim, row: index },
    scenario: row.scenario.name,
    expected: row.expected,
    options: {
      profile: row.profile,
      without: [...new Set([...row.without, ...more])],
      build: "lab",
      strategy: "exhaustive",
      maxTime: MAX_TIME,
    },
  };
}

const COLUMNS = [
  { header: "scenario", align: "left" },
  { header: "profile", align: "left" },
  { header: "without", align: "left" },
  { header: "expected", align: "left" },
  { header: "verdict", align: "left" },
  { header: "states", align: "right" },
  { header: "ends", align: "right" },
  { header: "time", align: "right" },
] as const;

function claimsText(asked: readonly Asked[], results: readonly JobResult[], screen: Screen): string {
  const cells = results.map((result) => {
    const { job, verdict } = result;
    const { profile, without } = job.options;
    return [
      job.scenario,
      profile,
      without.join(", ") || "-",
      job.expected,
      // The column before says what was expected.
      verdictInWords(result).replace(/,.*/, ""),
      verdict === null ? null : formatCount(verdict.states),
      verdict === null ? null : formatCount(verdict.ends),
      verdict === null ? null : formatDurationNs(verdict.milliseconds * 1e6),
    ];
  });
  const [head, rule, ...rows] = renderTable(COLUMNS, cells, { indent: 2 }).split("\n");
  const out = [head!, rule!];
  asked.forEach(({ claim }, i) => {
    if (asked[i - 1]?.claim !== claim)
      out.push("", paragraph(`${claim.id}: ${claim.says} (${claim.who})`, screen, "    "));
    out.push(rows[i]!);
  });
  out.push("", "What the rows show", "");
  asked.forEach(({ claim, row }, i) => {
    const { verdict } = results[i]!;
    const first = verdict?.violations[0];
    const what = `${claim.id}, ${row.scenario.name}, ${row.profile}, ${rulesInWords(row.without)}: ${row.shows}.`;
    out.push(paragraph(what, screen, "  "));
    if (first) {
      out.push(paragraph(`  ${first.name}: ${first.says}.`, screen, "    "));
      out.push(`  repeat  ${first.trace.repeat}`);
    }
  });
  out.push(...counterexamples(asked, results, screen));
  return out.join("\n");
}

/** The first refuted row of each claim; with --verbose every one. */
function counterexamples(asked: readonly Asked[], results: readonly JobResult[], screen: Screen): string[] {
  const shown = new Set<string>();
  return results.flatMap(({ verdict }, i) => {
    const { id } = asked[i]!.claim;
    const first = verdict?.violations[0];
    if (!first || (shown.has(id) && !screen.verbose)) return [];
    shown.add(id);
    return ["", `Counterexample for ${id}`, "", counterexampleText(first, screen)];
  });
}

function closing(results: readonly JobResult[], milliseconds: number): string {
  const as = results.filter(({ job, verdict }) => verdict?.verdict === job.expected).length;
  const lines = [
    "",
    ...remarks(results),
    `${as} of ${results.length} verdicts are as expected; ${formatDurationNs(milliseconds * 1e6)}.`,
    "Each is about the actors and pages of its scenario, every order of their accesses, and sequential consistency;",
    "docs/explorer.md says what that covers. `guestmmu explore SCENARIO --without RULES` prints the bounds of one.",
  ];
  return lines.join("\n");
}
