/** Raw images: byte N of the file is physical address N. */

import { SegmentedImage } from "./image.js";
import { GapLog, PAGE_BYTES, PHYSICAL_END, type RemarkLog, invalid } from "./limits.js";
import { SegmentMap } from "./segments.js";
import type { ByteSource } from "./source.js";
import type { ImageCompression, PhysicalImage } from "./types.js";

/**
 * Memory whose file has no headers. Any bytes may be that: whoever calls has looked for the marks of other formats.
 *
 * @throws GuestMmuError `IMAGE_INVALID` for a source without any bytes.
 */
export function rawImage(
  source: ByteSource,
  compression: ImageCompression,
  remarks: RemarkLog,
): PhysicalImage {
  const { name, size } = source;
  if (size === 0) {
    throw invalid(name, "has no bytes", "Take the dump again: an image has at least one page.");
  }
  const gaps = new GapLog();
  const remainder = size % PAGE_BYTES;
  if (remainder !== 0 && size < PHYSICAL_END) {
    const why = `The file has ${size} bytes, which is no multiple of ${PAGE_BYTES}: its last page is incomplete.`;
    gaps.add(size, size + PAGE_BYTES - remainder, why);
  }
  const whole = { start: 0, length: size, stored: size, position: 0, header: 0 };
  const segments = SegmentMap.of([whole], size, "The memory", gaps);
  return new SegmentedImage(source, compression, segments, {
    format: "raw",
    cpus: [],
    vmcoreinfo: null,
    gaps,
    remarks: remarks.all(),
  });
}
