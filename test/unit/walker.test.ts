import { describe, expect, test } from "vitest";
import { failureOf } from "../../src/machine/translation.js";
import { mappingOf, MAPPING_WORDS, type Mapping } from "../../src/walker/mapping.js";
import { PageWalker, type ScanOptions } from "../../src/walker/page-walker.js";
import { registersOf } from "../../src/walker/registers.js";
import { expectBalanced, machineInLongMode, refused } from "./machine-fixture.js";
import { Pages, PTE_A, PTE_D, PTE_G, PTE_P, PTE_PS, PTE_RW, PTE_US, PTE_XD } from "./walker-fixture.js";

const ROOT = 0x1000n;
const USER = PTE_P | PTE_RW | PTE_US;
const GVA = 0x7f12_3456_7000n;
const KERNEL = 0xffff_8880_0000_0000n;

function listOf(walker: PageWalker, options?: ScanOptions): Mapping[] {
  const rows: Mapping[] = [];
  for (const block of walker.scan(options)) {
    expect(block.words.length).toBe(block.count * MAPPING_WORDS);
    for (let i = 0; i < block.count; i++) rows.push(mappingOf(block, i, walker.registers.nested !== null));
  }
  return rows;
}

describe("a walk", () => {
  test("shows each entry, and writes nothing", () => {
    const memory = new Pages();
    memory.map(ROOT, GVA, 0x5000n | USER | PTE_XD);
    const before = structuredClone(memory.pages);
    const walker = PageWalker.create(memory, { cr3: ROOT });
    const { result, steps } = walker.walk(GVA + 0x123n, { access: "write" });
    expect(result).toEqual({ kind: "ok", gpa: 0x5123n, hpa: 0x5123n, pageShift: 12 });
    expect(steps.map(({ level, table }) => [level, table])).toEqual([
      [4, 0x1000n],
      [3, 0x100_1000n],
      [2, 0x100_2000n],
      [1, 0x100_3000n],
    ]);
    expect(steps[3]!.flags).toEqual(["P", "RW", "US", "XD"]);
    expect(memory.pages).toEqual(before);
    expect(memory.reads).toBe(4);
  });

  test("faults as the access at its privilege level does", () => {
    const memory = new Pages();
    memory.map(ROOT, GVA, 0x5000n | PTE_P | PTE_XD);
    const walker = PageWalker.create(memory, { cr3: ROOT });
    const code = (options: Parameters<PageWalker["walk"]>[1]): number | string => {
      const { result } = walker.walk(GVA, options);
      return result.kind === "page-fault" ? result.errorCode : result.kind;
    };
    expect(code({})).toBe("ok");
    expect(code({ access: "write" })).toBe(3);
    expect(code({ access: "fetch" })).toBe(0x11);
    expect(code({ cpl: 3 })).toBe(5);
    expect(code({})).toBe("ok");
    walker.setRegisters({ cr0: walker.registers.cr0 & ~(1n << 16n) });
    expect(code({ access: "write" })).toBe("ok");
  });

  test("names the table that the memory lacks", () => {
    const memory = new Pages();
    memory.map(ROOT, GVA, 0x5000n | USER);
    memory.drop(0x100_2000n);
    const walker = PageWalker.create(memory, { cr3: ROOT });
    const place = 0x100_2000n + 8n * ((GVA >> 21n) & 0x1ffn);
    const { result, steps } = walker.walk(GVA);
    expect(result).toEqual({ kind: "missing", hpa: place });
    expect(steps).toHaveLength(2);
    expect(walker.translate(GVA)).toBeNull();
  });

  test("without paging an address is its own translation", () => {
    const walker = PageWalker.create(new Pages(), { cr3: 0n, cr0: 1n });
    expect(walker.walk(0x1234n).result).toMatchObject({ kind: "ok", hpa: 0x1234n });
    expect(walker.translate(0x1234n)).toBe(0x1234n);
    refused("UNSUPPORTED", () => listOf(walker));
  });
});

