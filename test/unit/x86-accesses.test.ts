// What an access is, beside its address: one access though it lies in two pages, a write though it reads as well, through
// the stack segment, or the processor's own.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { type Width } from "../../src/index.js";
import { CoreInstance } from "../core-instance.js";
import { MIB, PAGE, machineInLongMode } from "./machine-fixture.js";

const { Access, Outcome, Register } = layout;

describe("an access that lies in two pages", () => {
  /** Pages one after the other: every order of one that is writable, one that is read-only, and one that is not there. */
  const ORDER = [true, true, false, true, null, true, null, false, false, null, true] as const;
  const GVA = 0x80_0000;

  test("writes no byte if either page faults, and all of them if neither does", () => {
    const { vcpu, tables } = machineInLongMode();
    ORDER.forEach((writable, i) => {
      if (writable !== null)
        tables.map({ gva: GVA + i * PAGE, gpa: 3 * MIB + i * PAGE, length: PAGE, writable });
    });
    const bytes = (gva: number): (bigint | null)[] =>
      Array.from({ length: 16 }, (_, i) => {
        const got = vcpu.read(gva + i, 8);
        return got.kind === "ok" ? got.value : null;
      });
    fc.assert(
      fc.property(
        fc.nat({ max: ORDER.length - 2 }),
        fc.constantFrom<Width>(16, 32, 64),
        fc.nat({ max: 6 }),
        fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
        (pair, width, back, value) => {
          const size = width / 8;
          const boundary = GVA + (pair + 1) * PAGE;
          const gva = boundary - 1 - (back % (size - 1));
          const before = bytes(boundary - 8);
          const result = vcpu.write(gva, BigInt.asUintN(width, value), width);
          const [first, second] = [ORDER[pair], ORDER[pair + 1]];
          const after = bytes(boundary - 8);
          if (first && second) {
            expect(result.kind).toBe("ok");
            const start = gva - (boundary - 8);
            const written = before.map((byte, i) =>
              i >= start && i < start + size ? (value >> BigInt(8 * (i - start))) & 0xffn : byte,
            );
            expect(after).toEqual(written);
            return;
          }
          // The fault of the first page comes first; CR2 is the first address of the access in the page that faults.
          expect(result).toMatchObject({ kind: "page-fault", gva: BigInt(first ? boundary : gva) });
          expect(after).toEqual(before);
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("across the end of the lower half is #GP, and no byte is written", () => {
    const { vcpu, tables } = machineInLongMode();
    const last = (1n << 47n) - 4096n;
    tables.map({ gva: last, gpa: 2 * MIB, length: PAGE });
    vcpu.write(last + 4088n, 0x1111_1111_1111_1111n);
    expect(vcpu.write(last + 4092n, -1n)).toEqual({ kind: "general-protection", gva: 1n << 47n });
    expect(vcpu.read(last + 4088n)).toEqual({ kind: "ok", value: 0x1111_1111_1111_1111n });
  });
});

describe("kinds of access", () => {
  const ROOT = 0x1000n;
  const ADDRESS = 0x7f12_4000_0008n;
  const FLAGS = layout.PTE_P | layout.PTE_RW | layout.PTE_US;
  /** Four levels in the first frames, all rights; the leaf in frame 5. */
  function machineOf(leaf: bigint): CoreInstance {
    const machine = new CoreInstance({ frameCount: 16 });
    for (let level = 4; level >= 1; level--) {
      const table = BigInt(5 - level) << 12n;
      const entry = level === 1 ? 0x5000n | leaf : (table + 0x1000n) | FLAGS;
      machine.writePhysical(table + 8n * ((ADDRESS >> BigInt(3 + 9 * level)) & 0x1ffn), entry);
    }
    machine.set(Register.Efer, layout.EFER_LME | layout.EFER_NXE);
    machine.set(Register.Cr4, layout.CR4_PAE);
    machine.set(Register.Cr0, layout.CR0_PE | layout.CR0_PG | layout.CR0_WP);
    machine.set(Register.Cr3, ROOT);
    return machine;
  }
  const leafOf = (machine: CoreInstance): bigint =>
    machine.readPhysical(0x4000n + 8n * ((ADDRESS >> 12n) & 0x1ffn));
  const ask = (machine: CoreInstance, kind: number, gva = ADDRESS): { outcome: number; error: bigint } => {
    const outcome = machine.core.translate(0, gva, kind, 1);
    return { outcome, error: BigInt(machine.walk().error) };
  };

  test("a read-modify-write needs the right to write, is reported as a write, and sets the dirty flag", () => {
    const denied = machineOf(layout.PTE_P | layout.PTE_US);
    expect(ask(denied, Access.Modify)).toEqual({ outcome: Outcome.PageFault, error: 3n });
    expect(ask(denied, Access.Read).outcome).toBe(Outcome.Ok);
    expect(leafOf(denied) & layout.PTE_D).toBe(0n);
    const allowed = machineOf(FLAGS);
    expect(ask(allowed, Access.Modify).outcome).toBe(Outcome.Ok);
    expect(leafOf(allowed) & (layout.PTE_A | layout.PTE_D)).toBe(layout.PTE_A | layout.PTE_D);
    // Nothing there: W/R is set all the same.
    expect(ask(machineOf(0n), Access.Modify)).toEqual({ outcome: Outcome.PageFault, error: 2n });
  });

  test("through the stack segment an address that is not canonical is #SS, any other way #GP", () => {
    for (const la57 of [false, true]) {
      const machine = new CoreInstance({ frameCount: 16 });
      machine.set(Register.Efer, layout.EFER_LME);
      machine.set(Register.Cr4, layout.CR4_PAE | (la57 ? layout.CR4_LA57 : 0n));
      machine.set(Register.Cr0, layout.CR0_PE | layout.CR0_PG);
      machine.set(Register.Cr3, ROOT);
      const top = la57 ? 56n : 47n;
      const hole = [1n << top, BigInt.asUintN(64, -(1n << top)) - 1n, 1n << 63n, (1n << 63n) - 1n];
      const ends = [(1n << top) - 1n, BigInt.asUintN(64, -(1n << top))];
      for (const kind of Object.values(Access).filter((value) => typeof value === "number")) {
        const stack = kind === Access.StackRead || kind === Access.StackWrite;
        for (const gva of hole)
          expect(ask(machine, kind, gva)).toEqual({
            outcome: stack ? Outcome.StackFault : Outcome.GeneralProtection,
            error: 0n,
          });
        for (const gva of ends) expect(ask(machine, kind, gva).outcome).toBe(Outcome.PageFault);
      }
    }
  });

  test("an implicit access is one of supervisor mode whatever the CPL, and RFLAGS.AC does not lift SMAP for it", () => {
    const machine = machineOf(FLAGS);
    machine.set(Register.Cr4, layout.CR4_PAE | layout.CR4_SMAP);
    machine.set(Register.Rflags, layout.RFLAGS_AC);
    expect(ask(machine, Access.Read).outcome).toBe(Outcome.Ok);
    expect(ask(machine, Access.ImplicitRead)).toEqual({ outcome: Outcome.PageFault, error: 1n });
    machine.set(Register.Cpl, 3n);
    expect(ask(machine, Access.Read).outcome).toBe(Outcome.Ok);
    expect(ask(machine, Access.ImplicitRead)).toEqual({ outcome: Outcome.PageFault, error: 1n });
    expect(ask(machine, Access.ImplicitWrite)).toEqual({ outcome: Outcome.PageFault, error: 3n });
  });
});
