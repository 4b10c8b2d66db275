import { describe, expect, test } from "vitest";
import {
  CR0_PG,
  CR4_PGE,
  CR4_SMEP,
  EPT_VIOLATION_READ,
  PFERR_ID,
  PFERR_P,
  PFERR_RSVD,
  PFERR_US,
  PFERR_WR,
} from "../../src/core/layout.generated.js";
import {
  ACCESS_RECORD_SIZE,
  describeFault,
  encodeAccess,
  encodeValueAccess,
  failureOf,
  pageFaultBits,
  valueOf,
  VALUE_RECORD_SIZE,
  type AccessKind,
  type RegisterName,
  type ValueAccess,
  type Vcpu,
  type Width,
} from "../../src/index.js";
import { expectBalanced, machineInLongMode, machineWithSlot, MIB, PAGE, refused } from "./machine-fixture.js";

const WIDTHS: readonly Width[] = [8, 16, 32, 64];
const ones = (width: number): bigint => (1n << BigInt(width)) - 1n;

describe("accesses", () => {
  test.each(WIDTHS)("%s bits, at every offset, across pages", (width) => {
    const { vcpu, machine } = machineWithSlot();
    const value = 0xf1e2d3c4b5a69788n & ones(width);
    for (const at of [0, 1, 2, 3, 7, PAGE - 8, PAGE - 5, PAGE - 1, 2 * PAGE - 3]) {
      expect(vcpu.write(at, value, width)).toEqual({ kind: "ok", value: 0n });
      expect(vcpu.read(at, width)).toEqual({ kind: "ok", value });
      expect(vcpu.fetch(at, width)).toEqual({ kind: "ok", value });
      expect(machine.guestMemory.load(at, width)).toBe(value);
    }
    expectBalanced(machine);
  });

  test.each(WIDTHS)("read-modify-writes of %s bits leave the old value in the result", (width) => {
    const { vcpu } = machineWithSlot();
    const mask = ones(width);
    const at = 0x1000 + 64;
    vcpu.write(at, -1, width);
    vcpu.write(at + 8, 0x77, 8);
    const steps: [() => ReturnType<Vcpu["add"]>, bigint, bigint][] = [
      [() => vcpu.add(at, 2, width), mask, 1n],
      [() => vcpu.or(at, 6, width), 1n, 7n],
      [() => vcpu.xor(at, 5, width), 7n, 2n],
      [() => vcpu.and(at, 3, width), 2n, 2n],
      [() => vcpu.exchange(at, -2, width), 2n, mask - 1n],
      [() => vcpu.compareExchange(at, 5, 9, width), mask - 1n, mask - 1n],
      [() => vcpu.compareExchange(at, -2, 9, width), mask - 1n, 9n],
    ];
    for (const [step, old, now] of steps) {
      expect(step()).toEqual({ kind: "ok", value: old });
      expect(vcpu.read(at, width)).toEqual({ kind: "ok", value: now });
    }
    expect(vcpu.read(at + 8, 8)).toEqual({ kind: "ok", value: 0x77n });
  });

  test("a locked access that is not aligned is #AC, and changes nothing", () => {
    const { vcpu } = machineWithSlot();
    expect(vcpu.add(0x1001, 1, 16)).toEqual({ kind: "alignment-check", gva: 0x1001n });
    expect(vcpu.add(PAGE - 4, 1, 64).kind).toBe("alignment-check");
    expect(vcpu.add(0x1001, 1, 8).kind).toBe("ok");
  });

  test("refuses values and widths that do not fit", () => {
    const { vcpu } = machineWithSlot();
    refused("USAGE", () => vcpu.write(0, 256, 8));
    refused("USAGE", () => vcpu.write(0, -129, 8));
    refused("USAGE", () => vcpu.write(0, 1.5));
    refused("USAGE", () => vcpu.write(0, 1n << 64n));
    refused("USAGE", () => vcpu.read(0, 128 as Width));
    refused("USAGE", () => vcpu.compareExchange(0, 256, 0, 8));
    refused("ADDRESS_RANGE", () => vcpu.read(-1));
    refused("ADDRESS_RANGE", () => vcpu.read(1n << 64n));
  });

  test("host memory that runs out is an error; afterwards the machine goes on", () => {
    const { machine, vcpu, hva } = machineWithSlot({ frames: 64 });
    expect(
      refused("FRAMES_EXHAUSTED", () => {
        for (let at = 0; ; at += PAGE) vcpu.write(at, 1);
      }).message,
    ).toContain("guest write");
    machine.mm.madviseDontneed(hva, 8 * MIB);
    expect(vcpu.write(0, 1).kind).toBe("ok");
    expectBalanced(machine);
  });

  test("a slot without a mapping behind it is a host fault", () => {
    const { machine, vcpu, hva } = machineWithSlot();
    machine.mm.munmap(hva + 4096n, PAGE);
    expect(vcpu.read(0x1008)).toEqual({ kind: "host-fault", gpa: 0x1008n });
    machine.mm.mprotect(hva, PAGE, "r");
    expect(vcpu.read(0).kind).toBe("ok");
    expect(vcpu.write(0, 1)).toEqual({ kind: "host-fault", gpa: 0n });
    expectBalanced(machine);
  });

  test("interrupt and resume", () => {
    const { vcpu } = machineWithSlot();
    vcpu.interrupt();
    expect(vcpu.read(0)).toEqual({ kind: "interrupted" });
    expect(vcpu.translate(0).result).toEqual({ kind: "interrupted" });
    expect(vcpu.translateMany(new BigUint64Array(2))).toBe(0);
    vcpu.resume();
    expect(vcpu.read(0).kind).toBe("ok");
    vcpu.interrupt();
    expect(vcpu.write(0, 1)).toEqual({ kind: "interrupted" });
    vcpu.resume();
    expect(vcpu.read(0)).toEqual({ kind: "ok", value: 0n });
  });
});

