/** What becomes of a command whose standard output takes no more. */

import { writeSync } from "node:fs";
import { usageError, type GuestMmuError } from "../errors.js";
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

/** How long to wait for a reader whose pipe is full. */
const FULL_PIPE_MS = 2;
const nobodyWakes = new Int32Array(new SharedArrayBuffer(4));

/**
 * Writes a piece of a long listing, and returns when it is out. A stream would keep what its reader has not taken, and tell
 * that the reader has left only after the command's last row, since a listing is made in one go.
 *
 * @throws GuestMmuError `USAGE` if it cannot be written; a reader that has left ends the process.
 */
export function writeStdout(piece: Uint8Array): void {
  for (let at = 0; at < piece.length;) {
    try {
      at += writeSync(process.stdout.fd, piece, at);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EPIPE") process.exit(ExitCode.Done);
      if (code !== "EAGAIN") throw unwritable(error as NodeJS.ErrnoException);
      Atomics.wait(nobodyWakes, 0, 0, FULL_PIPE_MS);
    }
  }
}

function reportUnwritable(error: NodeJS.ErrnoException): ExitCode {
  return reportFailure(unwritable(error));
}

function unwritable(error: NodeJS.ErrnoException): GuestMmuError {
  return usageError(
    `Standard output cannot be written (${error.code ?? error.message}).`,
    "Send it to a file system that has room, or to a terminal.",
    error,
  );
}
