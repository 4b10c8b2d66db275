/** What a decoder of a compressed stream finds wrong with it, in the words of whoever reads the stream. */

import type { GuestMmuError } from "../errors.js";

export interface StreamErrors {
  /** The stream is sound and cannot be decoded here. `what` goes on after the name: "was compressed with ...". */
  unsupported(what: string, hint: string): GuestMmuError;
  /** The stream is damaged. */
  damaged(cause?: unknown): GuestMmuError;
  /** The stream stops before its end mark. */
  endsEarly(cause?: unknown): GuestMmuError;
}
