/**
 * Memory models other than sequential consistency. WebAssembly's atomics are sequentially consistent, so what a weaker
 * machine does is simulated around the steps of the automata:
 *
 *   tso    x86: each actor has a first-in-first-out store buffer. A load sees the newest of its own buffered stores; a locked
 *          operation, a fully ordered store and smp_mb wait until the buffer is empty; buffered stores reach memory one by
 *          one at any later time ("drain", a move of its own).
 *   weak   also: stores drain in any order but for those to one word, those behind an smp_wmb, and release stores; and a
 *          relaxed load of a word of struct kvm may find the value that the word had before others changed it, until the
 *          actor passes an smp_rmb, an acquire or a locked operation. An under-approximation of ARM and POWER: dependencies
 *          order, locked operations are fully ordered, and only struct kvm, where the named barriers are, is read late.
 *          (Elsewhere the address of a read often depends on a read before it, which the model does not follow: an older value
 *          there could be one that no processor gives.)
 *
 * Which of its accesses are ordered how, the core says itself (assembly/sync/ops.ts). Words inside a processor, sleeping and
 * waking, and bulk operations are not buffered. Events are told when an access is issued.
 */

import { KVM_BASE, KVM_SIZE, Order } from "../core/layout.generated.js";
import { GuestMmuError } from "../errors.js";
import { Kind, type Automata } from "./automata.js";
import { type ExploredSite } from "./core.js";
import { ROW, Stop, limitOf, type Branch } from "./crew.js";
import { type Finding } from "./ghosts.js";
import { type Passage } from "./trace.js";
import { type Move, type SearchResult, type Violation } from "./result.js";
import { STEPS_A_LOOK, alone, deadlockIn, forcedActor, type SearchOptions } from "./search.js";
import { Fingerprints, Ints, mixHigh, mixLow } from "./tables.js";

/** The models that can be asked for. */
export const MEMORY_MODELS = ["sc", "tso", "weak"] as const;
export type MemoryModel = (typeof MEMORY_MODELS)[number];

/** Stores that an actor can have in its buffer: one more waits until there is room. */
const BUFFER_MAX = 6;
/** Numbers of one buffered store: two state indices (-1: none) and their values, and how it is ordered. */
const ENTRY = 5;
const FENCE = 1;
const RELEASE = 2;

const enum Barrier {
  Read = 1,
  Write = 2,
  Full = 4,
}

/** How an actor's next access is ordered. */
const enum Ordering {
  /** Nothing to do with memory, or with words inside the processor. */
  Free,
  Load,
  Acquire,
  Store,
  Release,
  /** Waits for the actor's own stores. */
  Strong,
}

/** A state of the automata with the buffers around it; every change can be taken back. */
export class ModelWorld {
  readonly automata: Automata;
  readonly state: Int32Array;
  low = 0;
  high = 0;
  readonly #sites: readonly ExploredSite[];
  readonly #weak: boolean;
  readonly #actors: number;
  readonly #buffers: number;
  readonly #late: number;
  /** State indices of the words that may be read late. */
  readonly #lateCells: readonly number[];
  readonly #undo = new Ints();

  constructor(automata: Automata, start: Int32Array, model: MemoryModel, sites: readonly ExploredSite[]) {
    this.automata = automata;
    this.#sites = sites;
    this.#weak = model === "weak";
    this.#actors = automata.actors.length;
    this.#lateCells = this.#weak
      ? automata.cells.flatMap((word, i) =>
          word * 4 >= KVM_BASE && word * 4 < KVM_BASE + KVM_SIZE ? [2 * this.#actors + i] : [],
        )
      : [];
    this.#buffers = start.length;
    this.#late = this.#buffers + this.#actors * (1 + BUFFER_MAX * ENTRY);
    this.state = new Int32Array(this.#late + this.#actors * this.#lateCells.length * 2);
    this.state.set(start);
    this.state.forEach((value, i) => {
      this.low ^= automata.low(i, value);
      this.high ^= automata.high(i, value);
    });
  }

  get mark(): number {
    return this.#undo.length;
  }

  /** Everything as it was at `mark`. */
  back(mark: number): void {
    for (let i = this.#undo.length - 2; i >= mark; i -= 2) {
      this.#put(this.#undo.data[i]!, this.#undo.data[i + 1]!);
    }
    this.#undo.length = mark;
  }

  /** Enters a state that was copied from `state`. */
  enter(copy: Int32Array): void {
    copy.forEach((value, i) => {
      if (this.state[i] !== value) this.#put(i, value);
    });
    this.#undo.length = 0;
  }

  #put(index: number, value: number): void {
    const before = this.state[index]!;
    this.low ^= this.automata.low(index, before) ^ this.automata.low(index, value);
    this.high ^= this.automata.high(index, before) ^ this.automata.high(index, value);
    this.state[index] = value;
  }

  #set(index: number, value: number): void {
    if (this.state[index] === value) return;
    this.#undo.push(index);
    this.#undo.push(this.state[index]!);
    this.#put(index, value);
  }

