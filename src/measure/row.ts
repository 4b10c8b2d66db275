/** Measures one row: sets the machine up, lets it run, and makes figures of what the threads left. */

import {
  HEADER_OFFSET_HISTOGRAMS_BASE,
  HISTOGRAM_BUCKETS,
  HISTOGRAM_OFFSET_MAX,
  HISTOGRAM_SIZE,
  HISTOGRAM_SUB_SHIFT,
  Stat,
} from "../core/layout.generated.js";
import {
  SPREAD_SAMPLES_MIN,
  percentilesFromHistogram,
  summary,
  supportsPercentile,
} from "../report/statistics.js";
import type { ActorReport, RunReport, VcpuPool, VcpuRun } from "../workers/index.js";
import type { Arena } from "./arena.js";
import type { RowConfig } from "./matrix.js";
import type { BenchPlan } from "./options.js";
import { QUESTIONS } from "./questions.js";
import { configToJson, type BenchRow, type LatencyJson, type RateJson, type WorkCounts } from "./results.js";
import { setUp, type Setup, type SharedTrace } from "./setup.js";

/** How often the free frames are counted, for the most that were in use: a read of some hundred words. */
const FRAMES_MS = 10;

/** What a row is measured with. */
export interface RowContext {
  readonly plan: BenchPlan;
  readonly pool: VcpuPool;
  readonly arena: Arena;
  readonly trace: SharedTrace | null;
  /** Called when the threads run: to stop them, to watch them. */
  readonly onStart?: (run: VcpuRun, row: RowConfig) => void;
}

/** Measures one row; a run that was stopped gives what it has, marked as partial. */
export async function measureRow(row: RowConfig, context: RowContext): Promise<BenchRow> {
  const { plan, pool } = context;
  const setup = setUp(row, plan.seed, context.arena, context.trace);
  const begin = performance.now();
  const run = pool.start(setup.machine, setup.plans, {
    durationMs: plan.durationMs,
    samples: plan.samples,
    warmupMs: plan.warmupMs,
    seed: plan.seed,
  });
  context.onStart?.(run, row);
  let frames = setup.framesInUse();
  const watch = setInterval(() => (frames = Math.max(frames, setup.framesInUse())), FRAMES_MS);
  const report = await run.finished.finally(() => clearInterval(watch));
  const elapsedMs = performance.now() - begin;
  const latency = latencyOf(setup, row.vcpus);
  const leaked = setup.unload();
  setup.machine.dispose();
  return figures(row, setup.pages, report, latency, { frames, leaked, elapsedMs });
}

function figures(
  row: RowConfig,
  pages: number,
  report: RunReport,
  latency: LatencyJson | null,
  rest: { frames: number; leaked: number; elapsedMs: number },
): BenchRow {
  const vcpus = report.actors.filter(({ plan }) => plan.kind !== "invalidate");
  const counts = countsOf(report.actors, vcpus);
  const rate = rateOf(vcpus);
  const result = {
    config: configToJson(row),
    status: report.stopped ? "partial" : "complete",
    operation: QUESTIONS[row.question].operation,
    rate_per_s: rate,
    operation_ns: rate.median === null || rate.median === 0 ? null : rounded((row.vcpus / rate.median) * 1e9),
    invalidations_per_s: rounded(invalidationRate(report.actors)),
    latency_ns: latency,
    counts,
    pages,
    frames: rest.frames,
    frames_leaked: rest.leaked,
    elapsed_ms: rounded(rest.elapsedMs),
  } as const;
  return { ...result, problems: problemsOf(row, result) };
}

/** Samples of all vCPUs added up: each is a rate over the time in which the vCPU did nothing else. */
function rateOf(vcpus: readonly ActorReport[]): RateJson {
  const length = Math.min(...vcpus.map(({ samples }) => samples.length));
  const samples: number[] = [];
  for (let i = 0; i < length; i++) {
    const parts = vcpus.map((vcpu) => vcpu.samples[i]!);
    // A vCPU that waited for another through all of a sample has none: then there is no sum either.
    if (parts.every(({ ms }) => ms > 0)) {
      samples.push(rounded(parts.reduce((sum, { operations, ms }) => sum + (operations / ms) * 1000, 0)));
    }
  }
  if (samples.length === 0) return { samples, median: null, spread: null };
  const { median, spread } = summary(samples);
  const hasSpread = samples.length >= SPREAD_SAMPLES_MIN && Number.isFinite(spread);
  return { samples, median, spread: hasSpread ? spread : null };
}

function invalidationRate(actors: readonly ActorReport[]): number {
  return actors
    .filter(({ plan, wallMs }) => plan.kind === "invalidate" && wallMs > 0)
    .reduce((sum, { operations, wallMs }) => sum + (operations / wallMs) * 1000, 0);
}

