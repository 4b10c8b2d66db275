/** Bitmaps of page frames in a file: bit n of the bytes, the lowest bit first, is pfn n. */

import { CachedSource } from "./cache.js";
import type { ByteSource } from "./source.js";

/** Bytes of a bitmap between two ranks that are kept: a rank counts at most so many bits anew. */
const RANK_BYTES = 4096;
const RANK_BITS = 8 * RANK_BYTES;

/** Bytes of a bitmap that are read at a time when all of it is. */
const SCAN_BYTES = 16 * RANK_BYTES;

/** Bits looked at together. */
const WORD_BITS = 32;

/** Is told of each longest run of pages, in order: its first pfn, and the one after its last. */
export type OnRun = (first: number, end: number) => void;

/** The pages that have their bit set. The bits stay in the file; their count is kept for every 32,768 of them. */
export class PageBitmap {
  /** Bits set before each chunk of `RANK_BYTES`, and in all. */
  private readonly ranks: Float64Array;
  private readonly cached: CachedSource;
  private readonly words = new Uint32Array(RANK_BYTES / 4);

  /**
   * Reads the bitmap once from start to end.
   *
   * @param pages bits that belong to the bitmap; the ones that follow in its last byte do not.
   * @param onRun is told of the pages that have their bit set.
   */
  constructor(
    private readonly source: ByteSource,
    private readonly position: number,
    readonly pages: number,
    onRun?: OnRun,
  ) {
    this.cached = new CachedSource(source);
    this.ranks = new Float64Array(Math.ceil(pages / RANK_BITS) + 1);
    const runs = new Runs(onRun);
    this.scan((words, pfn) => {
      runs.add(words, pfn);
      const chunk = pfn / RANK_BITS;
      for (let at = 0; at * RANK_BITS < WORD_BITS * words.length; at++) {
        const from = (at * RANK_BITS) / WORD_BITS;
        const count = countBits(words, from, from + RANK_BITS / WORD_BITS);
        this.ranks[chunk + at + 1] = this.ranks[chunk + at]! + count;
      }
    });
    runs.end(pages);
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
    const { words } = this;
    readWords(this.cached, this.position + chunk * RANK_BYTES, this.pages - chunk * RANK_BITS, words);
    const word = Math.floor(bit / WORD_BITS);
    if (((words[word]! >>> (bit % WORD_BITS)) & 1) === 0) return -1;
    const below = words[word]! & ((1 << (bit % WORD_BITS)) - 1);
    return this.ranks[chunk]! + countBits(words, 0, word) + bitsOf(below);
  }

  /** Tells `onRun` of the pages that have their bit set. */
  forEachRun(onRun: OnRun): void {
    const runs = new Runs(onRun);
    this.scan((words, pfn) => runs.add(words, pfn));
    runs.end(this.pages);
  }

  /** Tells `onRun` of the pages of which the bit is clear here, and set in a bitmap as long as this, at `position`. */
  forEachRunMissing(position: number, onRun: OnRun): void {
    const runs = new Runs(onRun);
    const there = new Uint32Array(SCAN_BYTES / 4);
    this.scan((words, pfn) => {
      readWords(this.source, position + pfn / 8, this.pages - pfn, there);
      for (let index = 0; index < words.length; index++) words[index] = there[index]! & ~words[index]!;
      runs.add(words, pfn);
    });
    runs.end(this.pages);
  }

  /** Calls `visit` with all words in turn, and the pfn of the first bit of each `SCAN_BYTES`. */
  private scan(visit: (words: Uint32Array, pfn: number) => void): void {
    const words = new Uint32Array(SCAN_BYTES / 4);
    for (let pfn = 0; pfn < this.pages; pfn += 8 * SCAN_BYTES) {
      readWords(this.source, this.position + pfn / 8, this.pages - pfn, words);
      visit(words, pfn);
    }
  }
}

/** Fills `words` with up to `bits` bits from `position` on; the rest is clear. */
function readWords(source: ByteSource, position: number, bits: number, words: Uint32Array): void {
  const bytes = new Uint8Array(words.buffer);
  const length = Math.min(bytes.length, Math.ceil(bits / 8));
  bytes.fill(0, source.read(position, bytes.subarray(0, length)));
  if (bits < 8 * length) bytes[length - 1]! &= (1 << (bits % 8)) - 1;
}

/** Finds the runs of set bits in words that come one after the other. */
class Runs {
  /** First page of the run that is open; -1 between runs. */
  private first = -1;

  constructor(private readonly onRun: OnRun = () => {}) {}

  add(words: Uint32Array, pfn: number): void {
    for (let index = 0; index < words.length; index++) {
      const word = words[index]!;
      if (word === (this.first < 0 ? 0 : 0xffff_ffff)) continue;
      for (let bit = 0; bit < WORD_BITS; bit++) {
        const isSet = ((word >>> bit) & 1) === 1;
        if (isSet === this.first >= 0) continue;
        const page = pfn + index * WORD_BITS + bit;
        if (!isSet) this.onRun(this.first, page);
        this.first = isSet ? page : -1;
      }
    }
  }

  end(pages: number): void {
    if (this.first >= 0) this.onRun(this.first, pages);
  }
}

/** Bits set in the words from `from` to `end` (exclusive). */
function countBits(words: Uint32Array, from: number, end: number): number {
  let count = 0;
  for (let index = from; index < end; index++) {
    const word = words[index]!;
    if (word !== 0) count += bitsOf(word);
  }
  return count;
}

/** Hamming weight: sums of pairs, of nibbles, of bytes. */
function bitsOf(word: number): number {
  const pairs = word - ((word >>> 1) & 0x5555_5555);
  const nibbles = (pairs & 0x3333_3333) + ((pairs >>> 2) & 0x3333_3333);
  return Math.imul((nibbles + (nibbles >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}
