// The document of results: what is written can be read, and two of them can be compared.
import { describe, expect, test } from "vitest";
import { compareDocuments, requireComparable } from "../../src/measure/compare.js";
import { planBench } from "../../src/measure/options.js";
import {
  configFromJson,
  configToJson,
  parseBenchDocument,
  type BenchDocument,
  type BenchRow,
} from "../../src/measure/results.js";
import { BenchTable, benchClosing, comparisonLines } from "../../src/report/bench.js";

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
    expect(result).toMatchObject({ onlyHere: 2, onlyThere: 1 });
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
    expect(() => requireComparable(PLAN.rows, earlier, "x.json")).not.toThrow();
    expect(() => requireComparable([PLAN.rows[3]!], earlier, "x.json")).toThrow(
      /no row that this run would measure/,
    );
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
