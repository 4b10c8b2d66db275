// INVLPG, INVPCID, INVEPT and INVVPID: what they refuse. What they drop is in x86-tlb-table.test.ts.
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { CoreInstance } from "../core-instance.js";

const { Access, Register, RegisterWrite } = layout;
const { Ok, GeneralProtection, VmFail } = RegisterWrite;
const GVA = 0x40_0000n;
const NOT_CANONICAL = 0x8000_0000_0000n;

/** In long mode with PCIDs, one large page mapped and in the TLB. */
function machine(cr4 = layout.CR4_PCIDE): CoreInstance {
  const m = new CoreInstance({ frameCount: 16 });
  const flags = layout.PTE_P | layout.PTE_RW | layout.PTE_US | layout.PTE_A | layout.PTE_D;
  m.writePhysical(0x1000n, 0x2000n | flags);
  m.writePhysical(0x2000n, 0x3000n | flags);
  m.writePhysical(0x3000n + 8n * (GVA >> 21n), 0x4000n | flags);
  m.writePhysical(0x4000n, 0x5000n | flags);
  m.set(Register.Efer, layout.EFER_LME);
  m.set(Register.Cr4, layout.CR4_PAE);
  m.set(Register.Cr0, layout.CR0_PE | layout.CR0_PG);
  m.set(Register.Cr3, 0x1000n);
  m.set(Register.Cr4, layout.CR4_PAE | cr4);
  expect(m.core.tlbAccess(0, GVA, Access.Read)).not.toBe(0);
  return m;
}
const cached = (m: CoreInstance): boolean => m.core.tlbProbe(0, GVA, Access.Read) !== 0;

describe("INVPCID", () => {
  test.each([
    ["type 4", 4n, 0n, GVA],
    ["a type of many bits", 1n << 63n, 0n, GVA],
    ["descriptor bit 12, individual address", 0n, 1n << 12n, GVA],
    ["descriptor bit 12, all contexts", 2n, 1n << 12n, GVA],
    ["descriptor bit 63", 3n, 1n << 63n, GVA],
    ["an address that is not canonical, individual address", 0n, 0n, NOT_CANONICAL],
  ])("#GP(0): %s; nothing is dropped", (_name, type, low, gva) => {
    const m = machine();
    expect(m.core.invpcid(0, type, low, gva)).toBe(GeneralProtection);
    expect(cached(m)).toBe(true);
  });
  test("#GP(0) for a PCID without CR4.PCIDE, where the type has one", () => {
    const m = machine(0n);
    for (const type of [0n, 1n]) expect(m.core.invpcid(0, type, 5n, GVA)).toBe(GeneralProtection);
    expect(cached(m)).toBe(true);
    for (const type of [2n, 3n]) expect(m.core.invpcid(0, type, 5n, GVA)).toBe(Ok);
    expect(cached(m)).toBe(false);
  });
  test("#GP(0) at CPL 3", () => {
    const m = machine();
    m.set(Register.Cpl, 3n);
    for (let type = 0n; type < 4n; type++) expect(m.core.invpcid(0, type, 0n, GVA)).toBe(GeneralProtection);
    expect(cached(m)).toBe(true);
  });
  test.each([0n, 1n, 2n, 3n])(
    "type %i drops the entry of PCID 0; the address counts for type 0 alone",
    (type) => {
      const m = machine();
      expect(m.core.invpcid(0, type, 0n, type === 0n ? GVA : NOT_CANONICAL)).toBe(Ok);
      expect(cached(m)).toBe(false);
    },
  );
});

describe("INVLPG", () => {
  test("#GP(0) at CPL 3", () => {
    const m = machine();
    m.set(Register.Cpl, 3n);
    expect(m.core.invlpg(0, GVA)).toBe(GeneralProtection);
    expect(cached(m)).toBe(true);
  });
  test("does nothing for an address that is not canonical", () => {
    const m = machine();
    expect(m.core.invlpg(0, GVA | NOT_CANONICAL)).toBe(Ok);
    expect(cached(m)).toBe(true);
  });
});

describe("INVEPT", () => {
  const EPTP = 0x1000n | layout.EPTP_WB_4LEVEL;
  test.each([
    ["type 0", 0n, EPTP],
    ["type 3", 3n, EPTP],
    ["single context, memory type 2", 1n, 0x1000n | (3n << 3n) | 2n],
    ["single context, three levels", 1n, 0x1000n | (2n << 3n) | 6n],
    ["single context, a reserved bit", 1n, EPTP | (1n << 7n)],
    ["single context, beyond MAXPHYADDR", 1n, EPTP | (1n << 40n)],
  ])("VMfail: %s", (_name, type, eptp) => {
    expect(machine().core.invept(0, type, eptp)).toBe(VmFail);
  });
  test("all contexts looks at no EPT pointer; single context takes one without an EPT", () => {
    const m = machine();
    expect(m.core.invept(0, 2n, ~0n)).toBe(Ok);
    expect(m.core.invept(0, 1n, EPTP)).toBe(Ok);
    expect(cached(m)).toBe(true);
  });
});

describe("INVVPID", () => {
  test.each([
    ["type 4", 4n, 1n, GVA],
    ["descriptor bit 16", 1n, 1n << 16n, GVA],
    ["descriptor bit 63, all contexts", 2n, 1n << 63n, GVA],
    ["individual address, VPID 0", 0n, 0n, GVA],
    ["single context, VPID 0", 1n, 0n, GVA],
    ["retaining globals, VPID 0", 3n, 0n, GVA],
    ["individual address, not canonical", 0n, 1n, NOT_CANONICAL],
  ])("VMfail: %s", (_name, type, low, gva) => {
    const m = machine();
    expect(m.core.invvpid(0, type, low, gva)).toBe(VmFail);
    expect(cached(m)).toBe(true);
  });
  test("#GP(0) at CPL 3, as INVEPT", () => {
    const m = machine();
    m.set(Register.Cpl, 3n);
    expect(m.core.invvpid(0, 2n, 0n, 0n)).toBe(GeneralProtection);
    expect(m.core.invept(0, 2n, 0n)).toBe(GeneralProtection);
  });
});
