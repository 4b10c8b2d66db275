/**
 * Runs one actor of the compiled core up to its next suspension. While it is suspended an actor is nothing but its
 * Asyncify buffer, what it is suspended at, and the words that it alone uses; so it can be resumed any number of times.
 *
 * What is a reason to suspend is decided by `Watcher.suspends`; what happens without one is told to the watcher too.
 */

import { GuestMmuError } from "../errors.js";
import { type ExploredModule, type ExploredSite } from "./core.js";
import { Note } from "../core/layout.generated.js";
import { trapError } from "../core/trap.js";
import { type WasmMemory } from "../core/wasm.js";
import { type Call, type CallResult } from "./program.js";

/** What an actor is suspended at. */
export const enum At {
  /** An access, which its next step performs first. */
  Access = 0,
  /** atomic.wait: its next step sleeps, or goes on if the word has changed. */
  Wait = 1,
  /** atomic.notify. */
  Notify = 2,
  /** A choice of the architecture. */
  Choose = 3,
}

/** A suspended actor. */
export interface Suspension {
  readonly at: At;
  readonly site: number;
  /** First byte; of a copy the destination. */
  readonly address: number;
  readonly length: number;
  /** Source of a copy, else 0. */
  readonly source: number;
  /** Expected value of a wait, count of a notify, number of ways of a choice. */
  readonly operand: number;
  /** `Order` that the core named for the access, -1 for a plain one. */
  readonly order: number;
  /** Bits of the barriers named since the access before: 1 read, 2 write, 4 full. */
  readonly barriers: number;
  /** Inside one step of hardware (Note.AtomicBegin), after its first access: nobody else comes between. */
  readonly inside: boolean;
  /** Before the first access of such a step: others may come before it. */
  readonly enters: boolean;
  readonly stack: Int32Array;
  readonly call: Call;
}

/** How a run ended. */
export type RunEnd =
  | { readonly kind: "suspended"; readonly suspension: Suspension }
  | { readonly kind: "returned"; readonly result: CallResult }
  | { readonly kind: "trapped"; readonly message: string };

/** Who decides where an actor is suspended, and is told of all else. */
export interface Watcher {
  /** True if the actor is to be suspended before it touches these bytes. */
  suspends(address: number, length: number): boolean;
  /** An access is about to happen. Of a copy: source, then destination. */
  touched(site: number, address: number, length: number, write: boolean): void;
  noted(kind: number, a: bigint, b: bigint): void;
}

type Raw = Record<string, (...args: (number | bigint)[]) => unknown>;

const BARRIER_FIRST = 8;
const enum Asyncify {
  Normal = 0,
  Unwinding = 1,
  Rewinding = 2,
}

/** Bytes for the Asyncify buffer: far more than the deepest call takes. */
const STACK_SIZE = 65536;
/** Accesses without a suspension after which a run counts as endless. */
const ACCESSES_MAX = 500_000;

export class Runner {
  readonly memory: WasmMemory;
  readonly words: Int32Array;
  readonly #sites: readonly ExploredSite[];
  readonly #exports: Raw;
  readonly #header: number;
  readonly #results: Readonly<Record<string, "u32" | "i32" | "u64" | "bool" | "void">>;
  #watcher: Watcher | null = null;

  #state: Asyncify = Asyncify.Normal;
  #call: Call | null = null;
  #pending: Suspension | null = null;
  #answer = 0;
  #order = -1;
  #barriers = 0;
  #inside = false;
  #enters = false;
  #budget = 0;

