// Memory with page tables for tests of the walker: pages that exist when they are written to, and no others.
import * as layout from "../../src/core/layout.generated.js";
import { type PhysicalMemory } from "../../src/images/types.js";

export const { PTE_P, PTE_RW, PTE_US, PTE_PS, PTE_XD, PTE_G, PTE_A, PTE_D } = layout;

/** Sparse physical memory of 64-bit words. */
export class Pages implements PhysicalMemory {
  readonly pages = new Map<number, BigUint64Array>();
  reads = 0;

  readPage(pfn: number, target: Uint8Array): boolean {
    this.reads++;
    const page = this.pages.get(pfn);
    if (!page) return false;
    target.set(new Uint8Array(page.buffer));
    return true;
  }

  /** The page of `pa`, made if there is none. */
  page(pa: bigint): BigUint64Array {
    const pfn = Number(pa >> 12n);
    let page = this.pages.get(pfn);
    if (!page) this.pages.set(pfn, (page = new BigUint64Array(512)));
    return page;
  }
  drop(pa: bigint): void {
    this.pages.delete(Number(pa >> 12n));
  }
  load(pa: bigint): bigint {
    return this.pages.get(Number(pa >> 12n))?.[Number((pa & 0xfffn) >> 3n)] ?? 0n;
  }
  store(pa: bigint, word: bigint): void {
    this.page(pa)[Number((pa & 0xfffn) >> 3n)] = word;
  }

  /**
   * Enters `entry`, a leaf of `level`, for `address` under the table at `root` of `levels`. Tables on the way are made at
   * `next()` and referred to with `link`.
   */
  map(
    root: bigint,
    address: bigint,
    entry: bigint,
    { level = 1, levels = 4, link = PTE_P | PTE_RW | PTE_US, next = this.next }: MapOptions = {},
  ): void {
    let table = root;
    this.page(root);
    for (let at = levels; ; at--) {
      const place = table + 8n * ((address >> BigInt(3 + 9 * at)) & 0x1ffn);
      if (at === level) return this.store(place, entry);
      const found = this.load(place);
      if (found === 0n) this.store(place, (table = next()) | link);
      else table = found & layout.PTE_ADDRESS;
      this.page(table);
    }
  }

  #next = 0x100_0000n;
  /** Address for another table. */
  readonly next = (): bigint => (this.#next += 0x1000n);
}

interface MapOptions {
  readonly level?: number;
  readonly levels?: number;
  readonly link?: bigint;
  readonly next?: () => bigint;
}
