/**
 * I18: a huge leaf has a huge mapping behind it.
 *
 * Holds: where a leaf SPTE is larger than 4 KiB, the host maps the whole of it by leaves at least as large, gfn and pfn are
 * congruent, and the memslot contains it whole. While an invalidation of the range is starting the
 * host's side may already differ.
 * Broken by: a level sampled before the snapshot, then munmap and a mapping of small pages; promotion of a compound page
 * that this process maps by PTEs.
 * Does not see: dirty logging and memory attributes, which the core does not have.
 */

import { Note } from "../core/layout.generated.js";
import { type Checker, type MachineFacts, type Objection } from "./checker.js";
import { hostLeafOf, hvaPageOf, inGfnsOf, SHIFT_AT, spteOf } from "./decode.js";
import { EMPTY, hex, object } from "./ghost.js";
import { within, type Span, type Spans } from "./spans.js";
import { LEAF_EVENTS, nextHost, nextSptes, runsWithin, type Sptes } from "./tables.js";
import { inWindow, nextWindows, STARTING, type Windows } from "./windows.js";
import { pageTouches } from "./touches.js";

export type Huge = { readonly host: Spans; readonly sptes: Sptes; readonly windows: Windows };

/** A huge run against slot and alignment: true wherever the host stands. */
function misplaced(shift: number, span: Span, facts: MachineFacts): Objection | null {
  const pages = 2 ** (shift - 12);
  const [first, end, pfn] = span;
  const what = `the ${2 ** (shift - 20)} MiB leaf at gfn ${hex(first)}`;
  if ((pfn - first) % pages !== 0) return object(`${what} maps pfn ${pfn}, which is not congruent to it`);
  const beyond = facts.slots.some(({ baseGfn, npages }) => {
    const [from, to] = [Number(baseGfn), Number(baseGfn + npages)];
    return first < to && from < end && (first < from || end > to);
  });
  return beyond ? object(`${what} reaches beyond its memslot`) : null;
}

/** Huge leaves of gfns [first, end) against the size of the host's leaves. */
function tooLarge(state: Huge, first: number, end: number, facts: MachineFacts): Objection | null {
  for (const { root, shift, span } of runsWithin(state.sptes, first, end)) {
    const hva = hvaPageOf(facts, span[0]);
    if (shift === 12 || hva === undefined || inWindow(state.windows, hva, STARTING)) continue;
    const smaller = within(state.host, hva, hva + span[1] - span[0]).find(
      ([, , , bits]) => bits >> SHIFT_AT < shift,
    );
    if (smaller === undefined) continue;
    const gfn = span[0] + smaller[0] - hva;
    const [from, to] = [2 ** (shift - 10), 2 ** ((smaller[3] >> SHIFT_AT) - 10)];
    return object(
      `gfn ${hex(gfn)} is in a leaf of ${from} KiB under root ${root} while the host maps it by one of ${to} KiB`,
    );
  }
  return null;
}

export const huge: Checker<Huge> = {
  name: "huge-leaf-as-the-host",
  invariants: ["I18"],
  says: "A huge leaf SPTE lies within its memslot, is congruent to its pfn, and has host leaves at least as large behind it.",
  brokenWithout: ["HostLevelAfterCheck"],
  listens: LEAF_EVENTS,
  initial: () => ({ host: [], sptes: EMPTY, windows: [] }),
  step(state, event, facts) {
    switch (event.kind) {
      case Note.HostLeaf: {
        const { first, end } = hostLeafOf(event);
        const next = { ...state, host: nextHost(state.host, event, 0) };
        return inGfnsOf(facts, first, end, (from, to) => tooLarge(next, from, to, facts)) ?? next;
      }
      case Note.SpteLeaf: {
        const entry = spteOf(event);
        // Only huge leaves matter: the others would multiply states.
        if (entry.shift === 12) return state;
        // Split: leaves of 4 KiB are nobody's business here.
        const told = entry.table && entry.shift === 21 ? { ...event, sub: 0, b: 0n } : event;
        const next = { ...state, sptes: nextSptes(state.sptes, told, 0) };
        if (entry.pfn < 0) return next;
        const span: Span = [entry.first, entry.end, entry.pfn, 0];
        return misplaced(entry.shift, span, facts) ?? tooLarge(next, entry.first, entry.end, facts) ?? next;
      }
      case Note.SpteLink: {
        const entry = spteOf(event);
        if (!entry.table) return state;
        // The table below has leaves of the next size; those of 4 KiB are nobody's business here.
        const gone = { ...event, kind: Note.SpteLeaf, b: 0n };
        const sptes = nextSptes(state.sptes, entry.shift === 21 ? gone : event, 0);
        return sptes === state.sptes ? state : { ...state, sptes };
      }
      case Note.TableFree: {
        const sptes = nextSptes(state.sptes, event, 0);
        return sptes === state.sptes ? state : { ...state, sptes };
      }
      default:
        return { ...state, windows: nextWindows(state.windows, event) };
    }
  },
  touches: pageTouches,
};
