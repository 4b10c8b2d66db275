/**
 * Reader for the memory traces of Valgrind's lackey tool: `valgrind --tool=lackey --trace-mem=yes PROGRAM`.
 *
 * One line is one access; the address is hexadecimal, the size decimal and in bytes:
 *
 *     I  0401ab70,3        instruction fetch
 *      S 1fff000738,8      store
 *      L 0403a5e8,8        load
 *      M 0403b4a0,4        modify: load, then store
 *
 * A line becomes one record, or several: a data access is split into pieces of 1, 2, 4 or 8 bytes, as a
 * processor would do it, and no record crosses a 4 KiB page, because each page may fault on its own. Records
 * are packed, ready to be copied into the core's memory, and little-endian like it; so must the host be.
 *
 *     byte  0        8         12       16
 *           | gva u64 | size u32 | kind u32 |
 */

import { GuestMmuError } from "../errors.js";
import { openTraceSource, type Compression } from "./source.js";

/** Size of one packed record in bytes. */
export const TRACE_RECORD_BYTES = 16;

/** Values of the `kind` field of a record. */
export const AccessKind = {
  /** A load; 1, 2, 4 or 8 bytes. */
  Read: 0,
  /** A store; 1, 2, 4 or 8 bytes. */
  Write: 1,
  /** An instruction fetch; 1 to 4096 bytes in one page. */
  Fetch: 2,
  /** A load and a store of the same 1, 2, 4 or 8 bytes. */
  ReadModifyWrite: 3,
} as const;

/** One of the values of `AccessKind`. */
export type AccessKind = (typeof AccessKind)[keyof typeof AccessKind];

/** One record, unpacked. */
export interface TraceRecord {
  readonly gva: bigint;
  /** In bytes. */
  readonly size: number;
  readonly kind: AccessKind;
}

/** A run of packed records. Its memory belongs to whoever received it: the reader does not use it again. */
export interface TraceBatch {
  /** Records in the batch, at least 1. */
  readonly count: number;
  /** `count * TRACE_RECORD_BYTES` bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The same memory as 32-bit words: address low, address high, size, kind. */
  readonly words: Uint32Array<ArrayBuffer>;
}

/** A line that is not what lackey writes. */
export interface MalformedLine {
  /** Counted from 1, in the decompressed text. */
  readonly line: number;
  /** The line, cut to 60 characters; bytes that are not printable ASCII as `\xNN`. */
  readonly text: string;
  /** What should have been there. */
  readonly expected: string;
}

/** What a trace, or the part of it that was read, consists of. */
export interface TraceSummary {
  readonly path: string;
  readonly compression: Compression;
  readonly lines: {
    /** All lines that were read: the sum of the others. */
    readonly total: number;
    readonly fetch: number;
    readonly load: number;
    readonly store: number;
    readonly modify: number;
    /** Blank lines and valgrind's own messages. */
    readonly skipped: number;
    readonly malformed: number;
  };
  readonly records: {
    readonly total: number;
    readonly read: number;
    readonly write: number;
    readonly fetch: number;
    readonly readModifyWrite: number;
  };
  /** Lines that became more than one record. */
  readonly splitLines: number;
  /** The first ten malformed lines. */
  readonly malformed: readonly MalformedLine[];
  /** Distinct 4 KiB pages of guest-virtual memory that the records touch. */
  readonly pages: number;
  /** False when reading stopped at `limit`: the trace may go on. */
  readonly complete: boolean;
}

/** Options of `readLackey`. */
export interface ReadLackeyOptions {
  /** Records in a batch, 1 to 16,777,216; every batch but the last is full. Default 65,536 (1 MiB). */
  readonly batch?: number;
  /** Stop after this many records, at least 1. Default: no limit. */
  readonly limit?: number;
  /**
   * At a line that lackey would not write: `throw` (the default), or `collect`: pass over it, count it, and
   * keep the first ten in the summary, for a caller who shows them.
   */
  readonly onMalformed?: "throw" | "collect";
}

/** Options of `loadLackey`. */
export interface LoadLackeyOptions {
  /** Stop after this many records, at least 1. Default `LOAD_RECORDS_MAX`. */
  readonly limit?: number;
  /** As in `ReadLackeyOptions`. */
  readonly onMalformed?: "throw" | "collect";
}

