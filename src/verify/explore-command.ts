/** `guestmmu explore` behind its options: which scenarios, how, and what is printed of them. */

import { writeFile } from "node:fs/promises";
import { usageError } from "../errors.js";
import { type Counterexample } from "../explore/explore.js";
import { randomScenario } from "../explore/random-scenario.js";
import { type Scenario } from "../explore/scenario.js";
import { parseToken } from "../explore/token.js";
import { type Trace } from "../explore/trace.js";
import { perfettoTrace } from "../report/perfetto.js";
import { raceHtml } from "../report/race-html.js";
import { raceTable } from "../report/race-table.js";
import { renderTable } from "../report/table.js";
import { formatDurationNs } from "../report/units.js";
import { SCENARIOS } from "../scenarios/index.js";
import { everyRule, everyRuleJobs, everyRuleText, type RuleFinding } from "./every-rule.js";
import { document, repeatedJson, resultJson } from "./json.js";
import { type Job, type JobOptions, type JobResult, type Source } from "./jobs.js";
import {
  defaultProfile,
  expectationOf,
  parseCount,
  parseJobOptions,
  parseProfiles,
  profilesOf,
  type ExploreTexts,
} from "./options.js";
import { outcomeOf, requireExplored, unexpected, type ExploreOutcome } from "./outcome.js";
import { repeatToken, requireFresh } from "./replay.js";
import { runJobs } from "./run.js";
import { looksLikeFile, namedScenario, scenariosOf } from "./sources.js";
import { counterexampleText, remarks, screenOf, verdictTable, verdictText, type Screen } from "./text.js";

/** What the command line gives. */
export interface ExploreCommandOptions extends ExploreTexts {
  readonly list?: boolean;
  readonly everyRule?: boolean;
  readonly randomScenarios?: string;
  readonly replay?: string;
  readonly maxWorkers?: string;
  readonly verbose?: boolean;
  readonly html?: string;
  readonly trace?: string;
  readonly json?: boolean;
}

/** Seeds of random scenarios that can be asked for. */
const RANDOM_MAX = 1_000_000;
/** At most so many counterexamples are printed in full. */
const SHOWN_MAX = 10;

interface Found {
  readonly scenario: Scenario;
  readonly source: Source;
}

/**
 * Explores. Results go to standard output, progress to standard error if that is a terminal.
 *
 * @param names scenarios and files; none: all of the package
 * @throws GuestMmuError for names, options and files that cannot be used.
 */
export async function runExploreCommand(
  names: readonly string[],
  options: ExploreCommandOptions,
): Promise<ExploreOutcome> {
  const screen = screenOf(options.verbose ?? false);
  refuseTogether(options);
  if (options.list)
    return list(names.length === 0 ? SCENARIOS.map(packaged) : await allFound(names), options);
  if (options.replay !== undefined) return replay(names, options.replay, options, screen);
  if (options.everyRule) return runEveryRule(await allFound(names), names.length === 0, options, screen);
  const jobs = await jobsOf(names, options);
  const alone = jobs.length === 1;
  const { results, interrupted, milliseconds } = await runJobs(jobs, workers(options));
  if (alone) requireExplored(results);
  const shown = results.flatMap((result) =>
    alone || unexpected(result) ? (result.verdict?.violations ?? []) : [],
  );
  await writeFiles(shown, options);
  if (options.json)
    print(document("explore", { interrupted, milliseconds, verdicts: results.map(resultJson) }));
  else {
    print(
      alone || screen.verbose
        ? results.map((result) => verdictText(result, screen)).join("\n\n")
        : tableText(results, milliseconds),
    );
    printCounterexamples(shown, screen);
  }
  requireExplored(results);
  return outcomeOf(results, interrupted);
}

/** What a token says by itself, or what is not explored where one execution is repeated. */
const NOT_WITH_REPLAY: Readonly<Partial<Record<keyof ExploreCommandOptions, string>>> = {
  list: "--list",
  profile: "--profile",
  without: "--without",
  build: "--build",
  everyRule: "--every-rule",
  randomScenarios: "--random-scenarios",
  strategy: "--strategy",
  maxSwitches: "--max-switches",
  executions: "--executions",
  orderings: "--orderings",
  reduce: "--reduce",
  match: "--no-match",
  model: "--model",
  seed: "--seed",
  all: "--all",
  maxStates: "--max-states",
  maxDepth: "--max-depth",
  maxTime: "--max-time",
  maxWorkers: "--max-workers",
};

/** Throws `USAGE` for options of which one would be left unheeded beside the other. */
function refuseTogether(options: ExploreCommandOptions): void {
  if (options.replay !== undefined) {
    // An option that begins with "no" is true where it is not given.
    const absent = (key: string): boolean => {
      const value = options[key as keyof ExploreCommandOptions];
      return value === undefined || (key === "match" && value === true);
    };
    const given = Object.entries(NOT_WITH_REPLAY).flatMap(([key, option]) => (absent(key) ? [] : [option]));
    if (given.length > 0)
      throw usageError(
        `${given.join(", ")} cannot be used with --replay.`,
        "The token says what is run, and how: leave the rest out.",
      );
  }
  if (options.everyRule && options.randomScenarios !== undefined)
    throw usageError(
      "--every-rule and --random-scenarios cannot be used together.",
      "Scenarios made at random name no rule that they need: leave one of the two out.",
    );
}

