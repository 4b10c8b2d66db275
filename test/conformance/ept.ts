// One line of ept.txt.gz (format: the README of the vectors): what it says, and what the core makes of it.
import * as layout from "../../src/core/layout.generated.js";
import type { RecordedWalk } from "../core-instance.js";
import { ACCESS, type Processor, type Word, showControl, showWalk } from "./processor.js";

const { Outcome } = layout;

interface TaggedWord extends Word {
  nested: boolean;
}

export interface EptCase {
  line: string;
  access: string;
  control: number;
  eptp: bigint;
  cr3: bigint;
  gva: bigint;
  words: TaggedWord[];
  outcome: string;
  changes: Map<bigint, bigint>;
}

const hex = (text: string): bigint => BigInt(`0x${text}`);

export function parseEpt(line: string): EptCase {
  const [, access, control, eptp, cr3, gva, words, outcome, changes] = line.split(" ") as [
    string,
    string,
    string,
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  return {
    line,
    access,
    control: Number.parseInt(control, 16),
    eptp: hex(eptp),
    cr3: hex(cr3),
    gva: hex(gva),
    words: words.split(",").map((text) => {
      const [, tag, pa, value] = /^(\w+)@(\w+):(\w+)$/.exec(text)!;
      return { nested: tag!.startsWith("n"), pa: hex(pa!), value: hex(value!) };
    }),
    outcome,
    changes: new Map(
      changes === "-" ? [] : changes.split(",").map((text) => text.split(":").map(hex) as [bigint, bigint]),
    ),
  };
}

function outcomeOf(walk: RecordedWalk): string {
  switch (walk.outcome) {
    case Outcome.Ok:
      return `ok:${walk.pa.toString(16)}`;
    case Outcome.PageFault:
      return `pf:${walk.error.toString(16)}`;
    case Outcome.EptViolation:
      return `viol:${walk.gpa.toString(16)}:${walk.error.toString(16)}`;
    case Outcome.EptMisconfiguration:
      return `misc:${walk.gpa.toString(16)}`;
    default:
      return `outcome ${walk.outcome}`;
  }
}

/** True if a word may have changed like this: exactly as stated after a success, else within what is legal. */
function legal(c: EptCase, word: TaggedWord, changed: bigint): boolean {
  const stated = c.changes.get(word.pa) ?? 0n;
  if (c.outcome.startsWith("ok")) return changed === stated;
  if (!word.nested) return (changed & ~stated) === 0n;
  // Accessed flags of entries on the way to a fault or exit may be set as well, if EPT keeps them.
  const more = c.eptp & layout.EPTP_AD ? layout.EPT_A : 0n;
  return (changed & stated) === stated && (changed & ~(stated | more)) === 0n;
}

function explain(c: EptCase, walk: RecordedWalk, what: string): string {
  return [
    `${c.access} 0x${c.gva.toString(16)} control ${showControl(c.control)}: ${what}`,
    `  vector: ${c.line}`,
    showWalk(walk),
  ].join("\n");
}

/** Runs a case; returns what is wrong, or null. */
export function checkEpt(processor: Processor, c: EptCase): string | null {
  processor.load({ control: c.control, cr3: c.cr3, eptp: c.eptp, pkru: 0n, pkrs: 0n });
  processor.hold(c.words);
  const walk = processor.access(c.gva, ACCESS[c.access]!);
  const got = outcomeOf(walk);
  if (got !== c.outcome) return explain(c, walk, `${got}, expected ${c.outcome}`);
  for (const word of c.words) {
    const changed = processor.now(word) ^ word.value;
    if (!legal(c, word, changed)) {
      const stated = (c.changes.get(word.pa) ?? 0n).toString(16);
      const at = `word 0x${word.pa.toString(16)} changed by 0x${changed.toString(16)}, expected 0x${stated}`;
      return explain(c, walk, `${got}, but ${at}`);
    }
  }
  return null;
}
