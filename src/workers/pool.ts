/** Threads for the actors of machines: one Piscina pool, kept from run to run. */

import { setTimeout as delay } from "node:timers/promises";
import { Piscina } from "piscina";
import { HEADER_ABORT, HEADER_STOP } from "../core/layout.generated.js";
import { GuestMmuError, usageError } from "../errors.js";
import type { Machine } from "../machine/machine.js";
import { checkOptions, integer } from "../machine/arguments.js";
import { checkMachine, checkPlans, checkRunOptions, THREADS_MAX, type CheckedOptions } from "./check.js";
import { RunControl } from "./control.js";
import { locksHeldBy } from "./locks.js";
import {
  actorName,
  type ActorEnd,
  type ActorPlan,
  type ActorReport,
  type ActorTask,
  type RunOptions,
  type RunReport,
} from "./plan.js";

/** How long a thread may take to notice that it is to stop, before the machine is aborted under it, and then killed. */
const STOP_GRACE_MS = 2000;

const ENTRY = new URL("./worker.js", import.meta.url).href;

/** What a thread may take to load its entry before `close` no longer waits for it. */
const LOADING_MS = 5_000;
const READY = new URL("./ready.js", import.meta.url).href;
/** `ready` takes no task. */
const READY_TASK = null as unknown as ActorTask;

/**
 * Threads that vCPUs and invalidators run on.
 *
 * ```ts
 * const pool = new VcpuPool({ threads: 2 });
 * const run = pool.start(machine, [{ kind: "cycle", vcpu: 0 }, { kind: "invalidate", host: 1, perSecond: 10_000 }], {
 *   durationMs: 500,
 * });
 * const report = await run.finished;
 * await pool.close();
 * ```
 */
export class VcpuPool {
  readonly threads: number;
  readonly #piscina: Piscina<ActorTask, ActorEnd>;
  readonly #loaded: Promise<void>;
  #run: VcpuRun | null = null;
  #closed = false;

  /** Starts the threads; they are ready some 50 ms later, which the first run waits for. */
  constructor(options: {
    readonly threads: number;
    /** For tests of what happens to a run when a thread dies. */ readonly entry?: string;
  }) {
    checkOptions("options of a pool", options, ["threads", "entry"]);
    const { threads, entry = ENTRY } = options;
    integer("threads", threads, 1, THREADS_MAX);
    this.threads = threads;
    this.#piscina = new Piscina({
      filename: entry,
      minThreads: threads,
      maxThreads: threads,
      idleTimeout: Infinity,
      concurrentTasksPerWorker: 1,
      atomics: "disabled",
    });
    this.#loaded = this.#allLoaded();
    // A thread that dies without a task is replaced; nothing of ours was in it.
    this.#piscina.on("error", () => undefined);
  }

  /**
   * Lets each plan run in a thread of its own, all at once, on a machine that nobody else acts on meanwhile (reading
   * is free). Returns at once.
   *
   * @throws GuestMmuError `USAGE` for options that are out of range and plans that cannot run (together), `ABORTED` or
   *   `CORE_TRAP` for a machine that an earlier run has left broken, `DISPOSED` after `close`.
   */
  start(machine: Machine, plans: readonly ActorPlan[], options: RunOptions): VcpuRun {
    if (this.#closed)
      throw new GuestMmuError("DISPOSED", { message: "The pool is closed.", hint: "Make another one." });
    if (this.#run !== null)
      throw usageError("The pool runs something already.", "Await `finished` of that run first.");
    const checked = checkRunOptions(options);
    checkMachine(machine);
    checkPlans(machine, plans, this.threads);
    const run = new VcpuRun(
      machine,
      plans,
      checked,
      (task) => this.#piscina.run(task),
      () => this.#kill(),
    );
    this.#run = run;
    const release = (): void => {
      this.#run = null;
    };
    run.finished.then(release, release);
    return run;
  }

  /** Ends the threads. A run that is under way is stopped. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#run !== null) {
      this.#run.stop();
      await this.#run.finished.catch(() => undefined);
    }
    await this.#loaded;
    await this.#piscina.destroy();
  }

  /**
   * Settled when every thread has loaded its entry, or failed to. Node 20 aborts the process if a thread is terminated
   * while it loads a module (an assertion in CreateRequiredModuleFacade), so `close` waits for this.
   */
  async #allLoaded(): Promise<void> {
    const answers = Array.from({ length: this.threads }, () =>
      this.#piscina.run(READY_TASK, { filename: READY }),
    );
    await Promise.race([Promise.allSettled(answers), delay(LOADING_MS, undefined, { ref: false })]);
  }

  /** The last resort: locks that the threads hold stay held. */
  #kill(): void {
    this.#closed = true;
    void this.#piscina.destroy();
  }
}

