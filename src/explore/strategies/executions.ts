/**
 * Runs executions one after the other from the start, each on the learned automata, with the checkers told: what the
 * strategies that sample have in common. Nothing is remembered of a state that was passed through, so that there is no
 * scope too large for it, and nothing is known of what was not met: an end without a finding proves nothing.
 */

import { Kind, type Automata } from "../automata.js";
import { Ends, endingOf } from "../ending.js";
import { type Finding } from "../ghosts.js";
import {
  type Counts,
  type FinalCheck,
  type Move,
  type SearchLimits,
  type SearchResult,
  type Violation,
} from "../result.js";
import { forcedActor } from "../search.js";
import { type Random } from "../walk.js";

/** Who acts next, in one execution after the other. */
export interface Sampler {
  /** An execution begins. `longest`: steps of the longest one so far. */
  begin(longest: number): void;
  /** One of those who can act: bit a of `able` is actor a; not 0. `step` counts from 0. */
  pick(able: number, step: number): number;
}

export interface ExecutionOptions {
  readonly limits: SearchLimits;
  readonly executions: number;
  readonly stopAtFirst: boolean;
  readonly final: FinalCheck;
  readonly describe: (address: number) => string;
  readonly random: Random;
  /** Called now and then; returns true to stop. */
  readonly progress?: (counts: Counts) => boolean;
}

/** Executions between two looks at the clock. */
const LOOK = 256;

/** Runs executions until one violates something, or all are run. Throws `Reclassified` as `Search.run` does. */
export function runExecutions(automata: Automata, sampler: Sampler, options: ExecutionOptions): SearchResult {
  return new Executions(automata, sampler, options).run();
}

class Executions {
  readonly #automata: Automata;
  readonly #sampler: Sampler;
  readonly #options: ExecutionOptions;
  readonly #violations: Violation[] = [];
  readonly #outcomes = new Map<string, number>();
  readonly #ends = new Ends();
  /** Actor and way of each step of the present execution. */
  readonly #actors: Uint8Array;
  readonly #ways: Int32Array;
  #steps = 0;
  #longest = 0;

  constructor(automata: Automata, sampler: Sampler, options: ExecutionOptions) {
    this.#automata = automata;
    this.#sampler = sampler;
    this.#options = options;
    this.#actors = new Uint8Array(options.limits.maxDepth);
    this.#ways = new Int32Array(options.limits.maxDepth);
  }

  run(): SearchResult {
    const { limits, executions, stopAtFirst, progress } = this.#options;
    const { start } = this.#automata;
    const deadline = performance.now() + limits.maxTime;
    const state = start.state.slice();
    let limit: SearchResult["limit"] = "executions";
    let ends = 0;
    for (const list of start.events) {
      const finding = list === 0 ? -1 : this.#tell(state, list);
      if (finding >= 0) this.#found("violation", this.#automata.ghosts.findings[finding]!, 0);
    }
    const began = state.slice();
    while (ends < executions && !(stopAtFirst && this.#violations.length > 0)) {
      state.set(began);
      if (!this.#execute(state)) limit = "depth";
      if (++ends % LOOK !== 0) continue;
      if (performance.now() > deadline) limit = "time";
      else if (progress?.({ states: this.#ends.size, steps: this.#steps, ends, depth: this.#longest }))
        limit = "stopped";
      if (limit === "time" || limit === "stopped") break;
    }
    return {
      limit: stopAtFirst && this.#violations.length > 0 ? null : limit,
      violations: this.#violations,
      outcomes: this.#outcomes,
      states: this.#ends.size,
      steps: this.#steps,
      ends,
      depth: this.#longest,
      cycles: 0,
      bytes: 0,
    };
  }

  /** One execution. False if it was too long. */
  #execute(state: Int32Array): boolean {
    const automata = this.#automata;
    const { random, limits } = this.#options;
    const n = automata.actors.length;
    const sampler = this.#sampler;
    sampler.begin(this.#longest);
    let step = 0;
    for (; step < limits.maxDepth; step++) {
      let a = forcedActor(automata, state);
      if (a < 0) {
        let able = 0;
        for (let b = 0; b < n; b++) if (automata.enabled(state, b)) able |= 1 << b;
        if (able === 0) break;
        a = sampler.pick(able, step);
      }
      const ways = automata.ways(state, a);
      const way = ways === 1 ? 0 : random.below(ways);
      this.#actors[step] = a;
      this.#ways[step] = way;
      const finding = this.#take(state, automata.transition(state, a, way));
      const local = state[a]!;
      if (finding >= 0) {
        this.#found("violation", automata.ghosts.findings[finding]!, ++step);
        return this.#close(step);
      }
      if (automata.kind.data[local] === Kind.Trapped) {
        this.#found("trap", { name: "trap", says: automata.local[local]!.message }, ++step);
        return this.#close(step);
      }
    }
    if (step < limits.maxDepth) this.#end(state, step);
    this.#close(step);
    return step < limits.maxDepth;
  }

  #close(steps: number): true {
    this.#steps += steps;
    if (steps > this.#longest) this.#longest = steps;
    return true;
  }

  /** Takes a transition. Number of a finding of a checker, or -1. */
  #take(state: Int32Array, t: number): number {
    const automata = this.#automata;
    const index = automata.index.data;
    const after = automata.after.data;
    const end = automata.first.data[t + 1]!;
    for (let i = automata.first.data[t]!; i < end; i++) state[index[i]!] = after[i]!;
    const list = automata.events.data[t]!;
    return list === 0 ? -1 : this.#tell(state, list);
  }

  #tell(state: Int32Array, list: number): number {
    const { ghosts, ghostsAt } = this.#automata;
    let finding = -1;
    for (const k of ghosts.listeners(list)) {
      const after = ghosts.successor(k, list, state[ghostsAt + k]!);
      if (after >= 0) state[ghostsAt + k] = after;
      else if (finding < 0) finding = ~after;
    }
    return finding;
  }

  #end(state: Int32Array, moves: number): void {
    const { final, describe } = this.#options;
    const { ending, first } = this.#ends.of(state, () => endingOf(this.#automata, state, final, describe));
    if (!first) return;
    const { outcome, wrong } = ending;
    if (outcome !== null) this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1);
    if (wrong) this.#found(wrong.kind, wrong, moves);
  }

  #found(kind: Violation["kind"], { name, says }: Finding, moves: number): void {
    if (this.#violations.some((v) => v.name === name && v.says === says)) return;
    const schedule: Move[] = Array.from({ length: moves }, (_, i) => ({
      actor: this.#actors[i]!,
      way: this.#ways[i]!,
    }));
    this.#violations.push({ kind, name, says, schedule });
  }
}
