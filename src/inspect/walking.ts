/** A walker for the time of a command. */

import { GuestMmuError } from "../errors.js";
import { type PhysicalImage } from "../images/types.js";
import { PageWalker } from "../walker/index.js";
import { type Target } from "./target.js";

/** Makes a walker for the target's root, and closes it whatever `use` does. */
export function withWalker<T>(
  image: PhysicalImage,
  { registers }: Target,
  use: (walker: PageWalker) => T,
): T {
  const walker = PageWalker.create(image, registers);
  try {
    return use(walker);
  } finally {
    walker.close();
  }
}

/** Passes on what `use` throws; a scan's limit with what the command, not the library, can do about it. */
export function withLimitHint<T>(hint: string, use: () => T): T {
  try {
    return use();
  } catch (error) {
    if (!(error instanceof GuestMmuError) || error.code !== "LIMIT_REACHED") throw error;
    throw new GuestMmuError("LIMIT_REACHED", {
      message: error.message,
      hint: `The tables refer to themselves, as a rule: ${hint}`,
      cause: error,
    });
  }
}
