// Faults, invalidations, entries and unloads against each other, in every interleaving in which one actor acts at a
// single point of another; and for three rules, that a machine without the rule breaks exactly what it protects.
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { HUGE, MachineOption, PAGE, READ, Rule, Stat, WRITE } from "../host-machine.js";
import { atEveryAccess, hangGuard, labInstance } from "../interleaving.js";
import { Access, KvmMachine, Outcome, Profile, PROFILES, QUIET } from "../kvm-machine.js";

const { PageFlag, Register } = layout;
const AD = MachineOption.ZeroPages | MachineOption.EptAccessedDirty;

function pageFlags(m: KvmMachine, pfn: number): number {
  const pages = m.word(layout.HEADER_OFFSET_PAGES_BASE);
  return m.word(pages + (pfn << layout.PAGE_STRUCT_SHIFT) + layout.PAGE_FLAGS);
}

describe("an unloaded root", () => {
  test.each([
    ["without", MachineOption.ZeroPages],
    ["with", AD],
  ])("is out of reach of the TLB and of walks, %s EPT's A and D flags", (_flags, options) => {
    const m = new KvmMachine({ options });
    const hva = m.backed(4n);
    m.guestStore(0n, 7n);
    const rootPfn = m.u32("kvmVcpuRoot", 0);
    expect(m.u64("registerRead", 0, Register.Eptp) >> 12n).toBe(BigInt(rootPfn));
    expect(m.u32("tlbProbe", 0, 0n, Access.Write)).not.toBe(0);
    expect(m.quiesce()).toEqual(QUIET);
    expect(m.u32("kvmVcpuRoot", 0)).toBe(0);
    expect(m.u64("registerRead", 0, Register.Eptp) >> 12n).toBe(0n);
    expect(m.u32("tlbProbe", 0, 0n, Access.Write)).toBe(0);

    // The frame belongs to somebody else now, and what he keeps there looks like an entry.
    const taken: [actor: number, pfn: number][] = [];
    while (!taken.some(([, pfn]) => pfn === rootPfn) && taken.length < 400) {
      const actor = taken.length % 2 ? 0 : m.host;
      taken.push([actor, m.u32("hostAllocPage", actor)]);
    }
    expect(taken.at(-1)![1]).toBe(rootPfn);
    const frame = m.u32("hostFrame", rootPfn);
    const data = (BigInt(taken[0]![1]) << 12n) | 7n;
    for (let i = 0; i < 512; i++) m.view.setBigUint64(frame + i * 8, data, true);
    expect(m.u32("translate", 0, PAGE, Access.Write, 1)).toBe(Outcome.EptViolation);
    expect(m.guestStore(0n, 8n)).toBe(Outcome.Ok);
    for (let i = 0; i < 512; i++) expect(m.view.getBigUint64(frame + i * 8, true)).toBe(data);
    expect(m.load(hva)).toBe(8n);
    for (const [actor, pfn] of taken) m.put(pfn, actor);
    expect(m.quiesce()).toEqual(QUIET);
  });
});

