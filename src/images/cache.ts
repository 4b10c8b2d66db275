/** A source of which the chunks that were read last are kept. */

import { type ByteSource, bytesAt } from "./source.js";

const CHUNK_BYTES = 4096;
const CHUNKS_MAX = 64;

/** For tables that are looked at a few bytes at a time: 256 KBytes of them stay in memory, the latest. */
export class CachedSource implements ByteSource {
  readonly name: string;
  readonly size: number;
  /** By number; in the order of use, the latest last. */
  private readonly chunks = new Map<number, Uint8Array>();

  constructor(private readonly source: ByteSource) {
    this.name = source.name;
    this.size = source.size;
  }

  read(position: number, target: Uint8Array): number {
    let done = 0;
    while (done < target.length && position + done < this.size) {
      const at = position + done;
      const from = at % CHUNK_BYTES;
      const found = this.chunk((at - from) / CHUNK_BYTES).subarray(from, from + target.length - done);
      if (found.length === 0) break;
      target.set(found, done);
      done += found.length;
    }
    return done;
  }

  close(): void {
    this.chunks.clear();
    this.source.close();
  }

  private chunk(number: number): Uint8Array {
    let chunk = this.chunks.get(number);
    if (chunk === undefined) {
      chunk = bytesAt(this.source, number * CHUNK_BYTES, CHUNK_BYTES);
      for (const oldest of this.chunks.keys()) {
        if (this.chunks.size < CHUNKS_MAX) break;
        this.chunks.delete(oldest);
      }
    } else {
      this.chunks.delete(number);
    }
    this.chunks.set(number, chunk);
    return chunk;
  }
}
