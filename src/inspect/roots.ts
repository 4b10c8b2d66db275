/**
 * Page-table roots in an image: pages that are consistent as top-level tables, ranked by what else speaks for them. A
 * search can be wrong in both directions, so each root comes with its evidence (docs/inspect.md says what is missed).
 */

import { type PhysicalImage, type PhysicalMemory } from "../images/types.js";
import { formatCount, formatCounted } from "../report/units.js";
import { hex, hex16, signExtend } from "./address-text.js";
import { searchPages, type SearchExtent, type SearchOptions } from "./search.js";
import { pfnOfEntry, Tables, topLevelEntries, type ReadingBudget } from "./tables.js";
import { mayBeVmcb, vmcbAt, type Vmcb } from "./vmcb.js";

/** Levels of a root's tables. */
export type RootLevels = 4 | 5;

/** What is known of roots before a search. */
export interface RootHints {
  /** Levels of all roots; both are tried if it is left out. */
  readonly levels?: RootLevels;
  /** CR3 of each CPU. */
  readonly cr3s?: readonly { readonly cpu: number; readonly cr3: bigint }[];
  /** The kernel's own root, as VMCOREINFO has it. */
  readonly kernelRoot?: bigint | null;
}

/** A page-table root. */
export interface Root {
  /** Physical address of the top-level table. */
  readonly pa: bigint;
  readonly levels: RootLevels;
  /** CPUs whose CR3 points to it. */
  readonly cpus: readonly number[];
  /** Present entries of the lower half (user space) and of the upper half of the table. */
  readonly lowerEntries: number;
  readonly upperEntries: number;
  /**
   * The other root of a pair of kernel page-table isolation: `pa` plus 4 KiB is the half that user mode runs on. Null if
   * there is none.
   */
  readonly pair: { readonly pa: bigint; readonly half: "kernel" | "user" } | null;
  /** Entries looked at in it and below it, and how many of them no kernel would write. */
  readonly entries: number;
  readonly implausible: number;
  /** Something besides its own consistency speaks for it. */
  readonly supported: boolean;
  /** Clauses, the weightiest first. */
  readonly evidence: readonly string[];
}

/** What a search found. */
export interface RootSearch {
  /** The best first: roots of CPUs, then by their evidence, then by address. */
  readonly roots: readonly Root[];
  readonly vmcbs: readonly Vmcb[];
  readonly extent: SearchExtent;
  /** More candidates than are kept were met: the rest was not looked at. */
  readonly truncated: boolean;
}

/** Pages with the form of a top-level table that are remembered: most are page tables, and fall at a second look. */
const PAGES_MAX = 2_000_000;
/** Pages that are judged. Each takes some kilobytes, and up to 600 pages to be read. */
const CANDIDATES_MAX = 8192;
/** Tables read to find where roots are mapped; and to tell which candidates are tables below a root. */
const TABLES_READ_MAX = 50_000;
/** Kernels that a root's upper half is compared with, if no other root has the same. */
const KERNELS_COMPARED = 8;
/** More than this share of implausible entries, or of missing tables, and a page is no table. */
const IMPLAUSIBLE_SHARE = 1 / 16;
const MISSING_SHARE = 1 / 4;

const HALF = 256;
const PAGE = 4096n;

/** A root as it is being judged. */
interface Candidate {
  readonly pfn: number;
  readonly levels: RootLevels;
  /** pfn by slot; -1 where the entry is not present. */
  readonly slots: Float64Array;
  readonly lower: number;
  readonly upper: number;
  readonly entries: number;
  readonly implausible: number;
  readonly cpus: readonly number[];
  /** Slots and pfns of the upper half: equal for roots that share a kernel. */
  readonly upperKey: string;
  readonly evidence: { readonly points: number; readonly says: string }[];
  pair: Root["pair"];
}