describe.each(PROFILES)("requests to a vCPU that enters, %s", (_name, profile) => {
  const machine = (onAccess: () => void) => new KvmMachine({ build: "lab", profile, onAccess });
  const prepare = (m: KvmMachine): void => {
    m.backed(4n);
    m.guestStore(0n, 1n);
  };

  test("an interrupt withdrawn at any moment of an entry is withdrawn for good", () => {
    const seen = new Set<number>();
    const places = atEveryAccess({
      machine,
      prepare: (m) => {
        prepare(m);
        m.raw["vcpuInterrupt"]!(0);
      },
      first: (m) => m.guestLoad(0n).outcome,
      second: (raw) => raw["vcpuResume"]!(0),
      check: (m, _state, ended, place) => {
        seen.add(ended);
        expect([Outcome.Ok, Outcome.Interrupted], place).toContain(ended);
        expect(m.guestLoad(0n), place).toEqual({ outcome: Outcome.Ok, value: 1n });
        expect(m.quiesce(), place).toEqual(QUIET);
      },
    });
    expect(places).toBeGreaterThan(3);
    expect(seen).toEqual(new Set([Outcome.Ok, Outcome.Interrupted]));
  });

  test.each([
    ["a load that hits", 0n],
    ["a load that faults", PAGE],
  ])("an interrupt at any moment of %s stays until it is withdrawn", (_load, gpa) => {
    const seen = new Set<number>();
    const places = atEveryAccess({
      machine,
      prepare,
      first: (m) => m.guestLoad(gpa).outcome,
      second: (raw) => raw["vcpuInterrupt"]!(0),
      check: (m, _state, ended, place) => {
        seen.add(ended);
        expect([Outcome.Ok, Outcome.Interrupted], place).toContain(ended);
        expect(m.guestLoad(gpa).outcome, place).toBe(Outcome.Interrupted);
        m.raw["vcpuResume"]!(0);
        expect(m.guestLoad(gpa).outcome, place).toBe(Outcome.Ok);
        expect(m.quiesce(), place).toEqual(QUIET);
      },
    });
    expect(places).toBeGreaterThan(3);
    expect(seen).toEqual(new Set([Outcome.Ok, Outcome.Interrupted]));
  });

  test("a workload interrupted while the interrupt is withdrawn never says that frames are short", () => {
    const { DriveStatus } = layout;
    const seen = new Set<number>();
    atEveryAccess({
      machine,
      prepare: (m) => {
        prepare(m);
        m.raw["vcpuInterrupt"]!(0);
      },
      first: (m) => {
        m.raw["driveRun"]!(0, 0);
        return m.u32("driveStatus", 0);
      },
      second: (raw) => raw["vcpuResume"]!(0),
      check: (m, _state, ended, place) => {
        seen.add(ended);
        expect([DriveStatus.Ok, DriveStatus.Interrupted], place).toContain(ended);
        expect(m.quiesce(), place).toEqual(QUIET);
      },
    });
    expect(seen).toContain(DriveStatus.Interrupted);
  });
});

describe("a fault that waits for an invalidation", () => {
  /** Places before, in and after the spinning that precedes the sleep, and some in the sleep. */
  const places = [
    ...Array.from({ length: 400 }, (_, i) => i),
    1000,
    3000,
    ...Array.from({ length: 20 }, (_, i) => 5190 + i * 2),
  ];

  test.each(PROFILES)("is woken by its end, whenever that comes, %s", (_name, profile) => {
    const acted = atEveryAccess({
      places,
      machine: (onAccess) => new KvmMachine({ build: "lab", profile, onAccess }),
      prepare: (m) => {
        const hva = m.backed(16n);
        m.guestStore(0n, 1n);
        labInstance(m, {})["labInvalidateStart"]!(m.host, hva, hva + PAGE);
        return hva;
      },
      first: (m) => m.guestStore(0n, 2n),
      second: (raw, hva, m) => raw["labInvalidateEnd"]!(m.host, hva, hva + PAGE),
      check: (m, hva, ended, place) => {
        expect(ended, place).toBe(Outcome.Ok);
        expect(m.load(hva), place).toBe(2n);
        expect(m.word(layout.KVM_INVALIDATE_WAITERS), place).toBe(0);
        expect(m.quiesce(), place).toEqual(QUIET);
      },
    });
    expect(acted).toBeGreaterThan(100);
  });

  test("does not wait for one of another range that begins in the same moment", () => {
    const acted = atEveryAccess({
      places,
      machine: (onAccess) => new KvmMachine({ build: "lab", hosts: 2, onAccess }),
      prepare: (m) => {
        const hva = m.backed(16n);
        m.guestStore(0n, 1n);
        labInstance(m, {})["labInvalidateStart"]!(m.host, hva, hva + PAGE);
        return hva;
      },
      first: (m) => m.guestStore(0n, 2n),
      second: (raw, hva, m) => {
        raw["labInvalidateEnd"]!(m.host, hva, hva + PAGE);
        raw["labInvalidateStart"]!(m.host, hva + 8n * PAGE, hva + 9n * PAGE);
      },
      check: (m, hva, ended, place) => {
        expect(ended, place).toBe(Outcome.Ok);
        expect(m.u32("kvmInvalidateInProgress"), place).toBe(1); // the store did not need its end
        expect(m.stat(0, Stat.RetryWaits), place).toBeLessThanOrEqual(1);
        m.raw["labInvalidateEnd"]!(m.host, hva + 8n * PAGE, hva + 9n * PAGE);
        expect(m.load(hva), place).toBe(2n);
        expect(m.quiesce(), place).toEqual(QUIET);
      },
    });
    expect(acted).toBeGreaterThan(100);
  });
});

