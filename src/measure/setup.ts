/** From a row of the matrix to a machine, and what its threads are to do. */

import { MACHINE_SIZE_MAX, PAGE_SIZE, PAGE_STRUCT_SIZE } from "../core/layout.generated.js";
import { usageError } from "../errors.js";
import type { Machine } from "../machine/machine.js";
import { formatBytes } from "../report/units.js";
import type { LoadedTrace } from "../trace/lackey.js";
import {
  LoadedGuest,
  type ActorPlan,
  type GuestSpec,
  type LoadPageSize,
  type ProcessPlan,
} from "../workers/index.js";
import type { Arena } from "./arena.js";
import { TLB_ENTRIES, TLB_LARGE_ENTRIES, type RowConfig } from "./matrix.js";

/** A machine that is ready to be measured. */
export interface Setup {
  readonly machine: Machine;
  readonly plans: readonly ActorPlan[];
  /** Pages that are worked on: of one vCPU, or of all that share. */
  readonly pages: number;
  framesInUse(): number;
  /** Gives everything back; frames that are then missing. */
  unload(): number;
}

/** Threads that a row takes. */
export function threadsOf(row: RowConfig): number {
  return row.vcpus + (row.invalidate > 0 ? 1 : 0);
}

/** Host thread 0 is the main thread, which sets up and tears down. */
const INVALIDATOR = 1;

/** Batch buffer: as much of a trace as fits is copied once. */
const BATCH_MAX = 1 << 24;

/** The thread that owns the machine, and the invalidator. */
const HOST_THREADS = 2;
/** Frames of guest RAM that a guest kernel takes for a vCPU at a time (assembly/guest/allocator.ts). */
const FRAMES_AHEAD = 64;
const LARGE_PAGE = 2 ** 21;

/**
 * Makes the machine of a row. `trace` is that of question `trace`, in shared memory.
 */
export function setUp(row: RowConfig, seed: number, arena: Arena, trace: SharedTrace | null): Setup {
  return row.question === "trace" ? setUpTrace(row, seed, arena, trace!) : setUpRegion(row, seed, arena);
}

/** A trace that all threads read, and how much it touches. */
export interface SharedTrace {
  readonly records: SharedArrayBuffer;
  /** Distinct pages of 4 KiB and of 2 MiB. */
  readonly pages: number;
  readonly largePages: number;
}

/** Copies a trace to where all threads can read it. */
export function shareTrace(trace: LoadedTrace): SharedTrace {
  const records = new SharedArrayBuffer(trace.bytes.length);
  new Uint8Array(records).set(trace.bytes);
  const words = new Uint32Array(records);
  const large = new Set<number>();
  for (let at = 0, last = -1; at < words.length; at += 4) {
    const page = words[at + 1]! * 2 ** 11 + (words[at]! >>> 21);
    if (page !== last) large.add((last = page));
  }
  return { records, pages: trace.summary.pages, largePages: large.size };
}

function createMachine(arena: Arena, row: RowConfig, spec: GuestSpec, batchSize: number): Machine {
  return arena.create({
    frames: framesOf(row, spec),
    vcpus: row.vcpus,
    hostThreads: HOST_THREADS,
    batchSize,
    tlb: { entries: TLB_ENTRIES, largeEntries: TLB_LARGE_ENTRIES },
    profile: row.profile,
    zeroPages: row.zero,
    poison: row.poison,
    spinOnRetry: row.retry === "spin",
  });
}

function framesOf(row: RowConfig, spec: GuestSpec): number {
  return LoadedGuest.frames(spec, row.vcpus, HOST_THREADS);
}

/** What the guest of a row needs: a region for each vCPU or for all, or the RAM of processes. */
function specOf(row: RowConfig, trace: SharedTrace | null): GuestSpec {
  const pageSize = row.pageSize as LoadPageSize;
  const parts = row.region === "per-vcpu" ? row.vcpus : 1;
  if (row.question !== "trace" || trace === null) return { memory: row.memory * parts, pageSize };
  // Code, heap and stack lie far apart: a large page may hold little of them, and each table spans 2 MiB.
  const pages = row.pageSize === PAGE_SIZE ? trace.pages : trace.largePages;
  const touched = parts * (pages * row.pageSize + trace.pages * 2 * PAGE_SIZE);
  const kept = row.vcpus * FRAMES_AHEAD * row.pageSize;
  return {
    memory: Math.max(row.memory, Math.ceil((touched + kept) / LARGE_PAGE + 8) * LARGE_PAGE),
    pageSize,
  };
}

/**
 * Throws before anything is measured if a row needs more memory than a machine can have.
 *
 * @throws GuestMmuError `USAGE`
 */
