import { actor, faultOnce, hostCalls } from "../explore/calls.js";
import { scenario } from "../explore/scenario.js";
import { back, GPA, PAGE } from "./ground.js";

/** The range that a fault is compared with is the union of what is open. */
export const twoInvalidations = scenario("two-invalidations", {
  prose:
    "host0 and host1 drop a page each. vcpu0 faults on that of host0. If the start of the second invalidation overwrote the " +
    "range of the first, the fault would not find its gfn in it.",
  holds: "vcpu0 installs nothing of a range that is open, whoever opened it.",
  decides: ["Z16"],
  brokenWithout: ["RangeOfAllOpen"],
  profiles: ["v6.13", "v6.15"],
  machine: { hostThreads: 2 },
  setup(machine) {
    const hva = back(machine, { length: 2n * PAGE });
    machine.lab!.beginFault(0, GPA).end();
    return { hva };
  },
  actors: ({ hva }) => [
    actor("vcpu", "vcpu0", 0, faultOnce(0, GPA)),
    actor("host", "host0", 1, [hostCalls(1).madviseDontneed(hva, PAGE)]),
    actor("host", "host1", 2, [hostCalls(2).madviseDontneed(hva + PAGE, PAGE)]),
  ],
});
