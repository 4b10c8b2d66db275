import { actor, faultOnce, hostCalls } from "../explore/calls.js";
import { scenario } from "../explore/scenario.js";
import { back, GPA, PAGE } from "./ground.js";

const OTHER = GPA + PAGE;

/** Deleting one memslot makes the roots obsolete under the faults of all. */
export const faultVsSlotDelete = scenario("fault-vs-slot-delete", {
  prose:
    "vcpu0 faults on memory of one memslot while host0 deletes the other: the roots become obsolete, are taken apart and " +
    "freed. A fault that has looked its slot up, and goes on to install in a root that was taken apart, leaves a leaf that " +
    "no notifier will find.",
  holds: "Nothing is installed under an obsolete root.",
  decides: ["Z44"],
  brokenWithout: ["ObsoleteRootChecked"],
  setup(machine) {
    back(machine);
    back(machine, { gpa: OTHER });
    // A root without tables: there is little to take apart.
    machine.lab!.beginFault(0, OTHER).end();
    return {};
  },
  actors: () => [
    actor("vcpu", "vcpu0", 0, faultOnce(0, OTHER)),
    actor("host", "host0", 1, [hostCalls(1).deleteMemslot(0)]),
  ],
});
