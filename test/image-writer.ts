// Memory images of every format that src/images reads, from what they shall hold: written from the published layouts, not
// from the readers. Every field can be told to be wrong.

import { deflateSync } from "node:zlib";

/** Bytes of physical memory. */
export interface Piece {
  readonly start: number | bigint;
  readonly bytes: Uint8Array;
}

export const PAGE = 4096;

/** `pages` pages from `start` on, each byte of which tells which page it belongs to. */
export function piece(start: number, pages: number, seed = 0): Piece {
  const bytes = new Uint8Array(pages * PAGE);
  for (let at = 0; at < bytes.length; at++) {
    const pfn = Math.floor((start + at) / PAGE);
    bytes[at] = (pfn * 31 + (at % PAGE) * (1 + (pfn % 7)) + seed) & 0xff;
  }
  return { start, bytes };
}

/** A field of `bytes` bytes, little-endian unless said otherwise. */
export interface Field {
  readonly at: number;
  readonly bytes: 1 | 2 | 4 | 8;
  readonly value: number | bigint;
  readonly bigEndian?: boolean;
}

/** Overwrites fields of `file`; those beyond its end are left out. */
export function patch(file: Uint8Array, ...fields: readonly Field[]): Uint8Array {
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  for (const { at, bytes, value, bigEndian = false } of fields) {
    if (at + bytes > file.length) continue;
    const big = BigInt.asUintN(64, BigInt(value));
    if (bytes === 1) view.setUint8(at, Number(big & 0xffn));
    if (bytes === 2) view.setUint16(at, Number(big & 0xffffn), !bigEndian);
    if (bytes === 4) view.setUint32(at, Number(big & 0xffff_ffffn), !bigEndian);
    if (bytes === 8) view.setBigUint64(at, big, !bigEndian);
  }
  return file;
}

/** One after the other. */
export function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** Raw memory: zeros where there are no pieces. */
export function rawFile(pieces: readonly Piece[]): Uint8Array {
  const end = Math.max(...pieces.map(({ start, bytes }) => Number(start) + bytes.length));
  const file = new Uint8Array(end);
  for (const { start, bytes } of pieces) file.set(bytes, Number(start));
  return file;
}

export function limeFile(pieces: readonly Piece[]): Uint8Array {
  return join(
    ...pieces.flatMap(({ start, bytes }) => [
      patch(
        new Uint8Array(32),
        { at: 0, bytes: 4, value: 0x4c694d45 },
        { at: 4, bytes: 4, value: 1 },
        { at: 8, bytes: 8, value: start },
        { at: 16, bytes: 8, value: BigInt(start) + BigInt(bytes.length) - 1n },
      ),
      bytes,
    ]),
  );
}

/** An ELF note. */
export function note(name: string, type: number, content: Uint8Array): Uint8Array {
  const padded = (bytes: Uint8Array) => join(bytes, new Uint8Array(-bytes.length & 3));
  const nameBytes = Buffer.from(`${name}\0`, "latin1");
  const header = patch(
    new Uint8Array(12),
    { at: 0, bytes: 4, value: nameBytes.length },
    { at: 4, bytes: 4, value: content.length },
    { at: 8, bytes: 4, value: type },
  );
  return join(header, padded(nameBytes), padded(content));
}

