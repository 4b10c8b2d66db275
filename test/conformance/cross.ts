// Lines of paging-cross.txt.gz: an access of 8 bytes that begins in one page and ends in the next.
import * as layout from "../../src/core/layout.generated.js";
import {
  accessOf,
  type Case,
  type Expected,
  fieldsOf,
  hex,
  type Origin,
  type ProcessorModel,
  registersOf,
  type Word,
} from "./case.js";

const { Outcome, Register } = layout;
const SIZE = 8;

/** What a part comes to by itself: `ok:PA` or `pf:ERR:CR2`. */
function partOf(text: string): Expected {
  const [kind, value, cr2] = text.split(":") as [string, string, string | undefined];
  if (kind === "ok") {
    return { outcome: Outcome.Ok, error: null, cr2: null, gpa: null, pa: hex(value), secondPa: null };
  }
  if (kind !== "pf" || cr2 === undefined) throw new Error(`part ${text}: expected ok:PA or pf:ERR:CR2`);
  return {
    outcome: Outcome.PageFault,
    error: hex(value),
    cr2: hex(cr2),
    gpa: null,
    pa: null,
    secondPa: null,
  };
}

/** What the whole comes to: the first part's fault, or the second's, or both addresses. */
function wholeOf(first: Expected, second: Expected): Expected {
  if (first.outcome !== Outcome.Ok) return first;
  if (second.outcome !== Outcome.Ok) return second;
  return { ...first, secondPa: second.pa };
}

/** Words that change as stated if both parts are `ok`; else they may have flags set, or not. */
function wordsOf(text: string, changes: string): Word[] {
  const exact = changes !== "-";
  const stated = new Map(
    exact && changes !== ""
      ? changes.split(",").map((change) => change.split(":").map(hex) as [bigint, bigint])
      : [],
  );
  return text.split(",").map((item) => {
    const [, level, at, value] = /^\d(\d)@(\w+):(\w+)$/.exec(item)!;
    const pa = hex(at!);
    const must = stated.get(pa) ?? 0n;
    const entry = hex(value!);
    const leaf = level === "1" || (entry & layout.PTE_PS) !== 0n;
    const may = exact ? must : layout.PTE_A | (leaf ? layout.PTE_D : 0n);
    return { pa, value: entry, level: Number(level), nested: false, must, may };
  });
}

/** The access as a whole, and each of its parts as an access of its own: the vector says what these come to as well. */
export function parseCross(origin: Origin, model: ProcessorModel): Case[] {
  const [, access, control, cr3, pkru, pkrs, gva, words, first, second, changes] = fieldsOf(origin.line, 14);
  const start = hex(gva!);
  const next = (start | 0xfffn) + 1n;
  const head = Number(next - start);
  const expected = [partOf(first!), partOf(second!)] as const;
  const whole: Case = {
    origin,
    model,
    access: accessOf(access!),
    size: SIZE,
    gva: start,
    registers: registersOf(Number.parseInt(control!, 16), [
      [Register.Cr3, hex(cr3!)],
      [Register.Pkru, hex(pkru!)],
      [Register.Pkrs, hex(pkrs!)],
    ]),
    words: wordsOf(words!, changes!),
    expected: wholeOf(...expected),
  };
  const flags = wordsOf(words!, "-");
  return [
    whole,
    { ...whole, size: head, words: flags, expected: expected[0] },
    { ...whole, gva: next, size: SIZE - head, words: flags, expected: expected[1] },
  ];
}
