/**
 * `guestmmu diff`: what two images map differently. Both listings are read side by side, in the order of addresses, so that
 * memory does not grow with them; pages are numbered by `address >> 12`, which a number holds exactly.
 */

import { PTE_A, PTE_D } from "../core/layout.generated.js";
import { MappingBits, MappingColumn, type PageWalker } from "../walker/index.js";
import { hex16 } from "./address-text.js";
import { leafFlagsText, PAGE_TEXTS, pageNumber, rightsText, ROW_WORDS } from "./mapping-rows.js";
import { type Target } from "./target.js";

/** How one image maps a page. */
export interface MappedAs {
  /** Physical page, host-physical with two dimensions; null if the nested tables do not map it. */
  readonly pfn: number | null;
  readonly rights: string;
  readonly flags: string;
  readonly page: string;
}

/** Pages that changed in the same way. */
export interface Change {
  /** First page, and how many. */
  readonly page: number;
  readonly pages: number;
  readonly kind: "added" | "removed" | "changed";
  /** Of the first page; null where it is not mapped. */
  readonly before: MappedAs | null;
  readonly after: MappedAs | null;
  /** What differs: any of "frame", "rights", "flags", "size"; empty for pages added or removed. */
  readonly what: readonly string[];
}

/** What counts as a change. */
export interface DiffOptions {
  /** Accessed and dirty flags, too: they change by mere use. */
  readonly accessed: boolean;
}

/** Flags that a processor sets by itself. */
const USE_FLAGS = Number(PTE_A | PTE_D);
const EFFECTIVE_OF_INTEREST =
  MappingBits.writable |
  MappingBits.user |
  MappingBits.executeDisable |
  MappingBits.nestedFault |
  MappingBits.gap;

/** The row of a scan that a comparison has come to. */
class Cursor {
  readonly #rows: Iterator<{ readonly count: number; readonly halves: Uint32Array }>;
  #halves: Uint32Array = new Uint32Array(0);
  #count = 0;
  #index = -1;
  /** First page that is still to be compared, and the first behind the row; Infinity at the end. */
  page = 0;
  end = 0;

  constructor(walker: PageWalker) {
    this.#rows = walker.scan({ fold: "none" });
    this.next();
  }

  /** Goes to the next row. */
  next(): void {
    if (++this.#index >= this.#count) {
      const { value, done } = this.#rows.next();
      if (done) {
        this.page = this.end = Infinity;
        return;
      }
      this.#halves = value.halves;
      this.#count = value.count;
      this.#index = 0;
    }
    const at = this.#at;
    this.page = pageNumber(this.#halves, at + 2 * MappingColumn.gva);
    this.end = this.page + pageNumber(this.#halves, at + 2 * MappingColumn.length);
  }

  /** Marks pages as compared; goes on if they were the last of the row. */
  advance(page: number): void {
    if (page >= this.end) this.next();
    else this.page = page;
  }

  get #at(): number {
    return this.#index * ROW_WORDS;
  }

  #half(column: number, upper = 0): number {
    return this.#halves[this.#at + 2 * column + upper]!;
  }

