/** What several threads found in one search, as one result. */

import { GuestMmuError } from "../errors.js";
import { everyExecutionEnds } from "./acyclic.js";
import { type Automata } from "./automata.js";
import { Stop, limitOf, type Crew, type Report } from "./crew.js";
import { type SearchResult, type Violation } from "./result.js";

/** What the threads of a search did together. */
export interface Together extends SearchResult {
  /** Threads that took part. */
  readonly threads: number;
  /** Steps that the helpers ran in the core. */
  readonly helperRuns: number;
  /** Different local states that all have met. */
  readonly localStates: number;
  /** True if a step back to a state on the way to it would have been seen, or there can be none. */
  readonly cyclesSeen: boolean;
}

/**
 * Runs a search with whoever helps. Throws what `search` throws, `Reclassified` if the threads together have seen more shared
 * words than each of them, and the error of a helper.
 */
export function together(crew: Crew, automata: Automata, search: () => SearchResult): Together {
  let reports: readonly Report[];
  let own: SearchResult;
  try {
    own = search();
    reports = crew.collect();
    // Whatever was seen with a wrong idea of what is shared means nothing.
    for (const { cells, touched } of reports) automata.takeOver(cells, touched);
    for (const { error } of reports) if (error) throw GuestMmuError.fromJSON(error);
  } catch (error) {
    crew.dismiss();
    throw error;
  }
  const results = [
    own,
    ...reports.flatMap(({ result }) => (result ? [{ ...result, outcomes: new Map(result.outcomes) }] : [])),
  ];
  const sum = (of: (result: SearchResult) => number): number =>
    results.reduce((total, one) => total + of(one), 0);
  const outcomes = new Map<string, number>();
  for (const result of results) {
    for (const [outcome, finals] of result.outcomes)
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + finals);
  }
  const cycles = sum((one) => one.cycles);
  const states = sum((one) => one.states);
  const stopped = limitOf(crew.stopped);
  return {
    limit: stopped ?? (results.some(({ limit }) => limit === "depth") ? "depth" : null),
    violations: withoutTwins(results.flatMap(({ violations }) => violations)),
    outcomes,
    states,
    steps: sum((one) => one.steps),
    ends: sum((one) => one.ends),
    depth: Math.max(...results.map(({ depth }) => depth)),
    cycles,
    bytes: crew.table.bytes,
    threads: results.length,
    helperRuns: reports.reduce((total, { runs }) => total + runs, 0),
    localStates: new Set([
      ...automata.local.map((_, l) => automata.nameOfLocal(l)),
      ...reports.flatMap(({ locals }) => locals),
    ]).size,
    cyclesSeen:
      results.length === 1 ||
      cycles > 0 ||
      (crew.stopped === Stop.Done &&
        everyExecutionEnds([...automata.learnedSteps(), ...reports.flatMap(({ learned }) => learned)])),
  };
}

/** One of each finding. */
function withoutTwins(violations: readonly Violation[]): Violation[] {
  const seen = new Set<string>();
  return violations.filter(({ name, says }) => {
    const key = `${name}\n${says}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}
