/** `guestmmu rmap`. */

import { parseAddress } from "./address-text.js";
import { type Sink } from "./byte-writer.js";
import { rootsFor } from "./chosen-roots.js";
import { parseTarget, withImage, type TargetCommandOptions } from "./command-options.js";
import { aliasesOf, rmapJson, writeRmapText } from "./rmap.js";
import { withLimitHint, withWalker } from "./walking.js";

/** Options as they are typed. */
export interface RmapCommandOptions extends TargetCommandOptions {
  readonly json?: boolean;
}

/** Writes the addresses to `sink`. Errors: `USAGE`, and those of `openImage` and of the roots. */
export async function runRmapCommand(
  path: string,
  paText: string,
  options: RmapCommandOptions,
  sink: Sink,
): Promise<void> {
  const pa = parseAddress("PA", paText, "physical");
  const wanted = parseTarget(options);
  await withImage(path, (image) => {
    const targets = rootsFor(image, wanted);
    const found = withLimitHint("name another root with --cr3 (guestmmu info lists them).", () =>
      withWalker(image, targets[0]!, (walker) => aliasesOf(walker, targets, pa)),
    );
    if (options.json) sink(new TextEncoder().encode(rmapJson(image.name, found)));
    else writeRmapText(found, sink);
  });
}
