/** Bytes at positions: what the readers of the formats read from, be it a file or memory. */

/** A finite sequence of bytes that can be read anywhere. */
export interface ByteSource {
  /** What the user calls it: a path, or a word for bytes in memory. Stands in every message. */
  readonly name: string;
  /** Length in bytes, at most 2^53 - 1. */
  readonly size: number;
  /**
   * Copies the bytes from `position` (from 0) on into `target`.
   *
   * @returns how many bytes were copied: fewer than `target` has only where the source ends; 0 at or beyond its end.
   * @throws GuestMmuError `IMAGE_UNREADABLE` for a failure of the file system.
   */
  read(position: number, target: Uint8Array): number;
  /** Gives back what the source holds. Closing again does nothing. */
  close(): void;
}

/** Bytes that are in memory already. They are not copied: the image shows what they hold when it is read. */
export class BytesSource implements ByteSource {
  readonly size: number;

  constructor(
    private readonly bytes: Uint8Array,
    readonly name: string,
  ) {
    this.size = bytes.length;
  }

  read(position: number, target: Uint8Array): number {
    if (position >= this.size) return 0;
    const found = this.bytes.subarray(position, position + target.length);
    target.set(found);
    return found.length;
  }

  close(): void {}
}

/** Copies up to `length` bytes from `position` on: fewer only where the source ends. */
export function bytesAt(source: ByteSource, position: number, length: number): Uint8Array {
  const target = new Uint8Array(length);
  return target.subarray(0, source.read(position, target));
}

/** For reading little-endian fields of `bytes`. */
export function fieldsOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A u64 as the nearest double: exact up to 2^53, which is more than any position in a file. */
export function fieldNumber(fields: DataView, offset: number): number {
  return Number(fields.getBigUint64(offset, true));
}
