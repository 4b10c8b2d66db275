// Races against a processor that may use all that the manual lets it cache, and drop it at any time.
import { SMALL_MACHINE, scenario } from "../explore/scenario.js";
import { flushVsGuest } from "./flush-vs-guest.js";

/** The remote flush, with paging-structure caches to be flushed as well. */
export const flushVsStructures = scenario("flush-vs-structures", {
  ...flushVsGuest,
  prose:
    `${flushVsGuest.prose} The processor has paging-structure caches, and may forget any entry at any time: each walk may begin ` +
    "at a table that upper entries referred to when they were cached.",
  machine: { tlbMode: "architectural", tlb: { ...SMALL_MACHINE.tlb, structureEntries: 8 } },
  decides: ["Z41", "Z42"],
  brokenWithout: ["FlushBeforeStartReturns", "FlushWaitsForAck", "RequestBeforeModeCheck"],
});
