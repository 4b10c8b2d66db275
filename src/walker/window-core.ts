/**
 * An instance of the core that walks in windows: its memory, the pages that it has copies of, and the loop that brings those
 * it asks for. Internal: embedders see `PageWalker`.
 */

import { type CoreCalls } from "../core/abi.js";
import { Core } from "../core/core.js";
import {
  Build,
  HEADER_OFFSET_BUILD,
  HEADER_OFFSET_TABLE_CACHE_ENTRIES,
  Outcome,
  PAGE_SIZE,
  SCAN_ENTRIES,
  SCAN_NEXT,
  SCAN_OPEN_GVA,
  SCAN_OPEN_LENGTH,
  SCAN_ROWS,
  SCAN_ROW_COUNT,
  SCAN_ROW_SIZE,
  SCAN_SIZE,
  SCAN_WANTED,
  SCAN_WANTED_COUNT,
  ScanResult,
} from "../core/layout.generated.js";
import { isEmbedModule } from "../core/module.js";
import { type WasmMemory, type WasmModule } from "../core/wasm.js";
import { GuestMmuError } from "../errors.js";
import { WalkRecord, type AccessKind } from "../machine/access-result.js";
import { configure, writeConfiguration } from "../machine/options.js";
import { MachineState } from "../machine/state.js";
import { MAPPING_WORDS, type MappingBlock } from "./mapping.js";
import { type PhysicalMemory } from "../images/types.js";
import { loadRegisters, type LoadedRegisters } from "./registers.js";

const WASM_PAGE = 65536;
const WASM_PAGES_MAX = 65536;
/** Rows of each half of the table cache: 2 MiB of addresses each. */
const TABLE_CACHE_ENTRIES = 4096;
const BATCH_SIZE = 1 << 17;
/** Rows that one call of `scan` can write. */
export const SCAN_ROW_MAX = Math.floor((BATCH_SIZE - SCAN_ROWS) / SCAN_ROW_SIZE);

/** The core needs a machine around the windows; it is as small as a machine can be. */
function configurationOf(windows: number) {
  return configure({
    frames: 16,
    slots: 1,
    vmas: 1,
    tlb: { entries: 1, largeEntries: 1, walkCacheEntries: 1 },
    batchSize: BATCH_SIZE,
    windows,
  });
}

function newMemory(shared: boolean): WasmMemory {
  return new WebAssembly.Memory({ initial: 1, maximum: WASM_PAGES_MAX, shared });
}

function newCore(module: WasmModule, windows: number): Core {
  const embed = isEmbedModule(module);
  try {
    const memory = newMemory(!embed);
    const core = Core.on(module, memory);
    const view = new DataView(memory.buffer);
    writeConfiguration(view, configurationOf(windows));
    view.setUint32(HEADER_OFFSET_TABLE_CACHE_ENTRIES, TABLE_CACHE_ENTRIES, true);
    view.setUint32(HEADER_OFFSET_BUILD, embed ? Build.Embed : Build.Release, true);
    memory.grow(Math.ceil(core.calls.plan() / WASM_PAGE) - 1);
    core.calls.create();
    return core;
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new GuestMmuError("MEMORY_TOO_SMALL", {
      message: `This platform gives no WebAssembly memory for ${windows} windows.`,
      hint: "Lower windows: each takes 4 KiB.",
      cause,
    });
  }
}

/** How a slice of a scan ended. */
export interface ScanSlice {
  readonly block: MappingBlock | null;
  readonly done: boolean;
}

export class WindowCore {
  readonly record: WalkRecord;
  readonly #memory: PhysicalMemory;
  readonly #state: MachineState;
  readonly #page = new Uint8Array(PAGE_SIZE);
  readonly #batch: number;

