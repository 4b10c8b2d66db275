// Physical memory put together page by page, for images that no machine made: page tables, loops, holes, huge sizes.
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { type CpuNote, type PhysicalImage, type PhysicalRange } from "../src/images/types.js";

export const P = 1n;
export const RW = 2n;
export const US = 4n;
export const PS = 0x80n;
export const XD = 1n << 63n;

/** Size of a page by the level of the entry that maps it. */
const SHIFTS: Readonly<Record<number, bigint>> = { 1: 12n, 2: 21n, 3: 30n };

export class BuiltMemory implements PhysicalImage {
  readonly name = "built";
  readonly format = "raw";
  readonly compression = "none";
  readonly cpus: readonly CpuNote[] = [];
  readonly vmcoreinfo = null;
  readonly gaps = [];
  readonly remarks = [];
  readonly pages = new Map<number, Uint8Array>();
  #nextTable: bigint;

  /** `size` bytes from 0 on; tables are taken one after the other from `tables` on. */
  constructor(
    readonly size: bigint,
    tables: bigint,
  ) {
    this.#nextTable = tables;
  }

  get ranges(): readonly PhysicalRange[] {
    return [{ start: 0n, end: this.size }];
  }

  close(): void {}

  /** The address of an empty table, or of a page. */
  table(): bigint {
    const at = this.#nextTable;
    this.#nextTable += 4096n;
    this.page(at);
    return at;
  }

  page(pa: bigint): Uint8Array {
    const pfn = Number(pa >> 12n);
    let page = this.pages.get(pfn);
    if (page === undefined) this.pages.set(pfn, (page = new Uint8Array(4096)));
    return page;
  }

  entry(table: bigint, index: number): bigint {
    return new DataView(this.page(table).buffer).getBigUint64(8 * index, true);
  }

  setEntry(table: bigint, index: number, entry: bigint): void {
    new DataView(this.page(table).buffer).setBigUint64(8 * index, entry, true);
  }

  /** Maps a page of the level's size; tables on the way allow everything. Returns the table that has the entry. */
  map(root: bigint, gva: bigint, pa: bigint, flags: bigint, level = 1, levels = 4): bigint {
    let table = root;
    for (let at = levels; at > level; at--) {
      const index = Number((gva >> BigInt(12 + 9 * (at - 1))) & 511n);
      if (this.entry(table, index) === 0n) this.setEntry(table, index, this.table() | P | RW | US);
      table = this.entry(table, index) & 0xffffffffff000n;
    }
    const index = Number((gva >> SHIFTS[level]!) & 511n);
    this.setEntry(table, index, pa | flags | P | (level > 1 ? PS : 0n));
    return table;
  }

  readPage(pfn: number, target: Uint8Array): boolean {
    if (BigInt(pfn) * 4096n >= this.size) return false;
    target.set(this.pages.get(pfn) ?? new Uint8Array(4096));
    return true;
  }

  read(pa: bigint, target: Uint8Array): number {
    let done = 0;
    while (done < target.length && pa + BigInt(done) < this.size) {
      const at = pa + BigInt(done);
      const offset = Number(at & 0xfffn);
      const length = Math.min(4096 - offset, target.length - done);
      const page = this.pages.get(Number(at >> 12n));
      if (page === undefined) target.fill(0, done, done + length);
      else target.set(page.subarray(offset, offset + length), done);
      done += length;
    }
    return done;
  }

  /** Writes it as a raw image: a file with holes. */
  writeTo(path: string): void {
    const file = openSync(path, "w");
    try {
      ftruncateSync(file, Number(this.size));
      for (const [pfn, page] of this.pages) writeSync(file, page, 0, 4096, pfn * 4096);
    } finally {
      closeSync(file);
    }
  }
}

/**
 * Memory like that of a small kernel: a direct map with large pages, two processes that share the kernel's half, and one page
 * of each process at the same address.
 */
export function smallKernel(
  size = 16n << 20n,
  tables = 1n << 20n,
): {
  readonly memory: BuiltMemory;
  readonly roots: readonly [bigint, bigint];
  readonly userPage: bigint;
} {
  const memory = new BuiltMemory(size, tables);
  const roots = [memory.table(), memory.table()] as const;
  const direct = 0xffff_8880_0000_0000n;
  const level = size > 1n << 30n ? 3 : 2;
  const step = level === 3 ? 1n << 30n : 2n << 20n;
  for (let pa = 0n; pa < size; pa += step) memory.map(roots[0], direct + pa, pa, RW | XD, level);
  memory.setEntry(roots[1], 273, memory.entry(roots[0], 273));
  roots.forEach((root, index) => memory.map(root, 0x40_0000n, BigInt(0x80_0000 + 0x1000 * index), US));
  return { memory, roots, userPage: 0x40_0000n };
}
