/**
 * The questions that `guestmmu bench` asks, as data: what is timed, and which options mean something to it.
 */

import { PROFILES, type ProfileName } from "../core/profiles.js";

/** Questions, in the order in which they are asked. */
export const QUESTION_NAMES = ["populate", "cycle", "hit", "miss", "trace"] as const;
export type QuestionName = (typeof QUESTION_NAMES)[number];

/** Options that only some questions have a use for. */
export type PartialOption = "workload" | "writePercent" | "memory";

/** One question. */
export interface Question {
  readonly name: QuestionName;
  /** One line for `--help`. */
  readonly says: string;
  /** The operation that is counted, singular: its rate is the row's rate. */
  readonly operation: string;
  readonly uses: ReadonlySet<PartialOption>;
}

const question = (
  name: QuestionName,
  operation: string,
  says: string,
  uses: readonly PartialOption[],
): Question => ({ name, says, operation, uses: new Set(uses) });

export const QUESTIONS: Readonly<Record<QuestionName, Question>> = {
  populate: question("populate", "first touch", "first touch of every page of an empty region", ["memory"]),
  cycle: question(
    "cycle",
    "invalidate + refault",
    "a vCPU's page is dropped by madvise(DONTNEED), then touched",
    ["memory"],
  ),
  hit: question("hit", "access", "steady state, working set inside the TLB", ["workload", "writePercent"]),
  miss: question("miss", "access", "steady state, region far beyond the TLB", [
    "workload",
    "writePercent",
    "memory",
  ]),
  trace: question("trace", "record", "the accesses of a recorded process (with --trace), pages on demand", [
    "memory",
  ]),
};

/** Streams of accesses (assembly/drive). */
export const WORKLOAD_NAMES = ["sequential", "uniform", "zipf", "chase", "shift"] as const;
export type WorkloadName = (typeof WORKLOAD_NAMES)[number];

/** Kernels whose protocol rules a machine can follow, by release tag. */
export const PROFILE_NAMES = Object.keys(PROFILES) as ProfileName[];

/** Who shares what: one region for all vCPUs, or one for each. */
export const REGION_NAMES = ["shared", "per-vcpu"] as const;
export type RegionName = (typeof REGION_NAMES)[number];

/** What a fault does that meets an open invalidation. */
export const RETRY_NAMES = ["wait", "spin"] as const;
export type RetryName = (typeof RETRY_NAMES)[number];

/** Shown wherever a profile is shown. */
export const PROFILE_NOTE =
  "A profile is that kernel's protocol rules on one set of data structures, not that kernel's data structures.";