/** A run that has been started. */
export class VcpuRun {
  /**
   * Fulfilled when all threads have come back: at the end, or after `stop`. Rejects, likewise when all are back, with
   * `ABORTED` (the signal), `CORE_TRAP` (a broken invariant, in words), `WORKER_DIED` (which actor, and which locks it
   * held), `FRAMES_EXHAUSTED` and other errors of the machine.
   */
  readonly finished: Promise<RunReport>;
  readonly #machine: Machine;
  readonly #plans: readonly ActorPlan[];
  readonly #actors: readonly number[];
  readonly #control: RunControl;
  readonly #kill: () => void;
  readonly #words: Int32Array;
  #stopping: NodeJS.Timeout | null = null;
  #ended = false;

  /** @internal */
  constructor(
    machine: Machine,
    plans: readonly ActorPlan[],
    options: CheckedOptions,
    post: (task: ActorTask) => Promise<ActorEnd>,
    kill: () => void,
  ) {
    const { durationMs, samples, warmupMs, seed, signal } = options;
    this.#machine = machine;
    this.#plans = plans;
    this.#kill = kill;
    this.#actors = plans.map((plan) =>
      plan.kind === "invalidate" ? machine.configuration.vcpus + plan.host : plan.vcpu,
    );
    const vcpus = plans.filter(({ kind }) => kind !== "invalidate").length;
    this.#control = RunControl.create(plans.length, vcpus, samples);
    this.#words = new Int32Array(machine.core.memory.buffer);
    Atomics.store(this.#words, HEADER_STOP / 4, 0);
    const tasks = plans.map((plan, place): ActorTask => ({
      module: machine.module,
      memory: machine.core.memory,
      actor: this.#actors[place]!,
      place,
      actors: plans.length,
      vcpus,
      control: this.#control.buffer,
      timing: { durationMs, samples, warmupMs },
      seed,
      plan,
    }));
    this.finished = this.#finish(tasks, post, signal);
    // Whoever drops the run on the floor has been told by the process of the failure that matters: not of this one.
    this.finished.catch(() => undefined);
  }

  /** Ends the run early: threads leave their loops at the next access, and `finished` is fulfilled with what they did. */
  stop(): void {
    if (this.#ended) return;
    Atomics.store(this.#words, HEADER_STOP / 4, 1);
    this.#control.stop();
    this.#stopping ??= setTimeout(() => this.#abort(), STOP_GRACE_MS);
  }

  /** What the actors have measured up to now. Costs them nothing. */
  progress(): readonly ActorReport[] {
    return this.#plans.map((plan, place) => ({
      plan,
      name: actorName(plan),
      actor: this.#actors[place]!,
      ...this.#control.measure(place, this.#machine.core.memory, this.#actors[place]!),
    }));
  }

  /** Whoever waits for a lock traps within milliseconds. */
  #abort(): void {
    Atomics.store(this.#words, HEADER_ABORT / 4, 1);
    Atomics.store(this.#words, HEADER_STOP / 4, 1);
    this.#control.stop();
    if (this.#stopping !== null) clearTimeout(this.#stopping);
    this.#stopping = setTimeout(this.#kill, STOP_GRACE_MS);
  }

  async #finish(
    tasks: readonly ActorTask[],
    post: (task: ActorTask) => Promise<ActorEnd>,
    signal: AbortSignal | undefined,
  ): Promise<RunReport> {
    let first: GuestMmuError | null = null;
    let aborted = false;
    const fail = (error: GuestMmuError): void => {
      // A wait that the abort has ended is a consequence, whoever reports first.
      if (first === null || first.code === "ABORTED") first = error;
      this.#abort();
    };
    const onAbort = (): void => {
      aborted = true;
      this.stop();
    };
    if (signal?.aborted) onAbort();
    signal?.addEventListener("abort", onAbort, { once: true });
    let stopped = false;
    await Promise.all(
      tasks.map(async (task) => {
        try {
          const result = await post(task);
          if (result.end === "failed") fail(GuestMmuError.fromJSON(result.error));
          else if (result.end === "stopped") stopped = true;
        } catch (cause) {
          fail(this.#death(task, cause));
        }
      }),
    );
    this.#ended = true;
    if (this.#stopping !== null) clearTimeout(this.#stopping);
    signal?.removeEventListener("abort", onAbort);
    Atomics.store(this.#words, HEADER_STOP / 4, 0);
    if (first !== null) throw first as GuestMmuError;
    if (aborted) {
      throw new GuestMmuError("ABORTED", {
        message: "The run was stopped by its AbortSignal.",
        hint: "The machine is intact and can run again; `stop()` would have kept what was measured.",
      });
    }
    return { actors: this.progress(), stopped };
  }

  /** A thread ended without a report. */
  #death(task: ActorTask, cause: unknown): GuestMmuError {
    const held = locksHeldBy(this.#machine.core.memory, task.actor);
    const why = cause instanceof Error ? cause.message : String(cause);
    const locks = held.length === 0 ? "It held no lock" : `It held ${held.join(", ")}`;
    return new GuestMmuError("WORKER_DIED", {
      message: `The thread of ${actorName(task.plan)} died (${why}). ${locks}.`,
      hint:
        "The machine cannot be used any more: make another one. Where memory ran out, give the run less of it " +
        "(guestmmu doctor shows the limits).",
      cause,
    });
  }
}
