/**
 * What is needed to explain or draw a walk besides the `Translation` that came of it: the access, and the registers that
 * governed it; and the walk taken apart into references, in the order in which a processor makes them.
 */

import {
  CR0_PE,
  CR0_PG,
  CR0_WP,
  CR4_LA57,
  CR4_PAE,
  CR4_PKE,
  CR4_PKS,
  CR4_SMAP,
  CR4_SMEP,
  EFER_LMA,
  EFER_LME,
  EFER_NXE,
  EPTP_AD,
  EPTP_LEVELS,
  PTE_ADDRESS,
  PTE_PS,
  RFLAGS_AC,
} from "../core/layout.generated.js";
import { usageError } from "../errors.js";
import { type AccessKind } from "../machine/access-result.js";
import { show } from "../machine/arguments.js";
import { type EptPaging, type NptPaging } from "../machine/nested.js";
import { type Translation } from "../machine/translation.js";

/** Kinds of access that a walk can be explained for. */
export type WalkAccess = AccessKind | "implicit-read" | "implicit-write" | "stack-read" | "stack-write";

const ACCESSES: readonly WalkAccess[] = [
  "read",
  "write",
  "fetch",
  "modify",
  "implicit-read",
  "implicit-write",
  "stack-read",
  "stack-write",
];

/** Bits that a physical address can have: with so many, no bit of an entry's address is reserved. */
const MAXPHYADDR_MAX = 52;

/** The second dimension, and what the processor has of it. */
export type NestedRoot =
  | (EptPaging & {
      /** The processor has execute-only translations (IA32_VMX_EPT_VPID_CAP bit 0). Default true. */
      readonly executeOnly?: boolean;
    })
  | NptPaging;

/** Registers that governed a walk. What is left out is as in 64-bit mode: paging, CR0.WP and EFER.NXE on, the rest 0. */
export interface WalkContextRegisters {
  readonly cr3: bigint;
  /** Default: PE, WP and PG. */
  readonly cr0?: bigint;
  /** Default: PAE. */
  readonly cr4?: bigint;
  /** Default: LME, LMA and NXE. */
  readonly efer?: bigint;
  readonly rflags?: bigint;
  readonly pkru?: bigint | number;
  /** IA32_PKRS. */
  readonly pkrs?: bigint | number;
  /** 0 to 3. Default 0. */
  readonly cpl?: number;
  /** MAXPHYADDR, 32 to 52. Default 52, of which no bit of an entry is reserved. */
  readonly maxphyaddr?: number;
  /** CPUID.80000001H:EDX.Page1GB. Default true. */
  readonly page1GB?: boolean;
  readonly nested?: NestedRoot | null;
}

/** What a `Translation` does not say of itself: which access was made, and what governed it. */
export interface WalkContext {
  /** Linear address of the access. */
  readonly gva: bigint;
  /** Default "read". */
  readonly access?: WalkAccess;
  readonly registers: WalkContextRegisters;
}

/** The control state as the rules of paging ask for it. */
export interface Settings {
  /** Levels of the guest's tables, 0 without paging. */
  readonly levels: 0 | 4 | 5;
  readonly wp: boolean;
  readonly smep: boolean;
  readonly smap: boolean;
  readonly pke: boolean;
  readonly pks: boolean;
  readonly nxe: boolean;
  readonly ac: boolean;
  readonly cpl: number;
  readonly pkru: number;
  readonly pkrs: number;
  readonly maxphyaddr: number;
  readonly page1GB: boolean;
  readonly cr3: bigint;
  readonly nested: NestedSettings | null;
  /** The access is a write, or reads and writes. */
  readonly writes: boolean;
  /** The access reads: it is no pure write and no fetch. */
  readonly reads: boolean;
  readonly fetches: boolean;
  readonly implicit: boolean;
  /** The access is one of user mode: CPL 3, and not an implicit supervisor access. */
  readonly user: boolean;
}

/** The second dimension as the rules ask for it. */
export interface NestedSettings {
  readonly format: EntryFormat;
  readonly root: bigint;
  readonly levels: number;
  /** Accesses to the guest's tables count as writes: with accessed and dirty flags for EPT; always with NPT. */
  readonly keepsFlags: boolean;
  readonly mbec: boolean;
  /** EPT: an entry may allow fetches without reads. */
  readonly executeOnly: boolean;
  /** NPT: the host's EFER.NXE. */
  readonly nxe: boolean;
}

/** Format of an entry: that of ordinary paging (also of NPT), or that of EPT. */
export type EntryFormat = "ordinary" | "ept";

/** One entry that the walk read. */
export interface Reference {
  /** 1 for the first that the processor made. */
  readonly order: number;
  readonly dimension: "guest" | "nested";
  readonly format: EntryFormat;
  /** Level of the guest's entry that it is read for, or is; 0 for the page itself. */
  readonly row: number;
  /** 5 to 1. */
  readonly level: number;
  /** Physical address of the table: guest-physical in the guest's dimension of a nested walk. */
  readonly table: bigint;
  readonly index: number;
  readonly entry: bigint;
  /** True if the entry maps a page, by its level and PS. */
  readonly leaf: boolean;
}

