/**
 * Which local states behave alike. Asyncify saves more than is used again, and an actor's own memory remembers what it
 * will never look at: states that differ in nothing else have the same future. Found by partition refinement: all of one
 * colour first, then apart wherever a step is known to differ, until nothing changes. What is not known of a state counts
 * as agreeing: the search asks, and comes back here if it does not.
 */

/** A known step: from a state, where `key` was found, it does `does` and leads to `next`. */
export interface KnownStep {
  readonly from: number;
  readonly key: string;
  readonly does: string;
  readonly next: number;
}

/**
 * Colour of each state: equal for those that behave alike as far as is known.
 * @param initial text of each state that has to be equal for two to be alike
 */
export function equalStates(initial: readonly string[], steps: readonly KnownStep[]): Int32Array {
  const colour = new Int32Array(initial.length);
  let count = numberTexts(initial, colour);
  const stepsOf: KnownStep[][] = initial.map(() => []);
  for (const step of steps) stepsOf[step.from]!.push(step);
  while (true) {
    const refined = refine(colour, stepsOf);
    if (refined === count) return colour;
    count = refined;
  }
}

function numberTexts(texts: readonly string[], into: Int32Array): number {
  const numbers = new Map<string, number>();
  texts.forEach((text, i) => {
    const number = numbers.get(text) ?? numbers.size;
    numbers.set(text, number);
    into[i] = number;
  });
  return numbers.size;
}

/** Splits each colour where members are known to differ. Returns the number of colours. */
function refine(colour: Int32Array, stepsOf: readonly (readonly KnownStep[])[]): number {
  // Groups of each old colour: what their members are known to do, by key.
  const groups = new Map<number, { number: number; does: Map<string, string> }[]>();
  const next = new Int32Array(colour.length);
  let count = 0;
  for (let l = 0; l < colour.length; l++) {
    const mine = stepsOf[l]!.map(({ key, does, next: to }) => [key, `${does} ${colour[to]}`] as const);
    const candidates = groups.get(colour[l]!) ?? [];
    let group = candidates.find(({ does }) => mine.every(([key, what]) => (does.get(key) ?? what) === what));
    if (!group) {
      group = { number: count++, does: new Map() };
      candidates.push(group);
      groups.set(colour[l]!, candidates);
    }
    for (const [key, what] of mine) group.does.set(key, what);
    next[l] = group.number;
  }
  colour.set(next);
  return count;
}
