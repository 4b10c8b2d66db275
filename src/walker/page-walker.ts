/**
 * Translation for programs that have memory and registers and want to know what lies where: emulators, debuggers, forensic
 * tools. The walks are the core's; tables may lie anywhere in physical memory, which is read page by page and never
 * written. Runs in Node and in browsers, without threads and without cross-origin isolation.
 */

import { ACCESS_ANY, BATCH_FAILED, Fold, Outcome, PAGE_SIZE, Register } from "../core/layout.generated.js";
import { compileModule, openModule, type ModuleSource } from "../core/module.js";
import { type WasmModule } from "../core/wasm.js";
import { GuestMmuError } from "../errors.js";
import { accessNumber, type AccessKind } from "../machine/access-result.js";
import { gva as toGva, type Gva, type GvaLike, type Hpa } from "../machine/address.js";
import { checkBytes, checkOptions, checkWords, choice, integer, show } from "../machine/arguments.js";
import { stepsOf, type Translation } from "../machine/translation.js";
import { mappingOf, type Mapping, type MappingBlock } from "./mapping.js";
import { type PhysicalMemory } from "../images/types.js";
import { pagesOf, type WalkableMemory } from "./memory.js";
import { registersFrom, type LoadedRegisters, type WalkerRegisters } from "./registers.js";
import { SCAN_ROW_MAX, WindowCore, entriesOf, nextOf } from "./window-core.js";

/** How a walker is made. */
export interface WalkerOptions {
  /** Where the core comes from. Default "embed", the package's own. */
  readonly module?: ModuleSource;
  /** Pages of tables that the walker keeps copies of, 256 to 65,536, 4 KiB each. Default 4,096, for 6 GiB of 4-KByte pages at a time. */
  readonly windows?: number;
}

/** The access to walk for. */
export interface WalkOptions {
  /** Default "read". */
  readonly access?: AccessKind;
  /** Privilege level of the access, 0 to 3. Default: that of the registers. */
  readonly cpl?: number;
}

const FOLDS = { none: Fold.None, physical: Fold.Physical, rights: Fold.Rights } as const;

/** What to scan, and how to tell of it. */
export interface ScanOptions {
  /** First address, moved down to its page. Default 0. */
  readonly from?: GvaLike;
  /** First address behind the range, moved up to a page; at most 2^64, the default. */
  readonly to?: GvaLike;
  /**
   * Which neighbours become one row. "none" (default): a row a leaf. "physical": of equal size, flags and rights, if their
   * physical addresses go on. "rights": of equal rights, whatever they map to.
   */
  readonly fold?: keyof typeof FOLDS;
  /** Rows after which the scan ends, from 1. Default: no limit. */
  readonly maxRows?: number;
  /** Entries looked at after which the scan fails with `LIMIT_REACHED`. Default 2^30, which is seconds. */
  readonly maxEntries?: number;
}

/** How a scan ended. */
export interface ScanEnd {
  /** null: the range is through. Otherwise `maxRows` has ended it, and this is the `from` to go on with. */
  readonly next: Gva | null;
  /** Entries of tables looked at. */
  readonly entries: bigint;
}

const WINDOWS = { minimum: 256, maximum: 65_536, standard: 4_096 };
const MAX_ENTRIES = 2 ** 30;
/** Behind the last address. */
const END = 1n << 64n;
/** ms of work after which `mappings` lets others run. */
const SLICE_MS = 10;

interface ScanPlan {
  readonly from: bigint;
  readonly last: bigint;
  readonly fold: Fold;
  readonly maxRows: number;
  readonly maxEntries: bigint;
}

function planScan(options: ScanOptions): ScanPlan {
  checkOptions("options of scan", options, ["from", "to", "fold", "maxRows", "maxEntries"]);
  const { fold = "none", maxRows = Number.MAX_SAFE_INTEGER, maxEntries = MAX_ENTRIES } = options;
  return {
    from: options.from === undefined ? 0n : toGva(options.from),
    last: options.to === undefined || options.to === END ? END - 1n : toGva(options.to) - 1n,
    fold: choice("way to fold", FOLDS, fold),
    maxRows: integer("maxRows", maxRows, 1, Number.MAX_SAFE_INTEGER),
    maxEntries: BigInt(integer("maxEntries", maxEntries, 1, Number.MAX_SAFE_INTEGER)),
  };
}

function windowsOf(options: WalkerOptions): number {
  checkOptions("options of the walker", options, ["module", "windows"]);
  return integer("windows", options.windows ?? WINDOWS.standard, WINDOWS.minimum, WINDOWS.maximum);
}

