/** Memory images in files (`guestmmu/images`). Node only; for bytes in memory, and browsers, there is `bytes.ts`. */

import { inflateSync } from "node:zlib";
import { FileSource } from "./file.js";
import { type ImageOptions, checkOptions, compressionOf, identify, readImage } from "./parse.js";
import type { ByteSource } from "./source.js";
import type { PhysicalImage } from "./types.js";
import { type UnpackOptions, unpack } from "./unpack.js";
import { Zstd } from "../compression/zstd.js";

export { IMAGE_COMPRESSIONS, IMAGE_FORMATS, type ImageOptions } from "./parse.js";
export { UNPACKED_BYTES_MAX, type UnpackOptions } from "./unpack.js";
export * from "./types.js";

export interface OpenImageOptions extends ImageOptions, UnpackOptions {}

/**
 * Opens the memory image at `path`, of any format that `PhysicalImage` knows, as it is or compressed with gzip or zstd.
 * An uncompressed image is read in place, page by page: its size does not matter. A compressed one is unpacked first,
 * to a temporary file.
 *
 * @throws GuestMmuError `IMAGE_UNREADABLE`, `IMAGE_INVALID`, `IMAGE_TRUNCATED` and `IMAGE_TOO_LARGE` for a file that
 *   cannot be used; `UNSUPPORTED` for formats, machines and compressions that are not read; `ABORTED`; `USAGE` for an
 *   option. What can be used in part is opened, and says what is missing in `gaps` and `remarks`.
 */
export async function openImage(path: string, options: OpenImageOptions = {}): Promise<PhysicalImage> {
  checkOptions(options);
  let source: ByteSource = FileSource.open(path);
  try {
    const compression = compressionOf(source, options);
    if (compression !== "none") {
      const packed = source;
      source = await unpack(packed, compression, options);
      packed.close();
    }
    const identified = identify(source, compression, options);
    const zstd = identified.needsZstd ? await Zstd.load() : null;
    return readImage(identified, compression, { inflate, zstd });
  } catch (error) {
    source.close();
    throw error;
  }
}

function inflate(bytes: Uint8Array, target: Uint8Array): boolean {
  try {
    const content = inflateSync(bytes, { maxOutputLength: target.length });
    if (content.length !== target.length) return false;
    target.set(content);
    return true;
  } catch {
    return false;
  }
}
