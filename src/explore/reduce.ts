/**
 * The exhaustive search without orders of steps that commute. Two reductions together:
 *
 *   Persistent sets: where the next steps of some actors touch nothing that the others ever touch, only those actors are
 *   tried; whatever the others do could as well come after. What an actor may still touch is read off the learned
 *   automaton (footprints.ts).
 *   Sleep sets: of two steps that commute, the second order is not tried. With states matched, a state remembers who was
 *   asleep when it was explored; met again with fewer asleep, those that are awake now are made up for.
 *
 * (Godefroid 1996, "Partial-Order Methods for the Verification of Concurrent Systems", chapters 4, 5 and 6.) A step back to a
 * state on the path has the state that it came from expanded fully: nobody is put off for ever on a cycle.
 *
 * The automata are learned as the search goes on, so that the sets may have been too small. The pass is repeated until it
 * learns nothing that makes them larger. It is right then: the first step that the sets did not know of would still have been met, as all before it
 * were known to commute, and each pass without it would have learned it.
 *
 * What survives: final states, outcomes, deadlocks, objections of checkers. Not every state is visited: what is looked for in
 * single states, such as data races, is not.
 */

import { Kind, type Automata } from "./automata.js";
import { endingOf } from "./ending.js";
import { Footprints } from "./footprints.js";
import { type Finding } from "./ghosts.js";
import {
  type Counts,
  type FinalCheck,
  type SearchLimits,
  type SearchResult,
  type Violation,
} from "./result.js";
import { Path, Position, forcedActor } from "./search.js";
import { countOf } from "./strategies/random.js";

export interface ReducedOptions {
  readonly limits: SearchLimits;
  readonly stopAtFirst: boolean;
  readonly final: FinalCheck;
  readonly describe: (address: number) => string;
  /** True for sites that only read. */
  readonly isLoad: (site: number) => boolean;
  /** Called now and then; returns true to stop. */
  readonly progress?: (counts: Counts) => boolean;
}

/** Explores with reductions. Throws `Reclassified` as `Search.run` does. */
export function reducedSearch(automata: Automata, options: ReducedOptions): SearchResult {
  const deadline = performance.now() + options.limits.maxTime;
  while (true) {
    const pass = new Reduced(automata, options, deadline);
    const result = pass.run();
    const over = result.limit !== null || (options.stopAtFirst && result.violations.length > 0);
    if (over || pass.isRight()) return result;
  }
}

/** Steps after which a pass is given larger sets for the first time, if it has learned more. Then at twice as many. */
const FIRST_LOOK = 1 << 12;
const PROGRESS_STEPS = 1 << 14;
/** In what is kept of a state beside who was asleep: it was expanded fully. */
const FULL = 1 << 16;
const NOBODY = -1;

/** A word for each state, beside its fingerprint: 16 bytes a slot, so that a look takes one line of the cache. */
class StateWords {
  #data = new Int32Array(4 << 12);
  #mask = (1 << 12) - 1;
  size = 0;

  get bytes(): number {
    return this.#data.byteLength;
  }

  /** Place of a state's word in `words`; the complement if it has been added now, with word 0. */
  place(low: number, high: number): number {
    const data = this.#data;
    let at = (low ^ Math.imul(high, 0x9e3779b1)) & this.#mask;
    while (data[at * 4 + 3] !== 0) {
      if (data[at * 4] === low && data[at * 4 + 1] === high) return at * 4 + 2;
      at = (at + 1) & this.#mask;
    }
    data[at * 4] = low;
    data[at * 4 + 1] = high;
    data[at * 4 + 3] = 1;
    if (++this.size * 2 > this.#mask) {
      this.#grow();
      return ~this.place(low, high);
    }
    return ~(at * 4 + 2);
  }

  /** Good until the next state is added. */
  get words(): Int32Array {
    return this.#data;
  }

  #grow(): void {
    const old = this.#data;
    const data = (this.#data = new Int32Array(old.length * 2));
    this.#mask = old.length / 2 - 1;
    for (let from = 0; from < old.length; from += 4) {
      if (old[from + 3] === 0) continue;
      let at = (old[from]! ^ Math.imul(old[from + 1]!, 0x9e3779b1)) & this.#mask;
      while (data[at * 4 + 3] !== 0) at = (at + 1) & this.#mask;
      for (let i = 0; i < 4; i++) data[at * 4 + i] = old[from + i]!;
    }
  }
}

