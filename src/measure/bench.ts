/** A run of the bench from its plan to its document. Knows no terminal. */

import { createHash } from "node:crypto";
import { ABI_VERSION } from "../core/layout.generated.js";
import { GuestMmuError } from "../errors.js";
import { describeMachine, packageVersion } from "./platform.js";
import { loadLackey } from "../trace/lackey.js";
import { VcpuPool, type VcpuRun } from "../workers/index.js";
import { Arena } from "./arena.js";
import type { RowConfig } from "./matrix.js";
import type { BenchPlan } from "./options.js";
import { BENCH_SCHEMA, type BenchDocument, type BenchRow, type TraceJson } from "./results.js";
import { measureRow } from "./row.js";
import { shareTrace, threadsOf, type SharedTrace } from "./setup.js";
import { measureTimer } from "./timer.js";

/** What is told while a bench runs. */
export interface BenchObserver {
  /** Module, memory and threads are there: rows follow. */
  onBegin?(): void;
  /** The threads of a row run. */
  onStart?(run: VcpuRun, row: RowConfig): void;
  /** A row is finished, or cut short. */
  onRow?(row: BenchRow): void;
}

/** Options of `runBench` beside its plan. */
export interface BenchRunOptions extends BenchObserver {
  /** Ends the run: the row under way and those after it are left out or partial, and the document says so. */
  readonly signal?: AbortSignal;
  /** Arguments after `guestmmu`, for the document. */
  readonly command?: readonly string[];
  readonly trace?: BenchTrace | null;
}

/** A trace that has been read. */
export interface BenchTrace {
  readonly summary: TraceJson;
  readonly shared: SharedTrace;
}

/** Reads the trace of a plan; null if it has none. */
export async function loadTrace(plan: BenchPlan): Promise<BenchTrace | null> {
  if (plan.trace === null) return null;
  try {
    const loaded = await loadLackey(plan.trace, { onMalformed: plan.skipMalformed ? "collect" : "throw" });
    const records_sha256 = createHash("sha256").update(loaded.bytes).digest("hex");
    return { summary: { ...loaded.summary, records_sha256 }, shared: shareTrace(loaded) };
  } catch (error) {
    if (!(error instanceof GuestMmuError) || error.code !== "TRACE_MALFORMED") throw error;
    const hint =
      "Correct or remove the line, or add --skip-malformed: such lines are then left out and listed.";
    throw new GuestMmuError(error.code, { message: error.message, hint, cause: error });
  }
}

/** Measures all rows of a plan, one after another, in one pool of threads. */
export async function runBench(plan: BenchPlan, options: BenchRunOptions = {}): Promise<BenchDocument> {
  const { signal, command = [], trace = null } = options;
  const started = new Date().toISOString();
  const machine = describeMachine();
  // Before there are threads, which would take the core away from it.
  const timer = measureTimer();
  const arena = new Arena();
  const pool = new VcpuPool({ threads: Math.max(...plan.rows.map(threadsOf)) });
  const rows: BenchRow[] = [];
  let running: VcpuRun | null = null;
  const stop = (): void => running?.stop();
  signal?.addEventListener("abort", stop);
  try {
    options.onBegin?.();
    for (const row of plan.rows) {
      if (signal?.aborted) break;
      const onStart = (run: VcpuRun): void => {
        running = run;
        if (signal?.aborted) run.stop();
        options.onStart?.(run, row);
      };
      const measured = await measureRow(row, { plan, pool, arena, trace: trace?.shared ?? null, onStart });
      running = null;
      rows.push(measured);
      options.onRow?.(measured);
    }
    return {
      schema: BENCH_SCHEMA,
      guestmmu: packageVersion(),
      abi: ABI_VERSION,
      started,
      command,
      seed: plan.seed,
      matrix: plan.label,
      complete: rows.length === plan.rows.length && rows.every(({ status }) => status === "complete"),
      machine,
      timer,
      notes: notesOf(plan, machine.cores),
      trace: trace?.summary ?? null,
      rows,
    };
  } finally {
    signal?.removeEventListener("abort", stop);
    await pool.close();
  }
}

/** What a reader of the figures has to know about this run. */
function notesOf(plan: BenchPlan, cores: number): string[] {
  const threads = Math.max(...plan.rows.map(threadsOf));
  return threads > cores
    ? [
        `up to ${threads} threads on ${cores} core${cores === 1 ? "" : "s"}: they take turns, and latencies show it`,
      ]
    : [];
}
