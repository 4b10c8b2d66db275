// Sound images of any layout: what is read is what was written, whatever the format. And the parts of the readers that
// have a plain meaning, against that meaning.

import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { PageBitmap } from "../../src/images/bitmap.js";
import { type PhysicalImage, type Zstd, imageOf, loadZstd } from "../../src/images/bytes.js";
import { GapLog } from "../../src/images/limits.js";
import { RangeList } from "../../src/images/ranges.js";
import { SegmentMap } from "../../src/images/segments.js";
import { BytesSource } from "../../src/images/source.js";
import { lastWritten } from "../../src/images/writes.js";
import { PAGE, elfFile, flatWrites, flattenedFile, kdumpFile, limeFile } from "../image-writer.js";

/** Pages of a small physical memory, each with a byte that fills it; 0 is a page that there is not. */
const memory = fc
  .array(fc.nat(255), { minLength: 1, maxLength: 40 })
  .filter((pages) => pages.some((byte) => byte > 0));

interface Layout {
  readonly pages: readonly number[];
  /** First page of the memory. */
  readonly first: number;
}

const layout: fc.Arbitrary<Layout> = fc.record({
  pages: memory,
  first: fc.constantFrom(0, 1, 0xf_fff0, 0xf_ffff_ff00 / 2),
});

/** One piece a run of pages. */
function piecesOf({ pages, first }: Layout): { start: number; bytes: Uint8Array }[] {
  const pieces: { start: number; bytes: Uint8Array }[] = [];
  for (let page = 0; page < pages.length;) {
    let end = page;
    while (end < pages.length && pages[end]! > 0) end++;
    const bytes = new Uint8Array((end - page) * PAGE);
    for (let at = page; at < end; at++) bytes.fill(pages[at]!, (at - page) * PAGE, (at - page + 1) * PAGE);
    if (end > page) pieces.push({ start: (first + page) * PAGE, bytes });
    page = end + 1;
  }
  return pieces;
}

let zstd: Zstd;

beforeAll(async () => {
  zstd = await loadZstd();
});

function expectLayout(image: PhysicalImage, { pages, first }: Layout): void {
  const target = new Uint8Array(PAGE);
  for (let page = -1; page <= pages.length; page++) {
    if (first + page < 0) continue;
    const byte = pages[page] ?? 0;
    expect(image.readPage(first + page, target)).toBe(byte > 0);
    if (byte > 0) expect(target.every((found) => found === byte)).toBe(true);
  }
  expect(image.gaps).toEqual([]);
  expect(image.remarks).toEqual([]);
}

describe("every format holds what was written", () => {
  const small = fc.record({ pages: memory, first: fc.constantFrom(0, 1, 32_760, 65_530) });
  test.each([
    ["elf", layout, elfFile],
    ["lime", layout, limeFile],
    ["kdump", small, kdumpFile],
  ] as const)("%s", (format, layouts, write) => {
    fc.assert(
      fc.property(layouts, (memory) => {
        const image = imageOf(write(piecesOf(memory)), "image", { zstd });
        expect(image.format).toBe(format);
        expectLayout(image, memory);
      }),
      { numRuns: 60 },
    );
  });

  test("kdump, flattened in blocks of any size", () => {
    fc.assert(
      fc.property(small, fc.integer({ min: 500, max: 20_000 }), (memory, blockBytes) => {
        const file = flattenedFile(flatWrites(kdumpFile(piecesOf(memory)), blockBytes));
        expectLayout(imageOf(file, "image"), memory);
      }),
      { numRuns: 60 },
    );
  });
});

/** Sizes of the memory and of the file in the tests of segments. */
const BYTES = 60;

