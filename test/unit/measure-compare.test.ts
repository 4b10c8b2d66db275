// The document of results: what is written can be read, and two of them can be compared.
import { describe, expect, test } from "vitest";
import { STAT_COUNT, Stat } from "../../src/core/layout.generated.js";
import { compareDocuments, requireComparable, verdictOf } from "../../src/measure/compare.js";
import { LiveView } from "../../src/measure/live.js";
import { planBench } from "../../src/measure/options.js";
import {
  configFromJson,
  configToJson,
  parseBenchDocument,
  type BenchDocument,
  type BenchRow,
  type TraceJson,
} from "../../src/measure/results.js";
import { BenchTable, benchClosing, comparisonLines, traceLines } from "../../src/measure/bench-text.js";
import type { ActorPlan, ActorReport } from "../../src/workers/index.js";

const PLAN = planBench({ question: "cycle,hit", vcpus: "1,2", invalidate: "0,max" }, 2);

function row(index: number, samples: readonly number[], change: Partial<BenchRow> = {}): BenchRow {
  const sorted = [...samples].sort((a, b) => a - b);
  return {
    config: configToJson(PLAN.rows[index]!),
    status: "complete",
    operation: "access",
    rate_per_s: { samples, median: sorted[sorted.length >> 1] ?? null, spread: 0.01 },
    operation_ns: 1000,
    invalidations_per_s: 0,
    latency_ns: { count: 10, p50: 800, p90: 900, p99: 1000, p99_9: 2000, max: 5000 },
    counts: Object.fromEntries(["operations", "accesses", "tlb_hits"].map((name) => [name, 5])) as never,
    pages: 1,
    frames: 2,
    frames_leaked: 0,
    elapsed_ms: 3,
    problems: [],
    ...change,
  };
}

function document(rows: readonly BenchRow[], change: Partial<BenchDocument> = {}): BenchDocument {
  return {
    schema: "guestmmu-bench/1",
    guestmmu: "0.1.0",
    abi: 1,
    started: "2026-01-01T00:00:00.000Z",
    command: ["bench", "--question", "cycle"],
    seed: 1,
    matrix: "chosen",
    complete: true,
    machine: { cpu: "a", cores: 2, memory_bytes: 1, platform: "p", node: "v20.0.0", v8: "11.3", load: 0 },
    timer: { reading_ns: 50, call_ns: 20, step_ns: 1 },
    notes: [],
    trace: null,
    rows,
    ...change,
  };
}

const around = (centre: number): number[] =>
  [0.98, 0.99, 0.995, 1, 1, 1.005, 1.01, 1.02].map((f) => f * centre);

const TRACE: TraceJson = {
  path: "x.lackey",
  compression: "none",
  lines: { total: 1, fetch: 1, load: 0, store: 0, modify: 0, skipped: 0, malformed: 0 },
  records: { total: 1, read: 0, write: 0, fetch: 1, readModifyWrite: 0 },
  splitLines: 0,
  malformed: [],
  pages: 1,
  complete: true,
  records_sha256: "one",
};

describe("the document", () => {
  test("survives JSON, with a rate of max", () => {
    const before = document(PLAN.rows.map((_, i) => row(i, around(100))));
    const after = parseBenchDocument(JSON.stringify(before), "x.json");
    expect(after).toEqual(before);
    expect(after.rows.map(({ config }) => configFromJson(config))).toEqual(PLAN.rows);
    expect(after.rows[1]!.config.invalidate).toBe("max");
  });

  test.each([
    ["nonsense", /x.json: not JSON/],
    ["[]", /not a result of guestmmu bench/],
    [
      '{"schema":"guestmmu-bench/2","rows":[]}',
      /its schema is guestmmu-bench\/2, and this version reads guestmmu-bench\/1/,
    ],
    ['{"schema":"guestmmu-bench/1"}', /has no rows/],
    ['{"schema":"guestmmu-bench/1","rows":[{"config":{}}]}', /row 0 is not one/],
  ])("%s is refused", (text, message) => {
    expect(() => parseBenchDocument(text, "x.json")).toThrow(message);
  });
});

