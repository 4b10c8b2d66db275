import { describe, expect, test } from "vitest";
import { Machine } from "../../src/index.js";
import { expectBalanced, machineWithSlot, MIB, PAGE, refused } from "./machine-fixture.js";

function empty(slots = 8): { machine: Machine; hva: bigint } {
  const machine = Machine.create({ frames: 512, slots });
  return { machine, hva: machine.mm.mmap(16 * MIB) };
}

describe("add", () => {
  test("gives the lowest free id, lists in order of address, finds by address", () => {
    const { machine, hva } = empty();
    const { memslots } = machine;
    const high = memslots.add({ gpa: 4 * MIB, hva: hva + BigInt(MIB), length: MIB });
    const low = memslots.add({ gpa: 0, hva, length: MIB, readonly: true });
    expect([high.id, low.id]).toEqual([0, 1]);
    expect(memslots.list()).toEqual([low, high]);
    expect([...memslots]).toEqual([low, high]);
    expect(memslots.count).toBe(2);
    expect(memslots.get(1)).toEqual({ id: 1, gpa: 0n, hva, length: BigInt(MIB), readonly: true });
    expect(memslots.get(5)).toBeNull();
    for (const [gpa, slot] of [
      [0, low],
      [MIB - 1, low],
      [MIB, null],
      [4 * MIB, high],
      [5 * MIB, null],
    ] as const) {
      expect(memslots.find(gpa)).toEqual(slot);
    }
  });

  test("a generation passes with every change", () => {
    const { machine, hva } = empty();
    const before = machine.memslots.generation;
    machine.memslots.add({ gpa: 0, hva, length: PAGE });
    expect(machine.memslots.generation).toBe(before + 2);
    machine.memslots.delete(0);
    expect(machine.memslots.generation).toBeGreaterThan(before + 2);
  });

  test("refuses an overlap and names the other slot", () => {
    const { machine, hva } = empty();
    machine.memslots.add({ gpa: MIB, hva, length: MIB });
    for (const [gpa, length] of [
      [MIB, PAGE],
      [2 * MIB - PAGE, MIB],
      [0, MIB + PAGE],
      [0, 4 * MIB],
    ] as const) {
      expect(refused("SLOT_OVERLAP", () => machine.memslots.add({ gpa, hva, length })).message).toContain(
        "memslot 0",
      );
    }
    machine.memslots.add({ gpa: 0, hva, length: MIB });
    machine.memslots.add({ gpa: 2 * MIB, hva, length: MIB });
    expect(machine.memslots.count).toBe(3);
  });

  test("refuses what KVM refuses", () => {
    const { machine, hva } = empty();
    const add = (spec: object) => () => machine.memslots.add({ gpa: 0, hva, length: PAGE, ...spec });
    refused("ADDRESS_UNALIGNED", add({ gpa: 1 }));
    refused("ADDRESS_UNALIGNED", add({ hva: hva + 1n }));
    refused("ADDRESS_UNALIGNED", add({ length: 0 }));
    refused("ADDRESS_UNALIGNED", add({ length: 100 }));
    refused("ADDRESS_RANGE", add({ gpa: 1n << 46n }));
    refused("ADDRESS_RANGE", add({ gpa: (1n << 46n) - 4096n, length: 2 * PAGE }));
    refused("ADDRESS_RANGE", add({ gpa: -1 }));
    refused("ADDRESS_RANGE", add({ hva: 1n << 47n }));
    refused("ADDRESS_RANGE", add({ hva: (1n << 47n) - 4096n }));
    refused("SLOT_INVALID", add({ length: 1n << 43n }));
    refused("SLOT_INVALID", add({ id: 8 }));
    refused("SLOT_INVALID", add({ id: -1 }));
    refused("SLOT_INVALID", add({ id: 0.5 }));
    expect(machine.memslots.count).toBe(0);
    add({ id: 3 })();
    refused("SLOT_INVALID", add({ id: 3, gpa: MIB }));
  });

  test("says when the slots are used up", () => {
    const { machine, hva } = empty(3);
    for (let i = 0; i < 3; i++) machine.memslots.add({ gpa: i * MIB, hva, length: PAGE });
    refused("LIMIT_REACHED", () => machine.memslots.add({ gpa: 8 * MIB, hva, length: PAGE }));
    machine.memslots.delete(1);
    expect(machine.memslots.add({ gpa: 8 * MIB, hva, length: PAGE }).id).toBe(1);
  });

  test("32,768 slots", () => {
    const { machine, hva } = empty(32768);
    // Descending, so that every one is inserted in front.
    for (let i = 299; i >= 0; i--)
      machine.memslots.add({ id: 32767 - i, gpa: i * 2 * PAGE, hva, length: PAGE });
    expect(machine.memslots.find(2 * PAGE * 255)!.id).toBe(32767 - 255);
    expect(machine.memslots.find(2 * PAGE * 255 + PAGE)).toBeNull();
  });
});

