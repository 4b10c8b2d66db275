// The litmus module under the explorer, without a machine: a ground made by hand, and beside the search a plain walk
// through every interleaving, which keeps no table, recognises no state, and stops before every access.
import { Automata, Reclassified, type Ground } from "../src/explore/automata.js";
import { type ExploredModule } from "../src/explore/core.js";
import { Ghosts } from "../src/explore/ghosts.js";
import { Histories, type Call, type CallResult } from "../src/explore/program.js";
import { At, Runner, type RunEnd, type Suspension, type Watcher } from "../src/explore/runner.js";
import { findLivelock } from "../src/explore/liveness.js";
import { reducedSearch } from "../src/explore/reduce.js";
import { type SearchResult } from "../src/explore/result.js";
import { Search } from "../src/explore/search.js";
import { shortest, type ShortestResult } from "../src/explore/shortest.js";
import { warmUp } from "../src/explore/walk.js";
import { type MachineFacts } from "../src/invariants/checker.js";

/** Words of the module: number of the first, distance, and how many an outcome shows. */
const FIRST = 16384 / 4;
const STEP = 64 / 4;
const SHOWN = 3;
const SIZE = 65536;

/** Exports of the module that actors call; each returns a u32. */
const EXPORTS = [
  "increments",
  "touches",
  "lockedIncrement",
  "twoLocks",
  "writePair",
  "readPair",
  "send",
  "receive",
  "storeThenLoad",
  "put",
  "getReference",
  "awaitFlag",
  "raiseFlag",
  "choice",
  "trapOnTwo",
  "spinUntil",
  "raise",
  "swing",
];

/** What actors call, and the words that are not 0 at the start. */
export interface Litmus {
  readonly actors: readonly (readonly (readonly [name: string, ...args: number[]])[])[];
  readonly start?: readonly number[];
  /** True for outcomes that count as violations. */
  readonly forbids?: (outcome: string) => boolean;
}

/** What came of a litmus. */
export interface LitmusResult {
  /** "results of each actor | words", "deadlock" or "trap". */
  readonly outcomes: readonly string[];
  /** Executions walked through; of a search, states. */
  readonly count: number;
}

/** How the search is made. */
export interface LitmusOptions {
  readonly seed?: number;
  /** Leave out orders of steps that commute. */
  readonly reduce?: boolean;
}

export class LitmusGround {
  readonly #runner: Runner;
  readonly #module: ExploredModule;

