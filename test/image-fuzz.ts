// Malformed images for test/property/images-fuzz.test.ts: small images of every format of which fields, bytes and lengths
// are changed, and headers made up from the start. And what has to hold whatever comes of them.

import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { GuestMmuError } from "../src/errors.js";
import type { PhysicalImage } from "../src/images/types.js";
import {
  type Field,
  type Piece,
  PAGE,
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
} from "./image-writer.js";
import { zstdFrame } from "./zstd-frames.js";

/** A sound image, and where its fields are. */
interface Base {
  readonly bytes: Uint8Array;
  readonly fields: readonly Omit<Field, "value">[];
}

const PIECES = [piece(0, 2), piece(0x10_0000, 3)];
const NOTES = join(
  note("CORE", 1, new Uint8Array(336)),
  cpuNote({ cr3: 0x1000n }),
  vmcoreinfoNote("OSRELEASE=6.1\n"),
);

/** Fields of `widths` bytes, one after the other from `at` on. */
function fieldsFrom(
  at: number,
  widths: readonly (1 | 2 | 4 | 8)[],
  bigEndian = false,
): Omit<Field, "value">[] {
  let next = at;
  return widths.map((bytes) => {
    next += bytes;
    return { at: next - bytes, bytes, bigEndian };
  });
}

const ELF_HEADER = fieldsFrom(0, [4, 1, 1, 1, 1, 8, 2, 2, 4, 8, 8, 8, 4, 2, 2, 2, 2, 2, 2]);
const programHeader = (index: number) => fieldsFrom(64 + 56 * index, [4, 4, 8, 8, 8, 8, 8, 8]);
const NOTE_HEADERS = [0, 356, 356 + 460].flatMap((at) => fieldsFrom(64 + 3 * 56 + at, [4, 4, 4, 8, 4, 4]));
const KDUMP_HEADER = [
  ...fieldsFrom(0, [8, 4]),
  ...fieldsFrom(424, [4, 4, 4, 4, 4, 4, 4, 4]),
  ...fieldsFrom(PAGE, [8, 4, 4, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8]),
  ...fieldsFrom(2 * PAGE, [8, 8, 8]),
  ...fieldsFrom(3 * PAGE, [8, 8, 8]),
];
const DESCRIPTORS = [0, 1, 2, 3, 4].flatMap((rank) => fieldsFrom(4 * PAGE + 24 * rank, [8, 4, 4, 8]));

function flattened(base: Base): Base {
  const writes = flatWrites(base.bytes, PAGE);
  let at = PAGE;
  const headers = writes.flatMap(({ bytes }) => {
    const fields = fieldsFrom(at, [8, 8], true);
    at += 16 + bytes.length;
    return fields;
  });
  const fields = [...fieldsFrom(0, [8, 8]), ...fieldsFrom(16, [8, 8], true), ...headers];
  return { bytes: flattenedFile(writes), fields: [...fields, ...fieldsFrom(at, [8, 8], true)] };
}

const elf: Base = {
  bytes: elfFile(PIECES, NOTES),
  fields: [...ELF_HEADER, ...[0, 1, 2].flatMap(programHeader), ...NOTE_HEADERS],
};
const lime: Base = {
  bytes: limeFile(PIECES),
  fields: [0, 32 + 2 * PAGE].flatMap((at) => fieldsFrom(at, [4, 4, 8, 8, 8])),
};
const kdump: Base = {
  bytes: kdumpFile(PIECES, { notes: NOTES, vmcoreinfo: "A=1\n", excluded: [7, 9] }),
  fields: [...KDUMP_HEADER, ...DESCRIPTORS],
};
const kdumpZstd: Base = {
  bytes: kdumpFile([{ start: 0, bytes: new Uint8Array(5 * PAGE) }], {
    store: () => ({ bytes: Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0x10, 0x03, 0x80, 0, 0), flags: 0x20 }),
    status: 0x20,
  }),
  fields: [...KDUMP_HEADER, ...DESCRIPTORS],
};
const raw: Base = { bytes: rawFile([PIECES[0]!]), fields: fieldsFrom(0, [4, 4, 8, 8]) };

const BASES: readonly Base[] = [elf, lime, kdump, kdumpZstd, raw, flattened(kdump), flattened(elf)];

/** Where comparisons and conversions break. */
const EDGES: readonly bigint[] = [
  0n,
  1n,
  2n,
  0x7fn,
  0xffffn,
  0x1000n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  1n << 32n,
  1n << 34n,
  1n << 40n,
  (1n << 52n) - 0x1000n,
  1n << 52n,
  (1n << 53n) - 1n,
  (1n << 53n) + 1n,
  1n << 63n,
  -0x1000n,
  -2n,
  -1n,
];

