// The commands over images against what others said of the same memory: every row of the emulator's listings for every root,
// its answers for single addresses, and the page frames that the guest's own kernel reported.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openImage } from "../../src/images/open.js";
import { type PhysicalImage } from "../../src/images/types.js";
import { writeMaps } from "../../src/inspect/maps.js";
import { findRoots } from "../../src/inspect/roots.js";
import { hintsOf, knownRoots, targetOf, type Target } from "../../src/inspect/target.js";
import { withWalker } from "../../src/inspect/walking.js";
import {
  bytesOf,
  has,
  imagesNamed,
  jsonOf,
  memLines,
  pathOf,
  sectionOf,
  tarFiles,
  textOf,
  tlbLines,
  whole,
} from "./listings.js";
import { type Truth } from "./listings.js";

const extent = whole ? "the corpus" : "the committed samples";

/** One row of `guestmmu maps --csv --fold none`. */
interface Row {
  readonly gva: string;
  readonly length: number;
  readonly rights: string;
  readonly page: string;
  readonly gpa: string;
  readonly flags: string;
  readonly objection: string;
}

/** The rows of a root as the command prints them. */
function mapsOf(image: PhysicalImage, target: Target): Row[] {
  const pieces: Uint8Array[] = [];
  withWalker(image, target, (walker) =>
    writeMaps(walker, [target], image.name, "csv", { fold: "none" }, (piece) => pieces.push(piece)),
  );
  const [header, ...lines] = Buffer.concat(pieces).toString("ascii").trimEnd().split("\n");
  expect(header).toBe("gva,last,length,rights,page,gpa,entry,flags,objection");
  return lines.map((line) => {
    const [gva, , length, rights, page, gpa, , flags, objection] = line.split(",") as string[];
    return {
      gva: gva!,
      length: Number(length),
      rights: rights!,
      page: page!,
      gpa: gpa!,
      flags: flags!,
      objection: objection!,
    };
  });
}

const digits = (address: string): string => address.slice(2).padStart(16, "0");
const asTlb = ({ gva, gpa, flags }: Row): string => `${digits(gva)} ${digits(gpa)} ${flags}`;
const isUser = ({ gva }: Row): boolean => BigInt(gva) >> 63n === 0n;

/** The first lines that differ, for a message; empty if none do. */
function differences(found: readonly string[], expected: readonly string[]): string[] {
  const lines: string[] = [];
  for (let i = 0; i < Math.max(found.length, expected.length) && lines.length < 5; i++)
    if (found[i] !== expected[i])
      lines.push(`row ${i}: ${found[i] ?? "nothing"}, expected ${expected[i] ?? "nothing"}`);
  return lines;
}

/** Neighbours with equal U/S and R/W of all levels, as `info mem` prints them. */
function asMem(rows: readonly Row[]): string[] {
  const ranges: { first: bigint; end: bigint; urw: string }[] = [];
  for (const { gva, length, rights } of rows) {
    const first = BigInt(gva);
    const end = first + BigInt(length);
    const urw = rights.slice(0, 3);
    const last = ranges.at(-1);
    if (last !== undefined && last.end === first && last.urw === urw) last.end = end;
    else ranges.push({ first, end, urw });
  }
  const hex = (address: bigint): string => BigInt.asUintN(64, address).toString(16).padStart(16, "0");
  return ranges.map(({ first, end, urw }) => `${hex(first)}-${hex(end)} ${hex(end - first)} ${urw}`);
}

