import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { GuestMmuError } from "../../src/errors.js";
import {
  INTERVAL_SAMPLES_MIN,
  compareSamples,
  percentilesFromHistogram,
  ratio,
  summary,
  supportsPercentile,
} from "../../src/report/statistics.js";

function messageOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(GuestMmuError);
    expect((error as GuestMmuError).code).toBe("USAGE");
    return (error as GuestMmuError).message;
  }
  return "no error";
}

/** Log-normal noise of about 10 %, from a generator that is not the one under test. */
function noise(seed: number): () => number {
  let state = seed * 2 + 1;
  const uniform = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
  return () => Math.exp(0.1 * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()));
}

function draw(count: number, next: () => number, scale = 1): number[] {
  return Array.from({ length: count }, () => scale * next());
}

const positive = fc.double({ min: 1e-3, max: 1e9, noNaN: true });

describe("summary", () => {
  test("quartiles of 1 to 9 by hand", () => {
    expect(summary([9, 1, 8, 2, 7, 3, 6, 4, 5])).toEqual({
      n: 9,
      min: 1,
      p25: 3,
      median: 5,
      p75: 7,
      max: 9,
      spread: 0.4,
    });
  });

  test("interpolates between neighbours", () => {
    expect(summary([10, 20])).toMatchObject({ p25: 12.5, median: 15, p75: 17.5 });
  });

  test("one sample has no spread; one outlier does not move the median", () => {
    expect(summary([7])).toEqual({ n: 1, min: 7, p25: 7, median: 7, p75: 7, max: 7, spread: 0 });
    expect(summary([100, 101, 99, 100, 4]).median).toBe(100);
  });

  test("spread around a median of zero", () => {
    expect(summary([0, 0, 0]).spread).toBe(0);
    expect(summary([-1, 0, 1]).spread).toBe(Infinity);
    expect(summary([-30, -20, -10]).spread).toBe(0.25);
  });

  test("refuses nothing, and what is not a number", () => {
    expect(messageOf(() => summary([]))).toBe("No samples in samples.");
    expect(messageOf(() => summary([1, Number.NaN]))).toBe(
      "Sample 1 of samples is NaN, not a finite number.",
    );
    expect(messageOf(() => summary([Infinity]))).toContain("Sample 0 of samples is Infinity");
  });

  test("is ordered, does not depend on the order of samples, and leaves them alone", () => {
    fc.assert(
      fc.property(fc.array(positive, { minLength: 1, maxLength: 40 }), (samples) => {
        const before = [...samples];
        const result = summary(samples);
        expect(samples).toEqual(before);
        expect(summary(samples.toReversed())).toEqual(result);
        const { min, p25, median, p75, max } = result;
        expect([min, p25, median, p75, max]).toEqual([min, p25, median, p75, max].toSorted((a, b) => a - b));
        expect(samples.filter((value) => value <= median).length * 2).toBeGreaterThanOrEqual(samples.length);
        expect(samples.filter((value) => value >= median).length * 2).toBeGreaterThanOrEqual(samples.length);
      }),
    );
  });
});

