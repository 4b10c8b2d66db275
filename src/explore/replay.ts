/**
 * Runs one schedule in the core itself: no table, no state put back, memory as it comes. Every access is recorded, every
 * event told to the checkers. It is how each violation is confirmed, how counterexamples are printed, and what the tests
 * compare the learned automata with.
 */

import { objects, type CheckedEvent, type Checker, type Ghost } from "../invariants/checker.js";
import { GuestMmuError } from "../errors.js";
import { deadlockInWords } from "./deadlock.js";
import { Histories, callInWords } from "./program.js";
import { At, type RunEnd, type Suspension, type Watcher } from "./runner.js";
import { accessEvent, eventOf, type Setup } from "./setup.js";
import { type NoteEvent, type Passage, type TraceAccess, type TraceEnd } from "./trace.js";

/** A stretch of a schedule: one actor makes so many accesses; `ways` answers the choices met on the way, in order. */
export interface Stretch {
  readonly actor: number;
  readonly accesses: number;
  readonly ways: readonly number[];
}

/** What a replay recorded. */
export interface Replayed {
  readonly accesses: readonly TraceAccess[];
  readonly stretches: readonly Stretch[];
  /** Calls that made accesses, in the order of their first ones. */
  readonly calls: readonly string[];
  readonly end: TraceEnd;
  readonly outcome: string | null;
}

/** Accesses in a row by one actor after which a replay counts as endless. */
const ENDLESS = 1_000_000;

interface Recorded {
  step: number;
  actor: number;
  site: number;
  address: number;
  size: number;
  before: bigint;
  after: bigint;
  passage?: Passage;
  memory?: bigint;
  notes: NoteEvent[];
}

/** An execution under way. */
export class Replay implements Watcher {
  readonly #setup: Setup;
  readonly #checkers: readonly Checker[];
  readonly #ghosts: Ghost[];
  readonly #histories: readonly Histories[];
  readonly #history: number[];
  readonly #suspended: (Suspension | null)[];
  readonly #started: boolean[];
  readonly #asleep: number[];
  readonly #recorded: Recorded[] = [];
  readonly #stretches: { actor: number; accesses: number; ways: number[] }[] = [];
  readonly #suspendAt: (address: number, length: number) => boolean;
  readonly #calls: string[] = [];
  /** History of each actor at the last call that is in `#calls`. */
  readonly #called: number[];
  #actor = 0;
  #step = -1;
  /** Accesses left before the actor is to be suspended; Infinity where `#suspendAt` decides. */
  #left = Infinity;
  #made = 0;
  /** Stores that are in a buffer: their places in what was recorded, oldest first. */
  readonly #buffered: number[] = [];
  /** Accesses whose value afterwards is known. */
  #settled = 0;
  #end: TraceEnd | null = null;

  /** @param suspendAt says which words another actor could see: where steps begin and end */
  constructor(
    setup: Setup,
    checkers: readonly Checker[],
    suspendAt: (address: number, length: number) => boolean = () => false,
  ) {
    this.#setup = setup;
    this.#checkers = checkers;
    this.#suspendAt = suspendAt;
    const { actors } = setup;
    this.#histories = actors.map(({ program, label }) => new Histories(program, label));
    this.#history = actors.map(() => 0);
    this.#suspended = actors.map(() => null);
    this.#started = actors.map(() => false);
    this.#asleep = actors.map(() => 0);
    this.#called = actors.map(() => -1);
    this.#ghosts = checkers.map((checker) => checker.initial(setup.facts));
    for (const event of setup.events) this.#check(event);
  }

  /** How the execution has ended, if something ended it before every actor was done. */
  get ended(): TraceEnd | null {
    return this.#end;
  }

  /** Accesses made so far. */
  get made(): number {
    return this.#made;
  }

