/**
 * Which violations does plain chance meet? Each step is a uniform choice among those who can act: the measure that the other
 * strategies are compared with (Thomson, Donaldson, Betts 2016, "Concurrency Testing Using Controlled Schedulers", section
 * 3: for many bugs it does as well as anything). A violation that takes one actor to rest for k steps of another is met with
 * a probability of about 2^-k: long windows are what it is bad at.
 *
 * Where it differs: a step is an access to a word that is shared, or a stretch of hardware, not an instruction.
 */

import { type Random } from "../walk.js";
import { type Sampler } from "./executions.js";

/** Bits set in a small number. */
export function countOf(set: number): number {
  let n = 0;
  for (let rest = set; rest !== 0; rest &= rest - 1) n++;
  return n;
}

export class RandomSampler implements Sampler {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  begin(): void {
    // Every execution is like the others.
  }

  pick(able: number): number {
    let rest = able;
    const count = countOf(able);
    // Drop the lowest bit so many times that a uniform one is the lowest.
    for (let skip = count === 1 ? 0 : this.#random.below(count); skip > 0; skip--) rest &= rest - 1;
    return 31 - Math.clz32(rest & -rest);
  }
}
