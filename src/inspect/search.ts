/** One pass over the pages of an image, for whoever looks for something in them: bounded, and quick over holes. */

import { PAGE_SIZE } from "../core/layout.generated.js";
import { type PhysicalImage, type PhysicalRange } from "../images/types.js";
import { alignedBytes, directMemory } from "./direct-file.js";

/** Memory that can be searched. */
export type SearchableMemory = Pick<PhysicalImage, "ranges" | "read">;

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

export const SEARCH_LIMIT_BYTES = 64 * 2 ** 30;

/**
 * From this size on an image may be sparse. If it cannot be read directly (`directMemory`), reading a hole costs more than
 * reading data, and Node has no SEEK_DATA: a piece of 2 MiB is passed over if the first page of each of its 64 KiB is zero.
 */
export const PROBED_FROM_BYTES = 8 * 2 ** 30;

const PAGE_WORDS = PAGE_SIZE / 4;
const PIECE_BYTES = 2 * 2 ** 20;
const PROBE_EVERY_BYTES = 64 * 2 ** 10;

/** Zeros to compare with: most of a large memory. */
const ZEROS = Buffer.alloc(PROBE_EVERY_BYTES);

/** Calls `visit` for each page that is not zero, in the order of their addresses. */
export function searchPages(
  image: PhysicalImage,
  visit: PageVisitor,
  options: SearchOptions = {},
): SearchExtent {
  const large = bytesOf(wholePages(image.ranges)) >= PROBED_FROM_BYTES;
  const direct = large ? directMemory(image) : null;
  if (direct === null) return searchThrough(image, visit, large && options.thorough !== true, options);
  try {
    return searchThrough(direct, visit, false, options);
  } finally {
    direct.close();
  }
}

/** The search itself; `probing`: pass over what seems to be a hole. */
function searchThrough(
  memory: SearchableMemory,
  visit: PageVisitor,
  probing: boolean,
  { limitBytes = SEARCH_LIMIT_BYTES }: SearchOptions,
): SearchExtent {
  const spans = wholePages(memory.ranges);
  const total = bytesOf(spans);
  const piece = alignedBytes(PIECE_BYTES);
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
      for (let block = 0; block < got; block += PROBE_EVERY_BYTES)
        visitBlock(words, at, block, Math.min(got, block + PROBE_EVERY_BYTES), visit);
      readBytes += length;
      at = next;
    }
  }
  return { readBytes, skippedBytes, leftBytes: 0 };
}

/** The pages of a block of a piece, unless all of it is zero. */
function visitBlock(words: Uint32Array, start: number, from: number, to: number, visit: PageVisitor): void {
  const length = to - from;
  if (Buffer.from(words.buffer, from, length).equals(ZEROS.subarray(0, length))) return;
  for (let page = from; page + PAGE_SIZE <= to; page += PAGE_SIZE)
    visit((start + page) / PAGE_SIZE, words, page / 4);
}

function bytesOf(spans: readonly { readonly start: number; readonly end: number }[]): number {
  return spans.reduce((sum, { start, end }) => sum + (end - start), 0);
}

/** Whole pages of the ranges; addresses are below 2^52, so that a number holds them. */
function wholePages(ranges: readonly PhysicalRange[]): { start: number; end: number }[] {
  return ranges
    .map(({ start, end }) => ({
      start: Math.ceil(Number(start) / PAGE_SIZE) * PAGE_SIZE,
      end: Math.floor(Number(end) / PAGE_SIZE) * PAGE_SIZE,
    }))
    .filter(({ start, end }) => start < end);
}

const probe = new Uint8Array(PAGE_SIZE);
const probeWords = new Uint32Array(probe.buffer);

function seemsHole(memory: SearchableMemory, start: number, end: number): boolean {
  for (let at = start; at < end; at += PROBE_EVERY_BYTES) {
    if (memory.read(BigInt(at), probe) !== PAGE_SIZE) return false;
    for (let i = 0; i < PAGE_WORDS; i++) if (probeWords[i] !== 0) return false;
  }
  return true;
}
