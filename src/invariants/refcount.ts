/**
 * I5: a page's count is what its holders took.
 *
 * Holds: no count is negative; nobody gets a page that was given back; a page is given back once, at a count of 0, while no
 * host leaf holds it; and when all is done, each page that the process has mapped, and each of device memory, has as many
 * references as host leaves and files account for: KVM and gup have put what they took.
 * Broken by: get on a page of count 0 (0, 1, 0 frees it a second time); a fault that retries without putting its page; a
 * put that is skipped because the page counts as reserved.
 * Does not see: who holds a reference (pins.ts); at the end, pages that were never mapped, such as tables; of a page that has
 * left its file, whether the file's own reference went too (one of a DAX file never was counted).
 */

import { Note } from "../core/layout.generated.js";
import { type CheckedEvent, type Checker, type Objection } from "./checker.js";
import { framesOf, hostLeafOf, SHIFT_AT, signed, SPECIAL } from "./decode.js";
import { drop, EMPTY, excluding, including, object, put, type Numbers, type Table } from "./ghost.js";
import { maps, type Spans } from "./spans.js";
import { nextHost } from "./tables.js";
import { blockKeys, frameKey, reads, writes } from "./touches.js";

export type Refcounts = {
  readonly host: Spans;
  /** By pfn of the head: count, and frames; 0 frames for a page known by its count alone, GIVEN_BACK for a free one. */
  readonly pages: Table<readonly [count: number, frames: number]>;
  /** References besides those of leaves that a page known by its count alone has from the start. */
  readonly idle: Table<number>;
  /** Heads that a host leaf has mapped. */
  readonly mapped: Numbers;
  /** References besides those of leaves when the page came to its file: of those in one, and of those that have left it. */
  readonly filed: Table<number>;
  readonly unfiled: Table<number>;
};

const GIVEN_BACK = -1;

/** Leaves that hold a reference: those of remapped pfns do not. */
function counting(host: Spans): Spans {
  return host.filter(([, , , bits]) => (bits & SPECIAL) === 0);
}

/** Head of the allocated block that a frame belongs to; itself if none. */
function headOf(state: Refcounts, pfn: number): number {
  for (const [head, [, frames]] of Object.entries(state.pages)) {
    const first = Number(head);
    if (pfn >= first && pfn < first + frames) return first;
  }
  return pfn;
}

/** Host leaves that hold the block. A leaf of 2 MiB holds one reference. */
function leavesOf(host: Spans, first: number, frames: number): number {
  let n = 0;
  for (const [from, to, pfn, bits] of counting(host)) {
    const low = Math.max(pfn, first);
    const high = Math.min(pfn + to - from, first + Math.max(frames, 1));
    if (low < high) n += Math.ceil((high - low) / 2 ** ((bits >> SHIFT_AT) - 12));
  }
  return n;
}

/** A compound page was split: its frames are pages of their own from here on, whose counts are told one by one. */
function asSinglePages(state: Refcounts, head: number): Refcounts {
  const [count, frames] = state.pages[head]!;
  const singles = Array.from({ length: frames }, (_, i) => head + i);
  const pages = { ...state.pages };
  for (const pfn of singles) pages[pfn] = [pfn === head ? count : 0, 1];
  return { ...state, pages, mapped: [...new Set([...state.mapped, ...singles])].sort((a, b) => a - b) };
}

function counted(state: Refcounts, event: CheckedEvent): Refcounts | Objection {
  const pfn = Number(event.a);
  const count = signed(event.b);
  const page = state.pages[pfn];
  const got = event.kind === Note.PageGet;
  if (count < 0) return object(`the count of pfn ${pfn} fell to ${count}`);
  if (got && page?.[1] === GIVEN_BACK) {
    return object(`actor ${event.actor} took a reference on pfn ${pfn}, which is free`);
  }
  if (got && count === 0) return object(`the count of pfn ${pfn} is 0 after a get`);
  if (page) return { ...state, pages: put(state.pages, pfn, [count, page[1]]) };
  const head = headOf(state, pfn);
  if (head !== pfn) return counted(asSinglePages(state, head), event);
  const idle = count + (got ? -1 : 1) - leavesOf(state.host, pfn, 1);
  return { ...state, pages: put(state.pages, pfn, [count, 0]), idle: put(state.idle, pfn, idle) };
}

function allocated(state: Refcounts, event: CheckedEvent): Refcounts | Objection {
  const { first, count, references } = framesOf(event);
  const page = state.pages[first];
  if (page && page[0] !== 0) return object(`pfn ${first} was handed out with a count of ${page[0]}`);
  if (maps(counting(state.host), first, count)) {
    return object(`pfn ${first} was handed out while the host maps it`);
  }
  if (references > 0) return { ...state, pages: put(state.pages, first, [references, count]) };
  // Idle at 0: device memory, whose first user raises the count from there.
  return { ...state, pages: put(state.pages, first, [0, 0]), idle: put(state.idle, first, 0) };
}