describe("segments", () => {
  const small = fc.nat(BYTES);
  const declared = fc.record({ start: small, length: small, stored: small, position: small });
  const headers = fc
    .array(declared, { maxLength: 8 })
    .map((list) => list.map((segment, header) => ({ ...segment, header })));

  test("are read from the file, without what is not there; everything else that was declared is marked", () => {
    fc.assert(
      fc.property(headers, small, (list, fileBytes) => {
        const gaps = new GapLog();
        const map = SegmentMap.of(list, fileBytes, "The header", gaps);
        const marked = (at: number) => gaps.sorted().some(({ start, end }) => start <= at && at < end);
        const ranges = [...map.ranges()];
        for (let at = 0; at < 2 * BYTES + 2; at++) {
          const declaring = list.filter(({ start, length }) => start <= at && at < start + length);
          const places = declaring
            .filter(
              ({ start, stored, position }) => at - start < stored && position + (at - start) < fileBytes,
            )
            .map(({ start, position }) => position + (at - start));
          let found = -1;
          map.copy(at, 1, (position) => {
            found = position;
            return 1;
          });
          expect(found >= 0).toBe(places.length > 0);
          if (found >= 0) expect(places).toContain(found);
          expect(ranges.some(([start, end]) => start <= at && at < end)).toBe(found >= 0);
          // A conflict, or memory that nobody stores.
          expect(marked(at)).toBe(new Set(places).size > 1 || (declaring.length > 0 && places.length === 0));
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("writes", () => {
  const writes = fc.array(fc.record({ start: fc.nat(40), length: fc.integer({ min: 1, max: 30 }) }), {
    maxLength: 12,
  });

  test("leave of each byte what was written last", () => {
    fc.assert(
      fc.property(writes, (list) => {
        const file = new Array<number>(80).fill(-1);
        for (const [write, { start, length }] of list.entries()) {
          for (let at = 0; at < length; at++) file[start + at] = 1000 * write + at;
        }
        const { starts, ends, positions } = lastWritten({
          count: list.length,
          start: (write) => list[write]!.start,
          end: (write) => list[write]!.start + list[write]!.length,
          position: (write) => 1000 * write,
        });
        const found = new Array<number>(80).fill(-1);
        for (const [index, start] of starts.entries()) {
          expect(start).toBeGreaterThanOrEqual(index === 0 ? 0 : ends[index - 1]!);
          for (let at = start; at < ends[index]!; at++) found[at] = positions[index]! + (at - start);
        }
        expect(found).toEqual(file);
        expect(starts.length).toBeLessThan(Math.max(1, 2 * list.length));
      }),
      { numRuns: 2000 },
    );
  });

  test("100,000 that cover each other take no time to speak of", () => {
    // Nested like dolls, and all from the same place: both are quadratic for a list that is searched.
    const count = 100_000;
    for (const start of [(write: number) => write, () => 0]) {
      const { starts } = lastWritten({ count, start, end: (write) => 2 * count - write, position: () => 0 });
      expect(starts.length).toBeGreaterThan(0);
      expect(starts.length).toBeLessThan(2 * count);
    }
  });
});

describe("bitmaps", () => {
  test("ranks and runs are those of the bits", () => {
    // Some bytes as they come, and up to two chunks of ranks of one byte.
    const bits = fc.record({
      head: fc.array(fc.nat(255), { maxLength: 40 }),
      repeat: fc.oneof(fc.constant(0), fc.nat(9000)),
      byte: fc.constantFrom(0, 255, 0xaa),
    });
    const bytesOf = ({ head, repeat, byte }: { head: number[]; repeat: number; byte: number }) => [
      ...head,
      ...new Array<number>(repeat).fill(byte),
    ];
    fc.assert(
      fc.property(bits, bits, fc.nat(7), (ours, theirs, unused) => {
        const [bytes, others] = [bytesOf(ours), bytesOf(theirs)];
        const pages = Math.max(0, 8 * bytes.length - unused);
        const source = new BytesSource(Uint8Array.from([...bytes, ...others]), "bits");
        const [seen, runs, missing] = [new Set<number>(), new Set<number>(), new Set<number>()];
        const bitmap = new PageBitmap(source, 0, pages, (first, end) => addAll(seen, first, end));
        const isSet = (pfn: number) => ((bytes[pfn >> 3]! >> (pfn & 7)) & 1) === 1;
        const inOther = (pfn: number) =>
          pfn < 8 * others.length && ((others[pfn >> 3]! >> (pfn & 7)) & 1) === 1;
        bitmap.forEachRun((first, end) => addAll(runs, first, end));
        bitmap.forEachRunMissing(bytes.length, (first, end) => addAll(missing, first, end));
        let rank = 0;
        for (let pfn = 0; pfn < pages; pfn++) {
          if (bitmap.rank(pfn) !== (isSet(pfn) ? rank : -1)) throw new Error(`rank of ${pfn}`);
          if (isSet(pfn)) rank++;
          if (runs.has(pfn) !== isSet(pfn)) throw new Error(`run at ${pfn}`);
          if (missing.has(pfn) !== (!isSet(pfn) && inOther(pfn)))
            throw new Error(`run of the missing at ${pfn}`);
        }
        expect(bitmap.count).toBe(rank);
        expect(bitmap.rank(pages)).toBe(-1);
        expect([...seen]).toEqual([...runs]);
        expect(runs.size).toBe(rank);
      }),
      { numRuns: 60 },
    );
    function addAll(pages: Set<number>, first: number, end: number): void {
      for (let pfn = first; pfn < end; pfn++) {
        if (pages.has(pfn)) throw new Error(`${pfn} is in two runs`);
        pages.add(pfn);
      }
    }
  });
});

describe("ranges", () => {
  test("beyond the limit the smallest holes are counted in, and nothing is lost", () => {
    const steps = fc.array(fc.record({ hole: fc.nat(40), pages: fc.integer({ min: 1, max: 3 }) }), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 10 }), (steps, max) => {
        const list = new RangeList(max);
        const exact: [start: number, end: number][] = [];
        let at = 0;
        for (const { hole, pages } of steps) {
          const start = at + hole * PAGE;
          at = start + pages * PAGE;
          list.add(start, at);
          if (exact.at(-1)?.[1] === start) exact.at(-1)![1] = at;
          else exact.push([start, at]);
        }
        const found = [...list];
        expect(found.length).toBeLessThanOrEqual(max);
        for (const [start, end] of exact)
          expect(found.some(([from, to]) => from <= start && end <= to)).toBe(true);
        if (exact.length <= max) expect(found).toEqual(exact);
        for (const [index, [start]] of found.entries()) {
          if (index > 0) expect(start).toBeGreaterThan(found[index - 1]![1]);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
