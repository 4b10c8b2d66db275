/**
 * Depth-first search of every state that the actors can reach, each once: exhaustive, with state matching. The automata
 * say what a step does; a state is recognised by a 64-bit fingerprint, kept up to date by what each step changes.
 */

import { type Automata, Kind } from "./automata.js";
import { Crew, ROW, Stop, limitOf, type Branch } from "./crew.js";
import { Ends, endingOf } from "./ending.js";
import { type Finding } from "./ghosts.js";
import {
  type FinalCheck,
  type Inspected,
  type Move,
  type SearchLimits,
  type SearchResult,
  type Violation,
} from "./result.js";
import { Ints } from "./tables.js";

export interface SearchOptions {
  readonly limits: SearchLimits;
  /** Stop at the first violation; else each finding is kept once, with the schedule that was met first. */
  readonly stopAtFirst: boolean;
  readonly final: FinalCheck;
  /** Looks at every state once; what it finds is a violation at the end of the moves that it names. */
  readonly inspect?: ((state: Int32Array) => Inspected | null) | undefined;
  /** False: a state that was met before is gone on from once more. Only on the way to itself it ends an execution. */
  readonly match?: boolean | undefined;
  /** This thread's part, if it is one of several. Default: it is alone. */
  readonly crew?: Crew | undefined;
}

/** Steps, there and back, between two looks at what the other threads do and at the clock: a power of two. */
export const STEPS_A_LOOK = 1 << 8;

/** A search by this thread alone. */
export function alone(limits: SearchLimits): Crew {
  return Crew.lead({ limits, helpers: null, knowledge: () => NOTHING_KNOWN });
}

const NOTHING_KNOWN = { cells: [], touched: new Int32Array(0) };

/** Where a search is: the state, and how to go back. */
export class Position {
  readonly state: Int32Array;
  low = 0;
  high = 0;
  readonly #automata: Automata;
  readonly #ghostsAt: number;
  /** Ghost changes, as index and old value. */
  readonly #undo = new Ints();

  constructor(automata: Automata, state: Int32Array) {
    this.#automata = automata;
    this.#ghostsAt = automata.ghostsAt;
    this.state = state.slice();
    for (let i = 0; i < state.length; i++) {
      this.low ^= automata.low(i, state[i]!);
      this.high ^= automata.high(i, state[i]!);
    }
  }

  /** Takes a transition. Returns the number of a finding of a checker, or -1. */
  take(t: number): number {
    const automata = this.#automata;
    const { state } = this;
    const index = automata.index.data;
    const after = automata.after.data;
    const end = automata.first.data[t + 1]!;
    for (let i = automata.first.data[t]!; i < end; i++) state[index[i]!] = after[i]!;
    this.low ^= automata.hashLow.data[t]!;
    this.high ^= automata.hashHigh.data[t]!;
    const list = automata.events.data[t]!;
    return list === 0 ? -1 : this.tell(list);
  }

  /** Tells the checkers a list of events. Returns the number of a finding, or -1. */
  tell(list: number): number {
    const { ghosts } = this.#automata;
    const { state } = this;
    let finding = -1;
    for (const k of ghosts.listeners(list)) {
      const at = this.#ghostsAt + k;
      const before = state[at]!;
      const after = ghosts.successor(k, list, before);
      if (after === before) continue;
      if (after < 0) {
        if (finding < 0) finding = ~after;
        continue;
      }
      this.#undo.push(at);
      this.#undo.push(before);
      state[at] = after;
      this.low ^= ghosts.low(k, before) ^ ghosts.low(k, after);
      this.high ^= ghosts.high(k, before) ^ ghosts.high(k, after);
    }
    return finding;
  }

  /** Where the list of ghost changes stands now. */
  get mark(): number {
    return this.#undo.length;
  }