describe("faults of a guest", () => {
  function guest() {
    const fixture = machineInLongMode();
    const { tables } = fixture;
    tables.map({ gva: 0x400000, gpa: 0x200000, length: PAGE });
    tables.map({ gva: 0x401000, gpa: 0x201000, length: PAGE, writable: false, user: true });
    tables.map({ gva: 0x402000, gpa: 0x202000, length: PAGE, executable: false });
    return fixture;
  }

  test("are results with the processor's error code, and CR2", () => {
    const { vcpu } = guest();
    expect(vcpu.read(0x400000).kind).toBe("ok");
    expect(vcpu.write(0x401008, 1)).toEqual({
      kind: "page-fault",
      errorCode: PFERR_P | PFERR_WR,
      gva: 0x401008n,
    });
    expect(vcpu.get("cr2")).toBe(0x401008n);
    expect(vcpu.read(0x500000)).toEqual({ kind: "page-fault", errorCode: 0, gva: 0x500000n });
    expect(vcpu.fetch(0x402000)).toEqual({
      kind: "page-fault",
      errorCode: PFERR_P | PFERR_ID,
      gva: 0x402000n,
    });
    expect(vcpu.add(0x401000, 1)).toMatchObject({ kind: "page-fault", errorCode: PFERR_P | PFERR_WR });
    expect(vcpu.read(1n << 47n)).toEqual({ kind: "general-protection", gva: 1n << 47n });
    vcpu.set("cpl", 3);
    expect(vcpu.read(0x400000)).toMatchObject({ errorCode: PFERR_P | PFERR_US });
    expect(vcpu.read(0x401000).kind).toBe("ok");
    expect(vcpu.get("cr2")).toBe(0x400000n);
  });

  test("an access that crosses into a page that faults leaves the first page as it was", () => {
    const { vcpu } = guest();
    vcpu.write(0x400ff8, 0x1111_1111_1111_1111n);
    expect(vcpu.write(0x400ffc, -1n)).toMatchObject({ kind: "page-fault", gva: 0x401000n });
    expect(vcpu.read(0x400ff8)).toEqual({ kind: "ok", value: 0x1111_1111_1111_1111n });
    expect(vcpu.read(0x402ffc)).toMatchObject({ kind: "page-fault", gva: 0x403000n });
  });

  test("XD is reserved without EFER.NXE", () => {
    const { vcpu } = guest();
    vcpu.set("efer", vcpu.get("efer") & ~0x800n);
    const fault = vcpu.read(0x402000);
    expect(fault).toMatchObject({ kind: "page-fault", errorCode: PFERR_P | PFERR_RSVD });
    expect(pageFaultBits(PFERR_P | PFERR_RSVD)).toEqual({
      present: true,
      write: false,
      user: false,
      reserved: true,
      fetch: false,
      protectionKey: false,
    });
  });

  test("valueOf turns a fault into an error that says which", () => {
    const { vcpu } = guest();
    expect(valueOf(vcpu.read(0x400000))).toBe(0n);
    const fault = vcpu.read(0x500000);
    expect(refused("ACCESS_FAULTED", () => valueOf(fault)).message).toContain("#PF at gva 0x500000");
  });

  test("each kind of fault has words", () => {
    const at = {
      gva: 1n,
      gpa: 2n,
      hpa: 3n,
      errorCode: 0,
      qualification: 0,
      exitInfo1: 0n,
      access: "read",
      size: 1,
      target: "data",
    };
    const kinds = [
      ...["page-fault", "general-protection", "stack-fault", "alignment-check", "mmio", "host-fault"],
      ...["ept-violation", "ept-misconfiguration", "missing", "interrupted"],
      ...["nested-page-fault", "pml-full"],
    ];
    const words = kinds.map((kind) => describeFault({ ...at, kind } as never));
    expect(new Set(words).size).toBe(kinds.length);
  });
});

