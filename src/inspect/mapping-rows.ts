/**
 * Mappings as text, CSV and JSON, written from the rows of a scan without a number of 64 bits in between: each row is twelve
 * words, the lower half of a number before the upper.
 */

import { MAPPING_WORDS, MappingBits, MappingColumn } from "../walker/index.js";
import { type ByteWriter } from "./byte-writer.js";

/** How neighbours become one row, as `PageWalker.scan` does it. */
export type MappingFold = "none" | "physical" | "rights";

/** What decides which columns there are. */
export interface RowShape {
  readonly fold: MappingFold;
  /** Two dimensions: columns for the host-physical address and for what the nested tables allow. */
  readonly nested: boolean;
  /** CSV of several roots: what the first column of each row holds. */
  readonly root?: string;
}

/** Writes the rows of one listing. */
export interface RowWriter {
  /** Before the first row. */
  begin(): void;
  /** The row whose words begin at `at`. */
  row(words: Uint32Array, at: number): void;
  /** After the last row. */
  end(): void;
}

/** 32-bit words of a row; each of 64 bits is followed by its upper half. */
export const ROW_WORDS = 2 * MAPPING_WORDS;
const GVA = 2 * MappingColumn.gva;
const GPA = 2 * MappingColumn.gpa;
const HPA = 2 * MappingColumn.hpa;
const LENGTH = 2 * MappingColumn.length;
const ENTRY = 2 * MappingColumn.entry;
const EFFECTIVE = 2 * MappingColumn.effective;

const { writable: WRITABLE, user: USER, executeDisable: XD } = MappingBits;
const { nestedFault: NESTED_FAULT, gap: GAP, nestedGap: NESTED_GAP } = MappingBits;

/** `urwx`, a dash where a right is missing: of all levels, for each combination of the effective bits. */
const RIGHTS = Array.from({ length: 8 }, (_, bits) =>
  [bits & USER ? "u" : "-", "r", bits & WRITABLE ? "w" : "-", bits & XD ? "-" : "x"].join(""),
);

/** Rights of the nested tables, by the bits R, W and X of all their levels. */
const NESTED_RIGHTS = Array.from({ length: 8 }, (_, bits) =>
  [bits & 1 ? "r" : "-", bits & 2 ? "w" : "-", bits & 4 ? "x" : "-"].join(""),
);

/** The flags of a leaf as emulators list them; bit 7 is PS of a large page and PAT of a small one. */
const LEAF_FLAGS: readonly (readonly [number, string])[] = [
  [8, "G"],
  [7, "P"],
  [6, "D"],
  [5, "A"],
  [4, "C"],
  [3, "T"],
  [2, "U"],
  [1, "W"],
];

/** By bits 8:1 of the entry and bit 63: `XGPDACTUW`, a dash where a flag is clear. */
const FLAG_TEXTS = Array.from({ length: 512 }, (_, bits) => {
  const others = LEAF_FLAGS.map(([bit, letter]) => ((bits >> (bit - 1)) & 1 ? letter : "-"));
  return (bits & 256 ? "X" : "-") + others.join("");
});

const UNITS = "KMGTPE";
/** Lengths that have been written before: there are few different ones. */
const lengths = new Map<number, string>();

