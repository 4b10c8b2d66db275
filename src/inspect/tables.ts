/**
 * Page tables looked at without walking them: is this page one, do those below it make sense, what do they map? For the
 * search for roots, which has to doubt every page; translations are `PageWalker`'s.
 *
 * Entries are taken as two words of 32 bits, since millions are looked at. The format is SDM vol. 3A 4.5, which the nested
 * tables of AMD share.
 */

import { PTE_1G_RESERVED, PTE_2M_RESERVED, PTE_P, PTE_PS, PTE_RW } from "../core/layout.generated.js";
import { type PhysicalMemory } from "../images/types.js";

const P = Number(PTE_P);
const RW = Number(PTE_RW);
const PS = Number(PTE_PS);
const RESERVED_1G = Number(PTE_1G_RESERVED);
const RESERVED_2M = Number(PTE_2M_RESERVED);
/** Address bits 51:32 in the upper word of an entry. */
const HIGH_ADDRESS = 0xfffff;
const ENTRIES = 512;
const PAGE_BYTES = 4096;

/** Pages are kept, the least recently read first out: 16 MiB. */
const KEPT_PAGES = 4096;

/** No machine that Linux runs on has memory or devices beyond 2^46; random bits do. */
const PLAUSIBLE_PFN_END = 2 ** (46 - 12);

/** The pfn that an entry points to, below 2^40. */
export function pfnOfEntry(low: number, high: number): number {
  return (low >>> 12) + (high & HIGH_ADDRESS) * 2 ** 20;
}

/** True if an entry of `level` that is present maps a page, and does not refer to a table. */
export function isLeaf(low: number, level: number): boolean {
  return level === 1 || ((low & PS) !== 0 && level <= 3);
}

/**
 * Counts the present entries of what may be a top-level table: none has PS, all others are zero, and all point below
 * `endPfn`. -1 if it is none.
 */
export function topLevelEntries(words: Uint32Array, at: number, endPfn: number): number {
  let present = 0;
  for (let i = at; i < at + 2 * ENTRIES; i += 2) {
    const low = words[i]!;
    const high = words[i + 1]!;
    if ((low | high) === 0) continue;
    if ((low & P) === 0 || (low & PS) !== 0 || pfnOfEntry(low, high) >= endPfn) return -1;
    present++;
  }
  return present;
}

/** What was found below a table. */
export interface TableVerdict {
  /** Present entries looked at. */
  readonly entries: number;
  /** Those that no kernel writes: PS where it is reserved, misaligned large pages, addresses beyond 2^46. */
  readonly implausible: number;
  /** Entries that refer to tables, and how many of those tables the memory does not hold. */
  readonly tables: number;
  readonly missing: number;
  readonly leaves: number;
}

/** Entries that a table refers to whose tables are looked at, spread evenly: with five levels at most 5,000 tables. */
const SAMPLED_CHILDREN = 8;

const NOTHING: TableVerdict = { entries: 0, implausible: 0, tables: 0, missing: 0, leaves: 0 };

/** Tables that may still be read: shared by all that one search does, so that no input makes it endless. */
export interface ReadingBudget {
  tables: number;
}

/** Tables whose verdict is remembered, about 100 bytes each. Beyond, nothing further is looked at. */
const VERDICTS_MAX = 1_000_000;

/** Reads tables, keeps those read last, and remembers what it has found below them. */
export class Tables {
  readonly #memory: PhysicalMemory;
  readonly #kept = new Map<number, Uint32Array>();
  readonly #verdicts = new Map<number, TableVerdict>();

  constructor(memory: PhysicalMemory) {
    this.#memory = memory;
  }

