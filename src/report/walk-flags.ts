/** The fields of an entry, each explained in words (SDM vol. 3A 4.5, vol. 3C 29.3.2). */

import {
  EPT_A,
  EPT_D,
  EPT_IPAT,
  EPT_MEMTYPE,
  EPT_PS,
  EPT_R,
  EPT_RWX,
  EPT_SUPPRESS_VE,
  EPT_W,
  EPT_X,
  EPT_XU,
  PTE_A,
  PTE_D,
  PTE_G,
  PTE_KEY_SHIFT,
  PTE_P,
  PTE_PCD,
  PTE_PS,
  PTE_PWT,
  PTE_RW,
  PTE_US,
  PTE_XD,
} from "../core/layout.generated.js";
import { type Reference, type Settings } from "./walk-model.js";
import { ENTRY_NAMES, PAGE_SIZES, TABLE_NAMES } from "./walk-names.js";

/** One field of an entry. */
export interface Field {
  /** By the manual: "R/W". */
  readonly name: string;
  readonly mask: bigint;
  /** The field's value. */
  readonly value: number;
  readonly says: string;
}

/** PAT of a large page; of a PTE it is bit 7. PAT, PCD and PWT are the bits 2:0 of a number (SDM vol. 3A 4.9.2). */
const PTE_PAT_LARGE = 1n << 12n;

/** Memory types of EPT, by their number. */
const MEMORY_TYPES: Readonly<Record<number, string>> = {
  0: "uncacheable",
  1: "write-combining",
  4: "write-through",
  5: "write-protected",
  6: "write-back",
};

const below = (level: number): string => TABLE_NAMES[level - 1]!;

/** The value of the bits under `mask`, moved down to bit 0. */
function valueOf(entry: bigint, mask: bigint): number {
  return Number((entry & mask) / (mask & -mask));
}

/** A list of fields of one entry. */
class Fields {
  readonly list: Field[] = [];
  readonly #entry: bigint;
  constructor(entry: bigint) {
    this.#entry = entry;
  }
  /** A flag, with the words for 1 and for 0; null: then it is not worth a word. */
  flag(name: string, mask: bigint, one: string | null, zero: string | null): void {
    const set = (this.#entry & mask) !== 0n;
    const says = set ? one : zero;
    if (says !== null) this.list.push({ name, mask, value: Number(set), says });
  }
  field(name: string, mask: bigint, says: (value: number) => string): void {
    const value = valueOf(this.#entry, mask);
    this.list.push({ name, mask, value, says: says(value) });
  }
}

function ordinaryFields({ entry, level, leaf, dimension }: Reference, settings: Settings): Field[] {
  const fields = new Fields(entry);
  fields.flag("P", PTE_P, "present", "not present: the other bits mean nothing");
  if ((entry & PTE_P) === 0n) return fields.list;
  fields.flag("R/W", PTE_RW, "writable", "read-only");
  fields.flag("U/S", PTE_US, "user mode too", "supervisor mode only");
  if (leaf) {
    const pat = level === 1 ? PTE_PS : PTE_PAT_LARGE;
    const number = (entry & pat ? 4 : 0) + valueOf(entry, PTE_PCD | PTE_PWT);
    const says = `memory type by entry ${number} of IA32_PAT`;
    fields.list.push({ name: "PAT", mask: pat | PTE_PCD | PTE_PWT, value: number, says });
  } else {
    fields.flag("PWT", PTE_PWT, `write-through for the ${below(level)}`, null);
    fields.flag("PCD", PTE_PCD, `cache disabled for the ${below(level)}`, null);
  }
  fields.flag("A", PTE_A, "accessed", "not accessed yet");
  if (leaf) fields.flag("D", PTE_D, "dirty", "clean: not written yet");
  if (level === 2 || level === 3) largePage(fields, PTE_PS, level);
  if (leaf && dimension === "guest") fields.flag("G", PTE_G, "global", "not global");
  if (leaf && dimension === "guest" && (settings.pke || settings.pks))
    fields.field("key", 15n << PTE_KEY_SHIFT, (key) => `protection key ${key}`);
  fields.flag("XD", PTE_XD, "no fetches", "fetches allowed");
  return fields.list;
}

function largePage(fields: Fields, mask: bigint, level: number): void {
  fields.flag("PS", mask, `maps a ${PAGE_SIZES[level]} page`, `refers to a ${below(level)}`);
}

function eptFields({ entry, level, leaf }: Reference, settings: Settings): Field[] {
  const { mbec = false, keepsFlags = false } = settings.nested ?? {};
  const fields = new Fields(entry);
  fields.flag("R", EPT_R, "reads allowed", "no reads");
  fields.flag("W", EPT_W, "writes allowed", "no writes");
  const who = mbec ? " for supervisor-mode addresses" : "";
  fields.flag("X", EPT_X, `fetches allowed${who}`, `no fetches${who}`);
  if (mbec) {
    const user = "for user-mode addresses";
    fields.flag("XU", EPT_XU, `fetches allowed ${user}`, `no fetches ${user}`);
  }
  if ((entry & (EPT_RWX | (mbec ? EPT_XU : 0n))) === 0n) return fields.list;
  if (leaf) {
    fields.field("type", EPT_MEMTYPE, (type) => `memory type ${MEMORY_TYPES[type] ?? "reserved"}`);
    fields.flag("IPAT", EPT_IPAT, "the guest's PAT is ignored", null);
  }
  if (level === 2 || level === 3) largePage(fields, EPT_PS, level);
  if (keepsFlags) {
    fields.flag("A", EPT_A, "accessed", "not accessed yet");
    if (leaf) fields.flag("D", EPT_D, "dirty", "clean: not written yet");
  }
  if (leaf) fields.flag("SVE", EPT_SUPPRESS_VE, "a violation is no #VE", null);
  return fields.list;
}

/** The fields that matter of an entry, the low bits first; those of an entry that is not present, as far as they do. */
export function fieldsOf(reference: Reference, settings: Settings): readonly Field[] {
  return reference.format === "ept" ? eptFields(reference, settings) : ordinaryFields(reference, settings);
}

/** What an entry leads to: "page directory", "2-MByte page"; null if it is not present. */
export function targetOf({ format, entry, level, leaf }: Reference, mbec: boolean): string | null {
  const present = format === "ept" ? EPT_RWX | (mbec ? EPT_XU : 0n) : PTE_P;
  if ((entry & present) === 0n) return null;
  return leaf ? `${PAGE_SIZES[level]} page` : below(level);
}

/** The name of an entry with what it belongs to: "EPT PDE". */
export function entryName({ level, dimension, format }: Reference): string {
  return `${dimension === "guest" ? "" : format === "ept" ? "EPT " : "nested "}${ENTRY_NAMES[level]}`;
}
