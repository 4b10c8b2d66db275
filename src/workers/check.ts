/**
 * What an embedder hands to this folder, checked before a thread or the machine's memory sees any of it. Each refusal
 * names what was given, its value, and what is accepted.
 */

import { HEADER_ABORT, PAGE_SIZE } from "../core/layout.generated.js";
import { endedError } from "../core/trap.js";
import { usageError, type GuestMmuError } from "../errors.js";
import { checkOptions, integer, show } from "../machine/arguments.js";
import { Machine } from "../machine/machine.js";
import { MACHINE_LIMITS } from "../machine/options.js";
import {
  TRACE_RECORD_BYTES,
  actorName,
  type ActorPlan,
  type HostRange,
  type ProcessPlan,
  type RunOptions,
} from "./plan.js";

/** Bounds of a run. */
export const SAMPLES_MAX = 10_000;
const DURATION_MS_MAX = 7 * 24 * 3600e3;
export const SEED_MAX = 2 ** 32 - 1;
export const THREADS_MAX = MACHINE_LIMITS.vcpus.maximum + MACHINE_LIMITS.hostThreads.maximum;

/** Options of a run with every default filled in. */
export type CheckedOptions = Required<Omit<RunOptions, "signal">> & Pick<RunOptions, "signal">;

function refuse(name: string, value: unknown, accepted: string): GuestMmuError {
  return usageError(`${name} is ${show(value)}: it has to be ${accepted}.`, `Pass another ${name}.`);
}

/** `value` as an object whose fields are looked at next. */
function fieldsOf<T extends object>(name: string, value: T): T {
  if (typeof value === "object" && value !== null) return value;
  throw refuse(name, value, "an object");
}

/** `value` if it is among those accepted. */
export function oneOf<T extends string | number | boolean>(
  name: string,
  value: T,
  accepted: readonly T[],
): T {
  if (accepted.includes(value)) return value;
  throw refuse(name, value, `one of ${accepted.join(", ")}`);
}

function time(name: string, value: number, minimum: number): number {
  if (typeof value === "number" && value >= minimum && value <= DURATION_MS_MAX) return value;
  throw refuse(name, value, `a number of milliseconds from ${minimum} to ${DURATION_MS_MAX}`);
}

/** Fills in the defaults of a run's options. */
export function checkRunOptions(options: RunOptions): CheckedOptions {
  checkOptions("options of a run", options, ["durationMs", "samples", "warmupMs", "seed", "signal"]);
  const { durationMs, samples = 10, warmupMs = 50, seed = 1, signal } = options;
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw refuse("signal", signal, "an AbortSignal");
  return {
    durationMs: time("durationMs", durationMs, 0.001),
    samples: integer("samples", samples, 1, SAMPLES_MAX),
    warmupMs: time("warmupMs", warmupMs, 0),
    seed: integer("seed", seed, 0, SEED_MAX),
    signal,
  };
}

/** Refuses what is no machine, and one that nobody can use any more: its locks may be held for ever. */
export function checkMachine(machine: Machine): void {
  if (!(machine instanceof Machine)) throw refuse("machine", machine, "a Machine");
  const { memory, failure } = machine.core;
  if (Atomics.load(new Int32Array(memory.buffer), HEADER_ABORT / 4) === 0) return;
  throw failure ?? endedError(new DataView(memory.buffer));
}

/** Refuses plans that this machine cannot carry out, or not together. */
export function checkPlans(machine: Machine, plans: readonly ActorPlan[], threads: number): void {
  if (!Array.isArray(plans)) throw refuse("plans", plans, "a list of plans");
  if (plans.length === 0)
    throw usageError("There is nothing to run.", "Give a plan for each vCPU and invalidator.");
  if (plans.length > threads) {
    throw usageError(
      `${plans.length} actors cannot run at once in ${threads} thread${threads === 1 ? "" : "s"}.`,
      "Make a pool with a thread for each.",
    );
  }
  const names = new Set<string>();
  for (const plan of plans as readonly ActorPlan[]) {
    checkPlan(machine, fieldsOf("A plan", plan));
    const name = actorName(plan);
    if (names.has(name)) throw usageError(`${name} has two plans.`, "An actor runs in one thread at a time.");
    names.add(name);
  }
  checkTogether(plans);
}

