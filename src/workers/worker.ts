/**
 * Entry of a thread: attaches to the machine, acts as one vCPU or host thread until the run ends, and reports.
 *
 * Time lives here, as the core has no clock. A vCPU alternates slices, of some tens of microseconds inside the core,
 * with single steps that are timed for the latency histogram. Only slices count in the rates.
 */

import { Core } from "../core/core.js";
import type { CoreCalls } from "../core/abi.js";
import {
  Activity,
  AttachResult,
  DriveStatus,
  HEADER_ABORT,
  HEADER_OFFSET_BATCHES_BASE,
  HEADER_OFFSET_BATCH_SIZE,
  HEADER_STOP,
  HostStatus,
} from "../core/layout.generated.js";
import { GuestMmuError } from "../errors.js";
import { RunControl, SharedClock } from "./control.js";
import { Pace } from "./pace.js";
import {
  TRACE_RECORD_BYTES,
  actorName,
  type ActorEnd,
  type ActorPlan,
  type ActorTask,
  type InvalidatePlan,
  type TracePlan,
} from "./plan.js";
import { startProcesses } from "./process.js";

/** Length that slices are steered to. A stop, too, is noticed this late at most. */
const SLICE_MS = 0.03;
const SLICE_MIN = 1;
const SLICE_MAX = 65536;

/** What the last vCPU to end a pass has decided for all. */
const Verdict = { Again: 0, Done: 1 } as const;

/** Does up to so many operations inside the core; returns how many. */
type Slice = (count: number) => number;
/** Times a single one; returns the time after it. */
type Sample = () => number;

/** A slice that was run: its own time, and when the sample after it ended. */
interface Ran {
  readonly operations: number;
  readonly ms: number;
  readonly end: number;
}

/** What a pass consists of. */
interface PassWork {
  readonly slice: Slice;
  readonly sample: Sample;
  /** True at the end of a pass. */
  finished(): boolean;
  /** This vCPU begins again. */
  rewind(): void;
  /** Restores what all vCPUs begin from, while all of them wait. */
  restart(): void;
}

/** Cuts the timed part into samples, at the same moments in all threads. */
class Intervals {
  private sample = 1;
  private operations = 0;
  private ms = 0;

  constructor(
    private readonly task: ActorTask,
    private readonly control: RunControl,
  ) {}

  /** Adds a slice; returns the time. */
  add(ran: Ran): number {
    this.operations += ran.operations;
    this.ms += ran.ms;
    this.control.record(this.task.place, ran.operations, ran.ms);
    this.end(ran.end);
    return ran.end;
  }

  /** Ends the sample if its time is over. A wait may have outlasted several: the next one begins where now is. */
  end(now: number): void {
    const { durationMs, samples } = this.task.timing;
    const lengthMs = durationMs / samples;
    const passed = Math.floor((now - this.control.startAt) / lengthMs + 1e-9);
    if (passed < this.sample || this.operations === 0) return;
    this.control.endSample(this.task.place, Math.min(passed, samples) - 1, this.operations, this.ms);
    this.control.time(this.task.place, "last", now);
    this.sample = passed + 1;
    this.operations = 0;
    this.ms = 0;
  }
}

/** Runs one task; Piscina calls it. Errors of the core are reported, not thrown: a rejection means that the thread died. */
export default function act(task: ActorTask): ActorEnd {
  try {
    return new Actor(task).run();
  } catch (error) {
    if (error instanceof GuestMmuError) return { end: "failed", error: error.toJSON() };
    throw error;
  }
}

/** A thread at work. */
class Actor {
  private readonly calls: CoreCalls;
  private readonly control: RunControl;
  private readonly clock = new SharedClock();
  private readonly words: Int32Array;
  private readonly actor: number;
  private readonly place: number;
  /** Operations in a slice, steered towards SLICE_MS. */
  private sliceLength = 16;
  private jitter: number;

  constructor(private readonly task: ActorTask) {
    const core = Core.on(task.module, task.memory);
    this.calls = core.calls;
    const attached = this.calls.attach();
    if (attached !== AttachResult.Ok) {
      throw new GuestMmuError("MODULE_MISMATCH", {
        message: `A thread found no machine of its version in the memory (${attached}).`,
        hint: "Start the run on the machine whose module and memory these are.",
      });
    }
    this.control = new RunControl(task.control, task.actors);
    this.words = new Int32Array(task.memory.buffer);
    this.actor = task.actor;
    this.place = task.place;
    this.jitter = (task.seed ^ Math.imul(task.actor + 1, 0x9e3779b9)) | 1;
  }

  run(): ActorEnd {
    const { plan } = this.task;
    const ended = this.follow(plan);
    if (plan.kind !== "invalidate") this.control.leave();
    return { end: ended ? "done" : "stopped" };
  }