/** Searches an image. */
export function findRoots(
  memory: PhysicalImage,
  hints: RootHints = {},
  options: SearchOptions = {},
): RootSearch {
  const endPfn = Math.ceil(Number(memory.ranges.at(-1)?.end ?? 0n) / 4096);
  const pfns: number[] = [];
  const controlBlocks: number[] = [];
  let truncated = false;
  const extent = searchPages(
    memory,
    (pfn, words, at) => {
      if (topLevelEntries(words, at, endPfn) > 0) {
        if (pfns.length < PAGES_MAX) pfns.push(pfn);
        else truncated = true;
      } else if (mayBeVmcb(words, at) && controlBlocks.length < CANDIDATES_MAX) controlBlocks.push(pfn);
    },
    options,
  );
  const tables = new Tables(memory);
  const vmcbs = controlBlocks.flatMap((pfn) => vmcbAt(memory, tables, pfn) ?? []);
  const candidates = pfns.filter((pfn) => tables.refersToTables(pfn));
  if (candidates.length > CANDIDATES_MAX) truncated = true;
  const judged = (hints.levels === undefined ? ([4, 5] as const) : [hints.levels]).map((levels) =>
    judge(tables, candidates.slice(0, CANDIDATES_MAX), levels, hints),
  );
  // Read with a level too few, tables of five levels are consistent too; but they do not map themselves then.
  const weight = (roots: readonly Candidate[]): number => roots.reduce((sum, root) => sum + points(root), 0);
  const best = judged.reduce((first, other) => (weight(other) > weight(first) ? other : first));
  return { roots: best.map(rootOf), vmcbs, extent, truncated: truncated || tables.isExhausted };
}

/** Roots among the pages, all with the same number of levels, the best first. */
function judge(
  tables: Tables,
  pfns: readonly number[],
  levels: RootLevels,
  hints: RootHints,
): readonly Candidate[] {
  const hinted = hintedPfns(hints);
  const candidates = [...new Set([...hinted, ...pfns])].flatMap(
    (pfn) => candidateOf(tables, pfn, levels, hints) ?? [],
  );
  const kernels = kernelsOf(tables, candidates);
  for (const candidate of candidates) support(candidate, kernels, hints);
  pairUp(candidates);
  return withoutTablesBelow(tables, candidates.sort(byRank), hinted);
}

function hintedPfns({ cr3s = [], kernelRoot = null }: RootHints): ReadonlySet<number> {
  const all = [...cr3s.map(({ cr3 }) => cr3), ...(kernelRoot === null ? [] : [kernelRoot])];
  return new Set(all.map(pfnOfCr3));
}

/** The page of a CR3: without its flags, or PCID, and bit 63. */
function pfnOfCr3(cr3: bigint): number {
  return Number((cr3 & ((1n << 52n) - 1n)) >> 12n);
}

/** The page as a root, if it and what lies below it make sense. */
function candidateOf(tables: Tables, pfn: number, levels: RootLevels, hints: RootHints): Candidate | null {
  const words = tables.page(pfn);
  if (words === null) return null;
  const { entries, implausible, tables: references, missing, leaves } = tables.check(pfn, levels);
  if (leaves === 0 || implausible > entries * IMPLAUSIBLE_SHARE || missing > references * MISSING_SHARE)
    return null;
  const slots = new Float64Array(2 * HALF).fill(-1);
  // The page may have been overwritten in the cache of the tables by what `check` read.
  const top = tables.page(pfn)!;
  for (let slot = 0; slot < 2 * HALF; slot++) {
    if (top[2 * slot]! & 1) slots[slot] = pfnOfEntry(top[2 * slot]!, top[2 * slot + 1]!);
  }
  const upper = slots.subarray(HALF).reduce((count, child) => count + (child < 0 ? 0 : 1), 0);
  const lower = slots.subarray(0, HALF).reduce((count, child) => count + (child < 0 ? 0 : 1), 0);
  const cpus = (hints.cr3s ?? []).filter(({ cr3 }) => pfnOfCr3(cr3) === pfn).map(({ cpu }) => cpu);
  const upperKey = upper === 0 ? "" : slots.subarray(HALF).join();
  return { pfn, levels, slots, lower, upper, entries, implausible, cpus, upperKey, evidence: [], pair: null };
}