describe("registers", () => {
  test("are those after INIT at first, EPT aside", () => {
    const { vcpu } = machineWithSlot();
    const names: RegisterName[] = [
      "cr0",
      "cr2",
      "cr3",
      "cr4",
      "efer",
      "rflags",
      "cpl",
      "pkru",
      "pkrs",
      "vpid",
    ];
    expect(names.map((name) => vcpu.get(name))).toEqual([0x11n, 0n, 0n, 0n, 0n, 2n, 0n, 0n, 0n, 0n]);
    vcpu.read(0);
    expect(vcpu.get("eptp") & 0xfffn).toBe(0x5en);
  });

  test("a write draws #GP(0) where a processor's would", () => {
    const { vcpu } = machineInLongMode();
    expect(vcpu.set("cr4", 1n << 30n)).toEqual({ kind: "general-protection" });
    expect(vcpu.set("cr4", 0)).toEqual({ kind: "general-protection" });
    expect(vcpu.set("cr3", 1n << 50n)).toEqual({ kind: "general-protection" });
    expect(vcpu.set("cpl", 4)).toEqual({ kind: "general-protection" });
    expect(vcpu.set("cr0", 0x11)).toEqual({ kind: "ok" });
    expect(vcpu.set("efer", 0)).toEqual({ kind: "ok" });
    expect(vcpu.set("cr0", CR0_PG | 1n)).toEqual({ kind: "unsupported" });
    expect(vcpu.set("cr2", 0xdead_beefn)).toEqual({ kind: "ok" });
    expect(vcpu.get("cr2")).toBe(0xdead_beefn);
  });

  test("the EPT pointer is KVM's, and unknown names are refused", () => {
    const { vcpu } = machineWithSlot();
    refused("USAGE", () => vcpu.set("eptp" as "cr0", 0));
    refused("USAGE", () => vcpu.set("cr8" as "cr0", 0));
    refused("USAGE", () => vcpu.get("toString" as "cr0"));
    refused("USAGE", () => vcpu.set("cr0", 1n << 64n));
  });

  test("long mode twice is fine, with bits kept; tables that cannot be are refused", () => {
    const { vcpu, tables, machine } = machineInLongMode();
    vcpu.set("cr4", vcpu.get("cr4") | CR4_SMEP | CR4_PGE);
    vcpu.enterLongMode(tables);
    expect(vcpu.get("cr4") & CR4_SMEP).toBe(CR4_SMEP);
    vcpu.set("cr3", 0);
    refused("USAGE", () => vcpu.enterLongMode({ longModeRegisters: () => [["cr3", 1n << 60n]] } as never));
    expect(machine.disposed).toBe(false);
  });
});