describe("memory", () => {
  test("may be bytes from physical address 0 on", () => {
    const pages = new Pages();
    let table = 0x2000n;
    pages.map(ROOT, GVA, 0x8000n | USER, { next: () => (table += 0x1000n) });
    const bytes = new Uint8Array(0x9000 + 100);
    for (const [pfn, page] of pages.pages) bytes.set(new Uint8Array(page.buffer), pfn * 4096);
    const walker = PageWalker.create(bytes, { cr3: ROOT });
    expect(walker.translate(GVA + 5n)).toBe(0x8005n);
    bytes.set([1, 2, 3], 0x8ffe);
    const target = new Uint8Array(10);
    expect(walker.read(GVA + 0xffen, target)).toBe(2);
    expect([...target.subarray(0, 3)]).toEqual([1, 2, 0]);
    walker.setRegisters({ cr3: 0x9000n });
    expect(walker.walk(GVA).result.kind).toBe("missing");
  });

  test("is read once until refresh", () => {
    const memory = new Pages();
    memory.map(ROOT, GVA, 0x5000n | USER);
    const walker = PageWalker.create(memory, { cr3: ROOT });
    expect(walker.translate(GVA)).toBe(0x5000n);
    memory.map(ROOT, GVA, 0x6000n | USER);
    expect(walker.translate(GVA)).toBe(0x5000n);
    walker.refresh();
    expect(walker.translate(GVA)).toBe(0x6000n);
  });

  test("that is none is refused in words", () => {
    for (const memory of [null, 5, {}, new ArrayBuffer(4096)]) {
      refused("USAGE", () => PageWalker.create(memory as unknown as Uint8Array, { cr3: 0n }));
    }
  });
});

describe("translateMany", () => {
  test("tells failures apart, in place", () => {
    const memory = new Pages();
    memory.map(ROOT, GVA, 0x5000n | PTE_P);
    memory.map(ROOT, 0x4000_0000n, 0x4000_0000n | USER | PTE_PS, { level: 3 });
    memory.map(ROOT, KERNEL, 0x20_0000n | PTE_P | PTE_RW | PTE_PS, { level: 2 });
    const walker = PageWalker.create(memory, { cr3: ROOT });
    const words = BigUint64Array.of(GVA + 1n, 0x7fff_ffffn, KERNEL + 0x1f_ffffn, GVA + 0x1000n, 1n << 63n);
    const results = new BigUint64Array(5);
    expect(walker.translateMany(words, results)).toBe(3);
    expect([...results.subarray(0, 3)]).toEqual([0x5001n, 0x7fff_ffffn, 0x3f_ffffn]);
    expect(failureOf(results[3]!)).toEqual({ kind: "page-fault", error: 0 });
    expect(failureOf(results[4]!)?.kind).toBe("general-protection");
    expect(walker.translateMany(words, results, "write")).toBe(2);
    expect(failureOf(results[0]!)).toEqual({ kind: "page-fault", error: 3 });
    walker.setRegisters({ cpl: 3 });
    expect(walker.translateMany(words, words, "read")).toBe(1);
    expect(words[1]).toBe(0x7fff_ffffn);
    refused("USAGE", () => walker.translateMany(words, new BigUint64Array(4)));
  });

  test("more addresses than a slice, and pages that are missing", () => {
    const memory = new Pages();
    const count = 40_000;
    for (let i = 0; i < 600; i++)
      memory.map(ROOT, GVA + BigInt(i * 4096), (0x5000n + BigInt(i << 12)) | USER);
    memory.map(ROOT, 0n, 0x9000n | USER);
    memory.drop(memory.load(0x1000n) & ~0xfffn);
    const walker = PageWalker.create(memory, { cr3: ROOT });
    const words = BigUint64Array.from({ length: count }, (_, i) =>
      i % 7 === 0 ? 0n : GVA + BigInt((i % 600) * 4096),
    );
    const results = new BigUint64Array(count);
    expect(walker.translateMany(words, results)).toBe(count - Math.ceil(count / 7));
    for (let i = 0; i < count; i++) {
      if (i % 7 === 0) expect(failureOf(results[i]!)?.kind).toBe("missing");
      else if (results[i] !== 0x5000n + BigInt((i % 600) << 12)) expect([i, results[i]]).toBe("translated");
    }
  });
});