function print(text: string): void {
  process.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
}

function workers({ maxWorkers }: ExploreCommandOptions): { maxWorkers?: number } {
  return maxWorkers === undefined ? {} : { maxWorkers: parseCount("--max-workers", maxWorkers, 1, 64) };
}

// Which scenarios.

/** Scenarios behind names and files; all of the package but the large ones if there are none. */
async function allFound(names: readonly string[]): Promise<Found[]> {
  if (names.length === 0) return SCENARIOS.filter(({ large }) => large !== true).map(packaged);
  const found: Found[] = [];
  for (const name of names) {
    if (!looksLikeFile(name)) found.push(packaged(namedScenario(name)));
    else {
      for (const scenario of await scenariosOf(name))
        found.push({ scenario, source: { kind: "file", path: name, name: scenario.name } });
    }
  }
  return found;
}

function packaged(scenario: Scenario): Found {
  return { scenario, source: { kind: "named", name: scenario.name } };
}

async function jobsOf(names: readonly string[], options: ExploreCommandOptions): Promise<Job[]> {
  const profiles = parseProfiles(options.profile);
  const common = parseJobOptions(options);
  if (options.randomScenarios !== undefined) return randomJobs(names, options, profiles, common);
  const found = await allFound(names);
  const everywhere = names.length === 0;
  const jobs = found.flatMap(({ scenario, source }) => {
    const sensible = profilesOf(scenario);
    const asked = profiles ?? (everywhere ? sensible : [defaultProfile(scenario)]);
    return asked
      .filter((profile) => {
        if (sensible.includes(profile)) return true;
        if (everywhere || profiles!.length > 1) return false;
        throw usageError(
          `Scenario ${scenario.name} makes no sense on ${profile}.`,
          `It is for ${sensible.join(", ")}.`,
        );
      })
      .map((profile) => jobOf(scenario, source, { ...common, profile }));
  });
  if (jobs.length === 0)
    throw usageError("No scenario makes sense on these profiles.", "See `guestmmu explore --list`.");
  return jobs;
}

function jobOf(scenario: Scenario, source: Source, options: JobOptions): Job {
  return { source, scenario: scenario.name, options, expected: expectationOf(scenario, options) };
}

function randomJobs(
  names: readonly string[],
  { randomScenarios, seed }: ExploreCommandOptions,
  profiles: ReturnType<typeof parseProfiles>,
  common: Omit<JobOptions, "profile">,
): Job[] {
  if (names.length > 0)
    throw usageError("--random-scenarios makes scenarios of its own.", "Leave the names out.");
  const count = parseCount("--random-scenarios", randomScenarios!, 1, RANDOM_MAX);
  const first = seed === undefined ? 1 : parseCount("--seed", seed, 0, 0xffff_ffff);
  return Array.from({ length: count }, (_, i) => (first + i) % 2 ** 32).flatMap((number) => {
    const scenario = randomScenario(number);
    const sensible = profilesOf(scenario);
    return (profiles ?? [defaultProfile(scenario)])
      .filter((profile) => sensible.includes(profile))
      .map((profile) => jobOf(scenario, { kind: "random", seed: number }, { ...common, profile }));
  });
}

// What is printed.

function tableText(results: readonly JobResult[], milliseconds: number): string {
  const wrong = results.filter((result) => result.job.expected !== null && unexpected(result)).length;
  // Nobody says what comes out without a rule: a violation is what was looked for.
  const found = results.filter((result) => result.job.expected === null && unexpected(result)).length;
  const asThatKernel = results.filter(
    ({ job, verdict }) => job.expected === "violated" && verdict?.verdict === "violated",
  ).length;
  const open = results.filter(({ verdict }) => verdict === null || verdict.verdict === "inconclusive").length;
  const lines = [
    `${results.length} verdicts in ${formatDurationNs(milliseconds * 1e6)}: ${wrong} other than expected, ${open} inconclusive.`,
  ];
  if (found > 0) lines.push(`${found} violated with rules left out.`);
  if (asThatKernel > 0) lines.push(`${asThatKernel} violated, as that kernel was.`);
  lines.push(
    "Each is about the actors and pages of its scenario and no others, and about its memory model. --verbose prints the",
    "bounds of each verdict, docs/explorer.md says what they mean.",
  );
  return [verdictTable(results), "", ...remarks(results), ...lines].join("\n");
}

function printCounterexamples(all: readonly Counterexample[], screen: Screen): void {
  for (const one of all.slice(0, SHOWN_MAX)) print(`\n${counterexampleText(one, screen)}`);
  const more = all.slice(SHOWN_MAX);
  if (more.length > 0)
    print(`\n${more.length} more:\n${more.map(({ trace }) => `repeat    ${trace.repeat}`).join("\n")}`);
}