describe("a comparison", () => {
  const compare = (before: readonly number[], after: readonly number[], threshold: number | null = null) =>
    compareDocuments(document([row(0, before)]), document([row(0, after)]), threshold).rows[0]!;

  test("shows a change that is larger than the noise", () => {
    expect(compare(around(100), around(80)).comparison.verdict).toBe("slower");
    expect(compare(around(100), around(125)).comparison.verdict).toBe("faster");
    expect(compare(around(100), around(100.5)).comparison.verdict).toBe("no difference shown");
  });

  test("misses a threshold only if the whole interval is below", () => {
    expect(compare(around(100), around(80), 0.9).belowThreshold).toBe(true);
    expect(compare(around(100), around(95), 0.9).belowThreshold).toBe(false);
    const noisy = [40, 60, 80, 100, 120, 140, 160, 180];
    expect(
      compare(
        noisy,
        noisy.map((rate) => rate * 0.85),
        0.9,
      ).belowThreshold,
    ).toBe(false);
  });

  test("of too few samples shows nothing, and says so", () => {
    const result = compareDocuments(document([row(0, [100, 101])]), document([row(0, [10, 11])]), 0.9);
    expect(result.rows[0]!.comparison.verdict).toBe("no difference shown");
    expect(result.rows[0]!.belowThreshold).toBe(false);
    expect(result.warnings.join()).toMatch(/fewer than 5 samples/);
  });

  test("leaves out what only one side has measured in full", () => {
    const before = document([row(0, around(1)), row(1, around(1)), row(2, around(1), { status: "partial" })]);
    const after = document([row(0, around(1)), row(2, around(1)), row(3, around(1))]);
    const result = compareDocuments(before, after, null);
    expect(result.rows.map(({ config }) => configFromJson(config))).toEqual([PLAN.rows[0]]);
    expect(result).toMatchObject({ onlyHere: 1, onlyThere: 1, undecided: 1 });
  });

  test("warns where the machines differ", () => {
    const other = { cpu: "b", cores: 4, memory_bytes: 1, platform: "p", node: "v22.0.0", v8: "12", load: 0 };
    const { warnings } = compareDocuments(
      document([row(0, around(1))], { machine: other }),
      document([row(0, around(1))]),
      null,
    );
    expect(warnings).toHaveLength(3);
  });

  test("is refused before anything is measured if no row can match", () => {
    const earlier = document([row(0, around(1))]);
    expect(() => requireComparable(PLAN.rows, null, earlier, "x.json")).not.toThrow();
    expect(() => requireComparable([PLAN.rows[3]!], null, earlier, "x.json")).toThrow(
      /no row that this run would measure/,
    );
  });

  test("is refused as well if the rows that match were never measured in full", () => {
    const earlier = document([row(0, around(1), { status: "partial" })]);
    expect(() => requireComparable(PLAN.rows, null, earlier, "x.json")).toThrow(/was interrupted before/);
  });

  test("of runs that were driven by different traces is refused", () => {
    const plan = planBench({ trace: "x", vcpus: "1", invalidate: "0" }, 2);
    const traced = row(0, around(1), { config: configToJson(plan.rows[0]!) });
    const earlier = document([traced], { trace: TRACE });
    expect(() => requireComparable(plan.rows, TRACE.records_sha256, earlier, "x.json")).not.toThrow();
    expect(() => requireComparable(plan.rows, "another", earlier, "x.json")).toThrow(/another trace/);
    const now = document([traced], { trace: { ...TRACE, records_sha256: "another" } });
    expect(compareDocuments(earlier, now, null)).toMatchObject({ rows: [], onlyHere: 1, onlyThere: 1 });
    expect(compareDocuments(earlier, earlier, null).rows).toHaveLength(1);
  });

  test("notes different seeds", () => {
    const [before, now] = [document([row(0, around(1))]), document([row(0, around(1))], { seed: 2 })];
    expect(compareDocuments(before, now, null).warnings).toEqual(["Another seed: 1 then, 2 now."]);
  });

  test.each<[string, BenchRow[], BenchRow[], string]>([
    ["rows that hold", [row(0, around(1))], [row(0, around(1))], "held"],
    ["no row of both", [row(0, around(1))], [row(1, around(1))], "inconclusive"],
    ["a partial row", [row(0, around(1))], [row(0, around(1), { status: "partial" })], "inconclusive"],
    ["a row that stood still", [row(0, around(1))], [row(0, [])], "inconclusive"],
    ["too few samples", [row(0, [1, 1, 1])], [row(0, [1, 1, 1])], "inconclusive"],
    [
      "one that holds and one that cannot be said",
      [row(0, around(1)), row(1, around(1))],
      [row(0, around(1)), row(1, [])],
      "inconclusive",
    ],
    [
      "one that is below, whatever the others",
      [row(0, around(2)), row(1, around(1))],
      [row(0, around(1)), row(1, [])],
      "missed",
    ],
  ])("has a verdict on its threshold: %s", (_, before, now, expected) => {
    const comparison = compareDocuments(document(before), document(now), 0.9);
    expect(verdictOf(comparison)).toBe(expected);
    const words = { held: /no row is shown to be below/, missed: /^MISSED/m, inconclusive: /^INCONCLUSIVE/m };
    expect(comparisonLines(comparison, "x.json")).toMatch(words[expected as keyof typeof words]);
  });

  test("prints a line a row, and the verdict of the threshold", () => {
    const text = comparisonLines(
      compareDocuments(document([row(0, around(100))]), document([row(0, around(50))]), 0.9),
      "before.json",
    );
    expect(text).toMatch(/0\.50 x +0\.4\d to 0\.5\d +below 0\.9/);
    expect(text).toMatch(/MISSED +threshold 0\.9: 1 row is shown to be below/);
  });
});

