/** Collects ranges of addresses in ascending order, up to a limit. */

import { RANGES_MAX } from "./limits.js";

/** Ranges with neighbours merged; beyond `RANGES_MAX` of them, those with the smallest holes between are merged too. */
export class RangeList {
  private starts: number[] = [];
  private ends: number[] = [];
  /** Holes of up to so many bytes are counted in. */
  private joinBytes = 0;

  constructor(private readonly max = RANGES_MAX) {}

  /** All of `ranges`, which are in ascending order. */
  static of(ranges: Iterable<readonly [start: number, end: number]>): RangeList {
    const list = new RangeList();
    for (const [start, end] of ranges) list.add(start, end);
    return list;
  }

  /** Adds the bytes from `start` to `end` (exclusive), which begin at or after the end of those added before. */
  add(start: number, end: number): void {
    const last = this.ends.length - 1;
    if (last >= 0 && start - this.ends[last]! <= this.joinBytes) {
      this.ends[last] = end;
      return;
    }
    this.starts.push(start);
    this.ends.push(end);
    while (this.ends.length > this.max) this.join();
  }

  *[Symbol.iterator](): Generator<readonly [start: number, end: number]> {
    for (const [index, start] of this.starts.entries()) yield [start, this.ends[index]!];
  }

  private join(): void {
    const { starts, ends } = this;
    this.joinBytes = Math.max(4096, this.joinBytes * 2);
    this.starts = [];
    this.ends = [];
    for (const [index, start] of starts.entries()) this.add(start, ends[index]!);
  }
}
