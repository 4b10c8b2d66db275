/**
 * A proof that every execution ends, from the automata alone. Several threads that search together cannot see all cycles of
 * states: one that leads through states of two threads is on the path of neither. This looks for what such a cycle would
 * have to be made of. In a cycle each actor that moves goes round in its automaton, and each word that changes takes on its
 * old value again; a word that never changes has one value throughout. Steps that fit into no such cycle are struck out until
 * nothing changes any more: if none is left, there is no cycle. If some are left, nothing is known.
 */

/** A transition of an automaton; indices are those of a state. */
export interface LearnedStep {
  readonly actor: number;
  /** Names of local states (`Automata.nameOfLocal`). */
  readonly from: string;
  readonly next: string;
  /** Indices and the values that it finds there, in turns. Incomplete for bulk operations. */
  readonly finds: readonly number[];
  /** As `finds`, values that it does not find there. */
  readonly differs: readonly number[];
  /** Triples of index, old and new value. */
  readonly writes: readonly number[];
}

/** Prunings after which one gives up. */
const PRUNINGS_MAX = 20_000;

/** A step with numbers for names: of local states, and of words with a value. */
interface Numbered {
  readonly step: LearnedStep;
  readonly from: number;
  readonly next: number;
  /** What it changes: a word with its old value and with its new one, in turns. */
  readonly changes: readonly number[];
}

/** True if the steps cannot form a cycle of states. */
export function everyExecutionEnds(steps: readonly LearnedStep[]): boolean {
  let budget = PRUNINGS_MAX;
  const ends = (some: readonly Numbered[]): boolean => {
    if (--budget < 0) return false;
    const { left, loopOf } = prune(some);
    if (left.length === 0) return true;
    const constant = ambiguous(left);
    if (constant === null) {
      // An actor goes round in one of its loops, not in two.
      const loops = actorWithLoops(left, loopOf);
      return loops?.every((fitting) => ends(fitting)) ?? false;
    }
    const { index, values } = constant;
    // Whichever value the word has throughout the cycle, only steps that fit it remain; `null` is a value that none finds.
    return [...values, null].every((value) => ends(left.filter(({ step }) => fits(step, index, value))));
  };
  return ends(numbered(steps));
}

function numbered(steps: readonly LearnedStep[]): Numbered[] {
  const numbers = new Map<string, number>();
  const numberOf = (name: string): number => {
    const known = numbers.get(name) ?? numbers.size;
    numbers.set(name, known);
    return known;
  };
  const texts = new Set<string>();
  const found: Numbered[] = [];
  for (const step of steps) {
    const { from, next, finds, differs, writes } = step;
    // Several threads have learned the same.
    const text = [from, next, finds, differs, writes].join(";");
    if (texts.has(text)) continue;
    texts.add(text);
    const changes: number[] = [];
    for (let i = 0; i < writes.length; i += 3) {
      if (writes[i + 1] === writes[i + 2]) continue;
      changes.push(numberOf(`w ${writes[i]} ${writes[i + 1]}`), numberOf(`w ${writes[i]} ${writes[i + 2]}`));
    }
    found.push({ step, from: numberOf(from), next: numberOf(next), changes });
  }
  return found;
}

/** What is left of steps that could be part of cycles. */
function prune(steps: readonly Numbered[]): {
  readonly left: readonly Numbered[];
  /** The component of its automaton that a step is in. */
  readonly loopOf: (step: Numbered) => number;
} {
  let left = steps;
  while (true) {
    const before = left.length;
    const locals = new Cycles();
    for (const { from, next } of left) locals.add(from, next);
    left = left.filter(({ from, next }) => locals.has(from, next));
    const words = new Cycles();
    for (const { changes } of left)
      for (let i = 0; i < changes.length; i += 2) words.add(changes[i]!, changes[i + 1]!);
    left = left.filter(({ changes }) => {
      for (let i = 0; i < changes.length; i += 2) if (!words.has(changes[i]!, changes[i + 1]!)) return false;
      return true;
    });
    if (left.length === before) return { left, loopOf: ({ from }) => locals.componentOf(from) };
  }
}

