/**
 * Bytes of a trace file: plain, gzip or zstd, told apart by their first bytes and not by the file's name.
 * Memory stays bounded whatever the size of the file: the largest buffer is the window of a zstd frame.
 */

import { open, type FileHandle } from "node:fs/promises";
import type { StreamErrors } from "../compression/errors.js";
import { gunzip } from "../compression/gunzip.js";
import { ZSTD_HEADER_BYTES, Zstd, isZstd } from "../compression/zstd.js";
import { GuestMmuError } from "../errors.js";

/** How the bytes of a trace are stored. */
export type Compression = "none" | "gzip" | "zstd";

/** Bytes taken from the file at a time. */
const READ_BYTES = 256 * 1024;

/** An open trace: decompressed bytes in order, in pieces of no particular size. Iterate once. */
export interface TraceSource {
  readonly compression: Compression;
  readonly chunks: AsyncGenerator<Uint8Array, void>;
}

/**
 * Opens `path` and finds out how it is compressed. Regular files, FIFOs and `/dev/stdin` will do. The file is
 * closed when `chunks` ends, throws, or is returned early.
 *
 * Checksums of gzip and zstd are verified at the end of what they cover: its chunks are delivered before.
 *
 * @throws GuestMmuError `TRACE_UNREADABLE` when the file cannot be opened, is a directory, or holds damaged
 *   data; `TRACE_TRUNCATED` when compressed data stop early; `UNSUPPORTED` for other compressions, for a zstd dictionary, and
 *   for a zstd window above 128 MBytes. Iterating `chunks` may throw each of them.
 */
export async function openTraceSource(path: string): Promise<TraceSource> {
  const file = await openFile(path);
  try {
    const head = await readHead(file, path);
    const compression = compressionOf(head, path);
    const stored = storedChunks(file, path, head);
    const decoded =
      compression === "gzip"
        ? gunzip(streamErrors(path, compression), stored)
        : compression === "zstd"
          ? unzstd(stored, streamErrors(path, compression), head)
          : stored;
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

/** Reads until as many bytes are there as a compression is known by, or the file ends: a FIFO may deliver them one by one. */
async function readHead(file: FileHandle, path: string): Promise<Uint8Array> {
  const head = Buffer.allocUnsafeSlow(READ_BYTES);
  let length = 0;
  while (length < ZSTD_HEADER_BYTES) {
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
  const [a, b, c] = head;
  if (a === 0x1f && b === 0x8b) return "gzip";
  if (isZstd(head)) return "zstd";
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

/** The file as it is stored. Each chunk has memory of its own: gunzip works on one while the next is read. */
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

async function* unzstd(
  stored: AsyncGenerator<Uint8Array, void>,
  errors: StreamErrors,
  head: Uint8Array,
): AsyncGenerator<Uint8Array, void> {
  const zstd = await Zstd.load();
  yield* zstd.decodeArriving(errors, head, stored);
}

function streamErrors(path: string, format: "gzip" | "zstd"): StreamErrors {
  const hint = `Copy or record it again; \`${format} -t ${path}\` must succeed.`;
  return {
    unsupported: (what, remedy) =>
      new GuestMmuError("UNSUPPORTED", { message: `${path}: ${what}.`, hint: remedy }),
    damaged(cause) {
      const reason = cause instanceof Error ? ` (${cause.message})` : "";
      const message = `${path}: the ${format} data are damaged${reason}.`;
      return new GuestMmuError("TRACE_UNREADABLE", { message, hint, cause });
    },
    endsEarly(cause) {
      const message = `${path}: the ${format} data end before their end mark; the file is incomplete.`;
      return new GuestMmuError("TRACE_TRUNCATED", { message, hint, cause });
    },
  };
}
