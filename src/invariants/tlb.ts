/**
 * I3: a vCPU uses only translations that the secondary MMU has, or that a flush will yet take away.
 *
 * Holds: when a guest accesses memory, some leaf SPTE maps that frame with the permission it needs; or it did, and no
 * remote flush that began after the change is done yet. A flush that is done has reached this vCPU: what it held of the
 * page before is not used again.
 * Broken by: a flush that does not wait for the vCPU to leave guest mode; a request made after the look at the vCPU's mode;
 * a vCPU that enters without a look at its requests; a change without any flush.
 * Does not see: which gfn the guest meant. Entries carry gva and frame, so that they are compared with any leaf of the
 * frame: a frame mapped at two gfns hides that one of them is gone. Entries of the paging-structure caches.
 * Needs vCPUs that run on the secondary MMU: one without it has no leaves to be compared with.
 */

import { Note } from "../core/layout.generated.js";
import { type CheckedEvent, type Checker, type MachineFacts, type Objection } from "./checker.js";
import { pfnOf, spteOf, useOf, WRITABLE, isLarge, sparesGlobal } from "./decode.js";
import {
  drop,
  EMPTY,
  excluding,
  hex,
  including,
  object,
  put,
  remap,
  type Numbers,
  type Table,
} from "./ghost.js";
import { maps, type Span } from "./spans.js";
import { before, nextSptes, type Sptes } from "./tables.js";
import { reads, writes } from "./touches.js";

/** Frames whose translation was reduced: first, count, actors whose flush began since. */
export type Owed = readonly [pfn: number, count: number, begun: Numbers];

export type Tlbs = {
  readonly sptes: Sptes;
  readonly invalid: Numbers;
  /** Key "vcpu page": frame; 1 if a flush that should have dropped it is done. */
  readonly entries: Table<readonly [pfn: number, flushed: number]>;
  readonly owed: readonly Owed[];
};

function mapped(sptes: Sptes, pfn: number, wanted: number): boolean {
  return Object.values(sptes).some((spans) => maps(spans, pfn, 1, wanted));
}

function owes(owed: readonly Owed[], pfn: number): boolean {
  return owed.some(([first, count]) => pfn >= first && pfn < first + count);
}

function sorted(owed: readonly Owed[]): readonly Owed[] {
  const texts = new Map(owed.map((o) => [JSON.stringify(o), o]));
  return [...texts.keys()].sort().map((text) => texts.get(text)!);
}

/** Entries of these frames should be gone: no vCPU may use one of them again. */
function flushed(state: Tlbs, first: number, count: number): Tlbs {
  const entries = remap(state.entries, (entry) =>
    entry[1] === 0 && entry[0] >= first && entry[0] < first + count ? ([entry[0], 1] as const) : entry,
  );
  return entries === state.entries ? state : { ...state, entries };
}

function afterEntry(state: Tlbs, event: CheckedEvent): Tlbs {
  const entry = spteOf(event);
  const sptes = nextSptes(state.sptes, event, WRITABLE);
  if (sptes === state.sptes) return state;
  const old: Span | undefined = entry.table ? undefined : before(state.sptes, event, entry);
  const next = { ...state, sptes };
  if (!old) return next;
  const same = entry.pfn >= 0 && old[2] - old[0] === entry.pfn - entry.first;
  if (same && (entry.bits & WRITABLE) >= (old[3] & WRITABLE)) return next;
  const count = old[1] - old[0];
  // Under an obsolete root nobody flushes: whoever ran on it has been made to leave.
  if (state.invalid.includes(event.detail)) return flushed(next, old[2], count);
  return { ...next, owed: sorted([...state.owed, [old[2], count, []]]) };
}

function use(state: Tlbs, event: CheckedEvent, facts: MachineFacts): Tlbs | Objection {
  const { address, write } = useOf(event);
  const pfn = pfnOf(facts, address);
  if (pfn < 0 || mapped(state.sptes, pfn, write ? WRITABLE : 0)) return state;
  const entry = state.entries[`${event.detail} ${event.a >> 12n}`];
  if (owes(state.owed, pfn) && (entry?.[0] !== pfn || entry[1] === 0)) return state;
  const how = write ? "wrote to" : "read";
  return object(
    `vCPU ${event.detail} ${how} pfn ${pfn} at gva ${hex(event.a)} through a translation that is gone and was flushed`,
  );
}

export const tlb: Checker<Tlbs> = {
  name: "tlb-covered-by-sptes",
  invariants: ["I3"],
  says: "A guest accesses a frame only while a leaf SPTE allows it, or until the flush that follows its removal is done.",
  brokenWithout: [
    "FlushBeforeStartReturns",
    "FlushBeforeYield",
    "EntryChecksRequests",
    "FlushWaitsForAck",
    "RequestBeforeModeCheck",
  ],
  listens: [
    Note.SpteLeaf,
    Note.SpteLink,
    Note.TableFree,
    Note.RootInvalid,
    Note.TlbFill,
    Note.TlbDrop,
    Note.TlbFlush,
    Note.FlushBegin,
    Note.FlushDone,
    Note.GuestUse,
  ],
  initial: () => ({ sptes: EMPTY, invalid: [], entries: EMPTY, owed: [] }),
  step(state, event, facts) {
    const vcpu = event.detail;
    switch (event.kind) {
      case Note.GuestUse:
        return use(state, event, facts);
      case Note.TlbFill: {
        if (isLarge(event)) return state;
        const pfn = Number(event.b >> 12n);
        const gone = !mapped(state.sptes, pfn, 0) && !owes(state.owed, pfn);
        return { ...state, entries: put(state.entries, `${vcpu} ${event.a >> 12n}`, [pfn, gone ? 1 : 0]) };
      }
      case Note.TlbDrop:
        if (isLarge(event)) return state;
        return { ...state, entries: drop(state.entries, `${vcpu} ${event.a >> 12n}`) };
      case Note.TlbFlush:
        if (sparesGlobal(event)) return state;
        return {
          ...state,
          entries: remap(state.entries, (entry, key) => (key.startsWith(`${vcpu} `) ? undefined : entry)),
        };
      case Note.FlushBegin: {
        if (state.owed.length === 0) return state;
        const owed = state.owed.map((o) => [o[0], o[1], including(o[2], event.actor)] as const);
        return { ...state, owed: sorted(owed) };
      }
      case Note.FlushDone: {
        const paid = state.owed.filter((o) => o[2].includes(event.actor));
        if (paid.length === 0) return state;
        const next = { ...state, owed: state.owed.filter((o) => !o[2].includes(event.actor)) };
        return paid.reduce<Tlbs>((s, [first, count]) => flushed(s, first, count), next);
      }
      case Note.RootInvalid:
        return { ...state, invalid: including(state.invalid, Number(event.a)) };
      case Note.TableFree: {
        const sptes = nextSptes(state.sptes, event, WRITABLE);
        const invalid = excluding(state.invalid, Number(event.a));
        return sptes === state.sptes && invalid === state.invalid ? state : { ...state, sptes, invalid };
      }
      default:
        return afterEntry(state, event);
    }
  },
  touches(event) {
    const own = `tlb ${event.detail}`;
    switch (event.kind) {
      case Note.GuestUse:
        return reads("sptes", own);
      case Note.TlbFill:
        return [...reads("sptes"), ...writes(own)];
      case Note.TlbDrop:
      case Note.TlbFlush:
        return writes(own);
      default:
        return writes("sptes");
    }
  },
};