/** A change of a file. Places are fractions, so that they fit whatever the changes before have left. */
type Change =
  | { readonly kind: "field"; readonly which: number; readonly value: bigint }
  | { readonly kind: "nudge"; readonly which: number; readonly by: bigint }
  | { readonly kind: "byte"; readonly where: number; readonly value: number }
  | { readonly kind: "cut"; readonly where: number }
  | { readonly kind: "copy"; readonly from: number; readonly to: number; readonly length: number }
  | { readonly kind: "delete"; readonly where: number; readonly length: number }
  | { readonly kind: "append"; readonly length: number; readonly value: number };

const fraction = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
const length = fc.oneof(fc.nat(64), fc.nat(3 * PAGE));
const value = fc.oneof(fc.constantFrom(...EDGES), fc.bigInt({ min: 0n, max: 0x40_0000n }));
const change: fc.Arbitrary<Change> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("field" as const), which: fc.nat(), value }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("nudge" as const),
      which: fc.nat(),
      by: fc.bigInt({ min: -5000n, max: 5000n }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("byte" as const), where: fraction, value: fc.nat(255) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("cut" as const), where: fraction }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("copy" as const), from: fraction, to: fraction, length }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("delete" as const), where: fraction, length }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("append" as const), length, value: fc.nat(255) }),
  },
);

function changed(base: Base, changes: readonly Change[]): Uint8Array {
  let bytes: Uint8Array = base.bytes.slice();
  const fieldOf = (which: number) => base.fields[which % base.fields.length]!;
  const at = (where: number) => Math.floor(where * bytes.length);
  for (const step of changes) {
    switch (step.kind) {
      case "field":
        patch(bytes, { ...fieldOf(step.which), value: step.value });
        break;
      case "nudge": {
        const field = fieldOf(step.which);
        if (field.at + field.bytes <= bytes.length)
          patch(bytes, { ...field, value: valueOf(bytes, field) + step.by });
        break;
      }
      case "byte":
        if (bytes.length > 0) bytes[at(step.where)] = step.value;
        break;
      case "cut":
        bytes = bytes.slice(0, at(step.where));
        break;
      case "copy": {
        const from = at(step.from);
        bytes.copyWithin(at(step.to), from, from + step.length);
        break;
      }
      case "delete":
        bytes = join(bytes.subarray(0, at(step.where)), bytes.subarray(at(step.where) + step.length));
        break;
      case "append":
        bytes = join(bytes, new Uint8Array(step.length).fill(step.value));
        break;
    }
  }
  return bytes;
}

function valueOf(bytes: Uint8Array, { at, bytes: width, bigEndian = false }: Omit<Field, "value">): bigint {
  const field = Array.from(bytes.subarray(at, at + width));
  if (!bigEndian) field.reverse();
  return field.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

const mutated = fc
  .record({ base: fc.constantFrom(...BASES), changes: fc.array(change, { minLength: 1, maxLength: 6 }) })
  .map(({ base, changes }) => changed(base, changes));

const start = fc.oneof(
  fc.nat(0x20).map((page) => page * PAGE),
  fc.nat(0x1_0000),
  fc.constantFrom(2 ** 32, 2 ** 52 - PAGE, 2 ** 52, 2 ** 53 - 1),
);
const pieces: fc.Arbitrary<Piece[]> = fc.array(
  fc.record({ start, bytes: fc.nat(3 * PAGE).map((bytes) => new Uint8Array(bytes).fill(bytes)) }),
  { maxLength: 6 },
);
const pagePieces: fc.Arbitrary<Piece[]> = fc
  .uniqueArray(fc.nat(100), { minLength: 1, maxLength: 6 })
  .map((pfns) => pfns.map((pfn) => ({ start: pfn * PAGE, bytes: new Uint8Array(PAGE).fill(pfn) })));
const notes = fc.array(
  fc.record({
    name: fc.constantFrom("QEMU", "VMCOREINFO", "CORE", "", "a long name of some kind"),
    content: fc.uint8Array({ maxLength: 500 }),
  }),
  { maxLength: 4 },
);

/** Headers with any values, over memory that may overlap. */
const generated: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc
    .record({ pieces, notes })
    .map(({ pieces, notes }) =>
      elfFile(pieces, join(...notes.map(({ name, content }) => note(name, 0, content)))),
    ),
  pieces.map(limeFile),
  fc
    .record({ pieces: pagePieces, excluded: fc.array(fc.nat(300), { maxLength: 5 }), flags: fc.nat(40) })
    .map(({ pieces, excluded, flags }) =>
      kdumpFile(pieces, { excluded, store: (bytes) => ({ bytes: bytes.subarray(0, 50 + flags), flags }) }),
    ),
  fc
    .record({
      file: fc.constantFrom(kdump.bytes, elf.bytes),
      blocks: fc.array(fc.tuple(fraction, length), { maxLength: 12 }),
      hasEnd: fc.boolean(),
    })
    .map(({ file, blocks, hasEnd }) => {
      const extra = blocks.map(([where, bytes]) => {
        const from = Math.floor(where * file.length);
        return { start: from, bytes: file.subarray(from, from + bytes + 1) };
      });
      return flattenedFile([...flatWrites(file), ...extra], hasEnd);
    }),
  fc.uint8Array({ maxLength: 200 }),
);

