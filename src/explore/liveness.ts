/**
 * Executions that need not end. Where the states form no cycle, every execution ends, whatever the scheduler does. Where
 * they do, it takes a scheduler that goes round for ever; the question is whether a fair one could. Weakly fair: nobody who
 * can act from some point on is kept from it for ever. A set of states that lead to each other (a strongly connected
 * component) can be gone round in fairly exactly if each actor makes a step within it or, in one of its states, cannot act:
 * that is a livelock, and no scheduler of a kernel would end it.
 *
 * The components are found by Tarjan's algorithm ("Depth-First Search and Linear Graph Algorithms", 1972) in a search of
 * its own: it takes more memory for a state, and most scenarios have no cycle at all.
 */

import { Kind, type Automata } from "./automata.js";
import { type Move, type SearchLimits, type Violation } from "./result.js";
import { Position, forcedActor } from "./search.js";
import { shortest } from "./shortest.js";
import { Ints, TripleTable } from "./tables.js";

/** What is known of executions without an end. */
export interface Liveness {
  /** `unfair`: only a scheduler that keeps somebody from acting for ever goes round. `unknown`: a limit came before. */
  readonly kind: "ends" | "unfair" | "livelock" | "unknown";
  /** Sets of states that an execution can stay in for ever. */
  readonly cycles: number;
  readonly says: string;
}

/** The text of a verdict. */
export function livenessOf(kind: Liveness["kind"], cycles: number): Liveness {
  const some = `${cycles} cycle${cycles === 1 ? "" : "s"} of states`;
  const says = {
    ends: "every execution ends, under any scheduler",
    unfair: `${some}, ${cycles === 1 ? "not fair" : "none of them fair"} under weak fairness`,
    livelock: `${some}, and a weakly fair scheduler can stay in one of them for ever`,
    unknown: "whether every execution ends is not known",
  }[kind];
  return { kind, cycles, says };
}

/** A set of states to go round in. */
interface Component {
  readonly members: ReadonlySet<number>;
  /** Actors that make a step in it, as a bit mask. */
  readonly moved: number;
}

/** Looks for a livelock. Throws `Reclassified` as `Search.run` does. */
export function findLivelock(
  automata: Automata,
  limits: SearchLimits,
): { readonly liveness: Liveness; readonly violation: Violation | null } {
  const components = new Components(automata, limits);
  const found = components.run();
  if (components.cut) return { liveness: livenessOf("unknown", components.cycles), violation: null };
  if (!found) {
    return {
      liveness: livenessOf(components.cycles ? "unfair" : "ends", components.cycles),
      violation: null,
    };
  }
  const { violation } = shortest(automata, automata.start, {
    maxNodes: Math.min(limits.maxStates, 1_000_000),
    maxSwitches: Infinity,
    final: () => ({ outcome: "", finding: null }),
    describe: String,
    name: "livelock",
    goal: (_, low, high) =>
      found.members.has(components.numberOf(low, high)) ? { ...saying(automata, found), then: [] } : null,
  });
  if (!violation) return { liveness: livenessOf("unknown", components.cycles), violation: null };
  const loop = components.around(violation.schedule, found);
  return {
    liveness: livenessOf("livelock", components.cycles),
    violation: {
      ...violation,
      schedule: [...violation.schedule, ...loop],
      loopFrom: violation.schedule.length,
    },
  };
}

function saying(automata: Automata, { members, moved }: Component) {
  const round = automata.actors.flatMap((_, a) => ((moved >> a) & 1 ? [`actor ${a}`] : []));
  const verb = round.length === 1 ? "goes" : "go";
  const says =
    `${round.join(" and ")} ${verb} round in ${members.size} state${members.size === 1 ? "" : "s"} for ever; ` +
    "everybody else is done, or cannot act in one of them";
  return { kind: "livelock", name: "livelock", says } as const;
}

const TRAPPED_OR_FOUND = -1;

class Components {
  readonly #automata: Automata;
  readonly #limits: SearchLimits;
  /** Number of each state, in the order of discovery: Tarjan's index. */
  readonly #numbers = new TripleTable(12);
  readonly #low = new Ints();
  readonly #open: number[] = [];
  /** Of each state: bit 16 + a: actor a cannot act; bit a: a makes a step within the component. Bit 31 free. */
  readonly #masks = new Ints();
  readonly #closed = new Ints();
  cycles = 0;
  cut = false;

  constructor(automata: Automata, limits: SearchLimits) {
    this.#automata = automata;
    this.#limits = limits;
  }

  numberOf(low: number, high: number): number {
    return this.#numbers.find(low, high, 0);
  }

