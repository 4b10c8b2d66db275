/**
 * Compressed images are unpacked once, to a temporary file: a page walk reads in any order, and neither gzip nor zstd
 * can. Node only.
 */

import { randomUUID } from "node:crypto";
import { closeSync, ftruncateSync, openSync, unlinkSync, write } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { gunzip } from "../compression/gunzip.js";
import { ZSTD_HEADER_BYTES, Zstd, checkZstdHead } from "../compression/zstd.js";
import { GuestMmuError } from "../errors.js";
import { FileSource } from "./file.js";
import { type ByteSource, bytesAt } from "./source.js";
import { streamErrors, tooLarge } from "./streams.js";
import type { ImageCompression } from "./types.js";

/** Bytes that a compressed image may unpack to, unless told otherwise. */
export const UNPACKED_BYTES_MAX = 64 * 2 ** 30;

/** Bytes of a compressed file that are read at a time. */
const READ_BYTES = 256 * 1024;

/** Zeros that fill a block of the file system are not written: memory has many of them. */
const HOLE_BYTES = 4096;
const HOLE = Buffer.alloc(HOLE_BYTES);

/** Where and how far a compressed image is unpacked. */
export interface UnpackOptions {
  /** Most bytes that a compressed image may unpack to. Default: 64 GiB. */
  readonly maxUnpackedBytes?: number;
  /**
   * Directory of the temporary file. Default: that of the system (`TMPDIR`). It should not be in memory, as /tmp is
   * on some systems.
   */
  readonly temporaryDirectory?: string;
  /** Stops the unpacking. */
  readonly signal?: AbortSignal;
}

/**
 * Unpacks `packed` to a temporary file, which goes when the returned source is closed, and at the latest with the
 * process. Zeros take no room in it.
 *
 * @throws GuestMmuError `IMAGE_TRUNCATED` or `IMAGE_UNREADABLE` for data that are cut off or damaged; `IMAGE_TOO_LARGE`
 *   beyond the limit; `IMAGE_UNREADABLE` when the disk is full; `ABORTED`. The temporary file is gone then.
 */
export async function unpack(
  packed: ByteSource,
  compression: Exclude<ImageCompression, "none">,
  { maxUnpackedBytes = UNPACKED_BYTES_MAX, temporaryDirectory = tmpdir(), signal }: UnpackOptions,
): Promise<ByteSource> {
  const { name } = packed;
  if (compression === "zstd") {
    const { contentBytes } = checkZstdHead(
      streamErrors(name, compression),
      bytesAt(packed, 0, ZSTD_HEADER_BYTES),
    );
    if (contentBytes !== null && contentBytes > maxUnpackedBytes)
      throw tooLarge(name, "zstd", maxUnpackedBytes);
  }
  const pieces =
    compression === "gzip" ? gunzip(streamErrors(name, compression), chunksOf(packed)) : unzstd(packed);
  const file = TemporaryFile.create(temporaryDirectory);
  try {
    for await (const piece of pieces) {
      if (file.size + piece.length > maxUnpackedBytes) throw tooLarge(name, compression, maxUnpackedBytes);
      if (signal?.aborted) throw aborted(name, signal.reason);
      await file.append(piece);
    }
    return file.finish(name);
  } catch (error) {
    file.close();
    throw error;
  }
}

async function* unzstd(packed: ByteSource): AsyncGenerator<Uint8Array, void> {
  const zstd = await Zstd.load();
  const head = bytesAt(packed, 0, ZSTD_HEADER_BYTES);
  yield* zstd.decode(streamErrors(packed.name, "zstd"), head, chunksOf(packed));
}

/** All bytes in order. Each chunk has memory of its own: gunzip works on one while the next is read. */
function* chunksOf(source: ByteSource): Generator<Uint8Array, void> {
  for (let at = 0; at < source.size;) {
    const chunk = bytesAt(source, at, READ_BYTES);
    if (chunk.length === 0) return;
    yield chunk;
    at += chunk.length;
  }
}

const writeAt = promisify(write);

/** A file that has no name where the system allows that: it then goes with the process, whatever ends it. */
class TemporaryFile {
  size = 0;
  private isOpen = true;

  private constructor(
    private readonly descriptor: number,
    private readonly directory: string,
    /** Removes the name; null once it is gone. */
    private unlink: (() => void) | null,
  ) {}

  static create(directory: string): TemporaryFile {
    const path = join(directory, `guestmmu-${randomUUID()}`);
    let descriptor: number;
    try {
      // Memory holds secrets: nobody else may read it.
      descriptor = openSync(path, "wx+", 0o600);
    } catch (error) {
      throw temporaryFailed(directory, 0, error);
    }
    const unlink = () => unlinkSync(path);
    try {
      unlink();
      return new TemporaryFile(descriptor, directory, null);
    } catch {
      // Windows keeps the name of an open file: it goes when the file is closed, or the process exits.
      const file = new TemporaryFile(descriptor, directory, unlink);
      process.once("exit", file.close);
      return file;
    }
  }

  /** Writes `bytes` at the end, blocks of zeros excepted. */
  async append(bytes: Uint8Array): Promise<void> {
    for (let from = 0; from < bytes.length;) {
      const to = Math.min(bytes.length, from + HOLE_BYTES - ((this.size + from) % HOLE_BYTES));
      if (isZero(bytes.subarray(from, to))) {
        from = to;
        continue;
      }
      let end = to;
      while (end < bytes.length) {
        const next = Math.min(bytes.length, end + HOLE_BYTES);
        if (isZero(bytes.subarray(end, next))) break;
        end = next;
      }
      await this.writeAll(bytes.subarray(from, end), this.size + from);
      from = end;
    }
    this.size += bytes.length;
  }

  /** The file as a source that closes it. */
  finish(name: string): ByteSource {
    try {
      ftruncateSync(this.descriptor, this.size);
    } catch (error) {
      throw temporaryFailed(this.directory, this.size, error);
    }
    const source = new FileSource(this.descriptor, name, this.size);
    return { name, size: this.size, read: source.read.bind(source), close: this.close };
  }

  readonly close = (): void => {
    if (!this.isOpen) return;
    this.isOpen = false;
    closeSync(this.descriptor);
    if (this.unlink === null) return;
    process.removeListener("exit", this.close);
    this.unlink();
  };

  private async writeAll(bytes: Uint8Array, position: number): Promise<void> {
    try {
      for (let done = 0; done < bytes.length;) {
        const left = bytes.length - done;
        done += (await writeAt(this.descriptor, bytes, done, left, position + done)).bytesWritten;
      }
    } catch (error) {
      throw temporaryFailed(this.directory, position, error);
    }
  }
}

function isZero(bytes: Uint8Array): boolean {
  return HOLE.compare(bytes, 0, bytes.length, 0, bytes.length) === 0;
}

function temporaryFailed(directory: string, position: number, cause: unknown): GuestMmuError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const isFull = code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG";
  return new GuestMmuError("IMAGE_UNREADABLE", {
    message: isFull
      ? `${directory}: there is no more room, after ${position} bytes of a compressed image were unpacked here.`
      : `${directory}: a compressed image cannot be unpacked here (${message}).`,
    hint: "Name another directory (TMPDIR, or the option temporaryDirectory), or decompress the image by hand.",
    cause,
  });
}

function aborted(name: string, cause: unknown): GuestMmuError {
  return new GuestMmuError("ABORTED", {
    message: `${name}: unpacking was stopped.`,
    hint: "Open the image again to go on.",
    cause,
  });
}
