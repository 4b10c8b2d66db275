/**
 * Results of the bench for a terminal. Rows appear as they finish, so the widths of the columns are fixed before the
 * first: those of the configuration are known from the matrix, and every quantity has three digits.
 */

import { verdictOf, type BenchComparison } from "./compare.js";
import type { RowConfig } from "./matrix.js";
import type { BenchPlan } from "./options.js";
import { PROFILE_NOTE } from "./questions.js";
import { configFromJson, type BenchDocument, type BenchRow, type LatencyJson } from "./results.js";
import type { TraceSummary } from "../trace/lackey.js";
import { machineLine } from "./platform.js";
import { renderTable, type Cell, type Column } from "../report/table.js";
import {
  formatBytes,
  formatCount,
  formatCounted,
  formatDurationNs,
  formatPercent,
  formatRate,
  formatRatio,
} from "../report/units.js";

/** Where an option has no meaning for a row. */
const NONE = "-";

/** A column of the configuration. */
interface ConfigColumn {
  readonly header: string;
  readonly text: (row: RowConfig) => string;
  /** Shown even if all rows agree. */
  readonly always?: boolean;
}

const ALL_CONFIG_COLUMNS: readonly ConfigColumn[] = [
  { header: "question", text: (row) => row.question, always: true },
  { header: "vcpus", text: (row) => String(row.vcpus), always: true },
  { header: "profile", text: (row) => row.profile },
  { header: "page", text: (row) => formatBytes(row.pageSize) },
  { header: "zero", text: (row) => (row.zero ? "on" : "off") },
  { header: "region", text: (row) => row.region },
  { header: "memory", text: (row) => formatBytes(row.memory) },
  { header: "workload", text: (row) => row.workload ?? NONE },
  { header: "writes", text: (row) => (row.writePercent === null ? NONE : `${row.writePercent} %`) },
  {
    header: "inval wanted",
    text: (row) => (row.invalidate === 0 ? NONE : formatRate(row.invalidate)),
    always: true,
  },
  { header: "span", text: (row) => (row.invalidate === 0 ? NONE : String(row.span)) },
  { header: "retry", text: (row) => (row.invalidate === 0 ? NONE : row.retry) },
];

/** A measured column: everything in it fits `width`. */
interface MeasuredColumn {
  readonly header: string;
  readonly width: number;
  readonly text: (row: BenchRow) => string;
}

const latency =
  (field: keyof LatencyJson) =>
  ({ latency_ns: latencies }: BenchRow): string => {
    const ns = latencies === null ? null : latencies[field];
    return ns === null ? NONE : formatDurationNs(ns);
  };

const MEASURED_COLUMNS: readonly MeasuredColumn[] = [
  {
    header: "rate",
    width: 9,
    text: ({ rate_per_s: { median } }) => (median === null ? "-" : formatRate(median)),
  },
  {
    header: "+-",
    width: 6,
    text: ({ rate_per_s: { spread } }) => (spread === null ? "-" : formatPercent(spread)),
  },
  { header: "per op", width: 7, text: ({ operation_ns: ns }) => (ns === null ? "-" : formatDurationNs(ns)) },
  { header: "p50", width: 7, text: latency("p50") },
  { header: "p90", width: 7, text: latency("p90") },
  { header: "p99", width: 7, text: latency("p99") },
  { header: "p99.9", width: 7, text: latency("p99_9") },
  {
    header: "inval done",
    width: 10,
    text: (row) => (row.config.invalidate === 0 ? "-" : formatRate(row.invalidations_per_s)),
  },
];

const GAP = "  ";

/** The table of a run, line by line. */
export class BenchTable {
  private readonly config: readonly (ConfigColumn & { readonly width: number })[];
  private readonly agreed: readonly string[];

  constructor(rows: readonly RowConfig[]) {
    const differs = (column: ConfigColumn): boolean =>
      column.always === true ||
      new Set(rows.map((row) => column.text(row)).filter((text) => text !== NONE)).size > 1;
    this.config = ALL_CONFIG_COLUMNS.filter(differs).map((column) => ({
      ...column,
      width: Math.max(column.header.length, ...rows.map((row) => column.text(row).length)),
    }));
    this.agreed = ALL_CONFIG_COLUMNS.filter((column) => !differs(column)).flatMap((column) => {
      const text = rows.map((row) => column.text(row)).find((value) => value !== NONE);
      return text === undefined ? [] : [`${column.header} ${text}`];
    });
  }

  get configHeaders(): readonly string[] {
    return this.config.map(({ header }) => header);
  }

  configTexts(row: RowConfig): string[] {
    return this.config.map((column) => column.text(row));
  }

