// mmap, munmap, mprotect, madvise, and the page tables they leave behind.
import { describe, expect, test } from "vitest";
import {
  PTE_A,
  PTE_D,
  PTE_P,
  PTE_PS,
  PTE_PROTNONE,
  PTE_RW,
  PTE_US,
  PTE_XD,
} from "../../src/core/layout.generated.js";
import {
  EXEC,
  HUGE,
  HostMachine,
  HostStatus,
  MachineOption,
  PAGE,
  READ,
  Stat,
  WRITE,
} from "../host-machine.js";

const BITS = ~0xffffffffff000n & 0xffffffffffffffffn;
const GIB = 1n << 30n;

describe("demand faults", () => {
  test("a page is made by the first access, zeroed, with one mapping's reference", () => {
    const m = new HostMachine();
    const hva = m.map(4n * PAGE);
    expect([m.pte(hva), m.shiftOf(hva)]).toEqual([0n, 0]);
    expect(m.load(hva + 8n)).toBe(0n);
    const pfn = m.pfnOf(hva);
    expect([m.refcount(pfn), m.mapcount(pfn), m.shiftOf(hva)]).toEqual([1, 1, 12]);
    expect(m.pte(hva) & BITS).toBe(PTE_P | PTE_US | PTE_A | PTE_RW | PTE_XD);
    expect(m.store(hva, 0x1122334455667788n)).toBe(HostStatus.Ok);
    expect(m.pte(hva) & PTE_D).toBe(PTE_D);
    expect(m.stat(0, Stat.HostFaults)).toBe(1);
    expect(m.imbalance).toBe(0);
  });

  test("sizes, and accesses that straddle pages", () => {
    const m = new HostMachine();
    const hva = m.map(2n * PAGE);
    for (const size of [1, 2, 4, 8]) {
      const at = hva + PAGE - BigInt(size >> 1);
      const value = 0xf1e2d3c4b5a69788n & ((1n << BigInt(size * 8)) - 1n);
      expect(m.store(at, value, size)).toBe(HostStatus.Ok);
      expect(m.load(at, size)).toBe(value);
    }
    expect(m.imbalance).toBe(0);
  });

  test("no VMA and no permission are told apart", () => {
    const m = new HostMachine();
    const hva = m.map(PAGE, { flags: READ });
    expect(m.store(hva, 1n)).toBe(HostStatus.Access);
    expect(m.store(hva + PAGE, 1n)).toBe(HostStatus.NoVma);
    expect(m.gup(1n << 60n).status).toBe(HostStatus.NoVma);
    expect(m.load(hva)).toBe(0n);
    expect(m.pte(hva) & PTE_RW).toBe(0n);
    const none = m.map(PAGE, { flags: 0 });
    expect(m.gup(none, false).status).toBe(HostStatus.Access);
    expect(m.map(PAGE, { flags: WRITE | EXEC }) && m.vmas.at(-1)!.flags).toBe(READ | WRITE | EXEC);
    expect(m.imbalance).toBe(0);
  });

  test("zeroing off hands the frame over as it is", () => {
    const m = new HostMachine({ options: 0 });
    const hva = m.map(PAGE);
    m.store(hva, 7n);
    m.dontneed(hva, PAGE);
    expect(m.load(hva)).toBe(7n);
    const zeroing = new HostMachine();
    const at = zeroing.map(PAGE);
    zeroing.store(at, 7n);
    zeroing.dontneed(at, PAGE);
    expect(zeroing.load(at)).toBe(0n);
  });

  test("copies through the batch buffer stop at the first page that cannot be served", () => {
    const m = new HostMachine();
    const hva = m.map(2n * PAGE);
    expect(m.u32("hostWrite", 0, hva + 100n, 8000)).toBe(HostStatus.Ok);
    expect(m.u32("hostRead", 0, hva + PAGE, 8192)).toBe(HostStatus.NoVma);
    expect(m.u32("hostRead", 0, hva, 1 << 20)).toBe(HostStatus.Invalid);
    expect(m.imbalance).toBe(0);
  });
});

