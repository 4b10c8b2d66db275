import { describe, expect, test } from "vitest";
import { GuestMmuError } from "../../src/errors.js";
import { type MmioHandler } from "../../src/index.js";
import { machineInLongMode, machineWithSlot, MIB, PAGE } from "./machine-fixture.js";

const DEVICE = 0x1000_0000;

/** A device that is plain memory of bytes, and tells what was asked of it. */
function device(): MmioHandler & { log: string[]; bytes: Map<bigint, number> } {
  const log: string[] = [];
  const bytes = new Map<bigint, number>();
  return {
    log,
    bytes,
    read(gpa, size) {
      log.push(`read ${gpa.toString(16)}+${size}`);
      let value = 0n;
      for (let i = 0; i < size; i++) value |= BigInt(bytes.get(gpa + BigInt(i)) ?? 0) << BigInt(8 * i);
      return value;
    },
    write(gpa, size, value) {
      log.push(`write ${gpa.toString(16)}+${size}=${value.toString(16)}`);
      for (let i = 0; i < size; i++) bytes.set(gpa + BigInt(i), Number((value >> BigInt(8 * i)) & 0xffn));
    },
  };
}

describe("without a handler", () => {
  test("an address without a slot is a result", () => {
    const { vcpu } = machineWithSlot();
    expect(vcpu.read(DEVICE + 4, 32)).toEqual({
      kind: "mmio",
      gpa: BigInt(DEVICE + 4),
      access: "read",
      size: 4,
      target: "data",
    });
    expect(vcpu.write(DEVICE, 1, 8)).toMatchObject({ access: "write", size: 1 });
    expect(vcpu.exchange(DEVICE, 1)).toMatchObject({ access: "modify", size: 8 });
    expect(vcpu.fetch(DEVICE, 16)).toMatchObject({ access: "fetch", size: 2 });
  });

  test("of an access that crosses pages, the part that is MMIO", () => {
    const { vcpu } = machineWithSlot({}, MIB);
    expect(vcpu.read(MIB - 3)).toEqual({
      kind: "mmio",
      gpa: BigInt(MIB),
      access: "read",
      size: 5,
      target: "data",
    });
  });
});

