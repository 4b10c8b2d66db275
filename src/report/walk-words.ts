/** A walk in one sentence: what the access reaches, or exactly why it does not. */

import {
  EPT_VIOLATION_FETCH,
  EPT_VIOLATION_READ,
  EPT_VIOLATION_WRITE,
  PFERR_ID,
  PFERR_P,
  PFERR_PK,
  PFERR_RSVD,
  PFERR_US,
  PFERR_WR,
} from "../core/layout.generated.js";
import { hex } from "../machine/address.js";
import { type Translation } from "../machine/translation.js";
import {
  modelOf,
  type Reference,
  type Row,
  type WalkAccess,
  type WalkContext,
  type WalkModel,
} from "./walk-model.js";
import { dimensionOf, ENTRY_NAMES, entryInWords, PAGE_SIZES, TABLE_NAMES } from "./walk-names.js";
import {
  errorCodeOf,
  guestReasons,
  isNonCanonical,
  nestedReasons,
  type NestedReasons,
  type Reason,
} from "./walk-reasons.js";

/** What came of a walk, in words, and the entries that decided it. */
export interface Explanation {
  /** The outcome's name: "#PF, error code 0x7 (P, W/R, U/S)". */
  readonly outcome: string;
  /** One sentence, with its full stop. */
  readonly sentence: string;
  /** What stops the access; none if nothing does. */
  readonly reasons: readonly Reason[];
}

/** Verbs of the accesses, up to the address. */
const VERBS: Readonly<Record<WalkAccess, string>> = {
  read: "read of",
  write: "write to",
  fetch: "instruction fetch from",
  modify: "read-modify-write of",
  "implicit-read": "read of",
  "implicit-write": "write to",
  "stack-read": "stack read of",
  "stack-write": "stack write to",
};

/** "user-mode write to gva 0x1000" */
export function accessInWords({ settings, access, gva }: WalkModel): string {
  const mode = settings.user ? "user-mode" : "supervisor-mode";
  return `${settings.implicit ? "implicit " : ""}${mode} ${VERBS[access]} gva ${hex(gva)}`;
}

const ERROR_BITS: readonly (readonly [number, string])[] = [
  [PFERR_P, "P"],
  [PFERR_WR, "W/R"],
  [PFERR_US, "U/S"],
  [PFERR_RSVD, "RSVD"],
  [PFERR_ID, "I/D"],
  [PFERR_PK, "PK"],
];

/** "0x7 (P, W/R, U/S)", by the names of SDM vol. 3A 4.7. */
export function errorCodeInWords(code: number): string {
  const names = ERROR_BITS.filter(([bit]) => code & bit).map(([, name]) => name);
  return names.length > 0 ? `${hex(code)} (${names.join(", ")})` : hex(code);
}

const TRIED: readonly (readonly [number, string])[] = [
  [EPT_VIOLATION_READ, "read"],
  [EPT_VIOLATION_WRITE, "write"],
  [EPT_VIOLATION_FETCH, "fetch"],
];

/** "0x181 (read)": of an exit qualification (SDM vol. 3C, table 28-7), what was tried. */
function qualificationInWords(qualification: number): string {
  const names = TRIED.filter(([bit]) => qualification & bit).map(([, name]) => name);
  return names.length > 0 ? `${hex(qualification)} (${names.join(", ")})` : hex(qualification);
}

/** What the nested walk of a row is for. */
export function purposeOf({ level }: Pick<Row, "level">): string {
  return level === 0 ? "the page itself" : `the guest ${ENTRY_NAMES[level]} (level ${level})`;
}

const because = (reasons: readonly Reason[]): string => reasons.map(({ says }) => says).join("; and ");

/** How an explanation ends if the entries and registers do not lead to what was reported. */
const UNACCOUNTED = "which the entries read and the registers given do not account for";

/** The row that a nested fault at `gpa` belongs to: one whose entry was found already has a flag to be set there. */
function faultingRow({ rows }: WalkModel, gpa: bigint): { row: Row; flags: boolean } | null {
  const row = rows.find(({ address, guest }) => guest !== null && address === gpa) ?? rows.at(-1);
  return row ? { row, flags: row.guest !== null } : null;
}

function explainTranslated(model: WalkModel): string {
  const { result, guest, rows, settings } = model;
  if (result.kind !== "ok") return "";
  const nested = settings.nested !== null;
  const through = (leaf: Reference): string =>
    ` in a ${PAGE_SIZES[leaf.level]} page that the ${entryInWords(leaf, nested)} maps`;
  const leaf = guest.at(-1);
  const found = leaf ? through(leaf) : ", since paging is off (CR0.PG is clear)";
  if (!nested) return `reaches physical address ${hex(result.hpa)}${found}`;
  const below = rows.at(-1)?.nested.at(-1);
  return `reaches gpa ${hex(result.gpa)}${found}, and hpa ${hex(result.hpa)}${below ? through(below) : ""}`;
}

function explainNested(
  model: WalkModel,
  gpa: bigint,
  outcome: string,
  expected: (found: NestedReasons) => boolean,
) {
  const at = faultingRow(model, gpa);
  const found = at && nestedReasons(model, at.row, at.flags);
  const where = at ? `in the access to ${purposeOf(at.row)}, at gpa ${hex(gpa)}` : `at gpa ${hex(gpa)}`;
  const accounted = found !== null && found.reasons.length > 0 && expected(found);
  const why = accounted ? `because ${because(found.reasons)}` : UNACCOUNTED;
  return { said: `ends in ${outcome}, ${where}, ${why}`, reasons: accounted ? found.reasons : [] };
}

