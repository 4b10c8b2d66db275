import { actor, faultOnce, hostCalls } from "../explore/calls.js";
import { scenario } from "../explore/scenario.js";
import { back, LARGE } from "./ground.js";

const AT = 0x7000_0000_0000n;
const GPA = 0x20_0000n;

/** A large page that is small ones when the fault installs it. */
export const faultVsSplit = scenario("fault-vs-split", {
  prose:
    "vcpu0 faults on memory that the host maps with a large page. Meanwhile host0 splits the page into small ones, which " +
    "from then on may be dropped and replaced one by one. A fault that had read the size of the mapping before its " +
    "snapshot would find nothing changed since, and map 2 MiB.",
  holds: "A large leaf is installed only over what the host maps with a large page.",
  decides: ["Z25"],
  brokenWithout: ["HostLevelAfterCheck"],
  profiles: ["v6.13"],
  machine: { frames: 2048, hugePages: true, vmas: 8 },
  setup(machine) {
    back(machine, { gpa: GPA, hva: AT, length: LARGE, pageSize: "2m" });
    // The root and the tables that the fault will link: their zeroing is not part of the race.
    machine.lab!.beginFault(0, GPA).end();
    return {};
  },
  actors: () => [
    actor("vcpu", "vcpu0", 0, faultOnce(0, GPA)),
    actor("host", "host0", 1, [hostCalls(1).splitPage(AT)]),
  ],
});
