import { actor, hostCalls, vcpuCalls } from "../explore/calls.js";
import { scenario } from "../explore/scenario.js";
import { back, GPA, PAGE, warm } from "./ground.js";

const PAGES = 66n;
const SECOND = GPA + PAGES * PAGE;

/** The range of an invalidation is known before its zap lets anybody else have mmu_lock. */
export const twoSlotsZapped = scenario("two-slots-zapped", {
  prose:
    "host0 unmaps memory that two memslots cover. It zaps the second slot, then the first, whose entries are so many that it " +
    "lets vcpu0, which waits for mmu_lock, have it half way. The gfn that vcpu0 faults on was passed already; only " +
    "the range of what is open tells that it must not be mapped.",
  holds: "vcpu0 retries until the invalidation has ended.",
  decides: ["Z16"],
  brokenWithout: ["RangeAddedBeforeZap"],
  profiles: ["v6.13", "v6.15"],
  setup(machine) {
    const hva = back(machine, { length: PAGES * PAGE, populated: false });
    back(machine, { gpa: SECOND, hva: hva + PAGES * PAGE, populated: false });
    machine.mm.populate(hva, PAGE);
    machine.mm.populate(hva + PAGES * PAGE, PAGE);
    warm(machine, 0, GPA, SECOND);
    return { hva };
  },
  actors: ({ hva }) => [
    actor("vcpu", "vcpu0", 0, [vcpuCalls(0).write(GPA, 7n)]),
    actor("host", "host0", 1, [hostCalls(1).munmap(hva, (PAGES + 1n) * PAGE)]),
  ],
});
