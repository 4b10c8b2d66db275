// kdump-compressed dumps, plain and flattened: what is read lazily, what was left out, what is damaged.

import { deflateSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { type GuestMmuErrorCode, GuestMmuError } from "../../src/errors.js";
import { type PhysicalImage, imageOf } from "../../src/images/bytes.js";
import {
  PAGE,
  cpuNote,
  flatWrites,
  flattenedFile,
  join,
  kdumpFile,
  patch,
  piece,
  vmcoreinfoNote,
  zlibPage,
} from "../image-writer.js";

const LOW = piece(0, 3);
const HIGH = piece(0x10_0000, 5);
const PIECES = [LOW, HIGH];
/** Header, sub-header, two bitmaps of a page each. */
const DESCRIPTORS_AT = 4 * PAGE;
const SUB = PAGE;

function read(image: PhysicalImage, pa: number, length: number): Uint8Array {
  const target = new Uint8Array(length);
  return target.subarray(0, image.read(BigInt(pa), target));
}

function errorOf(action: () => unknown): GuestMmuError {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(GuestMmuError);
    return error as GuestMmuError;
  }
  throw new Error("nothing was thrown");
}

function expectError(bytes: Uint8Array, code: GuestMmuErrorCode, ...parts: readonly string[]): void {
  const { code: found, message, hint } = errorOf(() => imageOf(bytes, "vmcore"));
  expect(found, message).toBe(code);
  for (const part of ["vmcore: ", ...parts]) expect(message).toContain(part);
  expect(hint).not.toBe("");
}

