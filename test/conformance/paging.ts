// One line of paging-*.txt.gz (format: the README of the vectors): what it says, and what the core makes of it.
import * as layout from "../../src/core/layout.generated.js";
import type { RecordedWalk } from "../core-instance.js";
import { ACCESS, CONTROL, type Processor, type Word, showControl, showWalk } from "./processor.js";

const { Outcome } = layout;

export interface PagingCase {
  line: string;
  access: string;
  control: number;
  cr3: bigint;
  pkru: bigint;
  pkrs: bigint;
  gva: bigint;
  entries: Word[];
  outcome: string;
  value: bigint;
  changes: bigint[];
}

const hex = (text: string): bigint => BigInt(`0x${text}`);
const ADDRESS = 0xff_ffff_f000n;

export function parsePaging(line: string): PagingCase {
  const [, access, control, cr3, pkru, pkrs, gva, entries, outcome, value, changes] = line.split(" ") as [
    string,
    string,
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
  const address = hex(gva);
  const bits = Number.parseInt(control, 16);
  let table = hex(cr3) & ADDRESS;
  let shift = bits & CONTROL.la57 ? 48n : 39n;
  const words: Word[] = [];
  for (const text of entries.split(",")) {
    const word = { pa: table + 8n * ((address >> shift) & 0x1ffn), value: hex(text) };
    words.push(word);
    table = word.value & ADDRESS;
    shift -= 9n;
  }
  return {
    line,
    access,
    control: bits,
    cr3: hex(cr3),
    pkru: hex(pkru),
    pkrs: hex(pkrs),
    gva: address,
    entries: words,
    outcome,
    value: hex(value),
    changes: changes.split(",").map(hex),
  };
}

/** The outcome of a walk in the words of the vectors. */
function outcomeOf(walk: RecordedWalk): string {
  switch (walk.outcome) {
    case Outcome.Ok:
      return `ok ${walk.pa.toString(16)}`;
    case Outcome.PageFault:
      return `pf ${walk.error.toString(16)}`;
    case Outcome.GeneralProtection:
      return `gp ${walk.error.toString(16)}`;
    case Outcome.StackFault:
      return `ss ${walk.error.toString(16)}`;
    default:
      return `outcome ${walk.outcome}`;
  }
}

function explain(c: PagingCase, walk: RecordedWalk, what: string): string {
  return [
    `${c.access} 0x${c.gva.toString(16)} control ${showControl(c.control)}: ${what}`,
    `  vector: ${c.line}`,
    showWalk(walk),
  ].join("\n");
}

/** Runs a case; returns what is wrong, or null. */
export function checkPaging(processor: Processor, c: PagingCase): string | null {
  processor.load({ control: c.control, cr3: c.cr3, eptp: 0n, pkru: c.pkru, pkrs: c.pkrs });
  processor.hold(c.entries);
  const walk = processor.access(c.gva, ACCESS[c.access]!);
  const got = outcomeOf(walk);
  const expected = `${c.outcome} ${c.value.toString(16)}`;
  if (got !== expected) return explain(c, walk, `${got}, expected ${expected}`);
  if (walk.outcome === Outcome.PageFault && walk.gva !== c.gva) return explain(c, walk, "CR2 is wrong");
  for (const [i, word] of c.entries.entries()) {
    const changed = processor.now(word) ^ word.value;
    const allowed = c.changes[i]!;
    const right = c.outcome === "ok" ? changed === allowed : (changed & ~allowed) === 0n;
    if (!right) {
      const entry = `entry ${i} changed by 0x${changed.toString(16)}, expected 0x${allowed.toString(16)}`;
      return explain(c, walk, `${got}, but ${entry}`);
    }
  }
  return null;
}
