// One line of paging-cross.txt.gz: an access of 8 bytes that begins in one page and ends in the next. The core
// translates page by page; both parts are checked before anything is written.
import * as layout from "../../src/core/layout.generated.js";
import { ACCESS, type Processor, type Word, showControl } from "./processor.js";

const { Outcome } = layout;
const hex = (text: string): bigint => BigInt(`0x${text}`);

/** Translates one part; its outcome in the words of the vectors. */
function part(processor: Processor, gva: bigint, access: number): string {
  const walk = processor.access(gva, access);
  if (walk.outcome === Outcome.Ok) return `ok:${walk.pa.toString(16)}`;
  if (walk.outcome === Outcome.PageFault) return `pf:${walk.error.toString(16)}:${walk.gva.toString(16)}`;
  return `outcome ${walk.outcome}`;
}

/** Runs a line; returns what is wrong, or null. */
export function checkCross(processor: Processor, line: string): string | null {
  const [, access, control, cr3, pkru, pkrs, gva, text, first, second, changes] = line.split(" ") as [
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
  const bits = Number.parseInt(control, 16);
  const words: Word[] = text.split(",").map((item) => {
    const [, pa, value] = /@(\w+):(\w+)$/.exec(item)!;
    return { pa: hex(pa!), value: hex(value!) };
  });
  const state = { control: bits, cr3: hex(cr3), eptp: 0n, pkru: hex(pkru), pkrs: hex(pkrs) };
  const boundary = (hex(gva) | 0xfffn) + 1n;
  const wrong = (what: string): string =>
    `${access} 0x${gva} control ${showControl(bits)}: ${what}\n  ${line}`;
  processor.load(state);
  processor.hold(words);
  const got = [hex(gva), boundary].map((address) => part(processor, address, ACCESS[access]!));
  if (got[0] !== first || got[1] !== second) return wrong(`${got.join(" ")}, expected ${first} ${second}`);
  if (changes === "-") return null;
  const stated = new Map(
    changes === "" ? [] : changes.split(",").map((c) => c.split(":").map(hex) as [bigint, bigint]),
  );
  for (const word of words) {
    const changed = processor.now(word) ^ word.value;
    if (changed !== (stated.get(word.pa) ?? 0n))
      return wrong(`0x${word.pa.toString(16)} changed by 0x${changed.toString(16)}`);
  }
  return null;
}