  /** The page as 1024 words; null if the memory does not hold it. Not to be written, nor kept. */
  page(pfn: number): Uint32Array | null {
    let words = this.#kept.get(pfn);
    if (words !== undefined) {
      // Moved to the end: the order of a Map is that of use then.
      this.#kept.delete(pfn);
      this.#kept.set(pfn, words);
      return words;
    }
    const bytes = new Uint8Array(PAGE_BYTES);
    if (!this.#memory.readPage(pfn, bytes)) return null;
    words = new Uint32Array(bytes.buffer);
    if (this.#kept.size >= KEPT_PAGES) this.#kept.delete(this.#kept.keys().next().value!);
    this.#kept.set(pfn, words);
    return words;
  }

  /**
   * True if what a page refers to may be tables, at a first look: of a page table, whose entries look the same, they are
   * data. Most of those that are looked at mostly have entries that are zero, or present and below 2^46.
   */
  refersToTables(pfn: number): boolean {
    const words = this.page(pfn);
    if (words === null) return false;
    const children: number[] = [];
    for (let i = 0; i < 2 * ENTRIES; i += 2)
      if ((words[i]! & P) !== 0) children.push(pfnOfEntry(words[i]!, words[i + 1]!));
    let tables = 0;
    const sample = sampleOf(children);
    for (const child of sample) if (this.#looksLikeTable(child)) tables++;
    return tables * 2 > sample.length;
  }

  /** Whether three in four of a page's words that are not zero may be entries; true of a page of zeros. */
  #looksLikeTable(pfn: number): boolean {
    const words = this.page(pfn);
    if (words === null) return false;
    let used = 0;
    let odd = 0;
    for (let i = 0; i < 2 * ENTRIES; i += 2) {
      const low = words[i]!;
      const high = words[i + 1]!;
      if ((low | high) === 0) continue;
      used++;
      if ((low & P) === 0 || pfnOfEntry(low, high) >= PLAUSIBLE_PFN_END) odd++;
    }
    return odd * 4 <= used;
  }

  /** Looks at the table and at a sample of those below it. Tables that refer to each other end where the levels do. */
  check(pfn: number, level: number): TableVerdict {
    const key = pfn * 8 + level;
    const known = this.#verdicts.get(key);
    if (known !== undefined) return known;
    const words = this.page(pfn);
    if (words === null || this.isExhausted) return NOTHING;
    const sum = { ...NOTHING };
    const children: number[] = [];
    for (let i = 0; i < 2 * ENTRIES; i += 2) {
      const low = words[i]!;
      if ((low & P) === 0) continue;
      const child = pfnOfEntry(low, words[i + 1]!);
      sum.entries++;
      if (isImplausible(low, child, level)) sum.implausible++;
      else if (isLeaf(low, level)) sum.leaves++;
      else children.push(child);
    }
    sum.tables = children.length;
    for (const child of sampleOf(children)) {
      if (this.page(child) === null) {
        sum.missing++;
        continue;
      }
      const below = this.check(child, level - 1);
      for (const name of Object.keys(sum) as (keyof TableVerdict)[]) sum[name] += below[name];
    }
    this.#verdicts.set(key, sum);
    return sum;
  }

  /** True if a table was not looked at, since too many had been. */
  get isExhausted(): boolean {
    return this.#verdicts.size >= VERDICTS_MAX;
  }

  /**
   * Pages of all tables below a root, by their pfn, without page tables' own contents: those of level 1 are known from the
   * entries that refer to them.
   */
  tablesBelow(pfn: number, levels: number, budget: ReadingBudget): ReadonlySet<number> {
    const found = new Set<number>();
    this.#descend([[pfn, levels]], budget, (child, level) => {
      found.add(child);
      return level >= 2;
    });
    return found;
  }

  /**
   * Where the upper half of a root maps the pages `wanted`, writable: by pfn the first address, without its sign extension.
   * Each table is taken once, however often it is referred to.
   *
   * @param wanted ascending.
   */
  writableAt(
    pfn: number,
    levels: number,
    wanted: readonly number[],
    budget: ReadingBudget,
  ): ReadonlyMap<number, bigint> {
    const found = new Map<number, bigint>();
    const seen = new Set<number>();
    const visit = (table: number, level: number, base: bigint, first: number): void => {
      const words = this.page(table);
      if (words === null || budget.tables-- <= 0) return;
      for (let slot = first; slot < ENTRIES; slot++) {
        const low = words[2 * slot]!;
        if ((low & (P | RW)) !== (P | RW)) continue;
        const child = pfnOfEntry(low, words[2 * slot + 1]!);
        if (isImplausible(low, child, level)) continue;
        if (isLeaf(low, level)) {
          const pages = 512 ** (level - 1);
          const start = child - (child % pages);
          for (let i = lowerBound(wanted, start); i < wanted.length && wanted[i]! < start + pages; i++) {
            const at = base | (BigInt(slot) << BigInt(12 + 9 * (level - 1)));
            if (!found.has(wanted[i]!)) found.set(wanted[i]!, at + BigInt(wanted[i]! - start) * 4096n);
          }
        } else if (!seen.has(child * 8 + level)) {
          seen.add(child * 8 + level);
          visit(child, level - 1, base | (BigInt(slot) << BigInt(12 + 9 * (level - 1))), 0);
        }
      }
    };
    visit(pfn, levels, 0n, ENTRIES / 2);
    return found;
  }

  /** Visits the tables below; `enter` says whether to go into one. */
  #descend(
    start: [number, number][],
    budget: ReadingBudget,
    enter: (pfn: number, level: number) => boolean,
  ): void {
    const queue = start;
    const seen = new Set<number>();
    for (let at = 0; at < queue.length && budget.tables-- > 0; at++) {
      const [pfn, level] = queue[at]!;
      const words = this.page(pfn);
      if (words === null) continue;
      for (let i = 0; i < 2 * ENTRIES; i += 2) {
        const low = words[i]!;
        if ((low & P) === 0 || isLeaf(low, level)) continue;
        const child = pfnOfEntry(low, words[i + 1]!);
        const key = child * 8 + level;
        if (seen.has(key) || isImplausible(low, child, level)) continue;
        seen.add(key);
        if (enter(child, level - 1)) queue.push([child, level - 1]);
      }
    }
  }
}

function isImplausible(low: number, pfn: number, level: number): boolean {
  if (pfn >= PLAUSIBLE_PFN_END) return true;
  if ((low & PS) === 0 || level === 1) return false;
  return level >= 4 || (low & (level === 3 ? RESERVED_1G : RESERVED_2M)) !== 0;
}

/** Up to `SAMPLED_CHILDREN` different ones, the first and the last among them. */
function sampleOf(pfns: readonly number[]): readonly number[] {
  const different = [...new Set(pfns)];
  if (different.length <= SAMPLED_CHILDREN) return different;
  const step = (different.length - 1) / (SAMPLED_CHILDREN - 1);
  return Array.from({ length: SAMPLED_CHILDREN }, (_, i) => different[Math.round(i * step)]!);
}

/** Index of the first number that is not below `value`. */
function lowerBound(ascending: readonly number[], value: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ascending[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
