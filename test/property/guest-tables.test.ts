// The guest's page tables against a model: pages of two sizes mapped and unmapped in any order, by two vCPUs in turns.
import fc from "fast-check";
import { expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { DriveMachine, GuestMapping, GuestStatus, MIB, PAGE } from "../drive-machine.js";

const RIGHTS = layout.PTE_P | layout.PTE_RW | layout.PTE_US;
/** Few places, near and far: so that tables are shared, and large and small pages meet. */
const BASES = [0x4000_0000_0000n, 0x4000_0020_0000n, 0x4000_4000_0000n, 0x7fff_ffe0_0000n];

const operation = fc.record({
  vcpu: fc.nat({ max: 1 }),
  kind: fc.constantFrom("map", "map", "map", "unmap"),
  large: fc.boolean(),
  base: fc.constantFrom(...BASES),
  index: fc.nat({ max: 3 }),
});

test("leaves are what was mapped last, whatever came before", () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 40 }), (operations) => {
      const m = new DriveMachine({ frames: 512, ram: 64n * MIB });
      m.map(MIB, { mapping: GuestMapping.FirstTouch });
      const small = new Map<bigint, bigint>();
      const large = new Map<bigint, bigint>();
      const tables = new Set<bigint>();
      let gpa = 8n * MIB;
      for (const { vcpu, kind, large: wide, base, index } of operations) {
        const gva = wide ? base : base + BigInt(index) * PAGE;
        if (kind === "unmap") {
          const there = large.has(base) || small.has(gva);
          expect(m.u32("guestUnmap", vcpu, gva)).toBe(there ? GuestStatus.Ok : GuestStatus.BadAddress);
          if (!large.delete(base)) small.delete(gva);
          continue;
        }
        gpa += 2n * MIB;
        // A table, once made, stays: a large page finds it in its way even when it is empty.
        const blocked = wide ? large.has(base) || tables.has(base) : large.has(base) || small.has(gva);
        const status = m.u32("guestMapPage", vcpu, gva, gpa % (64n * MIB), wide ? 21 : 12, RIGHTS);
        expect(status).toBe(blocked ? GuestStatus.Exists : GuestStatus.Ok);
        if (!wide && !large.has(base)) tables.add(base);
        if (!blocked) (wide ? large : small).set(gva, gpa % (64n * MIB));
      }
      for (const base of BASES) {
        for (let i = 0n; i < 4n; i++) {
          const gva = base + i * PAGE;
          const leaf = m.leaf(gva);
          const expected = large.has(base) ? large.get(base)! | layout.PTE_PS : small.get(gva);
          // A and D are the walker's: nobody has walked.
          expect(leaf).toBe(expected === undefined ? 0n : expected | RIGHTS);
        }
      }
      expect(m.imbalance).toBe(0);
    }),
    { numRuns: 60 },
  );
});