describe("with a handler", () => {
  test.each([8, 16, 32, 64] as const)("reads and writes of %s bits", (width) => {
    const { vcpu } = machineWithSlot();
    const d = device();
    vcpu.onMmio(d);
    const value = 0xf1e2d3c4b5a69788n & ((1n << BigInt(width)) - 1n);
    expect(vcpu.write(DEVICE + 8, value, width)).toEqual({ kind: "ok", value: 0n });
    expect(vcpu.read(DEVICE + 8, width)).toEqual({ kind: "ok", value });
    expect(d.log).toEqual([
      `write 10000008+${width / 8}=${value.toString(16)}`,
      `read 10000008+${width / 8}`,
    ]);
    vcpu.onMmio(null);
    expect(vcpu.read(DEVICE).kind).toBe("mmio");
  });

  test("what it answers is cut to the size", () => {
    const { vcpu } = machineWithSlot();
    vcpu.onMmio({ read: () => -1, write: () => {} });
    expect(vcpu.read(DEVICE, 16)).toEqual({ kind: "ok", value: 0xffffn });
  });

  test("read-modify-writes are a read and a write", () => {
    const { vcpu } = machineWithSlot();
    const d = device();
    vcpu.onMmio(d);
    vcpu.write(DEVICE, 40, 32);
    expect(vcpu.add(DEVICE, 2, 32)).toEqual({ kind: "ok", value: 40n });
    expect(vcpu.compareExchange(DEVICE, 1, 9, 32)).toEqual({ kind: "ok", value: 42n });
    expect(vcpu.compareExchange(DEVICE, 42, 9, 32)).toEqual({ kind: "ok", value: 42n });
    expect(vcpu.xor(DEVICE, 1, 32)).toEqual({ kind: "ok", value: 9n });
    expect(vcpu.or(DEVICE, 3, 32)).toEqual({ kind: "ok", value: 8n });
    expect(vcpu.and(DEVICE, 6, 32)).toEqual({ kind: "ok", value: 11n });
    expect(vcpu.exchange(DEVICE, 5, 32)).toEqual({ kind: "ok", value: 2n });
    expect(vcpu.add(DEVICE, -6, 32)).toEqual({ kind: "ok", value: 5n });
    expect(vcpu.read(DEVICE, 32)).toEqual({ kind: "ok", value: 0xffff_ffffn });
  });

  test("a read-only slot is read as memory, written to the handler, and both for a read-modify-write", () => {
    const { machine, vcpu } = machineWithSlot();
    machine.guestMemory.store(0x2000, 7);
    machine.memslots.setReadonly(0, true);
    const d = device();
    vcpu.onMmio(d);
    expect(vcpu.read(0x2000)).toEqual({ kind: "ok", value: 7n });
    expect(vcpu.write(0x2000, 9)).toEqual({ kind: "ok", value: 0n });
    expect(vcpu.add(0x2000, 1)).toEqual({ kind: "ok", value: 7n });
    expect(d.log).toEqual(["write 2000+8=9", "write 2000+8=8"]);
    expect(machine.guestMemory.load(0x2000)).toBe(7n);
  });

  test("an access across the end of memory is made in two parts", () => {
    const { machine, vcpu } = machineWithSlot({}, MIB);
    const d = device();
    vcpu.onMmio(d);
    const value = 0x8877665544332211n;
    expect(vcpu.write(MIB - 3, value)).toEqual({ kind: "ok", value: 0n });
    expect(machine.guestMemory.read(MIB - 3, 3)).toEqual(Uint8Array.of(0x11, 0x22, 0x33));
    expect(d.log).toEqual([`write ${MIB.toString(16)}+5=8877665544`]);
    expect(vcpu.read(MIB - 3)).toEqual({ kind: "ok", value });
    expect(vcpu.read(MIB - 3, 16)).toEqual({ kind: "ok", value: 0x2211n });
  });

  test("an access between two pages of devices, and from a device to memory", () => {
    const { machine, vcpu, tables } = machineInLongMode();
    const d = device();
    vcpu.onMmio(d);
    tables.map({ gva: 0x400000, gpa: DEVICE, length: PAGE });
    tables.map({ gva: 0x401000, gpa: DEVICE + 0x5000, length: PAGE });
    tables.map({ gva: 0x402000, gpa: 0x200000, length: PAGE });
    vcpu.write(0x400fff, 0x4433_2211, 32);
    expect(d.log).toEqual(["write 10000fff+1=11", "write 10005000+3=443322"]);
    vcpu.write(0x401ffe, 0x4433_2211, 32);
    expect(machine.guestMemory.load(0x200000, 16)).toBe(0x4433n);
    expect(vcpu.read(0x401ffe, 32)).toEqual({ kind: "ok", value: 0x4433_2211n });
  });

  test("a fault in the second page comes before anything moves in the first", () => {
    const { vcpu, tables } = machineInLongMode();
    const d = device();
    vcpu.onMmio(d);
    tables.map({ gva: 0x400000, gpa: DEVICE, length: PAGE });
    expect(vcpu.write(0x400ffc, -1n)).toMatchObject({ kind: "page-fault", gva: 0x401000n });
    tables.map({ gva: 0x401000, gpa: 0x200000, length: PAGE, writable: false });
    expect(vcpu.write(0x400ffc, -1n)).toMatchObject({ kind: "page-fault", gva: 0x401000n });
    expect(d.log).toEqual([]);
  });

  test("page tables cannot lie in a device, and code is not fetched from one", () => {
    const { vcpu } = machineInLongMode();
    const d = device();
    vcpu.onMmio(d);
    expect(vcpu.fetch(DEVICE).kind).toBe("page-fault");
    vcpu.set("cr3", DEVICE);
    expect(vcpu.read(0x1000)).toMatchObject({ kind: "mmio", target: "table", gpa: BigInt(DEVICE) });
    expect(vcpu.write(0x1000, 1)).toMatchObject({ kind: "mmio", target: "table" });
    expect(d.log).toEqual([]);
  });

  test("it may use the machine itself, and its errors come through", () => {
    const { machine, vcpu } = machineWithSlot();
    vcpu.onMmio({
      read: (gpa) => {
        vcpu.read(0x7000);
        machine.memslots.add({ gpa: 64 * MIB, hva: machine.mm.mmap(PAGE), length: PAGE });
        return gpa;
      },
      write: () => {
        throw new GuestMmuError("USAGE", { hint: "No." });
      },
    });
    expect(vcpu.read(DEVICE)).toEqual({ kind: "ok", value: BigInt(DEVICE) });
    expect(machine.memslots.count).toBe(2);
    expect(() => vcpu.write(DEVICE, 1)).toThrow(GuestMmuError);
    expect(vcpu.read(0).kind).toBe("ok");
  });
});
