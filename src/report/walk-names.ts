/** Names of what a walk meets, as the manuals have them, and lists of them in words. */

import { hex } from "../machine/address.js";
import { type Reference } from "./walk-model.js";

/** An entry by its level. */
export const ENTRY_NAMES: Readonly<Record<number, string>> = {
  5: "PML5E",
  4: "PML4E",
  3: "PDPTE",
  2: "PDE",
  1: "PTE",
};

/** A table by the level of its entries. */
export const TABLE_NAMES: Readonly<Record<number, string>> = {
  5: "PML5 table",
  4: "PML4 table",
  3: "page-directory-pointer table",
  2: "page directory",
  1: "page table",
};

/** The page that an entry of a level maps. */
export const PAGE_SIZES: Readonly<Record<number, string>> = { 3: "1-GByte", 2: "2-MByte", 1: "4-KByte" };

/** Which dimension an entry or table belongs to; nothing where there is only one. */
export function dimensionOf(
  { dimension, format }: Pick<Reference, "dimension" | "format">,
  nested: boolean,
): string {
  if (dimension === "guest") return nested ? "guest " : "";
  return format === "ept" ? "EPT " : "nested ";
}

/** "PDE (level 2, entry 0x1a3 at 0x12d18)"; `nested` tells whether there are two dimensions to tell apart. */
export function entryInWords(reference: Reference, nested: boolean): string {
  const { level, index, table } = reference;
  const address = hex(table + BigInt(index) * 8n);
  return `${dimensionOf(reference, nested)}${ENTRY_NAMES[level]} (level ${level}, entry ${index} at ${address})`;
}

/** "a", "a and b", "a, b and c" */
export function listInWords(items: readonly string[]): string {
  if (items.length < 2) return items.join("");
  return `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`;
}

/** Set bits of a word: "bit 63", "bits 51:48 and 45". */
export function bitsInWords(bits: bigint): string {
  const runs: string[] = [];
  let count = 0;
  for (let high = 63; high >= 0; high--) {
    if (((bits >> BigInt(high)) & 1n) === 0n) continue;
    let low = high;
    while (low > 0 && ((bits >> BigInt(low - 1)) & 1n) === 1n) low--;
    runs.push(low === high ? `${high}` : `${high}:${low}`);
    count += high - low + 1;
    high = low;
  }
  return `${count === 1 ? "bit" : "bits"} ${listInWords(runs)}`;
}
