// The command as a user runs it: a process of its own, with its output and its exit code.
import { spawn } from "node:child_process";
import { openSync } from "node:fs";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** Nothing here takes nearly as long, on however busy a machine. */
const PATIENCE_MS = 50_000;

export interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
  readonly ms: number;
}

export interface RunOptions {
  /** Ctrl-C after so long. */
  readonly interruptAfterMs?: number;
  /** Reads standard output until this much has come, then closes it. */
  readonly closeAfter?: number;
  /** Another copy of the command. */
  readonly main?: string;
  /** Standard output goes to this file instead. */
  readonly stdout?: string;
}

/** Runs `guestmmu` with these arguments, in the root of the repository. */
export function guestmmu(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const begin = performance.now();
  const child = spawn(process.execPath, [options.main ?? MAIN, ...args], {
    cwd: ROOT,
    env: { ...process.env, NO_COLOR: "1" },
    stdio: ["ignore", options.stdout === undefined ? "pipe" : openSync(options.stdout, "w"), "pipe"],
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
  if (options.interruptAfterMs !== undefined)
    setTimeout(() => child.kill("SIGINT"), options.interruptAfterMs);
  let out = "";
  let err = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (err += text));
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    out += text;
    if (options.closeAfter !== undefined && out.length >= options.closeAfter) child.stdout!.destroy();
  });
  return new Promise((resolve) => {
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code, out, err, ms: performance.now() - begin });
    });
  });
}