describe("translate", () => {
  test("shows 24 entries of a walk in two dimensions, and changes nothing", () => {
    const { vcpu, tables, machine } = machineInLongMode();
    tables.map({ gva: 0x400000, gpa: 0x200000, length: PAGE, executable: false });
    vcpu.write(0x400000, 1);
    // Fresh tables: what has been read by no walk has no accessed flag.
    tables.map({ gva: 0x400000, gpa: 0x200000, length: PAGE, executable: false });
    vcpu.flushTlb();
    const before = machine.save();
    const { result, steps } = vcpu.translate(0x400123);
    expect(result).toMatchObject({ kind: "ok", gpa: 0x200123n, pageShift: 12 });
    expect(result.kind === "ok" && Number(result.hpa) >> 12).toBe(machine.secondaryLeaf(0x200000)!.pfn);
    expect(steps.map(({ dimension, level }) => `${dimension[0]}${level}`).join(" ")).toBe(
      "n4 n3 n2 n1 g4 n4 n3 n2 n1 g3 n4 n3 n2 n1 g2 n4 n3 n2 n1 g1 n4 n3 n2 n1",
    );
    const guest = steps.filter(({ dimension }) => dimension === "guest");
    expect(guest.map(({ index }) => index)).toEqual([0, 0, 2, 0]);
    expect(guest[0]!.table).toBe(tables.root);
    expect(guest[3]!.flags).toEqual(["P", "RW", "XD"]);
    expect(guest[3]!.entry).toBe(tables.entry(0x400000));
    expect(steps.at(-1)!.flags).toEqual(expect.arrayContaining(["R", "W", "X"]));
    // The walk record itself is all that may differ: it lies in the vCPU's block.
    const [a, b] = [machine.save(), before].map((bytes) => bytes.length);
    expect(a).toBe(b);
    expect(tables.entry(0x400000)! & 0x60n).toBe(0n);
    expect(vcpu.tlb().used).toBe(0);
  });

  test("with side effects, flags and pages are as after the access", () => {
    const { vcpu, tables, machine } = machineInLongMode();
    tables.map({ gva: 0x400000, gpa: 0x200000, length: PAGE });
    expect(vcpu.translate(0x400000).result).toMatchObject({
      kind: "ept-violation",
      qualification: expect.any(Number),
    });
    expect(vcpu.translate(0x400000, { sideEffects: true }).result.kind).toBe("ok");
    expect(tables.entry(0x400000)! & 0x60n).toBe(0x20n);
    const write = vcpu.translate(0x400000, { access: "write", sideEffects: true });
    expect(write.result).toMatchObject({ kind: "ok", gpa: 0x200000n });
    expect(tables.entry(0x400000)! & 0x60n).toBe(0x60n);
    expect(machine.guestMemory.load(0x200000)).toBe(0n);
    expect(vcpu.tlb().used).toBeGreaterThan(0);
  });

  test("a vCPU without paging has EPT alone, from its first translation on", () => {
    const { vcpu } = machineWithSlot();
    expect(vcpu.translate(0x5000).result).toEqual({
      kind: "ept-violation",
      gpa: 0x5000n,
      qualification: expect.toSatisfy((q: number) => (q & EPT_VIOLATION_READ) !== 0),
    });
    expect(vcpu.translate(0x5000, { sideEffects: true }).steps).toHaveLength(4);
  });

  test("ends where the walk ends", () => {
    const { vcpu, tables } = machineInLongMode();
    tables.map({ gva: 0x400000, gpa: 0x200000, length: PAGE, writable: false });
    tables.map({ gva: 0x600000, gpa: 0x1000_0000, length: PAGE });
    vcpu.set("cr3", tables.root);
    for (const sideEffects of [false, true]) {
      const write = vcpu.translate(0x400000, { access: "write", sideEffects: true });
      expect(write.result).toMatchObject({ kind: "page-fault", errorCode: PFERR_P | PFERR_WR });
      expect(vcpu.translate(1n << 47n, { sideEffects }).result.kind).toBe("general-protection");
    }
    expect(vcpu.translate(0x600000, { sideEffects: true }).result).toMatchObject({
      kind: "mmio",
      gpa: 0x1000_0000n,
    });
    refused("USAGE", () => vcpu.translate(0, { access: "execute" as "fetch" }));
  });

  test("many at once, in place or not, more than a batch buffer holds", () => {
    const { vcpu, tables, machine } = machineInLongMode({ batchSize: 4096, frames: 4096 });
    tables.map({ gva: 0x400000, gpa: 0x400000, length: 600 * PAGE });
    const addresses = BigUint64Array.from({ length: 600 }, (_, i) => BigInt(0x400000 + i * PAGE + i));
    addresses[5] = 1n << 47n;
    addresses[590] = 0x10_0000n;
    const results = new BigUint64Array(601);
    expect(vcpu.translateMany(addresses, results, "write")).toBe(598);
    expect(failureOf(results[5]!)).toEqual({ kind: "general-protection", error: 0 });
    expect(failureOf(results[590]!)).toEqual({ kind: "page-fault", error: PFERR_WR });
    for (const i of [0, 1, 4, 599]) {
      expect(failureOf(results[i]!)).toBeNull();
      expect(Number(results[i]! >> 12n)).toBe(machine.secondaryLeaf(0x400000 + i * PAGE)!.pfn);
      expect(results[i]! & 0xfffn).toBe(addresses[i]! & 0xfffn);
    }
    const inPlace = addresses.slice();
    expect(vcpu.translateMany(inPlace)).toBe(598);
    expect(inPlace[0]).toBe(results[0]);
    refused("USAGE", () => vcpu.translateMany(addresses, new BigUint64Array(3)));
    expectBalanced(machine);
  });
});

