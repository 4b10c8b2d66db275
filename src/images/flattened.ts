/**
 * Flattened dumps ("makedumpfile -F", and QEMU's kdump formats): the writes of a dump file one after the other, for a
 * pipe that cannot seek. All numbers are big-endian.
 *
 *   0     16 bytes  "makedumpfile", padded with zeros
 *   16    i64       type, 1
 *   24    i64       version, 1
 *   4096  blocks    i64 position, i64 length, bytes
 *         end       position -1, length -1
 */

import { CachedSource } from "./cache.js";
import { type RemarkLog, invalid, showNumber, truncated, unsupported } from "./limits.js";
import { SegmentMap } from "./segments.js";
import { type ByteSource, bytesAt, fieldsOf } from "./source.js";
import { lastWritten } from "./writes.js";

const HEADER_BYTES = 4096;
const BLOCK_HEADER_BYTES = 16;

/** Blocks that a dump may have. Each takes some 100 bytes while the index is made, and 24 from then on. */
const BLOCKS_MAX = 2 ** 21;

const REARRANGE = "Rearrange it first: makedumpfile -R OUT < FILE";

/**
 * The dump file that `source` holds the writes of. Only the index of the writes is in memory. Later writes replace earlier
 * ones, and bytes that were never written are zero, as in a file.
 *
 * @throws GuestMmuError `IMAGE_TRUNCATED` if the source ends in its header; `IMAGE_INVALID` for blocks that no file has
 *   room for; `UNSUPPORTED` for another version.
 */
export function unflattened(source: ByteSource, remarks: RemarkLog): ByteSource {
  const { name } = source;
  const header = bytesAt(source, 0, HEADER_BYTES);
  if (header.length < HEADER_BYTES) {
    throw truncated(name, `has ${header.length} bytes; the header of a flattened dump takes ${HEADER_BYTES}`);
  }
  const fields = fieldsOf(header);
  const [type, version] = [fields.getBigInt64(16), fields.getBigInt64(24)];
  if (type !== 1n || version !== 1n) {
    throw unsupported(
      name,
      `is a flattened dump of type ${type} and version ${version}; 1 and 1 are read`,
      REARRANGE,
    );
  }
  const blocks = new SegmentMap(lastWritten(readBlocks(source, remarks)));
  return new FlattenedSource(source, blocks);
}

class FlattenedSource implements ByteSource {
  readonly name: string;
  readonly size: number;

  constructor(
    private readonly source: ByteSource,
    private readonly blocks: SegmentMap,
  ) {
    this.name = source.name;
    this.size = blocks.end;
  }

  read(position: number, target: Uint8Array): number {
    const length = Math.max(0, Math.min(target.length, this.size - position));
    let done = 0;
    while (done < length) {
      done += this.blocks.copy(position + done, length - done, (at, offset, wanted) =>
        this.source.read(at, target.subarray(done + offset, done + offset + wanted)),
      );
      const next = Math.min(length, this.blocks.nextStart(position + done) - position);
      if (next === done && done < length) break; // The source has become shorter.
      target.fill(0, done, next);
      done = next;
    }
    return done;
  }

  close(): void {
    this.source.close();
  }
}

/** Columns of the blocks, in the order of writing, grown as they are read. */
class BlockColumns {
  count = 0;
  private columns = new Float64Array(3 * 1024);

  push(start: number, end: number, position: number): void {
    if (3 * this.count === this.columns.length) {
      const grown = new Float64Array(2 * this.columns.length);
      grown.set(this.columns);
      this.columns = grown;
    }
    this.columns.set([start, end, position], 3 * this.count++);
  }

  start(block: number): number {
    return this.columns[3 * block]!;
  }

  end(block: number): number {
    return this.columns[3 * block + 1]!;
  }

  position(block: number): number {
    return this.columns[3 * block + 2]!;
  }
}

function readBlocks(source: ByteSource, remarks: RemarkLog): BlockColumns {
  const { name, size } = source;
  const headers = new CachedSource(source);
  const header = new Uint8Array(BLOCK_HEADER_BYTES);
  const fields = fieldsOf(header);
  const blocks = new BlockColumns();
  const cut = (at: number) =>
    remarks.add(
      `The flattened dump ends at byte ${at} without an end mark: what came from there on was cut off.`,
    );
  for (let at = HEADER_BYTES; ;) {
    if (headers.read(at, header) < BLOCK_HEADER_BYTES) {
      cut(at);
      return blocks;
    }
    const [start, length] = [Number(fields.getBigInt64(0)), Number(fields.getBigInt64(8))];
    if (start === -1 && length === -1) return blocks;
    if (start < 0 || length <= 0 || start + length > Number.MAX_SAFE_INTEGER) {
      throw invalid(
        name,
        `has a block of ${showNumber(length)} bytes for position ${showNumber(start)} in its header at byte ${at}`,
        "Copy or take the dump again: this block, or the length of one before it, is wrong.",
      );
    }
    if (blocks.count === BLOCKS_MAX) {
      throw invalid(name, `has more than ${BLOCKS_MAX} blocks, the limit, at byte ${at}`, REARRANGE);
    }
    const position = at + BLOCK_HEADER_BYTES;
    const held = Math.min(length, size - position);
    if (held > 0) blocks.push(start, start + held, position);
    if (held < length) {
      cut(size);
      return blocks;
    }
    at = position + length;
  }
}
