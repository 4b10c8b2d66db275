// Every combination of rights at two levels, of the control bits that look at them, and of accesses: the core's answer,
// error code and flags against the oracle's. Large pages take the place of the lower levels in turn.
import { expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { CoreInstance } from "../core-instance.js";
import { type Control, type Verdict, translate } from "../oracle/paging.js";
import { ACCESS, ACCESS_NAMES, CONTROL, enter, showControl, showEntry } from "../oracle/tables.js";

const { Outcome } = layout;
// Index 0 in the lower two tables, so that a large page too ends within the few frames of the machine.
const ADDRESS = 0x0000_7f12_4000_0abcn;
const TABLES = [0x1000n, 0x2000n, 0x3000n, 0x4000n];
const PAGE = 0n;
const LEAF_NAME = ["pte", "pde", "pdpte"];

/** Writes the tables of one address: `upper` in the PML4E, `leaf` in the entry of level `level`, all rights between. */
function build(machine: CoreInstance, upper: bigint, leaf: bigint, level: number): void {
  for (let l = 4; l >= level; l--) {
    const at = TABLES[4 - l]! + 8n * ((ADDRESS >> BigInt(3 + 9 * l)) & 0x1ffn);
    const next = TABLES[5 - l] ?? 0n;
    const all = layout.PTE_P | layout.PTE_RW | layout.PTE_US | layout.PTE_A;
    const ps = l > 1 ? layout.PTE_PS : 0n;
    machine.writePhysical(at, l === level ? PAGE | leaf | ps : l === 4 ? next | upper : next | all);
  }
}

const RIGHTS = [layout.PTE_P, layout.PTE_RW, layout.PTE_US, layout.PTE_XD, layout.PTE_A];
const LEAF_RIGHTS = [...RIGHTS, layout.PTE_D];
const SWITCHES = ["wp", "smep", "smap", "nxe", "ac"] as const;

function* subsets(bits: readonly bigint[]): Generator<bigint> {
  for (let i = 0; i < 1 << bits.length; i++)
    yield bits.reduce((sum, b, k) => (i & (1 << k) ? sum | b : sum), 0n);
}
function* controls(): Generator<Control> {
  for (let i = 0; i < 1 << (SWITCHES.length + 1); i++) {
    const control: Control = { ...CONTROL, cpl: i & 1 ? 3 : 0 };
    SWITCHES.forEach((name, k) => (control[name] = (i & (2 << k)) !== 0));
    yield control;
  }
}

function show(v: Verdict): string {
  if (v.kind === "ok") return `ok 0x${v.pa.toString(16)}`;
  return v.kind === "page-fault" ? `#PF 0x${v.error.toString(16)}` : v.kind;
}

function answer(machine: CoreInstance, outcome: number): string {
  const walk = machine.walk();
  if (outcome === Outcome.Ok) return `ok 0x${walk.pa.toString(16)}`;
  return outcome === Outcome.PageFault ? `#PF 0x${walk.error.toString(16)}` : `outcome ${outcome}`;
}

/** One access both ways; what differs, or null. */
function compare(
  machine: CoreInstance,
  control: Control,
  access: (typeof ACCESS_NAMES)[number],
): string | null {
  const before = new Map<bigint, bigint>();
  const verdict = translate(control, TABLES[0]!, ADDRESS, access, (pa) => {
    before.set(pa, machine.readPhysical(pa));
    return before.get(pa)!;
  });
  const quiet = answer(machine, machine.core.translate(0, ADDRESS, ACCESS[access], 0));
  for (const [pa, value] of before)
    if (machine.readPhysical(pa) !== value) return `a quiet walk changed 0x${pa.toString(16)}`;
  const got = answer(machine, machine.core.translate(0, ADDRESS, ACCESS[access], 1));
  if (quiet !== got) return `quiet ${quiet}, with effects ${got}`;
  if (got !== show(verdict)) return `${got}, the oracle says ${show(verdict)}`;
  for (const [pa, value] of before) {
    const stated = verdict.kind === "ok" ? (verdict.set.get(pa) ?? 0n) : 0n;
    if ((machine.readPhysical(pa) ^ value) !== stated) return `flags set at 0x${pa.toString(16)} are wrong`;
    machine.writePhysical(pa, value);
  }
  return null;
}

for (const level of [1, 2, 3]) {
  test(`rights of the PML4E and the ${LEAF_NAME[level - 1]!}, all combinations`, () => {
    const machine = new CoreInstance({ frameCount: 8 });
    const wrong: string[] = [];
    let cases = 0;
    for (const control of controls()) {
      enter(machine, control, TABLES[0]!);
      for (const leaf of subsets(LEAF_RIGHTS)) {
        // The upper entry varies in full for 4-KByte pages, in its rights alone for the others.
        for (const upper of subsets(level === 1 ? RIGHTS : RIGHTS.slice(1, 4))) {
          build(machine, level === 1 ? upper : upper | layout.PTE_P | layout.PTE_A, leaf, level);
          for (const access of ACCESS_NAMES) {
            cases++;
            const what = compare(machine, control, access);
            if (what === null || wrong.length >= 5) continue;
            const entries = `${showEntry("pml4e", upper)} ${showEntry(LEAF_NAME[level - 1]!, leaf)}`;
            wrong.push(`${entries} ${access} ${showControl(control)} -> ${what}`);
          }
        }
      }
    }
    expect(wrong).toEqual([]);
    expect(cases).toBeGreaterThan(100_000);
  });
}

test("protection keys: every setting of one key, both registers", () => {
  const machine = new CoreInstance({ frameCount: 8 });
  const wrong: string[] = [];
  for (const key of [0, 1, 7, 15]) {
    for (let i = 0; i < 1 << 8; i++) {
      const control: Control = {
        ...CONTROL,
        cpl: i & 1 ? 3 : 0,
        wp: (i & 2) !== 0,
        pke: (i & 4) !== 0,
        pks: (i & 8) !== 0,
        pkru: (((i >> 4) & 3) << (2 * key)) >>> 0,
        pkrs: (((i >> 6) & 3) << (2 * key)) >>> 0,
      };
      enter(machine, control, TABLES[0]!);
      for (const rights of subsets([layout.PTE_RW, layout.PTE_US])) {
        build(
          machine,
          layout.PTE_P | layout.PTE_RW | layout.PTE_US,
          layout.PTE_P | rights | (BigInt(key) << 59n),
          1,
        );
        for (const access of ACCESS_NAMES) {
          const what = compare(machine, control, access);
          if (what !== null && wrong.length < 5) {
            const registers = `pkru 0x${control.pkru.toString(16)} pkrs 0x${control.pkrs.toString(16)}`;
            wrong.push(
              `${showEntry("pte", rights)} key ${key} ${registers} ${access} ${showControl(control)} -> ${what}`,
            );
          }
        }
      }
    }
  }
  expect(wrong).toEqual([]);
});

test("each bit of each entry, alone, at every width", () => {
  const wrong: string[] = [];
  for (const width of [32, 36, 40, 46, 52]) {
    const machine = new CoreInstance({ frameCount: 8, maxphyaddr: width });
    for (const nxe of [false, true]) {
      const control: Control = { ...CONTROL, width, nxe };
      enter(machine, control, TABLES[0]!);
      for (const level of [1, 2, 3]) {
        for (let l = 4; l >= level; l--) {
          const at = TABLES[4 - l]! + 8n * ((ADDRESS >> BigInt(3 + 9 * l)) & 0x1ffn);
          for (let b = 0; b < 64; b++) {
            // A bit that moves a table out of the frames is another test's business.
            if (l > level && b >= 12 && b < width) continue;
            if (l === level && b >= 15 && b < width) continue;
            build(machine, 0x27n, 0x67n, level);
            machine.writePhysical(at, machine.readPhysical(at) ^ (1n << BigInt(b)));
            if (l > level && b === 7) continue;
            const what = compare(machine, control, "write");
            if (what !== null && wrong.length < 5) {
              wrong.push(
                `bit ${b} of the entry of level ${l}, page of level ${level}, MAXPHYADDR ${width}, nxe ${nxe}: ${what}`,
              );
            }
          }
        }
      }
    }
  }
  expect(wrong).toEqual([]);
});
