import { actor, faultOnce, hostCalls } from "../explore/calls.js";
import { scenario } from "../explore/scenario.js";
import { back, GPA, LARGE, PAGE, warm } from "./ground.js";

const AT = 0x7000_0000_0000n;
const HUGE_GPA = 0x20_0000n;

/** The open question about Linux 5.4: the size is taken from the VMA, before the snapshot. */
export const hugetlbRemap = scenario("host-hugetlb-remap", {
  prose:
    "vcpu0 faults on memory that the VMM has mapped from hugetlb. Meanwhile host0 unmaps it, maps small pages at the same " +
    "address, and touches one. Linux 5.4 takes the size from the VMA before it takes its snapshot, and installs it whatever " +
    "page it finds then.",
  holds: "A large leaf is installed only over what the host maps with a large page.",
  checkers: ["sptes-match-the-host", "huge-leaf-as-the-host"],
  balanced: false,
  decides: ["Z25b"],
  brokenOn: ["v5.3", "v5.4"],
  machine: { frames: 2048, hugePages: true, vmas: 8 },
  setup(machine) {
    back(machine);
    warm(machine, 0, GPA);
    back(machine, { gpa: HUGE_GPA, hva: AT, length: LARGE, pageSize: "hugetlb" });
    // Keeps the tables above: they are not what the race is about.
    machine.mm.mmap(PAGE, { at: AT + LARGE });
    machine.mm.populate(AT + LARGE, PAGE);
    // Keeps the 512 frames from being freed one by one: neither is that.
    machine.direct.pin(AT);
    return {};
  },
  actors: () => [
    actor("vcpu", "vcpu0", 0, faultOnce(0, HUGE_GPA)),
    actor("host", "host0", 1, [
      hostCalls(1).munmap(AT, LARGE),
      hostCalls(1).mmap(AT, LARGE),
      hostCalls(1).touch(AT, PAGE),
    ]),
  ],
});