  /** True if actor `a` can act now. */
  enabled(a: number): boolean {
    if (this.#end) return false;
    if (!this.#started[a]) return this.#histories[a]!.next(0) !== null;
    const suspension = this.#suspended[a];
    if (!suspension) return false;
    if (suspension.at !== At.Wait || this.#asleep[a] === 0) return true;
    return this.#asleep[a] === AWAKE || this.#word(suspension.address) !== suspension.operand;
  }

  /** True if actor `a` has come to the end of its program. */
  done(a: number): boolean {
    return this.#started[a]! ? this.#suspended[a] === null : this.#histories[a]!.next(0) === null;
  }

  /** Number of ways in which actor `a`, which is enabled, can act. */
  ways(a: number): number {
    const suspension = this.#suspended[a];
    if (suspension?.at === At.Choose) return suspension.operand;
    if (suspension?.at === At.Notify && suspension.operand === 1) {
      return Math.max(1, this.#sleepers(suspension.address).length);
    }
    return 1;
  }

  /** Brings every actor to its first step, as the automata do. Left out, each begins when it is its turn. */
  begin(): void {
    for (let a = 0; a < this.#started.length && !this.#end; a++) this.#go(a, 0, Infinity);
  }

  /** One step of actor `a`: up to the next word that another actor could see. */
  step(a: number, way: number): void {
    this.#step++;
    if (!this.#started[a]) this.#go(a, 0, Infinity);
    if (!this.#end) this.#go(a, way, Infinity);
  }

  /**
   * One step under a memory model: the actor finds `seen` in memory, which then is made `memory`, whatever it has stored.
   * `passage`: how the access that the step begins with stands to memory.
   */
  stepUnder(
    a: number,
    way: number,
    seen: readonly (readonly [word: number, value: number])[],
    passage: Passage | undefined,
    memory: () => Iterable<readonly [word: number, value: number]>,
  ): void {
    if (!this.#started[a]) this.#go(a, 0, Infinity);
    const { words } = this.#setup.ground.runner;
    const held = seen[0] && BigInt(words[seen[0][0]]! >>> 0);
    for (const [word, value] of seen) words[word] = value;
    const at = this.#recorded.length;
    this.step(a, way);
    this.#settleLast();
    this.#settled = this.#recorded.length;
    for (const [word, value] of memory()) words[word] = value;
    const access = this.#recorded[at];
    if (access === undefined || passage === undefined) return;
    access.passage = passage;
    if (passage === "late" && held !== undefined) access.memory = held;
    if (passage === "buffered") this.#buffered.push(at);
  }

  /** A store of actor `a`, to the words `drained`, reaches memory, which then is `memory`. */
  drain(
    a: number,
    drained: readonly number[],
    memory: Iterable<readonly [word: number, value: number]>,
  ): void {
    this.#settleLast();
    this.#step++;
    const { words } = this.#setup.ground.runner;
    const first = this.#buffered.findIndex((at) => {
      const { actor, address, size } = this.#recorded[at]!;
      return actor === a && wordsOf(address, size).some((word) => drained.includes(word));
    });
    if (first >= 0) this.#reach(this.#buffered.splice(first, 1)[0]!);
    for (const [word, value] of memory) words[word] = value;
    this.#settled = this.#recorded.length;
  }

  /** The store recorded at `at` reaches memory. */
  #reach(at: number): void {
    if (this.#isAtOnce(at)) return;
    const store = this.#recorded[at]!;
    const { actor, site, address, size, after } = store;
    const before = this.#value(address, size);
    const step = Math.max(0, this.#step);
    this.#recorded.push({ step, actor, site, address, size, before, after, passage: "drained", notes: [] });
  }

  /** If nobody else has acted since a store, it might as well have reached memory at once: it is recorded so. */
  #isAtOnce(at: number): boolean {
    const store = this.#recorded[at]!;
    const since = this.#recorded.slice(at);
    if (!since.every(({ actor }) => actor === store.actor)) return false;
    delete store.passage;
    for (const access of since) {
      if (access.address === store.address && access.passage === "forwarded") delete access.passage;
    }
    return true;
  }

  /** A stretch of a recorded schedule. False if the actor could not make all of its accesses. */
  stretch({ actor, accesses, ways }: Stretch): boolean {
    this.#step++;
    const target = this.#made + accesses;
    let choice = 0;
    while (this.#made < target && !this.#end) {
      if (!this.enabled(actor)) return false;
      const before = this.#made;
      const way = this.ways(actor) > 1 ? (ways[choice++] ?? 0) : 0;
      this.#go(actor, way, target - before);
      if (this.#made === before && this.#suspended[actor] && this.#asleep[actor] === 0) continue;
    }
    return this.#made === target || this.#end !== null;
  }

  /**
   * How everybody stands: two moments at which it is the same are the same to all that follows. `words`: those that more
   * than one actor touches.
   */
  standing(words: readonly number[]): string {
    const memory = this.#setup.ground.runner.words;
    const actors = this.#suspended.map((suspension, a) => {
      const at = suspension
        ? `${suspension.site} ${suspension.address} ${suspension.stack.join(",")}`
        : "nowhere";
      return `${this.#history[a]} ${this.#asleep[a]} ${at}`;
    });
    return `${actors.join("|")}|${words.map((word) => memory[word]).join(",")}`;
  }

  /** Ends the execution with what the search has found in it, and no event tells. */
  conclude(kind: TraceEnd["kind"], name: string, says: string): void {
    this.#stop(kind, name, says);
  }

  /** Ends the execution: deadlock, or the judgement of a finished one. */
  finish(): Replayed {
    this.#settleLast();
    for (const at of this.#buffered) this.#isAtOnce(at);
    let outcome: string | null = null;
    if (!this.#end) {
      const isWaiting = this.#suspended.some((suspension, a) => suspension && this.#isAsleep(a));
      const unfinished = this.#suspended.some((suspension, a) => suspension !== null || !this.done(a));
      if (unfinished && isWaiting) this.#stop("deadlock", "deadlock", this.#deadlock());
      else if (!unfinished) outcome = this.#judge();
    }
    const accesses = this.#accesses();
    this.#setup.restore();
    return {
      accesses,
      stretches: this.#stretches,
      calls: this.#calls,
      end: this.#end ?? { kind: "done", name: "", says: outcome ?? "not every actor is done" },
      outcome,
    };
  }

  #isAsleep(a: number): boolean {
    return this.#asleep[a] !== 0 && !this.enabled(a);
  }

  #deadlock(): string {
    const { facts, actors, explored } = this.#setup;
    const standing = actors.map(({ name, index }, a) => ({
      name,
      index,
      waitsFor: this.#isAsleep(a) ? this.#suspended[a]?.address : undefined,
    }));
    const past = this.#recorded.map(({ site, actor, address, notes }) => ({
      actor,
      address,
      function: explored.sites[site]?.function ?? "",
      writes: site >= 0 && isWrite(explored.sites[site]!.kind),
      notes,
    }));
    return deadlockInWords(facts.layout, standing, past, (address) => this.#word(address));
  }

  #judge(): string | null {
    for (const [k, checker] of this.#checkers.entries()) {
      const result = checker.final?.(this.#ghosts[k]!, this.#setup.facts) ?? null;
      if (result) {
        this.#stop("violation", checker.name, result.objection);
        return null;
      }
    }
    const results = this.#histories.map((histories, a) => histories.results(this.#history[a]!));
    const { outcome, finding } = this.#setup.judge(results);
    if (finding) this.#stop("violation", finding.name, finding.says);
    return outcome;
  }

  #stop(kind: TraceEnd["kind"], name: string, says: string): void {
    this.#end ??= { kind, name, says };
  }

  #word(address: number): number {
    return this.#setup.ground.runner.words[address >>> 2]!;
  }

