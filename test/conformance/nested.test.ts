// Two dimensions: the guest of a guest, against the frames that the outer kernel reported for its monitor and against the
// physical addresses of the inner guest's last accesses.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openImage } from "../../src/images/open.js";
import { type PhysicalImage } from "../../src/images/types.js";
import { writeRows } from "../../src/inspect/maps.js";
import { pageNumber } from "../../src/inspect/mapping-rows.js";
import { findRoots } from "../../src/inspect/roots.js";
import { targetOf } from "../../src/inspect/target.js";
import { withWalker } from "../../src/inspect/walking.js";
import { MappingColumn } from "../../src/walker/index.js";
import { jsonOf, pathOf, textOf, whole } from "./listings.js";

/** What is used of `nested.json`. */
interface Nested {
  readonly inner: { readonly CR3: string };
  readonly vmcb: readonly {
    readonly pa: string;
    readonly nested_cr3: string;
    readonly asid: number;
    readonly saved_cr3: string;
  }[];
  readonly memslots: readonly { readonly gpa: string; readonly size: string }[];
  readonly nested_leaves: Readonly<Record<string, number>>;
  readonly inner_leaves: Readonly<Record<string, number>>;
  readonly reserved_bit_entries: {
    readonly count: number;
    readonly first_gpa: string;
    readonly last_gpa: string;
  };
  readonly pagemap_agree: number;
  readonly pagemap_not_in_nested_tables: number;
  readonly trace_accesses: number;
}

/** Physical-address bits of the processor that made the image: its MMIO markers set a bit above. */
const MAXPHYADDR = 40;

describe(`nested, by ${whole ? "the corpus" : "the committed samples"}`, () => {
  const truth = jsonOf<Nested>("nested", "nested.json");
  const ncr3 = BigInt(truth.vmcb[0]!.nested_cr3);
  let image: PhysicalImage;
  beforeAll(async () => {
    image = await openImage(pathOf("nested", "vmcore-pt.elf.zst"));
  });
  afterAll(() => image.close());

  test("the VMCB is found, and it alone", () => {
    const found = findRoots(image).vmcbs.map(({ pa, ncr3, asid, cr3 }) => ({
      pa,
      nested_cr3: ncr3,
      asid,
      saved_cr3: cr3,
    }));
    expect(found).toEqual(
      truth.vmcb.map(({ pa, nested_cr3, asid, saved_cr3 }) => ({
        pa: BigInt(pa),
        nested_cr3: BigInt(nested_cr3),
        asid,
        saved_cr3: BigInt(saved_cr3),
      })),
    );
    const { registers } = targetOf(image, { nested: true });
    expect(registers.cr3).toBe(BigInt(truth.inner.CR3));
    expect(registers.nested).toEqual({ kind: "npt", ncr3, levels: 4 });
  });

  test("the nested tables map what the outer kernel's pagemap says, and nothing else", () => {
    const frames = new Map<number, number>();
    for (const line of textOf("nested", "memslots-pagemap.txt").trim().split("\n")) {
      const [gpa, hpa] = line.split(" ").map((word) => parseInt(word, 16));
      frames.set(gpa! / 4096, hpa! / 4096);
    }
    const leaves: Record<string, number> = {};
    let agree = 0;
    const target = targetOf(image, { cr3: ncr3, maxphyaddr: MAXPHYADDR });
    withWalker(image, target, (walker) =>
      writeRows(walker, target, { fold: "none" }, (words, at) => {
        const [gfn, pfn, pages] = [MappingColumn.gva, MappingColumn.gpa, MappingColumn.length].map((column) =>
          pageNumber(words, at + 2 * column),
        ) as [number, number, number];
        leaves[pages === 1 ? "4K" : "2M"] = (leaves[pages === 1 ? "4K" : "2M"] ?? 0) + 1;
        for (let i = 0; i < pages; i++) {
          expect(frames.get(gfn + i), `gfn 0x${(gfn + i).toString(16)}`).toBe(pfn + i);
          agree++;
        }
      }),
    );
    expect(leaves).toEqual(truth.nested_leaves);
    expect(agree).toBe(truth.pagemap_agree);
    expect(frames.size - agree).toBe(truth.pagemap_not_in_nested_tables);
  });

  test("KVM's MMIO markers are entries with a reserved bit", () => {
    const { count, first_gpa, last_gpa } = truth.reserved_bit_entries;
    const target = targetOf(image, { cr3: ncr3, maxphyaddr: MAXPHYADDR });
    withWalker(image, target, (walker) => {
      let found = 0;
      for (let gpa = BigInt(first_gpa); gpa <= BigInt(last_gpa); gpa += 4096n) {
        const { result } = walker.walk(gpa, { access: "read", cpl: 3 });
        // P, U/S and RSVD.
        expect(result, `gpa 0x${gpa.toString(16)}`).toEqual({ kind: "page-fault", errorCode: 0xd, gva: gpa });
        found++;
      }
      expect(found).toBe(count);
    });
  });

  test("the inner guest's tables through the nested ones: every page, none of them unmapped", () => {
    const target = targetOf(image, { nested: true, maxphyaddr: MAXPHYADDR });
    const leaves: Record<string, number> = {};
    let last = "";
    withWalker(image, target, (walker) =>
      writeRows(walker, target, { fold: "none" }, (words, at) => {
        const half = words[at + 2 * MappingColumn.gva + 1]! >>> 31 === 0 ? "user" : "kernel";
        const shift = (words[at + 2 * MappingColumn.effective]! >>> 8) & 0xff;
        // A large page of the guest is as many rows as nested pages map it.
        const span = 2 ** (shift - 12);
        const first = Math.floor(pageNumber(words, at + 2 * MappingColumn.gva) / span);
        if (last === `${shift} ${first}`) return;
        last = `${shift} ${first}`;
        const kind = `${half} ${shift === 12 ? "4K" : "2M"}`;
        leaves[kind] = (leaves[kind] ?? 0) + 1;
      }),
    );
    expect(leaves).toEqual(truth.inner_leaves);
  });

  test("every access of the inner guest's trace", () => {
    const { registers } = targetOf(image, { nested: true, maxphyaddr: MAXPHYADDR });
    const lines = textOf("nested", "inner-trace.txt").trim().split("\n");
    const accesses = lines.flatMap((line) => {
      const [kind, , gva, hpa] = line.split(" ") as string[];
      return kind === "L" || kind === "S" ? [{ gva: BigInt(`0x${gva}`), hpa: BigInt(`0x${hpa}`) }] : [];
    });
    expect(accesses).toHaveLength(truth.trace_accesses);
    withWalker(image, targetOf(image, { nested: true, maxphyaddr: MAXPHYADDR }), (walker) => {
      expect(walker.registers.cr3).toBe(registers.cr3);
      const found = BigUint64Array.from(accesses, ({ gva }) => gva);
      expect(walker.translateMany(found)).toBe(accesses.length);
      const wrong = accesses.filter(({ hpa }, i) => found[i] !== hpa);
      expect(wrong).toEqual([]);
    });
  });
});
