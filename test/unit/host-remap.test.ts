// Remapped pfns: of pages that somebody holds, of pages that nobody counts, and of no frame at all.
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { EXEC, HostMachine, HostStatus, PAGE, READ, Rule, Stat, Trap, WRITE } from "../host-machine.js";
import { KvmMachine, Outcome, Profile, QUIET } from "../kvm-machine.js";

const { PTE_P, PTE_RW, PTE_SPECIAL, PTE_XD, PageFlag, VmaFlag } = layout;
const V5 = Profile.V5_4;
const V6 = Profile.V6_13;

/** A block that is no compound page: its first frame has a count, the others none. */
function rawBlock(m: HostMachine, order: number): number {
  const pfn = m.u32("hostAllocRaw", 0, order);
  expect(pfn).toBeGreaterThan(0);
  return pfn;
}

describe("a block that is not made a compound page", () => {
  test("has one count on its first frame, and every frame is its own head", () => {
    const m = new HostMachine();
    const free = m.free;
    const pfn = rawBlock(m, 2);
    expect(m.free).toBe(free - 4);
    expect([0, 1, 2, 3].map((i) => m.refcount(pfn + i))).toEqual([1, 0, 0, 0]);
    expect([0, 1, 2, 3].map((i) => m.u32("hostHead", pfn + i))).toEqual([0, 1, 2, 3].map((i) => pfn + i));
    expect([0, 1, 2, 3].map((i) => m.pageFlags(pfn + i) & PageFlag.NotRefcounted)).toEqual([
      0,
      ...Array(3).fill(PageFlag.NotRefcounted),
    ]);
    m.raw["hostFreeRaw"]!(0, pfn, 2);
    expect([m.free, m.imbalance, m.pageFlags(pfn + 1) & PageFlag.NotRefcounted]).toEqual([free, 0, 0]);
    expect(m.epoch(pfn + 3)).toBe(1);
  });

  test("whose first frame is held elsewhere is free but for that frame", () => {
    const m = new HostMachine();
    const free = m.free;
    const pfn = rawBlock(m, 3);
    m.raw["hostGetPage"]!(0, pfn);
    m.raw["hostFreeRaw"]!(0, pfn, 3);
    expect([m.free, m.refcount(pfn)]).toEqual([free - 1, 1]);
    m.put(pfn);
    expect([m.free, m.imbalance]).toEqual([free, 0]);
  });

  test("freed twice is a trap", () => {
    const m = new HostMachine();
    const pfn = rawBlock(m, 1);
    m.raw["hostFreeRaw"]!(0, pfn, 1);
    expect(() => m.raw["hostFreeRaw"]!(0, pfn, 1)).toThrow();
    expect(m.trap).toBe(Trap.RefcountUnderflow);
  });

  test("is verified and filled with poison like any other", () => {
    const m = new HostMachine({ options: layout.MachineOption.Poison });
    const pfn = rawBlock(m, 1);
    m.raw["hostFreeRaw"]!(0, pfn, 1);
    expect(m.frameWord(pfn + 1)).toBe(0xaaaa_aaaa_aaaa_aaaan);
    m.view.setUint8(m.u32("hostFrame", pfn + 1), 1);
    expect(() => {
      for (let i = 0; i < 500; i++) m.u32("hostAllocRaw", 0, 1);
    }).toThrow();
    expect(m.trap).toBe(Trap.PoisonOverwritten);
  });

  test("there is none when memory is used up", () => {
    expect(new HostMachine({ frames: 64 }).u32("hostAllocRaw", 0, 10)).toBe(0);
  });
});