/** A whole trace in one buffer. */
export interface LoadedTrace {
  /** `summary.records.total * TRACE_RECORD_BYTES` bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly summary: TraceSummary;
}

/** Default limit of `loadLackey`: 1 GiB of records, a quarter of what a WebAssembly memory can hold. */
export const LOAD_RECORDS_MAX = 64 * 1024 * 1024;

const BATCH_RECORDS_MAX = 16 * 1024 * 1024;
const MALFORMED_KEPT_MAX = 10;
const MALFORMED_TEXT_CHARS = 60;
const ACCESS_BYTES_MAX = 4096;
const PAGE_BYTES = 4096;
const ADDRESS_DIGITS_MAX = 16;
const SIZE_DIGITS_MAX = 4;

/**
 * Reads the trace at `path` (plain, gzip or zstd) batch by batch. Memory is bounded: one batch, the decoder's
 * window, and a number for each distinct page. The generator returns the summary, which `for await` drops;
 * `loadLackey` and a loop over `next()` see it.
 *
 * @throws GuestMmuError `TRACE_MALFORMED` with `path:line` (policy `throw`); `TRACE_EMPTY` when no line is an
 *   access; `USAGE` for an option out of range; and what `openTraceSource` throws. Batches that came before
 *   stay valid.
 */
export async function* readLackey(
  path: string,
  options: ReadLackeyOptions = {},
): AsyncGenerator<TraceBatch, TraceSummary> {
  const batchRecords = wholeNumber("batch", options.batch ?? 65_536, BATCH_RECORDS_MAX);
  const limit = wholeNumber("limit", options.limit ?? Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
  const source = await openTraceSource(path);
  const parser = new LackeyParser(path, batchRecords, limit, options.onMalformed ?? "throw");
  let complete = true;
  read: for await (const chunk of source.chunks) {
    for (let at = 0; at < chunk.length;) {
      at = parser.parse(chunk, at);
      while (parser.batchIsFull) {
        yield parser.takeBatch();
        if (parser.limitIsReached) {
          complete = false;
          break read;
        }
      }
    }
  }
  if (complete) parser.endOfText();
  while (!parser.batchIsEmpty) yield parser.takeBatch();
  parser.requireAccesses();
  return parser.summary(source.compression, complete);
}

/**
 * Reads the trace at `path` into one buffer. The accesses stay in the order of the file. While the pieces are
 * joined, twice the size of the result is in use.
 *
 * @throws GuestMmuError as `readLackey` does; nothing is returned for a trace that is damaged further on.
 */
export async function loadLackey(path: string, options: LoadLackeyOptions = {}): Promise<LoadedTrace> {
  const batches: TraceBatch[] = [];
  const reading = readLackey(path, { limit: LOAD_RECORDS_MAX, ...options });
  let step = await reading.next();
  while (step.done !== true) {
    batches.push(step.value);
    step = await reading.next();
  }
  const summary = step.value;
  const bytes = new Uint8Array(summary.records.total * TRACE_RECORD_BYTES);
  let at = 0;
  for (const batch of batches) {
    bytes.set(batch.bytes, at);
    at += batch.bytes.length;
  }
  return { bytes, summary };
}

/** Unpacks records one by one; for tests and reports, not for the data plane. A torn end is a RangeError. */
export function* unpackRecords(bytes: Uint8Array): Generator<TraceRecord, void> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < bytes.length; at += TRACE_RECORD_BYTES) {
    yield {
      gva: view.getBigUint64(at, true),
      size: view.getUint32(at + 8, true),
      kind: view.getUint32(at + 12, true) as AccessKind,
    };
  }
}

function wholeNumber(name: string, value: number, max: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw new GuestMmuError("USAGE", {
    message: `Trace option ${name} is ${value}; it must be a whole number from 1 to ${max}.`,
    hint: `Give ${name} a value in that range, or leave it out.`,
  });
}

// Results of `scan` that are not the offset of the next line. The first never becomes a report: a line is
// only judged once its line end is there.
const ENDS_TOO_EARLY = -1;
const BAD_KIND = -2;
const BAD_ADDRESS = -3;
const BAD_SIZE = -4;
const BAD_RANGE = -5;
const BAD_END = -6;

const EXPECTATIONS: Readonly<Record<number, string>> = {
  [BAD_KIND]: 'expected "I  ", " L ", " S " or " M " and then an address',
  [BAD_ADDRESS]: "expected a hexadecimal address of at most 64 bits and then a comma",
  [BAD_SIZE]: `expected a decimal size from 1 to ${ACCESS_BYTES_MAX} after the comma`,
  [BAD_RANGE]: "expected an access that ends within the 64-bit address space",
  [BAD_END]: "expected the end of the line after the size",
};

