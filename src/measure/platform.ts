/** The machine that a run was made on: figures mean nothing without it. */

import { readFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, platform, release, totalmem } from "node:os";
import { GuestMmuError } from "../errors.js";
import type { MachineJson } from "./results.js";
import { formatBytes } from "../report/units.js";

/** Describes this machine as it is now. */
export function describeMachine(): MachineJson {
  const load = loadavg()[0];
  return {
    cpu: cpus()[0]?.model.trim() || "unknown processor",
    cores: availableParallelism(),
    memory_bytes: totalmem(),
    platform: `${platform()} ${release()} ${process.arch}`,
    node: process.version,
    v8: process.versions.v8,
    load: platform() === "win32" || load === undefined ? null : Math.round(load * 100) / 100,
  };
}

/** One line for the end of a report. */
export function machineLine(machine: MachineJson): string {
  const { cpu, cores, memory_bytes: memory, node, v8, load } = machine;
  return [
    `${cpu}, ${cores} core${cores === 1 ? "" : "s"}, ${formatBytes(memory)}`,
    `Node ${node} (V8 ${v8.split("-")[0]!})`,
    ...(load === null ? [] : [`load ${load} at the start`]),
  ].join(" · ");
}

/** Version of the package. */
export function packageVersion(): string {
  const file = new URL("../../package.json", import.meta.url);
  const { version } = JSON.parse(readFileSync(file, "utf8")) as { version?: string };
  if (version !== undefined) return version;
  throw new GuestMmuError("UNSUPPORTED", {
    message: "package.json has no version.",
    hint: "Install the package again.",
  });
}
