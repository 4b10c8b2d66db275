/**
 * I8b: what is stored to a page is neither lost with the page's file nor forgotten by the host.
 *
 * Holds: nobody stores to a page that has lost its file and has no new one; a page that was stored to through an SPTE, a
 * map or a pfn cache is marked dirty before it is freed, taken from its file, or put by whoever dropped its map.
 * Broken by: kvm_vcpu_map, then truncate of a page-cache file, then a store through the map: the store is dropped although
 * the reference is correct (expected of E2019: a report, not a defect of the core). An unmap that does not mark.
 * Pages that KVM never marks, of a device or of a driver, are not asked for a mark.
 * Does not see: that a page was cleaned (no event), stores of the process itself and of devices as dirtying.
 */

import { Note } from "../core/layout.generated.js";
import { type CheckedEvent, type Checker, type MachineFacts, type Objection } from "./checker.js";
import { DEVMAP, framesOf, hostLeafOf, pfnOf, SPECIAL, useOf } from "./decode.js";
import { excluding, including, object, put, remap, drop, EMPTY, type Numbers, type Table } from "./ghost.js";
import { blockKeys, frameKey, reads, writes } from "./touches.js";

export type Dirt = {
  /** Frames of each block of more than one, by pfn of the head: marks are on heads. */
  readonly blocks: Table<number>;
  /** Heads that are marked dirty; heads that were stored to without it; frames that lost their file. */
  readonly dirty: Numbers;
  readonly stored: Numbers;
  readonly orphans: Numbers;
  /** Frames that the host has mapped as a driver's or a device's: their dirty marks are no business of KVM's. */
  readonly foreign: Numbers;
  /** Heads that each vCPU has stored to through a map, and that are not marked since. */
  readonly mapped: Table<Numbers>;
  /** Of these, the one whose map it has dropped, until it puts what the map held. */
  readonly dropping: Table<number>;
};

function headOf(state: Dirt, pfn: number): number {
  for (const [head, frames] of Object.entries(state.blocks)) {
    if (pfn >= Number(head) && pfn < Number(head) + frames) return Number(head);
  }
  return pfn;
}

const WAY: Readonly<Partial<Record<number, string>>> = {
  [Note.GuestUse]: "an SPTE",
  [Note.MapUse]: "a map",
  [Note.GpcUse]: "a pfn cache",
  [Note.DmaUse]: "a device",
};

function store(state: Dirt, event: CheckedEvent, facts: MachineFacts): Dirt | Objection {
  const { address, write } = useOf(event);
  if (!write) return state;
  const pfn = event.kind === Note.GuestUse ? pfnOf(facts, address) : Number(event.a);
  if (state.orphans.includes(pfn)) {
    return object(`a store through ${WAY[event.kind]} to pfn ${pfn} is lost: the page has no file any more`);
  }
  const head = headOf(state, pfn);
  if (event.kind === Note.DmaUse || pfn < 0 || state.dirty.includes(head)) return state;
  if (state.foreign.includes(pfn)) return state;
  const stored = including(state.stored, head);
  if (event.kind !== Note.MapUse) return { ...state, stored };
  const vcpu = event.detail;
  return { ...state, stored, mapped: put(state.mapped, vcpu, including(state.mapped[vcpu] ?? [], head)) };
}

/** The state after a page was marked. */
function marked(state: Dirt, head: number): Dirt {
  return {
    ...state,
    dirty: including(state.dirty, head),
    stored: excluding(state.stored, head),
    mapped: remap(state.mapped, (heads) => {
      const left = excluding(heads, head);
      return left.length === 0 ? undefined : left;
    }),
    dropping: remap(state.dropping, (one) => (one === head ? undefined : one)),
  };
}

function forgotten(state: Dirt, pfn: number, what: string): Objection | null {
  if (!state.stored.includes(headOf(state, pfn))) return null;
  return object(`${what} pfn ${pfn}, which was stored to and is not marked dirty`);
}

