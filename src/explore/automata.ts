/**
 * Each actor as an automaton, learned from the compiled core. A suspended actor is its Asyncify buffer, what it is
 * suspended at, the words that nobody else touches, and the results of its calls so far: together its *local state*, a
 * number. What one step makes of it depends on nothing but the words that it is suspended at. So a step is run in the
 * core once for each local state and each value found there, and looked up ever after: the search walks tables that the
 * shipped code has filled in.
 *
 * A state of the machine is a vector of 32-bit numbers:
 *
 *   0 ..        local state of each actor
 *   A ..        address that each actor sleeps on, 0 if it does not (atomic.wait)
 *   2A ..       the *cells*: words that one actor writes and another touches
 *   2A + C ..   ghost state of each checker
 *
 * Which words are cells is learned as well: whatever two actors are seen to touch, one of them writing, becomes one, all
 * is forgotten, and learning begins anew (`Reclassified`). When a search ends without that, no access of it that was
 * taken for private was ever anybody else's: the first one that were, would have been met, as all before it are the same.
 */

import { HEADER_BASE, HEADER_SIZE, type Note } from "../core/layout.generated.js";
import { GuestMmuError } from "../errors.js";
import { ACCESS, type CheckedEvent } from "../invariants/checker.js";
import { type Ghosts } from "./ghosts.js";
import { type LearnedStep } from "./acyclic.js";
import { Histories, type Program } from "./program.js";
import { At, type RunEnd, type Runner, type Suspension, type Watcher } from "./runner.js";
import { Ints, TripleTable, digestOfWords, mixHigh, mixLow } from "./tables.js";

/** What an actor can do in a local state. */
export const enum Kind {
  Access = At.Access,
  Wait = At.Wait,
  Notify = At.Notify,
  Choose = At.Choose,
  /** Asleep in atomic.wait. */
  Sleep = 4,
  Done = 5,
  Trapped = 6,
}

/** Thrown when a word turns out to be shared: whatever was learned is void. */
export class Reclassified extends Error {}

/** Thrown when learning meets `Automata.deadline`. */
export class OutOfTime extends Error {}

/** A local state. */
export interface LocalState {
  readonly actor: number;
  readonly kind: Kind;
  readonly history: number;
  /** Null when the program is over. */
  readonly suspension: Suspension | null;
  /** Words that it alone touches and that differ from the start: word number and value, by word number. */
  readonly own: Int32Array;
  /** Of a trap: what the engine said. */
  readonly message: string;
}

/** One of those who act. */
export interface AutomatonActor {
  /** Index of its block. */
  readonly index: number;
  readonly program: Program;
  /** What its program is called in messages. */
  readonly label?: string;
}

/** What the memory holds when the exploration begins, and what of it is not part of a state. */
export interface Ground {
  readonly runner: Runner;
  /** Words of the machine at the start; its size is that of the machine. */
  readonly base: Int32Array;
  /** True for words that decide nothing: statistics. */
  readonly ignored: (word: number) => boolean;
  /**
   * Words that are cells from the start, whoever touches them. Guest data are: that an access to them comes before the page
   * is freed, or after, makes a difference to the checkers though to nobody else.
   */
  readonly data?: readonly number[];
  /** True for words that mean nothing between two calls of an actor: they are put back when its program is over. */
  readonly scratch: (word: number) => boolean;
  /** One of all lists of an actor's words that mean the same; words and values in turn, by word. */
  readonly canonical: (own: readonly number[], isCell: (word: number) => boolean) => readonly number[];
  /** True for words inside the processor: looking at them is no step of its own (TLB). */
  readonly internal: (word: number) => boolean;
  /** True if the site goes through sync/ops. */
  readonly isAtomic: (site: number) => boolean;
  /** First address of struct pages and frames: accesses from here on are told to checkers that want them. */
  readonly watchedFrom: number;
}

/** Most words of a bulk operation that a transition is keyed by one by one. */
const PAIR = 2;