describe("HostPteClearedBeforeEnd", () => {
  /** Host PTE of a page when the end of its invalidation is announced. */
  function pteAtEnd(
    without: number[],
    act: (raw: ReturnType<typeof labInstance>, m: KvmMachine, hva: bigint) => void,
  ) {
    const m = new KvmMachine({ build: "lab", without });
    const hva = m.backed(4n);
    m.guestStore(0n, 1n);
    let seen: bigint | undefined;
    const note = (kind: number) => {
      if ((kind & 0xff) === layout.Note.NotifyEnd) seen ??= m.pte(hva);
    };
    act(labInstance(m, { note }), m, hva);
    expect(m.quiesce()).toEqual(QUIET);
    return seen! & (layout.PTE_P | layout.PTE_RW);
  }
  const present = layout.PTE_P | layout.PTE_RW;

  test("MADV_DONTNEED, munmap and mprotect change the PTE first; without the rule, last", () => {
    const dontneed: Parameters<typeof pteAtEnd>[1] = (raw, m, hva) => raw["hostDontneed"]!(m.host, hva, PAGE);
    const munmap: typeof dontneed = (raw, m, hva) => raw["hostMunmap"]!(m.host, hva, PAGE);
    const mprotect: typeof dontneed = (raw, m, hva) => raw["hostMprotect"]!(m.host, hva, PAGE, READ);
    expect(pteAtEnd([], dontneed)).toBe(0n);
    expect(pteAtEnd([], munmap)).toBe(0n);
    expect(pteAtEnd([], mprotect)).toBe(layout.PTE_P);
    for (const act of [dontneed, munmap, mprotect]) {
      expect(pteAtEnd([Rule.HostPteClearedBeforeEnd], act)).toBe(present);
    }
  });

  /** At how many places a guest store leaves the guest with a page that is not the host's; of how many. */
  function stale(without: number[]): { stale: number; freed: number; places: number } {
    const found = { stale: 0, freed: 0, places: 0 };
    found.places = atEveryAccess({
      machine: (onAccess) => new KvmMachine({ build: "lab", without, onAccess }),
      prepare: (m) => {
        const hva = m.backed(4n);
        m.guestStore(0n, 1n);
        return hva;
      },
      first: (m, hva) => m.dontneed(hva, PAGE, m.host),
      second: (raw) => raw["vcpuStore"]!(0, 0n, 8, 2n),
      check: (m, hva, _ended, place) => {
        if (m.leaf(0n) !== 0n && m.leafPfn(0n) !== m.pfnOf(hva)) {
          found.stale++;
          if (m.refcount(m.leafPfn(0n)) === 0) found.freed++;
        } else expect(m.quiesce(), place).toEqual(QUIET);
      },
    });
    return found;
  }

  test("a guest store at any moment of MADV_DONTNEED finds the host's page; without the rule, a freed one", () => {
    const held = stale([]);
    expect(held.places).toBeGreaterThan(20);
    expect(held.stale).toBe(0);
    const broken = stale([Rule.HostPteClearedBeforeEnd]);
    expect(broken.stale).toBeGreaterThan(0);
    expect(broken.freed).toBe(broken.stale);
  });
});

