/** From bytes to an image, once they are uncompressed: chooses the reader. */

import { usageError } from "../errors.js";
import { MAGIC_BYTES, detectCompression, detectKind } from "./detect.js";
import { elfImage } from "./elf.js";
import { limeImage } from "./lime.js";
import { unsupported } from "./limits.js";
import { rawImage } from "./raw.js";
import { type ByteSource, bytesAt } from "./source.js";
import type { ImageCompression, ImageFormat, PhysicalImage } from "./types.js";

/** Formats that a user can ask for, which leaves nothing to the first bytes. */
export const IMAGE_FORMATS: readonly ImageFormat[] = ["raw", "elf", "kdump", "lime"];
export const IMAGE_COMPRESSIONS: readonly ImageCompression[] = ["none", "gzip", "zstd"];

/** How an image is opened, wherever it is. */
export interface ImageOptions {
  /**
   * What the file is, compression aside. Default: by its first bytes, and raw memory if these are none that a format
   * begins with. `raw` opens memory that happens to begin like another format.
   */
  readonly format?: ImageFormat;
  /** How the file is compressed. Default: by its first bytes. */
  readonly compression?: ImageCompression;
  /** Most bytes that a compressed image may unpack to. */
  readonly maxUnpackedBytes?: number;
}

/** @throws GuestMmuError `USAGE` for an option with a value that it cannot have. */
export function checkOptions({ format, compression, maxUnpackedBytes }: ImageOptions): void {
  checkChoice("format", format, IMAGE_FORMATS);
  checkChoice("compression", compression, IMAGE_COMPRESSIONS);
  if (maxUnpackedBytes !== undefined && !(Number.isSafeInteger(maxUnpackedBytes) && maxUnpackedBytes > 0)) {
    throw usageError(`maxUnpackedBytes is ${maxUnpackedBytes}.`, "Pass a whole number of bytes, above 0.");
  }
}

function checkChoice(option: string, value: string | undefined, choices: readonly string[]): void {
  if (value === undefined || choices.includes(value)) return;
  throw usageError(`${value} is no ${option} of images.`, `Choose one of ${choices.join(", ")}.`);
}

/** The compression of a file as `options` or its first bytes say. */
export function compressionOf(source: ByteSource, options: ImageOptions): ImageCompression {
  return options.compression ?? detectCompression(bytesAt(source, 0, MAGIC_BYTES));
}

/**
 * The image in `source`, which it closes from then on.
 *
 * @param compression how the user's file is stored, for `PhysicalImage.compression`.
 * @throws GuestMmuError as the readers of the formats do; the source is then still open.
 */
export function parseImage(
  source: ByteSource,
  compression: ImageCompression,
  { format }: ImageOptions,
): PhysicalImage {
  const kind = format ?? detectKind(source.name, bytesAt(source, 0, MAGIC_BYTES));
  switch (kind) {
    case "raw":
      return rawImage(source, compression);
    case "elf":
      return elfImage(source, compression);
    case "lime":
      return limeImage(source, compression);
    case "gzip":
    case "zstd":
      throw unsupported(
        source.name,
        `holds ${kind} data inside ${compression} data`,
        "Decompress it once by hand: one level of compression is undone.",
      );
    default:
      throw unsupported(source.name, `${kind} images are not read`, "Take the dump as ELF.");
  }
}