describe("ratio of pairs", () => {
  test("a slow phase that hits both of a pair cancels", () => {
    const machine = [1, 1, 0.2, 0.2, 0.5, 1, 0.9];
    const result = ratio(
      machine.map((speed) => 87 * speed),
      machine.map((speed) => 100 * speed),
    );
    expect(result.ratio).toBeCloseTo(0.87, 12);
    expect(result.low).toBeCloseTo(0.87, 12);
    expect(result.high).toBeCloseTo(0.87, 12);
    expect(result).toMatchObject({ confidence: 0.95, n: 7 });
  });

  test("is the median of the ratios, not the ratio of the medians", () => {
    expect(ratio([1, 2, 30], [1, 4, 10]).ratio).toBe(1);
  });

  test("has no bounds with too few pairs", () => {
    const few = draw(INTERVAL_SAMPLES_MIN - 1, noise(1));
    expect(ratio(few, few)).toMatchObject({ ratio: 1, low: 0, high: Infinity });
    const enough = draw(INTERVAL_SAMPLES_MIN, noise(1));
    expect(ratio(enough, enough)).toMatchObject({ low: 1, high: 1 });
  });

  test("refuses unequal numbers of samples, zeros, and impossible options", () => {
    expect(messageOf(() => ratio([1, 2], [1]))).toContain("2 and 1");
    expect(messageOf(() => ratio([], []))).toBe("No samples in a.");
    expect(messageOf(() => ratio([1, 1], [1, 0]))).toBe("Sample 1 of b is 0, not a finite number above 0.");
    expect(messageOf(() => ratio([1], [1], { confidence: 1 }))).toContain("Confidence 1");
    expect(messageOf(() => ratio([1], [1], { confidence: 95 }))).toContain("Confidence 95");
    expect(messageOf(() => ratio([1], [1], { resamples: 10 }))).toContain("10 bootstrap resamples");
    expect(messageOf(() => ratio([1], [1], { resamples: 1e9 }))).toContain("1000000000 bootstrap resamples");
  });

  test("is deterministic, and the seed matters", () => {
    const a = draw(15, noise(3));
    const b = draw(15, noise(4));
    expect(ratio(a, b, { seed: 9 })).toEqual(ratio(a, b, { seed: 9 }));
    const ends = new Set([1, 2, 3, 4, 5, 6, 7, 8].map((seed) => ratio(a, b, { seed, resamples: 100 }).low));
    expect(ends.size).toBeGreaterThan(1);
  });

  test("an interval lies within the pairs, holds the estimate, and widens with confidence", () => {
    const samples = fc.array(fc.tuple(positive, positive), {
      minLength: INTERVAL_SAMPLES_MIN,
      maxLength: 20,
    });
    fc.assert(
      fc.property(samples, (pairs) => {
        const a = pairs.map(([value]) => value);
        const b = pairs.map(([, value]) => value);
        const each = pairs.map(([x, y]) => x / y);
        const wide = ratio(a, b, { confidence: 0.99, resamples: 200 });
        const narrow = ratio(a, b, { confidence: 0.5, resamples: 200 });
        expect(wide.low).toBeGreaterThanOrEqual(Math.min(...each));
        expect(wide.high).toBeLessThanOrEqual(Math.max(...each));
        expect(wide.low).toBeLessThanOrEqual(narrow.low);
        expect(wide.high).toBeGreaterThanOrEqual(narrow.high);
        expect(wide.low).toBeLessThanOrEqual(wide.ratio);
        expect(wide.high).toBeGreaterThanOrEqual(wide.ratio);
      }),
    );
  });

  test("the 95 % interval holds the true ratio about that often", () => {
    const next = noise(11);
    const held = Array.from({ length: 400 }, (_, run) => {
      const { low, high } = ratio(draw(12, next, 2), draw(12, next), { seed: run, resamples: 500 });
      return low <= 2 && 2 <= high;
    }).filter(Boolean).length;
    expect(held / 400).toBeGreaterThan(0.88);
    expect(held / 400).toBeLessThan(0.99);
  });
});

describe("compareSamples", () => {
  const next = noise(5);
  const base = draw(10, next, 100);
  const doubled = draw(10, next, 200);

  test("says which way a large difference goes, for rates and for times", () => {
    expect(compareSamples(base, doubled).verdict).toBe("faster");
    expect(compareSamples(doubled, base).verdict).toBe("slower");
    expect(compareSamples(base, doubled, { better: "lower" }).verdict).toBe("slower");
    expect(compareSamples(doubled, base, { better: "lower" }).verdict).toBe("faster");
  });

  test("the ratio is after / before, of the medians, and sides may differ in number", () => {
    expect(compareSamples([10, 20, 60], [5, 7]).ratio).toBe(0.3);
    expect(compareSamples([10, 20, 60], [5, 7]).n).toBe(2);
  });

  test("too few samples show nothing, however far apart they are", () => {
    const result = compareSamples([1, 1, 1, 1], [9, 9, 9, 9, 9, 9]);
    expect(result).toMatchObject({ ratio: 9, low: 0, high: Infinity, verdict: "no difference shown" });
  });

  test("refuses a side without samples", () => {
    expect(messageOf(() => compareSamples([], [1]))).toBe("No samples in before.");
    expect(messageOf(() => compareSamples([1], []))).toBe("No samples in after.");
    expect(messageOf(() => compareSamples([1], [-1]))).toContain("Sample 0 of after is -1");
  });

  test.each([5, 10, 20])("finds a difference between equals in few of 300 comparisons of %d samples", (n) => {
    const equal = noise(n);
    const wrong = Array.from(
      { length: 300 },
      (_, run) => compareSamples(draw(n, equal), draw(n, equal), { seed: run, resamples: 500 }).verdict,
    ).filter((verdict) => verdict !== "no difference shown").length;
    expect(wrong / 300).toBeLessThan(0.08);
  });

  test("finds 20 % under 10 % of noise nearly always with 20 samples", () => {
    const found = Array.from(
      { length: 100 },
      (_, run) => compareSamples(draw(20, next), draw(20, next, 1.2), { seed: run, resamples: 500 }).verdict,
    ).filter((verdict) => verdict === "faster").length;
    expect(found).toBeGreaterThan(90);
  });
});

