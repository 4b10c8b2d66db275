// gup fast and slow, and what the lab build shows when a clause of the host is left out.
import { describe, expect, test } from "vitest";
import { HostMachine, HostStatus, PAGE, READ, Rule, Stat, Trap, WRITE } from "../host-machine.js";

describe("gup", () => {
  test("a write is served fast once the page is mapped writable", () => {
    const m = new HostMachine();
    const hva = m.map(PAGE);
    expect(m.gupFast(hva)).toBe(0);
    const first = m.gup(hva);
    expect([first.status, first.writable, m.refcount(first.pfn)]).toEqual([HostStatus.Ok, true, 2]);
    expect([m.stat(0, Stat.GupFast), m.stat(0, Stat.GupSlow)]).toEqual([0, 1]);
    expect(m.gupFast(hva)).toBe(first.pfn);
    expect(m.refcount(first.pfn)).toBe(3);
    m.put(first.pfn);
    m.put(first.pfn);
    expect([m.stat(0, Stat.GupFast), m.imbalance]).toEqual([1, 0]);
  });

  test("a read goes slow and reports a writable entry; fast-only reads what is there", () => {
    const m = new HostMachine();
    const hva = m.map(PAGE);
    const read = m.gup(hva, false);
    expect([read.writable, m.stat(0, Stat.GupFast), m.stat(0, Stat.GupSlow)]).toEqual([true, 0, 1]);
    m.put(read.pfn);
    expect(m.gupFast(hva, false)).toBe(read.pfn);
    m.put(read.pfn);
    expect(m.imbalance).toBe(0);
  });

  test("a write finds a read-only entry of a writable VMA slow, and upgrades it", () => {
    const m = new HostMachine();
    const hva = m.map(PAGE);
    m.touch(hva, PAGE);
    m.protect(hva, PAGE, READ);
    expect(m.gupFast(hva)).toBe(0);
    expect(m.gup(hva).status).toBe(HostStatus.Access);
    m.protect(hva, PAGE, READ | WRITE);
    expect(m.gup(hva, false).writable).toBe(false);
    expect(m.gup(hva).writable).toBe(true);
    const pfn = m.pfnOf(hva);
    m.put(pfn);
    m.put(pfn);
    expect(m.imbalance).toBe(0);
  });

  test("gup of many pages", () => {
    const m = new HostMachine();
    const hva = m.map(50n * PAGE);
    expect(m.u32("hostGupEach", 0, hva, 50, 1)).toBe(50);
    expect(m.u32("hostGupEach", 0, hva, 51, 1)).toBe(50);
    expect(m.imbalance).toBe(0);
  });
});

describe("without a clause (lab build)", () => {
  test("all rules on, the lab build does what the release build does", () => {
    const run = (build: "release" | "lab"): unknown => {
      const m = new HostMachine({ build });
      const hva = m.map(20n * PAGE);
      m.touch(hva, 20n * PAGE);
      m.dontneed(hva + 3n * PAGE, 5n * PAGE);
      m.protect(hva, 2n * PAGE, READ);
      const { pfn } = m.gup(hva + 4n * PAGE);
      m.put(pfn);
      return [pfn, m.free, m.flushes, m.vmas, m.imbalance];
    };
    expect(run("lab")).toEqual(run("release"));
  });

  test("GetUnlessZero: gup takes a reference on a page that is free, and the allocator finds it", () => {
    const m = new HostMachine({ build: "lab", without: [Rule.GetUnlessZero] });
    const hva = m.map(PAGE);
    m.touch(hva, PAGE);
    const pfn = m.pfnOf(hva);
    m.put(pfn); // a put too many: the page is free although it is mapped
    expect([m.gupFast(hva), m.refcount(pfn)]).toEqual([pfn, 1]);
    expect(() => m.u32("hostAllocPage", 0)).toThrow();
    expect(m.trap).toBe(Trap.AllocOfUsedPage);
    const held = new HostMachine({ build: "lab" });
    const at = held.map(PAGE);
    held.touch(at, PAGE);
    held.put(held.pfnOf(at));
    expect(held.gupFast(at)).toBe(0);
  });

  test("order rules of the host change no result where nobody else acts", () => {
    for (const without of [
      [],
      [Rule.HostFlushBeforePut],
      [Rule.HostPteClearedBeforeEnd],
      [Rule.StartBeforeClear],
    ]) {
      const m = new HostMachine({ build: "lab", without, frames: 2048, options: 0 });
      const hva = m.map(1200n * PAGE);
      m.touch(hva, 1200n * PAGE);
      m.dontneed(hva, 1200n * PAGE);
      m.unmap(hva, 1200n * PAGE);
      expect([m.flushes, m.free, m.imbalance]).toEqual([2, 2046, 0]);
    }
  });
});

