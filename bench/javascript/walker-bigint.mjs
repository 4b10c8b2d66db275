// The walk as it is written first: 64-bit entries as BigInt in a BigUint64Array, the manual's tests one by one.

const P = 1n;
const RW = 1n << 1n;
const US = 1n << 2n;
const A = 1n << 5n;
const D = 1n << 6n;
const PS = 1n << 7n;
const XD = 1n << 63n;
const ADDRESS = 0x000f_ffff_ffff_f000n;
const PAGE_RESERVED = [0n, 0n, 0x1f_e000n, 0x3fff_e000n];

export class WalkerBigInt {
  /** As `WalkerU32`, over 64-bit words: `base` is an index of those, addresses are BigInts. */
  constructor(words, { base, limit, cr3, maxphyaddr, nxe, wp, user }) {
    this.words = words;
    this.base = base;
    this.limit = limit;
    this.cr3 = cr3;
    this.wp = wp;
    this.user = user;
    /** What stands in the way of accesses to the last walk's page, and its size, for a TLB to keep. */
    this.rights = 0n;
    this.shift = 0n;
    this.reserved = (ADDRESS & ~((1n << BigInt(maxphyaddr)) - 1n)) | (nxe ? 0n : XD);
  }

  /** Physical address of the page of `gva`, or -1n. */
  walk(gva, write, fetch) {
    const top = gva >> 47n;
    if (top !== 0n && top !== 0x1ffffn) return -1n;
    let table = this.cr3;
    let all = ~0n;
    let any = 0n;
    for (let level = 4; ; level--) {
      const shift = BigInt(3 + 9 * level);
      const at = this.base + Number((table >> 3n) + ((gva >> shift) & 511n));
      const entry = this.words[at];
      if ((entry & P) === 0n) return -1n;
      const leaf = level === 1 || (entry & PS) !== 0n;
      if ((entry & this.reserved) !== 0n || (level === 4 && (entry & PS) !== 0n)) return -1n;
      if (leaf && (entry & PAGE_RESERVED[level]) !== 0n) return -1n;
      all &= entry;
      any |= entry;
      if (!leaf) {
        if ((entry & A) === 0n) this.words[at] = entry | A;
        table = entry & ADDRESS;
        if (table >= this.limit) return -1n;
        continue;
      }
      if (this.user && (all & US) === 0n) return -1n;
      if (write && (all & RW) === 0n && (this.user || this.wp)) return -1n;
      if (fetch && (any & XD) !== 0n) return -1n;
      const set = write ? A | D : A;
      if ((entry & set) !== set) this.words[at] = entry | set;
      const span = (1n << shift) - 1n;
      const page = (entry & ADDRESS & ~span) | (gva & span & ~0xfffn);
      this.rights =
        ((~all & (RW | US)) >> 1n) | ((any >> 63n) << 2n) | ((all & US) << 1n) | ((~entry & D) >> 2n);
      this.shift = shift;
      return page < this.limit ? page : -1n;
    }
  }

  /** As `WalkerU32.measure`. */
  measure(base, pages, order, dependent) {
    const mask = BigInt(pages - 1);
    let digest = 0n;
    let last = 0n;
    for (let i = 0; i < order.length; i++) {
      let index = BigInt(order[i]);
      if (dependent) index = (index ^ (last >> 12n)) & mask;
      const page = this.walk(base + (index << 12n), false, false);
      if (page < 0n) return -1n;
      digest += page;
      last = page;
    }
    return digest;
  }
}
