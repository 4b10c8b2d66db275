/**
 * zstd (RFC 8878) by the reference decoder, compiled to WebAssembly (`zstddec`). It is loaded only where a file needs it.
 * docs/decisions/0013-zstd-of-images.md says why this one.
 */

import type { ZSTDDecoder } from "zstddec/stream";
import { GuestMmuError } from "../errors.js";
import type { StreamErrors } from "./errors.js";

/** Largest window that the decoder accepts: that of `zstd --long=27`, as `zstd -d` without options. */
const WINDOW_MAX_BYTES = 2 ** 27;

/** Bytes that the decoder is given at a time. */
const INPUT_BYTES = 64 * 1024;

/** Bytes of the largest frame header. */
export const ZSTD_HEADER_BYTES = 18;

/** Fewest bytes of a frame: a skippable one without content. */
const FRAME_BYTES_MIN = 8;

const ZSTD_MAGIC = 0xfd2fb528;
/** Of this and the fifteen numbers after it: frames that hold nothing for a decoder. */
const SKIPPABLE_MAGIC = 0x184d2a50;

/** What the header of a data frame says. */
interface FrameHeader {
  readonly windowBytes: number;
  /** Bytes of content; null if the header does not say. */
  readonly contentBytes: number | null;
  readonly hasDictionary: boolean;
}

/**
 * The library does not free what a stream took that it has not decoded to its end: its window, and buffers of less than
 * this. Beyond the limit no further stream is decoded; the memory goes with the process, or the page.
 */
const STREAM_BYTES = 2 ** 20;
const LOST_BYTES_MAX = 2 ** 30;

/** Bytes lost so far: the library has one memory, whoever uses it. */
let lostBytes = 0;

/** True if `head`, the beginning of a file, is that of a zstd stream. */
export function isZstd(head: Uint8Array): boolean {
  if (head.length < 4) return false;
  const magic = littleEndian(head.subarray(0, 4));
  return magic === ZSTD_MAGIC || (magic & ~0xf) === SKIPPABLE_MAGIC;
}

/** The decoder, ready for use. */
export class Zstd {
  private constructor(private readonly decoder: ZSTDDecoder) {}

  /** Loads the library and compiles its module, once. */
  static async load(): Promise<Zstd> {
    const { ZSTDDecoder } = await import("zstddec/stream");
    const decoder = new ZSTDDecoder();
    await decoder.init();
    return new Zstd(decoder);
  }