  constructor(explored: ExploredModule) {
    this.#module = explored;
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
    this.#runner = new Runner(
      explored,
      memory,
      SIZE,
      Object.fromEntries(EXPORTS.map((name) => [name, { result: "u32" as const }])),
    );
  }

  #begin({ start = [] }: Litmus): void {
    this.#runner.words.fill(0, 0, SIZE / 4);
    start.forEach((value, i) => (this.#runner.words[FIRST + i * STEP] = value));
  }

  #outcome(results: readonly (readonly CallResult[])[]): string {
    const words = Array.from({ length: SHOWN }, (_, i) => this.#runner.words[FIRST + i * STEP]);
    return `${results.map((list) => list.join(",")).join(" ")} | ${words.join(" ")}`;
  }

  /** Every interleaving of every access, one by one; also the least number of switches to an outcome that is forbidden. */
  walk(
    litmus: Litmus,
  ): LitmusResult & { readonly fewest: { readonly switches: number; readonly steps: number } | null } {
    this.#begin(litmus);
    const plain = new PlainWalk(
      this.#runner,
      programsOf(litmus),
      (results) => this.#outcome(results),
      litmus.forbids,
    );
    plain.run();
    return { outcomes: [...plain.outcomes].sort(), count: plain.executions, fewest: plain.fewest };
  }

  #automata(litmus: Litmus): Automata {
    this.#begin(litmus);
    const ground: Ground = {
      runner: this.#runner,
      base: this.#runner.words.slice(0, SIZE / 4),
      ignored: () => false,
      scratch: () => false,
      internal: () => false,
      canonical: (own) => own,
      isAtomic: () => true,
      watchedFrom: Infinity,
    };
    const actors = programsOf(litmus).map((program, index) => ({ index, program }));
    return new Automata(actors, ground, new Ghosts([], {} as MachineFacts));
  }

  /** What `body` makes of the automata of a litmus, done again as long as they are not right yet. */
  #explored<T>(litmus: Litmus, { seed = 1 }: LitmusOptions, body: (automata: Automata) => T): T {
    const automata = this.#automata(litmus);
    const learn = (): void => {
      automata.begin([]);
      warmUp(automata, 20, seed);
    };
    while (true) {
      try {
        learn();
        return body(automata);
      } catch (error) {
        if (!(error instanceof Reclassified)) throw error;
      }
    }
  }

  #final(automata: Automata, litmus: Litmus) {
    return (state: Int32Array) => {
      const { words } = this.#runner;
      const n = automata.actors.length;
      automata.cells.forEach((word, i) => (words[word] = state[2 * n + i]!));
      const { base } = automata.ground;
      for (let a = 0; a < n; a++) {
        const { own } = automata.local[state[a]!]!;
        for (let i = 0; i < own.length; i += 2) words[own[i]!] = own[i + 1]!;
      }
      const outcome = this.#outcome(
        automata.histories.map((histories, a) => histories.results(automata.local[state[a]!]!.history)),
      );
      words.set(base);
      return { outcome, finding: litmus.forbids?.(outcome) ? { name: "forbidden", says: outcome } : null };
    };
  }

  /** The search under test, to its end. */
  search(litmus: Litmus, options: LitmusOptions = {}): LitmusResult & { readonly result: SearchResult } {
    const result = this.#explored(litmus, options, (automata) => {
      const given = { limits: LIMITS, stopAtFirst: false, final: this.#final(automata, litmus) };
      if (!options.reduce) return new Search(automata, given, String).run(automata.start);
      const isLoad = (site: number): boolean => this.#module.sites[site]?.kind === "load";
      return reducedSearch(automata, { ...given, describe: String, isLoad });
    });
    const wrong = result.violations.filter(({ kind }) => kind !== "violation").map(({ kind }) => kind);
    const outcomes = new Set([...result.outcomes.keys(), ...wrong]);
    return { outcomes: [...outcomes].sort(), count: result.states, result };
  }

  /** Whether executions end. */
  liveness(litmus: Litmus): ReturnType<typeof findLivelock> {
    return this.#explored(litmus, {}, (automata) => findLivelock(automata, LIMITS));
  }

  /** The search for the fewest switches. */
  shortest(litmus: Litmus, options: LitmusOptions = {}): ShortestResult {
    return this.#explored(litmus, options, (automata) =>
      shortest(automata, automata.start, {
        maxNodes: 1_000_000,
        maxSwitches: Infinity,
        final: this.#final(automata, litmus),
        describe: String,
        name: "",
      }),
    );
  }
}

const LIMITS = { maxStates: 10_000_000, maxDepth: 10_000, maxTime: 60_000 };

function programsOf({ actors }: Litmus) {
  return actors.map(
    (calls) =>
      function* (): Generator<Call, void, CallResult> {
        for (const [name, ...args] of calls) yield { name, args, text: name };
      },
  );
}

/** Suspends before every access. */
const EVERYWHERE: Watcher = { suspends: () => true, touched: () => undefined, noted: () => undefined };

/** An actor between two accesses. */
interface Standing {
  readonly suspension: Suspension | null;
  readonly trapped: boolean;
  readonly history: number;
  readonly asleep: boolean;
  readonly notified: boolean;
}

class PlainWalk {
  readonly outcomes = new Set<string>();
  executions = 0;
  fewest: { switches: number; steps: number } | null = null;
  readonly #histories: readonly Histories[];

