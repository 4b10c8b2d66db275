// Images in files: the committed dumps of QEMU, large files, and what compressed ones leave on the disk.

import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readdirSync,
  writeSync,
} from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { type GuestMmuErrorCode, GuestMmuError } from "../../src/errors.js";
import { imageOf, loadZstd } from "../../src/images/bytes.js";
import { type OpenImageOptions, type PhysicalImage, openImage } from "../../src/images/open.js";
import {
  PAGE,
  elfFile,
  flatWrites,
  flattenedFile,
  join,
  kdumpFile,
  piece,
  rawFile,
} from "../image-writer.js";
import { zstdFrame } from "../zstd-frames.js";

/** Set to make the file system full after so many bytes. */
const disk = vi.hoisted(() => ({ room: Infinity }));

vi.mock("node:fs", async (original) => {
  const fs = await original<typeof import("node:fs")>();
  const { write } = fs;
  const limited = (...args: Parameters<typeof write>): void => {
    disk.room -= (args[1] as unknown as Uint8Array).length;
    if (disk.room >= 0) return write(...args);
    const done = args.at(-1) as unknown as (error: Error) => void;
    done(Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" }));
  };
  // Node's own promisified form names the results; keep it for what passes through.
  const { promisify } = await import("node:util");
  Object.defineProperty(limited, promisify.custom, {
    value: (...args: unknown[]) =>
      new Promise((resolve, reject) => {
        const done = (error: Error | null, bytesWritten: number) =>
          error === null ? resolve({ bytesWritten }) : reject(error);
        limited(...([...args, done] as unknown as Parameters<typeof write>));
      }),
  });
  return { ...fs, write: limited };
});

const SAMPLES = new URL("../data/images/", import.meta.url).pathname;
const ROOT = new URL("../../", import.meta.url).pathname;
const CORPUS = `${process.env["GUESTMMU_CORPUS"] ?? `${ROOT}../shared`}/images`;

const PIECES = [piece(0, 3), piece(0x10_0000, 5)];

let directory: string;
/** Where compressed images are unpacked. */
let temporaryDirectory: string;

beforeAll(async () => {
  directory = await mkdtemp(joinPath(tmpdir(), "guestmmu-images-"));
  temporaryDirectory = await mkdtemp(joinPath(tmpdir(), "guestmmu-unpacked-"));
});

afterAll(async () => {
  await rm(directory, { recursive: true });
  await rm(temporaryDirectory, { recursive: true });
});

afterEach(() => {
  disk.room = Infinity;
  // Whatever happened, no name is left.
  expect(readdirSync(temporaryDirectory)).toEqual([]);
});

async function fileOf(bytes: Uint8Array, name = "image"): Promise<string> {
  const path = joinPath(directory, name);
  await writeFile(path, bytes);
  return path;
}

function read(image: PhysicalImage, pa: bigint, length: number): Uint8Array {
  const target = new Uint8Array(length);
  return target.subarray(0, image.read(pa, target));
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

async function expectError(
  path: string,
  code: GuestMmuErrorCode,
  parts: readonly string[],
  options: OpenImageOptions = {},
): Promise<void> {
  const error: unknown = await openImage(path, { temporaryDirectory, ...options }).catch((thrown) => thrown);
  expect(error).toBeInstanceOf(GuestMmuError);
  const { code: found, message, hint } = error as GuestMmuError;
  expect(found, message).toBe(code);
  for (const part of parts) expect(message).toContain(part);
  expect(hint).not.toBe("");
}

describe("dumps of one small guest in every format", () => {
  interface Truth {
    readonly ram_sha256: string;
    readonly elf_segments: readonly (readonly [string, string])[];
    readonly pages: Readonly<Record<string, string>>;
  }
  const truth = JSON.parse(readFileSync(`${SAMPLES}formats/truth.json`, "utf8")) as Truth;
  const ram = { start: 0n, end: 0x80_0000n };
  const rom = { start: 0xfffc_0000n, end: 0x1_0000_0000n };

  test.each([
    ["vmcore.elf.zst", "elf", [ram, rom], 2],
    ["vmcore.kdump-zlib.zst", "kdump", [ram, rom], 2],
    ["ram.raw.zst", "raw", [ram], 0],
    ["ram.lime.zst", "lime", [ram, rom], 0],
  ])("%s", async (name, format, ranges, cpus) => {
    const path = `${SAMPLES}formats/${name}`;
    const inMemory = imageOf(readFileSync(path), path, { zstd: await loadZstd() });
    for (const image of [await openImage(path, { temporaryDirectory }), inMemory]) {
      expect(image).toMatchObject({ name: path, format, compression: "zstd", ranges, gaps: [], remarks: [] });
      expect(image.cpus).toHaveLength(cpus);
      expect(sha256(read(image, 0n, 0x80_0000))).toBe(truth.ram_sha256);
      const page = new Uint8Array(PAGE);
      for (const [address, sum] of Object.entries(truth.pages)) {
        expect(image.readPage(Number(address) / PAGE, page)).toBe(true);
        expect(sha256(page).slice(0, 16)).toBe(sum);
      }
      image.close();
    }
  });

  test("part.elf.zst holds the first MByte, and the same CPUs", async () => {
    const part = await openImage(`${SAMPLES}formats/part.elf.zst`, { temporaryDirectory });
    const whole = await openImage(`${SAMPLES}formats/vmcore.elf.zst`, { temporaryDirectory });
    expect(part.ranges).toEqual([{ start: 0n, end: 0x10_0000n }]);
    expect(Buffer.compare(read(part, 0n, 0x10_0000), read(whole, 0n, 0x10_0000))).toBe(0);
    expect(part.cpus).toEqual(whole.cpus);
    part.close();
    whole.close();
  });

  test("the CPU notes are what QEMU's `info registers` says", async () => {
    const image = await openImage(`${SAMPLES}formats/vmcore.elf.zst`, { temporaryDirectory });
    const blocks = readFileSync(`${SAMPLES}formats/registers.txt`, "latin1")
      .split(/CPU#\d/)
      .slice(1);
    expect(blocks).toHaveLength(image.cpus.length);
    for (const [index, block] of blocks.entries()) expectRegisters(image, index, block);
    image.close();
  });
});

/** Compares a CPU note with the text of `info registers`: what both name, in hexadecimal. */
function expectRegisters(image: PhysicalImage, index: number, text: string): void {
  const cpu = image.cpus[index]!;
  const value = (name: string) => {
    const found = new RegExp(`\\b${name} ?= *([0-9a-f]+)`).exec(text);
    return found === null ? null : BigInt(`0x${found[1]}`);
  };
  for (const control of ["cr0", "cr2", "cr3", "cr4"] as const)
    expect(value(control.toUpperCase())).toBe(cpu[control]);
  let compared = 0;
  for (const [register, content] of Object.entries(cpu.registers)) {
    const long = value(register === "rflags" ? "RFL" : register.toUpperCase());
    const short = register === "rflags" ? value("EFL") : value(`E${register.slice(1).toUpperCase()}`);
    const expected = long ?? short;
    if (expected === null) continue;
    expect(content, register).toBe(expected);
    compared++;
  }
  expect(compared).toBeGreaterThanOrEqual(10);
  const segment = (name: string) =>
    new RegExp(`\\b${name} *= *([0-9a-f]{4}) ([0-9a-f]+) ([0-9a-f]{8})`).exec(text);
  for (const name of ["cs", "ds", "es", "ss", "tr"] as const) {
    const [, selector, base, limit] = segment(name.toUpperCase())!;
    const found = cpu.segments[name];
    expect([found.selector, found.base, found.limit]).toEqual([
      parseInt(selector!, 16),
      BigInt(`0x${base}`),
      parseInt(limit!, 16),
    ]);
  }
}

describe("dumps of Linux guests, cut down to their page tables", () => {
  const guests = [
    ["lin-4level", 1],
    ["lin-kpti", 2],
    ["lin-la57", 1],
    ["lin-1g", 1],
    ["nested", 1],
  ] as const;

  test.each(guests)("%s: CPU notes and VMCOREINFO; all of the memory is there", async (guest, cpus) => {
    const image = await openImage(`${SAMPLES}${guest}/vmcore-pt.elf.zst`, { temporaryDirectory });
    expect(image).toMatchObject({ format: "elf", compression: "zstd", gaps: [], remarks: [] });
    expect(image.cpus).toHaveLength(cpus);
    for (let index = 0; index < cpus; index++) {
      const name = guest === "nested" ? "inner" : `cpu${index}`;
      expectRegisters(image, index, readFileSync(`${SAMPLES}${guest}/${name}-registers.txt`, "latin1"));
    }
    expect(image.vmcoreinfo!.get("OSRELEASE")).toMatch(/^6\.1\.0/);
    expect(image.vmcoreinfo!.get("NUMBER(pgtable_l5_enabled)")).toBe(guest === "lin-la57" ? "1" : "0");
    for (const { start, end } of image.ranges) {
      expect(read(image, start, Number(end - start) + 8)).toHaveLength(Number(end - start));
    }
    image.close();
  });

  test.runIf(existsSync(`${CORPUS}/lin-4level/vmcore.elf.zst`))(
    "a whole guest, in a window of 112 MBytes",
    async () => {
      const folder = `${CORPUS}/lin-4level`;
      const sums = readFileSync(`${folder}/SHA256SUMS`, "latin1");
      const image = await openImage(`${folder}/vmcore.elf.zst`, { temporaryDirectory });
      const { start, end } = image.ranges[0]!;
      expect(sums).toContain(`${sha256(read(image, start, Number(end - start)))}  ram.raw`);
      image.close();
    },
  );
});

describe("large files", () => {
  test("64 GiB of raw memory, sparse, are read anywhere", async () => {
    const path = joinPath(directory, "large");
    const size = 64 * 2 ** 30;
    const descriptor = openSync(path, "w");
    ftruncateSync(descriptor, size);
    const marks = [0, 2 ** 31 - 3, 2 ** 32 - 3, 63 * 2 ** 30 + 5, size - 6];
    for (const at of marks) writeSync(descriptor, Buffer.from("marked"), 0, 6, at);
    closeSync(descriptor);
    const before = process.memoryUsage();
    const image = await openImage(path);
    expect(image).toMatchObject({ format: "raw", ranges: [{ start: 0n, end: BigInt(size) }], gaps: [] });
    for (const at of marks) expect(Buffer.from(read(image, BigInt(at), 6)).toString()).toBe("marked");
    expect(read(image, BigInt(size) - 6n, 100)).toHaveLength(6);
    const page = new Uint8Array(PAGE);
    expect(image.readPage(2 ** 24 - 1, page)).toBe(true);
    expect(Buffer.from(page.subarray(-6)).toString()).toBe("marked");
    expect(image.readPage(2 ** 24, page)).toBe(false);
    const after = process.memoryUsage();
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(2 ** 20);
    image.close();
    await rm(path);
  });

  test("64 GiB of sparse memory in an ELF core, beyond 4 GiB too", async () => {
    const path = joinPath(directory, "large.elf");
    const header = elfFile([{ start: 2 ** 32, bytes: new Uint8Array(0) }]);
    const view = new DataView(header.buffer);
    for (const at of [32, 40]) view.setBigUint64(64 + at, 64n << 30n, true);
    const descriptor = openSync(path, "w");
    writeSync(descriptor, header);
    ftruncateSync(descriptor, header.length + 64 * 2 ** 30);
    writeSync(descriptor, Buffer.from("last"), 0, 4, header.length + 64 * 2 ** 30 - 4);
    closeSync(descriptor);
    const image = await openImage(path);
    expect(image.ranges).toEqual([{ start: 1n << 32n, end: 68n << 30n }]);
    expect(Buffer.from(read(image, (68n << 30n) - 4n, 8)).toString()).toBe("last");
    image.close();
    await rm(path);
  });
});

describe("compressed files", () => {
  const files = {
    raw: rawFile(PIECES),
    elf: elfFile(PIECES),
    kdump: kdumpFile(PIECES),
    flattened: flattenedFile(flatWrites(kdumpFile(PIECES))),
  };

  test.each(Object.entries(files))("%s, gzip and zstd, as it is and unpacked", async (_, bytes) => {
    const open = async (packed: Uint8Array, name: string) =>
      openImage(await fileOf(packed, name), { temporaryDirectory });
    const images = [
      await open(bytes, "image"),
      await open(gzipSync(bytes), "image.gz"),
      await open(zstdFrame(bytes), "image.zst"),
    ];
    expect(images.map(({ compression }) => compression)).toEqual(["none", "gzip", "zstd"]);
    for (const image of images) {
      expect(image.ranges).toEqual(images[0]!.ranges);
      for (const { start, bytes: content } of PIECES) {
        expect(Buffer.compare(read(image, BigInt(start), content.length), content)).toBe(0);
      }
      expect(readdirSync(temporaryDirectory)).toEqual([]);
      image.close();
      image.close();
    }
  });

  test("zeros of any length and place are unpacked as they were", async () => {
    const parts = [1, 4095, 4096, 4097, 100_000, 300_001, 8192].flatMap((length, index) => [
      new Uint8Array(length).fill(index + 1),
      new Uint8Array(length),
    ]);
    const bytes = join(...parts, new Uint8Array(1_000_000));
    for (const packed of [gzipSync(bytes), zstdFrame(bytes)]) {
      const image = await openImage(await fileOf(packed), { temporaryDirectory });
      expect(Buffer.compare(read(image, 0n, bytes.length + 1), bytes)).toBe(0);
      image.close();
    }
  });

  test("the limit", async () => {
    const maxUnpackedBytes = files.raw.length - 1;
    const parts = [`limit of ${maxUnpackedBytes} bytes`];
    await expectError(await fileOf(gzipSync(files.raw)), "IMAGE_TOO_LARGE", parts, { maxUnpackedBytes });
    await expectError(await fileOf(zstdFrame(files.raw)), "IMAGE_TOO_LARGE", parts, { maxUnpackedBytes });
    const announced = zstdFrame(files.raw, { contentSize: true });
    await expectError(await fileOf(announced), "IMAGE_TOO_LARGE", parts, { maxUnpackedBytes });
    const options = { maxUnpackedBytes: files.raw.length, temporaryDirectory };
    (await openImage(await fileOf(gzipSync(files.raw)), options)).close();
  });

  test("a full disk, a directory that there is not, a signal", async () => {
    const path = await fileOf(gzipSync(files.raw));
    disk.room = 10_000;
    await expectError(path, "IMAGE_UNREADABLE", [temporaryDirectory, "no more room"]);
    disk.room = Infinity;
    const missing = joinPath(temporaryDirectory, "missing");
    await expectError(path, "IMAGE_UNREADABLE", [missing, "ENOENT"], { temporaryDirectory: missing });
    await expectError(path, "ABORTED", ["stopped"], { signal: AbortSignal.abort() });
  });

  test("cut off and damaged", async () => {
    const gzip = gzipSync(files.raw);
    await expectError(await fileOf(gzip.subarray(0, -9)), "IMAGE_TRUNCATED", ["gzip", "end mark"]);
    await expectError(await fileOf(zstdFrame(files.raw).subarray(0, -1)), "IMAGE_TRUNCATED", [
      "zstd",
      "end mark",
    ]);
    gzip[20]! ^= 0xff;
    await expectError(await fileOf(gzip), "IMAGE_UNREADABLE", ["gzip", "damaged"]);
    const sample = readFileSync(`${SAMPLES}formats/part.elf.zst`);
    for (const at of [20, 5000, 30_000, sample.length - 2]) {
      const damaged = Buffer.from(sample);
      damaged[at]! ^= 0x5a;
      await expectError(await fileOf(damaged), "IMAGE_UNREADABLE", ["zstd", "damaged"]);
    }
    // What was damaged before does not stand in the way of what is sound.
    (await openImage(`${SAMPLES}formats/part.elf.zst`, { temporaryDirectory })).close();
  });

  test("an image that is none, in a compressed file, leaves nothing behind", async () => {
    await expectError(await fileOf(gzipSync(new Uint8Array(0))), "IMAGE_INVALID", ["no bytes"]);
    await expectError(await fileOf(zstdFrame(files.elf.subarray(0, 60))), "IMAGE_TRUNCATED", ["60 bytes"]);
  });
});

describe("paths that are no files", () => {
  test("missing, a directory, a device, a pipe", async () => {
    await expectError(joinPath(directory, "missing"), "IMAGE_UNREADABLE", ["missing: no such file"]);
    await expectError(directory, "IMAGE_UNREADABLE", ["is a directory"]);
    await expectError("/dev/zero", "IMAGE_UNREADABLE", ["no regular file"]);
    const pipe = joinPath(directory, "pipe");
    execFileSync("mkfifo", [pipe]);
    await expectError(pipe, "IMAGE_UNREADABLE", ["no regular file"]);
  }, 20_000);
});
