/**
 * What an execution is about: the pages that its actors meet at, and what the objection at its end names. A race table tells
 * of these whether or not two actors touched them: the execution may end before the second one comes.
 */

import { PTE_P, PTE_PROTNONE, SPTE_SHADOW_PRESENT } from "../core/layout.generated.js";
import { type FrameRoles, type Place } from "../explore/names.js";
import { noteName } from "../explore/words.js";
import { type Trace, type TraceAccess } from "../explore/trace.js";

const PAGE_SHIFT = 12;
const PFN_MASK = 0xffffffffn;

/** An access, and what its address is. */
export interface Item {
  readonly index: number;
  readonly access: TraceAccess;
  readonly place: Place;
}

/** True for an access after which the word may have another value. */
export function writes({ site, before, after }: TraceAccess): boolean {
  if (site.kind === "compare") return before !== after;
  return site.kind === "store" || site.kind === "modify" || site.kind === "copy" || site.kind === "fill";
}

/** False for an access that is between an actor and its store buffer, or finds what memory no longer has. */
export function isOfMemory({ passage }: TraceAccess): boolean {
  return passage === undefined || passage === "drained";
}

/** What an entry spans and leads to. */
interface Entry {
  readonly kind: "pte" | "spte";
  /** hva or gpa, and log2 of the bytes. */
  readonly base: bigint;
  readonly shift: number;
  /** Before and after, of those that lead to a page or a table. */
  readonly pfns: readonly number[];
  readonly isLeaf: boolean;
}

/** The entry of a table that an access touches; undefined if it touches something else. */
export function entryOf(
  { access, place }: Item,
  roles: FrameRoles | undefined,
  framesBase: number,
): Entry | undefined {
  if ((place.word !== "pte" && place.word !== "spte") || access.size > 8) return undefined;
  const role = roles?.(place.of ?? -1);
  if (role === undefined) return undefined;
  const index = BigInt(((access.address - framesBase) & 0xfff) >> 3);
  const isPresent = (value: bigint): boolean =>
    role.kind === "tdp-table"
      ? (value & SPTE_SHADOW_PRESENT) !== 0n
      : (value & (PTE_P | PTE_PROTNONE)) !== 0n;
  const values = [access.before, access.after].filter(isPresent);
  // Bit 7 of an entry above the last level: a page of its own, in the host's tables and in the secondary MMU's.
  const isLeaf = role.shift === PAGE_SHIFT || values.some((value) => (value & 0x80n) !== 0n);
  return {
    kind: place.word,
    base: role.base + (index << BigInt(role.shift)),
    shift: role.shift,
    pfns: values.map((value) => Number((value >> 12n) & PFN_MASK)),
    isLeaf,
  };
}

/** Page numbers, the end excluded. */
interface Pages {
  readonly from: bigint;
  readonly to: bigint;
}

function meets({ base, shift }: Entry, { from, to }: Pages): boolean {
  const first = base >> 12n;
  return first < to && from < first + (1n << BigInt(shift - PAGE_SHIFT));
}

/** Numbers in what a checker says, and in what way it names them. */
interface Named {
  readonly pfns: ReadonlySet<number>;
  readonly gfns: readonly bigint[];
  /** Of host-virtual addresses. */
  readonly hvas: readonly Pages[];
  readonly addresses: readonly number[];
  readonly caches: readonly number[];
}

function namedIn(says: string): Named {
  const all = (pattern: RegExp): RegExpMatchArray[] => [...says.matchAll(pattern)];
  const pfns = all(/\b(?:pfn|page|table) (\d+)\b|^root (\d+)\b/g).map(([, pfn, root]) => Number(pfn ?? root));
  return {
    pfns: new Set(pfns),
    gfns: all(/\bgfn (0x[0-9a-f]+|\d+)/g).map(([, gfn]) => BigInt(gfn!)),
    hvas: all(/\bhva pages? (0x[0-9a-f]+)(?: to (0x[0-9a-f]+))?/g).map(([, from, to]) => ({
      from: BigInt(from!),
      to: to === undefined ? BigInt(from!) + 1n : BigInt(to),
    })),
    addresses: all(/\baddress (0x[0-9a-f]+)/g).map(([, address]) => Number(address)),
    caches: all(/\bpfn cache (\d+)/g).map(([, cache]) => Number(cache)),
  };
}

/** Page numbers of the invalidations that the execution opens. */
function windowsOf(trace: Trace): Pages[] {
  return trace.accesses.flatMap(({ notes }) =>
    notes.flatMap(({ kind, a, b }) =>
      noteName(kind) === "NotifyStart" ? [{ from: a >> 12n, to: (b + 0xfffn) >> 12n }] : [],
    ),
  );
}

