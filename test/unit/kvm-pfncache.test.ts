// gfn_to_pfn_cache: what a check, a refresh and a use answer, and the races with invalidations and with each other.
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { PAGE, READ, Rule } from "../host-machine.js";
import { atEveryAccess, labInstance } from "../interleaving.js";
import { KvmMachine, Outcome, Profile, QUIET } from "../kvm-machine.js";

const { KvmStatus, Note, PageFlag, SlotFlag } = layout;
const ERAS = [
  ["v5.4", Profile.V5_4],
  ["v6.13", Profile.V6_13],
] as const;

class CacheMachine extends KvmMachine {
  activate(cache: number, gpa: bigint, length = 8, actor = 0): number {
    return this.u32("kvmGpcActivate", actor, cache, gpa, length);
  }
  deactivate(cache: number, actor = 0): number {
    return this.u32("kvmGpcDeactivate", actor, cache);
  }
  good(cache: number, length = 8): boolean {
    return this.u32("kvmGpcCheck", 0, cache, length) !== 0;
  }
  refresh(cache: number, length = 8): number {
    return this.u32("kvmGpcRefresh", 0, cache, length);
  }
  write(cache: number, value: bigint, offset = 0, size = 8): number {
    return this.u32("kvmGpcWrite", 0, cache, offset, size, value);
  }
  read(cache: number, offset = 0, size = 8): { status: number; value: bigint } {
    const status = this.u32("kvmGpcRead", 0, cache, offset, size);
    return { status, value: this.u64("vcpuValue", 0) };
  }
  row(cache: number): number {
    return layout.KVM_GPCS + (cache << layout.GPC_SHIFT);
  }
  valid(cache: number): boolean {
    return this.word(this.row(cache) + layout.GPC_VALID) !== 0;
  }
  pfn(cache: number): number {
    return this.word(this.row(cache) + layout.GPC_PFN);
  }
  uhva(cache: number): bigint {
    return this.view.getBigUint64(this.row(cache) + layout.GPC_UHVA, true);
  }
  /** I17: what is valid is what the host maps. */
  coherent(cache: number): boolean {
    return !this.valid(cache) || this.pfn(cache) === this.pfnOf(this.uhva(cache));
  }
}