export class Automata implements Watcher {
  readonly actors: readonly AutomatonActor[];
  readonly histories: readonly Histories[];
  readonly ground: Ground;
  readonly ghosts: Ghosts;

  /** Words that are cells, ascending. */
  cells: number[] = [];
  readonly #cellOf: Int32Array;
  readonly #readers: Uint16Array;
  readonly #writers: Uint16Array;
  #reclassify = false;
  #startState: { state: Int32Array; events: readonly number[] } | null = null;

  local: LocalState[] = [];
  #localNumbers = new Map<string, number>();
  /** Of each local state, for the search: kind, first two state indices of its footprint (-1: none), and more. */
  kind = new Ints();
  foot0 = new Ints();
  foot1 = new Ints();
  /** Expected value of a wait or sleep; number of ways of a choice; count of a notify. */
  operand = new Ints();
  /** 1: nobody else may act before this one, unless it cannot. */
  forced = new Ints();
  /**
   * Of each local state, what it makes of a fingerprint: from what it is made of, not from its number, which depends on the
   * order of learning. So a state has one fingerprint in all threads that share the cells.
   */
  localLow = new Ints();
  localHigh = new Ints();
  /** Footprints of more than two cells. */
  #wide = new Map<number, readonly number[]>();
  #folds = new TripleTable();

  /** Transitions: number by (local state, value, value or branch), and what each does. */
  #transitions = new TripleTable(12);
  #learned: Transition[] = [];
  /** Of each: first of its writes in `index`, `before`, `after`, and one more for the end. */
  first = new Ints();
  index = new Ints();
  before = new Ints();
  after = new Ints();
  hashLow = new Ints();
  hashHigh = new Ints();
  /** List of events that it tells, 0 for none. */
  events = new Ints();

  /** Time (performance.now) after which learning a step throws `OutOfTime`. */
  deadline = Infinity;
  /** Steps run in the core. */
  runs = 0;
  /** Times that learning began anew. */
  passes = 0;

  #running = 0;
  /** The word touched last. */
  #lastWord = 0;
  #told: CheckedEvent[] = [];
  #written: number[] = [];
  readonly #stamp: Uint32Array;
  #time = 0;

  constructor(actors: readonly AutomatonActor[], ground: Ground, ghosts: Ghosts) {
    this.actors = actors;
    this.histories = actors.map(({ program, label }) => new Histories(program, label));
    this.ground = ground;
    this.ghosts = ghosts;
    const words = ground.base.length;
    this.#cellOf = new Int32Array(words).fill(-1);
    this.#readers = new Uint16Array(words);
    this.#writers = new Uint16Array(words);
    this.#stamp = new Uint32Array(words);
    for (const word of ground.data ?? []) this.#share(word);
  }

  /** Numbers in a state. */
  get width(): number {
    return 2 * this.actors.length + this.cells.length + this.ghosts.count;
  }
  get ghostsAt(): number {
    return 2 * this.actors.length + this.cells.length;
  }

  /** Index in a state of the cell that holds the word at `address`, -1 if it is none. */
  cellIndex(address: number): number {
    const cell = this.#cellOf[address >>> 2]!;
    return cell < 0 ? -1 : 2 * this.actors.length + cell;
  }

  /** Makes the word at `address` a cell in the next pass. */
  #share(word: number): void {
    if (this.#cellOf[word]! >= 0) return;
    this.#cellOf[word] = 0;
    this.cells.push(word);
    this.#reclassify = true;
  }

