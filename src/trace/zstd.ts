/**
 * One frame of a zstd stream (RFC 8878, section 3.1), decoded as its bytes arrive. The decompression itself
 * is fzstd's. What it leaves out is done here: checksums, and the refusal of frames that it would decode
 * wrongly or that would cost any amount of memory.
 */

import { Decompress } from "fzstd";
import { Xxh64 } from "./xxh64.js";

/**
 * Largest window in bytes that is accepted. fzstd 0.1.1 reads the distance of a match from four bytes, which
 * loses its top bit, without an error, from 2^26 + 2^25 - 3 on (described in pull request 22 of
 * 101arrowz/fzstd). `zstd` uses such windows only with `--long=27` or `--ultra`, for more than 96 MiB or an
 * unknown size.
 */
export const ZSTD_WINDOW_MAX_BYTES = 2 ** 26 + 2 ** 25 - 4;

/**
 * Bytes of a frame that `ZstdFrame.decode` should be given at a time: a block of four bytes may expand to 128
 * KiB and all blocks of one call are delivered together, so 1 KiB bounds that to 32 MiB.
 */
export const ZSTD_PIECE_BYTES = 1024;

const ZSTD_MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC_MIN = 0x184d2a50;
const SKIPPABLE_MAGIC_MAX = 0x184d2a5f;

/** A frame header has 18 bytes at most. */
const HEADER_BYTES_MAX = 18;

/** Data that are not zstd, or damaged. */
export class ZstdDamaged extends Error {}

/** A sound frame that cannot be decoded here. */
export class ZstdUnsupported extends Error {
  constructor(
    message: string,
    readonly hint: string,
  ) {
    super(message);
  }
}

/** True if `head`, the beginning of a file, is that of a zstd stream. */
export function isZstd(head: Uint8Array): boolean {
  if (head.length < 4) return false;
  const magic = littleEndian32(head, 0);
  return magic === ZSTD_MAGIC || isSkippableMagic(magic);
}

/** A frame that is being read: data, or bytes to be passed over. A stream is a sequence of frames. */
export class ZstdFrame {
  private readonly held = new Uint8Array(HEADER_BYTES_MAX);
  private heldBytes = 0;
  /** What comes after the next `passBytes` bytes. */
  private state: "header" | "block" | "checksum" | "end" = "header";
  private passBytes = 0;
  private checksum: Xxh64 | null = null;
  private blocks: Uint8Array[] = [];
  private readonly decoder = new Decompress((block) => this.blocks.push(block));

  /** True before the first byte of the frame: a stream may end here. */
  get isUntouched(): boolean {
    return this.state === "header" && this.heldBytes === 0;
  }

  /** True after the last byte of the frame. */
  get hasEnded(): boolean {
    return this.state === "end" && this.passBytes === 0;
  }

  /**
   * Reads `bytes` up to the end of the frame.
   *
   * @returns how many bytes were taken, and the blocks that they completed, in order; some may be empty.
   *   Joined, the blocks of all calls are the content of the frame.
   * @throws ZstdDamaged for what is not a frame, or whose checksum is wrong; ZstdUnsupported for a
   *   dictionary, or a window above `ZSTD_WINDOW_MAX_BYTES`.
   */
  decode(bytes: Uint8Array): { readonly taken: number; readonly blocks: readonly Uint8Array[] } {
    const taken = this.follow(bytes);
    this.blocks = [];
    try {
      this.decoder.push(bytes.subarray(0, taken), this.hasEnded);
    } catch (error) {
      throw new ZstdDamaged(error instanceof Error ? error.message : String(error), { cause: error });
    }
    this.verify();
    return { taken, blocks: this.blocks };
  }

