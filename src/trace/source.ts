/**
 * Bytes of a trace file: plain, gzip or zstd, told apart by their first bytes and not by the name of the
 * file. Memory stays bounded whatever the size of the file: the largest buffer is the window of a zstd frame.
 */

import { open, type FileHandle } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { Decompress } from "fzstd";
import { GuestMmuError } from "../errors.js";

/** How the bytes of a trace are stored. */
export type Compression = "none" | "gzip" | "zstd";

/**
 * Largest zstd window in bytes that is accepted: what `zstd --long=27` writes, and what `zstd -d` accepts
 * with that option. The window is allocated in full when a frame starts, so a header must not name
 * any size it likes.
 */
export const ZSTD_WINDOW_MAX_BYTES = 128 * 1024 * 1024;

/** Bytes taken from the file at a time. */
const READ_BYTES = 256 * 1024;

/**
 * Compressed zstd bytes handed to the decoder at a time. A block of four bytes may expand to 128 KiB and the
 * decoder delivers all blocks of one call at once, so this bounds what one call may produce to 32 MiB.
 */
const ZSTD_PUSH_BYTES = 1024;

const SKIPPABLE_MAGIC_MIN = 0x184d2a50;
const SKIPPABLE_MAGIC_MAX = 0x184d2a5f;
const ZSTD_MAGIC = 0xfd2fb528;

/** An open trace: decompressed bytes in order, in pieces of no particular size. Iterate once. */
export interface TraceSource {
  readonly compression: Compression;
  readonly chunks: AsyncGenerator<Uint8Array, void>;
}

/**
 * Opens `path` and finds out how it is compressed. Regular files, FIFOs and `/dev/stdin` will do. The file is
 * closed when `chunks` ends, throws, or is returned early.
 *
 * Checksums: gzip's are verified; zstd's are not (the decoder does not compute them).
 *
 * @throws GuestMmuError `TRACE_UNREADABLE` when the file cannot be opened, is a directory, or holds damaged
 *   data; `TRACE_TRUNCATED` when compressed data stop early; `UNSUPPORTED` for other compressions, for zstd
 *   dictionaries, and for zstd windows above `ZSTD_WINDOW_MAX_BYTES`. Iterating `chunks` may throw
 *   each of them.
 */
