import { describe, expect, test } from "vitest";
import { Machine, type Protection } from "../../src/index.js";
import { MIB, PAGE, refused } from "./machine-fixture.js";

const machine = (frames = 2048, vmas = 64): Machine => Machine.create({ frames, vmas });
const AT = 0x7000_0000_0000n;

describe("mmap", () => {
  test("chooses addresses that do not meet", () => {
    const { mm } = machine();
    const a = mm.mmap(3 * PAGE);
    const b = mm.mmap(PAGE);
    expect(a % 4096n).toBe(0n);
    expect(b >= a + 12288n || b + 4096n <= a).toBe(true);
  });

  test("maps where it is told, and nothing over something", () => {
    const { mm } = machine();
    expect(mm.mmap(2 * PAGE, { at: AT })).toBe(AT);
    refused("VMA_INVALID", () => mm.mmap(2 * PAGE, { at: AT + 4096n }));
    expect(mm.mmap(PAGE, { at: AT + 8192n })).toBe(AT + 8192n);
  });

  test("takes no frame until it is touched", () => {
    const { mm } = machine();
    const before = mm.statistics().freeFrames;
    const hva = mm.mmap(1 << 30);
    expect(mm.statistics().freeFrames).toBe(before);
    expect(mm.mapping(hva)).toBeNull();
    mm.store(hva, 1);
    expect(mm.mapping(hva)).toMatchObject({ shift: 12, writable: true, refcount: 1, mapcount: 1 });
    expect(mm.statistics().freeFrames).toBeLessThan(before);
  });

  test("installs 2 MiB pages where asked", () => {
    const { mm } = machine();
    const hva = mm.mmap(4 * MIB, { pageSize: "2m" });
    expect(hva % BigInt(2 * MIB)).toBe(0n);
    mm.store(hva + 0x3000n, 5);
    const first = mm.mapping(hva)!;
    expect(first.shift).toBe(21);
    expect(mm.mapping(hva + 0x3000n)!.pfn).toBe(first.pfn + 3);
    expect(mm.load(hva + 0x3000n)).toBe(5n);
    expect(mm.countImbalances()).toBe(0);
  });

  test.each([0, -PAGE, 1, PAGE + 1, 0.5, NaN, "4096" as unknown as number])(
    "refuses a length of %s",
    (length) => {
      expect(() => machine().mm.mmap(length)).toThrow(/length|integer/);
    },
  );

  test("refuses unaligned and impossible addresses, unknown protections and sizes", () => {
    const { mm } = machine();
    refused("ADDRESS_UNALIGNED", () => mm.mmap(PAGE, { at: 0x10_0001n }));
    refused("ADDRESS_UNALIGNED", () => mm.mmap(2 * MIB, { at: AT + 4096n, pageSize: "2m" }));
    refused("ADDRESS_UNALIGNED", () => mm.mmap(PAGE, { pageSize: "2m" }));
    refused("ADDRESS_RANGE", () => mm.mmap(PAGE, { at: 0x1000n }));
    refused("ADDRESS_RANGE", () => mm.mmap(PAGE, { at: 0x7fff_ffff_f000n }));
    refused("ADDRESS_RANGE", () => mm.mmap(PAGE, { at: 1n << 47n }));
    refused("LIMIT_REACHED", () => mm.mmap(0x7fff_fffe_0000n));
    refused("USAGE", () => mm.mmap(PAGE, { protection: "w" as "rw" }));
    refused("USAGE", () => mm.mmap(PAGE, { pageSize: "1g" as "2m" }));
    refused("USAGE", () => mm.mmap(PAGE, { pageSize: "constructor" as "2m" }));
  });

  test("says when the VMAs are used up; nothing is lost", () => {
    const { mm } = machine(128, 2);
    const a = mm.mmap(PAGE, { at: AT });
    mm.mmap(PAGE, { at: AT + 8192n });
    refused("LIMIT_REACHED", () => mm.mmap(PAGE, { at: AT + 0x10000n }));
    expect(mm.statistics().vmaCount).toBe(2);
    mm.munmap(a, PAGE);
    mm.mmap(PAGE, { at: AT + 0x10000n });
  });
});