  /**
   * The content of a stream of frames, in pieces of up to 128 KBytes; checksums are verified.
   *
   * @param errors what is thrown for data that are cut off or damaged, for a dictionary or a window above 128 MBytes in
   *   the first frame, and after many damaged streams.
   * @param head the first bytes of the stream, `ZSTD_HEADER_BYTES` if there are so many.
   * @param chunks the stream, in chunks of any size.
   */
  *decode(errors: StreamErrors, head: Uint8Array, chunks: Iterable<Uint8Array>): Generator<Uint8Array, void> {
    for (const piece of this.#steps(errors, head, chunks)) if (piece.length > 0) yield piece;
  }

  /** The same for a stream that arrives. */
  async *decodeArriving(
    errors: StreamErrors,
    head: Uint8Array,
    chunks: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array, void> {
    // A step takes one chunk at most: there is always one to take if steps are made while one waits.
    const waiting: Uint8Array[] = [];
    const steps = this.#steps(errors, head, takenFrom(waiting));
    for await (const chunk of chunks) {
      if (chunk.length > 0) waiting.push(chunk);
      while (waiting.length > 0) {
        const { value } = steps.next();
        if (value && value.length > 0) yield value;
      }
    }
    for (const piece of steps) if (piece.length > 0) yield piece;
  }

  /** What each step of the decoder gives, which may be nothing. */
  *#steps(errors: StreamErrors, head: Uint8Array, chunks: Iterable<Uint8Array>): Generator<Uint8Array, void> {
    const { windowBytes } = checkZstdHead(errors, head);
    if (lostBytes > LOST_BYTES_MAX) {
      throw errors.unsupported("is one too many after damaged zstd data", "Open it in a new process.");
    }
    // The library repeats a failed step for ever and yields nothing. A sound step takes or gives at least a byte, or
    // ends a frame, so that there are fewer empty ones between two inputs than frames fit into one.
    let emptySteps = 0;
    let emptyStepsMax = 0;
    function* inputs(): Generator<Uint8Array> {
      for (const chunk of chunks) {
        for (let at = 0; at < chunk.length; at += INPUT_BYTES) {
          const input = chunk.subarray(at, at + INPUT_BYTES);
          emptySteps = 0;
          emptyStepsMax = input.length / FRAME_BYTES_MIN + 1;
          yield input;
        }
      }
    }
    const takenBytes = windowBytes + STREAM_BYTES;
    lostBytes += takenBytes;
    try {
      for (const piece of this.decoder.decodeStreaming(inputs())) {
        if (piece.length === 0 && ++emptySteps > emptyStepsMax) throw errors.damaged();
        yield piece;
      }
      lostBytes -= takenBytes;
    } catch (error) {
      if (error instanceof GuestMmuError) throw error;
      if (!(error instanceof Error) || !error.message.startsWith("Incomplete stream")) {
        throw errors.damaged(error);
      }
      lostBytes -= takenBytes;
      throw errors.endsEarly(error);
    }
  }

  /**
   * Decodes one frame of known size.
   *
   * @returns false if `bytes` is not a frame whose content fills `target`.
   */
  decodePage(bytes: Uint8Array, target: Uint8Array): boolean {
    let content: Uint8Array;
    try {
      content = this.decoder.decode(bytes, target.length);
    } catch {
      return false;
    }
    if (content.length !== target.length) return false;
    target.set(content);
    return true;
  }
}

/**
 * Refuses, before any of it is decoded, a stream that the decoder cannot decode.
 *
 * @param head the first bytes of the stream, `ZSTD_HEADER_BYTES` if there are so many.
 * @returns window and content of the first frame, in bytes; `contentBytes` is null if the stream does not say.
 * @throws what `errors.unsupported` makes, for dictionaries and large windows.
 */
export function checkZstdHead(
  errors: StreamErrors,
  head: Uint8Array,
): { readonly windowBytes: number; readonly contentBytes: number | null } {
  const header = parseFrameHeader(head);
  if (header === null) return { windowBytes: 0, contentBytes: null };
  if (header.hasDictionary) {
    throw errors.unsupported(
      "was compressed with a zstd dictionary, which is not part of the file",
      "Decompress it with its dictionary first: zstd -d -D DICTIONARY FILE",
    );
  }
  if (header.windowBytes > WINDOW_MAX_BYTES) {
    throw errors.unsupported(
      `needs a zstd window of ${header.windowBytes} bytes; the limit is ${WINDOW_MAX_BYTES}`,
      "Decompress it first: zstd -d --long=31 FILE",
    );
  }
  return header;
}

/** The frame header at the beginning of `head` (RFC 8878, 3.1.1.1); null if it is skippable or cut off. */
function parseFrameHeader(head: Uint8Array): FrameHeader | null {
  if (head.length < 5 || littleEndian(head.subarray(0, 4)) !== ZSTD_MAGIC) return null;
  const descriptor = head[4]!;
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const dictionaryAt = isSingleSegment ? 5 : 6;
  const contentAt = dictionaryAt + [0, 1, 2, 4][descriptor & 3]!;
  const contentSizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
  if (head.length < contentAt + contentSizeBytes) return null;
  // The two-byte form counts from 256.
  const contentBytes =
    littleEndian(head.subarray(contentAt, contentAt + contentSizeBytes)) + (contentSizeBytes === 2 ? 256 : 0);
  return {
    windowBytes: isSingleSegment ? contentBytes : 2 ** (10 + (head[5]! >> 3)) * (1 + (head[5]! & 7) / 8),
    contentBytes: contentSizeBytes === 0 ? null : contentBytes,
    hasDictionary: head.subarray(dictionaryAt, contentAt).some((byte) => byte !== 0),
  };
}

/** Chunks as long as some are waiting. */
function* takenFrom(waiting: Uint8Array[]): Generator<Uint8Array> {
  for (let chunk = waiting.shift(); chunk !== undefined; chunk = waiting.shift()) yield chunk;
}

/** A number of up to eight bytes; above 2^53 it is rounded. */
function littleEndian(bytes: Uint8Array): number {
  return bytes.reduceRight((sum, byte) => sum * 256 + byte, 0);
}
