// Regions of the guest kernel: every mapping and page size, eager and on demand, seen through the guest's own tables.
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import {
  DIRECT,
  DriveMachine,
  GIB,
  GuestMapping,
  GuestOption,
  GuestStatus,
  MIB,
  MachineOption,
  Outcome,
  PAGE,
  Stat,
  USER,
} from "../drive-machine.js";

const { Access, PFERR_P, PFERR_US, PFERR_WR } = layout;
const USER_RIGHTS = layout.PTE_P | layout.PTE_RW | layout.PTE_US;
const KINDS = [
  ["identity", GuestMapping.Identity],
  ["offset", GuestMapping.Offset],
  ["random", GuestMapping.Random],
] as const;
const SIZES = [
  ["4 KiB", 12, 2n * MIB],
  ["2 MiB", 21, 16n * MIB],
  ["1 GiB", 30, 4n * GIB],
] as const;

describe.each(KINDS)("%s", (_kind, mapping) => {
  describe.each(SIZES)("pages of %s", (_size, shift, size) => {
    const page = 1n << BigInt(shift);
    const pages = size / page;

    function machine(eager: boolean): { m: DriveMachine; start: bigint } {
      const m = new DriveMachine({ ram: 8n * GIB });
      return { m, start: m.map(size, { mapping, shift, eager }) };
    }

    test.each([
      ["eager", true],
      ["on demand", false],
    ])("%s", (_when, eager) => {
      const { m, start } = machine(eager);
      const seen = new Set<bigint>();
      for (let i = 0n; i < pages; i++) {
        const gva = start + i * page + ((i * 8n) & 0xff8n);
        if (!eager) expect(m.leaf(gva)).toBe(0n);
        m.store(gva, gva ^ 0x1234n);
        const leaf = m.leaf(gva);
        const gpa = m.u64("guestRegionGpa", 0, gva);
        expect(leaf & layout.PTE_ADDRESS & ~(page - 1n)).toBe(gpa & ~(page - 1n));
        expect(leaf & USER_RIGHTS).toBe(USER_RIGHTS);
        expect((leaf & layout.PTE_PS) !== 0n).toBe(shift !== 12);
        expect(m.physical(gpa)).toBe(gva ^ 0x1234n);
        if (mapping === GuestMapping.Identity) expect(gpa).toBe(gva);
        if (mapping === GuestMapping.Offset)
          expect(gpa - gva).toBe(m.u64("guestRegionGpa", 0, start) - start);
        seen.add(gpa / page);
      }
      expect(seen.size).toBe(Number(pages));
      const first = m.u64("guestRegionGpa", 0, start) / page;
      if (mapping !== GuestMapping.Random) expect([...seen][0]).toBe(first);
      expect(m.stat(0, Stat.GuestFaults)).toBe(eager ? 0 : Number(pages));
      expect(m.imbalance).toBe(0);
    });
  });
});

test("a random mapping depends on its key, and permutes one range of frames", () => {
  const orders = [1n, 2n].map((key) => {
    const m = new DriveMachine();
    m.map(100n * PAGE, { mapping: GuestMapping.Random, key });
    return Array.from({ length: 100 }, (_, i) => m.u64("guestRegionGpa", 0, USER + BigInt(i) * PAGE));
  });
  const sorted = orders.map((order) => [...order].sort((a, b) => (a < b ? -1 : 1)));
  expect(orders[0]).not.toEqual(orders[1]);
  expect(orders[0]).not.toEqual(sorted[0]);
  expect(sorted[0]).toEqual(sorted[1]);
  expect(sorted[0]!.every((gpa, i) => gpa === sorted[0]![0]! + BigInt(i) * PAGE)).toBe(true);
});

test("first touch: frames in the order of the touches, anywhere in the user half", () => {
  const m = new DriveMachine();
  m.map(1n << 47n, { mapping: GuestMapping.FirstTouch, gva: 0n });
  const touched = [0x4000n, 0x7fff_ffff_f000n, 0x40_0000n, 0x5555_5555_4000n];
  for (const gva of touched) m.store(gva, gva);
  const frames = touched.map((gva) => m.leaf(gva) & layout.PTE_ADDRESS);
  expect(frames.map((frame) => frame - frames[0]!)).toEqual([0n, PAGE, 2n * PAGE, 3n * PAGE]);
  for (const gva of touched) expect(m.load(gva)).toBe(gva);
  expect(m.imbalance).toBe(0);
});

test("accessed and dirty: set by the kernel, or left for the walker", () => {
  const flags = layout.PTE_A | layout.PTE_D;
  const set = new DriveMachine();
  set.map(MIB, { eager: true });
  expect(set.leaf(USER) & flags).toBe(flags);

  const lazy = new DriveMachine({ guestOptions: GuestOption.LazyAccessedDirty });
  lazy.map(MIB, { eager: true });
  expect(lazy.leaf(USER) & flags).toBe(0n);
  lazy.load(USER);
  expect(lazy.leaf(USER) & flags).toBe(layout.PTE_A);
  lazy.store(USER, 1n);
  expect(lazy.leaf(USER) & flags).toBe(flags);
});