  private follow(plan: ActorPlan): boolean {
    const { calls, actor } = this;
    switch (plan.kind) {
      case "run":
        return this.steady(
          (count) => calls.driveRun(actor, count),
          () => this.sample(Activity.Run),
        );
      case "cycle":
        return this.steady(
          (count) => calls.driveCycle(actor, count),
          () => this.sample(Activity.Cycle),
        );
      case "populate":
        return this.passes({
          rewind: () => calls.driveRewind(actor),
          slice: (count) => calls.drivePopulate(actor, count),
          sample: () => this.sample(Activity.Populate),
          finished: () => calls.driveStatus(actor) === DriveStatus.Finished,
          restart: () => {
            const status = calls.hostDontneed(actor, plan.discard.hva, plan.discard.length);
            if (status !== HostStatus.Ok) throw driveError(DriveStatus.HostRefused, actorName(plan));
          },
        });
      case "trace":
        return this.passes(this.tracePass(plan));
      case "invalidate":
        return this.invalidate(plan);
    }
  }

  /** True if the run has been ended from outside. */
  private get stopped(): boolean {
    return (
      this.control.stopped ||
      Atomics.load(this.words, HEADER_STOP / 4) !== 0 ||
      Atomics.load(this.words, HEADER_ABORT / 4) !== 0
    );
  }

  /** All actors begin the timed part together: counters and histograms begin there. */
  private begin(): boolean {
    const ready = this.control.arrive(this.task.actors, () => {
      this.control.startAt = this.clock.now();
    });
    if (!ready) return false;
    this.calls.histogramClear(this.actor);
    this.control.time(this.place, "first", this.clock.now());
    this.control.beginCounts(this.place, this.task.memory, this.actor);
    return true;
  }

  private finish(): void {
    this.control.time(this.place, "last", this.clock.now());
    this.control.endCounts(this.place, this.task.memory, this.actor);
  }

  /** The work of `run` and `cycle`: a slice, a sample, a slice, ... until the time is over. */
  private steady(slice: Slice, sample: Sample): boolean {
    const { durationMs, warmupMs } = this.task.timing;
    const warm = this.clock.now() + warmupMs;
    while (this.clock.now() < warm && !this.stopped) this.slice(slice, sample);
    if (!this.begin()) return false;
    const start = this.control.startAt;
    const intervals = new Intervals(this.task, this.control);
    let now = start;
    while (now < start + durationMs) {
      if (this.stopped) return this.cut();
      const ran = this.slice(slice, sample);
      now = intervals.add(ran);
    }
    intervals.end(now);
    this.finish();
    return true;
  }

  /** The work of `populate` and `trace`: passes that all vCPUs begin together, from a state that one of them restores. */
  private passes(work: PassWork): boolean {
    const { durationMs, warmupMs } = this.task.timing;
    if (!this.passesUntil(this.clock.now() + warmupMs, work, null)) return false;
    if (!this.begin()) return false;
    const intervals = new Intervals(this.task, this.control);
    if (!this.passesUntil(this.control.startAt + durationMs, work, intervals)) return this.cut();
    intervals.end(this.clock.now());
    this.finish();
    return true;
  }

  /** Pass after pass until `endMs`, which cuts the last one short. False if the run was stopped. */
  private passesUntil(endMs: number, work: PassWork, intervals: Intervals | null): boolean {
    const decide = (): void => {
      work.restart();
      this.control.verdict = this.clock.now() < endMs ? Verdict.Again : Verdict.Done;
    };
    do {
      work.rewind();
      let now = this.clock.now();
      while (now < endMs && !this.stopped) {
        const ran = this.slice(work.slice, work.sample);
        now = intervals === null ? ran.end : intervals.add(ran);
        if (work.finished()) break;
      }
      // Whoever comes first waits: at most for the rest of a pass, or until `endMs`, which is the same for all.
      if (!this.control.arriveVcpus(this.task.vcpus, decide)) return false;
    } while (this.control.verdict === Verdict.Again);
    return true;
  }

  /** The end of a run that was stopped: what was measured so far counts. */
  private cut(): boolean {
    this.finish();
    return false;
  }

  /** One slice and one timed step after it. The time of the step is not the slice's. */
  private slice(run: Slice, sample: Sample): Ran {
    const count = this.nextLength();
    const begin = this.clock.now();
    const operations = run(count);
    const between = this.clock.now();
    if (operations < count) this.check();
    this.steer(operations, between - begin);
    return { operations, ms: between - begin, end: sample() };
  }

  /** Times one step; returns the time after it. */
  private sample(activity: Activity): number {
    // What is timed of a cycle is the touch: the page is discarded before.
    if (activity === Activity.Cycle && !this.calls.driveCyclePrepare(this.actor)) {
      this.check();
      return this.clock.now();
    }
    return this.time(() => this.calls.driveSample(this.actor, activity));
  }

  private time(step: () => number): number {
    const begin = this.clock.now();
    const done = step();
    const end = this.clock.now();
    if (done === 1) this.calls.histogramRecord(this.actor, BigInt(Math.round((end - begin) * 1e6)));
    return end;
  }

  /** Slices of one length would sample the same phase of a periodic load again and again: vary by a quarter. */
  private nextLength(): number {
    this.jitter ^= this.jitter << 13;
    this.jitter ^= this.jitter >>> 17;
    this.jitter ^= this.jitter << 5;
    const factor = 0.75 + ((this.jitter >>> 16) / 65536) * 0.5;
    return Math.max(SLICE_MIN, Math.round(this.sliceLength * factor));
  }

