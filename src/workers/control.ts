/**
 * The control block of one run: a small SharedArrayBuffer of its own, beside the machine's memory. Threads agree in it
 * on when to begin, and leave what they have measured where the main thread can read it at any time: what was measured
 * survives whoever measured it.
 *
 *     0  run: words that all threads share        128 B
 *   128  one line per actor                       128 B each
 *        counters of each actor at the begin and the end of its timed part: STAT_COUNT u64 each
 *        samples of each actor: (operations, busy ms) pairs of f64, `samplesMax` of them
 */

import { type WasmMemory } from "../core/wasm.js";
import { ACTOR_SIZE, ACTOR_STATS, HEADER_OFFSET_ACTORS_BASE, STAT_COUNT } from "../core/layout.generated.js";

/** Shared words, as indices of 32-bit words. */
const ARRIVED = 0;
const GENERATION = 1;
const VCPUS_LEFT = 2;
const STOP = 3;
const VERDICT = 4;
/** A second barrier, of the vCPUs alone: an invalidator goes on while they wait for one another. */
const VCPUS_ARRIVED = 5;
const VCPUS_GENERATION = 6;
/** Index of a 64-bit word: the time at which the timed part begins, ms on the clock of `now`. */
const START_AT = 4;

const RUN_BYTES = 128;
const LINE_BYTES = 128;
const PAIR_BYTES = 16;
const COUNTS_BYTES = STAT_COUNT * 8;

/** 64-bit words of an actor's line. */
const Line = { Samples: 0, Operations: 1, BusyMs: 2, FirstMs: 3, LastMs: 4, State: 5 } as const;
/** Values of `Line.State`. */
const BEGUN = 1;
const ENDED = 2;

/** How long a wait sleeps before it looks whether the run has been given up. */
const SLICE_MS = 10;

/** What one actor has measured up to now. */
export interface ActorMeasure {
  /** Operations and the milliseconds they took, sample by sample; 0 ms where it had no part in one, fewer where in none of the last. */
  readonly samples: readonly { readonly operations: number; readonly ms: number }[];
  /** All operations of the timed part, and the milliseconds they took. */
  readonly operations: number;
  readonly busyMs: number;
  /** Wall time of the timed part so far. */
  readonly wallMs: number;
  /** What the counters of the machine (`Stat`) rose by in the timed part so far. */
  readonly counts: readonly number[];
}

/** A monotonic clock that all threads of the process share, in milliseconds. */
export class SharedClock {
  private readonly offset = Number(process.hrtime.bigint()) / 1e6 - performance.now();

  now(): number {
    return this.offset + performance.now();
  }
}

/** View of a control block. Every thread has its own over the same buffer. */
export class RunControl {
  private readonly words: Int32Array;
  private readonly doubles: Float64Array;
  private readonly quads: BigUint64Array;
  private readonly samplesMax: number;
  private readonly clock = new SharedClock();

  constructor(
    readonly buffer: SharedArrayBuffer,
    private readonly actors: number,
  ) {
    this.words = new Int32Array(buffer);
    this.doubles = new Float64Array(buffer);
    this.quads = new BigUint64Array(buffer);
    this.samplesMax =
      (buffer.byteLength - RUN_BYTES - actors * (LINE_BYTES + 2 * COUNTS_BYTES)) / (PAIR_BYTES * actors);
  }

  /** A new block for that many actors, of which `vcpus` decide how long the run lasts. */
  static create(actors: number, vcpus: number, samplesMax: number): RunControl {
    const bytes = RUN_BYTES + actors * (LINE_BYTES + 2 * COUNTS_BYTES + samplesMax * PAIR_BYTES);
    const control = new RunControl(new SharedArrayBuffer(bytes), actors);
    control.words[VCPUS_LEFT] = vcpus;
    return control;
  }

  /** Ends the run: those who wait wake up, those who work look at it between slices. */
  stop(): void {
    Atomics.store(this.words, STOP, 1);
    for (const word of [GENERATION, VCPUS_GENERATION, VCPUS_LEFT]) Atomics.notify(this.words, word);
  }

  get stopped(): boolean {
    return Atomics.load(this.words, STOP) !== 0;
  }

  /**
   * Waits until all `parties` have arrived. The last one runs `last` first, so that what it does is seen by all.
   * False if the run was stopped meanwhile.
   */
  arrive(parties: number, last?: () => void): boolean {
    return this.meet(ARRIVED, GENERATION, parties, last);
  }

  /** Likewise, for the vCPUs alone. */
  arriveVcpus(parties: number, last?: () => void): boolean {
    return this.meet(VCPUS_ARRIVED, VCPUS_GENERATION, parties, last);
  }

  private meet(arrived: number, generationWord: number, parties: number, last?: () => void): boolean {
    const generation = Atomics.load(this.words, generationWord);
    if (Atomics.add(this.words, arrived, 1) + 1 === parties) {
      last?.();
      Atomics.store(this.words, arrived, 0);
      Atomics.add(this.words, generationWord, 1);
      Atomics.notify(this.words, generationWord);
      return !this.stopped;
    }
    while (Atomics.load(this.words, generationWord) === generation) {
      if (this.stopped) return false;
      Atomics.wait(this.words, generationWord, generation, SLICE_MS);
    }
    return !this.stopped;
  }

