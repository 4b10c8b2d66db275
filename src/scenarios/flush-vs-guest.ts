import { actor, hostCalls, vcpuCalls } from "../explore/calls.js";
import { scenario } from "../explore/scenario.js";
import { back, GPA, PAGE, warm } from "./ground.js";

/** The Dekker pair of the remote flush: the request and the vCPU's mode. */
export const flushVsGuest = scenario("flush-vs-guest", {
  prose:
    "vcpu0 has a page in its TLB and writes to it: it enters guest mode, looks at its requests, and uses the entry. " +
    "Meanwhile host0 drops the page: it zaps the SPTE, requests a flush, looks whether vcpu0 is in guest mode, waits until " +
    "it has left, and frees the page. Then it stores to the same address, which takes a new page: likely the same frame.",
  holds: "The guest's write lands in the page that it was made for.",
  decides: ["Z41", "Z42"],
  brokenWithout: ["FlushBeforeStartReturns", "FlushWaitsForAck", "RequestBeforeModeCheck"],
  setup(machine) {
    const hva = back(machine);
    warm(machine, 0, GPA);
    return { hva };
  },
  actors: ({ hva }) => [
    actor("vcpu", "vcpu0", 0, [vcpuCalls(0).write(GPA, 7n)]),
    actor("host", "host0", 1, [hostCalls(1).madviseDontneed(hva, PAGE), hostCalls(1).store(hva, 9n)]),
  ],
});
