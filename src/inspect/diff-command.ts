/** `guestmmu diff`. */

import { formatCounted } from "../report/units.js";
import { type PageWalker } from "../walker/index.js";
import { hex } from "./address-text.js";
import { namesRoot, rootsFor } from "./chosen-roots.js";
import { ByteWriter, type Sink } from "./byte-writer.js";
import { parseTarget, withImage, type TargetCommandOptions } from "./command-options.js";
import { changeJson, changeText, compareMappings, pairRoots, type RootPair } from "./diff.js";
import { openDocument } from "./json.js";
import { type PhysicalImage } from "../images/types.js";
import { type Target } from "./target.js";
import { rootInWords } from "./target-text.js";
import { withLimitHint, withWalker } from "./walking.js";

/** Options as they are typed. */
export interface DiffCommandOptions extends TargetCommandOptions {
  readonly accessed?: boolean;
  readonly json?: boolean;
}

/** Whether anything differs. */
export type DiffOutcome = "same" | "different";

/** Writes what changed to `sink`. Errors: `USAGE`, and those of `openImage` and of the roots. */
export async function runDiffCommand(
  path1: string,
  path2: string,
  options: DiffCommandOptions,
  sink: Sink,
): Promise<DiffOutcome> {
  const wanted = parseTarget(options);
  return withImage(path1, (first) =>
    withImage(path2, (second) => {
      const [before, after] = [rootsFor(first, wanted), rootsFor(second, wanted)] as const;
      // A root that is named is compared with its like, wherever that lies in the other image.
      const pairs = namesRoot(wanted) ? [{ before: before[0]!, after: after[0]! }] : pairRoots(before, after);
      const out = new ByteWriter(sink);
      const write = options.json ? writeJson : writeText;
      const changes = withLimitHint("name another root with --cr3 (guestmmu info lists them).", () =>
        write(out, first, second, pairs, options.accessed === true),
      );
      out.flush();
      return changes === 0 ? "same" : "different";
    }),
  );
}

type Writer = (
  out: ByteWriter,
  first: PhysicalImage,
  second: PhysicalImage,
  pairs: readonly RootPair[],
  accessed: boolean,
) => number;

const writeText: Writer = (out, first, second, pairs, accessed) => {
  let total = 0;
  let unchanged = 0;
  for (const pair of pairs) {
    const only = onlyIn(pair);
    if (only !== null) {
      out.text(
        `root ${hex(only.target.registers.cr3)} is in the ${only.which} image only (${only.target.origin})\n`,
      );
      total++;
      continue;
    }
    let count = 0;
    withBoth(first, second, pair, (a, b) => {
      for (const change of compareMappings(a, b, { accessed })) {
        if (count++ === 0) out.text(`${rootInWords(pair.before!)}\n`);
        out.text(`${changeText(change)}\n`);
      }
    });
    if (count === 0) unchanged++;
    // Counts have a character between groups of digits that is not ASCII.
    else out.utf8(`${formatCounted(count, "change")}\n\n`);
    total += count;
  }
  out.utf8(`${formatCounted(pairs.length, "root")} compared, ${unchanged} without a change\n`);
  return total;
};

const writeJson: Writer = (out, first, second, pairs, accessed) => {
  let total = 0;
  const plain = (_: string, value: unknown): unknown => (typeof value === "bigint" ? hex(value) : value);
  out.utf8(openDocument("diff", { images: [first.name, second.name], accessed }, "roots"));
  pairs.forEach((pair, index) => {
    const { cr3 } = (pair.before ?? pair.after)!.registers;
    const only = onlyIn(pair);
    out.text(
      `${index === 0 ? "[" : ","}\n{"root":"${hex(cr3)}","only_in":${only === null ? "null" : `"${only.which}"`},"changes":[`,
    );
    if (only !== null) total++;
    else {
      let count = 0;
      withBoth(first, second, pair, (a, b) => {
        for (const change of compareMappings(a, b, { accessed }))
          out.text(`${count++ === 0 ? "\n" : ",\n"}${JSON.stringify(changeJson(change), plain)}`);
      });
      total += count;
    }
    out.text("]}");
  });
  out.text("]\n}\n");
  return total;
};

/** The image that alone has a root; null if both do. */
function onlyIn({
  before,
  after,
}: RootPair): { readonly which: "first" | "second"; readonly target: Target } | null {
  if (after === null) return { which: "first", target: before! };
  return before === null ? { which: "second", target: after } : null;
}

function withBoth(
  first: PhysicalImage,
  second: PhysicalImage,
  { before, after }: RootPair,
  use: (a: PageWalker, b: PageWalker) => void,
): void {
  withWalker(first, before!, (a) => withWalker(second, after!, (b) => use(a, b)));
}
