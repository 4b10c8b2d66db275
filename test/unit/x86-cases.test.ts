// runCases: how a batch ends, what a case may not be, and that cases do not see each other.
import { expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { CaseRunner, type Case } from "../conformance/case.js";
import { CoreInstance } from "../core-instance.js";

const { Access, Outcome, Register } = layout;
const MODEL = { page1G: true, maxphyaddr: 40 };

/** A case of long mode: one 4-KByte page, its entries in four tables of `base`. */
function sound(base: bigint, gva = 0n): Case {
  const tables = [0n, 1n, 2n, 3n].map((i) => base + (i << 12n));
  return {
    origin: { file: "none", number: 1, line: "" },
    model: MODEL,
    access: Access.Read,
    size: 8,
    gva,
    registers: new Map([
      [Register.Cr0, layout.CR0_PE | layout.CR0_PG],
      [Register.Cr4, layout.CR4_PAE],
      [Register.Efer, layout.EFER_LME],
      [Register.Cr3, base],
    ]),
    words: tables.map((pa, i) => ({
      pa: pa + 8n * ((gva >> BigInt(39 - 9 * i)) & 0x1ffn),
      value: (tables[i + 1] ?? base + 0x8000n) | layout.PTE_P,
      level: 4 - i,
      nested: false,
      must: layout.PTE_A,
      may: layout.PTE_A,
    })),
    expected: {
      outcome: Outcome.Ok,
      error: null,
      cr2: null,
      gpa: null,
      pa: base + 0x8000n,
      secondPa: null,
    },
  };
}

test("cases of one batch do not see each other's memory or registers", () => {
  const runner = new CaseRunner(MODEL);
  const [a, b] = [sound(0x10_0000n), sound(0x20_0000n)];
  // The same root as the first, and no words of its own: what the first one had is gone.
  const empty: Case = { ...a, words: [] };
  const outcomes: number[] = [];
  runner.run([a, empty, b, empty, a], (_, answer) => outcomes.push(answer.outcome));
  const { Ok, Missing } = Outcome;
  expect(outcomes).toEqual([Ok, Missing, Ok, Missing, Ok]);
});

test("a value that the processor does not take ends the case, by the register's number; the next one runs", () => {
  const runner = new CaseRunner(MODEL);
  const a = sound(0x10_0000n);
  const refused: number[] = [];
  const bad: [number, bigint][] = [
    [Register.Efer, 1n << 9n],
    [Register.Cr4, 1n << 31n],
    [Register.Cr0, layout.CR0_PG],
    [Register.Cr3, 1n << 40n],
    [Register.Cpl, 4n],
    [Register.Pkru, 1n << 32n],
    [Register.Eptp, 3n],
    [Register.Vpid, 1n << 16n],
  ];
  const cases = bad.flatMap(([register, value]): Case[] => [
    { ...a, registers: new Map([...a.registers, [register, value]]) },
    a,
  ]);
  runner.run(cases, (_, answer) => refused.push(answer.refused));
  expect(refused).toEqual(bad.flatMap(([register]) => [register + 1, 0]));
});

test("the batch ends where the buffer or the windows do, and says how many cases were run", () => {
  const machine = new CoreInstance({ batchSize: 4096, windowCount: 16 });
  const batch = machine.word(layout.HEADER_OFFSET_BATCHES_BASE);
  const put = (at: number, words: number): void =>
    machine.view.setUint32(batch + at + layout.CASE_WORDS, words, true);
  const room = Math.floor(4096 / layout.CASE_SIZE);
  expect(machine.core.runCases(0, room)).toBe(room);
  expect(machine.core.runCases(0, room + 1)).toBe(room);
  expect(machine.core.runCases(0, 0)).toBe(0);
  // Twelve windows of sixteen are filled at most.
  put(layout.CASE_SIZE, 12);
  expect(machine.core.runCases(0, 2)).toBe(2);
  put(layout.CASE_SIZE, 13);
  expect(machine.core.runCases(0, 2)).toBe(1);
  // Words that would end after the buffer, and a number of them whose size does not fit 32 bits.
  put(layout.CASE_SIZE, 0);
  put((room - 1) * layout.CASE_SIZE, 0xffff_ffff);
  expect(machine.core.runCases(0, room)).toBe(room - 1);
});

test("without windows no case with words can be run", () => {
  const machine = new CoreInstance({ batchSize: 4096 });
  const batch = machine.word(layout.HEADER_OFFSET_BATCHES_BASE);
  expect(machine.core.runCases(0, 1)).toBe(1);
  machine.view.setUint32(batch + layout.CASE_WORDS, 1, true);
  expect(machine.core.runCases(0, 1)).toBe(0);
});
