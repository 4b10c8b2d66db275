// Accessed and dirty flags against another processor: the lab module tells of each access before it happens, and the
// test changes an entry at exactly that moment. A flag is set by compare-and-swap: what the other wrote is never lost.
import { expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { HostMachine } from "../host-machine.js";

const { Access, Outcome, Register } = layout;
const GVA = 0x12_3456_7000n;
const BITS = layout.PTE_P | layout.PTE_RW | layout.PTE_US;

/** Runs one translation of GVA for write; before the access of number `at`, the leaf becomes `other`. */
function translateAgainst(at: number, other: bigint) {
  const machine = new HostMachine({ build: "lab" });
  const frames = machine.word(layout.HEADER_OFFSET_FRAMES_BASE);
  const pfns = Array.from({ length: 5 }, () => BigInt(machine.u32("hostAllocPage", 0)));
  const index = (level: number) => Number((GVA >> BigInt(3 + 9 * level)) & 511n);
  const entryAt = (level: number) => frames + Number(pfns[4 - level]! << 12n) + index(level) * 8;
  for (const pfn of pfns) new Uint8Array(machine.memory.buffer, frames + Number(pfn << 12n), 4096).fill(0);
  for (let level = 4; level >= 1; level--) {
    machine.view.setBigUint64(entryAt(level), (pfns[5 - level]! << 12n) | BITS, true);
  }
  let count = 0;
  let armed = false;
  const order = () => {
    if (!armed || count++ !== at) return;
    machine.view.setBigUint64(entryAt(1), other, true);
  };
  const env = { memory: machine.memory, order, choose: () => 0, note: () => undefined };
  const core = new WebAssembly.Instance(machine.module, { env }).exports as Record<
    string,
    (...args: (number | bigint)[]) => number
  >;
  core["attach"]!();
  core["registerWrite"]!(0, Register.Cr4, layout.CR4_PAE);
  core["registerWrite"]!(0, Register.Efer, layout.EFER_LME | layout.EFER_NXE);
  core["registerWrite"]!(0, Register.Cr3, pfns[0]! << 12n);
  core["registerWrite"]!(0, Register.Cr0, layout.CR0_PE | layout.CR0_WP | layout.CR0_PG);
  armed = true;
  const outcome = core["translate"]!(0, GVA, Access.Write, 1);
  armed = false;
  return { outcome, accesses: count, leaf: machine.view.getBigUint64(entryAt(1), true) };
}

const quiet = translateAgainst(-1, 0n);

test("a walk sets A in every entry and D in the leaf", () => {
  expect(quiet.outcome).toBe(Outcome.Ok);
  expect(quiet.leaf & (layout.PTE_A | layout.PTE_D)).toBe(layout.PTE_A | layout.PTE_D);
});

test("an entry that is cleared at any moment of the walk stays cleared", () => {
  expect(quiet.accesses).toBe(8); // four entries read, four flags set
  for (let at = 0; at < quiet.accesses; at++) {
    const { outcome, leaf } = translateAgainst(at, 0n);
    expect(leaf, `cleared before access ${at}`).toBe(0n);
    // The walk's last access sets D in the leaf: up to there, it finds the change, begins again, and faults.
    expect(outcome, `cleared before access ${at}`).toBe(Outcome.PageFault);
  }
});

test("an entry that is made read-only at any moment is not written through afterwards", () => {
  const readOnly = quiet.leaf & ~(layout.PTE_RW | layout.PTE_A | layout.PTE_D);
  for (let at = 0; at < quiet.accesses; at++) {
    const { outcome, leaf } = translateAgainst(at, readOnly);
    expect(leaf & layout.PTE_RW, `before access ${at}`).toBe(0n);
    expect(leaf & layout.PTE_D, `before access ${at}`).toBe(0n);
    expect([Outcome.PageFault, Outcome.Ok]).toContain(outcome);
  }
});
