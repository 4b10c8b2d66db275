import { describe, expect, it } from "vitest";
import { type ProfileName } from "../../src/core/profiles.js";
import { RULES, type RuleName } from "../../src/core/rules.js";
import { explore, type Verdict } from "../../src/explore/explore.js";
import { type Scenario } from "../../src/explore/scenario.js";
import { faultVsDontneed } from "../../src/scenarios/fault-vs-dontneed.js";
import { faultVsSlotDelete } from "../../src/scenarios/fault-vs-slot-delete.js";
import { faultsSideBySide } from "../../src/scenarios/faults-side-by-side.js";
import { flushVsStructures } from "../../src/scenarios/architectural-tlb.js";
import { flushVsGuest } from "../../src/scenarios/flush-vs-guest.js";
import {
  graceVsReader,
  hardwareDirtyFlagVsZap,
  hardwareWalkVsDontneed,
  hardwareWalkVsDontneedForgetful,
  hardwareWalkVsHugeLeaf,
  hardwareWalkVsSlotDelete,
  hardwareWalkVsSlotDeleteForgetful,
} from "../../src/scenarios/hardware-walker.js";
import { hugeLeafOverTable } from "../../src/scenarios/huge-leaf-over-table.js";
import { gupVsReuse } from "../../src/scenarios/gup-vs-reuse.js";
import { SCENARIOS } from "../../src/scenarios/index.js";
import { lookupVsSlotDelete } from "../../src/scenarios/lookup-vs-slot-delete.js";
import { prefetchVsDontneed } from "../../src/scenarios/prefetch-vs-dontneed.js";
import { readVsSlotDelete } from "../../src/scenarios/read-vs-slot-delete.js";
import { slotAddVsDontneed } from "../../src/scenarios/slot-add-vs-dontneed.js";
import { slotDeleteVsDontneed } from "../../src/scenarios/slot-delete-vs-dontneed.js";
import { twoInvalidations } from "../../src/scenarios/two-invalidations.js";
import { twoSlotsZapped } from "../../src/scenarios/two-slots-zapped.js";
import { walkerVsSlotDelete } from "../../src/scenarios/walker-vs-slot-delete.js";
import { yieldVsDontneed } from "../../src/scenarios/yield-vs-dontneed.js";
import { zapVsDirtyFlag } from "../../src/scenarios/zap-vs-dirty-flag.js";
import { overlapOf, retryOverlaps } from "../../src/invariants/retry-overlaps.js";
import { retryMatrix } from "../../src/scenarios/claims-of-2019.js";
import { brokenWithout } from "../../src/verify/options.js";
import { actor, faultOnce } from "../../src/explore/calls.js";

/** Two faults in a region of small pages that is one large page by now: the first takes the table out. */
const faultsOverTable: Scenario<object> = {
  ...hugeLeafOverTable,
  name: "faults-over-table",
  machine: { ...hugeLeafOverTable.machine, vcpus: 2 },
  actors: () => [
    actor("vcpu", "vcpu0", 0, faultOnce(0, 0x20_0000n)),
    actor("vcpu", "vcpu1", 1, faultOnce(1, 0x20_1000n)),
  ],
};

function run(scenario: object, profile: ProfileName, ...without: RuleName[]): Verdict {
  // What the protocol comes to; data races of the core have their own tests.
  return explore(scenario as Scenario, { profile, without, shorten: false, races: false, maxTime: 60_000 });
}

/** What an exploration came to: its outcomes, or who objected. */
function cameTo(verdict: Verdict): string {
  if (verdict.verdict === "holds") return Object.keys(verdict.outcomes).join(" | ");
  return verdict.violations[0]?.name ?? verdict.verdict;
}

const OLD: readonly ProfileName[] = ["v5.3", "v5.4"];
const NEW: readonly ProfileName[] = ["v6.13", "v6.15"];
const ALL: readonly ProfileName[] = [...OLD, ...NEW];

/** Scenarios, the outcomes that they have with all rules, and where they are explored here. */
const HOLDING: readonly (readonly [scenario: object, outcomes: string, profiles: readonly ProfileName[]])[] =
  [
    [faultVsDontneed, "done", ALL],
    [faultVsSlotDelete, "done", ALL],
    [faultsSideBySide, "dirty", ALL],
    [flushVsGuest, "done", ALL],
    [flushVsStructures, "done", ["v6.13"]],
    [graceVsReader, "done", ["v6.13"]],
    [gupVsReuse, "held | nothing", ALL],
    [hardwareDirtyFlagVsZap, "done", ["v5.3", "v6.13"]],
    [hardwareWalkVsDontneed, "done", ["v5.3", "v6.13"]],
    [hardwareWalkVsDontneedForgetful, "done", ["v6.13"]],
    [hardwareWalkVsHugeLeaf, "done", ["v5.3", "v6.13"]],
    [hardwareWalkVsSlotDelete, "done", ["v6.13"]],
    [hardwareWalkVsSlotDeleteForgetful, "done", ["v6.13"]],
    [lookupVsSlotDelete, "found | mmio | retry", ALL],
    [prefetchVsDontneed, "done", ALL],
    [readVsSlotDelete, "memory, memory | memory, mmio | mmio, mmio", ["v6.13"]],
    [slotAddVsDontneed, "done", ALL],
    [slotDeleteVsDontneed, "done", ["v5.4", "v6.13"]],
    [twoInvalidations, "done", ["v6.13"]],
    [twoSlotsZapped, "done", NEW],
    [walkerVsSlotDelete, "done", ALL],
    [yieldVsDontneed, "done", ALL],
    [zapVsDirtyFlag, "done", ALL],
  ];

