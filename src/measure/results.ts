/**
 * Results of a bench run: the document that `--json` prints, `--output` writes and `--compare` reads.
 *
 * Units stand last in a name. A field is never reused with another meaning under the same schema name.
 */

import { usageError, type GuestMmuError } from "../errors.js";
import type { TraceSummary } from "../trace/lackey.js";
import type { RowConfig } from "./matrix.js";
import { QUESTION_NAMES } from "./questions.js";

/** Name and version of the schema. */
export const BENCH_SCHEMA = "guestmmu-bench/1";

/** The document. */
export interface BenchDocument {
  readonly schema: typeof BENCH_SCHEMA;
  /** Version of the package, and of the core's ABI. */
  readonly guestmmu: string;
  readonly abi: number;
  /** ISO 8601, when the run began. */
  readonly started: string;
  /** Arguments after `guestmmu`. */
  readonly command: readonly string[];
  readonly seed: number;
  /** `default` and `quick` are the built-in matrices. */
  readonly matrix: "default" | "quick" | "chosen";
  /** False if the run was interrupted: rows are missing or have the status `partial`. */
  readonly complete: boolean;
  readonly machine: MachineJson;
  readonly timer: TimerJson;
  readonly notes: readonly string[];
  /** The trace that drove the vCPUs, if one did. */
  readonly trace: TraceJson | null;
  readonly rows: readonly BenchRow[];
  /** With `--compare`: this run against the earlier one. */
  readonly comparison?: ComparisonJson;
}

/** A trace: what it consists of, and which one it is. */
export interface TraceJson extends TraceSummary {
  /** SHA-256 of its records, in hexadecimal: rows that were driven by other accesses are not compared. */
  readonly records_sha256: string;
}

/** Ratios of the rows that both runs have measured in full. */
export interface ComparisonJson {
  readonly file: string;
  readonly threshold: number | null;
  readonly rows: readonly {
    readonly config: RowConfigJson;
    readonly before_per_s: number;
    readonly now_per_s: number;
    /** Rate now over rate before; the ends of the interval are null where there are too few samples for one. */
    readonly ratio: number;
    readonly ratio_low: number | null;
    readonly ratio_high: number | null;
    readonly confidence: number;
    readonly verdict: "faster" | "slower" | "no difference shown";
    /** True if the whole interval lies below the threshold. */
    readonly below_threshold: boolean;
  }[];
  readonly rows_only_here: number;
  readonly rows_only_there: number;
  /** Rows of both runs for which the comparison can show nothing: partial on a side, or of too few samples. */
  readonly rows_undecided: number;
  readonly warnings: readonly string[];
}

/** The machine that the run was made on. */
export interface MachineJson {
  readonly cpu: string;
  readonly cores: number;
  readonly memory_bytes: number;
  readonly platform: string;
  readonly node: string;
  readonly v8: string;
  /** 1-minute load average when the run began: what else was running. null where it is not known. */
  readonly load: number | null;
}

/** What timing costs. */
export interface TimerJson {
  /** One reading of the clock. A latency includes one. */
  readonly reading_ns: number;
  /** One call of the core that does nothing. A latency includes one. */
  readonly call_ns: number;
  /** Smallest step of the clock that was seen. */
  readonly step_ns: number;
}

/** Counts of what all vCPUs and invalidators did in the timed part of one row. */
export interface WorkCounts {
  /** Those that the rate is of. Operations that were timed one by one are not among them; in all other counts they are. */
  readonly operations: number;
  readonly accesses: number;
  readonly faults: number;
  readonly faults_fixed: number;
  readonly faults_spurious: number;
  readonly retries_seq: number;
  readonly retries_count: number;
  readonly retries_root: number;
  readonly retries_race: number;
  readonly retry_waits: number;
  readonly guest_faults: number;
  readonly tlb_hits: number;
  readonly walks: number;
  readonly exits: number;
  readonly tlb_flushes: number;
  readonly invalidations: number;
  readonly leaves_zapped: number;
  readonly remote_flushes: number;
  readonly ipis: number;
  readonly lock_yields: number;
  readonly host_faults: number;
  readonly gup_fast: number;
  readonly gup_slow: number;
  readonly huge_leaves: number;
  readonly tables_linked: number;
  /** Each must be 0 in a correct machine. */
  readonly integrity_errors: number;
  readonly access_faults: number;
  readonly fault_errors: number;
}

