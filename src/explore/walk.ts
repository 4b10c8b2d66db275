/** Executions at random: each step is a uniform choice among those who can act. */

import { Kind, type Automata } from "./automata.js";
import { Position, forcedActor } from "./search.js";

/** A small generator of 32-bit numbers (mulberry32): equal seeds, equal sequences. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** A number from 0 to n - 1. */
  below(n: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % n;
  }
}

/** Takes a transition without checkers. */
export function apply(automata: Automata, state: Int32Array, t: number): void {
  const index = automata.index.data;
  const after = automata.after.data;
  for (let i = automata.first.data[t]!, end = automata.first.data[t + 1]!; i < end; i++) {
    state[index[i]!] = after[i]!;
  }
}

/** Steps of one execution at random: one that goes round for ever must not keep the search waiting. */
const STEPS_MAX = 5_000;

/**
 * Runs executions, most of the time with the same actor, so that the automata learn what is shared early on. Each ends
 * where a checker objects: what a broken machine does after that is of no use, and may be endless.
 */
export function warmUp(automata: Automata, executions: number, seed: number): void {
  const random = new Random(seed);
  for (let i = 0; i < executions; i++) {
    // Long stretches at first, short ones later: 1 to 64 steps on average.
    execute(automata, random, 1 << (6 - (i % 7)));
  }
}

function execute(automata: Automata, random: Random, stay: number): void {
  const { start } = automata;
  const position = new Position(automata, start.state);
  const { state } = position;
  for (const list of start.events) if (list !== 0 && position.tell(list) >= 0) return;
  const n = automata.actors.length;
  let a = random.below(n);
  for (let steps = 0; steps < STEPS_MAX; steps++) {
    const only = forcedActor(automata, state);
    if (only >= 0) a = only;
    else if (random.below(stay) === 0 || !automata.enabled(state, a)) {
      const able = automata.actors.flatMap((_, b) => (automata.enabled(state, b) ? [b] : []));
      if (able.length === 0) return;
      a = able[random.below(able.length)]!;
    }
    const t = automata.transition(state, a, random.below(automata.ways(state, a)));
    if (position.take(t) >= 0 || automata.kind.data[state[a]!] === Kind.Trapped) return;
  }
}
