// Images of every format, written by test/image-writer.ts, as bytes in memory: what is read, and what is refused or marked.

import { gzipSync } from "node:zlib";
import { beforeAll, describe, expect, test } from "vitest";
import { type GuestMmuErrorCode, GuestMmuError } from "../../src/errors.js";
import {
  type ImageOfOptions,
  type PhysicalImage,
  type Zstd,
  imageOf,
  loadZstd,
} from "../../src/images/bytes.js";
import {
  PAGE,
  type Piece,
  cpuNote,
  elfFile,
  flatWrites,
  flattenedFile,
  join,
  kdumpFile,
  limeFile,
  note,
  patch,
  piece,
  rawFile,
  vmcoreinfoNote,
} from "../image-writer.js";
import { zstdFrame } from "../zstd-frames.js";

const LOW = piece(0, 3);
const HIGH = piece(0x10_0000, 5);
const PIECES = [LOW, HIGH];

let zstd: Zstd;

beforeAll(async () => {
  zstd = await loadZstd();
});

function read(image: PhysicalImage, pa: number | bigint, length: number): Uint8Array {
  const target = new Uint8Array(length);
  return target.subarray(0, image.read(BigInt(pa), target));
}

/** Checks that `image` holds the pieces byte for byte, and nothing around them. */
function expectMemory(image: PhysicalImage, pieces: readonly Piece[]): void {
  const bounds = pieces.map(({ start, bytes }) => ({
    start: BigInt(start),
    end: BigInt(start) + BigInt(bytes.length),
  }));
  expect(image.ranges).toEqual(bounds);
  for (const { start, bytes } of pieces) {
    expect(Buffer.compare(read(image, start, bytes.length + PAGE), bytes)).toBe(0);
    expect(read(image, BigInt(start) + BigInt(bytes.length), 16)).toHaveLength(0);
    const page = new Uint8Array(PAGE);
    for (let at = 0; at < bytes.length; at += PAGE) {
      expect(image.readPage((Number(start) + at) / PAGE, page)).toBe(true);
      expect(Buffer.compare(page, bytes.subarray(at, at + PAGE))).toBe(0);
    }
    expect(image.readPage((Number(start) + bytes.length) / PAGE, page)).toBe(false);
  }
}

function expectError(
  bytes: Uint8Array,
  code: GuestMmuErrorCode,
  parts: readonly string[],
  options: ImageOfOptions = {},
): void {
  let error: unknown;
  try {
    imageOf(bytes, "image.dump", options);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(GuestMmuError);
  const { code: found, message, hint } = error as GuestMmuError;
  expect(found, message).toBe(code);
  for (const part of ["image.dump", ...parts]) expect(message).toContain(part);
  expect(hint).not.toBe("");
}

const whys = (image: PhysicalImage) =>
  image.gaps.map(({ start, end, why }) => [Number(start), Number(end), why]);

describe("every format", () => {
  const files: Record<string, () => Uint8Array> = {
    elf: () => elfFile(PIECES),
    lime: () => limeFile(PIECES),
    kdump: () => kdumpFile(PIECES),
    "kdump, uncompressed": () => kdumpFile(PIECES, { store: (bytes) => ({ bytes, flags: 0 }), status: 0 }),
    "kdump, zstd": () =>
      kdumpFile(PIECES, { store: (page) => ({ bytes: zstdPage(page), flags: 0x20 }), status: 0x20 }),
    "kdump, version 1": () => kdumpFile(PIECES, { version: 1 }),
    "kdump, flattened": () => flattenedFile(flatWrites(kdumpFile(PIECES))),
    "elf, flattened": () => flattenedFile(flatWrites(elfFile(PIECES), 100)),
  };
  // Stored zstd is longer than a page; repeated bytes are not.
  const zstdPage = (page: Uint8Array) => (page.every((byte) => byte === page[0]) ? rlePage(page[0]!) : page);
  const rlePage = (byte: number) => Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0x10, 0x03, 0x80, 0, byte);

  test.each(Object.entries(files).filter(([name]) => name !== "kdump, zstd"))("%s", (name, file) => {
    const image = imageOf(file(), name, { zstd });
    expectMemory(image, PIECES);
    expect(image).toMatchObject({
      name,
      format: name.split(",")[0],
      compression: "none",
      gaps: [],
      remarks: [],
    });
  });

  test("kdump with zstd pages", () => {
    const pieces = [{ start: 5 * PAGE, bytes: new Uint8Array(2 * PAGE).fill(7) }];
    const file = kdumpFile(pieces, {
      store: (page) => ({ bytes: zstdPage(page), flags: 0x20 }),
      status: 0x20,
    });
    expectMemory(imageOf(file, "image", { zstd }), pieces);
    expectError(file, "UNSUPPORTED", ["zstd"]);
  });

  test.each(Object.entries(files).filter(([name]) => name !== "kdump, zstd"))(
    "%s, gzip and zstd",
    (_, file) => {
      const bytes = file();
      const gzip = imageOf(gzipSync(bytes), "image.gz");
      expect(gzip.compression).toBe("gzip");
      expectMemory(gzip, PIECES);
      const packed = imageOf(zstdFrame(bytes), "image.zst", { zstd });
      expect(packed.compression).toBe("zstd");
      expectMemory(packed, PIECES);
    },
  );

  test("raw, with zeros in between", () => {
    const image = imageOf(rawFile(PIECES));
    expect(image).toMatchObject({ format: "raw", cpus: [], vmcoreinfo: null, gaps: [], remarks: [] });
    expect(image.ranges).toEqual([{ start: 0n, end: BigInt(HIGH.start) + BigInt(HIGH.bytes.length) }]);
    expect(read(image, 0, LOW.bytes.length)).toEqual(LOW.bytes);
    expect(read(image, LOW.bytes.length, 4)).toEqual(new Uint8Array(4));
    expect(read(image, HIGH.start, HIGH.bytes.length)).toEqual(HIGH.bytes);
  });

  test.each(Object.entries(files).filter(([name]) => name !== "kdump, zstd"))(
    "%s: unaligned reads",
    (_, file) => {
      const image = imageOf(file(), "image", { zstd });
      for (const [from, length] of [
        [1, 1],
        [PAGE - 3, 8],
        [5, 2 * PAGE],
        [2 * PAGE + 1, PAGE],
      ] as const) {
        expect(read(image, from, length)).toEqual(LOW.bytes.slice(from, from + length));
      }
      expect(read(image, 0xf_ffff, 4)).toHaveLength(0);
      expect(read(image, 0x10_0000, 4)).toEqual(HIGH.bytes.slice(0, 4));
    },
  );
});

