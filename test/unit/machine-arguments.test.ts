// What is refused before the machine sees it: misspelt names, values of another type; and in which words.
import { describe, expect, test } from "vitest";
import {
  encodeAccess,
  encodeValueAccess,
  gva,
  Machine,
  ruleRow,
  type GuestMmuErrorCode,
  type MmioHandler,
} from "../../src/index.js";
import { machineInLongMode, machineWithSlot, MIB, PAGE, refused } from "./machine-fixture.js";

type Use = (given: never) => unknown;

/** Each value refused by each call, and nothing of it done. */
function refuseAll(
  uses: readonly Use[],
  values: readonly unknown[],
  code: GuestMmuErrorCode = "USAGE",
): void {
  for (const use of uses) for (const value of values) refused(code, () => use(value as never));
}

const NO_OBJECT = [null, 5, "x", true, [], new Uint8Array(1)];

describe("options", () => {
  test("with a name that none has are refused, and nothing is done", () => {
    const { machine, hva, vcpu, tables } = machineInLongMode();
    const spec = { gpa: 64 * MIB, hva, length: PAGE };
    const before = machine.mm.list();
    const misspelt: [string, () => unknown][] = [
      ["readOnly", () => machine.memslots.add({ ...spec, readOnly: true } as never)],
      ["foo", () => machine.mm.mmap(PAGE, { foo: 1 } as never)],
      ["size", () => machine.guestTables({ at: 0, size: PAGE } as never)],
      ["writeable", () => tables.map({ gva: 0, gpa: 0, length: PAGE, writeable: false } as never)],
      ["gva", () => tables.mapIdentity(PAGE, { gva: 0 } as never)],
      ["sideeffects", () => vcpu.translate(0, { sideeffects: true } as never)],
      ["value", () => vcpu.runRecords(new Uint8Array(0), { value: [] } as never)],
      ["value", () => vcpu.runAccesses(new Uint8Array(0), { value: [] } as never)],
      ["hostthread", () => Machine.attach(machine.memory, machine.module, { hostthread: 0 } as never)],
    ];
    for (const [name, use] of misspelt) expect(refused("USAGE", use).message).toContain(`"${name}"`);
    expect(machine.memslots.count).toBe(1);
    expect(machine.mm.list()).toEqual(before);
    const bytes = machine.save();
    for (const use of [
      () => Machine.restore(bytes, { frames: 64 } as never),
      () => machine.clone({ module: "release" } as never),
      () => machine.clone({ labImports: { notes: () => {} } } as never),
      () => Machine.create({ labImports: { choose: 5 } } as never),
      () => Machine.attach(machine.memory, machine.module, { labImports: null } as never),
    ])
      refused("CONFIG_INVALID", use);
  });

  test("that are no object are refused", () => {
    const { machine, vcpu, tables } = machineInLongMode();
    const { memory, module } = machine;
    refuseAll(
      [
        (o) => machine.mm.mmap(PAGE, o),
        (o) => machine.memslots.add(o),
        (o) => machine.guestTables(o),
        (o) => tables.map(o),
        (o) => tables.mapIdentity(PAGE, o),
        (o) => vcpu.translate(0, o),
        (o) => vcpu.runRecords(new Uint8Array(0), o),
        (o) => encodeValueAccess(new Uint8Array(32), 0, o),
        (o) => Machine.attach(memory, module, o),
      ],
      NO_OBJECT,
    );
    refuseAll(
      [(o) => machine.memslots.add(o), (o) => machine.guestTables(o), (o) => tables.map(o)],
      [undefined],
    );
    const bytes = machine.save();
    refuseAll(
      [(o) => Machine.create(o), (o) => Machine.restore(bytes, o), (o) => machine.clone(o)],
      NO_OBJECT,
      "CONFIG_INVALID",
    );
  });

  test("have values of their type", () => {
    const { machine, vcpu, hva, tables } = machineInLongMode({ module: "lab", frames: 512 });
    const spec = { gpa: 64 * MIB, hva, length: PAGE };
    refuseAll(
      [
        (readonly) => machine.memslots.add({ ...spec, readonly }),
        (readonly) => machine.memslots.setReadonly(0, readonly),
        (writable) => tables.map({ gva: 0, gpa: 0, length: PAGE, writable }),
        (user) => tables.mapIdentity(PAGE, { user }),
        (sideEffects) => vcpu.translate(0, { sideEffects }),
      ],
      [1, "true", null],
    );
    refuseAll(
      [
        (extent) => vcpu.flushTlb(extent),
        (access) => machine.mm.populate(hva, PAGE, access),
        (access) => machine.lab!.beginFault(0, 0, access),
        (kind) => vcpu.translate(0, { access: kind }),
        (name) => vcpu.get(name),
        (name) => ruleRow(name),
      ],
      ["some", "toString", 1, null, Symbol("x"), Object.create(null)],
    );
  });
});

