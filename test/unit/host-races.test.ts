// Two host threads over one address space, in every interleaving in which one acts at a single point of the other.
import { expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { HostMachine, HostStatus, HUGE, PAGE } from "../host-machine.js";
import { atEveryAccess } from "../interleaving.js";

const machine = (onAccess: () => void) => new HostMachine({ build: "lab", hosts: 3, frames: 1536, onAccess });

/** A 2 MiB page; `write` says whether it is dirty already. */
function mapHuge(m: HostMachine, write: boolean): { hva: bigint; head: number; free: number } {
  const free = m.free;
  const hva = m.map(HUGE, { shift: 21 });
  m.touch(hva, PAGE, write);
  expect(m.shiftOf(hva)).toBe(21);
  return { hva, head: m.pfnOf(hva), free };
}

/** Unmaps all, and finds nothing lost. */
function expectWhole(m: HostMachine, { hva, free }: { hva: bigint; free: number }, place: string): void {
  expect(m.imbalance, place).toBe(0);
  m.unmap(hva, HUGE);
  expect(m.free, place).toBe(free);
  expect(m.imbalance, place).toBe(0);
}

test("whoever finds the table of a split page may zap in it at once: the counts are raised before it is linked", () => {
  const places = atEveryAccess({
    machine,
    prepare: (m) => mapHuge(m, true),
    first: (m, { hva }) => m.dontneed(hva, PAGE, 1),
    second: (raw, { hva }) => raw["hostDontneed"]!(2, hva + 100n * PAGE, 2n * PAGE),
    check: (m, state, _ended, place) => {
      const { hva, head } = state;
      expect(m.refcount(head), place).toBe(512 - 3);
      expect(m.mapcount(head), place).toBe(512 - 3);
      for (const zapped of [0n, 100n, 101n]) expect(m.pte(hva + zapped * PAGE), place).toBe(0n);
      for (const kept of [1n, 99n, 102n, 511n]) {
        expect(m.pfnOf(hva + kept * PAGE), place).toBe(head + Number(kept));
      }
      expectWhole(m, state, place);
    },
  });
  expect(places).toBeGreaterThan(20);
});

test("two that zap the same page of a large one: it is zapped once", () => {
  const places = atEveryAccess({
    machine,
    prepare: (m) => mapHuge(m, true),
    first: (m, { hva }) => m.dontneed(hva, 2n * PAGE, 1),
    second: (raw, { hva }) => raw["hostDontneed"]!(2, hva + PAGE, 2n * PAGE),
    check: (m, state, _ended, place) => {
      expect(m.mapcount(state.head), place).toBe(512 - 3);
      expectWhole(m, state, place);
    },
  });
  expect(places).toBeGreaterThan(20);
});

/** A 2 MiB page that is clean again, as after writeback: D is nowhere but in its PMD entry. */
function mapClean(m: HostMachine): ReturnType<typeof mapHuge> {
  const state = mapHuge(m, true);
  const slot = pmdAddress(m, state.hva);
  m.view.setBigUint64(slot, m.view.getBigUint64(slot, true) & ~layout.PTE_D, true);
  return state;
}

const store = (raw: HostMachine["raw"], { hva }: { hva: bigint }) =>
  raw["hostStore"]!(2, hva + 5n * PAGE, 8, 0x5eedn) as number;
const split = (raw: HostMachine["raw"], { hva }: { hva: bigint }) =>
  raw["hostDontneed"]!(1, hva, PAGE) as number;

test.each([
  ["a store at any moment of a split", split, store],
  ["a split at any moment of a store", store, split],
])("%s: D is in the PTE afterwards, as the bytes are in the page", (_order, first, second) => {
  const places = atEveryAccess({
    machine,
    prepare: mapClean,
    first: (m, state) => first(m.raw, state),
    second,
    check: (m, state, ended, place) => {
      expect(ended, place).toBe(HostStatus.Ok);
      const at = state.hva + 5n * PAGE;
      expect(m.pte(at) & layout.PTE_D, place).toBe(layout.PTE_D);
      expect(m.load(at), place).toBe(0x5eedn);
      expectWhole(m, state, place);
    },
  });
  expect(places).toBeGreaterThan(10);
});

/** Address of the PMD entry for `hva`, found as the walker finds it. */
function pmdAddress(m: HostMachine, hva: bigint): number {
  let table = m.word(layout.MM_BASE + layout.MM_PGD);
  for (const shift of [39n, 30n, 21n]) {
    const slot = m.u32("hostFrame", table) + Number(((hva >> shift) & 511n) << 3n);
    if (shift === 21n) return slot;
    table = Number((m.view.getBigUint64(slot, true) & layout.PTE_ADDRESS) >> 12n);
  }
  throw new Error("unreachable");
}

test("the epoch of grace periods is never 0, which says that a reader is outside, even when it wraps", () => {
  let zeroes = 0;
  let armed = false;
  const m: HostMachine = new HostMachine({
    build: "lab",
    onAccess: () => {
      if (armed && m.word(layout.KVM_RCU_EPOCH) === 0) zeroes++;
    },
  });
  const hva = m.map(PAGE);
  m.touch(hva, PAGE);
  expect(m.word(layout.KVM_RCU_EPOCH) & 1).toBe(1);
  m.view.setUint32(layout.KVM_RCU_EPOCH, 0xffff_ffff, true);
  armed = true;
  m.unmap(hva, PAGE); // frees its tables after a grace period
  armed = false;
  expect(m.word(layout.KVM_RCU_EPOCH)).toBe(1);
  expect(zeroes).toBe(0);
  expect(m.imbalance).toBe(0);
});
