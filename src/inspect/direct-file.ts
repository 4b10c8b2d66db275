/**
 * A large raw image, read past the page cache. What is a hole in the file is then delivered at memory speed, 10 GB/s where
 * the page cache gives 0.2 to 2, so that a sparse image can be searched whole: Node cannot ask where its data are.
 */

import { closeSync, constants, openSync, readSync } from "node:fs";
import { PAGE_SIZE } from "../core/layout.generated.js";
import { unreadable } from "../images/file.js";
import { type PhysicalImage } from "../images/types.js";

/** The memory of an image, opened once more: it has to be closed. */
export interface DirectMemory extends Pick<PhysicalImage, "ranges" | "read"> {
  close(): void;
}

/**
 * The same memory, read directly; null where that cannot be done: other formats, compressed files, platforms and file systems
 * without direct reads. Positions, lengths and targets of reads have to be multiples of a page.
 */
export function directMemory(image: PhysicalImage): DirectMemory | null {
  // O_DIRECT is not in the constants of other platforms, whatever their type says.
  const flag = (constants as Partial<typeof constants>).O_DIRECT;
  if (image.format !== "raw" || image.compression !== "none" || flag === undefined) return null;
  let file: number;
  try {
    file = openSync(image.name, constants.O_RDONLY | flag);
  } catch {
    return null;
  }
  try {
    readSync(file, alignedBytes(PAGE_SIZE), 0, PAGE_SIZE, 0);
  } catch {
    closeSync(file);
    return null;
  }
  return {
    ranges: image.ranges,
    read: (pa, target) => {
      try {
        return readSync(file, target, 0, target.length, Number(pa));
      } catch (error) {
        throw unreadable(image.name, error);
      }
    },
    close: () => closeSync(file),
  };
}

/** Bytes at the beginning of a page of this process: only the memory of a WebAssembly module is sure to lie so. */
export function alignedBytes(length: number): Uint8Array {
  return new Uint8Array(new WebAssembly.Memory({ initial: Math.ceil(length / 65_536) }).buffer, 0, length);
}
