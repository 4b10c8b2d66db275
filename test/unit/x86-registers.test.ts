// Register writes: what is refused, and that a refused write changes nothing.
import { expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { CoreInstance } from "../core-instance.js";

const { Access, Outcome, Register, RegisterWrite } = layout;
const { Ok, GeneralProtection, Unsupported } = RegisterWrite;

function longMode(): CoreInstance {
  const machine = new CoreInstance({ frameCount: 64 });
  machine.set(Register.Efer, layout.EFER_LME);
  machine.set(Register.Cr4, layout.CR4_PAE);
  machine.set(Register.Cr0, layout.CR0_PE | layout.CR0_PG);
  return machine;
}

test.each([
  ["CR0: PG without PE", Register.Cr0, layout.CR0_PG, GeneralProtection],
  ["CR0: NW without CD", Register.Cr0, layout.CR0_PE | layout.CR0_PG | layout.CR0_NW, GeneralProtection],
  ["CR0: upper half", Register.Cr0, 1n << 32n, GeneralProtection],
  ["CR3: beyond MAXPHYADDR", Register.Cr3, 1n << 40n, GeneralProtection],
  ["CR3: bit 63 without PCIDE", Register.Cr3, 1n << 63n, GeneralProtection],
  ["CR4: a reserved bit", Register.Cr4, layout.CR4_PAE | (1n << 31n), GeneralProtection],
  ["CR4: PAE cleared in long mode", Register.Cr4, 0n, GeneralProtection],
  ["CR4: LA57 changed in long mode", Register.Cr4, layout.CR4_PAE | layout.CR4_LA57, GeneralProtection],
  ["EFER: a reserved bit", Register.Efer, layout.EFER_LME | (1n << 9n), GeneralProtection],
  ["EFER: LME cleared with paging on", Register.Efer, 0n, GeneralProtection],
  ["EPTP: memory type", Register.Eptp, 3n | (3n << 3n), GeneralProtection],
  ["EPTP: three levels", Register.Eptp, 6n | (2n << 3n), GeneralProtection],
  ["EPTP: a reserved bit", Register.Eptp, layout.EPTP_WB_4LEVEL | (1n << 7n), GeneralProtection],
  ["CPL 4", Register.Cpl, 4n, GeneralProtection],
  ["VPID of 17 bits", Register.Vpid, 0x1_0000n, GeneralProtection],
  ["a register that does not exist", 99, 0n, Unsupported],
])("%s is refused", (_name, register, value, status) => {
  const machine = longMode();
  const before = machine.core.registerRead(0, register);
  expect(machine.core.registerWrite(0, register, value)).toBe(status);
  expect(machine.core.registerRead(0, register)).toBe(before);
});

test("paging without EFER.LME is not this processor's", () => {
  const machine = new CoreInstance();
  expect(machine.core.registerWrite(0, Register.Cr0, layout.CR0_PE | layout.CR0_PG)).toBe(Unsupported);
});

test("PCIDE needs long mode and PCID 0", () => {
  const machine = longMode();
  machine.set(Register.Cr3, 0x1018n);
  expect(machine.core.registerWrite(0, Register.Cr4, layout.CR4_PAE | layout.CR4_PCIDE)).toBe(
    GeneralProtection,
  );
  machine.set(Register.Cr3, 0x1000n);
  expect(machine.core.registerWrite(0, Register.Cr4, layout.CR4_PAE | layout.CR4_PCIDE)).toBe(Ok);
  expect(machine.core.registerWrite(0, Register.Cr0, layout.CR0_PE)).toBe(GeneralProtection);
});

test("EFER.LMA follows paging and cannot be written", () => {
  const machine = longMode();
  expect(machine.core.registerRead(0, Register.Efer)).toBe(layout.EFER_LME | layout.EFER_LMA);
  machine.set(Register.Cr0, layout.CR0_PE);
  expect(machine.core.registerRead(0, Register.Efer)).toBe(layout.EFER_LME);
  machine.set(Register.Efer, layout.EFER_LME | layout.EFER_LMA);
  expect(machine.core.registerRead(0, Register.Efer)).toBe(layout.EFER_LME);
});

test("without paging and EPT the address is the physical one", () => {
  const machine = new CoreInstance({ frameCount: 64 });
  expect(machine.core.translate(0, 0x1234n, Access.Write, 1)).toBe(Outcome.Ok);
  expect(machine.walk().pa).toBe(0x1234n);
  expect(machine.core.tlbAccess(0, 0x1234n, Access.Write) >>> 0).toBe(machine.frame(0x1234n));
  expect(machine.core.translate(0, 0x4_0000n, Access.Read, 1)).toBe(Outcome.Missing);
});
