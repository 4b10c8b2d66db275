// Whatever an embedder passes: a machine, or a GuestMmuError; never a hang, never another exception.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { GuestMmuError } from "../../src/errors.js";
import { gva, Machine, RULES, type MachineOptions } from "../../src/index.js";

const RUNS = { numRuns: 300 };

/** Runs `action`; anything it throws has to be a GuestMmuError with a hint. */
function orRefused<T>(action: () => T): T | null {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof GuestMmuError)) throw error;
    expect(error.hint).not.toBe("");
    expect(["CORE_TRAP", "ABORTED"]).not.toContain(error.code);
    return null;
  }
}

const mostly = <T, U>(good: fc.Arbitrary<T>, bad: fc.Arbitrary<U>): fc.Arbitrary<T | U> =>
  fc.oneof({ weight: 9, arbitrary: good }, { weight: 1, arbitrary: bad });

const junk = fc.oneof(fc.double(), fc.integer(), fc.string(), fc.constant(null), fc.boolean(), fc.bigInt());
const integer = (min: number, max: number) => mostly(fc.integer({ min, max }), junk);
const power = (max: number) =>
  mostly(
    fc.integer({ min: 0, max }).map((bits) => 2 ** bits),
    junk,
  );
const flag = mostly(fc.boolean(), junk);

const options = fc.record(
  {
    frames: integer(16, 4096),
    vcpus: integer(1, 4),
    hostThreads: integer(1, 3),
    slots: integer(1, 64),
    vmas: integer(1, 64),
    tlb: fc.record(
      { entries: power(12), largeEntries: power(6), walkCacheEntries: power(6) },
      { requiredKeys: [] },
    ),
    batchSize: mostly(
      fc.integer({ min: 1, max: 20 }).map((n) => n * 4096),
      junk,
    ),
    windows: integer(0, 64),
    files: integer(0, 8),
    filePages: integer(1, 300),
    maxphyaddr: integer(32, 52),
    profile: mostly(fc.constantFrom("v5.4", "v6.13"), junk),
    zeroPages: flag,
    poison: flag,
    spinOnRetry: flag,
    eptAccessedDirty: flag,
    page1GB: flag,
    hugePages: flag,
    tlbMode: mostly(fc.constantFrom("strict", "architectural"), junk),
    module: mostly(fc.constantFrom("release", "lab"), junk),
    rulesOff: mostly(fc.subarray(RULES.map(({ name }) => name as string)), junk),
  },
  { requiredKeys: [] },
) as unknown as fc.Arbitrary<MachineOptions>;

describe("Machine.create", () => {
  test("makes what it was told, or says why not", () => {
    let made = 0;
    fc.assert(
      fc.property(options, (given) => {
        const machine = orRefused(() => Machine.create(given));
        if (!machine) return;
        made++;
        for (const name of ["frames", "vcpus", "slots", "vmas", "batchSize", "profile", "poison"] as const) {
          if (given[name] !== undefined) expect(machine.configuration[name]).toBe(given[name]);
        }
        expect(machine.mm.countImbalances()).toBe(0);
        // It works: unless it is too small for that, a guest reads what it wrote.
        orRefused(() => {
          const hva = machine.mm.mmap(16 * 4096);
          machine.memslots.add({ gpa: 0, hva, length: 16 * 4096 });
          expect(machine.vcpu(0).write(4094, 0x1234_5678, 32).kind).toBe("ok");
          expect(machine.vcpu(machine.configuration.vcpus - 1).read(4094, 32)).toEqual({
            kind: "ok",
            value: 0x1234_5678n,
          });
        });
        machine.unloadGuest();
        expect(machine.mm.countImbalances()).toBe(0);
      }),
      RUNS,
    );
    expect(made).toBeGreaterThan(10); // of so many, by chance; none would prove nothing
  });

  test("takes any value for the options", () => {
    fc.assert(
      fc.property(fc.anything(), (given) => void orRefused(() => Machine.create(given as MachineOptions))),
      RUNS,
    );
  });
});

test("Machine.restore takes any bytes", () => {
  const machine = Machine.create({ frames: 16, batchSize: 4096 });
  const good = machine.save();
  const damaged = fc
    .array(fc.tuple(fc.nat({ max: good.length - 1 }), fc.integer({ min: 1, max: 255 })), {
      minLength: 1,
      maxLength: 4,
    })
    .map((changes) => changes.reduce((bytes, [at, by]) => ((bytes[at]! ^= by), bytes), good.slice()));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), damaged), (bytes) => {
      const restored = orRefused(() => Machine.restore(bytes));
      // Two changes may cancel out.
      if (restored) expect(bytes).toEqual(good);
    }),
    RUNS,
  );
});