/** Compressed, and changed after that. zstd seldom: the decoder keeps some memory of each damaged stream. */
const compressed = fc
  .record({
    bytes: mutated,
    isZstd: fc.integer({ min: 0, max: 9 }).map((tenth) => tenth === 0),
    changes: fc.array(change, { maxLength: 3 }),
  })
  .map(({ bytes, isZstd, changes }) => {
    const packed = isZstd ? zstdFrame(bytes) : new Uint8Array(gzipSync(bytes, { level: 1 }));
    return changed({ bytes: packed, fields: fieldsFrom(0, [4, 1, 1, 4, 1, 1, 2]) }, changes);
  });

/** Files of which most are no sound image. */
export const malformedImage: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 60, arbitrary: mutated },
  { weight: 30, arbitrary: generated },
  { weight: 10, arbitrary: compressed },
);

/** Addresses that are read beside those that the image itself names. */
export const addresses = fc.array(
  fc.oneof(fc.bigInt({ min: 0n, max: 0x20_0000n }), fc.bigInt({ min: 0n, max: 1n << 64n })),
  { minLength: 2, maxLength: 4 },
);

const CODES = ["IMAGE_INVALID", "IMAGE_TRUNCATED", "IMAGE_UNREADABLE", "IMAGE_TOO_LARGE", "UNSUPPORTED"];

/** What may be thrown: anything else is passed on. */
export function expectClearError(error: unknown): void {
  if (!(error instanceof GuestMmuError) || !CODES.includes(error.code)) throw error;
  const isClear = /^\S*(fuzz|image)\S*: .+\.$/.test(error.message) && error.hint.length > 10;
  if (!isClear)
    throw new Error(`an error that says too little: ${error.code} ${error.message} ${error.hint}`);
}

/** Reads an image where it may hurt, and holds it to what `PhysicalImage` promises. */
export function expectSound(image: PhysicalImage, others: readonly bigint[]): void {
  expectLists(image);
  const ranges = image.ranges.slice(0, 8);
  const inside = ranges.flatMap(({ start, end }) => [start, (start + end) / 2n, end - 1n]);
  for (const pa of [...inside, ...image.gaps.slice(0, 4).map((gap) => gap.start), ...others]) {
    const found = readGuarded(image, pa, 3 * PAGE);
    if (inside.includes(pa)) check(found !== 0, `nothing at ${pa}, which is in a range`);
    if (pa >> 52n === 0n) readPage(image, Number(pa >> 12n));
  }
  for (const { end } of ranges)
    check(readGuarded(image, end, 8) === 0, `memory at ${end}, the end of a range`);
}

function expectLists({ ranges, gaps, remarks, cpus }: PhysicalImage): void {
  let end = -1n;
  for (const range of ranges) {
    check(range.start > end && range.end > range.start, `range ${range.start} to ${range.end} after ${end}`);
    end = range.end;
  }
  check(end <= 1n << 52n, `a range ends at ${end}`);
  let gapStart = 0n;
  for (const gap of gaps) {
    check(gap.start >= gapStart && gap.end > gap.start, `gap ${gap.start} to ${gap.end} after ${gapStart}`);
    check(gap.why.endsWith("."), `a gap without a reason: ${gap.why}`);
    gapStart = gap.start;
  }
  check(gaps.length <= 1001 && remarks.length <= 101 && cpus.length <= 8192, "lists without bounds");
}

/** Reads into the middle of a buffer; -1 for a page that cannot be decoded. */
function readGuarded(image: PhysicalImage, pa: bigint, length: number): number {
  const guarded = new Uint8Array(length + 2 * 64).fill(0xa5);
  let found: number;
  try {
    found = image.read(pa, guarded.subarray(64, 64 + length));
  } catch (error) {
    expectClearError(error);
    return -1;
  }
  check(
    Number.isInteger(found) && found >= 0 && found <= length,
    `${found} bytes of ${length} read at ${pa}`,
  );
  const guards = [...guarded.subarray(0, 64), ...guarded.subarray(64 + length)];
  check(
    guards.every((byte) => byte === 0xa5),
    `bytes beside the target were written at ${pa}`,
  );
  return found;
}

/** `readPage` is `read` of a whole page. */
function readPage(image: PhysicalImage, pfn: number): void {
  const [page, bytes] = [new Uint8Array(PAGE), new Uint8Array(PAGE)];
  try {
    const isHeld = image.readPage(pfn, page);
    check(isHeld === (image.read(BigInt(pfn) << 12n, bytes) === PAGE), `pfn ${pfn} is ${isHeld}`);
    check(!isHeld || Buffer.compare(page, bytes) === 0, `pfn ${pfn} reads differently`);
  } catch (error) {
    expectClearError(error);
  }
}

function check(condition: boolean, otherwise: string): void {
  if (!condition) throw new Error(otherwise);
}