/** What one level of the guest takes: the nested walk that finds the entry, and the entry. */
export interface Row {
  /** Level of the guest's entry, 5 to 1; 0 for the page itself. */
  readonly level: number;
  /** Physical address of the guest's entry, or of the data: guest-physical in a nested walk. */
  readonly address: bigint;
  /** Nested references, top down; none without nesting. */
  readonly nested: readonly Reference[];
  /** The guest's entry; null in the row of the page, and where the walk did not come to it. */
  readonly guest: Reference | null;
}

/** A cell of the grid that guest levels and nested levels span. */
export interface Place {
  /** Level of the guest's entry that is looked for, 5 to 1; 0 for the page itself. */
  readonly row: number;
  /** Level of the nested entry, 5 to 1; 0 for the guest's entry, or the page, itself. */
  readonly column: number;
}

/** A walk taken apart. */
export interface WalkModel {
  readonly gva: bigint;
  readonly access: WalkAccess;
  readonly settings: Settings;
  readonly result: Translation["result"];
  readonly references: readonly Reference[];
  /** From the guest's top level to the page; the last is where the walk ended. */
  readonly rows: readonly Row[];
  /** The guest's entries, top down. */
  readonly guest: readonly Reference[];
  /** Where the walk ended without a translation; null if it has one, or did not begin. */
  readonly end: Place | null;
}

const has = (value: bigint, bit: bigint): boolean => (value & bit) !== 0n;

function nestedSettings(nested: NestedRoot | null | undefined): NestedSettings | null {
  if (!nested) return null;
  if (nested.kind === "npt") {
    const { ncr3, levels = 4, nxe = true } = nested;
    const ordinary = { keepsFlags: true, mbec: false, executeOnly: false };
    return { format: "ordinary", root: BigInt(ncr3) & PTE_ADDRESS, levels, nxe, ...ordinary };
  }
  const { eptp, modeBasedExecute: mbec = false, executeOnly = true } = nested;
  return {
    format: "ept",
    root: eptp & PTE_ADDRESS,
    levels: Number((eptp & EPTP_LEVELS) >> 3n) + 1,
    keepsFlags: has(eptp, EPTP_AD),
    mbec,
    executeOnly,
    nxe: true,
  };
}

/** The control state of a walk, what its context leaves out filled in. */
function settingsOf({ registers, access = "read" }: WalkContext): Settings {
  const cr0 = registers.cr0 ?? CR0_PE | CR0_PG | CR0_WP;
  const cr4 = registers.cr4 ?? CR4_PAE;
  const efer = registers.efer ?? EFER_LME | EFER_LMA | EFER_NXE;
  const cpl = registers.cpl ?? 0;
  const implicit = access.startsWith("implicit");
  const writes = access === "write" || access === "modify" || access.endsWith("-write");
  const fetches = access === "fetch";
  return {
    levels: !has(cr0, CR0_PG) ? 0 : has(cr4, CR4_LA57) ? 5 : 4,
    wp: has(cr0, CR0_WP),
    smep: has(cr4, CR4_SMEP),
    smap: has(cr4, CR4_SMAP),
    pke: has(cr4, CR4_PKE),
    pks: has(cr4, CR4_PKS),
    nxe: has(efer, EFER_NXE),
    ac: has(registers.rflags ?? 0n, RFLAGS_AC),
    cpl,
    pkru: Number(registers.pkru ?? 0),
    pkrs: Number(registers.pkrs ?? 0),
    maxphyaddr: registers.maxphyaddr ?? MAXPHYADDR_MAX,
    page1GB: registers.page1GB ?? true,
    cr3: registers.cr3,
    nested: nestedSettings(registers.nested),
    writes,
    reads: !fetches && (!writes || access === "modify"),
    fetches,
    implicit,
    user: cpl === 3 && !implicit,
  };
}

/** Lowest bit of a linear or guest-physical address that an entry of `level` does not translate: 12, 21, 30, 39, 48. */
export function levelShift(level: number): number {
  return 3 + 9 * level;
}

/** Index that `address` has in a table of `level`. */
export function indexAt(level: number, address: bigint): number {
  return Number((address >> BigInt(levelShift(level))) & 0x1ffn);
}

/** Physical address of an entry. */
export function entryAddress({ table, index }: Pick<Reference, "table" | "index">): bigint {
  return table + BigInt(index) * 8n;
}

/** Bits of an address below the page that an entry of `level` maps. */
export function offsetMask(level: number): bigint {
  return (1n << BigInt(levelShift(level))) - 1n;
}

/** Address of the page that a leaf maps: bits below the size of the page, such as PAT, are no part of it. */
export function pageOf({ entry, level }: Pick<Reference, "entry" | "level">): bigint {
  return entry & PTE_ADDRESS & ~offsetMask(level);
}

