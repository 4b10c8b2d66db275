import { FaultResult } from "../core/layout.generated.js";
import { actor, faultOnce, hostCalls } from "../explore/calls.js";
import { scenario } from "../explore/scenario.js";
import { back, GPA, PAGE } from "./ground.js";

const FIRST = 0x7000_0000_0000n;
const SECOND = 0x7000_1000_0000n;

/** There are two arrays of memslots, and the updater writes to the one that was in force before. */
export const lookupVsSlotDelete = scenario("lookup-vs-slot-delete", {
  prose:
    "vcpu0 faults on the memslot that host0 deletes. The deletion publishes the array twice: with the slot marked invalid, " +
    "then without it, and the second time it is the array of the beginning, rewritten. A fault that still reads its row " +
    "there finds another slot's base and address in it.",
  holds: "The address that the fault looks up is one of its slot's.",
  decides: ["Z44"],
  brokenWithout: ["UpdaterSynchronizes"],
  setup(machine) {
    back(machine, { hva: FIRST });
    back(machine, { gpa: GPA + PAGE, hva: SECOND });
    machine.lab!.beginFault(0, GPA).end();
    return {};
  },
  actors: () => [
    actor("vcpu", "vcpu0", 0, faultOnce(0, GPA)),
    actor("host", "host0", 1, [hostCalls(1).deleteMemslot(0)]),
  ],
  judge({ results }) {
    const found = results.vcpu0![2];
    if (found === FaultResult.Continue) return { outcome: "found" };
    if (found !== FaultResult.HostFault) return { outcome: found === FaultResult.Mmio ? "mmio" : "retry" };
    return { outcome: "torn", objection: "the fault looked up an address where nothing was ever mapped" };
  },
});
