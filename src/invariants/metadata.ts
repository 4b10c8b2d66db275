/**
 * The second half of claim C1: what a fault reads and marks in struct page needs the page held.
 *
 * Holds: struct page is used (compound head, reserved test, dirty and accessed marks) only while the page is not free. And
 * nobody writes atomically to that of a free page, other than to its count: the allocator's own words are written plainly
 * by whoever has the page, so that an atomic write comes from somebody who believes to hold it.
 * Broken by: a fault that puts its page straight after gup and marks it dirty after the installation; the host frees it
 * between.
 * Does not see: a page that was freed and handed out again between put and use: the search also visits the order in which
 * it is not handed out yet.
 */

import {
  Note,
  PAGE_FLAGS,
  PAGE_INDEX,
  PAGE_LOCK,
  PAGE_MAPCOUNT,
  PAGE_OWN,
} from "../core/layout.generated.js";
import { ACCESS, type CheckedEvent, type Checker, type MachineFacts, type Objection } from "./checker.js";
import { accessOf, framesOf, structPageOf } from "./decode.js";
import { excluding, including, object, type Numbers } from "./ghost.js";

/** Words of struct page that only a holder writes atomically. */
const HOLDERS_WORDS = [PAGE_MAPCOUNT, PAGE_FLAGS, PAGE_LOCK, PAGE_INDEX, PAGE_OWN];

function access(free: Numbers, event: CheckedEvent, facts: MachineFacts): Objection | null {
  if (free.length === 0) return null;
  const { address, atomic, write } = accessOf(event);
  if (!atomic || !write) return null;
  const page = structPageOf(facts, address);
  if (!page || !HOLDERS_WORDS.includes(page.offset) || !free.includes(page.pfn)) return null;
  return object(
    `actor ${event.actor} wrote to the struct page of pfn ${page.pfn} at offset ${page.offset}; the page is free`,
  );
}

/** Frames that were given back. */
export const metadata: Checker<Numbers> = {
  name: "metadata-of-held-pages",
  invariants: ["I5"],
  says: "struct page of a page is used only while somebody holds the page.",
  brokenWithout: ["PutAfterInstall"],
  listens: [ACCESS, Note.PageAlloc, Note.PageFree, Note.MetaUse, Note.PageDirty],
  initial: () => [],
  step(state, event, facts) {
    if (event.kind === ACCESS) return access(state, event, facts) ?? state;
    if (event.kind === Note.MetaUse || event.kind === Note.PageDirty) {
      if (!state.includes(Number(event.a))) return state;
      const how = event.kind === Note.MetaUse ? "used struct page of" : "marked dirty";
      return object(`actor ${event.actor} ${how} pfn ${event.a}, which is free`);
    }
    const { first, count } = framesOf(event);
    let free = state;
    for (let pfn = first; pfn < first + count; pfn++) {
      free = event.kind === Note.PageFree ? including(free, pfn) : excluding(free, pfn);
    }
    return free;
  },
  touches(event, facts) {
    if (event.kind === ACCESS) {
      const page = structPageOf(facts, accessOf(event).address);
      return page ? [{ key: `pfn ${page.pfn}`, write: false }] : [];
    }
    const write = event.kind === Note.PageAlloc || event.kind === Note.PageFree;
    const { first, count } = write ? framesOf(event) : { first: Number(event.a), count: 1 };
    return Array.from({ length: count }, (_, i) => ({ key: `pfn ${first + i}`, write }));
  },
};