describe("scenarios of faults and invalidations", () => {
  it.each(
    HOLDING.flatMap(([scenario, outcomes, profiles]) =>
      profiles.map((profile) => [(scenario as Scenario).name, profile, outcomes, scenario] as const),
    ),
  )("%s holds on %s: %s", (_name, profile, outcomes, scenario) => {
    expect(cameTo(run(scenario, profile))).toBe(outcomes);
  });

  it.each(
    HOLDING.flatMap(([scenario]) =>
      brokenWithout(scenario as Scenario).flatMap(({ rule, profiles }) =>
        profiles
          .filter((profile) => profile === "v5.4" || profile === "v6.13")
          .map((profile) => [(scenario as Scenario).name, profile, rule, scenario] as const),
      ),
    ),
  )("%s is violated on %s without %s", (_name, profile, rule, scenario) => {
    expect(run(scenario, profile, rule).verdict).toBe("violated");
  });

  it("are listed by name", () => {
    const names = SCENARIOS.map(({ name }) => name);
    expect(names).toEqual(names.toSorted());
    for (const [scenario] of HOLDING) expect(names).toContain((scenario as Scenario).name);
  });
});

describe("the retry matrix", () => {
  // docs/protocol.md: without each guard exactly these overlaps are missed, and all others stay whole.
  const FORESEEN = [
    ["SeqRaisedInEnd", [2]],
    ["CountChecked", [3, 5]],
    ["SeqChecked", [2, 4]],
    ["SnapshotBeforeGup", [2, 4]],
    ["RetryUnderLock", [6]],
    ["LockHeldToInstall", [6]],
  ] as const;
  const missed = (profile: ProfileName, ...without: RuleName[]): readonly (number | undefined)[] => {
    const { violations } = explore(retryMatrix, { profile, without, all: true, shorten: false });
    return violations.map(({ name }) => overlapOf(name)).sort();
  };
  it.each(["v5.4", "v6.13"] as const)("%s: with all guards nothing is missed", (profile) => {
    expect(missed(profile)).toEqual([]);
  });
  it.each(FORESEEN)("v5.4 without %s: overlaps %j", (rule, rows) => {
    expect(missed("v5.4", rule)).toEqual(rows);
  });
  // Later kernels look at the count before the page lookup as well: a fault that finds it raised does not begin.
  it.each(FORESEEN)("v6.13 without %s: overlaps %j without 2", (rule, rows) => {
    expect(missed("v6.13", rule)).toEqual(rows.filter((row) => row !== 2));
  });
  it("the checkers say the same of their rules", () => {
    for (const [rule, rows] of FORESEEN) {
      const mine = retryOverlaps.filter(({ brokenWithout: rules }) => rules.includes(rule));
      expect(mine.map(({ name }) => overlapOf(name))).toEqual(rows);
    }
    expect(retryMatrix.checkers).toEqual(retryOverlaps.map(({ name }) => name));
  });
  it("what is missed is a leaf that another checker objects to as well", () => {
    for (const [rule] of FORESEEN) {
      const { verdict, violations } = run(faultVsDontneed, "v5.4", rule);
      expect(verdict).toBe("violated");
      expect(violations[0]!.name).toBe("sptes-match-the-host");
    }
  });
});

it("nothing is installed in a table that another fault has replaced, frozen or not", () => {
  // Faults that hold the lock together find the same size of the host's mapping, as no invalidation can begin between them:
  // neither descends into the table that the other takes out.
  expect(run(faultsOverTable, "v6.13", "RemovedTableFrozen").verdict).toBe("holds");
});

it("every rule of the fault and invalidate protocol is accounted for", () => {
  const named = new Set(SCENARIOS.flatMap((scenario) => brokenWithout(scenario).map(({ rule }) => rule)));
  const missing = RULES.filter(({ number, name }) => number <= 33 && !named.has(name)).map(
    ({ name }) => name,
  );
  expect(missing).toEqual(["SeqBeforeCount", "RemovedTableFrozen", "ReloadRequestedWithInvalidation"]);
});