describe("HostLevelAfterCheck", () => {
  /** How often a large leaf covers small host pages, after these were mapped anew at each moment of a fault. */
  function tooLarge(without: number[]): { large: number; small: number; wrong: number } {
    const found = { large: 0, small: 0, wrong: 0 };
    const gpa = 5n * PAGE;
    atEveryAccess({
      machine: (onAccess) =>
        new KvmMachine({
          build: "lab",
          without,
          frames: 1536,
          options: MachineOption.ZeroPages | MachineOption.HugePages,
          onAccess,
        }),
      prepare: (m) => {
        const hva = m.backed(512n, { shift: 21 });
        m.touch(hva, PAGE, true, m.host);
        expect(m.shiftOf(hva)).toBe(21);
        return hva;
      },
      first: (m) => m.guestStore(gpa, 1n),
      second: (raw, hva, m) => {
        raw["hostMunmap"]!(m.host, hva, HUGE);
        raw["hostMmap"]!(m.host, hva, HUGE, READ | WRITE, 12);
        raw["hostTouch"]!(m.host, hva + gpa, PAGE, 1);
      },
      check: (m, hva, ended, place) => {
        expect(ended, place).toBe(Outcome.Ok);
        const leaf = m.leaf(5n);
        const large = (leaf & layout.SPTE_PS) !== 0n;
        if (large) found.large++;
        else found.small++;
        if (leaf === 0n) return;
        if (large && m.shiftOf(hva + gpa) === 12) found.wrong++;
        else expect(m.leafPfn(5n), place).toBe(m.pfnOf(hva + gpa));
        expect(m.quiesce(), place).toEqual(QUIET);
      },
    });
    return found;
  }

  test("no large leaf covers small pages that were mapped during the fault; without the rule, some do", () => {
    const held = tooLarge([]);
    expect(held.small).toBeGreaterThan(10);
    expect(held.wrong).toBe(0);
    const broken = tooLarge([Rule.HostLevelAfterCheck]);
    expect(broken.wrong).toBeGreaterThan(0);
  });
});

describe("ZapExchanges", () => {
  /** How often a store reached the page, and how often nobody knows of it, when it comes at each moment of a zap. */
  function forgotten(without: number[]): { stored: number; forgotten: number } {
    const found = { stored: 0, forgotten: 0 };
    atEveryAccess({
      machine: (onAccess) => new KvmMachine({ build: "lab", without, options: AD, onAccess }),
      prepare: (m) => {
        const hva = m.backed(4n);
        m.guestLoad(0n);
        const pfn = m.pfnOf(hva);
        // As writeback leaves it: mapped writable, D clear, the page clean.
        const flags =
          m.word(layout.HEADER_OFFSET_PAGES_BASE) + (pfn << layout.PAGE_STRUCT_SHIFT) + layout.PAGE_FLAGS;
        m.view.setUint32(flags, m.view.getUint32(flags, true) & ~PageFlag.Dirty, true);
        expect(m.leaf(0n) & (layout.SPTE_W | layout.SPTE_D)).toBe(layout.SPTE_W);
        return { hva, pfn };
      },
      first: (m, { hva }) => {
        m.raw["labInvalidateStart"]!(m.host, hva, hva + PAGE);
        return 0;
      },
      second: (raw) => raw["vcpuStore"]!(0, 0n, 8, 9n),
      check: (m, { hva, pfn }, _ended, place) => {
        expect(m.load(hva), place).toBe(9n);
        expect(m.leaf(0n), place).toBe(0n);
        found.stored++;
        if ((pageFlags(m, pfn) & PageFlag.Dirty) === 0) found.forgotten++;
        m.raw["labInvalidateEnd"]!(m.host, hva, hva + PAGE);
        expect(m.quiesce(), place).toEqual(QUIET);
      },
    });
    return found;
  }

  test("a store at any moment of a zap leaves the page dirty; without the rule, one is forgotten", () => {
    const held = forgotten([]);
    expect(held.stored).toBeGreaterThan(5);
    expect(held.forgotten).toBe(0);
    const broken = forgotten([Rule.ZapExchanges]);
    expect(broken.stored).toBe(held.stored);
    expect(broken.forgotten).toBeGreaterThan(0);
  });
});

