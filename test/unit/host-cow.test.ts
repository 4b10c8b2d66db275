// The shared zero page, copy-on-write and fork.
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import {
  HostMachine,
  HostStatus,
  HUGE,
  MachineOption,
  PAGE,
  READ,
  Rule,
  Trap,
  WRITE,
} from "../host-machine.js";
import { KvmMachine, Outcome, PROFILES, QUIET } from "../kvm-machine.js";

const { PTE_RW, PTE_SPECIAL, PageFlag, VmaFlag } = layout;
const ZERO = MachineOption.ZeroPages | MachineOption.SharedZeroPage;

describe("the shared zero page", () => {
  const machine = (options: object = {}): HostMachine => new HostMachine({ options: ZERO, ...options });

  test("is not made unless asked for", () => {
    const m = new HostMachine();
    expect(m.u32("hostZeroPfn")).toBe(0);
    const hva = m.map(PAGE);
    m.touch(hva, PAGE, false);
    expect(m.pte(hva) & (PTE_RW | PTE_SPECIAL)).toBe(PTE_RW);
  });

  test("is what every read fault maps, read-only and without a reference", () => {
    const m = machine();
    const zero = m.u32("hostZeroPfn");
    expect(m.pageFlags(zero)).toBe(PageFlag.Zero | PageFlag.Reserved);
    const hva = m.map(3n * PAGE);
    const { free } = m;
    expect(m.load(hva)).toBe(0n);
    const tables = free - m.free;
    expect(m.touch(hva, 3n * PAGE, false)).toBe(HostStatus.Ok);
    expect(free - m.free).toBe(tables);
    for (const at of [hva, hva + PAGE, hva + 2n * PAGE]) {
      expect([m.pfnOf(at), m.pte(at) & (PTE_RW | PTE_SPECIAL)]).toEqual([zero, PTE_SPECIAL]);
    }
    expect([m.refcount(zero), m.mapcount(zero), m.imbalance]).toEqual([1, 0, 0]);
    m.unmap(hva, 3n * PAGE);
    expect([m.refcount(zero), m.free, m.imbalance]).toEqual([1, free + 0, 0]);
  });

  test("is given to a lookup for reading, with a reference, and to none without a lock", () => {
    const m = machine();
    const zero = m.u32("hostZeroPfn");
    const hva = m.map(PAGE);
    expect(m.gup(hva, false)).toEqual({
      pfn: zero,
      status: HostStatus.Ok,
      writable: false,
      referenced: true,
    });
    expect([m.refcount(zero), m.gupFast(hva, false), m.imbalance]).toEqual([2, 0, 1]);
    m.put(zero);
    expect([m.refcount(zero), m.imbalance]).toEqual([1, 0]);
  });

  test("gives way to a page of one's own at the first write", () => {
    const m = machine();
    const zero = m.u32("hostZeroPfn");
    const hva = m.map(2n * PAGE);
    m.touch(hva, 2n * PAGE, false);
    const { flushes } = m;
    expect(m.store(hva + 8n, 5n)).toBe(HostStatus.Ok);
    expect(m.flushes).toBe(flushes + 1);
    expect([m.load(hva), m.load(hva + 8n), m.load(hva + PAGE)]).toEqual([0n, 5n, 0n]);
    expect([m.pfnOf(hva + PAGE), m.frameWord(zero)]).toEqual([zero, 0n]);
    const pfn = m.pfnOf(hva);
    expect([m.refcount(pfn), m.mapcount(pfn), m.pageFlags(pfn) & PageFlag.AnonExclusive]).toEqual([
      1,
      1,
      PageFlag.AnonExclusive,
    ]);
    const { pfn: second, writable } = m.gup(hva + PAGE);
    expect([writable, m.refcount(second)]).toEqual([true, 2]);
    m.put(second);
    expect(m.imbalance).toBe(0);
  });

  test("is not mapped where a large page is wanted, nor for a write", () => {
    const m = machine({ frames: 2048 });
    const hva = m.map(HUGE, { shift: 21 });
    m.touch(hva, PAGE, false);
    expect(m.shiftOf(hva)).toBe(21);
    const other = m.map(PAGE);
    m.store(other, 1n);
    expect(m.pfnOf(other)).not.toBe(m.u32("hostZeroPfn"));
    expect(m.imbalance).toBe(0);
  });

  test("leaves out of frames what cannot be copied, and the range as it was", () => {
    const m = machine({ frames: 64 });
    const hva = m.map(PAGE);
    m.touch(hva, PAGE, false);
    const held: number[] = [];
    for (let pfn = m.u32("hostAllocPage", 0); pfn; pfn = m.u32("hostAllocPage", 0)) held.push(pfn);
    expect(m.store(hva, 1n)).toBe(HostStatus.OutOfFrames);
    expect(m.pfnOf(hva)).toBe(m.u32("hostZeroPfn"));
    for (const pfn of held) m.put(pfn);
    expect(m.store(hva, 1n)).toBe(HostStatus.Ok);
    expect(m.imbalance).toBe(0);
  });

  test.each([
    ["refused", []],
    ["wraps to 0, and a put frees the page", [Rule.RefcountOverflowRefused]],
  ])("the reference beyond the limit is %s", (_name, without) => {
    const m = machine({ build: "lab", refcountLimit: 5, without });
    const zero = m.u32("hostZeroPfn");
    const hva = m.map(PAGE);
    for (let count = 2; count <= 5; count++) {
      expect(m.gup(hva, false).status).toBe(HostStatus.Ok);
      expect(m.refcount(zero)).toBe(count);
    }
    const last = m.gup(hva, false);
    if (without.length === 0) {
      expect([last.status, m.refcount(zero)]).toEqual([HostStatus.RefcountLimit, 5]);
      return;
    }
    expect([last.status, m.refcount(zero)]).toEqual([HostStatus.Ok, 0]);
    expect(() => m.put(zero)).toThrow();
    expect(m.trap).toBe(Trap.RefcountUnderflow);
  });
});