/** One row of the matrix, measured. */
export interface BenchRow {
  readonly config: RowConfigJson;
  readonly status: "complete" | "partial";
  /** The operation that is counted; `rate_per_s` is of these, all vCPUs together. */
  readonly operation: string;
  readonly rate_per_s: RateJson;
  /** Median time of one operation on one vCPU: vCPUs / rate. */
  readonly operation_ns: number | null;
  readonly invalidations_per_s: number;
  readonly latency_ns: LatencyJson | null;
  readonly counts: WorkCounts;
  /** Pages in the region of one vCPU, or of all. */
  readonly pages: number;
  /** The most frames found in use while it ran, and those that were not given back at its end. */
  readonly frames: number;
  readonly frames_leaked: number;
  readonly elapsed_ms: number;
  /** What a correct machine cannot have done; empty otherwise. */
  readonly problems: readonly string[];
}

/** Rates of the samples, in the order of time. */
export interface RateJson {
  readonly samples: readonly number[];
  readonly median: number | null;
  /** Half the distance between the quartiles, over the median; null for fewer than 4 samples. */
  readonly spread: number | null;
}

/**
 * Percentiles of single operations that were timed one by one, with the cost of one clock reading in each. null where
 * fewer than 5 of `count` can be expected beyond: p50 takes 10, p90 50, p99 500, p99.9 5,000.
 */
export interface LatencyJson {
  readonly count: number;
  readonly p50: number | null;
  readonly p90: number | null;
  readonly p99: number | null;
  readonly p99_9: number | null;
  readonly max: number;
}

/** A row's configuration, with a rate that JSON can hold. */
export type RowConfigJson = Omit<RowConfig, "invalidate"> & { readonly invalidate: number | "max" };

export function configToJson(config: RowConfig): RowConfigJson {
  return { ...config, invalidate: config.invalidate === Infinity ? "max" : config.invalidate };
}

export function configFromJson(json: RowConfigJson): RowConfig {
  return { ...json, invalidate: json.invalidate === "max" ? Infinity : json.invalidate };
}

/**
 * Reads a document back.
 *
 * @param from file name, for messages.
 * @throws GuestMmuError `USAGE` if it is not one, or of another version.
 */
export function parseBenchDocument(text: string, from: string): BenchDocument {
  const unusable = (what: string): GuestMmuError =>
    usageError(`${from}: ${what}.`, "Give a file that `guestmmu bench --output FILE` has written.");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw unusable(`not JSON (${(error as Error).message})`);
  }
  if (!isRecord(value) || typeof value["schema"] !== "string")
    throw unusable("not a result of guestmmu bench");
  if (value["schema"] !== BENCH_SCHEMA) {
    throw unusable(`its schema is ${value["schema"]}, and this version reads ${BENCH_SCHEMA}`);
  }
  const rows = value["rows"];
  if (!Array.isArray(rows)) throw unusable("it has no rows");
  rows.forEach((row: unknown, index) => {
    if (!isBenchRow(row)) throw unusable(`row ${index} is not one of a bench result`);
  });
  return value as unknown as BenchDocument;
}

function isBenchRow(row: unknown): row is BenchRow {
  if (!isRecord(row) || !isRecord(row["config"]) || !isRecord(row["rate_per_s"])) return false;
  const { config, rate_per_s: rate } = row;
  return (
    (QUESTION_NAMES as readonly unknown[]).includes(config["question"]) &&
    typeof config["vcpus"] === "number" &&
    (typeof config["invalidate"] === "number" || config["invalidate"] === "max") &&
    typeof config["memory"] === "number" &&
    Array.isArray(rate["samples"]) &&
    rate["samples"].every((sample) => typeof sample === "number" && Number.isFinite(sample)) &&
    (row["status"] === "complete" || row["status"] === "partial")
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
