/**
 * The host's own half of I3: what a process had mapped is not put before the processors of the host have forgotten it.
 *
 * Holds: from the moment that an actor takes a page out of the host tables (a leaf goes, or another frame takes its place)
 * until it has flushed the host's TLBs, it does not drop a reference on a frame of it.
 * Broken by: references that fall before the flush: another thread of the process would write through a stale entry to a
 * page that may have a new owner.
 * Does not see: rights that are taken away, and whether a thread of the process has an entry at all (none is modelled: the
 * accesses of user space hold the page instead).
 */

import { Note } from "../core/layout.generated.js";
import { type CheckedEvent, type Checker } from "./checker.js";
import { hostLeafOf, WRITABLE } from "./decode.js";
import { object } from "./ghost.js";
import { within, type Spans } from "./spans.js";
import { nextHost } from "./tables.js";

export type HostFlush = {
  readonly host: Spans;
  /** Actor, first frame, frames: taken out of the tables, not flushed yet. */
  readonly owed: readonly (readonly [actor: number, pfn: number, count: number])[];
};

function afterLeaf(state: HostFlush, event: CheckedEvent): HostFlush {
  const host = nextHost(state.host, event, WRITABLE);
  const entry = hostLeafOf(event);
  if (entry.table) return { ...state, host };
  const taken = within(state.host, entry.first, entry.end).flatMap(([start, end, pfn]) =>
    entry.pfn >= 0 && entry.pfn + (start - entry.first) === pfn
      ? []
      : [[event.actor, pfn, end - start] as const],
  );
  const texts = new Map([...state.owed, ...taken].map((debt) => [debt.join(" "), debt]));
  return { host, owed: [...texts.keys()].sort().map((text) => texts.get(text)!) };
}

/** References fall after the host's flush. */
export const hostFlush: Checker<HostFlush> = {
  name: "host-flush-before-put",
  invariants: ["I3"],
  says: "A page that was taken out of the host tables is put after the host's TLBs were flushed.",
  brokenWithout: ["HostFlushBeforePut"],
  listens: [Note.HostLeaf, Note.HostFlush, Note.PagePut],
  initial: () => ({ host: [], owed: [] }),
  step(state, event) {
    switch (event.kind) {
      case Note.HostLeaf:
        return afterLeaf(state, event);
      case Note.HostFlush:
        return state.owed.length === 0 ? state : { ...state, owed: [] };
      default: {
        const pfn = Number(event.a);
        const debt = state.owed.find(
          ([actor, first, count]) => actor === event.actor && pfn >= first && pfn < first + count,
        );
        return debt
          ? object(
              `actor ${event.actor} put pfn ${pfn}, which it has unmapped, before the host's TLBs were flushed`,
            )
          : state;
      }
    }
  },
};
