/**
 * The second half of claim C1: what a fault reads and marks in struct page needs the page held.
 *
 * Holds: struct page is used (compound head, reserved test, dirty and accessed marks) only while the page is not free.
 * Broken by: a fault that puts its page straight after gup and marks it dirty after the installation; the host frees it
 * between.
 * Does not see: a page that was freed and handed out again between put and use: the search also visits the order in which
 * it is not handed out yet.
 */

import { Note } from "../core/layout.generated.js";
import { type Checker } from "./checker.js";
import { framesOf } from "./decode.js";
import { excluding, including, object, type Numbers } from "./ghost.js";

/** Frames that were given back. */
export const metadata: Checker<Numbers> = {
  name: "metadata-of-held-pages",
  invariants: ["I5"],
  says: "struct page of a page is used only while somebody holds the page.",
  brokenWithout: ["PutAfterInstall"],
  listens: [Note.PageAlloc, Note.PageFree, Note.MetaUse, Note.PageDirty],
  initial: () => [],
  step(state, event) {
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
  touches(event) {
    const write = event.kind === Note.PageAlloc || event.kind === Note.PageFree;
    const { first, count } = write ? framesOf(event) : { first: Number(event.a), count: 1 };
    return Array.from({ length: count }, (_, i) => ({ key: `pfn ${first + i}`, write }));
  },
};