test("short of frames, a fault takes those of tables whose grace period has ended meanwhile", () => {
  const m = new KvmMachine({ frames: 1024 });
  m.view.setUint32(m.actor(1) + layout.GRACE_RCU, m.word(layout.KVM_RCU_EPOCH), true); // vCPU 1 reads
  const hva = m.map(1n << 40n, { actor: m.host });
  expect(m.setSlot(0, 0n, 1n << 28n, hva)).toBe(0);
  for (let i = 0n; i < 50n; i++) expect(m.guestStore(i << 30n, 1n)).toBe(Outcome.Ok);
  expect(m.deleteSlot(0)).toBe(0);
  expect(m.word(layout.KVM_DEFERRED_COUNT)).toBeGreaterThan(100);
  m.view.setUint32(m.actor(1) + layout.GRACE_RCU, 0, true); // and has finished
  // A slot over what the host has mapped: the fault needs tables only.
  const small = m.map(8n * PAGE, { actor: m.host });
  m.touch(small, 8n * PAGE, true, m.host);
  const taken: number[] = [];
  for (let pfn = m.u32("hostAllocPage", m.host); pfn; pfn = m.u32("hostAllocPage", m.host)) taken.push(pfn);
  expect(m.setSlot(1, 0n, 8n, small)).toBe(0);
  expect(m.guestStore(0n, 1n)).toBe(Outcome.Ok);
  expect(m.word(layout.KVM_DEFERRED_COUNT)).toBe(0);
  for (const pfn of taken) m.put(pfn, m.host);
  expect(m.quiesce()).toEqual(QUIET);
});

describe("a zap while somebody waits for mmu_lock", () => {
  /** Looks at entries between two yields: ENTRIES_PER_YIELD in kvm/tdp.ts. */
  const SLICE = 64;

  /** Zaps all with a waiter announced: yields, flushes, and accesses made in the longest time with the lock. */
  function zap(m: KvmMachine, hva: bigint, npages: bigint) {
    const before = { yields: m.stat(m.host, Stat.Yields), flushes: m.stat(m.host, Stat.RemoteFlushes) };
    let longest = 0;
    let run = 0;
    const guard = hangGuard();
    const raw = labInstance(m, {
      order: () => {
        guard();
        run = m.word(layout.KVM_MMU_LOCK) === 0 ? 0 : run + 1;
        longest = Math.max(longest, run);
        return undefined;
      },
    });
    m.view.setUint32(layout.KVM_MMU_LOCK + 4, 1, true);
    raw["labInvalidateStart"]!(m.host, hva, hva + npages * PAGE);
    m.view.setUint32(layout.KVM_MMU_LOCK + 4, 0, true);
    raw["labInvalidateEnd"]!(m.host, hva, hva + npages * PAGE);
    expect(m.leaves).toBe(0);
    return {
      yields: m.stat(m.host, Stat.Yields) - before.yields,
      flushes: m.stat(m.host, Stat.RemoteFlushes) - before.flushes,
      longest,
    };
  }

  test.each(PROFILES)("yields once for 64 leaves, each time with one flush, %s", (_name, profile) => {
    const m = new KvmMachine({ build: "lab", profile, frames: 2048 });
    const hva = m.backed(1000n);
    for (let i = 0n; i < 1000n; i++) m.guestStore(i << 12n, 1n);
    const { yields, flushes, longest } = zap(m, hva, 1000n);
    expect(yields).toBe(Math.floor(1000 / SLICE));
    expect(flushes).toBe(yields + 1);
    expect(longest).toBeLessThan(SLICE * 8);
    expect(m.quiesce()).toEqual(QUIET);
  });

  test.each(PROFILES)(
    "yields in tables without leaves as well, with nothing to flush, %s",
    (_name, profile) => {
      const m = new KvmMachine({ build: "lab", profile, frames: 2048 });
      const tables = 8n;
      const hva = m.map(tables << 21n, { actor: m.host });
      expect(m.setSlot(0, 0n, tables << 9n, hva)).toBe(0);
      for (let i = 0n; i < tables; i++) m.guestStore(i << 21n, 1n);
      m.dontneed(hva, tables << 21n, m.host);
      expect(m.leaves).toBe(0);
      const { yields, flushes, longest } = zap(m, hva, tables << 9n);
      expect(yields).toBeGreaterThanOrEqual((Number(tables) * 512) / SLICE - 1);
      expect(flushes).toBe(0);
      expect(longest).toBeLessThan(SLICE * 8);
      expect(m.quiesce()).toEqual(QUIET);
    },
  );

  test("does not yield when nobody waits", () => {
    const m = new KvmMachine({ build: "lab", frames: 2048 });
    const hva = m.backed(1000n);
    for (let i = 0n; i < 1000n; i++) m.guestStore(i << 12n, 1n);
    m.dontneed(hva, 1000n * PAGE, m.host);
    expect(m.stat(m.host, Stat.Yields)).toBe(0);
    expect(m.stat(m.host, Stat.RemoteFlushes)).toBeGreaterThan(0);
    expect(m.quiesce()).toEqual(QUIET);
  });
});

