// Paging-structure caches in the architectural mode: a walk may begin below an entry that was changed meanwhile, with the
// rights that it had, until an invalidation covers what is cached. `stale` answers the core's questions: true uses (and
// forgets) whatever may be used (and forgotten).
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { CoreInstance } from "../core-instance.js";

const { Access, MachineOption, Outcome, Register } = layout;
const TABLE = layout.PTE_P | layout.PTE_RW | layout.PTE_US | layout.PTE_A | layout.PTE_D;
const EPT_TABLE = layout.EPT_RWX | layout.EPT_A;
const EPT_PAGE = EPT_TABLE | layout.EPT_D | layout.EPT_MEMTYPE_WB;
const GVA = 0x40_1000n;
const NEXT = GVA + 0x1000n;

class Guest {
  readonly machine: CoreInstance;
  stale = false;
  asked = 0;
  private next = 1n;
  readonly cr3: bigint;
  readonly top: bigint;

  constructor(
    readonly ept: boolean,
    structureEntries = 32,
  ) {
    const options = MachineOption.Page1GB | MachineOption.EptAccessedDirty | MachineOption.ArchitecturalTlb;
    const choose = (): number => {
      this.asked++;
      return Number(this.stale);
    };
    this.machine = new CoreInstance({ frameCount: 512, options, structureEntries }, { choose });
    const { machine } = this;
    this.cr3 = this.frame();
    this.top = this.frame();
    if (ept) {
      let at = this.top;
      for (let level = 4; level >= 2; level--) {
        const frame = this.frame();
        machine.writePhysical(at, frame | EPT_TABLE);
        at = frame;
      }
      for (let i = 0n; i < 512n; i++) machine.writePhysical(at + 8n * i, (i << 12n) | EPT_PAGE);
    }
    machine.set(Register.Efer, layout.EFER_LME | layout.EFER_NXE);
    machine.set(Register.Cr4, layout.CR4_PAE | layout.CR4_PGE);
    machine.set(Register.Cr0, layout.CR0_PE | layout.CR0_PG | layout.CR0_WP);
    machine.set(Register.Cr3, this.cr3);
    if (ept) machine.set(Register.Eptp, this.top | layout.EPTP_WB_4LEVEL | layout.EPTP_AD);
  }
  frame(): bigint {
    return this.next++ << 12n;
  }
  /** Address of the guest's entry of `level` for `gva`; tables above it are made if need be. */
  at(gva: bigint, level: number): bigint {
    let table = this.cr3;
    for (let l = 4; l > level; l--) {
      const at = table + 8n * ((gva >> BigInt(3 + 9 * l)) & 0x1ffn);
      if (this.machine.readPhysical(at) === 0n) this.machine.writePhysical(at, this.frame() | TABLE);
      table = this.machine.readPhysical(at) & layout.PTE_ADDRESS;
    }
    return table + 8n * ((gva >> BigInt(3 + 9 * level)) & 0x1ffn);
  }
  map(gva: bigint, page = this.frame()): bigint {
    this.machine.writePhysical(this.at(gva, 1), page | TABLE);
    return page;
  }
  /** A table with one page, for the address; its page. */
  table(gva: bigint): { table: bigint; page: bigint } {
    const table = this.frame();
    const page = this.frame();
    this.machine.writePhysical(table + 8n * ((gva >> 12n) & 0x1ffn), page | TABLE);
    return { table, page };
  }
  access(gva: bigint, stale: boolean, access: number = Access.Read): bigint | null {
    this.stale = stale;
    const host = this.machine.core.tlbAccess(0, gva, access) >>> 0;
    this.stale = false;
    return host ? BigInt(host - this.machine.frame(0n)) : null;
  }
}

