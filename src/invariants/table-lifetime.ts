/**
 * I9: nobody is in a table of the secondary MMU when it is given back.
 *
 * Holds: between TableFree and the next use of the frame no access goes to it; and no RCU read section that was open when
 * the table was unlinked is still open at TableFree.
 * Broken by: a table freed at once instead of after a grace period; a processor that still walks it.
 * Does not see: the frame once it has a new owner; read sections against a table whose unlinking was not told, such as
 * one below a table that was unlinked whole (the accesses to it are seen).
 */

import { Note } from "../core/layout.generated.js";
import { ACCESS, type Checker } from "./checker.js";
import { accessOf, framesOf, pfnOf, spteOf, sptePfn } from "./decode.js";
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
import { everyActor, pageTouches, reads, writes } from "./touches.js";

const RCU = 1n;

export type Tables = {
  /** Table of each link: key "root gfn shift". */
  readonly links: Table<number>;
  /** Depth of each actor's RCU read sections. */
  readonly readers: Table<number>;
  /** Readers that were inside when a table was unlinked, by its pfn. */
  readonly unlinked: Table<Numbers>;
  /** Tables given back whose frames have no new use yet. */
  readonly free: Numbers;
};

export const tableLifetime: Checker<Tables> = {
  name: "tables-outlive-their-walkers",
  invariants: ["I9"],
  says: "A table of the secondary MMU is given back only when no walker can be in it.",
  brokenWithout: ["TableFreeWaitsForRcu", "FlushOnTableReplaced"],
  listens: [
    ACCESS,
    Note.SpteLeaf,
    Note.SpteLink,
    Note.TableAlloc,
    Note.TableFree,
    Note.PageAlloc,
    Note.ReadEnter,
    Note.ReadLeave,
  ],
  initial: () => ({ links: EMPTY, readers: EMPTY, unlinked: EMPTY, free: [] }),
  step(state, event, facts) {
    const pfn = Number(event.a);
    switch (event.kind) {
      case ACCESS: {
        if (state.free.length === 0) return state;
        const { address, write } = accessOf(event);
        const frame = pfnOf(facts, address);
        if (!state.free.includes(frame)) return state;
        const how = write ? "wrote to" : "read";
        return object(
          `actor ${event.actor} ${how} address ${hex(address)} in table ${frame}, which was freed`,
        );
      }
      case Note.TableAlloc:
      case Note.PageAlloc: {
        const { first, count } = event.kind === Note.PageAlloc ? framesOf(event) : { first: pfn, count: 1 };
        const free = state.free.filter((p) => p < first || p >= first + count);
        return free.length === state.free.length ? state : { ...state, free };
      }
      case Note.TableFree: {
        const reader = state.unlinked[pfn]?.[0];
        if (reader !== undefined) {
          return object(
            `table ${pfn} was freed while actor ${reader} is in a read section that began before it was unlinked`,
          );
        }
        let links = state.links;
        for (const [key, table] of Object.entries(links)) {
          if (table === pfn || key.startsWith(`${pfn} `)) links = drop(links, key);
        }
        return { ...state, links, free: including(state.free, pfn) };
      }
      case Note.ReadEnter:
        if (event.a !== RCU) return state;
        return { ...state, readers: put(state.readers, event.actor, (state.readers[event.actor] ?? 0) + 1) };
      case Note.ReadLeave: {
        const depth = state.readers[event.actor] ?? 0;
        if (event.a !== RCU || depth === 0) return state;
        if (depth > 1) return { ...state, readers: put(state.readers, event.actor, depth - 1) };
        const unlinked = remap(state.unlinked, (inside) => {
          const left = excluding(inside, event.actor);
          return left.length === 0 ? undefined : left;
        });
        return { ...state, readers: drop(state.readers, event.actor), unlinked };
      }
      default: {
        const entry = spteOf(event);
        const key = `${event.detail} ${entry.first} ${entry.shift}`;
        const old = state.links[key];
        if (entry.table && event.kind === Note.SpteLeaf) return state; // the split of a leaf: its link follows
        if (entry.table) return { ...state, links: put(state.links, key, sptePfn(event)) };
        if (old === undefined || (event.kind === Note.SpteLeaf && entry.pfn < 0)) return state;
        const inside = Object.keys(state.readers).map(Number);
        const next = { ...state, links: drop(state.links, key) };
        return inside.length === 0 ? next : { ...next, unlinked: put(state.unlinked, old, inside) };
      }
    }
  },
  touches(event, facts) {
    switch (event.kind) {
      case ACCESS:
        return reads(`pfn ${pfnOf(facts, accessOf(event).address)}`);
      case Note.TableAlloc:
        return writes(`pfn ${event.a}`);
      case Note.PageAlloc: {
        const { first, count } = framesOf(event);
        return writes(...Array.from({ length: count }, (_, i) => `pfn ${first + i}`));
      }
      case Note.TableFree:
        return [...writes(`pfn ${event.a}`, "pages"), ...reads(...everyActor(facts))];
      case Note.ReadEnter:
      case Note.ReadLeave:
        return event.a === RCU ? writes(`actor ${event.actor}`) : [];
      default:
        // Links are of entries above the smallest.
        if (spteOf(event).shift === 12) return [];
        return [...pageTouches(event, facts), ...reads(...everyActor(facts))];
    }
  },
};
