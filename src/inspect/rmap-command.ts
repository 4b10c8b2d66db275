/** `guestmmu rmap`. */

import { parseAddress } from "./address-text.js";
import { rootsFor } from "./chosen-roots.js";
import { parseTarget, withImage, type TargetCommandOptions } from "./command-options.js";
import { aliasesOf, rmapJson, rmapText } from "./rmap.js";
import { withWalker } from "./walking.js";

/** Options as they are typed. */
export interface RmapCommandOptions extends TargetCommandOptions {
  readonly json?: boolean;
}

/** What the command prints. Errors: `USAGE`, and those of `openImage` and of the roots. */
export async function runRmapCommand(
  path: string,
  paText: string,
  options: RmapCommandOptions,
): Promise<string> {
  const pa = parseAddress("PA", paText, "physical");
  const wanted = parseTarget(options);
  return withImage(path, (image) => {
    const targets = rootsFor(image, wanted);
    const found = withWalker(image, targets[0]!, (walker) => aliasesOf(walker, targets, pa));
    return options.json ? rmapJson(image.name, found) : rmapText(found);
  });
}