describe("batches of accesses", () => {
  function records(
    list: readonly (readonly [at: number | bigint, width: Width, kind: AccessKind])[],
  ): Uint8Array {
    const bytes = new Uint8Array(list.length * ACCESS_RECORD_SIZE);
    list.forEach(([at, width, kind], i) => encodeAccess(bytes, i, at, width, kind));
    return bytes;
  }

  test("run in order, more than a buffer holds, and bring values", () => {
    const { vcpu } = machineWithSlot({ batchSize: 4096 });
    for (let i = 0; i < 1000; i++) vcpu.write(i * 8, i);
    const list = Array.from({ length: 1000 }, (_, i) => [i * 8, 64, "read"] as const);
    const values = new BigUint64Array(1000);
    expect(vcpu.runRecords(records(list), { values })).toEqual({ done: 1000, fault: null });
    expect(values).toEqual(BigUint64Array.from({ length: 1000 }, (_, i) => BigInt(i)));
    expect(
      vcpu.runRecords(
        records([
          [0, 64, "modify"],
          [0, 64, "modify"],
        ]),
      ),
    ).toEqual({ done: 2, fault: null });
    expect(vcpu.read(0)).toEqual({ kind: "ok", value: 2n });
    const mixed = records([
      [8, 64, "write"],
      [0, 64, "modify"],
      [0, 64, "read"],
    ]);
    const found = BigUint64Array.of(99n, 99n, 99n);
    vcpu.runRecords(mixed, { values: found });
    expect([...found]).toEqual([99n, 2n, 3n]);
    expect(vcpu.runRecords(new Uint8Array(0))).toEqual({ done: 0, fault: null });
  });

  test("stop at the first fault", () => {
    const { vcpu } = machineWithSlot({ batchSize: 4096 });
    const list = Array.from({ length: 700 }, () => [64, 32, "write"] as [number | bigint, Width, AccessKind]);
    list[600] = [1 << 30, 16, "read"];
    expect(vcpu.runRecords(records(list))).toEqual({
      done: 600,
      fault: { kind: "mmio", gpa: 1n << 30n, access: "read", size: 2, target: "data" },
    });
  });

  test("hand MMIO to the handler and go on", () => {
    const { vcpu } = machineWithSlot();
    const seen: string[] = [];
    vcpu.onMmio({
      read: (gpa, size) => (seen.push(`r${gpa}/${size}`), 0xabn),
      write: (gpa, size) => void seen.push(`w${gpa}/${size}`),
    });
    const device = 1 << 30;
    const list = [
      [0, 64, "write"],
      [device, 32, "read"],
      [device + 8, 8, "write"],
      [device, 16, "modify"],
      [0, 8, "read"],
    ] as const;
    const values = new BigUint64Array(5);
    expect(vcpu.runRecords(records(list), { values })).toEqual({ done: 5, fault: null });
    expect(seen).toEqual([`r${device}/4`, `w${device + 8}/1`, `r${device}/2`, `w${device}/2`]);
    expect([values[1], values[3]]).toEqual([0xabn, 0xabn]);
  });

  test("refuse records that are none", () => {
    const { vcpu } = machineWithSlot();
    const good = records([[0, 64, "read"]]);
    refused("USAGE", () => vcpu.runRecords(good.subarray(1)));
    refused("USAGE", () => vcpu.runRecords(good.fill(0)));
    refused("USAGE", () => vcpu.runRecords(good.fill(0xff)));
    refused("USAGE", () => vcpu.runRecords(records([[1, 64, "modify"]])));
    refused("USAGE", () => vcpu.runRecords(records([[0, 64, "read"]]), { values: new BigUint64Array(0) }));
    refused("USAGE", () => encodeAccess(new Uint8Array(16), 0, 0, 64, "swap" as "read"));
    // Not at the start of its buffer.
    const inside = new Uint8Array(40);
    inside.set(records([[0, 64, "read"]]), 24);
    expect(vcpu.runRecords(inside.subarray(24)).done).toBe(1);
  });
});