  /** What is about to be measured, then the head of the table. */
  opening(plan: BenchPlan): string {
    const { rows, durationMs, samples, label, seed } = plan;
    const what = label === "chosen" ? "" : `${label} matrix, `;
    const seconds = (rows.length * (durationMs + plan.warmupMs)) / 1000;
    const about = seconds < 10 ? seconds.toFixed(1) : seconds.toFixed(0);
    return [
      `guestmmu bench: ${what}${formatCounted(rows.length, "row")} of ` +
        `${formatDurationNs(durationMs * 1e6)} in ${formatCounted(samples, "sample")}, about ${about} s, seed ${seed}`,
      ...(this.agreed.length ? [`in all rows: ${this.agreed.join(", ")}`] : []),
      "",
      this.line(
        (column) => column.header,
        (column) => column.header,
      ),
      this.line(
        (column) => "-".repeat(column.width),
        (column) => "-".repeat(column.width),
      ),
    ].join("\n");
  }

  /** One measured row. */
  row(row: BenchRow): string {
    const config = configFromJson(row.config);
    const line = this.line(
      (column) => column.text(config),
      (column) => column.text(row),
    );
    return row.status === "partial" ? `${line}${GAP}partial` : line;
  }

  /** The work counts of all rows, per operation where that says more than a total. */
  counts(rows: readonly BenchRow[]): string {
    const columns: Column[] = [
      ...this.configHeaders.map((header) => ({ header })),
      ...COUNT_COLUMNS.map(({ header }): Column => ({ header, align: "right" })),
    ];
    const cells = rows.map((row): Cell[] => [
      ...this.configTexts(configFromJson(row.config)),
      ...COUNT_COLUMNS.map((column) => column.text(row)),
    ]);
    return renderTable(columns, cells);
  }

  /** What the rows of question `trace` add: what became of the records. */
  traceCounts(rows: readonly BenchRow[], trace: TraceSummary): string {
    const columns: Column[] = [
      ...this.configHeaders.map((header) => ({ header })),
      ...["records", "passes", "distinct pages", "guest faults", "EPT faults", "TLB hits", "not made"].map(
        (header): Column => ({ header, align: "right" }),
      ),
    ];
    const traced = rows.filter((row) => row.config.question === "trace");
    const cells = traced.map(({ config, counts }): Cell[] => [
      ...this.configTexts(configFromJson(config)),
      short(counts.operations),
      (counts.operations / config.vcpus / trace.records.total).toFixed(1),
      formatCount(trace.pages),
      short(counts.guest_faults),
      short(counts.faults),
      share(counts.tlb_hits, counts.accesses),
      short(counts.access_faults),
    ]);
    const failed = traced.some(({ counts }) => counts.access_faults > 0);
    return [renderTable(columns, cells), ...(failed ? [NOT_MADE_NOTE] : [])].join("\n");
  }

  private line(
    config: (column: ConfigColumn & { readonly width: number }) => string,
    measured: (column: MeasuredColumn) => string,
  ): string {
    return [
      ...this.config.map((column) => config(column).padEnd(column.width)),
      ...MEASURED_COLUMNS.map((column) => measured(column).padStart(column.width)),
    ]
      .join(GAP)
      .trimEnd();
  }
}

const NOT_MADE_NOTE =
  "Accesses not made drew a fault: the guest has nothing at their addresses (a kernel's own, such as vsyscall).";

/** Work counts: unlike rates they do not depend on the machine. */
const COUNT_COLUMNS: readonly { readonly header: string; readonly text: (row: BenchRow) => string }[] = [
  { header: "ops", text: ({ counts }) => short(counts.operations) },
  { header: "faults", text: ({ counts }) => short(counts.faults) },
  { header: "fixed", text: ({ counts }) => short(counts.faults_fixed) },
  { header: "spurious", text: ({ counts }) => short(counts.faults_spurious) },
  {
    header: "retries seq/count/root/race",
    text: ({ counts: c }) =>
      [c.retries_seq, c.retries_count, c.retries_root, c.retries_race].map(short).join("/"),
  },
  { header: "waits", text: ({ counts }) => short(counts.retry_waits) },
  { header: "walks", text: ({ counts }) => short(counts.walks) },
  {
    header: "TLB hits",
    text: ({ counts }) => share(counts.tlb_hits, counts.accesses),
  },
  { header: "flushes", text: ({ counts }) => short(counts.tlb_flushes) },
  { header: "IPIs", text: ({ counts }) => short(counts.ipis) },
  { header: "inval", text: ({ counts }) => short(counts.invalidations) },
  { header: "zapped", text: ({ counts }) => short(counts.leaves_zapped) },
  { header: "frames", text: ({ frames }) => short(frames) },
];

/** A share with one decimal; 100 % is all of them. */
function share(part: number, all: number): string {
  if (all === 0) return "-";
  return part === all ? "100 %" : `${Math.min(99.9, (part / all) * 100).toFixed(1)} %`;
}

/** A count in at most six characters. */
function short(count: number): string {
  return count < 10_000 ? String(count) : formatRate(count).replace("/s", "").replace(" ", "");
}