describe.each([
  ["linear", false],
  ["combined", true],
] as const)("%s entries", (_name, ept) => {
  test("a table that was freed is still walked, until an invalidation", () => {
    const guest = new Guest(ept);
    const old = guest.map(GVA);
    const oldNext = guest.map(NEXT);
    expect(guest.access(GVA, false)).toBe(old);
    // The PDE refers to another table now; nothing was invalidated.
    const { table, page } = guest.table(NEXT);
    guest.machine.writePhysical(guest.at(NEXT, 2), table | TABLE);
    expect(guest.access(NEXT, true)).toBe(oldNext);
    guest.machine.core.invlpg(0, 0xdead_0000n);
    expect(guest.access(NEXT, true)).toBe(page);
  });
  test("which entries are read is told: below the row alone", () => {
    const guest = new Guest(ept);
    guest.map(GVA);
    guest.map(NEXT);
    guest.access(GVA, false);
    guest.stale = true;
    expect(guest.machine.core.translate(0, NEXT, Access.Read, 1)).toBe(Outcome.Ok);
    const levels = guest.machine
      .walk()
      .steps.filter((s) => !s.nested)
      .map((s) => s.level);
    expect(levels).toEqual([1]);
  });
  test("rights are those of the time of the entry: fewer than now, and more", () => {
    const guest = new Guest(ept);
    guest.map(GVA);
    const page = guest.map(NEXT);
    const pde = guest.at(GVA, 2);
    const entry = guest.machine.readPhysical(pde);
    guest.machine.writePhysical(pde, entry & ~layout.PTE_RW);
    guest.access(GVA, false);
    guest.machine.writePhysical(pde, entry);
    expect(guest.access(NEXT, true, Access.Write)).toBe(null);
    expect(guest.machine.walk()).toMatchObject({ outcome: Outcome.PageFault, error: 3 });
    // The fault has dropped what led to the address: now the tables are read.
    expect(guest.access(NEXT, true, Access.Write)).toBe(page);
    guest.machine.writePhysical(pde, entry & ~layout.PTE_RW);
    guest.machine.core.tlbFlush(0, layout.Flush.NonGlobal, 0n);
    expect(guest.access(NEXT, true, Access.Write)).toBe(null);
  });
  test("no question is asked, and nothing stale used, without rows", () => {
    const guest = new Guest(ept, 0);
    guest.map(GVA);
    guest.map(NEXT);
    guest.access(GVA, false);
    const { table, page } = guest.table(NEXT);
    guest.machine.writePhysical(guest.at(NEXT, 2), table | TABLE);
    expect(guest.access(NEXT, true)).toBe(page);
    expect(guest.asked).toBe(0);
  });
  test("a walk that faults leaves no row", () => {
    const guest = new Guest(ept);
    guest.map(GVA, 0n);
    guest.machine.writePhysical(guest.at(GVA, 1), 0n);
    expect(guest.access(GVA, false)).toBe(null);
    const { table, page } = guest.table(NEXT);
    guest.machine.writePhysical(guest.at(NEXT, 2), table | TABLE);
    expect(guest.access(NEXT, true)).toBe(page);
  });
});

describe("combined and guest-physical entries", () => {
  test("a combined row knows where the guest's table lies: EPT may move it, until INVEPT", () => {
    const guest = new Guest(true);
    guest.map(GVA);
    const old = guest.map(NEXT);
    guest.access(GVA, false);
    const last = guest.machine.readPhysical(guest.at(NEXT, 2)) & layout.PTE_ADDRESS;
    const { table, page } = guest.table(NEXT);
    const eptLeaf = 8n * (last >> 12n);
    let at = guest.top;
    for (let level = 4; level >= 2; level--) at = guest.machine.readPhysical(at) & layout.PTE_ADDRESS;
    guest.machine.writePhysical(at + eptLeaf, table | EPT_PAGE);
    expect(guest.access(NEXT, true)).toBe(old);
    guest.machine.core.invept(0, 1n, guest.top | layout.EPTP_WB_4LEVEL);
    expect(guest.access(NEXT, true)).toBe(page);
  });
  test("a guest-physical row outlives INVVPID and a full flush of the guest, not INVEPT", () => {
    const guest = new Guest(true);
    guest.map(GVA);
    const page = guest.map(NEXT);
    guest.access(GVA, false);
    // An EPT without anything: only what is cached leads to the tables.
    const pml4e = guest.machine.readPhysical(guest.top);
    guest.machine.writePhysical(guest.top, 0n);
    guest.machine.set(Register.Cr4, layout.CR4_PAE);
    expect(guest.access(NEXT, true)).toBe(page);
    guest.machine.core.invept(0, 2n, 0n);
    expect(guest.access(GVA, true)).toBe(null);
    expect(guest.machine.walk().outcome).toBe(Outcome.EptViolation);
    guest.machine.writePhysical(guest.top, pml4e);
    expect(guest.access(NEXT, true)).toBe(page);
  });
  test("an EPT violation drops the rows of its address", () => {
    const guest = new Guest(true);
    const page = guest.map(GVA);
    guest.access(GVA, false);
    let at = guest.top;
    for (let level = 4; level >= 2; level--) at = guest.machine.readPhysical(at) & layout.PTE_ADDRESS;
    const leaf = at + 8n * (page >> 12n);
    const entry = guest.machine.readPhysical(leaf);
    guest.machine.writePhysical(leaf, 0n);
    guest.machine.core.tlbFlush(0, layout.Flush.NonGlobal, 0n);
    expect(guest.access(GVA, true)).toBe(null);
    guest.machine.writePhysical(leaf, entry);
    // A new PD of EPT maps everything elsewhere; no row leads to the old one.
    const pdpt = guest.machine.readPhysical(guest.machine.readPhysical(guest.top) & layout.PTE_ADDRESS);
    expect(pdpt).not.toBe(0n);
    expect(guest.access(GVA, true)).toBe(page);
  });
});

test("accessed flags below a row are set", () => {
  const guest = new Guest(false);
  guest.map(GVA);
  const page = guest.map(NEXT);
  guest.access(GVA, false);
  const pte = guest.at(NEXT, 1);
  guest.machine.writePhysical(pte, page | (TABLE & ~layout.PTE_A));
  expect(guest.access(NEXT, true)).toBe(page);
  expect(guest.machine.readPhysical(pte) & layout.PTE_A).toBe(layout.PTE_A);
});
