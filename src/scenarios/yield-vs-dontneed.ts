import { actor, hostCalls } from "../explore/calls.js";
import { scenario } from "../explore/scenario.js";
import { back, GPA, PAGE, warm } from "./ground.js";

const PAGES = 66n;

/** Whoever is let in half way through a zap may not pay the flush that it owes. */
export const yieldVsDontneed = scenario("yield-vs-dontneed", {
  prose:
    "host0 drops a long range: it zaps the first page and, many entries later, finds that host1 waits for mmu_lock, and lets " +
    "it in. host1 drops the first page as well, finds nothing left to zap, flushes nothing, and frees it.",
  holds: "Whenever mmu_lock is given up, what was zapped is flushed.",
  decides: ["Z47"],
  brokenWithout: [{ rule: "FlushBeforeYield", profiles: ["v5.3", "v5.4", "v6.13", "v6.15"] }],
  machine: { hostThreads: 2 },
  setup(machine) {
    const hva = back(machine, { length: PAGES * PAGE, populated: false });
    machine.mm.populate(hva, PAGE);
    warm(machine, 0, GPA);
    return { hva };
  },
  actors: ({ hva }) => [
    actor("host", "host0", 1, [hostCalls(1).madviseDontneed(hva, PAGES * PAGE)]),
    actor("host", "host1", 2, [hostCalls(2).madviseDontneed(hva, PAGE)]),
  ],
});