  constructor(
    readonly runner: Runner,
    programs: readonly (() => Generator<Call, void, CallResult>)[],
    readonly outcome: (results: readonly (readonly CallResult[])[]) => string,
    readonly forbids: ((outcome: string) => boolean) | undefined,
  ) {
    this.#histories = programs.map((program) => new Histories(program));
  }

  run(): void {
    const actors = this.#histories.map((_, a) => this.#proceed(a, 0, null));
    this.#from(actors, -1, 0, 0);
  }

  /** The actor once it has come to its next access, from the end of a run, or from its beginning. */
  #proceed(a: number, history: number, first: RunEnd | null): Standing {
    const histories = this.#histories[a]!;
    let end = first;
    let at = history;
    while (end === null || end.kind === "returned") {
      if (end !== null) at = histories.extend(at, end.result);
      const call = histories.next(at);
      if (call === null) return { ...STANDING, history: at };
      end = this.runner.start(call, EVERYWHERE);
    }
    return end.kind === "suspended"
      ? { ...STANDING, suspension: end.suspension, history: at }
      : { ...STANDING, trapped: true, history: at };
  }

  #able({ suspension, asleep, notified }: Standing): boolean {
    if (!suspension) return false;
    return !asleep || notified || this.runner.words[suspension.address >>> 2] !== suspension.operand;
  }

  #from(actors: readonly Standing[], last: number, switches: number, steps: number): void {
    const able = actors.flatMap((actor, a) => (this.#able(actor) ? [a] : []));
    const trapped = actors.some((actor) => actor.trapped);
    if (able.length === 0 || trapped) {
      this.executions++;
      const stuck = actors.some(({ suspension }) => suspension !== null);
      const outcome = trapped
        ? "trap"
        : stuck
          ? "deadlock"
          : this.outcome(actors.map(({ history }, a) => this.#histories[a]!.results(history)));
      this.outcomes.add(outcome);
      const wrong = trapped || stuck || (this.forbids?.(outcome) ?? false);
      if (wrong && isFewer({ switches, steps }, this.fewest)) this.fewest = { switches, steps };
      return;
    }
    const words = this.runner.words.slice(FIRST, FIRST + 8 * STEP);
    for (const a of able) {
      for (const next of this.#steps(actors, a)) {
        this.#from(next(), a, switches + (last >= 0 && last !== a ? 1 : 0), steps + 1);
        this.runner.words.set(words, FIRST);
      }
    }
  }

  /** What actor `a` can do: each makes one step and says how the actors stand then. */
  #steps(actors: readonly Standing[], a: number): (() => readonly Standing[])[] {
    const me = actors[a]!;
    const suspension = me.suspension!;
    const goOn = (answer: number, others = actors): readonly Standing[] =>
      others.with(a, this.#proceed(a, me.history, this.runner.resume(suspension, answer, EVERYWHERE)));
    switch (suspension.at) {
      case At.Choose:
        return Array.from({ length: suspension.operand }, (_, way) => () => goOn(way));
      case At.Wait:
        if (me.asleep) return [() => goOn(me.notified ? 0 : 2)];
        if (this.runner.words[suspension.address >>> 2] !== suspension.operand) return [() => goOn(1)];
        return [() => actors.with(a, { ...me, asleep: true })];
      case At.Notify: {
        const asleep = actors.flatMap((other, b) =>
          other.asleep && !other.notified && other.suspension!.address === suspension.address ? [b] : [],
        );
        const sets = suspension.operand === 1 && asleep.length > 0 ? asleep.map((b) => [b]) : [asleep];
        return sets.map(
          (woken) => () =>
            goOn(
              woken.length,
              actors.map((other, b) => (woken.includes(b) ? { ...other, notified: true } : other)),
            ),
        );
      }
      default:
        return [() => goOn(0)];
    }
  }
}

const STANDING: Standing = { suspension: null, trapped: false, history: 0, asleep: false, notified: false };

function isFewer(
  one: { switches: number; steps: number },
  other: { switches: number; steps: number } | null,
): boolean {
  if (other === null || one.switches !== other.switches)
    return other === null || one.switches < other.switches;
  return one.steps < other.steps;
}