describe("mmap", () => {
  test("bad ranges are refused", () => {
    const m = new HostMachine();
    const refused: [bigint, bigint, number][] = [
      [0n, 0n, 12],
      [0n, 100n, 12],
      [0x10800n, PAGE, 12],
      [0x1000n, PAGE, 12],
      [1n << 47n, PAGE, 12],
      [0x7fff_ffff_e000n, 2n * PAGE, 12],
      [0n, (1n << 64n) - PAGE, 12],
      [0n, PAGE, 21],
      [0x20_1000n, HUGE, 21],
      [0n, PAGE, 30],
    ];
    for (const [hva, length, shift] of refused)
      expect(m.tryMap(hva, length, READ, shift)).toBe(BigInt(HostStatus.Invalid));
    expect(m.tryMap(0n, 1n << 46n)).toBeGreaterThan(65535n);
    expect(m.tryMap(0n, 1n << 46n)).toBe(BigInt(HostStatus.NoRange));
    expect(m.unmap(0x10000n, 0n)).toBe(HostStatus.Invalid);
    expect(m.dontneed(0x10001n, PAGE)).toBe(HostStatus.Invalid);
    expect(m.protect(0x10000n, 5n, READ)).toBe(HostStatus.Invalid);
  });

  test("an occupied range is refused, neighbours merge, a full table is reported and nothing changes", () => {
    const m = new HostMachine({ vmas: 3 });
    const hva = m.map(4n * PAGE);
    expect(m.tryMap(hva + 3n * PAGE, 2n * PAGE)).toBe(BigInt(HostStatus.Overlap));
    expect(m.tryMap(hva + 4n * PAGE, PAGE)).toBe(hva + 4n * PAGE);
    expect(m.vmas).toHaveLength(1);
    m.map(PAGE, { hva: hva + 16n * PAGE });
    m.map(PAGE, { hva: hva + 32n * PAGE });
    expect(m.tryMap(0n, PAGE)).toBe(BigInt(HostStatus.TooManyVmas));
    const before = m.vmas;
    expect(m.unmap(hva + PAGE, PAGE)).toBe(HostStatus.TooManyVmas);
    expect(m.protect(hva + PAGE, PAGE, READ)).toBe(HostStatus.TooManyVmas);
    expect(m.vmas).toEqual(before);
  });

  test("a mapping costs what is touched, not its length", () => {
    const m = new HostMachine();
    const free = m.free;
    const hva = m.map(1n << 40n);
    expect(m.free).toBe(free);
    for (let i = 0n; i < 8n; i++) m.store(hva + i * 128n * GIB, i);
    expect(free - m.free).toBeLessThan(8 * 4);
    expect(m.dontneed(hva, 1n << 40n)).toBe(HostStatus.Ok);
    expect(m.unmap(hva, 1n << 40n)).toBe(HostStatus.Ok);
    expect([m.free, m.imbalance]).toEqual([free, 0]);
  });
});

