// Faults by class of page; neighbours that are filled beside a fault; the size that 5.4 takes from the VMA; and the copies
// of KVM through the memslots.
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { HUGE, MachineOption, PAGE, READ, Rule, Stat, WRITE } from "../host-machine.js";
import { atEveryAccess } from "../interleaving.js";
import { KvmMachine, Outcome, Profile, PROFILES, QUIET, SlotFlag } from "../kvm-machine.js";

const { KvmStatus, Note, PageFlag, VmaFlag } = layout;
const AD = MachineOption.ZeroPages | MachineOption.EptAccessedDirty;

function flagsAt(m: KvmMachine, pfn: number): number {
  return m.word(layout.HEADER_OFFSET_PAGES_BASE) + (pfn << layout.PAGE_STRUCT_SHIFT) + layout.PAGE_FLAGS;
}
function isDirty(m: KvmMachine, pfn: number): boolean {
  return (m.word(flagsAt(m, pfn)) & PageFlag.Dirty) !== 0;
}

describe("a fault on a page of a class", () => {
  /** References that a write fault and its zap leave on a page with these flags, and whether it became dirty. */
  function fault(flags: number, profile: number, without: number[] = []): { leaked: number; dirty: boolean } {
    const m = new KvmMachine({ build: "lab", profile, without, options: AD });
    const hva = m.backed(4n);
    m.touch(hva, PAGE, true, m.host);
    const pfn = m.pfnOf(hva);
    m.view.setUint32(flagsAt(m, pfn), m.word(flagsAt(m, pfn)) | flags, true);
    expect(m.guestStore(0n, 1n)).toBe(Outcome.Ok);
    m.raw["kvmUnloadAll"]!(m.host);
    return { leaked: m.refcount(pfn) - 1, dirty: isDirty(m, pfn) };
  }

  test.each([Profile.V5_3, Profile.V5_4, Profile.V6_13, Profile.V6_15])(
    "profile %i: put and dirty",
    (profile) => {
      expect(fault(0, profile)).toEqual({ leaked: 0, dirty: true });
    },
  );

  test("Z02: a ZONE_DEVICE page is never dirty, and leaks where it counts as reserved", () => {
    const { ZoneDevice } = PageFlag;
    expect(fault(ZoneDevice, Profile.V5_3)).toEqual({ leaked: 1, dirty: false });
    for (const profile of [Profile.V5_4, Profile.V6_13, Profile.V6_15]) {
      expect(fault(ZoneDevice, profile)).toEqual({ leaked: 0, dirty: false });
      expect(fault(ZoneDevice, profile, [Rule.ZoneDeviceNotReserved])).toEqual({ leaked: 1, dirty: false });
    }
  });

  test("Z06: the zero page likewise", () => {
    const { Zero } = PageFlag;
    for (const profile of [Profile.V5_3, Profile.V5_4, Profile.V6_13]) {
      expect(fault(Zero, profile)).toEqual({ leaked: 0, dirty: false });
      expect(fault(Zero, profile, [Rule.ZeroPageNotReserved])).toEqual({ leaked: 1, dirty: false });
    }
  });
});