describe("addresses and use after close", () => {
  test("beyond 2^52 there is no memory, and no page", () => {
    const image = imageOf(rawFile(PIECES));
    expect(read(image, 2n ** 52n, 8)).toHaveLength(0);
    expect(read(image, 2n ** 64n, 8)).toHaveLength(0);
    expect(image.readPage(2 ** 40 - 1, new Uint8Array(PAGE))).toBe(false);
    for (const pfn of [2 ** 40, -1, 0.5, NaN]) {
      expect(() => image.readPage(pfn, new Uint8Array(PAGE))).toThrow(/not a page number/);
    }
    expect(() => image.read(-1n, new Uint8Array(1))).toThrow(/not a physical address/);
    expect(() => image.readPage(0, new Uint8Array(8))).toThrow(/8 bytes/);
  });

  test("a closed image reads nothing, and closes again", () => {
    const image = imageOf(elfFile(PIECES));
    image.close();
    image.close();
    expect(() => image.read(0n, new Uint8Array(1))).toThrow(expect.objectContaining({ code: "DISPOSED" }));
    expect(() => image.readPage(0, new Uint8Array(PAGE))).toThrow(
      expect.objectContaining({ code: "DISPOSED" }),
    );
  });

  test("options that there are not", () => {
    expectUsage({ format: "vmem" as "raw" });
    expectUsage({ compression: "lz4" as "gzip" });
    for (const maxUnpackedBytes of [0, -1, 1.5, NaN]) expectUsage({ maxUnpackedBytes });
    function expectUsage(options: ImageOfOptions): void {
      expect(() => imageOf(rawFile(PIECES), "image", options)).toThrow(
        expect.objectContaining({ code: "USAGE" }),
      );
    }
  });
});

