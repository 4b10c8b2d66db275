// EPT over frames: exits, rights of both dimensions in one TLB entry, flags, and the fast form against the loop form.
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { CoreInstance } from "../core-instance.js";
import { EPT_PAGE, EPT_TABLE, GPA, GUEST, GVA, Nested } from "../ept-machine.js";

const { Access, Flush, Outcome, Register } = layout;
const RWX = layout.EPT_RWX;

let vm: Nested;
beforeEach(() => {
  vm = new Nested(layout.EPTP_AD, 16);
});

test("a walk of 24 references finds the page, and records them all", () => {
  expect(vm.access()).toBe(vm.page + 8n);
  expect(vm.machine.core.translate(0, GVA, Access.Read, 0)).toBe(Outcome.Ok);
  const { steps, gpa, pa } = vm.machine.walk();
  expect(steps).toHaveLength(24);
  expect(steps.filter((s) => s.nested)).toHaveLength(20);
  expect(steps.map((s) => s.level)).toEqual([
    4, 3, 2, 1, 4, 4, 3, 2, 1, 3, 4, 3, 2, 1, 2, 4, 3, 2, 1, 1, 4, 3, 2, 1,
  ]);
  expect({ gpa, pa }).toEqual({ gpa: GPA + 0x4000n, pa: vm.page });
});

describe("exits", () => {
  const FINAL = layout.EPT_VIOLATION_LINEAR | layout.EPT_VIOLATION_FINAL;
  test("a page that is not there", () => {
    vm.mapEpt(GPA + 0x4000n, 0n);
    const at = { outcome: Outcome.EptViolation, gpa: GPA + 0x4008n };
    expect(vm.exit(Access.Read)).toEqual({ ...at, error: FINAL | 1 });
    expect(vm.exit(Access.Write)).toEqual({ ...at, error: FINAL | 2 });
    expect(vm.exit(Access.Fetch)).toEqual({ ...at, error: FINAL | 4 });
    expect(vm.exit(Access.Modify)).toEqual({ ...at, error: FINAL | 3 });
  });
  test("a page without the right, and what it has", () => {
    vm.mapEpt(GPA + 0x4000n, vm.page | (EPT_PAGE & ~layout.EPT_W));
    expect(vm.exit(Access.Write)).toMatchObject({
      outcome: Outcome.EptViolation,
      error: FINAL | 2 | (5 << 3),
    });
    expect(vm.access(Access.Read)).toBe(vm.page + 8n);
    vm.mapEpt(GPA + 0x4000n, vm.page | (EPT_PAGE & ~layout.EPT_R & ~layout.EPT_W));
    vm.machine.core.tlbFlush(0, Flush.All, 0n);
    expect(vm.exit(Access.Read)).toMatchObject({ error: FINAL | 1 | (4 << 3) });
    expect(vm.access(Access.Fetch)).toBe(vm.page + 8n);
  });
  test("a table that cannot be written counts only where EPT keeps flags", () => {
    vm.mapEpt(GPA + 0x2000n, vm.tables[2]! | (EPT_PAGE & ~layout.EPT_W));
    const error = layout.EPT_VIOLATION_LINEAR | 3 | (5 << 3);
    const gpa = GPA + 0x2000n + 8n * ((GVA >> 21n) & 0x1ffn);
    expect(vm.exit(Access.Read)).toEqual({ outcome: Outcome.EptViolation, gpa, error });
    vm.machine.set(Register.Eptp, vm.ept | layout.EPTP_WB_4LEVEL);
    expect(vm.access(Access.Read)).toBe(vm.page + 8n);
  });
  test("a guest flag in a table that cannot be written is a violation even so", () => {
    vm.machine.set(Register.Eptp, vm.ept | layout.EPTP_WB_4LEVEL);
    vm.mapEpt(GPA + 0x3000n, vm.tables[3]! | (EPT_PAGE & ~layout.EPT_W));
    vm.setGuest(1, vm.guest(1) & ~layout.PTE_D);
    expect(vm.access(Access.Read)).toBe(vm.page + 8n);
    expect(vm.exit(Access.Write).outcome).toBe(Outcome.EptViolation);
    expect(vm.guest(1) & layout.PTE_D).toBe(0n);
  });
  test("an entry without a meaning", () => {
    for (const bad of [layout.EPT_W, layout.EPT_W | layout.EPT_X, RWX | (3n << 3n), RWX | (1n << 45n)]) {
      vm.mapEpt(GPA + 0x4000n, vm.page | bad);
      expect(vm.exit(Access.Fetch)).toEqual({
        outcome: Outcome.EptMisconfiguration,
        gpa: GPA + 0x4008n,
        error: 0,
      });
    }
  });
  test("a guest-physical address of more than 48 bits", () => {
    const wide = new CoreInstance({ frameCount: 16, maxphyaddr: 52 });
    wide.set(Register.Eptp, 0x1000n | layout.EPTP_WB_4LEVEL);
    expect(wide.core.translate(0, 1n << 48n, Access.Read, 1)).toBe(Outcome.EptViolation);
  });
  test("the guest's own fault comes first", () => {
    vm.setGuest(1, GPA + 0x4000n);
    vm.mapEpt(GPA + 0x4000n, 0n);
    expect(vm.exit(Access.Write)).toMatchObject({ outcome: Outcome.PageFault, error: 2 });
  });
});