for (const name of imagesNamed("lin-")) {
  describe(`${name}, by ${extent}`, () => {
    const truth = jsonOf<Truth>(name, "truth.json");
    let image: PhysicalImage;
    beforeAll(async () => {
      image = await openImage(pathOf(name, "vmcore-pt.elf.zst"));
    });
    afterAll(() => image.close());

    truth.cpus.forEach(({ CR3 }, cpu) => {
      test(`CPU ${cpu}: every row of info tlb, and the pages by size`, () => {
        const target = targetOf(image, { cpu });
        expect(target.registers.cr3).toBe(BigInt(CR3));
        const rows = mapsOf(image, target);
        expect(differences(rows.map(asTlb), tlbLines(textOf(name, `cpu${cpu}-tlb.txt`)))).toEqual([]);
        expect(rows.filter(({ objection }) => objection !== "")).toEqual([]);
        const { leaves } = jsonOf<Record<string, { leaves: Record<string, number> }>>(name, "stats.json")[
          `cpu${cpu}`
        ]!;
        const found: Record<string, number> = {};
        for (const row of rows) {
          const kind = `${isUser(row) ? "user" : "kernel"} ${row.page}`;
          found[kind] = (found[kind] ?? 0) + 1;
        }
        expect(found).toEqual(leaves);
      });

      test.runIf(has(name, `cpu${cpu}-mem.txt.zst`) && !truth.la57)(
        `CPU ${cpu}: the rights of all levels, by info mem`,
        () => {
          const rows = mapsOf(image, targetOf(image, { cpu }));
          const expected = memLines(textOf(name, `cpu${cpu}-mem.txt`));
          expect(expected.length).toBeGreaterThan(50);
          expect(differences(asMem(rows), expected)).toEqual([]);
        },
      );
    });

    test.runIf(has(name, "roots-tlb.tar.zst"))(
      "every root: every row of info tlb",
      { timeout: 120_000 },
      () => {
        const files = tarFiles(bytesOf(name, "roots-tlb.tar"));
        expect(truth.roots.length).toBeGreaterThan(5);
        for (const { cr3, rows: count, user_rows, file_has } of truth.roots) {
          const rows = mapsOf(image, targetOf(image, { cr3: BigInt(cr3) }));
          const listed = tlbLines(files.get(`root-${cr3.slice(2)}-tlb.txt`)!);
          const compared = file_has === "all rows" ? rows : rows.filter(isUser);
          expect(rows.length, cr3).toBe(count);
          expect(rows.filter(isUser).length, cr3).toBe(user_rows);
          expect(differences(compared.map(asTlb), listed), cr3).toEqual([]);
        }
      },
    );

    test("every answer of gva2gpa", () => {
      const spots = jsonOf<{ cpu: number; gva: string; gpa: string | null }[]>(name, "gva2gpa.json");
      expect(spots.length).toBeGreaterThan(500);
      truth.cpus.forEach((_, cpu) =>
        withWalker(image, targetOf(image, { cpu }), (walker) => {
          for (const { gva, gpa } of spots.filter((spot) => spot.cpu === cpu)) {
            const expected = gpa === null ? null : BigInt(gpa);
            expect(walker.translate(BigInt(gva)), `CPU ${cpu}, gva ${gva}`).toBe(expected);
          }
        }),
      );
    });

    test.runIf(has(name, "guest-side.txt.zst"))("every frame of the guest's own pagemap", () => {
      const guest = textOf(name, "guest-side.txt");
      expect(truth.processes.length).toBeGreaterThan(3);
      for (const { pid, comm, cr3, pagemap_rows, match, prot_none, differ } of truth.processes) {
        const lines = sectionOf(guest, `pagemap ${pid}`).filter((line) => /^[0-9a-f]+ [0-9a-f]+$/.test(line));
        expect(lines.length, comm).toBe(pagemap_rows);
        const counts = { match: 0, unmapped: 0, differ: 0 };
        withWalker(image, targetOf(image, { cr3: BigInt(cr3) }), (walker) => {
          for (const line of lines) {
            const [vaddr, entry] = line.split(" ").map((word) => BigInt(`0x${word}`));
            const hpa = walker.translate(vaddr!);
            // Bits 54:0 are the frame; the kernel calls PROT_NONE pages present, which for a processor are not.
            if (hpa === null) counts.unmapped++;
            else if (hpa >> 12n === (entry! & ((1n << 55n) - 1n))) counts.match++;
            else counts.differ++;
          }
        });
        expect(counts.match, comm).toBe(match);
        expect(counts.unmapped + counts.differ, comm).toBe(prot_none + differ);
        expect(counts.unmapped, comm).toBeGreaterThanOrEqual(prot_none);
      }
    });

    test("the search finds the roots that are there, and no others, with and without the notes", () => {
      const expected = truth.roots.map(({ cr3 }) => BigInt(cr3)).sort();
      const supported = (roots: ReturnType<typeof findRoots>["roots"]): bigint[] =>
        roots
          .filter((root) => root.supported)
          .map(({ pa }) => pa)
          .sort();
      expect(supported(findRoots(image, hintsOf(image)).roots)).toEqual(expected);
      const alone = findRoots(image).roots;
      expect(supported(alone)).toEqual(expected);
      expect(new Set(alone.map(({ levels }) => levels))).toEqual(new Set([truth.la57 ? 5 : 4]));
      for (const { cr3, kpti_user_half } of truth.roots) {
        const root = alone.find(({ pa }) => pa === BigInt(cr3));
        expect(root?.pair?.half === "user", cr3).toBe(kpti_user_half);
      }
      expect(knownRoots(image)).toHaveLength(expected.length);
    });
  });
}

describe.runIf(whole)("lin-4level, its whole memory", () => {
  const truth = whole ? jsonOf<Truth>("lin-4level", "truth.json") : null;
  const guest = whole ? textOf("lin-4level", "guest-side.txt") : "";
  let image: PhysicalImage;
  beforeAll(async () => {
    image = await openImage(pathOf("lin-4level", "vmcore.elf.zst"));
  });
  afterAll(() => image.close());

  /** The address of a symbol, by the guest's /proc/kallsyms. */
  const symbol = (name: string): bigint => {
    const line = sectionOf(guest, "kallsyms").find((text) => text.endsWith(` ${name}`));
    return BigInt(`0x${line!.split(" ")[0]}`);
  };

  test("the search finds every root among all other pages", () => {
    const found = findRoots(image).roots.filter(({ supported }) => supported);
    const named = new Set(truth!.roots.map(({ cr3 }) => BigInt(cr3)));
    expect(found.filter(({ pa }) => named.has(pa))).toHaveLength(named.size);
    // Linux holds a PML4 table ready for five levels, whose last entry is the kernel's: nothing tells that it is not used.
    const spare = symbol("level4_kernel_pgt") - 0xffff_ffff_8000_0000n;
    expect(found.filter(({ pa }) => !named.has(pa)).map(({ pa }) => pa)).toEqual([spare]);
  });

  test("bytes at a virtual address are those of the kernel", () => {
    const banner = new Uint8Array(64);
    const [version] = sectionOf(guest, "version");
    const got = withWalker(image, targetOf(image), (walker) => walker.read(symbol("linux_banner"), banner));
    expect(got).toBe(64);
    expect(version).toContain(Buffer.from(banner).toString("latin1"));
  });
});
