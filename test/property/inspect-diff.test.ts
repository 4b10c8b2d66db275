// What the commands over images make of tables that nobody thought of: differences against a plain comparison, aliases against
// every page, and no input that makes them fail.
import fc from "fast-check";
import { expect, test } from "vitest";
import { compareMappings, type Change } from "../../src/inspect/diff.js";
import { pageNumber, rightsText, leafFlagsText } from "../../src/inspect/mapping-rows.js";
import { writeRows } from "../../src/inspect/maps.js";
import { readPieces } from "../../src/inspect/read.js";
import { aliasesOf } from "../../src/inspect/rmap.js";
import { findRoots } from "../../src/inspect/roots.js";
import { targetOf } from "../../src/inspect/target.js";
import { withWalker } from "../../src/inspect/walking.js";
import { MappingColumn } from "../../src/walker/index.js";
import { BuiltMemory, P, PS, RW, US, XD } from "../physical-memory.js";

const FLAGS = [RW, US, XD, 0x20n, 0x40n, 0x100n, 0x10n];
const flags = fc.subarray(FLAGS).map((bits) => bits.reduce((all, bit) => all | bit, 0n));

/** Pages near each other, in both halves, so that ranges touch, and large pages meet small ones. */
const mapping = fc.record({
  half: fc.constantFrom(0n, 0xffff_8880_0000_0000n),
  page: fc.integer({ min: 0, max: 1535 }),
  frame: fc.integer({ min: 0, max: 2047 }),
  flags,
  large: fc.boolean(),
});
type Mapping = typeof mapping extends fc.Arbitrary<infer T> ? T : never;

const ROOT = 0x1000n;

function memoryOf(mappings: readonly Mapping[]): BuiltMemory {
  const memory = new BuiltMemory(8n << 20n, ROOT);
  memory.table();
  for (const { half, page, frame, flags, large } of mappings) {
    const [number, target] = large ? [page & ~511, frame & ~511] : [page, frame];
    const gva = half + BigInt(number) * 4096n;
    // A large page takes the place of a table, and a table of a large page: the later one wins.
    const directory = memory.map(ROOT, gva, 0n, 0n, 2);
    const slot = Number((gva >> 21n) & 511n);
    if (large) memory.setEntry(directory, slot, (BigInt(target) * 4096n) | flags | P | PS);
    else {
      memory.setEntry(directory, slot, memory.table() | P | RW | US);
      memory.map(ROOT, gva, BigInt(target) * 4096n, flags);
    }
  }
  return memory;
}

/** How each page is mapped, as text. */
function pagesOf(memory: BuiltMemory, ignored: RegExp): Map<number, string> {
  const pages = new Map<number, string>();
  const target = targetOf(memory, { cr3: ROOT, levels: 4 });
  withWalker(memory, target, (walker) =>
    writeRows(walker, target, { fold: "none" }, (words, at) => {
      const first = pageNumber(words, at + 2 * MappingColumn.gva);
      const pfn = pageNumber(words, at + 2 * MappingColumn.gpa);
      const count = pageNumber(words, at + 2 * MappingColumn.length);
      const as = `${rightsText(words, at)} ${count} ${leafFlagsText(words, at).replace(ignored, "")}`;
      for (let i = 0; i < count; i++) pages.set(first + i, `${pfn + i} ${as}`);
    }),
  );
  return pages;
}

function changesOf(before: BuiltMemory, after: BuiltMemory, accessed: boolean): Change[] {
  const target = targetOf(before, { cr3: ROOT, levels: 4 });
  return withWalker(before, target, (a) =>
    withWalker(after, target, (b) => [...compareMappings(a, b, { accessed })]),
  );
}

test("a comparison tells exactly the pages that differ, once, in order", () => {
  fc.assert(
    fc.property(
      fc.array(mapping, { maxLength: 12 }),
      fc.array(mapping, { maxLength: 4 }),
      fc.boolean(),
      (common, more, accessed) => {
        const [before, after] = [memoryOf(common), memoryOf([...common, ...more])];
        const ignored = accessed ? /$^/ : /[DA]/g;
        const [a, b] = [pagesOf(before, ignored), pagesOf(after, ignored)];
        const expected = new Map<number, string>();
        for (const page of new Set([...a.keys(), ...b.keys()])) {
          if (!b.has(page)) expected.set(page, "removed");
          else if (!a.has(page)) expected.set(page, "added");
          else if (
            a.get(page)!.replace(/[DA-]/g, "") !== b.get(page)!.replace(/[DA-]/g, "") ||
            (accessed && a.get(page) !== b.get(page))
          )
            expected.set(page, "changed");
        }
        const told = new Map<number, string>();
        let last = -1;
        for (const { page, pages, kind, before: was, after: is, what } of changesOf(
          before,
          after,
          accessed,
        )) {
          expect(page).toBeGreaterThan(last);
          last = page + pages - 1;
          expect([was !== null, is !== null, what.length > 0]).toEqual([
            kind !== "added",
            kind !== "removed",
            kind === "changed",
          ]);
          for (let i = 0; i < pages; i++) told.set(page + i, kind);
        }
        expect([...told].sort(([x], [y]) => x - y)).toEqual([...expected].sort(([x], [y]) => x - y));
      },
    ),
    { numRuns: 150 },
  );
});