describe("munmap and DONTNEED", () => {
  test("pages are freed, held ones when they are put; the epoch tells the next owner apart", () => {
    const m = new HostMachine();
    const hva = m.map(3n * PAGE);
    m.touch(hva, 3n * PAGE);
    const { pfn } = m.gup(hva + PAGE);
    const other = m.pfnOf(hva);
    expect(m.dontneed(hva, 3n * PAGE)).toBe(HostStatus.Ok);
    expect([m.refcount(pfn), m.mapcount(pfn), m.epoch(pfn)]).toEqual([1, 0, 0]);
    expect([m.refcount(other), m.epoch(other)]).toEqual([0, 1]);
    m.put(pfn);
    expect(m.epoch(pfn)).toBe(1);
    expect([m.pte(hva), m.imbalance]).toEqual([0n, 0]);
  });

  test("DONTNEED over a hole does the rest and says so", () => {
    const m = new HostMachine();
    const hva = m.map(PAGE);
    m.map(PAGE, { hva: hva + 2n * PAGE });
    m.touch(hva, PAGE);
    m.touch(hva + 2n * PAGE, PAGE);
    expect(m.dontneed(hva, 3n * PAGE)).toBe(HostStatus.NoVma);
    expect([m.pte(hva), m.pte(hva + 2n * PAGE)]).toEqual([0n, 0n]);
  });

  test("the tables go with the last VMA that they serve, and not before", () => {
    const m = new HostMachine();
    const free = m.free;
    const hva = m.map(2n * PAGE, { hva: 4n * GIB });
    m.map(PAGE, { hva: 4n * GIB + 100n * PAGE, flags: READ });
    m.touch(hva, 2n * PAGE);
    expect(free - m.free).toBe(2 + 3);
    m.unmap(hva, 2n * PAGE);
    expect(free - m.free).toBe(3); // the READ mapping lies in the same 2 MiB
    m.unmap(4n * GIB + 100n * PAGE, PAGE);
    expect([m.free, m.imbalance]).toEqual([free, 0]); // nothing was ever mapped in this one: its range counts
  });

  test("more pages than one gather list holds go in batches, each flushed before its references fall", () => {
    const m = new HostMachine({ frames: 4096, options: 0 });
    const hva = m.map(3000n * PAGE);
    m.touch(hva, 3000n * PAGE);
    const flushes = m.flushes;
    m.dontneed(hva, 3000n * PAGE, 1);
    expect(m.flushes - flushes).toBe(3);
    expect(m.stat(1, Stat.HostUnmaps)).toBe(3000);
    m.dontneed(hva, 3000n * PAGE, 1);
    expect(m.flushes - flushes).toBe(3);
    expect(m.imbalance).toBe(0);
  });
});

describe("mprotect", () => {
  test("takes the write permission away; a write fault gives it back after the VMA allows it again", () => {
    const m = new HostMachine();
    const hva = m.map(4n * PAGE);
    m.store(hva + PAGE, 5n);
    expect(m.protect(hva + PAGE, 2n * PAGE, READ)).toBe(HostStatus.Ok);
    expect(m.vmas.map((v) => v.flags)).toEqual([READ | WRITE, READ, READ | WRITE]);
    expect(m.store(hva + PAGE, 6n)).toBe(HostStatus.Access);
    expect(m.gup(hva + PAGE, true).status).toBe(HostStatus.Access);
    const read = m.gup(hva + PAGE, false);
    expect([read.status, read.writable]).toEqual([HostStatus.Ok, false]);
    m.put(read.pfn);
    expect(m.protect(hva, 4n * PAGE, READ | WRITE)).toBe(HostStatus.Ok);
    expect(m.vmas).toHaveLength(1);
    expect(m.pte(hva + PAGE) & PTE_RW).toBe(0n);
    expect(m.store(hva + PAGE, 6n)).toBe(HostStatus.Ok);
    expect(m.pte(hva + PAGE) & (PTE_RW | PTE_D)).toBe(PTE_RW | PTE_D);
    expect(m.imbalance).toBe(0);
  });

  test("PROT_NONE keeps the page and hides it", () => {
    const m = new HostMachine();
    const hva = m.map(2n * PAGE);
    m.store(hva, 77n);
    const pfn = m.pfnOf(hva);
    m.protect(hva, PAGE, 0);
    expect(m.pte(hva) & (PTE_P | PTE_PROTNONE)).toBe(PTE_PROTNONE);
    expect([m.gupFast(hva, false), m.gup(hva, false).status, m.shiftOf(hva)]).toEqual([
      0,
      HostStatus.Access,
      0,
    ]);
    expect(m.imbalance).toBe(0);
    m.protect(hva, PAGE, READ);
    expect([m.load(hva), m.pfnOf(hva)]).toEqual([77n, pfn]);
    m.protect(hva, PAGE, 0);
    m.unmap(hva, 2n * PAGE);
    expect([m.refcount(pfn), m.imbalance]).toEqual([0, 0]);
  });

  test("a hole refuses the whole call; Exec clears NX", () => {
    const m = new HostMachine();
    const hva = m.map(PAGE);
    m.touch(hva, PAGE);
    expect(m.protect(hva, 2n * PAGE, READ)).toBe(HostStatus.NoVma);
    expect(m.vmas[0]!.flags).toBe(READ | WRITE);
    m.protect(hva, PAGE, READ | EXEC);
    expect(m.pte(hva) & PTE_XD).toBe(0n);
  });
});