describe.each(PROFILES)("claim C1, %s: struct page is used", (_name, profile) => {
  /** Uses of struct page by a fault, each with the count of the page then; a whole invalidation at every access. */
  function uses(without: number[]): { held: number; free: number; stale: number } {
    const found = { held: 0, free: 0, stale: 0 };
    atEveryAccess({
      machine: (onAccess) => new KvmMachine({ build: "lab", profile, without, onAccess }),
      prepare: (m) => {
        const hva = m.backed(4n);
        m.touch(hva, PAGE, true, m.host);
        return hva;
      },
      first: (m) => {
        const note = (kind: number, pfn: bigint): void => {
          if ((kind & 0xff) !== Note.MetaUse) return;
          if (m.refcount(Number(pfn)) > 0) found.held++;
          else found.free++;
        };
        m.listener = note;
        return m.guestStore(0n, 1n);
      },
      second: (raw, hva, m) => raw["hostDontneed"]!(m.host, hva, PAGE),
      check: (m, hva, ended, place) => {
        expect(ended, place).toBe(Outcome.Ok);
        m.listener = null;
        if (m.leaf(0n) !== 0n && m.leafPfn(0n) !== m.pfnOf(hva)) found.stale++;
        expect(m.quiesce(), place).toEqual(QUIET);
      },
    });
    return found;
  }

  test("while it is held; without PutAfterInstall translations stay right all the same, and it may be free", () => {
    const held = uses([]);
    expect(held).toMatchObject({ free: 0, stale: 0 });
    expect(held.held).toBeGreaterThan(0);
    const early = uses([Rule.PutAfterInstall]);
    expect(early.stale).toBe(0);
    // 6.13 marks the page under mmu_lock, where the host's own mapping still keeps it; 5.4 does so after the unlock.
    if (profile === Profile.V5_4) expect(early.free).toBeGreaterThan(0);
    else expect(early.free).toBe(0);
  });
});

describe.each(PROFILES)("neighbours of a fault, %s", (_name, profile) => {
  const leaves = (m: KvmMachine, count: bigint): bigint[] =>
    [...Array(Number(count)).keys()].map(BigInt).filter((gfn) => m.leaf(gfn) !== 0n);

  test("are filled as far as group, slot and host pages go", () => {
    const m = new KvmMachine({ profile, options: AD, prefetch: 8 });
    const hva = m.backed(24n);
    m.touch(hva, 12n * PAGE, true, m.host);
    m.dontneed(hva + 9n * PAGE, PAGE, m.host);
    expect(m.guestLoad(10n * PAGE).outcome).toBe(Outcome.Ok);
    expect(leaves(m, 24n)).toEqual([8n, 10n, 11n]);
    expect(m.stat(0, Stat.Prefetched)).toBe(2);
    expect(m.leafPfn(8n)).toBe(m.pfnOf(hva + 8n * PAGE));
    expect(m.leaf(8n) & (layout.SPTE_A | layout.SPTE_D | layout.SPTE_W)).toBe(layout.SPTE_W);
    const faults = m.stat(0, Stat.Faults);
    expect(m.guestStore(8n * PAGE, 7n)).toBe(Outcome.Ok);
    expect(m.stat(0, Stat.Faults)).toBe(faults);
    expect(m.load(hva + 8n * PAGE)).toBe(7n);
    const pfn = m.pfnOf(hva + 8n * PAGE);
    expect(isDirty(m, pfn)).toBe(false);
    expect(m.quiesce()).toEqual(QUIET);
    expect(isDirty(m, pfn)).toBe(true); // by the D flag that the processor set
  });

  test("are those of the aligned group of 2, if that is its size, and within the slot", () => {
    const m = new KvmMachine({ profile, options: AD, prefetch: 2 });
    const hva = m.map(8n * PAGE, { actor: m.host });
    m.setSlot(0, 1n, 4n, hva);
    m.touch(hva, 8n * PAGE, true, m.host);
    m.guestLoad(PAGE);
    m.guestLoad(3n * PAGE);
    expect(leaves(m, 8n)).toEqual([1n, 2n, 3n]);
    expect(m.quiesce()).toEqual(QUIET);
  });

  test.each([
    ["the machine does not prefetch", AD, 0, 0],
    ["EPT keeps no accessed flags", MachineOption.ZeroPages, 8, 0],
    ["the slot is read-only", AD, 8, SlotFlag.ReadOnly],
  ])("are left alone where %s", (_why, options, prefetch, flags) => {
    const m = new KvmMachine({ profile, options, prefetch });
    const hva = m.backed(8n, { flags });
    m.touch(hva, 8n * PAGE, true, m.host);
    expect(m.guestLoad(0n).outcome).toBe(Outcome.Ok);
    expect(leaves(m, 8n)).toEqual([0n]);
    expect(m.quiesce()).toEqual(QUIET);
  });
});

