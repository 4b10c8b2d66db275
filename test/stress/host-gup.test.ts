// gup against munmap, mprotect and DONTNEED by real threads, with poison on: a page that is held is never freed, what
// was written to it is there until the page is replaced, no free frame is written to, and the books balance afterwards.
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { HEADER_ABORT } from "../../src/core/layout.generated.js";
import { HostMachine, HUGE, MachineOption, PAGE, Rule } from "../host-machine.js";

interface Report {
  counts: { operations: number; failed: number };
  errors: string[];
}

function run(m: HostMachine, data: Record<string, unknown>): Promise<Report> {
  const worker = new Worker(new URL("./host-worker.mjs", import.meta.url), {
    workerData: { module: m.module, memory: m.memory, abort: HEADER_ABORT, ...data },
  });
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

const CASES = [
  { name: "4 KiB pages, one getter", pages: 600, shift: 12, getters: 1, frames: 1500, build: "release" },
  {
    name: "4 KiB pages, two getters, hardly enough frames",
    pages: 300,
    shift: 12,
    getters: 2,
    frames: 330,
    build: "release",
  },
  {
    name: "2 MiB pages, split and replaced",
    pages: 1024,
    shift: 21,
    getters: 1,
    frames: 4096,
    build: "release",
  },
  { name: "lab build, all rules on", pages: 64, shift: 12, getters: 2, frames: 300, build: "lab" },
] as const;

interface Case {
  pages: number;
  shift: number;
  getters: number;
  frames: number;
  build: "release" | "lab";
  milliseconds: number;
  without?: number[];
}

async function compete(c: Case): Promise<{ m: HostMachine; hva: bigint; fresh: number; reports: Report[] }> {
  const { pages, shift, getters, frames, build, milliseconds, without = [] } = c;
  const options = MachineOption.ZeroPages | MachineOption.Poison;
  const m = new HostMachine({ frames, vcpus: getters, hosts: 1, vmas: 1024, options, build, without });
  const fresh = m.free;
  const hva = m.map(BigInt(pages) * PAGE, { hva: 512n * HUGE, shift });
  const common = { hva, pages, shift, milliseconds };
  const reports = await Promise.all([
    ...Array.from({ length: getters }, (_, i) =>
      run(m, { ...common, role: "getter", actor: i, seed: 77 + i }),
    ),
    run(m, { ...common, role: "zapper", actor: getters, seed: 5 }),
  ]);
  return { m, hva, fresh, reports };
}

for (const { name, ...rest } of CASES) {
  test(name, async () => {
    const { m, hva, fresh, reports } = await compete({ ...rest, milliseconds: 500 });
    expect(reports.flatMap((r) => r.errors)).toEqual([]);
    expect(m.trap).toBe(0);
    for (const { counts } of reports) expect(counts.operations).toBeGreaterThan(100);
    expect(m.imbalance).toBe(0);
    m.unmap(hva, BigInt(rest.pages) * PAGE);
    expect([m.free, m.imbalance]).toEqual([fresh, 0]);
  });
}

/** The canary: the same run must break when a clause that it depends on is left out. */
test("canary: without GetUnlessZero a free page is used", async () => {
  const c: Case = {
    pages: 8,
    shift: 12,
    getters: 2,
    frames: 60,
    build: "lab",
    milliseconds: 1000,
    without: [Rule.GetUnlessZero],
  };
  let broken = false;
  for (let attempt = 0; attempt < 10 && !broken; attempt++) {
    const { m, reports } = await compete(c);
    broken = m.trap !== 0 || reports.some((r) => r.errors.length > 0);
  }
  expect(broken).toBe(true);
});