/** The entry whose translation, or the data whose address, comes after the guest's entry `above`; null: the first. */
function following(gva: bigint, settings: Settings, above: Reference | null): Pick<Row, "level" | "address"> {
  if (settings.levels === 0) return { level: 0, address: gva };
  if (above?.leaf) return { level: 0, address: pageOf(above) | (gva & offsetMask(above.level)) };
  const level = above ? above.level - 1 : settings.levels;
  const table = (above ? above.entry : settings.cr3) & PTE_ADDRESS;
  return { level, address: entryAddress({ table, index: indexAt(level, gva) }) };
}

/** Outcomes that the guest's own entries, or the access itself, decide: nothing is looked for after the last entry. */
const ENDS_IN_GUEST: ReadonlySet<string> = new Set([
  "page-fault",
  "general-protection",
  "stack-fault",
  "alignment-check",
  "interrupted",
]);

function rowsOf(
  gva: bigint,
  settings: Settings,
  { result, steps }: Translation,
): { rows: Row[]; references: Reference[] } {
  const references: Reference[] = [];
  const rows: Row[] = [];
  let row = following(gva, settings, null);
  let nested: Reference[] = [];
  for (const [i, { dimension, format, level, table, index, entry }] of steps.entries()) {
    const leaf = level === 1 || (level <= 3 && has(entry, PTE_PS));
    const at = dimension === "guest" ? level : row.level;
    const reference: Reference = {
      order: i + 1,
      dimension,
      format,
      row: at,
      level,
      table,
      index,
      entry,
      leaf,
    };
    references.push(reference);
    if (dimension === "nested") {
      nested.push(reference);
    } else {
      rows.push({ level, address: entryAddress(reference), nested, guest: reference });
      row = following(gva, settings, reference);
      nested = [];
    }
  }
  if (!ENDS_IN_GUEST.has(result.kind)) rows.push({ ...row, nested, guest: null });
  return { rows, references };
}

/** Where a walk that failed ended: at the entry that ends it, or at what would have been read next. */
function endOf(settings: Settings, { result }: Translation, rows: readonly Row[]): Place | null {
  const last = rows.at(-1);
  if (result.kind === "ok" || !last) return null;
  if (last.guest) return { row: last.level, column: 0 };
  const below = last.nested.at(-1);
  const stopped = result.kind !== "missing";
  if (!below) return { row: last.level, column: settings.nested ? settings.nested.levels : 0 };
  if (stopped) return { row: last.level, column: below.level };
  return { row: last.level, column: below.leaf ? 0 : below.level - 1 };
}

function isStep(step: Translation["steps"][number]): boolean {
  const within = (value: number, low: number, high: number): boolean =>
    Number.isInteger(value) && value >= low && value <= high;
  return (
    (step?.dimension === "guest" || step?.dimension === "nested") &&
    (step.format === "ordinary" || step.format === "ept") &&
    within(step.level, 1, 5) &&
    within(step.index, 0, 511) &&
    isWord(step.table) &&
    isWord(step.entry)
  );
}

function isWord(value: unknown): boolean {
  return typeof value === "bigint" && value >= 0n && value >> 64n === 0n;
}

/** Refuses what cannot be a walk, before anything is said of it. */
function check(translation: Translation, context: WalkContext): void {
  const refuse = (what: string, value: unknown, hint: string): never => {
    throw usageError(`The ${what} of a walk is ${show(value)}.`, hint);
  };
  if (!Array.isArray(translation?.steps) || typeof translation.result?.kind !== "string")
    refuse("translation", translation, "Pass what `walk` returned.");
  for (const [i, step] of translation.steps.entries())
    if (!isStep(step)) refuse(`step ${i}`, step, "Pass steps of level 1 to 5 and index 0 to 511.");
  if (!isWord(context?.gva)) refuse("gva", context?.gva, "Pass a bigint from 0 to 2^64 - 1.");
  if (context.access !== undefined && !ACCESSES.includes(context.access))
    refuse("access", context.access, `Use one of: ${ACCESSES.join(", ")}.`);
  if (!isWord(context.registers?.cr3))
    refuse("cr3", context.registers?.cr3, "Pass the register as a bigint.");
  const { nested } = context.registers;
  const kind = nested?.kind === "npt" ? "ordinary" : nested?.kind;
  if (translation.steps.some(({ dimension, format }) => dimension === "nested" && format !== kind))
    refuse(
      "nested root",
      nested?.kind,
      'Pass the one it was made with: { kind: "ept", eptp } or { kind: "npt", ncr3 }.',
    );
  const { maxphyaddr = MAXPHYADDR_MAX } = context.registers;
  if (!Number.isInteger(maxphyaddr) || maxphyaddr < 32 || maxphyaddr > MAXPHYADDR_MAX)
    refuse("MAXPHYADDR", maxphyaddr, "Pass an integer from 32 to 52.");
}

/** Takes a walk apart. Error: `USAGE`. */
export function modelOf(translation: Translation, context: WalkContext): WalkModel {
  check(translation, context);
  const settings = settingsOf(context);
  const { rows, references } = rowsOf(context.gva, settings, translation);
  return {
    gva: context.gva,
    access: context.access ?? "read",
    settings,
    result: translation.result,
    references,
    rows,
    guest: references.filter(({ dimension }) => dimension === "guest"),
    end: endOf(settings, translation, rows),
  };
}
