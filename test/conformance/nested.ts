// Lines of ept.txt.gz and npt.txt.gz: guest tables below EPT or AMD's nested paging, and every word of memory that the two
// dimensions may use.
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

/** `ok:HPA`, `pf:ERR`, `viol:GPA:QUALIFICATION`, `misc:GPA`, `npf:EXITINFO2:EXITINFO1`. */
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
    case "npf":
      return { ...NOTHING, outcome: Outcome.NestedPageFault, gpa: hex(first), error: hex(second!) };
    default:
      throw new Error(`outcome ${text}: expected ok, pf, viol, misc or npf`);
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

/** A nested dimension: the registers that it takes, and the accessed flag of its entries, 0 if it keeps none. */
interface Dimension {
  registers: [number, bigint][];
  accessed: bigint;
}

/** The processor that the EPT vectors were made on can do execute-only translations, and tells nothing advanced. */
const ept = (eptp: bigint): Dimension => ({
  registers: [
    [Register.Eptp, eptp],
    [Register.EptVpidCap, layout.EPT_CAP_EXECUTE_ONLY],
  ],
  accessed: eptp & layout.EPTP_AD ? layout.EPT_A : 0n,
});
/** The host of the NPT vectors has EFER.NXE set, and four levels. */
const npt = (ncr3: bigint): Dimension => ({
  registers: [
    [Register.Ncr3, ncr3],
    [Register.NestedControl, layout.NP_ENABLE | layout.EFER_NXE],
  ],
  accessed: layout.PTE_A,
});

function parse(dimension: (root: bigint) => Dimension, origin: Origin, model: ProcessorModel): Case[] {
  const [, access, control, root, cr3, gva, words, outcome, changes] = fieldsOf(origin.line, 12);
  const { registers, accessed } = dimension(hex(root!));
  const address = hex(gva!);
  return [
    {
      origin,
      model,
      access: accessOf(access!),
      size: 1,
      gva: address,
      registers: registersOf(Number.parseInt(control!, 16), [[Register.Cr3, hex(cr3!)], ...registers]),
      words: wordsOf(words!, changes!, outcome!.startsWith("ok"), accessed),
      expected: expectedOf(outcome!, address),
    },
  ];
}

/** The one case of a line of ept.txt.gz. */
export function parseEpt(origin: Origin, model: ProcessorModel): Case[] {
  return parse(ept, origin, model);
}
/** The one case of a line of npt.txt.gz. */
export function parseNpt(origin: Origin, model: ProcessorModel): Case[] {
  return parse(npt, origin, model);
}
