/**
 * I1 and I2: the secondary MMU maps what the host maps, and nothing of a range that is being taken away.
 *
 * Holds: every leaf under every root, obsolete ones included, names the page that the host maps at that address, or an
 * invalidation of the address has been called and has not returned. Between the return of start and the call of end no
 * leaf of the range exists at all.
 * Broken by: vCPU resolves pfn 7; host: start, PTE cleared, end; vCPU installs 7. Or: host clears its PTE, then calls start.
 * Does not see: permissions (write-permission.ts), sizes (huge.ts), TLBs (tlb.ts), gfns of memslots that were not there
 * when the exploration began, leaves in a table that is filled before its link is told.
 */

import { Note } from "../core/layout.generated.js";
import { type CheckedEvent, type Checker, type MachineFacts, type Objection } from "./checker.js";
import { hostLeafOf, hvaPageOf, inGfnsOf, spteOf } from "./decode.js";
import { EMPTY, hex, object } from "./ghost.js";
import { spanAt, type Spans } from "./spans.js";
import { LEAF_EVENTS, nextHost, nextSptes, runsWithin, type SpteRun, type Sptes } from "./tables.js";
import { inWindow, nextWindows, OPEN, rangeOf, STARTING, type Windows } from "./windows.js";
import { pageTouches } from "./touches.js";

export type Translations = { readonly host: Spans; readonly sptes: Sptes; readonly windows: Windows };

/** Pages of a run of leaves that the host does not map to the same frames, and that no start excuses. */
function incoherent(state: Translations, run: SpteRun, facts: MachineFacts): Objection | null {
  const [first, end, pfn] = run.span;
  for (let gfn = first; gfn < end; gfn++) {
    const hva = hvaPageOf(facts, gfn);
    if (hva === undefined || inWindow(state.windows, hva, STARTING)) continue;
    const mine = pfn + gfn - first;
    const host = spanAt(state.host, hva);
    if (host?.pfn === mine) continue;
    const has = host ? `pfn ${host.pfn}` : "nothing";
    return object(
      `gfn ${hex(gfn)} is mapped to pfn ${mine} under root ${run.root} while the host maps ${has} there`,
    );
  }
  return null;
}

/** A leaf of gfns [first, end) while its window is open. */
function inOpenWindow(
  state: Translations,
  first: number,
  end: number,
  facts: MachineFacts,
): Objection | null {
  for (const { root, span } of runsWithin(state.sptes, first, end)) {
    for (let gfn = span[0]; gfn < span[1]; gfn++) {
      const hva = hvaPageOf(facts, gfn);
      if (hva === undefined || !inWindow(state.windows, hva, OPEN)) continue;
      const pfn = span[2] + gfn - span[0];
      return object(
        `gfn ${hex(gfn)} is mapped to pfn ${pfn} under root ${root} after start has returned and before end`,
      );
    }
  }
  return null;
}

function afterSpte(state: Translations, event: CheckedEvent, facts: MachineFacts): Translations | Objection {
  const entry = spteOf(event);
  const sptes = nextSptes(state.sptes, event, 0);
  const next = sptes === state.sptes ? state : { ...state, sptes };
  if (event.kind !== Note.SpteLeaf || entry.pfn < 0) return next;
  const run: SpteRun = {
    root: event.detail,
    shift: entry.shift,
    span: [entry.first, entry.end, entry.pfn, 0],
  };
  return inOpenWindow(next, entry.first, entry.end, facts) ?? incoherent(next, run, facts) ?? next;
}

/** Every leaf of the hva pages, where they are mapped. */
function checkHva(state: Translations, first: number, end: number, facts: MachineFacts): Objection | null {
  return inGfnsOf(facts, first, end, (from, to) => {
    for (const run of runsWithin(state.sptes, from, to)) {
      const found = incoherent(state, run, facts);
      if (found) return found;
    }
    return null;
  });
}

export const translations: Checker<Translations> = {
  name: "sptes-match-the-host",
  invariants: ["I1", "I2"],
  says: "Every leaf of the secondary MMU names the page that the host maps there, and none exists between the return of start and the call of end.",
  brokenWithout: [
    "SeqRaisedInEnd",
    "CountChecked",
    "SeqChecked",
    "SnapshotBeforeGup",
    "RetryUnderLock",
    "LockHeldToInstall",
    "ZapInvalidRoots",
    "RangeAddedBeforeZap",
    "RangeOfAllOpen",
    "StartBeforeClear",
    "HostPteClearedBeforeEnd",
    "RemovedTableFrozen",
    "ObsoleteRootChecked",
  ],
  listens: LEAF_EVENTS,
  initial: () => ({ host: [], sptes: EMPTY, windows: [] }),
  step(state, event, facts) {
    switch (event.kind) {
      case Note.HostLeaf: {
        const host = nextHost(state.host, event, 0);
        if (host === state.host) return state;
        const { first, end } = hostLeafOf(event);
        const next = { ...state, host };
        return checkHva(next, first, end, facts) ?? next;
      }
      case Note.NotifyStart:
      case Note.NotifyStarted:
      case Note.NotifyEnd: {
        const next = { ...state, windows: nextWindows(state.windows, event) };
        const { first, end } = rangeOf(event);
        return (
          inGfnsOf(facts, first, end, (from, to) => inOpenWindow(next, from, to, facts)) ??
          checkHva(next, first, end, facts) ??
          next
        );
      }
      default:
        return afterSpte(state, event, facts);
    }
  },
  touches: pageTouches,
  final(state, facts) {
    for (const run of runsWithin(state.sptes)) {
      const found = incoherent(state, run, facts);
      if (found) return found;
    }
    const open = state.windows[0];
    return open
      ? object(`the invalidation of hva pages ${hex(open[0])} to ${hex(open[1])} was never ended`)
      : null;
  },
};
