// Random tables, in two ways: sound ones with random rights, where the core must agree with the oracle; and frames full
// of noise, where a walk may end as it likes, but must end, and must not touch what it may not.
import fc from "fast-check";
import { expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { CoreInstance } from "../core-instance.js";
import { type Control, translate } from "../oracle/paging.js";
import { ACCESS, ACCESS_NAMES, CONTROL, enter, showControl } from "../oracle/tables.js";

const { Access, Outcome, Register } = layout;
const FRAMES = 64;

const control: fc.Arbitrary<Control> = fc.record({
  wp: fc.boolean(),
  smep: fc.boolean(),
  smap: fc.boolean(),
  pke: fc.boolean(),
  pks: fc.boolean(),
  nxe: fc.boolean(),
  ac: fc.boolean(),
  la57: fc.boolean(),
  cpl: fc.constantFrom<0 | 3>(0, 3),
  pkru: fc.nat(0xffff_ffff),
  pkrs: fc.nat(0xffff_ffff),
  width: fc.constant(40),
  page1G: fc.constant(true),
});

/** Flags of an entry: mostly set where a walk needs them. */
const flags = fc.tuple(
  fc.integer({ min: 0, max: 0xfff }),
  fc.integer({ min: 0, max: 31 }),
  fc.integer({ min: 0, max: 15 }),
);

function entry(next: bigint, [low, high, forgiving]: [number, number, number], level: number): bigint {
  let bits = BigInt(low) | (BigInt(high) << 59n);
  if (forgiving < 14) bits |= layout.PTE_P;
  if (forgiving < 10) bits |= layout.PTE_RW | layout.PTE_US;
  if (forgiving < 12) bits &= ~layout.PTE_XD;
  if (forgiving < 12 || level === 3) bits &= ~layout.PTE_PS;
  return next | bits;
}

test("random sound tables: the core and the oracle agree on outcome, address, error code and flags", () => {
  const machine = new CoreInstance({ frameCount: FRAMES });
  fc.assert(
    fc.property(
      control,
      fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
      fc.array(flags, { minLength: 5, maxLength: 5 }),
      fc.constantFrom(...ACCESS_NAMES),
      fc.boolean(),
      (c, address, levels, access, shared) => {
        const top = c.la57 ? 56n : 47n;
        const gva =
          (address >> top) & 1n && address & 3n
            ? address
            : BigInt.asUintN(64, BigInt.asIntN(Number(top) + 1, address));
        new Uint8Array(machine.view.buffer, machine.frame(0n), FRAMES * 4096).fill(0);
        const count = c.la57 ? 5 : 4;
        let table = 0x1000n;
        for (let level = count; level >= 1; level--) {
          // Shared: the tables of all levels are one frame, so that an entry can be used at two levels.
          const next = level === 1 ? 0x8000n : shared ? 0x1000n : table + 0x1000n;
          const at = table + 8n * ((gva >> BigInt(3 + 9 * level)) & 0x1ffn);
          machine.writePhysical(at, entry(next, levels[level - 1]!, level));
          table = next;
        }
        const before = new Map<bigint, bigint>();
        const read = (pa: bigint): bigint => {
          const value = pa < BigInt(FRAMES) << 12n ? machine.readPhysical(pa) : 0n;
          before.set(pa, value);
          return value;
        };
        const verdict = translate(c, 0x1000n, gva, access, read);
        enter(machine, c, 0x1000n);
        const outcome = machine.core.translate(0, gva, ACCESS[access], 1);
        const walk = machine.walk();
        const name = `${access} 0x${gva.toString(16)} ${showControl(c)}`;
        if (verdict.kind === "ok") {
          // A large page may lie outside of the few frames: the walk itself was right then too.
          expect([Outcome.Ok, Outcome.Missing], name).toContain(outcome);
          expect(walk.pa, name).toBe(verdict.pa);
          for (const [pa, value] of before)
            expect(machine.readPhysical(pa) ^ value, name).toBe(verdict.set.get(pa) ?? 0n);
        } else {
          const expected =
            verdict.kind === "page-fault"
              ? Outcome.PageFault
              : verdict.kind === "stack-fault"
                ? Outcome.StackFault
                : Outcome.GeneralProtection;
          expect(outcome, name).toBe(expected);
          if (verdict.kind === "page-fault") expect(walk.error, name).toBe(verdict.error);
          for (const [pa, value] of before) expect(machine.readPhysical(pa), name).toBe(value);
        }
      },
    ),
    { numRuns: 5000 },
  );
});

test("the fast form and the loop form agree, through the TLB", () => {
  const machine = new CoreInstance({ frameCount: FRAMES });
  fc.assert(
    fc.property(
      control,
      fc.array(flags, { minLength: 5, maxLength: 5 }),
      fc.constantFrom(...ACCESS_NAMES),
      (c, levels, access) => {
        const gva = 0x0000_7f12_4000_0abcn;
        const four = { ...c, la57: false };
        let table = 0x1000n;
        for (let level = 4; level >= 1; level--) {
          const next = level === 1 ? 0x8000n : table + 0x1000n;
          const value = entry(next, levels[level - 1]!, level) | layout.PTE_A | layout.PTE_D;
          machine.writePhysical(
            table + 8n * ((gva >> BigInt(3 + 9 * level)) & 0x1ffn),
            level === 4 ? value & ~layout.PTE_PS : value,
          );
          table = next;
        }
        enter(machine, four, 0x1000n);
        const outcome = machine.core.translate(0, gva, ACCESS[access], 0);
        const { pa, error } = machine.walk();
        const host = machine.core.tlbAccess(0, gva, ACCESS[access]) >>> 0;
        if (outcome === Outcome.Ok) {
          expect(host).toBe(machine.frame(pa));
          expect(machine.core.tlbProbe(0, gva, ACCESS[access]) >>> 0).toBe(host);
        } else {
          expect(host).toBe(0);
          expect(machine.walk()).toMatchObject({ outcome, error });
        }
      },
    ),
    { numRuns: 5000 },
  );
});

test("frames full of noise: every walk ends, and changes nothing but flags of entries it used", () => {
  const machine = new CoreInstance({ frameCount: FRAMES });
  const bytes = new Uint8Array(machine.view.buffer, machine.frame(0n), FRAMES * 4096);
  fc.assert(
    fc.property(
      fc.nat(),
      fc.boolean(),
      fc.boolean(),
      fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
      (seed, ept, la57, start) => {
        let x = BigInt(seed) + 1n;
        const words = new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8);
        for (let i = 0; i < words.length; i += 61) {
          x = BigInt.asUintN(64, x * 6364136223846793005n + 1442695040888963407n);
          // Half of the entries stay among the frames, so that walks get further than one step.
          words.fill(x & 1n ? x : (x & 0x3_ffffn) | 0x67n, i, i + 61);
        }
        enter(machine, { ...CONTROL, la57, nxe: true }, 0x1000n);
        machine.set(Register.Eptp, ept ? 0x2000n | layout.EPTP_WB_4LEVEL | layout.EPTP_AD : 0n);
        for (let i = 0n; i < 16n; i++) {
          const gva = BigInt.asUintN(64, BigInt.asIntN(48, start * (i + 1n)));
          const copy = bytes.slice();
          const outcome = machine.core.translate(0, gva, Access.Write, 1);
          expect(outcome).toBeLessThanOrEqual(Outcome.Missing);
          const used = new Set(machine.walk().steps.map((s) => Number(s.pa)));
          machine.core.tlbAccess(0, gva, Access.Fetch);
          machine.core.tlbFlush(0, 0, 0n);
          if (ept) continue;
          const host = machine.walk().steps.map((s) => Number(s.pa));
          for (let at = 0; at < bytes.length; at++) {
            if (bytes[at] === copy[at]) continue;
            expect(used.has(at & ~7) || host.includes(at & ~7)).toBe(true);
            expect((bytes[at]! ^ copy[at]!) & ~0x60).toBe(0);
          }
        }
      },
    ),
    { numRuns: 60 },
  );
});
