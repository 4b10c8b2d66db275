/** `guestmmu bench` behind its options: reads, measures, prints, and says how it ended. */

import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { usageError } from "../errors.js";
import { BenchTable, benchClosing, comparisonLines, traceLines } from "./bench-text.js";
import { startProgress, type Progress } from "../report/progress.js";
import type { VcpuRun } from "../workers/index.js";
import { loadTrace, runBench } from "./bench.js";
import {
  compareDocuments,
  comparisonToJson,
  requireComparable,
  verdictOf,
  type BenchComparison,
} from "./compare.js";
import { LiveView } from "./live.js";
import type { RowConfig } from "./matrix.js";
import { planBench, type BenchOptionTexts, type BenchPlan } from "./options.js";
import { OutputFile, reasonOf } from "./output.js";
import { requireRoom } from "./setup.js";
import { parseBenchDocument, type BenchDocument, type BenchRow } from "./results.js";

/** What the command line gives. */
export interface BenchCommandOptions extends BenchOptionTexts {
  readonly json?: boolean;
  readonly output?: string;
}

/** How a run ended that was not refused. */
export type BenchOutcome = "done" | "violation" | "threshold missed" | "inconclusive" | "interrupted";

/** How often live progress is drawn. */
const PROGRESS_MS = 250;

/**
 * Runs the bench. Results go to standard output, progress to standard error if that is a terminal.
 *
 * @param command arguments after `guestmmu`, kept in the document.
 * @throws GuestMmuError for options, files and machines that cannot be used, and for runs that failed.
 */
export async function runBenchCommand(
  options: BenchCommandOptions,
  command: readonly string[],
): Promise<BenchOutcome> {
  const plan = planBench(options, availableParallelism());
  const earlier =
    plan.compare === null ? null : parseBenchDocument(await readText(plan.compare), plan.compare);
  const trace = await loadTrace(plan);
  requireRoom(plan.rows, trace?.shared ?? null);
  if (earlier !== null) {
    requireComparable(plan.rows, trace?.summary.records_sha256 ?? null, earlier, plan.compare!);
  }
  const output = options.output === undefined ? null : await OutputFile.at(options.output);
  const table = new BenchTable(plan.rows);
  const print = (text: string): void => void (options.json || process.stdout.write(`${text}\n`));

  const interrupt = interruptible();
  const live = new Live(plan.rows.length);
  let measured: BenchDocument;
  try {
    measured = await runBench(plan, {
      signal: interrupt.signal,
      command,
      trace,
      onBegin: () => {
        if (trace !== null) print(`${traceLines(trace.summary)}\n`);
        print(table.opening(plan));
      },
      onStart: (run, row) => live.watch(run, row),
      onRow: (row) => {
        live.rest();
        print(table.row(row));
      },
    });
  } finally {
    live.rest();
    interrupt.release();
  }

  const comparison = earlier === null ? null : compareDocuments(earlier, measured, plan.threshold);
  const document: BenchDocument =
    comparison === null ? measured : { ...measured, comparison: comparisonToJson(comparison, plan.compare!) };
  const json = `${JSON.stringify(document, null, 2)}\n`;
  if (options.json) process.stdout.write(json);
  else print(closing(table, document, comparison, plan));
  await output?.write(json);
  return outcomeOf(document, comparison);
}

function outcomeOf(document: BenchDocument, comparison: BenchComparison | null): BenchOutcome {
  if (document.rows.some(({ problems }) => problems.length > 0)) return "violation";
  if (!document.complete) return "interrupted";
  if (comparison === null) return "done";
  return ({ held: "done", missed: "threshold missed", inconclusive: "inconclusive" } as const)[
    verdictOf(comparison)
  ];
}

function closing(
  table: BenchTable,
  document: BenchDocument,
  comparison: BenchComparison | null,
  plan: BenchPlan,
): string {
  const rows: readonly BenchRow[] = document.rows;
  const parts: string[] = [];
  if (rows.length > 0) parts.push(table.counts(rows));
  if (document.trace !== null && rows.length > 0) parts.push(table.traceCounts(rows, document.trace));
  if (comparison !== null) parts.push(comparisonLines(comparison, plan.compare!));
  return ["", ...parts.flatMap((part) => [part, ""]), benchClosing(document)].join("\n");
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw usageError(
      `${path} cannot be read (${reasonOf(cause)}).`,
      "Give the JSON of an earlier run: guestmmu bench --output FILE.",
      cause,
    );
  }
}

/** A signal that the first Ctrl-C raises; the second one ends the process as if nobody listened. */
function interruptible(): { readonly signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  const onSignal = (): void => controller.abort();
  process.once("SIGINT", onSignal);
  process.once("SIGTERM", onSignal);
  return {
    signal: controller.signal,
    release: () => {
      process.off("SIGINT", onSignal);
      process.off("SIGTERM", onSignal);
    },
  };
}

/** Live progress: the main thread looks at the threads' lines a few times a second. */
class Live {
  private progress: Progress | null = null;
  private timer: NodeJS.Timeout | null = null;
  private rows = 0;

  constructor(private readonly total: number) {}

  watch(run: VcpuRun, row: RowConfig): void {
    this.rows++;
    const progress = startProgress();
    if (!progress.active) return;
    const view = new LiveView(run, row, `row ${this.rows} of ${this.total}:`);
    this.progress = progress;
    this.timer = setInterval(() => progress.update(() => view.lines()), PROGRESS_MS);
  }

  /** Takes the lines away until the next row runs. */
  rest(): void {
    if (this.timer !== null) clearInterval(this.timer);
    this.progress?.stop();
    this.timer = this.progress = null;
  }
}