describe("changes", () => {
  test("after delete the guest's memory is gone, and what it held stays with the VMM", () => {
    const { machine, vcpu, hva } = machineWithSlot();
    vcpu.write(0x3000, 9);
    machine.memslots.delete(0);
    expect(machine.secondaryCounts().leaves).toBe(0n);
    expect(vcpu.read(0x3000)).toMatchObject({
      kind: "mmio",
      gpa: 0x3000n,
      access: "read",
      size: 8,
      target: "data",
    });
    expect(machine.mm.load(hva + 0x3000n)).toBe(9n);
    machine.memslots.add({ gpa: 0, hva, length: 8 * MIB });
    expect(vcpu.read(0x3000)).toEqual({ kind: "ok", value: 9n });
    expectBalanced(machine);
  });

  test("a moved slot takes its memory along", () => {
    const { machine, vcpu } = machineWithSlot();
    vcpu.write(0x3000, 9);
    expect(machine.memslots.move(0, 64 * MIB)).toMatchObject({ gpa: BigInt(64 * MIB), id: 0 });
    expect(vcpu.read(0x3000).kind).toBe("mmio");
    expect(vcpu.read(64 * MIB + 0x3000)).toEqual({ kind: "ok", value: 9n });
    expectBalanced(machine);
  });

  test("a read-only slot is read as memory and written as MMIO", () => {
    const { machine, vcpu } = machineWithSlot();
    vcpu.write(0x3000, 9);
    expect(machine.memslots.setReadonly(0, true).readonly).toBe(true);
    expect(machine.memslots.setReadonly(0, true).readonly).toBe(true);
    expect(vcpu.read(0x3000)).toEqual({ kind: "ok", value: 9n });
    expect(vcpu.write(0x3000, 1, 32)).toMatchObject({ kind: "mmio", access: "write", size: 4 });
    expect(vcpu.add(0x3000, 1)).toMatchObject({ kind: "mmio", access: "modify" });
    machine.memslots.setReadonly(0, false);
    expect(vcpu.write(0x3000, 1).kind).toBe("ok");
    expectBalanced(machine);
  });

  test("refuses unknown slots and moves onto others", () => {
    const { machine, hva } = empty();
    machine.memslots.add({ gpa: 0, hva, length: MIB });
    machine.memslots.add({ gpa: MIB, hva, length: MIB });
    refused("SLOT_INVALID", () => machine.memslots.delete(5));
    refused("SLOT_INVALID", () => machine.memslots.delete(99));
    refused("SLOT_INVALID", () => machine.memslots.move(5, 0));
    refused("SLOT_INVALID", () => machine.memslots.setReadonly(5, true));
    refused("SLOT_OVERLAP", () => machine.memslots.move(0, MIB + PAGE));
    refused("ADDRESS_UNALIGNED", () => machine.memslots.move(0, 7));
    expect(machine.memslots.move(0, PAGE * 1024).gpa).toBe(BigInt(4 * MIB));
  });
});

describe("guest memory from outside", () => {
  test("reads and writes across slots that touch", () => {
    const { machine, hva } = empty();
    machine.memslots.add({ gpa: 0, hva: hva + BigInt(MIB), length: PAGE });
    machine.memslots.add({ gpa: PAGE, hva, length: PAGE, readonly: true });
    const bytes = Uint8Array.from({ length: 100 }, (_, i) => i + 1);
    machine.guestMemory.write(PAGE - 50, bytes);
    expect(machine.guestMemory.read(PAGE - 50, 100)).toEqual(bytes);
    expect(machine.mm.load(hva, 8)).toBe(51n);
    expect(machine.guestMemory.hvaOf(PAGE + 8)).toBe(hva + 8n);
    machine.guestMemory.store(8, -2, 16);
    expect(machine.guestMemory.load(8, 32)).toBe(0xfffen);
    refused("SLOT_INVALID", () => machine.guestMemory.read(2 * PAGE, 1));
    refused("SLOT_INVALID", () => machine.guestMemory.read(2 * PAGE - 1, 2));
    refused("SLOT_INVALID", () => machine.guestMemory.write(2 * PAGE - 1, new Uint8Array(2)));
    refused("SLOT_INVALID", () => machine.guestMemory.load(2 * PAGE - 4));
    refused("USAGE", () => machine.guestMemory.read(0, 0.5));
    machine.memslots.delete(0);
    refused("SLOT_INVALID", () => machine.guestMemory.load(0));
  });
});
