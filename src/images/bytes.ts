/** Memory images in memory. For Node and for browsers: nothing here needs a file system. */

import { Inflate, Z_BUF_ERROR, inflate as inflateZlib } from "pako";
import { ZSTD_HEADER_BYTES, Zstd, checkZstdHead } from "../compression/zstd.js";
import { GuestMmuError } from "../errors.js";
import { unsupported } from "./limits.js";
import { type ImageOptions, checkOptions, compressionOf, identify, readImage } from "./parse.js";
import { BytesSource } from "./source.js";
import { streamErrors, tooLarge } from "./streams.js";
import type { PhysicalImage } from "./types.js";

export { IMAGE_COMPRESSIONS, IMAGE_FORMATS, type ImageOptions } from "./parse.js";
export * from "./types.js";
export type { Zstd } from "../compression/zstd.js";

/** Bytes that a compressed image may unpack to in memory, unless told otherwise. */
export const UNPACKED_IN_MEMORY_BYTES_MAX = 2 ** 30;

export interface ImageOfOptions extends ImageOptions {
  /** The decoder for zstd, as `loadZstd` loads it. Images that need it are refused without. */
  readonly zstd?: Zstd;
}

/** Loads the decoder for images compressed with zstd: a WebAssembly module, which no browser compiles at once. */
export function loadZstd(): Promise<Zstd> {
  return Zstd.load();
}

/**
 * The memory image in `bytes`, of any format and compression that `openImage` opens. The bytes are not copied, and may not
 * change as long as the image is used; what is compressed is unpacked into memory.
 *
 * @param name what messages call it.
 * @throws GuestMmuError as `openImage` does; `UNSUPPORTED` for zstd without `options.zstd`.
 */
export function imageOf(bytes: Uint8Array, name = "the image", options: ImageOfOptions = {}): PhysicalImage {
  checkOptions(options);
  const packed = new BytesSource(bytes, name);
  const compression = compressionOf(packed, options);
  const { zstd = null, maxUnpackedBytes = UNPACKED_IN_MEMORY_BYTES_MAX } = options;
  let source = packed;
  if (compression === "gzip") source = new BytesSource(gunzip(bytes, name, maxUnpackedBytes), name);
  if (compression === "zstd") source = new BytesSource(unzstd(bytes, name, maxUnpackedBytes, zstd), name);
  return readImage(identify(source, compression, options), compression, { inflate, zstd });
}

function gunzip(bytes: Uint8Array, name: string, maxBytes: number): Uint8Array {
  const errors = streamErrors(name, "gzip");
  const content = new Pieces(() => tooLarge(name, "gzip", maxBytes), maxBytes);
  const decoder = new Inflate();
  decoder.onData = (piece) => content.add(piece);
  decoder.push(bytes, true);
  if (decoder.err === Z_BUF_ERROR || !decoder.ended) throw errors.endsEarly();
  if (decoder.err !== 0) throw errors.damaged(new Error(decoder.msg || `zlib error ${decoder.err}`));
  return content.joined();
}

function unzstd(bytes: Uint8Array, name: string, maxBytes: number, zstd: Zstd | null): Uint8Array {
  if (zstd === null) {
    throw unsupported(
      name,
      "is compressed with zstd, and the decoder is not loaded",
      "Pass `zstd: await loadZstd()` with the options.",
    );
  }
  const head = bytes.subarray(0, ZSTD_HEADER_BYTES);
  const errors = streamErrors(name, "zstd");
  const { contentBytes } = checkZstdHead(errors, head);
  if (contentBytes !== null && contentBytes > maxBytes) throw tooLarge(name, "zstd", maxBytes);
  const content = new Pieces(() => tooLarge(name, "zstd", maxBytes), maxBytes);
  for (const piece of zstd.decode(errors, head, [bytes])) content.add(piece);
  return content.joined();
}

/** Pieces of one content, up to a limit. */
class Pieces {
  private readonly pieces: Uint8Array[] = [];
  private length = 0;

  constructor(
    private readonly tooMany: () => GuestMmuError,
    private readonly maxBytes: number,
  ) {}

  add(piece: Uint8Array): void {
    this.length += piece.length;
    if (this.length > this.maxBytes) throw this.tooMany();
    this.pieces.push(piece);
  }

  joined(): Uint8Array {
    const whole = new Uint8Array(this.length);
    let at = 0;
    for (const piece of this.pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  }
}

function inflate(bytes: Uint8Array, target: Uint8Array): boolean {
  try {
    const content = inflateZlib(bytes, { chunkSize: target.length });
    if (content.length !== target.length) return false;
    target.set(content);
    return true;
  } catch {
    return false;
  }
}
