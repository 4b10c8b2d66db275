/** A walker for the time of a command. */

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