  private steer(operations: number, ms: number): void {
    if (operations === 0 || ms <= 0) return;
    const wanted = (operations / ms) * SLICE_MS;
    // A slice during which the thread lost its core says nothing about the next: move by a factor of two at most.
    const next = Math.min(this.sliceLength * 2, Math.max(this.sliceLength / 2, wanted));
    this.sliceLength = Math.min(SLICE_MAX, Math.max(SLICE_MIN, next));
  }

  /** Why a driver came back early: stopping is none of its business, everything else ends the run. */
  private check(): void {
    const status = this.calls.driveStatus(this.actor);
    if (status === DriveStatus.Ok || status === DriveStatus.Stopped || status === DriveStatus.Finished)
      return;
    throw driveError(status, actorName(this.task.plan));
  }

  /** The records of a trace, copied to the vCPU's batch buffer in pieces between slices. */
  private tracePass(plan: TracePlan): PassWork {
    const view = new DataView(this.task.memory.buffer);
    const size = view.getUint32(HEADER_OFFSET_BATCH_SIZE, true);
    const base = view.getUint32(HEADER_OFFSET_BATCHES_BASE, true) + this.actor * size;
    const buffer = new Uint8Array(this.task.memory.buffer, base, size);
    const source = new Uint8Array(plan.records);
    const room = Math.floor(size / TRACE_RECORD_BYTES);
    const total = source.length / TRACE_RECORD_BYTES;
    let first = -1; // number of the first record in the buffer
    let held = 0;
    let next = 0; // position in the buffer
    const load = (from: number): void => {
      next = 0;
      if (from === first) return;
      first = from;
      held = Math.min(room, total - from);
      buffer.set(source.subarray(from * TRACE_RECORD_BYTES, (from + held) * TRACE_RECORD_BYTES));
    };
    const records = (count: number): number => {
      const done = this.calls.driveTrace(this.actor, next, Math.min(count, held - next));
      next += done;
      return done;
    };
    const used = (): boolean => next === held;
    return {
      rewind: () => load(0),
      slice: records,
      sample: () => {
        if (used() && first + held < total) load(first + held);
        return used() ? this.clock.now() : this.time(() => records(1));
      },
      finished: () => {
        if (used() && first + held < total) load(first + held);
        return used();
      },
      restart: () => startProcesses(this.calls, plan.guest),
    };
  }

  /** Invalidations at the pace that was asked for, until the last vCPU has left. */
  private invalidate(plan: InvalidatePlan): boolean {
    const { warmupMs } = this.task.timing;
    const pace = new Pace(plan.perSecond, this.clock.now());
    const warm = this.clock.now() + warmupMs;
    while (this.clock.now() < warm && !this.stopped) this.invalidateOnce(pace);
    if (!this.begin()) return false;
    const begin = this.clock.now();
    pace.restart(begin);
    while (this.control.vcpusLeft > 0) {
      if (this.stopped) return this.cut();
      const done = this.invalidateOnce(pace);
      if (done > 0) this.control.record(this.place, done, 0);
      this.control.time(this.place, "last", this.clock.now());
    }
    this.finish();
    return true;
  }

  /** Does what is due, or waits for a moment. */
  private invalidateOnce(pace: Pace): number {
    const due = pace.due(this.clock.now());
    if (due > 0) {
      const done = this.calls.driveInvalidate(this.actor, due);
      if (done < due) this.check();
      pace.did(done);
      return done;
    }
    const waitMs = pace.waitMs(this.clock.now());
    if (waitMs > 0) this.control.sleep(waitMs);
    return 0;
  }
}

/** The error for a driver that cannot go on. */
function driveError(status: number, who: string): GuestMmuError {
  switch (status) {
    case DriveStatus.OutOfFrames:
      return new GuestMmuError("FRAMES_EXHAUSTED", {
        message: `${who} found no free frame of host memory.`,
        hint: "Create the machine with more frames, or let the vCPUs touch less.",
      });
    case DriveStatus.GuestOutOfMemory:
      return new GuestMmuError("FRAMES_EXHAUSTED", {
        message: `${who} found no free frame of guest memory.`,
        hint: "Boot the guest with more RAM.",
      });
    case DriveStatus.HostFault:
    case DriveStatus.HostRefused:
      return new GuestMmuError("VMA_INVALID", {
        message: `${who} met an address that the host has not mapped.`,
        hint: "Map what is behind the memslots, and name ranges that are mapped.",
      });
    case DriveStatus.Interrupted:
      return new GuestMmuError("ABORTED", {
        message: `${who} was asked to leave guest mode.`,
        hint: "Let vCPUs of a run alone: stop the run instead.",
      });
    default:
      return new GuestMmuError("CONFIG_INVALID", {
        message: `${who} cannot do what its plan asks (drive status ${status}).`,
        hint: "Configure window and workload of the vCPU to fit the plan.",
      });
  }
}