  /** Walks over the structure of the frame, ahead of the decoder; returns how many bytes belong to it. */
  private follow(bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length && !this.hasEnded) {
      if (this.passBytes > 0) {
        const passed = Math.min(this.passBytes, bytes.length - at);
        this.passBytes -= passed;
        at += passed;
        continue;
      }
      this.held[this.heldBytes++] = bytes[at++]!;
      if (this.state === "header") this.frameHeader();
      else if (this.state === "block") this.blockHeader();
      else if (this.heldBytes === 4) this.state = "end";
    }
    return at;
  }

  private frameHeader(): void {
    const { held } = this;
    if (this.heldBytes < 5) return;
    const magic = littleEndian32(held, 0);
    if (isSkippableMagic(magic)) {
      if (this.heldBytes === 8) this.expect("end", littleEndian32(held, 4));
      return;
    }
    if (magic !== ZSTD_MAGIC) throw new ZstdDamaged("what follows the last frame is not a frame");
    const descriptor = held[4]!;
    const isSingleSegment = (descriptor & 0x20) !== 0;
    const dictionaryAt = isSingleSegment ? 5 : 6;
    const contentSizeAt = dictionaryAt + [0, 1, 2, 4][descriptor & 3]!;
    const headerBytes = contentSizeAt + [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
    if (this.heldBytes < headerBytes) return;
    refuseDictionary(held.subarray(dictionaryAt, contentSizeAt));
    // The two-byte form of the content size counts from 256, which is nothing against the limit.
    refuseLargeWindow(
      isSingleSegment
        ? littleEndian(held.subarray(contentSizeAt, headerBytes))
        : 2 ** (10 + (held[5]! >> 3)) * (1 + (held[5]! & 7) / 8),
    );
    if ((descriptor & 4) !== 0) this.checksum = new Xxh64();
    this.expect("block", 0);
  }

  private blockHeader(): void {
    if (this.heldBytes < 3) return;
    const header = littleEndian(this.held.subarray(0, 3));
    const isLast = (header & 1) !== 0;
    const isRepeatedByte = ((header >> 1) & 3) === 1;
    const next = !isLast ? "block" : this.checksum !== null ? "checksum" : "end";
    this.expect(next, isRepeatedByte ? 1 : header >> 3);
  }

  private expect(state: "block" | "checksum" | "end", passBytes: number): void {
    this.state = state;
    this.passBytes = passBytes;
    this.heldBytes = 0;
  }

  /**
   * A frame that has a checksum, as `zstd` writes them, ends with the low half of the XXH64 of its content.
   */
  private verify(): void {
    if (this.checksum === null) return;
    for (const block of this.blocks) this.checksum.update(block);
    if (!this.hasEnded) return;
    const expected = littleEndian32(this.held, 0);
    const found = Number(this.checksum.digest() & 0xffff_ffffn);
    if (found === expected) return;
    throw new ZstdDamaged(`checksum ${found.toString(16)}, where ${expected.toString(16)} was recorded`);
  }
}

function refuseDictionary(id: Uint8Array): void {
  if (id.every((byte) => byte === 0)) return;
  throw new ZstdUnsupported(
    "was compressed with a zstd dictionary, which is not part of the file",
    "Decompress it with its dictionary first: zstd -d -D DICTIONARY FILE",
  );
}

function refuseLargeWindow(windowBytes: number): void {
  if (windowBytes <= ZSTD_WINDOW_MAX_BYTES) return;
  throw new ZstdUnsupported(
    `needs a zstd window of ${windowBytes} bytes; the limit is ${ZSTD_WINDOW_MAX_BYTES}`,
    "Decompress it first with zstd -d --long=31 FILE, or compress it with --long=26 or less.",
  );
}

function isSkippableMagic(magic: number): boolean {
  return magic >= SKIPPABLE_MAGIC_MIN && magic <= SKIPPABLE_MAGIC_MAX;
}

function littleEndian32(bytes: Uint8Array, at: number): number {
  return littleEndian(bytes.subarray(at, at + 4));
}

/** A number of up to eight bytes; above 2^53 it is rounded. */
function littleEndian(bytes: Uint8Array): number {
  return bytes.reduceRight((sum, byte) => sum * 256 + byte, 0);
}
