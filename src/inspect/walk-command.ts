/** `guestmmu walk`. */

import { usageError } from "../errors.js";
import { parseAddress } from "./address-text.js";
import { parseOne, parseTarget, withImage, type TargetCommandOptions } from "./command-options.js";
import { targetOf } from "./target.js";
import { walkJson, walkText, type WalkAccessKind, type WalkReport } from "./walk.js";
import { withWalker } from "./walking.js";

/** Options as they are typed. */
export interface WalkCommandOptions extends TargetCommandOptions {
  readonly access?: string;
  readonly cpl?: string;
  readonly json?: boolean;
}

const ACCESSES: Readonly<Record<string, WalkAccessKind>> = {
  r: "read",
  read: "read",
  w: "write",
  write: "write",
  x: "fetch",
  fetch: "fetch",
  rw: "modify",
};

function parseAccess(text: string): WalkAccessKind {
  if (Object.hasOwn(ACCESSES, text)) return ACCESSES[text]!;
  throw usageError(
    `--access: cannot use "${text.slice(0, 60)}".`,
    "--access takes r (read), w (write), x (instruction fetch) or rw (read-modify-write).",
  );
}

/** What the command prints. Errors: `USAGE`, and those of `openImage` and `targetOf`. */
export async function runWalkCommand(
  path: string,
  gvaText: string,
  options: WalkCommandOptions,
): Promise<string> {
  const gva = parseAddress("GVA", gvaText, "virtual");
  const access = parseAccess(options.access ?? "r");
  // The upper half is the kernel's: an access that is meant to succeed is the kernel's there, and the user's below.
  const cpl = options.cpl === undefined ? (gva >> 63n === 0n ? 3 : 0) : parseOne("--cpl", options.cpl, 0, 3);
  const wanted = parseTarget(options);
  return withImage(path, (image) => {
    const target = targetOf(image, wanted);
    const translation = withWalker(image, target, (walker) => walker.walk(gva, { access, cpl }));
    const report: WalkReport = { image: image.name, target, gva, access, cpl, translation };
    return options.json ? walkJson(report) : walkText(report);
  });
}
