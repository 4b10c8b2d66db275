/** Bitmaps of page frames in a file: bit n of the bytes, the lowest bit first, is pfn n. */

import type { CachedSource } from "./cache.js";

/** Bytes of a bitmap between two ranks that are kept: a rank counts at most so many bits anew. */
const RANK_BYTES = 4096;
const RANK_BITS = 8 * RANK_BYTES;

/** Bits looked at together. */
const WORD_BITS = 32;

/**
 * The pages that have their bit set. Their ranks are kept for every 32,768th page, the bits themselves stay in the file.
 */
export class PageBitmap {
  /** Bits set before each chunk of `RANK_BYTES`, and in all. */
  private readonly ranks: Float64Array;

  /** @param pages bits that belong to the bitmap; the ones that follow in its last byte do not. */
  constructor(
    private readonly source: CachedSource,
    private readonly position: number,
    readonly pages: number,
  ) {
    const chunks = Math.ceil(pages / RANK_BITS);
    this.ranks = new Float64Array(chunks + 1);
    for (let chunk = 0; chunk < chunks; chunk++) {
      this.ranks[chunk + 1] = this.ranks[chunk]! + countBits(this.words(chunk), RANK_BITS);
    }
  }

  /** How many pages have their bit set. */
  get count(): number {
    return this.ranks[this.ranks.length - 1]!;
  }

  /** How many pages before `pfn` have their bit set; -1 if that of `pfn` itself is clear. */
  rank(pfn: number): number {
    if (pfn >= this.pages) return -1;
    const chunk = Math.floor(pfn / RANK_BITS);
    const bit = pfn % RANK_BITS;
    const words = this.words(chunk);
    if (((words[Math.floor(bit / WORD_BITS)]! >>> (bit % WORD_BITS)) & 1) === 0) return -1;
    return this.ranks[chunk]! + countBits(words, bit);
  }

  /** Words of the bitmap from bit `chunk * RANK_BITS` on; clear where it ends, or the file. */
  words(chunk: number): Uint32Array {
    const words = new Uint32Array(RANK_BYTES / 4);
    const bits = Math.max(0, Math.min(RANK_BITS, this.pages - chunk * RANK_BITS));
    const bytes = new Uint8Array(words.buffer, 0, Math.ceil(bits / 8));
    bytes.fill(0, this.source.read(this.position + chunk * RANK_BYTES, bytes));
    const last = bytes.length - 1;
    if (bits % 8 !== 0) bytes[last]! &= (1 << (bits % 8)) - 1;
    return words;
  }

  /** Calls `run` with the first pfn, and the one after the last, of each longest run of set bits, in order. */
  forEachRun(run: (first: number, end: number) => void): void {
    forEachRun(this.pages, (chunk) => this.words(chunk), run);
  }

  /** The same for the pages that have their bit set here and not in `other`. */
  forEachRunWithout(other: PageBitmap, run: (first: number, end: number) => void): void {
    const words = (chunk: number) => {
      const without = other.words(chunk);
      return this.words(chunk).map((word, index) => word & ~without[index]!);
    };
    forEachRun(this.pages, words, run);
  }
}

function forEachRun(
  pages: number,
  wordsOf: (chunk: number) => Uint32Array,
  run: (first: number, end: number) => void,
): void {
  let first = -1;
  for (let chunk = 0; chunk * RANK_BITS < pages; chunk++) {
    for (const [index, word] of wordsOf(chunk).entries()) {
      if (word === (first < 0 ? 0 : 0xffff_ffff)) continue;
      const pfn = chunk * RANK_BITS + index * WORD_BITS;
      for (let bit = 0; bit < WORD_BITS; bit++) {
        const isSet = ((word >>> bit) & 1) === 1;
        if (isSet === first >= 0) continue;
        if (!isSet) run(first, pfn + bit);
        first = isSet ? pfn + bit : -1;
      }
    }
  }
  if (first >= 0) run(first, pages);
}

/** Bits set among the first `bits` of `words`. */
function countBits(words: Uint32Array, bits: number): number {
  const whole = Math.floor(bits / WORD_BITS);
  let count = 0;
  for (let index = 0; index < whole; index++) count += bitsOf(words[index]!);
  const rest = bits % WORD_BITS;
  return rest === 0 ? count : count + bitsOf(words[whole]! & ((1 << rest) - 1));
}

/** Hamming weight: sums of pairs, of nibbles, of bytes. */
function bitsOf(word: number): number {
  const pairs = word - ((word >>> 1) & 0x5555_5555);
  const nibbles = (pairs & 0x3333_3333) + ((pairs >>> 2) & 0x3333_3333);
  return Math.imul((nibbles + (nibbles >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}
