/** This run against an earlier one: a ratio with an interval for each row that both have measured. */

import { usageError } from "../errors.js";
import { INTERVAL_SAMPLES_MIN, compareSamples, type Comparison } from "../report/statistics.js";
import { rowKey, type RowConfig } from "./matrix.js";
import {
  configFromJson,
  type BenchDocument,
  type BenchRow,
  type ComparisonJson,
  type RowConfigJson,
} from "./results.js";

/** One row of the comparison. */
export interface RowComparison {
  readonly config: RowConfigJson;
  readonly before: number;
  readonly after: number;
  /** Rate after over rate before. */
  readonly comparison: Comparison;
  /** True if the whole interval lies below the threshold. */
  readonly belowThreshold: boolean;
}

/** What became of the rows. */
export interface BenchComparison {
  readonly rows: readonly RowComparison[];
  readonly threshold: number | null;
  /** Rows of this run that the earlier one does not have, and the other way round. */
  readonly onlyHere: number;
  readonly onlyThere: number;
  /** Rows of both runs for which nothing can be shown: partial on a side, or of too few samples. */
  readonly undecided: number;
  /** What makes the two runs hard to compare; empty if nothing does. */
  readonly warnings: readonly string[];
}

/** What of a run is compared. */
type Compared = Pick<BenchDocument, "rows" | "machine" | "seed" | "trace">;

/**
 * Throws before anything is measured if no row could be compared afterwards.
 *
 * @param trace digest of the trace of this run, if it has one.
 * @throws GuestMmuError `USAGE`
 */
export function requireComparable(
  rows: readonly RowConfig[],
  trace: string | null,
  earlier: BenchDocument,
  from: string,
): void {
  const known = rowsByKey(earlier);
  const common = rows.flatMap((row) => known.get(rowKey(row, trace)) ?? []);
  if (common.some(isMeasured)) return;
  const repeat = `Repeat the options of that run: guestmmu ${earlier.command?.join(" ") ?? "bench"}`;
  if (common.length > 0) {
    throw usageError(`${from} was interrupted before it had a row that this run would measure too.`, repeat);
  }
  const traces = new Set(earlier.rows.map(({ config }) => rowKey(configFromJson(config))));
  const other = rows.some((row) => row.question === "trace" && traces.has(rowKey(row)));
  throw usageError(
    `${from} has no row that this run would measure too${other ? ": it was driven by another trace" : ""}.`,
    repeat,
  );
}

/** Compares the rows that both documents have, in the order of `now`. */
export function compareDocuments(
  earlier: BenchDocument,
  now: Compared,
  threshold: number | null,
): BenchComparison {
  const before = rowsByKey(earlier);
  const after = rowsByKey(now);
  const common = [...after].flatMap(([key, row]) => {
    const other = before.get(key);
    return other === undefined ? [] : [[other, row] as const];
  });
  const rows = common
    .filter((pair) => pair.every(isMeasured))
    .map(([other, row]): RowComparison => {
      const comparison = compareSamples(other.rate_per_s.samples, row.rate_per_s.samples, { seed: now.seed });
      return {
        config: row.config,
        before: other.rate_per_s.median!,
        after: row.rate_per_s.median!,
        comparison,
        belowThreshold: threshold !== null && comparison.high < threshold,
      };
    });
  return {
    rows,
    threshold,
    onlyHere: after.size - common.length,
    onlyThere: before.size - common.length,
    undecided: common.length - rows.filter(({ comparison }) => comparison.high < Infinity).length,
    warnings: warningsOf(earlier, now, rows),
  };
}

/**
 * What a comparison says of its threshold. `inconclusive` if nothing was compared, or a row of both runs could not be: a
 * gate that lets through what it has not looked at is none.
 */
export function verdictOf(comparison: BenchComparison): "held" | "missed" | "inconclusive" {
  if (comparison.rows.some(({ belowThreshold }) => belowThreshold)) return "missed";
  if (comparison.threshold === null) return "held";
  return comparison.rows.length === 0 || comparison.undecided > 0 ? "inconclusive" : "held";
}

function rowsByKey({ rows, trace }: Pick<BenchDocument, "rows" | "trace">): Map<string, BenchRow> {
  const digest = trace?.records_sha256 ?? null;
  return new Map(rows.map((row) => [rowKey(configFromJson(row.config), digest), row]));
}

/** A rate of 0 has no ratio, and an interrupted row stands for nothing. */
function isMeasured(row: BenchRow): boolean {
  const { samples } = row.rate_per_s;
  return row.status === "complete" && samples.length > 0 && samples.every((sample) => sample > 0);
}

function warningsOf(earlier: BenchDocument, now: Compared, rows: readonly RowComparison[]): string[] {
  const warnings: string[] = [];
  const then = earlier.machine;
  for (const [name, a, b] of [
    ["processor", then?.cpu, now.machine.cpu],
    ["number of cores", then?.cores, now.machine.cores],
    ["Node.js", then?.node, now.machine.node],
    ["seed", earlier.seed, now.seed],
  ] as const) {
    if (a !== b) warnings.push(`Another ${name}: ${a ?? "unknown"} then, ${b} now.`);
  }
  if (rows.some((row) => row.comparison.n < INTERVAL_SAMPLES_MIN)) {
    warnings.push(`Rows of fewer than ${INTERVAL_SAMPLES_MIN} samples have no interval: they show nothing.`);
  }
  return warnings;
}

/** The comparison as a part of the document; JSON has no infinity. */
export function comparisonToJson(comparison: BenchComparison, file: string): ComparisonJson {
  const { rows, threshold, onlyHere, onlyThere, undecided, warnings } = comparison;
  return {
    file,
    threshold,
    rows: rows.map(
      ({ config, before, after, comparison: { ratio, low, high, confidence, verdict }, belowThreshold }) => ({
        config,
        before_per_s: before,
        now_per_s: after,
        ratio,
        ratio_low: high === Infinity ? null : low,
        ratio_high: high === Infinity ? null : high,
        confidence,
        verdict,
        below_threshold: belowThreshold,
      }),
    ),
    rows_only_here: onlyHere,
    rows_only_there: onlyThere,
    rows_undecided: undecided,
    warnings,
  };
}