describe("a scan", () => {
  const memory = new Pages();
  memory.map(ROOT, GVA, 0x5000n | USER | PTE_XD);
  memory.map(ROOT, GVA + 0x1000n, 0x6000n | USER | PTE_XD);
  memory.map(ROOT, GVA + 0x2000n, 0x7000n | USER | PTE_XD | PTE_A);
  memory.map(ROOT, GVA + 0x3000n, 0x8000n | PTE_P | PTE_US);
  memory.map(ROOT, 0x4000_0000n, 0x4000_0000n | USER | PTE_PS, { level: 3 });
  memory.map(ROOT, 0x8000_0000n, 0x8000_0000n | PTE_P | PTE_US | PTE_PS | PTE_D, { level: 2 });
  memory.map(ROOT, KERNEL, 0x20_0000n | PTE_P | PTE_G, { link: PTE_P | PTE_RW });
  const walker = PageWalker.create(memory, { cr3: ROOT });

  test("lists every leaf of both halves with the rights of all levels", () => {
    expect(
      listOf(walker).map(({ gva, gpa, hpa, length, pageShift, writable, user, executable }) => [
        gva,
        gpa,
        hpa,
        length,
        pageShift,
        `${writable ? "w" : "-"}${user ? "u" : "-"}${executable ? "x" : "-"}`,
      ]),
    ).toEqual([
      [0x4000_0000n, 0x4000_0000n, 0x4000_0000n, 1n << 30n, 30, "wux"],
      [0x8000_0000n, 0x8000_0000n, 0x8000_0000n, 1n << 21n, 21, "-ux"],
      [GVA, 0x5000n, 0x5000n, 0x1000n, 12, "wu-"],
      [GVA + 0x1000n, 0x6000n, 0x6000n, 0x1000n, 12, "wu-"],
      [GVA + 0x2000n, 0x7000n, 0x7000n, 0x1000n, 12, "wu-"],
      [GVA + 0x3000n, 0x8000n, 0x8000n, 0x1000n, 12, "-ux"],
      [KERNEL, 0x20_0000n, 0x20_0000n, 0x1000n, 12, "--x"],
    ]);
    expect(listOf(walker)[4]!.entry).toBe(0x7000n | USER | PTE_XD | PTE_A);
  });

  test("folds what is contiguous with equal flags, or what has equal rights", () => {
    const lengths = (fold: NonNullable<ScanOptions["fold"]>): bigint[] =>
      listOf(walker, { fold, from: GVA, to: KERNEL }).map(({ length }) => length);
    expect(lengths("none")).toEqual([0x1000n, 0x1000n, 0x1000n, 0x1000n]);
    expect(lengths("physical")).toEqual([0x2000n, 0x1000n, 0x1000n]);
    expect(lengths("rights")).toEqual([0x3000n, 0x1000n]);
  });

  test("keeps to its range, within a leaf too", () => {
    expect(listOf(walker, { from: 0x4010_0fffn, to: 0x4020_0001n })).toMatchObject([
      { gva: 0x4010_0000n, gpa: 0x4010_0000n, length: 0x10_1000n, pageShift: 30 },
    ]);
    expect(listOf(walker, { from: GVA + 0x1000n, to: GVA + 0x1000n })).toEqual([]);
    expect(listOf(walker, { from: GVA + 0x3000n })).toHaveLength(2);
    expect(listOf(walker, { from: 0x8000_0000_0000n })).toHaveLength(1);
    expect(listOf(walker, { to: 0x8000_0000_0000n })).toHaveLength(6);
  });

  test("ends after maxRows and says where to go on", () => {
    for (const fold of ["none", "physical", "rights"] as const) {
      const whole = listOf(walker, { fold });
      const parts: Mapping[] = [];
      for (let from: bigint | null = 0n; from !== null;) {
        const scan = walker.scan({ fold, from, maxRows: 2 });
        let step = scan.next();
        for (; !step.done; step = scan.next()) {
          for (let i = 0; i < step.value.count; i++) parts.push(mappingOf(step.value, i, false));
        }
        expect(step.value.entries).toBeGreaterThan(0n);
        from = step.value.next;
      }
      expect(parts).toEqual(whole);
    }
  });

  test("marks a table that the memory lacks, and goes on behind it", () => {
    const holes = new Pages();
    for (const [pfn, page] of memory.pages) holes.pages.set(pfn, page);
    const pdpt = holes.load(ROOT) & ~0xfffn;
    const pd = holes.load(pdpt + 16n) & ~0xfffn & ~PTE_XD;
    holes.drop(pd);
    const rows = listOf(PageWalker.create(holes, { cr3: ROOT }));
    expect(rows).toHaveLength(7);
    expect(rows[1]).toMatchObject({
      gva: 0x8000_0000n,
      gpa: pd,
      hpa: null,
      length: 1n << 30n,
      pageShift: 30,
      missingTable: true,
    });
    holes.drop(ROOT);
    expect(listOf(PageWalker.create(holes, { cr3: ROOT })).map(({ gva, length }) => [gva, length])).toEqual([
      [0n, 1n << 47n],
      [0xffff_8000_0000_0000n, 1n << 47n],
    ]);
  });

  test("of tables that refer to themselves ends, with an error if they are too many", () => {
    const loop = new Pages();
    loop.page(ROOT).fill(ROOT | USER);
    const endless = PageWalker.create(loop, { cr3: ROOT });
    expect(
      refused("LIMIT_REACHED", () => listOf(endless, { fold: "rights", maxEntries: 1_000_000 })).message,
    ).toContain("0x1000");
    loop.page(ROOT).fill(0n);
    loop.store(ROOT + 8n * 300n, ROOT | USER);
    const once = listOf(PageWalker.create(loop, { cr3: ROOT }));
    expect(once.map(({ gpa }) => gpa)).toEqual([ROOT]);
  });

  test("does not go on over a change of registers or contents", () => {
    const many = new Pages();
    for (let i = 0; i < 6000; i++) many.map(ROOT, BigInt(i) << 12n, (BigInt(i) << 13n) | USER);
    const own = PageWalker.create(many, { cr3: ROOT });
    for (const change of [() => own.setRegisters({ cpl: 3 }), () => own.refresh()]) {
      const scan = own.scan();
      scan.next();
      change();
      refused("MACHINE_BUSY", () => [...scan]);
    }
    const scan = own.scan();
    let rows = 0;
    for (const block of scan) {
      rows += block.count;
      own.translate(0x1000n);
      for (const inner of own.scan({ maxRows: 1 })) expect(inner.count).toBe(1);
    }
    expect(rows).toBe(6000);
  });

  test("row by row, as objects", async () => {
    const rows: Mapping[] = [];
    for await (const row of walker.mappings({ fold: "rights" })) rows.push(row);
    expect(rows).toEqual(listOf(walker, { fold: "rights" }));
  });
});

