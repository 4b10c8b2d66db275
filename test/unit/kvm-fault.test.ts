// The fault path and the invalidation path, one actor at a time.
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { HUGE, MachineOption, PAGE, READ, Stat, WRITE } from "../host-machine.js";
import { FaultResult, KvmMachine, Modify, Outcome, PROFILES, QUIET, SlotFlag } from "../kvm-machine.js";

const AD = MachineOption.ZeroPages | MachineOption.EptAccessedDirty;

describe.each(PROFILES)("profile %s", (_, profile) => {
  test("a guest store faults once, installs one leaf, and is read back by the other vCPU", () => {
    const machine = new KvmMachine({ profile });
    const hva = machine.backed(16n);
    expect(machine.guestStore(0x3123n, 0x1122_3344_5566_7788n)).toBe(Outcome.Ok);
    expect(machine.guestLoad(0x3123n, 8, 1)).toEqual({ outcome: Outcome.Ok, value: 0x1122_3344_5566_7788n });
    expect(machine.load(hva + 0x3123n)).toBe(0x1122_3344_5566_7788n);
    expect(machine.leafPfn(3n)).toBe(machine.pfnOf(hva + 3n * PAGE));
    expect(machine.stat(0, Stat.Faults)).toBe(1);
    expect(machine.stat(0, Stat.FaultsFixed)).toBe(1);
    expect(machine.refcount(machine.leafPfn(3n))).toBe(1); // the host PTE's; KVM holds none
    expect(machine.quiesce()).toEqual(QUIET);
  });

  test("MADV_DONTNEED takes the leaf, the TLB entries and the page; the next access finds zeroes", () => {
    const machine = new KvmMachine({ profile });
    const hva = machine.backed(16n);
    machine.guestStore(0x3000n, 7n);
    const pfn = machine.leafPfn(3n);
    const epoch = machine.epoch(pfn);
    expect(machine.dontneed(hva, 16n * PAGE, machine.host)).toBe(0);
    expect(machine.leaf(3n)).toBe(0n);
    expect(machine.refcount(pfn)).toBe(0);
    expect(machine.epoch(pfn)).toBe(epoch + 1);
    expect(machine.stat(machine.host, Stat.RemoteFlushes)).toBe(1);
    expect(machine.guestLoad(0x3000n)).toEqual({ outcome: Outcome.Ok, value: 0n });
    expect(machine.stat(0, Stat.TlbFlushes)).toBe(1);
    expect(machine.u32("kvmInvalidateSeq")).toBe(1);
    expect(machine.quiesce()).toEqual(QUIET);
  });

  test("an invalidation of what is not mapped neither zaps nor flushes", () => {
    const machine = new KvmMachine({ profile });
    const hva = machine.backed(16n);
    machine.guestStore(0n, 1n);
    machine.dontneed(hva + 8n * PAGE, 4n * PAGE, machine.host);
    expect(machine.stat(machine.host, Stat.RemoteFlushes)).toBe(0);
    expect(machine.leaves).toBe(1);
    expect(machine.quiesce()).toEqual(QUIET);
  });

  test("hva ranges without a memslot count as active, and as open only where the profile says so", () => {
    const machine = new KvmMachine({ profile });
    machine.backed(4n);
    const elsewhere = machine.map(4n * PAGE, { actor: machine.host });
    machine.touch(elsewhere, 4n * PAGE, true, machine.host);
    machine.dontneed(elsewhere, 4n * PAGE, machine.host);
    expect(machine.u32("kvmInvalidateSeq")).toBe(profile === layout.Profile.V5_4 ? 1 : 0);
    expect(machine.quiesce()).toEqual(QUIET);
  });

  test("two slots over one hva range are both invalidated, by one begin and one end", () => {
    const machine = new KvmMachine({ profile });
    const hva = machine.backed(8n);
    expect(machine.setSlot(1, 0x100n, 4n, hva + 2n * PAGE)).toBe(0);
    machine.guestStore(0x2000n, 1n);
    machine.guestStore(0x100000n, 2n);
    expect(machine.leafPfn(0x100n)).toBe(machine.leafPfn(2n));
    machine.dontneed(hva + 2n * PAGE, PAGE, machine.host);
    expect(machine.leaves).toBe(0);
    expect(machine.u32("kvmInvalidateSeq")).toBe(1);
    expect(machine.quiesce()).toEqual(QUIET);
  });

  test("mprotect to read-only takes write access away; a store is then the host's fault, a load is not", () => {
    const machine = new KvmMachine({ profile, options: AD });
    const hva = machine.backed(4n);
    machine.guestStore(0n, 5n);
    expect(machine.protect(hva, 4n * PAGE, READ)).toBe(0);
    expect(machine.leaf(0n)).toBe(0n);
    expect(machine.guestLoad(0n)).toEqual({ outcome: Outcome.Ok, value: 5n });
    expect(machine.leaf(0n) & layout.SPTE_W).toBe(0n);
    expect(machine.leaf(0n) & layout.SPTE_HOST_WRITABLE).toBe(0n);
    expect(machine.guestStore(0n, 6n)).toBe(Outcome.HostFault);
    expect(machine.protect(hva, 4n * PAGE, READ | WRITE)).toBe(0);
    expect(machine.guestStore(0n, 6n)).toBe(Outcome.Ok);
    expect(machine.guestLoad(0n).value).toBe(6n);
    expect(machine.quiesce()).toEqual(QUIET);
  });

  test("munmap below a slot: the guest's next access is the host's fault, and nothing stays mapped", () => {
    const machine = new KvmMachine({ profile });
    const hva = machine.backed(4n);
    for (let gfn = 0n; gfn < 4n; gfn++) machine.guestStore(gfn << 12n, gfn);
    expect(machine.unmap(hva, 4n * PAGE, machine.host)).toBe(0);
    expect(machine.leaves).toBe(0);
    expect(machine.guestLoad(0n).outcome).toBe(Outcome.HostFault);
    expect(machine.stat(0, Stat.FaultErrors)).toBe(1);
    expect(machine.quiesce()).toEqual(QUIET);
  });

  test("a gpa without a slot, and a store to a read-only slot, go to the embedder", () => {
    const machine = new KvmMachine({ profile });
    machine.backed(4n, { flags: SlotFlag.ReadOnly });
    expect(machine.guestLoad(0x9000_0000n).outcome).toBe(Outcome.Mmio);
    expect(machine.guestLoad(0n)).toEqual({ outcome: Outcome.Ok, value: 0n });
    expect(machine.guestStore(0n, 1n)).toBe(Outcome.Mmio);
    expect(machine.leaf(0n) & layout.SPTE_W).toBe(0n);
    expect(machine.leaf(0n) & layout.SPTE_MMU_WRITABLE).toBe(0n);
    expect(machine.quiesce()).toEqual(QUIET);
  });

  test("a read leaves the dirty flag clear, the first store sets it, and the leaf stays the same", () => {
    const machine = new KvmMachine({ profile, options: AD });
    machine.backed(4n);
    machine.guestLoad(0n);
    const before = machine.leaf(0n);
    expect(before & (layout.SPTE_W | layout.SPTE_A | layout.SPTE_D)).toBe(layout.SPTE_W | layout.SPTE_A);
    machine.guestStore(0n, 1n);
    expect(machine.leaf(0n)).toBe(before | layout.SPTE_D);
    expect(machine.stat(0, Stat.Faults)).toBe(1);
    expect(machine.quiesce()).toEqual(QUIET);
  });

  test("running out of frames is an outcome; after memory is given back the access succeeds", () => {
    const machine = new KvmMachine({ profile, frames: 64 });
    const hva = machine.backed(128n);
    let gfn = 0n;
    while (machine.guestStore(gfn << 12n, gfn) === Outcome.Ok) gfn++;
    expect(gfn).toBeGreaterThan(30n);
    expect(machine.guestLoad(gfn << 12n).outcome).toBe(Outcome.OutOfFrames);
    for (let i = 0n; i < gfn; i++) expect(machine.guestLoad(i << 12n).value).toBe(i);
    machine.dontneed(hva, 8n * PAGE, machine.host);
    expect(machine.guestStore(gfn << 12n, 9n)).toBe(Outcome.Ok);
    expect(machine.quiesce()).toEqual(QUIET);
  });
});

