/** From bytes to an image, once they are uncompressed: chooses the reader. */

import { usageError } from "../errors.js";
import type { Codecs } from "./codecs.js";
import { MAGIC_BYTES, detectCompression, detectKind, isFlattened } from "./detect.js";
import { elfImage } from "./elf.js";
import { unflattened } from "./flattened.js";
import { kdumpImage, needsZstd } from "./kdump.js";
import { limeImage } from "./lime.js";
import { RemarkLog, invalid, unsupported } from "./limits.js";
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
  return options.compression ?? detectCompression(headOf(source));
}

/** An uncompressed image of which the format is known. */
export interface Identified {
  /** The image's own bytes: `source`, or what it is flattened from. Closes `source`. */
  readonly plain: ByteSource;
  readonly format: ImageFormat;
  readonly remarks: RemarkLog;
  /** True if the reader needs `Codecs.zstd`. */
  readonly needsZstd: boolean;
}

/**
 * Finds out what `source` is.
 *
 * @param compression how the user's file is stored.
 * @throws GuestMmuError `IMAGE_INVALID` or `UNSUPPORTED` for what is no image, as `detectKind` says.
 */
export function identify(
  source: ByteSource,
  compression: ImageCompression,
  options: ImageOptions,
): Identified {
  const remarks = new RemarkLog();
  const isFlat = options.format !== "raw" && isFlattened(headOf(source));
  const plain = isFlat ? unflattened(source, remarks) : source;
  const format = options.format ?? formatOf(plain, compression);
  if (isFlat && format !== "kdump" && format !== "elf") {
    throw invalid(source.name, `is a flattened dump of neither kdump nor ELF`, "Take the dump again.");
  }
  return { plain, format, remarks, needsZstd: format === "kdump" && needsZstd(plain) };
}

/**
 * Reads the headers of an image.
 *
 * @throws GuestMmuError as the readers of the formats do; the source is then still open.
 */
export function readImage(
  { plain, format, remarks }: Identified,
  compression: ImageCompression,
  codecs: Codecs,
): PhysicalImage {
  switch (format) {
    case "raw":
      return rawImage(plain, compression, remarks);
    case "elf":
      return elfImage(plain, compression, remarks);
    case "kdump":
      return kdumpImage(plain, compression, remarks, codecs);
    case "lime":
      return limeImage(plain, compression, remarks);
  }
}

function headOf(source: ByteSource): Uint8Array {
  return bytesAt(source, 0, MAGIC_BYTES);
}

function formatOf(source: ByteSource, compression: ImageCompression): ImageFormat {
  const kind = detectKind(source.name, headOf(source));
  if (kind !== "flattened" && kind !== "gzip" && kind !== "zstd") return kind;
  throw unsupported(
    source.name,
    `holds ${kind} data inside ${compression === "none" ? "a dump" : `${compression} data`}`,
    "Unpack it once by hand: one level is undone.",
  );
}
