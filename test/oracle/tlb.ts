// What a processor may have kept of translations, and what has to be gone: sets of entries, from SDM vol. 3A 4.10.4.1 and
// vol. 3C 29.4.3.1. An entry comes in with each access that went by the tables, and stays until an operation that drops it.
// There is no limit to the number of entries, as there is none in the manual.
import type { Made } from "./processor.js";

/** What the processor's entries are told apart by. `ep4ta` is 0 without EPT. */
export interface Context {
  vpid: number;
  pcid: number;
  ep4ta: bigint;
}

export interface Kept {
  context: Context;
  /** Linear page: address >> 12. */
  page: bigint;
  /** log2 of the guest's page: what INVLPG of an address in it covers. */
  guestShift: number;
  global: boolean;
  /** Host-physical page. */
  hostPage: bigint;
  made: Made;
}

/** Which entries go; what is left out does not matter. */
export interface Which {
  vpid?: number;
  notVpid?: number;
  pcid?: number;
  ep4ta?: bigint;
  combined?: boolean;
  /** Within the guest's page of this address; `exact`: of this 4-KByte page alone. */
  address?: bigint;
  exact?: boolean;
  /** Global entries stay ("spare"), or go whatever their PCID ("any"). Else they are like the others. */
  globals?: "spare" | "any";
}

export class Translations {
  #entries: Kept[] = [];
  /** Of guest-physical pages that hold tables of the guest: by EP4TA, page to host pages. */
  #tables = new Map<bigint, Map<bigint, Set<bigint>>>();

  /** @param pages linear pages that are ever used: a large translation is kept for each of them that it covers */
  constructor(private readonly pages: readonly bigint[]) {}

  /** Keeps the translation of an access at `address`. */
  add(context: Context, address: bigint, made: Made, globals: boolean): void {
    const guestShift = made.guest?.shift ?? 12;
    const shift = Math.min(guestShift, made.nested?.shift ?? 52);
    for (const page of this.pages) {
      if (page >> BigInt(shift - 12) !== address >> BigInt(shift)) continue;
      const hostPage = (made.pa >> 12n) - (address >> 12n) + page;
      const global = globals && (made.guest?.global ?? false);
      this.#entries.push({ context: { ...context }, page, guestShift, global, hostPage, made });
    }
  }

  /** Entries that an access at `address` may be made by. */
  usable(context: Context, address: bigint): Kept[] {
    return this.#entries.filter(
      (kept) =>
        kept.page === address >> 12n &&
        kept.context.vpid === context.vpid &&
        kept.context.ep4ta === context.ep4ta &&
        (kept.global || kept.context.pcid === context.pcid),
    );
  }

  drop(which: Which): void {
    this.#entries = this.#entries.filter((kept) => !goes(kept, which));
  }

  /** Keeps where a table of the guest lies. */
  addTable(ep4ta: bigint, page: bigint, hostPage: bigint): void {
    const pages = this.#tables.get(ep4ta) ?? new Map<bigint, Set<bigint>>();
    pages.set(page, (pages.get(page) ?? new Set()).add(hostPage));
    this.#tables.set(ep4ta, pages);
  }
  /** Where the processor may think that a table lies. */
  tables(ep4ta: bigint, page: bigint): readonly bigint[] {
    return [...(this.#tables.get(ep4ta)?.get(page) ?? [])];
  }
  /** Drops guest-physical translations: of one EP4TA, or of all; of one page, or of all. */
  dropTables(ep4ta?: bigint, page?: bigint): void {
    if (ep4ta === undefined) this.#tables.clear();
    else if (page === undefined) this.#tables.delete(ep4ta);
    else this.#tables.get(ep4ta)?.delete(page);
  }
}

function goes({ context, page, guestShift, global }: Kept, which: Which): boolean {
  if (global && which.globals === "spare") return false;
  if (which.vpid !== undefined && context.vpid !== which.vpid) return false;
  if (which.notVpid !== undefined && context.vpid === which.notVpid) return false;
  if (which.ep4ta !== undefined && context.ep4ta !== which.ep4ta) return false;
  if (which.combined && context.ep4ta === 0n) return false;
  const anyPcid = global && which.globals === "any";
  if (which.pcid !== undefined && context.pcid !== which.pcid && !anyPcid) return false;
  if (which.address === undefined) return true;
  const shift = which.exact ? 0n : BigInt(guestShift - 12);
  return page >> shift === (which.address >> 12n) >> shift;
}
