/**
 * Keys for `Checker.touches`, which several checkers use alike: pages by the hva behind them, frames, actors. A key too many
 * only costs time; one too few would let the reduction leave out an order that matters.
 */

import { Note } from "../core/layout.generated.js";
import { type CheckedEvent, type MachineFacts } from "./checker.js";
import { framesOf, hostLeafOf, hvaPageOf, spteOf } from "./decode.js";
import { rangeOf } from "./windows.js";

export interface Touch {
  readonly key: string;
  readonly write: boolean;
}

export function reads(...keys: readonly string[]): Touch[] {
  return keys.map((key) => ({ key, write: false }));
}

export function writes(...keys: readonly string[]): Touch[] {
  return keys.map((key) => ({ key, write: true }));
}

/** Pages of a range that are named one by one: a longer one is every page. */
const NAMED_PAGES = 8;
const EVERY_PAGE: readonly Touch[] = writes("pages");

/** Pages [first, end), by what names each. */
function pages(first: number, end: number, nameOf: (page: number) => string): readonly Touch[] {
  if (end - first > NAMED_PAGES) return EVERY_PAGE;
  return [
    ...writes(...Array.from({ length: Math.max(0, end - first) }, (_, i) => nameOf(first + i))),
    ...reads("pages"),
  ];
}

/**
 * Pages that an event of either MMU's leaves, or of a notifier, concerns: what a checker keeps for one page (leaves, links,
 * windows) is one part of its state. TableFree concerns every page.
 */
export function pageTouches(event: CheckedEvent, facts: MachineFacts): readonly Touch[] {
  switch (event.kind) {
    case Note.HostLeaf: {
      const { first, end } = hostLeafOf(event);
      return pages(first, end, (page) => `hva ${page}`);
    }
    case Note.SpteLeaf:
    case Note.SpteLink: {
      const { first, end } = spteOf(event);
      return pages(first, end, (gfn) => {
        const hva = hvaPageOf(facts, gfn);
        return hva === undefined ? `gfn ${gfn}` : `hva ${hva}`;
      });
    }
    case Note.NotifyStart:
    case Note.NotifyStarted:
    case Note.NotifyEnd: {
      const { first, end } = rangeOf(event);
      return pages(first, end, (page) => `hva ${page}`);
    }
    default:
      return EVERY_PAGE;
  }
}

/** Frames of a machine that has no blocks of 2 MiB: fewer, and a count is always that of the frame itself. */
const SMALL = 1024;

/** Key of the count of a frame. In a larger machine all frames of a possible block share one. */
export function frameKey(facts: MachineFacts, pfn: number): string {
  return `pfn ${facts.layout.frameCount < SMALL ? pfn : pfn >> 9}`;
}

/** Keys of the frames of PageAlloc and PageFree. */
export function blockKeys(facts: MachineFacts, event: CheckedEvent): string[] {
  const { first, count } = framesOf(event);
  return [...new Set(Array.from({ length: count }, (_, i) => frameKey(facts, first + i)))];
}

/** Keys of all actors. */
export function everyActor({ layout }: MachineFacts): string[] {
  return Array.from({ length: layout.vcpuCount + layout.hostCount }, (_, a) => `actor ${a}`);
}
