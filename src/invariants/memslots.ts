/**
 * I15: when the deletion of a memslot has returned, nothing of it can be used.
 *
 * Holds: at SlotDeleted no leaf SPTE exists for its gfns and no pfn cache is valid for its addresses; no leaf is installed
 * for its gfns until new memslots are published.
 * Broken by: a fault that looked the slot up before the deletion and installs after it.
 * Does not see: TLBs (tlb.ts), cached hvas, MMIO SPTEs; pfn caches of memslots that were not there when the exploration
 * began.
 */

import { Note } from "../core/layout.generated.js";
import { type Checker } from "./checker.js";
import { hvaPageOf, spteOf } from "./decode.js";
import { drop, EMPTY, hex, object, put, type Table } from "./ghost.js";
import { nextSptes, runsWithin, type Sptes } from "./tables.js";

export type Memslots = {
  readonly sptes: Sptes;
  /** hva page of each valid pfn cache. */
  readonly caches: Table<number>;
  /** gfns [first, end) deleted since the last publication, ascending. */
  readonly deleted: readonly (readonly [first: number, end: number])[];
};

export const memslots: Checker<Memslots> = {
  name: "nothing-outlives-its-memslot",
  invariants: ["I15"],
  says: "After the deletion of a memslot has returned, no SPTE and no valid pfn cache translates any of it.",
  brokenWithout: ["ObsoleteRootChecked", "UpdaterSynchronizes"],
  listens: [
    Note.SpteLeaf,
    Note.SpteLink,
    Note.TableFree,
    Note.GpcValid,
    Note.GpcInvalid,
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
        const hva = hvaPageOf(facts, first);
        for (const [cache, page] of Object.entries(state.caches)) {
          if (hva !== undefined && page >= hva && page < hva + end - first) {
            return object(
              `pfn cache ${cache} is valid for gfn ${hex(first + page - hva)} after its memslot was deleted`,
            );
          }
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
};
