/** `guestmmu walk`: one access, entry by entry, and why it succeeds or does not. */

import { PTE_KEY_SHIFT } from "../core/layout.generated.js";
import { describeFault } from "../machine/access-result.js";
import { type Translation, type WalkStep } from "../machine/translation.js";
import { accumulatedRights, explainWalk, shortRights, type WalkContext } from "../report/index.js";
import { renderTable } from "../report/table.js";
import { formatBytes } from "../report/units.js";
import { ENTRY_NAMES } from "../report/walk-names.js";
import { hex, hex16 } from "./address-text.js";
import { document } from "./json.js";
import { rootInWords, targetJson } from "./target-text.js";
import { type Target } from "./target.js";

/** Accesses that can be asked for. */
export type WalkAccessKind = "read" | "write" | "fetch" | "modify";

/** A walk that was made. */
export interface WalkReport {
  /** Name of the image. */
  readonly image: string;
  readonly target: Target;
  readonly gva: bigint;
  readonly access: WalkAccessKind;
  readonly cpl: number;
  readonly translation: Translation;
}

/** What the words for a walk need to know. */
export function contextOf({ target, gva, access, cpl }: WalkReport): WalkContext {
  return { gva, access, registers: { ...target.registers, cpl } };
}

const ACCESS_NAMES: Readonly<Record<WalkAccessKind, string>> = {
  read: "read",
  write: "write",
  fetch: "instruction fetch",
  modify: "read-modify-write",
};

/** To be read. */
export function walkText(report: WalkReport): string {
  const { target, gva, access, cpl, translation } = report;
  const { steps } = translation;
  const context = contextOf(report);
  const sections = [`${ACCESS_NAMES[access]} of gva ${hex(gva)} at CPL ${cpl}\n${rootInWords(target)}`];
  if (steps.length > 0) sections.push(stepTable(translation, context, target.registers.nested !== null));
  sections.push(`${outcome(translation)}\n${explainWalk(translation, context)}`);
  const key = keyRemark(report);
  const remarks = key === null ? target.remarks : [...target.remarks, key];
  if (remarks.length > 0) sections.push(remarks.map((remark) => `note: ${remark}`).join("\n"));
  return `${sections.join("\n\n")}\n`;
}

/** A line an entry. Nested ones are indented below the entry of the guest's, or the page, that they are needed for. */
function stepTable(translation: Translation, context: WalkContext, nested: boolean): string {
  const rights = accumulatedRights(translation, context);
  const rows = translation.steps.map((step, i) => [
    stepName(step),
    hex(step.table),
    step.index,
    hex(step.table + BigInt(step.index) * 8n),
    hex16(step.entry),
    flagsInWords(step),
    shortRights(rights[i]!),
  ]);
  const columns = [
    { header: nested ? "entry of" : "entry" },
    { header: "table", align: "right" as const },
    { header: "index" },
    { header: "at", align: "right" as const },
    { header: "value", align: "left" as const },
    { header: "flags" },
    { header: "rights so far" },
  ];
  return renderTable(columns, rows);
}

function stepName({ dimension, level }: WalkStep): string {
  const name = ENTRY_NAMES[level] ?? `level ${level}`;
  return dimension === "nested" ? `  nested ${name}` : name;
}

/** Flags by name, and the protection key of a leaf that has one. */
function flagsInWords(step: WalkStep): string {
  const key = step.dimension === "guest" ? Number((step.entry >> PTE_KEY_SHIFT) & 15n) : 0;
  const flags = step.flags.join(" ");
  return key === 0 ? flags || "-" : `${flags} key=${key}`;
}

const PAGE_NAMES: Readonly<Record<number, string>> = { 12: "4 KiB", 21: "2 MiB", 30: "1 GiB" };

/** `gva -> gpa -> hpa`, as far as it goes. */
function outcome({ result }: Translation): string {
  if (result.kind !== "ok") return describeFault(result);
  const { gpa, hpa, pageShift } = result;
  const page = PAGE_NAMES[pageShift] ?? formatBytes(2 ** pageShift);
  return BigInt(gpa) === BigInt(hpa)
    ? `physical address ${hex(hpa)}, in a page of ${page}`
    : `gpa ${hex(gpa)}, hpa ${hex(hpa)}, in a piece of ${page} of both dimensions`;
}

/** Keys are checked against a register that no note has. */
function keyRemark({ target, translation }: WalkReport): string | null {
  const leaf = translation.steps.findLast(({ dimension }) => dimension === "guest");
  const hasKey = leaf !== undefined && ((leaf.entry >> PTE_KEY_SHIFT) & 15n) !== 0n;
  if (!hasKey || target.registers.pkru !== undefined) return null;
  return "PKRU is not in the image: it is taken as 0, which allows every key (--pkru).";
}

/** For programs. */
export function walkJson(report: WalkReport): string {
  const { image, target, gva, access, cpl, translation } = report;
  const context = contextOf(report);
  const rights = accumulatedRights(translation, context);
  const steps = translation.steps.map((step, i) => ({
    ...step,
    entry_name: ENTRY_NAMES[step.level],
    address: step.table + BigInt(step.index) * 8n,
    rights: rights[i],
  }));
  return document("walk", {
    image,
    gva,
    access,
    cpl,
    ...targetJson(target),
    result: translation.result,
    says: explainWalk(translation, context),
    steps,
  });
}
