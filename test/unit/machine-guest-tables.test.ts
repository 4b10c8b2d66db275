import { describe, expect, test } from "vitest";
import { machineInLongMode, machineWithSlot, MIB, PAGE, refused } from "./machine-fixture.js";

describe("guest tables", () => {
  test("map pages of every size; the guest reads what the VMM wrote", () => {
    const { machine, vcpu, tables } = machineInLongMode({ frames: 8192 }, 2 ** 31);
    tables.map({ gva: 0x400000, gpa: 0x300000, length: 2 * PAGE });
    tables.map({ gva: 0x8000_0000, gpa: 0x400000, length: 4 * MIB, pageSize: "2m" });
    tables.map({ gva: 0xffff_8000_0000_0000n, gpa: 0x4000_0000, length: 2 ** 30, pageSize: "1g" });
    for (const [gva, gpa, shift] of [
      [0x401008n, 0x301008, 12],
      [0x8020_0010n, 0x600010, 12],
      [0xffff_8000_1234_5678n, 0x5234_5678, 12],
    ] as const) {
      machine.guestMemory.store(gpa, gva);
      expect(vcpu.read(gva)).toEqual({ kind: "ok", value: gva });
      expect(vcpu.translate(gva).result).toMatchObject({ kind: "ok", gpa: BigInt(gpa), pageShift: shift });
    }
    expect(tables.size).toBe(BigInt(6 * PAGE));
  });

  test("identity", () => {
    const { machine, vcpu, tables } = machineInLongMode();
    tables.mapIdentity(8 * MIB, { pageSize: "2m", user: true });
    machine.guestMemory.store(0x123450, 77);
    vcpu.set("cpl", 3);
    expect(vcpu.read(0x123450)).toEqual({ kind: "ok", value: 77n });
  });

  test("attributes", () => {
    const { tables } = machineInLongMode();
    const at = { gva: 0, gpa: 0x200000, length: PAGE };
    const entry = (attributes: object): bigint => (
      tables.map({ ...at, ...attributes }),
      tables.entry(0)! - 0x200000n
    );
    expect(entry({})).toBe(0x3n);
    expect(entry({ writable: false })).toBe(0x1n);
    expect(entry({ user: true })).toBe(0x7n);
    expect(entry({ executable: false })).toBe((1n << 63n) + 3n);
    expect(entry({ global: true })).toBe(0x103n);
    expect(entry({ key: 5 })).toBe((5n << 59n) + 3n);
    expect(entry({ touched: true })).toBe(0x63n);
    expect(entry({ touched: true, writable: false })).toBe(0x21n);
    expect(tables.entry(0, "2m")! & 0xfffn).toBe(0x7n);
    expect(tables.entry(1n << 40n)).toBeNull();
  });

  test("smaller pages replace a larger one, and unmap takes away", () => {
    const { vcpu, tables } = machineInLongMode();
    tables.map({ gva: 0, gpa: 0x200000, length: 2 * MIB, pageSize: "2m" });
    tables.map({ gva: 0, gpa: 0x300000, length: PAGE });
    expect(vcpu.read(0).kind).toBe("ok");
    expect(vcpu.read(PAGE).kind).toBe("page-fault");
    tables.unmap(0, PAGE);
    tables.unmap(1n << 40n, PAGE); // nothing there
    vcpu.invlpg(0);
    expect(vcpu.read(0).kind).toBe("page-fault");
  });

  test("refuses what cannot be mapped", () => {
    const { machine, tables } = machineInLongMode({ page1GB: false });
    const map = (mapping: object) => () => tables.map({ gva: 0, gpa: 0, length: PAGE, ...mapping });
    refused("ADDRESS_UNALIGNED", map({ gva: 1 }));
    refused("ADDRESS_UNALIGNED", map({ gpa: 1 }));
    refused("ADDRESS_UNALIGNED", map({ length: 1 }));
    refused("ADDRESS_UNALIGNED", map({ length: 2 * MIB, gva: PAGE, pageSize: "2m" }));
    refused("ADDRESS_RANGE", map({ gva: 1n << 47n }));
    refused("ADDRESS_RANGE", map({ gva: (1n << 47n) - 4096n, length: 2 * PAGE }));
    refused("ADDRESS_RANGE", map({ gva: 0xffff_ffff_ffff_f000n, length: 2 * PAGE }));
    refused("ADDRESS_RANGE", map({ gpa: 1n << 46n }));
    refused("USAGE", map({ pageSize: "4m" }));
    refused("USAGE", map({ key: 16 }));
    refused("UNSUPPORTED", map({ pageSize: "1g", length: 2 ** 30 }));
    map({ gva: 0xffff_ffff_ffff_f000n })();
    refused("ADDRESS_UNALIGNED", () => machine.guestTables({ at: 1 }));
    refused("SLOT_INVALID", () => machine.guestTables({ at: 1 << 30 }));
  });

  test("says when the tables have no room left", () => {
    const { machine } = machineWithSlot();
    const tables = machine.guestTables({ at: 0, length: 3 * PAGE });
    refused("LIMIT_REACHED", () => tables.map({ gva: 0, gpa: 0, length: PAGE }));
  });
});
