/** Runs explorations in threads, a few at a time, and shows how far they are. */

import { availableParallelism } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { MessageChannel } from "node:worker_threads";
import { Piscina } from "piscina";
import { GuestMmuError } from "../errors.js";
import { leaderless, lost, type Invitation } from "../explore/crew.js";
import { startProgress } from "../report/progress.js";
import { formatCount, formatDurationNs, formatRate } from "../report/units.js";
import {
  progressBuffer,
  readProgress,
  type Answer,
  type AssistTask,
  type Job,
  type JobResult,
  type Task,
} from "./jobs.js";

const ENTRY = new URL("./worker.js", import.meta.url).href;
const PROGRESS_MS = 250;
/** What a thread may take to load before nobody waits for it any more. */
const LOADING_MS = 5_000;
/** What a thread may take to come to a place where it looks whether it is to stop. */
const STOP_GRACE_MS = 2_000;
const NO_TASK = null as unknown as Task;

/** What came of all jobs, in their order. */
export interface RunOutcome {
  readonly results: readonly JobResult[];
  /** Ctrl-C came. */
  readonly interrupted: boolean;
  readonly milliseconds: number;
}

/** How jobs are run. */
export interface RunSettings {
  /** Threads, of explorations and of those that help with them. Default: as many as there are processors. */
  readonly maxWorkers?: number;
  /** Called with each result as it comes. */
  readonly onResult?: (result: JobResult, index: number) => void;
}

/**
 * Explores each job in a thread. The first Ctrl-C stops them, and what is known by then is returned; the second one ends
 * the process. A job that cannot be explored has its error in its result.
 */
export async function runJobs(jobs: readonly Job[], settings: RunSettings = {}): Promise<RunOutcome> {
  const began = performance.now();
  const most = settings.maxWorkers ?? availableParallelism();
  const threads = Math.max(1, Math.min(jobs.length, most));
  const stop = new SharedArrayBuffer(4);
  let interrupted = false;
  let kill: NodeJS.Timeout | undefined;
  const onSignal = (): void => {
    interrupted = true;
    Atomics.store(new Int32Array(stop), 0, 1);
    kill = setTimeout(() => {
      void piscina.destroy();
      void helpers.destroy();
    }, STOP_GRACE_MS);
  };
  process.once("SIGINT", onSignal);
  process.once("SIGTERM", onSignal);
  const piscina = new Piscina<Task, Answer>({
    filename: ENTRY,
    minThreads: threads,
    maxThreads: threads,
    idleTimeout: Infinity,
    concurrentTasksPerWorker: 1,
    atomics: "disabled",
  });
  piscina.on("error", () => undefined);
  // Node 20 aborts the process if a thread is terminated while it loads a module.
  const allLoaded = Promise.allSettled(
    Array.from({ length: threads }, () => piscina.run(NO_TASK, { name: "ready" })),
  );
  const helpers = new HelperThreads(piscina, most - threads);
  const view = new View(jobs);
  try {
    const results = await Promise.all(
      jobs.map(async (job, index) => {
        const answer = await answerOf(
          piscina,
          { job, progress: view.buffers[index]!, stop, threads: most },
          helpers,
          () => interrupted,
        );
        const result = resultOf(job, answer);
        view.finished(index);
        settings.onResult?.(result, index);
        return result;
      }),
    );
    return { results, interrupted, milliseconds: performance.now() - began };
  } finally {
    view.stop();
    clearTimeout(kill);
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
    await Promise.race([allLoaded, delay(LOADING_MS, undefined, { ref: false })]);
    await helpers.destroy();
    await piscina.destroy();
  }
}

/**
 * Threads that help with a long exploration. There are as many as `--max-workers` leaves beside those that explore; they are
 * started when the first is needed. What more is asked for waits until a thread that explores has nothing else to do.
 */
class HelperThreads {
  readonly #explorers: Piscina;
  readonly #size: number;
  #own: Piscina | null = null;
  readonly #running = new Set<Promise<void>>();

  constructor(explorers: Piscina, size: number) {
    this.#explorers = explorers;
    this.#size = size;
  }

