/**
 * The shortest way to a violation: fewest changes of the running actor first, then fewest steps. Breadth first over pairs
 * (state, actor that ran last), in that order of cost, so that the first violation met is a shortest one. The states are
 * kept as vectors: this is for the neighbourhood of a violation, which is small; a limit bounds it.
 */

import { type Automata, Kind } from "./automata.js";
import { type FinalCheck, type Inspected, type Move, type Violation } from "./result.js";
import { Position, deadlockIn, forcedActor } from "./search.js";
import { Fingerprints, Ints, mixHigh, mixLow } from "./tables.js";

/** What the search for a shortest violation came to. */
export interface ShortestResult {
  readonly violation: Violation | null;
  /** Changes of the actor up to which everything was seen; of a violation, how many it takes. */
  readonly switches: number;
  readonly nodes: number;
  readonly steps: number;
  /** Steps of the longest execution that was followed. */
  readonly deepest: number;
  /** True if more switches would lead to no other state. */
  readonly everything: boolean;
  /** False if the limit of nodes or of time ended it. */
  readonly complete: boolean;
}

export interface ShortestOptions {
  readonly maxNodes: number;
  /** Milliseconds. Default: no limit. */
  readonly maxTime?: number;
  /** Most changes of the running actor; Infinity for no bound. */
  readonly maxSwitches: number;
  readonly final: FinalCheck;
  readonly describe: (address: number) => string;
  /** Only a violation of this name counts; "" for any. */
  readonly name: string;
  /** Names of violations that do not count. */
  readonly except?: ReadonlySet<string>;
  /** A state that is a violation in itself, and the moves that show it. */
  readonly goal?: (
    state: Int32Array,
    low: number,
    high: number,
  ) => (Inspected & { readonly kind: Violation["kind"] }) | null;
}

