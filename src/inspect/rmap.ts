/** `guestmmu rmap`: every virtual address of every root that maps a frame. */

import { MappingBits, MappingColumn, type PageWalker } from "../walker/index.js";
import { formatCount, formatCounted } from "../report/units.js";
import { hex, hex16 } from "./address-text.js";
import { ByteWriter, type Sink } from "./byte-writer.js";
import { document } from "./json.js";
import { leafFlagsText, PAGE_TEXTS, pageNumber, rightsText } from "./mapping-rows.js";
import { writeRows } from "./maps.js";
import { type Target } from "./target.js";
import { remarksOf, rootInWords, targetJson } from "./target-text.js";

/** One virtual address of the frame, with the roots that all map it in the same way. */
export interface Alias {
  /** Of the physical address that was asked for, not of its page. */
  readonly gva: bigint;
  /** log2 of the page. */
  readonly pageShift: number;
  /** `urwx`, of all levels. */
  readonly rights: string;
  /** Flags of the leaf entry, and the entry. */
  readonly flags: string;
  readonly entry: bigint;
  /** Indices into the roots. */
  readonly roots: number[];
}

/** Result of a search over roots. */
export interface Aliases {
  readonly pa: bigint;
  readonly targets: readonly Target[];
  /** By address, user space first. */
  readonly aliases: readonly Alias[];
  /** There are more than are kept. */
  readonly truncated: boolean;
}

/** Different mappings of one frame that are kept. Linux maps one frame 65,536 times for the espfix stacks. */
const ALIASES_MAX = 1_000_000;

const TRUNCATED = `, and more: the search ended there, at ${formatCount(ALIASES_MAX)} (--cr3 takes one root)`;

const NESTED_FAULT = MappingBits.nestedFault | MappingBits.gap | MappingBits.nestedGap;

/** Looks for the frame of `pa` in all that the targets map. With two dimensions `pa` is host-physical. */
export function aliasesOf(walker: PageWalker, targets: readonly Target[], pa: bigint): Aliases {
  const frame = Number(pa >> 12n);
  const found = new Map<string, Alias>();
  let truncated = false;
  const target = 2 * MappingColumn.hpa;
  const length = 2 * MappingColumn.length;
  for (const [index, root] of targets.entries()) {
    // Tables that refer to themselves map a frame without end: what is beyond the limit is not looked for.
    if (truncated) break;
    writeRows(walker, root, { fold: "none" }, (words, at) => {
      const first = pageNumber(words, at + target);
      if (frame < first || frame >= first + pageNumber(words, at + length)) return true;
      if (words[at + 2 * MappingColumn.effective]! & NESTED_FAULT) return true;
      const alias = aliasOf(words, at, pa, first);
      const key = `${alias.gva} ${alias.entry} ${alias.rights}`;
      const known = found.get(key);
      if (known !== undefined) known.roots.push(index);
      else if (found.size < ALIASES_MAX) found.set(key, { ...alias, roots: [index] });
      else truncated = true;
      return !truncated;
    });
  }
  const aliases = [...found.values()].sort((a, b) =>
    a.gva < b.gva ? -1 : a.gva > b.gva ? 1 : a.roots[0]! - b.roots[0]!,
  );
  return { pa, targets, aliases, truncated };
}

function aliasOf(words: Uint32Array, at: number, pa: bigint, first: number): Omit<Alias, "roots"> {
  const word = (column: number): bigint =>
    BigInt(words[at + 2 * column]!) | (BigInt(words[at + 2 * column + 1]!) << 32n);
  return {
    gva: word(MappingColumn.gva) + (pa - BigInt(first) * 4096n),
    pageShift: (words[at + 2 * MappingColumn.effective]! >>> MappingBits.pageShift) & 0xff,
    rights: rightsText(words, at),
    flags: leafFlagsText(words, at),
    entry: word(MappingColumn.entry),
  };
}

/** Roots that are named in a row; beyond, they are counted. */
const ROOTS_NAMED = 3;

function rootsInWords(indices: readonly number[], targets: readonly Target[]): string {
  if (indices.length === targets.length && targets.length > 1) return `all ${targets.length}`;
  const named = indices.slice(0, ROOTS_NAMED).map((index) => hex(targets[index]!.registers.cr3));
  const more = indices.length - named.length;
  return named.join(" ") + (more > 0 ? ` and ${more} more` : "");
}

/** To be read: columns of fixed width, since a table that measures its rows takes minutes over 65,536 of them. */
export function writeRmapText({ pa, targets, aliases, truncated }: Aliases, sink: Sink): void {
  const out = new ByteWriter(sink);
  const of = targets.length === 1 ? rootInWords(targets[0]!) : formatCounted(targets.length, "root");
  out.utf8(`physical address ${hex(pa)}, in what is mapped by ${of}\n`);
  for (const remark of remarksOf(targets)) out.utf8(`note: ${remark}\n`);
  out.text("\n");
  if (aliases.length === 0) {
    out.text("No virtual address leads to it.\n");
    out.flush();
    return;
  }
  out.text(`${"gva".padEnd(16)}  page  urwx  XGPDACTUW  ${"entry".padEnd(16)}  roots\n`);
  for (const { gva, pageShift, rights, flags, entry, roots } of aliases) {
    const page = (PAGE_TEXTS[pageShift] ?? "-").padStart(4);
    out.text(
      `${hex16(gva)}  ${page}  ${rights}  ${flags}  ${hex16(entry)}  ${rootsInWords(roots, targets)}\n`,
    );
  }
  // Groups of digits are divided by a character that is not ASCII.
  out.utf8(`${formatCounted(aliases.length, "mapping")}${truncated ? TRUNCATED : ""}\n`);
}

/** For programs. */
export function rmapJson(image: string, { pa, targets, aliases, truncated }: Aliases): string {
  return document("rmap", {
    image,
    pa,
    roots: targets.map(targetJson),
    mappings: aliases.map(({ roots, pageShift, ...alias }) => ({
      ...alias,
      page: 2 ** pageShift,
      roots: roots.map((index) => targets[index]!.registers.cr3),
    })),
    truncated,
  });
}
