// Guest memory as KVM uses it, through the API: copies, mappings of vCPUs, pfn caches.
import { describe, expect, test } from "vitest";
import { Machine, type ProfileName } from "../../src/index.js";
import { machineWithSlot, MIB, PAGE, refused } from "./machine-fixture.js";

const PROFILES: readonly ProfileName[] = ["v5.3", "v5.4", "v6.13", "v6.15"];

describe.each(PROFILES)("a mapping of a vCPU, %s", (profile) => {
  test("is read and written where the page is, by KVM and by hardware", () => {
    const { machine, hva, vcpu } = machineWithSlot({ profile });
    const mapping = vcpu.map(0x3008);
    expect(mapping).toMatchObject({ gpa: 0x3000n, readonly: false, mapped: true });
    expect(mapping.pfn).toBe(machine.mm.mapping(hva + 0x3000n)!.pfn);
    mapping.write(8, -1, 16);
    mapping.hardwareWrite(16, 7);
    expect(mapping.read(8)).toBe(0xffffn);
    expect(machine.mm.load(hva + 0x3010n)).toBe(7n);
    const held = machine.mm.mapping(hva + 0x3000n)!.refcount;
    mapping.unmap();
    expect(mapping.mapped).toBe(false);
    expect(held - machine.mm.mapping(hva + 0x3000n)!.refcount).toBe(profile < "v6" ? 1 : 1024);
    for (const use of [() => mapping.read(0), () => mapping.write(0, 1), () => mapping.unmap()])
      refused("USAGE", use);
  });

  test("does not follow the host: the guest's page is another one afterwards", () => {
    const { machine, hva, vcpu } = machineWithSlot({ profile });
    const mapping = vcpu.map(0);
    machine.mm.madviseDontneed(hva, PAGE);
    mapping.write(0, 5);
    expect(machine.mm.load(hva)).toBe(0n);
    expect(mapping.read(0)).toBe(5n);
    mapping.unmap();
  });
});

test("mappings are refused in words, and end with unloadGuest", () => {
  const { machine, vcpu } = machineWithSlot({}, MIB);
  const rom = machine.mm.mmap(PAGE);
  machine.memslots.add({ gpa: 2 * MIB, hva: rom, length: PAGE, readonly: true });
  const gone = machine.mm.mmap(PAGE);
  machine.memslots.add({ gpa: 3 * MIB, hva: gone, length: PAGE });
  machine.mm.munmap(gone, PAGE);
  refused("SLOT_INVALID", () => vcpu.map(MIB));
  refused("SLOT_INVALID", () => vcpu.map(2 * MIB));
  refused("VMA_INVALID", () => vcpu.map(3 * MIB));
  refused("USAGE", () => vcpu.map(0, { readOnly: true } as never));
  const readonly = vcpu.map(2 * MIB, { readonly: true });
  expect(readonly.read(0)).toBe(0n);
  refused("SLOT_INVALID", () => readonly.write(0, 1));
  refused("ADDRESS_RANGE", () => readonly.read(4089));
  refused("USAGE", () => readonly.read(4096));
  vcpu.map(0);
  vcpu.map(0, { unsafe: true });
  vcpu.map(PAGE);
  refused("LIMIT_REACHED", () => vcpu.map(PAGE));
  machine.unloadGuest();
  expect(readonly.mapped).toBe(false);
  refused("USAGE", () => readonly.read(0));
});

test("frames may run out under a mapping", () => {
  const { vcpu, machine } = machineWithSlot({ frames: 64 }, MIB);
  refused("FRAMES_EXHAUSTED", () => {
    for (let page = 0; page < 256; page++) vcpu.map(page * PAGE).unmap();
  });
  machine.dispose();
});