/** Finds the violation that takes the fewest switches. Throws `Reclassified` as `Search.run` does. */
export function shortest(
  automata: Automata,
  start: { readonly state: Int32Array; readonly events: readonly number[] },
  options: ShortestOptions,
): ShortestResult {
  const n = automata.actors.length;
  const position = new Position(automata, start.state);
  for (const list of start.events) {
    const finding = list === 0 ? -1 : position.tell(list);
    if (finding >= 0) {
      const violation = { kind: "violation", ...automata.ghosts.findings[finding]!, schedule: [] } as const;
      return { violation, switches: 0, nodes: 0, steps: 0, deepest: 0, everything: false, complete: true };
    }
  }
  const width = position.state.length;
  const seen = new Fingerprints(options.maxNodes);
  let vectors = new Int32Array(width * 1024);
  const parent = new Ints();
  const mover = new Ints();
  const moverWay = new Ints();
  /** Nodes of a later layer, which count as seen only when it is their turn: a cheaper way may be found first. */
  const fresh: (1 | undefined)[] = [];
  const add = (state: Int32Array, from: number, actor: number, way: number): number => {
    const node = parent.push(from);
    mover.push(actor);
    moverWay.push(way);
    if ((node + 1) * width > vectors.length) {
      const larger = new Int32Array(vectors.length * 2);
      larger.set(vectors);
      vectors = larger;
    }
    vectors.set(state, node * width);
    return node;
  };
  const scheduleOf = (node: number, last: Move | null): Move[] => {
    const moves: Move[] = last ? [last] : [];
    for (let at = node; parent.data[at]! >= 0; at = parent.data[at]!) {
      moves.push({ actor: mover.data[at]!, way: moverWay.data[at]! });
    }
    return moves.reverse();
  };

  const enter = (node: number): boolean => {
    const last = mover.data[node]!;
    const { low, high } = new Position(automata, vectors.slice(node * width, (node + 1) * width));
    return seen.add(low ^ mixLow(-1, last), high ^ mixHigh(-1, last));
  };

  const counts = (name: string): boolean =>
    (options.name === "" || name === options.name) && !(options.except?.has(name) ?? false);
  const deadline = performance.now() + (options.maxTime ?? Infinity);
  let steps = 0;
  let deepest = 0;
  /** More switches than are allowed would have led further. */
  let cut = false;
  const result = (
    violation: Violation | null,
    switches: number,
    complete = true,
    everything = false,
  ): ShortestResult => ({ violation, switches, nodes: parent.length, steps, deepest, everything, complete });
  let best: Violation | null = null;
  add(position.state, -1, -1, 0);
  seen.add(position.low ^ mixLow(-1, -1), position.high ^ mixHigh(-1, -1));
  // Nodes of the present number of switches, by steps; and those of one more.
  let layer: number[][] = [[0]];
  for (let switches = 0; switches <= options.maxSwitches; switches++) {
    const next: number[][] = [];
    for (let row = 0; row < layer.length; row++) {
      deepest = Math.max(deepest, row);
      for (const node of layer[row] ?? []) {
        if (fresh[node] === 1 && !enter(node)) continue;
        const origin = vectors.slice(node * width, (node + 1) * width);
        const here = new Position(automata, origin);
        const goal = options.goal?.(here.state, here.low, here.high) ?? null;
        if (goal && counts(goal.name)) {
          const { kind, name, says, then } = goal;
          const violation = { kind, name, says, schedule: [...scheduleOf(node, null), ...then] };
          return result(violation, switches);
        }
        const only = forcedActor(automata, here.state);
        let moved = false;
        for (let a = 0; a < n; a++) {
          if ((only >= 0 && a !== only) || !automata.enabled(here.state, a)) continue;
          moved = true;
          const last = mover.data[node]!;
          const cost = last < 0 || last === a ? 0 : 1;
          for (let way = 0, ways = automata.ways(here.state, a); way < ways; way++) {
            steps++;
            const t = automata.transition(here.state, a, way);
            const mark = here.mark;
            const finding = here.take(t);
            const local = here.state[a]!;
            const trapped = automata.kind.data[local] === Kind.Trapped;
            if (finding >= 0 || trapped) {
              const what =
                finding >= 0
                  ? ({ kind: "violation", ...automata.ghosts.findings[finding]! } as const)
                  : ({ kind: "trap", name: "trap", says: automata.local[local]!.message } as const);
              if (counts(what.name)) {
                const violation = { ...what, schedule: scheduleOf(node, { actor: a, way }) };
                if (cost === 0) return result(violation, switches);
                if (!best || violation.schedule.length < best.schedule.length) best = violation;
              }
            } else if (cost === 0) {
              if (seen.add(here.low ^ mixLow(-1, a), here.high ^ mixHigh(-1, a))) {
                (layer[row + 1] ??= []).push(add(here.state, node, a, way));
              }
            } else if (!seen.has(here.low ^ mixLow(-1, a), here.high ^ mixHigh(-1, a))) {
              if (switches === options.maxSwitches) cut = true;
              else {
                const child = add(here.state, node, a, way);
                fresh[child] = 1;
                (next[row + 1] ??= []).push(child);
              }
            }
            here.back(t, mark);
          }
        }
        if (!moved) {
          const finding = ending(automata, here.state, options);
          if (finding && counts(finding.name)) {
            const violation = { ...finding, schedule: scheduleOf(node, null) };
            return result(violation, switches);
          }
        }
        if (
          seen.full ||
          parent.length > 4 * options.maxNodes ||
          ((node & 0xff) === 0 && performance.now() > deadline)
        )
          return result(best, switches, false);
      }
    }
    if (best) return result(best, switches + 1);
    if (!next.some((row) => row?.length)) {
      return result(null, switches, true, !cut);
    }
    layer = next;
  }
  return result(null, options.maxSwitches);
}

/** What is wrong where nobody can act any more. */
function ending(
  automata: Automata,
  state: Int32Array,
  options: ShortestOptions,
): Omit<Violation, "schedule"> | null {
  const deadlock = deadlockIn(automata, state, options.describe);
  if (deadlock) return { kind: "deadlock", ...deadlock };
  const { ghosts } = automata;
  for (let k = 0; k < ghosts.count; k++) {
    const finding = ghosts.final(k, state[automata.ghostsAt + k]!);
    if (finding >= 0) return { kind: "violation", ...ghosts.findings[finding]! };
  }
  const { finding } = options.final(state);
  return finding ? { kind: "violation", ...finding } : null;
}