export class PageWalker {
  readonly #core: WindowCore;
  #registers: LoadedRegisters;
  /** Counts changes of registers and contents: a scan does not go on over one. */
  #epoch = 0;
  #closed = false;

  private constructor(
    memory: PhysicalMemory,
    module: WasmModule,
    registers: LoadedRegisters,
    windows: number,
  ) {
    this.#core = new WindowCore(memory, module, windows);
    this.#registers = registers;
    this.#core.load(registers);
  }

  /**
   * A walker, at once. In a browser the module has to be given, compiled or as bytes (`guestmmu/inline`); `open` fetches it.
   * Errors: `USAGE` (memory, registers, options), `UNSUPPORTED` (32-bit and PAE paging; a module that would have to be
   * fetched), `MODULE_MISMATCH`, `MEMORY_TOO_SMALL`.
   */
  static create(memory: WalkableMemory, registers: WalkerRegisters, options: WalkerOptions = {}): PageWalker {
    const windows = windowsOf(options);
    const loaded = registersFrom(registers);
    return new PageWalker(pagesOf(memory), compileModule(options.module ?? "embed"), loaded, windows);
  }

  /** A walker; fetches the module if need be. Rejects as `create` throws. */
  static async open(
    memory: WalkableMemory,
    registers: WalkerRegisters,
    options: WalkerOptions = {},
  ): Promise<PageWalker> {
    const windows = windowsOf(options);
    const loaded = registersFrom(registers);
    return new PageWalker(pagesOf(memory), await openModule(options.module ?? "embed"), loaded, windows);
  }

  /** The registers in force. */
  get registers(): LoadedRegisters {
    return this.#registers;
  }