describe.each(ERAS)("a pfn cache, %s", (_name, profile) => {
  test("is used without a reference, and marks the page dirty", () => {
    const m = new CacheMachine({ profile });
    const hva = m.backed(4n);
    expect(m.good(0)).toBe(false);
    expect(m.activate(0, 0x1010n)).toBe(KvmStatus.Ok);
    const pfn = m.pfnOf(hva + PAGE);
    expect(m.refcount(pfn)).toBe(1);
    expect(m.good(0)).toBe(true);
    expect(m.write(0, 0x1234n, 16)).toBe(KvmStatus.Ok);
    expect(m.load(hva + PAGE + 0x20n)).toBe(0x1234n);
    expect(m.read(0, 17, 1)).toEqual({ status: KvmStatus.Ok, value: 0x12n });
    const flags =
      m.word(layout.HEADER_OFFSET_PAGES_BASE) + (pfn << layout.PAGE_STRUCT_SHIFT) + layout.PAGE_FLAGS;
    expect(m.word(flags) & PageFlag.Dirty).not.toBe(0);
    expect(m.quiesce()).toEqual(QUIET);
    expect(m.word(layout.KVM_GPC_LISTED)).toBe(0);
  });

  test("loses its page to an invalidation that meets it, and to no other", () => {
    const m = new CacheMachine({ profile });
    const hva = m.backed(4n);
    m.activate(0, PAGE);
    m.activate(7, 2n * PAGE, 8, 1);
    m.write(0, 1n);
    m.write(7, 2n);
    m.dontneed(hva + PAGE, PAGE, m.host);
    expect([m.valid(0), m.valid(7)]).toEqual([false, true]);
    expect(m.good(0)).toBe(false);
    expect(m.read(0)).toEqual({ status: KvmStatus.Ok, value: 0n }); // the page that is there now
    expect(m.read(7)).toEqual({ status: KvmStatus.Ok, value: 2n });
    expect(m.coherent(0)).toBe(true);
    expect(m.quiesce()).toEqual(QUIET);
  });

  test("follows a change of the memslots", () => {
    const m = new CacheMachine({ profile });
    m.backed(4n);
    m.activate(0, PAGE);
    m.write(0, 5n);
    m.backed(1n, { id: 1, baseGfn: 64n }); // another slot: the generation alone
    expect(m.valid(0)).toBe(true);
    expect(m.good(0)).toBe(false);
    expect(m.refresh(0)).toBe(KvmStatus.Ok);
    expect(m.read(0).value).toBe(5n);
    m.deleteSlot(0);
    expect(m.good(0)).toBe(false);
    expect(m.read(0).status).toBe(KvmStatus.NoSlot);
    const other = m.backed(4n, { id: 2 });
    expect(m.write(0, 6n)).toBe(KvmStatus.Ok);
    expect(m.load(other + PAGE)).toBe(6n);
    expect(m.quiesce()).toEqual(QUIET);
  });

  test("can be given another gpa, of the same page or not", () => {
    const m = new CacheMachine({ profile });
    const hva = m.backed(4n);
    m.activate(0, 0n);
    m.write(0, 1n);
    expect(m.activate(0, 0xff8n)).toBe(KvmStatus.Ok);
    expect(m.write(0, 2n)).toBe(KvmStatus.Ok);
    expect(m.load(hva + 0xff8n)).toBe(2n);
    expect(m.activate(0, 0x2008n)).toBe(KvmStatus.Ok);
    expect(m.write(0, 3n)).toBe(KvmStatus.Ok);
    expect(m.load(hva + 0x2008n)).toBe(3n);
    expect(m.word(layout.KVM_GPC_LISTED)).toBe(1);
    expect(m.quiesce()).toEqual(QUIET);
  });

  test("answers why it cannot be used", () => {
    const m = new CacheMachine({ profile });
    const hva = m.backed(4n);
    m.setSlot(1, 16n, 2n, m.map(2n * PAGE, { flags: READ }));
    m.setSlot(2, 32n, 2n, m.map(2n * PAGE), SlotFlag.ReadOnly);
    m.setSlot(3, 48n, 2n, hva + 64n * PAGE);
    expect(m.read(0).status).toBe(KvmStatus.Inactive);
    expect(m.refresh(0)).toBe(KvmStatus.Inactive);
    expect(m.deactivate(0)).toBe(KvmStatus.Inactive);
    expect(m.activate(0, 5n * PAGE)).toBe(KvmStatus.NoSlot);
    expect(m.activate(0, 16n * PAGE)).toBe(KvmStatus.HostFault);
    expect(m.activate(0, 32n * PAGE)).toBe(KvmStatus.ReadOnly);
    expect(m.activate(0, 48n * PAGE)).toBe(KvmStatus.HostFault);
    expect(m.activate(0, 0xffcn, 8)).toBe(KvmStatus.Invalid);
    expect(m.activate(layout.GPC_COUNT, 0n)).toBe(KvmStatus.Invalid);
    expect(m.activate(0, 0xff0n)).toBe(KvmStatus.Ok);
    for (const offset of [9, 4096, 0xffffffff]) expect(m.write(0, 1n, offset)).toBe(KvmStatus.Invalid);
    expect(m.good(0, 16)).toBe(true);
    expect(m.good(0, 17)).toBe(false);
    expect(m.refresh(0, 17)).toBe(KvmStatus.Invalid);
    for (const call of ["kvmGpcDeactivate", "kvmGpcRefresh", "kvmGpcRead", "kvmGpcWrite"])
      expect(m.u32(call, 0, layout.GPC_COUNT, 0, 8, 0n)).toBe(KvmStatus.Invalid);
    expect(m.good(layout.GPC_COUNT)).toBe(false);
    expect(m.deactivate(0)).toBe(KvmStatus.Ok);
    expect(m.write(0, 1n)).toBe(KvmStatus.Inactive);
    expect(m.quiesce()).toEqual(QUIET);
  });

  test("tells when it becomes valid, invalid, and is used", () => {
    const m = new CacheMachine({ build: "lab", profile });
    const hva = m.backed(4n);
    const told: [number, number, bigint, bigint][] = [];
    const raw = labInstance(m, {
      note: (kind: number, a: bigint, b: bigint) => void told.push([kind & 0xff, kind >>> 16, a, b]),
    } as never);
    raw["kvmGpcActivate"]!(0, 3, 0x1010n, 8);
    const pfn = BigInt(m.pfnOf(hva + PAGE));
    const address = BigInt(m.u32("hostFrame", Number(pfn))) + 0x10n;
    raw["kvmGpcWrite"]!(0, 3, 4, 4, 1n);
    raw["hostDontneed"]!(m.host, hva, 4n * PAGE);
    const kinds = new Set<number>([Note.GpcValid, Note.GpcInvalid, Note.GpcUse]);
    expect(told.filter(([kind]) => kinds.has(kind))).toEqual([
      [Note.GpcInvalid, 3, 0n, 0n],
      [Note.GpcValid, 3, hva + 0x1010n, pfn],
      [Note.GpcUse, 3, pfn, ((address + 4n) << 1n) | 1n],
      [Note.GpcInvalid, 3, 0n, 0n],
    ]);
    expect(m.quiesce()).toEqual(QUIET);
  });

  test("a refresh waits while an invalidation is open anywhere, and then uses what is there", () => {
    const acted = atEveryAccess({
      machine: (onAccess) => new CacheMachine({ build: "lab", profile, hosts: 2, onAccess }),
      prepare: (m) => {
        const hva = m.backed(4n);
        const elsewhere = m.map(PAGE, { actor: m.host });
        labInstance(m, {})["labInvalidateStart"]!(m.host, elsewhere, elsewhere + PAGE);
        return { hva, elsewhere };
      },
      first: (m) => m.activate(0, 0n),
      second: (raw, { elsewhere }, m) => raw["labInvalidateEnd"]!(m.host, elsewhere, elsewhere + PAGE),
      check: (m, _state, ended, place) => {
        expect(ended, place).toBe(KvmStatus.Ok);
        expect(m.valid(0) && m.coherent(0), place).toBe(true);
        expect(m.word(layout.KVM_MN_ACTIVE_WAITERS), place).toBe(0);
        expect(m.quiesce(), place).toEqual(QUIET);
      },
      places: Array(150).keys(),
    });
    expect(acted).toBeGreaterThan(50);
  });
});

