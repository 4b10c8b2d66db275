// Lines of paging-*.txt.gz, paging-cross aside: one access, and the entries on its way.
import * as layout from "../../src/core/layout.generated.js";
import {
  accessOf,
  type Case,
  CONTROL,
  type Expected,
  fieldsOf,
  hex,
  type Origin,
  type ProcessorModel,
  registersOf,
  type Word,
} from "./case.js";

const { Outcome, Register } = layout;

/** Address bits of an entry with a MAXPHYADDR of 40, as in all vectors: bits above are reserved, and ignored here. */
const ADDRESS = 0xff_ffff_f000n;

const OUTCOMES: Readonly<Record<string, number>> = {
  ok: Outcome.Ok,
  pf: Outcome.PageFault,
  gp: Outcome.GeneralProtection,
  ss: Outcome.StackFault,
};

function expectedOf(outcome: string, value: bigint, gva: bigint): Expected {
  const number = OUTCOMES[outcome];
  if (number === undefined)
    throw new Error(`outcome ${outcome}: expected one of ${Object.keys(OUTCOMES).join(" ")}`);
  const ok = outcome === "ok";
  return {
    outcome: number,
    error: ok ? null : value,
    cr2: outcome === "pf" ? gva : null,
    gpa: null,
    pa: ok ? value : null,
    secondPa: null,
  };
}

/** The entries with their addresses: that of each follows from the entry above. */
function wordsOf(
  entries: string,
  changes: string,
  cr3: bigint,
  gva: bigint,
  top: number,
  exact: boolean,
): Word[] {
  const changed = changes.split(",").map(hex);
  let table = cr3 & ADDRESS;
  return entries.split(",").map((text, i) => {
    const level = top - i;
    const pa = table + 8n * ((gva >> BigInt(3 + 9 * level)) & 0x1ffn);
    const value = hex(text);
    table = value & ADDRESS;
    // After a fault the accessed flags may be set that the vector names, or not.
    return { pa, value, level, nested: false, must: exact ? changed[i]! : 0n, may: changed[i]! };
  });
}

/** The one case of a line. */
export function parsePaging(origin: Origin, model: ProcessorModel): Case[] {
  const [, access, control, cr3, pkru, pkrs, gva, entries, outcome, value, changes] = fieldsOf(
    origin.line,
    14,
  );
  const bits = Number.parseInt(control!, 16);
  const address = hex(gva!);
  const top = bits & CONTROL.la57 ? 5 : 4;
  return [
    {
      origin,
      model,
      access: accessOf(access!),
      size: 8,
      gva: address,
      registers: registersOf(bits, [
        [Register.Cr3, hex(cr3!)],
        [Register.Pkru, hex(pkru!)],
        [Register.Pkrs, hex(pkrs!)],
      ]),
      words: wordsOf(entries!, changes!, hex(cr3!), address, top, outcome === "ok"),
      expected: expectedOf(outcome!, hex(value!), address),
    },
  ];
}
