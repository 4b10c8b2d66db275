/**
 * What all views of one machine share: the instance of the core, typed windows on the memory, and who acts. Internal:
 * embedders see `Machine` and its views.
 */

import { type CoreCalls } from "../core/abi.js";
import { type Core } from "../core/core.js";
import {
  ACTOR_SIZE,
  ACTOR_STATS,
  HEADER_ABORT,
  HEADER_OFFSET_ACTORS_BASE,
  HEADER_OFFSET_BATCHES_BASE,
  HEADER_OFFSET_FRAMES_BASE,
  HEADER_OFFSET_SIZE,
  Stat,
} from "../core/layout.generated.js";
import { endedError } from "../core/trap.js";
import { type WasmMemory } from "../core/wasm.js";
import { GuestMmuError } from "../errors.js";
export { integer } from "./arguments.js";
import { readConfiguration, type MachineConfiguration } from "./options.js";

/** Names of the counters, as in `Stat` but with a small first letter. */
export type StatisticName = Uncapitalize<keyof typeof Stat>;

/** What actors have done: counts since the machine was made. Any thread may read them while others act. */
export type Statistics = Readonly<Record<StatisticName, bigint>>;

const STATISTIC_NAMES = (Object.keys(Stat) as (keyof typeof Stat)[]).map(
  (name) => [`${name[0]!.toLowerCase()}${name.slice(1)}` as StatisticName, Stat[name]] as const,
);

export class MachineState {
  readonly configuration: MachineConfiguration;
  readonly memory: WasmMemory;
  readonly view: DataView;
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly u64: BigUint64Array;
  /** Bytes of memory that the machine takes, from address 0. */
  readonly size: number;
  readonly actorsBase: number;
  readonly framesBase: number;
  /** Invalidations and faults that the lab view has begun and not ended: what would wait for them is refused. */
  openInvalidations = 0;
  openFaults = 0;
  #core: Core | null;

  /** @param actor index of the host thread that this view acts as, vCPUs included in the count */
  constructor(
    core: Core,
    readonly actor: number,
  ) {
    this.#core = core;
    this.memory = core.memory;
    const { buffer } = core.memory;
    this.view = new DataView(buffer);
    this.u8 = new Uint8Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.u64 = new BigUint64Array(buffer);
    this.configuration = readConfiguration(this.view);
    this.size = this.view.getUint32(HEADER_OFFSET_SIZE, true);
    this.actorsBase = this.view.getUint32(HEADER_OFFSET_ACTORS_BASE, true);
    this.framesBase = this.view.getUint32(HEADER_OFFSET_FRAMES_BASE, true);
  }

  /** Throws `DISPOSED` if the view has been disposed of: for what only looks, as one may after a trap. */
  checkNotDisposed(): void {
    void this.core;
  }

  /** Throws `DISPOSED`, or `CORE_TRAP` or `ABORTED` if any thread's end has ended the machine: for what acts. */
  checkUsable(): void {
    const { failure } = this.core;
    if (Atomics.load(this.u32, HEADER_ABORT / 4) !== 0) throw failure ?? endedError(this.view);
  }

  /** The instance, or `DISPOSED`. */
  get core(): Core {
    if (this.#core) return this.#core;
    throw new GuestMmuError("DISPOSED", {
      message: "The machine has been disposed of.",
      hint: "Create another one, or attach to its memory again.",
    });
  }

  /** The exports of the core, if the machine is usable. */
  get calls(): CoreCalls {
    this.checkUsable();
    return this.core.calls;
  }

  get disposed(): boolean {
    return this.#core === null;
  }

  dispose(): void {
    this.#core = null;
  }

  /** Address of an actor's block. */
  actorBlock(index: number): number {
    return this.actorsBase + index * ACTOR_SIZE;
  }

  /** Address of an actor's batch buffer. */
  batchBase(index: number): number {
    return this.view.getUint32(HEADER_OFFSET_BATCHES_BASE, true) + index * this.configuration.batchSize;
  }

  /** The counters of some actors, added up. */
  statistics(first: number, count: number): Statistics {
    const sums = {} as Record<StatisticName, bigint>;
    for (const [name, stat] of STATISTIC_NAMES) {
      let sum = 0n;
      for (let i = first; i < first + count; i++) {
        sum += Atomics.load(this.u64, (this.actorBlock(i) + ACTOR_STATS) / 8 + stat);
      }
      sums[name] = sum;
    }
    return sums;
  }

  /** Refuses what would wait for the end of an invalidation that this thread has open, hence for ever. */
  checkNoInvalidationOpen(what: string): void {
    if (this.openInvalidations !== 0) this.checkNothingOpen(what);
    else this.checkUsable();
  }

  /** Refuses what would wait for ever on this thread, because the lab view holds something open. */
  checkNothingOpen(what: string): void {
    this.checkUsable();
    if (this.openInvalidations === 0 && this.openFaults === 0) return;
    const open = this.openInvalidations ? "an invalidation" : "a fault";
    throw new GuestMmuError("MACHINE_BUSY", {
      message: `${what} would wait for ${open} that machine.lab has begun and not ended.`,
      hint: "End it first: nobody else can, on this thread.",
    });
  }
}