describe("large pages", () => {
  const options = AD | MachineOption.HugePages;
  const huge = (flags = {}) => new KvmMachine({ frames: 4096, options, ...flags });

  test("a 2 MiB host page behind a congruent slot becomes one leaf", () => {
    const machine = huge();
    const hva = machine.backed(1024n, { shift: 21 });
    expect(machine.guestStore(0x12345000n & 0x1fffffn, 3n)).toBe(Outcome.Ok);
    expect(machine.leaf(5n) & layout.SPTE_PS).toBe(layout.SPTE_PS);
    expect(machine.leaves).toBe(1);
    expect(machine.stat(0, Stat.HugeLeaves)).toBe(1);
    for (const gpa of [0n, 0x1000n, 0x1ff000n]) expect(machine.guestStore(gpa, gpa + 1n)).toBe(Outcome.Ok);
    expect(machine.stat(0, Stat.Faults)).toBe(1);
    expect(machine.load(hva + 0x1ff000n)).toBe(0x1ff001n);
    expect(machine.quiesce()).toEqual(QUIET);
  });

  test.each([
    ["the slot is not congruent with its hva", 0n, PAGE],
    ["the slot ends inside the large page", 0n, 0n, 511n],
  ])("4 KiB leaves are used where %s", (_why, baseGfn, offset, npages = 512n) => {
    const machine = huge();
    const hva = machine.map(2n * HUGE, { shift: 21, actor: machine.host });
    expect(machine.setSlot(0, baseGfn, npages, hva + offset)).toBe(0);
    machine.guestStore(0n, 1n);
    expect(machine.leaf(0n) & layout.SPTE_PS).toBe(0n);
    expect(machine.shiftOf(hva + offset)).toBe(21);
    expect(machine.quiesce()).toEqual(QUIET);
  });

  test("a partial MADV_DONTNEED zaps the large leaf; what stays is mapped small from then on", () => {
    const machine = huge();
    const hva = machine.backed(512n, { shift: 21 });
    for (const gfn of [0n, 1n, 2n]) machine.guestStore(gfn << 12n, gfn + 10n);
    machine.dontneed(hva + PAGE, PAGE, machine.host);
    expect(machine.leaves).toBe(0);
    expect(machine.guestLoad(0n).value).toBe(10n);
    expect(machine.guestLoad(0x1000n).value).toBe(0n);
    expect(machine.guestLoad(0x2000n).value).toBe(12n);
    expect(machine.leaf(0n) & layout.SPTE_PS).toBe(0n);
    expect(machine.quiesce()).toEqual(QUIET);
  });

  test("a large leaf replaces a table: the small leaves go with it, and the table is freed after a grace period", () => {
    const machine = huge();
    const hva = machine.backed(512n, { shift: 21 });
    machine.guestStore(0n, 1n);
    machine.dontneed(hva + PAGE, PAGE, machine.host); // splits the host's page
    machine.guestStore(0n, 1n);
    machine.guestStore(0x2000n, 2n);
    expect(machine.leaves).toBe(2);
    const tables = machine.tables;
    machine.dontneed(hva, HUGE, machine.host);
    machine.unmap(hva, HUGE, machine.host);
    machine.map(HUGE, { hva, shift: 21, actor: machine.host });
    expect(machine.guestStore(0x3000n, 3n)).toBe(Outcome.Ok);
    expect(machine.leaf(0n) & layout.SPTE_PS).toBe(layout.SPTE_PS);
    machine.dontneed(hva, HUGE, machine.host); // reaps
    expect(machine.tables).toBe(tables - 1);
    expect(machine.quiesce()).toEqual(QUIET);
  });

  test("guest stores survive every size change", () => {
    const machine = huge();
    const hva = machine.backed(1024n, { shift: 21 });
    for (let gfn = 0n; gfn < 1024n; gfn += 37n) machine.guestStore(gfn << 12n, gfn ^ 0xabcn);
    machine.protect(hva, 3n * PAGE, READ);
    machine.protect(hva, 3n * PAGE, READ | WRITE);
    for (let gfn = 0n; gfn < 1024n; gfn += 37n) {
      expect(machine.guestLoad(gfn << 12n, 8, 1).value).toBe(gfn ^ 0xabcn);
    }
    expect(machine.quiesce()).toEqual(QUIET);
  });
});

