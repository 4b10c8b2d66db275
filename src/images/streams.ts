/** What compressed images fail with, whoever decodes them. */

import type { StreamErrors } from "../compression/errors.js";
import { GuestMmuError } from "../errors.js";
import { unsupported } from "./limits.js";
import type { ImageCompression } from "./types.js";

type Compression = Exclude<ImageCompression, "none">;

/** `UNSUPPORTED`, `IMAGE_UNREADABLE` and `IMAGE_TRUNCATED`, of the image `name`. */
export function streamErrors(name: string, compression: Compression): StreamErrors {
  const hint = `Copy or take the dump again; \`${compression} -t FILE\` must succeed.`;
  return {
    unsupported: (what, remedy) => unsupported(name, what, remedy),
    damaged(cause) {
      const reason = cause instanceof Error ? ` (${cause.message})` : "";
      const message = `${name}: the ${compression} data are damaged${reason}.`;
      return new GuestMmuError("IMAGE_UNREADABLE", { message, hint, cause });
    },
    endsEarly(cause) {
      const message = `${name}: the ${compression} data end before their end mark; the file is incomplete.`;
      return new GuestMmuError("IMAGE_TRUNCATED", { message, hint, cause });
    },
  };
}

/** `IMAGE_TOO_LARGE`: the stream unpacks to more than `maxBytes`. */
export function tooLarge(name: string, compression: Compression, maxBytes: number): GuestMmuError {
  return new GuestMmuError("IMAGE_TOO_LARGE", {
    message: `${name}: the ${compression} data unpack to more than the limit of ${maxBytes} bytes.`,
    hint: "Raise maxUnpackedBytes if that is what it should hold, or decompress it by hand.",
  });
}