describe("unmapping", () => {
  test("munmap takes the pages back; reads there fail", () => {
    const { mm } = machine();
    const before = mm.statistics().freeFrames;
    const hva = mm.mmap(64 * PAGE);
    mm.populate(hva, 64 * PAGE);
    mm.munmap(hva, 64 * PAGE);
    expect(mm.statistics().freeFrames).toBe(before);
    refused("VMA_INVALID", () => mm.load(hva));
    mm.munmap(hva, 64 * PAGE); // holes are allowed
  });

  test("madviseDontneed leaves the mapping, with new zeroed pages", () => {
    const { mm } = machine();
    const hva = mm.mmap(PAGE);
    mm.store(hva, 7);
    mm.madviseDontneed(hva, PAGE);
    expect(mm.mapping(hva)).toBeNull();
    expect(mm.load(hva)).toBe(0n);
    refused("VMA_INVALID", () => mm.madviseDontneed(hva + 4096n, PAGE));
  });

  test("mprotect changes what is allowed", () => {
    const { mm } = machine();
    const hva = mm.mmap(3 * PAGE);
    mm.write(hva, new Uint8Array(3 * PAGE).fill(1));
    mm.mprotect(hva + 4096n, PAGE, "r");
    expect(mm.load(hva + 4096n, 8)).toBe(1n);
    refused("VMA_INVALID", () => mm.store(hva + 4096n, 2));
    mm.store(hva, 2);
    mm.store(hva + 8192n, 2);
    mm.mprotect(hva, 3 * PAGE, "none");
    refused("VMA_INVALID", () => mm.load(hva));
    mm.mprotect(hva, 3 * PAGE, "rw");
    expect(mm.load(hva + 4096n, 8)).toBe(1n);
    refused("VMA_INVALID", () => mm.mprotect(hva, 4 * PAGE, "r"));
    refused("USAGE", () => mm.mprotect(hva, PAGE, "x" as Protection));
    expect(mm.countImbalances()).toBe(0);
  });

  test.each(["munmap", "madviseDontneed", "populate"] as const)("%s refuses odd ranges", (name) => {
    const { mm } = machine();
    const hva = mm.mmap(2 * PAGE);
    refused("ADDRESS_UNALIGNED", () => mm[name](hva + 1n, PAGE));
    refused("ADDRESS_UNALIGNED", () => mm[name](hva, 100));
    refused("ADDRESS_UNALIGNED", () => mm[name](hva, 0));
    refused("ADDRESS_RANGE", () => mm[name](0, PAGE));
    refused("ADDRESS_RANGE", () => mm[name](hva, 1n << 47n));
  });
});

describe("reading and writing", () => {
  test("any bytes at any address, more than a batch buffer at a time", () => {
    const { mm } = machine();
    const hva = mm.mmap(MIB);
    const bytes = Uint8Array.from({ length: 300_001 }, (_, i) => (i * 7) ^ (i >> 8));
    mm.write(hva + 13n, bytes);
    expect(mm.read(hva + 13n, bytes.length)).toEqual(bytes);
    expect(mm.read(hva, 13)).toEqual(new Uint8Array(13));
    expect(mm.read(hva, 0)).toEqual(new Uint8Array(0));
  });

  test.each([8, 16, 32, 64] as const)("words of %s bits, across a page too", (width) => {
    const { mm } = machine();
    const hva = mm.mmap(2 * PAGE);
    const value = 0xf1e2d3c4b5a69788n & ((1n << BigInt(width)) - 1n);
    for (const at of [hva, hva + 3n, hva + 4093n]) {
      mm.store(at, value, width);
      expect(mm.load(at, width)).toBe(value);
    }
    mm.store(hva, -1, width);
    expect(mm.load(hva, width)).toBe((1n << BigInt(width)) - 1n);
    refused("USAGE", () => mm.store(hva, 1n << BigInt(width), width));
    refused("USAGE", () => mm.store(hva, 0.5, width));
  });

  test("refuses what is not mapped, and what is no length or bytes", () => {
    const { mm } = machine();
    const hva = mm.mmap(PAGE);
    refused("VMA_INVALID", () => mm.read(hva, PAGE + 1));
    refused("VMA_INVALID", () => mm.write(hva - 1n, new Uint8Array(2)));
    refused("VMA_INVALID", () => mm.load(hva + 4093n));
    refused("USAGE", () => mm.read(hva, -1));
    refused("USAGE", () => mm.read(hva, 2 ** 40));
    refused("USAGE", () => mm.write(hva, [1] as unknown as Uint8Array));
    refused("USAGE", () => mm.load(hva, 24 as 32));
    refused("ADDRESS_RANGE", () => mm.read(1n << 47n, 1));
    refused("ADDRESS_RANGE", () => mm.read((1n << 47n) - 1n, 2));
  });

  test("says when the frames are used up, and goes on when some are free again", () => {
    const { mm } = machine(64);
    const hva = mm.mmap(128 * PAGE);
    refused("FRAMES_EXHAUSTED", () => mm.populate(hva, 128 * PAGE));
    mm.madviseDontneed(hva, 128 * PAGE);
    mm.store(hva, 1);
    expect(mm.countImbalances()).toBe(0);
  });
});

