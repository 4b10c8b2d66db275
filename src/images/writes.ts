/** What a file holds after writes that may cover each other. */

import type { SegmentColumns } from "./segments.js";

/** Writes in their order; each covers the bytes from `start` to `end` (exclusive), and is not empty. */
export interface Writes {
  readonly count: number;
  start(write: number): number;
  end(write: number): number;
  /** Where the first byte written comes from. */
  position(write: number): number;
}

/**
 * The pieces that are left of `writes`, ascending and disjoint: of each byte the write that came last. Takes
 * n log n steps and yields less than 2n pieces.
 */
export function lastWritten(writes: Writes): SegmentColumns {
  const order = Uint32Array.from({ length: writes.count }, (_, write) => write);
  if (!isAscending(writes)) order.sort((a, b) => writes.start(a) - writes.start(b));
  const pieces = new Pieces(writes);
  const open = new LatestFirst();
  let next = 0;
  let at = 0;
  while (next < order.length || open.size > 0) {
    if (open.size === 0) at = writes.start(order[next]!);
    while (next < order.length && writes.start(order[next]!) <= at) open.push(order[next++]!);
    const write = open.first;
    if (writes.end(write) <= at) {
      open.pop();
      continue;
    }
    const nextStart = next < order.length ? writes.start(order[next]!) : Infinity;
    const end = Math.min(writes.end(write), nextStart);
    pieces.add(write, at, end);
    at = end;
  }
  return pieces.columns();
}

function isAscending(writes: Writes): boolean {
  for (let write = 1; write < writes.count; write++) {
    if (writes.start(write) < writes.start(write - 1)) return false;
  }
  return true;
}

/** The pieces found so far. A write that goes on where it left off is one piece. */
class Pieces {
  private readonly pieces: number[] = [];
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];

  constructor(private readonly writes: Writes) {}

  add(write: number, start: number, end: number): void {
    const last = this.pieces.length - 1;
    if (this.pieces[last] === write && this.ends[last] === start) {
      this.ends[last] = end;
      return;
    }
    this.pieces.push(write);
    this.starts.push(start);
    this.ends.push(end);
  }

  columns(): SegmentColumns {
    const { writes, pieces, starts } = this;
    const position = (write: number, index: number) =>
      writes.position(write) + (starts[index]! - writes.start(write));
    return {
      starts: Float64Array.from(starts),
      ends: Float64Array.from(this.ends),
      positions: Float64Array.from(pieces, position),
    };
  }
}

/** A heap of numbers, the greatest first. */
class LatestFirst {
  private readonly heap: number[] = [];

  get size(): number {
    return this.heap.length;
  }

  /** The greatest; there has to be one. */
  get first(): number {
    return this.heap[0]!;
  }

  push(value: number): void {
    const { heap } = this;
    let at = heap.push(value) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]! >= value) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = value;
  }

  /** Takes the greatest away. */
  pop(): void {
    const { heap } = this;
    const value = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child + 1 < heap.length && heap[child + 1]! > heap[child]!) child++;
      if (child >= heap.length || heap[child]! <= value) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = value;
  }
}
