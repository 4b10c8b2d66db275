import { describe, expect, test } from "vitest";
import { Note } from "../../src/core/layout.generated.js";
import { Machine } from "../../src/index.js";
import { machineWithSlot, MIB, PAGE, refused } from "./machine-fixture.js";

const labMachine = () => machineWithSlot({ module: "lab", frames: 128, vcpus: 2 }, MIB);

describe("machine.lab", () => {
  test("is there on a lab module only", () => {
    expect(Machine.create({ frames: 64 }).lab).toBeNull();
    expect(Machine.create({ frames: 64, module: "lab" }).lab).not.toBeNull();
  });

  test("a fault in three steps does what an access does", () => {
    const { machine, hva } = labMachine();
    const fault = machine.lab!.beginFault(0, 0x3000, "write");
    fault.snapshot();
    expect(fault.resolve()).toBe("continue");
    expect(machine.mm.mapping(hva + 0x3000n)!.refcount).toBe(2);
    expect(fault.commit()).toBe("fixed");
    fault.end();
    const page = machine.mm.mapping(hva + 0x3000n)!;
    expect(page.refcount).toBe(1);
    expect(machine.secondaryLeaf(0x3000)).toMatchObject({ pfn: page.pfn, writable: true, huge: false });
    const again = machine.lab!.beginFault(1, 0x3000, "write");
    again.snapshot();
    again.resolve();
    expect(again.commit()).toBe("spurious");
    again.end();
  });

  test("says where a fault leads otherwise", () => {
    const { machine, hva } = labMachine();
    const resolve = (gpa: number): string => {
      const fault = machine.lab!.beginFault(0, gpa, "write");
      fault.snapshot();
      const step = fault.resolve();
      fault.end();
      return step;
    };
    expect(resolve(2 * MIB)).toBe("mmio");
    machine.mm.munmap(hva, PAGE);
    expect(resolve(0)).toBe("host-fault");
  });

  test("keeps the steps in order", () => {
    const { machine } = labMachine();
    const fault = machine.lab!.beginFault(0, 0);
    refused("USAGE", () => fault.commit());
    fault.snapshot();
    fault.resolve();
    refused("USAGE", () => fault.resolve());
    refused("USAGE", () => fault.end());
    fault.commit();
    refused("USAGE", () => fault.snapshot());
    refused("USAGE", () => fault.commit());
    fault.end();
    refused("USAGE", () => fault.end());
    refused("USAGE", () => machine.lab!.beginFault(2, 0));
    const another = machine.lab!.beginFault(0, 0);
    refused("USAGE", () => machine.lab!.beginFault(0, 0));
    machine.lab!.beginFault(1, 0).end();
    another.end();
  });

  test("counts invalidations", () => {
    const { machine, hva } = labMachine();
    const { lab } = machine;
    const before = lab!.invalidateSeq;
    const a = lab!.invalidateStart(hva, PAGE);
    const b = lab!.invalidateStart(hva, 4 * PAGE);
    expect(lab!.invalidateInProgress).toBe(2);
    a.end();
    refused("USAGE", () => a.end());
    b.end();
    expect([lab!.invalidateInProgress, lab!.invalidateSeq]).toEqual([0, before + 2]);
    refused("ADDRESS_UNALIGNED", () => lab!.invalidateStart(hva + 1n, PAGE));
    refused("ADDRESS_UNALIGNED", () => lab!.invalidateStart(hva, 0));
  });

  test("refuses what would wait for it on the same thread", () => {
    const { machine, vcpu, hva } = labMachine();
    const invalidation = machine.lab!.invalidateStart(hva, PAGE);
    refused("MACHINE_BUSY", () => vcpu.read(0));
    refused("MACHINE_BUSY", () => vcpu.translate(0));
    refused("MACHINE_BUSY", () => machine.memslots.delete(0));
    refused("MACHINE_BUSY", () => machine.memslots.move(0, MIB));
    refused("MACHINE_BUSY", () => machine.secondaryCounts());
    invalidation.end();
    const fault = machine.lab!.beginFault(1, 0);
    refused("MACHINE_BUSY", () => vcpu.write(0, 1));
    refused("MACHINE_BUSY", () => machine.memslots.add({ gpa: MIB, hva, length: PAGE }));
    fault.end();
    expect(vcpu.write(0, 1).kind).toBe("ok");
    machine.memslots.delete(0);
  });

  test("tells its host of orderings and notes", () => {
    const seen = { order: 0, note: [] as number[] };
    const labImports = {
      order: () => void seen.order++,
      note: (kind: number) => void seen.note.push(kind & 0xff),
    };
    const { machine, hva, vcpu } = machineWithSlot({ module: "lab", frames: 128, labImports }, MIB);
    vcpu.write(0, 1);
    expect(seen.order).toBeGreaterThan(0);
    machine.mm.madviseDontneed(hva, PAGE);
    // Of an invalidation: that it starts, that it has started, that it ends.
    const { NotifyStart, NotifyStarted, NotifyEnd } = Note;
    const notified = new Set<number>([NotifyStart, NotifyStarted, NotifyEnd]);
    expect(seen.note.filter((kind) => notified.has(kind))).toEqual([NotifyStart, NotifyStarted, NotifyEnd]);
  });
});
