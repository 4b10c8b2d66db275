/** `guestmmu info`. */

import { parseAddress } from "./address-text.js";
import { parseSearch, withImage, type SearchCommandOptions } from "./command-options.js";
import { infoJson, infoOf, infoText } from "./info.js";

/** Options as they are typed. */
export interface InfoCommandOptions extends SearchCommandOptions {
  readonly efer?: string;
  readonly json?: boolean;
}

/** What the command prints. Errors: `USAGE`, and those of `openImage`. */
export async function runInfoCommand(path: string, options: InfoCommandOptions): Promise<string> {
  const { efer, json } = options;
  const search = parseSearch(options);
  const known = efer === undefined ? {} : { efer: parseAddress("--efer", efer, "register") };
  return withImage(path, (image) => {
    const info = infoOf(image, { ...known, search });
    return json ? infoJson(info) : infoText(info);
  });
}
