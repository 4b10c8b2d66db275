/** Exit codes of the command, and how a failure becomes one. */

import { GuestMmuError, type GuestMmuErrorCode } from "../errors.js";
import type { ExploreOutcome } from "../verify/outcome.js";

export const ExitCode = {
  /** Held; done; all as expected. */
  Done: 0,
  /** A violation was found, or a verdict other than the expected one. */
  Violation: 1,
  /** Usage, configuration, or a machine that cannot run it. */
  Usage: 2,
  /** A threshold was missed. */
  Threshold: 3,
  /** Inconclusive: a limit was reached. */
  Inconclusive: 4,
  /** A defect of guestmmu, or of what it stands on. */
  Internal: 70,
  /** Ctrl-C. */
  Interrupted: 130,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** Of the commands that explore. */
export const EXPLORE_EXIT_CODES: Readonly<Record<ExploreOutcome, ExitCode>> = {
  held: ExitCode.Done,
  violation: ExitCode.Violation,
  inconclusive: ExitCode.Inconclusive,
  interrupted: ExitCode.Interrupted,
};

/** Where an error is not the user's to correct. Everything else is usage. */
const NOT_USAGE: Partial<Record<GuestMmuErrorCode, ExitCode>> = {
  CORE_TRAP: ExitCode.Violation,
  WORKER_DIED: ExitCode.Internal,
  DISPOSED: ExitCode.Internal,
  ABORTED: ExitCode.Interrupted,
};

/** Says what went wrong on standard error; a stack is printed for defects only. */
export function reportFailure(error: unknown): ExitCode {
  if (!(error instanceof GuestMmuError)) {
    process.stderr.write(
      `guestmmu: internal error: ${error instanceof Error ? error.stack : String(error)}\n`,
    );
    return ExitCode.Internal;
  }
  process.stderr.write(`guestmmu: ${error.message}\n`);
  if (error.hint) process.stderr.write(`          ${error.hint}\n`);
  return NOT_USAGE[error.code] ?? ExitCode.Usage;
}
