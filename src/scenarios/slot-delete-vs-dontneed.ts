import { actor, hostCalls } from "../explore/calls.js";
import { scenario } from "../explore/scenario.js";
import { back, GPA, PAGE, warm } from "./ground.js";

/** A notifier has to reach the roots that are being taken apart. */
export const slotDeleteVsDontneed = scenario("slot-delete-vs-dontneed", {
  prose:
    "host0 deletes a memslot: the root becomes obsolete at once and is taken apart after that, mmu_lock being given up " +
    "between. In that time host1 drops a page that the obsolete root still maps. And the start and the end of that " +
    "invalidation have to see the same memslots: if the slot is gone at the end, the count that start raised stays raised.",
  holds:
    "No root, obsolete or not, maps the page once start has returned, and what start has counted end counts back.",
  decides: ["Z15", "Z45"],
  brokenWithout: [
    { rule: "ZapInvalidRoots", profiles: ["v5.3", "v5.4", "v6.13", "v6.15"] },
    "UpdaterWaitsForInvalidations",
  ],
  machine: { hostThreads: 2 },
  setup(machine) {
    const hva = back(machine);
    warm(machine, 0, GPA);
    return { hva };
  },
  actors: ({ hva }) => [
    actor("host", "host0", 1, [hostCalls(1).deleteMemslot(0)]),
    actor("host", "host1", 2, [hostCalls(2).madviseDontneed(hva, PAGE)]),
  ],
});