const NEWLINE = 0x0a;
const RETURN = 0x0d;
const SPACE = 0x20;
const COMMA = 0x2c;
const DIGIT_0 = 0x30;
const LETTER_I = 0x49;
const LETTER_L = 0x4c;
const LETTER_M = 0x4d;
const LETTER_S = 0x53;

/** Value of each byte as a hexadecimal digit; 255 for bytes that are none. */
const HEX_VALUE = Uint8Array.from({ length: 256 }, (_, byte) => {
  const value = Number.parseInt(String.fromCharCode(byte), 16);
  return Number.isNaN(value) ? 255 : value;
});

/** Bit n is set for the sizes n of a data access that is one piece. */
const PIECE_SIZES = (1 << 1) | (1 << 2) | (1 << 4) | (1 << 8);

/**
 * Bytes at the beginning of a line that are looked at, and kept of an unfinished line from one chunk to the
 * next. An access has at most 26. Of anything longer the beginning says what it is, and memory stays bounded
 * whatever the file.
 */
const LINE_BYTES_KEPT = 128;

/**
 * Turns text into records. Holds one batch under construction; `parse` stops where it is full.
 *
 * Every line goes through `scan`, whether it lies in one chunk or was put together from two, so that there is
 * one grammar. Addresses are pairs of 32-bit integers: a bigint for each line would cost more than the rest.
 */
class LackeyParser {
  private words: Uint32Array<ArrayBuffer>;
  private count = 0;
  private capacity: number;
  private recordsLeft: number;

  /** The rest of an access whose pieces are being written: empty when `restSize` is 0. */
  private restLow = 0;
  private restHigh = 0;
  private restSize = 0;
  private restKind: AccessKind = AccessKind.Read;

  private readonly partial = new Uint8Array(LINE_BYTES_KEPT + 1);
  /** Length of the unfinished line, of which `partial` holds the first `LINE_BYTES_KEPT` bytes. */
  private partialBytes = 0;

  private readonly linesOfKind = [0, 0, 0, 0];
  private readonly recordsOfKind = [0, 0, 0, 0];
  private linesSkipped = 0;
  private linesMalformed = 0;
  private linesSplit = 0;
  private readonly malformed: MalformedLine[] = [];

  private readonly pages = new Set<number>();
  /** Direct-mapped filter in front of `pages`: most accesses are to a page that was seen a moment ago. */
  private readonly recentPages = new Float64Array(256).fill(-1);

  constructor(
    private readonly path: string,
    private readonly batchRecords: number,
    limit: number,
    private readonly onMalformed: "throw" | "collect",
  ) {
    this.recordsLeft = limit;
    this.capacity = Math.min(batchRecords, limit);
    this.words = new Uint32Array(this.capacity * 4);
  }

  get batchIsFull(): boolean {
    return this.count === this.capacity && this.count > 0;
  }

  get batchIsEmpty(): boolean {
    return this.count === 0;
  }

  private get linesSeen(): number {
    return this.linesOfKind.reduce((sum, lines) => sum + lines, this.linesSkipped + this.linesMalformed);
  }

  get limitIsReached(): boolean {
    return this.recordsLeft === 0;
  }

  /** Reads lines from offset `from` until the text ends or the batch is full; returns where it stopped. */
  parse(text: Uint8Array, from: number): number {
    let at = this.partialBytes === 0 ? from : this.joinPartialLine(text, from);
    while (at < text.length && this.count < this.capacity) {
      const next = this.scan(text, at, text.length);
      if (next > 0) {
        this.accept();
        at = next;
        continue;
      }
      const newline = text.indexOf(NEWLINE, at);
      if (newline < 0) {
        this.keepPartialLine(text, at, text.length);
        return text.length;
      }
      this.passOver(text, at, newline - at, next);
      at = newline + 1;
    }
    return at;
  }

  /**
   * Hands over the records so far; then goes on with the rest of the access that filled the batch, if any.
   */
  takeBatch(): TraceBatch {
    const { words, count } = this;
    this.recordsLeft -= count;
    this.capacity = Math.min(this.batchRecords, this.recordsLeft);
    this.words = new Uint32Array(this.capacity * 4);
    this.count = 0;
    this.writePieces();
    const filled = words.subarray(0, count * 4);
    return { count, words: filled, bytes: new Uint8Array(words.buffer, 0, count * TRACE_RECORD_BYTES) };
  }

  /** Takes what follows the last line end as a line. There is room: a full batch has been taken before. */
  endOfText(): void {
    if (this.partialBytes > 0) this.finishPartialLine();
  }

