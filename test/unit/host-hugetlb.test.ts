// hugetlb, whose pages are never split, and the split of large pages that are not.
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { HostMachine, HostStatus, HUGE, PAGE, READ, WRITE } from "../host-machine.js";
import { KvmMachine, Outcome, PROFILES, QUIET } from "../kvm-machine.js";

const { PageFlag, VmaFlag } = layout;
const HUGETLB = READ | WRITE | VmaFlag.Hugetlb;
const machine = (): HostMachine => new HostMachine({ frames: 3072, hosts: 2 });

describe("hugetlb", () => {
  test("installs pages of 2 MiB with their reference on the head, and no table in store", () => {
    const m = machine();
    const hva = m.map(2n * HUGE, { shift: 21, flags: HUGETLB });
    const { free } = m;
    m.store(hva + HUGE + 3n * PAGE, 7n);
    expect(m.shiftOf(hva + HUGE)).toBe(21);
    const head = m.pfnOf(hva + HUGE);
    expect(free - m.free).toBe(512 + 2); // PUD and PMD tables, none to split with
    expect(m.gup(hva + HUGE + 3n * PAGE).pfn).toBe(head + 3);
    expect([m.refcount(head), m.mapcount(head), m.u32("hostHead", head + 3)]).toEqual([2, 1, head]);
    m.put(head + 3);
    expect(m.imbalance).toBe(0);
    expect(m.unmap(hva, 2n * HUGE)).toBe(HostStatus.Ok);
    expect(m.imbalance).toBe(0);
  });

  test("has to be whole pages, from mmap to munmap", () => {
    const m = machine();
    expect(m.tryMap(0n, HUGE, HUGETLB, 12)).toBe(BigInt(HostStatus.Invalid));
    const hva = m.map(2n * HUGE, { shift: 21, flags: HUGETLB });
    m.touch(hva, 2n * HUGE);
    const before = [m.vmas, m.free];
    for (const [at, length] of [
      [hva + PAGE, PAGE],
      [hva, PAGE],
      [hva + PAGE, 2n * HUGE],
      [hva - HUGE, HUGE + PAGE],
    ] as const) {
      expect(m.unmap(at, length)).toBe(HostStatus.Invalid);
      expect(m.dontneed(at, length)).toBe(HostStatus.Invalid);
    }
    expect(m.protect(hva + PAGE, HUGE, READ)).toBe(HostStatus.Invalid);
    expect([m.vmas, m.free]).toEqual(before);
    expect(m.u32("hostSplitPage", 0, hva)).toBe(HostStatus.Invalid);
    expect(m.protect(hva, HUGE, READ)).toBe(HostStatus.Ok);
    expect(m.vmas.map(({ flags }) => flags)).toEqual([READ | VmaFlag.Hugetlb, HUGETLB]);
    expect(m.store(hva, 1n)).toBe(HostStatus.Access);
    expect(m.protect(hva, HUGE, READ | WRITE)).toBe(HostStatus.Ok);
    expect([m.store(hva, 1n), m.vmas.length]).toEqual([HostStatus.Ok, 1]);
    expect(m.dontneed(hva, HUGE)).toBe(HostStatus.Ok);
    expect([m.pte(hva), m.shiftOf(hva + HUGE)]).toEqual([0n, 21]);
    expect(m.unmap(hva + HUGE, HUGE)).toBe(HostStatus.Ok);
    expect([m.vmas.length, m.imbalance]).toEqual([1, 0]);
  });

  test("is out of frames without a block, and does not make do with small pages", () => {
    const m = new HostMachine({ frames: 512 });
    const hva = m.map(HUGE, { shift: 21, flags: HUGETLB });
    const { free } = m;
    expect(m.touch(hva, PAGE)).toBe(HostStatus.OutOfFrames);
    expect(m.pte(hva)).toBe(0n);
    expect([free - m.free, m.imbalance]).toEqual([2, 0]); // the tables above stay for the next fault
    const other = m.map(HUGE, { shift: 21 });
    expect([m.touch(other, PAGE), m.shiftOf(other)]).toEqual([HostStatus.Ok, 12]);
  });

  test("tells the size of its pages before there are any; other memory is of 4 KiB by its VMA", () => {
    const m = machine();
    const shift = (hva: bigint): number => m.u32("hostVmaPageShift", 0, hva);
    const hugetlb = m.map(HUGE, { shift: 21, flags: HUGETLB });
    const large = m.map(HUGE, { shift: 21 });
    const remapped = m.remap(0xfe000, 1n);
    expect([hugetlb, hugetlb + HUGE - 1n, large, remapped].map(shift)).toEqual([21, 21, 12, 12]);
    expect([0n, hugetlb - PAGE, 0x7fff_ffff_f000n].map(shift)).toEqual([0, 0, 0]);
  });

  test.each(PROFILES)("gives way to small pages at the same address, under a guest, %s", (_name, profile) => {
    const m = new KvmMachine({
      frames: 3072,
      profile,
      options: layout.MachineOption.ZeroPages | layout.MachineOption.HugePages,
    });
    const hva = m.map(HUGE, { shift: 21, flags: HUGETLB, actor: m.host });
    m.setSlot(0, 0n, 512n, hva);
    expect(m.guestStore(8n, 5n)).toBe(Outcome.Ok);
    expect(m.leaf(0n) & layout.SPTE_PS).toBe(layout.SPTE_PS);
    expect(m.unmap(hva, HUGE, m.host)).toBe(HostStatus.Ok);
    m.map(HUGE, { hva, actor: m.host });
    expect(m.guestLoad(8n)).toEqual({ outcome: Outcome.Ok, value: 0n });
    expect([m.leaf(0n) & layout.SPTE_PS, m.shiftOf(hva), m.u32("hostVmaPageShift", 0, hva)]).toEqual([
      0n,
      12,
      12,
    ]);
    expect(m.quiesce()).toEqual(QUIET);
  });
});

