// Frames: references, compound pages, poison, the ready stacks of the actors, running out.
import { expect, test } from "vitest";
import { HostMachine, MachineOption, PAGE, Trap } from "../host-machine.js";

const alloc = (m: HostMachine, actor = 0): number => m.u32("hostAllocPage", actor);
const block = (m: HostMachine, order: number, actor = 0): number => m.u32("hostAllocBlock", actor, order);

/** Free blocks by order, after everything has been merged. */
function blocks(m: HostMachine): number[] {
  m.raw["hostDrain"]!(0);
  return Array.from({ length: 11 }, (_, order) => m.u32("hostFreeBlocks", 0, order));
}

test("a fresh machine has every frame but the null frame, in the largest blocks", () => {
  const m = new HostMachine({ frames: 4096 });
  expect(m.free).toBe(4094); // less the top host table
  expect(blocks(m).at(-1)).toBe(3);
  expect(m.imbalance).toBe(0);
});

test("a page lives from its first reference to its last", () => {
  const m = new HostMachine();
  const pfn = alloc(m);
  const free = m.free;
  expect([m.refcount(pfn), m.epoch(pfn)]).toEqual([1, 0]);
  m.raw["hostGetPage"]!(0, pfn);
  m.put(pfn);
  expect([m.refcount(pfn), m.epoch(pfn), m.free]).toEqual([1, 0, free]);
  m.put(pfn);
  expect([m.refcount(pfn), m.epoch(pfn), m.free]).toEqual([0, 1, free + 1]);
  expect(m.imbalance).toBe(0);
});

test("one put too many is a trap, not a frame handed out twice", () => {
  const m = new HostMachine();
  const pfn = alloc(m);
  m.put(pfn);
  expect(() => m.put(pfn)).toThrow();
  expect(m.trap).toBe(Trap.RefcountUnderflow);
});

test("a get of a free page is a trap", () => {
  const m = new HostMachine();
  const pfn = alloc(m);
  m.put(pfn);
  expect(() => m.raw["hostGetPage"]!(0, pfn)).toThrow();
  expect(m.trap).toBe(Trap.GetOfFreePage);
});

test("a compound page has one count, on its head, whichever page is named", () => {
  const m = new HostMachine({ frames: 2048 });
  const pfn = block(m, 9);
  expect(pfn % 512).toBe(0);
  expect(m.u32("hostHead", pfn + 511)).toBe(pfn);
  m.raw["hostGetPage"]!(0, pfn + 17);
  expect([m.refcount(pfn), m.refcount(pfn + 17)]).toEqual([2, 0]);
  m.put(pfn + 3);
  m.put(pfn + 400);
  expect([m.refcount(pfn), m.epoch(pfn), m.epoch(pfn + 511)]).toEqual([0, 1, 1]);
  expect(m.u32("hostHead", pfn + 511)).toBe(pfn + 511);
  expect(m.imbalance).toBe(0);
});

test("frames that rest with one actor are found by another before it reports that none is free", () => {
  const m = new HostMachine({ frames: 300, vcpus: 3 });
  const all = m.free;
  const held = Array.from({ length: all }, () => alloc(m, 0));
  expect(held).not.toContain(0);
  expect([alloc(m, 0), alloc(m, 1)]).toEqual([0, 0]);
  // They now rest on the ready stack of actor 1, in part in the zone.
  for (const pfn of held) m.put(pfn, 1);
  expect(m.free).toBe(all);
  const again = Array.from({ length: all }, (_, i) => alloc(m, i % 2 ? 0 : 2));
  expect(new Set(again).size).toBe(all);
  expect(again).not.toContain(0);
  for (const pfn of again) m.put(pfn, 2);
  expect([m.free, m.imbalance]).toEqual([all, 0]);
});

test("ready frames of all actors merge again when a block is wanted", () => {
  const m = new HostMachine({ frames: 1024, vcpus: 2 });
  const held = Array.from({ length: m.free }, () => alloc(m, 0));
  expect(block(m, 9)).toBe(0);
  held.forEach((pfn, i) => m.put(pfn, i % 3));
  const pfn = block(m, 9);
  expect(pfn).toBe(512);
  m.put(pfn);
  expect(m.imbalance).toBe(0);
});

test("poison: a store to a free frame is found when the frame is handed out", () => {
  const m = new HostMachine({ options: MachineOption.Poison });
  const pfn = alloc(m);
  const frame = m.u32("hostFrame", pfn);
  m.put(pfn);
  expect(m.view.getUint8(frame + 4095)).toBe(0xaa);
  expect(alloc(m)).toBe(pfn);
  m.put(pfn);
  m.view.setUint8(frame + 1000, 1);
  expect(() => alloc(m)).toThrow();
  expect(m.trap).toBe(Trap.PoisonOverwritten);
});

test("poison: every frame of a compound page is filled and verified", () => {
  const m = new HostMachine({ frames: 1024, options: MachineOption.Poison });
  const pfn = block(m, 9);
  m.put(pfn);
  expect(block(m, 9)).toBe(pfn);
  m.put(pfn);
  m.view.setUint8(m.u32("hostFrame", pfn + 300), 1);
  expect(() => block(m, 9)).toThrow();
  expect(m.trap).toBe(Trap.PoisonOverwritten);
});

test("all frames used up, then freed again: nothing is lost and a fault says why it failed", () => {
  const m = new HostMachine({ frames: 200, vcpus: 2 });
  const all = m.free;
  const hva = m.map(400n * PAGE);
  expect(m.touch(hva, 400n * PAGE)).toBe(3); // OutOfFrames
  expect(m.free).toBe(0);
  expect(m.gup(hva + 399n * PAGE).status).toBe(3);
  expect(m.imbalance).toBe(0);
  for (let round = 0; round < 3; round++) {
    expect(m.dontneed(hva, 400n * PAGE, 2)).toBe(0);
    expect(m.touch(hva, 190n * PAGE, true, round & 1)).toBe(0);
  }
  expect(m.unmap(hva, 400n * PAGE)).toBe(0);
  expect([m.free, m.imbalance]).toEqual([all, 0]);
});
