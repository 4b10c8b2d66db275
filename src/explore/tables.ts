/** Open-addressing tables on typed arrays: a Map of V8 costs ten times as much for a key, and ends at 16.7 M entries. */

/** Two mixed words of a pair: for hashing a component of a state and its value. */
export function mixLow(index: number, value: number): number {
  let h = Math.imul(value ^ Math.imul(index + 1, 0x9e3779b1), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 15), 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 13), 0x27d4eb2f);
  return h ^ (h >>> 16);
}

export function mixHigh(index: number, value: number): number {
  let h = Math.imul(value + 0x165667b1, 0xcc9e2d51) ^ Math.imul(index + 0x3c6ef372, 0x1b873593);
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return h ^ (h >>> 16);
}

/** From three 32-bit keys to a number from 0 on. */
export class TripleTable {
  #slots: Int32Array;
  #mask: number;
  readonly #keys: Ints = new Ints();
  size = 0;

  constructor(bits = 10) {
    this.#slots = new Int32Array(1 << bits);
    this.#mask = (1 << bits) - 1;
  }

  /** Number of the keys, -1 if they are not in the table. */
  find(a: number, b: number, c: number): number {
    const keys = this.#keys.data;
    let at = this.#start(a, b, c);
    while (true) {
      const slot = this.#slots[at]!;
      if (slot === 0) return -1;
      const k = (slot - 1) * 3;
      if (keys[k] === a && keys[k + 1] === b && keys[k + 2] === c) return slot - 1;
      at = (at + 1) & this.#mask;
    }
  }

  /** Adds keys that are not there; their number. */
  add(a: number, b: number, c: number): number {
    if (this.size * 2 > this.#mask) this.#grow();
    this.#keys.push(a);
    this.#keys.push(b);
    this.#keys.push(c);
    const number = this.size++;
    this.#place(number);
    return number;
  }

  /** Key `i` (0 to 2) of a number. */
  key(number: number, i: 0 | 1 | 2): number {
    return this.#keys.data[number * 3 + i]!;
  }

  #start(a: number, b: number, c: number): number {
    let h = Math.imul(a ^ Math.imul(b, 0x9e3779b1) ^ Math.imul(c, 0x85ebca6b), 0xc2b2ae35);
    h ^= h >>> 15;
    return Math.imul(h, 0x27d4eb2f) & this.#mask;
  }

  #place(number: number): void {
    const keys = this.#keys.data;
    let at = this.#start(keys[number * 3]!, keys[number * 3 + 1]!, keys[number * 3 + 2]!);
    while (this.#slots[at] !== 0) at = (at + 1) & this.#mask;
    this.#slots[at] = number + 1;
  }

  #grow(): void {
    this.#slots = new Int32Array(this.#slots.length * 2);
    this.#mask = this.#slots.length - 1;
    for (let i = 0; i < this.size; i++) this.#place(i);
  }
}

/** A growing list of 32-bit integers. `data` changes when it grows: read it again after a push. */
export class Ints {
  data: Int32Array;
  length = 0;

  constructor(capacity = 256) {
    this.data = new Int32Array(capacity);
  }

  push(value: number): number {
    if (this.length === this.data.length) {
      const larger = new Int32Array(this.data.length * 2);
      larger.set(this.data);
      this.data = larger;
    }
    this.data[this.length] = value;
    return this.length++;
  }
}

/** A bounded set of 64-bit fingerprints, eight bytes a slot. */
export class Fingerprints {
  #low: Int32Array;
  #high: Int32Array;
  #mask: number;
  readonly #most: number;
  size = 0;

  /** Holds at most `most`. */
  constructor(most: number) {
    this.#most = most;
    this.#low = new Int32Array(1 << 12);
    this.#high = new Int32Array(1 << 12);
    this.#mask = (1 << 12) - 1;
  }

  get full(): boolean {
    return this.size >= this.#most;
  }

  get bytes(): number {
    return this.#low.byteLength * 2;
  }

  has(low: number, high: number): boolean {
    if (low === 0 && high === 0) high = 1;
    let at = (low ^ Math.imul(high, 0x9e3779b1)) & this.#mask;
    while (this.#low[at] !== 0 || this.#high[at] !== 0) {
      if (this.#low[at] === low && this.#high[at] === high) return true;
      at = (at + 1) & this.#mask;
    }
    return false;
  }

  /** Slot of a fingerprint if it was added now; the complement (negative) of its slot if it was there. */
  add(low: number, high: number): number {
    if (low === 0 && high === 0) high = 1;
    let at = (low ^ Math.imul(high, 0x9e3779b1)) & this.#mask;
    while (true) {
      const l = this.#low[at]!;
      const h = this.#high[at]!;
      if (l === low && h === high) return ~at;
      if (l === 0 && h === 0) break;
      at = (at + 1) & this.#mask;
    }
    this.#low[at] = low;
    this.#high[at] = high;
    if (++this.size * 4 > this.#mask * 3) {
      this.#grow();
      return ~this.add(low, high);
    }
    return at;
  }

  #grow(): void {
    const low = this.#low;
    const high = this.#high;
    this.#low = new Int32Array(low.length * 2);
    this.#high = new Int32Array(low.length * 2);
    this.#mask = low.length * 2 - 1;
    for (let i = 0; i < low.length; i++) {
      if (low[i] === 0 && high[i] === 0) continue;
      let at = (low[i]! ^ Math.imul(high[i]!, 0x9e3779b1)) & this.#mask;
      while (this.#low[at] !== 0 || this.#high[at] !== 0) at = (at + 1) & this.#mask;
      this.#low[at] = low[i]!;
      this.#high[at] = high[i]!;
    }
  }
}
