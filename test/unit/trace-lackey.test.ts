import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout } from "node:timers/promises";
import { gunzipSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GuestMmuError, type GuestMmuErrorCode } from "../../src/errors.js";
import {
  AccessKind,
  TRACE_RECORD_BYTES,
  loadLackey,
  readLackey,
  unpackRecords,
  type ReadLackeyOptions,
  type TraceBatch,
  type TraceRecord,
  type TraceSummary,
} from "../../src/trace/lackey.js";
import { zstdFrame, zstdSkippable } from "../zstd-frames.js";

let folder: string;
let files = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "guestmmu-lackey-"));
});

afterAll(() => rm(folder, { recursive: true }));

async function fileOf(content: string | Uint8Array): Promise<string> {
  const path = join(folder, `trace-${files++}`);
  await writeFile(path, content);
  return path;
}

/** How many files this process has open; 0 where the system does not tell. */
function openFiles(): number {
  return existsSync("/proc/self/fd") ? readdirSync("/proc/self/fd").length : 0;
}

interface Reading {
  readonly batches: TraceBatch[];
  readonly records: TraceRecord[];
  readonly summary: TraceSummary;
}

async function read(path: string, options?: ReadLackeyOptions): Promise<Reading> {
  const reader = readLackey(path, options);
  const batches: TraceBatch[] = [];
  for (;;) {
    const step = await reader.next();
    if (step.done === true) {
      return {
        batches,
        records: batches.flatMap(({ bytes }) => [...unpackRecords(bytes)]),
        summary: step.value,
      };
    }
    batches.push(step.value);
  }
}

async function errorOf(promise: Promise<unknown>): Promise<GuestMmuError> {
  const outcome = await promise.then(
    () => "no error",
    (error: unknown) => error,
  );
  expect(outcome).toBeInstanceOf(GuestMmuError);
  return outcome as GuestMmuError;
}

async function expectError(
  promise: Promise<unknown>,
  code: GuestMmuErrorCode,
  ...parts: string[]
): Promise<void> {
  const error = await errorOf(promise);
  expect(error.code).toBe(code);
  for (const part of parts) expect(error.message).toContain(part);
  expect(error.hint).not.toBe("");
}

const R = AccessKind.Read;
const W = AccessKind.Write;
const F = AccessKind.Fetch;
const M = AccessKind.ReadModifyWrite;

function record(gva: bigint, size: number, kind: AccessKind): TraceRecord {
  return { gva, size, kind };
}

// The oracle: the grammar as one regular expression, addresses as bigints, pieces by trying sizes downwards.
function oracle(text: string): { records: TraceRecord[]; malformedLines: number[]; skipped: number } {
  const records: TraceRecord[] = [];
  const malformedLines: number[] = [];
  let skipped = 0;
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  lines.forEach((line, index) => {
    const match = /^(I {2}| [LSM] )([0-9a-fA-F]{1,16}),(\d{1,4})\r?$/.exec(line);
    if (match !== null) {
      const start = BigInt(`0x${match[2]}`);
      const size = Number(match[3]);
      if (size >= 1 && size <= 4096 && start + BigInt(size) <= 1n << 64n) {
        const kind = { I: F, L: R, S: W, M: M }[match[1]!.trim() as "I" | "L" | "S" | "M"];
        records.push(...pieces(start, size, kind));
        return;
      }
    }
    if (/^\s*$|^(==|--)(\d+ )?\d+\1/.test(line)) skipped++;
    else malformedLines.push(index + 1);
  });
  return { records, malformedLines, skipped };
}

function* pieces(start: bigint, size: number, kind: AccessKind): Generator<TraceRecord> {
  const end = start + BigInt(size);
  for (let gva = start; gva < end;) {
    const pageEnd = (gva / 4096n + 1n) * 4096n;
    const here = Number((pageEnd < end ? pageEnd : end) - gva);
    const piece = kind === F ? here : [8, 4, 2, 1].find((candidate) => candidate <= here)!;
    yield record(gva, piece, kind);
    gva += BigInt(piece);
  }
}