/** What follows the table: machine, seed, what the words mean, and what went wrong. */
export function benchClosing(document: BenchDocument): string {
  const meaning = [
    `An operation is: ${operationsOf(document.rows)}. Rates are of all vCPUs together, the median of the samples;`,
    "+- is half the distance between the quartiles. Latencies are of single operations, each a KVM_RUN of its own, timed in between",
    `and not counted in the rate; a reading of the clock (${formatDurationNs(document.timer.reading_ns)}) and a call of the core ` +
      `(${formatDurationNs(document.timer.call_ns)}) are part of them.`,
    PROFILE_NOTE,
    "",
  ];
  const lines = [
    ...(document.rows.length === 0 ? [] : meaning),
    `${machineLine(document.machine)} · guestmmu ${document.guestmmu} · seed ${document.seed}`,
    ...document.notes.map((note) => `note: ${note}`),
  ];
  for (const row of document.rows) {
    for (const problem of row.problems)
      lines.push(`PROBLEM  ${rowName(configFromJson(row.config))}: ${problem}`);
  }
  if (!document.complete) lines.push("PARTIAL  interrupted: the rows above are all that was measured.");
  return lines.join("\n");
}

/** `access (hit, miss); record (trace)`: what is counted, and by which questions. */
function operationsOf(rows: readonly BenchRow[]): string {
  const questions = new Map<string, Set<string>>();
  for (const { operation, config } of rows) {
    questions.set(operation, (questions.get(operation) ?? new Set()).add(config.question));
  }
  return [...questions].map(([operation, names]) => `${operation} (${[...names].join(", ")})`).join("; ");
}

/** A row in a few words, for messages. */
export function rowName(row: RowConfig): string {
  const invalidate =
    row.invalidate === 0 ? "" : `, ${formatRate(row.invalidate)} invalidations of ${row.span}`;
  return `${row.question}, ${formatCounted(row.vcpus, "vCPU")}${invalidate}`;
}

/** The trace that drives the vCPUs, before it does. */
export function traceLines(trace: TraceSummary): string {
  const { lines, records } = trace;
  const kinds = [
    formatCounted(records.fetch, "fetch", "fetches"),
    formatCounted(records.read, "load"),
    formatCounted(records.write, "store"),
    formatCounted(records.readModifyWrite, "read-modify-write"),
  ];
  const compression = trace.compression === "none" ? "" : ` (${trace.compression})`;
  return [
    `trace ${trace.path}: ${formatCounted(lines.total, "line")}${compression}, ` +
      `${formatCounted(records.total, "record")} on ${formatCounted(trace.pages, "page")}`,
    `      ${kinds.join(", ")}`,
    ...(lines.malformed === 0
      ? []
      : [
          `      ${formatCounted(lines.malformed, "malformed line")} left out:`,
          ...trace.malformed.map(
            ({ line, text, expected }) => `      ${trace.path}:${line}: ${expected}, found "${text}"`,
          ),
        ]),
    ...(trace.complete ? [] : ["      the trace goes on: only this part of it is used"]),
  ].join("\n");
}

/** The comparison with an earlier run. */
export function comparisonLines(comparison: BenchComparison, from: string): string {
  const table = new BenchTable(comparison.rows.map((row) => configFromJson(row.config)));
  const columns: Column[] = [
    ...table.configHeaders.map((header) => ({ header })),
    { header: "before", align: "right" },
    { header: "now", align: "right" },
    { header: "ratio", align: "right" },
    { header: "95 % interval", align: "right" },
    { header: "verdict" },
  ];
  const cells = comparison.rows.map(({ config, before, after, comparison: c, belowThreshold }): Cell[] => [
    ...table.configTexts(configFromJson(config)),
    formatRate(before),
    formatRate(after),
    formatRatio(c.ratio),
    c.high === Infinity ? "-" : `${c.low.toFixed(2)} to ${c.high.toFixed(2)}`,
    belowThreshold ? `below ${comparison.threshold}` : c.verdict,
  ]);
  const { onlyHere, onlyThere, undecided } = comparison;
  return [
    `against ${from}`,
    cells.length === 0 ? "no row could be compared" : renderTable(columns, cells),
    ...(undecided
      ? [`${formatCounted(undecided, "row")} of both undecided: partial, or of too few samples`]
      : []),
    ...(onlyHere ? [`${formatCounted(onlyHere, "row")} of this run not in it`] : []),
    ...(onlyThere ? [`${formatCounted(onlyThere, "row")} of it not in this run`] : []),
    ...comparison.warnings.map((warning) => `note: ${warning}`),
    ...thresholdLines(comparison),
  ].join("\n");
}

function thresholdLines(comparison: BenchComparison): string[] {
  const { rows, threshold, undecided } = comparison;
  if (threshold === null) return [];
  const below = rows.filter((row) => row.belowThreshold).length;
  switch (verdictOf(comparison)) {
    case "missed":
      return [
        `MISSED   threshold ${threshold}: ${below} row${below === 1 ? " is" : "s are"} shown to be below`,
      ];
    case "inconclusive":
      return [
        `INCONCLUSIVE   threshold ${threshold}: ` +
          (rows.length === 0
            ? "nothing was compared"
            : `nothing can be said of ${formatCounted(undecided, "row")} that both runs have`),
      ];
    case "held":
      return [`threshold ${threshold}: no row is shown to be below`];
  }
}
