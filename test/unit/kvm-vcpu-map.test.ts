// kvm_vcpu_map: what a mapping holds, how it ends, and what becomes of it when its page goes.
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { MachineOption, PAGE, READ, Rule } from "../host-machine.js";
import { atEveryAccess, labInstance } from "../interleaving.js";
import { KvmMachine, Outcome, Profile, QUIET } from "../kvm-machine.js";

const { KvmStatus, MapFlag, MapHold, Note, PageFlag, SlotFlag } = layout;
const ERAS = [
  ["v5.3", Profile.V5_3, 1],
  ["v5.4", Profile.V5_4, 1],
  ["v6.13", Profile.V6_13, 1024],
  ["v6.15", Profile.V6_15, 1024],
] as const;

class MapMachine extends KvmMachine {
  map_(map: number, gpa: bigint, flags = 0, vcpu = 0): number {
    return this.u32("kvmVcpuMap", vcpu, map, gpa, flags);
  }
  unmap_(map: number, vcpu = 0): number {
    return this.u32("kvmVcpuUnmap", vcpu, map);
  }
  write(map: number, offset: number, value: bigint, size = 8): number {
    return this.u32("kvmMapWrite", 0, map, offset, size, value);
  }
  read(map: number, offset: number, size = 8): bigint {
    expect(this.u32("kvmMapRead", 0, map, offset, size)).toBe(KvmStatus.Ok);
    return this.u64("vcpuValue", 0);
  }
  row(map: number): number {
    return this.actor(0) + layout.ACTOR_MAPS + (map << layout.VCPU_MAP_SHIFT);
  }
  pageWord(pfn: number, field: number): number {
    return this.word(this.word(layout.HEADER_OFFSET_PAGES_BASE) + (pfn << layout.PAGE_STRUCT_SHIFT) + field);
  }
  setFlags(pfn: number, set: number, clear = 0): void {
    const at =
      this.word(layout.HEADER_OFFSET_PAGES_BASE) + (pfn << layout.PAGE_STRUCT_SHIFT) + layout.PAGE_FLAGS;
    this.view.setUint32(at, (this.word(at) | set) & ~clear, true);
  }
  isDirty(pfn: number): boolean {
    return (this.pageWord(pfn, layout.PAGE_FLAGS) & PageFlag.Dirty) !== 0;
  }
}

