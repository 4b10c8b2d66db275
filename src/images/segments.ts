/**
 * Where in a file each piece of physical memory is. Headers say it, and headers may lie: pieces that overlap, go past
 * the end of the file or of the physical address space become gaps, so that what is kept is sound.
 */

import { type GapLog, PHYSICAL_END, showAddress, showNumber } from "./limits.js";

/**
 * A piece of physical memory as a header declares it. Fields above 2^53 are as near to what the header says as a double
 * gets; nothing is read there.
 */
export interface DeclaredSegment {
  /** Physical address of the first byte. May be beyond the physical address space. */
  readonly start: number;
  /** Bytes of memory. */
  readonly length: number;
  /** Bytes of it that the file holds, from the first on. Below `length` where the rest was left out. */
  readonly stored: number;
  /** Position of the first byte in the file. */
  readonly position: number;
  /** Position of the header in the file, which names the segment in sentences. */
  readonly header: number;
}

/** One row a piece. `ends` is exclusive; `positions` are in the file. */
export interface SegmentColumns {
  readonly starts: Float64Array;
  readonly ends: Float64Array;
  readonly positions: Float64Array;
}

/** Disjoint pieces in ascending order, in columns: the index of a flattened dump may have a million of them. */
export class SegmentMap {
  private readonly starts: Float64Array;
  private readonly ends: Float64Array;
  private readonly positions: Float64Array;
  private readonly count: number;
  /** Index of the piece that was found last: the next read is mostly in it. */
  private last = 0;

  /** Of pieces that are disjoint, in ascending order, and not empty. */
  constructor({ starts, ends, positions }: SegmentColumns) {
    this.count = starts.length;
    this.starts = starts;
    this.ends = ends;
    this.positions = positions;
  }

  /**
   * Cuts what headers declare down to what is there: below 2^52, inside the file, and once. Where two overlap, the one
   * that begins lower wins, and of two that begin alike the one that came first in the file. What is cut off goes
   * to `gaps`, unless another piece holds it, or both have it from the same bytes of the file.
   *
   * @param sourceSize bytes in the file.
   * @param what a header in sentences, such as `The program header`; its position is added.
   */
  static of(
    declared: readonly DeclaredSegment[],
    sourceSize: number,
    what: string,
    gaps: GapLog,
  ): SegmentMap {
    const say = (header: number) => `${what} at byte ${header}`;
    const held: Piece[] = [];
    for (const segment of declared) {
      const { start, position, header } = segment;
      const end = bounds(segment, sourceSize).file;
      if (end > start) held.push({ start, end, position, header });
    }
    held.sort((a, b) => a.start - b.start);
    const pieces: Piece[] = [];
    let last: Piece | undefined;
    for (const piece of held) {
      let { start } = piece;
      if (last !== undefined && start < last.end) {
        start = Math.min(piece.end, last.end);
        if (piece.start - last.start !== piece.position - last.position) {
          const others = `${say(piece.header)} and the one at byte ${last.header}`;
          gaps.add(piece.start, start, `${others} both hold these bytes; the latter's are read.`);
        }
      }
      if (start === piece.end) continue;
      last = { ...piece, start, position: piece.position + (start - piece.start) };
      pieces.push(last);
    }
    const map = new SegmentMap({
      starts: Float64Array.from(pieces, (piece) => piece.start),
      ends: Float64Array.from(pieces, (piece) => piece.end),
      positions: Float64Array.from(pieces, (piece) => piece.position),
    });
    map.markCuts(declared, sourceSize, say, gaps);
    return map;
  }

  /** All memory that is held, neighbours merged. */
  *ranges(): Generator<readonly [start: number, end: number]> {
    let start = 0;
    let end = -1;
    for (let index = 0; index < this.count; index++) {
      if (this.starts[index] !== end) {
        if (end > start) yield [start, end];
        start = this.starts[index]!;
      }
      end = this.ends[index]!;
    }
    if (end > start) yield [start, end];
  }

