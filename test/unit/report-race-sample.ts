// A recorded execution for the tests of the reports: vcpu0 faults on gfn 0x10 and, without the check under mmu_lock,
// installs a page that host0 has unmapped meanwhile. Recorded from the lab module on one thread, every access of which was
// reported to its host; host0 acted as a whole before vcpu0 took mmu_lock. test/data/trace-sample.json has the places of
// accesses in a table of their own. And a small machine for traces written by hand.
import { readFileSync } from "node:fs";
import { Note } from "../../src/core/layout.generated.js";
import {
  type AccessKind,
  type MachineLayout,
  type NoteEvent,
  type Site,
  type Trace,
  type TraceAccess,
} from "../../src/explore/trace.js";

type PackedNote = [kind: number, sub: number, detail: number, a: string, b: string];
type Packed = [
  step: number,
  actor: number,
  site: number,
  address: number,
  size: number,
  before: string,
  after: string,
  shared: number,
  ...notes: PackedNote[],
];

/** The recorded execution. */
export function sampleTrace(): Trace {
  const text = readFileSync(new URL("../data/trace-sample.json", import.meta.url), "utf8");
  const { sites, accesses, ...head } = JSON.parse(text) as Omit<Trace, "accesses"> & {
    sites: Site[];
    accesses: Packed[];
  };
  return {
    ...head,
    accesses: accesses.map(([step, actor, site, address, size, before, after, shared, ...notes]) => ({
      step,
      actor,
      site: sites[site]!,
      address,
      size,
      before: BigInt(before),
      after: BigInt(after),
      shared: shared === 1,
      notes: notes.map(([kind, sub, detail, a, b]) => ({ kind, sub, detail, a: BigInt(a), b: BigInt(b) })),
    })),
  };
}

/** Two vCPUs, two host threads, 64 frames; regions at round addresses. */
export const LAYOUT: MachineLayout = {
  actorsBase: 0x4000,
  histogramsBase: 0xc000,
  slotsBase: 0x18000,
  vmasBase: 0x18200,
  filesBase: 0x18400,
  tlbsBase: 0x19000,
  walkCachesBase: 0x1a000,
  batchesBase: 0x1b000,
  pagesBase: 0x1f000,
  framesBase: 0x20000,
  frameCount: 64,
  vcpuCount: 2,
  hostCount: 2,
  slotMax: 2,
  filePages: 16,
  tlbEntries: 4,
  tlbLargeEntries: 1,
  size: 0x60000,
};

export function note(kind: keyof typeof Note, a = 0n, b = 0n, { sub = 0, detail = 0 } = {}): NoteEvent {
  return { kind: Note[kind], sub, detail, a, b };
}

interface Written {
  actor?: number;
  kind?: AccessKind;
  at?: string;
  size?: number;
  before?: bigint;
  after?: bigint;
  shared?: boolean;
  notes?: NoteEvent[];
}

/** An access written by hand. `at`: `retry.ts:41 retryReason`. */
export function access(address: number, written: Written = {}): Omit<TraceAccess, "step"> {
  const { actor = 0, kind = "load", at = "retry.ts:41 retryReason", size = 4, before = 0n } = written;
  const [, file, line, name] = /^(.*):(\d+) (.*)$/.exec(at)!;
  const site = {
    function: name!,
    file: `assembly/kvm/${file}`,
    line: Number(line),
    kind,
    atomic: true,
    size,
  };
  const { after = before, shared = true, notes = [] } = written;
  return { actor, site, address, size, before, after, shared, notes };
}

/** An execution of vcpu0, vcpu1, host0 and host1, or the first of them, written by hand. */
export function traceOf(accesses: Omit<TraceAccess, "step">[], rest: Partial<Trace> = {}): Trace {
  const all = [
    { name: "vcpu0", kind: "vcpu", index: 0 },
    { name: "vcpu1", kind: "vcpu", index: 1 },
    { name: "host0", kind: "host", index: 2 },
    { name: "host1", kind: "host", index: 3 },
  ] as const;
  const actors = all.slice(0, Math.max(...accesses.map(({ actor }) => actor)) + 1);
  return {
    scenario: "by-hand",
    profile: "v6.13",
    model: "sc",
    rulesOff: [],
    actors,
    accesses: accesses.map((item, step) => ({ step, ...item })),
    end: { kind: "done", name: "", says: "" },
    layout: LAYOUT,
    switches: accesses.filter(({ actor }, i) => i > 0 && accesses[i - 1]!.actor !== actor).length,
    repeat: "guestmmu explore by-hand",
    ...rest,
  };
}