describe("random calls on one machine", () => {
  const word = fc.oneof(
    fc.bigInt({ min: -1n, max: (1n << 64n) + 1n }),
    fc.integer({ min: -1, max: 1 << 26 }),
    fc.double(),
  );
  const address = fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 0, max: 40 }).map((page) => page * 4096) },
    { weight: 2, arbitrary: fc.integer({ min: 0, max: 40 * 4096 }) },
    { weight: 1, arbitrary: word },
  );
  const length = fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: 1, max: 8 }).map((n) => n * 4096) },
    { weight: 1, arbitrary: word },
  );
  const width = fc.constantFrom(8, 16, 32, 64, 7) as fc.Arbitrary<64>;
  const id = fc.integer({ min: -1, max: 8 });
  const protection = fc.constantFrom("none", "r", "rw", "rwx", "w") as fc.Arbitrary<"rw">;

  type Call = (machine: Machine, base: bigint) => unknown;
  const at = (base: bigint, offset: number | bigint): bigint =>
    base + (typeof offset === "bigint" ? offset : BigInt(Number.isFinite(offset) ? Math.trunc(offset) : 0));
  const call: fc.Arbitrary<Call> = fc.oneof(
    fc.tuple(address, width).map(
      ([a, w]): Call =>
        (m) =>
          m.vcpu(0).read(a, w),
    ),
    fc.tuple(address, word, width).map(
      ([a, v, w]): Call =>
        (m) =>
          m.vcpu(0).write(a, v, w),
    ),
    fc.tuple(address, word, width).map(
      ([a, v, w]): Call =>
        (m) =>
          m.vcpu(1).add(a, v, w),
    ),
    fc.tuple(address, fc.boolean()).map(
      ([a, sideEffects]): Call =>
        (m) =>
          m.vcpu(1).translate(a, { sideEffects }),
    ),
    fc.tuple(address, length, id).map(
      ([a, l, i]): Call =>
        (m, base) =>
          m.memslots.add({ id: i, gpa: a, hva: base, length: l }),
    ),
    fc.tuple(id).map(
      ([i]): Call =>
        (m) =>
          m.memslots.delete(i),
    ),
    fc.tuple(id, address).map(
      ([i, a]): Call =>
        (m) =>
          m.memslots.move(i, a),
    ),
    fc.tuple(id, fc.boolean()).map(
      ([i, r]): Call =>
        (m) =>
          m.memslots.setReadonly(i, r),
    ),
    fc.tuple(address, length).map(
      ([a, l]): Call =>
        (m, base) =>
          m.mm.madviseDontneed(at(base, a), l),
    ),
    fc.tuple(address, length).map(
      ([a, l]): Call =>
        (m, base) =>
          m.mm.munmap(at(base, a), l),
    ),
    fc.tuple(address, length).map(
      ([a, l]): Call =>
        (m, base) =>
          m.mm.mmap(l, { at: at(base, a) }),
    ),
    fc.tuple(address, length, protection).map(
      ([a, l, p]): Call =>
        (m, base) =>
          m.mm.mprotect(at(base, a), l, p),
    ),
    fc.tuple(address, length).map(
      ([a, l]): Call =>
        (m, base) =>
          m.mm.populate(at(base, a), l),
    ),
    fc.tuple(address, word, width).map(
      ([a, v, w]): Call =>
        (m, base) =>
          m.mm.store(at(base, a), v, w),
    ),
    fc.tuple(address, width).map(
      ([a, w]): Call =>
        (m) =>
          m.guestMemory.load(a, w),
    ),
    fc
      .tuple(
        fc.constantFrom("cr0", "cr3", "cr4", "efer", "cpl", "rflags", "pkru") as fc.Arbitrary<"cr0">,
        word,
      )
      .map(
        ([name, v]): Call =>
          (m) =>
            m.vcpu(0).set(name, v),
      ),
    fc.constant<Call>((m) => m.vcpu(0).flushTlb()),
    fc.tuple(address).map(
      ([a]): Call =>
        (m) =>
          m.vcpu(0).invlpg(gva(a)),
    ),
  );

  test.each(["v5.4", "v6.13"] as const)("%s: each is done or refused, and the books balance", (profile) => {
    fc.assert(
      fc.property(fc.array(call, { minLength: 1, maxLength: 60 }), (calls) => {
        const machine = Machine.create({
          frames: 96,
          vcpus: 2,
          slots: 8,
          vmas: 8,
          batchSize: 4096,
          poison: true,
          profile,
        });
        const base = machine.mm.mmap(48 * 4096);
        machine.memslots.add({ gpa: 0, hva: base, length: 32 * 4096 });
        for (const run of calls) orRefused(() => run(machine, base));
        const copy = machine.clone();
        for (const each of [machine, copy]) {
          each.unloadGuest();
          expect(each.mm.countImbalances()).toBe(0);
        }
      }),
      { numRuns: 150 },
    );
  });
});