class Reduced {
  readonly #automata: Automata;
  readonly #options: ReducedOptions;
  readonly #deadline: number;
  #footprints: Footprints;
  #wasRight = true;
  readonly #position: Position;
  /** Of each state: actors asleep, and FULL. */
  readonly #kept = new StateWords();
  readonly #path: Path;
  readonly #violations: Violation[] = [];
  readonly #outcomes = new Map<string, number>();
  // One row for each state on the path.
  /** Actors to try, those that can act, those asleep, the one that is being tried and its next way. */
  readonly #todo: Int32Array;
  readonly #able: Int32Array;
  readonly #sleep: Int32Array;
  readonly #mover: Int32Array;
  readonly #way: Int32Array;
  /** How the state after it was reached. */
  readonly #taken: Int32Array;
  readonly #mark: Int32Array;
  readonly #takenBy: Int32Array;
  readonly #takenWay: Int32Array;
  /** Transitions that were known when it was looked last. */
  #known: number;
  #look = FIRST_LOOK;
  #depth = 0;
  #deepest = 0;
  #steps = 0;
  #ends = 0;
  #cycles = 0;

  constructor(automata: Automata, options: ReducedOptions, deadline: number) {
    this.#automata = automata;
    this.#options = options;
    this.#deadline = deadline;
    this.#footprints = new Footprints(automata, options.isLoad);
    this.#known = automata.learned.length;
    this.#position = new Position(automata, automata.start.state);
    const most = options.limits.maxDepth + 2;
    this.#path = new Path(most);
    this.#todo = new Int32Array(most);
    this.#able = new Int32Array(most);
    this.#sleep = new Int32Array(most);
    this.#mover = new Int32Array(most);
    this.#way = new Int32Array(most);
    this.#taken = new Int32Array(most);
    this.#mark = new Int32Array(most);
    this.#takenBy = new Int32Array(most);
    this.#takenWay = new Int32Array(most);
  }

