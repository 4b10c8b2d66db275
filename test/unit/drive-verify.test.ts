// The end-to-end checks: quiet where nothing is wrong, loud about a single wrong word.
import { describe, expect, test } from "vitest";
import { Rule } from "../../src/core/layout.generated.js";
import { DriveMachine, DriveStatus, MachineOption, PAGE, Stat, USER } from "../drive-machine.js";

const PAGES = 32;

function machine(configuration = {}): DriveMachine {
  const m = new DriveMachine({ vcpus: 2, ...configuration });
  m.map(BigInt(PAGES) * PAGE, { mapping: 2 });
  for (const vcpu of [0, 1]) m.drive(vcpu, { steps: PAGES });
  return m;
}
/** `passes` whole passes of both vCPUs, in turns. */
function pass(m: DriveMachine, passes = 1): void {
  for (let i = 0; i < passes * PAGES; i++)
    for (const vcpu of [0, 1]) expect(m.u32("driveVerify", vcpu, 1)).toBe(1);
}

describe("owned words", () => {
  test("pass after pass finds what the pass before wrote", () => {
    const m = machine();
    pass(m, 4);
    for (const vcpu of [0, 1]) {
      expect(m.integrity(vcpu)).toMatchObject({ pass: 4n, kept: 96n, discarded: 0n, errors: 0n });
    }
    const gva = USER + 5n * PAGE;
    expect(m.load(gva)).toBe(m.u64("driveOwnedValue", 0, gva, 3n));
    expect(m.load(gva + 8n)).toBe(m.u64("driveOwnedValue", 1, gva + 8n, 3n));
    expect(m.imbalance).toBe(0);
  });

  test("pages that the host discards are found empty", () => {
    const m = machine();
    pass(m, 2);
    const gpa = m.u64("guestRegionGpa", 0, USER + 3n * PAGE);
    m.dontneed(gpa & ~0xfffn, PAGE);
    pass(m);
    expect(m.integrity(0)).toMatchObject({ pass: 3n, kept: 63n, discarded: 1n, errors: 0n });
    expect(m.integrity(1)).toMatchObject({ discarded: 1n, errors: 0n });
  });

  test("a word changed behind the guest's back is reported: where, and what was expected", () => {
    const m = machine();
    pass(m, 2);
    const gva = USER + 9n * PAGE + 8n;
    m.corrupt(m.u64("guestRegionGpa", 0, gva), 0xbadn);
    pass(m);
    expect(m.integrity(0).errors).toBe(0n);
    const expected = m.u64("driveOwnedValue", 1, gva, 1n);
    expect(m.integrity(1)).toMatchObject({ errors: 1n, gva, expected, found: 0xbadn });
    expect(m.stat(1, Stat.IntegrityErrors)).toBe(1);
    pass(m); // it has been written anew: reported once
    expect(m.integrity(1).errors).toBe(1n);
  });

  test("a word of the pass before last is an error: a lost write", () => {
    const m = machine();
    pass(m, 1);
    const gva = USER + 20n * PAGE;
    const old = m.load(gva);
    pass(m, 1);
    m.corrupt(m.u64("guestRegionGpa", 0, gva), old);
    pass(m);
    expect(m.integrity(0)).toMatchObject({ errors: 1n, gva, found: old });
  });

  test("a neighbour's word is an error", () => {
    const m = machine();
    pass(m, 2);
    const gva = USER + 2n * PAGE;
    m.corrupt(m.u64("guestRegionGpa", 0, gva), m.load(gva + 8n));
    pass(m);
    expect(m.integrity(0).errors).toBe(1n);
  });

  test("needs a host that zeroes pages", () => {
    const m = machine({ options: MachineOption.Poison });
    expect(m.u32("driveVerify", 0, 1)).toBe(0);
    expect(m.status()).toBe(DriveStatus.Unsupported);
  });

  test("needs the window to be mapped as a whole", () => {
    const m = machine();
    m.drive(0, { steps: PAGES + 1 });
    m.u32("driveVerify", 0, 2 * PAGES);
    expect(m.status()).toBe(DriveStatus.Unsupported);
  });
});

describe("a host that breaks the protocol", () => {
  /** Discards a page under a vCPU that has it in its TLB, and lets that vCPU look. */
  function discardUnder(without: readonly number[]): DriveMachine {
    const m = machine({ without, vcpus: 2, tlbEntries: 256 });
    pass(m, 2);
    m.u32("driveVerify", 0, PAGES - 1); // nothing has flushed vCPU 0's TLB since
    const step = [...new Array(PAGES).keys()].find(
      (i) => m.load(page(i)) === m.u64("driveOwnedValue", 0, page(i), 1n),
    );
    m.dontneed(m.u64("guestRegionGpa", 0, page(step!)), PAGE, 2);
    m.u32("driveVerify", 0, 1);
    return m;
  }
  const page = (i: number): bigint => USER + BigInt(i) * PAGE;

  test("is found out where TLBs are not flushed", () => {
    const { errors, found } = discardUnder([Rule.FlushBeforeStartReturns]).integrity(0);
    expect(errors).toBe(1n);
    expect(found).not.toBe(0n); // the poison of a free frame
  });
  test("and is not accused where they are", () => {
    expect(discardUnder([]).integrity(0)).toMatchObject({ errors: 0n, discarded: 1n });
  });
});

describe("added words", () => {
  test("sum to what was added", () => {
    const m = machine();
    expect(m.u32("driveAdd", 0, 500)).toBe(500);
    expect(m.u32("driveAdd", 1, 700)).toBe(700);
    expect(m.u32("driveSum", 1)).toBe(1);
    expect(m.integrity(1).sum).toBe(1200n);
    expect(m.integrity(0).additions + m.integrity(1).additions).toBe(1200n);
    expect(m.imbalance).toBe(0);
  });

  test("and no longer do if one is lost", () => {
    const m = machine();
    m.u32("driveAdd", 0, 500);
    const gpa = m.u64("guestRegionGpa", 0, USER + 7n * PAGE + 4088n);
    m.corrupt(gpa, m.physical(gpa) - 1n);
    m.u32("driveSum", 0);
    expect(m.integrity(0).sum).toBe(499n);
  });
});
