/**
 * LiME images, version 1: a header and the bytes of each range of memory, one after the other.
 *
 *   0   u32  magic, "EMiL"
 *   4   u32  version
 *   8   u64  physical address of the first byte
 *   16  u64  physical address of the last byte
 *   24  8 bytes, reserved
 */

import { SegmentedImage } from "./image.js";
import {
  GapLog,
  type RemarkLog,
  SEGMENTS_MAX,
  invalid,
  showAddress,
  truncated,
  unsupported,
} from "./limits.js";
import { type DeclaredSegment, SegmentMap } from "./segments.js";
import { type ByteSource, bytesAt, fieldNumber, fieldsOf } from "./source.js";
import type { ImageCompression, PhysicalImage } from "./types.js";

const LIME_MAGIC = 0x4c694d45;
const HEADER_BYTES = 32;

/**
 * @throws GuestMmuError `IMAGE_INVALID` where a range does not begin with a header, or ends before it starts;
 *   `IMAGE_TRUNCATED` if the file ends in its first header; `UNSUPPORTED` for other versions.
 */
export function limeImage(
  source: ByteSource,
  compression: ImageCompression,
  remarks: RemarkLog,
): PhysicalImage {
  const ranges: DeclaredSegment[] = [];
  for (let at = 0; at < source.size;) {
    const header = bytesAt(source, at, HEADER_BYTES);
    if (header.length < HEADER_BYTES) {
      if (at === 0) throw truncated(source.name, `has ${header.length} bytes, not even one LiME header`);
      remarks.add(`The file ends in the LiME header at byte ${at}: what came from there on was cut off.`);
      break;
    }
    if (ranges.length === SEGMENTS_MAX) {
      throw invalid(
        source.name,
        `has more than ${SEGMENTS_MAX} LiME ranges, the limit, at byte ${at}`,
        "Take the dump again, or as raw memory (LiME: format=raw or padded).",
      );
    }
    const range = parseHeader(source.name, fieldsOf(header), at);
    ranges.push(range);
    at = range.position + range.length;
  }
  const gaps = new GapLog();
  const segments = SegmentMap.of(ranges, source.size, "The LiME header", gaps);
  return new SegmentedImage(source, compression, segments, {
    format: "lime",
    cpus: [],
    vmcoreinfo: null,
    gaps,
    remarks: remarks.all(),
  });
}

function parseHeader(name: string, header: DataView, at: number): DeclaredSegment {
  const magic = header.getUint32(0, true);
  if (magic !== LIME_MAGIC) {
    throw invalid(
      name,
      `has no LiME header at byte ${at}, where the range before ends: ${showAddress(magic)} stands there`,
      "Copy or take the dump again: a length before this byte, or the byte itself, is wrong.",
    );
  }
  const version = header.getUint32(4, true);
  if (version !== 1) {
    throw unsupported(
      name,
      `has a LiME header of version ${version} at byte ${at}; version 1 is read`,
      "Take the dump with compress=0, or convert it to version 1.",
    );
  }
  const first = header.getBigUint64(8, true);
  const lastByte = header.getBigUint64(16, true);
  if (lastByte < first) {
    throw invalid(
      name,
      `has a LiME range from ${showAddress(first)} to ${showAddress(lastByte)} at byte ${at}: it ends before it starts`,
      "Copy or take the dump again.",
    );
  }
  const length = Number(lastByte - first + 1n);
  return { start: fieldNumber(header, 8), length, stored: length, position: at + HEADER_BYTES, header: at };
}