  run(): SearchResult {
    const automata = this.#automata;
    const { stopAtFirst, limits, progress } = this.#options;
    let limit: SearchResult["limit"] = null;
    for (const list of automata.start.events) {
      const finding = list === 0 ? -1 : this.#position.tell(list);
      if (finding >= 0) this.#found("violation", automata.ghosts.findings[finding]!, 0);
    }
    this.#enter(0);
    while (!(stopAtFirst && this.#violations.length > 0)) {
      if (!this.#advance()) {
        if (this.#depth === 0) break;
        this.#leave();
        continue;
      }
      if (this.#depth >= limits.maxDepth) {
        limit = "depth";
        this.#leave();
      }
      if (this.#kept.size >= limits.maxStates) limit = "states";
      if (this.#steps >= this.#look) this.#lookAgain();
      if (this.#steps % PROGRESS_STEPS === 0) {
        if (performance.now() > this.#deadline) limit = "time";
        else if (progress?.(this.#report())) limit = "stopped";
      }
      if (limit !== null && limit !== "depth") break;
    }
    return {
      limit,
      violations: this.#violations,
      outcomes: this.#outcomes,
      ...this.#report(),
      depth: this.#deepest,
      cycles: this.#cycles,
      bytes: this.#kept.bytes,
    };
  }

  /** True if the sets were large enough from the beginning. */
  isRight(): boolean {
    this.#lookAgain();
    return this.#wasRight;
  }

  /** A pass whose sets were too small is not right any more, but with larger ones it learns the more for the next. */
  #lookAgain(): void {
    this.#look = this.#steps * 2;
    if (this.#automata.learned.length === this.#known) return;
    this.#known = this.#automata.learned.length;
    const learned = new Footprints(this.#automata, this.#options.isLoad);
    if (!learned.exceed(this.#footprints)) return;
    this.#wasRight = false;
    this.#footprints = learned;
  }

  #report() {
    return { states: this.#kept.size, steps: this.#steps, ends: this.#ends, depth: this.#depth };
  }

  /** Takes the next step of the state on top. False if there is none. */
  #advance(): boolean {
    const d = this.#depth;
    const { state } = this.#position;
    let a = this.#mover[d]!;
    if (a === NOBODY) {
      const todo = this.#todo[d]!;
      if (todo === 0) return false;
      this.#mover[d] = a = 31 - Math.clz32(todo & -todo);
      this.#way[d] = 0;
    }
    const way = this.#way[d]!++;
    const last = way + 1 >= this.#automata.ways(state, a);
    const sleep = this.#awakeAfter(state, a, this.#sleep[d]!);
    this.#step(a, way, sleep);
    if (!last) return true;
    // All of it is done: for those that come after, it is asleep.
    this.#mover[d] = NOBODY;
    this.#todo[d]! &= ~(1 << a);
    this.#sleep[d]! |= 1 << a;
    return true;
  }

  /** Those asleep who still are after a step of actor `a`: their next steps commute with it. */
  #awakeAfter(state: Int32Array, a: number, sleep: number): number {
    let left = 0;
    for (let rest = sleep & ~(1 << a); rest !== 0; rest &= rest - 1) {
      const b = 31 - Math.clz32(rest & -rest);
      if (this.#footprints.commute(state[a]!, state[b]!)) left |= 1 << b;
    }
    return left;
  }

  #step(a: number, way: number, sleep: number): void {
    const automata = this.#automata;
    const position = this.#position;
    const d = this.#depth;
    const t = automata.transition(position.state, a, way);
    const mark = position.mark;
    const finding = position.take(t);
    this.#steps++;
    this.#taken[d] = t;
    this.#mark[d] = mark;
    this.#takenBy[d] = a;
    this.#takenWay[d] = way;
    const local = position.state[a]!;
    if (finding >= 0) {
      this.#found("violation", automata.ghosts.findings[finding]!, d + 1);
    } else if (automata.kind.data[local] === Kind.Trapped) {
      this.#found("trap", { name: "trap", says: automata.local[local]!.message }, d + 1);
    } else {
      this.#depth++;
      if (this.#enter(sleep)) return;
      this.#depth--;
      position.back(t, mark);
      return;
    }
    this.#ends++;
    position.back(t, mark);
  }

  #leave(): void {
    this.#path.pop();
    this.#depth--;
    this.#position.back(this.#taken[this.#depth]!, this.#mark[this.#depth]!);
  }

  /** Comes to a state. False if there is nothing to be done in it. */
  #enter(sleep: number): boolean {
    const { low, high, state } = this.#position;
    const place = this.#kept.place(low, high);
    if (place < 0) return this.#enterNew(~place, sleep);
    if (this.#path.find(low, high) >= 0) this.#closeCycle();
    const kept = this.#kept.words[place]!;
    const before = kept & 0xffff;
    const awake = before & ~sleep;
    if (awake === 0) return false;
    this.#kept.words[place] = (kept & FULL) | (before & sleep);
    const able = this.#ableIn(state);
    const todo = awake & ((kept & FULL) !== 0 ? able : this.#persistent(state, able));
    if (todo === 0) return false;
    this.#push(able, todo, before & sleep);
    return true;
  }

  #enterNew(place: number, sleep: number): boolean {
    const { state } = this.#position;
    const able = this.#ableIn(state);
    this.#kept.words[place] = sleep;
    if (able === 0) {
      this.#end();
      if (this.#depth > 0) return false;
    }
    this.#push(able, this.#persistent(state, able) & ~sleep, sleep);
    return true;
  }

  #push(able: number, todo: number, sleep: number): void {
    const d = this.#depth;
    if (d > this.#deepest) this.#deepest = d;
    this.#path.push(this.#position.low, this.#position.high);
    this.#able[d] = able;
    this.#todo[d] = todo;
    this.#sleep[d] = sleep;
    this.#mover[d] = NOBODY;
  }

  /** The step that led back to a state on the path: the state that it came from puts nobody off. */
  #closeCycle(): void {
    this.#cycles++;
    const d = this.#depth - 1;
    const place = this.#kept.place(...this.#path.at(d));
    const kept = this.#kept.words[place]!;
    if ((kept & FULL) !== 0) return;
    this.#kept.words[place] = kept | FULL;
    this.#todo[d]! |= this.#able[d]! & ~this.#sleep[d]!;
  }

  /** Who can act; within hardware, who is in it. */
  #ableIn(state: Int32Array): number {
    const automata = this.#automata;
    const only = forcedActor(automata, state);
    if (only >= 0) return 1 << only;
    let able = 0;
    for (let a = 0; a < automata.actors.length; a++) if (automata.enabled(state, a)) able |= 1 << a;
    return able;
  }

  /** The fewest of those who can act that have to be tried. */
  #persistent(state: Int32Array, able: number): number {
    if ((able & (able - 1)) === 0) return able;
    let best = able;
    for (let rest = able; rest !== 0; rest &= rest - 1) {
      const set = this.#closure(state, rest & -rest) & able;
      if (set === (rest & -rest)) return set;
      if (countOf(set) < countOf(best)) best = set;
    }
    return best;
  }

  /** The least set around an actor whose next steps commute with all that the others ever do. */
  #closure(state: Int32Array, seed: number): number {
    const { kind, actors } = this.#automata;
    let set = seed;
    for (let added = seed; added !== 0;) {
      let more = 0;
      for (let rest = added; rest !== 0; rest &= rest - 1) {
        const a = 31 - Math.clz32(rest & -rest);
        for (let b = 0; b < actors.length; b++) {
          if (((set | more) >> b) & 1 || kind.data[state[b]!] === Kind.Done) continue;
          if (!this.#footprints.commuteForEver(state[a]!, state[b]!)) more |= 1 << b;
        }
      }
      set |= more;
      added = more;
    }
    return set;
  }

  #end(): void {
    this.#ends++;
    const { final, describe } = this.#options;
    const { outcome, wrong } = endingOf(this.#automata, this.#position.state, final, describe);
    if (outcome !== null) this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1);
    if (wrong) this.#found(wrong.kind, wrong, this.#depth);
  }

  #found(kind: Violation["kind"], { name, says }: Finding, moves: number): void {
    if (this.#violations.some((v) => v.name === name && v.says === says)) return;
    const schedule = Array.from({ length: moves }, (_, i) => ({
      actor: this.#takenBy[i]!,
      way: this.#takenWay[i]!,
    }));
    this.#violations.push({ kind, name, says, schedule });
  }
}
