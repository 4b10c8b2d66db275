import { actor, hostCalls } from "../explore/calls.js";
import { scenario } from "../explore/scenario.js";
import { back, PAGE } from "./ground.js";

/** The two tests that make a page lookup without locks safe. */
export const gupVsReuse = scenario("gup-vs-reuse", {
  prose:
    "host0 looks a page up without a lock (get_user_pages_fast): it reads the PTE, takes a reference, reads the PTE again. " +
    "Meanwhile host1 drops the page and takes a page for something else, which may be the same frame. The count of a free " +
    "page is 0 and may not be raised; that of a page with a new owner may, and the PTE tells.",
  holds: "The lookup returns the page that was mapped, held, or none.",
  brokenWithout: ["GupRechecksPte", "GetUnlessZero"],
  machine: { hostThreads: 2 },
  setup(machine) {
    return { hva: back(machine) };
  },
  actors: ({ hva }) => [
    actor("host", "host0", 1, [hostCalls(1).gupFast(hva)]),
    actor("host", "host1", 2, [hostCalls(2).madviseDontneed(hva, PAGE), hostCalls(2).allocPage()]),
  ],
  balanced: false,
  judge({ results }) {
    const found = results.host0![0]!;
    const taken = results.host1![1]!;
    if (found === 0) return { outcome: "nothing" };
    if (found !== taken) return { outcome: "held" };
    return { outcome: "foreign", objection: `the lookup returned pfn ${found}, which is another owner's` };
  },
});
