/** gzip (RFC 1952) of files, by Node's zlib. */

import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { GuestMmuError } from "../errors.js";
import type { StreamErrors } from "./errors.js";

/** Bytes of content at a time. */
const PIECE_BYTES = 256 * 1024;

/**
 * The content of a stream of gzip members; checksums are verified.
 *
 * @param chunks the stream. Each chunk has memory of its own: one is worked on while the next is read. What reading one throws
 *   is thrown on.
 */
export async function* gunzip(
  errors: StreamErrors,
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  const decoder = createGunzip({ chunkSize: PIECE_BYTES });
  // Whatever fails in the pipeline ends the iteration below with the same error: it is reported there only.
  const fed = pipeline(chunks, decoder).catch(() => undefined);
  try {
    for await (const piece of decoder) yield piece as Uint8Array;
  } catch (error) {
    if (error instanceof GuestMmuError) throw error;
    throw (error as NodeJS.ErrnoException).code === "Z_BUF_ERROR"
      ? errors.endsEarly(error)
      : errors.damaged(error);
  } finally {
    // Leaving the loop early has destroyed the decoder, which ends the pipeline: wait until it reads no more.
    await fed;
  }
}
