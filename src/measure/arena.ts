/**
 * One shared memory for all machines of a bench, one after another. A page of it that nobody has touched costs a fault of
 * the operating system at its first use, ten times what is to be measured: here it is paid before.
 */

import { compileModule } from "../core/module.js";
import { Machine, newMemory } from "../machine/machine.js";
import type { MachineOptions } from "../machine/options.js";

const OS_PAGE = 4096;

/** Memory for one machine at a time. */
export class Arena {
  readonly #memory = newMemory(compileModule("release"));
  /** Bytes from 0 that machines may have written to. */
  #used = 0;

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