describe("registers", () => {
  const memory = new Pages();
  memory.map(ROOT, GVA, 0x5000n | USER);
  memory.map(0x2000n, GVA, 0x6000n | USER, { levels: 5 });

  test("that are left out have the values of 64-bit mode, and setRegisters changes what it names", () => {
    const walker = PageWalker.create(memory, { cr3: ROOT | 0x8000_0000_0000_0fffn });
    expect(walker.registers).toMatchObject({ cpl: 0, maxphyaddr: 52, page1GB: true, nested: null, pkru: 0n });
    expect(walker.translate(GVA)).toBe(0x5000n);
    const reads = memory.reads;
    walker.setRegisters({ cr3: 0x2000n, cr4: walker.registers.cr4 | (1n << 12n) });
    expect(walker.translate(GVA)).toBe(0x6000n);
    walker.setRegisters({ cr3: ROOT, cr4: walker.registers.cr4 & ~(1n << 12n) });
    expect(walker.translate(GVA)).toBe(0x5000n);
    // The tables of the first root were not read again.
    expect(memory.reads - reads).toBe(5);
  });

  test.each<[string, Record<string, unknown>]>([
    ["cr3 that is a number", { cr3: 4096 }],
    ["cr3 that is negative", { cr3: -1n }],
    ["a register that is not there", { cr3: ROOT, cr5: 0n }],
    ["a level that is none", { cr3: ROOT, cpl: 4 }],
    ["a width that no processor has", { cr3: ROOT, maxphyaddr: 31 }],
    ["pkru of more than 32 bits", { cr3: ROOT, pkru: 1n << 32n }],
    ["cr3 beyond the width", { cr3: 1n << 40n, maxphyaddr: 40 }],
    ["nested paging of no kind", { cr3: ROOT, nested: { kind: "shadow" } }],
    ["an EPT pointer of 0", { cr3: ROOT, nested: { kind: "ept", eptp: 0n } }],
    ["an EPT pointer that VM entry refuses", { cr3: ROOT, nested: { kind: "ept", eptp: 0x1000n | 7n } }],
    ["nested paging without its root", { cr3: ROOT, nested: { kind: "npt" } }],
    ["nested paging of three levels", { cr3: ROOT, nested: { kind: "npt", ncr3: 0n, levels: 3 } }],
  ])("%s is refused in words", (_, registers) => {
    refused("USAGE", () => PageWalker.create(memory, registers as never));
    const walker = PageWalker.create(memory, { cr3: ROOT });
    refused("USAGE", () => walker.setRegisters(registers as never));
    expect(walker.registers.cr3).toBe(ROOT);
    expect(walker.translate(GVA)).toBe(0x5000n);
  });

  test.each<[string, object]>([
    ["32-bit paging", { cr4: 0n }],
    ["PAE paging", { efer: 0x800n }],
  ])("%s is refused, with the mode by name", (name, registers) => {
    const { message } = refused("UNSUPPORTED", () => PageWalker.create(memory, { cr3: ROOT, ...registers }));
    expect(message).toContain(name);
  });

  test("without NXE and beyond the width of addresses, bits are reserved", () => {
    const own = new Pages();
    own.map(ROOT, GVA, 0x5000n | USER | PTE_XD);
    own.map(ROOT, GVA + 0x1000n, (1n << 40n) | USER);
    const error = (walker: PageWalker, gva: bigint): unknown => {
      const { result } = walker.walk(gva);
      return result.kind === "page-fault" ? result.errorCode : result.kind;
    };
    const walker = PageWalker.create(own, { cr3: ROOT, efer: 0x100n, maxphyaddr: 40 });
    expect([error(walker, GVA), error(walker, GVA + 0x1000n)]).toEqual([9, 9]);
    expect(listOf(walker)).toEqual([]);
    walker.setRegisters({ efer: 0x900n, maxphyaddr: 52 });
    expect([error(walker, GVA), error(walker, GVA + 0x1000n)]).toEqual(["ok", "ok"]);
    expect(listOf(walker)).toHaveLength(2);
  });
});

