// What the tables of real counterexamples tell: the accesses that a kernel engineer looks for, in their order, and not much else.
import { describe, expect, test } from "vitest";
import { type RuleName } from "../../src/core/rules.js";
import { explore } from "../../src/explore/explore.js";
import { type Scenario } from "../../src/explore/scenario.js";
import { type Trace } from "../../src/explore/trace.js";
import { raceTurns } from "../../src/report/race-lines.js";
import { raceState, stateAt } from "../../src/report/race-state.js";
import { SCENARIOS } from "../../src/scenarios/index.js";

function counterexample(name: string, ...without: RuleName[]): Trace {
  const scenario = SCENARIOS.find((known) => known.name === name) as Scenario;
  return explore(scenario, { without }).violations[0]!.trace;
}

/** Lines of the table: `vcpu0: kvm.mmu_invalidate_seq = 0`. */
function linesOf(trace: Trace): string[] {
  return raceTurns(trace).flatMap(({ actor, lines }) =>
    lines.map(({ text }) => `${trace.actors[actor]!.name}: ${text}`),
  );
}

/** The wanted lines in their order, as far as they are there: others may stand between them. */
function found(lines: readonly string[], wanted: readonly string[]): string[] {
  let from = 0;
  return wanted.filter((text) => {
    const at = lines.indexOf(text, from);
    if (at >= 0) from = at + 1;
    return at >= 0;
  });
}

const GUP = ["vcpu0: pte[hva 0x100000000000 4K] = pfn 3 RW- AD", "vcpu0: page[3].refcount 1 -> 2"];
const SNAPSHOT = "vcpu0: kvm.mmu_invalidate_seq = 0";
const COUNT = "vcpu0: kvm.mmu_invalidate_in_progress = 0";
const OPEN = "host0: kvm.mmu_invalidate_in_progress 0 -> 1";
const ZAPS_NOTHING = "host0: spte[gfn 0x0 512G] = none";
const LOCKED = "vcpu0: takes kvm.mmu_lock (read)";
const INSTALLED = "vcpu0: spte[gfn 0x10 4K] none -> pfn 3 RWX AD";
const UNMAPS = [
  "host0: pte[hva 0x100000000000 4K] pfn 3 RW- AD -> none",
  "host0: host TLB flushed",
  "host0: page[3].refcount 2 -> 1",
  "host0: kvm.mmu_invalidate_seq 0 -> 1",
  "host0: kvm.mmu_invalidate_in_progress 1 -> 0",
];

describe("the table of fault-vs-dontneed", () => {
  test.each<[RuleName, string[]]>([
    ["RetryUnderLock", [SNAPSHOT, COUNT, SNAPSHOT, ...GUP, OPEN, ZAPS_NOTHING, SNAPSHOT, LOCKED, INSTALLED]],
    ["CountChecked", [OPEN, SNAPSHOT, ...GUP, LOCKED, SNAPSHOT, INSTALLED]],
    ["SeqChecked", [SNAPSHOT, ...GUP, OPEN, ZAPS_NOTHING, ...UNMAPS, COUNT, LOCKED, COUNT, INSTALLED]],
    [
      "SnapshotBeforeGup",
      [...GUP, OPEN, ...UNMAPS, "vcpu0: kvm.mmu_invalidate_seq = 1", LOCKED, COUNT, INSTALLED],
    ],
    ["LockHeldToInstall", [SNAPSHOT, ...GUP, LOCKED, COUNT, SNAPSHOT, OPEN, ZAPS_NOTHING, INSTALLED]],
  ])("without %s", (rule, wanted) => {
    const trace = counterexample("fault-vs-dontneed", rule);
    const lines = linesOf(trace);
    expect(found(lines, wanted)).toEqual(wanted);
    expect(lines.at(-1)).toBe(INSTALLED);
    expect(lines.filter((line) => /zone\.|\.pool\.|stats|bytes filled|handed out/.test(line))).toEqual([]);
    expect(lines.length).toBeLessThan(trace.accesses.length / 10);
    // The page's panel follows: the leaf is there at the end.
    const row = (name: string) => raceState(trace).find((known) => known.name === name)!;
    expect(stateAt(row("gfn 0x10"), trace.accesses.length)).toBe("pfn 3 RWX AD");
    expect(stateAt(row("page 3"), 0)).toMatch(/^1 held/);
  });
});

test("claim-reference-vs-invalidation: snapshot, reference, the whole invalidation, put", () => {
  const wanted = [SNAPSHOT, ...GUP, OPEN, ...UNMAPS, "vcpu0: page[3].refcount 1 -> 0: freed"];
  expect(found(linesOf(counterexample("claim-reference-vs-invalidation")), wanted)).toEqual(wanted);
});