describe("the limit of a count", () => {
  test("holds for the lookup without a lock as well", () => {
    const m = new HostMachine({ refcountLimit: 3 });
    const hva = m.map(PAGE);
    m.touch(hva, PAGE);
    const pfn = m.pfnOf(hva);
    expect([m.gupFast(hva), m.gupFast(hva), m.gupFast(hva)]).toEqual([pfn, pfn, 0]);
    expect([m.gup(hva).status, m.refcount(pfn)]).toEqual([HostStatus.RefcountLimit, 3]);
    m.put(pfn);
    m.put(pfn);
    expect(m.imbalance).toBe(0);
  });

  test("without RefcountOverflowRefused: the count wraps, and an unmap finds a page that nobody holds", () => {
    const m = new HostMachine({ build: "lab", refcountLimit: 3, without: [Rule.RefcountOverflowRefused] });
    const hva = m.map(PAGE);
    m.touch(hva, PAGE);
    const pfn = m.pfnOf(hva);
    for (let i = 0; i < 3; i++) expect(m.gupFast(hva)).toBe(pfn);
    expect(m.refcount(pfn)).toBe(0);
    expect(() => m.unmap(hva, PAGE)).toThrow();
    expect(m.trap).toBe(Trap.RefcountUnderflow);
  });
});