describe("a walker", () => {
  test("over a machine sees what its vCPU sees", () => {
    const { machine, vcpu, tables } = machineInLongMode();
    tables.map({ gva: 0x40_0000, gpa: 0x20_0000, length: 16 * 4096, writable: false });
    for (let i = 0; i < 16; i += 2) expect(vcpu.read(0x40_0000 + i * 4096).kind).toBe("ok");
    const walker = PageWalker.create(machine, registersOf(machine));
    expect(walker.registers.nested).toMatchObject({ kind: "ept" });
    for (let i = 0; i < 16; i++) {
      const gva = 0x40_0000 + i * 4096 + 8;
      expect(walker.walk(gva)).toEqual(vcpu.translate(gva));
      expect(walker.walk(gva, { access: "write" })).toEqual(vcpu.translate(gva, { access: "write" }));
    }
    const rows = listOf(walker, { from: 0x40_0000, to: 0x41_0000 });
    expect(rows.map(({ gva, nested }) => [gva, nested!.fault])).toEqual(
      Array.from({ length: 16 }, (_, i) => [BigInt(0x40_0000 + i * 4096), i % 2 === 1]),
    );
    expect(vcpu.read(0x40_1000).kind).toBe("ok");
    expect(walker.translate(0x40_1000)).toBeNull();
    walker.refresh();
    const { result } = vcpu.translate(0x40_1000);
    expect(walker.translate(0x40_1000)).toBe(result.kind === "ok" ? result.hpa : null);
    expectBalanced(machine);
    machine.dispose();
    walker.refresh();
    refused("DISPOSED", () => walker.translate(0x40_0000));
  });

  test("keeps to few windows, in two dimensions of five levels too", () => {
    const memory = new Pages();
    const nested = { levels: 5, link: USER };
    let next = 0x1000_0000n;
    // Guest-physical page p at host-physical p + 2^40, each piece by tables of its own.
    const put = (gpa: bigint): void =>
      memory.map(0x10_0000n, gpa, (gpa + (1n << 40n)) | USER, { ...nested, next: () => (next += 0x1000n) });
    const guest = new Pages();
    for (let i = 0n; i < 400n; i++) guest.map(ROOT, i << 39n, USER, { levels: 5 });
    for (const [pfn, page] of guest.pages) {
      put(BigInt(pfn) << 12n);
      memory.pages.set(pfn + 2 ** 28, page);
    }
    put(0n);
    const registers = {
      cr3: ROOT,
      cr4: 0x10a0n,
      nested: { kind: "npt", ncr3: 0x10_0000n, levels: 5 },
    } as const;
    const few = PageWalker.create(memory, registers, { windows: 256 });
    const many = PageWalker.create(memory, registers, { windows: 65_536 });
    const rows = listOf(many);
    expect(rows).toHaveLength(400);
    expect(listOf(few)).toEqual(rows);
    for (const { gva } of rows) expect(few.walk(gva)).toEqual(many.walk(gva));
    refused("USAGE", () => PageWalker.create(memory, registers, { windows: 255 }));
  });

  test("reads across pages, and stops where something is missing", () => {
    const memory = new Pages();
    for (let i = 0n; i < 40n; i++)
      memory.map(ROOT, GVA + (i << 12n), ((0x100n + ((i * 7n) % 40n)) << 12n) | PTE_P);
    for (let i = 0n; i < 40n; i++) memory.page((0x100n + i) << 12n).fill(i);
    memory.drop((0x100n + 35n) << 12n); // the 6th page
    const walker = PageWalker.create(memory, { cr3: ROOT });
    const target = new Uint8Array(40 * 4096);
    expect(walker.read(GVA + 100n, target)).toBe(5 * 4096 - 100);
    expect([target[0], target[4096 - 100], target[8192 - 100], target[20479 - 100 + 1]]).toEqual([
      0, 7, 14, 0,
    ]);
    expect(walker.read(GVA + 6n * 4096n, target)).toBe(34 * 4096);
    expect(walker.read(GVA - 1n, target)).toBe(0);
    expect(walker.read((1n << 64n) - 8n, target)).toBe(0);
    expect(walker.read(GVA, new Uint8Array())).toBe(0);
  });

  test("runs on any module of the package", async () => {
    const memory = new Pages();
    memory.map(ROOT, GVA, 0x5000n | USER);
    for (const module of ["embed", "release"] as const) {
      expect(PageWalker.create(memory, { cr3: ROOT }, { module }).translate(GVA)).toBe(0x5000n);
      expect((await PageWalker.open(memory, { cr3: ROOT }, { module })).translate(GVA)).toBe(0x5000n);
    }
    refused("MODULE_MISMATCH", () => PageWalker.create(memory, { cr3: ROOT }, { module: new Uint8Array(8) }));
    await expect(PageWalker.open(memory, {} as never)).rejects.toMatchObject({ code: "USAGE" });
  });

  test("that has been closed says so", () => {
    const walker = PageWalker.create(new Pages(), { cr3: ROOT });
    walker.close();
    walker.close();
    for (const use of [
      () => walker.walk(0n),
      () => walker.translate(0n),
      () => walker.read(0n, new Uint8Array(1)),
      () => walker.setRegisters({}),
      () => walker.refresh(),
      () => walker.scan().next(),
    ])
      refused("DISPOSED", use);
  });

  test("passes on what its memory throws, and goes on afterwards", () => {
    const memory = new Pages();
    memory.map(ROOT, GVA, 0x5000n | USER);
    let broken = true;
    const walker = PageWalker.create(
      {
        readPage(pfn, target) {
          if (broken) throw new Error("the disk is gone");
          return memory.readPage(pfn, target);
        },
      },
      { cr3: ROOT, cpl: 3 },
    );
    for (const use of [
      () => walker.walk(GVA, { cpl: 0 }),
      () => walker.translate(GVA),
      () => [...walker.scan()],
    ])
      expect(use).toThrow("the disk is gone");
    broken = false;
    expect(walker.translate(GVA)).toBe(0x5000n);
    expect(listOf(walker)).toHaveLength(1);
    expect(walker.walk(GVA).result.kind).toBe("ok");
  });
});