test("the virtual addresses of a frame are those at which its bytes are found", () => {
  fc.assert(
    fc.property(
      fc.array(mapping, { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 0, max: 2047 }),
      (all, frame) => {
        const memory = memoryOf(all);
        const target = targetOf(memory, { cr3: ROOT, levels: 4 });
        const pa = BigInt(frame) * 4096n + 0x123n;
        const expected = [...pagesOf(memory, /$^/)]
          .filter(([, as]) => as.startsWith(`${frame} `))
          .map(([page]) => BigInt(page) * 4096n + 0x123n)
          .sort((x, y) => (x < y ? -1 : 1));
        withWalker(memory, target, (walker) => {
          expect(aliasesOf(walker, [target], pa).aliases.map(({ gva }) => gva)).toEqual(expected);
          for (const gva of expected) expect(walker.translate(gva)).toBe(pa);
        });
      },
    ),
    { numRuns: 100 },
  );
});

test("bytes are read up to each hole, and all of a range is told once", () => {
  fc.assert(
    fc.property(
      fc.array(mapping, { maxLength: 8 }),
      fc.integer({ min: 0, max: 1600 * 4096 }),
      fc.integer({ min: 1, max: 1600 * 4096 }),
      (all, start, length) => {
        const memory = memoryOf(all);
        const target = targetOf(memory, { cr3: ROOT, levels: 4 });
        const mapped = pagesOf(memory, /$^/);
        withWalker(memory, target, (walker) => {
          let at = BigInt(start);
          for (const piece of readPieces(walker, BigInt(start), BigInt(length))) {
            expect(piece.gva).toBe(at);
            const end = "bytes" in piece ? at + BigInt(piece.bytes.length) : piece.end;
            for (let page = at >> 12n; page <= (end - 1n) >> 12n; page++)
              expect(mapped.has(Number(page)), `page ${page}`).toBe("bytes" in piece);
            at = end;
          }
          expect(at).toBe(BigInt(start) + BigInt(length));
        });
      },
    ),
    { numRuns: 60 },
  );
});

test("tables of any content are listed and searched, and nothing fails", () => {
  // Entries that refer to any page of a small memory, to each other, or beyond it, with any flags.
  const entry = fc
    .tuple(fc.integer({ min: 0, max: 24 }), flags, fc.boolean(), fc.boolean())
    .map(
      ([pfn, bits, present, large]) => (BigInt(pfn) << 12n) | bits | (present ? P : 0n) | (large ? PS : 0n),
    );
  const table = fc.array(fc.tuple(fc.integer({ min: 0, max: 511 }), entry), { maxLength: 6 });
  fc.assert(
    fc.property(
      fc.array(table, { minLength: 16, maxLength: 16 }),
      fc.constantFrom(4 as const, 5 as const),
      (tables, levels) => {
        const memory = new BuiltMemory(20n << 12n, 0n);
        for (const entries of tables) {
          const at = memory.table();
          for (const [index, value] of entries) memory.setEntry(at, index, value);
        }
        const { roots } = findRoots(memory);
        for (const { pa } of roots)
          expect(memory.readPage(Number(pa >> 12n), new Uint8Array(4096))).toBe(true);
        const target = targetOf(memory, { cr3: 0n, levels });
        withWalker(memory, target, (walker) => {
          let last = -1;
          const { count } = writeRows(walker, target, { fold: "none", maxRows: 5000 }, (words, at) => {
            const page = pageNumber(words, at + 2 * MappingColumn.gva);
            expect(page).toBeGreaterThan(last);
            last = page;
          });
          expect(count).toBeLessThanOrEqual(5000);
        });
      },
    ),
    { numRuns: 200 },
  );
});