function freed(state: Refcounts, event: CheckedEvent): Refcounts | Objection {
  const { first, count } = framesOf(event);
  const page = state.pages[first];
  if (page?.[1] === GIVEN_BACK) return object(`pfn ${first} was freed twice`);
  if (page && page[0] !== 0) return object(`pfn ${first} was freed with a count of ${page[0]}`);
  if (maps(counting(state.host), first, count))
    return object(`pfn ${first} was freed while the host maps it`);
  return {
    ...state,
    pages: put(state.pages, first, [0, GIVEN_BACK]),
    idle: drop(state.idle, first),
    mapped: excluding(state.mapped, first),
    filed: drop(state.filed, first),
    unfiled: drop(state.unfiled, first),
  };
}

function mapped(state: Refcounts, event: CheckedEvent): Refcounts | Objection {
  const leaf = hostLeafOf(event);
  const next = { ...state, host: nextHost(state.host, event, SPECIAL) };
  if (leaf.pfn < 0 || (leaf.bits & SPECIAL) !== 0) return next;
  const head = headOf(state, leaf.pfn);
  if (state.pages[head]?.[1] === GIVEN_BACK) return object(`the host maps pfn ${leaf.pfn}, which is free`);
  return { ...next, mapped: including(state.mapped, head) };
}

function filed(state: Refcounts, event: CheckedEvent): Refcounts {
  const pfn = headOf(state, Number(event.a));
  if (event.kind === Note.FileAdd) {
    const page = state.pages[pfn];
    // A block of a DAX file comes to its next one without a free; somebody may be looking it up at the time.
    const own = state.unfiled[pfn] ?? (page?.[0] ?? 0) - leavesOf(state.host, pfn, page?.[1] ?? 1);
    return { ...state, filed: put(state.filed, pfn, own), unfiled: drop(state.unfiled, pfn) };
  }
  const own = state.filed[pfn];
  if (own === undefined) return state;
  return { ...state, filed: drop(state.filed, pfn), unfiled: put(state.unfiled, pfn, own) };
}

/** What the count of a page may be when all is done; null if nobody knows. */
function expected(state: Refcounts, pfn: number, frames: number): Numbers | null {
  const leaves = leavesOf(state.host, pfn, frames);
  const inFile = state.filed[pfn];
  const outOfFile = state.unfiled[pfn];
  if (inFile !== undefined) return [leaves + inFile];
  if (outOfFile !== undefined) return [leaves + outOfFile - 1, leaves + outOfFile];
  const idle = state.idle[pfn];
  if (idle !== undefined) return [leaves + idle];
  return state.mapped.includes(pfn) ? [leaves] : null;
}

export const refcount: Checker<Refcounts> = {
  name: "references-balance",
  invariants: ["I5"],
  says: "A page's count is never negative, a free page is not got, and host leaves and files account for every reference when all is done.",
  brokenWithout: [
    "GetUnlessZero",
    "PutOnRetry",
    "RefcountOverflowRefused",
    "GupRechecksHead",
    "ZeroPageNotReserved",
    "ZoneDeviceNotReserved",
    "UnmapChecksPage",
  ],
  listens: [
    Note.HostLeaf,
    Note.PageAlloc,
    Note.PageFree,
    Note.PageGet,
    Note.PagePut,
    Note.FileAdd,
    Note.FileRemove,
  ],
  initial: () => ({ host: [], pages: EMPTY, idle: EMPTY, mapped: [], filed: EMPTY, unfiled: EMPTY }),
  step(state, event) {
    switch (event.kind) {
      case Note.PageAlloc:
        return allocated(state, event);
      case Note.PageFree:
        return freed(state, event);
      case Note.HostLeaf:
        return mapped(state, event);
      case Note.FileAdd:
      case Note.FileRemove:
        return filed(state, event);
      default:
        return counted(state, event);
    }
  },
  touches(event, facts) {
    switch (event.kind) {
      case Note.HostLeaf: {
        // Which page it unmaps, the event does not say.
        const { pfn } = hostLeafOf(event);
        return pfn < 0 ? writes("host") : writes("host", frameKey(facts, pfn));
      }
      case Note.PageAlloc:
      case Note.PageFree:
        return [...writes(...blockKeys(facts, event)), ...reads("host")];
      default:
        return [...writes(frameKey(facts, Number(event.a))), ...reads("host")];
    }
  },
  final(state, facts) {
    if (facts.balanced === false) return null;
    for (const [name, [count, frames]] of Object.entries(state.pages)) {
      const pfn = Number(name);
      const right = frames === GIVEN_BACK ? null : expected(state, pfn, frames);
      if (right === null || right.includes(count)) continue;
      return object(
        `pfn ${pfn} ends with a count of ${count} while host leaves and files account for ${right.at(-1)}`,
      );
    }
    return null;
  },
};