export async function openTraceSource(path: string): Promise<TraceSource> {
  const file = await openFile(path);
  try {
    const head = await readHead(file, path);
    const compression = compressionOf(head, path);
    const stored = storedChunks(file, path, head);
    const decoded =
      compression === "gzip" ? gunzip(stored, path) : compression === "zstd" ? unzstd(stored, path) : stored;
    return { compression, chunks: closing(file, decoded) };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function openFile(path: string): Promise<FileHandle> {
  let file: FileHandle;
  try {
    file = await open(path, "r");
  } catch (error) {
    throw unreadable(path, error);
  }
  // Opening a directory for reading succeeds; only the first read would fail, and with less to say.
  if ((await file.stat()).isDirectory()) {
    await file.close();
    throw new GuestMmuError("TRACE_UNREADABLE", {
      message: `${path}: is a directory, not a trace.`,
      hint: "Name one trace file inside it.",
    });
  }
  return file;
}

function unreadable(path: string, cause: unknown): GuestMmuError {
  const code = (cause as NodeJS.ErrnoException).code;
  const reasons: Record<string, [what: string, hint: string]> = {
    ENOENT: ["no such file", "Check the path; relative paths start at the current directory."],
    EACCES: ["permission denied", "Make the file readable for this user."],
  };
  const [what, hint] = reasons[code ?? ""] ?? [
    cause instanceof Error ? cause.message : String(cause),
    "Check that the file can be read, for example with `cat`.",
  ];
  return new GuestMmuError("TRACE_UNREADABLE", { message: `${path}: ${what}.`, hint, cause });
}

/** Reads until four bytes are there or the file ends: a FIFO may deliver them one by one. */
async function readHead(file: FileHandle, path: string): Promise<Uint8Array> {
  const head = Buffer.allocUnsafeSlow(READ_BYTES);
  let length = 0;
  while (length < 4) {
    const bytesRead = await readInto(file, path, head, length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return head.subarray(0, length);
}

async function readInto(file: FileHandle, path: string, buffer: Buffer, offset: number): Promise<number> {
  try {
    return (await file.read(buffer, offset, buffer.length - offset, null)).bytesRead;
  } catch (error) {
    throw unreadable(path, error);
  }
}

function compressionOf(head: Uint8Array, path: string): Compression {
  const [a, b, c, d] = head;
  if (a === 0x1f && b === 0x8b) return "gzip";
  if (d !== undefined && isZstdMagic(littleEndian32(head, 0))) return "zstd";
  const other =
    a === 0xfd && b === 0x37 && c === 0x7a ? "xz" : a === 0x42 && b === 0x5a && c === 0x68 ? "bzip2" : "";
  if (other !== "") {
    throw new GuestMmuError("UNSUPPORTED", {
      message: `${path}: is compressed with ${other}; plain text, gzip and zstd are read.`,
      hint: `Decompress it first: ${other} -dk ${path}`,
    });
  }
  return "none";
}

function isZstdMagic(word: number): boolean {
  return word === ZSTD_MAGIC || isSkippableMagic(word);
}

function isSkippableMagic(word: number): boolean {
  return word >= SKIPPABLE_MAGIC_MIN && word <= SKIPPABLE_MAGIC_MAX;
}

function littleEndian32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

/**
 * The file as it is stored. Each chunk has memory of its own: gunzip still reads it when the next is made.
 */
async function* storedChunks(
  file: FileHandle,
  path: string,
  head: Uint8Array,
): AsyncGenerator<Uint8Array, void> {
  if (head.length > 0) yield head;
  for (;;) {
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    const bytesRead = await readInto(file, path, buffer, 0);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}

async function* closing(
  file: FileHandle,
  chunks: AsyncGenerator<Uint8Array, void>,
): AsyncGenerator<Uint8Array, void> {
  try {
    yield* chunks;
  } finally {
    await file.close();
  }
}

async function* gunzip(
  stored: AsyncGenerator<Uint8Array, void>,
  path: string,
): AsyncGenerator<Uint8Array, void> {
  const decoder = createGunzip({ chunkSize: READ_BYTES });
  // Whatever fails in the pipeline ends the iteration below with the same error: report it there only.
  const fed = pipeline(stored, decoder).catch(() => undefined);
  try {
    for await (const chunk of decoder) yield chunk as Uint8Array;
  } catch (error) {
    if (error instanceof GuestMmuError) throw error;
    throw (error as NodeJS.ErrnoException).code === "Z_BUF_ERROR"
      ? truncated(path, "gzip", error)
      : damaged(path, "gzip", error);
  } finally {
    // Leaving the loop early has destroyed the decoder, which ends the pipeline: wait until it reads no more.
    await fed;
  }
}

async function* unzstd(
  stored: AsyncGenerator<Uint8Array, void>,
  path: string,
): AsyncGenerator<Uint8Array, void> {
  let decoded: Uint8Array[] = [];
  const decoder = new Decompress((chunk) => {
    if (chunk.length > 0) decoded.push(chunk);
  });
  const frames = new ZstdFrames(path);
  const push = (piece: Uint8Array, final: boolean): Uint8Array[] => {
    decoded = [];
    try {
      decoder.push(piece, final);
    } catch (error) {
      throw damaged(path, "zstd", error);
    }
    return decoded;
  };
  for await (const chunk of stored) {
    for (let at = 0; at < chunk.length; at += ZSTD_PUSH_BYTES) {
      const piece = chunk.subarray(at, at + ZSTD_PUSH_BYTES);
      frames.follow(piece);
      yield* push(piece, false);
    }
  }
  if (!frames.complete) throw truncated(path, "zstd");
  yield* push(new Uint8Array(0), true);
}

/**
 * Follows the frame structure of a zstd stream (RFC 8878, section 3.1) ahead of the decoder, which does not
 * look at what would cost us: the size of the window, a dictionary that is needed, an end in mid-frame.
 */
class ZstdFrames {
  private readonly held = new Uint8Array(18);
  private heldBytes = 0;
  private expected: "frame" | "block" = "frame";
  private skipBytes = 0;
  private hasChecksum = false;

  constructor(private readonly path: string) {}

  /** True where the stream may end: between two frames. */
  get complete(): boolean {
    return this.expected === "frame" && this.heldBytes === 0 && this.skipBytes === 0;
  }

  follow(piece: Uint8Array): void {
    let at = 0;
    while (at < piece.length) {
      if (this.skipBytes > 0) {
        const step = Math.min(this.skipBytes, piece.length - at);
        this.skipBytes -= step;
        at += step;
        continue;
      }
      this.held[this.heldBytes++] = piece[at++]!;
      const understood = this.expected === "frame" ? this.frameHeader() : this.blockHeader();
      if (understood) this.heldBytes = 0;
    }
  }

  private frameHeader(): boolean {
    const held = this.held;
    if (this.heldBytes < 5) return false;
    const magic = littleEndian32(held, 0);
    if (isSkippableMagic(magic)) {
      if (this.heldBytes < 8) return false;
      this.skipBytes = littleEndian32(held, 4);
      return true;
    }
    if (magic !== ZSTD_MAGIC) {
      throw damaged(this.path, "zstd", new Error("data after the last frame that are not a frame"));
    }
    const descriptor = held[4]!;
    const singleSegment = (descriptor & 0x20) !== 0;
    const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!;
    const contentSizeBytes = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
    const dictionaryAt = singleSegment ? 5 : 6;
    const contentSizeAt = dictionaryAt + dictionaryBytes;
    if (this.heldBytes < contentSizeAt + contentSizeBytes) return false;
    this.refuseDictionary(held.subarray(dictionaryAt, contentSizeAt));
    this.refuseLargeWindow(
      singleSegment
        ? contentSize(held.subarray(contentSizeAt, contentSizeAt + contentSizeBytes))
        : 2 ** (10 + (held[5]! >> 3)) * (1 + (held[5]! & 7) / 8),
    );
    this.hasChecksum = (descriptor & 4) !== 0;
    this.expected = "block";
    return true;
  }

  private blockHeader(): boolean {
    if (this.heldBytes < 3) return false;
    const header = this.held[0]! | (this.held[1]! << 8) | (this.held[2]! << 16);
    const isRepeatedByte = ((header >> 1) & 3) === 1;
    this.skipBytes = isRepeatedByte ? 1 : header >> 3;
    if ((header & 1) !== 0) {
      this.expected = "frame";
      if (this.hasChecksum) this.skipBytes += 4;
    }
    return true;
  }

  private refuseDictionary(id: Uint8Array): void {
    if (id.every((byte) => byte === 0)) return;
    throw new GuestMmuError("UNSUPPORTED", {
      message: `${this.path}: was compressed with a zstd dictionary, which is not part of the file.`,
      hint: `Decompress it with its dictionary first: zstd -d -D DICTIONARY ${this.path}`,
    });
  }

  private refuseLargeWindow(windowBytes: number): void {
    if (windowBytes <= ZSTD_WINDOW_MAX_BYTES) return;
    throw new GuestMmuError("UNSUPPORTED", {
      message: `${this.path}: needs a zstd window of ${windowBytes} bytes, more than ${ZSTD_WINDOW_MAX_BYTES}.`,
      hint: "Compress it again with --long=27 or less, or decompress it first.",
    });
  }
}

/** Content size field in bytes. The two-byte form counts from 256, which is nothing against the limit. */
function contentSize(field: Uint8Array): number {
  return field.reduceRight((sum, byte) => sum * 256 + byte, 0);
}

function truncated(path: string, format: "gzip" | "zstd", cause?: unknown): GuestMmuError {
  return new GuestMmuError("TRACE_TRUNCATED", {
    message: `${path}: the ${format} data end before their end mark; the file is incomplete.`,
    hint: `Copy or record it again; \`${format} -t ${path}\` must succeed.`,
    cause,
  });
}

function damaged(path: string, format: "gzip" | "zstd", cause: unknown): GuestMmuError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new GuestMmuError("TRACE_UNREADABLE", {
    message: `${path}: the ${format} data are damaged (${reason}).`,
    hint: `Copy or record it again; \`${format} -t ${path}\` must succeed.`,
    cause,
  });
}