async function writeFiles(shown: readonly Counterexample[], options: ExploreCommandOptions): Promise<void> {
  if (options.html === undefined && options.trace === undefined) return;
  const first = shown[0];
  if (first === undefined) {
    process.stderr.write("guestmmu: there is no counterexample to write to a file.\n");
    return;
  }
  if (shown.length > 1)
    process.stderr.write(`guestmmu: the first of ${shown.length} counterexamples is written.\n`);
  await writeTrace(first.trace, options);
}

async function writeTrace(
  trace: Trace,
  { html, trace: json, verbose }: ExploreCommandOptions,
): Promise<void> {
  if (html !== undefined) await write("--html", html, raceHtml(trace, { verbose: verbose ?? false }));
  if (json !== undefined) await write("--trace", json, JSON.stringify(perfettoTrace(trace)));
}

async function write(option: string, path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text);
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw usageError(
      `${path} cannot be written (${why}).`,
      `Give ${option} a file in a directory that is writable and has room.`,
      cause,
    );
  }
}

function list(found: readonly Found[], { json }: ExploreCommandOptions): ExploreOutcome {
  if (json) {
    const scenarios = found.map(({ scenario }) => {
      const { name, prose, holds, large = false, brokenOn = [], brokenWithout = [], decides = [] } = scenario;
      return { name, prose, holds, large, profiles: profilesOf(scenario), brokenOn, brokenWithout, decides };
    });
    print(document("list", { scenarios }));
  } else {
    const columns = [
      { header: "scenario" },
      { header: "decides" },
      { header: "what must hold", wrap: 58 },
      { header: "profiles", wrap: 24 },
    ];
    const rows = found.map(({ scenario }) => [
      scenario.large ? `${scenario.name} (by name only)` : scenario.name,
      (scenario.decides ?? []).join(", "),
      scenario.holds,
      profilesOf(scenario)
        .map((profile) => (scenario.brokenOn?.includes(profile) ? `${profile} (broken)` : profile))
        .join(", "),
    ]);
    print(renderTable(columns, rows));
  }
  return "held";
}

// Other things to do.

async function replay(
  names: readonly string[],
  text: string,
  options: ExploreCommandOptions,
  screen: Screen,
): Promise<ExploreOutcome> {
  const token = parseToken(text);
  requireFresh(token);
  const name = names.find((one) => !looksLikeFile(one));
  if (name !== undefined)
    throw usageError(
      `${name} cannot be given with --replay: the token names its scenario, ${token.scenario}.`,
      "Leave the name out. Give a file if the scenario is in one.",
    );
  const random = /^random-(\d+)$/.exec(token.scenario);
  const found = (await Promise.all(names.map(scenariosOf))).flat();
  const own = found.find((one) => one.name === token.scenario);
  if (names.length > 0 && !own)
    throw usageError(
      `${names.join(", ")} exports no scenario ${token.scenario}, which the token is of.`,
      "Give the file that the token came from.",
    );
  if (!own && !random && !SCENARIOS.some((one) => one.name === token.scenario))
    throw usageError(
      `The token is of a scenario ${token.scenario}, which the package has not.`,
      "Give the file that the scenario is in, before --replay.",
    );
  const scenario = own ?? (random ? randomScenario(Number(random[1])) : namedScenario(token.scenario));
  const files = names.map((file) => `${file} `);
  const repeated = repeatToken(scenario, token, `guestmmu explore ${files.join("")}--replay ${text}`);
  await writeTrace(repeated.trace, options);
  if (options.json) print(document("replay", repeatedJson(repeated)));
  else print(raceTable(repeated.trace, screen));
  return repeated.trace.end.kind === "done" ? "held" : "violation";
}

async function runEveryRule(
  found: readonly Found[],
  whole: boolean,
  options: ExploreCommandOptions,
  screen: Screen,
): Promise<ExploreOutcome> {
  if (options.without !== undefined)
    throw usageError("--every-rule leaves rules out by itself.", "Leave --without out.");
  const common = parseJobOptions(options);
  if (common.build === "release")
    throw usageError("The release module has its rules built in.", "--every-rule is for the lab build.");
  const jobs = everyRuleJobs(found, parseProfiles(options.profile), common);
  const { results, interrupted, milliseconds } = await runJobs(jobs, workers(options));
  const findings: readonly RuleFinding[] = everyRule(results);
  if (options.json) {
    print(
      document("every-rule", {
        interrupted,
        milliseconds,
        rules: findings,
        verdicts: results.map(resultJson),
      }),
    );
  } else print(everyRuleText(findings, results, milliseconds, whole));
  if (screen.verbose && !options.json)
    printCounterexamples(
      results.flatMap(({ verdict }) => verdict?.violations ?? []),
      screen,
    );
  requireExplored(results);
  return outcomeOf(results, interrupted);
}