describe("lines and records", () => {
  test("each kind of line becomes its kind of record", async () => {
    const path = await fileOf("I  0401ab70,3\n L 1fff000738,8\n S 0403A5e8,4\n M ff,1\n");
    const { records, summary } = await read(path);
    expect(records).toEqual([
      record(0x401ab70n, 3, F),
      record(0x1fff000738n, 8, R),
      record(0x403a5e8n, 4, W),
      record(0xffn, 1, M),
    ]);
    expect(summary).toEqual({
      path,
      compression: "none",
      lines: { total: 4, fetch: 1, load: 1, store: 1, modify: 1, skipped: 0, malformed: 0 },
      records: { total: 4, read: 1, write: 1, fetch: 1, readModifyWrite: 1 },
      splitLines: 0,
      malformed: [],
      pages: 4,
      complete: true,
    });
  });

  test("a record is u64 gva, u32 size, u32 kind, little-endian, and words show the same memory", async () => {
    const { batches } = await read(await fileOf(" S fedcba9876543210,8\n"));
    const [batch] = batches;
    expect(Buffer.from(batch!.bytes).toString("hex")).toBe("1032547698badcfe" + "08000000" + "01000000");
    expect([...batch!.words]).toEqual([0x76543210, 0xfedcba98, 8, 1]);
    expect(batch!.words.buffer).toBe(batch!.bytes.buffer);
  });

  test.each<[name: string, line: string, expected: TraceRecord[]]>([
    ["size 3", " L 1000,3", [record(0x1000n, 2, R), record(0x1002n, 1, R)]],
    ["size 16", " S 2008,16", [record(0x2008n, 8, W), record(0x2010n, 8, W)]],
    ["an unaligned access inside a page stays whole", " L 1ff5,8", [record(0x1ff5n, 8, R)]],
    ["up to the last byte of a page", " L 1ff8,8", [record(0x1ff8n, 8, R)]],
    ["across a page", " L 1ffc,8", [record(0x1ffcn, 4, R), record(0x2000n, 4, R)]],
    [
      "across a page, unevenly",
      " M 1ffd,8",
      [record(0x1ffdn, 2, M), record(0x1fffn, 1, M), record(0x2000n, 4, M), record(0x2004n, 1, M)],
    ],
    ["a fetch is not split by size", "I  1000,13", [record(0x1000n, 13, F)]],
    ["a fetch is split by page", "I  1ffb,11", [record(0x1ffbn, 5, F), record(0x2000n, 6, F)]],
    [
      "a fetch of a page from its middle",
      "I  1800,4096",
      [record(0x1800n, 2048, F), record(0x2000n, 2048, F)],
    ],
    ["a carry into the high half", " S fffffffe,4", [record(0xfffffffen, 2, W), record(0x100000000n, 2, W)]],
    ["the end of the address space", " L fffffffffffffff8,8", [record(0xfffffffffffffff8n, 8, R)]],
  ])("%s: %s", async (_, line, expected) => {
    const { records, summary } = await read(await fileOf(line));
    expect(records).toEqual(expected);
    expect(summary.splitLines).toBe(expected.length > 1 ? 1 : 0);
    expect(summary.records.total).toBe(expected.length);
    expect(summary.pages).toBe(new Set(expected.map(({ gva }) => gva >> 12n)).size);
  });

  test("pages above 4 GiB are told apart from those below", async () => {
    const addresses = ["80000000", "100000000", "180000000", "8000000000000000", "ffffffff80000000", "0"];
    const { summary } = await read(await fileOf(addresses.map((address) => ` L ${address},8\n`).join("")));
    expect(summary.pages).toBe(addresses.length);
  });

  test("every size at every place around a page border is covered exactly, in legal pieces", async () => {
    const sizes = [...Array.from({ length: 33 }, (_, index) => index + 1), 63, 511, 4095, 4096];
    const lines: string[] = [];
    for (const kind of ["I  ", " L ", " S ", " M "]) {
      for (const size of sizes) {
        for (let at = 0x1fe0; at <= 0x2000; at++) lines.push(`${kind}${at.toString(16)},${size}`);
      }
    }
    const { records } = await read(await fileOf(lines.join("\n")));
    expect(records).toEqual(oracle(lines.join("\n")).records);
    const illegal = records.filter(
      ({ gva, size, kind }) =>
        (gva & 4095n) + BigInt(size) > 4096n || (kind !== F && ![1, 2, 4, 8].includes(size)),
    );
    expect(illegal).toEqual([]);
  });

  test("passes over blank lines and valgrind's own, takes CR LF and a missing last line end", async () => {
    const text = [
      "==4956== Lackey, an example Valgrind tool",
      "--4956-- Reading syms from /bin/ls",
      "==00:00:00:00.283 4971== Exit code:       0",
      "--00:00:00:00.000 4971-- ",
      "**4956** said by the program",
      "",
      " \t",
      `==4956== ${"long ".repeat(100)}`,
      "I  1000,1\r",
      " L 2000,1",
    ].join("\n");
    const { records, summary } = await read(await fileOf(text));
    expect(records).toEqual([record(0x1000n, 1, F), record(0x2000n, 1, R)]);
    expect(summary.lines).toMatchObject({ total: 10, skipped: 8, malformed: 0 });
  });
});

