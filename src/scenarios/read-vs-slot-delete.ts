import { Outcome } from "../core/layout.generated.js";
import { actor, hostCalls, vcpuCalls } from "../explore/calls.js";
import { scenario } from "../explore/scenario.js";
import { back, GPA, PAGE, warm } from "./ground.js";

const MAPPED = GPA + PAGE;

/** A memslot that is being deleted is no address without memory, as long as its pages are mapped. */
export const readVsSlotDelete = scenario("read-vs-slot-delete", {
  prose:
    "host0 deletes a memslot of two pages; vcpu0 reads the first, which its VM does not map yet, then the second, which it " +
    "does. While it is deleted the slot is marked invalid: a fault that takes this for an address without memory exits for " +
    "MMIO, although the slot's other page can still be read through its SPTE.",
  holds: "Once a read of the slot has ended with an MMIO exit, no other read of it finds memory.",
  decides: ["Z53"],
  brokenWithout: ["InvalidSlotRetries"],
  setup(machine) {
    back(machine, { length: 2n * PAGE });
    warm(machine, 0, MAPPED);
    return {};
  },
  actors: () => [
    actor("vcpu", "vcpu0", 0, [vcpuCalls(0).read(GPA), vcpuCalls(0).read(MAPPED)]),
    actor("host", "host0", 1, [hostCalls(1).deleteMemslot(0)]),
  ],
  judge({ results }) {
    const [first, second] = results.vcpu0!.map((outcome) => (outcome === Outcome.Ok ? "memory" : "mmio"));
    const outcome = `${first}, ${second}`;
    if (first !== "mmio" || second !== "memory") return { outcome };
    return {
      outcome,
      objection: "the first page of the slot was no memory any more, and the second still was",
    };
  },
});
