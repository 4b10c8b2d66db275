/** What becomes of a command whose standard output takes no more. */

import { usageError } from "../errors.js";
import { ExitCode, reportFailure } from "./exit.js";

let outliving = false;

/** What is printed is not all that is wanted: if its reader leaves, the command goes on. */
export function outliveReader(): void {
  outliving = true;
}

/** A reader that has seen enough (`| head`) is not an error; a full disk is one, of the user's. */
export function guardStandardStreams(): void {
  let failed = false;
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (failed) return;
    failed = true;
    const code = error.code === "EPIPE" ? ExitCode.Done : reportUnwritable(error);
    if (!outliving) process.exit(code);
    if (code !== ExitCode.Done) process.once("exit", () => (process.exitCode = code));
  });
  // Progress and messages that nobody reads are no reason to stop.
  process.stderr.on("error", () => undefined);
}

function reportUnwritable(error: NodeJS.ErrnoException): ExitCode {
  return reportFailure(
    usageError(
      `Standard output cannot be written (${error.code ?? error.message}).`,
      "Send it to a file system that has room, or to a terminal.",
      error,
    ),
  );
}
