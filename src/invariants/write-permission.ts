/**
 * I7: a guest may write where the process may.
 *
 * Holds: a leaf SPTE is writable only where the host's leaf is, or while an invalidation of the address is starting.
 * Broken by: a remapped read-only page reported as writable; mprotect that takes W without a notification.
 * Does not see: read-only memslots and dirty logging (no event tells them), guests' own permissions.
 */

import { Note } from "../core/layout.generated.js";
import { type Checker, type MachineFacts, type Objection } from "./checker.js";
import { hostLeafOf, hvaPageOf, inGfnsOf, spteOf, WRITABLE } from "./decode.js";
import { EMPTY, hex, object } from "./ghost.js";
import { spanAt, type Spans } from "./spans.js";
import { LEAF_EVENTS, nextHost, nextSptes, runsWithin, type Sptes } from "./tables.js";
import { inWindow, nextWindows, rangeOf, STARTING, type Windows } from "./windows.js";
import { pageTouches } from "./touches.js";

export type WritePermission = { readonly host: Spans; readonly sptes: Sptes; readonly windows: Windows };

/** A writable leaf of gfns [first, end) over a page that the host maps read-only. Unmapped pages: translations.ts. */
function tooWide(state: WritePermission, first: number, end: number, facts: MachineFacts): Objection | null {
  for (const { root, span } of runsWithin(state.sptes, first, end)) {
    if ((span[3] & WRITABLE) === 0) continue;
    for (let gfn = span[0]; gfn < span[1]; gfn++) {
      const hva = hvaPageOf(facts, gfn);
      if (hva === undefined || inWindow(state.windows, hva, STARTING)) continue;
      const host = spanAt(state.host, hva);
      if (host && (host.bits & WRITABLE) === 0) {
        return object(
          `gfn ${hex(gfn)} is writable under root ${root} while the host maps pfn ${host.pfn} there read-only`,
        );
      }
    }
  }
  return null;
}

export const writePermission: Checker<WritePermission> = {
  name: "writable-only-as-the-host",
  invariants: ["I7"],
  says: "A leaf SPTE is writable only where the host's leaf is.",
  brokenWithout: ["PfnmapHonoursWrite"],
  listens: LEAF_EVENTS,
  initial: () => ({ host: [], sptes: EMPTY, windows: [] }),
  step(state, event, facts) {
    switch (event.kind) {
      case Note.HostLeaf: {
        const { first, end } = hostLeafOf(event);
        const next = { ...state, host: nextHost(state.host, event, WRITABLE) };
        return inGfnsOf(facts, first, end, (from, to) => tooWide(next, from, to, facts)) ?? next;
      }
      case Note.SpteLeaf: {
        const entry = spteOf(event);
        const next = { ...state, sptes: nextSptes(state.sptes, event, WRITABLE) };
        return (entry.pfn < 0 ? null : tooWide(next, entry.first, entry.end, facts)) ?? next;
      }
      case Note.SpteLink:
      case Note.TableFree: {
        const sptes = nextSptes(state.sptes, event, WRITABLE);
        return sptes === state.sptes ? state : { ...state, sptes };
      }
      default: {
        const next = { ...state, windows: nextWindows(state.windows, event) };
        const { first, end } = rangeOf(event);
        return inGfnsOf(facts, first, end, (from, to) => tooWide(next, from, to, facts)) ?? next;
      }
    }
  },
  touches: pageTouches,
};