/** A reference or pin is dropped: if it was that of a map that was stored through, the page has to be marked by now. */
function givenBack(state: Dirt, { actor, a }: CheckedEvent): Dirt | Objection {
  if (state.dropping[actor] !== Number(a)) return state;
  return object(`vCPU ${actor} unmapped pfn ${a}, which was stored to and is not marked dirty`);
}

export const hostDirty: Checker<Dirt> = {
  name: "no-store-lost",
  invariants: ["I8b"],
  says: "A page that was stored to is marked dirty before it leaves, and nothing is stored to a page without its file.",
  brokenWithout: ["UnmapMarksDirty", "GpcHeldWhileUsed", "VcpuMapHoldsReference"],
  listens: [
    Note.HostLeaf,
    Note.GuestUse,
    Note.MapUse,
    Note.GpcUse,
    Note.DmaUse,
    Note.PageDirty,
    Note.PageAlloc,
    Note.PageFree,
    Note.FileAdd,
    Note.FileRemove,
    Note.MapDropped,
    Note.PinDropped,
    Note.PagePut,
  ],
  initial: () => ({
    blocks: EMPTY,
    dirty: [],
    stored: [],
    orphans: [],
    foreign: [],
    mapped: EMPTY,
    dropping: EMPTY,
  }),
  step(state, event, facts) {
    const pfn = Number(event.a);
    switch (event.kind) {
      case Note.HostLeaf: {
        const leaf = hostLeafOf(event);
        const isForeign = leaf.pfn >= 0 && (leaf.bits & SPECIAL || (event.b & DEVMAP) !== 0n);
        if (!isForeign || state.foreign.includes(leaf.pfn)) return state;
        return { ...state, foreign: including(state.foreign, leaf.pfn) };
      }
      case Note.PageDirty:
        return marked(state, pfn);
      case Note.PageAlloc: {
        const { first, count } = framesOf(event);
        return count === 1 ? state : { ...state, blocks: put(state.blocks, first, count) };
      }
      case Note.PageFree: {
        const found = forgotten(state, pfn, "the host freed");
        if (found) return found;
        const { first, count } = framesOf(event);
        return {
          ...state,
          blocks: drop(state.blocks, first),
          dirty: excluding(state.dirty, first),
          orphans: state.orphans.filter((p) => p < first || p >= first + count),
          foreign: state.foreign.filter((p) => p < first || p >= first + count),
        };
      }
      case Note.FileAdd:
        return state.orphans.includes(pfn) ? { ...state, orphans: excluding(state.orphans, pfn) } : state;
      case Note.FileRemove:
        return {
          ...state,
          orphans: including(state.orphans, pfn),
          stored: excluding(state.stored, headOf(state, pfn)),
        };
      case Note.MapDropped: {
        const head = headOf(state, pfn);
        const owed = state.mapped[event.detail]?.includes(head) ?? false;
        return owed ? { ...state, dropping: put(state.dropping, event.actor, head) } : state;
      }
      case Note.PinDropped:
      case Note.PagePut:
        return givenBack(state, event);
      default:
        return store(state, event, facts);
    }
  },
  touches(event, facts) {
    const own = `actor ${event.actor}`;
    const key = frameKey(facts, Number(event.a));
    switch (event.kind) {
      case Note.HostLeaf: {
        const { pfn } = hostLeafOf(event);
        return pfn < 0 ? [] : writes(frameKey(facts, pfn));
      }
      case Note.GuestUse: {
        const { address, write } = useOf(event);
        return write ? writes(frameKey(facts, pfnOf(facts, address))) : [];
      }
      case Note.PageAlloc:
      case Note.PageFree:
        return writes(...blockKeys(facts, event));
      case Note.MapDropped:
        return writes(own, key);
      case Note.PinDropped:
      case Note.PagePut:
        return reads(own, key);
      default:
        return writes(key);
    }
  },
};