describe("fork", () => {
  test("shares every page, write-protected in the parent, until the child exits", () => {
    const m = new HostMachine();
    const hva = m.map(4n * PAGE);
    for (let i = 0n; i < 3n; i++) m.store(hva + i * PAGE, i + 1n);
    const { free, flushes } = m;
    const child = m.fork(hva, 4n * PAGE);
    expect([m.free, m.flushes]).toEqual([free - 1, flushes + 1]);
    for (let i = 0n; i < 3n; i++) {
      const at = hva + i * PAGE;
      const pfn = m.pfnOf(at);
      expect([m.pte(at) & PTE_RW, m.refcount(pfn), m.mapcount(pfn)]).toEqual([0n, 2, 2]);
      expect([m.childPfn(child, at), m.pageFlags(pfn) & PageFlag.AnonExclusive]).toEqual([pfn, 0]);
    }
    expect([m.childPfn(child, hva + 3n * PAGE), m.imbalance]).toEqual([0, 0]);
    expect(m.forkExit(child)).toBe(HostStatus.Ok);
    expect([m.free, m.imbalance, m.refcount(m.pfnOf(hva))]).toEqual([free, 0, 1]);
    expect(m.forkExit(child)).toBe(HostStatus.Invalid);
  });

  test("a write copies what the child has, and what the child has stays as it was", () => {
    const m = new HostMachine();
    const hva = m.map(2n * PAGE);
    m.store(hva, 1n);
    m.store(hva + 8n, 11n);
    const old = m.pfnOf(hva);
    const child = m.fork(hva, 2n * PAGE);
    expect(m.store(hva, 2n)).toBe(HostStatus.Ok);
    const fresh = m.pfnOf(hva);
    expect(fresh).not.toBe(old);
    expect([m.load(hva), m.load(hva + 8n), m.frameWord(old)]).toEqual([2n, 11n, 1n]);
    expect([m.refcount(old), m.mapcount(old), m.refcount(fresh), m.mapcount(fresh)]).toEqual([1, 1, 1, 1]);
    expect([m.childPfn(child, hva), m.imbalance]).toEqual([old, 0]);
    expect(m.store(hva, 3n)).toBe(HostStatus.Ok);
    expect(m.pfnOf(hva)).toBe(fresh);
    m.forkExit(child);
    expect([m.refcount(old), m.imbalance]).toEqual([0, 0]);
  });

  test("a write takes the page back when the child has exited: nobody else refers to it", () => {
    const m = new HostMachine();
    const hva = m.map(PAGE);
    m.store(hva, 1n);
    const old = m.pfnOf(hva);
    m.forkExit(m.fork(hva, PAGE));
    expect(m.pte(hva) & PTE_RW).toBe(0n);
    const { flushes } = m;
    expect(m.store(hva, 2n)).toBe(HostStatus.Ok);
    expect([m.pfnOf(hva), m.flushes, m.pageFlags(old) & PageFlag.AnonExclusive]).toEqual([
      old,
      flushes,
      PageFlag.AnonExclusive,
    ]);
  });

  test("a plain reference makes the owner take a copy, a pin does not", () => {
    const m = new HostMachine();
    const hva = m.map(2n * PAGE);
    m.store(hva, 1n);
    m.store(hva + PAGE, 1n);
    const plain = m.gup(hva).pfn;
    const pinned = m.gup(hva + PAGE).pfn;
    for (let i = 1; i < 1024; i++) m.raw["hostGetPage"]!(0, pinned); // GUP_PIN_COUNTING_BIAS
    const child = m.fork(hva, 2n * PAGE);
    expect([m.childPfn(child, hva), m.pte(hva + PAGE) & PTE_RW]).toEqual([plain, PTE_RW]);
    const copy = m.childPfn(child, hva + PAGE);
    expect([copy === pinned, m.frameWord(copy), m.refcount(copy), m.mapcount(copy)]).toEqual([
      false,
      1n,
      1,
      1,
    ]);
    m.store(hva, 2n);
    m.store(hva + PAGE, 2n);
    expect(m.pfnOf(hva)).not.toBe(plain);
    expect(m.pfnOf(hva + PAGE)).toBe(pinned);
    expect([m.frameWord(plain), m.frameWord(pinned), m.frameWord(copy)]).toEqual([1n, 2n, 1n]);
    m.put(plain);
    for (let i = 0; i < 1024; i++) m.put(pinned);
    m.forkExit(child);
    expect(m.imbalance).toBe(0);
  });

  test("a page that one has the only claim to is reused after mprotect, held or not", () => {
    const m = new HostMachine();
    const hva = m.map(PAGE);
    m.store(hva, 1n);
    const { pfn } = m.gup(hva);
    m.protect(hva, PAGE, READ);
    m.protect(hva, PAGE, READ | WRITE);
    expect(m.pte(hva) & PTE_RW).toBe(0n);
    m.store(hva, 2n);
    expect([m.pfnOf(hva), m.frameWord(pfn)]).toEqual([pfn, 2n]);
    m.put(pfn);
  });

  test("twice: both children keep their side", () => {
    const m = new HostMachine();
    const hva = m.map(PAGE);
    m.store(hva, 1n);
    const first = m.fork(hva, PAGE);
    const pages = [m.pfnOf(hva)];
    const again = m.fork(hva, PAGE);
    expect(m.refcount(pages[0]!)).toBe(3);
    m.store(hva, 2n);
    const third = m.fork(hva, PAGE);
    m.store(hva, 3n);
    expect([first, again, third].map((child) => m.frameWord(m.childPfn(child, hva)))).toEqual([1n, 1n, 2n]);
    expect(m.imbalance).toBe(0);
    for (const child of [again, first, third]) expect(m.forkExit(child)).toBe(HostStatus.Ok);
    expect([m.refcount(pages[0]!), m.imbalance]).toEqual([0, 0]);
  });

  test("a large page is mapped by small entries first, and copied page by page", () => {
    const m = new HostMachine({ frames: 2048 });
    const hva = m.map(HUGE, { shift: 21 });
    m.store(hva + 5n * PAGE, 5n);
    const head = m.pfnOf(hva);
    const child = m.fork(hva, HUGE);
    expect([m.shiftOf(hva), m.refcount(head), m.mapcount(head)]).toEqual([12, 1024, 1024]);
    expect(m.childPfn(child, hva + 5n * PAGE)).toBe(head + 5);
    m.store(hva + 5n * PAGE, 6n);
    expect(m.pfnOf(hva + 5n * PAGE)).not.toBe(head + 5);
    expect([m.frameWord(head + 5), m.refcount(head), m.imbalance]).toEqual([5n, 1023, 0]);
    m.forkExit(child);
    expect([m.refcount(head), m.imbalance]).toEqual([511, 0]);
    // A large page is not taken back: its one count does not tell whose the references are.
    m.store(hva + 6n * PAGE, 6n);
    expect(m.pfnOf(hva + 6n * PAGE)).not.toBe(head + 6);
    m.unmap(hva, HUGE);
    expect(m.imbalance).toBe(0);
  });

  test("leaves shared mappings, remapped pfns and what is outside of the range alone", () => {
    const m = new HostMachine({ frames: 2048 });
    const huge = m.map(HUGE, { shift: 21, flags: READ | WRITE | VmaFlag.Hugetlb });
    m.touch(huge, HUGE);
    const pfn = m.u32("hostAllocRaw", 0, 0);
    const remapped = m.remap(pfn, 1n);
    const outside = m.map(PAGE);
    m.touch(outside, PAGE);
    for (const [hva, length] of [
      [huge, HUGE],
      [remapped, PAGE],
    ] as const) {
      const child = m.fork(hva, length);
      expect(m.pte(hva) & PTE_RW).toBe(PTE_RW);
      expect(m.childPfn(child, hva)).toBe(0);
      m.forkExit(child);
    }
    expect([m.pte(outside) & PTE_RW, m.shiftOf(huge)]).toEqual([PTE_RW, 21]);
    m.unmap(remapped, PAGE);
    m.raw["hostFreeRaw"]!(0, pfn, 0);
    expect(m.imbalance).toBe(0);
  });

  test("needs more than one frame of a record, and knows where every page is", () => {
    const m = new HostMachine({ frames: 1024 });
    const hva = m.map(600n * PAGE);
    m.touch(hva, 600n * PAGE);
    const { free } = m;
    const child = m.fork(hva, 600n * PAGE);
    expect(m.free).toBe(free - 3); // 255 entries a frame
    for (const i of [0n, 254n, 255n, 510n, 599n]) {
      expect(m.childPfn(child, hva + i * PAGE)).toBe(m.pfnOf(hva + i * PAGE));
    }
    expect(m.imbalance).toBe(0);
    m.forkExit(child);
    expect([m.free, m.imbalance]).toEqual([free, 0]);
  });

  test("out of frames there is no child, and nothing is lost", () => {
    const m = new HostMachine({ frames: 1024 });
    const hva = m.map(600n * PAGE);
    m.touch(hva, 600n * PAGE);
    const held: number[] = [];
    while (m.free > 2) held.push(m.u32("hostAllocPage", 0));
    expect(Number(m.u64("hostFork", 0, hva, 600n * PAGE) >> 32n)).toBe(HostStatus.OutOfFrames);
    expect(m.free).toBe(2);
    for (const pfn of held) m.put(pfn);
    expect(m.imbalance).toBe(0);
    expect(m.store(hva, 1n)).toBe(HostStatus.Ok);
  });

  test("refuses ranges and handles that are none", () => {
    const m = new HostMachine();
    const status = (hva: bigint, length: bigint): number => Number(m.u64("hostFork", 0, hva, length) >> 32n);
    expect([status(1n, PAGE), status(0x10000n, 0n)]).toEqual([HostStatus.Invalid, HostStatus.Invalid]);
    const { free } = m;
    const child = m.fork(0x10000n, PAGE); // nothing there: an empty child
    expect(m.forkExit(child)).toBe(HostStatus.Ok);
    expect(m.free).toBe(free);
    const table = m.word(layout.MM_BASE + layout.MM_PGD);
    for (const pfn of [0, 1, table, 511, 512, 0xffff_ffff]) expect(m.forkExit(pfn)).toBe(HostStatus.Invalid);
    expect(m.u64("hostForkPte", table, 0x10000n)).toBe(0n);
  });
});

