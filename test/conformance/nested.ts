// Lines of ept.txt.gz: guest tables below EPT, and every word of memory that the two dimensions may use.
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

const NOTHING: Expected = {
  outcome: Outcome.Ok,
  error: null,
  cr2: null,
  gpa: null,
  pa: null,
  secondPa: null,
};

/** `ok:HPA`, `pf:ERR`, `viol:GPA:QUALIFICATION`, `misc:GPA`. */
function expectedOf(text: string, gva: bigint): Expected {
  const [kind, first, second] = text.split(":") as [string, string, string | undefined];
  switch (kind) {
    case "ok":
      return { ...NOTHING, pa: hex(first) };
    case "pf":
      return { ...NOTHING, outcome: Outcome.PageFault, error: hex(first), cr2: gva };
    case "viol":
      return { ...NOTHING, outcome: Outcome.EptViolation, gpa: hex(first), error: hex(second!) };
    case "misc":
      return { ...NOTHING, outcome: Outcome.EptMisconfiguration, gpa: hex(first) };
    default:
      throw new Error(`outcome ${text}: expected ok, pf, viol or misc`);
  }
}

/**
 * The words, and how they may change: exactly as stated after a success. After a fault or an exit, what the nested
 * dimension had finished is told, and more accessed flags of it may be set; the guest's flags may be set or not.
 */
function wordsOf(text: string, changes: string, ok: boolean, accessed: bigint): Word[] {
  const stated = new Map(
    changes === "-" ? [] : changes.split(",").map((change) => change.split(":").map(hex) as [bigint, bigint]),
  );
  return text.split(",").map((item) => {
    const [, kind, level, at, value] = /^([gn])\d?(\d)@(\w+):(\w+)$/.exec(item)!;
    const pa = hex(at!);
    const nested = kind === "n";
    const told = stated.get(pa) ?? 0n;
    return {
      pa,
      value: hex(value!),
      level: Number(level),
      nested,
      must: ok || nested ? told : 0n,
      may: !ok && nested ? told | accessed : told,
    };
  });
}

/** The one case of a line. */
export function parseNested(origin: Origin, model: ProcessorModel): Case[] {
  const [, access, control, root, cr3, gva, words, outcome, changes] = fieldsOf(origin.line, 12);
  const eptp = hex(root!);
  const address = hex(gva!);
  const accessed = eptp & layout.EPTP_AD ? layout.EPT_A : 0n;
  return [
    {
      origin,
      model,
      access: accessOf(access!),
      size: 1,
      gva: address,
      registers: registersOf(Number.parseInt(control!, 16), [
        [Register.Cr3, hex(cr3!)],
        [Register.Eptp, eptp],
      ]),
      words: wordsOf(words!, changes!, outcome!.startsWith("ok"), accessed),
      expected: expectedOf(outcome!, address),
    },
  ];
}
