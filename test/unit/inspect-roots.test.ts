// The search for page-table roots, over memory that was put together for it: what is found, what is not mistaken for a root,
// and how far a search goes.
import { describe, expect, test } from "vitest";
import { findRoots, guessLevels } from "../../src/inspect/roots.js";
import { searchPages } from "../../src/inspect/search.js";
import { Tables } from "../../src/inspect/tables.js";
import { mayBeVmcb, vmcbAt } from "../../src/inspect/vmcb.js";
import { BuiltMemory, P, PS, RW, smallKernel, US } from "../physical-memory.js";

const addresses = ({ roots }: ReturnType<typeof findRoots>): bigint[] => roots.map(({ pa }) => pa);

describe("roots", () => {
  test("those that share a kernel are found, tables below them are not", () => {
    const { memory, roots } = smallKernel();
    const found = findRoots(memory);
    expect(addresses(found).sort()).toEqual([...roots].sort());
    for (const root of found.roots) {
      expect(root).toMatchObject({
        levels: 4,
        supported: true,
        lowerEntries: 1,
        upperEntries: 1,
        pair: null,
      });
      expect(root.evidence[0]).toMatch(/^its own tables map it, writable, at ffff88800010[01]000$/);
      expect(root.evidence[1]).toBe("its upper entry is that of 1 other root");
    }
    expect(found.extent).toEqual({ readBytes: 16 * 2 ** 20, skippedBytes: 0, leftBytes: 0 });
  });

  test("CR3 and the kernel's own root come first, with what names them", () => {
    const { memory, roots } = smallKernel();
    const [first, second] = findRoots(memory, {
      cr3s: [{ cpu: 3, cr3: roots[1] | 0x8000_0000_0000_0005n }],
      kernelRoot: roots[0],
    }).roots;
    expect(first).toMatchObject({ pa: roots[1], cpus: [3] });
    expect(first!.evidence[0]).toBe("CR3 of CPU 3");
    expect(second!.evidence[0]).toBe("the kernel's root by VMCOREINFO");
  });

  test("five levels are told from four", () => {
    const memory = new BuiltMemory(16n << 20n, 1n << 20n);
    const root = memory.table();
    for (let pa = 0n; pa < memory.size; pa += 2n << 20n)
      memory.map(root, 0xff11_0000_0000_0000n + pa, pa, RW, 2, 5);
    memory.map(root, 0x40_0000n, 0x80_0000n, US, 1, 5);
    const [best] = findRoots(memory).roots;
    expect(best).toMatchObject({ pa: root, levels: 5, supported: true });
    expect(guessLevels(memory, root)).toEqual({ levels: 5, sure: true });
    const four = smallKernel();
    expect(guessLevels(four.memory, four.roots[0])).toEqual({ levels: 4, sure: true });
  });

  test("a pair of page-table isolation is told, and which half is which", () => {
    const { memory, roots } = smallKernel();
    const [kernel, user] = roots;
    memory.setEntry(user, 0, memory.entry(kernel, 0));
    memory.setEntry(kernel, 510, memory.entry(kernel, 273));
    const found = findRoots(memory).roots;
    expect(found.find(({ pa }) => pa === kernel)!.pair).toEqual({ pa: user, half: "kernel" });
    expect(found.find(({ pa }) => pa === user)!.pair).toEqual({ pa: kernel, half: "user" });
  });

  test("a recursive entry speaks for a root; a page table of the direct map that maps itself is none", () => {
    const memory = new BuiltMemory(4n << 20n, 0x1000n);
    const root = memory.table();
    memory.setEntry(root, 300, root | P | RW);
    // All memory by small pages: two page tables, the first of which maps itself with neighbours on both sides.
    for (let pa = 0n; pa < memory.size; pa += 4096n) memory.map(root, 0xffff_8880_0000_0000n + pa, pa, RW);
    const found = findRoots(memory, { levels: 4 });
    expect(addresses(found)).toEqual([root]);
    expect(found.roots[0]!.evidence[0]).toBe("entry 300 refers to the table itself: a recursive mapping");
  });

  test("random data and text are no roots", () => {
    const memory = new BuiltMemory(4n << 20n, 0n);
    let state = 88172645463325252n;
    for (let pfn = 0; pfn < 1024; pfn++) {
      const page = new BigUint64Array(memory.page(BigInt(pfn) << 12n).buffer);
      for (let i = 0; i < 512; i++) {
        state = BigInt.asUintN(64, state ^ (state << 13n));
        state ^= state >> 7n;
        state = BigInt.asUintN(64, state ^ (state << 17n));
        page[i] = pfn % 2 === 0 ? state : 0x6f_7720_6f6c_6c65n + (state % 7n);
      }
    }
    expect(findRoots(memory).roots).toEqual([]);
  });

  test("tables that refer to each other in a circle end", () => {
    const memory = new BuiltMemory(1n << 20n, 0x1000n);
    const [a, b] = [memory.table(), memory.table()];
    for (let i = 0; i < 512; i++) {
      memory.setEntry(a, i, b | P | RW);
      memory.setEntry(b, i, a | P | RW);
    }
    const tables = new Tables(memory);
    const verdict = tables.check(Number(a >> 12n), 4);
    expect(verdict.leaves).toBeGreaterThan(0);
    expect(tables.tablesBelow(Number(a >> 12n), 4, { tables: 1000 })).toEqual(new Set([1, 2]));
    expect(findRoots(memory).roots.length).toBeGreaterThan(0);
  });

  test("entries that no kernel writes are counted against a table", () => {
    const memory = new BuiltMemory(1n << 20n, 0x1000n);
    const [top, directory] = [memory.table(), memory.table()];
    memory.setEntry(top, 0, directory | P);
    memory.setEntry(directory, 0, 0x4000_0000n | P | PS);
    memory.setEntry(directory, 1, 0x4020_0000n | P | PS); // not aligned to 1 GByte
    memory.setEntry(directory, 2, (1n << 50n) | P); // beyond any machine
    const { entries, implausible, leaves } = new Tables(memory).check(1, 4);
    expect({ entries, implausible, leaves }).toEqual({ entries: 4, implausible: 2, leaves: 1 });
  });
});