/** QEMU's note of a CPU, in which register n of the 18 is `n + 1`, segment n has selector `16 * n`, and crN is given. */
export function cpuNote(
  control: { cr0?: bigint; cr2?: bigint; cr3?: bigint; cr4?: bigint },
  bytes = 440,
): Uint8Array {
  const content = patch(
    new Uint8Array(bytes),
    { at: 0, bytes: 4, value: 1 },
    { at: 4, bytes: 4, value: bytes },
  );
  for (let register = 0; register < 18; register++) {
    patch(content, { at: 8 + 8 * register, bytes: 8, value: register + 1 });
  }
  for (let segment = 0; segment < 10; segment++) {
    const at = 152 + 24 * segment;
    patch(
      content,
      { at, bytes: 4, value: 16 * segment },
      { at: at + 4, bytes: 4, value: 0xffff },
      { at: at + 8, bytes: 4, value: 0xaf9b00 },
      { at: at + 16, bytes: 8, value: 0xffff_8000_0000_0000n + BigInt(segment) },
    );
  }
  const { cr0 = 0x80050033n, cr2 = 0n, cr3 = 0n, cr4 = 0n } = control;
  for (const [index, value] of [cr0, 0n, cr2, cr3, cr4, 0xffff_8880_0000_0000n].entries()) {
    patch(content, { at: 392 + 8 * index, bytes: 8, value });
  }
  return note("QEMU", 0, content);
}

export function vmcoreinfoNote(text: string): Uint8Array {
  return note("VMCOREINFO", 0, Buffer.from(text, "latin1"));
}

/** An ELF64 core with one PT_LOAD a piece, and one PT_NOTE if there are notes. */
export function elfFile(pieces: readonly Piece[], notes: Uint8Array = new Uint8Array(0)): Uint8Array {
  const count = pieces.length + (notes.length > 0 ? 1 : 0);
  const file = new Uint8Array(64 + 56 * count);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  patch(
    file,
    { at: 16, bytes: 2, value: 4 },
    { at: 18, bytes: 2, value: 62 },
    { at: 20, bytes: 4, value: 1 },
    { at: 32, bytes: 8, value: 64 },
    { at: 52, bytes: 2, value: 64 },
    { at: 54, bytes: 2, value: 56 },
    { at: 56, bytes: 2, value: count },
  );
  const parts: Uint8Array[] = [file];
  let position = file.length;
  const add = (at: number, type: number, start: number | bigint, bytes: Uint8Array) => {
    patch(
      file,
      { at, bytes: 4, value: type },
      { at: at + 8, bytes: 8, value: position },
      { at: at + 24, bytes: 8, value: start },
      { at: at + 32, bytes: 8, value: bytes.length },
      { at: at + 40, bytes: 8, value: bytes.length },
    );
    parts.push(bytes);
    position += bytes.length;
  };
  if (notes.length > 0) add(64, 4, 0, notes);
  for (const [index, { start, bytes }] of pieces.entries()) {
    add(64 + 56 * (count - pieces.length + index), 1, start, bytes);
  }
  return join(...parts);
}

export interface KdumpOptions {
  readonly notes?: Uint8Array;
  readonly vmcoreinfo?: string;
  /** Pages of the machine that the dump leaves out, by pfn. */
  readonly excluded?: readonly number[];
  /** Bytes and flags of a page as they are stored. Default: zlib, where that is smaller. */
  readonly store?: (page: Uint8Array) => { readonly bytes: Uint8Array; readonly flags: number };
  readonly status?: number;
  readonly version?: number;
}

