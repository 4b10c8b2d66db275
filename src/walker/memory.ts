/** Memory to walk, in the one form that the walker reads: pages of 4 KByte by their number. */

import { HEADER_OFFSET_FRAMES_BASE, HEADER_OFFSET_FRAME_COUNT, PAGE_SIZE } from "../core/layout.generated.js";
import { GuestMmuError } from "../errors.js";
import { type PhysicalMemory } from "../images/types.js";
import { type Machine } from "../machine/machine.js";
import { show } from "../machine/arguments.js";

/** What a `PageWalker` can walk: pages by number, bytes from physical address 0 on, or the frames of a machine. */
export type WalkableMemory = PhysicalMemory | Uint8Array | Machine;

/** Bytes: the first is that of physical address 0. What is left at the end of an odd size is no page. */
class ByteMemory implements PhysicalMemory {
  constructor(private readonly bytes: Uint8Array) {}
  readPage(pfn: number, target: Uint8Array): boolean {
    const end = (pfn + 1) * PAGE_SIZE;
    if (end > this.bytes.length) return false;
    target.set(this.bytes.subarray(end - PAGE_SIZE, end));
    return true;
  }
}

/** The host-physical memory of a machine. */
class MachineFrames implements PhysicalMemory {
  constructor(private readonly machine: Machine) {}
  readPage(pfn: number, target: Uint8Array): boolean {
    if (this.machine.disposed) {
      throw new GuestMmuError("DISPOSED", {
        message: "The machine under the walker has been disposed of.",
        hint: "Close the walker first.",
      });
    }
    const { buffer } = this.machine.memory;
    const view = new DataView(buffer);
    if (pfn >= view.getUint32(HEADER_OFFSET_FRAME_COUNT, true)) return false;
    const at = view.getUint32(HEADER_OFFSET_FRAMES_BASE, true) + pfn * PAGE_SIZE;
    target.set(new Uint8Array(buffer, at, PAGE_SIZE));
    return true;
  }
}

function isMachine(memory: object): memory is Machine {
  return "memory" in memory && memory.memory instanceof WebAssembly.Memory && "configuration" in memory;
}

/** `memory` by pages. Error: `USAGE` if it is nothing that can be walked. */
export function pagesOf(memory: WalkableMemory): PhysicalMemory {
  if (memory instanceof Uint8Array) return new ByteMemory(memory);
  if (typeof memory === "object" && memory !== null) {
    if ("readPage" in memory && typeof memory.readPage === "function") return memory;
    if (isMachine(memory)) return new MachineFrames(memory);
  }
  throw new GuestMmuError("USAGE", {
    message: `The memory to walk is ${show(memory)}.`,
    hint: "Pass a Uint8Array, an object with readPage(pfn, target), an opened image, or a Machine.",
  });
}
