// Register values at random: what the core takes and what it refuses, against the rules of the manuals; a refused value
// changes nothing. And through the library: whatever is passed, the answer is a result or an error that says what to do.
import fc from "fast-check";
import { expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { GuestMmuError } from "../../src/errors.js";
import { type RegisterName, type WritableRegisterName } from "../../src/index.js";
import { CoreInstance } from "../core-instance.js";
import { Registers } from "../oracle/registers.js";
import { machineWithSlot } from "../unit/machine-fixture.js";

const { Register, RegisterWrite } = layout;
const ALL = Object.values(Register).filter((value) => typeof value === "number");
const NAMES = Object.keys(Register);

/** A value: some bits of the present one the other way round, something that has a meaning, or anything. */
const value = fc.oneof(
  { weight: 4, arbitrary: fc.record({ flip: fc.array(fc.nat({ max: 63 }), { maxLength: 3 }) }) },
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      0n,
      0x8000_0001n,
      0x8001_0011n,
      0x20n,
      0x2_0020n,
      0x1020n,
      0x100n,
      0x500n,
      0x900n,
      0x1000n,
      0x1018n,
      (1n << 63n) | 0x1001n,
      0x101en,
      0x1026n,
      0x105en,
      1n,
      3n,
      0x801n,
      0x42_0000n,
      0x40_0081n,
      0xffff_ffffn,
    ),
  },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }) },
);

const write = fc.record({
  register: fc.oneof({ weight: 30, arbitrary: fc.constantFrom(...ALL) }, fc.nat({ max: 255 })),
  value,
});

function valueOf(given: bigint | { flip: number[] }, present: bigint): bigint {
  if (typeof given === "bigint") return given;
  return given.flip.reduce((sum, index) => sum ^ (1n << BigInt(index)), present);
}

test("registers take what the manuals allow, and refuse the rest without a trace", () => {
  const statuses = new Map<number, number>();
  const machines = new Map(
    [32, 36, 40, 46, 52].map((maxphyaddr) => [maxphyaddr, new CoreInstance({ frameCount: 8, maxphyaddr })]),
  );
  fc.assert(
    fc.property(
      fc.constantFrom(...machines.keys()),
      fc.array(write, { minLength: 1, maxLength: 60, size: "max" }),
      (maxphyaddr, writes) => {
        const machine = machines.get(maxphyaddr)!;
        machine.core.cpuReset(0);
        const oracle = new Registers({ maxphyaddr });
        for (const { register, value: given } of writes) {
          const bits = valueOf(given, oracle.values.get(register) ?? 0n);
          const status = oracle.write(register, bits);
          const what = `${NAMES[register] ?? register} = 0x${bits.toString(16)}, MAXPHYADDR ${maxphyaddr}`;
          expect(machine.core.registerWrite(0, register, bits), what).toBe(status);
          statuses.set(status, (statuses.get(status) ?? 0) + 1);
          for (const [other, expected] of oracle.values) {
            const got = BigInt.asUintN(64, machine.core.registerRead(0, other));
            expect(got, `${NAMES[other]} after ${what}`).toBe(expected);
          }
        }
      },
    ),
    { numRuns: 400 },
  );
  for (const status of [RegisterWrite.Ok, RegisterWrite.GeneralProtection, RegisterWrite.Unsupported])
    expect(statuses.get(status) ?? 0).toBeGreaterThan(200);
});

test("whatever is passed as a register's name or value: a result, or a GuestMmuError with a remedy", () => {
  const { vcpu } = machineWithSlot();
  const names = ["cr0", "cr2", "cr3", "cr4", "efer", "rflags", "cpl", "pkru", "pkrs", "eptp", "vpid"];
  const readable = names as RegisterName[];
  fc.assert(
    fc.property(
      fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...names) }, fc.anything()),
      fc.oneof(fc.anything(), fc.bigInt(), fc.double(), fc.integer()),
      (name, given) => {
        const before = readable.map((one) => vcpu.get(one));
        let kind: string;
        try {
          ({ kind } = vcpu.set(name as WritableRegisterName, given as bigint));
        } catch (error) {
          if (!(error instanceof GuestMmuError)) throw error;
          expect(error.message).toMatch(/\S.*\.$/s);
          expect(error.hint).toMatch(/\S.*[.)]$/s);
          kind = "refused";
        }
        if (kind === "ok") {
          expect(names).toContain(name);
          return;
        }
        expect(["refused", "general-protection", "unsupported"]).toContain(kind);
        expect(readable.map((one) => vcpu.get(one))).toEqual(before);
      },
    ),
    { numRuns: 2000 },
  );
});
