/**
 * Is there a violation with few changes of the running actor? Everything with none is looked at, then everything with one,
 * and so on: most concurrency bugs need very few (Musuvathi, Qadeer 2007, "Iterative Context Bounding for Systematic Testing
 * of Multithreaded Programs"). What is found first takes the fewest; no finding says nothing of what takes more, unless more would lead nowhere.
 *
 * Where it differs: every change counts, not only preemptions, so that the number is the one that a counterexample prints;
 * n actors one after the other take n - 1. States are matched within a bound (Coons, Musuvathi, McKinley 2013, "Bounded
 * Partial-Order Reduction", section 2, say why a state must be told apart by who ran last): breadth first, layer by layer.
 */

import { type Automata } from "../automata.js";
import { type FinalCheck, type SearchLimits, type SearchResult, type Violation } from "../result.js";
import { shortest, type ShortestOptions, type ShortestResult } from "../shortest.js";
import { TripleTable, mixHigh, mixLow } from "../tables.js";

export interface BoundedOptions {
  readonly limits: SearchLimits;
  readonly maxSwitches: number;
  readonly stopAtFirst: boolean;
  readonly final: FinalCheck;
  readonly describe: (address: number) => string;
  readonly goal?: ShortestOptions["goal"];
}

/** States kept as vectors: more would not fit. */
const MOST_NODES = 2_000_000;

/** Searches within a bound of switches; `bound` is null if that was everything there is. */
export function bounded(
  automata: Automata,
  options: BoundedOptions,
): SearchResult & { readonly bound: number | null } {
  const { limits, maxSwitches, stopAtFirst, describe, goal } = options;
  const outcomes = new Map<string, number>();
  const ends = new TripleTable();
  const violations: Violation[] = [];
  const except = new Set<string>();
  const counting: FinalCheck = (state) => {
    const judged = options.final(state);
    let low = 0;
    let high = 0;
    for (let i = 0; i < state.length; i++) {
      low ^= mixLow(i, state[i]!);
      high ^= mixHigh(i, state[i]!);
    }
    if (ends.find(low, high, 0) < 0) {
      ends.add(low, high, 0);
      outcomes.set(judged.outcome, (outcomes.get(judged.outcome) ?? 0) + 1);
    }
    return judged;
  };
  const maxNodes = Math.min(limits.maxStates, MOST_NODES);
  const deadline = performance.now() + limits.maxTime;
  let found: ShortestResult;
  do {
    found = shortest(automata, automata.start, {
      maxNodes,
      maxSwitches,
      maxTime: Math.max(0, deadline - performance.now()),
      final: counting,
      describe,
      name: "",
      except,
      ...(goal && { goal }),
    });
    if (!found.violation) break;
    violations.push(found.violation);
    except.add(found.violation.name);
  } while (!stopAtFirst);
  const early = performance.now() > deadline ? "time" : "states";
  const limit = !found.complete ? early : found.everything || found.violation ? null : "switches";
  return {
    limit,
    violations,
    outcomes,
    states: found.nodes,
    steps: found.steps,
    ends: ends.size,
    depth: found.deepest,
    cycles: 0,
    bytes: found.nodes * automata.width * 4,
    bound: found.everything ? null : found.complete ? maxSwitches : Math.max(0, found.switches - 1),
  };
}
