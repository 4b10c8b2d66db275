/** The strategies: ways to choose which executions are looked at. */

import { type Automata } from "../automata.js";
import { type Crew } from "../crew.js";
import { livenessOf, findLivelock, type Liveness } from "../liveness.js";
import { DATA_RACE, type Races } from "../races.js";
import { reducedSearch } from "../reduce.js";
import {
  type Counts,
  type FinalCheck,
  type SearchLimits,
  type SearchResult,
  type Violation,
} from "../result.js";
import { Search } from "../search.js";
import { together } from "../together.js";
import { Random } from "../walk.js";
import { bounded, type BoundedOptions } from "./bounded.js";
import { runExecutions } from "./executions.js";
import { PctSampler } from "./pct.js";
import { RandomSampler } from "./random.js";

/** `exhaustive`: all of them. `bounded`: those with few switches. `pct`, `random`: some. */
export const STRATEGIES = ["exhaustive", "bounded", "pct", "random"] as const;
export type Strategy = (typeof STRATEGIES)[number];

/** How executions are chosen. */
export interface StrategyOptions {
  readonly strategy: Strategy;
  /** Of `bounded`: most changes of the running actor. */
  readonly maxSwitches: number;
  /** Of `pct` and `random`. */
  readonly executions: number;
  /** Of `pct`: orderings that a bug may need. */
  readonly depth: number;
  /** Of `exhaustive`: leave out orders of steps that commute. */
  readonly reduce: boolean;
  /** Of `exhaustive`: go on from each state once. */
  readonly match: boolean;
  readonly seed: number;
}

/** What a strategy works on. */
export interface StrategyContext {
  readonly limits: SearchLimits;
  readonly stopAtFirst: boolean;
  readonly final: FinalCheck;
  readonly describe: (address: number) => string;
  /** True for sites that only read. */
  readonly isLoad: (site: number) => boolean;
  /** Null: races are not looked for. */
  readonly races: Races | null;
  /** With whom strategy "exhaustive" searches. The others are for one thread. */
  readonly crew: Crew;
  readonly progress: (counts: Counts) => boolean;
}

/** What a strategy came to. */
export interface StrategyResult extends SearchResult {
  /** Changes of the running actor up to which everything was seen; null if that is not how it was looked. */
  readonly bound: number | null;
  readonly liveness: Liveness;
  /** True if every state that was met was looked at for data races. */
  readonly racesChecked: boolean;
  /** Threads that took part, steps that helpers ran in the core, and local states that all have met. Default: one thread. */
  readonly threads?: number;
  readonly helperRuns?: number;
  readonly localStates?: number;
}

const UNKNOWN = livenessOf("unknown", 0);

/** Explores by a strategy. Throws `Reclassified` as `Search.run` does. */
export function searchBy(
  options: StrategyOptions,
  automata: Automata,
  context: StrategyContext,
): StrategyResult {
  const { strategy, maxSwitches, executions, depth, reduce, match, seed } = options;
  const { races, crew, ...rest } = context;
  races?.forget();
  switch (strategy) {
    case "bounded": {
      const found = boundedWithRaces(automata, { ...rest, maxSwitches }, races);
      return { ...found, liveness: UNKNOWN, racesChecked: races !== null };
    }
    case "pct":
    case "random": {
      const random = new Random(seed);
      const sampler =
        strategy === "pct"
          ? new PctSampler(random, automata.actors.length, depth)
          : new RandomSampler(random);
      const found = runExecutions(automata, sampler, { ...rest, executions, random });
      return { ...found, bound: null, liveness: UNKNOWN, racesChecked: false };
    }
    default: {
      const found = reduce
        ? { ...reducedSearch(automata, rest), cyclesSeen: true }
        : together(crew, automata, () =>
            new Search(automata, { ...rest, match, crew, inspect: races?.inspect }, rest.describe).run(
              automata.start,
            ),
          );
      const result = { ...found, violations: mostTelling(found.violations, rest.stopAtFirst) };
      return {
        ...withLiveness(result, automata, context, reduce),
        bound: null,
        racesChecked: !reduce && !!races,
      };
    }
  }
}

/**
 * A race says that something may go wrong; another violation, that it does. Of the one that is asked for, the latter; of
 * races, always the same, in whichever order they were met.
 */
function mostTelling(violations: readonly Violation[], one: boolean): readonly Violation[] {
  if (!one) return violations;
  const harm = violations.find(({ name }) => name !== DATA_RACE);
  return harm ? [harm] : [...violations].sort((a, b) => (a.says < b.says ? -1 : 1)).slice(0, 1);
}

/** As `bounded`, with the race that takes the fewest switches, unless there is something more telling. */
function boundedWithRaces(automata: Automata, options: BoundedOptions, races: Races | null) {
  let says = "";
  const look = (state: Int32Array): null => {
    if (says === "") says = races?.inspect(state)?.says ?? "";
    return null;
  };
  const found = bounded(automata, { ...options, goal: look });
  if (!races || says === "" || (options.stopAtFirst && found.violations.length > 0)) return found;
  const goal = (state: Int32Array) => asViolation(races.find(state, says));
  const again = bounded(automata, { ...options, stopAtFirst: true, goal });
  return {
    ...found,
    violations: [...found.violations, ...again.violations.filter((v) => v.name === DATA_RACE)],
  };
}

function asViolation(finding: ReturnType<Races["find"]>) {
  return finding && ({ kind: "violation", ...finding } as const);
}

/** Adds what is known of executions without an end; a livelock is a violation like others. */
function withLiveness<R extends SearchResult & { readonly cyclesSeen: boolean }>(
  result: R,
  automata: Automata,
  { limits, stopAtFirst }: StrategyContext,
  reduced: boolean,
): R & { readonly liveness: Liveness } {
  const cut = result.limit !== null || (stopAtFirst && result.violations.length > 0);
  // No cycle in a reduced search, no cycle at all: an execution for ever could be followed from its ends. The other way
  // round, a component of it need not have all the steps that make it fair.
  if (cut || (reduced && result.cycles > 0)) return { ...result, liveness: UNKNOWN };
  if (result.cycles === 0 && result.cyclesSeen) return { ...result, liveness: livenessOf("ends", 0) };
  const { liveness, violation } = findLivelock(automata, limits);
  const violations: readonly Violation[] = violation ? [...result.violations, violation] : result.violations;
  return { ...result, violations, liveness };
}