describe("accesses", () => {
  test("of every size, at every offset, across pages", () => {
    const machine = new KvmMachine();
    const hva = machine.backed(4n);
    const expected = new Uint8Array(4096 * 3);
    const view = new DataView(expected.buffer);
    for (let i = 0; i < 200; i++) {
      const size = [1, 2, 4, 8][i % 4]!;
      const at = (i * 997) % (4096 * 3 - 8);
      const value = BigInt.asUintN(64, BigInt(i + 1) * 0x9e3779b97f4a7c15n);
      expect(machine.guestStore(BigInt(at), value, size, i & 1)).toBe(Outcome.Ok);
      for (let byte = 0; byte < size; byte++)
        view.setUint8(at + byte, Number((value >> BigInt(8 * byte)) & 0xffn));
    }
    for (let at = 4090; at < 4100; at++) {
      for (const size of [1, 2, 4, 8]) {
        let value = 0n;
        for (let byte = size - 1; byte >= 0; byte--) value = (value << 8n) | BigInt(expected[at + byte]!);
        expect(machine.guestLoad(BigInt(at), size)).toEqual({ outcome: Outcome.Ok, value });
      }
    }
    for (let at = 0; at < expected.length; at += 8) {
      expect(machine.load(hva + BigInt(at))).toBe(view.getBigUint64(at, true));
    }
    expect(machine.quiesce()).toEqual(QUIET);
  });

  test("a store whose second page cannot be reached writes no byte of the first", () => {
    const machine = new KvmMachine();
    machine.backed(1n);
    machine.guestStore(0xff8n, 0n);
    expect(machine.guestStore(0xffcn, 0xffff_ffff_ffff_ffffn)).toBe(Outcome.Mmio);
    expect(machine.guestLoad(0xff8n).value).toBe(0n);
  });

  test.each([
    [Modify.Exchange, 0xffn, 0n, 0xffn],
    [Modify.Add, 5n, 0n, 0x13n],
    [Modify.And, 6n, 0n, 6n],
    [Modify.Or, 0x10n, 0n, 0x1en],
    [Modify.Xor, 0xfn, 0n, 1n],
    [Modify.CompareExchange, 9n, 0xen, 9n],
    [Modify.CompareExchange, 9n, 0xfn, 0xen],
  ])(
    "read-modify-write %i of %s (expecting %s) leaves %s and returns what was there",
    (op, value, expected, after) => {
      const machine = new KvmMachine();
      machine.backed(1n);
      for (const size of [1, 2, 4, 8]) {
        machine.guestStore(0x40n, 0xen);
        expect(machine.guestModify(0x40n, op, value, { expected, size })).toBe(Outcome.Ok);
        expect(machine.u64("vcpuValue", 0)).toBe(0xen);
        expect(machine.guestLoad(0x40n).value).toBe(after);
      }
    },
  );

  test("an interrupted vCPU returns at once, and runs again when resumed", () => {
    const machine = new KvmMachine();
    machine.backed(1n);
    machine.raw["vcpuInterrupt"]!(0);
    expect(machine.guestStore(0n, 1n)).toBe(Outcome.Interrupted);
    expect(machine.guestStore(0n, 1n, 8, 1)).toBe(Outcome.Ok);
    machine.raw["vcpuResume"]!(0);
    expect(machine.guestStore(0n, 2n)).toBe(Outcome.Ok);
    expect(machine.quiesce()).toEqual(QUIET);
  });
});