describe("malformed lines", () => {
  test.each<[line: string, expected: string]>([
    ["i  1000,4", 'expected "I  "'],
    ["I 1000,4", 'expected "I  "'],
    ["I", 'expected "I  "'],
    [" X 1000,4", 'expected "I  "'],
    ["L 1000,4", 'expected "I  "'],
    ["=4956= x", 'expected "I  "'],
    ["I  ,4", "expected a hexadecimal address"],
    ["I  10x0,4", "expected a hexadecimal address"],
    ["I  1000", "expected a hexadecimal address"],
    ["I  0x1000,4", "expected a hexadecimal address"],
    ["I  10000000000000000,4", "expected a hexadecimal address"],
    ["I  1000,", "expected a decimal size"],
    ["I  1000,0", "expected a decimal size"],
    ["I  1000,4097", "expected a decimal size"],
    ["I  1000,99999999999", "expected a decimal size"],
    ["I  1000,00004", "expected a decimal size"],
    ["I  1000,-1", "expected a decimal size"],
    ["I  1000,4 ", "expected the end of the line"],
    ["I  1000,4,4", "expected the end of the line"],
    ["I  1000,4\r\r", "expected the end of the line"],
    [" L ffffffffffffffff,2", "expected an access that ends within"],
  ])("%j: %s ...", async (line, expected) => {
    const path = await fileOf(`I  1000,1\n${line}\nI  2000,1\n`);
    await expectError(
      read(path),
      "TRACE_MALFORMED",
      `${path}:2: ${expected}`,
      `found "${line.trimEnd().slice(0, 9)}`,
    );
    const { records, summary } = await read(path, { onMalformed: "collect" });
    expect(records).toEqual([record(0x1000n, 1, F), record(0x2000n, 1, F)]);
    expect(summary.malformed).toHaveLength(1);
    expect(summary.malformed[0]!.line).toBe(2);
    expect(summary.malformed[0]!.expected).toContain(expected);
  });

  test("a trace cut in mid-line ends with a malformed line, not a shorter address", async () => {
    await expectError(
      read(await fileOf("I  1000,1\n S 1fff00")),
      "TRACE_MALFORMED",
      ":2: expected a hexadecimal",
    );
  });

  test("all are counted, the first ten kept, and what is kept is safe to print", async () => {
    const bad = [
      `\x1b[2J\u00e9${"x".repeat(80)}`,
      ...Array.from({ length: 14 }, (_, index) => `bad ${index}`),
    ];
    const text = `I  1000,1\n${bad.join("\n")}\n`;
    const { summary } = await read(await fileOf(Buffer.from(text, "latin1")), { onMalformed: "collect" });
    expect(summary.lines.malformed).toBe(15);
    expect(summary.malformed.map(({ line }) => line)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    expect(summary.malformed[0]!.text).toBe(`\\x1b[2J\\xe9${"x".repeat(46)}...`);
    expect(summary.malformed[0]!.text).toHaveLength(60);
    expect(summary.malformed[1]!.text).toBe("bad 0");
  });

  test("a binary file without line ends is one malformed line, and is not kept in memory", async () => {
    const path = await fileOf(Buffer.alloc(3 * 1024 * 1024, 0x55));
    await expectError(read(path), "TRACE_MALFORMED", `${path}:1: `, `"${"U".repeat(57)}..."`);
  });

  test("the line number counts lines of every sort", async () => {
    const path = await fileOf("==1== x\n\nI  1000,1\n L 1ffc,8\nbad\n");
    await expectError(read(path), "TRACE_MALFORMED", `${path}:5: `);
  });
});

describe("files that are no trace", () => {
  test("an empty file", async () => {
    await expectError(read(await fileOf("")), "TRACE_EMPTY", "no access in 0 lines");
  });

  test("only messages of valgrind", async () => {
    await expectError(read(await fileOf("==1== x\n")), "TRACE_EMPTY", "no access in 1 line.");
  });

  test("only malformed lines, collected", async () => {
    const path = await fileOf("hello\nworld\n");
    await expectError(
      read(path, { onMalformed: "collect" }),
      "TRACE_EMPTY",
      "no access in 2 lines",
      'line 1 is "hello"',
    );
  });

  test("no such file, a directory, a file in place of a directory", async () => {
    const missing = join(folder, "missing");
    await expectError(read(missing), "TRACE_UNREADABLE", `${missing}: no such file`);
    await expectError(read(folder), "TRACE_UNREADABLE", "is a directory");
    await expectError(read(join(await fileOf("x"), "y")), "TRACE_UNREADABLE", "ENOTDIR");
  });

  test.skipIf(!existsSync("/proc/self/mem"))("a file that opens but cannot be read", async () => {
    await expectError(read("/proc/self/mem"), "TRACE_UNREADABLE", "EIO");
  });

  test.each([
    ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
    ["bzip2", [0x42, 0x5a, 0x68, 0x39]],
  ])("%s is named, not parsed", async (name, magic) => {
    await expectError(read(await fileOf(Buffer.from(magic))), "UNSUPPORTED", `compressed with ${name}`);
  });

  test("a file that is refused is closed", async () => {
    const xz = await fileOf(Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]));
    const malformed = await fileOf("bad\n");
    const before = openFiles();
    for (const path of [xz, malformed, folder]) await errorOf(read(path));
    expect(openFiles()).toBe(before);
  });
});