  /** Forgets what was learned, except which words are shared. */
  reset(): void {
    this.cells.sort((a, b) => a - b);
    this.cells.forEach((word, i) => (this.#cellOf[word] = i));
    this.#reclassify = false;
    this.local = [];
    this.#localNumbers = new Map();
    this.kind = new Ints();
    this.foot0 = new Ints();
    this.foot1 = new Ints();
    this.operand = new Ints();
    this.forced = new Ints();
    this.localLow = new Ints();
    this.localHigh = new Ints();
    this.#wide = new Map();
    this.#folds = new TripleTable();
    this.#transitions = new TripleTable(12);
    this.#learned = [];
    this.first = new Ints();
    this.first.push(0);
    this.index = new Ints();
    this.before = new Ints();
    this.after = new Ints();
    this.hashLow = new Ints();
    this.hashHigh = new Ints();
    this.events = new Ints();
    this.passes++;
  }

  /** Every transition of a local state that is known. */
  get learned(): readonly Transition[] {
    return this.#learned;
  }

  /** What the number at an index of a state makes of the low word of its fingerprint. Indices beyond it stand for themselves. */
  low(index: number, value: number): number {
    if (index < this.actors.length) return this.localLow.data[value]!;
    const k = index - this.ghostsAt;
    return k >= 0 && k < this.ghosts.count ? this.ghosts.low(k, value) : mixLow(index, value);
  }

  /** As `low`, of the high word. */
  high(index: number, value: number): number {
    if (index < this.actors.length) return this.localHigh.data[value]!;
    const k = index - this.ghostsAt;
    return k >= 0 && k < this.ghosts.count ? this.ghosts.high(k, value) : mixHigh(index, value);
  }

  /** A name of a local state that all threads with the same cells have for it. */
  nameOfLocal(l: number): string {
    return `${this.localLow.data[l]!} ${this.localHigh.data[l]!}`;
  }

  /** Every transition that is known, in terms that all threads with the same cells understand. */
  learnedSteps(): LearnedStep[] {
    const n = this.actors.length;
    return this.#learned.map(({ from, next, writes }, t) => {
      const finds: number[] = [];
      const differs: number[] = [];
      const foot0 = this.foot0.data[from]!;
      const foot1 = this.foot1.data[from]!;
      const [k0, k1] = [this.#transitions.key(t, 1), this.#transitions.key(t, 2)];
      const { actor } = this.local[from]!;
      switch (this.kind.data[from]) {
        case Kind.Access:
        case Kind.Wait:
          if (foot0 >= 0) finds.push(foot0, k0);
          if (foot1 >= 0) finds.push(foot1, k1);
          break;
        case Kind.Sleep:
          finds.push(n + actor, k0);
          if (k0 !== 0) differs.push(foot0, this.operand.data[from]!);
          break;
        default:
          break;
      }
      return { actor, from: this.nameOfLocal(from), next: this.nameOfLocal(next), finds, differs, writes };
    });
  }

  /** Words that are no cells and were touched, and by whom: word number, then readers in bits 15:0 and writers in 31:16. */
  touchedWords(): Int32Array {
    const found = new Ints();
    for (let word = HEADER_END; word < this.#readers.length; word++) {
      const by = this.#readers[word]! | (this.#writers[word]! << 16);
      if (by === 0 || this.#cellOf[word]! >= 0) continue;
      found.push(word);
      found.push(by);
    }
    return found.data.slice(0, found.length);
  }

  /**
   * Takes over what another thread knows of who touches what. Words that neither knew to be shared are cells from the next
   * pass on. Throws `Reclassified` if there are such, and this is not before the first pass.
   */
  takeOver(cells: readonly number[], touched: Int32Array): void {
    for (const word of cells) this.#share(word);
    for (let i = 0; i < touched.length; i += 2) {
      const word = touched[i]!;
      const readers = (this.#readers[word]! |= touched[i + 1]! & 0xffff);
      const writers = (this.#writers[word]! |= touched[i + 1]! >>> 16);
      const all = readers | writers;
      if (writers !== 0 && (all & (all - 1)) !== 0) this.#share(word);
    }
    if (this.passes > 0) this.#checkClassified();
  }

  /** Address that a notify or a wait names: part of what it does to others. */
  addressOf(l: number): number {
    const { kind, suspension } = this.local[l]!;
    return kind === Kind.Notify || kind === Kind.Wait || kind === Kind.Sleep ? suspension!.address : 0;
  }

  /** Forgets all but which words are shared, and brings every actor to its first step. Throws `Reclassified`. */
  begin(ghosts: readonly number[]): void {
    this.reset();
    this.#startState = this.#makeStart(ghosts);
  }

  /** The state at the start, and the lists of events of what the actors do before their first step. */
  get start(): { readonly state: Int32Array; readonly events: readonly number[] } {
    return this.#startState!;
  }

  #makeStart(ghosts: readonly number[]): { state: Int32Array; events: readonly number[] } {
    const state = new Int32Array(this.width);
    const events = this.actors.map((_, a) => {
      this.#begin(a);
      const end = this.#proceed(a, 0);
      state[a] = this.#settle(a, end, EMPTY);
      return this.ghosts.list(this.#told);
    });
    this.#checkClassified();
    this.cells.forEach((word, i) => (state[2 * this.actors.length + i] = this.ground.base[word]!));
    ghosts.forEach((ghost, k) => (state[this.ghostsAt + k] = ghost));
    return { state, events };
  }

  /** True if actor `a` can act in `state`. */
  enabled(state: Int32Array, a: number): boolean {
    const l = state[a]!;
    switch (this.kind.data[l]) {
      case Kind.Done:
      case Kind.Trapped:
        return false;
      case Kind.Sleep:
        return state[this.actors.length + a] === 0 || state[this.foot0.data[l]!] !== this.operand.data[l];
      default:
        return true;
    }
  }

  /** Number of ways in which actor `a`, which is enabled, can act. */
  ways(state: Int32Array, a: number): number {
    const l = state[a]!;
    switch (this.kind.data[l]) {
      case Kind.Choose:
        return this.operand.data[l]!;
      case Kind.Notify:
        return this.operand.data[l] === 1 ? Math.max(1, this.#sleepers(state, l).length) : 1;
      default:
        return 1;
    }
  }

  #sleepers(state: Int32Array, l: number): number[] {
    const address = this.local[l]!.suspension!.address;
    const n = this.actors.length;
    return this.actors.flatMap((_, a) => (state[n + a] === address ? [a] : []));
  }

  /** The transition of actor `a` in `state`, learned if need be. Throws `Reclassified`. */
  transition(state: Int32Array, a: number, way: number): number {
    const l = state[a]!;
    let k0 = way;
    let k1 = 0;
    switch (this.kind.data[l]) {
      case Kind.Access: {
        const foot0 = this.foot0.data[l]!;
        const foot1 = this.foot1.data[l]!;
        if (foot0 < 0) k0 = this.#fold(state, this.#wide.get(l)!);
        else {
          k0 = state[foot0]!;
          if (foot1 >= 0) k1 = state[foot1]!;
        }
        break;
      }
      case Kind.Wait:
        k0 = state[this.foot0.data[l]!]!;
        break;
      case Kind.Sleep:
        k0 = state[this.actors.length + a]!;
        break;
      case Kind.Notify:
        k0 = this.#fold(state, this.#sleepIndices());
        k1 = way;
        break;
      default:
        break;
    }
    const known = this.#transitions.find(l, k0, k1);
    if (known >= 0) return known;
    const made = this.#learn(state, a, way);
    this.#learned.push(made);
    this.#record([a, l, made.next, ...made.writes], made.events);
    return this.#transitions.add(l, k0, k1);
  }

  #sleepIndices(): number[] {
    const n = this.actors.length;
    return this.actors.map((_, a) => n + a);
  }

  /** A number for the values at these indices. */
  #fold(state: Int32Array, indices: readonly number[]): number {
    let folded = indices.length;
    for (const index of indices) {
      const known = this.#folds.find(folded, state[index]!, 1);
      folded = (known >= 0 ? known : this.#folds.add(folded, state[index]!, 1)) + 65536;
    }
    return folded;
  }

  /** State indices that a local state's step reads or writes, besides its own. */
  footprint(l: number): readonly number[] {
    switch (this.kind.data[l]) {
      case Kind.Access:
        if (this.foot0.data[l]! < 0) return this.#wide.get(l)!;
        return this.foot1.data[l]! < 0 ? [this.foot0.data[l]!] : [this.foot0.data[l]!, this.foot1.data[l]!];
      case Kind.Wait:
      case Kind.Sleep:
        return [this.foot0.data[l]!, this.actors.length + this.local[l]!.actor];
      case Kind.Notify:
        return this.#sleepIndices();
      default:
        return [];
    }
  }

  // Learning.

  #begin(a: number): void {
    this.#running = a;
    this.#told = [];
    this.#written = [];
    this.#time++;
  }

  /**
   * Runs an actor. One that met a word of another's which was taken for private has seen a memory that never was, and may
   * go round in it for ever: that is no error, but the end of this pass. One that goes round on a word of its own has it
   * shared from here on, so that the round is a cycle of states, which can be seen.
   */
  #ran(run: () => RunEnd): RunEnd {
    try {
      return run();
    } catch (error) {
      if (!this.#reclassify) {
        const endless = error instanceof GuestMmuError && error.code === "LIMIT_REACHED";
        if (!endless || this.#lastWord < HEADER_END || this.#cellOf[this.#lastWord]! >= 0) throw error;
        this.#share(this.#lastWord);
      }
      return { kind: "trapped", message: "" };
    }
  }

  /** Runs the calls after `history` until the actor is suspended or done. */
  #proceed(a: number, history: number): { end: RunEnd | null; history: number } {
    const histories = this.histories[a]!;
    let at = history;
    while (true) {
      const call = histories.next(at);
      if (call === null) return { end: null, history: at };
      const end = this.#ran(() => this.ground.runner.start(call, this));
      if (end.kind !== "returned") return { end, history: at };
      at = histories.extend(at, end.result);
    }
  }

  #learn(state: Int32Array, a: number, way: number): Transition {
    const l = state[a]!;
    if ((this.runs++ & 15) === 0 && performance.now() > this.deadline) throw new OutOfTime();
    const local = this.local[l]!;
    this.#begin(a);
    const kind = this.kind.data[l]! as Kind;
    const sleepAt = this.actors.length + a;
    if (kind === Kind.Wait && state[this.foot0.data[l]!] === this.operand.data[l]) {
      const asleep = this.#intern({ ...local, kind: Kind.Sleep });
      const writes = [sleepAt, state[sleepAt]!, local.suspension!.address];
      return { from: l, next: asleep, writes, events: 0 };
    }
    const writes: number[] = [];
    const answer = this.#answer(state, a, way, writes);
    const footprint = kind === Kind.Access || kind === Kind.Wait ? this.footprint(l) : [];
    const { runner, base } = this.ground;
    const { words } = runner;
    const cellIndices = footprint.filter((index) => index >= 2 * this.actors.length);
    for (const index of cellIndices) words[this.cells[index - 2 * this.actors.length]!] = state[index]!;
    const { own } = local;
    for (let i = 0; i < own.length; i += 2) words[own[i]!] = own[i + 1]!;

    let end: RunEnd | null = this.#ran(() => runner.resume(local.suspension!, answer, this));
    let history = local.history;
    if (end.kind === "returned") {
      ({ end, history } = this.#proceed(a, this.histories[a]!.extend(history, end.result)));
    }
    for (const index of cellIndices) {
      const word = this.cells[index - 2 * this.actors.length]!;
      if (words[word] !== state[index]) writes.push(index, state[index]!, words[word]!);
      words[word] = base[word]!;
    }
    const next = this.#settle(a, { end, history }, own);
    this.#checkClassified();
    return { from: l, next, writes, events: this.ghosts.list(this.#told) };
  }

  /** What atomic.wait, atomic.notify or a choice answers; what it changes is added to `writes`. */
  #answer(state: Int32Array, a: number, way: number, writes: number[]): number {
    const l = state[a]!;
    const n = this.actors.length;
    switch (this.kind.data[l]) {
      case Kind.Choose:
        return way;
      case Kind.Wait:
        return 1; // "not-equal"
      case Kind.Sleep:
        if (state[n + a] === 0) return 0; // "ok"
        writes.push(n + a, state[n + a]!, 0);
        return 2; // "timed-out": the slice ends, and the word has changed
      case Kind.Notify: {
        const sleepers = this.#sleepers(state, l);
        const woken = this.operand.data[l] === 1 ? sleepers.slice(way, way + 1) : sleepers;
        for (const other of woken) writes.push(n + other, state[n + other]!, 0);
        return woken.length;
      }
      default:
        return 0;
    }
  }

  /** The local state in which the actor is left; the memory is put back as it was at the start. */
  #settle(a: number, { end, history }: { end: RunEnd | null; history: number }, own: Int32Array): number {
    const { base, runner, ignored } = this.ground;
    const { words } = runner;
    const touched = this.#written;
    for (let i = 0; i < own.length; i += 2) this.#stampWord(own[i]!);
    touched.sort((x, y) => x - y);
    const left: number[] = [];
    for (const word of touched) {
      const value = words[word]!;
      if (value === base[word]) continue;
      words[word] = base[word]!;
      if (!ignored(word) && !(end === null && this.ground.scratch(word))) left.push(word, value);
    }
    const suspension = end?.kind === "suspended" ? end.suspension : null;
    const kind = end === null ? Kind.Done : suspension ? (suspension.at as number as Kind) : Kind.Trapped;
    if (suspension?.at === At.Wait) this.#share(suspension.address >>> 2);
    return this.#intern({
      actor: a,
      kind,
      history,
      suspension,
      own: Int32Array.from(this.ground.canonical(left, this.#isCell)),
      message: end?.kind === "trapped" ? end.message : "",
    });
  }

  readonly #isCell = (word: number): boolean => this.#cellOf[word]! >= 0;

  #stampWord(word: number): void {
    if (this.#stamp[word] === this.#time) return;
    this.#stamp[word] = this.#time;
    this.#written.push(word);
  }

  #checkClassified(): void {
    if (this.#reclassify) throw new Reclassified();
  }

  #intern(local: LocalState): number {
    const words = wordsOf(local);
    const key = `${local.actor} ${local.kind} ${local.history} ${words.join(" ")}`;
    const known = this.#localNumbers.get(key);
    if (known !== undefined) return known;
    const number = this.local.push(local) - 1;
    this.#localNumbers.set(key, number);
    const history = this.histories[local.actor]!.digest(local.history);
    const [low, high] = digestOfWords([local.kind, ...history, ...words]);
    this.localLow.push(mixLow(local.actor, low));
    this.localHigh.push(mixHigh(local.actor, high));
    this.kind.push(local.kind);
    const { suspension } = local;
    const cells = suspension ? this.#cellsOf(suspension) : [];
    const wide = cells.length > PAIR;
    if (wide) this.#wide.set(number, cells);
    this.foot0.push(wide || cells.length === 0 ? -1 : cells[0]!);
    this.foot1.push(wide || cells.length < 2 ? -1 : cells[1]!);
    this.operand.push(suspension?.operand ?? 0);
    this.forced.push(suspension && this.#isForced(suspension) ? 1 : 0);
    return number;
  }

  #isForced(suspension: Suspension): boolean {
    return (
      suspension.inside || (suspension.at === At.Access && this.ground.internal(suspension.address >>> 2))
    );
  }