/** A 2 MiB page that has been written to. */
function large(m: HostMachine): { hva: bigint; head: number } {
  const hva = m.map(HUGE, { shift: 21 });
  for (const i of [0n, 5n, 511n]) m.store(hva + i * PAGE, i + 1n);
  return { hva, head: m.pfnOf(hva) };
}

describe("split of a large page", () => {
  test("makes each page one of its own, with the reference of its entry", () => {
    const m = machine();
    const { hva, head } = large(m);
    const ptes = [0n, 5n, 511n].map((i) => m.pfnOf(hva + i * PAGE));
    expect(m.u32("hostSplitPage", 0, hva + 5n * PAGE)).toBe(HostStatus.Ok);
    expect([0n, 5n, 511n].map((i) => m.load(hva + i * PAGE))).toEqual([1n, 6n, 512n]);
    expect(ptes).toEqual([head, head, head]); // the PMD entry names the first
    for (const i of [0, 1, 5, 511]) {
      expect(m.pfnOf(hva + BigInt(i) * PAGE)).toBe(head + i);
      expect([m.u32("hostHead", head + i), m.refcount(head + i), m.mapcount(head + i)]).toEqual([
        head + i,
        1,
        1,
      ]);
      expect(m.pageFlags(head + i)).toBe(PageFlag.AnonExclusive);
    }
    expect(m.imbalance).toBe(0);
    const { free } = m;
    m.dontneed(hva + 3n * PAGE, PAGE);
    expect([m.free, m.imbalance]).toEqual([free + 1, 0]); // no longer held by the others
    m.unmap(hva, HUGE);
    expect(m.imbalance).toBe(0);
  });

  test("frees the pages that are not mapped any more", () => {
    const m = machine();
    const { hva, head } = large(m);
    m.dontneed(hva, 2n * PAGE);
    m.dontneed(hva + 100n * PAGE, PAGE);
    const { free } = m;
    expect(m.u32("hostSplitPage", 0, hva + 5n * PAGE)).toBe(HostStatus.Ok);
    expect(m.free).toBe(free + 3);
    expect([0, 1, 100, 5].map((i) => m.refcount(head + i))).toEqual([0, 0, 0, 1]);
    expect([m.epoch(head), m.epoch(head + 5), m.imbalance]).toEqual([1, 0, 0]);
    m.unmap(hva, HUGE);
    expect(m.imbalance).toBe(0);
  });

  test("is refused while anybody holds the page, and does the mapping only", () => {
    const m = machine();
    const { hva, head } = large(m);
    const { pfn } = m.gup(hva + 7n * PAGE);
    expect(m.u32("hostSplitPage", 0, hva)).toBe(HostStatus.Busy);
    expect([m.shiftOf(hva), m.refcount(head), m.u32("hostHead", pfn)]).toEqual([12, 513, head]);
    m.put(pfn);
    const child = m.fork(hva, PAGE);
    expect(m.u32("hostSplitPage", 0, hva)).toBe(HostStatus.Busy);
    m.forkExit(child);
    expect(m.imbalance).toBe(0);
    expect(m.u32("hostSplitPage", 0, hva)).toBe(HostStatus.Ok);
    expect(m.imbalance).toBe(0);
  });

  test("is refused where there is no large page", () => {
    const m = machine();
    const hva = m.map(2n * PAGE);
    m.touch(hva, PAGE);
    const split = (at: bigint): number => m.u32("hostSplitPage", 0, at);
    expect([split(hva), split(hva + PAGE), split(hva + 2n * PAGE)]).toEqual([
      HostStatus.Invalid,
      HostStatus.Invalid,
      HostStatus.NoVma,
    ]);
    expect([split(m.remap(5, 1n)), split(0x7fff_ffff_f000n)]).toEqual([HostStatus.Invalid, HostStatus.NoVma]);
    expect(split(m.map(HUGE, { shift: 21 }))).toBe(HostStatus.Invalid); // nothing faulted in
  });

  test("under a guest takes its leaf away, and what it wrote is dirty on its own page", () => {
    const m = new KvmMachine({
      frames: 3072,
      options: layout.MachineOption.ZeroPages | layout.MachineOption.HugePages,
    });
    const hva = m.backed(512n, { shift: 21 });
    m.guestStore(5n * PAGE, 5n);
    expect(m.leaf(5n) & layout.SPTE_PS).toBe(layout.SPTE_PS);
    const head = m.pfnOf(hva);
    expect(m.u32("hostSplitPage", m.host, hva)).toBe(HostStatus.Ok);
    expect([m.leaf(5n), m.pageFlags(head + 5) & PageFlag.Dirty]).toEqual([0n, PageFlag.Dirty]);
    expect(m.guestLoad(5n * PAGE).value).toBe(5n);
    expect([m.leafPfn(5n), m.leaf(5n) & layout.SPTE_PS]).toEqual([head + 5, 0n]);
    expect(m.quiesce()).toEqual(QUIET);
  });
});