  #sleepers(address: number): number[] {
    return this.#asleep.flatMap((at, a) => (at === address ? [a] : []));
  }

  #go(a: number, way: number, left: number): void {
    this.#actor = a;
    this.#left = left;
    const made = this.#made;
    const several = this.ways(a) > 1;
    const end = this.#advance(a, way);
    if (end) this.#settle(a, end);
    this.#log(a, this.#made - made, several ? [way] : []);
  }

  #log(actor: number, accesses: number, ways: readonly number[]): void {
    // Who only came to the place before his first access has done nothing that has to be repeated.
    if (accesses === 0 && ways.length === 0) return;
    const last = this.#stretches.at(-1);
    if (last?.actor === actor) {
      last.accesses += accesses;
      last.ways.push(...ways);
    } else this.#stretches.push({ actor, accesses, ways: [...ways] });
  }

  /** Starts or resumes the actor; null if it only fell asleep. */
  #advance(a: number, way: number): RunEnd | null {
    const { runner } = this.#setup.ground;
    if (!this.#started[a]) {
      this.#started[a] = true;
      return this.#next(a);
    }
    const suspension = this.#suspended[a]!;
    switch (suspension.at) {
      case At.Wait:
        if (this.#asleep[a] === 0) {
          if (this.#word(suspension.address) === suspension.operand) {
            this.touched(suspension.site, suspension.address, 4, false);
            this.#asleep[a] = suspension.address;
            return null;
          }
          return runner.resume(suspension, 1, this);
        }
        {
          const answer = this.#asleep[a] === AWAKE ? 0 : 2;
          this.#asleep[a] = 0;
          return runner.resume(suspension, answer, this);
        }
      case At.Notify: {
        const sleepers = this.#sleepers(suspension.address);
        const woken = suspension.operand === 1 ? sleepers.slice(way, way + 1) : sleepers;
        for (const other of woken) this.#asleep[other] = AWAKE;
        this.#record(suspension.site, suspension.address, 4);
        return runner.resume(suspension, woken.length, this);
      }
      case At.Choose:
        this.#record(-1, 0, 0, BigInt(suspension.operand), BigInt(way));
        return runner.resume(suspension, way, this);
      default:
        return runner.resume(suspension, 0, this);
    }
  }

  #next(a: number): RunEnd | null {
    const call = this.#histories[a]!.next(this.#history[a]!);
    return call === null ? null : this.#setup.ground.runner.start(call, this);
  }

  #settle(a: number, first: RunEnd): void {
    let end: RunEnd | null = first;
    while (end?.kind === "returned") {
      this.#history[a] = this.#histories[a]!.extend(this.#history[a]!, end.result);
      end = this.#next(a);
    }
    this.#suspended[a] = end?.kind === "suspended" ? end.suspension : null;
    if (end?.kind === "trapped") this.#stop("trap", "trap", end.message);
  }

  // What the runner tells.

  suspends(address: number, length: number): boolean {
    if (this.#end) return true;
    return this.#left <= 0 || (this.#left === Infinity && this.#suspendAt(address, length));
  }

  touched(site: number, address: number, length: number, write: boolean): void {
    this.#record(site, address, length);
    const { ground, actors, explored } = this.#setup;
    if (address >= ground.watchedFrom) {
      const atomic = explored.sites[site]?.atomic ?? false;
      this.#check(accessEvent(actors[this.#actor]!.index, address, length, atomic, write));
    }
  }

  noted(kind: number, a: bigint, b: bigint): void {
    const event = eventOf(kind, this.#setup.actors[this.#actor]!.index, a, b);
    this.#recorded.at(-1)?.notes.push({ kind: event.kind, sub: event.sub, detail: event.detail, a, b });
    this.#check(event);
  }

  #record(site: number, address: number, size: number, before?: bigint, after?: bigint): void {
    this.#settleLast();
    if (++this.#made > ENDLESS) {
      throw new GuestMmuError("LIMIT_REACHED", {
        message: `An execution made ${ENDLESS} accesses without coming to an end.`,
        hint: "Give the scenario fewer calls.",
      });
    }
    this.#left--;
    this.#noteCall();
    const value = before ?? this.#value(address, size);
    this.#recorded.push({
      step: Math.max(0, this.#step),
      actor: this.#actor,
      site,
      address,
      size,
      before: value,
      after: after ?? value,
      notes: [],
    });
  }

  /** Remembers the call that the actor is in, once. */
  #noteCall(): void {
    const a = this.#actor;
    const history = this.#history[a]!;
    if (this.#called[a] === history) return;
    this.#called[a] = history;
    const call = this.#histories[a]!.next(history);
    if (call) this.#calls.push(`${a} ${callInWords(call)}`);
  }

  #settleLast(): void {
    const last = this.#recorded.at(-1);
    if (last && last.site >= 0 && this.#recorded.length > this.#settled)
      last.after = this.#value(last.address, last.size);
  }

  #value(address: number, size: number): bigint {
    const view = new DataView(this.#setup.ground.runner.memory.buffer);
    if (size >= 8) return view.getBigUint64(address, true);
    if (size === 4) return BigInt(view.getUint32(address, true));
    if (size === 2) return BigInt(view.getUint16(address, true));
    return size === 1 ? BigInt(view.getUint8(address)) : 0n;
  }

  #check(event: CheckedEvent): void {
    for (const [k, checker] of this.#checkers.entries()) {
      if (this.#end) return;
      if (!checker.listens.includes(event.kind)) continue;
      const next = checker.step(this.#ghosts[k]!, event, this.#setup.facts);
      if (objects(next)) this.#stop("violation", checker.name, next.objection);
      else this.#ghosts[k] = next;
    }
  }

  #accesses(): TraceAccess[] {
    const { sites } = this.#setup.explored;
    const shared = sharedWords(this.#recorded, sites);
    return this.#recorded.map(({ site, address, size, ...rest }) => ({
      ...rest,
      site: sites[site] ?? CHOICE,
      address,
      size,
      shared: wordsOf(address, size).some((word) => shared.has(word)),
    }));
  }
}