describe("batches of accesses with values", () => {
  function records(list: readonly ValueAccess[]): Uint8Array {
    const bytes = new Uint8Array(list.length * VALUE_RECORD_SIZE);
    list.forEach((access, i) => encodeValueAccess(bytes, i, access));
    return bytes;
  }

  test.each(WIDTHS)("%s bits: writes carry data, every operation is there, values come back", (width) => {
    const { vcpu } = machineWithSlot();
    const mask = ones(width);
    const gva = 0x1000 + 64;
    const at = { gva, width };
    const list: ValueAccess[] = [
      { ...at, kind: "write", value: -1 },
      { ...at, kind: "add", value: 2 },
      { ...at, kind: "or", value: 6 },
      { ...at, kind: "xor", value: 5 },
      { ...at, kind: "and", value: 3 },
      { ...at, kind: "exchange", value: -2 },
      { ...at, kind: "compareExchange", expected: 5, value: 9 },
      { ...at, kind: "compareExchange", expected: -2, value: 9 },
      { ...at, kind: "read" },
      { ...at, kind: "fetch" },
    ];
    vcpu.write(gva + 8, 0x77, 8);
    const values = new BigUint64Array(list.length).fill(0x5555n);
    expect(vcpu.runAccesses(records(list), { values })).toEqual({ done: list.length, fault: null });
    // As single accesses find it; the word of a write is left alone.
    expect([...values]).toEqual([0x5555n, mask, 1n, 7n, 2n, 2n, mask - 1n, mask - 1n, 9n, 9n]);
    expect(vcpu.read(gva + 8, 8)).toEqual({ kind: "ok", value: 0x77n });
  });

  test("more than a buffer holds, across pages, and no values asked for", () => {
    const { vcpu, machine } = machineWithSlot({ batchSize: 4096 });
    const value = (i: number): bigint => 0x1111_2222_3333_0000n + BigInt(i);
    const list = Array.from(
      { length: 700 },
      (_, i) => ({ gva: i * 12 + 1, kind: "write", value: value(i) }) as const,
    );
    expect(vcpu.runAccesses(records(list))).toEqual({ done: 700, fault: null });
    for (const i of [0, 340, 341, 699])
      expect(machine.guestMemory.load(i * 12 + 1, 32)).toBe(BigInt.asUintN(32, value(i)));
    const values = new BigUint64Array(700);
    const reads = records(list.map(({ gva }) => ({ gva, kind: "read", width: 32 })));
    vcpu.runAccesses(reads, { values });
    expect(values).toEqual(BigUint64Array.from({ length: 700 }, (_, i) => BigInt.asUintN(32, value(i))));
  });

  test("stop at the first fault", () => {
    const { vcpu } = machineInLongMode();
    expect(vcpu.runAccesses(records([{ gva: 0x400000, kind: "write", value: 1 }]))).toEqual({
      done: 0,
      fault: { kind: "page-fault", errorCode: PFERR_WR, gva: 0x400000n },
    });
    expect(vcpu.get("cr2")).toBe(0x400000n);
  });

  test("hand MMIO to the handler, with the data, and go on", () => {
    const { vcpu } = machineWithSlot();
    const seen: string[] = [];
    let word = 40n;
    vcpu.onMmio({
      read: (gpa, size) => (seen.push(`read ${gpa}/${size}`), word),
      write: (gpa, size, value) => void ((word = value), seen.push(`write ${gpa}/${size}=${value}`)),
    });
    const gva = 1 << 30;
    const values = new BigUint64Array(5);
    const list: ValueAccess[] = [
      { gva: 0, kind: "write", value: 7 },
      { gva, width: 32, kind: "add", value: 2 },
      { gva, width: 32, kind: "compareExchange", expected: 42, value: 50 },
      { gva: gva + 8, width: 16, kind: "write", value: 0xabcd },
      { gva: 0, kind: "read" },
    ];
    expect(vcpu.runAccesses(records(list), { values })).toEqual({ done: 5, fault: null });
    expect(seen).toEqual([
      `read ${gva}/4`,
      `write ${gva}/4=42`,
      `read ${gva}/4`,
      `write ${gva}/4=50`,
      `write ${gva + 8}/2=${0xabcd}`,
    ]);
    expect([...values]).toEqual([0n, 40n, 42n, 0n, 7n]);
  });

  test("refuse records that are none", () => {
    const { vcpu } = machineWithSlot();
    const one = (change: (view: DataView) => void): Uint8Array => {
      const bytes = records([{ gva: 0, kind: "add", value: 1 }]);
      change(new DataView(bytes.buffer));
      return bytes;
    };
    expect(vcpu.runAccesses(one(() => {})).done).toBe(1);
    for (const bytes of [
      one((view) => view.setUint32(8, 3, true)),
      one((view) => view.setUint16(12, 4, true)),
      one((view) => view.setUint16(14, 6, true)),
      one((view) => view.setUint32(0, 1, true)),
      one(() => {}).subarray(1),
    ])
      refused("USAGE", () => vcpu.runAccesses(bytes));
    const access = { gva: 0, kind: "write", value: 256, width: 8 } as const;
    refused("USAGE", () => records([access]));
    refused("USAGE", () => records([{ gva: 0, kind: "swap" as "read" }]));
    refused("USAGE", () => records([{ gva: 0, kind: "add" } as never]));
    refused("USAGE", () => records([{ gva: 0, kind: "compareExchange", value: 1 } as never]));
    refused("USAGE", () => records([{ gva: 0, kind: "read", value: 1 } as never]));
  });
});

