/** How an execution in which nobody can act any more is judged: the same for every strategy. */

import { type Automata } from "./automata.js";
import { type FinalCheck, type Violation } from "./result.js";
import { deadlockIn } from "./search.js";
import { TripleTable, mixHigh, mixLow } from "./tables.js";

/** An end: its outcome if every actor is done, and what is wrong with it. */
export interface Ending {
  readonly outcome: string | null;
  readonly wrong: Omit<Violation, "schedule"> | null;
}

/** Judges the end of an execution: deadlock, the checkers' last word, then the scenario's. */
export function endingOf(
  automata: Automata,
  state: Int32Array,
  final: FinalCheck,
  describe: (address: number) => string,
): Ending {
  const deadlock = deadlockIn(automata, state, describe);
  if (deadlock) return { outcome: null, wrong: { kind: "deadlock", ...deadlock } };
  const { ghosts } = automata;
  for (let k = 0; k < ghosts.count; k++) {
    const finding = ghosts.final(k, state[automata.ghostsAt + k]!);
    if (finding >= 0) return { outcome: null, wrong: { kind: "violation", ...ghosts.findings[finding]! } };
  }
  const { outcome, finding } = final(state);
  return { outcome, wrong: finding ? { kind: "violation", ...finding } : null };
}

/** Ends that were met before: their judgement takes the machine apart, which is slow. */
export class Ends {
  readonly #table = new TripleTable(12);
  readonly #endings: Ending[] = [];

  get size(): number {
    return this.#endings.length;
  }

  /** The ending of a state, and whether it is met for the first time. */
  of(state: Int32Array, judge: () => Ending): { ending: Ending; first: boolean } {
    let low = 0;
    let high = 0;
    for (let i = 0; i < state.length; i++) {
      low ^= mixLow(i, state[i]!);
      high ^= mixHigh(i, state[i]!);
    }
    const known = this.#table.find(low, high, 0);
    if (known >= 0) return { ending: this.#endings[known]!, first: false };
    const ending = judge();
    this.#table.add(low, high, 0);
    this.#endings.push(ending);
    return { ending, first: true };
  }
}