  /** Takes a transition back; `mark` is what it was before it. */
  back(t: number, mark: number): void {
    const automata = this.#automata;
    const { ghosts } = automata;
    const { state } = this;
    const undo = this.#undo.data;
    for (let i = this.#undo.length - 2; i >= mark; i -= 2) {
      const at = undo[i]!;
      const before = undo[i + 1]!;
      const k = at - this.#ghostsAt;
      this.low ^= ghosts.low(k, before) ^ ghosts.low(k, state[at]!);
      this.high ^= ghosts.high(k, before) ^ ghosts.high(k, state[at]!);
      state[at] = before;
    }
    this.#undo.length = mark;
    const index = automata.index.data;
    const before = automata.before.data;
    for (let i = automata.first.data[t + 1]! - 1, first = automata.first.data[t]!; i >= first; i--) {
      state[index[i]!] = before[i]!;
    }
    this.low ^= automata.hashLow.data[t]!;
    this.high ^= automata.hashHigh.data[t]!;
  }
}

/** The actor that has to act next, if one is inside a step of hardware; else -1. */
export function forcedActor(automata: Automata, state: Int32Array): number {
  const forced = automata.forced.data;
  for (let a = 0; a < automata.actors.length; a++) {
    if (forced[state[a]!] === 1 && automata.enabled(state, a)) return a;
  }
  return -1;
}

/** What is wrong with a state in which nobody can act: null if every actor is done. */
export function deadlockIn(
  automata: Automata,
  state: Int32Array,
  describe: (address: number) => string,
): Finding | null {
  const waiting = automata.actors.flatMap((_, a) => {
    const local = automata.local[state[a]!]!;
    if (local.kind !== Kind.Sleep) return [];
    return [`actor ${a} waits for ${describe(local.suspension!.address)}`];
  });
  return waiting.length === 0 ? null : { name: "deadlock", says: waiting.join("; ") };
}

/** States on the path of a depth-first search. A revisit is a cycle if it leads to one of them. */
export class Path {
  readonly #low: Int32Array;
  readonly #high: Int32Array;
  /** How many of them have these low bits: 0 for most of the states that are not among them. */
  readonly #counts = new Uint16Array(1 << 16);
  length = 0;

  constructor(most: number) {
    this.#low = new Int32Array(most);
    this.#high = new Int32Array(most);
  }

  push(low: number, high: number): void {
    this.#low[this.length] = low;
    this.#high[this.length++] = high;
    this.#counts[low & 0xffff]!++;
  }

  pop(): void {
    this.#counts[this.#low[--this.length]! & 0xffff]!--;
  }

