// Workloads as they touch memory: which pages, in which order, how many accesses, and why a driver comes back.
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import {
  DriveMachine,
  DriveStatus,
  GuestMapping,
  MIB,
  MachineOption,
  Outcome,
  PAGE,
  Stat,
  USER,
  Workload,
} from "../drive-machine.js";

const PAGES = 64;

function machine(configuration = {}): DriveMachine {
  const m = new DriveMachine(configuration);
  m.map(BigInt(PAGES) * PAGE);
  return m;
}

/** Steps whose page the guest has mapped on demand: those touched so far. */
function touched(m: DriveMachine, steps = PAGES): number[] {
  return [...new Array(steps).keys()].filter((i) => m.leaf(USER + BigInt(i) * PAGE) !== 0n);
}

test("sequential: one after another, round and round, whatever the slices", () => {
  const m = machine();
  m.drive(0, { steps: PAGES });
  expect(m.u32("driveRun", 0, 10)).toBe(10);
  expect(touched(m)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(m.u32("driveRun", 0, 1)).toBe(1);
  expect(touched(m).length).toBe(11);
  expect(m.u32("driveRun", 0, 1000)).toBe(1000);
  expect(touched(m).length).toBe(PAGES);
  expect(m.stat(0, Stat.Accesses)).toBe(1011);
  expect(m.imbalance).toBe(0);
});

test("uniform: every step in the end, none outside the window", () => {
  const m = machine();
  m.drive(0, { steps: 32, gva: USER + 16n * PAGE, workload: Workload.Uniform, write: 500 });
  expect(m.u32("driveRun", 0, 1000)).toBe(1000);
  expect(touched(m)).toEqual([...new Array(32).keys()].map((i) => i + 16));
});

test("zipf: few pages take most accesses", () => {
  const m = machine();
  m.drive(0, { steps: PAGES, workload: Workload.Zipf });
  m.u32("driveRun", 0, 40);
  expect(touched(m).length).toBeLessThan(32);
  m.u32("driveRun", 0, 20_000);
  expect(touched(m).length).toBe(PAGES);
});

test("shifting: stays in its set, then moves, round the end of the window", () => {
  const m = machine();
  m.drive(0, { steps: PAGES, workload: Workload.Shifting, set: [8, 20, 500] });
  m.u32("driveRun", 0, 500);
  expect(touched(m)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  m.u32("driveRun", 0, 500);
  expect(touched(m)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 20, 21, 22, 23, 24, 25, 26, 27]);
  m.u32("driveRun", 0, 1000); // at 40 and at 60, of which four are at the window's beginning
  expect(touched(m).slice(16)).toEqual([40, 41, 42, 43, 44, 45, 46, 47, 60, 61, 62, 63]);
});

test("a mix of writes writes about as much as it says, 0 and 1000 exactly", () => {
  for (const [write, low, high] of [
    [0, 0, 0],
    [300, 270, 330],
    [1000, 1000, 1000],
  ] as const) {
    const m = new DriveMachine({ options: MachineOption.ZeroPages });
    m.map(1000n * PAGE, { eager: true });
    m.drive(0, { steps: 1000, write });
    m.u32("driveRun", 0, 1000);
    let written = 0;
    // Step i is at 64 i within its page: a write leaves something there.
    for (let i = 0n; i < 1000n; i++) if (m.load(USER + i * PAGE + ((i << 6n) & 0xfc0n)) !== 0n) written++;
    expect(written).toBeGreaterThanOrEqual(low);
    expect(written).toBeLessThanOrEqual(high);
  }
});

describe("pointer chase", () => {
  test("the links in guest memory form one cycle through all steps", () => {
    const m = machine();
    m.drive(0, { steps: 50, workload: Workload.Chase });
    expect(m.u32("driveBuildChase", 0, 1 << 20)).toBe(50);
    expect(m.status()).toBe(DriveStatus.Finished);
    const start = [...new Array(50).keys()].map(
      (i) => USER + BigInt(i) * PAGE + ((BigInt(i) << 6n) & 0xfc0n),
    );
    const seen = new Set<bigint>();
    for (let at = start[0]!; !seen.has(at); at = m.load(at)) seen.add(at);
    expect([...seen].sort()).toEqual([...start].sort());
    expect([...seen]).not.toEqual(start);
    expect(m.u32("driveRun", 0, 175)).toBe(175);
  });

  test("links that the host discards are written again", () => {
    const m = machine();
    m.drive(0, { steps: PAGES, workload: Workload.Chase });
    m.u32("driveBuildChase", 0, PAGES);
    const gpa = m.u64("guestRegionGpa", 0, USER);
    m.dontneed(gpa + 8n * PAGE, 16n * PAGE);
    expect(m.u32("driveRun", 0, PAGES)).toBe(PAGES);
    expect(m.status()).toBe(DriveStatus.Ok);
    for (let i = 0n; i < BigInt(PAGES); i++) {
      const link = m.load(USER + i * PAGE + ((i << 6n) & 0xfc0n));
      expect(link - USER < BigInt(PAGES) * PAGE).toBe(true);
    }
  });

  test("stores of the mix count as accesses, and leave the links alone", () => {
    const m = machine();
    m.drive(0, { steps: PAGES, workload: Workload.Chase, write: 500 });
    m.u32("driveBuildChase", 0, PAGES);
    const before = m.stat(0, Stat.Accesses);
    const done = m.u32("driveRun", 0, 3000);
    expect(done).toBeGreaterThanOrEqual(3000);
    expect(m.stat(0, Stat.Accesses) - before).toBe(done);
    const seen = new Set<bigint>();
    for (let at = USER; !seen.has(at); at = m.load(at)) seen.add(at);
    expect(seen.size).toBe(PAGES);
  });
});

describe("populate", () => {
  test.each([
    ["in order", Workload.Sequential],
    ["permuted", Workload.Uniform],
  ])("touches each step once, %s, and then is finished", (_, workload) => {
    const m = machine();
    m.drive(0, { steps: PAGES, workload, write: 1000 });
    expect(m.u32("drivePopulate", 0, 10)).toBe(10);
    const first = touched(m);
    expect(first.length).toBe(10);
    expect(first[9] === 9).toBe(workload === Workload.Sequential);
    expect(m.u32("drivePopulate", 0, 1000)).toBe(PAGES - 10);
    expect(m.status()).toBe(DriveStatus.Finished);
    expect(m.u32("drivePopulate", 0, 1000)).toBe(0);
    expect(m.stat(0, Stat.GuestFaults)).toBe(PAGES);
    m.raw["driveRewind"]!(0);
    expect(m.u32("drivePopulate", 0, 1000)).toBe(PAGES);
    expect(m.imbalance).toBe(0);
  });

  test("2-MByte steps", () => {
    const m = new DriveMachine();
    m.map(16n * MIB, { shift: 21 });
    m.drive(0, { steps: 8, stride: 21 });
    expect(m.u32("drivePopulate", 0, 100)).toBe(8);
    expect(m.stat(0, Stat.FaultsFixed)).toBeGreaterThanOrEqual(8);
    expect(m.leaf(USER + 14n * MIB) & layout.PTE_PS).toBe(layout.PTE_PS);
  });
});

describe("cycle", () => {
  test.each([
    ["offset", GuestMapping.Offset],
    ["random", GuestMapping.Random],
    ["identity", GuestMapping.Identity],
  ])("%s: each step touched is a fault again", (_, mapping) => {
    const m = new DriveMachine();
    const gva = m.map(BigInt(PAGES) * PAGE, { mapping, eager: true });
    m.drive(0, { gva, steps: PAGES, write: 1000, chunk: 7 });
    m.u32("drivePopulate", 0, PAGES);
    const faults = m.stat(0, Stat.FaultsFixed);
    expect(m.u32("driveCycle", 0, 200)).toBe(200);
    expect(m.status()).toBe(DriveStatus.Ok);
    expect(m.stat(0, Stat.FaultsFixed) - faults).toBe(200);
    expect(m.imbalance).toBe(0);
  });

  test("is refused where a gpa cannot be computed, or no VMA is behind it", () => {
    const m = new DriveMachine();
    m.map(MIB, { mapping: GuestMapping.FirstTouch });
    m.drive(0, { steps: 4, chunk: 2 });
    expect(m.u32("driveCycle", 0, 10)).toBe(0);
    expect(m.status()).toBe(DriveStatus.Unsupported);
    m.map(MIB);
    m.drive(0, { steps: 4, chunk: 2 });
    m.raw["hostMunmap"]!(0, m.hva, m.ram);
    expect(m.u32("driveCycle", 0, 10)).toBe(0);
    expect(m.status()).toBe(DriveStatus.HostRefused);
  });

  test("samples: discarded before, touched in one step", () => {
    const m = machine();
    m.drive(0, { steps: PAGES, write: 1000, chunk: 4 });
    m.u32("drivePopulate", 0, PAGES);
    for (let i = 0; i < 20; i++) {
      expect(m.u32("driveCyclePrepare", 0)).toBe(1);
      const faults = m.stat(0, Stat.FaultsFixed);
      expect(m.u32("driveSample", 0, layout.Activity.Cycle)).toBe(1);
      expect(m.stat(0, Stat.FaultsFixed) - faults).toBe(1);
    }
    expect(m.u32("driveSample", 0, layout.Activity.Run)).toBe(1);
  });
});

test.each([
  ["sequential", Workload.Sequential],
  ["random", Workload.Uniform],
])("an invalidator makes %s invalidations, all inside its range", (_, order) => {
  const m = machine();
  m.drive(0, { steps: PAGES, write: 1000 });
  m.u32("drivePopulate", 0, PAGES);
  const host = 2;
  const gpa = m.u64("guestRegionGpa", 0, USER);
  m.raw["driveSpan"]!(host, 1n, m.hva + gpa + 16n * PAGE, 32, 5, order);
  expect(m.u32("driveInvalidate", host, 100)).toBe(100);
  expect(m.stat(host, Stat.Invalidations)).toBe(100);
  const zeroed = [...new Array(PAGES).keys()].filter(
    (i) => m.u64("hostPte", 0, m.hva + gpa + BigInt(i) * PAGE) === 0n,
  );
  expect(zeroed.length).toBeGreaterThanOrEqual(30);
  expect(zeroed.every((i) => i >= 16 && i < 48)).toBe(true);
  expect(m.imbalance).toBe(0);
});

describe("why a driver comes back", () => {
  test("Header.stop", () => {
    const m = machine();
    m.drive(0, { steps: PAGES });
    m.stop = true;
    expect(m.u32("driveRun", 0, 1000)).toBe(0);
    expect(m.status()).toBe(DriveStatus.Stopped);
    m.raw["driveSpan"]!(2, 1n, m.hva, 16, 1, Workload.Sequential);
    expect(m.u32("driveInvalidate", 2, 10)).toBe(0);
    expect(m.status(2)).toBe(DriveStatus.Stopped);
    m.stop = false;
    expect(m.u32("driveRun", 0, 1000)).toBe(1000);
    expect(m.stat(0, Stat.Accesses)).toBe(1000);
  });

  test("Request.Exit", () => {
    const m = machine();
    m.drive(0, { steps: PAGES });
    m.raw["vcpuInterrupt"]!(0);
    expect(m.u32("driveRun", 0, 1000)).toBe(0);
    expect(m.status()).toBe(DriveStatus.Interrupted);
    m.raw["vcpuResume"]!(0);
    expect(m.u32("driveRun", 0, 1000)).toBe(1000);
  });

  test("the guest out of RAM", () => {
    const m = new DriveMachine({ ram: MIB, frames: 1024 });
    m.map(16n * MIB, { mapping: GuestMapping.FirstTouch });
    m.drive(0, { steps: 4096 });
    const done = m.u32("drivePopulate", 0, 4096);
    expect(m.status()).toBe(DriveStatus.GuestOutOfMemory);
    expect(m.stat(0, Stat.Accesses)).toBe(done);
    expect(m.imbalance).toBe(0);
  });

  test("the host out of frames", () => {
    const m = new DriveMachine({ frames: 256 });
    m.map(16n * MIB);
    m.drive(0, { steps: 4096, write: 1000 });
    const done = m.u32("drivePopulate", 0, 4096);
    expect(m.status()).toBe(DriveStatus.OutOfFrames);
    expect(done).toBeGreaterThan(100);
    expect(m.stat(0, Stat.Accesses)).toBe(done);
    m.dontneed(m.u64("guestRegionGpa", 0, USER), 16n * MIB);
    expect(m.u32("drivePopulate", 0, 50)).toBe(50); // and goes on where it was
    expect(m.imbalance).toBe(0);
  });

  test("no VMA behind the memslot", () => {
    const m = machine();
    m.raw["hostMunmap"]!(0, m.hva + m.ram / 2n, m.ram / 2n);
    m.drive(0, { steps: PAGES });
    expect(
      m.u32("guestMapPage", 0, USER, m.ram - PAGE, 12, layout.PTE_P | layout.PTE_RW | layout.PTE_US),
    ).toBe(0);
    expect(m.u32("driveRun", 0, 10)).toBe(0);
    expect(m.status()).toBe(DriveStatus.HostFault);
  });
});

test("accesses outside the region are given up one by one, and counted", () => {
  const m = machine();
  m.drive(0, { steps: PAGES * 2 });
  expect(m.u32("driveRun", 0, PAGES * 2)).toBe(PAGES * 2);
  expect(m.stat(0, Stat.Accesses)).toBe(PAGES);
  expect(m.stat(0, Stat.AccessFaults)).toBe(PAGES);
  m.drive(0, { steps: 4, gva: layout.GUEST_DIRECT_MAP });
  expect(m.u32("driveRun", 0, 4)).toBe(4);
  expect(m.stat(0, Stat.AccessFaults)).toBe(PAGES + 4);
});

test("TLB hits are accesses less misses", () => {
  const m = machine({ tlbEntries: 256 });
  m.drive(0, { steps: PAGES });
  m.u32("driveRun", 0, PAGES);
  expect(m.stat(0, Stat.TlbHits)).toBe(0);
  m.u32("driveRun", 0, PAGES); // the kernel's own pages had taken a few places
  const [hits, walks] = [m.stat(0, Stat.TlbHits), m.stat(0, Stat.Walks)];
  m.u32("driveRun", 0, PAGES * 10);
  expect(m.stat(0, Stat.TlbHits) - hits).toBe(PAGES * 10);
  expect(m.stat(0, Stat.Walks)).toBe(walks);
  expect(m.u32("vcpuLoad", 0, USER, 8, layout.Access.Read)).toBe(Outcome.Ok);
});