  requireAccesses(): void {
    if (this.linesOfKind.some((lines) => lines > 0)) return;
    const total = this.linesSeen;
    const first = this.malformed[0];
    const example = first === undefined ? "" : `; line ${first.line} is "${first.text}", ${first.expected}`;
    throw new GuestMmuError("TRACE_EMPTY", {
      message: `${this.path}: no access in ${total} line${total === 1 ? "" : "s"}${example}.`,
      hint: "Record one with: valgrind --tool=lackey --trace-mem=yes --log-file=FILE PROGRAM",
    });
  }

  summary(compression: Compression, complete: boolean): TraceSummary {
    const [load, store, fetch, modify] = this.linesOfKind as [number, number, number, number];
    const [read, write, fetched, readModifyWrite] = this.recordsOfKind as [number, number, number, number];
    const { linesSeen: total, linesSkipped: skipped, linesMalformed: malformed } = this;
    return {
      path: this.path,
      compression,
      lines: { total, fetch, load, store, modify, skipped, malformed },
      records: {
        total: read + write + fetched + readModifyWrite,
        read,
        write,
        fetch: fetched,
        readModifyWrite,
      },
      splitLines: this.linesSplit,
      malformed: this.malformed,
      pages: this.pages.size,
      complete,
    };
  }

  /**
   * Reads one access line from `text[from, end)` into the free record at the end of the batch. Returns the
   * offset after its line end, or a negative number: not an access line, or not all of it is there.
   */
  private scan(text: Uint8Array, from: number, end: number): number {
    if (end - from < 3) return BAD_KIND;
    const kind = kindOf(text[from]!, text[from + 1]!);
    if (kind < 0 || text[from + 2] !== SPACE) return BAD_KIND;

    const addressAt = from + 3;
    let at = addressAt;
    let low = 0;
    let high = 0;
    for (; at < end; at++) {
      const digit = HEX_VALUE[text[at]!]!;
      if (digit > 15) break;
      if (at === addressAt + ADDRESS_DIGITS_MAX) return BAD_ADDRESS;
      high = (high << 4) | (low >>> 28);
      low = (low << 4) | digit;
    }
    if (at >= end) return ENDS_TOO_EARLY;
    if (at === addressAt || text[at] !== COMMA) return BAD_ADDRESS;

    const sizeAt = ++at;
    let size = 0;
    for (; at < end; at++) {
      const digit = text[at]! - DIGIT_0;
      if (digit < 0 || digit > 9) break;
      if (at === sizeAt + SIZE_DIGITS_MAX) return BAD_SIZE;
      size = size * 10 + digit;
    }
    if (at >= end) return ENDS_TOO_EARLY;
    if (at === sizeAt || size === 0 || size > ACCESS_BYTES_MAX) return BAD_SIZE;

    if (text[at] === RETURN) at++;
    if (at >= end) return ENDS_TOO_EARLY;
    if (text[at] !== NEWLINE) return BAD_END;
    if (high === -1 && (low >>> 0) + size > 2 ** 32) return BAD_RANGE;

    const word = this.count * 4;
    const words = this.words;
    words[word] = low;
    words[word + 1] = high;
    words[word + 2] = size;
    words[word + 3] = kind;
    return at + 1;
  }

  /** Counts the access that `scan` has just read, and splits it if it is not one piece already. */
  private accept(): void {
    const word = this.count * 4;
    const low = this.words[word]!;
    const high = this.words[word + 1]!;
    const size = this.words[word + 2]!;
    const kind = this.words[word + 3]! as AccessKind;
    this.linesOfKind[kind]!++;
    const inOnePage = (low & (PAGE_BYTES - 1)) + size <= PAGE_BYTES;
    const ofOnePiece = kind === AccessKind.Fetch || (size <= 8 && ((PIECE_SIZES >>> size) & 1) !== 0);
    if (inOnePage && ofOnePiece) {
      this.count++;
      this.recordsOfKind[kind]!++;
      this.notePage(low, high);
      return;
    }
    this.linesSplit++;
    this.restLow = low;
    this.restHigh = high;
    this.restSize = size;
    this.restKind = kind;
    this.writePieces();
  }