describe.each(ERAS)("kvm_vcpu_map, %s", (_name, profile, hold) => {
  test("holds the page until the unmap, which marks it dirty", () => {
    const m = new MapMachine({ profile });
    const hva = m.backed(4n);
    expect(m.map_(0, 0x1234n)).toBe(KvmStatus.Ok);
    const pfn = m.pfnOf(hva + PAGE);
    expect(m.refcount(pfn)).toBe(1 + hold);
    expect(m.isDirty(pfn)).toBe(false);
    expect(m.write(0, 8, 0x1122334455667788n)).toBe(KvmStatus.Ok);
    expect(m.write(0, 4094, 0xabcdn, 2)).toBe(KvmStatus.Ok);
    expect(m.read(0, 10, 2)).toBe(0x5566n);
    expect(m.load(hva + PAGE + 8n)).toBe(0x1122334455667788n);
    expect(m.load(hva + PAGE + 4088n)).toBe(0xabcdn << 48n);
    expect(m.unmap_(0)).toBe(KvmStatus.Ok);
    expect(m.refcount(pfn)).toBe(1);
    expect(m.isDirty(pfn)).toBe(true);
    expect(m.quiesce()).toEqual(QUIET);
  });

  test("of a large page holds its head", () => {
    const m = new MapMachine({ profile, frames: 2048 });
    const hva = m.backed(512n, { shift: 21 });
    expect(m.map_(2, 7n * PAGE)).toBe(KvmStatus.Ok);
    const head = m.pfnOf(hva);
    expect(m.refcount(head)).toBe(2);
    expect(m.pageWord(head, layout.PAGE_PINCOUNT)).toBe(hold === 1 ? 0 : 1);
    m.write(2, 0, 5n);
    expect(m.load(hva + 7n * PAGE)).toBe(5n);
    expect(m.unmap_(2)).toBe(KvmStatus.Ok);
    expect(m.refcount(head)).toBe(1);
    expect(m.pageWord(head, layout.PAGE_PINCOUNT)).toBe(0);
    expect(m.quiesce()).toEqual(QUIET);
  });

  test("goes on using the page when the host has let go of it", () => {
    const m = new MapMachine({ profile });
    const hva = m.backed(4n);
    m.map_(0, 0n);
    const pfn = m.pfnOf(hva);
    m.dontneed(hva, PAGE, m.host);
    expect(m.refcount(pfn)).toBe(hold);
    expect(m.write(0, 0, 9n)).toBe(KvmStatus.Ok); // to a page that nobody else has any more
    expect(m.load(hva)).toBe(0n);
    expect(m.unmap_(0)).toBe(KvmStatus.Ok);
    expect(m.refcount(pfn)).toBe(0);
    expect(m.quiesce()).toEqual(QUIET);
  });

  test("is given back with the vCPU", () => {
    const m = new MapMachine({ profile });
    m.backed(8n);
    for (let map = 0; map < layout.VCPU_MAP_COUNT; map++) expect(m.map_(map, BigInt(map) * PAGE)).toBe(0);
    expect(m.map_(0, 0n, 0, 1)).toBe(KvmStatus.Ok); // the table is each vCPU's own
    expect(m.imbalance).toBe(4);
    expect(m.quiesce()).toEqual(QUIET);
    expect(m.unmap_(0)).toBe(KvmStatus.Inactive);
  });

  test("refuses what it cannot map, and keeps nothing of it", () => {
    const m = new MapMachine({ profile });
    const hva = m.backed(4n);
    m.setSlot(1, 16n, 2n, m.map(2n * PAGE, { flags: READ }));
    m.setSlot(2, 32n, 2n, m.map(2n * PAGE), SlotFlag.ReadOnly);
    m.setSlot(3, 48n, 2n, hva + 64n * PAGE);
    expect(m.map_(0, 5n * PAGE)).toBe(KvmStatus.NoSlot);
    expect(m.map_(0, 16n * PAGE)).toBe(KvmStatus.HostFault);
    expect(m.map_(0, 32n * PAGE)).toBe(KvmStatus.ReadOnly);
    expect(m.map_(0, 48n * PAGE)).toBe(KvmStatus.HostFault);
    expect(m.map_(layout.VCPU_MAP_COUNT, 0n)).toBe(KvmStatus.Invalid);
    expect(m.unmap_(0)).toBe(KvmStatus.Inactive);
    expect(m.unmap_(layout.VCPU_MAP_COUNT)).toBe(KvmStatus.Invalid);
    expect(m.write(0, 0, 1n)).toBe(KvmStatus.Inactive);
    expect(m.u32("kvmHwWrite", 0, 0, 0, 8, 1n)).toBe(KvmStatus.Inactive);
    expect(m.map_(0, 0n)).toBe(KvmStatus.Ok);
    expect(m.map_(0, PAGE)).toBe(KvmStatus.Busy);
    for (const offset of [4089, 4096, 0xffffffff]) expect(m.write(0, offset, 1n)).toBe(KvmStatus.Invalid);
    expect(m.write(layout.VCPU_MAP_COUNT, 0, 1n)).toBe(KvmStatus.Invalid);
    expect(m.map_(1, 32n * PAGE, MapFlag.ReadOnly)).toBe(KvmStatus.Ok);
    expect(m.write(1, 0, 1n)).toBe(KvmStatus.ReadOnly);
    expect(m.read(1, 0)).toBe(0n);
    expect(m.quiesce()).toEqual(QUIET);
  });

  test("says that frames are short", () => {
    const m = new MapMachine({ profile, frames: 64 });
    m.backed(64n);
    let status: number = KvmStatus.Ok;
    for (let i = 0n; i < 64n && status === KvmStatus.Ok; i++) {
      status = m.map_(0, i * PAGE);
      if (status === KvmStatus.Ok) m.unmap_(0);
    }
    expect(status).toBe(KvmStatus.OutOfFrames);
    expect(m.quiesce()).toEqual(QUIET);
  });

  test("tells of taking, using and dropping", () => {
    const m = new MapMachine({ build: "lab", profile });
    m.backed(4n);
    const told: [number, bigint, bigint][] = [];
    const raw = labInstance(m, {
      note: (kind: number, a: bigint, b: bigint) => void told.push([kind, a, b]),
    } as never);
    raw["kvmVcpuMap"]!(0, 0, PAGE, 0);
    const address = BigInt(m.word(m.row(0) + layout.VCPU_MAP_ADDRESS));
    const pfn = BigInt(m.word(m.row(0) + 8));
    raw["kvmMapWrite"]!(0, 0, 16, 8, 1n);
    raw["kvmHwWrite"]!(0, 0, 24, 8, 2n);
    raw["kvmMapRead"]!(0, 0, 16, 8);
    raw["kvmVcpuUnmap"]!(0, 0);
    const kinds = new Set<number>([
      Note.MapTaken,
      Note.MapUse,
      Note.MapDropped,
      Note.AtomicBegin,
      Note.AtomicEnd,
    ]);
    expect(
      told.filter(([kind]) => kinds.has(kind & 0xff)).map(([kind, a, b]) => [kind & 0xff, a, b]),
    ).toEqual([
      [Note.MapTaken, pfn, 1n],
      [Note.MapUse, pfn, ((address + 16n) << 1n) | 1n],
      [Note.AtomicBegin, 0n, 0n],
      [Note.MapUse, pfn, ((address + 24n) << 1n) | 1n],
      [Note.AtomicEnd, 0n, 0n],
      [Note.MapUse, pfn, (address + 16n) << 1n],
      [Note.MapDropped, pfn, 1n],
    ]);
    expect(m.quiesce()).toEqual(QUIET);
  });
});

