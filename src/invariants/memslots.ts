/**
 * I15: when the deletion of a memslot has returned, nothing of it can be used.
 *
 * Holds: at SlotDeleted no leaf SPTE exists for its gfns; from then on no leaf is installed for them and no pfn cache of
 * theirs is used, until new memslots are published. A cache may keep `valid`: its generation is what refuses it.
 * Broken by: a fault that looked the slot up before the deletion and installs after it.
 * Does not see: TLBs (tlb.ts), cached hvas, MMIO SPTEs; pfn caches of memslots that were not there when the exploration
 * began; a use of what was cached before the deletion, after new memslots were published.
 */

import { Note } from "../core/layout.generated.js";
import { type Checker, type MachineFacts, type Objection } from "./checker.js";
import { hvaPageOf, spteOf } from "./decode.js";
import { drop, EMPTY, hex, object, put, type Table } from "./ghost.js";
import { nextSptes, runsWithin, type Sptes } from "./tables.js";
import { pageTouches, reads, writes } from "./touches.js";

export type Memslots = {
  readonly sptes: Sptes;
  /** hva page of each valid pfn cache. */
  readonly caches: Table<number>;
  /** gfns [first, end) deleted since the last publication, ascending. */
  readonly deleted: readonly (readonly [first: number, end: number])[];
};

/** The objection to a use of a pfn cache, if its page is of a deleted slot. */
function usedDeleted({ caches, deleted }: Memslots, cache: number, facts: MachineFacts): Objection | null {
  const page = caches[cache];
  if (page === undefined) return null;
  for (const [first, end] of deleted) {
    const hva = hvaPageOf(facts, first);
    if (hva === undefined || page < hva || page >= hva + end - first) continue;
    return object(
      `pfn cache ${cache} was used for gfn ${hex(first + page - hva)} after its memslot was deleted`,
    );
  }
  return null;
}

export const memslots: Checker<Memslots> = {
  name: "nothing-outlives-its-memslot",
  invariants: ["I15"],
  says: "After the deletion of a memslot has returned, no SPTE translates any of it and no pfn cache of it is used.",
  brokenWithout: ["ObsoleteRootChecked", "UpdaterSynchronizes"],
  listens: [
    Note.SpteLeaf,
    Note.SpteLink,
    Note.TableFree,
    Note.GpcValid,
    Note.GpcInvalid,
    Note.GpcUse,
    Note.SlotDeleted,
    Note.SlotsPublished,
  ],
  initial: () => ({ sptes: EMPTY, caches: EMPTY, deleted: [] }),
  step(state, event, facts) {
    switch (event.kind) {
      case Note.GpcValid:
        return { ...state, caches: put(state.caches, event.detail, Number(event.a >> 12n)) };
      case Note.GpcInvalid:
        return { ...state, caches: drop(state.caches, event.detail) };
      case Note.GpcUse:
        return usedDeleted(state, event.detail, facts) ?? state;
      case Note.SlotsPublished:
        return state.deleted.length === 0 ? state : { ...state, deleted: [] };
      case Note.SlotDeleted: {
        const first = Number(event.a);
        const end = first + Number(event.b);
        const left = runsWithin(state.sptes, first, end)[0];
        if (left) {
          return object(
            `gfn ${hex(left.span[0])} is mapped to pfn ${left.span[2]} under root ${left.root} after its memslot was deleted`,
          );
        }
        const deleted = [...state.deleted, [first, end] as const].sort((a, b) => a[0] - b[0]);
        return { ...state, deleted };
      }
      default: {
        const sptes = nextSptes(state.sptes, event, 0);
        if (sptes === state.sptes) return state;
        const entry = spteOf(event);
        const gone = state.deleted.find(([first, end]) => entry.first < end && first < entry.end);
        if (event.kind === Note.SpteLeaf && entry.pfn >= 0 && gone) {
          return object(
            `gfn ${hex(entry.first)} was mapped to pfn ${entry.pfn} after its memslot was deleted`,
          );
        }
        return { ...state, sptes };
      }
    }
  },
  touches(event, facts) {
    switch (event.kind) {
      case Note.GpcValid:
      case Note.GpcInvalid:
        return writes(`gpc ${event.detail}`);
      case Note.GpcUse:
        return reads(`gpc ${event.detail}`, "deleted");
      case Note.SlotsPublished:
        return writes("deleted");
      case Note.SlotDeleted:
        return writes("deleted", "pages");
      default:
        return [...pageTouches(event, facts), ...reads("deleted")];
    }
  },
};
