import { describe, expect, test } from "vitest";
import { gunzipSync, gzipSync } from "node:zlib";
import * as layout from "../../src/core/layout.generated.js";
import { Checksum } from "../../src/machine/checksum.js";
import { Machine } from "../../src/index.js";
import { expectBalanced, machineInLongMode, machineWithSlot, MIB, PAGE, refused } from "./machine-fixture.js";

function busyGuest() {
  const fixture = machineInLongMode({ vcpus: 2, poison: true, profile: "v5.4" });
  fixture.tables.map({ gva: 0x400000, gpa: 0x200000, length: 64 * PAGE });
  for (let i = 0; i < 64; i++) fixture.vcpu.write(0x400000 + i * PAGE, i + 1);
  return fixture;
}

function expectSameGuest(machine: Machine): void {
  const vcpu = machine.vcpu(0);
  for (let i = 0; i < 64; i++)
    expect(vcpu.read(0x400000 + i * PAGE)).toEqual({ kind: "ok", value: BigInt(i + 1) });
  expect(machine.memslots.count).toBe(1);
}

describe("save and restore", () => {
  test("bring everything back, registers and TLB too", () => {
    const { machine, vcpu } = busyGuest();
    const restored = Machine.restore(machine.save());
    expect(restored.configuration).toEqual(machine.configuration);
    expect(restored.vcpu(0).get("cr3")).toBe(vcpu.get("cr3"));
    expect(restored.vcpu(0).tlb()).toEqual(vcpu.tlb());
    expect(restored.statistics()).toEqual(machine.statistics());
    expectSameGuest(restored);
    expectBalanced(restored);
    expectBalanced(machine);
  });

  test("what was saved, restored and saved again is the same bytes", () => {
    const { machine } = busyGuest();
    const bytes = machine.save();
    expect(Machine.restore(bytes).save()).toEqual(bytes);
  });

  test("a large machine that is nearly empty is small, and compresses", () => {
    const { machine } = machineWithSlot({ frames: 100_000 }, 1 << 30);
    machine.vcpu().write(0, 1);
    const bytes = machine.save();
    // Struct pages of the free blocks' heads take a page for each 4 MiB at most two.
    expect(bytes.length).toBeLessThan(machine.size / 50);
    const packed = gzipSync(bytes);
    expect(packed.length).toBeLessThan(bytes.length / 5);
    expect(
      Machine.restore(new Uint8Array(gunzipSync(packed)))
        .vcpu()
        .read(0),
    ).toEqual({ kind: "ok", value: 1n });
  });

  test("into a memory of the embedder's, and from a view of a larger buffer", () => {
    const { machine } = busyGuest();
    const bytes = machine.save();
    const inside = new Uint8Array(bytes.length + 7);
    inside.set(bytes, 7);
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
    const restored = Machine.restore(inside.subarray(7), { memory });
    expect(restored.memory).toBe(memory);
    expectSameGuest(restored);
  });

  test("a machine without some rule needs a lab module again", () => {
    const { machine } = machineWithSlot({ module: "lab", rulesOff: ["SeqChecked"], frames: 128 }, MIB);
    const bytes = machine.save();
    refused("CONFIG_INVALID", () => Machine.restore(bytes));
    expect(Machine.restore(bytes, { module: "lab" }).configuration.rulesOff).toEqual(["SeqChecked"]);
  });
});

