/** Whether this machine can run guestmmu, and what it means where something is missing. */

import { readFileSync } from "node:fs";
import { availableParallelism, freemem, totalmem } from "node:os";
import { Worker } from "node:worker_threads";
import { compileModule } from "../core/module.js";
import { ABI_VERSION } from "../core/layout.generated.js";
import { GuestMmuError } from "../errors.js";
import { formatBytes, formatDurationNs } from "../report/units.js";
import { packageVersion } from "./platform.js";

export const DOCTOR_SCHEMA = "guestmmu-doctor/1";

/** One thing that was looked at. */
export interface DoctorCheck {
  readonly name: string;
  /** `missing`: guestmmu cannot run. `warning`: it can, and something will be worse. */
  readonly status: "ok" | "warning" | "missing";
  readonly found: string;
  /** What it means, and what to do; empty where all is well. */
  readonly means: string;
  readonly todo: string;
}

/** The document that `guestmmu doctor --json` prints. */
export interface DoctorReport {
  readonly schema: typeof DOCTOR_SCHEMA;
  readonly guestmmu: string;
  readonly fit: boolean;
  readonly checks: readonly DoctorCheck[];
}

const NODE_MIN: readonly [major: number, minor: number] = [20, 12];
const MODULE_MAX_BYTES = 64 * 1024;
const MEMORY_WANTED = 512 * 1024 * 1024;
const MEMORY_NEEDED = 96 * 1024 * 1024;

/** Looks at everything; takes about a tenth of a second. */
export async function examine(): Promise<DoctorReport> {
  const checks = [
    checkNode(),
    checkSharedMemory(),
    await checkWorkers(),
    checkCores(),
    checkMemory(),
    ...(["release", "lab"] as const).map(checkModule),
    await checkFault(),
    checkTerminal(),
  ];
  return {
    schema: DOCTOR_SCHEMA,
    guestmmu: packageVersion(),
    fit: checks.every(({ status }) => status !== "missing"),
    checks,
  };
}

function ok(name: string, found: string): DoctorCheck {
  return { name, status: "ok", found, means: "", todo: "" };
}

function warning(name: string, found: string, means: string, todo: string): DoctorCheck {
  return { name, status: "warning", found, means, todo };
}

function missing(name: string, found: string, means: string, todo: string): DoctorCheck {
  return { name, status: "missing", found, means, todo };
}

function checkNode(): DoctorCheck {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const found = `${process.version} (V8 ${process.versions.v8})`;
  if (major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1])) return ok("Node.js", found);
  return missing(
    "Node.js",
    found,
    "Older versions are not tested.",
    `Install Node.js ${NODE_MIN.join(".")} or later.`,
  );
}

function checkSharedMemory(): DoctorCheck {
  const name = "shared memory";
  try {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
    memory.grow(65535);
    return ok(
      name,
      `WebAssembly.Memory of ${formatBytes(memory.buffer.byteLength)} reserved, none of it touched`,
    );
  } catch (error) {
    return missing(
      name,
      `not available: ${(error as Error).message}`,
      "vCPUs and invalidators are threads over one shared WebAssembly.Memory of up to 4 GiB of address space.",
      "Raise the limit on address space (ulimit -v unlimited), or run outside of this sandbox.",
    );
  }
}

async function checkWorkers(): Promise<DoctorCheck> {
  const name = "worker threads";
  const source = `const { parentPort, workerData } = require("node:worker_threads");
    Atomics.wait(workerData, 0, 0, 2000); parentPort.postMessage(Atomics.load(workerData, 0));`;
  try {
    const word = new Int32Array(new SharedArrayBuffer(4));
    const begin = performance.now();
    const worker = new Worker(source, { eval: true, workerData: word });
    const answer = new Promise<number>((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
      worker.once("exit", (code) => reject(new Error(`the thread ended with code ${code}`)));
    });
    Atomics.store(word, 0, 1);
    Atomics.notify(word, 0);
    if ((await answer) !== 1) throw new Error("a store of another thread was not seen");
    const ms = performance.now() - begin;
    await worker.terminate();
    return ok(name, `a thread starts and answers in ${formatDurationNs(ms * 1e6)}`);
  } catch (error) {
    return missing(
      name,
      `not available: ${(error as Error).message}`,
      "Every vCPU of a measurement is a thread.",
      "Raise the limit on processes (ulimit -u), or run outside of this sandbox.",
    );
  }
}