  /** Binds an instance to the machine in `memory`, whose parts end at `size`; the buffer comes after them. */
  constructor(
    explored: ExploredModule,
    memory: WasmMemory,
    size: number,
    results: Readonly<Record<string, { readonly result: "u32" | "i32" | "u64" | "bool" | "void" }>>,
  ) {
    this.#header = Math.ceil(size / 64) * 64;
    const missing = Math.ceil((this.#header + 64 + STACK_SIZE - memory.buffer.byteLength) / 65536);
    if (missing > 0) memory.grow(missing);
    this.memory = memory;
    this.words = new Int32Array(memory.buffer);
    this.#sites = explored.sites;
    this.#results = Object.fromEntries(Object.entries(results).map(([name, { result }]) => [name, result]));
    const instance = new WebAssembly.Instance(explored.module, {
      env: {
        memory,
        order: (order: number) => this.#ordered(order),
        choose: (n: number) => this.#choose(n),
        note: (kind: number, a: bigint, b: bigint) => this.#note(kind, a, b),
      },
      explore: {
        access: (pointer: number, site: number) => this.#access(pointer, site),
        copy: (to: number, from: number, length: number, site: number) => this.#bulk(to, from, length, site),
        fill: (to: number, length: number, site: number) => this.#bulk(to, 0, length, site),
        wait: (address: number, expected: number, site: number) => this.#wait(address, expected, site),
        notify: (address: number, count: number, site: number) => this.#notify(address, count, site),
      },
    });
    this.#exports = instance.exports as unknown as Raw;
    this.#watched(FREE, () => this.#exports["attach"]!());
  }

  /** Runs a call with nobody else about: nothing suspends it. */
  alone(call: Call, watcher: Watcher = FREE): CallResult {
    const end = this.start(call, watcher);
    if (end.kind === "returned") return end.result;
    throw new GuestMmuError("CORE_TRAP", {
      message:
        end.kind === "trapped" ? `${call.text}: ${end.message}` : `${call.text} waits for another actor.`,
      hint: "Nobody else acts here: the set-up of a scenario has to end by itself.",
    });
  }

  /** Runs a call from its beginning. */
  start(call: Call, watcher: Watcher): RunEnd {
    this.#inside = false;
    this.#enters = false;
    this.#order = -1;
    this.#barriers = 0;
    return this.#run(call, watcher);
  }

  /** Goes on from a suspension. `answer`: of a wait, a notify or a choice. The memory has to be as the actor left it. */
  resume(from: Suspension, answer: number, watcher: Watcher): RunEnd {
    const { words } = this;
    const first = (this.#header + 64) >> 2;
    words.set(from.stack, first);
    words[this.#header >> 2] = (first + from.stack.length) << 2;
    words[(this.#header >> 2) + 1] = this.#header + 64 + STACK_SIZE;
    this.#answer = answer;
    this.#inside = from.inside;
    this.#enters = from.enters;
    this.#order = -1;
    this.#barriers = 0;
    this.#exports["asyncify_start_rewind"]!(this.#header);
    this.#state = Asyncify.Rewinding;
    return this.#run(from.call, watcher);
  }

  #watched<T>(watcher: Watcher, body: () => T): T {
    this.#watcher = watcher;
    this.#budget = ACCESSES_MAX;
    try {
      return body();
    } finally {
      this.#watcher = null;
    }
  }

  #run(call: Call, watcher: Watcher): RunEnd {
    this.#call = call;
    this.#pending = null;
    try {
      const result = this.#watched(watcher, () => this.#exports[call.name]!(...call.args));
      if (this.#state === Asyncify.Normal)
        return { kind: "returned", result: this.#typed(call.name, result) };
    } catch (error) {
      this.#state = Asyncify.Normal;
      if (!(error instanceof WebAssembly.RuntimeError)) throw error;
      const { message } = trapError(new DataView(this.memory.buffer), error);
      return { kind: "trapped", message: message.replace(/\.$/, "") };
    }
    this.#exports["asyncify_stop_unwind"]!();
    this.#state = Asyncify.Normal;
    const first = (this.#header + 64) >> 2;
    const stack = this.words.slice(first, this.words[this.#header >> 2]! >> 2);
    return { kind: "suspended", suspension: { ...(this.#pending as unknown as Suspension), stack } };
  }

  #typed(name: string, result: unknown): CallResult {
    switch (this.#results[name]) {
      case "u64":
        return BigInt.asUintN(64, result as bigint);
      case "u32":
        return (result as number) >>> 0;
      case "void":
      case undefined:
        return 0;
      default:
        return result as number;
    }
  }

  /** True when the access at which the actor was suspended is about to happen. */
  #resumed(): boolean {
    if (this.#state !== Asyncify.Rewinding) return false;
    this.#exports["asyncify_stop_rewind"]!();
    this.#state = Asyncify.Normal;
    if (this.#enters) {
      this.#enters = false;
      this.#inside = true;
    }
    return true;
  }

  #suspend(at: At, site: number, address: number, length: number, source: number, operand: number): void {
    this.#pending = {
      at,
      site,
      address,
      length,
      source,
      operand,
      order: this.#order,
      barriers: this.#barriers,
      inside: this.#inside,
      enters: this.#enters,
      stack: NO_STACK,
      call: this.#call!,
    };
    this.words[this.#header >> 2] = this.#header + 64;
    this.words[(this.#header >> 2) + 1] = this.#header + 64 + STACK_SIZE;
    this.#exports["asyncify_start_unwind"]!(this.#header);
    this.#state = Asyncify.Unwinding;
  }

  #spend(): void {
    if (--this.#budget >= 0) return;
    throw new GuestMmuError("LIMIT_REACHED", {
      message: `${this.#call!.text} made ${ACCESSES_MAX} accesses without one that another actor could see.`,
      hint: "A loop of the core that waits for another actor has to wait by atomic.wait.",
    });
  }

  #access(pointer: number, site: number): number {
    const { offset, size, kind } = this.#sites[site]!;
    const address = (pointer + offset) >>> 0;
    const watcher = this.#watcher!;
    if (!this.#resumed()) {
      this.#spend();
      if (watcher.suspends(address, size)) {
        this.#suspend(At.Access, site, address, size, 0, 0);
        return pointer;
      }
    }
    this.#order = -1;
    watcher.touched(site, address, size, kind !== "load");
    return pointer;
  }

  #bulk(to: number, from: number, length: number, site: number): void {
    const watcher = this.#watcher!;
    const source = from >>> 0;
    const address = to >>> 0;
    const copies = this.#sites[site]!.kind === "copy";
    if (!this.#resumed()) {
      this.#spend();
      if (watcher.suspends(address, length) || (copies && watcher.suspends(source, length))) {
        this.#suspend(At.Access, site, address, length, copies ? source : 0, 0);
        return;
      }
    }
    if (copies) watcher.touched(site, source, length, false);
    watcher.touched(site, address, length, true);
  }

  #wait(address: number, expected: number, site: number): number {
    if (this.#resumed()) {
      this.#watcher!.touched(site, address >>> 0, 4, false);
      return this.#answer;
    }
    if (this.#watcher === FREE) {
      throw new GuestMmuError("USAGE", {
        message: `${this.#call!.text} waits for another actor, and there is none yet.`,
        hint: "The set-up of a scenario has to end by itself.",
      });
    }
    this.#suspend(At.Wait, site, address >>> 0, 4, 0, expected);
    return 0;
  }

  #notify(address: number, count: number, site: number): number {
    if (this.#watcher === FREE) return 0;
    if (this.#resumed()) return this.#answer;
    this.#suspend(At.Notify, site, address >>> 0, 4, 0, count);
    return 0;
  }

  #choose(n: number): number {
    if (this.#watcher === FREE || n < 2) return 0;
    if (this.#resumed()) return this.#answer;
    this.#suspend(At.Choose, -1, 0, 0, 0, n);
    return 0;
  }

  #ordered(order: number): void {
    if (order >= BARRIER_FIRST) this.#barriers |= 1 << (order - BARRIER_FIRST);
    else this.#order = order;
  }

  #note(kind: number, a: bigint, b: bigint): void {
    const event = kind & 0xff;
    if (event === Note.AtomicBegin) this.#enters = true;
    else if (event === Note.AtomicEnd) this.#enters = this.#inside = false;
    this.#watcher!.noted(kind, BigInt.asUintN(64, a), BigInt.asUintN(64, b));
  }
}

const NO_STACK = new Int32Array(0);

/** Watches nothing and suspends nobody: for set-ups and final checks. */
export const FREE: Watcher = {
  suspends: () => false,
  touched: () => undefined,
  noted: () => undefined,
};
