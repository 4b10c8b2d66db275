/** Text in ASCII, put together in bytes: a listing has a hundred thousand rows, and strings of 64-bit numbers are slow. */

/** Where finished pieces go. They are not written again, so that a stream may keep them. */
export type Sink = (piece: Uint8Array) => void;

const PIECE_BYTES = 128 * 1024;
/** No call of a method writes more without looking whether there is room. */
const RESERVE_BYTES = 256;
const ROOM_UP_TO = PIECE_BYTES - 2 * RESERVE_BYTES;

/** `00` to `ff` as two characters each. */
const HEX_PAIRS = Uint16Array.from({ length: 256 }, (_, byte) => {
  const [high, low] = byte.toString(16).padStart(2, "0");
  return high!.charCodeAt(0) | (low!.charCodeAt(0) << 8);
});

const ZERO = "0".charCodeAt(0);
const SPACE = " ".charCodeAt(0);

export class ByteWriter {
  readonly #sink: Sink;
  #bytes = new Uint8Array(PIECE_BYTES);
  #at = 0;

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  /** A text of any length; only ASCII. */
  text(text: string): void {
    if (text.length > RESERVE_BYTES) {
      this.utf8(text);
      return;
    }
    if (this.#at > ROOM_UP_TO) this.flush();
    const bytes = this.#bytes;
    const at = this.#at;
    for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
    this.#at = at + text.length;
  }

  /** A text with any characters, as UTF-8: slower. */
  utf8(text: string): void {
    this.flush();
    this.#sink(new TextEncoder().encode(text));
  }

  /** Sixteen hexadecimal digits of a number in two words. */
  hex16(low: number, high: number): void {
    if (this.#at > ROOM_UP_TO) this.flush();
    const at = this.#at;
    putHex8(this.#bytes, at, high);
    putHex8(this.#bytes, at + 8, low);
    this.#at = at + 16;
  }

  /** `0x` and as many digits as it takes. */
  hex(low: number, high: number): void {
    this.text("0x");
    this.hex16(low, high);
    const bytes = this.#bytes;
    // The room that was looked for does not move what was written: the digits are still in one piece.
    const first = this.#at - 16;
    let zeros = 0;
    while (zeros < 15 && bytes[first + zeros] === ZERO) zeros++;
    if (zeros === 0) return;
    bytes.copyWithin(first, first + zeros, this.#at);
    this.#at -= zeros;
  }

  /** `text`, at the right end of `width` characters, at most 256. */
  right(text: string, width: number): void {
    for (let i = text.length; i < width; i++) this.#bytes[this.#at++] = SPACE;
    this.text(text);
  }

  /** Hands over what has been written so far. */
  flush(): void {
    if (this.#at === 0) return;
    this.#sink(this.#bytes.subarray(0, this.#at));
    this.#bytes = new Uint8Array(PIECE_BYTES);
    this.#at = 0;
  }
}

function putHex8(bytes: Uint8Array, at: number, word: number): void {
  for (let i = 0, shift = 24; i < 8; i += 2, shift -= 8) {
    const pair = HEX_PAIRS[(word >>> shift) & 0xff]!;
    bytes[at + i] = pair & 0xff;
    bytes[at + i + 1] = pair >> 8;
  }
}