  /** Writes pieces of the access in `rest` until it is used up or the batch is full. */
  private writePieces(): void {
    while (this.restSize > 0 && this.count < this.capacity) {
      const room = PAGE_BYTES - (this.restLow & (PAGE_BYTES - 1));
      const fits = Math.min(this.restSize, room);
      const size = this.restKind === AccessKind.Fetch ? fits : largestPiece(fits);
      this.words.set([this.restLow, this.restHigh, size, this.restKind], this.count * 4);
      this.count++;
      this.recordsOfKind[this.restKind]!++;
      this.notePage(this.restLow, this.restHigh);

      const low = this.restLow + size;
      if (low >= 2 ** 32) this.restHigh = (this.restHigh + 1) >>> 0;
      this.restLow = low >>> 0;
      this.restSize -= size;
    }
  }

  private notePage(low: number, high: number): void {
    const page = high * 2 ** 20 + (low >>> 12);
    const slot = (low >>> 12) & 255;
    if (this.recentPages[slot] === page) return;
    this.recentPages[slot] = page;
    this.pages.add(page);
  }

  /** Puts the line that the last chunk left unfinished together with its end; returns the offset after it. */
  private joinPartialLine(text: Uint8Array, from: number): number {
    const newline = text.indexOf(NEWLINE, from);
    const end = newline < 0 ? text.length : newline;
    this.keepPartialLine(text, from, end);
    if (newline < 0) return text.length;
    this.finishPartialLine();
    return newline + 1;
  }

  private keepPartialLine(text: Uint8Array, from: number, end: number): void {
    if (this.partialBytes < LINE_BYTES_KEPT) {
      const kept = Math.min(end - from, LINE_BYTES_KEPT - this.partialBytes);
      this.partial.set(text.subarray(from, from + kept), this.partialBytes);
    }
    this.partialBytes += end - from;
  }

  private finishPartialLine(): void {
    const lineBytes = this.partialBytes;
    const keptBytes = Math.min(lineBytes, LINE_BYTES_KEPT);
    this.partialBytes = 0;
    this.partial[keptBytes] = NEWLINE;
    // A line that was cut cannot pass for an access: its newline stands too far out.
    const next = this.scan(this.partial, 0, keptBytes + 1);
    if (next > 0) this.accept();
    else this.passOver(this.partial, 0, lineBytes, next);
  }

  /** Deals with a line of `lineBytes` bytes at `text[from]` that is not an access; `result` says why not. */
  private passOver(text: Uint8Array, from: number, lineBytes: number, result: number): void {
    const keptBytes = Math.min(lineBytes, LINE_BYTES_KEPT);
    const line = Buffer.from(text.buffer, text.byteOffset + from, keptBytes).toString("latin1");
    if (isBlankOrMessage(line)) {
      this.linesSkipped++;
      return;
    }
    this.linesMalformed++;
    if (this.malformed.length === MALFORMED_KEPT_MAX) return;
    const report: MalformedLine = {
      line: this.linesSeen,
      text: printable(line),
      expected: EXPECTATIONS[result]!,
    };
    this.malformed.push(report);
    if (this.onMalformed === "collect") return;
    throw new GuestMmuError("TRACE_MALFORMED", {
      message: `${this.path}:${report.line}: ${report.expected}, found "${report.text}".`,
      hint: "Remove the line, or let malformed lines be counted and passed over.",
    });
  }
}

/** The kind of access that the first two characters of a line name, or -1. */
function kindOf(first: number, second: number): number {
  if (first === LETTER_I) return second === SPACE ? AccessKind.Fetch : -1;
  if (first !== SPACE) return -1;
  if (second === LETTER_L) return AccessKind.Read;
  if (second === LETTER_S) return AccessKind.Write;
  return second === LETTER_M ? AccessKind.ReadModifyWrite : -1;
}

/** The largest of 8, 4, 2, 1 that is not above `size`, which is at least 1. */
function largestPiece(size: number): number {
  if (size >= 8) return 8;
  if (size >= 4) return 4;
  return size >= 2 ? 2 : 1;
}

/**
 * Valgrind marks its own lines with the process id, and with a time when it was asked to: `==1234== text` for
 * messages, `--1234-- text` for debugging output, `**1234** text` for what the program printed through a
 * client request.
 */
function isBlankOrMessage(line: string): boolean {
  return /^\s*$|^(==|--|\*\*)(?:[0-9:.]+ )?[0-9]+\1/.test(line);
}

/** A line for a message: one that neither moves the cursor nor fills the screen. */
function printable(line: string): string {
  const text = line
    .replace(/\r$/, "")
    .replace(/[^ -~]/g, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`);
  return text.length > MALFORMED_TEXT_CHARS ? `${text.slice(0, MALFORMED_TEXT_CHARS - 3)}...` : text;
}
