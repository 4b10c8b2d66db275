// Memslots against a model: whatever is added, moved and deleted, lookups, overlaps and invalidations agree with a list.
import fc from "fast-check";
import { expect, test } from "vitest";
import { PAGE } from "../host-machine.js";
import { KvmMachine, Outcome, QUIET, SlotFlag, SlotStatus } from "../kvm-machine.js";

interface ModelSlot {
  id: number;
  baseGfn: bigint;
  npages: bigint;
  hva: bigint;
  flags: number;
}

/** What KVM_SET_USER_MEMORY_REGION answers, over a plain list. */
function update(slots: ModelSlot[], next: ModelSlot, max: number): number {
  const old = slots.find(({ id }) => id === next.id);
  if (next.npages === 0n) {
    if (!old) return SlotStatus.Unknown;
    slots.splice(slots.indexOf(old), 1);
    return SlotStatus.Ok;
  }
  const meets = (a: ModelSlot) =>
    a.baseGfn < next.baseGfn + next.npages && next.baseGfn < a.baseGfn + a.npages;
  if (slots.some((slot) => slot !== old && meets(slot))) return SlotStatus.Overlap;
  if (!old) {
    if (slots.length === max) return SlotStatus.Full;
    slots.push(next);
    return SlotStatus.Ok;
  }
  if (old.npages !== next.npages || old.hva !== next.hva || (old.flags ^ next.flags) & SlotFlag.ReadOnly) {
    return SlotStatus.Immutable;
  }
  slots[slots.indexOf(old)] = next;
  return SlotStatus.Ok;
}

const AREA = 64n;

/** One step: an update of a slot, a guest store, or an invalidation. */
const step = fc.oneof(
  fc.record({
    kind: fc.constant("set" as const),
    id: fc.nat(6),
    baseGfn: fc.nat(40).map(BigInt),
    npages: fc.oneof(fc.constant(0n), fc.integer({ min: 1, max: 12 }).map(BigInt)),
    page: fc.nat(40).map(BigInt),
    flags: fc.constantFrom(0, 0, 0, SlotFlag.ReadOnly),
  }),
  // Moves and flag changes of slots that exist are rare by chance alone.
  fc.record({ kind: fc.constant("move" as const), pick: fc.nat(100), baseGfn: fc.nat(40).map(BigInt) }),
  fc.record({
    kind: fc.constant("store" as const),
    gfn: fc.nat(60).map(BigInt),
    value: fc.bigInt(1n, 1000n),
  }),
  fc.record({
    kind: fc.constant("drop" as const),
    page: fc.nat(60).map(BigInt),
    pages: fc.integer({ min: 1, max: 4 }).map(BigInt),
  }),
);

test("memslots, guest stores and invalidations agree with a list of slots over a list of pages", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), fc.constantFrom(0, 1), (steps, profile) => {
      const machine = new KvmMachine({ profile, slots: 5, frames: 512 });
      const area = machine.map(AREA * PAGE, { actor: machine.host });
      const slots: ModelSlot[] = [];
      const memory = new Map<bigint, bigint>();
      const set = (next: ModelSlot) => {
        const expected = update(slots, next, 5);
        expect(machine.setSlot(next.id, next.baseGfn, next.npages, next.hva, next.flags)).toBe(expected);
      };
      for (const s of steps) {
        if (s.kind === "set")
          set({ id: s.id, baseGfn: s.baseGfn, npages: s.npages, hva: area + s.page * PAGE, flags: s.flags });
        else if (s.kind === "move") {
          const slot = slots[s.pick % Math.max(slots.length, 1)];
          if (slot) set({ ...slot, baseGfn: s.baseGfn });
        } else if (s.kind === "store") {
          const slot = slots.find(({ baseGfn, npages }) => s.gfn >= baseGfn && s.gfn < baseGfn + npages);
          const outcome = machine.guestStore(s.gfn * PAGE, s.value);
          const page = slot ? (slot.hva - area) / PAGE + s.gfn - slot.baseGfn : 0n;
          if (!slot || slot.flags & SlotFlag.ReadOnly) expect(outcome).toBe(Outcome.Mmio);
          else if (page >= AREA) expect(outcome).toBe(Outcome.HostFault);
          else {
            expect(outcome).toBe(Outcome.Ok);
            memory.set(page, s.value);
          }
        } else {
          const pages = s.page + s.pages > AREA ? AREA - s.page : s.pages;
          machine.dontneed(area + s.page * PAGE, pages * PAGE, machine.host);
          for (let i = 0n; i < pages; i++) memory.delete(s.page + i);
        }
      }
      expect(machine.slots).toEqual(
        [...slots]
          .sort((a, b) => (a.baseGfn < b.baseGfn ? -1 : 1))
          .map(({ id, baseGfn, npages, hva, flags }) => ({ id, baseGfn, npages, hva, flags })),
      );
      for (const { baseGfn, npages, hva } of slots) {
        for (let i = 0n; i < npages; i++) {
          const page = (hva - area) / PAGE + i;
          if (page >= AREA) continue;
          expect(machine.guestLoad((baseGfn + i) * PAGE)).toEqual({
            outcome: Outcome.Ok,
            value: memory.get(page) ?? 0n,
          });
          // Every leaf is what the host maps there.
          expect(machine.leafPfn(baseGfn + i)).toBe(machine.pfnOf(area + page * PAGE));
        }
      }
      expect(machine.u32("kvmGeneration") % 2).toBe(0);
      expect(machine.quiesce()).toEqual(QUIET);
    }),
    { numRuns: 150 },
  );
});

test("32,768 slots: added in any order, found, invalidated, deleted", () => {
  const count = 32_768;
  const machine = new KvmMachine({ slots: count, frames: 4096, vmas: 4 });
  const hva = machine.map(BigInt(count) * PAGE, { actor: machine.host });
  // An odd multiplier visits every slot once, far from any order.
  const nth = (i: number) => BigInt((i * 20_021) % count);
  for (let i = 0; i < count; i++) {
    const at = nth(i);
    const status = machine.setSlot(i, at * 2n, 1n, hva + (BigInt(count) - 1n - at) * PAGE);
    if (status !== 0) expect.fail(`slot ${i}: status ${status}`);
  }
  expect(machine.setSlot(count, 1n << 30n, 1n, hva)).toBe(SlotStatus.Full);
  for (let i = 0; i < count; i += 1021) {
    expect(machine.guestStore(BigInt(i) * 2n * PAGE, BigInt(i) + 1n)).toBe(Outcome.Ok);
    expect(machine.guestLoad((BigInt(i) * 2n + 1n) * PAGE).outcome).toBe(Outcome.Mmio);
    expect(machine.load(hva + BigInt(count - 1 - i) * PAGE)).toBe(BigInt(i) + 1n);
  }
  machine.dontneed(hva, BigInt(count) * PAGE, machine.host);
  expect(machine.leaves).toBe(0);
  for (let i = 0; i < 8; i++) expect(machine.deleteSlot(i * 4099)).toBe(SlotStatus.Ok);
  expect(machine.u32("kvmSlotCount")).toBe(count - 8);
  expect(machine.quiesce()).toEqual(QUIET);
});