test("the sequence of write protection is odd while a fork copies, and has moved when it is over", () => {
  const seen: number[] = [];
  let armed = false;
  const m: HostMachine = new HostMachine({
    build: "lab",
    onAccess: () => void (armed && seen.push(m.word(layout.MM_BASE + layout.MM_WRITE_PROTECT_SEQ))),
  });
  const hva = m.map(PAGE);
  m.touch(hva, PAGE);
  armed = true;
  const child = m.fork(hva, PAGE);
  armed = false;
  expect([...new Set(seen)]).toEqual([0, 1, 2]);
  m.forkExit(child);
});

describe.each(PROFILES)("a guest, %s", (_name, profile) => {
  test("loses its translations to a fork, reads what is shared, and writes to a copy", () => {
    const m = new KvmMachine({ profile });
    const hva = m.backed(2n);
    m.guestStore(8n, 1n);
    const old = m.leafPfn(0n);
    const child = m.fork(hva, 2n * PAGE, m.host);
    expect(m.leaf(0n)).toBe(0n);
    expect(m.guestLoad(8n)).toEqual({ outcome: Outcome.Ok, value: 1n });
    expect([m.leafPfn(0n), m.leaf(0n) & 2n]).toEqual([old, 0n]); // not writable
    expect(m.guestStore(8n, 2n)).toBe(Outcome.Ok);
    expect(m.leafPfn(0n)).not.toBe(old);
    expect([m.leafPfn(0n), m.load(hva + 8n), m.guestLoad(8n).value]).toEqual([m.pfnOf(hva), 2n, 2n]);
    expect(m.view.getBigUint64(m.u32("hostFrame", m.childPfn(child, hva)) + 8, true)).toBe(1n);
    m.forkExit(child);
    expect(m.quiesce()).toEqual(QUIET);
  });

  test("reads the zero page through a read-only leaf, and gets a page of its own for a write", () => {
    const m = new KvmMachine({ profile, options: ZERO });
    const hva = m.backed(2n);
    expect(m.guestLoad(0n)).toEqual({ outcome: Outcome.Ok, value: 0n });
    const zero = m.u32("hostZeroPfn");
    expect([m.leafPfn(0n), m.leaf(0n) & 2n, m.refcount(zero)]).toEqual([zero, 0n, 1]);
    expect(m.guestStore(0n, 9n)).toBe(Outcome.Ok);
    expect([m.load(hva), m.frameWord(zero), m.leafPfn(0n)]).toEqual([9n, 0n, m.pfnOf(hva)]);
    expect(m.quiesce()).toEqual(QUIET);
  });
});