/** What was looked for at a physical address that the memory does not have. */
function missingThing({ end, settings }: WalkModel): string {
  if (end === null) return "what is looked for";
  const { row, column } = end;
  if (column === 0 && row === 0) return "the page itself";
  const dimension = column === 0 ? "guest" : "nested";
  const format = column === 0 ? "ordinary" : (settings.nested?.format ?? "ept");
  const name = dimensionOf({ dimension, format }, settings.nested !== null);
  const level = column === 0 ? row : column;
  const purpose = column === 0 ? "" : `, needed for ${purposeOf({ level: row })},`;
  return `the ${name}${TABLE_NAMES[level]} (level ${level})${purpose}`;
}

/** The outcome by name, and what is said of it after the access; the reasons are those that it gives. */
function judge(model: WalkModel): { outcome: string; said: string; reasons: readonly Reason[] } {
  const { result, settings, gva } = model;
  const none: readonly Reason[] = [];
  switch (result.kind) {
    case "ok":
      return { outcome: "Translated", said: explainTranslated(model), reasons: none };
    case "page-fault": {
      const reasons = guestReasons(model);
      const accounted = reasons.length > 0 && errorCodeOf(settings, reasons) === result.errorCode;
      const code = errorCodeInWords(result.errorCode);
      const why = accounted ? `because ${because(reasons)}` : UNACCOUNTED;
      return {
        outcome: `#PF, error code ${code}`,
        said: `raises #PF with error code ${code}, ${why}`,
        reasons: accounted ? reasons : none,
      };
    }
    case "general-protection":
    case "stack-fault": {
      const outcome = result.kind === "stack-fault" ? "#SS(0)" : "#GP(0)";
      const low = settings.levels === 5 ? 56 : 47;
      const stack = result.kind === "stack-fault" ? " and the access is through the stack segment" : "";
      const why = isNonCanonical(settings.levels, gva)
        ? `because the address is not canonical: with ${settings.levels}-level paging bits 63:${low} have to be equal${stack}`
        : UNACCOUNTED;
      return { outcome, said: `raises ${outcome}, ${why}`, reasons: none };
    }
    case "ept-violation": {
      const outcome = `an EPT violation with exit qualification ${qualificationInWords(result.qualification)}`;
      const { said, reasons } = explainNested(
        model,
        result.gpa,
        outcome,
        ({ misconfigured, error }) => !misconfigured && error === (result.qualification & 0x3f),
      );
      return { outcome: `EPT violation, exit qualification ${hex(result.qualification)}`, said, reasons };
    }
    case "ept-misconfiguration": {
      const found = explainNested(model, result.gpa, "an EPT misconfiguration", (r) => r.misconfigured);
      return { outcome: "EPT misconfiguration", ...found };
    }
    case "nested-page-fault": {
      const { exitInfo1, gpa } = result;
      const code = errorCodeInWords(Number(exitInfo1 & 0xffff_ffffn));
      const outcome = `a nested page fault with EXITINFO1 ${hex(exitInfo1)}, error code ${code}`;
      const found = explainNested(
        model,
        gpa,
        outcome,
        ({ error }) => error === Number(exitInfo1 & 0xffff_ffffn),
      );
      return { outcome: `#VMEXIT(NPF), EXITINFO1 ${hex(exitInfo1)}`, ...found };
    }
    case "pml-full":
      return {
        outcome: "PML full",
        said:
          `ends in a full page-modification log, because an accessed or dirty flag of EPT is to be set for gpa ${hex(result.gpa)} ` +
          "and the PML index is not below 512",
        reasons: none,
      };
    case "missing":
      return {
        outcome: "Missing memory",
        said:
          `cannot be followed to its end, because physical address ${hex(result.hpa)}, where ${missingThing(model)} ` +
          "should be, is not in the memory that was given",
        reasons: none,
      };
    case "mmio":
      return {
        outcome: "MMIO exit",
        said:
          `exits for emulation (MMIO), because no memslot holds gpa ${hex(result.gpa)}` +
          (settings.writes || result.target === "table" ? ", or only a read-only one" : ""),
        reasons: none,
      };
    case "host-fault":
      return {
        outcome: "Host fault",
        said: `cannot be backed, because the VMM maps nothing behind gpa ${hex(result.gpa)}, or not with that right`,
        reasons: none,
      };
    case "alignment-check":
      return {
        outcome: "#AC(0)",
        said: "raises #AC(0), because it is locked and not aligned",
        reasons: none,
      };
    case "interrupted":
      return {
        outcome: "Not made",
        said: "was not made, because the vCPU had been asked to leave guest mode",
        reasons: none,
      };
  }
}

/** Explains a walk that was taken apart. */
export function explain(model: WalkModel): Explanation {
  const { outcome, said, reasons } = judge(model);
  const access = accessInWords(model);
  return { outcome, sentence: `${model.settings.implicit ? "An" : "A"} ${access} ${said}.`, reasons };
}

/**
 * One sentence: what the access reaches, or why it faults, with each entry and bit that decides it. The reason is found
 * from the entries and the registers, not from the error code; where the two do not agree, the sentence says so. Error:
 * `USAGE`.
 */
export function explainWalk(translation: Translation, context: WalkContext): string {
  return explain(modelOf(translation, context)).sentence;
}