describe("hugetlb", () => {
  test("is listed as such, in whole pages", () => {
    const { mm } = machine();
    const hva = mm.mmap(4 * MIB, { pageSize: "hugetlb" });
    mm.store(hva, 1);
    expect(mm.list()).toEqual([
      { hva, length: BigInt(4 * MIB), protection: "rw", pageSize: "hugetlb", file: null, remapped: null },
    ]);
    expect([mm.vmaPageShift(hva), mm.vmaPageShift(hva + BigInt(4 * MIB))]).toEqual([21, null]);
    expect(mm.mapping(hva)!.shift).toBe(21);
    refused("ADDRESS_RANGE", () => mm.munmap(hva, PAGE));
    refused("ADDRESS_RANGE", () => mm.madviseDontneed(hva + 4096n, PAGE));
    refused("VMA_INVALID", () => mm.splitPage(hva));
    refused("ADDRESS_UNALIGNED", () => mm.mmap(PAGE, { pageSize: "hugetlb" }));
    mm.munmap(hva, 2 * MIB);
    expect(mm.list()[0]!.hva).toBe(hva + BigInt(2 * MIB));
  });

  test("needs a whole block", () => {
    const { mm } = machine(256);
    refused("FRAMES_EXHAUSTED", () => mm.store(mm.mmap(2 * MIB, { pageSize: "hugetlb" }), 1));
  });
});

describe("remapped pfns", () => {
  test("of frames that nobody counts are used, listed, unmapped and freed", () => {
    const { mm } = machine();
    const pfn = mm.allocateRaw(1);
    const hva = mm.remapPfn(pfn, 2 * PAGE, { at: AT });
    expect(hva).toBe(AT);
    mm.store(hva + 4096n, 7);
    expect(mm.load(hva + 4096n)).toBe(7n);
    expect(mm.mapping(hva + 4096n)).toEqual({
      pfn: pfn + 1,
      shift: 12,
      writable: true,
      refcount: 0,
      mapcount: 0,
    });
    expect(mm.list()[0]).toMatchObject({ remapped: pfn, protection: "rw", length: 8192n });
    refused("ADDRESS_RANGE", () => mm.madviseDontneed(hva, PAGE));
    mm.munmap(hva, 2 * PAGE);
    refused("USAGE", () => mm.freeRaw(pfn, 0));
    refused("USAGE", () => mm.freeRaw(pfn, 2));
    refused("USAGE", () => mm.freeRaw(pfn + 1, 0));
    mm.freeRaw(pfn, 1);
    refused("USAGE", () => mm.freeRaw(pfn, 1));
    refused("USAGE", () => mm.freeRaw(0, 1));
    refused("USAGE", () => mm.allocateRaw(11));
    refused("FRAMES_EXHAUSTED", () => machine(64).mm.allocateRaw(10));
  });

  test("of no frame are the embedder's, and those of read-only entries are read", () => {
    const { mm } = machine();
    const device = mm.remapPfn(0xfe000, PAGE);
    expect(mm.mapping(device)).toEqual({ pfn: 0xfe000, shift: 12, writable: true, refcount: 0, mapcount: 0 });
    expect(refused("VMA_INVALID", () => mm.load(device)).message).toContain("device");
    const pfn = mm.allocateRaw();
    const hva = mm.remapPfn(pfn, PAGE, { writable: false });
    expect(mm.mapping(hva)).toMatchObject({ writable: false, refcount: 1 });
    refused("VMA_INVALID", () => mm.store(hva, 1));
    mm.munmap(hva, PAGE);
    mm.freeRaw(pfn);
  });

  test("are refused where they cannot be", () => {
    const { mm } = Machine.create({ frames: 64, maxphyaddr: 36 });
    refused("USAGE", () => mm.remapPfn(0, PAGE));
    refused("USAGE", () => mm.remapPfn(2 ** 24, PAGE));
    refused("ADDRESS_RANGE", () => mm.remapPfn(2 ** 24 - 1, 2 * PAGE));
    refused("USAGE", () => mm.remapPfn(1, PAGE, { protection: "r", writable: true }));
    refused("USAGE", () => mm.remapPfn(1, PAGE, { writable: 1 as unknown as boolean }));
    refused("FRAMES_EXHAUSTED", () => mm.remapPfn(1, 64 * 2 * MIB));
    const hva = mm.remapPfn(2 ** 24 - 1, PAGE, { protection: "r" });
    refused("VMA_INVALID", () => mm.remapPfn(1, PAGE, { at: hva }));
    refused("VMA_INVALID", () => mm.splitPage(hva));
  });

  test("a guest's access to one without a frame ends with its address", () => {
    const m = Machine.create({ frames: 1024 });
    const hva = m.mm.remapPfn(0xfe000, 2 * PAGE);
    m.memslots.add({ gpa: 0, hva, length: 2 * PAGE });
    expect(m.vcpu(0).read(0x1010, 32)).toEqual({ kind: "missing", hpa: 0xfe001010n });
    expect(m.vcpu(0).write(0x1010, 5n, 32)).toEqual({ kind: "missing", hpa: 0xfe001010n });
  });
});