function checkCores(): DoctorCheck {
  const name = "processors";
  const cores = availableParallelism();
  const found = `${cores} available`;
  if (cores >= 3) return ok(name, found);
  if (cores === 2) {
    return ok(name, `${found}: two vCPUs, or one and an invalidator, run side by side; more share them`);
  }
  return warning(
    name,
    found,
    "vCPUs and invalidators take turns: figures of more than one thread say little.",
    "Give it two processors or more (taskset, cgroup cpuset, the virtual machine's settings).",
  );
}

/** The least of what the machine has, the cgroup allows, and the kernel would give now. */
function checkMemory(): DoctorCheck {
  const name = "memory";
  const limits: [what: string, bytes: number][] = [["installed", totalmem()]];
  const available = linesOf("/proc/meminfo")
    .find((line) => line.startsWith("MemAvailable:"))
    ?.match(/\d+/)?.[0];
  limits.push(["available", available === undefined ? freemem() : Number(available) * 1024]);
  for (const file of ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]) {
    const limit = Number(linesOf(file)[0]);
    if (limit > 0 && limit < totalmem()) limits.push(["cgroup limit", limit]);
  }
  const addresses = linesOf("/proc/self/limits")
    .find((line) => line.startsWith("Max address space"))
    ?.match(/(\d+)/)?.[1];
  if (addresses !== undefined) limits.push(["ulimit -v", Number(addresses)]);
  const least = Math.min(...limits.map(([, bytes]) => bytes));
  const found = limits.map(([what, bytes]) => `${formatBytes(bytes)} ${what}`).join(", ");
  if (least >= MEMORY_WANTED) return ok(name, found);
  const means = "A measurement touches about 100 MiB with 4 KiB pages, 400 MiB and more with 2 MiB pages.";
  return least >= MEMORY_NEEDED
    ? warning(name, found, means, "Give --memory 16m and --page-size 4k, or more memory.")
    : missing(name, found, means, "Free some memory, or raise the limit.");
}

function linesOf(file: string): string[] {
  try {
    return readFileSync(file, "utf8").split("\n");
  } catch {
    return []; // not this system, or not this kind of cgroup
  }
}

function checkModule(build: "release" | "lab"): DoctorCheck {
  const name = `${build} module`;
  try {
    const begin = performance.now();
    // First: it says what to do where the file is not there.
    compileModule(build);
    const ms = performance.now() - begin;
    const bytes = readFileSync(new URL(`../../build/${build}.wasm`, import.meta.url)).byteLength;
    const found = `${formatBytes(bytes)}, ABI ${ABI_VERSION}, compiled in ${formatDurationNs(ms * 1e6)}`;
    if (build === "lab" || bytes <= MODULE_MAX_BYTES) return ok(name, found);
    return warning(
      name,
      found,
      `It is meant to stay within ${formatBytes(MODULE_MAX_BYTES)}.`,
      "Please report it.",
    );
  } catch (error) {
    const { message, hint } = asGuestMmuError(error);
    const means =
      build === "release"
        ? "Nothing runs without it."
        : "Rules of the protocol cannot be left out without it.";
    return (build === "release" ? missing : warning)(name, message, means, hint);
  }
}

/** One page fault through a machine of the smallest kind. */
async function checkFault(): Promise<DoctorCheck> {
  const name = "one page fault";
  try {
    const { takeOneFault } = await import("./selftest.js");
    return ok(name, takeOneFault());
  } catch (error) {
    const { message, hint } = asGuestMmuError(error);
    return missing(name, message, "The core does not work on this machine.", hint || "Please report it.");
  }
}

function asGuestMmuError(error: unknown): { message: string; hint: string } {
  if (error instanceof GuestMmuError) return error;
  return { message: error instanceof Error ? error.message : String(error), hint: "" };
}

function checkTerminal(): DoctorCheck {
  const name = "terminal";
  if (process.stderr.isTTY !== true)
    return ok(name, "none on standard error: no live progress, results only");
  if (process.env["TERM"] === "dumb") return ok(name, "TERM is dumb: no live progress, results only");
  return ok(name, `${process.stderr.columns} columns, live progress`);
}
