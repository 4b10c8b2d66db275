/** One exploration as a piece of work for a thread: plain data in, plain data out. */

import { type ProfileName } from "../core/profiles.js";
import { type RuleName } from "../core/rules.js";
import { type GuestMmuErrorJson } from "../errors.js";
import { type MessagePort } from "node:worker_threads";
import { type ExploredBuild } from "../explore/core.js";
import { type Invitation } from "../explore/crew.js";
import { type ExploreProgress, type Verdict } from "../explore/explore.js";
import { type MemoryModel } from "../explore/memory-model.js";
import { type Strategy } from "../explore/strategies/index.js";
import { type Trace } from "../explore/trace.js";

/** Where a scenario comes from: what a thread needs to have it too. */
export type Source =
  | { readonly kind: "named"; readonly name: string }
  | { readonly kind: "file"; readonly path: string; readonly name: string }
  | { readonly kind: "random"; readonly seed: number }
  | { readonly kind: "claim"; readonly claim: number; readonly row: number };

/** How a job explores. What is left out is up to `explore`. */
export interface JobOptions {
  readonly profile: ProfileName;
  readonly without: readonly RuleName[];
  readonly build: ExploredBuild;
  readonly strategy: Strategy;
  /** Most changes of the running actor, for `bounded`. */
  readonly maxSwitches?: number;
  /** Executions, for `pct` and `random`. */
  readonly executions?: number;
  /** Orderings that a violation may need, for `pct`. */
  readonly depth?: number;
  /** Leave out orders of steps that commute, for `exhaustive`. */
  readonly reduce?: boolean;
  readonly match?: boolean;
  /** Default: that of the scenario. */
  readonly model?: MemoryModel;
  readonly all?: boolean;
  readonly seed?: number;
  readonly maxStates?: number;
  readonly maxDepth?: number;
  /** Milliseconds. */
  readonly maxTime?: number;
}

/** One exploration. */
export interface Job {
  readonly source: Source;
  /** Name of the scenario, before a thread has looked it up. */
  readonly scenario: string;
  readonly options: JobOptions;
  /** What should come out; null if nobody says. */
  readonly expected: "holds" | "violated" | null;
}

/** What was explored: the size of the scope. */
export interface Scope {
  readonly actors: readonly string[];
  readonly frames: number;
  readonly memslots: number;
  /** Guest pages of all memslots. */
  readonly pages: number;
}

/** What became of a job. */
export interface JobResult {
  readonly job: Job;
  /** Null if it could not be explored, or was not begun. */
  readonly verdict: Verdict | null;
  readonly scope: Scope | null;
  readonly holds: string;
  readonly error: GuestMmuErrorJson | null;
}

/** What a thread is given. */
export interface Task {
  readonly job: Job;
  /** `Progress` numbers of this job, for whoever looks. */
  readonly progress: SharedArrayBuffer;
  /** Not 0: stop. */
  readonly stop: SharedArrayBuffer;
  /** Most threads that may search it together. */
  readonly threads: number;
  /** Takes lists of `Invitation`, if there are to be several. */
  readonly invitations: MessagePort;
}

/** What a thread is given that is to help with a job. */
export interface AssistTask {
  readonly job: Job;
  readonly invitation: Invitation;
}

/** What a thread answers; null as an error says that it was told to stop before it began. */
export type Answer =
  | { readonly verdict: Verdict; readonly scope: Scope; readonly holds: string }
  | { readonly error: GuestMmuErrorJson | null };

/** What a replay came to. */
export interface Repeated {
  readonly trace: Trace;
  readonly outcome: string | null;
}

const PHASES: readonly ExploreProgress["phase"][] = ["learning", "searching", "shortening"];
const PROGRESS_NUMBERS = 8;

/** Shared memory for the progress of one job. */
export function progressBuffer(): SharedArrayBuffer {
  return new SharedArrayBuffer(PROGRESS_NUMBERS * 8);
}

export function writeProgress(buffer: SharedArrayBuffer, report: ExploreProgress): void {
  const { phase, states, steps, ends, depth, frontier = NaN, milliseconds } = report;
  const numbers = [1, PHASES.indexOf(phase), states, steps, ends, depth, frontier, milliseconds];
  new Float64Array(buffer).set(numbers);
}

/** Null before the first report. A report under way may be seen half: it is for the eye. */
export function readProgress(buffer: SharedArrayBuffer): ExploreProgress | null {
  const [written, phase, states, steps, ends, depth, frontier, milliseconds] = new Float64Array(
    buffer,
  ) as unknown as [number, number, number, number, number, number, number, number];
  if (written === 0) return null;
  const open = Number.isNaN(frontier) ? undefined : frontier;
  return { phase: PHASES[phase] ?? "searching", states, steps, ends, depth, frontier: open, milliseconds };
}