describe("2 MiB pages", () => {
  const huge = (frames = 2048): [HostMachine, bigint] => {
    const m = new HostMachine({ frames, options: MachineOption.Poison });
    return [m, m.map(4n * HUGE, { shift: 21 })];
  };

  test("one fault maps 512 pages by one leaf", () => {
    const [m, hva] = huge();
    expect(hva % HUGE).toBe(0n);
    expect(m.touch(hva + 5n * PAGE, PAGE)).toBe(HostStatus.Ok);
    const head = m.pfnOf(hva);
    expect([m.pte(hva) & PTE_PS, m.shiftOf(hva + HUGE - 1n), head % 512]).toEqual([PTE_PS, 21, 0]);
    const { pfn } = m.gup(hva + 300n * PAGE);
    expect([pfn, m.refcount(head), m.mapcount(head)]).toEqual([head + 300, 2, 1]);
    m.put(pfn);
    expect(m.gup(hva + 511n * PAGE, false).pfn).toBe(head + 511);
    m.put(head);
    expect(m.imbalance).toBe(0);
    m.dontneed(hva, HUGE);
    expect([m.refcount(head), m.imbalance]).toEqual([0, 0]);
  });

  test("part of it unmapped: the table is split, the pages stay one compound page until the last mapping goes", () => {
    const [m, hva] = huge();
    m.store(hva + 9n * PAGE, 99n);
    const head = m.pfnOf(hva);
    m.dontneed(hva + PAGE, PAGE);
    expect([m.shiftOf(hva), m.refcount(head), m.mapcount(head), m.imbalance]).toEqual([12, 511, 511, 0]);
    expect([m.load(hva + 9n * PAGE), m.pfnOf(hva + 9n * PAGE)]).toEqual([99n, head + 9]);
    expect(m.touch(hva + PAGE, PAGE)).toBe(HostStatus.Ok);
    expect(m.u32("hostHead", m.pfnOf(hva + PAGE))).not.toBe(head);
    m.unmap(hva, HUGE - PAGE);
    expect([m.refcount(head), m.mapcount(head), m.imbalance]).toEqual([1, 1, 0]);
    m.unmap(hva + HUGE - PAGE, PAGE);
    expect([m.refcount(head), m.epoch(head), m.imbalance]).toEqual([0, 1, 0]);
  });

  test("mprotect of part splits and keeps the rest writable", () => {
    const [m, hva] = huge();
    m.store(hva, 1n);
    m.protect(hva + HUGE / 2n, PAGE, READ);
    expect([m.pte(hva) & PTE_RW, m.pte(hva + HUGE / 2n) & PTE_RW]).toEqual([PTE_RW, 0n]);
    expect([m.vmas.length, m.imbalance]).toEqual([3, 0]);
    // No 2 MiB page fits the VMAs around the hole any more.
    m.dontneed(hva, HUGE);
    m.touch(hva, PAGE);
    expect(m.shiftOf(hva)).toBe(12);
    m.protect(hva + 2n * HUGE, HUGE, READ);
    expect(m.imbalance).toBe(0);
  });

  test("without a free block the fault installs 4 KiB", () => {
    const [m, hva] = huge(600);
    const held = m.u32("hostAllocBlock", 0, 3);
    const pins = Array.from({ length: 400 }, () => m.u32("hostAllocPage", 0));
    expect(m.touch(hva, PAGE)).toBe(HostStatus.Ok);
    expect(m.shiftOf(hva)).toBe(12);
    pins.forEach((pfn) => m.put(pfn));
    m.put(held);
    expect(m.imbalance).toBe(0);
    // The table that is there stays one: a later fault does not replace it.
    m.dontneed(hva, HUGE);
    m.touch(hva, PAGE);
    expect(m.shiftOf(hva)).toBe(12);
  });

  test("a whole leaf unmapped returns its frames and the table kept for its split", () => {
    const [m] = huge();
    const free = m.free;
    const hva = m.map(2n * HUGE, { hva: 8n * GIB, shift: 21 });
    m.touch(hva, 2n * HUGE);
    m.unmap(hva, 2n * HUGE);
    expect([m.free, m.imbalance]).toEqual([free, 0]);
  });
});