/** A multiple of 4 KiB in the largest unit that divides it: `12K`, `2M`. */
function lengthText(words: Uint32Array, at: number): string {
  const kilobytes = (words[at + 1]! * 2 ** 32 + words[at]!) / 1024;
  let text = lengths.get(kilobytes);
  if (text !== undefined) return text;
  let value = kilobytes;
  let unit = 0;
  while (value % 1024 === 0 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  text = `${value}${UNITS[unit]}`;
  if (lengths.size < 10_000) lengths.set(kilobytes, text);
  return text;
}

/** The page that a leaf of this span maps. */
export const PAGE_TEXTS: Readonly<Record<number, string>> = { 12: "4K", 21: "2M", 30: "1G" };

/** An address, or a length, in pages of 4 KiB: at most 2^52, which a number holds. */
export function pageNumber(words: Uint32Array, at: number): number {
  return (words[at]! >>> 12) + words[at + 1]! * 2 ** 20;
}

function spanOf(words: Uint32Array, at: number): number {
  return (words[at + EFFECTIVE]! >>> MappingBits.pageShift) & 0xff;
}

function isNowhere(words: Uint32Array, at: number): boolean {
  return (words[at]! & words[at + 1]!) === -1;
}

/** The last address of a row, which is below 2^64 even where the next one would not be. */
function writeLast(out: ByteWriter, words: Uint32Array, at: number, digits: "hex" | "hex16"): void {
  const low = words[at + GVA]! + words[at + LENGTH]! - 1;
  const carry = low < 0 ? -1 : low >= 2 ** 32 ? 1 : 0;
  out[digits](low >>> 0, (words[at + GVA + 1]! + words[at + LENGTH + 1]! + carry) >>> 0);
}

/** `urwx` of a row. */
export function rightsText(words: Uint32Array, at: number): string {
  return RIGHTS[words[at + EFFECTIVE]! & 7]!;
}

function nestedRightsText(words: Uint32Array, at: number): string {
  return NESTED_RIGHTS[(words[at + EFFECTIVE]! >>> MappingBits.nestedRights) & 7]!;
}

/** `XGPDACTUW` of a row's leaf entry. */
export function leafFlagsText(words: Uint32Array, at: number): string {
  return FLAG_TEXTS[((words[at + ENTRY]! >>> 1) & 0xff) | ((words[at + ENTRY + 1]! >>> 31) << 8)]!;
}

/** Why a row maps nothing that can be read; null for one that does. */
function objectionTo(words: Uint32Array, at: number): string | null {
  const effective = words[at + EFFECTIVE]!;
  if (effective & NESTED_GAP) return "nested table not in the image";
  if (effective & GAP)
    return effective & NESTED_FAULT ? "nested tables do not map its table" : "table not in the image";
  return effective & NESTED_FAULT ? "nested tables do not map it" : null;
}

/** A listing to be read: columns of fixed width, under a header. */
export class TextRows implements RowWriter {
  readonly #out: ByteWriter;
  readonly #shape: RowShape;
  readonly #texts = new Map<number, string>();

  constructor(out: ByteWriter, shape: RowShape) {
    this.#out = out;
    this.#shape = shape;
  }

  begin(): void {
    const { fold, nested } = this.#shape;
    const columns = ["gva".padEnd(33), "length".padStart(8)];
    if (fold !== "rights") columns.push("page");
    columns.push("urwx");
    if (nested) columns.push("nested");
    if (fold !== "rights") columns.push("gpa".padEnd(16), ...(nested ? ["hpa".padEnd(16)] : []), "XGPDACTUW");
    this.#out.text(`${columns.join("  ").trimEnd()}\n`);
  }

  row(words: Uint32Array, at: number): void {
    const out = this.#out;
    out.hex16(words[at + GVA]!, words[at + GVA + 1]!);
    out.text("-");
    writeLast(out, words, at, "hex16");
    out.right(lengthText(words, at + LENGTH), 10);
    out.text(this.#rights(words, at));
    if (this.#shape.fold !== "rights") this.#target(words, at);
    const objection = objectionTo(words, at);
    out.text(objection === null ? "\n" : `  (${objection})\n`);
  }

  end(): void {}

  /** Columns that the effective bits alone decide: there are few different ones in a listing. */
  #rights(words: Uint32Array, at: number): string {
    const effective = words[at + EFFECTIVE]!;
    let text = this.#texts.get(effective);
    if (text !== undefined) return text;
    const columns = [rightsText(words, at)];
    if (this.#shape.fold !== "rights") columns.unshift((PAGE_TEXTS[spanOf(words, at)] ?? "-").padStart(4));
    if (this.#shape.nested) columns.push(nestedRightsText(words, at).padEnd(6));
    text = `  ${columns.join("  ")}`;
    if (this.#shape.fold === "rights") text = text.trimEnd();
    this.#texts.set(effective, text);
    return text;
  }

  #target(words: Uint32Array, at: number): void {
    const out = this.#out;
    out.text("  ");
    out.hex16(words[at + GPA]!, words[at + GPA + 1]!);
    if (this.#shape.nested) {
      out.text("  ");
      if (isNowhere(words, at + HPA)) out.text("-               ");
      else out.hex16(words[at + HPA]!, words[at + HPA + 1]!);
    }
    out.text("  ");
    out.text(leafFlagsText(words, at));
  }
}

/** Comma-separated values, with a header: addresses in hexadecimal after `0x`, lengths in bytes. */
export class CsvRows implements RowWriter {
  readonly #out: ByteWriter;
  readonly #shape: RowShape;

  constructor(out: ByteWriter, shape: RowShape) {
    this.#out = out;
    this.#shape = shape;
  }

  begin(): void {
    const { fold, nested, root } = this.#shape;
    const target = fold === "rights" ? "" : `,page,gpa${nested ? ",hpa" : ""},entry,flags`;
    const rights = nested ? "rights,nested" : "rights";
    this.#out.text(`${root === undefined ? "" : "root,"}gva,last,length,${rights}${target},objection\n`);
  }

  row(words: Uint32Array, at: number): void {
    const out = this.#out;
    if (this.#shape.root !== undefined) out.text(`${this.#shape.root},`);
    out.hex(words[at + GVA]!, words[at + GVA + 1]!);
    out.text(",");
    writeLast(out, words, at, "hex");
    out.text(`,${bytesText(words, at + LENGTH)},${rightsText(words, at)}`);
    if (this.#shape.nested) out.text(`,${nestedRightsText(words, at)}`);
    if (this.#shape.fold !== "rights") {
      out.text(`,${PAGE_TEXTS[spanOf(words, at)] ?? ""},`);
      out.hex(words[at + GPA]!, words[at + GPA + 1]!);
      if (this.#shape.nested) {
        out.text(",");
        if (!isNowhere(words, at + HPA)) out.hex(words[at + HPA]!, words[at + HPA + 1]!);
      }
      out.text(",");
      out.hex(words[at + ENTRY]!, words[at + ENTRY + 1]!);
      out.text(`,${leafFlagsText(words, at)}`);
    }
    out.text(`,${objectionTo(words, at) ?? ""}\n`);
  }

  end(): void {}
}

/** The rows of a JSON array; addresses and entries are strings, since they have 64 bits. */
export class JsonRows implements RowWriter {
  readonly #out: ByteWriter;
  readonly #shape: RowShape;
  #first = true;

  constructor(out: ByteWriter, shape: RowShape) {
    this.#out = out;
    this.#shape = shape;
  }

  begin(): void {
    this.#out.text("[");
  }

  row(words: Uint32Array, at: number): void {
    const out = this.#out;
    out.text(this.#first ? "\n" : ",\n");
    this.#first = false;
    this.#address('{"gva":"', words, at + GVA);
    out.text(`","length":${bytesText(words, at + LENGTH)},"rights":"${rightsText(words, at)}"`);
    if (this.#shape.nested) out.text(`,"nested":"${nestedRightsText(words, at)}"`);
    if (this.#shape.fold !== "rights") {
      const page = 2 ** spanOf(words, at);
      if (spanOf(words, at) in PAGE_TEXTS) out.text(`,"page":${page}`);
      this.#address(',"gpa":"', words, at + GPA);
      if (this.#shape.nested) {
        out.text('"');
        if (isNowhere(words, at + HPA)) out.text(',"hpa":null');
        else {
          this.#address(',"hpa":"', words, at + HPA);
          out.text('"');
        }
      } else out.text('"');
      this.#address(',"entry":"', words, at + ENTRY);
      out.text(`","flags":"${leafFlagsText(words, at)}"`);
    }
    const objection = objectionTo(words, at);
    out.text(objection === null ? "}" : `,"objection":"${objection}"}`);
  }

  end(): void {
    this.#out.text("\n]");
  }

  #address(before: string, words: Uint32Array, at: number): void {
    this.#out.text(before);
    this.#out.hex(words[at]!, words[at + 1]!);
  }
}

/** Bytes in decimal. Lengths are multiples of 4 KiB below 2^64: a double holds them. */
function bytesText(words: Uint32Array, at: number): string {
  const bytes = words[at + 1]! * 2 ** 32 + words[at]!;
  return bytes <= Number.MAX_SAFE_INTEGER ? String(bytes) : BigInt(bytes).toString();
}