/** For each loop of an actor that has several: the steps of it and of all other actors. Null if there is no such actor. */
function actorWithLoops(
  steps: readonly Numbered[],
  loopOf: (step: Numbered) => number,
): readonly (readonly Numbered[])[] | null {
  const loops = new Map<number, Set<number>>();
  for (const numbered of steps) {
    const { actor } = numbered.step;
    loops.set(actor, (loops.get(actor) ?? new Set()).add(loopOf(numbered)));
  }
  for (const [actor, several] of loops) {
    if (several.size === 1) continue;
    return [...several].map((loop) =>
      steps.filter((one) => one.step.actor !== actor || loopOf(one) === loop),
    );
  }
  return null;
}

/** A word that no step changes, of which not all steps can find the same value; null if there is none. Of several, that which
 * leaves the fewest steps in the worst case. */
function ambiguous(steps: readonly Numbered[]): { index: number; values: ReadonlySet<number> } | null {
  const changed = new Set<number>();
  for (const { step } of steps) {
    const { writes } = step;
    for (let i = 0; i < writes.length; i += 3) if (writes[i + 1] !== writes[i + 2]) changed.add(writes[i]!);
  }
  const values = new Map<number, Set<number>>();
  for (const { step } of steps) {
    for (const pairs of [step.finds, step.differs]) {
      for (let i = 0; i < pairs.length; i += 2) {
        const index = pairs[i]!;
        if (changed.has(index)) continue;
        const known = values.get(index);
        if (known) known.add(pairs[i + 1]!);
        else values.set(index, new Set([pairs[i + 1]!]));
      }
    }
  }
  let best: { index: number; values: ReadonlySet<number> } | null = null;
  let fewest = steps.length;
  for (const [index, some] of values) {
    const most = Math.max(
      ...[...some, null].map((value) => steps.filter(({ step }) => fits(step, index, value)).length),
    );
    if (most >= fewest) continue;
    fewest = most;
    best = { index, values: some };
  }
  return best;
}

/** True if the step can happen while the word at `index` has the value; null: a value that no step names. */
function fits({ finds, differs }: LearnedStep, index: number, value: number | null): boolean {
  for (let i = 0; i < finds.length; i += 2) if (finds[i] === index && finds[i + 1] !== value) return false;
  for (let i = 0; i < differs.length; i += 2)
    if (differs[i] === index && differs[i + 1] === value) return false;
  return true;
}

/** A graph, and which of its edges lie on a cycle: those within a strongly connected component (Tarjan 1972). */
class Cycles {
  readonly #numbers = new Map<number, number>();
  readonly #edges: number[][] = [];
  #components: readonly number[] | null = null;

  #number(name: number): number {
    let number = this.#numbers.get(name);
    if (number === undefined) {
      number = this.#edges.push([]) - 1;
      this.#numbers.set(name, number);
    }
    return number;
  }

  add(from: number, to: number): void {
    this.#edges[this.#number(from)]!.push(this.#number(to));
  }

  /** True if an edge that was added lies on a cycle. */
  has(from: number, to: number): boolean {
    return this.componentOf(from) === this.componentOf(to);
  }

  componentOf(node: number): number {
    this.#components ??= this.#search();
    return this.#components[this.#numbers.get(node)!]!;
  }

  /** The component of each node. */
  #search(): number[] {
    const edges = this.#edges;
    const order: number[] = edges.map(() => -1);
    const low: number[] = edges.map(() => -1);
    const component: number[] = edges.map(() => -1);
    const open: number[] = [];
    let count = 0;
    for (let root = 0; root < edges.length; root++) {
      if (order[root]! >= 0) continue;
      const path: { node: number; next: number }[] = [];
      const enter = (node: number): void => {
        order[node] = low[node] = count++;
        open.push(node);
        path.push({ node, next: 0 });
      };
      enter(root);
      while (path.length > 0) {
        const top = path.at(-1)!;
        const { node } = top;
        const to = edges[node]![top.next++];
        if (to === undefined) {
          path.pop();
          const parent = path.at(-1);
          if (parent) low[parent.node] = Math.min(low[parent.node]!, low[node]!);
          if (low[node] !== order[node]) continue;
          for (let member = open.pop()!; ; member = open.pop()!) {
            component[member] = node;
            if (member === node) break;
          }
        } else if (order[to]! < 0) enter(to);
        else if (component[to]! < 0) low[node] = Math.min(low[node]!, order[to]!);
      }
    }
    return component;
  }
}