describe("kdump", () => {
  test("notes and VMCOREINFO, in a note or by itself", () => {
    const cpu = cpuNote({ cr3: 0x55ce000n });
    const inNotes = imageOf(kdumpFile(PIECES, { notes: join(cpu, vmcoreinfoNote("A=1\n"), cpu) }));
    expect(inNotes.cpus).toMatchObject([{ cr3: 0x55ce000n }, { index: 1 }]);
    expect(inNotes.vmcoreinfo).toEqual(new Map([["A", "1"]]));
    const alone = imageOf(kdumpFile(PIECES, { notes: cpu, vmcoreinfo: "B=2\nC=3" }));
    expect(alone.cpus).toHaveLength(1);
    expect(alone.vmcoreinfo).toEqual(
      new Map([
        ["B", "2"],
        ["C", "3"],
      ]),
    );
    // Headers before version 3 have neither, whatever stands there.
    expect(imageOf(kdumpFile(PIECES, { notes: cpu, vmcoreinfo: "B=2", version: 2 }))).toMatchObject({
      cpus: [],
      vmcoreinfo: null,
    });
  });

  test("pages that were left out are holes, marked by run and counted", () => {
    const image = imageOf(kdumpFile(PIECES, { excluded: [3, 4, 5, 300, 40_000] }));
    const why = "Left out of the dump (dump level 31).";
    expect(image.gaps).toEqual(
      [
        { start: 3, end: 6 },
        { start: 300, end: 301 },
        { start: 40_000, end: 40_001 },
      ].map(({ start, end }) => ({ start: BigInt(start * PAGE), end: BigInt(end * PAGE), why })),
    );
    expect(image.remarks).toEqual(["5 pages were left out of the dump (dump level 31)."]);
    expect(read(image, 2 * PAGE, 2 * PAGE)).toEqual(LOW.bytes.slice(2 * PAGE));
    expect(image.readPage(300, new Uint8Array(PAGE))).toBe(false);
  });

  test("one bitmap only: it is that of the pages held", () => {
    const file = kdumpFile(PIECES);
    const one = join(file.slice(0, 3 * PAGE), file.slice(4 * PAGE));
    patch(one, { at: 436, bytes: 4, value: 1 }, { at: SUB + 96, bytes: 8, value: 20_000 });
    for (let rank = 0; rank < 8; rank++) {
      const at = 3 * PAGE + 24 * rank;
      const position = new DataView(one.buffer).getBigUint64(at, true);
      patch(one, { at, bytes: 8, value: position - BigInt(PAGE) });
    }
    const image = imageOf(one);
    expect(image).toMatchObject({ gaps: [], remarks: [] });
    expect(read(image, 0x10_0000, HIGH.bytes.length)).toEqual(HIGH.bytes);
  });

  test("ranks across the chunks of a large bitmap, page by page and at random", () => {
    // Every third of 200,000 pages, all the same two pages: six chunks of ranks, 66,667 descriptors.
    const [even, odd] = [new Uint8Array(PAGE).fill(0xee), new Uint8Array(PAGE).fill(0x0d)];
    const pfns = Array.from({ length: 66_667 }, (_, index) => 3 * index);
    const pieces = pfns.map((pfn) => ({ start: pfn * PAGE, bytes: pfn % 2 === 0 ? even : odd }));
    const stored = new Map([even, odd].map((page) => [page[0], zlibPage(page)]));
    const image = imageOf(kdumpFile(pieces, { store: (page) => stored.get(page[0])! }));
    expect(image.ranges).toHaveLength(pfns.length);
    expect(image.ranges.at(-1)).toEqual({ start: 199_998n * 4096n, end: 199_999n * 4096n });
    const page = new Uint8Array(PAGE);
    for (let step = 0, pfn = 1; step < 20_000; step++, pfn = (pfn * 16_807) % 200_003) {
      const isHeld = pfn % 3 === 0 && pfn < 200_000;
      expect(image.readPage(pfn, page)).toBe(isHeld);
      if (isHeld) expect(page[pfn % PAGE]).toBe(pfn % 2 === 0 ? 0xee : 0x0d);
    }
  });

  test("cut off: headers and bitmaps are needed, pages are marked", () => {
    const file = kdumpFile(PIECES);
    for (const length of [16, 463]) expectError(file.slice(0, length), "IMAGE_TRUNCATED", `${length} bytes`);
    for (const length of [464, PAGE, 2 * PAGE, 4 * PAGE - 1]) {
      const error = errorOf(() => imageOf(file.slice(0, length)));
      expect(["IMAGE_TRUNCATED", "IMAGE_INVALID"]).toContain(error.code);
    }
    // Three descriptors left, and the pages that they point to are gone as well.
    const noPages = imageOf(file.slice(0, DESCRIPTORS_AT + 3 * 24));
    expect(noPages.ranges).toEqual([]);
    expect(noPages.gaps.map(({ start, end }) => [start, end])).toEqual([
      [0n, 0x3000n],
      [0x10_0000n, 0x10_5000n],
    ]);
    const lastPage = imageOf(file.slice(0, -1));
    expect(lastPage.remarks).toEqual([expect.stringContaining("cut off")]);
    expect(lastPage.gaps).toMatchObject([{ start: 0x10_4000n, end: 0x10_5000n }]);
    expect(lastPage.ranges.at(-1)).toEqual({ start: 0x10_0000n, end: 0x10_4000n });
    expect(lastPage.readPage(0x104, new Uint8Array(PAGE))).toBe(false);
    expect(read(lastPage, 0x10_0000, 5 * PAGE)).toEqual(HIGH.bytes.slice(0, 4 * PAGE));
  });

  test("a damaged page is an error where it is read, and nowhere else", () => {
    const at = DESCRIPTORS_AT + 24;
    const damages: readonly [string, ReturnType<typeof kdumpFile>][] = [
      ["none that a page can have", patch(kdumpFile(PIECES), { at: at + 8, bytes: 4, value: 0 })],
      ["none that a page can have", patch(kdumpFile(PIECES), { at: at + 8, bytes: 4, value: 4097 })],
      ["beyond the end of the file", patch(kdumpFile(PIECES), { at, bytes: 8, value: 2n ** 63n })],
      ["zlib data are damaged", patch(kdumpFile(PIECES), { at: at + 8, bytes: 4, value: 20 })],
      ["flags are 0x20", patch(kdumpFile(PIECES), { at: at + 12, bytes: 4, value: 0x20 })],
      ["shorter than a page", patch(kdumpFile(PIECES), { at: at + 12, bytes: 4, value: 0 })],
    ];
    for (const [why, file] of damages) {
      const image = imageOf(file, "vmcore");
      const error = errorOf(() => image.readPage(1, new Uint8Array(PAGE)));
      expect(error.code).toBe("IMAGE_INVALID");
      expect(error.message).toContain(why);
      expect(error.message).toContain("pfn 0x1 ");
      expect(error.message).toContain(`byte ${at}`);
      expect(read(image, 0, PAGE)).toEqual(LOW.bytes.slice(0, PAGE));
      expect(read(image, 0x10_0000, HIGH.bytes.length)).toEqual(HIGH.bytes);
    }
  });

  test("zlib that does not fill a page, or more than one, is damage", () => {
    for (const bytes of [4095, 4097, 1_000_000]) {
      const file = kdumpFile([{ start: 0, bytes: new Uint8Array(PAGE) }], { store: () => zlibOf(bytes) });
      expect(errorOf(() => imageOf(file).readPage(0, new Uint8Array(PAGE))).message).toContain("zlib");
    }
  });

  test("headers that no writer makes", () => {
    expectError(patch(kdumpFile(PIECES), { at: 428, bytes: 4, value: 8192 }), "IMAGE_INVALID", "8192");
    expectError(patch(kdumpFile(PIECES), { at: 432, bytes: 4, value: -1 }), "IMAGE_INVALID", "sub-header");
    expectError(
      patch(kdumpFile(PIECES), { at: 436, bytes: 4, value: 0 }),
      "IMAGE_INVALID",
      "bitmaps of 0 bytes",
    );
    expectError(
      patch(kdumpFile(PIECES), { at: 436, bytes: 4, value: 0xffff_ffff }),
      "IMAGE_TRUNCATED",
      "bitmaps",
    );
    const pages = (value: bigint) => patch(kdumpFile(PIECES), { at: SUB + 96, bytes: 8, value });
    expectError(pages(65_537n), "IMAGE_INVALID", "65537 pages");
    expectError(pages(2n ** 60n), "IMAGE_INVALID", "1152921504606846976 pages");
    expectError(patch(kdumpFile(PIECES), { at: 8, bytes: 4, value: 7 }), "UNSUPPORTED", "version 7");
    expectError(patch(kdumpFile(PIECES), { at: SUB + 12, bytes: 4, value: 1 }), "UNSUPPORTED", "split dump");
  });

  test("compressions and machines that are not read are named", () => {
    expectError(kdumpFile(PIECES, { status: 2 }), "UNSUPPORTED", "LZO");
    expectError(kdumpFile(PIECES, { status: 4 }), "UNSUPPORTED", "snappy");
    const arm = kdumpFile(PIECES);
    arm.set(Buffer.from("aarch64"), 12 + 4 * 65);
    expectError(arm, "UNSUPPORTED", "aarch64");
    expect(imageOf(kdumpFile(PIECES, { status: 9 })).remarks).toEqual([
      expect.stringContaining("ran out of room"),
    ]);
  });
});

