// The TLB: what a fill leaves, what each kind of flush takes away, and what control state changes without one.
import { beforeEach, describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { CoreInstance, type Configuration } from "../core-instance.js";

const { Access, Flush, Outcome, Register } = layout;
const P = layout.PTE_P;
const RW = layout.PTE_RW;
const US = layout.PTE_US;
const A = layout.PTE_A;
const D = layout.PTE_D;
const G = layout.PTE_G;
const PS = layout.PTE_PS;
const PAGE = P | RW | US | A | D;

/** A vCPU in long mode with tables of its own making in frames. */
class Guest {
  readonly machine: CoreInstance;
  private next = 1n;

  constructor(configuration: Partial<Configuration> = {}) {
    this.machine = new CoreInstance({ frameCount: 2048, ...configuration });
    this.machine.set(Register.Efer, layout.EFER_LME | layout.EFER_NXE);
    this.machine.set(Register.Cr4, layout.CR4_PAE);
    this.machine.set(Register.Cr0, layout.CR0_PE | layout.CR0_PG | layout.CR0_WP);
  }
  frame(): bigint {
    return this.next++ << 12n;
  }
  /** Maps a page of 4 KByte (level 1), 2 MByte or 1 GByte. Tables come from frames. */
  map(root: bigint, address: bigint, entry: bigint, level = 1, tableBits = PAGE): void {
    let table = root;
    for (let l = 4; ; l--) {
      const at = table + 8n * ((address >> BigInt(3 + 9 * l)) & 0x1ffn);
      if (l === level) return this.machine.writePhysical(at, level > 1 ? entry | PS : entry);
      let next = this.machine.readPhysical(at);
      if (next === 0n) this.machine.writePhysical(at, (next = this.frame() | tableBits));
      table = next & layout.PTE_ADDRESS;
    }
  }
  probe(address: bigint, access: number = Access.Read): boolean {
    return this.machine.core.tlbProbe(0, address, access) !== 0;
  }
  /** Accesses; the physical address, or null after a fault. */
  access(address: bigint, access: number = Access.Read): bigint | null {
    const host = this.machine.core.tlbAccess(0, address, access) >>> 0;
    return host ? BigInt(host - this.machine.frame(0n)) : null;
  }
  cr3(value: bigint): void {
    this.machine.set(Register.Cr3, value);
  }
}

const GVA = 0xffff_8000_1234_5000n;
const OTHER = 0xffff_8000_1234_6000n;
const LOW = 0x0000_0000_4000_0000n;

let guest: Guest;
let root: bigint;
beforeEach(() => {
  guest = new Guest();
  root = guest.frame();
  guest.cr3(root);
});

describe("a fill", () => {
  test("gives the address that the walk gives, for every byte of the page", () => {
    const page = guest.frame();
    guest.map(root, GVA, page | PAGE);
    expect(guest.probe(GVA)).toBe(false);
    expect(guest.access(GVA + 0x123n)).toBe(page + 0x123n);
    expect(guest.probe(GVA + 0xfffn)).toBe(true);
    expect(guest.access(GVA + 0xfffn)).toBe(page + 0xfffn);
    expect(guest.probe(GVA + 0x1000n)).toBe(false);
  });

  test("by a read does not let a write pass a clear dirty flag", () => {
    const page = guest.frame();
    guest.map(root, GVA, page | (PAGE & ~D));
    guest.access(GVA);
    expect(guest.probe(GVA, Access.Read)).toBe(true);
    expect(guest.probe(GVA, Access.Write)).toBe(false);
    expect(guest.access(GVA, Access.Write)).toBe(page);
    expect(guest.probe(GVA, Access.Modify)).toBe(true);
  });

  test("of an address that differs in any bit of the page number is another one", () => {
    const page = guest.frame();
    guest.map(root, LOW, page | PAGE);
    guest.access(LOW);
    for (let b = 12n; b < 64n; b++) expect(guest.probe(LOW ^ (1n << b))).toBe(false);
  });
});

describe("control state changes what an entry allows, without a flush", () => {
  test("CPL, CR0.WP, SMAP, RFLAGS.AC, SMEP", () => {
    guest.map(root, GVA, guest.frame() | (PAGE & ~RW));
    guest.access(GVA);
    expect(guest.probe(GVA, Access.Write)).toBe(false);
    guest.machine.set(Register.Cr0, layout.CR0_PE | layout.CR0_PG);
    guest.access(GVA, Access.Write);
    expect(guest.probe(GVA, Access.Write)).toBe(true);
    guest.machine.set(Register.Cpl, 3n);
    expect(guest.probe(GVA, Access.Write)).toBe(false);
    expect(guest.probe(GVA, Access.Read)).toBe(true);
    guest.machine.set(Register.Cpl, 0n);
    guest.machine.set(Register.Cr4, layout.CR4_PAE | layout.CR4_SMAP);
    expect(guest.probe(GVA, Access.Read)).toBe(false);
    guest.machine.set(Register.Rflags, layout.RFLAGS_AC);
    expect(guest.probe(GVA, Access.Read)).toBe(true);
    expect(guest.probe(GVA, Access.ImplicitRead)).toBe(false);
    expect(guest.probe(GVA, Access.Fetch)).toBe(true);
  });

  test("PKRU closes and opens one key", () => {
    guest.map(root, GVA, guest.frame() | PAGE | (5n << 59n));
    guest.machine.set(Register.Cr4, layout.CR4_PAE | layout.CR4_PKE);
    guest.access(GVA);
    guest.machine.set(Register.Pkru, 2n << 10n);
    expect(guest.probe(GVA, Access.Read)).toBe(true);
    expect(guest.probe(GVA, Access.Write)).toBe(false);
    guest.machine.set(Register.Pkru, 1n << 10n);
    expect(guest.probe(GVA, Access.Read)).toBe(false);
    expect(guest.probe(GVA, Access.Fetch)).toBe(true);
    guest.machine.set(Register.Pkru, 3n << 12n);
    expect(guest.probe(GVA, Access.Write)).toBe(true);
  });
});

describe("INVLPG", () => {
  test("drops its page and no other", () => {
    for (const address of [GVA, OTHER]) {
      guest.map(root, address, guest.frame() | PAGE);
      guest.access(address);
    }
    guest.machine.core.invlpg(0, GVA + 0x800n);
    expect(guest.probe(GVA)).toBe(false);
    expect(guest.probe(OTHER)).toBe(true);
  });

  test("drops a global page", () => {
    guest.machine.set(Register.Cr4, layout.CR4_PAE | layout.CR4_PGE);
    guest.map(root, GVA, guest.frame() | PAGE | G);
    guest.access(GVA);
    guest.cr3(root);
    guest.machine.core.invlpg(0, GVA);
    guest.map(root, GVA, 0n);
    expect(guest.access(GVA)).toBe(null);
  });

  test.each([
    ["2-MByte", 2, 0x20_0000n],
    ["1-GByte", 3, 0x4000_0000n],
  ])("drops every piece of a %s page", (_name, level, size) => {
    // The last frames of memory are beyond the page's first 8 MByte: only addresses below are used.
    guest.map(root, LOW, PAGE, level);
    const pieces = [0n, 0x1000n, 0x1f_f000n].map((offset) => LOW + offset);
    for (const piece of pieces) expect(guest.access(piece)).toBe(piece - LOW);
    guest.map(root, OTHER, guest.frame() | PAGE);
    guest.access(OTHER);
    guest.machine.core.invlpg(0, LOW + size - 1n);
    for (const piece of pieces) expect(guest.probe(piece)).toBe(false);
    expect(guest.probe(OTHER)).toBe(true);
    guest.map(root, LOW, 0n, level, PAGE);
    guest.machine.writePhysical((guest.machine.readPhysical(root) & layout.PTE_ADDRESS) + 8n, 0n);
    for (const piece of pieces) expect(guest.access(piece)).toBe(null);
  });
});

describe("large pages", () => {
  test("one walk serves them whole", () => {
    guest.map(root, LOW, PAGE, 2);
    guest.access(LOW);
    // Without the table entry only the large TLB entry can answer.
    guest.machine.writePhysical((guest.machine.readPhysical(root) & layout.PTE_ADDRESS) + 8n, 0n);
    for (let offset = 0n; offset < 0x20_0000n; offset += 0x1000n) {
      expect(guest.access(LOW + offset + 0x10n)).toBe(offset + 0x10n);
    }
    expect(guest.access(LOW + 0x20_0000n)).toBe(null);
  });

  test("that reach beyond memory are served as far as memory goes", () => {
    guest.map(root, LOW, PAGE, 3);
    expect(guest.access(LOW + 0x7f_f000n)).toBe(0x7f_f000n);
    expect(guest.access(LOW + 0x80_0000n)).toBe(null);
    expect(guest.machine.walk().outcome).toBe(Outcome.Missing);
    expect(guest.access(LOW + 0x80_0000n)).toBe(null);
  });

  test("a write needs the dirty flag of the large entry", () => {
    guest.map(root, LOW, PAGE & ~D, 2);
    guest.access(LOW);
    expect(guest.access(LOW + 0x1000n, Access.Write)).toBe(0x1000n);
    const pdpt = guest.machine.readPhysical(root) & layout.PTE_ADDRESS;
    const pd = guest.machine.readPhysical(pdpt + 8n) & layout.PTE_ADDRESS;
    expect(guest.machine.readPhysical(pd) & D).toBe(D);
  });
});

describe("MOV to CR3", () => {
  test("drops what is not global, and keeps what is", () => {
    guest.machine.set(Register.Cr4, layout.CR4_PAE | layout.CR4_PGE);
    guest.map(root, GVA, guest.frame() | PAGE | G);
    guest.map(root, OTHER, guest.frame() | PAGE);
    const kept = guest.access(GVA);
    guest.access(OTHER);
    const empty = guest.frame();
    guest.cr3(empty);
    expect(guest.access(GVA)).toBe(kept);
    expect(guest.access(OTHER)).toBe(null);
  });

  test("without CR4.PGE no page is global", () => {
    guest.map(root, GVA, guest.frame() | PAGE | G);
    guest.access(GVA);
    guest.cr3(guest.frame());
    expect(guest.access(GVA)).toBe(null);
  });

  test("a change of CR4.PGE drops global pages", () => {
    guest.machine.set(Register.Cr4, layout.CR4_PAE | layout.CR4_PGE);
    guest.map(root, GVA, guest.frame() | PAGE | G);
    guest.access(GVA);
    guest.machine.set(Register.Cr4, layout.CR4_PAE);
    expect(guest.probe(GVA)).toBe(false);
    guest.machine.set(Register.Cr4, layout.CR4_PAE | layout.CR4_PGE);
    expect(guest.probe(GVA)).toBe(false);
    guest.cr3(guest.frame());
    expect(guest.access(GVA)).toBe(null);
  });
});

describe("PCIDs", () => {
  let second: bigint;
  beforeEach(() => {
    guest.machine.set(Register.Cr4, layout.CR4_PAE | layout.CR4_PGE | layout.CR4_PCIDE);
    second = guest.frame();
    guest.map(root, GVA, guest.frame() | PAGE);
    guest.map(second, GVA, guest.frame() | PAGE);
    guest.map(root, LOW, guest.frame() | PAGE | G);
  });

  test("keep translations apart, and bit 63 keeps them at all", () => {
    guest.cr3(root | 1n);
    const first = guest.access(GVA);
    guest.cr3(second | 2n);
    expect(guest.probe(GVA)).toBe(false);
    guest.cr3(root | 1n | layout.CR3_NO_FLUSH);
    expect(guest.probe(GVA)).toBe(true);
    expect(guest.access(GVA)).toBe(first);
    guest.cr3(root | 1n);
    expect(guest.probe(GVA)).toBe(false);
  });

  test("a flush of one leaves the others", () => {
    guest.cr3(root | 1n);
    guest.access(GVA);
    guest.cr3(second | 2n);
    guest.cr3(second | 2n);
    guest.cr3(root | 1n | layout.CR3_NO_FLUSH);
    expect(guest.probe(GVA)).toBe(true);
  });

  test("global pages serve all", () => {
    guest.cr3(root | 1n);
    const page = guest.access(LOW);
    guest.cr3(second | 2n);
    expect(guest.access(LOW)).toBe(page);
    expect(guest.probe(LOW)).toBe(true);
    guest.machine.core.invlpg(0, LOW);
    guest.cr3(root | 1n | layout.CR3_NO_FLUSH);
    expect(guest.probe(LOW)).toBe(false);
  });

  test("MOV to CR3 spares global pages", () => {
    guest.cr3(root | 1n);
    const page = guest.access(LOW);
    guest.map(root, LOW, 0n);
    guest.cr3(root | 1n);
    expect(guest.access(LOW)).toBe(page);
  });

  test("clearing CR4.PCIDE drops all of them", () => {
    guest.cr3(root);
    guest.access(GVA);
    guest.machine.set(Register.Cr4, layout.CR4_PAE | layout.CR4_PGE);
    expect(guest.probe(GVA)).toBe(false);
  });
});

describe("flushes", () => {
  test("everything, global pages included", () => {
    guest.machine.set(Register.Cr4, layout.CR4_PAE | layout.CR4_PGE);
    guest.map(root, GVA, guest.frame() | PAGE | G);
    guest.access(GVA);
    guest.machine.core.tlbFlush(0, Flush.All, 0n);
    guest.map(root, GVA, 0n);
    expect(guest.access(GVA)).toBe(null);
  });

  test("a VPID has entries of its own, and INVVPID drops those alone", () => {
    guest.map(root, GVA, guest.frame() | PAGE);
    guest.machine.set(Register.Vpid, 1n);
    guest.access(GVA);
    guest.machine.set(Register.Vpid, 2n);
    expect(guest.probe(GVA)).toBe(false);
    guest.machine.core.tlbFlush(0, Flush.Vpid, 2n);
    guest.machine.set(Register.Vpid, 1n);
    expect(guest.probe(GVA)).toBe(true);
    guest.machine.core.tlbFlush(0, Flush.Vpid, 1n);
    expect(guest.probe(GVA)).toBe(false);
  });

  test("a global page of one VPID is not one of another", () => {
    guest.machine.set(Register.Cr4, layout.CR4_PAE | layout.CR4_PGE);
    guest.map(root, GVA, guest.frame() | PAGE | G);
    guest.machine.set(Register.Vpid, 1n);
    guest.access(GVA);
    guest.map(root, GVA, 0n);
    guest.machine.set(Register.Vpid, 2n);
    expect(guest.access(GVA)).toBe(null);
  });

  test("after a wrap global pages outlive MOV to CR3 as before", () => {
    guest.machine.set(Register.Cr4, layout.CR4_PAE | layout.CR4_PGE);
    for (const word of [layout.CPU_GENERATION, layout.CPU_KEPT_GENERATION]) {
      guest.machine.view.setUint32(guest.machine.actor(0) + word, 0xffff_ffff, true);
    }
    guest.cr3(root);
    guest.map(root, GVA, guest.frame() | PAGE | G);
    const page = guest.access(GVA);
    guest.map(root, GVA, 0n);
    guest.cr3(root);
    expect(guest.access(GVA)).toBe(page);
  });

  test("the generation wraps without waking old entries", () => {
    const at = guest.machine.actor(0) + layout.CPU_GENERATION;
    guest.map(root, GVA, guest.frame() | PAGE);
    guest.access(GVA);
    // Entries of generations 1 and 2 are what a counter that had merely wrapped would find again.
    for (let i = 0; i < 3; i++) {
      guest.machine.view.setUint32(at, 0xffff_ffff, true);
      guest.machine.core.tlbFlush(0, i === 1 ? Flush.NonGlobal : Flush.All, 0n);
      expect(guest.machine.view.getUint32(at, true)).toBe(1);
      expect(guest.probe(GVA)).toBe(false);
      guest.map(root, GVA, 0n);
      expect(guest.access(GVA)).toBe(null);
      guest.map(root, GVA, guest.frame() | PAGE);
      guest.access(GVA);
    }
  });

  test("a page fault drops the page's entry", () => {
    guest.map(root, GVA, guest.frame() | (PAGE & ~RW));
    guest.access(GVA);
    expect(guest.access(GVA, Access.Write)).toBe(null);
    expect(guest.probe(GVA)).toBe(false);
  });
});

describe("tables beyond memory", () => {
  test.each([2048n, 2049n, 0x8_0000n, 0xf_ffffn, 0x10_0000n, 0xfff_ffffn])("pfn 0x%x", (pfn) => {
    for (let level = 1; level <= 4; level++) {
      const top = guest.frame();
      guest.cr3(top);
      guest.map(top, LOW, guest.frame() | PAGE);
      let table = top;
      for (let l = 4; l > level; l--) {
        table =
          guest.machine.readPhysical(table + 8n * ((LOW >> BigInt(3 + 9 * l)) & 0x1ffn)) & layout.PTE_ADDRESS;
      }
      const at = table + 8n * ((LOW >> BigInt(3 + 9 * level)) & 0x1ffn);
      guest.machine.writePhysical(at, (pfn << 12n) | PAGE);
      expect(guest.access(LOW)).toBe(null);
      const { outcome, pa } = guest.machine.walk();
      expect({ outcome, page: pa >> 12n }).toEqual({ outcome: Outcome.Missing, page: pfn });
    }
    guest.cr3(pfn << 12n);
    expect(guest.access(LOW)).toBe(null);
    expect(guest.machine.walk().outcome).toBe(Outcome.Missing);
  });
});

describe("geometry", () => {
  test.each([
    [2, 2],
    [2, 1],
    [1, 0],
    [4096, 1024],
  ])("%i small and %i large entries", (tlbEntries, tlbLargeEntries) => {
    const small = new Guest({ tlbEntries, tlbLargeEntries });
    const top = small.frame();
    small.cr3(top);
    small.map(top, 0x8000_0000n, PAGE, 2);
    const expected = new Map<bigint, bigint>();
    for (let i = 0n; i < 64n; i++) {
      const page = small.frame();
      small.map(top, LOW + (i << 12n), page | PAGE);
      expected.set(LOW + (i << 12n), page);
      expected.set(0x8000_0000n + (i << 12n), i << 12n);
    }
    for (let round = 0; round < 3; round++) {
      for (const [gva, pa] of expected) expect(small.access(gva)).toBe(pa);
      small.machine.core.invlpg(0, LOW);
    }
  });
});
