import { SPTE_D } from "../core/layout.generated.js";
import { actor, faultOnce, vcpuCalls } from "../explore/calls.js";
import { scenario } from "../explore/scenario.js";
import { back, GPA, PAGE, warm } from "./ground.js";

/** Two faults on one gfn hold mmu_lock for read together. */
export const faultsSideBySide = scenario("faults-side-by-side", {
  prose:
    "vcpu0 writes, and vcpu1 faults for a read, on a page that is not mapped. Both hold mmu_lock for read when they install: " +
    "a plain store of vcpu1 would undo the leaf that vcpu0 has installed and written through, and with it the dirty flag.",
  holds: "After vcpu0's write the leaf has its dirty flag.",
  decides: ["Z50"],
  brokenWithout: ["InstallCompares"],
  machine: { vcpus: 2 },
  setup(machine) {
    const hva = back(machine);
    warm(machine, 0, GPA);
    warm(machine, 1, GPA);
    machine.mm.madviseDontneed(hva, PAGE);
    machine.mm.populate(hva, PAGE);
    return {};
  },
  actors: () => [
    actor("vcpu", "vcpu0", 0, [vcpuCalls(0).write(GPA, 7n)]),
    actor("vcpu", "vcpu1", 1, faultOnce(1, GPA, false)),
  ],
  judge({ machine }) {
    const leaf = machine.secondaryLeaf(GPA);
    if (leaf !== null && (leaf.spte & SPTE_D) !== 0n) return { outcome: "dirty" };
    return { outcome: "clean", objection: "vcpu0 has written to the page, and its leaf is not dirty" };
  },
});