  /** Fingerprint of the state at a place. */
  at(place: number): [low: number, high: number] {
    return [this.#low[place]!, this.#high[place]!];
  }

  /** Place of a state on the path, -1 if it is not there. */
  find(low: number, high: number): number {
    if (this.#counts[low & 0xffff] === 0) return -1;
    for (let i = this.length - 1; i >= 0; i--) {
      if (this.#low[i] === low && this.#high[i] === high) return i;
    }
    return -1;
  }
}

export class Search {
  readonly #automata: Automata;
  readonly #options: SearchOptions;
  readonly #describe: (address: number) => string;
  readonly #crew: Crew;
  readonly #violations: Violation[] = [];
  readonly #outcomes = new Map<string, number>();
  readonly #ended = new Ends();
  states = 0;
  steps = 0;
  ends = 0;
  cycles = 0;
  deepest = 0;
  depth = 0;
  #open: (() => number) | null = null;

  constructor(automata: Automata, options: SearchOptions, describe: (address: number) => string) {
    this.#automata = automata;
    this.#options = options;
    this.#describe = describe;
    this.#crew = options.crew ?? alone(options.limits);
  }

  /** States on the path with moves not tried yet: counted when it is asked for. */
  get frontier(): number {
    return this.#open?.() ?? 0;
  }

  /** Searches from a start state. Throws `Reclassified` if what was learned turns out to be void. */
  run(start: { readonly state: Int32Array; readonly events: readonly number[] }): SearchResult {
    return this.#search(start, null);
  }

  /** Searches a branch of what another thread has begun, and then what it is given next. */
  help(
    start: { readonly state: Int32Array; readonly events: readonly number[] },
    first: Branch,
  ): SearchResult {
    return this.#search(start, first);
  }

  #search(
    start: { readonly state: Int32Array; readonly events: readonly number[] },
    first: Branch | null,
  ): SearchResult {
    const automata = this.#automata;
    const crew = this.#crew;
    const visited = crew.table;
    const { limits, stopAtFirst, match = true } = this.#options;
    const n = automata.actors.length;
    const position = new Position(automata, start.state);
    const most = limits.maxDepth;
    // One row for each state on the path: the next actor and way to try, and how its own state was reached.
    const actorAt = new Uint8Array(most + 2);
    const wayAt = new Int32Array(most + 2);
    const forcedAt = new Int8Array(most + 2);
    const movesAt = new Uint8Array(most + 2);
    const takenAt = new Int32Array(most + 2);
    const markAt = new Int32Array(most + 2);
    const moverAt = new Uint8Array(most + 2);
    const moverWayAt = new Int32Array(most + 2);
    const path = new Path(most + 2);
    let tooDeep = false;
    let turns = 0;
    let depth = 0;

    const found = (
      kind: Violation["kind"],
      { name, says }: Finding,
      moves: number,
      then: readonly Move[] = [],
    ): boolean => {
      const known = this.#violations.some((v) => v.name === name && v.says === says);
      if (!known) {
        const schedule = Array.from({ length: moves }, (_, i) => ({
          actor: moverAt[i]!,
          way: moverWayAt[i]!,
        }));
        this.#violations.push({ kind, name, says, schedule: [...schedule, ...then] });
      }
      return stopAtFirst;
    };
    const { inspect } = this.#options;
    // Whatever is found in a state, the search goes on: there may be an execution in which it does harm.
    const inspected = (moves: number): void => {
      if (!inspect) return;
      for (let finding = inspect(position.state); finding; finding = inspect(position.state)) {
        found("violation", finding, moves, finding.then);
      }
    };
    const isOver = (row: number): boolean => {
      const only = forcedAt[row]!;
      return actorAt[row]! >= n || (only >= 0 && actorAt[row]! > only);
    };
    const countOpen = (rows: number): number => {
      let open = 0;
      for (let row = 0; row < rows; row++) if (!isOver(row)) open++;
      return open;
    };
    this.#open = () => countOpen(depth + 1);
    /** Gives away what is not tried yet near the start. The state at `depth` itself stays here. */
    const share = (depth: number): void => {
      const open = countOpen(depth);
      if (open === 0) return;
      let top = 0;
      for (let left = (open + 1) >> 1; ; top++) if (!isOver(top) && --left === 0) break;
      crew.give(top + 1, (branch) => {
        for (let row = 0; row <= top; row++) {
          const over = isOver(row);
          branch.set(
            [row < top ? moverAt[row]! : -1, moverWayAt[row]!, over ? n : actorAt[row]!, wayAt[row]!],
            row * ROW,
          );
          if (!over) actorAt[row] = n;
        }
      });
    };
    /** Goes from the start to the end of a branch. Returns its depth. */
    const adopt = (branch: Branch): number => {
      for (let row = 0; ; row++) {
        const [a, way, nextActor, nextWay] = branch.subarray(row * ROW) as unknown as [
          number,
          number,
          number,
          number,
        ];
        actorAt[row] = nextActor;
        wayAt[row] = nextWay;
        movesAt[row] = 1;
        forcedAt[row] = forcedActor(automata, position.state);
        if (row > 0) path.push(position.low, position.high);
        if (a < 0) return row;
        const t = automata.transition(position.state, a, way);
        takenAt[row] = t;
        markAt[row] = position.mark;
        moverAt[row] = a;
        moverWayAt[row] = way;
        position.take(t);
      }
    };

    for (const list of start.events) {
      const finding = list === 0 ? -1 : position.tell(list);
      if (finding >= 0) found("violation", automata.ghosts.findings[finding]!, 0);
    }
    path.push(position.low, position.high);
    if (first) depth = adopt(first);
    else {
      visited.add(position.low, position.high);
      this.states = 1;
      forcedAt[0] = forcedActor(automata, position.state);
      inspected(0);
    }
    let stop = this.#violations.length > 0 && stopAtFirst;

    while (!stop) {
      if ((++turns & (STEPS_A_LOOK - 1)) === 0) {
        this.depth = depth;
        if (crew.look(this)) break;
        if (crew.wanted) share(depth);
      }
      let a = actorAt[depth]!;
      const only = forcedAt[depth]!;
      if (only >= 0 && a < only) actorAt[depth] = a = only;
      if (a >= n || (only >= 0 && a > only)) {
        if (movesAt[depth] === 0) stop = this.#end(position.state, depth, found);
        if (depth > 0) {
          depth--;
          path.pop();
          position.back(takenAt[depth]!, markAt[depth]!);
          continue;
        }
        if (stop) break;
        const branch = crew.ask(this);
        if (branch === null) break;
        depth = adopt(branch);
        continue;
      }
      if (!automata.enabled(position.state, a)) {
        actorAt[depth]!++;
        wayAt[depth] = 0;
        continue;
      }
      const way = wayAt[depth]!;
      if (way + 1 < automata.ways(position.state, a)) wayAt[depth] = way + 1;
      else {
        actorAt[depth]!++;
        wayAt[depth] = 0;
      }
      movesAt[depth] = 1;
      const t = automata.transition(position.state, a, way);
      const mark = position.mark;
      const finding = position.take(t);
      moverAt[depth] = a;
      moverWayAt[depth] = way;
      this.steps++;
      if (finding >= 0) {
        stop = found("violation", automata.ghosts.findings[finding]!, depth + 1);
        this.ends++;
        position.back(t, mark);
        continue;
      }
      const local = position.state[a]!;
      if (automata.kind.data[local] === Kind.Trapped) {
        stop = found("trap", { name: "trap", says: automata.local[local]!.message }, depth + 1);
        this.ends++;
        position.back(t, mark);
        continue;
      }
      const { low, high } = position;
      if (match ? !visited.add(low, high) : path.find(low, high) >= 0) {
        if (!match || path.find(low, high) >= 0) this.cycles++;
        position.back(t, mark);
      } else {
        this.states++;
        takenAt[depth] = t;
        markAt[depth] = mark;
        depth++;
        if (depth > this.deepest) this.deepest = depth;
        actorAt[depth] = 0;
        wayAt[depth] = 0;
        movesAt[depth] = 0;
        forcedAt[depth] = forcedActor(automata, position.state);
        path.push(position.low, position.high);
        inspected(depth);
        if (depth >= most) {
          tooDeep = true;
          depth--;
          path.pop();
          position.back(takenAt[depth]!, markAt[depth]!);
        } else if (match ? visited.full : this.states >= limits.maxStates) {
          crew.stop(Stop.States);
          break;
        }
      }
    }
    if (stop) crew.stop(Stop.Found);
    return {
      limit: limitOf(crew.stopped) ?? (tooDeep ? "depth" : null),
      violations: this.#violations,
      outcomes: this.#outcomes,
      states: this.states,
      steps: this.steps,
      ends: this.ends,
      depth: this.deepest,
      cycles: this.cycles,
      bytes: match ? visited.bytes : 0,
    };
  }

  /** Nobody can act any more: the end of an execution, or a deadlock. */
  #end(
    state: Int32Array,
    moves: number,
    found: (kind: Violation["kind"], finding: Finding, moves: number) => boolean,
  ): boolean {
    this.ends++;
    const { ending, first } = this.#ended.of(state, () =>
      endingOf(this.#automata, state, this.#options.final, this.#describe),
    );
    const { outcome, wrong } = ending;
    if (first && outcome !== null) this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1);
    return wrong ? found(wrong.kind, wrong, moves) : false;
  }
}
