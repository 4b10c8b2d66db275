/**
 * XXH64 with seed 0 (github.com/Cyan4973/xxHash, doc/xxhash_spec.md), the checksum of zstd frames. 64-bit
 * numbers are pairs of 32-bit integers in the loop over the data; only the few steps at the end are done with
 * bigints.
 */

const PRIME_1 = 0x9e3779b185ebca87n;
const PRIME_2 = 0xc2b2ae3d27d4eb4fn;
const PRIME_3 = 0x165667b19e3779f9n;
const PRIME_4 = 0x85ebca77c2b2ae63n;
const PRIME_5 = 0x27d4eb2f165667c5n;

/** Four lanes take eight bytes each. */
const STRIPE_BYTES = 32;

/**
 * Halves of the two primes of the loop, and of each half its halves: what the multiplication below works
 * with.
 */
const P1 = halvesOf(PRIME_1);
const P2 = halvesOf(PRIME_2);

interface Halves {
  readonly low: number;
  readonly low0: number;
  readonly low1: number;
  readonly high: number;
}

/** A checksum that is computed piece by piece. */
export class Xxh64 {
  /** Low and high halves of the four lanes. */
  private readonly lanes = new Int32Array(8);
  private readonly rest = new Uint8Array(STRIPE_BYTES);
  private restBytes = 0;
  private totalBytes = 0;

  constructor() {
    [PRIME_1 + PRIME_2, PRIME_2, 0n, -PRIME_1].forEach((start, lane) => {
      const { low, high } = halvesOf(start);
      this.lanes[lane * 2] = low;
      this.lanes[lane * 2 + 1] = high;
    });
  }

  /** Appends bytes. */
  update(bytes: Uint8Array): void {
    this.totalBytes += bytes.length;
    let at = 0;
    if (this.restBytes > 0) {
      at = Math.min(STRIPE_BYTES - this.restBytes, bytes.length);
      this.rest.set(bytes.subarray(0, at), this.restBytes);
      this.restBytes += at;
      if (this.restBytes < STRIPE_BYTES) return;
      this.mixStripes(this.rest, 0);
    }
    at = this.mixStripes(bytes, at);
    this.rest.set(bytes.subarray(at));
    this.restBytes = bytes.length - at;
  }

  /** The 64-bit checksum of all bytes so far, 0 to 2^64 - 1. More may follow. */
  digest(): bigint {
    let hash = this.totalBytes < STRIPE_BYTES ? PRIME_5 : this.mergedLanes();
    hash = wrap(hash + BigInt(this.totalBytes));
    const view = new DataView(this.rest.buffer, 0, this.restBytes);
    let at = 0;
    for (; at + 8 <= this.restBytes; at += 8) {
      const word = view.getBigUint64(at, true);
      hash = wrap(
        rotateLeft(hash ^ wrap(rotateLeft(wrap(word * PRIME_2), 31n) * PRIME_1), 27n) * PRIME_1 + PRIME_4,
      );
    }
    if (at + 4 <= this.restBytes) {
      hash = wrap(
        rotateLeft(hash ^ wrap(BigInt(view.getUint32(at, true)) * PRIME_1), 23n) * PRIME_2 + PRIME_3,
      );
      at += 4;
    }
    for (; at < this.restBytes; at++) {
      hash = wrap(rotateLeft(hash ^ wrap(BigInt(view.getUint8(at)) * PRIME_5), 11n) * PRIME_1);
    }
    hash = wrap((hash ^ (hash >> 33n)) * PRIME_2);
    hash = wrap((hash ^ (hash >> 29n)) * PRIME_3);
    return hash ^ (hash >> 32n);
  }

  /** Takes whole stripes from offset `from` on; returns the offset of the first byte that was not taken. */
  private mixStripes(bytes: Uint8Array, from: number): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const { lanes } = this;
    let at = from;
    for (; at + STRIPE_BYTES <= bytes.length; at += STRIPE_BYTES) {
      for (let lane = 0; lane < 8; lane += 2) {
        mixLane(lanes, lane, view.getInt32(at + lane * 4, true), view.getInt32(at + lane * 4 + 4, true));
      }
    }
    return at;
  }

  private mergedLanes(): bigint {
    const lanes = new BigUint64Array(this.lanes.buffer);
    let hash = 0n;
    lanes.forEach((lane, index) => (hash += rotateLeft(lane, [1n, 7n, 12n, 18n][index]!)));
    for (const lane of lanes) {
      hash = wrap(hash) ^ wrap(rotateLeft(wrap(lane * PRIME_2), 31n) * PRIME_1);
      hash = wrap(hash * PRIME_1 + PRIME_4);
    }
    return hash;
  }
}

/** lane = rotateLeft(lane + input * PRIME_2, 31) * PRIME_1 */
function mixLane(lanes: Int32Array, lane: number, inputLow: number, inputHigh: number): void {
  const addendLow = productLow(inputLow, P2);
  const addendHigh = productHigh(inputLow, inputHigh, P2);
  const sumLow = (lanes[lane]! + addendLow) | 0;
  const carry = sumLow >>> 0 < addendLow >>> 0 ? 1 : 0;
  const sumHigh = (lanes[lane + 1]! + addendHigh + carry) | 0;
  const rotatedLow = (sumLow << 31) | (sumHigh >>> 1);
  const rotatedHigh = (sumHigh << 31) | (sumLow >>> 1);
  lanes[lane] = productLow(rotatedLow, P1);
  lanes[lane + 1] = productHigh(rotatedLow, rotatedHigh, P1);
}

/** Bits 31:0 of a product. */
function productLow(low: number, factor: Halves): number {
  return Math.imul(low, factor.low);
}

/** Bits 63:32 of a product: the carry out of the low halves, by 16-bit digits, and the two mixed products. */
function productHigh(low: number, high: number, factor: Halves): number {
  const digit0 = low & 0xffff;
  const digit1 = low >>> 16;
  const first = Math.imul(digit0, factor.low0) >>> 16;
  const second = (Math.imul(digit1, factor.low0) + first) >>> 0;
  const third = (Math.imul(digit0, factor.low1) + (second & 0xffff)) >>> 0;
  const carry = Math.imul(digit1, factor.low1) + (second >>> 16) + (third >>> 16);
  return (carry + Math.imul(low, factor.high) + Math.imul(high, factor.low)) | 0;
}

function halvesOf(value: bigint): Halves {
  const low = Number(BigInt.asIntN(32, value));
  return { low, low0: low & 0xffff, low1: low >>> 16, high: Number(BigInt.asIntN(32, value >> 32n)) };
}

function wrap(value: bigint): bigint {
  return BigInt.asUintN(64, value);
}

function rotateLeft(value: bigint, bits: bigint): bigint {
  return wrap(value << bits) | (value >> (64n - bits));
}
