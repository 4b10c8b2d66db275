/** How a command of the explorer ended, from what its explorations came to. */

import { GuestMmuError } from "../errors.js";
import { type JobResult } from "./jobs.js";

/** In the order in which they count: the first that applies is told. */
export type ExploreOutcome = "violation" | "interrupted" | "inconclusive" | "held";

/** True if the verdict is one that nobody wanted: a violation, or what was not expected. */
export function unexpected({ job, verdict }: JobResult): boolean {
  if (verdict === null || verdict.verdict === "inconclusive") return false;
  return verdict.verdict !== (job.expected ?? "holds");
}

/** Throws the first error of a job that could not be explored. */
export function requireExplored(results: readonly JobResult[]): void {
  const failed = results.find(({ error }) => error !== null);
  if (failed?.error) throw GuestMmuError.fromJSON(failed.error);
}

/** How it ended as a whole. */
export function outcomeOf(results: readonly JobResult[], interrupted: boolean): ExploreOutcome {
  if (results.some(unexpected)) return "violation";
  if (interrupted) return "interrupted";
  return results.every(({ verdict }) => verdict !== null && verdict.verdict !== "inconclusive")
    ? "held"
    : "inconclusive";
}