test("claim-map-use: the free of the page, and the store that comes after it", () => {
  const lines = linesOf(counterexample("claim-map-use", "VcpuMapHoldsReference"));
  const wanted = [
    ...GUP,
    "vcpu0: page[3].refcount 2 -> 1",
    "host0: pte[hva 0x100000000000 4K] pfn 3 RW- AD -> none",
    "host0: page[3].refcount 1 -> 0: freed",
    "vcpu0: frame 3+0x0 0x0 -> 0x7",
    "vcpu0: vcpu0 through its map stores to pfn 3+0x0",
  ];
  expect(found(lines, wanted)).toEqual(wanted);
});

test("a freed table: who is in a read section, the unlinking and the free", () => {
  const lines = linesOf(counterexample("walker-vs-slot-delete", "TableFreeWaitsForRcu"));
  const wanted = [
    "host1: rcu_read_lock",
    "host0: spte[gfn 0x0 2M] table 66 -> frozen",
    "host0: table pfn 66 given back",
  ];
  expect(found(lines, wanted)).toEqual(wanted);
});

test("a table of 512 entries that are frozen is not told entry by entry", () => {
  const lines = linesOf(counterexample("huge-leaf-over-table", "FlushOnTableReplaced"));
  expect(lines.length).toBeLessThan(30);
  expect(lines).toContain("vcpu0: spte[gfn 0x200 2M] table 66 -> pfn 512 RWX AD");
});

test("pfn caches: their words have names, and the lock that orders them is told", () => {
  const lines = linesOf(counterexample("users-cache-use-vs-dontneed", "GpcHeldWhileUsed"));
  const wanted = [
    "vcpu0: takes gpc[0].lock (read)",
    "vcpu0: gpc[0].valid = 1",
    "vcpu0: gpc0 stores to pfn 3+0x0",
    "host0: takes gpc[0].lock (write)",
    "host0: gpc[0].valid 1 -> 0",
    "host0: pte[hva 0x100000000000 4K] pfn 3 RW- AD -> none",
    "host0: page[3].refcount 1 -> 0: freed",
  ];
  expect(found(lines, wanted)).toEqual(wanted);
  expect(lines.filter((line) => line.includes("kvm+0x"))).toEqual([]);
});

describe("under a memory model", () => {
  test("tso: a store in its buffer is said to be there, and others do not see it", () => {
    const lines = linesOf(counterexample("flush-vs-guest-tso", "EntryBarrier"));
    const wanted = [
      "vcpu0: vcpu0.mode OutsideGuest -> InGuest (into the store buffer)",
      "vcpu0: vcpu0 enters guest mode",
      "vcpu0: vcpu0.requests = none",
      "host0: vcpu0.requests + TlbFlush",
      "host0: vcpu0.mode = OutsideGuest (compare fails)",
      "host0: page[3].refcount 1 -> 0: freed",
      "vcpu0: frame 3+0x0 0x1 -> 0x7",
    ];
    expect(found(lines, wanted)).toEqual(wanted);
  });

  test("weak: a late read says so, and what memory has; a store that nobody could tell from one at once is one line", () => {
    const lines = linesOf(counterexample("users-cache-refresh-weak", "SeqCountBarriers"));
    const wanted = [
      "host0: kvm.mmu_invalidate_seq 1 -> 2",
      "host0: kvm.mn_active_invalidate_count 1 -> 0",
      "vcpu0: kvm.mn_active_invalidate_count = 0",
      "vcpu0: kvm.mmu_invalidate_seq = 1 (read late: memory has 2)",
    ];
    expect(found(lines, wanted)).toEqual(wanted);
    expect(lines.filter((line) => line.includes("mmu_invalidate_seq 1 -> 2"))).toHaveLength(1);
  });

  test("what reaches memory late has the place of its store, and is told once", () => {
    const { accesses } = counterexample("fault-vs-dontneed-weak", "SeqChecked");
    const drained = accesses.flatMap(({ passage }, index) => (passage === "drained" ? [index] : []));
    expect(drained.length).toBeGreaterThan(0);
    for (const index of drained) {
      const { actor, address, site, after } = accesses[index]!;
      const store = accesses.findLastIndex(
        (access, i) => i < index && access.address === address && access.passage === "buffered",
      );
      expect(accesses[store]).toMatchObject({ actor, site, after });
      const between = accesses.slice(store + 1, index);
      expect(between.some((access) => access.actor !== actor)).toBe(true);
      expect(between.filter((access) => access.address === address && access.passage === "drained")).toEqual(
        [],
      );
    }
  });
});
