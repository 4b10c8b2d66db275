/** Options of the command line as text, checked and turned into what a job needs. */

import { PROFILES, isProfileName, type ProfileName } from "../core/profiles.js";
import { RULES, isRuleName, type RuleName } from "../core/rules.js";
import { usageError } from "../errors.js";
import { BOUNDS } from "../explore/check-options.js";
import { type ExploredBuild } from "../explore/core.js";
import { MEMORY_MODELS, type MemoryModel } from "../explore/memory-model.js";
import { type Scenario } from "../explore/scenario.js";
import { STRATEGIES, type Strategy } from "../explore/strategies/index.js";
import { formatCount, parseDurationMs } from "../report/units.js";
import { nearest } from "../nearest.js";
import { type JobOptions } from "./jobs.js";

const PROFILE_NAMES = Object.keys(PROFILES) as ProfileName[];
const BUILDS: readonly ExploredBuild[] = ["lab", "release"];
const DEFAULT_PROFILE: ProfileName = "v6.13";

/** Options that `explore` shares with others. */
export interface ExploreTexts {
  readonly profile?: string;
  readonly without?: string;
  readonly build?: string;
  readonly strategy?: string;
  readonly model?: string;
  readonly maxStates?: string;
  readonly maxDepth?: string;
  readonly maxTime?: string;
  readonly maxSwitches?: string;
  readonly executions?: string;
  readonly orderings?: string;
  readonly reduce?: boolean;
  readonly match?: boolean;
  readonly seed?: string;
  readonly all?: boolean;
}

/** A list of profiles; "all" for every one; undefined if nothing was said. */
export function parseProfiles(text: string | undefined): readonly ProfileName[] | undefined {
  if (text === undefined) return undefined;
  if (text === "all") return PROFILE_NAMES;
  return listOf(text).map((name) => {
    if (isProfileName(name)) return name;
    throw usageError(
      `--profile: there is no profile ${JSON.stringify(name)}.`,
      `Use ${PROFILE_NAMES.join(", ")}, or all.`,
    );
  });
}

/** A list of rules, by name or number. */
export function parseRules(text: string | undefined): readonly RuleName[] {
  if (text === undefined) return [];
  return listOf(text).map((item) => {
    const row = RULES.find(({ number }) => String(number) === item);
    if (row) return row.name;
    if (isRuleName(item)) return item;
    const near = nearest(
      item,
      RULES.map(({ name }) => name),
    );
    throw usageError(
      `--without: there is no rule ${JSON.stringify(item)}.`,
      near ? `Did you mean ${near}? \`guestmmu rules\` lists them.` : "`guestmmu rules` lists them.",
    );
  });
}

function listOf(text: string): string[] {
  return [...new Set(text.split(",").map((item) => item.trim()))];
}

/** One whole number. */
export function parseCount(option: string, text: string, min: number, max: number): number {
  const value = /^\d+$/.test(text.trim()) ? Number(text) : NaN;
  if (value >= min && value <= max) return value;
  throw usageError(
    `${option}: cannot use "${text}".`,
    `${option} takes one whole number from ${formatCount(min)} to ${formatCount(max)}.`,
  );
}

function oneOf<T extends string>(option: string, text: string, names: readonly T[]): T {
  const found = names.find((name) => name === text);
  if (found !== undefined) return found;
  throw usageError(`${option}: cannot use ${JSON.stringify(text)}.`, `${option} takes ${names.join(", ")}.`);
}

/** What all jobs of a command have in common. */
export function parseJobOptions(texts: ExploreTexts): Omit<JobOptions, "profile"> {
  const count = (
    option: string,
    text: string | undefined,
    [min, max]: readonly [number, number],
  ): number | undefined => (text === undefined ? undefined : parseCount(option, text, min, max));
  const build = oneOf("--build", texts.build ?? "lab", BUILDS);
  const without = parseRules(texts.without);
  if (build === "release" && without.length > 0) {
    throw usageError("The release module has its rules built in.", "Leave rules out with --build lab.");
  }
  const maxSwitches = count("--max-switches", texts.maxSwitches, BOUNDS.maxSwitches);
  const strategy: Strategy = oneOf(
    "--strategy",
    texts.strategy ?? (maxSwitches === undefined ? "exhaustive" : "bounded"),
    STRATEGIES,
  );
  if (maxSwitches !== undefined && strategy !== "bounded") {
    throw usageError(
      `--max-switches bounds the strategy bounded, not ${strategy}.`,
      "Leave one of the two out.",
    );
  }
  const executions = count("--executions", texts.executions, BOUNDS.executions);
  if (executions !== undefined && strategy !== "pct" && strategy !== "random") {
    throw usageError(`--executions does not go with strategy ${strategy}.`, "It is for pct and random.");
  }
  const depth = count("--orderings", texts.orderings, BOUNDS.depth);
  if (depth !== undefined && strategy !== "pct") {
    throw usageError(`--orderings does not go with strategy ${strategy}.`, "It is for pct.");
  }
  const model: MemoryModel | undefined =
    texts.model === undefined ? undefined : oneOf("--model", texts.model, MEMORY_MODELS);
  return defined({
    without,
    build,
    strategy,
    maxSwitches,
    executions,
    depth,
    reduce: texts.reduce,
    match: texts.match === false ? false : undefined,
    model,
    all: texts.all,
    seed: count("--seed", texts.seed, BOUNDS.seed),
    maxStates: count("--max-states", texts.maxStates, BOUNDS.maxStates),
    maxDepth: count("--max-depth", texts.maxDepth, BOUNDS.maxDepth),
    maxTime:
      texts.maxTime === undefined
        ? undefined
        : parseDurationMs("--max-time", texts.maxTime, {
            min: BOUNDS.maxTime[0],
            max: BOUNDS.maxTime[1],
          }),
  });
}

type Defined<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** Leaves out what is undefined, so that a default downstream counts. */
function defined<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as Defined<T>;
}

/** Profiles that a scenario makes sense on. */
export function profilesOf({ profiles }: Scenario): readonly ProfileName[] {
  return profiles ?? PROFILE_NAMES;
}

/** The profile for a scenario that was asked for by name, where no profile was. */
export function defaultProfile(scenario: Scenario): ProfileName {
  const profiles = profilesOf(scenario);
  return profiles.includes(DEFAULT_PROFILE) ? DEFAULT_PROFILE : profiles.at(-1)!;
}

/**
 * What must come out: null with rules left out, which nobody vouches for. What a kernel got wrong with all of its rules
 * stays wrong without some of them.
 */
export function expectationOf(
  scenario: Scenario,
  { profile, without }: Pick<JobOptions, "profile" | "without">,
): "holds" | "violated" | null {
  if (scenario.brokenOn?.includes(profile)) return "violated";
  return without.length > 0 ? null : "holds";
}

/** A rule without which a scenario is known to fail, and where. */
export interface BrokenWithout {
  readonly rule: RuleName;
  readonly profiles: readonly ProfileName[];
}

/** The entries of `brokenWithout`, which are names or carry profiles of their own. */
export function brokenWithout(scenario: Scenario): readonly BrokenWithout[] {
  return (scenario.brokenWithout ?? []).map((entry) => {
    const { rule, profiles } = typeof entry === "string" ? { rule: entry, profiles: undefined } : entry;
    const places = RULES.find(({ name }) => name === rule)?.profiles ?? [];
    const broken = scenario.brokenOn ?? [];
    return {
      rule,
      profiles: (profiles ?? places).filter(
        (profile) => profilesOf(scenario).includes(profile) && !broken.includes(profile),
      ),
    };
  });
}