describe("detection", () => {
  test("what has no magic is raw; a tail that is no page is marked", () => {
    const image = imageOf(join(LOW.bytes, new Uint8Array(5)));
    expect(image.format).toBe("raw");
    expect(whys(image)).toEqual([[3 * PAGE + 5, 4 * PAGE, expect.stringContaining("no multiple of 4096")]]);
    expect(read(image, 3 * PAGE, 8)).toHaveLength(5);
    expect(image.readPage(3, new Uint8Array(PAGE))).toBe(false);
    expectError(new Uint8Array(0), "IMAGE_INVALID", ["no bytes"]);
  });

  const magics: Record<string, readonly number[]> = {
    ELF: [0x7f, 0x45, 0x4c, 0x46],
    "kdump-compressed": [...Buffer.from("KDUMP   ")],
    flattened: [...Buffer.from("makedumpfile")],
    LiME: [...Buffer.from("EMiL")],
    zstd: [0x28, 0xb5, 0x2f, 0xfd],
    gzip: [0x1f, 0x8b, 8],
  };

  test.each(Object.entries(magics))("%s: a magic with one wrong byte is no raw memory", (name, magic) => {
    for (let wrong = 0; wrong < magic.length; wrong++) {
      const bytes = new Uint8Array(2 * PAGE);
      bytes.set(magic);
      bytes[wrong]! ^= 0x80;
      expectError(bytes, "IMAGE_INVALID", [name, `${magic.length - 1} of the ${magic.length} bytes`]);
      expect(imageOf(bytes, "image", { format: "raw" }).format).toBe("raw");
    }
  });

  test("memory that begins like a compressed file opens as what it is said to be", () => {
    const bytes = new Uint8Array(PAGE);
    bytes.set(magics["gzip"]!);
    expectError(bytes, "IMAGE_UNREADABLE", ["gzip"]);
    const image = imageOf(bytes, "image", { format: "raw", compression: "none" });
    expect(read(image, 0, 3)).toEqual(Uint8Array.from(magics["gzip"]!));
  });

  test("a format that is asked for is still checked", () => {
    expectError(rawFile(PIECES), "IMAGE_INVALID", ["magic of ELF"], { format: "elf" });
    expectError(rawFile(PIECES), "IMAGE_INVALID", ["KDUMP"], { format: "kdump" });
    expectError(rawFile(PIECES), "IMAGE_INVALID", ["LiME header at byte 0"], { format: "lime" });
  });

  test.each([
    ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]],
    ["lz4", [4, 0x22, 0x4d, 0x18]],
    ["AVML", [...Buffer.from("AVML")]],
    ["Windows crash dump", [...Buffer.from("PAGEDU64")]],
    ["qcow2", [...Buffer.from("QFI\u00fb", "latin1")]],
    ["savevm", [...Buffer.from("QEVM")]],
  ])("%s is named, and how to go on", (name, magic) => {
    const bytes = new Uint8Array(PAGE);
    bytes.set(magic);
    expectError(bytes, "UNSUPPORTED", [name]);
  });

  test("compressed twice, flattened twice", () => {
    expectError(gzipSync(gzipSync(rawFile(PIECES))), "UNSUPPORTED", ["gzip data inside gzip data"]);
    expectError(flattenedFile(flatWrites(gzipSync(rawFile(PIECES)))), "UNSUPPORTED", [
      "gzip data inside a dump",
    ]);
    expectError(flattenedFile(flatWrites(flattenedFile(flatWrites(elfFile(PIECES))))), "UNSUPPORTED", [
      "flattened",
    ]);
    expectError(flattenedFile(flatWrites(rawFile(PIECES))), "IMAGE_INVALID", ["neither kdump nor ELF"]);
  });
});