describe("a remapped range", () => {
  test("is mapped as a whole, with special entries that hold nothing", () => {
    const m = new HostMachine();
    const pfn = rawBlock(m, 2);
    const hva = m.remap(pfn, 4n);
    for (let i = 0; i < 4; i++) {
      const pte = m.pte(hva + BigInt(i) * PAGE);
      expect(m.pfnOf(hva + BigInt(i) * PAGE)).toBe(pfn + i);
      expect(pte & (PTE_P | PTE_RW | PTE_SPECIAL | PTE_XD)).toBe(PTE_P | PTE_RW | PTE_SPECIAL | PTE_XD);
      expect([m.refcount(pfn + i), m.mapcount(pfn + i)]).toEqual([i ? 0 : 1, 0]);
    }
    expect(m.vmas).toMatchObject([
      { start: hva, end: hva + 4n * PAGE, flags: READ | WRITE | VmaFlag.Pfnmap },
    ]);
    expect(m.unmap(hva, 4n * PAGE)).toBe(HostStatus.Ok);
    expect([m.refcount(pfn), m.refcount(pfn + 1)]).toEqual([1, 0]);
    m.raw["hostFreeRaw"]!(0, pfn, 2);
    expect(m.imbalance).toBe(0);
  });

  test("is read and written by user space where its entries allow it, without a reference", () => {
    const m = new HostMachine();
    const pfn = rawBlock(m, 1);
    const hva = m.remap(pfn, 2n);
    expect(m.store(hva + PAGE - 4n, 0x1122_3344_5566_7788n)).toBe(HostStatus.Ok);
    expect(m.load(hva + PAGE - 4n)).toBe(0x1122_3344_5566_7788n);
    expect(m.u32("hostWrite", 0, hva, 8192)).toBe(HostStatus.Ok);
    expect(m.u32("hostRead", 0, hva, 8192)).toBe(HostStatus.Ok);
    expect([m.refcount(pfn), m.refcount(pfn + 1)]).toEqual([1, 0]);
    expect(m.unmap(hva, 2n * PAGE)).toBe(HostStatus.Ok);

    const readOnly = m.remap(pfn, 2n, { writable: false });
    expect(m.pte(readOnly) & PTE_RW).toBe(0n);
    expect(m.store(readOnly, 1n)).toBe(HostStatus.Access);
    expect(m.touch(readOnly, 2n * PAGE, false)).toBe(HostStatus.Ok);
    expect(m.touch(readOnly, 2n * PAGE, true)).toBe(HostStatus.Access);
    expect(m.load(readOnly + PAGE)).toBe(0n);
    m.unmap(readOnly, 2n * PAGE);
    m.raw["hostFreeRaw"]!(0, pfn, 1);
    expect(m.imbalance).toBe(0);
  });

  test("of no frame is the device's: user space gets no memory", () => {
    const m = new HostMachine({ frames: 128 });
    const hva = m.remap(0xfe000, 2n);
    expect(m.pfnOf(hva + PAGE)).toBe(0xfe001);
    m.raw["hostLoad"]!(0, hva, 8);
    expect(m.u32("hostLoadStatus", 0)).toBe(HostStatus.Device);
    expect(m.store(hva, 1n)).toBe(HostStatus.Device);
    expect(m.u32("hostRead", 0, hva, 8)).toBe(HostStatus.Device);
    expect(m.unmap(hva, 2n * PAGE)).toBe(HostStatus.Ok);
    expect(m.imbalance).toBe(0);
  });

  test("is refused to the lookup without a lock, and found by following its entry", () => {
    const m = new HostMachine({ profile: V6 });
    const pfn = rawBlock(m, 1);
    const hva = m.remap(pfn, 2n);
    expect([m.gupFast(hva), m.gupFast(hva, false)]).toEqual([0, 0]);
    expect(m.gup(hva + PAGE)).toEqual({
      pfn: pfn + 1,
      status: HostStatus.Ok,
      writable: true,
      referenced: false,
    });
    expect(m.u32("hostGupEach", 0, hva, 2, 1)).toBe(2);
    expect([m.refcount(pfn), m.refcount(pfn + 1)]).toEqual([1, 0]);
    expect(m.stat(0, Stat.GupFast)).toBe(0);
  });

  test("may be written only where its entry says so", () => {
    const m = new HostMachine({ profile: V6 });
    const pfn = rawBlock(m, 0);
    const hva = m.remap(pfn, 1n, { writable: false });
    expect(m.gup(hva, false)).toMatchObject({ status: HostStatus.Ok, writable: false });
    expect(m.gup(hva, true).status).toBe(HostStatus.Access);
    const without = new HostMachine({ build: "lab", profile: V6, without: [Rule.PfnmapHonoursWrite] });
    const other = without.remap(rawBlock(without, 0), 1n, { writable: false });
    expect(without.gup(other, false)).toMatchObject({ status: HostStatus.Ok, writable: true });
    expect(without.gup(other, true)).toMatchObject({ status: HostStatus.Ok, writable: true });
    expect(without.store(other, 1n)).toBe(HostStatus.Access); // the processor is not KVM
  });

  test.each([
    ["v5.4", { profile: V5 }],
    ["v6.13 without PfnmapNotRefcounted", { profile: V6, without: [Rule.PfnmapNotRefcounted] }],
  ] as const)("takes a reference from 0 to 1 in %s, and its put frees a page in use", (_name, options) => {
    const m = new HostMachine({
      build: "lab",
      ...options,
      without: [...("without" in options ? options.without : [])],
    });
    const pfn = rawBlock(m, 1);
    const hva = m.remap(pfn, 2n);
    const epoch = m.epoch(pfn + 1);
    expect(m.gup(hva + PAGE)).toMatchObject({ pfn: pfn + 1, referenced: true });
    expect(m.refcount(pfn + 1)).toBe(1);
    m.put(pfn + 1);
    expect([m.epoch(pfn + 1), m.pfnOf(hva + PAGE)]).toEqual([epoch + 1, pfn + 1]);
    expect(m.u32("hostAllocPage", 0)).toBe(pfn + 1); // somebody else's now, and still mapped
    // Where somebody counts the page, or there is none, nothing is wrong with it.
    expect(m.gup(hva)).toMatchObject({ pfn, referenced: true });
    m.put(pfn);
    expect(m.refcount(pfn)).toBe(1);
    const device = m.remap(0xfe000, 1n);
    expect(m.gup(device)).toMatchObject({ pfn: 0xfe000, referenced: false });
  });

  test("is neither discarded nor brought back by a fault", () => {
    const m = new HostMachine();
    const pfn = rawBlock(m, 1);
    const hva = m.remap(pfn, 2n);
    expect(m.dontneed(hva, PAGE)).toBe(HostStatus.Invalid);
    expect(m.pfnOf(hva)).toBe(pfn);
    expect(m.protect(hva, PAGE, 0)).toBe(HostStatus.Ok);
    expect(m.gup(hva, false).status).toBe(HostStatus.Access);
    expect(m.protect(hva, PAGE, READ)).toBe(HostStatus.Ok);
    expect(m.gup(hva, false)).toMatchObject({ pfn, writable: false });
  });

  test("keeps its pfns when it is cut, and does not become one with its neighbour", () => {
    const m = new HostMachine();
    const pfn = rawBlock(m, 3);
    const hva = m.remap(pfn, 8n);
    const flushes = m.flushes;
    expect(m.unmap(hva + 2n * PAGE, PAGE)).toBe(HostStatus.Ok);
    expect(m.flushes).toBe(flushes + 1); // nothing to put, and still a flush
    const pgoff = (row: number): number =>
      m.word(m.word(layout.HEADER_OFFSET_VMAS_BASE) + (row << layout.VMA_SHIFT) + 28);
    expect(m.vmas.map(({ start }, i) => [start, pgoff(i)])).toEqual([
      [hva, pfn],
      [hva + 3n * PAGE, pfn + 3],
    ]);
    m.remap(pfn, 1n, { hva: hva + 2n * PAGE });
    expect(m.vmas.length).toBe(3);
    expect([m.pfnOf(hva + 3n * PAGE), m.pfnOf(hva + 2n * PAGE)]).toEqual([pfn + 3, pfn]);
    expect(m.unmap(hva, 8n * PAGE)).toBe(HostStatus.Ok);
    m.raw["hostFreeRaw"]!(0, pfn, 3);
    expect(m.imbalance).toBe(0);
  });

  test("refuses what cannot be", () => {
    const m = new HostMachine({ frames: 64, vmas: 2 });
    const status = (...given: Parameters<HostMachine["tryRemap"]>): number => Number(m.tryRemap(...given));
    expect(status(1, 0n)).toBe(HostStatus.Invalid);
    expect(status(1, 1n, { hva: 0x10001n })).toBe(HostStatus.Invalid);
    expect(status(1, 1n, { flags: READ, writable: true })).toBe(HostStatus.Invalid);
    // 40 bits of physical address in this machine.
    expect(status(2 ** 28 - 1, 1n)).toBeGreaterThan(65535);
    expect(status(2 ** 28 - 1, 2n)).toBe(HostStatus.Invalid);
    const hva = m.remap(1, 1n, { flags: READ | EXEC, writable: false });
    expect(m.pte(hva) & PTE_XD).toBe(0n);
    expect(status(1, 1n, { hva })).toBe(HostStatus.TooManyVmas);
    m.unmap(hva, PAGE);
    const free = m.free;
    expect(status(1, 512n * 64n)).toBe(HostStatus.OutOfFrames); // for 64 tables
    expect([m.free, m.vmas.length, m.imbalance]).toEqual([free, 1, 0]);
  });
});