  #enter(position: Position): number {
    const automata = this.#automata;
    const number = this.#numbers.add(position.low, position.high, 0);
    let disabled = 0;
    for (let a = 0; a < automata.actors.length; a++) {
      if (!automata.enabled(position.state, a)) disabled |= 1 << a;
    }
    this.#low.push(number);
    this.#masks.push(disabled << 16);
    this.#closed.push(0);
    this.#open.push(number);
    return number;
  }

  /** The first component that a fair scheduler can stay in, null if there is none. */
  run(): Component | null {
    const automata = this.#automata;
    const { limits } = { limits: this.#limits };
    const deadline = performance.now() + limits.maxTime;
    const position = this.#atStart();
    if (!position) return null;
    const low = this.#low;
    const masks = this.#masks;
    const rows: Row[] = [rowOf(this.#enter(position), forcedActor(automata, position.state))];
    let steps = 0;
    while (rows.length > 0) {
      const row = rows.at(-1)!;
      const move = nextMove(automata, position.state, row);
      if (!move) {
        rows.pop();
        const { number } = row;
        if (low.data[number] === number) {
          const component = this.#close(number);
          if (component) return component;
        }
        const parent = rows.at(-1);
        if (!parent) break;
        position.back(row.taken, row.mark);
        low.data[parent.number] = Math.min(low.data[parent.number]!, low.data[number]!);
        if (this.#closed.data[number] === 0) masks.data[parent.number]! |= 1 << parent.actor;
        continue;
      }
      if ((++steps & 0xfff) === 0 && performance.now() > deadline) return this.#stop();
      const mark = position.mark;
      const t = step(automata, position, move);
      if (t === TRAPPED_OR_FOUND) continue;
      row.actor = move.actor;
      const known = this.#numbers.find(position.low, position.high, 0);
      if (known >= 0) {
        position.back(t, mark);
        if (this.#closed.data[known] === 0) {
          low.data[row.number] = Math.min(low.data[row.number]!, known);
          masks.data[row.number]! |= 1 << move.actor;
        }
        continue;
      }
      if (this.#numbers.size >= limits.maxStates || rows.length >= limits.maxDepth) return this.#stop();
      const number = this.#enter(position);
      rows.push({ ...rowOf(number, forcedActor(automata, position.state)), taken: t, mark });
    }
    return null;
  }

  #stop(): null {
    this.cut = true;
    return null;
  }

  #atStart(): Position | null {
    const { start } = this.#automata;
    const position = new Position(this.#automata, start.state);
    for (const list of start.events) if (list !== 0 && position.tell(list) >= 0) return null;
    return position;
  }

  /** Takes a component off the stack; returns it if a fair scheduler can stay in it. */
  #close(root: number): Component | null {
    let mask = 0;
    const from = this.#open.lastIndexOf(root);
    for (let i = from; i < this.#open.length; i++) {
      mask |= this.#masks.data[this.#open[i]!]!;
      this.#closed.data[this.#open[i]!] = 1;
    }
    const moved = mask & 0xffff;
    const members = this.#open.splice(from);
    if (moved === 0) return null;
    this.cycles++;
    const all = (1 << this.#automata.actors.length) - 1;
    return ((moved | (mask >>> 16)) & all) === all ? { members: new Set(members), moved } : null;
  }

  /** Moves from the end of a schedule once around in a component, such that a fair scheduler could repeat them for ever. */
  around(schedule: readonly Move[], { members }: Component): Move[] {
    const automata = this.#automata;
    const position = this.#atStart()!;
    for (const move of schedule) step(automata, position, move);
    const home = this.numberOf(position.low, position.high);
    const loop: Move[] = [];
    let owed = (1 << automata.actors.length) - 1;
    while (true) {
      for (let a = 0; a < automata.actors.length; a++) {
        if (!automata.enabled(position.state, a)) owed &= ~(1 << a);
      }
      const at = this.numberOf(position.low, position.high);
      if (owed === 0 && at === home && loop.length > 0) return loop;
      const moves = this.#towards(position.state, members, (number, actor, state) => {
        if (owed === 0) return number === home;
        for (let a = 0; a < automata.actors.length; a++) {
          if ((owed >> a) & 1 && (a === actor || !automata.enabled(state, a))) return true;
        }
        return false;
      });
      for (const move of moves) {
        step(automata, position, move);
        owed &= ~(1 << move.actor);
      }
      loop.push(...moves);
    }
  }

  /** Fewest moves within a component until `arrived` says so. */
  #towards(
    from: Int32Array,
    members: ReadonlySet<number>,
    arrived: (number: number, actor: number, state: Int32Array) => boolean,
  ): Move[] {
    const automata = this.#automata;
    const seen = new Set<number>();
    let layer: { state: Int32Array; moves: Move[] }[] = [{ state: from, moves: [] }];
    while (layer.length > 0) {
      const next: typeof layer = [];
      for (const { state, moves } of layer) {
        const row = rowOf(0, forcedActor(automata, state));
        for (let move = nextMove(automata, state, row); move; move = nextMove(automata, state, row)) {
          const position = new Position(automata, state);
          if (step(automata, position, move) === TRAPPED_OR_FOUND) continue;
          const number = this.numberOf(position.low, position.high);
          if (!members.has(number)) continue;
          if (arrived(number, move.actor, position.state)) return [...moves, move];
          if (seen.has(number)) continue;
          seen.add(number);
          next.push({ state: position.state.slice(), moves: [...moves, move] });
        }
      }
      layer = next;
    }
    throw new Error("a component whose states do not lead to each other");
  }
}

/** A state on the path: what to try next, the actor that moved last, and how the state was reached. */
interface Row {
  readonly number: number;
  readonly only: number;
  tryActor: number;
  tryWay: number;
  actor: number;
  readonly taken: number;
  readonly mark: number;
}

function rowOf(number: number, only: number): Row {
  return { number, only, tryActor: 0, tryWay: 0, actor: -1, taken: -1, mark: 0 };
}

function nextMove(automata: Automata, state: Int32Array, row: Row): Move | null {
  for (; row.tryActor < automata.actors.length; row.tryActor++, row.tryWay = 0) {
    const actor = row.tryActor;
    if ((row.only >= 0 && actor !== row.only) || !automata.enabled(state, actor)) continue;
    if (row.tryWay >= automata.ways(state, actor)) continue;
    return { actor, way: row.tryWay++ };
  }
  return null;
}

/** Takes a move; its transition. One that ends the execution is taken back. */
function step(automata: Automata, position: Position, { actor, way }: Move): number {
  const t = automata.transition(position.state, actor, way);
  const mark = position.mark;
  const finding = position.take(t);
  if (finding < 0 && automata.kind.data[position.state[actor]!] !== Kind.Trapped) return t;
  position.back(t, mark);
  return TRAPPED_OR_FOUND;
}