describe("fork, copy-on-write, split", () => {
  test("the child keeps what it was given, until it exits", () => {
    const { mm } = machine();
    const hva = mm.mmap(2 * PAGE);
    mm.store(hva, 1);
    const { pfn } = mm.mapping(hva)!;
    const child = mm.fork(hva, 2 * PAGE);
    expect(mm.mapping(hva)).toMatchObject({ pfn, writable: false, refcount: 2, mapcount: 2 });
    mm.store(hva, 2);
    expect([child.pfnAt(hva + 7n), child.pfnAt(hva + 4096n), mm.mapping(hva)!.pfn === pfn]).toEqual([
      pfn,
      null,
      false,
    ]);
    expect(mm.countImbalances()).toBe(0);
    child.exit();
    expect(child.pfnAt(hva)).toBeNull();
    refused("USAGE", () => child.exit());
    refused("ADDRESS_UNALIGNED", () => mm.fork(hva + 1n, PAGE));
    refused("ADDRESS_RANGE", () => mm.fork(0, PAGE));
  });

  test("a large page is split unless somebody has it", () => {
    const { mm } = machine();
    const hva = mm.mmap(2 * MIB, { pageSize: "2m" });
    refused("VMA_INVALID", () => mm.splitPage(hva));
    mm.store(hva, 1);
    const child = mm.fork(hva, PAGE);
    expect(refused("VMA_INVALID", () => mm.splitPage(hva)).message).toContain("holds");
    child.exit();
    expect(mm.mapping(hva)!.refcount).toBe(512);
    mm.splitPage(hva);
    expect(mm.mapping(hva)).toMatchObject({ shift: 12, refcount: 1, mapcount: 1 });
    refused("VMA_INVALID", () => mm.splitPage(hva));
    refused("VMA_INVALID", () => mm.splitPage(0));
  });

  test("read faults share one page of zeroes where that was asked for", () => {
    const { mm } = Machine.create({ frames: 1024, sharedZeroPage: true });
    const hva = mm.mmap(2 * PAGE);
    mm.populate(hva, 2 * PAGE, "read");
    const zero = mm.mapping(hva)!;
    expect(zero).toMatchObject({ writable: false, refcount: 1, mapcount: 0 });
    expect(mm.mapping(hva + 4096n)).toEqual(zero);
    mm.store(hva, 1);
    expect(mm.mapping(hva)).toMatchObject({ writable: true, refcount: 1, mapcount: 1 });
    expect(mm.load(hva + 4096n)).toBe(0n);
  });

  test("a machine with a small count says so when it is reached", () => {
    const { mm } = Machine.create({ frames: 1024, refcountLimit: 2 });
    const hva = mm.mmap(PAGE);
    mm.store(hva, 1);
    const children = [mm.fork(hva, PAGE)];
    expect(refused("FRAMES_EXHAUSTED", () => children.push(mm.fork(hva, PAGE)))).toBeDefined();
    expect(refused("LIMIT_REACHED", () => mm.load(hva)).message).toContain("references");
    children[0]!.exit();
    expect(mm.load(hva)).toBe(1n);
    refused("CONFIG_INVALID", () => Machine.create({ refcountLimit: 1 }));
  });
});