  invite(job: Job, invitations: readonly Invitation[]): void {
    if (this.#size > 0) {
      this.#own ??= new Piscina({
        filename: ENTRY,
        minThreads: this.#size,
        maxThreads: this.#size,
        idleTimeout: Infinity,
        concurrentTasksPerWorker: 1,
        atomics: "disabled",
      });
      this.#own.on("error", () => undefined);
    }
    invitations.forEach((invitation, i) => {
      const task: AssistTask = { job, invitation };
      const running = (i < this.#size ? this.#own! : this.#explorers)
        .run(task, { name: "assist", transferList: [invitation.port] })
        .catch(() => lost(invitation))
        .finally(() => this.#running.delete(running)) as Promise<void>;
      this.#running.add(running);
    });
  }

  /** Waits for those who help, who know by now that they need not, and ends their threads. */
  async destroy(): Promise<void> {
    await Promise.race([Promise.all(this.#running), delay(LOADING_MS, undefined, { ref: false })]);
    await this.#own?.destroy();
  }
}

async function answerOf(
  piscina: Piscina<Task, Answer>,
  task: Omit<Task, "invitations">,
  helpers: HelperThreads,
  interrupted: () => boolean,
): Promise<Answer> {
  const { port1, port2 } = new MessageChannel();
  const invited: Invitation[] = [];
  port1.on("message", (invitations: Invitation[]) => {
    invited.push(...invitations);
    helpers.invite(task.job, invitations);
  });
  try {
    return await piscina.run({ ...task, invitations: port2 }, { transferList: [port2] });
  } catch (cause) {
    for (const invitation of invited) leaderless(invitation);
    if (interrupted()) return { error: null };
    const why = cause instanceof Error ? cause.message : String(cause);
    // What a scenario throws has become an error of its own by here. An engine that is out of memory throws a RangeError, or
    // ends the thread.
    const defect = cause instanceof TypeError || cause instanceof ReferenceError;
    const error = new GuestMmuError("WORKER_DIED", {
      message: `The thread that explored ${task.job.scenario} died (${why}).`,
      hint: defect
        ? "This is a defect of the explorer: please report it."
        : "Where memory ran out, give the scenario fewer actors or calls, or set --max-states.",
      cause,
    });
    return { error: error.toJSON() };
  } finally {
    port1.close();
  }
}

function resultOf(job: Job, answer: Answer): JobResult {
  if ("error" in answer) return { job, verdict: null, scope: null, holds: "", error: answer.error };
  return { job, ...answer, error: null };
}

/** What runs now, in lines on a terminal. */
class View {
  readonly buffers: readonly SharedArrayBuffer[];
  readonly #jobs: readonly Job[];
  readonly #done = new Set<number>();
  readonly #progress = startProgress();
  readonly #timer: NodeJS.Timeout | null;

  constructor(jobs: readonly Job[]) {
    this.#jobs = jobs;
    this.buffers = jobs.map(progressBuffer);
    this.#timer = this.#progress.active
      ? setInterval(() => this.#progress.update(() => this.#lines()), PROGRESS_MS)
      : null;
  }

  finished(index: number): void {
    this.#done.add(index);
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#progress.stop();
  }

  #lines(): string[] {
    const running = this.#jobs.flatMap(({ scenario, options }, index) => {
      const report = this.#done.has(index) ? null : readProgress(this.buffers[index]!);
      if (report === null) return [];
      const { phase, states, ends, depth, frontier, milliseconds } = report;
      const seconds = Math.max(0.001, milliseconds / 1000);
      const without = options.without.length > 0 ? ` without ${options.without.join(", ")}` : "";
      return [
        `  ${scenario} ${options.profile}${without}: ${phase}, ${formatDurationNs(milliseconds * 1e6)}, ` +
          `${formatCount(states)} states (${formatRate(states / seconds)}), depth ${depth}, ` +
          (frontier === undefined ? "" : `frontier ${formatCount(frontier)}, `) +
          `${formatRate(ends / seconds)} executions`,
      ];
    });
    return [`${this.#done.size} of ${this.#jobs.length} done`, ...running];
  }
}
