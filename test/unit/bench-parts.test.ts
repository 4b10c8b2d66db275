import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { WalkerBigInt } from "../../bench/javascript/walker-bigint.mjs";
import { WalkerU32 } from "../../bench/javascript/walker-u32.mjs";
import { layoutHeader } from "../../bench/layout.mjs";
import { pageOrder } from "../../bench/random.mjs";
import { agree, compareRow, isReached, takeTurns } from "../../bench/turns.mjs";

describe("the order of pages", () => {
  test("is that of the core's xorshift generator", () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }),
        fc.integer({ min: 0, max: 19 }),
        (seed, bits) => {
          const pages = 1 << bits;
          let x = seed;
          const expected = Array.from({ length: 50 }, () => {
            x = BigInt.asUintN(64, x ^ (x << 13n));
            x ^= x >> 7n;
            x = BigInt.asUintN(64, x ^ (x << 17n));
            return Number(x & BigInt(pages - 1));
          });
          expect([...pageOrder(pages, 50, seed)]).toEqual(expected);
        },
      ),
    );
  });
});

test("the C header has every constant and every member of an enum", () => {
  const header = layoutHeader({ PAGE_SHIFT: 12, PTE_XD: 1n << 63n, Stat: { Walks: 2 } });
  expect(header).toContain("#define PAGE_SHIFT 12\n");
  expect(header).toContain("#define PTE_XD 0x8000000000000000ull\n");
  expect(header).toContain("#define Stat_Walks 2\n");
});

describe("the walkers in JavaScript", () => {
  const FRAMES = 16;
  /** Random tables of few frames: many walks end early, some at pages of every size. */
  const entry = fc.record({
    pfn: fc.integer({ min: 0, max: FRAMES }),
    flags: fc.integer({ min: 0, max: 255 }).map((bits) => bits | 1),
    high: fc.constantFrom(0n, 0n, 0n, 1n << 63n, 1n << 50n, 1n << 33n),
  });

  test("agree on outcome, page, rights and size", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 8 }), fc.constantFrom(0, 1, 3, 511), entry), {
          maxLength: 40,
        }),
        fc.bigInt({ min: 0n, max: 2n ** 21n }),
        fc.constantFrom(0n, 1n << 21n, 1n << 30n, 1n << 39n, 0xffff_ffff_ffe0_0000n, 1n << 47n),
        fc.record({
          write: fc.boolean(),
          fetch: fc.boolean(),
          user: fc.boolean(),
          wp: fc.boolean(),
          nxe: fc.boolean(),
        }),
        (entries, offset, top, { write, fetch, ...mode }) => {
          const words = new BigUint64Array(FRAMES * 512);
          for (const [frame, index, { pfn, flags, high }] of entries) {
            words[frame * 512 + index] = (BigInt(pfn) << 12n) | BigInt(flags) | high;
          }
          const cpu = { base: 0, maxphyaddr: 46, ...mode };
          const limit = FRAMES * 4096;
          const other = words.slice();
          const u32 = new WalkerU32(new Uint32Array(other.buffer), { ...cpu, limit, cr3: 4096 });
          const big = new WalkerBigInt(words, { ...cpu, limit: BigInt(limit), cr3: 4096n });
          const gva = BigInt.asUintN(64, top + offset);
          const page = big.walk(gva, write, fetch);
          const found = u32.walk(Number(gva & 0xffff_ffffn), Number(gva >> 32n), write, fetch);
          expect(found).toBe(page >= 0n);
          if (!found) return;
          expect([BigInt(u32.page), BigInt(u32.rights), BigInt(u32.shift)]).toEqual([
            page,
            big.rights,
            big.shift,
          ]);
          expect(other).toEqual(words);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe("turns", () => {
  const side = (name: string, log: string[], value: number, digest = "same") => ({
    name,
    run(round: number) {
      log.push(`${name}${round}`);
      return { value, digest };
    },
  });

  test("sides alternate, and warm-up is not counted", async () => {
    const log: string[] = [];
    const taken = await takeTurns([side("a", log, 2), side("b", log, 1)], 3);
    expect(log.slice(-6)).toEqual(["a0", "b0", "a1", "b1", "a2", "b2"]);
    expect(taken.a!.values).toEqual([2, 2, 2]);
  });

  test("no ratio is given unless the digests agree", async () => {
    const core = (await takeTurns([side("core", [], 2)], 2)).core!;
    const same = (await takeTurns([side("C", [], 1)], 2)).C!;
    const different = (await takeTurns([side("C", [], 1, "other")], 2)).C!;
    const row = {
      case: "",
      unit: "ns",
      against: "C",
      reads: "core / C",
      above: "core" as const,
      target: { atMost: 1.5 },
    };
    expect(agree(core, same)).toBe(true);
    expect(compareRow({ ...row, core, other: same })).toMatchObject({ ratio: { median: 2 }, reached: false });
    expect(compareRow({ ...row, core, other: different })).toMatchObject({
      ratio: null,
      digest: "differ",
      reached: null,
    });
  });

  test("a target is a limit above or below", () => {
    expect(isReached(1.4, { atMost: 1.4 })).toBe(true);
    expect(isReached(2.9, { atLeast: 3 })).toBe(false);
  });
});
