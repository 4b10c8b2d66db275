/** The leaves that both MMUs hold, as events tell them: what several checkers compare. */

import { Note } from "../core/layout.generated.js";
import { type CheckedEvent } from "./checker.js";
import { SHIFT_AT, hostLeafOf, spteOf, type Leaf } from "./decode.js";
import { drop, put, remap, type Table } from "./ghost.js";
import { cover, cut, within, type Span, type Spans } from "./spans.js";

/**
 * Leaves of the secondary MMU by root and size: key root * 64 + shift. Sizes apart, because a table that was replaced by
 * a huge leaf is taken out entry by entry afterwards.
 */
export type Sptes = Table<Spans>;

const SHIFTS = 64;

export function rootOfKey(key: string): number {
  return Math.floor(Number(key) / SHIFTS);
}

function shiftOfKey(key: string): number {
  return Number(key) % SHIFTS;
}

function store(sptes: Sptes, key: number, spans: Spans): Sptes {
  return spans.length === 0 ? drop(sptes, key) : put(sptes, key, spans);
}

/** What a checker hears that compares the leaves of both MMUs: every change of one, and the invalidations that excuse it. */
export const LEAF_EVENTS: readonly Note[] = [
  Note.HostLeaf,
  Note.SpteLeaf,
  Note.SpteLink,
  Note.TableFree,
  Note.NotifyStart,
  Note.NotifyStarted,
  Note.NotifyEnd,
];

/** Bits that a checker wants of a leaf: those it does not look at would only multiply states. */
export type Keep = number;

/** Leaves after SpteLeaf, SpteLink or TableFree. `keep`: attribute bits to record besides the size. */
export function nextSptes(sptes: Sptes, event: CheckedEvent, keep: Keep): Sptes {
  if (event.kind === Note.TableFree) {
    const root = Number(event.a);
    return remap(sptes, (spans, key) => (rootOfKey(key) === root ? undefined : spans));
  }
  const entry = spteOf(event);
  const key = event.detail * SHIFTS + entry.shift;
  const here = sptes[key] ?? [];
  if (event.kind === Note.SpteLink || entry.table) {
    // A huge leaf gave way to a table that maps the same pages in smaller pieces.
    const split = entry.table ? within(here, entry.first, entry.end) : [];
    if (split.length === 0) return sptes;
    const below = key - 9;
    let lower = sptes[below] ?? [];
    for (const [first, end, pfn, bits] of split) {
      lower = cover(lower, first, end, pfn, withShift(bits, entry.shift - 9));
    }
    return store(store(sptes, key, cut(here, entry.first, entry.end)), below, lower);
  }
  if (entry.pfn < 0) return store(sptes, key, cut(here, entry.first, entry.end));
  const bits = withShift(entry.bits & keep, entry.shift);
  return store(sptes, key, cover(here, entry.first, entry.end, entry.pfn, bits));
}

function withShift(bits: number, shift: number): number {
  return (bits & 0xff) | (shift << SHIFT_AT);
}

/** One leaf, or a run of them, of a root. */
export interface SpteRun {
  readonly root: number;
  readonly shift: number;
  readonly span: Span;
}

/** Every run of leaves that meets gfns [first, end). */
export function runsWithin(sptes: Sptes, first = 0, end = Infinity): SpteRun[] {
  return Object.entries(sptes).flatMap(([key, spans]) =>
    within(spans, first, end).map((span) => ({ root: rootOfKey(key), shift: shiftOfKey(key), span })),
  );
}

/** The leaf that was there before an SpteLeaf or SpteLink event at the same place and size: its first run. */
export function before(sptes: Sptes, event: CheckedEvent, entry: Leaf): Span | undefined {
  return within(sptes[event.detail * SHIFTS + entry.shift] ?? [], entry.first, entry.end)[0];
}

/** The host's leaves, by hva page, after HostLeaf. */
export function nextHost(host: Spans, event: CheckedEvent, keep: Keep): Spans {
  const entry = hostLeafOf(event);
  if (entry.table) {
    // Split: the same pages, in smaller pieces.
    let split: Spans = host;
    for (const [first, end, pfn, bits] of within(host, entry.first, entry.end)) {
      split = cover(split, first, end, pfn, withShift(bits, entry.shift - 9));
    }
    return split;
  }
  if (entry.pfn < 0) return cut(host, entry.first, entry.end);
  return cover(host, entry.first, entry.end, entry.pfn, withShift(entry.bits & keep, entry.shift));
}