describe("pfn caches", () => {
  test("find their page again after an invalidation and a change of the slots", () => {
    const { machine, hva } = machineWithSlot();
    const cache = machine.kvm.cache(0x2ff0, 16);
    expect(cache).toMatchObject({ index: 0, active: true, valid: true, gpa: 0x2ff0n });
    expect(cache.pfn).toBe(machine.mm.mapping(hva + 0x2000n)!.pfn);
    cache.write(8, 0xabcd, 32);
    expect(machine.mm.load(hva + 0x2ff8n, 32)).toBe(0xabcdn);
    machine.mm.madviseDontneed(hva + 0x2000n, PAGE);
    expect(cache).toMatchObject({ valid: false, pfn: null });
    expect(cache.read(8, 32)).toBe(0n);
    expect(cache.valid).toBe(true);
    machine.memslots.move(0, 16 * MIB);
    expect(cache.check()).toBe(false);
    refused("SLOT_INVALID", () => cache.read());
    machine.memslots.move(0, 0);
    cache.refresh();
    expect(cache.check(16)).toBe(true);
    expect(cache.check(17)).toBe(false);
    cache.activate(0x1000);
    cache.write(0, 3n);
    expect(machine.mm.load(hva + 0x1000n)).toBe(3n);
    cache.deactivate();
    expect(cache.active).toBe(false);
    refused("USAGE", () => cache.write(0, 1));
    refused("USAGE", () => cache.deactivate());
  });

  test("are shared by the views of a machine, and bounded", () => {
    const { machine } = machineWithSlot();
    const caches = Array.from({ length: 8 }, (_, i) => machine.kvm.cache(i * PAGE));
    refused("LIMIT_REACHED", () => machine.kvm.cache(0));
    caches[3]!.write(0, 33);
    expect(Machine.attach(machine.memory).kvm.caches[3]!.read()).toBe(33n);
    machine.unloadGuest();
    expect(caches.some((cache) => cache.active)).toBe(false);
  });

  test("refuse what leaves the page, and what would wait for this thread itself", () => {
    const { machine, hva } = machineWithSlot({ module: "lab" });
    refused("ADDRESS_RANGE", () => machine.kvm.cache(0xff9));
    const cache = machine.kvm.cache(0xff8);
    refused("ADDRESS_RANGE", () => cache.read(1));
    refused("USAGE", () => cache.read(4096));
    refused("USAGE", () => cache.check(0));
    const open = machine.lab!.invalidateStart(hva, PAGE);
    refused("MACHINE_BUSY", () => cache.read());
    open.end();
    expect(cache.read()).toBe(0n);
  });
});

describe("KVM's copies", () => {
  test("go across pages, slots and batches, and respect read-only slots", () => {
    const { machine, hva } = machineWithSlot({ batchSize: PAGE }, 8 * PAGE);
    const second = machine.mm.mmap(PAGE);
    machine.memslots.add({ gpa: 8 * PAGE, hva: second, length: PAGE });
    const bytes = Uint8Array.from({ length: 3 * PAGE }, (_, i) => i % 251);
    const at = 9 * PAGE - bytes.length;
    machine.kvm.write(at, bytes);
    expect(machine.kvm.read(at, bytes.length)).toEqual(bytes);
    expect(machine.guestMemory.read(at, bytes.length)).toEqual(bytes);
    expect(machine.mm.read(hva + BigInt(at), 16)).toEqual(bytes.slice(0, 16));
    machine.memslots.setReadonly(1, true);
    refused("SLOT_INVALID", () => machine.kvm.write(8 * PAGE, bytes.slice(0, 8)));
    expect(machine.kvm.read(8 * PAGE, 1)).toEqual(bytes.slice(2 * PAGE, 2 * PAGE + 1));
    refused("SLOT_INVALID", () => machine.kvm.read(9 * PAGE - 1, 2));
    refused("USAGE", () => machine.kvm.write(0, [1] as never));
  });
});

describe("prefetch", () => {
  test("is off unless asked for, and counted", () => {
    for (const prefetch of [0, 2, 4, 8]) {
      const { machine, hva, vcpu } = machineWithSlot({ prefetch, hugePages: false });
      expect(machine.configuration.prefetch).toBe(prefetch);
      machine.mm.populate(hva, 16 * PAGE);
      expect(vcpu.write(5 * PAGE, 1).kind).toBe("ok");
      expect(machine.secondaryCounts().leaves).toBe(BigInt(prefetch || 1));
      expect(machine.statistics().prefetched).toBe(BigInt(prefetch ? prefetch - 1 : 0));
      expect(Machine.attach(machine.memory).configuration.prefetch).toBe(prefetch);
    }
  });

  test.each([1, 3, 16, -1, 2.5, "8", true])("%j is refused", (prefetch) => {
    refused("CONFIG_INVALID", () => Machine.create({ prefetch: prefetch as number }));
  });

  test("needs EPT's accessed flags", () => {
    refused("CONFIG_INVALID", () => Machine.create({ prefetch: 8, eptAccessedDirty: false }));
    expect(Machine.create({ prefetch: 0, eptAccessedDirty: false }).configuration.prefetch).toBe(0);
  });
});