describe("arguments of another type", () => {
  test("are refused, not met by a TypeError", () => {
    const { machine, vcpu, hva } = machineWithSlot();
    const bytes = [undefined, null, 5, "abc", [0n], new BigUint64Array(2), new ArrayBuffer(16)];
    refuseAll(
      [
        (b) => vcpu.runRecords(b),
        (b) => vcpu.runAccesses(b),
        (b) => encodeAccess(b, 0, 0, 64, "read"),
        (b) => encodeValueAccess(b, 0, { gva: 0, kind: "read" }),
        (b) => machine.mm.write(hva, b),
        (b) => machine.guestMemory.write(0, b),
      ],
      bytes,
    );
    const words = [null, 5, [0n], new Uint8Array(8)];
    refuseAll(
      [
        (w) => vcpu.translateMany(w),
        (w) => vcpu.translateMany(new BigUint64Array(1), w),
        (w) => vcpu.runRecords(new Uint8Array(0), { values: w }),
      ],
      words,
    );
    refuseAll([(i) => encodeAccess(new Uint8Array(32), i, 0, 64, "read")], [-1, 2, 0.5, "0", undefined]);
    refuseAll([(i) => encodeAccess(new Uint8Array(15), i, 0, 64, "read")], [0]);
    refuseAll([(t) => vcpu.enterLongMode(t)], [undefined, null, {}, 5]);
    refused("USAGE", () => (encodeAccess as () => void)());
  });

  test("a handler of MMIO is refused at once, and told by name", () => {
    const { vcpu } = machineWithSlot();
    refuseAll([(h) => vcpu.onMmio(h)], [undefined, 5, "x", {}, [], { read: () => 0 }, { read: 1, write: 2 }]);
    expect(
      refused("USAGE", () => vcpu.onMmio({ read: () => 0 } as unknown as MmioHandler)).message,
    ).toContain("without write()");
    expect(vcpu.read(1 << 30).kind).toBe("mmio");
  });

  test("what a handler answers has to be an integer", () => {
    const { vcpu } = machineWithSlot();
    for (const answer of [undefined, null, 1.5, "x", "7", true, NaN, 2 ** 60, {}, Promise.resolve(1)]) {
      vcpu.onMmio({ read: () => answer as number, write: () => {} });
      expect(refused("USAGE", () => vcpu.read(1 << 30, 32)).message).toMatch(
        /handler's read of 4 bytes at gpa 0x40000000 returned/,
      );
    }
  });
});

describe("messages", () => {
  test("quote strings, and name the type that is wanted", () => {
    const { machine, vcpu } = machineWithSlot();
    const said = (use: () => unknown): string => {
      try {
        use();
      } catch (error) {
        return (error as Error).message;
      }
      return "nothing";
    };
    expect(said(() => vcpu.read("0x1000" as never))).toMatch(
      /^"0x1000" is not a guest-virtual .* bigint or a number/,
    );
    expect(said(() => machine.vcpu("0" as never))).toMatch(
      /^vcpu is "0": .* a number, an integer from 0 to 0/,
    );
    expect(said(() => vcpu.read(0, "8" as never))).toMatch(
      /^The width is "8": .* the numbers 8, 16, 32 and 64/,
    );
    expect(said(() => vcpu.write(0, "1" as never))).toMatch(/^The value is "1": .* bigint or a number/);
    expect(said(() => machine.memslots.delete("0" as never))).toMatch(/^"0" is not the id .* numbers 0 to/);
    expect(said(() => machine.mm.mmap("4096" as never))).toMatch(/^"4096" is not a length/);
    expect(said(() => vcpu.translate(0, { access: "run" as never }))).toContain('"run"');
    expect(said(() => gva(Object.create(null) as never))).toMatch(/^an object is not/);
  });
});
