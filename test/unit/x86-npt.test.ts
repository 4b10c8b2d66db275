// AMD nested paging over frames: exits with all bits of EXITINFO1, flags, the ASID as the tag of the TLB, and the fast form
// against the loop form.
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { CoreInstance } from "../core-instance.js";

const { Access, Outcome, Register, RegisterWrite } = layout;
const PAGE = layout.PTE_P | layout.PTE_RW | layout.PTE_US | layout.PTE_A | layout.PTE_D;
const GVA = 0x0000_7f12_4000_0000n;
const GPA = 0x12_3400_0000n;
const ON = layout.NP_ENABLE | layout.EFER_NXE;
const FINAL = layout.NPF_FINAL;
const TABLE = layout.NPF_TABLE;

/** A guest of four table pages and one page, each mapped by the nested tables to a frame of its own. */
class Nested {
  readonly machine: CoreInstance;
  private next = 1n;
  readonly top: bigint;
  readonly tables: bigint[] = [];
  readonly page: bigint;

  constructor(control = ON, walkCacheEntries = 0) {
    const machine = (this.machine = new CoreInstance({ frameCount: 1024, walkCacheEntries }));
    this.top = this.frame();
    machine.set(Register.Efer, layout.EFER_LME | layout.EFER_NXE);
    machine.set(Register.Cr4, layout.CR4_PAE);
    machine.set(Register.Cr0, layout.CR0_PE | layout.CR0_PG | layout.CR0_WP);
    machine.set(Register.Cr3, GPA);
    machine.set(Register.NestedControl, control);
    machine.set(Register.Ncr3, this.top);
    for (let i = 0n; i < 4n; i++) {
      const hpa = this.frame();
      this.tables.push(hpa);
      this.mapNested(GPA + (i << 12n), hpa | PAGE);
    }
    this.page = this.frame();
    this.mapNested(GPA + 0x4000n, this.page | PAGE);
    for (let level = 4; level >= 1; level--) this.setGuest(level, (GPA + (BigInt(5 - level) << 12n)) | PAGE);
  }
  get levels(): number {
    return this.machine.core.registerRead(0, Register.NestedControl) & layout.CR4_LA57 ? 5 : 4;
  }
  frame(): bigint {
    return this.next++ << 12n;
  }
  /** Address of the nested entry of `level` for `gpa`; tables above it are made if need be. */
  nestedAt(gpa: bigint, level: number): bigint {
    let table = this.top;
    for (let l = this.levels; l > level; l--) {
      const at = table + 8n * ((gpa >> BigInt(3 + 9 * l)) & 0x1ffn);
      if (this.machine.readPhysical(at) === 0n) this.machine.writePhysical(at, this.frame() | PAGE);
      table = this.machine.readPhysical(at) & layout.PTE_ADDRESS;
    }
    return table + 8n * ((gpa >> BigInt(3 + 9 * level)) & 0x1ffn);
  }
  mapNested(gpa: bigint, entry: bigint, level = 1): void {
    this.machine.writePhysical(this.nestedAt(gpa, level), entry);
  }
  nested(gpa: bigint, level = 1): bigint {
    return this.machine.readPhysical(this.nestedAt(gpa, level));
  }
  guestAt(level: number): bigint {
    return this.tables[4 - level]! + 8n * ((GVA >> BigInt(3 + 9 * level)) & 0x1ffn);
  }
  setGuest(level: number, entry: bigint): void {
    this.machine.writePhysical(this.guestAt(level), entry);
  }
  access(access: number = Access.Read): bigint | null {
    const host = this.machine.core.tlbAccess(0, GVA + 8n, access) >>> 0;
    return host ? BigInt(host - this.machine.frame(0n)) : null;
  }
  probe(access: number): boolean {
    return this.machine.core.tlbProbe(0, GVA, access) !== 0;
  }
  exit(access: number): { outcome: number; gpa: bigint; info: bigint } {
    expect(this.access(access)).toBe(null);
    const { outcome, gpa, error } = this.machine.walk();
    return { outcome, gpa, info: BigInt(error) };
  }
}