describe("gup-fast, interrupted before its nth access (lab build)", () => {
  /** What gup-fast returned, and to whom the page belonged then, for an interruption at every place. */
  function interruptions(without: number[], reuse: boolean): string[] {
    const wrong: string[] = [];
    for (let n = 0, interrupted = true; interrupted; n++) {
      let left = Infinity;
      interrupted = false;
      const m = new HostMachine({
        build: "lab",
        without,
        onAccess: () => {
          if (left-- !== 0) return;
          interrupted = true;
          other["hostDontneed"]!(1, hva, PAGE);
          if (reuse) other["hostTouch"]!(1, hva + PAGE, PAGE, 1);
        },
      });
      const other = m.another();
      const hva = m.map(2n * PAGE);
      m.raw["hostTouch"]!(1, hva, PAGE, 1);
      const before = m.pfnOf(hva);
      left = n;
      const pfn = m.gupFast(hva);
      left = Infinity;
      if (pfn && m.pfnOf(hva + PAGE) === pfn) wrong.push(`access ${n}: the page of another address`);
      else if (pfn && (pfn !== before || m.epoch(pfn) !== 0)) wrong.push(`access ${n}: a free page`);
      else {
        if (pfn) m.put(pfn);
        if (m.imbalance) wrong.push(`access ${n}: the books do not balance`);
      }
    }
    return wrong;
  }

  test("all rules on: the page that was mapped, or none", () => {
    expect(interruptions([], true)).toEqual([]);
    expect(interruptions([], false)).toEqual([]);
  });

  test("without GupRechecksPte: a page that was freed and reused between the read and the get", () => {
    expect(interruptions([Rule.GupRechecksPte], true)).toEqual([
      expect.stringContaining("the page of another address"),
      expect.stringContaining("the page of another address"),
      expect.stringContaining("the page of another address"),
    ]);
    // With try_get alone a page that stays free is still refused.
    expect(interruptions([Rule.GupRechecksPte], false)).toEqual([]);
  });

  test("without GetUnlessZero: the free page is taken, then freed a second time", () => {
    expect(interruptions([Rule.GetUnlessZero], false)).not.toEqual([]);
  });
});

test("HostFlushBeforePut: no page is free before the host TLB is flushed; without it, pages are", () => {
  const freedEarly = (without: number[]): number => {
    let early = 0;
    let watch: (() => void) | null = null;
    const m = new HostMachine({ build: "lab", without, onAccess: () => watch?.() });
    const hva = m.map(3n * PAGE);
    m.touch(hva, 3n * PAGE);
    const pfns = [0n, 1n, 2n].map((i) => m.pfnOf(hva + i * PAGE));
    const other = m.another();
    watch = () => {
      if (other["hostTlbFlushes"]!() === 0n && pfns.some((pfn) => other["hostRefcount"]!(pfn) === 0)) early++;
    };
    m.dontneed(hva, 3n * PAGE);
    watch = null;
    expect([m.flushes, m.imbalance]).toEqual([1, 0]);
    return early;
  };
  expect(freedEarly([])).toBe(0);
  expect(freedEarly([Rule.HostFlushBeforePut])).toBeGreaterThan(0);
});
