// zstd streams (RFC 8878) of raw blocks: no compressor is needed for them, and a test decides where blocks end.

const MASK = (1n << 64n) - 1n;
const [P1, P2, P3, P4, P5] = [
  11400714785074694791n,
  14029467366897019727n,
  1609587929392839161n,
  9650029242287828579n,
  2870177450012600261n,
] as const;

/** XXH64 with seed 0 (github.com/Cyan4973/xxHash, doc/xxhash_spec.md), word for word. */
export function xxh64(data: Uint8Array): bigint {
  const rotate = (x: bigint, n: number): bigint => ((x << BigInt(n)) | (x >> BigInt(64 - n))) & MASK;
  const word = (at: number, bytes: number): bigint => {
    let value = 0n;
    for (let i = bytes - 1; i >= 0; i--) value = value * 256n + BigInt(data[at + i]!);
    return value;
  };
  const round = (acc: bigint, lane: bigint): bigint => (rotate((acc + lane * P2) & MASK, 31) * P1) & MASK;
  let at = 0;
  let acc: bigint = P5;
  if (data.length >= 32) {
    const lanes = [(P1 + P2) & MASK, P2, 0n, (MASK + 1n - P1) & MASK];
    for (; at + 32 <= data.length; at += 32) {
      for (let i = 0; i < 4; i++) lanes[i] = round(lanes[i]!, word(at + i * 8, 8));
    }
    acc = [1, 7, 12, 18].map((n, i) => rotate(lanes[i]!, n)).reduce((a, b) => a + b) & MASK;
    for (const lane of lanes) acc = ((acc ^ round(0n, lane)) * P1 + P4) & MASK;
  }
  acc = (acc + BigInt(data.length)) & MASK;
  for (; at + 8 <= data.length; at += 8) acc = (rotate(acc ^ round(0n, word(at, 8)), 27) * P1 + P4) & MASK;
  for (; at + 4 <= data.length; at += 4)
    acc = (rotate(acc ^ ((word(at, 4) * P1) & MASK), 23) * P2 + P3) & MASK;
  for (; at < data.length; at++) acc = (rotate(acc ^ ((word(at, 1) * P5) & MASK), 11) * P1) & MASK;
  acc = ((acc ^ (acc >> 33n)) * P2) & MASK;
  acc = ((acc ^ (acc >> 29n)) * P3) & MASK;
  return acc ^ (acc >> 32n);
}

/** Bytes of a block, where a test does not care: not a round number, and less than the 128 KiB that one may have. */
const BLOCK_BYTES = 100_000;

function littleEndian(value: bigint, bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, at) => Number((value >> BigInt(at * 8)) & 0xffn));
}

/**
 * A frame with this content.
 * @param content its blocks, or all of it
 * @param options `windowLog`: of the window, by default 128 KiB; `contentSize`: the header says how long it is;
 *   `checksum`: the low half of the content's XXH64 follows it
 */
export function zstdFrame(
  content: Uint8Array | readonly Uint8Array[],
  options: { windowLog?: number; contentSize?: boolean; checksum?: boolean } = {},
): Buffer {
  const { windowLog = 17, contentSize = false, checksum = false } = options;
  const whole = content instanceof Uint8Array ? content : Buffer.concat(content);
  const blocks = content instanceof Uint8Array ? blocksOf(content) : content;
  const flags = (contentSize ? 0xc0 : 0) | (checksum ? 4 : 0);
  const parts: Uint8Array[] = [Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, flags, (windowLog - 10) << 3)];
  if (contentSize) parts.push(littleEndian(BigInt(whole.length), 8));
  blocks.forEach((block, at) => {
    const isLast = at === blocks.length - 1;
    parts.push(littleEndian(BigInt((block.length << 3) | (isLast ? 1 : 0)), 3), block);
  });
  if (checksum) parts.push(littleEndian(xxh64(whole), 4));
  return Buffer.concat(parts);
}

function blocksOf(bytes: Uint8Array): Uint8Array[] {
  const count = Math.max(1, Math.ceil(bytes.length / BLOCK_BYTES));
  return Array.from({ length: count }, (_, i) => bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES));
}

/** A frame that decoders pass over. */
export function zstdSkippable(payloadBytes: number): Buffer {
  const frame = Buffer.alloc(8 + payloadBytes, 0xaa);
  frame.writeUInt32LE(0x184d2a53, 0);
  frame.writeUInt32LE(payloadBytes, 4);
  return frame;
}
