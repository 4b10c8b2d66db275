/**
 * Is there a violation that needs few orderings to be met? Probabilistic concurrency testing (Burckhardt, Kothari,
 * Musuvathi, Nagarakatte 2010, "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs"): each actor has a
 * priority at random, the highest of those who can act does; at d - 1 steps chosen at random, the actor that is about to act
 * falls below all others. A bug of depth d (d ordering constraints) among n actors and k steps is met by one execution
 * with a probability of at least 1 / (n k^(d-1)).
 *
 * Where it differs: k is the length of the longest execution so far, since nobody can say it beforehand: the guarantee
 * holds from the first execution of that length on. A step is an access to a shared word, not every instruction, so that k
 * is small. Steps inside hardware follow each other whatever the priorities. An actor that has acted k times in a row
 * beyond a thousand is taken to spin, and falls below all others, as the paper's section 3 does for a yield.
 */

import { type Random } from "../walk.js";
import { type Sampler } from "./executions.js";

/** Steps in a row after which an actor counts as one that spins. */
const SPINS = 1000;
/** Length that the first execution is taken to have. */
const FIRST_LENGTH = 64;

export class PctSampler implements Sampler {
  readonly #random: Random;
  readonly #depth: number;
  readonly #priorities: Int32Array;
  /** Steps at which somebody falls, ascending. */
  readonly #points: number[] = [];
  #next = 0;
  #lowest = 0;
  #longest = 0;
  #last = -1;
  #row = 0;

  /** @param depth d: orderings that a bug may need */
  constructor(random: Random, actors: number, depth: number) {
    this.#random = random;
    this.#depth = depth;
    this.#priorities = new Int32Array(actors);
  }

  begin(longest: number): void {
    const n = this.#priorities.length;
    this.#longest = longest === 0 ? FIRST_LENGTH : longest;
    for (let a = 0; a < n; a++) this.#priorities[a] = a + 1;
    for (let a = n - 1; a > 0; a--) {
      const b = this.#random.below(a + 1);
      const swapped = this.#priorities[a]!;
      this.#priorities[a] = this.#priorities[b]!;
      this.#priorities[b] = swapped;
    }
    this.#points.length = 0;
    for (let i = 1; i < this.#depth; i++) this.#points.push(this.#random.below(this.#longest));
    this.#points.sort((x, y) => x - y);
    this.#next = 0;
    this.#lowest = 0;
    this.#last = -1;
    this.#row = 0;
  }

  pick(able: number, step: number): number {
    let a = this.#highest(able);
    while (this.#next < this.#points.length && this.#points[this.#next]! <= step) {
      this.#next++;
      this.#priorities[a] = --this.#lowest;
      a = this.#highest(able);
    }
    if (a !== this.#last) this.#row = 0;
    else if (++this.#row > SPINS && this.#row > this.#longest) {
      this.#priorities[a] = --this.#lowest;
      a = this.#highest(able);
      this.#row = 0;
    }
    this.#last = a;
    return a;
  }

  #highest(able: number): number {
    let best = -1;
    for (let rest = able; rest !== 0; rest &= rest - 1) {
      const a = 31 - Math.clz32(rest & -rest);
      if (best < 0 || this.#priorities[a]! > this.#priorities[best]!) best = a;
    }
    return best;
  }
}