  /**
   * Changes registers; those left out stay. Copies of tables are kept: that is what another root of the same memory
   * needs. Errors: `USAGE`, `UNSUPPORTED`; the registers are then what they were.
   */
  setRegisters(registers: Partial<WalkerRegisters>): void {
    const core = this.#usable();
    const loaded = registersFrom(registers, this.#registers);
    try {
      core.load(loaded);
    } catch (error) {
      core.load(this.#registers);
      throw error;
    }
    this.#registers = loaded;
    this.#epoch++;
  }

  /** Forgets what it has read of the memory: to be called after the tables in it have changed. */
  refresh(): void {
    this.#usable().calls.windowClear();
    this.#epoch++;
  }

  /** Walks for one access and shows every entry that it read. Nothing is written: no accessed or dirty flag is set. */
  walk(gva: GvaLike, options: WalkOptions = {}): Translation {
    const core = this.#usable();
    checkOptions("options of walk", options, ["access", "cpl"]);
    const { access = "read" } = options;
    const kind = accessNumber(access);
    const cpl = integer("cpl", options.cpl ?? this.#registers.cpl, 0, 3);
    const at = toGva(gva);
    core.calls.registerWrite(0, Register.Cpl, BigInt(cpl));
    try {
      const outcome = core.walk(at, kind);
      const steps = stepsOf(core.record);
      if (outcome !== Outcome.Ok) return { result: core.fault(outcome, access), steps };
      const { gpa, hpa, shift } = core.record;
      return { result: { kind: "ok", gpa, hpa, pageShift: shift }, steps };
    } finally {
      core.calls.registerWrite(0, Register.Cpl, BigInt(this.#registers.cpl));
    }
  }

  /** Where `gva` lies in host-physical memory, whoever may access it; null if no table maps it. */
  translate(gva: GvaLike): Hpa | null {
    const word = BigUint64Array.of(toGva(gva));
    return this.#usable().translate(word, word, ACCESS_ANY) === 1 ? (word[0]! as Hpa) : null;
  }

  /**
   * Translates many addresses. `results[i]` is a host-physical address, or what `failureOf` takes apart; `results` may be
   * `addresses`. With an access, its rights are asked for, at the privilege level of the registers; without, an address is
   * where it is, whoever may access it. Returns how many were translated. Error: `USAGE`.
   */
  translateMany(addresses: BigUint64Array, results: BigUint64Array = addresses, access?: AccessKind): number {
    const core = this.#usable();
    checkWords("addresses", addresses);
    checkWords("results", results);
    if (results.length < addresses.length) {
      throw new GuestMmuError("USAGE", {
        message: `${addresses.length} addresses do not fit ${results.length} results.`,
        hint: "Pass an array of the same length.",
      });
    }
    const kind = access === undefined ? ACCESS_ANY : accessNumber(access);
    let translated = 0;
    for (let first = 0; first < addresses.length; first += core.batchLength) {
      const part = addresses.subarray(first, first + core.batchLength);
      translated += core.translate(part, results.subarray(first, first + part.length), kind);
    }
    return translated;
  }

  /** Copies bytes from `gva` on, whoever may read them. Returns how many there are up to the first page that is not mapped or not in the memory. */
  read(gva: GvaLike, target: Uint8Array): number {
    const core = this.#usable();
    checkBytes("bytes to read into", target);
    const page = new Uint8Array(PAGE_SIZE);
    let at: bigint = toGva(gva);
    let done = 0;
    const pages = new BigUint64Array(Math.min(core.batchLength, Math.ceil(target.length / PAGE_SIZE) + 1));
    while (done < target.length) {
      const first = at & ~0xfffn;
      const wanted = Math.ceil((Number(at - first) + target.length - done) / PAGE_SIZE);
      const part = pages.subarray(0, Math.min(pages.length, wanted));
      for (let i = 0; i < part.length; i++) part[i] = BigInt.asUintN(64, first + BigInt(i * PAGE_SIZE));
      core.translate(part, part, ACCESS_ANY);
      for (const hpa of part) {
        if ((hpa & BATCH_FAILED) !== 0n || !core.readPage(hpa, page)) return done;
        const offset = Number(at & 0xfffn);
        const bytes = page.subarray(offset, offset + target.length - done);
        target.set(bytes, done);
        done += bytes.length;
        at = BigInt.asUintN(64, at + BigInt(bytes.length));
        // The addresses end there; they do not begin anew.
        if (at === 0n) return done;
      }
    }
    return done;
  }

  /**
   * What the root maps, in the order of addresses, in blocks of rows. Registers and contents must not change until it
   * ends: `MACHINE_BUSY`. Other errors: `USAGE`, `ADDRESS_RANGE`, `UNSUPPORTED` without paging, `LIMIT_REACHED`.
   */
  *scan(options: ScanOptions = {}): Generator<MappingBlock, ScanEnd, void> {
    const plan = planScan(options);
    const core = this.#usable();
    if (this.#registers.cr0 >> 31n === 0n) {
      throw new GuestMmuError("UNSUPPORTED", {
        message:
          "Without paging (CR0.PG is clear) there are no tables to scan: every address is mapped to itself.",
        hint: "Pass registers of a processor that has paging on.",
      });
    }
    const epoch = this.#epoch;
    if (plan.last < plan.from) return { next: null, entries: 0n };
    const state = core.beginScan(plan.from, plan.last, plan.fold);
    for (let room = plan.maxRows; ;) {
      const { block, done } = core.continueScan(state, Math.min(room, SCAN_ROW_MAX));
      const entries = entriesOf(state);
      if (block) yield block;
      if (done) return { next: null, entries };
      room -= block?.count ?? 0;
      if (room === 0) return { next: nextOf(state) as Gva, entries };
      if (entries > plan.maxEntries) throw this.#tooMany(plan, nextOf(state));
      this.#usable();
      if (this.#epoch !== epoch) {
        throw new GuestMmuError("MACHINE_BUSY", {
          message: "The registers of the walker, or the contents of its memory, were changed during a scan.",
          hint: "End the scan first, or make a walker of its own for it.",
        });
      }
    }
  }

  /** The same row by row, as objects, letting others run from time to time. Rejects as `scan` throws. */
  async *mappings(options: ScanOptions = {}): AsyncGenerator<Mapping, ScanEnd, void> {
    const nested = this.#registers.nested !== null;
    const blocks = this.scan(options);
    for (let since = performance.now(); ;) {
      const { value, done } = blocks.next();
      if (done) return value;
      for (let i = 0; i < value.count; i++) yield mappingOf(value, i, nested);
      if (performance.now() - since < SLICE_MS) continue;
      await new Promise((resolve) => setTimeout(resolve));
      since = performance.now();
    }
  }

  /** Gives its memory back. Whatever is called afterwards throws `DISPOSED`. The memory that it walked stays open. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#core.dispose();
  }

  #usable(): WindowCore {
    if (!this.#closed) return this.#core;
    throw new GuestMmuError("DISPOSED", {
      message: "The walker has been closed.",
      hint: "Make another one.",
    });
  }

  #tooMany({ maxEntries }: ScanPlan, next: bigint): GuestMmuError {
    return new GuestMmuError("LIMIT_REACHED", {
      message: `The tables of root 0x${this.#registers.cr3.toString(16)} have more than ${maxEntries} entries; the scan is at gva 0x${next.toString(16)}.`,
      hint: `They refer to themselves, as a rule: scan a range (from, to), or raise maxEntries (${show(Number(maxEntries))}).`,
    });
  }
}