describe("compressed files", () => {
  const text = Array.from({ length: 5000 }, (_, index) => ` L ${(index * 4096 + 8).toString(16)},8\n`).join(
    "",
  );

  test("gzip is told by its first bytes, in one member or several", async () => {
    const members = [gzipSync(text.slice(0, 30_001)), gzipSync(text.slice(30_001))];
    for (const content of [gzipSync(text), Buffer.concat(members)]) {
      const { records, summary } = await read(await fileOf(content));
      expect(summary.compression).toBe("gzip");
      expect(records).toEqual(oracle(text).records);
    }
  });

  test("zstd frames, with and without checksum, small ones, skippable ones, one after another", async () => {
    const bytes = Buffer.from(text);
    const content = Buffer.concat([
      zstdSkippable(4),
      zstdFrame([bytes.subarray(0, 3), bytes.subarray(3, 30_001)], { checksum: true }),
      zstdSkippable(5000),
      zstdFrame([bytes.subarray(30_001, 30_002)]),
      zstdFrame([bytes.subarray(30_002, 30_003)], { checksum: true }),
      zstdFrame([Buffer.alloc(0)]),
      zstdFrame([bytes.subarray(30_003)]),
      zstdSkippable(0),
    ]);
    const { records, summary } = await read(await fileOf(content));
    expect(summary.compression).toBe("zstd");
    expect(records).toEqual(oracle(text).records);
  });

  test("zstd blocks of one repeated byte, single segments, a frame of 16 bytes", async () => {
    const magic = [0x28, 0xb5, 0x2f, 0xfd];
    const repeated = Buffer.from([...magic, 0, 0x38, (5 << 3) | 2, 0, 0, 0x0a, (0 << 3) | 1, 0, 0]);
    const line = Buffer.from("I  1,1\n");
    const segment = Buffer.from([...magic, 0x20, line.length, (line.length << 3) | 1, 0, 0, ...line]);
    expect(segment).toHaveLength(16);
    const { summary } = await read(await fileOf(Buffer.concat([repeated, segment, repeated, segment])));
    expect(summary.lines).toMatchObject({ total: 12, skipped: 10, fetch: 2 });
    expect((await read(await fileOf(segment))).records).toEqual([record(1n, 1, F)]);
  });

  test("a compressed file with nothing in it is an empty trace", async () => {
    await expectError(read(await fileOf(gzipSync(""))), "TRACE_EMPTY");
    await expectError(read(await fileOf(zstdFrame([Buffer.alloc(0)]))), "TRACE_EMPTY");
    await expectError(read(await fileOf(zstdSkippable(9))), "TRACE_EMPTY");
  });

  test("gzip that is cut anywhere is truncated, not shorter", async () => {
    const whole = gzipSync(text);
    for (const length of [10, 11, whole.length >> 1, whole.length - 8, whole.length - 1]) {
      await expectError(read(await fileOf(whole.subarray(0, length))), "TRACE_TRUNCATED", "gzip");
    }
  });

  test("zstd that is cut anywhere inside a frame is truncated, not shorter", async () => {
    const line = Buffer.from(" L 1000,8\n");
    const whole = zstdFrame([line, line], { checksum: true });
    for (let length = 4; length < whole.length; length++) {
      await expectError(read(await fileOf(whole.subarray(0, length))), "TRACE_TRUNCATED", "zstd");
    }
    await expectError(read(await fileOf(zstdSkippable(9).subarray(0, 12))), "TRACE_TRUNCATED", "zstd");
    const second = Buffer.concat([whole, whole.subarray(0, 3)]);
    await expectError(read(await fileOf(second)), "TRACE_TRUNCATED", "zstd");
    expect((await read(await fileOf(whole))).records).toHaveLength(2);
  });

  test("damaged gzip data", async () => {
    const content = gzipSync(text);
    content[content.length - 6]! ^= 1; // CRC-32
    await expectError(read(await fileOf(content)), "TRACE_UNREADABLE", "gzip data are damaged");
  });

  test("zstd data that are damaged, or followed by something else", async () => {
    const reservedType = zstdFrame([Buffer.from(" L 1000,8\n")]);
    reservedType[6]! |= 6;
    await expectError(read(await fileOf(reservedType)), "TRACE_UNREADABLE", "zstd data are damaged");
    const trailing = Buffer.concat([zstdFrame([Buffer.from(" L 1000,8\n")]), Buffer.from("and more text")]);
    await expectError(read(await fileOf(trailing)), "TRACE_UNREADABLE", "zstd data are damaged");
  });

  test.each<[name: string, header: number[], message: string]>([
    ["window descriptor", [0x00, 18 << 3], "window of 268435456 bytes"],
    ["window descriptor with a fraction", [0x00, (17 << 3) | 1], "window of 150994944 bytes"],
    ["content size of a single segment", [0xe0, 2, 0, 0, 8, 0, 0, 0, 0], "window of 134217730 bytes"],
    ["content size beyond 32 bits", [0xe0, 1, 0, 0, 0, 1, 0, 0, 0], "window of 4294967297 bytes"],
    ["dictionary", [0x01, 0x38, 7], "dictionary"],
  ])("zstd with too much to ask for: %s", async (_, header, message) => {
    const frame = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, ...header, 1, 0, 0]);
    const padding = zstdSkippable(64);
    await expectError(read(await fileOf(Buffer.concat([frame, padding]))), "UNSUPPORTED", message);
    // Behind another frame it is the decoder that does not go on.
    await expectError(
      read(await fileOf(Buffer.concat([padding, frame, padding]))),
      "TRACE_UNREADABLE",
      "zstd",
    );
  });

  test("windows up to the limit are accepted", async () => {
    const frame = zstdFrame([Buffer.from(" L 1000,8\n")], { windowLog: 27 });
    expect((await read(await fileOf(frame))).records).toEqual([record(0x1000n, 8, R)]);
    const segment = Buffer.concat([
      Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0, 10, 0, 0, 0]), // content size of a single segment
      frame.subarray(6),
    ]);
    expect((await read(await fileOf(segment))).records).toEqual([record(0x1000n, 8, R)]);
  });

  test("a wrong zstd checksum is found, and nothing else is wrong with the file", async () => {
    const sound = zstdFrame([Buffer.from(" L 1000,8\n"), Buffer.from("I  2000,4\n")], { checksum: true });
    expect((await read(await fileOf(sound))).records).toHaveLength(2);
    const changed = Buffer.from(sound);
    changed[sound.indexOf("2000")]! ^= 1; // reads 3000
    await expectError(read(await fileOf(changed)), "TRACE_UNREADABLE", "zstd data are damaged");
  });

  test.skipIf(process.platform === "win32")("a FIFO that delivers its first bytes one by one", async () => {
    const path = join(folder, `fifo-${files++}`);
    execFileSync("mkfifo", [path]);
    const reading = read(path);
    const writer = await open(path, "w");
    const content = gzipSync(text);
    for (const end of [1, 2, 3, content.length]) {
      await writer.write(content.subarray(end < 4 ? end - 1 : 3, end));
      await setTimeout(20);
    }
    await writer.close();
    expect((await reading).records).toEqual(oracle(text).records);
  });

  test("any damage to a zstd file is a typed error or readable, never another exception", async () => {
    const whole = Buffer.concat([
      zstdSkippable(3),
      zstdFrame([Buffer.from(" L 1000,8\n"), Buffer.from("I  2,2\n")], { checksum: true }),
    ]);
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const damaged = Buffer.from(whole);
        damaged[at]! ^= flip;
        const outcome = await read(await fileOf(damaged), { onMalformed: "collect" }).catch(
          (error: unknown) => error,
        );
        if (outcome instanceof Error) expect(outcome).toBeInstanceOf(GuestMmuError);
      }),
      { numRuns: 300 },
    );
  });
});