describe("nested tables, and what does not depend on rights", () => {
  const EPT_ROOT = 0x80_0000n;
  const RWX_XU = 7n | (1n << 10n);
  const WRITE_BACK = 6n << 3n;

  /** A user page at GVA over EPT that maps what the walk needs one to one. */
  function nestedMemory(): Pages {
    const memory = new Pages();
    memory.map(ROOT, GVA, 0x5000n | USER);
    const next = ((): (() => bigint) => {
      let at = EPT_ROOT;
      return () => (at += 0x1000n);
    })();
    for (const page of [ROOT, 0x100_1000n, 0x100_2000n, 0x100_3000n, 0x5000n]) {
      memory.map(EPT_ROOT, page, page | RWX_XU | WRITE_BACK, { link: RWX_XU, next });
    }
    memory.store(0x5000n, 0x1234n);
    return memory;
  }
  const nested = { kind: "ept", eptp: EPT_ROOT | 0x1en } as const;

  test.each([false, true])("a lookup asks for no right; modeBasedExecute: %s", (modeBasedExecute) => {
    const smap = 1n << 21n;
    const walker = PageWalker.create(nestedMemory(), {
      cr3: ROOT,
      cr4: 0xa0n | smap,
      nested: { ...nested, modeBasedExecute },
    });
    expect(walker.walk(GVA).result.kind).toBe("page-fault");
    expect(walker.translate(GVA)).toBe(0x5000n);
    const bytes = new Uint8Array(2);
    expect(walker.read(GVA, bytes)).toBe(2);
    expect([...bytes]).toEqual([0x34, 0x12]);
    // With an access its rights count.
    const results = new BigUint64Array(1);
    expect(walker.translateMany(new BigUint64Array([GVA]), results, "read")).toBe(0);
  });

  test("a guest's table that is not in the memory is no gap of the nested tables", () => {
    const memory = nestedMemory();
    memory.drop(0x100_2000n);
    const walker = PageWalker.create(memory, { cr3: ROOT, nested });
    const rows = listOf(walker);
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({ missingTable: true, nested: { missingTable: false } });
  });

  test("without paging there are no addresses beyond the physical ones", () => {
    const walker = PageWalker.create(nestedMemory(), { cr3: ROOT, cr0: 1n });
    expect(walker.walk(0x5008n).result).toEqual({ kind: "ok", gpa: 0x5008n, hpa: 0x5008n, pageShift: 12 });
    expect(walker.walk((1n << 52n) | 0x3000n).result.kind).toBe("general-protection");
    expect(walker.translate(3n << 52n)).toBe(null);
  });

  test("five levels of full tables are scanned in the fewest windows", () => {
    const memory = new Pages();
    // Tables of two levels, each with many entries that refer to tables of their own.
    for (let i = 0n; i < 300n; i++) memory.map(ROOT, i << 21n, 0x5000n | USER, { levels: 5 });
    for (let i = 1n; i < 200n; i++) memory.map(ROOT, i << 30n, 0x5000n | USER, { levels: 5 });
    for (let i = 1n; i < 200n; i++) memory.map(ROOT, i << 39n, 0x5000n | USER, { levels: 5 });
    for (let i = 1n; i < 200n; i++) memory.map(ROOT, i << 48n, 0x5000n | USER, { levels: 5 });
    const walker = PageWalker.create(memory, { cr3: ROOT, cr4: 0xa0n | (1n << 12n) }, { windows: 256 });
    let rows = 0;
    for (const block of walker.scan({ from: 0n, to: 300n << 21n, fold: "none" })) rows += block.count;
    expect(rows).toBe(300);
    expect(memory.reads).toBeLessThan(20_000);
  });
});