test("the epochs of SRCU and RCU wrap without ever being 0", () => {
  const words = [layout.KVM_SRCU_EPOCH, layout.KVM_RCU_EPOCH];
  let zeroes = 0;
  let armed = false;
  const guard = hangGuard();
  const m: KvmMachine = new KvmMachine({
    build: "lab",
    profile: Profile.V6_13,
    onAccess: () => {
      guard();
      if (armed && words.some((word) => m.word(word) === 0)) zeroes++;
    },
  });
  m.backed(4n);
  m.guestStore(0n, 1n);
  for (const word of words) {
    expect(m.word(word) & 1).toBe(1);
    m.view.setUint32(word, 0xffff_ffff, true);
  }
  armed = true;
  expect(m.deleteSlot(0)).toBe(0);
  armed = false;
  for (const word of words) expect(m.word(word)).toBeLessThan(100);
  expect(zeroes).toBe(0);
  expect(m.quiesce()).toEqual(QUIET);
});

// Row 6 of docs/protocol.md, The retry matrix, and its neighbours: a whole invalidation between any two accesses of a fault.
describe.each(PROFILES)("an invalidation at any moment of a fault, profile %s", (_, profile) => {
  /** How often a leaf leads to another page than the host's PTE; of how many places. */
  function stale(without: number[]): { stale: number; places: number } {
    const found = { stale: 0, places: 0 };
    found.places = atEveryAccess({
      machine: (onAccess) => new KvmMachine({ build: "lab", profile, without, onAccess }),
      prepare: (m) => m.backed(4n),
      first: (m) => m.guestStore(PAGE, 1n),
      second: (raw, hva, m) => raw["hostDontneed"]!(m.host, hva + PAGE, PAGE),
      check: (m, hva, ended, place) => {
        expect(ended, place).toBe(Outcome.Ok);
        if (m.leaf(1n) !== 0n && m.leafPfn(1n) !== m.pfnOf(hva + PAGE)) found.stale++;
        else expect(m.quiesce(), place).toEqual(QUIET);
      },
    });
    return found;
  }

  test("leaves no leaf that the host does not have", () => {
    const { stale: wrong, places } = stale([]);
    expect(places).toBeGreaterThan(30);
    expect(wrong).toBe(0);
  });

  test.each([
    ["SeqChecked", Rule.SeqChecked],
    ["SnapshotBeforeGup", Rule.SnapshotBeforeGup],
    ["RetryUnderLock", Rule.RetryUnderLock],
    ["LockHeldToInstall", Rule.LockHeldToInstall],
  ])("leaves a stale one without %s", (_name, rule) => {
    expect(stale([rule]).stale).toBeGreaterThan(0);
  });
});
