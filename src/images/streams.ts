/** What compressed streams fail with, whoever decodes them. */

import { GuestMmuError } from "../errors.js";
import type { ImageCompression } from "./types.js";

type Compression = Exclude<ImageCompression, "none">;

/** `IMAGE_TRUNCATED`: the stream stops before its end mark. */
export function endsEarly(name: string, compression: Compression, cause?: unknown): GuestMmuError {
  return new GuestMmuError("IMAGE_TRUNCATED", {
    message: `${name}: the ${compression} data end before their end mark; the file is incomplete.`,
    hint: `Copy or take the dump again; \`${compression} -t FILE\` must succeed.`,
    cause,
  });
}

/** `IMAGE_UNREADABLE`: the stream is damaged. */
export function damaged(name: string, compression: Compression, cause?: unknown): GuestMmuError {
  const reason = cause instanceof Error ? ` (${cause.message})` : "";
  return new GuestMmuError("IMAGE_UNREADABLE", {
    message: `${name}: the ${compression} data are damaged${reason}.`,
    hint: `Copy or take the dump again; \`${compression} -t FILE\` must succeed.`,
    cause,
  });
}

/** `IMAGE_TOO_LARGE`: the stream unpacks to more than `maxBytes`. */
export function tooLarge(name: string, compression: Compression, maxBytes: number): GuestMmuError {
  return new GuestMmuError("IMAGE_TOO_LARGE", {
    message: `${name}: the ${compression} data unpack to more than the limit of ${maxBytes} bytes.`,
    hint: "Raise maxUnpackedBytes if that is what it should hold, or decompress it by hand.",
  });
}