describe("refused input", () => {
  const { machine } = machineWithSlot({ frames: 64, batchSize: PAGE }, 64 * PAGE);
  const bytes = machine.save();

  test("cut off anywhere", () => {
    for (const length of [0, 7, 31, 32, 100, 5000, bytes.length - 1]) {
      refused("SAVE_INVALID", () => Machine.restore(bytes.subarray(0, length)));
    }
    const longer = new Uint8Array(bytes.length + 1);
    longer.set(bytes);
    refused("SAVE_INVALID", () => Machine.restore(longer));
  });

  test("changed anywhere", () => {
    for (let at = 0; at < bytes.length; at += 97) {
      const damaged = bytes.slice();
      damaged[at]! ^= 0x10;
      refused("SAVE_INVALID", () => Machine.restore(damaged));
    }
  });

  test("of another version, and says so", () => {
    for (const at of [8, 12]) {
      const other = bytes.slice();
      other[at]! += 1;
      expect(refused("SAVE_INVALID", () => Machine.restore(other)).message).toContain("version");
    }
  });

  test("well-formed and sealed anew, but contradicting itself", () => {
    // Each of these has a right checksum.
    const seal = (change: (bytes: Uint8Array, view: DataView) => void): Uint8Array => {
      const changed = bytes.slice();
      const view = new DataView(changed.buffer);
      change(changed, view);
      const checksum = new Checksum();
      checksum.update(changed.subarray(0, changed.length - 4));
      view.setUint32(changed.length - 4, checksum.digest(), true);
      return changed;
    };
    expect(Machine.restore(seal(() => {})).memslots.count).toBe(1);
    const bitmap = 32;
    refused("SAVE_INVALID", () => Machine.restore(seal((b) => (b[bitmap]! ^= 0x10))));
    refused("SAVE_INVALID", () => Machine.restore(seal((b) => (b[bitmap]! ^= 0x03))));
    const bitmapSize = (Math.ceil(machine.size / PAGE / 8) + 15) & ~15;
    const header = bitmap + bitmapSize;
    // Each word of the configuration, and each region base that follows from it.
    const words = Object.entries(layout).filter(([name]) =>
      /^HEADER_OFFSET_(?!RULES|ABI_VERSION)/.test(name),
    );
    expect(words.length).toBeGreaterThan(20);
    for (const [, offset] of words) {
      const at = header + (offset as number) - layout.HEADER_BASE;
      const changed = seal((_, view) => view.setUint32(at, view.getUint32(at, true) ^ 0xc000_0000, true));
      refused("SAVE_INVALID", () => Machine.restore(changed));
    }
  });

  test("that is no Uint8Array", () => {
    for (const input of [null, undefined, "x", [1], new ArrayBuffer(8)]) {
      refused("SAVE_INVALID", () => Machine.restore(input as unknown as Uint8Array));
    }
  });
});

describe("a machine that is not at rest", () => {
  test("with an open invalidation or fault is not saved, cloned or unloaded", () => {
    const { machine, hva } = machineWithSlot({ module: "lab", frames: 128 }, MIB);
    const invalidation = machine.lab!.invalidateStart(hva, PAGE);
    for (const what of ["save", "clone", "unloadGuest"] as const)
      refused("MACHINE_BUSY", () => machine[what]());
    invalidation.end();
    const fault = machine.lab!.beginFault(0, 0);
    expect(refused("MACHINE_BUSY", () => machine.save()).message).toContain("vCPU 0");
    fault.end();
    machine.save();
  });

  test.each([
    ["mmu_lock", layout.KVM_MMU_LOCK],
    ["mmap_lock", layout.MM_BASE + layout.MM_MMAP_LOCK],
  ])("nor one whose %s is held", (name, address) => {
    const { machine } = machineWithSlot({ frames: 64 }, PAGE);
    const words = new Uint32Array(machine.memory.buffer);
    words[address / 4] = 1;
    expect(refused("MACHINE_BUSY", () => machine.save()).message).toContain(name);
    words[address / 4] = 0;
  });
});

describe("clone", () => {
  test("is a machine of its own", () => {
    const { machine, vcpu } = busyGuest();
    const copy = machine.clone();
    vcpu.write(0x400000, 99);
    machine.memslots.delete(0);
    expectSameGuest(copy);
    machine.dispose();
    copy.vcpu(0).write(0x400000, 5);
    expect(copy.vcpu(0).read(0x400000)).toEqual({ kind: "ok", value: 5n });
    expectBalanced(copy);
  });

  test("goes into a memory that is given", () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
    const { machine } = busyGuest();
    expect(machine.clone({ memory }).memory).toBe(memory);
    refused("CONFIG_INVALID", () => machine.clone({ memory }));
  });
});

describe("the checksum is XXH32", () => {
  // From the specification's own sanity checks and widely published values.
  const text = (s: string): Uint8Array => new TextEncoder().encode(s);
  test.each([
    ["", 0, 0x02cc5d05],
    ["a", 0, 0x550d7456],
    ["abc", 0, 0x32d153ff],
    ["Nobody inspects the spammish repetition", 0, 0xe2293b2f],
  ])("of %o", (s, seed, expected) => {
    const checksum = new Checksum(seed);
    checksum.update(text(s));
    expect(checksum.digest()).toBe(expected);
  });

  test("in pieces", () => {
    const checksum = new Checksum();
    checksum.update(text("Nobody inspects "));
    checksum.update(text("the spammish repetition"));
    expect(checksum.digest()).toBe(0xe2293b2f);
  });
});