describe("percentilesFromHistogram", () => {
  // Buckets [0, 10), [10, 20), ...; the upper edge is the last value inside.
  const low = (index: number): number => index * 10;
  const high = (index: number): number => index * 10 + 9;
  const values = (counts: bigint[], wanted?: number[]): (number | null)[] =>
    percentilesFromHistogram(counts, low, high, wanted).percentiles.map(({ value }) => value);

  test("reports the upper edge of the bucket that holds the rank", () => {
    expect(values([50n, 40n, 9n, 1n])).toEqual([9, 19, 29, 39]);
    expect(values([50n, 40n, 9n, 1n], [50.001, 90.001, 99.001, 100])).toEqual([19, 29, 39, 39]);
  });

  test("min, max and total; empty buckets at the ends do not count", () => {
    const result = percentilesFromHistogram([0n, 0n, 3n, 0n, 1n, 0n], low, high, [75, 75.1]);
    expect(result).toEqual({
      total: 4n,
      min: 20,
      max: 49,
      percentiles: [
        { percentile: 75, value: 29 },
        { percentile: 75.1, value: 49 },
      ],
    });
  });

  test("an empty histogram has no values", () => {
    expect(percentilesFromHistogram(new BigUint64Array(4), low, high, [50])).toEqual({
      total: 0n,
      min: null,
      max: null,
      percentiles: [{ percentile: 50, value: null }],
    });
  });

  test("counts above 2^53 keep their last unit", () => {
    const half = 2n ** 60n;
    expect(values([half, half], [50])).toEqual([9]);
    expect(values([half - 1n, half + 1n], [50])).toEqual([19]);
  });

  test("99.9 % of 1000 is rank 999, although 0.999 * 1000 rounds up as a double in other bases", () => {
    expect(values([999n, 1n], [99.9])).toEqual([9]);
    expect(values([998n, 2n], [99.9])).toEqual([19]);
  });

  test.each([0, -1, 100.1, Number.NaN, 99.9999])("refuses the percentile %d", (percentile) => {
    expect(messageOf(() => values([1n], [percentile]))).toContain(`Percentile ${percentile} `);
  });

  test("refuses a negative count", () => {
    expect(messageOf(() => values([1n, -1n]))).toContain("holds -1 samples");
  });

  test("agrees with sorting the samples", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 99 }), { minLength: 1, maxLength: 200 }),
        fc.integer({ min: 1, max: 100_000 }).map((thousandths) => thousandths / 1000),
        (samples, percentile) => {
          const counts = new BigUint64Array(10);
          for (const sample of samples) counts[Math.floor(sample / 10)]! += 1n;
          const sorted = samples.toSorted((a, b) => a - b);
          const thousandths = Math.round(percentile * 1000);
          const rank = Math.ceil((thousandths * samples.length) / 100_000);
          const [result] = percentilesFromHistogram(counts, low, high, [percentile]).percentiles;
          expect(result!.value).toBe(high(Math.floor(sorted[rank - 1]! / 10)));
          expect(result!.value).toBeGreaterThanOrEqual(sorted[rank - 1]!);
        },
      ),
    );
  });
});

test.each([
  [50, 10],
  [90, 50],
  [99, 500],
  [99.9, 5000],
])("percentile %d is supported by %i samples and no fewer", (percentile, samples) => {
  expect(supportsPercentile(percentile, samples)).toBe(true);
  expect(supportsPercentile(percentile, samples - 1)).toBe(false);
});
