// What does it take before anything runs: memory of an empty machine, the module, the first figure on screen?
import { spawn } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as L from "../../dist/core/layout.generated.js";
import { Machine } from "../machine.mjs";
import { figure, isReached, limitRow } from "../turns.mjs";

const MODULE = fileURLToPath(new URL("../../build/release.wasm", import.meta.url));
const COMMAND = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

/** Bytes of a machine with this much guest-physical space behind one memslot, and those of them that are not zero. */
async function emptyMachine(space) {
  const machine = await Machine.create({ frames: 16384 });
  const { calls } = machine;
  const hva = 0x10_0000_0000n;
  if (calls.hostMmap(1, hva, space, L.VmaFlag.Read | L.VmaFlag.Write, 12) !== hva)
    throw new Error("mmap failed");
  if (calls.kvmSetMemslot(1, 0, 0n, space / 4096n, hva, 0) !== 0) throw new Error("memslot failed");
  let touched = 0;
  for (let at = 0; at < machine.size / 8; at += 512) {
    if (machine.u64.subarray(at, at + 512).some((word) => word !== 0n)) touched += 4096;
  }
  return { size: machine.size, touched };
}

export const memory = {
  name: "memory",
  says: "an empty machine with 1 TiB of guest-physical space against one with 1 GiB",
  clock: "no",
  async run() {
    const small = await emptyMachine(1n << 30n);
    const large = await emptyMachine(1n << 40n);
    const row = (name, a, b) => ({
      case: name,
      unit: "bytes",
      core: figure([a]),
      other: figure([b]),
      against: "1 GiB",
      reads: "1 TiB / 1 GiB",
      digest: null,
      ratio: { median: a / b },
      target: { atMost: 1 },
      reached: isReached(a / b, { atMost: 1 }),
      counts: {},
    });
    return [
      row("size of the machine", large.size, small.size),
      row("pages touched", large.touched, small.touched),
    ];
  },
};

export const moduleSize = {
  name: "module",
  says: "the release module",
  clock: "no",
  async run() {
    return [
      limitRow({
        case: "release.wasm",
        unit: "bytes",
        values: [statSync(MODULE).size],
        reads: "bytes",
        target: { atMost: 131072 },
      }),
    ];
  },
};

/** ms from the start of `guestmmu bench --quick` to the first line on stdout that holds a figure with a unit. */
function firstFigure() {
  return new Promise((resolve, reject) => {
    const begin = performance.now();
    const child = spawn(process.execPath, [COMMAND, "bench", "--quick"], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    let errors = "";
    child.stderr.on("data", (chunk) => (errors += chunk));
    child.stdout.on("data", (chunk) => {
      output += chunk;
      if (!/\d [kMG]?\/s/.test(output)) return;
      resolve(performance.now() - begin);
      child.kill("SIGTERM");
    });
    child.on("exit", (code) =>
      reject(new Error(`guestmmu bench --quick ended (${code}) without a figure: ${errors.trim()}`)),
    );
  });
}

export const firstFigureTime = {
  name: "first-figure",
  says: "from the start of `guestmmu bench --quick` to its first figure",
  clock: "wall",
  async run(context) {
    if (!existsSync(COMMAND)) return [];
    const values = [];
    for (let i = 0; i < Math.min(context.rounds, 5); i++) values.push((await firstFigure()) / 1000);
    return [limitRow({ case: "first figure", unit: "s", values, reads: "seconds", target: { atMost: 2 } })];
  },
};