  /** A word by which the last to arrive tells the others what comes next. */
  get verdict(): number {
    return Atomics.load(this.words, VERDICT);
  }
  set verdict(value: number) {
    Atomics.store(this.words, VERDICT, value);
  }

  get startAt(): number {
    return this.doubles[START_AT]!;
  }
  set startAt(ms: number) {
    this.doubles[START_AT] = ms;
  }

  /** A vCPU has done all it was to do. Invalidators go on until the last one has. */
  leave(): void {
    Atomics.sub(this.words, VCPUS_LEFT, 1);
    Atomics.notify(this.words, VCPUS_LEFT);
  }

  get vcpusLeft(): number {
    return Atomics.load(this.words, VCPUS_LEFT);
  }

  /** Sleeps up to `ms`, less if the run ends: not a word of the machine, so that nobody there pays for it. */
  sleep(ms: number): void {
    const left = this.vcpusLeft;
    if (left > 0 && !this.stopped) Atomics.wait(this.words, VCPUS_LEFT, left, ms);
  }

  /** Adds to what actor number `i` of the run has done; readable at any time. */
  record(i: number, operations: number, ms: number): void {
    const line = this.line(i);
    this.doubles[line + Line.Operations]! += operations;
    this.doubles[line + Line.BusyMs]! += ms;
  }

  /** Notes when the timed part of actor `i` began, or how far it is. */
  time(i: number, which: "first" | "last", ms: number): void {
    this.doubles[this.line(i) + (which === "first" ? Line.FirstMs : Line.LastMs)] = ms;
  }

  /** Keeps the counters of the machine's actor `index` as those of actor `i` at its begin. */
  beginCounts(i: number, memory: WasmMemory, index: number): void {
    this.quads.set(countersOf(memory, index), this.counts(i));
    this.doubles[this.line(i) + Line.State] = BEGUN;
  }

  /** Likewise at its end. */
  endCounts(i: number, memory: WasmMemory, index: number): void {
    this.quads.set(countersOf(memory, index), this.counts(i) + STAT_COUNT);
    this.doubles[this.line(i) + Line.State] = ENDED;
  }

  /** Ends sample number `n` of actor `i`. */
  endSample(i: number, n: number, operations: number, ms: number): void {
    if (n < 0 || n >= this.samplesMax) return;
    const pair = this.pairs(i) + n * 2;
    this.doubles[pair] = operations;
    this.doubles[pair + 1] = ms;
    this.doubles[this.line(i) + Line.Samples] = n + 1;
  }

  /** What actor `i`, which is the machine's actor `index`, has measured up to now. */
  measure(i: number, memory: WasmMemory, index: number): ActorMeasure {
    const line = this.line(i);
    const pairs = this.pairs(i);
    const d = this.doubles;
    const samples = Array.from({ length: d[line + Line.Samples]! }, (_, n) => ({
      operations: d[pairs + n * 2]!,
      ms: d[pairs + n * 2 + 1]!,
    }));
    return {
      samples,
      operations: d[line + Line.Operations]!,
      busyMs: d[line + Line.BusyMs]!,
      wallMs: this.wallMs(line),
      counts: this.risen(i, memory, index),
    };
  }

  /** Up to now while the actor is at it: a reader of a run under way has the clock of all threads. */
  private wallMs(line: number): number {
    const {
      [line + Line.State]: state,
      [line + Line.FirstMs]: first,
      [line + Line.LastMs]: last,
    } = this.doubles;
    const end = state === BEGUN ? this.clock.now() : last!;
    return state === 0 ? 0 : Math.max(0, end - first!);
  }

  private risen(i: number, memory: WasmMemory, index: number): number[] {
    const state = this.doubles[this.line(i) + Line.State]!;
    if (state === 0) return Array.from({ length: STAT_COUNT }, () => 0);
    const at = this.counts(i);
    const now =
      state === ENDED ? this.quads.subarray(at + STAT_COUNT, at + 2 * STAT_COUNT) : countersOf(memory, index);
    return Array.from({ length: STAT_COUNT }, (_, stat) => Number(now[stat]! - this.quads[at + stat]!));
  }

  private line(i: number): number {
    return (RUN_BYTES + i * LINE_BYTES) / 8;
  }

  private counts(i: number): number {
    return (RUN_BYTES + this.actors * LINE_BYTES + i * 2 * COUNTS_BYTES) / 8;
  }

  private pairs(i: number): number {
    return (RUN_BYTES + this.actors * (LINE_BYTES + 2 * COUNTS_BYTES) + i * this.samplesMax * PAIR_BYTES) / 8;
  }
}

/** The counters of an actor: its own line, which anybody may read while it writes. */
function countersOf(memory: WasmMemory, index: number): BigUint64Array {
  const { buffer } = memory;
  const actors = new DataView(buffer).getUint32(HEADER_OFFSET_ACTORS_BASE, true);
  return new BigUint64Array(buffer, actors + index * ACTOR_SIZE + ACTOR_STATS, STAT_COUNT);
}