describe("flattened dumps", () => {
  const file = kdumpFile(PIECES);

  test("later writes replace what earlier ones wrote", () => {
    const zeros = new Uint8Array(3 * PAGE);
    const writes = [
      { start: 0, bytes: zeros },
      { start: 2 * PAGE, bytes: file.subarray(2 * PAGE) },
      { start: 1000, bytes: zeros.subarray(0, 5000) },
      { start: 0, bytes: file.subarray(0, 2 * PAGE) },
      { start: 2 * PAGE, bytes: file.subarray(2 * PAGE, 3 * PAGE) },
    ];
    const image = imageOf(flattenedFile(writes));
    expect(read(image, 0x10_0000, HIGH.bytes.length)).toEqual(HIGH.bytes);
    expect(image.remarks).toEqual([]);
  });

  test("without its end mark it is cut off, and says so", () => {
    const whole = flattenedFile(flatWrites(file), false);
    expect(imageOf(whole).remarks).toEqual([expect.stringContaining(`ends at byte ${whole.length}`)]);
    // The pages come last, in one block, of which ten bytes are lost with the end mark.
    const pagesAt = DESCRIPTORS_AT + 8 * 24;
    const blocks = [
      { start: 0, bytes: file.subarray(0, pagesAt) },
      { start: pagesAt, bytes: file.subarray(pagesAt) },
    ];
    const cut = flattenedFile(blocks, false).slice(0, -10);
    const image = imageOf(cut);
    expect(image.remarks).toEqual([
      expect.stringContaining("without an end mark"),
      expect.stringContaining("last page"),
    ]);
    expect(image.gaps).toMatchObject([{ start: 0x10_4000n, end: 0x10_5000n }]);
    expect(read(image, 0x10_0000, 5 * PAGE)).toEqual(HIGH.bytes.slice(0, 4 * PAGE));
  });

  test("blocks that no file has room for, other versions, a header that is cut", () => {
    const flat = flattenedFile(flatWrites(file));
    const block = (at: number, value: number | bigint) =>
      patch(flat.slice(), { at, bytes: 8, value, bigEndian: true });
    expectError(block(PAGE, -2), "IMAGE_INVALID", "position -2", `byte ${PAGE}`);
    expectError(block(PAGE + 8, 0), "IMAGE_INVALID", "0 bytes");
    expectError(block(PAGE + 8, -1), "IMAGE_INVALID", "-1 bytes");
    expectError(block(PAGE, 2n ** 62n), "IMAGE_INVALID", `${2n ** 62n}`);
    expectError(block(24, 2), "UNSUPPORTED", "version 2");
    expectError(flat.slice(0, 100), "IMAGE_TRUNCATED", "100 bytes");
  });

  test("a position far out makes no large file in memory", () => {
    const far = flattenedFile([...flatWrites(file), { start: 2 ** 50, bytes: new Uint8Array(10) }]);
    expect(read(imageOf(far), 0x10_0000, HIGH.bytes.length)).toEqual(HIGH.bytes);
  });
});

function zlibOf(bytes: number): { bytes: Uint8Array; flags: number } {
  return { bytes: deflateSync(new Uint8Array(bytes)), flags: 1 };
}
