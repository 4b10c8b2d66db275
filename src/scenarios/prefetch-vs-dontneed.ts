import { actor, hostCalls, vcpuCalls } from "../explore/calls.js";
import { scenario } from "../explore/scenario.js";
import { back, GPA, PAGE, warm } from "./ground.js";

/** The neighbours of a gfn that may be mapped may be in the range that may not. */
export const prefetchVsDontneed = scenario("prefetch-vs-dontneed", {
  prose:
    "host0 drops a page. vcpu0 faults on its neighbour, which no invalidation concerns: the fault passes its check, installs " +
    "the leaf, and maps the pages beside it as far as the host has them. The dropped one is still there until its PTE " +
    "is cleared.",
  holds: "Nothing of the open range is mapped on the way.",
  decides: ["Z16"],
  brokenWithout: ["PrefetchSkipsOpenRange"],
  machine: { prefetch: 2 },
  setup(machine) {
    const hva = back(machine, { length: 2n * PAGE });
    warm(machine, 0, GPA);
    machine.mm.madviseDontneed(hva, 2n * PAGE);
    machine.mm.populate(hva, 2n * PAGE);
    return { hva };
  },
  actors: ({ hva }) => [
    actor("vcpu", "vcpu0", 0, [vcpuCalls(0).write(GPA, 7n)]),
    actor("host", "host0", 1, [hostCalls(1).madviseDontneed(hva + PAGE, PAGE)]),
  ],
});