describe("Z16: a neighbour that is being invalidated", () => {
  /** Places of MADV_DONTNEED of gfn 1 at which a fault on gfn 0 leaves a leaf of gfn 1 that the host does not have. */
  function stale(without: number[], profile: number = Profile.V6_13): { stale: number; places: number } {
    const found = { stale: 0, places: 0 };
    found.places = atEveryAccess({
      machine: (onAccess) =>
        new KvmMachine({ build: "lab", profile, without, options: AD, prefetch: 2, onAccess }),
      prepare: (m) => {
        const hva = m.backed(4n);
        m.touch(hva, 2n * PAGE, true, m.host);
        return hva;
      },
      first: (m, hva) => m.dontneed(hva + PAGE, PAGE, m.host),
      second: (raw) => raw["vcpuLoad"]!(0, 0n, 8, layout.Access.Read),
      check: (m, hva, _ended, place) => {
        if (m.leaf(1n) !== 0n && m.leafPfn(1n) !== m.pfnOf(hva + PAGE)) found.stale++;
        else expect(m.quiesce(), place).toEqual(QUIET);
      },
    });
    return found;
  }

  test("is not filled; without the rule it is", () => {
    const held = stale([]);
    expect(held.places).toBeGreaterThan(10);
    expect(held.stale).toBe(0);
    expect(stale([Rule.PrefetchSkipsOpenRange]).stale).toBeGreaterThan(0);
    // Where any open invalidation makes the fault itself retry, the rule has nothing to add.
    expect(stale([Rule.PrefetchSkipsOpenRange], Profile.V5_4).stale).toBe(0);
  });
});

describe("Z25b: the size of a hugetlb mapping", () => {
  /** Gives the only VMA the flag of hugetlb. */
  function makeHugetlb(m: KvmMachine): void {
    const row = m.word(layout.HEADER_OFFSET_VMAS_BASE) + layout.VMA_OFFSET_FLAGS;
    m.view.setUint32(row, m.word(row) | VmaFlag.Hugetlb, true);
  }
  const huge = (profile: number) => ({
    build: "lab" as const,
    profile,
    frames: 1536,
    options: MachineOption.ZeroPages | MachineOption.HugePages,
  });

  test.each(PROFILES)("and of an ordinary large page is installed, %s", (_name, profile) => {
    for (const hugetlb of [false, true]) {
      const m = new KvmMachine(huge(profile));
      const hva = m.backed(512n, { shift: 21 });
      if (hugetlb) makeHugetlb(m);
      expect(m.guestStore(5n * PAGE, 7n)).toBe(Outcome.Ok);
      expect(m.leaf(5n) & layout.SPTE_PS).not.toBe(0n);
      expect(m.load(hva + 5n * PAGE)).toBe(7n);
      expect(m.refcount(m.pfnOf(hva))).toBe(1);
      expect(m.quiesce()).toEqual(QUIET);
    }
  });

  test("is not that of a slot that the large page does not fit", () => {
    const m = new KvmMachine(huge(Profile.V5_4));
    const hva = m.map(HUGE, { shift: 21, actor: m.host });
    makeHugetlb(m);
    m.setSlot(0, 0n, 511n, hva);
    expect(m.guestStore(5n * PAGE, 7n)).toBe(Outcome.Ok);
    expect(m.leaf(5n) & layout.SPTE_PS).toBe(0n);
    expect(m.quiesce()).toEqual(QUIET);
  });

  /** How often a large leaf covers a small host page, mapped anew at each moment of a fault. */
  function tooLarge(profile: number): { wrong: number; places: number } {
    const found = { wrong: 0, places: 0 };
    found.places = atEveryAccess({
      machine: (onAccess) => new KvmMachine({ ...huge(profile), onAccess }),
      prepare: (m) => {
        const hva = m.backed(512n, { shift: 21 });
        makeHugetlb(m);
        m.touch(hva, PAGE, true, m.host);
        return hva;
      },
      first: (m) => m.guestStore(5n * PAGE, 1n),
      second: (raw, hva, m) => {
        raw["hostMunmap"]!(m.host, hva, HUGE);
        raw["hostMmap"]!(m.host, hva, HUGE, READ | WRITE, 12);
        raw["hostTouch"]!(m.host, hva, PAGE, 1);
      },
      check: (m, hva, ended, place) => {
        const large = (m.leaf(5n) & layout.SPTE_PS) !== 0n;
        if (large && m.shiftOf(hva) === 12) found.wrong++;
        else expect({ ended, quiet: m.quiesce() }, place).toEqual({ ended: Outcome.Ok, quiet: QUIET });
      },
    });
    return found;
  }

  test("as 5.4 samples it may be that of a mapping that is gone; read after the check it is not", () => {
    expect(tooLarge(Profile.V6_13).wrong).toBe(0);
    expect(tooLarge(Profile.V5_4).wrong).toBeGreaterThan(0);
  });
});