describe("the table", () => {
  test("has a column for what varies, and one line for what does not", () => {
    const table = new BenchTable(PLAN.rows);
    const opening = table.opening(PLAN);
    expect(opening).toContain("8 rows of 800 ms in 10 samples");
    expect(opening).toContain("seed 1");
    expect(opening).toMatch(/in all rows: .*profile v6\.13.*page 4 KiB/);
    expect(opening).toMatch(/^question +vcpus +memory +inval wanted +rate/m);
  });

  test("keeps its columns from the head to the last row", () => {
    const table = new BenchTable(PLAN.rows);
    const head = table.opening(PLAN).split("\n").at(-2)!;
    const lines = PLAN.rows.map((_, i) => table.row(row(i, around(123_456_789 / (i + 1)))));
    const end = head.indexOf("rate") + "rate".length;
    for (const line of lines) expect(line.slice(0, end)).toMatch(/\/s$/);
  });

  test("says what cannot be said with a dash", () => {
    const latency_ns = { count: 60, p50: 800, p90: 900, p99: null, p99_9: null, max: 5000 };
    const rate_per_s = { samples: [100], median: 100, spread: null };
    const line = new BenchTable(PLAN.rows).row(row(0, [], { latency_ns, rate_per_s }));
    expect(line).toMatch(/100 \/s +- +1\.00 us +800 ns +900 ns +- +- +-$/);
  });

  test("counts in words: one is one", () => {
    const one = planBench({ question: "hit", vcpus: "1", invalidate: "0", samples: "1" }, 2);
    expect(new BenchTable(one.rows).opening(one)).toContain("1 row of 800 ms in 1 sample, ");
    expect(traceLines(TRACE)).toBe(
      "trace x.lackey: 1 line, 1 record on 1 page\n      1 fetch, 0 loads, 0 stores, 0 read-modify-writes",
    );
    const closing = benchClosing(document([row(0, around(1)), row(4, around(1))]));
    expect(closing).toContain("An operation is: access (cycle, hit). Rates are");
  });

  test("names accesses of a trace that could not be made", () => {
    const { rows } = planBench({ trace: "x", vcpus: "1", invalidate: "0" }, 2);
    const counts = { operations: 9, accesses: 5, tlb_hits: 5, guest_faults: 0, faults: 0 };
    const traced = (access_faults: number): string =>
      new BenchTable(rows).traceCounts(
        [row(0, [], { config: configToJson(rows[0]!), counts: { ...counts, access_faults } as never })],
        TRACE,
      );
    expect(traced(0)).toMatch(/not made\n[^]* 0$/);
    expect(traced(3)).toMatch(/ 3\nAccesses not made drew a fault/);
  });

  test("marks what is partial, and names problems", () => {
    const partial = row(0, [], { status: "partial", problems: ["3 frames were not given back"] });
    const table = new BenchTable(PLAN.rows);
    expect(table.row(partial)).toMatch(/partial$/);
    const closing = benchClosing(document([partial], { complete: false }));
    expect(closing).toMatch(/PROBLEM +cycle, 1 vCPU: 3 frames/);
    expect(closing).toMatch(/PARTIAL/);
    expect(closing).toMatch(/protocol rules on one set of data structures, not that kernel's/);
  });
});

describe("live lines", () => {
  test("have rates from the first look on, of the timed part alone", () => {
    const counts = (faults: number): number[] =>
      Array.from({ length: STAT_COUNT }, (_, stat) => (stat === Stat.Faults ? faults : 0));
    const actor = (plan: ActorPlan, wallMs: number, done: number): ActorReport => ({
      plan,
      name: plan.kind === "invalidate" ? "host thread 1" : "vCPU 0",
      actor: 0,
      samples: [],
      operations: done,
      busyMs: 0,
      wallMs,
      counts: counts(done),
    });
    const looks = [0, 100, 300, 300].map((wallMs) => [
      actor({ kind: "cycle", vcpu: 0 }, wallMs, wallMs * 10),
      actor({ kind: "invalidate", host: 1, perSecond: 5 }, wallMs, wallMs * 2),
    ]);
    const view = new LiveView({ progress: () => looks.shift()! }, PLAN.rows[0]!, "row 1 of 1:");
    expect(view.lines()).toEqual([
      "row 1 of 1: cycle, 1 vCPU",
      "  vCPU 0: warming up",
      "  invalidator: warming up",
    ]);
    for (let look = 0; look < 2; look++) {
      expect(view.lines().slice(1)).toEqual([
        "  vCPU 0: 10.0 k/s faults, 0 /s accesses",
        "  invalidator: 2.00 k/s invalidations",
      ]);
    }
    expect(view.lines()[1]).toBe("  vCPU 0: done");
  });
});