describe("flags", () => {
  test("accessed in both dimensions, dirty by a write alone", () => {
    vm.mapEpt(GPA + 0x4000n, vm.page | (EPT_PAGE & ~layout.EPT_A & ~layout.EPT_D));
    for (let level = 1; level <= 4; level++)
      vm.setGuest(level, vm.guest(level) & ~layout.PTE_A & ~layout.PTE_D);
    vm.access(Access.Read);
    expect(vm.eptLeaf(GPA + 0x4000n) & (layout.EPT_A | layout.EPT_D)).toBe(layout.EPT_A);
    expect(vm.guest(1) & (layout.PTE_A | layout.PTE_D)).toBe(layout.PTE_A);
    expect(vm.probe(Access.Write)).toBe(false);
    vm.access(Access.Write);
    expect(vm.eptLeaf(GPA + 0x4000n) & layout.EPT_D).toBe(layout.EPT_D);
    expect(vm.guest(1) & layout.PTE_D).toBe(layout.PTE_D);
    expect(vm.probe(Access.Write)).toBe(true);
  });
  test("a write with the guest's dirty flag set still sets that of EPT", () => {
    vm.mapEpt(GPA + 0x4000n, vm.page | (EPT_PAGE & ~layout.EPT_D));
    vm.access(Access.Read);
    expect(vm.probe(Access.Write)).toBe(false);
    vm.access(Access.Write);
    expect(vm.eptLeaf(GPA + 0x4000n) & layout.EPT_D).toBe(layout.EPT_D);
  });
  test("without EPTP bit 6 EPT entries are never written", () => {
    vm.machine.set(Register.Eptp, vm.ept | layout.EPTP_WB_4LEVEL);
    const bare = vm.page | RWX | layout.EPT_MEMTYPE_WB;
    vm.mapEpt(GPA + 0x4000n, bare);
    expect(vm.access(Access.Write)).toBe(vm.page + 8n);
    expect(vm.probe(Access.Write)).toBe(true);
    expect(vm.eptLeaf(GPA + 0x4000n)).toBe(bare);
  });
});

describe("the TLB", () => {
  test("INVEPT drops the entries of one EPT pointer", () => {
    vm.access();
    vm.machine.core.tlbFlush(0, Flush.Ept, vm.frame() | layout.EPTP_WB_4LEVEL);
    expect(vm.probe(Access.Read)).toBe(true);
    vm.machine.core.tlbFlush(0, Flush.Ept, vm.ept | layout.EPTP_WB_4LEVEL);
    expect(vm.probe(Access.Read)).toBe(false);
  });
  test("another EPT pointer sees none of its entries", () => {
    vm.access();
    vm.machine.set(Register.Eptp, vm.frame() | layout.EPTP_WB_4LEVEL);
    expect(vm.probe(Access.Read)).toBe(false);
  });
  test("INVLPG drops all pieces of a large guest page over small EPT pages", () => {
    vm.setGuest(2, (GPA & ~0x1f_ffffn) | GUEST | layout.PTE_PS);
    const pieces = [0n, 0x1000n, 0x2000n].map((offset) => GVA + offset);
    for (const [i, piece] of pieces.entries()) {
      expect(vm.machine.core.tlbAccess(0, piece, Access.Read) >>> 0).toBe(vm.machine.frame(vm.tables[i]!));
    }
    vm.machine.core.invlpg(0, GVA + 0x1f_f000n);
    for (const piece of pieces) expect(vm.machine.core.tlbProbe(0, piece, Access.Read)).toBe(0);
  });
  test("another EPT pointer finds the guest's tables anew", () => {
    vm.access();
    const first = vm.ept;
    // The same guest-physical addresses, but the last table elsewhere, and it maps nothing.
    vm.ept = vm.frame();
    for (let i = 0n; i < 3n; i++) vm.mapEpt(GPA + (i << 12n), vm.tables[Number(i)]! | EPT_PAGE);
    vm.mapEpt(GPA + 0x3000n, vm.frame() | EPT_PAGE);
    vm.mapEpt(GPA + 0x4000n, vm.page | EPT_PAGE);
    vm.machine.set(Register.Eptp, vm.ept | layout.EPTP_WB_4LEVEL | layout.EPTP_AD);
    expect(vm.exit(Access.Read)).toMatchObject({ outcome: Outcome.PageFault, error: 0 });
    vm.machine.set(Register.Eptp, first | layout.EPTP_WB_4LEVEL | layout.EPTP_AD);
    expect(vm.access()).toBe(vm.page + 8n);
  });
  test.each([1024n, 0x8_0000n, 0xf_ffffn, 0x10_0000n])("an EPT entry beyond memory, pfn 0x%x", (pfn) => {
    for (let level = 1; level <= 4; level++) {
      const other = new Nested(layout.EPTP_AD, 0);
      other.mapEpt(GPA + 0x4000n, (pfn << 12n) | (level > 1 ? EPT_TABLE : EPT_PAGE), level);
      expect(other.exit(Access.Read).outcome).toBe(Outcome.Missing);
      expect(other.machine.walk().pa >> 12n).toBe(pfn);
    }
  });
  test("after a violation nothing of the page is left, and a flush of what EPT lost is seen", () => {
    vm.access();
    vm.mapEpt(GPA + 0x4000n, 0n);
    vm.machine.core.tlbFlush(0, Flush.All, 0n);
    expect(vm.exit(Access.Read).outcome).toBe(Outcome.EptViolation);
    const other = vm.frame();
    vm.mapEpt(GPA + 0x4000n, other | EPT_PAGE);
    expect(vm.access()).toBe(other + 8n);
  });
  test("a guest table that EPT moves is found at its new place", () => {
    vm.access();
    const moved = vm.frame();
    vm.machine.writePhysical(moved + 8n * ((GVA >> 12n) & 0x1ffn), 0n);
    vm.mapEpt(GPA + 0x3000n, moved | EPT_PAGE);
    vm.machine.core.tlbFlush(0, Flush.All, 0n);
    expect(vm.exit(Access.Read)).toMatchObject({ outcome: Outcome.PageFault, error: 0 });
  });
});