describe("batches, limits, memory", () => {
  const text = Array.from({ length: 100 }, (_, index) => ` S ${(index * 64).toString(16)},24\n`).join("");
  const expected = oracle(text).records; // three records to a line

  test("every batch but the last is full, wherever that cuts a line", async () => {
    const path = await fileOf(text);
    for (const batch of [1, 2, 7, 299, 300, 301]) {
      const { batches, records } = await read(path, { batch });
      expect(records).toEqual(expected);
      for (const each of batches.slice(0, -1)) expect(each.count).toBe(batch);
      for (const each of batches) expect(each.bytes).toHaveLength(each.count * TRACE_RECORD_BYTES);
      expect(batches).toHaveLength(Math.ceil(300 / batch));
    }
  });

  test("a limit stops exactly there and says that there may be more", async () => {
    const path = await fileOf(text);
    for (const limit of [1, 2, 3, 100, 299, 300]) {
      const { records, summary } = await read(path, { limit, batch: 7 });
      expect(records).toEqual(expected.slice(0, limit));
      expect(summary.records.total).toBe(limit);
      expect(summary.complete).toBe(false);
    }
    expect((await read(path, { limit: 301, batch: 7 })).summary.complete).toBe(true);
  });

  test("what lies beyond the limit is not looked at", async () => {
    const { summary } = await read(await fileOf(" L 1000,8\nnot a line\n"), { limit: 1 });
    expect(summary.lines).toMatchObject({ total: 1, malformed: 0 });
  });

  test("a received batch keeps its records while reading goes on", async () => {
    const reader = readLackey(await fileOf(text), { batch: 4 });
    const first = await reader.next();
    const before = [...unpackRecords((first.value as TraceBatch).bytes)];
    for (let step = await reader.next(); step.done !== true;) step = await reader.next();
    expect([...unpackRecords((first.value as TraceBatch).bytes)]).toEqual(before);
  });

  test("leaving early closes the file, whatever the compression", async () => {
    const long = Buffer.from(text.repeat(2000));
    const blocks = Array.from({ length: Math.ceil(long.length / 65_536) }, (_, index) =>
      long.subarray(index * 65_536, (index + 1) * 65_536),
    );
    for (const content of [long, gzipSync(long), zstdFrame(blocks)]) {
      const path = await fileOf(content);
      const before = openFiles();
      for await (const batch of readLackey(path, { batch: 16 })) {
        expect(batch.count).toBe(16);
        break;
      }
      expect(openFiles()).toBe(before);
    }
  });

  test.each([
    ["batch", 0],
    ["batch", 1.5],
    ["batch", 2 ** 25],
    ["limit", 0],
    ["limit", Number.NaN],
  ])("%s %d is refused", async (name, value) => {
    await expectError(read(await fileOf(text), { [name]: value }), "USAGE", `${name} is ${value}`);
  });

  test("loadLackey joins the batches", async () => {
    const { bytes, summary } = await loadLackey(await fileOf(text));
    expect([...unpackRecords(bytes)]).toEqual(expected);
    expect(summary.records.total).toBe(300);
    const part = await loadLackey(await fileOf(text), { limit: 5 });
    expect(part.bytes).toHaveLength(5 * TRACE_RECORD_BYTES);
    expect(part.summary.complete).toBe(false);
  });
});