/** One plan by itself. */
function checkPlan(machine: Machine, plan: ActorPlan): void {
  const { vcpus, hostThreads } = machine.configuration;
  oneOf("The kind of a plan", plan.kind, ["run", "populate", "cycle", "trace", "invalidate"]);
  const [index, count] = plan.kind === "invalidate" ? [plan.host, hostThreads] : [plan.vcpu, vcpus];
  if (!Number.isInteger(index) || index < 0 || index >= count) {
    throw usageError(
      `The machine has no ${actorName(plan)}.`,
      `Number them from 0 to ${count - 1}, or make it larger.`,
    );
  }
  const of = `of ${actorName(plan)}`;
  if (plan.kind === "invalidate") {
    const { perSecond } = plan;
    if (typeof perSecond === "number" && perSecond > 0) return;
    throw usageError(
      `perSecond ${of} is ${String(perSecond)}, which is not a rate.`,
      "Give a number above 0, or Infinity.",
    );
  }
  if (plan.kind === "populate") checkRange(`discard ${of}`, plan.discard);
  if (plan.kind === "trace") {
    checkRecords(`records ${of}`, plan.records);
    checkProcess(`guest ${of}`, plan.guest, vcpus);
    integer(`vcpu ${of}`, plan.vcpu, 0, plan.guest.vcpus - 1);
  }
}

function checkRange(name: string, range: HostRange): void {
  const { hva, length } = fieldsOf(name, range);
  wholePages(`hva of ${name}`, hva, 0n);
  wholePages(`length of ${name}`, length, BigInt(PAGE_SIZE));
}

function wholePages(name: string, value: bigint, minimum: bigint): void {
  if (typeof value === "bigint" && value >= minimum && value < 1n << 64n && value % BigInt(PAGE_SIZE) === 0n)
    return;
  throw refuse(name, value, `a bigint of ${minimum} or more, in whole pages of ${PAGE_SIZE} bytes`);
}

function checkRecords(name: string, records: SharedArrayBuffer): void {
  if (!(records instanceof SharedArrayBuffer)) throw refuse(name, records, "a SharedArrayBuffer");
  const bytes = records.byteLength;
  if (bytes > 0 && bytes % TRACE_RECORD_BYTES === 0) return;
  throw refuse(`byteLength of ${name}`, bytes, `a multiple of ${TRACE_RECORD_BYTES} above 0`);
}

function checkProcess(name: string, guest: ProcessPlan, vcpus: number): void {
  const { ramSize, ram, pageShift, own } = fieldsOf(name, guest);
  wholePages(`ramSize of ${name}`, ramSize, BigInt(PAGE_SIZE));
  checkRange(`ram of ${name}`, ram);
  oneOf(`pageShift of ${name}`, pageShift, [12, 21]);
  integer(`vcpus of ${name}`, guest.vcpus, 1, vcpus);
  oneOf(`own of ${name}`, own, [true, false]);
}

/** Passes begin when all vCPUs have ended the one before, from a state that one of them restores for all. */
function checkTogether(plans: readonly ActorPlan[]): void {
  const vcpus = plans.filter(({ kind }) => kind !== "invalidate");
  if (vcpus.length === 0) {
    throw usageError("There is no vCPU in the plans.", "A run lasts as long as its vCPUs run: give one.");
  }
  const repeating = vcpus.find(({ kind }) => kind === "populate" || kind === "trace");
  if (repeating === undefined) return;
  if (vcpus.some(({ kind }) => kind !== repeating.kind)) {
    throw usageError(
      `vCPUs of kind "${repeating.kind}" begin each repetition together, and others never begin.`,
      `Let all of them be of kind "${repeating.kind}".`,
    );
  }
  if (vcpus.some((plan) => startOf(plan) !== startOf(repeating))) {
    throw usageError(
      `The vCPUs of kind "${repeating.kind}" name different ${repeating.kind === "trace" ? "guests" : "ranges to discard"}.`,
      "Give the same to all: every repetition begins from one state.",
    );
  }
}

/** What a repetition begins from, as a text. */
function startOf(plan: ActorPlan): string {
  if (plan.kind === "populate") return `${plan.discard.hva} ${plan.discard.length}`;
  if (plan.kind !== "trace") return "";
  const { ramSize, ram, pageShift, vcpus, own } = plan.guest;
  return `${ramSize} ${ram.hva} ${ram.length} ${pageShift} ${vcpus} ${own}`;
}
