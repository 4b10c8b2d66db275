import { actor, hostCalls } from "../explore/calls.js";
import { scenario } from "../explore/scenario.js";
import { GPA, PAGE } from "./ground.js";

/** The start and the end of an invalidation have to see the same memslots: one appears. */
export const slotAddVsDontneed = scenario("slot-add-vs-dontneed", {
  prose:
    "host0 drops a page that no memslot covers, so that its start counts nothing. Before its end, host1 makes a memslot of " +
    "the page: the end finds it, and lowers a count that was not raised.",
  holds: "mmu_invalidate_in_progress never falls below 0, and is 0 when nobody invalidates.",
  decides: ["Z15"],
  brokenWithout: ["UpdaterWaitsForInvalidations"],
  machine: { hostThreads: 2 },
  setup(machine) {
    const hva = machine.mm.mmap(PAGE);
    machine.mm.populate(hva, PAGE);
    return { hva };
  },
  actors: ({ hva }) => [
    actor("host", "host0", 1, [hostCalls(1).madviseDontneed(hva, PAGE)]),
    actor("host", "host1", 2, [hostCalls(2).addMemslot(0, GPA, PAGE, hva)]),
  ],
});
