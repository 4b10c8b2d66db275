/** What one thread is to do: the message that starts it, and the report that ends it. */

import { type WasmMemory, type WasmModule } from "../core/wasm.js";
import type { GuestMmuErrorJson } from "../errors.js";
import type { ActorMeasure } from "./control.js";

/** Bytes of a record of a trace (assembly/drive/trace.ts). The reader of traces is not loaded into threads. */
export const TRACE_RECORD_BYTES = 16;

/** What the threads of a run have in common. */
export interface RunTiming {
  /** Length of the timed part, up to a week, and the number of samples that it is cut into. */
  readonly durationMs: number;
  /** 1 to 10,000. Default 10. */
  readonly samples?: number;
  /** Untimed running before it, for V8 to compile what is run. Default 50. */
  readonly warmupMs?: number;
}

/** Options of one run. */
export interface RunOptions extends RunTiming {
  /** Start of all random sequences, a 32-bit unsigned integer. Default 1. */
  readonly seed?: number;
  /** Stops the run; `finished` then rejects with `ABORTED`. */
  readonly signal?: AbortSignal | undefined;
}

/** A vCPU that runs the workload it was configured with (`driveWindow`, `driveWorkload`): an operation is an access. */
export interface RunPlan {
  readonly kind: "run";
  readonly vcpu: number;
}

/**
 * A vCPU that touches every page of its window, pass after pass; in between, untimed, the host gives the pages back. All
 * populating vCPUs of a run begin each pass together. An operation is a first touch.
 */
export interface PopulatePlan {
  readonly kind: "populate";
  readonly vcpu: number;
  /** What is given back after a pass: the same in all plans of the run. */
  readonly discard: HostRange;
}

/** Host-virtual addresses [hva, hva + length), whole pages. */
export interface HostRange {
  readonly hva: bigint;
  readonly length: bigint;
}

/** A vCPU that has pages of its window discarded and touches them again: an operation is both, for one page. */
export interface CyclePlan {
  readonly kind: "cycle";
  readonly vcpu: number;
}

/**
 * A vCPU that repeats a recorded trace. Each pass is a new process on a guest that has just booted, so that all of its
 * pages are faulted in on demand again; all vCPUs begin a pass together. An operation is a record.
 */
export interface TracePlan {
  readonly kind: "trace";
  readonly vcpu: number;
  /** Packed records (src/trace/lackey.ts), in a SharedArrayBuffer so that all vCPUs read one copy. */
  readonly records: SharedArrayBuffer;
  /** The guest that every pass begins with: the same in all plans of the run. */
  readonly guest: ProcessPlan;
}

/** A guest with a process whose address space is backed on demand. */
export interface ProcessPlan {
  /** Bytes of guest RAM from gpa 0, and where the host has them. */
  readonly ramSize: bigint;
  readonly ram: HostRange;
  /** log2 of the size of the pages that the guest kernel hands out. */
  readonly pageShift: number;
  /** vCPUs 0 to `vcpus - 1` run it: each as a process of its own, or as threads of one. */
  readonly vcpus: number;
  readonly own: boolean;
}

/** A host thread that invalidates what it was configured for (`driveSpan`), as often as it is asked to. */
export interface InvalidatePlan {
  readonly kind: "invalidate";
  /** Number of the host thread, from 0. Thread 0 is the one that owns the `Machine`. */
  readonly host: number;
  /** Invalidations per second; Infinity for no pause. */
  readonly perSecond: number;
}

/** What one thread of a run does. */
export type ActorPlan = RunPlan | PopulatePlan | CyclePlan | TracePlan | InvalidatePlan;

/** Message to a thread. */
export interface ActorTask {
  readonly module: WasmModule;
  readonly memory: WasmMemory;
  /** Index of the actor in the machine: vCPUs first, then host threads. */
  readonly actor: number;
  /** Its number in this run, and how many there are. */
  readonly place: number;
  readonly actors: number;
  readonly vcpus: number;
  readonly control: SharedArrayBuffer;
  readonly timing: Required<RunTiming>;
  readonly seed: number;
  readonly plan: ActorPlan;
}

/** How a thread ended. A thread that died sends nothing. */
export type ActorEnd =
  { readonly end: "done" | "stopped" } | { readonly end: "failed"; readonly error: GuestMmuErrorJson };

/** One actor of a run, at its end or up to now. */
export interface ActorReport extends ActorMeasure {
  readonly plan: ActorPlan;
  /** `vCPU 0`, `host thread 1`. */
  readonly name: string;
  /** Index of the actor in the machine. */
  readonly actor: number;
}

/** What a run was. */
export interface RunReport {
  /** In the order of the plans. */
  readonly actors: readonly ActorReport[];
  /** True if it was stopped before its end: samples are missing. */
  readonly stopped: boolean;
}

/** An actor in words. */
export function actorName(plan: ActorPlan): string {
  return plan.kind === "invalidate" ? `host thread ${plan.host}` : `vCPU ${plan.vcpu}`;
}