/** Roots with the same upper half. */
interface KernelGroup {
  readonly example: Candidate;
  readonly members: readonly Candidate[];
  /** By pfn: where that half maps the pages of its members, writable, without sign extension. */
  readonly ownPages: ReadonlyMap<number, bigint>;
}

/** The groups by their upper half, the largest first. */
type Kernels = ReadonlyMap<string, KernelGroup>;

function kernelsOf(tables: Tables, candidates: readonly Candidate[]): Kernels {
  const members = new Map<string, Candidate[]>();
  for (const candidate of candidates) {
    if (candidate.upper === 0) continue;
    const group = members.get(candidate.upperKey);
    if (group === undefined) members.set(candidate.upperKey, [candidate]);
    else group.push(candidate);
  }
  const budget: ReadingBudget = { tables: TABLES_READ_MAX };
  const bySize = [...members].sort(([, a], [, b]) => b.length - a.length || b[0]!.upper - a[0]!.upper);
  return new Map(
    bySize.map(([key, group]) => {
      const [example] = group as [Candidate];
      const pfns = group.map(({ pfn }) => pfn).sort((a, b) => a - b);
      const ownPages = tables.writableAt(example.pfn, example.levels, pfns, budget);
      return [key, { example, members: group, ownPages }];
    }),
  );
}

/** Collects what speaks for a candidate besides its own consistency. */
function support(candidate: Candidate, kernels: Kernels, hints: RootHints): void {
  const { evidence, pfn, cpus } = candidate;
  if (cpus.length > 0) evidence.push({ points: 1000 - cpus[0]!, says: `CR3 of CPU ${cpus.join(", ")}` });
  const { kernelRoot = null } = hints;
  if (kernelRoot !== null && pfnOfCr3(kernelRoot) === pfn)
    evidence.push({ points: 200, says: "the kernel's root by VMCOREINFO" });
  const itself = recursiveSlot(candidate);
  if (itself >= 0)
    evidence.push({ points: 150, says: `entry ${itself} refers to the table itself: a recursive mapping` });
  const own = kernels.get(candidate.upperKey)?.ownPages.get(pfn);
  if (own !== undefined)
    evidence.push({
      points: 100,
      says: `its own tables map it, writable, at ${hex16(signExtend(own, candidate.levels))}`,
    });
  const shared = sharedKernel(candidate, kernels);
  if (shared !== null) evidence.push(shared);
}

/**
 * The entry that refers to the table itself; -1 if none does. A page table of the direct map has one too, if it maps the
 * memory that it lies in, but then its neighbours are consecutive.
 */
function recursiveSlot({ slots, pfn }: Candidate): number {
  const slot = slots.indexOf(pfn);
  return slot >= 0 && slots[slot - 1] !== pfn - 1 && slots[slot + 1] !== pfn + 1 ? slot : -1;
}

/** What the upper half of a root has in common with those of others. */
function sharedKernel(candidate: Candidate, kernels: Kernels): Candidate["evidence"][number] | null {
  const { upper, upperKey } = candidate;
  const group = kernels.get(upperKey);
  if (group === undefined) return null;
  const { length } = group.members;
  if (length > 1) {
    const entries = upper === 1 ? "its upper entry is that" : `its ${upper} upper entries are those`;
    return {
      points: 40 + Math.min(length, 40),
      says: `${entries} of ${formatCounted(length - 1, "other root")}`,
    };
  }
  let nearest = { shared: 0, pfn: 0 };
  for (const { example } of [...kernels.values()].slice(0, KERNELS_COMPARED)) {
    if (example === candidate) continue;
    const shared = sharedSlots(candidate.slots, example.slots);
    if (shared > nearest.shared) nearest = { shared, pfn: example.pfn };
  }
  if (nearest.shared * 2 < upper || nearest.shared === 0) return null;
  const of = hex(BigInt(nearest.pfn) * PAGE);
  return { points: 30, says: `${nearest.shared} of its ${upper} upper entries are those of root ${of}` };
}

/** Entries of the upper half that are present in both and equal. */
function sharedSlots(a: Float64Array, b: Float64Array): number {
  let shared = 0;
  for (let slot = HALF; slot < 2 * HALF; slot++) if (a[slot]! >= 0 && a[slot] === b[slot]) shared++;
  return shared;
}

