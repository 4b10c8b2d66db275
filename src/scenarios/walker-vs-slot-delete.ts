import { actor, hostCalls } from "../explore/calls.js";
import { scenario } from "../explore/scenario.js";
import { back, GPA, warm } from "./ground.js";

/** A walker without a lock is in the tables that are taken out. */
export const walkerVsSlotDelete = scenario("walker-vs-slot-delete", {
  prose:
    "host0 deletes the only memslot: the root is taken apart, and its tables are freed. Meanwhile host1 looks for an SPTE as " +
    "the lockless parts of KVM do: it holds no lock, and descends from table to table in an RCU read section.",
  holds: "No table is freed while somebody may be in it.",
  decides: ["Z49"],
  brokenWithout: ["TableFreeWaitsForRcu"],
  machine: { hostThreads: 2 },
  setup(machine) {
    back(machine);
    warm(machine, 0, GPA);
    return {};
  },
  actors: () => [
    actor("host", "host0", 1, [hostCalls(1).deleteMemslot(0)]),
    actor("host", "host1", 2, [hostCalls(2).leaf(GPA)]),
  ],
});