describe("compressed bytes", () => {
  const bytes = rawFile(PIECES);

  test("the limit holds for gzip and zstd", () => {
    const maxUnpackedBytes = bytes.length - 1;
    expectError(gzipSync(bytes), "IMAGE_TOO_LARGE", [`${maxUnpackedBytes}`], { maxUnpackedBytes });
    expectError(zstdFrame(bytes), "IMAGE_TOO_LARGE", [`${maxUnpackedBytes}`], { maxUnpackedBytes, zstd });
    const announced = zstdFrame(bytes, { contentSize: true });
    expectError(announced, "IMAGE_TOO_LARGE", [`${maxUnpackedBytes}`], { maxUnpackedBytes, zstd });
    expect(imageOf(gzipSync(bytes), "image", { maxUnpackedBytes: bytes.length }).ranges).toHaveLength(1);
  });

  test("cut off", () => {
    const [gzip, packed] = [gzipSync(bytes), zstdFrame(bytes)];
    for (const part of [0.2, 0.5, 0.9]) {
      expectError(gzip.subarray(0, gzip.length * part), "IMAGE_TRUNCATED", ["gzip"]);
      expectError(packed.subarray(0, packed.length * part), "IMAGE_TRUNCATED", ["zstd"], { zstd });
    }
  });

  test("damaged", () => {
    const gzip = gzipSync(bytes);
    gzip[gzip.length - 8]! ^= 1;
    expectError(gzip, "IMAGE_UNREADABLE", ["gzip", "incorrect data check"]);
    const packed = zstdFrame(bytes);
    packed[6]! |= 6;
    expectError(packed, "IMAGE_UNREADABLE", ["zstd"], { zstd });
    expectError(join(zstdFrame(bytes), bytes), "IMAGE_UNREADABLE", ["zstd"], { zstd });
  });

  test("zstd without its decoder, with a dictionary, with too large a window", () => {
    expectError(zstdFrame(bytes), "UNSUPPORTED", ["decoder is not loaded"]);
    const dictionary = join(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 1, 0x38, 5), zstdFrame(bytes).subarray(6));
    expectError(dictionary, "UNSUPPORTED", ["dictionary"], { zstd });
    expectError(zstdFrame(bytes, { windowLog: 28 }), "UNSUPPORTED", ["268435456"], { zstd });
    expectMemory(imageOf(zstdFrame(elfFile(PIECES), { windowLog: 27 }), "image", { zstd }), PIECES);
  });

  test("many frames, empty and skippable ones among them, members of gzip", () => {
    const skippable = Uint8Array.of(0x53, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9);
    const empty = zstdFrame(new Uint8Array(0));
    const frames = Array.from({ length: 40 }, (_, index) =>
      join(skippable, empty, skippable, zstdFrame(bytes.subarray(index * 1000, (index + 1) * 1000))),
    );
    const rest = zstdFrame(bytes.subarray(40_000));
    const file = join(...frames, ...Array.from({ length: 3000 }, () => skippable), rest, empty);
    const image = imageOf(file, "image", { zstd });
    expect(Buffer.compare(read(image, 0, bytes.length + 1), bytes)).toBe(0);
    const members = join(gzipSync(bytes.subarray(0, 100)), gzipSync(bytes.subarray(100)));
    expect(Buffer.compare(read(imageOf(members), 0, bytes.length + 1), bytes)).toBe(0);
  });
});

describe("LiME", () => {
  test("a range that goes past the end is marked, a cut header said", () => {
    const file = limeFile(PIECES);
    const cut = imageOf(file.subarray(0, file.length - 5000));
    const end = Number(HIGH.start) + HIGH.bytes.length;
    expect(whys(cut)).toEqual([
      [end - 5000, end, expect.stringContaining(`cut off after ${file.length - 5000}`)],
    ]);
    expect(read(cut, HIGH.start, 10 * PAGE)).toEqual(HIGH.bytes.slice(0, -5000));
    const header = imageOf(file.subarray(0, 32 + LOW.bytes.length + 7));
    expect(header.remarks).toEqual([expect.stringContaining(`header at byte ${32 + LOW.bytes.length}`)]);
    expectError(file.subarray(0, 20), "IMAGE_TRUNCATED", ["20 bytes"]);
  });

  test("a header that is none, an end before the start, another version", () => {
    const second = 32 + LOW.bytes.length;
    expectError(patch(limeFile(PIECES), { at: second, bytes: 4, value: 0 }), "IMAGE_INVALID", [
      `byte ${second}`,
    ]);
    expectError(patch(limeFile(PIECES), { at: 8, bytes: 8, value: 1 << 30 }), "IMAGE_INVALID", [
      "ends before",
    ]);
    expectError(patch(limeFile(PIECES), { at: 4, bytes: 4, value: 2 }), "UNSUPPORTED", ["version 2"]);
  });

  test("addresses beyond 2^52, and a range of all 2^64 bytes", () => {
    const end = 2n ** 52n;
    const image = imageOf(limeFile([{ start: end - 4096n, bytes: piece(0, 2).bytes }]));
    expect(image.ranges).toEqual([{ start: end - 4096n, end }]);
    expect(image.gaps).toMatchObject([{ start: end, end: end + 4096n }]);
    expect(image.readPage(2 ** 40 - 1, new Uint8Array(PAGE))).toBe(true);
    const whole = patch(limeFile([LOW]), { at: 16, bytes: 8, value: 2n ** 64n - 1n });
    expect(imageOf(whole).ranges).toEqual([{ start: 0n, end: BigInt(LOW.bytes.length) }]);
  });
});