function countsOf(actors: readonly ActorReport[], vcpus: readonly ActorReport[]): WorkCounts {
  const sum = (stat: number): number => actors.reduce((total, { counts }) => total + counts[stat]!, 0);
  return {
    operations: vcpus.reduce((total, { operations }) => total + operations, 0),
    accesses: sum(Stat.Accesses),
    faults: sum(Stat.Faults),
    faults_fixed: sum(Stat.FaultsFixed),
    faults_spurious: sum(Stat.FaultsSpurious),
    retries_seq: sum(Stat.RetriesSeq),
    retries_count: sum(Stat.RetriesCount),
    retries_root: sum(Stat.RetriesRoot),
    retries_race: sum(Stat.RetriesRace),
    retry_waits: sum(Stat.RetryWaits),
    guest_faults: sum(Stat.GuestFaults),
    tlb_hits: sum(Stat.TlbHits),
    walks: sum(Stat.Walks),
    exits: sum(Stat.Exits),
    tlb_flushes: sum(Stat.TlbFlushes),
    invalidations: sum(Stat.Invalidations),
    leaves_zapped: sum(Stat.LeavesZapped),
    remote_flushes: sum(Stat.RemoteFlushes),
    ipis: sum(Stat.Ipis),
    lock_yields: sum(Stat.Yields),
    host_faults: sum(Stat.HostFaults),
    gup_fast: sum(Stat.GupFast),
    gup_slow: sum(Stat.GupSlow),
    huge_leaves: sum(Stat.HugeLeaves),
    tables_linked: sum(Stat.TablesLinked),
    integrity_errors: sum(Stat.IntegrityErrors),
    access_faults: sum(Stat.AccessFaults),
    fault_errors: sum(Stat.FaultErrors),
  };
}

/** What a correct machine cannot have done. */
function problemsOf(
  row: RowConfig,
  { counts, status, frames_leaked: leaked }: Pick<BenchRow, "counts" | "status" | "frames_leaked">,
): string[] {
  const problems: string[] = [];
  if (counts.integrity_errors > 0)
    problems.push(`${counts.integrity_errors} integrity errors: data were not what was written`);
  if (counts.fault_errors > 0) problems.push(`${counts.fault_errors} page faults failed for good`);
  // A recorded process may name addresses that only its own kernel has (vsyscall).
  if (counts.access_faults > 0 && row.question !== "trace") {
    problems.push(`${counts.access_faults} accesses drew a fault that the guest kernel could not handle`);
  }
  if (leaked !== 0) problems.push(`${leaked} frames were not given back`);
  const handled = counts.faults_fixed + counts.faults_spurious;
  const exclusive = row.question === "populate" || (row.question === "cycle" && row.region === "per-vcpu");
  if (exclusive && status === "complete" && handled < counts.operations) {
    problems.push(`${counts.operations} pages were touched anew, and only ${handled} faults handled`);
  }
  return problems;
}

/** Latencies of all vCPUs, from the histograms in the machine's memory. */
function latencyOf(setup: Setup, vcpus: number): LatencyJson | null {
  const { buffer } = setup.machine.core.memory;
  const base = new DataView(buffer).getUint32(HEADER_OFFSET_HISTOGRAMS_BASE, true);
  const counts = new BigUint64Array(HISTOGRAM_BUCKETS);
  let max = 0n;
  for (let vcpu = 0; vcpu < vcpus; vcpu++) {
    const own = new BigUint64Array(buffer, base + vcpu * HISTOGRAM_SIZE, HISTOGRAM_OFFSET_MAX / 8 + 1);
    for (let bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) counts[bucket]! += own[bucket]!;
    const largest = own[HISTOGRAM_OFFSET_MAX / 8]!;
    if (largest > max) max = largest;
  }
  const { total, percentiles } = percentilesFromHistogram(counts, bucketLow, (bucket) =>
    bucketLow(bucket + 1),
  );
  if (total === 0n) return null;
  const [p50, p90, p99, p999] = percentiles.map(({ percentile, value }) =>
    supportsPercentile(percentile, Number(total)) ? Math.min(value!, Number(max)) : null,
  );
  return {
    count: Number(total),
    p50: p50 ?? null,
    p90: p90 ?? null,
    p99: p99 ?? null,
    p99_9: p999 ?? null,
    max: Number(max),
  };
}

/** Smallest value that counts in a bucket (assembly/layout/histogram.ts). */
export function bucketLow(bucket: number): number {
  const low = 1 << HISTOGRAM_SUB_SHIFT;
  if (bucket < low) return bucket;
  const octave = (bucket >> HISTOGRAM_SUB_SHIFT) - 1;
  return (low + (bucket & (low - 1))) * 2 ** octave;
}

function rounded(value: number): number {
  return value < 100 ? Math.round(value * 100) / 100 : Math.round(value);
}
