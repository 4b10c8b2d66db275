/** Which roots a command over several of them takes: the one that is named, or all that are known. */

import { type PhysicalImage } from "../images/types.js";
import { knownRoots, targetOf, type Target, type TargetOptions } from "./target.js";

/** True if the options name one root. */
export function namesRoot({ cr3, cpu, nested, ncr3, eptp }: TargetOptions): boolean {
  return (
    cr3 !== undefined || cpu !== undefined || nested === true || ncr3 !== undefined || eptp !== undefined
  );
}

/** Errors: those of `targetOf` and `knownRoots`. */
export function rootsFor(image: PhysicalImage, options: TargetOptions): readonly Target[] {
  return namesRoot(options) ? [targetOf(image, options)] : knownRoots(image, options);
}
