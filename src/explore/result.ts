/** What a search is told about its limits, and what it tells: for all strategies, threads and pages alike. */

import { type Finding } from "./ghosts.js";
/** One step of a schedule: who, and which of the ways that he had. */
export interface Move {
  readonly actor: number;
  readonly way: number;
}

/** Something that must not be, and how it came about. */
export interface Violation extends Finding {
  readonly kind: "violation" | "trap" | "deadlock" | "livelock";
  readonly schedule: readonly Move[];
  /** Of a livelock: moves of the schedule before the loop begins. */
  readonly loopFrom?: number;
}

/** When to stop. */
export interface SearchLimits {
  readonly maxStates: number;
  readonly maxDepth: number;
  /** Milliseconds. */
  readonly maxTime: number;
}

/** Judges the end of an execution, every actor done. */
export type FinalCheck = (state: Int32Array) => {
  readonly outcome: string;
  readonly finding: Finding | null;
};

/** How far a search is. */
export interface Counts {
  readonly states: number;
  readonly steps: number;
  readonly ends: number;
  readonly depth: number;
  /** Of depth-first searches: states on the paths being followed with moves that are not tried yet. */
  readonly frontier?: number | undefined;
}

/** A finding about a state, and the moves that show it. */
export interface Inspected extends Finding {
  readonly then: readonly Move[];
}

/** What a search found out. */
export interface SearchResult {
  /** Null: all was seen. Else the limit that ended it. */
  readonly limit: "states" | "depth" | "time" | "stopped" | "executions" | "switches" | null;
  readonly violations: readonly Violation[];
  readonly outcomes: ReadonlyMap<string, number>;
  readonly states: number;
  readonly steps: number;
  /** Ends of executions met (every actor done, blocked or stopped). */
  readonly ends: number;
  readonly depth: number;
  /** Steps back to a state on the way to it: executions that need not end. */
  readonly cycles: number;
  readonly bytes: number;
}
