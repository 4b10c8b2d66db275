/** xxHash, 32 bits (XXH32, github.com/Cyan4973/xxHash, doc/xxhash_spec.md): guards a saved machine against damage. */

const P1 = 0x9e3779b1;
const P2 = 0x85ebca77;
const P3 = 0xc2b2ae3d;
const P4 = 0x27d4eb2f;
const P5 = 0x165667b1;
const STRIPE = 16;

const rotate = (x: number, bits: number): number => (x << bits) | (x >>> (32 - bits));
const round = (lane: number, word: number): number =>
  Math.imul(rotate((lane + Math.imul(word, P2)) | 0, 13), P1);

/** Hash of a sequence of bytes that arrives in pieces. Every piece but the last is a multiple of 16 bytes. */
export class Checksum {
  #a: number;
  #b: number;
  #c: number;
  #d: number;
  #length = 0;
  #tail = new Uint8Array(0);
  readonly #seed: number;

  constructor(seed = 0) {
    this.#seed = seed;
    this.#a = (seed + P1 + P2) | 0;
    this.#b = (seed + P2) | 0;
    this.#c = seed | 0;
    this.#d = (seed - P1) | 0;
  }

  update(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const whole = bytes.length - (bytes.length % STRIPE);
    let [a, b, c, d] = [this.#a, this.#b, this.#c, this.#d];
    for (let at = 0; at < whole; at += STRIPE) {
      a = round(a, view.getInt32(at, true));
      b = round(b, view.getInt32(at + 4, true));
      c = round(c, view.getInt32(at + 8, true));
      d = round(d, view.getInt32(at + 12, true));
    }
    [this.#a, this.#b, this.#c, this.#d] = [a, b, c, d];
    this.#length += bytes.length;
    this.#tail = bytes.slice(whole);
  }

  /** The hash of all that was given, 0 to 2^32 - 1. */
  digest(): number {
    let h =
      this.#length >= STRIPE
        ? (rotate(this.#a, 1) + rotate(this.#b, 7) + rotate(this.#c, 12) + rotate(this.#d, 18)) | 0
        : (this.#seed + P5) | 0;
    h = (h + this.#length) | 0;
    const view = new DataView(this.#tail.buffer, this.#tail.byteOffset, this.#tail.byteLength);
    let at = 0;
    for (; at + 4 <= this.#tail.length; at += 4) {
      h = Math.imul(rotate((h + Math.imul(view.getInt32(at, true), P3)) | 0, 17), P4);
    }
    for (; at < this.#tail.length; at++)
      h = Math.imul(rotate((h + Math.imul(view.getUint8(at), P5)) | 0, 11), P1);
    h = Math.imul(h ^ (h >>> 15), P2);
    h = Math.imul(h ^ (h >>> 13), P3);
    return (h ^ (h >>> 16)) >>> 0;
  }
}