describe.each(ERAS)("races of a pfn cache, %s", (_name, profile) => {
  const machine =
    (without: number[]) =>
    (onAccess: () => void): CacheMachine =>
      new CacheMachine({ build: "lab", profile, without, onAccess });

  interface Found {
    /** Places at which the cache names a page that the host does not map there. */
    stale: number;
    /** Places at which the cache's store landed in a frame of another owner. */
    foreign: number;
    places: number;
  }

  /** The page of a cache is discarded and handed out anew, by `first` or `second`, against a store through the cache. */
  function race(without: number[], hostFirst: boolean, inactive = false): Found {
    const found: Found = { stale: 0, foreign: 0, places: 0 };
    type Raw = ReturnType<typeof labInstance>;
    const discard = (raw: Raw, hva: bigint, taken: number[], m: CacheMachine): void => {
      raw["hostDontneed"]!(m.host, hva, PAGE);
      for (let i = 0; i < 4; i++) {
        const pfn = (raw["hostAllocPage"]!(m.host) as number) >>> 0;
        m.view.setBigUint64(m.u32("hostFrame", pfn), 0x1111n, true);
        taken.push(pfn);
      }
    };
    found.places = atEveryAccess({
      machine: machine(without),
      prepare: (m) => {
        const hva = m.backed(4n);
        m.touch(hva, PAGE, true, m.host);
        m.activate(0, 0n);
        if (inactive) m.deactivate(0);
        return { hva, taken: [] as number[] };
      },
      first: (m, { hva, taken }) => {
        if (hostFirst) discard(m.raw, hva, taken, m);
        else m.write(0, 0x6666n);
        return Outcome.Ok;
      },
      second: (raw, { hva, taken }, m) => {
        if (hostFirst) raw["kvmGpcWrite"]!(0, 0, 0, 8, 0x6666n);
        else discard(raw, hva, taken, m);
      },
      check: (m, { taken }, _ended, place) => {
        const isStale = !m.coherent(0);
        if (isStale) found.stale++;
        // Whoever uses the cache from now on: where does it lead?
        if (hostFirst) m.write(0, 0x7777n);
        if (taken.some((pfn) => m.view.getBigUint64(m.u32("hostFrame", pfn), true) !== 0x1111n))
          found.foreign++;
        for (const pfn of taken) m.put(pfn, m.host);
        expect(m.quiesce(), place).toEqual(QUIET);
      },
    });
    return found;
  }

  test("Z31: no refresh validates between the invalidation of caches and the count; without the rule, one does", () => {
    const held = race([], true);
    expect(held).toMatchObject({ stale: 0, foreign: 0 });
    expect(held.places).toBeGreaterThan(3);
    const broken = race([Rule.GpcRetriesOnActiveCount], true);
    expect(broken.stale).toBeGreaterThan(0);
    expect(broken.foreign).toBeGreaterThan(0);
  });

  test("a page goes only when nobody uses it; without GpcHeldWhileUsed it goes between check and access", () => {
    const held = race([], false);
    expect(held).toMatchObject({ stale: 0, foreign: 0 });
    expect(held.places).toBeGreaterThan(3);
    expect(race([Rule.GpcHeldWhileUsed], false).foreign).toBeGreaterThan(0);
  });

  test("Z34: a cache that is not active is out of use; without the rule it outlives its page", () => {
    expect(race([], true, true)).toMatchObject({ stale: 0, foreign: 0 });
    const broken = race([Rule.GpcActiveChecked], true, true);
    expect(broken.stale).toBeGreaterThan(0);
    expect(broken.foreign).toBeGreaterThan(0);
  });

  test("a cache deactivated at any moment of a use is out of use for good, or the use was before", () => {
    const places = atEveryAccess({
      machine: machine([]),
      prepare: (m) => {
        const hva = m.backed(4n);
        m.activate(0, 0n);
        m.dontneed(hva, PAGE, m.host);
        return hva;
      },
      first: (m) => m.write(0, 1n),
      second: (raw, _hva, m) => void raw["kvmGpcDeactivate"]!(m.host, 0),
      check: (m, hva, ended, place) => {
        expect([KvmStatus.Ok, KvmStatus.Inactive], place).toContain(ended);
        expect(m.load(hva), place).toBe(ended === KvmStatus.Ok ? 1n : 0n);
        expect(m.valid(0), place).toBe(false);
        expect(m.quiesce(), place).toEqual(QUIET);
      },
    });
    expect(places).toBeGreaterThan(5);
  });

  /** A refresh of one gpa, and at any moment of it the cache is given another. */
  function twoRefreshes(without: number[]): { mixed: number; places: number } {
    const found = { mixed: 0, places: 0 };
    found.places = atEveryAccess({
      machine: machine(without),
      prepare: (m) => {
        const hva = m.backed(4n);
        m.touch(hva, 2n * PAGE, true, m.host);
        m.activate(0, 0n);
        m.dontneed(hva, PAGE, m.host);
        return hva;
      },
      first: (m) => m.refresh(0),
      second: (raw) => void raw["kvmGpcActivate"]!(1, 0, PAGE, 8),
      check: (m, _hva, _ended, place) => {
        if (!m.coherent(0)) found.mixed++;
        expect(m.quiesce(), place).toEqual(QUIET);
      },
    });
    return found;
  }

  test("Z32: two refreshes leave the address and the page of one of them; without the mutex, of both", () => {
    const held = twoRefreshes([]);
    expect(held.mixed).toBe(0);
    expect(held.places).toBeGreaterThan(3);
    expect(twoRefreshes([Rule.GpcRefreshSerialised]).mixed).toBeGreaterThan(0);
  });
});
