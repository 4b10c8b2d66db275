/** This run against an earlier one: a ratio with an interval for each row that both have measured. */

import { GuestMmuError } from "../errors.js";
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
  /** What makes the two runs hard to compare; empty if nothing does. */
  readonly warnings: readonly string[];
}

/**
 * Throws before anything is measured if no row could be compared afterwards.
 *
 * @throws GuestMmuError `USAGE`
 */
export function requireComparable(rows: readonly RowConfig[], earlier: BenchDocument, from: string): void {
  const known = new Set(earlier.rows.map(keyOf));
  if (rows.some((row) => known.has(rowKey(row)))) return;
  throw new GuestMmuError("USAGE", {
    message: `${from} has no row that this run would measure too.`,
    hint: `Repeat the options of that run: guestmmu ${earlier.command?.join(" ") ?? "bench"}`,
  });
}

/** Compares the rows that both documents have, in the order of `now`. */
export function compareDocuments(
  earlier: BenchDocument,
  now: Pick<BenchDocument, "rows" | "machine" | "seed" | "trace">,
  threshold: number | null,
): BenchComparison {
  const before = new Map(earlier.rows.filter(isMeasured).map((row) => [keyOf(row), row]));
  const rows: RowComparison[] = [];
  for (const row of now.rows.filter(isMeasured)) {
    const other = before.get(keyOf(row));
    if (other === undefined) continue;
    const comparison = compareSamples(other.rate_per_s.samples, row.rate_per_s.samples, { seed: now.seed });
    rows.push({
      config: row.config,
      before: other.rate_per_s.median!,
      after: row.rate_per_s.median!,
      comparison,
      belowThreshold: threshold !== null && comparison.high < threshold,
    });
  }
  const measured = now.rows.filter(isMeasured).length;
  return {
    rows,
    threshold,
    onlyHere: measured - rows.length,
    onlyThere: before.size - rows.length,
    warnings: warningsOf(earlier, now, rows),
  };
}

/** A rate of 0 has no ratio, and an interrupted row stands for nothing. */
function isMeasured(row: BenchRow): boolean {
  const { samples } = row.rate_per_s;
  return row.status === "complete" && samples.length > 0 && samples.every((sample) => sample > 0);
}

function keyOf(row: BenchRow): string {
  return rowKey(configFromJson(row.config));
}

function warningsOf(
  earlier: BenchDocument,
  now: Pick<BenchDocument, "machine" | "trace">,
  rows: readonly RowComparison[],
): string[] {
  const warnings: string[] = [];
  const then = earlier.machine;
  for (const [name, a, b] of [
    ["processor", then?.cpu, now.machine.cpu],
    ["number of cores", then?.cores, now.machine.cores],
    ["Node.js", then?.node, now.machine.node],
  ] as const) {
    if (a !== b) warnings.push(`Another ${name}: ${a ?? "unknown"} then, ${b} now.`);
  }
  if (
    earlier.trace?.records.total !== now.trace?.records.total &&
    rows.some((row) => row.config.question === "trace")
  ) {
    warnings.push("The traces have different numbers of records.");
  }
  if (rows.some((row) => row.comparison.n < INTERVAL_SAMPLES_MIN)) {
    warnings.push(`Rows of fewer than ${INTERVAL_SAMPLES_MIN} samples have no interval: they show nothing.`);
  }
  return warnings;
}

/** The comparison as a part of the document; JSON has no infinity. */
export function comparisonToJson(comparison: BenchComparison, file: string): ComparisonJson {
  const { rows, threshold, onlyHere, onlyThere, warnings } = comparison;
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
    warnings,
  };
}
