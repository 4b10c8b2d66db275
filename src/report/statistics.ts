/**
 * The few statistics that the reports use, chosen for benchmarks on shared machines: medians instead of
 * means, because one descheduled sample must not move the figure, and intervals from a seeded bootstrap,
 * because the spread of such samples follows no formula. The same samples always give the same result.
 */

import { medianSorted, quantileSorted } from "simple-statistics";
import { usageError } from "../errors.js";

/** Order statistics of a set of samples, in the unit of the samples. */
export interface Summary {
  /** Number of samples, at least 1. */
  readonly n: number;
  readonly min: number;
  /** Quartiles are interpolated linearly between neighbours (type 7 of R and NumPy). */
  readonly p25: number;
  readonly median: number;
  readonly p75: number;
  readonly max: number;
  /**
   * Half the distance between the quartiles divided by the median: 0.03 reads as "plus or minus 3 %" for the
   * middle half of the samples. Infinity when the median is 0 and the quartiles differ.
   */
  readonly spread: number;
}

/** How to compute an interval. */
export interface IntervalOptions {
  /** Share of repetitions whose interval holds the true ratio, above 0 and below 1. Default 0.95. */
  readonly confidence?: number;
  /** Bootstrap resamples, 100 to 1,000,000; more make the ends of the interval steadier. Default 2,000. */
  readonly resamples?: number;
  /** Start of the random sequence, a 32-bit unsigned integer. Default 1. */
  readonly seed?: number;
}

/** A ratio and the interval that it lies in. */
export interface RatioEstimate {
  readonly ratio: number;
  /** Ends of the interval; 0 and Infinity when `n` is below `INTERVAL_SAMPLES_MIN`, too few to bound it. */
  readonly low: number;
  readonly high: number;
  readonly confidence: number;
  /** Samples behind it: pairs, or those of the smaller side. */
  readonly n: number;
}

/** What a comparison has shown. `no difference shown` includes "too few samples". */
export type Verdict = "faster" | "slower" | "no difference shown";

/** A ratio of two independent sets of samples, and what it means. */
export interface Comparison extends RatioEstimate {
  readonly verdict: Verdict;
}

/** Options of `compareSamples`. */
export interface CompareOptions extends IntervalOptions {
  /** `higher` for rates (the default), `lower` for times. */
  readonly better?: "higher" | "lower";
}

/**
 * Fewer samples than this give no interval. The widest interval that the order of n samples supports for a
 * median is from the smallest to the largest, and it misses with probability 2^(1-n): 25 % for n = 3, and
 * 6 % for n = 5.
 */
export const INTERVAL_SAMPLES_MIN = 5;

/** Fewer samples than this have no spread: their quartiles lie between the same two of them. */
export const SPREAD_SAMPLES_MIN = 4;

/** A percentile stands for nothing unless this many samples can be expected beyond it. */
export const TAIL_SAMPLES_MIN = 5;

/** Whether so many samples support a percentile: p50 from 10 on, p90 from 50, p99 from 500, p99.9 from 5,000. */
export function supportsPercentile(percentile: number, samples: number): boolean {
  return Math.round((100 - percentile) * 1000) * samples >= TAIL_SAMPLES_MIN * 100_000;
}

/**
 * Summarises at least one finite sample.
 *
 * @throws GuestMmuError `USAGE` for no samples, or one that is not a finite number.
 */
export function summary(samples: readonly number[]): Summary {
  const sorted = sortedSamples("samples", samples, -Infinity);
  const p25 = quantileSorted(sorted, 0.25);
  const median = medianSorted(sorted);
  const p75 = quantileSorted(sorted, 0.75);
  const halfRange = (p75 - p25) / 2;
  return {
    n: sorted.length,
    min: sorted[0]!,
    p25,
    median,
    p75,
    max: sorted[sorted.length - 1]!,
    spread: halfRange === 0 ? 0 : halfRange / Math.abs(median),
  };
}

/**
 * Median of `a[i] / b[i]`, for samples taken in turns (a b a b ...): what slows the machine down for a while
 * slows both of a pair and cancels. All samples must be above 0; `a` and `b` have one length, at least 1.
 *
 * @throws GuestMmuError `USAGE` when they are not so.
 */
export function ratio(
  a: readonly number[],
  b: readonly number[],
  options: IntervalOptions = {},
): RatioEstimate {
  if (a.length !== b.length) {
    throw usageError(
      `Paired samples differ in number: ${a.length} and ${b.length}.`,
      "Take the samples in pairs.",
    );
  }
  sortedSamples("a", a, 0);
  sortedSamples("b", b, 0);
  const ratios = a.map((value, index) => value / b[index]!);
  const estimate = medianOf(ratios);
  return interval(estimate, ratios.length, options, (random) => medianOf(resample(ratios, random)));
}

/**
 * Ratio of the medians, `after / before`, of two sets of samples that were taken independently (an earlier
 * run and this one). All samples must be above 0, at least one on each side. The verdict is `faster` or
 * `slower` when the whole interval lies on one side of 1.
 *
 * It cannot tell the program from its surroundings: on a machine that became busier all is `slower`.
 *
 * @throws GuestMmuError `USAGE` for samples that are not so.
 */
export function compareSamples(
  before: readonly number[],
  after: readonly number[],
  options: CompareOptions = {},
): Comparison {
  const estimate =
    medianSorted(sortedSamples("after", after, 0)) / medianSorted(sortedSamples("before", before, 0));
  const samples = Math.min(before.length, after.length);
  const result = interval(
    estimate,
    samples,
    options,
    (random) => medianOf(resample(after, random)) / medianOf(resample(before, random)),
  );
  const higherIsBetter = (options.better ?? "higher") === "higher";
  const verdict =
    result.low > 1
      ? higherIsBetter
        ? "faster"
        : "slower"
      : result.high < 1
        ? higherIsBetter
          ? "slower"
          : "faster"
        : "no difference shown";
  return { ...result, verdict };
}