/** kdump-compressed; the pieces are whole pages. Descriptors follow the bitmaps, notes and pages the descriptors. */
export function kdumpFile(pieces: readonly Piece[], options: KdumpOptions = {}): Uint8Array {
  const { notes = new Uint8Array(0), vmcoreinfo = "", excluded = [], store = zlibPage, status = 1 } = options;
  const { version = 6 } = options;
  const pages = pieces.flatMap(({ start, bytes }) =>
    Array.from({ length: bytes.length / PAGE }, (_, index) => ({
      pfn: Number(start) / PAGE + index,
      bytes: bytes.subarray(index * PAGE, (index + 1) * PAGE),
    })),
  );
  pages.sort((a, b) => a.pfn - b.pfn);
  const end = Math.max(...pages.map(({ pfn }) => pfn), ...excluded) + 1;
  const halfBlocks = Math.ceil(end / 8 / PAGE);
  const bitmaps = new Uint8Array(2 * halfBlocks * PAGE);
  for (const { pfn } of pages) {
    bitmaps[pfn >> 3]! |= 1 << (pfn & 7);
    bitmaps[halfBlocks * PAGE + (pfn >> 3)]! |= 1 << (pfn & 7);
  }
  for (const pfn of excluded) bitmaps[pfn >> 3]! |= 1 << (pfn & 7);
  const descriptors = new Uint8Array(24 * pages.length);
  const info = Buffer.from(vmcoreinfo, "latin1");
  let position = 2 * PAGE + bitmaps.length + descriptors.length;
  const infoAt = position;
  const notesAt = infoAt + info.length;
  position = notesAt + notes.length;
  const stored = pages.map(({ bytes }, rank) => {
    const { bytes: content, flags } = store(bytes);
    patch(
      descriptors,
      { at: 24 * rank, bytes: 8, value: position },
      { at: 24 * rank + 8, bytes: 4, value: content.length },
      { at: 24 * rank + 12, bytes: 4, value: flags },
    );
    position += content.length;
    return content;
  });
  const header = patch(
    new Uint8Array(PAGE),
    { at: 8, bytes: 4, value: version },
    { at: 424, bytes: 4, value: status },
    { at: 428, bytes: 4, value: PAGE },
    { at: 432, bytes: 4, value: 1 },
    { at: 436, bytes: 4, value: 2 * halfBlocks },
    { at: 440, bytes: 4, value: Math.min(end, 0xffff_ffff) },
  );
  header.set(Buffer.from("KDUMP   "));
  header.set(Buffer.from("x86_64"), 12 + 4 * 65);
  const sub = patch(
    new Uint8Array(PAGE),
    { at: 8, bytes: 4, value: excluded.length > 0 ? 31 : 0 },
    { at: 32, bytes: 8, value: info.length > 0 ? infoAt : 0 },
    { at: 40, bytes: 8, value: info.length },
    { at: 48, bytes: 8, value: notes.length > 0 ? notesAt : 0 },
    { at: 56, bytes: 8, value: notes.length },
    { at: 96, bytes: 8, value: end },
  );
  return join(header, sub, bitmaps, descriptors, info, notes, ...stored);
}

export function zlibPage(page: Uint8Array): { bytes: Uint8Array; flags: number } {
  const bytes = deflateSync(page, { level: 1 });
  return bytes.length < PAGE ? { bytes, flags: 1 } : { bytes: page, flags: 0 };
}

/** Writes of a flattened dump: the bytes of `file` from `start` to `end`. */
export interface FlatWrite {
  readonly start: number;
  readonly bytes: Uint8Array;
}

/** `file` in blocks of `blockBytes`, the odd ones after the even ones: a reader cannot rely on their order. */
export function flatWrites(file: Uint8Array, blockBytes = 5000): FlatWrite[] {
  const writes: FlatWrite[] = [];
  for (let start = 0; start < file.length; start += blockBytes) {
    writes.push({ start, bytes: file.subarray(start, start + blockBytes) });
  }
  return [...writes.filter((_, index) => index % 2 === 0), ...writes.filter((_, index) => index % 2 === 1)];
}

export function flattenedFile(writes: readonly FlatWrite[], hasEnd = true): Uint8Array {
  const header = patch(
    new Uint8Array(PAGE),
    { at: 16, bytes: 8, value: 1, bigEndian: true },
    { at: 24, bytes: 8, value: 1, bigEndian: true },
  );
  header.set(Buffer.from("makedumpfile"));
  const block = (start: number, length: number) =>
    patch(
      new Uint8Array(16),
      { at: 0, bytes: 8, value: start, bigEndian: true },
      { at: 8, bytes: 8, value: length, bigEndian: true },
    );
  const end = hasEnd ? [block(-1, -1)] : [];
  return join(header, ...writes.flatMap(({ start, bytes }) => [block(start, bytes.length), bytes]), ...end);
}