  /** What can happen next. Actor numbers from `actors` on are drains: `way` is the place in the buffer. */
  moves(): Move[] {
    const { automata, state } = this;
    const n = this.#actors;
    const moves: Move[] = [];
    const only = forcedActor(automata, state);
    for (let a = 0; a < n; a++) {
      if ((only >= 0 && a !== only) || !automata.enabled(state, a) || !this.#mayGo(a)) continue;
      const ways = automata.ways(state, a) * (this.#lateValue(a) === null ? 1 : 2);
      for (let way = 0; way < ways; way++) moves.push({ actor: a, way });
    }
    for (let a = 0; a < n; a++) for (const way of this.#drainable(a)) moves.push({ actor: n + a, way });
    return moves;
  }

  /** True if the actor's buffer lets it go on. */
  #mayGo(a: number): boolean {
    const length = this.state[this.#bufferOf(a)]!;
    if (length === 0) return true;
    const local = this.automata.local[this.state[a]!]!;
    if (((local.suspension?.barriers ?? 0) & Barrier.Full) !== 0) return false;
    const ordering = this.#ordering(a);
    if (ordering === Ordering.Strong) return false;
    const stores = ordering === Ordering.Store || ordering === Ordering.Release;
    return !stores || length + 2 <= BUFFER_MAX;
  }

  #ordering(a: number): Ordering {
    const local = this.automata.local[this.state[a]!]!;
    const { suspension, kind } = local;
    if (kind === Kind.Choose || !suspension) return Ordering.Free;
    if (kind !== Kind.Access) return Ordering.Strong;
    if (this.automata.ground.internal(suspension.address >>> 2)) return Ordering.Free;
    const { kind: what } = this.#sites[suspension.site]!;
    const whole = suspension.address % 4 === 0 && suspension.length % 4 === 0 && suspension.length <= 8;
    if (what === "load") return suspension.order === Order.Acquire ? Ordering.Acquire : Ordering.Load;
    if (what !== "store" || !whole || suspension.order === Order.Full) return Ordering.Strong;
    return suspension.order === Order.Release ? Ordering.Release : Ordering.Store;
  }

  #bufferOf(a: number): number {
    return this.#buffers + a * (1 + BUFFER_MAX * ENTRY);
  }

  /** Places of the buffer that may reach memory next. */
  #drainable(a: number): number[] {
    const at = this.#bufferOf(a);
    const length = this.state[at]!;
    if (length === 0) return [];
    if (!this.#weak) return [0];
    const found: number[] = [];
    const before = new Set<number>();
    for (let i = 0; i < length; i++) {
      const entry = at + 1 + i * ENTRY;
      const flags = this.state[entry + 4]!;
      if (flags & FENCE) break;
      const cells = [this.state[entry]!, this.state[entry + 2]!].filter((cell) => cell >= 0);
      const first = i === 0;
      if (!cells.some((cell) => before.has(cell)) && (first || (flags & RELEASE) === 0)) found.push(i);
      for (const cell of cells) before.add(cell);
    }
    return found;
  }

  /** The value that the actor's own buffer has for a cell, or that of memory. */
  #forwarded(a: number, cell: number): number {
    const at = this.#bufferOf(a);
    for (let i = this.state[at]! - 1; i >= 0; i--) {
      const entry = at + 1 + i * ENTRY;
      if (this.state[entry] === cell) return this.state[entry + 1]!;
      if (this.state[entry + 2] === cell) return this.state[entry + 3]!;
    }
    return this.state[cell]!;
  }

