/** `guestmmu claims`: decides the claims of the founding thread, and shows what refutes them. */

import { PROFILES, type ProfileName } from "../core/profiles.js";
import { type RuleName } from "../core/rules.js";
import { usageError } from "../errors.js";
import { renderTable } from "../report/table.js";
import { formatCount, formatDurationNs } from "../report/units.js";
import { CLAIMS, type Claim, type ClaimRow } from "../scenarios/claims.js";
import { document, resultJson } from "./json.js";
import { type Job } from "./jobs.js";
import { parseCount, parseProfiles, parseRules } from "./options.js";
import { outcomeOf, requireExplored, type ExploreOutcome } from "./outcome.js";
import { runJobs } from "./run.js";
import { otherwise, overlapsOf, standings, type ClaimStanding, type Decided } from "./standings.js";
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
  const decided = results.map((result, i): Decided => ({ ...asked[i]!, result }));
  const found = standings(decided);
  if (options.json) {
    const rows = decided.map(({ claim, row, result }) => ({
      claim: claim.id,
      part: row.part ?? null,
      shows: row.shows,
      refutes: row.refutes ?? false,
      overlaps: row.overlaps === undefined ? null : { expected: row.overlaps, missed: overlapsOf(result) },
      as_expected: !otherwise({ claim, row, result }),
      ...resultJson(result),
    }));
    const claims = CLAIMS.map(({ id, says, who }) => ({ id, says, who }));
    process.stdout.write(
      document("claims", { interrupted, milliseconds, claims, standings: found, verdicts: rows }),
    );
  } else {
    process.stdout.write(`${claimsText(decided, found, screen)}\n${closing(decided, milliseconds)}\n`);
  }
  requireExplored(results);
  return decided.some(otherwise) ? "violation" : outcomeOf(results, interrupted);
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
      ...(row.overlaps === undefined ? {} : { all: true }),
    },
  };
}

const COLUMNS = [
  { header: "scenario", align: "left" },
  { header: "profile", align: "left" },
  { header: "without", align: "left" },
  { header: "expected", align: "left" },
  { header: "verdict", align: "left" },
  { header: "overlaps", align: "left" },
  { header: "states", align: "right" },
  { header: "ends", align: "right" },
  { header: "core steps", align: "right" },
  { header: "time", align: "right" },
] as const;

function claimsText(decided: readonly Decided[], found: readonly ClaimStanding[], screen: Screen): string {
  const cells = decided.map((one) => {
    const { job, verdict } = one.result;
    const { profile, without } = job.options;
    return [
      job.scenario,
      profile,
      without.join(", ") || "-",
      job.expected,
      // The column before says what was expected.
      verdictInWords(one.result).replace(/,.*/, ""),
      overlapsInWords(one),
      verdict === null ? null : formatCount(verdict.states),
      verdict === null ? null : formatCount(verdict.ends),
      verdict === null ? null : formatCount(verdict.runs),
      verdict === null ? null : formatDurationNs(verdict.milliseconds * 1e6),
    ];
  });
  const [head, rule, ...rows] = renderTable(COLUMNS, cells, { indent: 2 }).split("\n");
  const out = [head!, rule!];
  decided.forEach(({ claim }, i) => {
    if (decided[i - 1]?.claim !== claim)
      out.push("", paragraph(`${claim.id}: ${claim.says} (${claim.who})`, screen, "    "));
    out.push(rows[i]!);
  });
  out.push(...standingLines(found, screen));
  out.push("", "What the rows show", "");
  for (const { claim, row, result } of decided) {
    const first = result.verdict?.violations[0];
    const what = `${claim.id}, ${row.scenario.name}, ${row.profile}, ${rulesInWords(row.without)}: ${row.shows}.`;
    out.push(paragraph(what, screen, "  "));
    if (first) {
      out.push(paragraph(`  ${first.name}: ${first.says}.`, screen, "    "));
      out.push(`  repeat  ${first.trace.repeat}`);
    }
  }
  out.push(...counterexamples(decided, screen));
  return out.join("\n");
}

/** The rows of the retry matrix that are missed, and those that were foreseen if they are others. */
function overlapsInWords({ row, result }: Decided): string {
  if (row.overlaps === undefined) return "";
  const words = (rows: readonly number[]): string => (rows.length === 0 ? "none" : rows.join(", "));
  const missed = overlapsOf(result);
  if (missed === null) return "-";
  const foreseen = words(row.overlaps);
  return words(missed) === foreseen ? foreseen : `${words(missed)}; not ${foreseen}`;
}

/** Each claim on each kernel. */
function standingLines(found: readonly ClaimStanding[], screen: Screen): string[] {
  if (found.length === 0) return [];
  const profiles = (Object.keys(PROFILES) as ProfileName[]).filter((profile) =>
    found.some((one) => one.profile === profile),
  );
  const named = ({ claim, part }: ClaimStanding): string => (part === null ? claim : `${claim}, ${part}`);
  const names = [...new Set(found.map(named))];
  const cell = (name: string, profile: ProfileName): string =>
    found.find((one) => named(one) === name && one.profile === profile)?.standing ?? "-";
  const table = renderTable(
    [{ header: "claim" }, ...profiles.map((profile) => ({ header: profile }))],
    names.map((name) => [name, ...profiles.map((profile) => cell(name, profile))]),
    { indent: 2 },
  );
  const reasons = [
    ...new Set(
      found.flatMap(({ claim, why }) => (why === null ? [] : [`${claim} is not applicable: ${why}.`])),
    ),
  ];
  return [
    "",
    "What becomes of each claim, within the bounds of its rows",
    "",
    table,
    ...reasons.map((reason) => paragraph(`  ${reason}`, screen, "    ")),
  ];
}

/** The first refuted row of each claim; with --verbose every one. */
function counterexamples(decided: readonly Decided[], screen: Screen): string[] {
  const shown = new Set<string>();
  return decided.flatMap(({ claim: { id }, result }) => {
    const first = result.verdict?.violations[0];
    if (!first || (shown.has(id) && !screen.verbose)) return [];
    shown.add(id);
    return ["", `Counterexample for ${id}`, "", counterexampleText(first, screen)];
  });
}

function closing(decided: readonly Decided[], milliseconds: number): string {
  const results = decided.map(({ result }) => result);
  const as = decided.filter(
    (one) => one.result.verdict?.verdict === one.result.job.expected && !otherwise(one),
  ).length;
  const lines = [
    "",
    ...remarks(results),
    `${as} of ${results.length} verdicts are as expected; ${formatDurationNs(milliseconds * 1e6)}.`,
    "Overlaps: rows of the retry matrix (docs/protocol.md) that are missed. Ends: executions that came to an end, where",
    "states met before are not gone through again; core steps: those run in the core, all others being looked up.",
    "Each is about the actors and pages of its scenario, every order of their accesses, and sequential consistency;",
    "docs/explorer.md says what that covers. `guestmmu explore SCENARIO --without RULES` prints the bounds of one.",
  ];
  return lines.join("\n");
}
