/**
 * What a step of an actor touches, and what the actor may still touch before it is done: what the partial-order reduction
 * decides by. Taken from the learned automata, once for each local state: parts are the cells, who sleeps where, and the
 * parts of the checkers' states (Checker.touches). A stretch of hardware counts as one step, as nothing comes between.
 *
 * What is not learned yet is taken to touch everything.
 */

import { Kind, type Automata } from "./automata.js";
import { type CheckedEvent } from "../invariants/checker.js";

const COMPARED = 1;
const COMMUTE = 2;
const FOR_EVER = 4;
/** Pairs of local states that are kept, a byte each. */
const PAIRS_MAX = 1 << 27;

/** Sets of parts, in bits: read and written by the next step, and by any step from here on. */
export class Footprints {
  /** 32-bit words of a set. */
  #words = 0;
  #stepRead = new Uint32Array(0);
  #stepWrite = new Uint32Array(0);
  #futureAny = new Uint32Array(0);
  #futureWrite = new Uint32Array(0);
  /** 1: the next step is not known; 2: one of those that follow is not. */
  #unknown = new Uint8Array(0);
  /** What was found out of each pair; null if there are too many. */
  #relations: Uint8Array | null = null;
  readonly #parts = new Map<string, number>();

  /** @param isLoad true for sites that only read */
  constructor(automata: Automata, isLoad: (site: number) => boolean) {
    const events = this.#partsOfEvents(automata);
    const count = automata.local.length;
    this.#words = (automata.ghostsAt + this.#parts.size + 31) >>> 5;
    this.#stepRead = new Uint32Array(count * this.#words);
    this.#stepWrite = new Uint32Array(count * this.#words);
    this.#unknown = new Uint8Array(count);
    for (let l = 0; l < count; l++) this.#addAccess(automata, l, isLoad);
    const stepped = new Uint8Array(count);
    for (const { from, events: list } of automata.learned) {
      stepped[from] = 1;
      for (const { part, write } of events.get(list) ?? []) this.#add(from, part, write);
    }
    for (let l = 0; l < count; l++) {
      const kind = automata.kind.data[l];
      if (stepped[l] === 0 && kind !== Kind.Done && kind !== Kind.Trapped) this.#unknown[l] = 3;
    }
    this.#close(automata);
    if (count * count <= PAIRS_MAX) this.#relations = new Uint8Array(count * count);
  }

