import { actor, hostCalls, vcpuCalls } from "../explore/calls.js";
import { scenario } from "../explore/scenario.js";
import { back, GPA, PAGE, warm } from "./ground.js";

const NEIGHBOUR = GPA + PAGE;

/** The processor sets the dirty flag of an SPTE whenever it likes. */
export const zapVsDirtyFlag = scenario("zap-vs-dirty-flag", {
  prose:
    "A page was mapped beside another one that faulted: nobody has written to it, and its struct page is clean. vcpu0 writes " +
    "to it, and the processor sets the dirty flag in the SPTE. Meanwhile host0 drops the page: a zap that reads the SPTE and " +
    "then stores over it loses a flag that was set in between, and with it the news that the page was written to.",
  holds: "A page that was stored to is marked dirty before it is freed.",
  decides: ["Z50"],
  brokenWithout: ["ZapExchanges"],
  machine: { prefetch: 2 },
  setup(machine) {
    const hva = back(machine, { length: 2n * PAGE });
    warm(machine, 0, GPA);
    return { hva };
  },
  actors: ({ hva }) => [
    actor("vcpu", "vcpu0", 0, [vcpuCalls(0).write(NEIGHBOUR, 7n)]),
    actor("host", "host0", 1, [hostCalls(1).madviseDontneed(hva + PAGE, PAGE)]),
  ],
});