/** Address of one who sleeps no more: it has been notified. */
const AWAKE = -1;

const CHOICE = {
  function: "choose",
  file: "assembly/env.ts",
  line: 0,
  kind: "choose",
  atomic: true,
  size: 0,
} as const;

function wordsOf(address: number, size: number): number[] {
  if (size === 0) return [];
  const first = address >>> 2;
  return Array.from({ length: ((address + size + 3) >>> 2) - first }, (_, i) => first + i);
}

function isWrite(kind: string): boolean {
  return !["load", "wait", "notify"].includes(kind);
}

/** Words that two actors touched, one of them writing. */
function sharedWords(
  recorded: readonly Recorded[],
  sites: readonly { readonly kind: string }[],
): ReadonlySet<number> {
  const actors = new Map<number, { all: number; writers: number }>();
  for (const { actor, site, address, size } of recorded) {
    const writes = site >= 0 && isWrite(sites[site]!.kind);
    for (const word of wordsOf(address, size)) {
      const seen = actors.get(word) ?? { all: 0, writers: 0 };
      seen.all |= 1 << actor;
      if (writes) seen.writers |= 1 << actor;
      actors.set(word, seen);
    }
  }
  const several = (set: number): boolean => (set & (set - 1)) !== 0;
  return new Set([...actors].flatMap(([word, { all, writers }]) => (writers && several(all) ? [word] : [])));
}