describe("the lab module", () => {
  const begin = (machine: KvmMachine, gpa: bigint) => machine.raw["labFaultBegin"]!(0, gpa, 1);

  test("runs the same fault path in three parts", () => {
    const machine = new KvmMachine({ build: "lab" });
    machine.backed(4n);
    begin(machine, 0x1000n);
    machine.raw["labSnapshot"]!(0);
    expect(machine.u32("labResolve", 0)).toBe(FaultResult.Continue);
    expect(machine.u32("labCommit", 0)).toBe(FaultResult.Fixed);
    machine.raw["labFaultEnd"]!(0);
    expect(machine.leaf(1n)).not.toBe(0n);
    expect(machine.quiesce()).toEqual(QUIET);
  });

  test("a fault that lost its leaf to another finds it spurious", () => {
    const machine = new KvmMachine({ build: "lab" });
    machine.backed(4n);
    begin(machine, 0x1000n);
    machine.raw["labSnapshot"]!(0);
    expect(machine.u32("labResolve", 0)).toBe(FaultResult.Continue);
    expect(machine.guestStore(0x1000n, 1n, 8, 1)).toBe(Outcome.Ok);
    expect(machine.u32("labCommit", 0)).toBe(FaultResult.Spurious);
    machine.raw["labFaultEnd"]!(0);
    expect(machine.quiesce()).toEqual(QUIET);
  });
});

describe("what does not fit is refused by the core itself", () => {
  test("a locked read-modify-write across its alignment is #AC, and the vCPU goes on", () => {
    const machine = new KvmMachine();
    machine.backed(1n);
    for (const size of [2, 4, 8])
      expect(machine.guestModify(0x41n, Modify.Add, 1n, { size })).toBe(Outcome.AlignmentCheck);
    expect(machine.guestModify(0x41n, Modify.Add, 1n, { size: 1 })).toBe(Outcome.Ok);
    expect(machine.dontneed(machine.slots[0]!.hva, PAGE, machine.host)).toBe(0);
    expect(machine.quiesce()).toEqual(QUIET);
  });

  test("a batch ends with its buffer", () => {
    const machine = new KvmMachine();
    machine.backed(1n);
    const buffer = machine.word(layout.HEADER_OFFSET_BATCHES_BASE);
    for (let at = 0; at < 16384; at += 16) machine.view.setUint32(buffer + at + 8, 8, true);
    expect(machine.u32("vcpuRunRecords", 0, 1 << 20, 0)).toBe(16384 / 16);
    expect(machine.quiesce()).toEqual(QUIET);
  });
});