describe("against the oracle", () => {
  const hex = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map((address) => address.toString(16));
  const nearBorder = fc
    .tuple(fc.integer({ min: 1, max: 2 ** 30 }), fc.integer({ min: -40, max: 40 }))
    .map(([page, offset]) => (page * 4096 + offset).toString(16).padStart(8, "0"));
  const access = fc
    .tuple(
      fc.constantFrom("I  ", " L ", " S ", " M "),
      fc.oneof(nearBorder, hex),
      fc.integer({ min: 1, max: 80 }),
    )
    .map(([kind, address, size]) => `${kind}${address},${size}`);
  const noise = fc.oneof(
    fc.constantFrom("", "   ", "==77== message", "I  ", " S 12,", " L 12,5000", "I  12,4x"),
    fc.string({ unit: fc.constantFrom(..."I LSM0123456789abcf,=- \r"), maxLength: 40 }),
    fc.string({ unit: fc.constantFrom(..."ab ,"), minLength: 120, maxLength: 140 }),
  );
  const line = fc.oneof({ weight: 6, arbitrary: access }, { weight: 1, arbitrary: noise });
  const trace = fc
    .tuple(fc.array(line, { minLength: 1, maxLength: 60 }), fc.boolean())
    .map(([lines, ended]) => `I  1000,1\n${lines.join("\n")}${ended ? "\n" : ""}`);

  test("any text, cut into any chunks, gives the records of the oracle", async () => {
    await fc.assert(
      fc.asyncProperty(
        trace,
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 1, max: 40 }),
        async (text, steps, batch) => {
          const bytes = Buffer.from(text);
          const blocks: Buffer[] = [];
          for (let at = 0, step = 0; at < bytes.length; at += steps[step++ % steps.length]!) {
            blocks.push(bytes.subarray(at, at + steps[step % steps.length]!));
          }
          const { records, summary } = await read(await fileOf(zstdFrame(blocks)), {
            batch,
            onMalformed: "collect",
          });
          const expected = oracle(text);
          expect(records).toEqual(expected.records);
          expect(summary.malformed.map((each) => each.line)).toEqual(expected.malformedLines.slice(0, 10));
          expect(summary.lines.malformed).toBe(expected.malformedLines.length);
          expect(summary.lines.skipped).toBe(expected.skipped);
          expect(summary.pages).toBe(new Set(records.map(({ gva }) => gva >> 12n)).size);
          // The same text as one chunk is read the same way, down to the sentences about malformed lines.
          const whole = (await read(await fileOf(text), { onMalformed: "collect" })).summary;
          expect(summary).toEqual({ ...whole, path: summary.path, compression: "zstd" });
        },
      ),
      { numRuns: 400 },
    );
  });
});

