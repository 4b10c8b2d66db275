/**
 * The ghost states of the checkers, known by numbers, and what lists of events make of them: each answer of a checker is
 * asked for once and looked up ever after.
 */

import { type Note } from "../core/layout.generated.js";
import {
  objects,
  type CheckedEvent,
  type Checker,
  type Ghost,
  type MachineFacts,
} from "../invariants/checker.js";
import { Ints, TripleTable, digestOf, mixHigh, mixLow } from "./tables.js";

/** What a checker objected to. */
export interface Finding {
  /** Name of the checker, or of what else found it. */
  readonly name: string;
  readonly says: string;
}

function textOf(event: CheckedEvent): string {
  return `${event.kind} ${event.actor} ${event.sub} ${event.detail} ${event.a} ${event.b}`;
}

/** Parts of a checker's state that an event reads or writes. */
export type Touches = readonly { readonly key: string; readonly write: boolean }[];

/** Where the states of checkers stand in a fingerprint: far from the indices of a state, which cells shift. */
const GHOST_PLACE = 1 << 30;

/** One checker, its states and their successors. */
class Tracked {
  readonly listens: ReadonlySet<number>;
  readonly #checker: Checker;
  readonly #facts: MachineFacts;
  readonly #states: Ghost[] = [];
  /** Of each state, what it makes of a fingerprint: from its text, so that it is the same in every thread. */
  readonly lows = new Ints();
  readonly highs = new Ints();
  /** Place of the checker among all. */
  readonly #k: number;
  readonly #numbers = new Map<string, number>();
  readonly #table = new TripleTable();
  /** Successor of each (list, state): its number, or ~ the number of a finding. */
  readonly #successors: number[] = [];
  readonly #findings: Finding[];

  constructor(checker: Checker, k: number, facts: MachineFacts, findings: Finding[]) {
    this.#k = k;
    this.#checker = checker;
    this.#facts = facts;
    this.#findings = findings;
    this.listens = new Set<number>(checker.listens);
  }

  number(state: Ghost): number {
    const key = JSON.stringify(state);
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#states.push(state) - 1;
      const [low, high] = digestOf(key);
      this.lows.push(mixLow(GHOST_PLACE + this.#k, low));
      this.highs.push(mixHigh(GHOST_PLACE + this.#k, high));
      this.#numbers.set(key, number);
    }
    return number;
  }

  initial(events: readonly CheckedEvent[]): number {
    const result = this.#fold(this.#checker.initial(this.#facts), events);
    return typeof result === "number" ? ~result : this.number(result.state);
  }

  /** The state after the events, or the number of a finding. */
  #fold(from: Ghost, events: readonly CheckedEvent[]): { state: Ghost } | number {
    let state = from;
    for (const event of events) {
      if (!this.listens.has(event.kind)) continue;
      const next = this.#checker.step(state, event, this.#facts);
      if (objects(next)) return this.#found(next.objection);
      state = next;
    }
    return { state };
  }

  #found(says: string): number {
    const known = this.#findings.findIndex((f) => f.name === this.#checker.name && f.says === says);
    return known >= 0 ? known : this.#findings.push({ name: this.#checker.name, says }) - 1;
  }

  successor(list: number, events: readonly CheckedEvent[], state: number): number {
    const known = this.#table.find(list, state, 0);
    if (known >= 0) return this.#successors[known]!;
    const result = this.#fold(this.#states[state]!, events);
    const number = typeof result === "number" ? ~result : this.number(result.state);
    this.#successors[this.#table.add(list, state, 0)] = number;
    return number;
  }

  touches(event: CheckedEvent): Touches | null {
    if (!this.listens.has(event.kind)) return [];
    return this.#checker.touches?.(event, this.#facts) ?? null;
  }

  final(state: number): number {
    const result = this.#checker.final?.(this.#states[state]!, this.#facts) ?? null;
    return result === null ? -1 : this.#found(result.objection);
  }
}

/** All checkers of an exploration. */
export class Ghosts {
  readonly findings: Finding[] = [];
  readonly #tracked: readonly Tracked[];
  readonly #lists: (readonly CheckedEvent[])[] = [[]];
  readonly #numbers = new Map<string, number>([["", 0]]);
  /** Of each list: the checkers that listen to one of its events. */
  readonly #listeners: (readonly number[])[] = [[]];
  readonly #heard: ReadonlySet<number>;

  constructor(checkers: readonly Checker[], facts: MachineFacts) {
    this.#tracked = checkers.map((checker, k) => new Tracked(checker, k, facts, this.findings));
    this.#heard = new Set<number>(checkers.flatMap((checker) => checker.listens));
  }

  get count(): number {
    return this.#tracked.length;
  }

  /** True if some checker wants events of this kind. */
  hears(kind: Note | 0): boolean {
    return this.#heard.has(kind);
  }

  /** State of each checker after the set-up; ~ a finding if one objects to that already. */
  initial(events: readonly CheckedEvent[]): readonly number[] {
    return this.#tracked.map((tracked) => tracked.initial(events));
  }

  /** Number of a list of events: 0 for the empty one. */
  list(events: readonly CheckedEvent[]): number {
    const key = events.map(textOf).join("|");
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#lists.push(events) - 1;
      this.#numbers.set(key, number);
      this.#listeners.push(
        this.#tracked.flatMap(({ listens }, k) => (events.some(({ kind }) => listens.has(kind)) ? [k] : [])),
      );
    }
    return number;
  }

  /** Events of a list. */
  events(list: number): readonly CheckedEvent[] {
    return this.#lists[list]!;
  }

  /** Checkers that a list concerns. */
  listeners(list: number): readonly number[] {
    return this.#listeners[list]!;
  }

  /** State of checker `k` after a list of events: its number, or ~ the number of a finding. */
  successor(k: number, list: number, state: number): number {
    return this.#tracked[k]!.successor(list, this.#lists[list]!, state);
  }

  /** What a state of checker `k` makes of the low word of a fingerprint. */
  low(k: number, state: number): number {
    return this.#tracked[k]!.lows.data[state]!;
  }

  /** As `low`, of the high word. */
  high(k: number, state: number): number {
    return this.#tracked[k]!.highs.data[state]!;
  }

  /** Parts of the state of checker `k` that an event reads or writes; null if nobody knows. */
  touches(k: number, event: CheckedEvent): Touches | null {
    return this.#tracked[k]!.touches(event);
  }

  /** Number of the finding of checker `k` at the end of an execution, or -1. */
  final(k: number, state: number): number {
    return this.#tracked[k]!.final(state);
  }
}
