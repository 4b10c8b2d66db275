// What a failing case prints, and that the comparison sees everything that a vector tells: with cases made wrong on purpose.
import { expect, test } from "vitest";
import { type Case, CaseRunner, type Expected, agrees } from "./case.js";
import { CONFIRMED, casesOf } from "./files.js";
import { differences, showCase } from "./show.js";
import { parseCross } from "./cross.js";
import { parseEpt } from "./nested.js";
import { parsePaging } from "./paging.js";

const MODEL = { page1G: true, maxphyaddr: 40 };
const runner = new CaseRunner(MODEL);

const origin = (file: string, line: string) => ({ file, number: 7, line });
const READ_ONLY =
  "perm w 381 1d46000 0 0 7f0000001000 1e00067,1e01067,1e02067,8000000001e03025 pf 7 0,0,0,0 = = 2";
const CROSS =
  "cross w 3a0 17a185018 0 0 ffffffe06b625ff9 04@17a185ff8:61e00001631ea637,03@1631eac08:6f50000001d86747,02@1d86ad8:f1000011b131d77,01@11b131128:291000010404b17f,11@11b131130:71f0000104190a2f ok:10404bff9 ok:104190000 11b131130:40,1631eac08:20 = = 2";
const EPT =
  "perm w 120 175b05e 1400000 ffffd1687c856502 n14@175b008:6040000001600004,n13@1600ac8:a8d0000040000b07,n12@40000a40:1900000018003cf,n23@1600ea8:81d0000001e0d207,n22@1e0dbb0:e1b00000016003a7,n33@1600040:170000001dc2b07,n32@1dc2290:2100000001e008b7,n43@1600cf0:283000000198c007,n42@198c1d0:484000005569e907,n41@5569ed90:284000004eafe067,g4@1400d10:e000d66914901f,g3@1949d08:2d000f56ec19377,g2@1619f20:18000820a568c07,g1@1f682b0:7d000e7875b2a0f,n04@175b000:203107,n03@203000:3b7 viol:d669149d08:a3 - - !viol:d669149d08:a2/E8 e";

const paging = (): Case => parsePaging(origin("paging-4level", READ_ONLY), MODEL)[0]!;

function report(c: Case): string {
  const { answer, walks } = runner.one(c);
  return showCase(c, answer, walks);
}

/** The case with another expectation. */
const expecting = (c: Case, expected: Partial<Expected>): Case => ({
  ...c,
  expected: { ...c.expected, ...expected },
});

test("a right case differs in nothing", () => {
  for (const c of [
    paging(),
    ...parseCross(origin("paging-cross", CROSS), MODEL),
    ...parseEpt(origin("ept", EPT), MODEL),
  ]) {
    const { answer } = runner.one(c);
    expect(agrees(c, answer), report(c)).toBe(true);
    expect(differences(c, answer)).toEqual([]);
  }
});

test("a wrong case of one dimension: bits, access and outcome in a line, the walk, what differs", () => {
  const c = expecting(paging(), { error: 3n });
  expect(report(c)).toBe(`paging-4level line 7: \
pml4e.p pml4e.rw pml4e.us pml4e.a pml4e.d pdpte.p pdpte.rw pdpte.us pdpte.a pdpte.d \
pde.p pde.rw pde.us pde.a pde.d pte.p pte.us pte.a pte.xd user write cr0.wp efer.nxe rflags.ac \
-> #PF 0x7 CR2 0x7f0000001000, expected #PF 0x3 CR2 0x7f0000001000
  8 bytes at 0x7f0000001000; CR3 0x1d46000, MAXPHYADDR 40
  walk of 0x7f0000001000:
    pml4e          at 0x1d467f0      0x1e00067          p rw us a d
    pdpte          at 0x1e00000      0x1e01067          p rw us a d
    pde            at 0x1e01000      0x1e02067          p rw us a d
    pte            at 0x1e02008      0x8000000001e03025 p us a xd
  differs: error: 0x7, expected 0x3
  vector: ${READ_ONLY}`);
});

test("a wrong case of two pages shows both walks; one below EPT, both dimensions", () => {
  const [cross] = parseCross(origin("paging-cross", CROSS), MODEL);
  const crossing = report(expecting(cross!, { secondPa: 0n }));
  expect(crossing).toContain("  walk of 0xffffffe06b625ff9:\n    pml4e ");
  expect(crossing).toContain("  walk of 0xffffffe06b626000:\n    pml4e ");
  expect(crossing).toContain("  differs: physical address in the second page: 0x104190000, expected 0x0");
  const [nested] = parseEpt(origin("ept", EPT), MODEL);
  expect(report(expecting(nested!, { error: 0xa2n }))).toMatch(
    /-> EPT violation gpa 0xd669149d08 qualification 0xa3, expected EPT violation gpa 0xd669149d08 qualification 0xa2\n/,
  );
  expect(report(nested!)).toContain(
    "    pml4e          at 0x1400d10      0xe000d66914901f   p rw us\n      nested pml4e ",
  );
});

test("flags that changed otherwise are told by word and name", () => {
  const base = paging();
  const words = base.words.map((word, i) => (i === 3 ? { ...word, must: 0x60n, may: 0x60n } : word));
  expect(differences({ ...base, words }, runner.one(base).answer)).toEqual([
    "pte at 0x1e02008 changed by nothing, expected 0x60 (a d)",
  ]);
});

test("a register that the processor refuses is named", () => {
  const base = paging();
  const c = { ...base, registers: new Map([...base.registers, [1, 1n << 45n]]) };
  expect(report(c)).toContain("-> CR3 0x200000000000 refused, expected #PF 0x7");
  expect(agrees(c, runner.one(c).answer)).toBe(false);
});

test("each field that a vector tells is compared: none can be changed unseen", () => {
  for (const file of CONFIRMED) {
    const own = new CaseRunner(file.model);
    let seen = 0;
    for (const c of casesOf(file)) {
      if (++seen > 200) break;
      const { answer } = own.one(c);
      const { expected } = c;
      const changed: Case[] = [expecting(c, { outcome: expected.outcome + 1 })];
      for (const name of ["error", "cr2", "gpa", "pa", "secondPa"] as const) {
        const value = expected[name];
        if (value !== null) changed.push(expecting(c, { [name]: value ^ 1n }));
      }
      c.words.forEach((word, i) => {
        // A bit that no access changes, and, where the change is told exactly, each flag the other way round.
        const twisted = word.must === word.may ? [0x20n, 0x40n, 0x8n] : [0x8n];
        for (const bit of twisted) {
          const words = [...c.words];
          words[i] = { ...word, must: word.must ^ bit, may: (word.may & ~bit) | (~word.must & bit) };
          changed.push({ ...c, words });
        }
      });
      for (const wrong of changed) {
        expect(agrees(wrong, answer)).toBe(false);
        expect(differences(wrong, answer)).not.toEqual([]);
      }
      expect(changed.length).toBeGreaterThan(c.words.length);
    }
    expect(seen).toBeGreaterThan(0);
  }
});
