/** Decoders that a reader is given: Node's zlib is not there in browsers, and zstd is loaded only when it is asked for. */

import type { Zstd } from "../compression/zstd.js";

export interface Codecs {
  /**
   * Decodes a zlib stream (RFC 1950) of known size.
   *
   * @returns false if `bytes` is not such a stream, or its content is not exactly as long as `target`.
   */
  inflate(bytes: Uint8Array, target: Uint8Array): boolean;
  /** Null until the decoder has been loaded. */
  readonly zstd: Zstd | null;
}