  constructor(memory: PhysicalMemory, module: WasmModule, windows: number) {
    this.#memory = memory;
    this.#state = new MachineState(newCore(module, windows), 0);
    this.record = new WalkRecord(this.#state, 0);
    this.#batch = this.#state.batchBase(0);
  }

  get calls(): CoreCalls {
    return this.#state.calls;
  }

  /** Addresses that one call of `translate` takes. */
  get batchLength(): number {
    return BATCH_SIZE / 8;
  }

  dispose(): void {
    this.#state.dispose();
  }

  load(registers: LoadedRegisters): void {
    loadRegisters(this.calls, this.#state.view, registers);
  }

  /** Copies the page of `pa` into a window, or notes that there is none; returns whether there is. */
  bring(pa: bigint): boolean {
    const { calls, u8 } = this.#state;
    if (this.#memory.readPage(Number(pa >> 12n), this.#page)) {
      u8.set(this.#page, calls.windowPut(pa));
      return true;
    }
    calls.windowAbsent(pa);
    return false;
  }

  /** Copies the page of `pa` into `target`; false if there is none. */
  readPage(pa: bigint, target: Uint8Array): boolean {
    return this.#memory.readPage(Number(pa >> 12n), target);
  }

  /** Walks for one access; the record has its steps. Returns the `Outcome`. */
  walk(gva: bigint, access: number): number {
    for (;;) {
      const outcome = this.calls.translateInWindows(0, gva, access, false);
      if (outcome !== Outcome.Missing || !this.bring(this.record.hpa)) return outcome;
    }
  }

  /** The fault that the outcome of `walk` stands for. */
  fault(outcome: number, access: AccessKind) {
    return this.record.fault(outcome, access, 1);
  }

  /** Translates at most `batchLength` addresses; returns how many have a translation. */
  translate(addresses: BigUint64Array, results: BigUint64Array, access: number): number {
    const { calls, u64 } = this.#state;
    const buffer = this.#batch / 8;
    const count = addresses.length;
    u64.set(addresses, buffer);
    let translated = 0;
    for (let next = 0; next < count;) {
      const packed = calls.translateTablesBatch(0, next, count, access);
      translated += Number(packed >> 32n);
      next = Number(packed & 0xffff_ffffn);
      if (next < count) this.bring(this.record.hpa);
    }
    results.set(u64.subarray(buffer, buffer + count));
    return translated;
  }

  // --- Scans. Their state is kept by the caller, so that several can be under way.

  /** The state of a scan from `from` to `last`, both included. */
  beginScan(from: bigint, last: bigint, fold: number): Uint8Array {
    this.calls.scanStart(0, from, last, fold);
    return this.#state.u8.slice(this.#batch, this.#batch + SCAN_SIZE);
  }

  /** Goes on with a scan, and brings the state up to date. */
  continueScan(state: Uint8Array, rowMax: number): ScanSlice {
    const { calls, u8, view } = this.#state;
    u8.set(state, this.#batch);
    const result = calls.scanNext(0, Math.min(rowMax, SCAN_ROW_MAX));
    const block = this.#takeRows(view.getUint32(this.#batch + SCAN_ROW_COUNT, true));
    state.set(u8.subarray(this.#batch, this.#batch + SCAN_SIZE));
    if (result === ScanResult.Missing) this.#bringWanted();
    return { block, done: result === ScanResult.Done };
  }

  #takeRows(count: number): MappingBlock | null {
    if (count === 0) return null;
    const first = (this.#batch + SCAN_ROWS) / 8;
    const words = this.#state.u64.slice(first, first + count * MAPPING_WORDS);
    return { count, words, halves: new Uint32Array(words.buffer) };
  }

  /** The first page asked for is the one that is needed: last, so that it is there whatever the others push out. */
  #bringWanted(): void {
    const { view } = this.#state;
    for (let i = view.getUint32(this.#batch + SCAN_WANTED_COUNT, true) - 1; i >= 0; i--) {
      this.bring(view.getBigUint64(this.#batch + SCAN_WANTED + 8 * i, true));
    }
  }
}

/** Entries that a scan has looked at. */
export function entriesOf(state: Uint8Array): bigint {
  return new DataView(state.buffer).getBigUint64(SCAN_ENTRIES, true);
}

/** First address that a scan has not told of: that of the row which may still grow, if there is one. */
export function nextOf(state: Uint8Array): bigint {
  const view = new DataView(state.buffer);
  const open = view.getBigUint64(SCAN_OPEN_LENGTH, true) !== 0n;
  return view.getBigUint64(open ? SCAN_OPEN_GVA : SCAN_NEXT, true);
}
