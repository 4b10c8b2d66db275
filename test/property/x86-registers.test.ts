// Register values at random: what the core takes and what it refuses, against the rules of the manuals; a refused value
// changes nothing. And through the library: whatever is passed, the answer is a result or an error that says what to do.
import fc from "fast-check";
import { expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { GuestMmuError } from "../../src/errors.js";
import {
  Machine,
  type NestedPaging,
  type ProcessorRegister,
  type RegisterName,
  type WritableRegisterName,
} from "../../src/index.js";
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

/** What a call came to; an error has to be one of the package's, with a sentence and a remedy. */
function outcomeOf(call: () => { kind: string }): string {
  try {
    return call().kind;
  } catch (error) {
    if (!(error instanceof GuestMmuError)) throw error;
    expect(error.message).toMatch(/\S.*\.$/s);
    expect(error.hint).toMatch(/\S.*[.)]$/s);
    return "refused";
  }
}
const RESULTS = ["ok", "refused", "general-protection", "unsupported"];
/** Anything at all, and what is nearly right. */
const anything = fc.oneof(fc.anything(), fc.bigInt(), fc.double(), fc.integer());

test("a vCPU's registers: whatever is passed, a result or a GuestMmuError with a remedy", () => {
  const { vcpu } = machineWithSlot();
  const names = ["cr0", "cr2", "cr3", "cr4", "efer", "rflags", "cpl", "pkru", "pkrs", "eptp", "vpid"];
  const readable = names as RegisterName[];
  const name = fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...names) }, fc.anything());
  fc.assert(
    fc.property(name, anything, (register, given) => {
      const before = readable.map((one) => vcpu.get(one));
      const kind = outcomeOf(() => vcpu.set(register as WritableRegisterName, given as bigint));
      expect(RESULTS).toContain(kind);
      if (kind === "ok") expect(names).toContain(register);
      else expect(readable.map((one) => vcpu.get(one))).toEqual(before);
    }),
    { numRuns: 2000 },
  );
});

test("a processor's registers and nested tables, likewise", () => {
  const machine = Machine.create({ frames: 64 });
  const processor = machine.processor(0);
  const names = NAMES.map((name) => name[0]!.toLowerCase() + name.slice(1));
  const readable = names as ProcessorRegister[];
  const name = fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...names) }, fc.anything());
  fc.assert(
    fc.property(name, anything, (register, given) => {
      const before = readable.map((one) => processor.get(one));
      const kind = outcomeOf(() => processor.set(register as ProcessorRegister, given as bigint));
      expect(RESULTS).toContain(kind);
      if (kind === "ok") expect(names).toContain(register);
      else expect(readable.map((one) => processor.get(one))).toEqual(before);
    }),
    { numRuns: 2000 },
  );
  const part = fc.oneof(anything, fc.constantFrom(0x101en, 0x1026n, 0x1000n, true, 4, 5, null, undefined));
  const nested = fc.oneof(
    fc.anything(),
    fc.record(
      {
        kind: fc.constant("ept"),
        eptp: part,
        modeBasedExecute: part,
        log: fc.oneof(part, fc.record({ address: part, index: part })),
      },
      { requiredKeys: ["kind"] },
    ),
    fc.record({ kind: fc.constant("npt"), ncr3: part, levels: part, nxe: part }, { requiredKeys: ["kind"] }),
  );
  fc.assert(
    fc.property(nested, (given) => {
      expect(RESULTS).toContain(outcomeOf(() => processor.nest(given as NestedPaging | null)));
    }),
    { numRuns: 4000 },
  );
});