describe("rules of a mapping", () => {
  test("without VcpuMapPins the page is held by a plain reference (Z36)", () => {
    const m = new MapMachine({ build: "lab", without: [Rule.VcpuMapPins] });
    const hva = m.backed(4n);
    m.map_(0, 0n);
    expect(m.refcount(m.pfnOf(hva))).toBe(2);
    expect(m.word(m.row(0) + 24)).toBe(MapHold.Reference);
    expect(m.quiesce()).toEqual(QUIET);
  });

  test("without UnmapMarksDirty nobody knows of the write (Z38)", () => {
    const m = new MapMachine({ build: "lab", without: [Rule.UnmapMarksDirty] });
    const hva = m.backed(4n);
    m.map_(0, 0n);
    m.write(0, 0, 1n);
    m.unmap_(0);
    expect(m.isDirty(m.pfnOf(hva))).toBe(false);
    expect(m.quiesce()).toEqual(QUIET);
  });

  /** A mapping whose page, by the sentinel, is not KVM's to give back; then its unmap. */
  function unmapWithoutPage(without: number[]): { before: number; after: number } {
    const m = new MapMachine({ build: "lab", profile: Profile.V5_4, without });
    const hva = m.backed(4n);
    m.map_(0, 0n);
    const pfn = m.pfnOf(hva);
    m.view.setUint32(m.row(0) + 12, layout.MAP_NO_PAGE, true);
    const before = m.refcount(pfn);
    m.unmap_(0);
    return { before, after: m.refcount(pfn) };
  }

  test("a pfn without struct page is not put, without UnmapChecksPage it is (Z37)", () => {
    expect(unmapWithoutPage([])).toEqual({ before: 2, after: 2 });
    expect(unmapWithoutPage([Rule.UnmapChecksPage])).toEqual({ before: 2, after: 1 });
  });

  test("of a device's page that counts as reserved the reference leaks (Z02)", () => {
    const leaks = (profile: number, without: number[] = []): number => {
      const m = new MapMachine({ build: "lab", profile, without });
      const hva = m.backed(4n);
      m.touch(hva, PAGE, true, m.host);
      const pfn = m.pfnOf(hva);
      m.setFlags(pfn, PageFlag.ZoneDevice);
      m.map_(0, 0n);
      m.unmap_(0);
      expect(m.isDirty(pfn)).toBe(false);
      return m.refcount(pfn) - 1;
    };
    expect(leaks(Profile.V5_3)).toBe(1);
    expect(leaks(Profile.V5_4)).toBe(0);
    expect(leaks(Profile.V5_4, [Rule.ZoneDeviceNotReserved])).toBe(1);
    expect(leaks(Profile.V6_13)).toBe(0);
  });
});

// Z01, the founding question: the page put right after the lookup, the mapping kept.
describe.each([
  ["v5.4", Profile.V5_4],
  ["v6.13", Profile.V6_13],
] as const)(
  "a page discarded and handed out anew at any moment of map, store, unmap, %s",
  (_name, profile) => {
    /** At how many places a store of KVM lands in a page that belongs to somebody else. */
    function foreign(without: number[], hardware: boolean): { foreign: number; places: number } {
      const found = { foreign: 0, places: 0 };
      found.places = atEveryAccess({
        machine: (onAccess) =>
          new MapMachine({ build: "lab", profile, without, options: MachineOption.ZeroPages, onAccess }),
        prepare: (m) => {
          const hva = m.backed(4n);
          m.touch(hva, PAGE, true, m.host);
          return { hva, taken: [] as number[] };
        },
        first: (m) => {
          if (m.map_(0, 0n) !== KvmStatus.Ok) throw new Error("not mapped");
          if (hardware) m.u32("kvmHwWrite", 0, 0, 0, 8, 0x6666n);
          else m.write(0, 0, 0x6666n);
          m.unmap_(0);
          return Outcome.Ok;
        },
        second: (raw, { hva, taken }, m) => {
          raw["hostDontneed"]!(m.host, hva, PAGE);
          for (let i = 0; i < 4; i++) {
            const pfn = (raw["hostAllocPage"]!(m.host) as number) >>> 0;
            m.view.setBigUint64(m.u32("hostFrame", pfn), 0x1111n, true);
            taken.push(pfn);
          }
        },
        check: (m, { taken }, _ended, place) => {
          const touched = taken.filter(
            (pfn) => m.view.getBigUint64(m.u32("hostFrame", pfn), true) !== 0x1111n,
          );
          if (touched.length) found.foreign++;
          for (const pfn of taken) m.put(pfn, m.host);
          expect(m.quiesce(), place).toEqual(QUIET);
        },
      });
      return found;
    }

    test.each([
      ["KVM", false],
      ["hardware", true],
    ])("never changes by a store of %s; without the reference it does", (_who, hardware) => {
      const held = foreign([], hardware);
      expect(held.places).toBeGreaterThan(8);
      expect(held.foreign).toBe(0);
      expect(foreign([Rule.VcpuMapHoldsReference], hardware).foreign).toBeGreaterThan(0);
    });
  },
);