let vm: Nested;
beforeEach(() => {
  vm = new Nested();
});

test("a walk of 24 references finds the page, and records all of them", () => {
  expect(vm.access()).toBe(vm.page + 8n);
  expect(vm.machine.core.translate(0, GVA, Access.Read, 0)).toBe(Outcome.Ok);
  expect(vm.machine.walk().steps).toHaveLength(24);
});

test("five nested levels: 29 references", () => {
  const wide = new Nested(ON | layout.CR4_LA57);
  expect(wide.access()).toBe(wide.page + 8n);
  expect(wide.machine.core.translate(0, GVA, Access.Read, 0)).toBe(Outcome.Ok);
  expect(wide.machine.walk().steps).toHaveLength(29);
  expect(wide.machine.walk().steps[0]).toMatchObject({ level: 5, nested: true });
});

describe("exits", () => {
  const NPF = { outcome: Outcome.NestedPageFault };
  test("a page that is not there", () => {
    vm.mapNested(GPA + 0x4000n, 0n);
    const at = { ...NPF, gpa: GPA + 0x4008n };
    expect(vm.exit(Access.Read)).toEqual({ ...at, info: FINAL | 4n });
    expect(vm.exit(Access.Write)).toEqual({ ...at, info: FINAL | 6n });
    expect(vm.exit(Access.Modify)).toEqual({ ...at, info: FINAL | 6n });
    expect(vm.exit(Access.Fetch)).toEqual({ ...at, info: FINAL | 0x14n });
  });
  test("rights: read-only, execute-disable, and a page of supervisor mode, which is none", () => {
    vm.mapNested(GPA + 0x4000n, vm.page | (PAGE & ~layout.PTE_RW) | layout.PTE_XD);
    expect(vm.exit(Access.Write)).toMatchObject({ ...NPF, info: FINAL | 7n });
    expect(vm.exit(Access.Fetch)).toMatchObject({ ...NPF, info: FINAL | 0x15n });
    expect(vm.access()).toBe(vm.page + 8n);
    vm.machine.core.tlbFlush(0, layout.Flush.All, 0n);
    vm.mapNested(GPA + 0x4000n, vm.page | (PAGE & ~layout.PTE_US));
    for (const access of [Access.Read, Access.Write, Access.Fetch]) {
      expect(vm.exit(access).info & 0xfn).toBe(access === Access.Write ? 7n : 5n);
    }
  });
  test("a reserved bit; XD is one without the host's NXE, and a fetch is not told then", () => {
    vm.mapNested(GPA + 0x4000n, vm.page | PAGE | (1n << 45n));
    expect(vm.exit(Access.Read)).toMatchObject({ ...NPF, info: FINAL | 0xdn });
    const plain = new Nested(layout.NP_ENABLE);
    plain.mapNested(GPA + 0x4000n, plain.page | PAGE | layout.PTE_XD);
    expect(plain.exit(Access.Fetch)).toMatchObject({ ...NPF, info: FINAL | 0xdn });
  });
  test("a guest table is written by every walk", () => {
    vm.mapNested(GPA + 0x2000n, vm.tables[2]! | (PAGE & ~layout.PTE_RW));
    const gpa = GPA + 0x2000n + 8n * ((GVA >> 21n) & 0x1ffn);
    expect(vm.exit(Access.Fetch)).toEqual({ ...NPF, gpa, info: TABLE | 7n });
  });
  test("a guest-physical address of more bits than the tables translate", () => {
    const wide = new CoreInstance({ frameCount: 16, maxphyaddr: 52 });
    wide.set(Register.NestedControl, ON);
    wide.set(Register.Ncr3, 0x1000n);
    expect(wide.core.translate(0, 1n << 48n, Access.Write, 1)).toBe(Outcome.NestedPageFault);
    expect(wide.walk().error).toBe(Number(FINAL | 6n));
  });
  test("the guest's own fault comes first", () => {
    vm.setGuest(1, GPA + 0x4000n);
    vm.mapNested(GPA + 0x4000n, 0n);
    expect(vm.exit(Access.Write)).toMatchObject({ outcome: Outcome.PageFault, info: 2n });
  });
  test("a batch keeps bits 32 and 33 of EXITINFO1", () => {
    vm.mapNested(GPA + 0x4000n, 0n);
    const { machine } = vm;
    const batch = machine.word(layout.HEADER_OFFSET_BATCHES_BASE);
    machine.view.setBigUint64(batch, GVA, true);
    expect(machine.core.translateBatch(0, 1, Access.Write)).toBe(0);
    const result = machine.view.getBigUint64(batch, true);
    expect((result & ~layout.BATCH_FAILED) >> 16n).toBe(FINAL | 6n);
    expect(result & 0xffn).toBe(BigInt(Outcome.NestedPageFault));
  });
});

