// Sequences of accesses to tables that stay as they are, while the control state changes in ways that need no invalidation:
// CPL, RFLAGS.AC, CR0.WP, CR4.SMEP, SMAP, PKE, PKS, PKRU, IA32_PKRS. What the TLB, the walk cache and the fast forms answer
// must be what the oracle finds in the tables each time.
import fc from "fast-check";
import { expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { type Answer, type Case, agrees } from "../conformance/case.js";
import { showCase } from "../conformance/show.js";
import { CoreInstance } from "../core-instance.js";
import { OracleMemory } from "../oracle/memory.js";
import { access, type State } from "../oracle/processor.js";
import { caseOfAnswer, registersOf } from "../oracle/question.js";
import { type Wanted, situation } from "../oracle/situation.js";
import { ACCESS, ACCESS_NAMES } from "../oracle/tables.js";

const { MachineOption, Outcome, Register } = layout;

/** Sequences of each kind; more of them with GUESTMMU_RUNS. */
const RUNS = Number(process.env["GUESTMMU_RUNS"] ?? 1500);
const FRAMES = 8192;
const LIMIT = BigInt(FRAMES) << 12n;
const WIDTH = 40;

/** One access, and what of the control state is turned over before it. */
const step = fc.record({
  access: fc.constantFrom(...ACCESS_NAMES),
  // To the same page mostly; else to one that shares all tables but the last, or fewer.
  move: fc.constantFrom(0n, 0n, 0n, 1n << 12n, 1n << 21n, 1n << 30n),
  offset: fc.bigInt({ min: 0n, max: 0xfffn }),
  toggle: fc.constantFrom(null, null, "wp", "smep", "smap", "pke", "pks", "ac", "cpl", "pkru", "pkrs"),
  key: fc.nat({ max: 0xffff_ffff }),
} as const);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function turn({ control }: State, { toggle, key }: Step): void {
  if (toggle === null) return;
  if (toggle === "cpl") control.cpl = control.cpl === 0 ? 3 : 0;
  else if (toggle === "pkru" || toggle === "pkrs") control[toggle] = key;
  else control[toggle] = !control[toggle];
}

/** The physical memory that oracle and core share. */
class Shared {
  readonly #known = new Map<bigint, bigint>();
  /** False once the oracle has looked at a word that the machine has no frame for. */
  within = true;
  constructor(private readonly machine: CoreInstance) {}

  origin(pa: bigint, make: () => bigint): bigint {
    const known = this.#known.get(pa);
    if (known !== undefined) return known;
    const value = make();
    this.#known.set(pa, value);
    if (pa >= LIMIT) this.within = false;
    else this.machine.writePhysical(pa, value);
    return value;
  }
  /** What the word is now, and what it was at the last call. */
  take(pa: bigint): bigint {
    const now = this.machine.readPhysical(pa);
    const changed = now ^ this.#known.get(pa)!;
    this.#known.set(pa, now);
    return changed;
  }
  clear(): void {
    for (const pa of this.#known.keys()) if (pa < LIMIT) this.machine.writePhysical(pa, 0n);
  }
}

/** What the core answers through TLB and fast forms, in the harness's terms. */
function ask(machine: CoreInstance, gva: bigint, kind: number): Answer {
  const host = machine.core.tlbAccess(0, gva, kind) >>> 0;
  const walk = machine.walk();
  const pmlIndex = Number(machine.core.registerRead(0, Register.PmlIndex));
  const common = { refused: 0, secondPa: 0n, pmlIndex, changed: [] };
  if (host !== 0)
    return {
      ...common,
      outcome: Outcome.Ok,
      error: 0n,
      cr2: 0n,
      gpa: 0n,
      pa: BigInt(host - machine.frame(0n)),
    };
  return {
    ...common,
    outcome: walk.outcome,
    error: BigInt(walk.error),
    cr2: walk.gva,
    gpa: walk.gpa,
    pa: walk.pa,
  };
}

/** Sets what has changed: a write may flush, and must not if it need not. */
function enter(machine: CoreInstance, state: State, all: boolean): void {
  const registers = registersOf(state);
  if (all) {
    machine.core.cpuReset(0);
    // Long mode first, and what the processor can do of EPT before the EPTP.
    const first: number[] = [Register.Efer, Register.Cr4, Register.Cr0, Register.EptVpidCap];
    for (const register of first) {
      const value = registers.get(register);
      if (value !== undefined) machine.set(register, value);
    }
  }
  for (const [register, value] of registers) {
    if (register === Register.PmlIndex && !all) continue;
    if (BigInt.asUintN(64, machine.core.registerRead(0, register)) !== value) machine.set(register, value);
  }
}

test.each(["none", "ept", "npt"] as const)("nested tables: %s; sequences through the TLB", (nested) => {
  const machine = new CoreInstance({
    frameCount: FRAMES,
    maxphyaddr: WIDTH,
    tlbEntries: 4,
    tlbLargeEntries: 2,
    walkCacheEntries: 4,
    options: MachineOption.Page1GB,
  });
  const wanted: Wanted = { nested, inFrames: true, width: WIDTH, page1G: true };
  const list = fc.array(fc.nat({ max: 0xffff_ffff }), { maxLength: 1000, size: "max" });
  let hits = 0;
  fc.assert(
    fc.property(list, fc.array(step, { minLength: 2, maxLength: 12, size: "max" }), (choices, steps) => {
      const { state, address, origin } = situation(choices, wanted);
      const shared = new Shared(machine);
      enter(machine, state, true);
      let gva = address;
      const told: string[] = [];
      try {
        for (const [i, one] of steps.entries()) {
          turn(state, one);
          enter(machine, state, false);
          gva = (((gva ^ one.move) >> 12n) << 12n) | one.offset;
          const memory = new OracleMemory((pa, place) => shared.origin(pa, () => origin(pa, place)));
          const registers = registersOf(state);
          const verdict = access(state, gva, 1, one.access, memory);
          if (!shared.within) return;
          const kind = ACCESS[one.access];
          if (machine.core.tlbProbe(0, gva, kind) >>> 0 !== 0) hits++;
          const answer = ask(machine, gva, kind);
          const c: Case = caseOfAnswer({ state, gva, size: 1, kind, registers, memory, verdict });
          const seen = { ...answer, changed: c.words.map(({ pa }) => shared.take(pa)) };
          told.push(`${one.access} 0x${gva.toString(16)} -> ${verdict.kind}`);
          // A page beyond the frames: the walk was right, and its flags are set.
          if (verdict.kind === "ok" && verdict.pa >= LIMIT) seen.outcome = Outcome.Ok;
          if (agrees(c, seen)) continue;
          const report = showCase(c, seen, [machine.walk()]);
          throw new Error(`access ${i + 1} of:\n  ${told.join("\n  ")}\n${report}`);
        }
      } finally {
        shared.clear();
      }
    }),
    { numRuns: RUNS, includeErrorInReport: true },
  );
  expect(hits).toBeGreaterThan(RUNS / 4);
});