  /** State indices of the cells that a suspended access touches, ascending, each once. */
  #cellsOf({ at, address, length, source }: Suspension): number[] {
    if (at === At.Notify || at === At.Choose) return [];
    const found = new Set<number>();
    const add = (from: number): void => {
      for (let word = from >>> 2, end = (from + length + 3) >>> 2; word < end; word++) {
        if (this.#cellOf[word]! >= 0) found.add(2 * this.actors.length + this.#cellOf[word]!);
      }
    };
    add(address);
    if (source) add(source);
    return [...found].sort((x, y) => x - y);
  }

  /** Records the transition whose writes are triples of index, old and new value. */
  #record(writes: readonly number[], events: number): void {
    let low = 0;
    let high = 0;
    for (let i = 0; i < writes.length; i += 3) {
      const index = writes[i]!;
      const before = writes[i + 1]!;
      const after = writes[i + 2]!;
      if (before === after) continue;
      this.index.push(index);
      this.before.push(before);
      this.after.push(after);
      low ^= this.low(index, before) ^ this.low(index, after);
      high ^= this.high(index, before) ^ this.high(index, after);
    }
    this.first.push(this.index.length);
    this.hashLow.push(low);
    this.hashHigh.push(high);
    this.events.push(events);
  }

  // What the runner tells.

  suspends(address: number, length: number): boolean {
    for (let word = address >>> 2, end = (address + length + 3) >>> 2; word < end; word++) {
      if (this.#cellOf[word]! >= 0) return true;
    }
    return false;
  }

  touched(_site: number, address: number, length: number, write: boolean): void {
    const bit = 1 << this.#running;
    this.#lastWord = address >>> 2;
    for (let word = address >>> 2, end = (address + length + 3) >>> 2; word < end; word++) {
      if (this.#cellOf[word]! >= 0) continue;
      if (word < HEADER_END) {
        // What a machine is does not change; how it ended (trap, abort) is the end of this execution.
        if (write) this.#stampWord(word);
        continue;
      }
      if (write) {
        this.#stampWord(word);
        if (((this.#readers[word]! | this.#writers[word]!) & ~bit) !== 0) this.#share(word);
        this.#writers[word]! |= bit;
      } else {
        if ((this.#writers[word]! & ~bit) !== 0) this.#share(word);
        this.#readers[word]! |= bit;
      }
    }
    if (address >= this.ground.watchedFrom && this.ghosts.hears(ACCESS)) {
      const atomic = this.ground.isAtomic(_site) ? 2 : 0;
      this.#tell(ACCESS, 0, 0, BigInt(address), BigInt((length << 2) | atomic | (write ? 1 : 0)));
    }
  }

  noted(kind: number, a: bigint, b: bigint): void {
    const event = (kind & 0xff) as Note;
    if (this.ghosts.hears(event)) this.#tell(event, (kind >>> 8) & 0xff, kind >>> 16, a, b);
  }

  #tell(kind: Note | typeof ACCESS, sub: number, detail: number, a: bigint, b: bigint): void {
    this.#told.push({ kind, actor: this.actors[this.#running]!.index, sub, detail, a, b });
  }
}

/** A transition of one local state: what it writes besides its own place, as triples of index, old and new value. */
export interface Transition {
  readonly from: number;
  readonly next: number;
  readonly writes: readonly number[];
  readonly events: number;
}

const EMPTY = new Int32Array(0);
/** Number of the first word after the header page. */
const HEADER_END = (HEADER_BASE + HEADER_SIZE) >>> 2;

/** 128 bits of what a local state is made of, besides its actor, kind and history. */
function wordsOf({ suspension, own }: LocalState): readonly [number, number, number, number] {
  let a = 1;
  let b = 2;
  let c = 3;
  let d = 4;
  const add = (value: number): void => {
    a = Math.imul(a ^ value, 0x85ebca6b);
    a ^= a >>> 15;
    b = Math.imul(b + value, 0xc2b2ae35) ^ (b >>> 13);
    c = Math.imul(c ^ value ^ a, 0x27d4eb2f);
    c ^= c >>> 16;
    d = Math.imul(d + (value ^ b), 0x9e3779b1) ^ (d >>> 14);
  };
  if (suspension) {
    add(suspension.site);
    add(suspension.address);
    add(suspension.length);
    add(suspension.source);
    add(suspension.operand);
    add(suspension.order);
    add(suspension.barriers);
    add((suspension.inside ? 1 : 0) | (suspension.enters ? 2 : 0));
    for (const word of suspension.stack) add(word);
  }
  add(own.length);
  for (const word of own) add(word);
  return [a, b, c, d];
}