describe("the TLB", () => {
  test("fills, and empties by INVLPG and flushes", () => {
    const { vcpu, tables } = machineInLongMode({ tlb: { entries: 16, largeEntries: 2 } });
    vcpu.set("cr4", vcpu.get("cr4") | CR4_PGE);
    tables.map({ gva: 0x400000, gpa: 0x200000, length: 2 * PAGE });
    tables.map({ gva: 0x402000, gpa: 0x202000, length: PAGE, global: true });
    for (const at of [0x400000, 0x401000, 0x402000]) vcpu.read(at);
    expect(vcpu.tlb()).toMatchObject({ entries: 16, used: 3, largeEntries: 2 });
    tables.unmap(0x401000, PAGE);
    expect(vcpu.read(0x401000).kind).toBe("ok"); // still cached
    vcpu.invlpg(0x401000);
    expect(vcpu.read(0x401000).kind).toBe("page-fault");
    vcpu.flushTlb("non-global");
    expect(vcpu.tlb().used).toBe(1);
    vcpu.flushTlb();
    expect(vcpu.tlb().used).toBe(0);
  });

  test("counts show in the statistics", () => {
    const { vcpu, machine } = machineInLongMode();
    expect(vcpu.statistics().accesses).toBe(0n);
    vcpu.read(0x400000);
    machine.vcpu().read(0x400000);
    expect(vcpu.statistics().walks).toBeGreaterThan(0n);
    expect(machine.statistics().walks).toBe(vcpu.statistics().walks);
  });
});
