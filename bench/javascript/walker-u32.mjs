// The walk that an emulator in JavaScript has: entries as two 32-bit halves in a Uint32Array. Same tables, same tests of
// presence, reserved bits, rights and accessed flag as the core; a fault is a return value of false.

const P = 1;
const RW = 2;
const US = 4;
const A = 0x20;
const D = 0x40;
const PS = 0x80;
const ADDRESS_LOW = 0xfffff000;
const ADDRESS_HIGH = 0x000fffff;
const XD_HIGH = 0x80000000;

export class WalkerU32 {
  /**
   * @param {Uint32Array} words physical memory
   * @param {{base: number, limit: number, cr3: number, maxphyaddr: number, nxe: boolean, wp: boolean, user: boolean}} cpu
   *   `base`: index of physical address 0 in `words`; `limit`: bytes of physical memory, below 2^32
   */
  constructor(words, { base, limit, cr3, maxphyaddr, nxe, wp, user }) {
    this.words = words;
    this.base = base;
    this.limit = limit;
    this.cr3 = cr3;
    this.wp = wp;
    this.user = user;
    const beyond = maxphyaddr >= 52 ? 0 : (ADDRESS_HIGH & (-1 << (maxphyaddr - 32))) >>> 0;
    this.reservedHigh = (beyond | (nxe ? 0 : XD_HIGH)) >>> 0;
    /** What the last walk found, for a TLB to keep: the page's address, what stands in the way of accesses, its size. */
    this.page = 0;
    this.rights = 0;
    this.shift = 0;
  }

  /** Walks for the linear address high:low; true if the access is allowed, and `page` holds the page's address. */
  walk(low, high, write, fetch) {
    const top = high >>> 15;
    if (top !== 0 && top !== 0x1ffff) return false;
    const { words, base, limit, reservedHigh } = this;
    let table = this.cr3;
    let allLow = 0xffffffff;
    let anyHigh = 0;
    let at;
    let entryLow;
    let entryHigh;
    let level = 4;
    for (;;) {
      let index;
      if (level === 4) index = (high >>> 7) & 511;
      else if (level === 3) index = ((high << 2) | (low >>> 30)) & 511;
      else if (level === 2) index = (low >>> 21) & 511;
      else index = (low >>> 12) & 511;
      at = base + ((table >>> 2) + (index << 1));
      entryLow = words[at];
      entryHigh = words[at + 1];
      if ((entryLow & P) === 0) return false;
      if ((entryHigh & reservedHigh) !== 0) return false;
      if (level === 4 && (entryLow & PS) !== 0) return false;
      allLow &= entryLow;
      anyHigh |= entryHigh;
      const leaf = level === 1 || (entryLow & PS) !== 0;
      if (leaf) break;
      if ((entryLow & A) === 0) words[at] = entryLow | A;
      if ((entryHigh & ADDRESS_HIGH) !== 0) return false;
      table = (entryLow & ADDRESS_LOW) >>> 0;
      if (table >= limit) return false;
      level--;
    }
    if (this.user && (allLow & US) === 0) return false;
    if (write && (allLow & RW) === 0 && (this.user || this.wp)) return false;
    if (fetch && (anyHigh & XD_HIGH) !== 0) return false;
    const set = write ? A | D : A;
    if ((entryLow & set) !== set) words[at] = entryLow | set;
    if ((entryHigh & ADDRESS_HIGH) !== 0) return false;
    let page = entryLow & ADDRESS_LOW;
    if (level === 2) {
      if ((entryLow & 0x1fe000) !== 0) return false;
      page = (entryLow & 0xffe00000) | (low & 0x1ff000);
    } else if (level === 3) {
      if ((entryLow & 0x3fffe000) !== 0) return false;
      page = (entryLow & 0xc0000000) | (low & 0x3ffff000);
    }
    page >>>= 0;
    if (page >= limit) return false;
    this.page = page;
    this.rights =
      ((~allLow & (RW | US)) >>> 1) |
      ((anyHigh >>> 31) << 2) |
      ((allLow & US) << 1) |
      ((~entryLow & D) >>> 2);
    this.shift = 3 + 9 * level;
    return true;
  }

  /** The core's `measureWalk`, its random numbers made beforehand: `order` holds the page indexes. Digest, or -1. */
  measure(baseLow, baseHigh, pages, order, dependent) {
    return dependent
      ? this.#dependent(baseLow, baseHigh, pages - 1, order)
      : this.#independent(baseLow, baseHigh, order);
  }
  #dependent(baseLow, baseHigh, mask, order) {
    let digest = 0;
    let last = 0;
    for (let i = 0; i < order.length; i++) {
      const index = (order[i] ^ (last >>> 12)) & mask;
      if (!this.walk((baseLow + index * 4096) >>> 0, baseHigh, false, false)) return -1;
      last = this.page;
      digest += last;
    }
    return digest;
  }
  #independent(baseLow, baseHigh, order) {
    let digest = 0;
    for (let i = 0; i < order.length; i++) {
      if (!this.walk((baseLow + order[i] * 4096) >>> 0, baseHigh, false, false)) return -1;
      digest += this.page;
    }
    return digest;
  }
}
