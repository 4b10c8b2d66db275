/**
 * One instance of the core on one memory: the only file that knows the loader. Results arrive as JavaScript expects
 * them (u32 unsigned, u64 as a non-negative bigint); a trap arrives as a `GuestMmuError`.
 */

import { instantiateSync } from "@assemblyscript/loader";
import { GuestMmuError } from "../errors.js";
import { ABI, LAB_ABI, type CoreCalls, type LabCalls } from "./abi.js";
import { HEADER_ABORT } from "./layout.generated.js";
import { trapError } from "./trap.js";
import { type WasmMemory, type WasmModule } from "./wasm.js";

/** What the lab build asks of its host; the release build imports nothing but its memory. */
export interface LabImports {
  /** The next access has this `Order`, or is this `Barrier`. */
  order?(order: number): void;
  /** One of `n` ways that the architecture allows: 0 to n - 1. */
  choose?(n: number): number;
  /** An event for checkers: `Note` and two arguments. */
  note?(kind: number, a: bigint, b: bigint): void;
}

type RawFunction = (...values: unknown[]) => unknown;

const asUnsigned = {
  u32: (value: unknown) => (value as number) >>> 0,
  i32: (value: unknown) => value as number,
  u64: (value: unknown) => BigInt.asUintN(64, value as bigint),
  bool: (value: unknown) => value !== 0,
  void: () => undefined,
} as const;

/** An instance of the core, bound to one memory. */
export class Core {
  /** The exports, typed. */
  readonly calls: CoreCalls;
  /** The exports of the lab build, or null. */
  readonly lab: LabCalls | null;
  #failure: GuestMmuError | null = null;

  private constructor(
    readonly module: WasmModule,
    readonly memory: WasmMemory,
    exports: WebAssembly.Exports,
  ) {
    this.calls = this.#typed(exports, ABI) as unknown as CoreCalls;
    this.lab = Object.hasOwn(exports, "labSnapshot")
      ? (this.#typed(exports, LAB_ABI) as unknown as LabCalls)
      : null;
  }

  /** Instantiates a module that `module.ts` has checked. Throws `MODULE_MISMATCH` if the memory does not fit it. */
  static on(module: WasmModule, memory: WasmMemory, imports: LabImports = {}): Core {
    const ignore = () => {};
    const { order = ignore, choose = () => 0, note = ignore } = imports;
    let instance;
    try {
      ({ instance } = instantiateSync(module, {
        env: { memory, order, choose, note } as { memory: WebAssembly.Memory },
      }));
    } catch (cause) {
      throw new GuestMmuError("MODULE_MISMATCH", {
        message: "The module cannot be instantiated on this memory.",
        hint: "Create the memory with { initial, maximum: 65536, shared: true }, and use the package's own module.",
        cause,
      });
    }
    return new Core(module, memory, instance.exports);
  }

  /** The first trap of this instance, after which it answers nothing else. */
  get failure(): GuestMmuError | null {
    return this.#failure;
  }

  #typed(exports: WebAssembly.Exports, table: Record<string, { result: keyof typeof asUnsigned }>) {
    const calls: Record<string, RawFunction> = {};
    for (const [name, { result }] of Object.entries(table)) {
      const raw = exports[name] as RawFunction;
      const convert = asUnsigned[result];
      calls[name] = (...values) => {
        if (this.#failure) throw this.#failure;
        try {
          return convert(raw(...values));
        } catch (cause) {
          throw this.#fail(cause);
        }
      };
    }
    return calls;
  }

  /** A trap leaves locks held: nothing more is answered, and whoever waits for one of them ends too. */
  #fail(cause: unknown): unknown {
    // A TypeError is a wrong argument of ours: it was thrown before the core was entered.
    if (!(cause instanceof WebAssembly.RuntimeError) && !(cause instanceof RangeError)) return cause;
    const { buffer } = this.memory;
    this.#failure = trapError(new DataView(buffer), cause);
    Atomics.store(new Uint32Array(buffer), HEADER_ABORT / 4, 1);
    return this.#failure;
  }
}