  /** Parts that each list of events reads or writes; the numbers of ghost parts follow those of state indices. */
  #partsOfEvents(automata: Automata) {
    const { ghosts, ghostsAt } = automata;
    const known = new Map<number, { part: number; write: boolean }[]>();
    for (const { events: list } of automata.learned) {
      if (list === 0 || known.has(list)) continue;
      const touched: { part: number; write: boolean }[] = [];
      for (const k of ghosts.listeners(list)) {
        for (const event of ghosts.events(list)) {
          for (const { key, write } of touchesOf(automata, k, event)) {
            let part = this.#parts.get(key);
            if (part === undefined) this.#parts.set(key, (part = ghostsAt + this.#parts.size));
            touched.push({ part, write });
          }
        }
      }
      known.set(list, touched);
    }
    return known;
  }

  #addAccess(automata: Automata, l: number, isLoad: (site: number) => boolean): void {
    const { actor, kind, suspension } = automata.local[l]!;
    const sleep = automata.actors.length + actor;
    for (const index of automata.footprint(l)) {
      const reads = kind === Kind.Access ? isLoad(suspension!.site) : kind !== Kind.Notify && index !== sleep;
      this.#add(l, index, !reads);
    }
  }

  #add(l: number, part: number, write: boolean): void {
    const at = l * this.#words + (part >>> 5);
    this.#stepRead[at]! |= 1 << (part & 31);
    if (write) this.#stepWrite[at]! |= 1 << (part & 31);
  }

  /** Carries sets from each local state to those that lead to it, until nothing changes. */
  #close(automata: Automata): void {
    const into = Array.from({ length: automata.local.length }, () => [] as number[]);
    const add = (to: number, from: number): void => {
      if (to !== from && !into[to]!.includes(from)) into[to]!.push(from);
    };
    for (const { from, next } of automata.learned) add(next, from);
    // Within hardware the next step takes in those that follow.
    this.#spread(into, (to) => automata.forced.data[to] === 1, [this.#stepRead, this.#stepWrite], 1);
    this.#futureAny = this.#stepRead.slice();
    this.#futureWrite = this.#stepWrite.slice();
    this.#spread(into, () => true, [this.#futureAny, this.#futureWrite], 2);
  }

  #spread(
    into: readonly (readonly number[])[],
    through: (to: number) => boolean,
    sets: readonly Uint32Array[],
    unknown: number,
  ): void {
    const words = this.#words;
    const work = into.map((_, l) => l);
    const waiting = new Uint8Array(into.length).fill(1);
    while (work.length > 0) {
      const to = work.pop()!;
      waiting[to] = 0;
      if (!through(to)) continue;
      for (const from of into[to]!) {
        let changed = false;
        for (const set of sets) {
          for (let w = 0; w < words; w++) {
            const more = set[from * words + w]! | set[to * words + w]!;
            if (more >>> 0 === set[from * words + w]) continue;
            set[from * words + w] = more;
            changed = true;
          }
        }
        const bits = this.#unknown[to]! & unknown;
        if ((this.#unknown[from]! & bits) !== bits) {
          this.#unknown[from]! |= bits;
          changed = true;
        }
        if (changed && waiting[from] === 0) {
          waiting[from] = 1;
          work.push(from);
        }
      }
    }
  }

  /** True if the next steps in two local states of different actors may be swapped. */
  commute(l: number, m: number): boolean {
    return (this.#relation(l, m) & COMMUTE) !== 0;
  }

  /** True if the next step in `l` may be swapped with every step of an actor in `m`, now and later. */
  commuteForEver(l: number, m: number): boolean {
    return (this.#relation(l, m) & FOR_EVER) !== 0;
  }

  /** True if something that `other`, made earlier, knows of touches more than it says. */
  exceed(other: Footprints): boolean {
    const pairs = [
      [this.#stepRead, other.#stepRead],
      [this.#stepWrite, other.#stepWrite],
      [this.#futureAny, other.#futureAny],
      [this.#futureWrite, other.#futureWrite],
    ] as const;
    for (let l = 0; l < other.#unknown.length; l++) {
      if (other.#unknown[l] === 3) continue;
      if ((this.#unknown[l]! & ~other.#unknown[l]!) !== 0) return true;
      for (const [mine, theirs] of other.#unknown[l] === 2 ? pairs.slice(0, 2) : pairs) {
        for (let w = 0; w < this.#words; w++) {
          const before = w < other.#words ? theirs[l * other.#words + w]! : 0;
          if ((mine[l * this.#words + w]! & ~before) !== 0) return true;
        }
      }
    }
    return false;
  }

  #relation(l: number, m: number): number {
    const count = this.#unknown.length;
    if (l >= count || m >= count) return 0;
    if (this.#relations === null) return this.#compare(l, m);
    const known = this.#relations[l * count + m]!;
    return known !== 0 ? known : (this.#relations[l * count + m] = this.#compare(l, m));
  }

  #compare(l: number, m: number): number {
    const words = this.#words;
    let now = ((this.#unknown[l]! | this.#unknown[m]!) & 1) === 0;
    let forEver = (this.#unknown[l]! & 1) === 0 && (this.#unknown[m]! & 2) === 0;
    for (let w = 0, i = l * words, j = m * words; w < words; w++, i++, j++) {
      const reads = this.#stepRead[i]!;
      const written = this.#stepWrite[i]!;
      if ((written & this.#stepRead[j]!) !== 0 || (reads & this.#stepWrite[j]!) !== 0) now = false;
      if ((written & this.#futureAny[j]!) !== 0 || (reads & this.#futureWrite[j]!) !== 0) forEver = false;
    }
    return COMPARED | (now ? COMMUTE : 0) | (forEver ? FOR_EVER : 0);
  }
}

function touchesOf({ ghosts }: Automata, k: number, event: CheckedEvent) {
  const touches = ghosts.touches(k, event) ?? [{ key: "*", write: true }];
  return touches.map(({ key, write }) => ({ key: `${k} ${key}`, write }));
}