describe("the #PF handler", () => {
  const notPresent = PFERR_US;
  function outcome(m: DriveMachine, gva: bigint): number {
    return m.u32("vcpuStore", 0, gva, 8, 1n);
  }

  test("refuses addresses outside the region, below and above", () => {
    const m = new DriveMachine();
    m.map(MIB);
    for (const gva of [0n, USER - 1n, USER + MIB, DIRECT]) {
      expect(m.u32("guestFault", 0, gva, notPresent)).toBe(GuestStatus.BadAddress);
    }
    expect(m.u32("guestFault", 0, USER + MIB - 1n, notPresent)).toBe(GuestStatus.Ok);
  });

  test("takes a fault on a present page for a stale TLB, unless the tables forbid the access", () => {
    const m = new DriveMachine();
    m.map(MIB);
    m.store(USER, 1n);
    expect(m.u32("guestFault", 0, USER, PFERR_P | PFERR_US | PFERR_WR)).toBe(GuestStatus.Ok);
    const readOnly = USER + 16n * MIB;
    const user = layout.PTE_P | layout.PTE_US | layout.PTE_A;
    m.map(MIB, { gva: readOnly });
    expect(m.u32("guestMapPage", 0, readOnly, 0x100000n, 12, user)).toBe(GuestStatus.Ok);
    expect(outcome(m, readOnly)).toBe(Outcome.PageFault);
    expect(m.u32("guestFault", 0, readOnly, PFERR_P | PFERR_US | PFERR_WR)).toBe(GuestStatus.BadAddress);
    expect(m.u32("guestFault", 0, readOnly, PFERR_P | PFERR_US)).toBe(GuestStatus.Ok);
  });

  test("takes a fault on a page that is there by now for handled", () => {
    const m = new DriveMachine();
    m.map(MIB, { mapping: GuestMapping.FirstTouch });
    m.store(USER, 5n);
    const leaf = m.leaf(USER);
    expect(m.u32("guestFault", 0, USER, notPresent)).toBe(GuestStatus.Ok);
    expect(m.leaf(USER)).toBe(leaf);
    // The frame that was not needed serves the next fault.
    m.store(USER + PAGE, 6n);
    expect((m.leaf(USER + PAGE) & layout.PTE_ADDRESS) - (leaf & layout.PTE_ADDRESS)).toBe(PAGE);
  });

  test("says so when guest RAM is used up, and loses nothing", () => {
    const m = new DriveMachine({ ram: MIB, frames: 1024 });
    m.map(64n * MIB, { mapping: GuestMapping.FirstTouch });
    let pages = 0n;
    for (; m.u32("guestFault", 0, USER + pages * PAGE, notPresent) === GuestStatus.Ok; pages++) {
      m.store(USER + pages * PAGE, pages);
    }
    expect(m.u32("guestFault", 0, USER + pages * PAGE, notPresent)).toBe(GuestStatus.OutOfMemory);
    expect(pages).toBeGreaterThan(200n); // 256 pages of RAM, 35 of them for tables
    for (let i = 0n; i < pages; i++) expect(m.load(USER + i * PAGE)).toBe(i);
    expect(m.imbalance).toBe(0);
  });
});

test("unmapping drops the page from tables and TLB", () => {
  const m = new DriveMachine();
  m.map(MIB);
  m.store(USER, 0x77n);
  expect(m.u32("guestUnmap", 0, USER)).toBe(GuestStatus.Ok);
  expect(m.leaf(USER)).toBe(0n);
  expect(m.u32("vcpuLoad", 0, USER, 8, Access.Read)).toBe(Outcome.PageFault);
  expect(m.u32("guestUnmap", 0, USER)).toBe(GuestStatus.BadAddress);
  expect(m.load(USER)).toBe(0x77n); // the same gpa again: an offset mapping
});

test("what cannot be mapped is refused", () => {
  const m = new DriveMachine({ options: MachineOption.ZeroPages });
  expect(m.tryMap(GuestMapping.Offset, USER, 2n * GIB, 30)).toBe(GuestStatus.Unsupported);
  expect(m.tryMap(GuestMapping.Offset, USER, MIB, 13)).toBe(GuestStatus.Unsupported);
  expect(m.tryMap(GuestMapping.Offset, USER, GIB, 12)).toBe(GuestStatus.OutOfMemory);
  expect(m.tryMap(GuestMapping.Offset, USER + 1n, MIB, 12)).toBe(GuestStatus.Unsupported);
  expect(m.tryMap(GuestMapping.FirstTouch, USER, 1n << 47n, 12)).toBe(GuestStatus.BadAddress);
  m.map(MIB, { mapping: GuestMapping.FirstTouch });
  expect(m.u32("guestPopulate", 0, 0n, 1n)).toBe(GuestStatus.Unsupported);
  expect(m.u32("guestMapPage", 0, USER, PAGE, 12, USER_RIGHTS)).toBe(GuestStatus.Ok);
  expect(m.u32("guestMapPage", 0, USER, PAGE, 12, USER_RIGHTS)).toBe(GuestStatus.Exists);
});

test("a 4-KByte page is not mapped inside a larger one", () => {
  const m = new DriveMachine();
  m.map(4n * MIB, { shift: 21, eager: true });
  expect(m.u32("guestMapPage", 0, USER + PAGE, PAGE, 12, USER_RIGHTS)).toBe(GuestStatus.Exists);
});