describe("ELF", () => {
  const load = (index: number) => 64 + 56 * index;

  test("CPU notes, VMCOREINFO; NT_PRSTATUS and other notes are passed over", () => {
    const notes = join(
      note("CORE", 1, new Uint8Array(336)),
      cpuNote({ cr2: 0x1000n, cr3: 0x55ce000n, cr4: 0x750eb0n }),
      note("LINUX", 2, new Uint8Array(3)),
      cpuNote({ cr3: 0x1234000n }, 432),
      vmcoreinfoNote("OSRELEASE=6.1.0\nSYMBOL(swapper_pg_dir)=ffffffff82a10000\nno value\nCRASHTIME=a=b\n"),
    );
    const image = imageOf(elfFile(PIECES, notes));
    expectMemory(image, PIECES);
    expect(image.cpus).toHaveLength(2);
    const [first, second] = image.cpus;
    expect(first).toMatchObject({
      index: 0,
      cr0: 0x80050033n,
      cr2: 0x1000n,
      cr3: 0x55ce000n,
      cr4: 0x750eb0n,
    });
    expect(first!.kernelGsBase).toBe(0xffff_8880_0000_0000n);
    expect(second).toMatchObject({ index: 1, cr3: 0x1234000n, kernelGsBase: null });
    expect(Object.keys(first!.registers)).toHaveLength(18);
    expect(first!.registers).toMatchObject({
      rax: 1n,
      rbx: 2n,
      rcx: 3n,
      rdx: 4n,
      rsi: 5n,
      rdi: 6n,
      rsp: 7n,
      rbp: 8n,
    });
    expect(first!.registers).toMatchObject({ r8: 9n, r15: 16n, rip: 17n, rflags: 18n });
    expect(first!.segments.cs).toEqual({
      selector: 0,
      limit: 0xffff,
      flags: 0xaf9b00,
      base: 0xffff_8000_0000_0000n,
    });
    expect(first!.segments.idt).toMatchObject({ selector: 144, base: 0xffff_8000_0000_0009n });
    expect([...image.vmcoreinfo!]).toEqual([
      ["OSRELEASE", "6.1.0"],
      ["SYMBOL(swapper_pg_dir)", "ffffffff82a10000"],
      ["CRASHTIME", "a=b"],
    ]);
    expect(image.remarks).toEqual([]);
  });

  test("notes that are none of QEMU's, or damaged, are said and not used", () => {
    const unknown = patch(cpuNote({}), { at: 20, bytes: 4, value: 2 });
    const image = imageOf(elfFile(PIECES, join(unknown, cpuNote({}, 200), cpuNote({ cr3: 7n }))));
    expect(image.cpus).toMatchObject([{ index: 0, cr3: 7n }]);
    expect(image.remarks).toEqual([
      expect.stringContaining("version 2"),
      expect.stringContaining("200 bytes"),
    ]);
    const long = patch(cpuNote({}), { at: 4, bytes: 4, value: 0xffff_fff0 });
    expect(imageOf(elfFile(PIECES, long)).remarks).toEqual([
      expect.stringContaining("past the end of the notes"),
    ]);
  });

  test("pieces that overlap: the lower one is read, the other's part is marked", () => {
    const [a, b] = [piece(0x1000, 4), piece(0x3000, 4, 99)];
    const image = imageOf(elfFile([b, a]));
    expect(image.ranges).toEqual([{ start: 0x1000n, end: 0x7000n }]);
    expect(read(image, 0x1000, 0x6000)).toEqual(join(a.bytes, b.bytes.subarray(0x2000)));
    expect(whys(image)).toEqual([[0x3000, 0x5000, expect.stringContaining("both hold these bytes")]]);
  });

  test("pieces that are the same bytes of the file are no conflict (a dump by virtual address)", () => {
    const file = elfFile([piece(0x1000, 4), piece(0x2000, 1)]);
    const position = new DataView(file.buffer).getBigUint64(load(0) + 8, true);
    patch(file, { at: load(1) + 8, bytes: 8, value: position + 0x1000n });
    expect(imageOf(file)).toMatchObject({ ranges: [{ start: 0x1000n, end: 0x5000n }], gaps: [] });
  });

  test("memory that is declared and not stored is marked, unless another piece holds it", () => {
    const file = elfFile([piece(0x1000, 1), piece(0x4000, 1)]);
    const image = imageOf(patch(file, { at: load(0) + 40, bytes: 8, value: 0x5000 }));
    expect(whys(image)).toEqual([
      [0x2000, 0x4000, expect.stringContaining("declares 20480 bytes and stores 4096")],
      [0x5000, 0x6000, expect.stringContaining("left out of the dump")],
    ]);
    expect(image.readPage(4, new Uint8Array(PAGE))).toBe(true);
  });

  test("cut off anywhere: headers are needed, memory is marked", () => {
    const file = elfFile(PIECES, cpuNote({}));
    const loadsAt = file.length - LOW.bytes.length - HIGH.bytes.length;
    for (const length of [5, 63, 64, 100, 64 + 3 * 56 - 1]) {
      expectError(file.slice(0, length), "IMAGE_TRUNCATED", [`${length} bytes`]);
    }
    const image = imageOf(file.slice(0, loadsAt + PAGE));
    expect(image.ranges).toEqual([{ start: 0n, end: BigInt(PAGE) }]);
    expect(image.gaps).toHaveLength(2);
    expect(imageOf(file.slice(0, loadsAt - 100)).remarks).toEqual([expect.stringContaining("past the end")]);
  });

  test("absurd program headers are marked: addresses, lengths, positions", () => {
    for (const value of [2n ** 52n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n]) {
      const start = imageOf(patch(elfFile(PIECES), { at: load(1) + 24, bytes: 8, value }));
      expect(start.ranges).toEqual([{ start: 0n, end: BigInt(LOW.bytes.length) }]);
      expect(start.gaps).toMatchObject([{ why: expect.stringContaining("no physical address beyond 2^52") }]);
      const length = imageOf(patch(elfFile([LOW]), { at: load(0) + 32, bytes: 8, value }));
      expect(read(length, 0, 4 * PAGE)).toEqual(LOW.bytes);
      const position = imageOf(patch(elfFile(PIECES), { at: load(1) + 8, bytes: 8, value }));
      expect(position.gaps).toMatchObject([{ start: 0x10_0000n, end: 0x10_5000n }]);
    }
  });

  test("the count of program headers: none, more than fit, in section header 0", () => {
    const count = { at: 56, bytes: 2 } as const;
    expectError(patch(elfFile(PIECES), { ...count, value: 0 }), "IMAGE_INVALID", ["no program headers"]);
    expectError(patch(elfFile(PIECES), { ...count, value: 60_000 }), "IMAGE_TRUNCATED", [
      "60000 program headers",
    ]);
    const extended = patch(elfFile(PIECES), { ...count, value: 0xffff });
    expectError(extended, "IMAGE_TRUNCATED", ["section header 0"]);
    patch(extended, { at: 40, bytes: 8, value: extended.length });
    const section = (value: number) => patch(new Uint8Array(64), { at: 44, bytes: 4, value });
    expectMemory(imageOf(join(extended, section(2))), PIECES);
    expectError(join(extended, section(0xffff_ffff)), "IMAGE_INVALID", [
      "4294967295 program headers",
      "limit",
    ]);
  });

  test("no core, no memory, other machines and classes, cores of processes", () => {
    expectError(patch(elfFile(PIECES), { at: 16, bytes: 2, value: 2 }), "IMAGE_INVALID", ["e_type is 2"]);
    expectError(patch(elfFile(PIECES), { at: 18, bytes: 2, value: 183 }), "UNSUPPORTED", ["AArch64"]);
    expectError(patch(elfFile(PIECES), { at: 18, bytes: 2, value: 999 }), "UNSUPPORTED", [
      "e_machine is 999",
    ]);
    expectError(patch(elfFile(PIECES), { at: 4, bytes: 1, value: 1 }), "UNSUPPORTED", ["32-bit"]);
    expectError(patch(elfFile(PIECES), { at: 4, bytes: 1, value: 9 }), "IMAGE_INVALID", ["EI_CLASS is 9"]);
    expectError(patch(elfFile(PIECES), { at: 5, bytes: 1, value: 2 }), "UNSUPPORTED", ["big-endian"]);
    expectError(patch(elfFile(PIECES), { at: 54, bytes: 2, value: 32 }), "IMAGE_INVALID", [
      "e_phentsize is 32",
    ]);
    expectError(elfFile([], cpuNote({})), "IMAGE_INVALID", ["no PT_LOAD"]);
    // QEMU writes EM_386 for a guest outside long mode, in the 64-bit layout.
    expectMemory(imageOf(patch(elfFile(PIECES), { at: 18, bytes: 2, value: 3 })), PIECES);
    const process = elfFile([piece(0, 1), { start: 0, bytes: piece(0, 1).bytes }]);
    expectError(patch(process, { at: load(1) + 16, bytes: 8, value: 0x7fff_0000 }), "IMAGE_INVALID", [
      "of a process",
    ]);
  });
});
