/** `guestmmu maps`. */

import { usageError } from "../errors.js";
import { type PhysicalImage } from "../images/types.js";
import { parseAddress } from "./address-text.js";
import { namesRoot } from "./chosen-roots.js";
import { type Sink } from "./byte-writer.js";
import { parseOne, parseTarget, withImage, type TargetCommandOptions } from "./command-options.js";
import { type MappingFold } from "./mapping-rows.js";
import { writeMaps, type MapsFormat } from "./maps.js";
import { knownRoots, targetOf, type Target, type TargetOptions } from "./target.js";
import { withLimitHint, withWalker } from "./walking.js";

/** Options as they are typed. */
export interface MapsCommandOptions extends TargetCommandOptions {
  readonly allRoots?: boolean;
  readonly fold?: string;
  readonly from?: string;
  readonly to?: string;
  readonly maxRows?: string;
  readonly json?: boolean;
  readonly csv?: boolean;
}

const FOLDS: readonly MappingFold[] = ["none", "physical", "rights"];

function parseFold(text: string): MappingFold {
  const fold = FOLDS.find((name) => name === text);
  if (fold !== undefined) return fold;
  throw usageError(
    `--fold: cannot use "${text.slice(0, 60)}".`,
    "--fold takes rights (equal rights), physical (equal rights and flags, consecutive pages) or none (a row a page).",
  );
}

/** Whether the listing is whole. */
export type MapsOutcome = "whole" | "cut";

/** Of each root: more than any guest of Linux has, and a bound for tables that refer to themselves. */
const MAX_ROWS = 10_000_000;

/** Writes the listing to `sink`. Errors: `USAGE`, `LIMIT_REACHED`, and those of `openImage` and `targetOf`. */
export async function runMapsCommand(
  path: string,
  options: MapsCommandOptions,
  sink: Sink,
): Promise<MapsOutcome> {
  const wanted = parseTarget(options);
  const maxRows =
    options.maxRows === undefined ? MAX_ROWS : parseOne("--max-rows", options.maxRows, 1, 2 ** 40);
  const format = formatOf(options);
  const rows = { fold: parseFold(options.fold ?? "rights"), maxRows, ...rangeOf(options) };
  return withImage(path, (image) => {
    const targets = options.allRoots ? allTargets(image, wanted) : [targetOf(image, wanted)];
    const isWhole = withLimitHint("list a range of addresses, with --from and --to.", () =>
      withWalker(image, targets[0]!, (walker) => writeMaps(walker, targets, image.name, format, rows, sink)),
    );
    return isWhole ? "whole" : "cut";
  });
}

function formatOf({ json, csv }: MapsCommandOptions): MapsFormat {
  if (json && csv) throw usageError("--json and --csv are two forms of the listing.", "Give one of them.");
  return json ? "json" : csv ? "csv" : "text";
}

function rangeOf({ from, to }: MapsCommandOptions): { from?: bigint; to?: bigint } {
  const range = {
    ...(from === undefined ? {} : { from: parseAddress("--from", from, "virtual") }),
    ...(to === undefined ? {} : { to: parseAddress("--to", to, "virtual") }),
  };
  if (range.from !== undefined && range.to !== undefined && range.from > range.to)
    throw usageError(`--from: ${from} is above --to, ${to}.`, "Give the lower address with --from.");
  // The walker's range ends before its last address; above the last one of all there is none.
  const last = range.to === undefined || range.to === 2n ** 64n - 1n ? {} : { to: range.to + 1n };
  return { ...(range.from === undefined ? {} : { from: range.from }), ...last };
}

function allTargets(image: PhysicalImage, wanted: TargetOptions): readonly Target[] {
  if (!namesRoot(wanted)) return knownRoots(image, wanted);
  throw usageError(
    "--all-roots lists what every root maps, and another option names one.",
    "Leave out --cr3, --cpu, --nested, --ncr3 and --eptp.",
  );
}