describe("the shipped excerpt", () => {
  test("has every kind of line and enough pages to be worth a run", async () => {
    const path = resolve(import.meta.dirname, "../../examples/ls.lackey");
    const { summary, bytes } = await loadLackey(path);
    expect(summary.lines).toEqual({
      total: 4001,
      fetch: 2871,
      load: 762,
      store: 364,
      modify: 4,
      skipped: 0,
      malformed: 0,
    });
    expect(summary.pages).toBe(85);
    expect([...unpackRecords(bytes)]).toEqual(oracle(await readFile(path, "latin1")).records);
  });
});

const corpus = resolve(
  import.meta.dirname,
  "../..",
  process.env.GUESTMMU_CORPUS ?? "../shared",
  "images/lackey",
);
const hasCorpus = existsSync(join(corpus, "index.jsonl"));

interface CorpusRow {
  readonly program: string;
  readonly lines_kept: number;
  readonly I: number;
  readonly L: number;
  readonly S: number;
  readonly M: number;
  readonly pages: number;
}

describe.skipIf(!hasCorpus)(
  `recordings in ${corpus}${hasCorpus ? "" : " (absent; set GUESTMMU_CORPUS)"}`,
  () => {
    test.each(["ls", "gzip", "sqlite3", "perl"])("%s has the counts of the index", async (program) => {
      const index = (await readFile(join(corpus, "index.jsonl"), "utf8")).trim().split("\n");
      const row = index
        .map((line) => JSON.parse(line) as CorpusRow)
        .find((each) => each.program === program)!;
      const { summary, bytes } = await loadLackey(join(corpus, `${program}.lackey.zst`));
      expect(summary.compression).toBe("zstd");
      expect(summary.lines).toEqual({
        total: row.lines_kept,
        fetch: row.I,
        load: row.L,
        store: row.S,
        modify: row.M,
        skipped: 0,
        malformed: 0,
      });
      expect(summary.pages).toBe(row.pages);
      expect(summary.complete).toBe(true);
      expect(bytes).toHaveLength(summary.records.total * TRACE_RECORD_BYTES);
    });

    test("records of a recording are those of the oracle, plain and compressed", async () => {
      const { decompress } = await import("fzstd");
      const text = Buffer.from(decompress(await readFile(join(corpus, "sqlite3.lackey.zst")))).toString(
        "latin1",
      );
      const part = text.split("\n").slice(499_000, 501_000).join("\n");
      const packed = gzipSync(part);
      expect(gunzipSync(packed).toString("latin1")).toBe(part);
      const expected = oracle(part).records;
      expect((await read(await fileOf(part))).records).toEqual(expected);
      expect((await read(await fileOf(packed))).records).toEqual(expected);
    });
  },
);
