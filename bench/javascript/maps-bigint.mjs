// What a root maps, as it is written first: a word of memory is a read by its physical address, the manual's tests one by
// one, an object a mapping.

const P = 1n;
const RW = 1n << 1n;
const US = 1n << 2n;
const PS = 1n << 7n;
const XD = 1n << 63n;
const ADDRESS = 0x000f_ffff_ffff_f000n;
const PAGE_RESERVED = [0n, 0n, 0x1f_e000n, 0x3fff_e000n];

export class MapsBigInt {
  #pages = new Map();
  /** @param {{readPage(pfn: number, target: Uint8Array): boolean}} memory */
  constructor(memory) {
    this.memory = memory;
  }

  /** The word at a physical address; null if there is no such page. */
  #read(pa) {
    const pfn = pa >> 12n;
    let page = this.#pages.get(pfn);
    if (page === undefined) {
      const bytes = new Uint8Array(4096);
      page = this.memory.readPage(Number(pfn), bytes) ? new DataView(bytes.buffer) : null;
      this.#pages.set(pfn, page);
    }
    return page && page.getBigUint64(Number(pa & 0xfffn), true);
  }

  /** Every leaf below `cr3`, in the order of addresses. */
  list(cr3, levels = 4) {
    const rows = [];
    this.#table(rows, cr3 & ADDRESS, levels, levels, 0n, true, true, true);
    return rows;
  }

  #table(rows, table, level, levels, base, writable, user, executable) {
    const shift = BigInt(3 + 9 * level);
    for (let index = 0n; index < 512n; index++) {
      const entry = this.#read(table + 8n * index);
      if (entry === null || (entry & P) === 0n) continue;
      const large = level > 1 && (entry & PS) !== 0n;
      if (large && (level > 3 || (entry & PAGE_RESERVED[level]) !== 0n)) continue;
      let gva = base + (index << shift);
      if (level === levels) gva = BigInt.asUintN(64, BigInt.asIntN(Number(shift) + 9, gva));
      const w = writable && (entry & RW) !== 0n;
      const u = user && (entry & US) !== 0n;
      const x = executable && (entry & XD) === 0n;
      if (level > 1 && !large) {
        this.#table(rows, entry & ADDRESS, level - 1, levels, gva, w, u, x);
        continue;
      }
      const length = 1n << shift;
      rows.push({
        gva,
        pa: entry & ADDRESS & ~(length - 1n),
        length,
        entry,
        writable: w,
        user: u,
        executable: x,
      });
    }
  }
}
