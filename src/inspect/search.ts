/** One pass over the pages of an image, for whoever looks for something in them: bounded, and quick over holes. */

import { type PhysicalRange } from "../images/types.js";

/** Memory that can be searched. */
export interface SearchableMemory {
  readonly ranges: readonly PhysicalRange[];
  read(pa: bigint, target: Uint8Array): number;
}

/** How far a search goes. */
export interface SearchOptions {
  /** Bytes read at most, probes not counted. Default `SEARCH_LIMIT_BYTES`. */
  readonly limitBytes?: number;
  /** Read every page, however large the image. Default false: see `PROBED_FROM_BYTES`. */
  readonly thorough?: boolean;
}

/** What a search has seen. The three parts add up to the memory of the image, as far as it lies in whole pages. */
export interface SearchExtent {
  readonly readBytes: number;
  /** In pieces whose probes were all zero: taken for holes. */
  readonly skippedBytes: number;
  /** Beyond the limit: not looked at. */
  readonly leftBytes: number;
}

/** One page: `words` from `at` on are its 1024 words of 32 bits; they are overwritten after the call. */
export type PageVisitor = (pfn: number, words: Uint32Array, at: number) => void;

export const SEARCH_LIMIT_BYTES = 32 * 2 ** 30;

/**
 * From this size on an image may be sparse, and is not read where it seems to be a hole: Node has no SEEK_DATA. A piece of
 * 2 MiB is passed over if the first page of each of its 64 KiB is zero. Reading what is stored as a hole costs as much as
 * reading zeros.
 */
export const PROBED_FROM_BYTES = 8 * 2 ** 30;

const PAGE_BYTES = 4096;
const PAGE_WORDS = PAGE_BYTES / 4;
const PIECE_BYTES = 2 * 2 ** 20;
const PROBE_EVERY_BYTES = 64 * 2 ** 10;

/** Calls `visit` for each page, in the order of their addresses. */
export function searchPages(
  memory: SearchableMemory,
  visit: PageVisitor,
  { limitBytes = SEARCH_LIMIT_BYTES, thorough = false }: SearchOptions = {},
): SearchExtent {
  const spans = wholePages(memory.ranges);
  const total = spans.reduce((sum, { start, end }) => sum + (end - start), 0);
  const probing = !thorough && total >= PROBED_FROM_BYTES;
  const piece = new Uint8Array(PIECE_BYTES);
  const words = new Uint32Array(piece.buffer);
  let readBytes = 0;
  let skippedBytes = 0;
  for (const { start, end } of spans) {
    for (let at = start; at < end;) {
      const next = Math.min(end, (Math.floor(at / PIECE_BYTES) + 1) * PIECE_BYTES);
      const length = next - at;
      if (probing && seemsHole(memory, at, next)) {
        skippedBytes += length;
        at = next;
        continue;
      }
      if (readBytes + length > limitBytes)
        return { readBytes, skippedBytes, leftBytes: total - readBytes - skippedBytes };
      const got = memory.read(BigInt(at), piece.subarray(0, length));
      for (let page = 0; page + PAGE_BYTES <= got; page += PAGE_BYTES)
        visit((at + page) / PAGE_BYTES, words, (page / PAGE_BYTES) * PAGE_WORDS);
      readBytes += length;
      at = next;
    }
  }
  return { readBytes, skippedBytes, leftBytes: 0 };
}

/** Whole pages of the ranges; addresses are below 2^52, so that a number holds them. */
function wholePages(ranges: readonly PhysicalRange[]): { start: number; end: number }[] {
  return ranges
    .map(({ start, end }) => ({
      start: Math.ceil(Number(start) / PAGE_BYTES) * PAGE_BYTES,
      end: Math.floor(Number(end) / PAGE_BYTES) * PAGE_BYTES,
    }))
    .filter(({ start, end }) => start < end);
}

const probe = new Uint8Array(PAGE_BYTES);
const probeWords = new Uint32Array(probe.buffer);

function seemsHole(memory: SearchableMemory, start: number, end: number): boolean {
  for (let at = start; at < end; at += PROBE_EVERY_BYTES) {
    if (memory.read(BigInt(at), probe) !== PAGE_BYTES) return false;
    for (let i = 0; i < PAGE_WORDS; i++) if (probeWords[i] !== 0) return false;
  }
  return true;
}