test("without guest paging, EPT alone translates", () => {
  vm.machine.set(Register.Cr0, layout.CR0_PE);
  const host = vm.machine.core.tlbAccess(0, GPA + 0x4010n, Access.Write) >>> 0;
  expect(host).toBe(vm.machine.frame(vm.page + 0x10n));
  expect(vm.machine.core.tlbProbe(0, GPA + 0x4000n, Access.Write) >>> 0).toBe(vm.machine.frame(vm.page));
  expect(vm.machine.core.tlbAccess(0, GPA + 0x8000n, Access.Write)).toBe(0);
  expect(vm.machine.walk()).toMatchObject({ outcome: Outcome.EptViolation, gpa: GPA + 0x8000n });
});

test("the fast form and the loop form agree over random EPT and guest entries", () => {
  const noise = fc.record({
    which: fc.integer({ min: 0, max: 8 }),
    flip: fc.integer({ min: 0, max: 63 }).filter((b) => b < 12 || b >= 40),
  });
  fc.assert(
    fc.property(
      fc.array(noise, { maxLength: 3 }),
      fc.boolean(),
      fc.constantFrom(0, 1, 2, 3),
      fc.constantFrom(0, 2),
      (flips, ad, access, rows) => {
        const guest = new Nested(ad ? layout.EPTP_AD : 0n, rows);
        for (const { which, flip } of flips) {
          const bit = 1n << BigInt(flip);
          if (which < 4) guest.setGuest(which + 1, guest.guest(which + 1) ^ bit);
          else
            guest.mapEpt(
              GPA + (BigInt(which - 4) << 12n),
              guest.eptLeaf(GPA + (BigInt(which - 4) << 12n)) ^ bit,
            );
        }
        const outcome = guest.machine.core.translate(0, GVA + 8n, access, 0);
        const { error, gpa, pa } = guest.machine.walk();
        const host = guest.access(access);
        if (outcome === Outcome.Ok && host === null) {
          // What a quiet walk does not see: a guest's flag has to be set, and EPT does not let it be written.
          const walk = guest.machine.walk();
          expect(walk.outcome).toBe(Outcome.EptViolation);
          expect(walk.error & (layout.EPT_VIOLATION_WRITE | layout.EPT_VIOLATION_FINAL)).toBe(
            layout.EPT_VIOLATION_WRITE,
          );
        } else if (outcome === Outcome.Ok) {
          expect(host).toBe(pa);
          expect(guest.probe(access)).toBe(true);
        } else {
          expect(host).toBe(null);
          expect(guest.machine.walk()).toMatchObject({ outcome, error, gpa });
        }
      },
    ),
    {
      numRuns: 2000,
      // The accessed flag of the guest's PTE is clear, and EPT maps its page table read-only: rare by chance.
      examples: [0, 1, 2, 3].map((which) => [
        [
          { which, flip: 5 },
          { which: which + 4, flip: 1 },
        ],
        false,
        0,
        0,
      ]),
    },
  );
});