test("accessed and dirty flags: tables are dirty by a read, the page by a write alone", () => {
  const flags = layout.PTE_A | layout.PTE_D;
  for (let i = 0n; i < 5n; i++) {
    vm.mapNested(GPA + (i << 12n), vm.nested(GPA + (i << 12n)) & ~flags);
  }
  vm.access(Access.Read);
  expect(vm.nested(GPA + 0x3000n) & flags).toBe(flags);
  expect(vm.nested(GPA + 0x4000n) & flags).toBe(layout.PTE_A);
  expect(vm.probe(Access.Write)).toBe(false);
  vm.access(Access.Write);
  expect(vm.nested(GPA + 0x4000n) & flags).toBe(flags);
  expect(vm.probe(Access.Write)).toBe(true);
});

test("entries bear the ASID: another nCR3 finds them, another ASID does not", () => {
  vm.machine.set(Register.Vpid, 1n);
  vm.access();
  vm.machine.set(Register.Ncr3, vm.frame());
  expect(vm.probe(Access.Read)).toBe(true);
  vm.machine.set(Register.Vpid, 2n);
  expect(vm.probe(Access.Read)).toBe(false);
});

test("a processor has EPT or AMD nested paging, not both", () => {
  const { core } = vm.machine;
  expect(core.registerWrite(0, Register.Eptp, 0x1000n | layout.EPTP_WB_4LEVEL)).toBe(
    RegisterWrite.Unsupported,
  );
  vm.machine.set(Register.NestedControl, 0n);
  vm.machine.set(Register.Eptp, 0x1000n | layout.EPTP_WB_4LEVEL);
  expect(core.registerWrite(0, Register.NestedControl, ON)).toBe(RegisterWrite.Unsupported);
});

test("the fast form and the loop form agree over random nested and guest entries", () => {
  const noise = fc.record({
    which: fc.integer({ min: 0, max: 11 }),
    flip: fc.integer({ min: 0, max: 63 }).filter((b) => b < 12 || b >= 40),
  });
  fc.assert(
    fc.property(
      fc.array(noise, { maxLength: 3 }),
      fc.constantFrom(0, 1, 2, 3),
      fc.constantFrom(0, 2),
      (flips, access, rows) => {
        const guest = new Nested(ON, rows);
        // Where the entries lie, as long as the tables lead there.
        const places = flips.map(({ which, flip }) => {
          const bit = 1n << BigInt(flip);
          if (which < 4) return { at: guest.guestAt(which + 1), bit };
          if (which < 9) return { at: guest.nestedAt(GPA + (BigInt(which - 4) << 12n), 1), bit };
          return { at: guest.nestedAt(GPA, which - 7), bit };
        });
        for (const { at, bit } of places) {
          guest.machine.writePhysical(at, guest.machine.readPhysical(at) ^ bit);
        }
        const outcome = guest.machine.core.translate(0, GVA + 8n, access, 0);
        const { error, gpa, pa } = guest.machine.walk();
        const host = guest.access(access);
        if (outcome === Outcome.Ok) {
          expect(host).toBe(pa);
          expect(guest.probe(access)).toBe(true);
        } else {
          expect(host).toBe(null);
          expect(guest.machine.walk()).toMatchObject({ outcome, error, gpa });
        }
      },
    ),
    { numRuns: 2000 },
  );
});