describe("kvm_read_guest and kvm_write_guest", () => {
  const batch = (m: KvmMachine, actor: number, length: number): Uint8Array => {
    const at = m.word(layout.HEADER_OFFSET_BATCHES_BASE) + actor * 16384;
    return new Uint8Array(m.memory.buffer, at, length);
  };

  test.each(PROFILES)("copy across pages and slots, %s", (_name, profile) => {
    const m = new KvmMachine({ profile });
    const first = m.backed(2n);
    const second = m.backed(2n, { id: 1, baseGfn: 2n });
    const bytes = Uint8Array.from({ length: 3 * 4096 }, (_, i) => (i * 7) & 255);
    for (const actor of [0, m.host]) {
      batch(m, actor, bytes.length).set(bytes);
      expect(m.u32("kvmWriteGuest", actor, 0x800n, bytes.length)).toBe(KvmStatus.Ok);
      batch(m, actor, bytes.length).fill(0);
      expect(m.u32("kvmReadGuest", actor, 0x800n, bytes.length)).toBe(KvmStatus.Ok);
      expect(batch(m, actor, bytes.length).slice()).toEqual(bytes);
    }
    expect(m.load(first + 0x1fffn, 1)).toBe(BigInt(bytes[0x17ff]!));
    expect(m.load(second, 1)).toBe(BigInt(bytes[0x1800]!));
    expect(m.u32("kvmReadGuest", 0, 1n << 40n, 0)).toBe(KvmStatus.Ok);
    expect(m.quiesce()).toEqual(QUIET);
  });

  test("end at what is not memory, and have copied what came before", () => {
    const m = new KvmMachine();
    const hva = m.backed(2n);
    m.setSlot(1, 16n, 1n, m.map(PAGE), SlotFlag.ReadOnly);
    m.setSlot(2, 32n, 1n, m.map(PAGE, { flags: READ }));
    batch(m, 0, 8192).fill(9);
    expect(m.u32("kvmWriteGuest", 0, 0x1800n, 4096)).toBe(KvmStatus.NoSlot);
    expect(m.load(hva + 0x1ff8n)).toBe(0x0909090909090909n);
    expect(m.u32("kvmWriteGuest", 0, 16n * PAGE, 8)).toBe(KvmStatus.ReadOnly);
    expect(m.u32("kvmReadGuest", 0, 16n * PAGE, 8)).toBe(KvmStatus.Ok);
    expect(m.u32("kvmWriteGuest", 0, 32n * PAGE, 8)).toBe(KvmStatus.HostFault);
    expect(m.u32("kvmReadGuest", 0, 0n, 16385)).toBe(KvmStatus.Invalid);
    expect(m.quiesce()).toEqual(QUIET);
  });
});