export function requireRoom(rows: readonly RowConfig[], trace: SharedTrace | null): void {
  for (const row of rows) {
    const spec = specOf(row, trace);
    const bytes =
      framesOf(row, spec) * (PAGE_SIZE + PAGE_STRUCT_SIZE) + (row.vcpus + HOST_THREADS) * BATCH_MAX;
    if (bytes <= MACHINE_SIZE_MAX) continue;
    throw usageError(
      `Question ${row.question} with ${row.vcpus} vCPU${row.vcpus === 1 ? "" : "s"} needs ${formatBytes(spec.memory)} of ` +
        `guest memory (${row.region}), more than a machine has room for (${formatBytes(Number(MACHINE_SIZE_MAX))}, tables included).`,
      "Give less --memory, smaller pages, fewer vCPUs, or --region shared.",
    );
  }
}

function setUpRegion(row: RowConfig, seed: number, arena: Arena): Setup {
  const spec = specOf(row, null);
  const machine = createMachine(arena, row, spec, 1 << 16);
  const guest = LoadedGuest.boot(machine, spec);
  const pages = row.memory / row.pageSize;
  const plans: ActorPlan[] = [];
  for (let vcpu = 0; vcpu < row.vcpus; vcpu++) {
    guest.configure(vcpu, { ...windowOf(row, vcpu, pages), ...workloadOf(row), seed });
    plans.push(planOf(row, vcpu, guest));
  }
  if (row.question === "hit" || row.question === "miss" || row.question === "cycle") {
    for (let vcpu = 0; vcpu < row.vcpus; vcpu++) guest.touch(vcpu);
  }
  if (row.invalidate > 0) {
    guest.configureInvalidator(INVALIDATOR, { span: row.span, seed });
    plans.push({ kind: "invalidate", host: INVALIDATOR, perSecond: row.invalidate });
  }
  return { machine, plans, pages, framesInUse: () => guest.framesInUse, unload: () => guest.unload() };
}

/** Pages of a vCPU: its own region; all of the shared one; of a shared one that is populated, its part. */
function windowOf(row: RowConfig, vcpu: number, pages: number): { first: number; pages: number } {
  if (row.region === "per-vcpu") return { first: vcpu * pages, pages };
  if (row.question !== "populate") return { first: 0, pages };
  const first = Math.floor((pages * vcpu) / row.vcpus);
  return { first, pages: Math.floor((pages * (vcpu + 1)) / row.vcpus) - first };
}

function workloadOf(
  row: RowConfig,
): Pick<Parameters<LoadedGuest["configure"]>[1] & object, "workload" | "writePercent"> {
  if (row.workload === null) return { workload: "sequential", writePercent: 100 };
  return { workload: row.workload, writePercent: row.writePercent ?? 50 };
}

function planOf(row: RowConfig, vcpu: number, guest: LoadedGuest): ActorPlan {
  if (row.question === "populate") return { kind: "populate", vcpu, discard: guest.region };
  return { kind: row.question === "cycle" ? "cycle" : "run", vcpu };
}

/** A guest whose processes run the trace. Its RAM holds what all of them touch, with tables and room to spare. */
function setUpTrace(row: RowConfig, seed: number, arena: Arena, trace: SharedTrace): Setup {
  const spec = specOf(row, trace);
  const batch = Math.min(BATCH_MAX, Math.ceil(trace.records.byteLength / PAGE_SIZE) * PAGE_SIZE);
  const machine = createMachine(arena, row, spec, batch);
  const guest = LoadedGuest.boot(machine, spec);
  const process: ProcessPlan = {
    ramSize: guest.ram.length,
    ram: guest.ram,
    pageShift: Math.log2(row.pageSize),
    vcpus: row.vcpus,
    own: row.region === "per-vcpu",
  };
  const plans: ActorPlan[] = Array.from({ length: row.vcpus }, (_, vcpu) => ({
    kind: "trace",
    vcpu,
    records: trace.records,
    guest: process,
  }));
  if (row.invalidate > 0) {
    // The processes' pages lie at the bottom of RAM, behind the tables: spans are drawn from as many.
    const used =
      (row.pageSize === PAGE_SIZE ? trace.pages : trace.largePages) * (process.own ? row.vcpus : 1);
    const pages = Math.min(guest.pages, Math.max(row.span, used));
    guest.configureInvalidator(INVALIDATOR, { span: row.span, pages, seed });
    plans.push({ kind: "invalidate", host: INVALIDATOR, perSecond: row.invalidate });
  }
  return {
    machine,
    plans,
    pages: trace.pages,
    framesInUse: () => guest.framesInUse,
    unload: () => guest.unload(),
  };
}
