/** Scenarios that ask one thing each: what was claimed in November 2019 about page faults and page references. */

import { FaultResult } from "../core/layout.generated.js";
import { actor, faultCalls, hostCalls, stateCalls } from "../explore/calls.js";
import { scenario, type Scenario } from "../explore/scenario.js";
import { faultVsDontneed } from "./fault-vs-dontneed.js";
import { back, GPA, PAGE, warm } from "./ground.js";
import { vcpuMapVsDontneed } from "./users-vcpu-map.js";

/** Who watches over translations and the pages behind them. */
const TRANSLATIONS = [
  "no-use-after-free",
  "sptes-match-the-host",
  "tlb-covered-by-sptes",
  "flush-paid-before-unlock",
] as const;

/** The founding race, asked about translations alone. */
export const faultTranslations: Scenario = {
  ...(faultVsDontneed as Scenario),
  name: "claim-fault-translations",
  holds: "No translation is stale, and no page is used after it was freed.",
  decides: ["C1", "Z01b"],
  brokenWithout: ["SeqChecked", "CountChecked"],
  checkers: TRANSLATIONS,
};

/** The same race, asked about struct page alone. */
export const faultMetadata: Scenario = {
  ...(faultVsDontneed as Scenario),
  name: "claim-fault-metadata",
  holds: "What the fault reads and marks in struct page is that of a page that somebody holds.",
  decides: ["C1", "Z01b"],
  brokenWithout: [{ rule: "PutAfterInstall", profiles: ["v5.3", "v5.4"] }],
  checkers: ["metadata-of-held-pages"],
};

/** The same race, asked which overlap is missed without a guard of the retry protocol. */
export const retryMatrix: Scenario = {
  ...(faultVsDontneed as Scenario),
  name: "claim-retry-matrix",
  holds: "In whatever order snapshot, check, start and end come, no leaf outlives the page behind it.",
  decides: ["Z14"],
  brokenWithout: [
    { rule: "SeqRaisedInEnd", profiles: ["v5.3", "v5.4"] },
    "CountChecked",
    "SeqChecked",
    "SnapshotBeforeGup",
    "RetryUnderLock",
    "LockHeldToInstall",
  ],
  checkers: [1, 2, 3, 4, 5, 6].map((row) => `overlap-${row}-is-guarded`),
};

/** The retracted claim, as it was made. */
export const referenceVsInvalidation: Scenario = scenario("claim-reference-vs-invalidation", {
  prose:
    "vcpu0 looks a page up, and so holds a reference on it; it reads how many invalidations are open and have ended, then again, " +
    "and only then goes on to the retry check, which puts the page. Meanwhile host0 drops the page. If the reference " +
    "kept invalidations away, the two numbers would be the same.",
  holds: "While a page fault holds its reference, no invalidation of the page begins and ends.",
  decides: ["C1'"],
  brokenOn: ["v5.3", "v5.4", "v6.13", "v6.15"],
  setup(machine) {
    const hva = back(machine, { length: 2n * PAGE });
    warm(machine, 0, GPA + PAGE);
    return { hva };
  },
  actors: ({ hva }) => [
    actor("vcpu", "vcpu0", 0, function* () {
      const fault = faultCalls(0);
      yield fault.begin(GPA);
      yield fault.snapshot();
      const resolved = yield fault.resolve();
      if (resolved === FaultResult.Continue) {
        yield stateCalls.active();
        yield stateCalls.seq();
        yield stateCalls.seq();
        yield fault.commit();
      }
      yield fault.end();
    }),
    actor("host", "host0", 1, [hostCalls(1).madviseDontneed(hva, PAGE)]),
  ],
  judge({ results }) {
    const [, , resolved, open, before, after] = results.vcpu0!;
    if (resolved !== FaultResult.Continue) return { outcome: "retried" };
    if (open !== 0 || before === after) return { outcome: "none meanwhile" };
    return {
      outcome: "gone by",
      objection: `an invalidation began and ended while the fault held its reference: mmu_invalidate_seq went from ${before} to ${after}`,
    };
  },
}) as Scenario;

/** kvm_vcpu_map, asked about the use of its page alone. */
export const mapUse: Scenario = {
  ...(vcpuMapVsDontneed as Scenario),
  name: "claim-map-use",
  holds: "No page is used through a map after it was freed.",
  decides: ["C2", "Z01"],
  brokenWithout: ["VcpuMapHoldsReference"],
  checkers: ["no-use-after-free"],
};
