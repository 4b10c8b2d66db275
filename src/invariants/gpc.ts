/**
 * I17: a valid gfn_to_pfn_cache names the page that the host maps.
 *
 * Holds: a cache is valid only while the host maps its uhva, writable, to its pfn, or while an invalidation of the address
 * is starting; none is valid, or becomes so, between the return of start and the call of end; and it is used only while
 * it is valid, with the pfn it was made valid with.
 * Broken by: a refresh that looks at mmu_invalidate_in_progress, which is raised after the caches were invalidated; two
 * refreshes at a time; a use without the cache's lock, which goes on after the invalidation.
 * Does not see: whether khva maps the pfn, other than by the address of a use (use-after-free.ts).
 */

import { Note } from "../core/layout.generated.js";
import { type Checker, type Objection } from "./checker.js";
import { WRITABLE } from "./decode.js";
import { drop, EMPTY, hex, object, put, type Table } from "./ghost.js";
import { spanAt, type Spans } from "./spans.js";
import { nextHost } from "./tables.js";
import { inWindow, nextWindows, OPEN, STARTING, type Windows } from "./windows.js";

export type Gpcs = {
  readonly host: Spans;
  /** uhva page and pfn of each valid cache. */
  readonly valid: Table<readonly [page: number, pfn: number]>;
  readonly windows: Windows;
};

function incoherent(state: Gpcs): Objection | null {
  for (const [cache, [page, pfn]] of Object.entries(state.valid)) {
    if (inWindow(state.windows, page, OPEN)) {
      return object(
        `pfn cache ${cache} is valid for hva page ${hex(page)} after start has returned and before end`,
      );
    }
    if (inWindow(state.windows, page, STARTING)) continue;
    const host = spanAt(state.host, page);
    if (host?.pfn === pfn && (host.bits & WRITABLE) !== 0) continue;
    const has = host === null ? "nothing" : host.pfn === pfn ? "it read-only" : `pfn ${host.pfn}`;
    return object(
      `pfn cache ${cache} is valid with pfn ${pfn} while the host maps ${has} at hva page ${hex(page)}`,
    );
  }
  return null;
}

export const gpc: Checker<Gpcs> = {
  name: "valid-cache-names-the-host-page",
  invariants: ["I17", "I2"],
  says: "A gfn_to_pfn_cache is valid only while the host maps its pfn at its uhva and no invalidation of it is open, and is used only while valid.",
  brokenWithout: ["GpcRetriesOnActiveCount", "GpcRefreshSerialised", "GpcActiveChecked"],
  listens: [
    Note.HostLeaf,
    Note.GpcValid,
    Note.GpcInvalid,
    Note.GpcUse,
    Note.NotifyStart,
    Note.NotifyStarted,
    Note.NotifyEnd,
  ],
  initial: () => ({ host: [], valid: EMPTY, windows: [] }),
  step(state, event) {
    const cache = event.detail;
    switch (event.kind) {
      case Note.GpcUse: {
        const entry = state.valid[cache];
        if (!entry) return object(`pfn cache ${cache} was used with pfn ${event.a} while it is not valid`);
        if (entry[1] === Number(event.a)) return state;
        return object(
          `pfn cache ${cache} was used with pfn ${event.a} while it is valid with pfn ${entry[1]}`,
        );
      }
      case Note.GpcInvalid:
        return { ...state, valid: drop(state.valid, cache) };
      case Note.GpcValid: {
        const entry = [Number(event.a >> 12n), Number(event.b)] as const;
        const next = { ...state, valid: put(state.valid, cache, entry) };
        return incoherent(next) ?? next;
      }
      case Note.HostLeaf: {
        const next = { ...state, host: nextHost(state.host, event, WRITABLE) };
        return incoherent(next) ?? next;
      }
      default: {
        const next = { ...state, windows: nextWindows(state.windows, event) };
        return incoherent(next) ?? next;
      }
    }
  },
};
