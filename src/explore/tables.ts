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

/** 64 bits of a text: equal texts, equal words, in whichever thread or process. */
export function digestOf(text: string): [low: number, high: number] {
  let low = text.length;
  let high = ~text.length;
  for (let i = 0; i < text.length; i++) {
    low = mixLow(low, text.charCodeAt(i));
    high = mixHigh(high, text.charCodeAt(i));
  }
  return [low, high];
}

/** 64 bits of a list of numbers. */
export function digestOfWords(words: Iterable<number>): [low: number, high: number] {
  let low = 0;
  let high = -1;
  for (const word of words) {
    low = mixLow(low, word);
    high = mixHigh(high, word);
  }
  return [low, high];
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

/**
 * A bounded set of 64-bit fingerprints, eight bytes a slot, for one thread or, once its memory is shared, for several.
 *
 * A slot is two words, low and high; a low word of 0 says that it is free, a high word of 0 that it is being written. Who
 * adds a fingerprint takes the slot by a compare-and-swap of the low word and then stores the high one, so that of several
 * who add the same at once exactly one is told that it is new. No slot is ever given back, and a table is replaced by a
 * larger one only while nobody else looks at it (crew.ts). A word of a fingerprint that is 0 counts as 1: that takes the
 * probability of a collision from 2^-64 to 2^-64 + 2^-94.
 */
export class Fingerprints {
  #data: Int32Array;
  /** Number of the last slot. */
  #mask: number;
  readonly #most: number;
  #growAt: number;
  #isShared = false;
  /** Fingerprints that were added through this object. */
  size = 0;

  /** Holds at most `most`. */
  constructor(most: number) {
    this.#most = most;
    this.#data = new Int32Array(2 << FIRST_BITS);
    this.#mask = (1 << FIRST_BITS) - 1;
    this.#growAt = mostIn(this.#mask + 1);
  }

  get full(): boolean {
    return this.size >= this.#most;
  }

  get bytes(): number {
    return this.#data.byteLength;
  }

  get slots(): number {
    return this.#mask + 1;
  }

  has(low: number, high: number): boolean {
    const l = low === 0 ? 1 : low;
    const h = high === 0 ? 1 : high;
    const data = this.#data;
    let at = (l ^ Math.imul(h, 0x9e3779b1)) & this.#mask;
    while (data[at * 2] !== 0) {
      if (data[at * 2] === l && highOf(data, at) === h) return true;
      at = (at + 1) & this.#mask;
    }
    return false;
  }

  /** Adds a fingerprint. False if it was there. */
  add(low: number, high: number): boolean {
    const l = low === 0 ? 1 : low;
    const h = high === 0 ? 1 : high;
    const data = this.#data;
    let at = (l ^ Math.imul(h, 0x9e3779b1)) & this.#mask;
    while (true) {
      let found = data[at * 2]!;
      if (found === 0) {
        // V8 11 calls a builtin for this: a twentieth of a whole search, for which there is no need in one thread.
        if (this.#isShared) found = Atomics.compareExchange(data, at * 2, 0, l);
        else data[at * 2] = l;
        if (found === 0) break;
      }
      if (found === l && highOf(data, at) === h) return false;
      at = (at + 1) & this.#mask;
    }
    // Not 0, so that whoever sees it knows that it is there: no order is needed.
    data[at * 2 + 1] = h;
    if (++this.size >= this.#growAt) this.#replace(new Int32Array(data.length * 2));
    return true;
  }

  /**
   * Moves all to a table of `slots` slots (a power of two) in memory that threads share. From here on it does not grow by
   * itself. Nobody else may look at it meanwhile.
   */
  share(slots: number): SharedArrayBuffer {
    const memory = new SharedArrayBuffer(slots * SLOT_BYTES);
    this.#replace(new Int32Array(memory));
    this.#growAt = Infinity;
    this.#isShared = true;
    return memory;
  }

  /** Takes the table that another thread shares in place of its own. */
  attach(memory: SharedArrayBuffer): void {
    this.#data = new Int32Array(memory);
    this.#mask = this.#data.length / 2 - 1;
    this.#growAt = Infinity;
    this.#isShared = true;
  }

  #replace(larger: Int32Array): void {
    const old = this.#data;
    const mask = larger.length / 2 - 1;
    for (let from = 0; from < old.length; from += 2) {
      const l = old[from]!;
      if (l === 0) continue;
      const h = old[from + 1]!;
      let at = (l ^ Math.imul(h, 0x9e3779b1)) & mask;
      while (larger[at * 2] !== 0) at = (at + 1) & mask;
      larger[at * 2] = l;
      larger[at * 2 + 1] = h;
    }
    this.#data = larger;
    this.#mask = mask;
    this.#growAt = mostIn(mask + 1);
  }
}

const FIRST_BITS = 12;
const SLOT_BYTES = 8;

/** Fingerprints that a table of so many slots holds before it is replaced by a larger one: three quarters. */
export function mostIn(slots: number): number {
  return slots * 0.75;
}

/** The high word of a slot whose low word is there: waits for the few cycles that another thread takes to write it. */
function highOf(data: Int32Array, at: number): number {
  let high = data[at * 2 + 1]!;
  while (high === 0) high = Atomics.load(data, at * 2 + 1);
  return high;
}