export class Subjects {
  private readonly pages = new Set<number>();
  private readonly tables: ReadonlySet<number>;
  private readonly named: Named;
  private readonly says: string;
  private readonly roles: FrameRoles | undefined;
  private readonly framesBase: number;

  constructor(trace: Trace, items: readonly Item[], roles: FrameRoles | undefined) {
    this.roles = roles;
    this.framesBase = trace.layout.framesBase;
    this.says = trace.end.says;
    this.named = namedIn(trace.end.says);
    this.tables = new Set(
      trace.accesses.flatMap(({ notes }) =>
        notes.flatMap(({ kind, a }) => (noteName(kind) === "TableAlloc" ? [Number(a)] : [])),
      ),
    );
    this.findPages(items, windowsOf(trace));
  }

  isTable(pfn: number): boolean {
    return this.tables.has(pfn) || this.roles?.(pfn) !== undefined;
  }

  /**
   * Pages that several actors touch, by their count, their data or an entry that maps them, and those that the objection
   * names. If there are none, those that are invalidated; or else all that anything maps.
   */
  private findPages(items: readonly Item[], windows: readonly Pages[]): void {
    const invalidated = new Set<number>();
    const mapped = new Set<number>();
    for (const item of items) {
      const { access, place } = item;
      if (access.shared && (place.word === "refcount" || place.word === "data"))
        this.pages.add(place.of ?? 0);
      const entry = this.entry(item);
      if (!entry?.isLeaf) continue;
      const isCovered = entry.kind === "pte" && windows.some((window) => meets(entry, window));
      for (const pfn of entry.pfns) {
        mapped.add(pfn);
        if (isCovered) invalidated.add(pfn);
        if (access.shared || this.isNamed(item)) this.pages.add(pfn);
      }
    }
    for (const pfn of this.named.pfns) this.pages.add(pfn);
    for (const pfn of this.pages) if (this.isTable(pfn) && !this.named.pfns.has(pfn)) this.pages.delete(pfn);
    for (const others of [invalidated, mapped]) {
      if (this.pages.size === 0) for (const pfn of others) this.pages.add(pfn);
    }
  }

  /** True for a page that the execution is about. Of one in which nothing is mapped, any that is no table. */
  has(pfn: number): boolean {
    return this.pages.size === 0 ? !this.isTable(pfn) : this.pages.has(pfn);
  }

  entry(item: Item): Entry | undefined {
    return entryOf(item, this.roles, this.framesBase);
  }

  /** True for a leaf of the host or of the secondary MMU that maps one of the pages, or did so. */
  isLeafOfPage(item: Item): boolean {
    const entry = this.entry(item);
    return entry !== undefined && entry.isLeaf && entry.pfns.some((pfn) => this.has(pfn));
  }

  /** True for a page or a table that the objection names. */
  isNamedFrame(pfn: number): boolean {
    return this.named.pfns.has(pfn);
  }

  /** True if the objection is about who is in a read section. */
  get areSections(): boolean {
    return /\b(?:section|grace period)\b/.test(this.says);
  }

  /** True if the objection names the lock, or the word of this name. */
  isCalled(name: string): boolean {
    return this.says.includes(name);
  }

  /** True for a word that the objection names, or a word of what it names. */
  isNamed(item: Item): boolean {
    const { access, place } = item;
    const { pfns, gfns, hvas, addresses, caches } = this.named;
    if (addresses.some((at) => at >= access.address && at < access.address + access.size)) return true;
    if (caches.some((cache) => new RegExp(`^gpc\\[${cache}\\]\\.(valid|pfn|uhva|active)$`).test(place.name)))
      return true;
    if (/^page\[\d+\]\.(refcount|mapcount|pincount)$/.test(place.name)) return pfns.has(place.of ?? -1);
    const entry = this.entry(item);
    if (entry === undefined) {
      // A word that is called by its name: of a lock, of a device.
      return /\b(?:waits for|still has) /.test(this.says) && this.isCalled(place.name);
    }
    if (entry.pfns.some((pfn) => pfns.has(pfn))) return true;
    if (!entry.isLeaf) return false;
    return entry.kind === "spte"
      ? gfns.some((gfn) => meets(entry, { from: gfn, to: gfn + 1n }))
      : hvas.some((pages) => meets(entry, pages));
  }

  /** Of the words that the objection names, and of the one at `final`, each actor's last write and its last read. */
  lastOfNamed(items: readonly Item[], final: number | undefined): Item[] {
    const last = new Map<string, Item>();
    for (const item of items) {
      const { access } = item;
      if (access.site.kind === "choose") continue;
      if (access.address !== final && !this.isNamed(item)) continue;
      last.set(`${access.actor} ${access.address} ${writes(access)}`, item);
    }
    return [...last.values()];
  }
}