  /** Place of what the actor may still see of its next load's word; null if it has to see the present value. */
  #lateValue(a: number): number | null {
    if (!this.#weak || this.#ordering(a) !== Ordering.Load) return null;
    const l = this.state[a]!;
    if (((this.automata.local[l]!.suspension?.barriers ?? 0) & Barrier.Read) !== 0) return null;
    const [cell, other] = this.automata.footprint(l);
    if (cell === undefined || other !== undefined) return null;
    const k = this.#lateCells.indexOf(cell);
    if (k < 0) return null;
    const at = this.#lateOf(a) + k * 2;
    return this.state[at] === 1 && this.state[at + 1] !== this.#forwarded(a, cell) ? at : null;
  }

  #lateOf(a: number): number {
    return this.#late + a * this.#lateCells.length * 2;
  }

  #forgetLate(a: number): void {
    const at = this.#lateOf(a);
    for (let k = 0; k < this.#lateCells.length; k++) {
      this.#set(at + k * 2, 0);
      this.#set(at + k * 2 + 1, 0);
    }
  }

  /** A store of actor `a` reaches memory: others may see the old value for a while. */
  #write(a: number, cell: number, value: number): void {
    const before = this.state[cell]!;
    const k = this.#lateCells.indexOf(cell);
    if (k >= 0 && before !== value) {
      for (let b = 0; b < this.#actors; b++) {
        const at = this.#lateOf(b) + k * 2;
        if (b === a) {
          this.#set(at, 0);
          this.#set(at + 1, 0);
        } else if (this.state[at] === 0) {
          this.#set(at, 1);
          this.#set(at + 1, before);
        }
      }
    }
    this.#set(cell, value);
  }

  /** Makes a move. Returns the number of a finding of a checker, or -1. */
  take({ actor, way }: Move): number {
    if (actor >= this.#actors) {
      this.#drain(actor - this.#actors, way);
      return -1;
    }
    return this.#step(actor, way);
  }

  #drain(a: number, place: number): void {
    const at = this.#bufferOf(a);
    const entry = at + 1 + place * ENTRY;
    for (const k of [0, 2]) {
      if (this.state[entry + k]! >= 0) this.#write(a, this.state[entry + k]!, this.state[entry + k + 1]!);
    }
    this.#remove(at, place);
    // A fence with nothing before it orders nothing any more.
    while (this.state[at]! > 0 && (this.state[at + 5]! & FENCE) !== 0) this.#remove(at, 0);
  }

  #remove(at: number, place: number): void {
    const length = this.state[at]!;
    for (let i = at + 1 + place * ENTRY, end = at + 1 + length * ENTRY; i < end; i++) {
      this.#set(i, i + ENTRY < end ? this.state[i + ENTRY]! : 0);
    }
    this.#set(at, length - 1);
  }

  #push(a: number, cells: readonly (readonly [cell: number, value: number])[], flags: number): void {
    const at = this.#bufferOf(a);
    const length = this.state[at]!;
    const entry = at + 1 + length * ENTRY;
    const [first, second] = cells;
    this.#set(entry, first?.[0] ?? -1);
    this.#set(entry + 1, first?.[1] ?? 0);
    this.#set(entry + 2, second?.[0] ?? -1);
    this.#set(entry + 3, second?.[1] ?? 0);
    this.#set(entry + 4, flags);
    this.#set(at, length + 1);
  }

  #step(a: number, way: number): number {
    const { automata, state } = this;
    const l = state[a]!;
    const ordering = this.#ordering(a);
    const barriers = automata.local[l]!.suspension?.barriers ?? 0;
    const ways = automata.ways(state, a);
    const late = way >= ways ? this.#lateValue(a) : null;
    if (this.#weak && (barriers & (Barrier.Read | Barrier.Full)) !== 0) this.#forgetLate(a);
    if (this.#weak && ordering === Ordering.Strong) this.#forgetLate(a);
    const footprint = this.#cellsOf(l);
    const real = footprint.map((cell) => state[cell]!);
    const seen = footprint.map((cell) => (late === null ? this.#forwarded(a, cell) : state[late + 1]!));
    footprint.forEach((cell, i) => (state[cell] = seen[i]!));
    let t: number;
    try {
      t = automata.transition(state, a, way % ways);
    } finally {
      footprint.forEach((cell, i) => (state[cell] = real[i]!));
    }
    const after = new Map<number, number>();
    for (let i = automata.first.data[t]!, end = automata.first.data[t + 1]!; i < end; i++) {
      after.set(automata.index.data[i]!, automata.after.data[i]!);
    }
    const buffered = ordering === Ordering.Store || ordering === Ordering.Release;
    if (buffered) {
      if (this.#weak && barriers & Barrier.Write && state[this.#bufferOf(a)]! > 0) this.#push(a, [], FENCE);
      const cells = footprint.map((cell, i) => [cell, after.get(cell) ?? seen[i]!] as const);
      this.#push(a, cells, ordering === Ordering.Release ? RELEASE : 0);
    }
    for (const [index, value] of after) {
      if (!footprint.includes(index)) this.#set(index, value);
      else if (!buffered) this.#write(a, index, value);
    }
    if (this.#weak && late === null && (ordering === Ordering.Load || ordering === Ordering.Acquire)) {
      if (ordering === Ordering.Acquire) this.#forgetLate(a);
      else for (const cell of footprint) this.#seen(a, cell);
    }
    const list = automata.events.data[t]!;
    return list === 0 ? -1 : this.#tell(list);
  }

  /** State indices of the cells that a local state's step touches. */
  #cellsOf(l: number): readonly number[] {
    return this.automata
      .footprint(l)
      .filter((cell) => cell >= 2 * this.#actors && cell < this.automata.ghostsAt);
  }

  /** What an actor's step will find in memory: word numbers and values. Of a drain, nothing. */
  view({ actor, way }: Move): readonly (readonly [word: number, value: number])[] {
    if (actor >= this.#actors) return [];
    const late = way >= this.automata.ways(this.state, actor) ? this.#lateValue(actor) : null;
    return this.#cellsOf(this.state[actor]!).map((cell) => [
      this.automata.cells[cell - 2 * this.#actors]!,
      late === null ? this.#forwarded(actor, cell) : this.state[late + 1]!,
    ]);
  }

  /** How the access that a move makes stands to memory; undefined if it is one to memory there and then. */
  passage({ actor, way }: Move): Passage | undefined {
    if (actor >= this.#actors) return "drained";
    if (way >= this.automata.ways(this.state, actor) && this.#lateValue(actor) !== null) return "late";
    const ordering = this.#ordering(actor);
    if (ordering === Ordering.Store || ordering === Ordering.Release) return "buffered";
    if (ordering !== Ordering.Load && ordering !== Ordering.Acquire) return undefined;
    const cells = this.#cellsOf(this.state[actor]!);
    return cells.some((cell) => this.#forwarded(actor, cell) !== this.state[cell]) ? "forwarded" : undefined;
  }

  /** Words of the buffered store that a drain brings to memory. Asked before it is made. */
  drained({ actor, way }: Move): readonly number[] {
    const entry = this.#bufferOf(actor - this.#actors) + 1 + way * ENTRY;
    const cells = [this.state[entry]!, this.state[entry + 2]!].filter((cell) => cell >= 0);
    return cells.map((cell) => this.automata.cells[cell - 2 * this.#actors]!);
  }

  /** What memory holds: every shared word and its value. */
  *memory(): Generator<readonly [word: number, value: number]> {
    for (const [i, word] of this.automata.cells.entries()) yield [word, this.state[2 * this.#actors + i]!];
  }

  #seen(a: number, cell: number): void {
    const k = this.#lateCells.indexOf(cell);
    if (k < 0) return;
    this.#set(this.#lateOf(a) + k * 2, 0);
    this.#set(this.#lateOf(a) + k * 2 + 1, 0);
  }

  /** Tells the checkers a list of events. */
  #tell(list: number): number {
    const { ghosts } = this.automata;
    let finding = -1;
    for (const k of ghosts.listeners(list)) {
      const at = this.automata.ghostsAt + k;
      const after = ghosts.successor(k, list, this.state[at]!);
      if (after >= 0) this.#set(at, after);
      else if (finding < 0) finding = ~after;
    }
    return finding;
  }

  /** Tells what the actors did before their first step. */
  begin(lists: readonly number[]): number {
    for (const list of lists) {
      const finding = list === 0 ? -1 : this.#tell(list);
      if (finding >= 0) return finding;
    }
    return -1;
  }
}

/** What is wrong with a state in which nothing can happen any more. */
function ending(world: ModelWorld, options: SearchOptions, describe: (address: number) => string) {
  const { automata, state } = world;
  const deadlock = deadlockIn(automata, state, describe);
  if (deadlock) return { outcome: null, wrong: { kind: "deadlock" as const, ...deadlock } };
  const { ghosts } = automata;
  for (let k = 0; k < ghosts.count; k++) {
    const finding = ghosts.final(k, state[automata.ghostsAt + k]!);
    if (finding >= 0)
      return { outcome: null, wrong: { kind: "violation" as const, ...ghosts.findings[finding]! } };
  }
  const { outcome, finding } = options.final(state);
  return { outcome, wrong: finding ? { kind: "violation" as const, ...finding } : null };
}

/** What a move came to, if it is the end of the execution. */
function wrongAfter(
  world: ModelWorld,
  move: Move,
  finding: number,
): (Finding & { kind: Violation["kind"] }) | null {
  const { automata, state } = world;
  if (finding >= 0) return { kind: "violation", ...automata.ghosts.findings[finding]! };
  const local = automata.local[state[move.actor] ?? 0];
  if (move.actor < automata.actors.length && local?.kind === Kind.Trapped) {
    return { kind: "trap", name: "trap", says: local.message };
  }
  return null;
}

/** Exhaustive search under a model, with state matching. */
export function searchModel(
  world: ModelWorld,
  lists: readonly number[],
  options: SearchOptions,
  describe: (address: number) => string,
): SearchResult {
  return searchBranches(world, lists, options, describe, null);
}

/** As `searchModel`, of a thread that helps: it begins with a branch of what another one has begun. */
export function helpModel(
  world: ModelWorld,
  lists: readonly number[],
  options: SearchOptions,
  describe: (address: number) => string,
  first: Branch,
): SearchResult {
  return searchBranches(world, lists, options, describe, first);
}

/** A state on the path: the moves that it has, the next to try, and the one that was taken. */
interface Row {
  readonly moves: readonly Move[];
  next: number;
  readonly mark: number;
  taken: Move | null;
}

function searchBranches(
  world: ModelWorld,
  lists: readonly number[],
  options: SearchOptions,
  describe: (address: number) => string,
  first: Branch | null,
): SearchResult {
  const { limits, stopAtFirst, crew = alone(limits) } = options;
  const visited = crew.table;
  const violations: Violation[] = [];
  const outcomes = new Map<string, number>();
  const path: Row[] = [];
  let [states, steps, ends, deepest, turns] = [0, 0, 0, 0, 0];
  const counts = () => ({ states, steps, ends, depth: path.length });
  /** Gives away what is not tried yet near the start. The state on top stays here. */
  const share = (): void => {
    const open = path.flatMap(({ moves, next }, row) =>
      row < path.length - 1 && next < moves.length ? [row] : [],
    );
    const top = open[(open.length - 1) >> 1];
    if (top === undefined) return;
    crew.give(top + 1, (branch) => {
      for (let row = 0; row <= top; row++) {
        const { moves, next, taken } = path[row]!;
        branch.set(row < top ? [taken!.actor, taken!.way, next, 0] : [-1, 0, next, 0], row * ROW);
        path[row]!.next = moves.length;
      }
    });
  };
  /** Goes from the start to the end of a branch. */
  const adopt = (branch: Branch): void => {
    for (let row = 0; ; row++) {
      const [actor, way, next] = branch.subarray(row * ROW) as unknown as [number, number, number];
      const taken = actor < 0 ? null : { actor, way };
      path.push({ moves: world.moves(), next, mark: world.mark, taken });
      if (taken === null) return;
      world.take(taken);
    }
  };
  const note = (wrong: Finding & { kind: Violation["kind"] }, last: Move | null): boolean => {
    const schedule = path.flatMap(({ taken }) => (taken ? [taken] : []));
    if (last) schedule.push(last);
    if (!violations.some(({ name, says }) => name === wrong.name && says === wrong.says)) {
      violations.push({ ...wrong, schedule });
    }
    return stopAtFirst;
  };
  const before = world.begin(lists);
  if (before >= 0) note({ kind: "violation", ...world.automata.ghosts.findings[before]! }, null);
  if (first) adopt(first);
  else {
    visited.add(world.low, world.high);
    states = 1;
    if (violations.length === 0) path.push({ moves: world.moves(), next: 0, mark: world.mark, taken: null });
  }
  let stop = false;
  while (!stop) {
    if ((++turns & (STEPS_A_LOOK - 1)) === 0) {
      if (crew.look(counts())) break;
      if (crew.wanted) share();
    }
    if (path.length === 0) {
      const branch = crew.ask(counts());
      if (branch === null) break;
      adopt(branch);
    }
    const top = path.at(-1)!;
    if (top.taken) {
      world.back(top.mark);
      top.taken = null;
    }
    if (top.moves.length === 0) {
      ends++;
      const { outcome, wrong } = ending(world, options, describe);
      if (outcome !== null) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      if (wrong) stop = note(wrong, null);
    }
    const move = top.moves[top.next++];
    if (move === undefined) {
      path.pop();
      continue;
    }
    steps++;
    const wrong = wrongAfter(world, move, world.take(move));
    if (wrong) {
      ends++;
      stop = note(wrong, move);
      world.back(top.mark);
      continue;
    }
    if (!visited.add(world.low, world.high)) {
      world.back(top.mark);
      continue;
    }
    states++;
    top.taken = move;
    path.push({ moves: world.moves(), next: 0, mark: world.mark, taken: null });
    if (path.length > deepest) deepest = path.length;
    if (path.length > limits.maxDepth) crew.stop(Stop.Depth);
    else if (visited.full) crew.stop(Stop.States);
    else continue;
    break;
  }
  if (stop) crew.stop(Stop.Found);
  return {
    limit: stop ? null : limitOf(crew.stopped),
    violations,
    outcomes,
    states,
    steps,
    ends,
    depth: deepest,
    cycles: 0,
    bytes: visited.bytes,
  };
}

/** The violation with the fewest changes of the running actor: drains are nobody's turn. Null if the limit is met first. */
export function shortestModel(
  world: ModelWorld,
  lists: readonly number[],
  options: SearchOptions & { readonly name: string; readonly maxNodes: number },
  describe: (address: number) => string,
): Violation | null {
  world.begin(lists);
  const n = world.automata.actors.length;
  const nodes: { state: Int32Array; parent: number; move: Move | null; last: number }[] = [
    { state: world.state.slice(), parent: -1, move: null, last: -1 },
  ];
  const scheduleOf = (node: number, move: Move | null): Move[] => {
    const moves = move ? [move] : [];
    for (let at = node; nodes[at]!.move; at = nodes[at]!.parent) moves.push(nodes[at]!.move!);
    return moves.reverse();
  };
  const seen = new Fingerprints(options.maxNodes * 4);
  const wanted = (wrong: Finding | null): boolean =>
    wrong !== null && (options.name === "" || wrong.name === options.name);
  let layer = [0];
  while (layer.length > 0) {
    const next: number[] = [];
    for (let i = 0; i < layer.length; i++) {
      const at = layer[i]!;
      const { state, last } = nodes[at]!;
      world.enter(state);
      if (!seen.add(world.low ^ mixLow(-1, last), world.high ^ mixHigh(-1, last))) continue;
      const moves = world.moves();
      if (moves.length === 0) {
        const { wrong } = ending(world, options, describe);
        if (wrong && wanted(wrong)) return { ...wrong, schedule: scheduleOf(at, null) };
      }
      for (const move of moves) {
        const mark = world.mark;
        const wrong = wrongAfter(world, move, world.take(move));
        if (wrong) {
          if (wanted(wrong)) return { ...wrong, schedule: scheduleOf(at, move) };
        } else {
          const mover = move.actor >= n ? last : move.actor;
          nodes.push({ state: world.state.slice(), parent: at, move, last: mover });
          (mover === last || last < 0 ? layer : next).push(nodes.length - 1);
        }
        world.back(mark);
      }
      if (nodes.length > options.maxNodes) return null;
    }
    layer = next;
  }
  return null;
}

/** The model of this name, or `USAGE`. */
export function memoryModel(name: string): MemoryModel {
  if ((MEMORY_MODELS as readonly string[]).includes(name)) return name as MemoryModel;
  throw new GuestMmuError("USAGE", {
    message: `There is no memory model ${JSON.stringify(name)}.`,
    hint: `Use one of: ${MEMORY_MODELS.join(", ")}.`,
  });
}