/** Percentiles of a histogram. */
export interface HistogramPercentiles {
  /** Samples in all buckets. */
  readonly total: bigint;
  /** Lower edge of the first bucket in use; null when the histogram is empty. */
  readonly min: number | null;
  /** Upper edge of the last bucket in use; null when the histogram is empty. */
  readonly max: number | null;
  /** In the order of the request. */
  readonly percentiles: readonly { readonly percentile: number; readonly value: number | null }[];
}

/**
 * Percentiles of samples that are only known by bucket, as the core's log-linear latency histograms are. The
 * p-th percentile is the upper edge of the bucket that holds the sample of rank ceil(p/100 * total): a
 * latency is never made to look shorter than it was, and looks longer by at most the width of its bucket.
 * Ranks are exact: counts are not rounded to doubles.
 *
 * @param counts samples in each bucket, in ascending order of the buckets.
 * @param bucketLow smallest value that falls into bucket `i`.
 * @param bucketHigh upper edge of bucket `i`, in the same unit.
 * @param percentiles above 0 and up to 100, with at most three decimals.
 * @throws GuestMmuError `USAGE` for a percentile outside that range or a negative count.
 */
export function percentilesFromHistogram(
  counts: readonly bigint[] | BigUint64Array,
  bucketLow: (index: number) => number,
  bucketHigh: (index: number) => number,
  percentiles: readonly number[] = [50, 90, 99, 99.9],
): HistogramPercentiles {
  const runningTotals: bigint[] = [];
  let total = 0n;
  for (const count of counts) {
    if (count < 0n)
      throw usageError(`A histogram bucket holds ${count} samples.`, "Pass counts of at least 0.");
    runningTotals.push((total += count));
  }
  const bucketOfRank = (rank: bigint): number => runningTotals.findIndex((running) => running >= rank);
  return {
    total,
    min: total === 0n ? null : bucketLow(bucketOfRank(1n)),
    max: total === 0n ? null : bucketHigh(bucketOfRank(total)),
    percentiles: percentiles.map((percentile) => ({
      percentile,
      value: total === 0n ? null : bucketHigh(bucketOfRank(rankOf(percentile, total))),
    })),
  };
}

/** ceil(percentile/100 * total), in thousandths of a percent: 99.9 is meant, not the double next to it. */
function rankOf(percentile: number, total: bigint): bigint {
  const thousandths = Math.round(percentile * 1000);
  if (!(thousandths >= 1 && thousandths <= 100_000) || Math.abs(thousandths - percentile * 1000) > 1e-6) {
    throw usageError(
      `Percentile ${percentile} is not one that can be computed.`,
      "Ask for percentiles above 0 and up to 100, with at most three decimals.",
    );
  }
  return (total * BigInt(thousandths) + 99_999n) / 100_000n;
}

/**
 * The percentile bootstrap: the interval between the outer quantiles of `resamples` values of `statistic`.
 */
function interval(
  estimate: number,
  samples: number,
  options: IntervalOptions,
  statistic: (random: Random) => number,
): RatioEstimate {
  const { confidence = 0.95, resamples = 2000, seed = 1 } = options;
  if (!(confidence > 0 && confidence < 1)) {
    throw usageError(`Confidence ${confidence} is not between 0 and 1.`, "Use 0.95, for example.");
  }
  if (!(Number.isInteger(resamples) && resamples >= 100 && resamples <= 1_000_000)) {
    throw usageError(
      `${resamples} bootstrap resamples are not possible.`,
      "Use 100 to 1000000; 2000 will do.",
    );
  }
  if (samples < INTERVAL_SAMPLES_MIN) {
    return { ratio: estimate, low: 0, high: Infinity, confidence, n: samples };
  }
  const random = new Random(seed);
  const values = Array.from({ length: resamples }, () => statistic(random)).sort(ascending);
  const tail = (1 - confidence) / 2;
  return {
    ratio: estimate,
    low: quantileSorted(values, tail),
    high: quantileSorted(values, 1 - tail),
    confidence,
    n: samples,
  };
}

/** A Weyl sequence through the finaliser of MurmurHash3: 2^32 numbers before it repeats, any seed will do. */
class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** A whole number from 0 to `bound - 1`, where `bound` is at most 2^32. */
  below(bound: number): number {
    this.state = (this.state + 0x9e3779b9) >>> 0;
    let mixed = this.state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return Math.floor((((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32) * bound);
  }
}

function resample(samples: readonly number[], random: Random): number[] {
  return Array.from(samples, () => samples[random.below(samples.length)]!);
}

function medianOf(samples: readonly number[]): number {
  return medianSorted([...samples].sort(ascending));
}

function ascending(a: number, b: number): number {
  return a - b;
}

/** A sorted copy, once it is certain that there are samples and that all are finite and above `floor`. */
function sortedSamples(name: string, samples: readonly number[], floor: number): number[] {
  if (samples.length === 0) throw usageError(`No samples in ${name}.`, "Measure at least once.");
  const index = samples.findIndex((value) => !(Number.isFinite(value) && value > floor));
  if (index >= 0) {
    const kind = floor === 0 ? "a finite number above 0" : "a finite number";
    throw usageError(
      `Sample ${index} of ${name} is ${samples[index]}, not ${kind}.`,
      "Leave out runs that measured nothing before they are compared.",
    );
  }
  return [...samples].sort(ascending);
}