describe("a search", () => {
  const pagesSeen = (memory: BuiltMemory, options: object): { seen: number[]; extent: object } => {
    const seen: number[] = [];
    const extent = searchPages(memory, (pfn) => seen.push(pfn), options);
    return { seen, extent };
  };

  test("goes over every page, but for what is zero", () => {
    const memory = new BuiltMemory(1n << 20n, 0n);
    for (const pfn of [0, 17, 255]) memory.page(BigInt(pfn) << 12n)[4095] = 1;
    const { seen, extent } = pagesSeen(memory, {});
    expect(seen).toEqual(expect.arrayContaining([0, 17, 255]));
    // Blocks of 64 KiB are passed over whole: 13 of the 16 are zero.
    expect(seen).toHaveLength(3 * 16);
    expect(extent).toEqual({ readBytes: 2 ** 20, skippedBytes: 0, leftBytes: 0 });
  });

  test("ends at its limit, and says how much is left", () => {
    const memory = new BuiltMemory(8n << 20n, 0n);
    expect(pagesSeen(memory, { limitBytes: 5 * 2 ** 20 }).extent).toEqual({
      readBytes: 4 * 2 ** 20,
      skippedBytes: 0,
      leftBytes: 4 * 2 ** 20,
    });
  });

  test("passes over what seems a hole in an image of 8 GiB, if it cannot be read directly", () => {
    const memory = new BuiltMemory(8n << 30n, 0n);
    memory.page((5n << 30n) + 0x3_0000n)[0] = 1; // where it is probed
    memory.page((6n << 30n) + 0x1000n)[0] = 1; // where it is not
    const { seen, extent } = pagesSeen(memory, {});
    expect(seen).toContain(0x14_0030);
    expect(seen).not.toContain(0x18_0001);
    expect(extent).toEqual({ readBytes: 2 ** 21, skippedBytes: 2 ** 33 - 2 ** 21, leftBytes: 0 });
  });
});

describe("VMCBs", () => {
  /** A control block with what VMRUN asks for, in page 8, and nested tables at page 1. */
  function withVmcb(change: (view: DataView) => void): BuiltMemory {
    const memory = new BuiltMemory(1n << 20n, 0x1000n);
    const ncr3 = memory.table();
    memory.map(ncr3, 0n, 0x2_0000n, RW | US);
    const view = new DataView(memory.page(0x8000n).buffer);
    view.setUint32(0x10, 1, true);
    view.setUint32(0x58, 1, true);
    view.setUint32(0x90, 1, true);
    view.setBigUint64(0xb0, ncr3, true);
    view.setBigUint64(0x4d0, 0x1d01n, true);
    view.setBigUint64(0x548, 0x20n, true);
    view.setBigUint64(0x550, 0x1000n, true);
    view.setBigUint64(0x558, 0x8000_0011n, true);
    view.setBigUint64(0x570, 2n, true);
    change(view);
    return memory;
  }
  const found = (memory: BuiltMemory): bigint[] => findRoots(memory).vmcbs.map(({ pa }) => pa);

  test("one that VMRUN would take is found", () => {
    expect(found(withVmcb(() => {}))).toEqual([0x8000n]);
    const vmcb = vmcbAt(
      withVmcb(() => {}),
      new Tables(withVmcb(() => {})),
      8,
    );
    expect(vmcb).toMatchObject({ ncr3: 0x1000n, asid: 1, cr3: 0x1000n, efer: 0x1d01n, cpl: 0 });
  });

  test.each<[string, (view: DataView) => void]>([
    ["VMRUN is not intercepted", (view) => view.setUint32(0x10, 0, true)],
    ["ASID is 0", (view) => view.setUint32(0x58, 0, true)],
    ["nested paging is off", (view) => view.setUint32(0x90, 0, true)],
    ["EFER.SVME is clear", (view) => view.setBigUint64(0x4d0, 0xd01n, true)],
    ["EFER has reserved bits", (view) => view.setBigUint64(0x4d0, 0x81001d01n, true)],
    ["CR0 has more than 32 bits", (view) => view.setBigUint64(0x558, 0x1_8000_0011n, true)],
    ["LMA without PAE", (view) => view.setBigUint64(0x548, 0n, true)],
    ["LMA without paging", (view) => view.setBigUint64(0x558, 0x11n, true)],
    ["RFLAGS without its fixed bit", (view) => view.setBigUint64(0x570, 0n, true)],
    ["the CPL is 7", (view) => view.setUint8(0x4cb, 7)],
    ["N_CR3 has no tables", (view) => view.setBigUint64(0xb0, 0x9000n, true)],
    ["N_CR3 is not in the memory", (view) => view.setBigUint64(0xb0, 1n << 40n, true)],
  ])("none if %s", (_, change) => {
    expect(found(withVmcb(change))).toEqual([]);
  });

  test("a page of zeros is none", () => {
    expect(mayBeVmcb(new Uint32Array(1024), 0)).toBe(false);
  });
});