describe.each([
  ["v5.4", V5],
  ["v6.13", V6],
])("a guest on remapped pfns, %s", (_name, profile) => {
  test("that have no frame leaves to the embedder, who is told the address", () => {
    const m = new KvmMachine({ frames: 256, profile });
    const hva = m.remap(0xfe000, 2n);
    expect(m.setSlot(0, 0n, 2n, hva)).toBe(0);
    const before = m.memory.buffer.slice(0);
    for (const write of [false, true, false]) {
      const outcome = write ? m.guestStore(PAGE + 8n, 1n) : m.guestLoad(PAGE + 8n).outcome;
      expect(outcome).toBe(Outcome.Missing);
      const record = m.actor(0) + layout.ACTOR_WALK;
      expect(m.view.getBigUint64(record + layout.WALK_OFFSET_PA, true)).toBe(0xfe001008n);
    }
    expect(m.leafPfn(1n)).toBe(0xfe001);
    // Nothing behind the frames, and no frame but tables of KVM, was written.
    expect(
      new Uint8Array(m.memory.buffer).subarray(m.word(layout.HEADER_OFFSET_SIZE)).some((b) => b !== 0),
    ).toBe(false);
    expect(before.byteLength).toBe(m.memory.buffer.byteLength);
    expect(m.unmap(hva, 2n * PAGE, m.host)).toBe(HostStatus.Ok);
    expect(m.leaf(1n)).toBe(0n);
    expect(m.quiesce()).toEqual(QUIET);
  });
});

test("a guest uses a page that nobody counts, and leaves it so", () => {
  const m = new KvmMachine({ profile: V6 });
  const pfn = rawBlock(m, 1);
  const hva = m.remap(pfn, 2n);
  m.setSlot(0, 0n, 2n, hva);
  expect(m.guestStore(PAGE, 0x77n)).toBe(Outcome.Ok);
  expect([m.load(hva + PAGE), m.refcount(pfn + 1), m.leafPfn(1n)]).toEqual([0x77n, 0, pfn + 1]);
  m.unmap(hva, 2n * PAGE, m.host);
  expect(m.leaf(1n)).toBe(0n);
  m.raw["hostFreeRaw"]!(0, pfn, 1);
  expect(m.quiesce()).toEqual(QUIET);
});