  /** The frame of the page that is to be compared; -1 if there is none. */
  get pfn(): number {
    if (
      this.#half(MappingColumn.effective) &
      (MappingBits.nestedFault | MappingBits.gap | MappingBits.nestedGap)
    )
      return -1;
    const first = pageNumber(this.#halves, this.#at + 2 * MappingColumn.hpa);
    return first + (this.page - pageNumber(this.#halves, this.#at + 2 * MappingColumn.gva));
  }

  get effective(): number {
    return this.#half(MappingColumn.effective) & EFFECTIVE_OF_INTEREST;
  }

  get span(): number {
    return (this.#half(MappingColumn.effective) >>> MappingBits.pageShift) & 0xff;
  }

  /** Bits of the leaf entry other than its address: the low twelve, and those from 52 on. */
  flags(ignored: number): number {
    return (
      (this.#half(MappingColumn.entry) & 0xfff & ~ignored) +
      (this.#half(MappingColumn.entry, 1) >>> 20) * 4096
    );
  }

  mappedAs(): MappedAs {
    const at = this.#at;
    const pfn = this.pfn;
    return {
      pfn: pfn < 0 ? null : pfn,
      rights: rightsText(this.#halves, at),
      flags: leafFlagsText(this.#halves, at),
      page: PAGE_TEXTS[this.span] ?? "-",
    };
  }
}

/** Compares what two walkers' roots map, in the order of addresses. */
export function* compareMappings(
  before: PageWalker,
  after: PageWalker,
  { accessed }: DiffOptions,
): Generator<Change, void> {
  const ignored = accessed ? 0 : USE_FLAGS;
  const [a, b] = [new Cursor(before), new Cursor(after)];
  let open: OpenChange | null = null;
  while (a.page !== Infinity || b.page !== Infinity) {
    const page = Math.min(a.page, b.page);
    const inA = a.page === page;
    const inB = b.page === page;
    // Up to where both sides stay as they are: a large page on one side may meet small ones on the other.
    const end = Math.min(inA ? a.end : a.page, inB ? b.end : b.page);
    const change = inA && inB ? changeOf(a, b, ignored) : inA ? REMOVED : ADDED;
    if (change !== null) {
      if (open !== null && continues(open, page, change, a, b, inA, inB)) open.pages += end - page;
      else {
        if (open !== null) yield closed(open);
        open = openAt(page, end - page, change, a, b, inA, inB);
      }
    }
    if (inA) a.advance(end);
    if (inB) b.advance(end);
  }
  if (open !== null) yield closed(open);
}

/** A kind of change; two with the same text are the same. */
type ChangeKind = string;
const ADDED: ChangeKind = "added";
const REMOVED: ChangeKind = "removed";

interface OpenChange {
  readonly page: number;
  pages: number;
  readonly kind: ChangeKind;
  readonly before: MappedAs | null;
  readonly after: MappedAs | null;
}

/** What differs between the pages that both cursors are at, as words; null if nothing does. */
function changeOf(a: Cursor, b: Cursor, ignored: number): ChangeKind | null {
  const what: string[] = [];
  if (a.pfn !== b.pfn) what.push("frame");
  if (a.effective !== b.effective) what.push("rights");
  if (a.span !== b.span) what.push("size");
  // PS is about the size; the PAT bit of a small page has the same place.
  else if (a.flags(ignored) !== b.flags(ignored) && a.effective === b.effective) what.push("flags");
  return what.length === 0 ? null : what.join();
}

function openAt(
  page: number,
  pages: number,
  kind: ChangeKind,
  a: Cursor,
  b: Cursor,
  inA: boolean,
  inB: boolean,
): OpenChange {
  return { page, pages, kind, before: inA ? a.mappedAs() : null, after: inB ? b.mappedAs() : null };
}

/** True if the pages from `page` on changed as those of `open` did, side by side with them in both memories. */
function continues(
  open: OpenChange,
  page: number,
  kind: ChangeKind,
  a: Cursor,
  b: Cursor,
  inA: boolean,
  inB: boolean,
): boolean {
  if (kind !== open.kind || open.page + open.pages !== page) return false;
  return goesOn(open.before, open.pages, inA ? a : null) && goesOn(open.after, open.pages, inB ? b : null);
}

function goesOn(first: MappedAs | null, pages: number, cursor: Cursor | null): boolean {
  if (first === null || cursor === null) return first === null && cursor === null;
  const now = cursor.mappedAs();
  const pfn = first.pfn === null ? null : first.pfn + pages;
  return (
    now.pfn === pfn && now.rights === first.rights && now.flags === first.flags && now.page === first.page
  );
}

function closed({ page, pages, kind, before, after }: OpenChange): Change {
  const isChange = kind !== ADDED && kind !== REMOVED;
  return {
    page,
    pages,
    kind: isChange ? "changed" : (kind as Change["kind"]),
    before,
    after,
    what: isChange ? kind.split(",") : [],
  };
}

const SIGNS = { added: "+", removed: "-", changed: "~" } as const;

function asText(as: MappedAs): string {
  const pa = as.pfn === null ? "-".padEnd(16) : hex16(BigInt(as.pfn) << 12n);
  return `${as.rights} ${as.page} ${pa} ${as.flags}`;
}

/** One line: sign, addresses, and how they are mapped, or were and are. */
export function changeText({ page, pages, kind, before, after, what }: Change): string {
  const first = BigInt(page) << 12n;
  const last = (BigInt(page + pages) << 12n) - 1n;
  const range = `${SIGNS[kind]} ${hex16(first)}-${hex16(last)}`;
  if (kind === "changed") return `${range}  ${asText(before!)} -> ${asText(after!)}  (${what.join(", ")})`;
  return `${range}  ${asText((before ?? after)!)}`;
}

/** For programs. */
export function changeJson({ page, pages, kind, before, after, what }: Change): object {
  const as = (mapped: MappedAs | null): object | null =>
    mapped && { ...mapped, pfn: undefined, pa: mapped.pfn === null ? null : BigInt(mapped.pfn) << 12n };
  return { kind, gva: BigInt(page) << 12n, length: pages * 4096, before: as(before), after: as(after), what };
}

/** Roots of two images side by side: those with the same address belong together. */
export interface RootPair {
  readonly before: Target | null;
  readonly after: Target | null;
}

/** Pairs the roots of two images by address, in the order of the first. */
export function pairRoots(before: readonly Target[], after: readonly Target[]): readonly RootPair[] {
  const pa = ({ registers }: Target): bigint => (registers.cr3 >> 12n) & ((1n << 40n) - 1n);
  const rest = new Map(after.map((target) => [pa(target), target]));
  const pairs = before.map((target) => {
    const other = rest.get(pa(target)) ?? null;
    rest.delete(pa(target));
    return { before: target, after: other };
  });
  return [...pairs, ...[...rest.values()].map((target) => ({ before: null, after: target }))];
}