  /** First byte after the last piece; 0 without any. */
  get end(): number {
    return this.count === 0 ? 0 : this.ends[this.count - 1]!;
  }

  /** Start of the piece that holds `address`, or else of the first one above it; Infinity if there is none. */
  nextStart(address: number): number {
    const index = this.find(address);
    return index < this.count ? Math.max(address, this.starts[index]!) : Infinity;
  }

  /**
   * Calls `copy` for each piece of the file that belongs to the bytes from physical address `from` on, in order, up to
   * `length` bytes or the first hole.
   *
   * @param copy is given a position in the file, the offset from `from`, and a length. It returns how many bytes it
   *   found; fewer than asked end the reading.
   * @returns how many bytes were found.
   */
  copy(
    from: number,
    length: number,
    copy: (position: number, offset: number, length: number) => number,
  ): number {
    let done = 0;
    for (let index = this.find(from); index < this.count && done < length; index++) {
      const at = from + done;
      const start = this.starts[index]!;
      if (at < start) break;
      const wanted = Math.min(length - done, this.ends[index]! - at);
      const found = copy(this.positions[index]! + (at - start), done, wanted);
      done += found;
      if (found < wanted) break;
    }
    return done;
  }

  /** Index of the piece that holds the byte at `address`, or else of the first one above it. */
  private find(address: number): number {
    const { starts, ends, last } = this;
    if (last < this.count && starts[last]! <= address && address < ends[last]!) return last;
    const index = firstAbove(ends, this.count, address);
    this.last = index;
    return index;
  }

  /** Marks what was declared and no piece holds. */
  private markCuts(
    declared: readonly DeclaredSegment[],
    sourceSize: number,
    say: (header: number) => string,
    gaps: GapLog,
  ): void {
    const ranges = [...this.ranges()];
    const ends = Float64Array.from(ranges, ([, end]) => end);
    // Over merged ranges, so that every step of the loop marks something.
    const mark = (start: number, end: number, why: string) => {
      let from = start;
      for (let index = firstAbove(ends, ends.length, from); index < ranges.length && from < end; index++) {
        const [nextStart, nextEnd] = ranges[index]!;
        if (nextStart >= end || gaps.isFull) break;
        gaps.add(from, nextStart, why);
        from = nextEnd;
      }
      gaps.add(from, end, why);
    };
    for (const segment of declared) {
      const { header, start, length, stored, position } = segment;
      const { file, stored: storedEnd, memory } = bounds(segment, sourceSize);
      if (file === start + length) continue;
      if (gaps.isFull) {
        gaps.add(file, start + length, "");
        continue;
      }
      const [needs, what] = [showNumber(position + stored), say(header)];
      mark(file, storedEnd, `${what} needs a file of ${needs} bytes; it was cut off after ${sourceSize}.`);
      const sizes = `${showNumber(length)} bytes and stores ${showNumber(stored)}`;
      mark(storedEnd, memory, `${what} declares ${sizes}: the rest was left out of the dump.`);
      const reach = `reaches ${showAddress(start + length)}; x86-64 has no physical address beyond 2^52`;
      mark(memory, start + length, `${what} ${reach}.`);
    }
  }
}

interface Piece {
  readonly start: number;
  readonly end: number;
  readonly position: number;
  readonly header: number;
}

/** Index of the first of `count` ascending `ends` that is above `address`, or `count`. */
function firstAbove(ends: Float64Array, count: number, address: number): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ends[middle]! <= address) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Where a segment ends: `memory` in the physical address space, `stored` in the dump, `file` in what is left of it. */
function bounds(
  { start, length, stored, position }: DeclaredSegment,
  sourceSize: number,
): { readonly memory: number; readonly stored: number; readonly file: number } {
  const memory = Math.min(start + length, Math.max(start, PHYSICAL_END));
  const storedEnd = Math.min(memory, start + stored);
  const file = Math.min(storedEnd, start + Math.max(0, sourceSize - position));
  return { memory, stored: storedEnd, file };
}