/**
 * Pairs of kernel page-table isolation, as Linux lays them out: the kernel's root on an even page, the one for user mode
 * on the next. Both map the same user space; the second has little of the kernel.
 */
function pairUp(candidates: readonly Candidate[]): void {
  const byPfn = new Map(candidates.map((candidate) => [candidate.pfn, candidate]));
  for (const kernel of candidates) {
    const user = byPfn.get(kernel.pfn + 1);
    if (kernel.pfn % 2 !== 0 || user === undefined || user.upper === 0 || user.upper >= kernel.upper)
      continue;
    if (!kernel.slots.subarray(0, HALF).every((child, slot) => child < 0 || child === user.slots[slot]))
      continue;
    if (user.lower !== kernel.lower) continue;
    const [kernelPa, userPa] = [BigInt(kernel.pfn) * PAGE, BigInt(user.pfn) * PAGE];
    kernel.pair = { pa: userPa, half: "kernel" };
    user.pair = { pa: kernelPa, half: "user" };
    const lower = `whose ${formatCounted(kernel.lower, "lower entry", "lower entries")} it has too`;
    kernel.evidence.push({
      points: 60,
      says: `${hex(userPa)} is its half for user mode (page-table isolation)`,
    });
    user.evidence.push({
      points: 50,
      says: `the half for user mode of ${hex(kernelPa)}, ${lower} (page-table isolation)`,
    });
  }
}

function points({ evidence }: Candidate): number {
  return evidence.reduce((sum, row) => sum + row.points, 0);
}

function byRank(a: Candidate, b: Candidate): number {
  return points(b) - points(a) || b.upper + b.lower - (a.upper + a.lower) || a.pfn - b.pfn;
}

/**
 * Leaves out what is a table below a better root: read as a top-level table, a table of a lower level is often consistent
 * too. Roots that a CPU or the kernel names stay.
 */
function withoutTablesBelow(
  tables: Tables,
  ranked: readonly Candidate[],
  named: ReadonlySet<number>,
): readonly Candidate[] {
  const below = new Set<number>();
  const budget: ReadingBudget = { tables: TABLES_READ_MAX };
  return ranked.filter(({ pfn, levels }) => {
    if (below.has(pfn) && !named.has(pfn)) return false;
    for (const child of tables.tablesBelow(pfn, levels, budget)) {
      if (child !== pfn) below.add(child);
    }
    return true;
  });
}

function rootOf(candidate: Candidate): Root {
  const { pfn, levels, cpus, lower, upper, entries, implausible, pair } = candidate;
  const says = candidate.evidence.sort((a, b) => b.points - a.points).map((row) => row.says);
  const odd = implausible === 0 ? "all plausible" : `${formatCount(implausible)} of them implausible`;
  return {
    pa: BigInt(pfn) * PAGE,
    levels,
    cpus,
    lowerEntries: lower,
    upperEntries: upper,
    pair,
    entries,
    implausible,
    supported: says.length > 0,
    evidence: [...says, `${formatCount(entries)} entries below it looked at, ${odd}`],
  };
}

/**
 * Levels of the tables of one root, if nothing else says: 5 if they are consistent with five levels, and either are not
 * with four or map themselves with five only.
 */
export function guessLevels(
  memory: PhysicalMemory,
  root: bigint,
): { readonly levels: RootLevels; readonly sure: boolean } {
  const tables = new Tables(memory);
  const judged = ([4, 5] as const).map((levels) => judge(tables, [pfnOfCr3(root)], levels, {})[0]);
  const [four, five] = judged;
  if (four === undefined || five === undefined)
    return { levels: five === undefined ? 4 : 5, sure: four !== five };
  return points(five) > points(four)
    ? { levels: 5, sure: true }
    : { levels: 4, sure: points(four) > points(five) };
}

/** True if the memory holds the page of this CR3. */
export function holdsRoot(memory: PhysicalMemory, cr3: bigint): boolean {
  return memory.readPage(pfnOfCr3(cr3), new Uint8Array(4096));
}
