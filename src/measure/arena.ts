/**
 * One shared memory for all machines of a bench, one after another. A page of it that nobody has touched costs a fault of
 * the operating system at its first use, ten times what is to be measured: here it is paid before.
 */

import { GuestMmuError } from "../errors.js";
import { Machine } from "../machine/machine.js";
import type { MachineOptions } from "../machine/options.js";

const WASM_PAGES_MAX = 65536;
const OS_PAGE = 4096;

/** Memory for one machine at a time. */
export class Arena {
  readonly #memory = Arena.#newMemory();
  /** Bytes from 0 that machines may have written to. */
  #used = 0;

  static #newMemory(): WebAssembly.Memory {
    try {
      return new WebAssembly.Memory({ initial: 1, maximum: WASM_PAGES_MAX, shared: true });
    } catch (cause) {
      throw new GuestMmuError("MEMORY_TOO_SMALL", {
        message: "This platform gives no shared WebAssembly memory of 4 GiB of address space.",
        hint: "Run guestmmu doctor; raise the limit on address space (ulimit -v).",
        cause,
      });
    }
  }

  /** A new machine where the last one was, all of its memory touched. Errors as of `Machine.create`. */
  create(options: MachineOptions): Machine {
    new Uint8Array(this.#memory.buffer, 0, this.#used).fill(0);
    const machine = Machine.create({ ...options, memory: this.#memory });
    const words = new Int32Array(this.#memory.buffer);
    // Nobody else acts yet, but `create` has written: add nothing, so that contents stay.
    for (let at = this.#used; at < machine.size; at += OS_PAGE) Atomics.add(words, at >>> 2, 0);
    this.#used = Math.max(this.#used, machine.size);
    return machine;
  }
}
