// From what was typed to a matrix: every value checked, every combination planned or refused with a sentence.
import { describe, expect, test } from "vitest";
import { GuestMmuError } from "../../src/errors.js";
import { rowKey } from "../../src/measure/matrix.js";
import { planBench, type BenchOptionTexts } from "../../src/measure/options.js";

function refusal(texts: BenchOptionTexts): { message: string; hint: string } {
  try {
    planBench(texts, 2);
  } catch (error) {
    expect(error).toBeInstanceOf(GuestMmuError);
    expect((error as GuestMmuError).code).toBe("USAGE");
    return error as GuestMmuError;
  }
  throw new Error("it was accepted");
}

describe("the matrix", () => {
  test("by default asks four questions of one and two vCPUs, quiet and invalidated", () => {
    const { rows, label } = planBench({}, 8);
    expect(label).toBe("default");
    expect(rows).toHaveLength(4 * 2 * 2);
    expect(new Set(rows.map(({ question }) => question))).toEqual(
      new Set(["populate", "cycle", "hit", "miss"]),
    );
  });

  test("by default has one vCPU where there is one core", () => {
    expect(planBench({}, 1).rows.every(({ vcpus }) => vcpus === 1)).toBe(true);
  });

  test("is the product of all lists, without rows that differ in nothing", () => {
    const { rows, label } = planBench(
      { question: "cycle", vcpus: "1", invalidate: "0,1k,max", span: "1,64", retry: "wait,spin" },
      2,
    );
    expect(label).toBe("chosen");
    // Quiet: once. Each rate: two spans, two ways to retry.
    expect(rows).toHaveLength(1 + 2 * 2 * 2);
    expect(new Set(rows.map((row) => rowKey(row))).size).toBe(rows.length);
    expect(rows[0]).toMatchObject({ invalidate: 0, span: 0 });
    expect(rows.at(-1)).toMatchObject({ invalidate: Infinity, span: 64, retry: "spin" });
  });

  test("gives an option only to the questions that use it", () => {
    const { rows } = planBench(
      { question: "populate,miss", workload: "zipf,chase", writeMix: "10", vcpus: "1", invalidate: "0" },
      2,
    );
    expect(rows.map(({ question, workload, writePercent }) => [question, workload, writePercent])).toEqual([
      ["populate", null, null],
      ["miss", "zipf", 10],
      ["miss", "chase", 10],
    ]);
  });

  test("keeps the working set of hit within the TLB, whatever --memory says", () => {
    const { rows } = planBench({ question: "hit,miss", memory: "32m", vcpus: "1", invalidate: "0" }, 2);
    expect(rows.map(({ memory }) => memory)).toEqual([64 * 4096, 32 * 2 ** 20]);
  });

  test("asks about the trace alone where there is one, or about it as well", () => {
    expect(new Set(planBench({ trace: "x" }, 2).rows.map(({ question }) => question))).toEqual(
      new Set(["trace"]),
    );
    const both = planBench({ trace: "x", question: "populate" }, 2).rows;
    expect(new Set(both.map(({ question }) => question))).toEqual(new Set(["populate", "trace"]));
  });

  test("--quick is small and short, and options still win", () => {
    const quick = planBench({ quick: true }, 2);
    expect(quick.label).toBe("quick");
    expect(quick.rows.length * (quick.durationMs + quick.warmupMs)).toBeLessThan(3000);
    expect(planBench({ quick: true, duration: "50ms" }, 2).durationMs).toBe(50);
  });
});

describe("refusals", () => {
  test.each<[BenchOptionTexts, RegExp, RegExp]>([
    [{ question: "popluate" }, /--question: cannot use "popluate"/, /populate, cycle, hit, miss/],
    [{ question: "hit,hit" }, /"hit" is there twice/, /once/],
    [{ question: "trace" }, /needs a trace/, /--trace FILE/],
    [{ vcpus: "0" }, /--vcpus: cannot use "0"/, /from 1 to 32/],
    [{ vcpus: "33" }, /--vcpus/, /from 1 to 32/],
    [{ vcpus: "1,two" }, /at "two"/, /whole numbers/],
    [{ invalidate: "fast" }, /--invalidate/, /max/],
    [{ invalidate: "-1" }, /--invalidate/, /rates/],
    [{ span: "0" }, /--span/, /from 1/],
    [{ span: "8", invalidate: "0" }, /no effect without invalidations/, /--invalidate/],
    [{ retry: "spin", invalidate: "0" }, /no effect without invalidations/, /--invalidate/],
    [{ pageSize: "8k" }, /--page-size/, /4k, 2m/],
    [{ pageSize: "1g" }, /the host maps 4k and 2m/, /4k,2m/],
    [{ profile: "v5.5" }, /--profile/, /v5.4, v6.13/],
    [{ workload: "random" }, /--workload/, /sequential, uniform, zipf, chase, shift/],
    [{ workload: "zipf", question: "populate" }, /--workload has no effect on populate/, /hit, miss/],
    [{ writeMix: "10", question: "cycle" }, /--write-mix has no effect on cycle/, /hit, miss/],
    [{ workload: "zipf", trace: "x" }, /--workload has no effect on trace/, /hit, miss/],
    [{ memory: "64m", question: "hit" }, /--memory has no effect on hit/, /miss/],
    [{ writeMix: "101" }, /--write-mix/, /0 to 100/],
    [{ region: "private" }, /--region/, /shared, per-vcpu/],
    [{ memory: "1k" }, /--memory/, /size/],
    [{ memory: "5000" }, /not a whole number of 4 KiB pages/, /multiple/],
    [{ memory: "3m", pageSize: "2m" }, /not a whole number of 2 MiB pages/, /multiple of 2 MiB/],
    [{ memory: "4k", vcpus: "2", question: "miss" }, /fewer than the 2 vCPUs/, /8 KiB/],
    [
      { memory: "64k", question: "miss", vcpus: "1" },
      /64 KiB is 16 pages of 4 KiB, .* would measure hits/,
      /more than 4 MiB/,
    ],
    [{ memory: "4m", question: "miss" }, /TLB of 1024 entries/, /more than 4 MiB/],
    [{ memory: "2m", pageSize: "2m", question: "miss", vcpus: "1" }, /TLB of 32 entries/, /more than 64 MiB/],
    [{ skipMalformed: true }, /--skip-malformed has no effect/, /--trace FILE/],
    [{ span: "65", question: "hit" }, /more than the 64 pages/, /fit the TLB/],
    [{ span: "100000", question: "cycle" }, /--span 100000 is more than/, /--memory/],
    [{ duration: "5" }, /--duration/, /unit/],
    [{ duration: "10ms", samples: "20" }, /less than a millisecond/, /longer/],
    [{ samples: "0" }, /--samples/, /1 to 10000/],
    [{ seed: "-3" }, /--seed/, /0 to 4294967295/],
    [{ zero: "maybe" }, /--zero/, /on, off/],
    [{ retry: "sleep" }, /--retry/, /wait, spin/],
    [{ threshold: "0.9" }, /needs something to compare/, /--compare/],
    [{ threshold: "nine", compare: "x" }, /--threshold: cannot use "nine"/, /0.9/],
    [{ threshold: "0.9", compare: "x", samples: "4" }, /would never fail/, /5 or more/],
  ])("%j", (texts, message, hint) => {
    const error = refusal(texts);
    expect(error.message).toMatch(message);
    expect(error.hint).toMatch(hint);
  });
});
