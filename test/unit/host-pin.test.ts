// Pins, and direct I/O over them.
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { DIO_HANDLE, FileMachine, FollFlag, PIN, PINNED, PageFlag } from "../file-machine.js";
import { HostStatus, HUGE, MachineOption, PAGE, READ, Rule, Stat, Trap } from "../host-machine.js";
import { atEveryAccess } from "../interleaving.js";
import { Profile } from "../kvm-machine.js";

const LONGTERM = FollFlag.Write | FollFlag.Longterm;

describe("a pin", () => {
  test("of a single page is 1,024 references, slow and fast", () => {
    const m = new FileMachine();
    const hva = m.map(PAGE, { actor: m.host });
    expect(m.pinFast(hva)).toBe(0);
    const { pfn } = m.pin(hva);
    expect([m.refcount(pfn), m.maybePinned(pfn), m.u32("hostPincount", pfn)]).toEqual([1 + PIN, true, 0]);
    expect([m.pinFast(hva), m.refcount(pfn)]).toEqual([pfn, 1 + 2 * PIN]);
    expect(m.pin(hva)).toEqual({ pfn, status: HostStatus.Ok });
    expect(m.stat(m.host, Stat.GupFast)).toBe(2);
    expect(m.imbalance).toBe(1);
    for (let i = 0; i < 3; i++) m.unpin(pfn);
    expect([m.refcount(pfn), m.maybePinned(pfn), m.imbalance]).toEqual([1, false, 0]);
    expect(() => m.unpin(pfn)).toThrow();
    expect(m.trap).toBe(Trap.RefcountUnderflow);
  });

  test("of a compound page is one reference and one in its count of pins", () => {
    const m = new FileMachine({ frames: 2048 });
    const hva = m.map(HUGE, { shift: 21, actor: m.host });
    m.touch(hva, PAGE);
    const { pfn } = m.pin(hva + 7n * PAGE);
    const head = m.pfnOf(hva);
    expect([pfn, m.refcount(head), m.u32("hostPincount", pfn)]).toEqual([head + 7, 2, 1]);
    expect([m.maybePinned(head), m.maybePinned(pfn), m.imbalance]).toEqual([true, true, 1]);
    expect(m.pinFast(hva)).toBe(head);
    m.unpin(head);
    m.unpin(pfn);
    expect([m.refcount(head), m.u32("hostPincount", head), m.maybePinned(head), m.imbalance]).toEqual([
      1,
      0,
      false,
      0,
    ]);
    m.raw["hostGetPage"]!(0, head);
    expect(() => m.unpin(head)).toThrow();
    expect(m.trap).toBe(Trap.RefcountUnderflow);
  });

  test("the last one frees the page; a dirty one is marked first", () => {
    const m = new FileMachine();
    const hva = m.map(PAGE, { actor: m.host });
    const { pfn } = m.pin(hva);
    m.raw["hostUnpin"]!(m.host, pfn, 1);
    expect(m.flagsOf(pfn) & PageFlag.Dirty).toBe(PageFlag.Dirty);
    m.pin(hva);
    m.unmap(hva, PAGE);
    const free = m.free;
    m.unpin(pfn);
    expect([m.free, m.refcount(pfn), m.imbalance]).toEqual([free + 1, 0, 0]);
  });

  test("is refused where nothing is mapped, or not with that right", () => {
    const m = new FileMachine();
    const hva = m.map(PAGE, { flags: READ, actor: m.host });
    expect(m.pin(hva).status).toBe(HostStatus.Access);
    expect(m.pin(hva + PAGE).status).toBe(HostStatus.NoVma);
    expect(m.pin(1n << 60n).status).toBe(HostStatus.NoVma);
    const read = m.pin(hva, 0);
    expect([read.status, m.maybePinned(read.pfn)]).toEqual([HostStatus.Ok, true]);
    m.unpin(read.pfn);
    expect(m.imbalance).toBe(0);
  });

  test.each([
    ["v5.4", Profile.V5_4],
    ["v6.13", Profile.V6_13],
    ["v6.15", Profile.V6_15],
  ])("a long-term one is refused on DAX, slow and fast, in %s", (_name, profile) => {
    const m = new FileMachine({ profile });
    const file = m.file(1, m.device(0));
    const hva = m.mapFile(file, 1);
    expect(m.pin(hva, LONGTERM).status).toBe(HostStatus.LongtermRefused);
    m.store(hva, 1n);
    expect(m.pinFast(hva, LONGTERM)).toBe(0);
    expect(m.pin(hva, LONGTERM).status).toBe(HostStatus.LongtermRefused);
    const pfn = m.pinFast(hva);
    expect([pfn, m.truncate(file, 0)]).toEqual([m.pageOf(file, 0), HostStatus.Busy]);
    m.unpin(pfn);
    expect([m.truncate(file, 0), m.imbalance]).toEqual([HostStatus.Ok, 0]);
    const cached = m.file(1);
    const other = m.pin(m.mapFile(cached, 1), LONGTERM);
    expect(other.status).toBe(HostStatus.Ok);
    m.unpin(other.pfn);
    expect(m.imbalance).toBe(0);
  });

  test("without LongtermRefusedOnDax a pin that nobody drops keeps truncate waiting", () => {
    const m = new FileMachine({ build: "lab", without: [Rule.LongtermRefusedOnDax] });
    const file = m.file(1, m.device(0));
    const hva = m.mapFile(file, 1);
    const { pfn, status } = m.pin(hva, LONGTERM);
    expect([status, m.pinFast(hva, LONGTERM), m.truncate(file, 0)]).toEqual([
      HostStatus.Ok,
      pfn,
      HostStatus.Busy,
    ]);
  });
});

describe("a fork and a pin for writing", () => {
  /** What must be true of a page that was pinned, or found pinned, around a fork: the parent keeps it to itself. */
  function check(m: FileMachine, hva: bigint, { pinned, child }: Ends, place: string): void {
    const shared = m.childPfn(child, hva);
    if (pinned !== 0) {
      // A lookup whose pin came after the fork found the entry write-protected, and made the page the parent's own.
      expect(m.store(hva, 2n, 8, m.host), place).toBe(HostStatus.Ok);
      expect([m.pfnOf(hva), shared === pinned], place).toEqual([pinned, false]);
      m.unpin(pinned);
    }
    expect(m.frameWord(shared), place).toBe(1n);
    expect(m.u32("hostForkExit", m.host, child), place).toBe(HostStatus.Ok);
    expect(m.imbalance, place).toBe(0);
  }
  interface Ends {
    pinned: number;
    child: number;
  }
  const LOOKUPS = {
    hostPinFast: (raw: FileMachine["raw"], host: number, hva: bigint) =>
      raw["hostPinFast"]!(host, hva, PINNED),
    hostPin: (raw: FileMachine["raw"], host: number, hva: bigint) => raw["hostPin"]!(host, hva, PINNED),
  };
  const machine = (onAccess: () => void): FileMachine =>
    new FileMachine({ build: "lab", frames: 64, vmas: 4, onAccess });
  const prepare = (m: FileMachine): Ends & { hva: bigint } => {
    const hva = m.map(PAGE, { actor: m.host });
    m.store(hva, 1n, 8, m.host);
    return { hva, pinned: 0, child: 0 };
  };
  const numberOf = (result: number | bigint): number => Number(BigInt(result) & 0xffff_ffffn);

  test.each(["hostPinFast", "hostPin"] as const)("a fork at any moment of %s", (lookup) => {
    const outcomes = new Set<boolean>();
    const places = atEveryAccess({
      machine,
      prepare,
      first: (m, { hva }) => numberOf(LOOKUPS[lookup](m.raw, m.host, hva)),
      second: (raw, state, m) => void (state.child = numberOf(raw["hostFork"]!(m.host + 1, state.hva, PAGE))),
      check: (m, state, ended, place) => {
        outcomes.add(ended !== 0);
        check(m, state.hva, { child: state.child, pinned: ended }, place);
      },
    });
    expect(places).toBeGreaterThan(4);
    // The way without a lock gives up wherever the fork comes in between; the other makes a page of its own.
    expect([...outcomes]).toEqual([lookup === "hostPin"]);
  });

  test.each(["hostPinFast", "hostPin"] as const)("%s at any moment of a fork", (lookup) => {
    const outcomes = new Set<boolean>();
    const places = atEveryAccess({
      machine,
      prepare,
      first: (m, { hva }) => numberOf(m.raw["hostFork"]!(m.host, hva, PAGE)),
      second: (raw, state, m) => void (state.pinned = numberOf(LOOKUPS[lookup](raw, m.host + 1, state.hva))),
      check: (m, state, ended, place) => {
        outcomes.add(state.pinned !== 0);
        check(m, state.hva, { pinned: state.pinned, child: ended }, place);
      },
    });
    expect(places).toBeGreaterThan(4);
    expect([...outcomes].sort()).toEqual(lookup === "hostPinFast" ? [false, true] : [true]);
  });
});

test("a remapped pfn cannot be pinned, and a page with as many references as it may have neither", () => {
  const m = new FileMachine({ refcountLimit: 4 });
  const at = m.remap(m.u32("hostAllocRaw", m.host, 0), 1n);
  expect([m.pinFast(at), m.pin(at).status]).toEqual([0, HostStatus.Pfnmap]);
  const hva = m.map(PAGE, { actor: m.host });
  const { pfn } = m.pin(hva);
  expect([m.pinFast(hva), m.pin(hva).status, m.refcount(pfn)]).toEqual([
    0,
    HostStatus.RefcountLimit,
    1 + PIN,
  ]);
  m.unpin(pfn);
  expect(m.refcount(pfn)).toBe(1);
});

describe("direct I/O", () => {
  test("moves bytes between a device and user space, through no page table", () => {
    const m = new FileMachine();
    const hva = m.map(3n * PAGE, { actor: m.host });
    const length = 6000;
    const bytes = m.buffer(m.host, length);
    for (let i = 0; i < length; i++) bytes[i] = i * 7;
    expect(m.u32("hostDirectRead", m.host, hva + 2001n, length)).toBe(HostStatus.Ok);
    expect(m.imbalance).toBe(0);
    for (const i of [0, 1, 2094, 2095, 5999])
      expect(m.load(hva + 2001n + BigInt(i), 1)).toBe(BigInt((i * 7) & 255));
    expect([m.load(hva + 2000n, 1), m.load(hva + 8001n, 1)]).toEqual([0n, 0n]);
    bytes.fill(0);
    expect(m.u32("hostDirectWrite", m.host, hva + 2001n, length)).toBe(HostStatus.Ok);
    expect(bytes.every((byte, i) => byte === ((i * 7) & 255))).toBe(true);
    expect(m.flagsOf(m.pfnOf(hva)) & PageFlag.Dirty).toBe(PageFlag.Dirty);
    expect(m.imbalance).toBe(0);
  });

  test("begins, transfers and ends apart, the device being another actor; its pins are in the books", () => {
    const m = new FileMachine();
    const device = m.host + 1;
    const hva = m.map(2n * PAGE, { actor: m.host });
    const handle = m.u32("hostDirectBegin", m.host, hva + 8n, 5000, PINNED);
    expect(handle).toBe(DIO_HANDLE);
    const [first, second] = [m.pfnOf(hva), m.pfnOf(hva + PAGE)];
    expect([m.maybePinned(first), m.maybePinned(second), m.imbalance]).toEqual([true, true, 0]);
    m.buffer(device, 16).fill(0x5a);
    expect(m.u32("hostDirectTransfer", device, handle, 4080, 16)).toBe(HostStatus.Ok);
    expect([m.byteAt(first, 4088), m.byteAt(second, 0), m.byteAt(second, 8)]).toEqual([0x5a, 0x5a, 0]);
    expect(m.u32("hostDirectTransfer", device, handle, 4992, 8)).toBe(HostStatus.Ok);
    expect(m.u32("hostDirectTransfer", device, handle, 4993, 8)).toBe(HostStatus.Invalid);
    expect(m.u32("hostDirectTransfer", device, handle, 0xffff_fff8, 8)).toBe(HostStatus.Invalid);
    expect(m.u32("hostDirectTransfer", device, handle + 1, 0, 8)).toBe(HostStatus.Invalid);
    expect(m.u32("hostDirectEnd", device, handle)).toBe(HostStatus.Ok);
    expect(m.u32("hostDirectEnd", device, handle)).toBe(HostStatus.Invalid);
    expect(m.u32("hostDirectTransfer", device, handle, 0, 8)).toBe(HostStatus.Invalid);
    expect([m.maybePinned(first), m.imbalance]).toEqual([false, 0]);
  });

  test("pins of a large page in a transfer are in the books as well", () => {
    const m = new FileMachine({ frames: 2048 });
    const hva = m.map(HUGE, { shift: 21, actor: m.host });
    const handle = m.u32("hostDirectBegin", m.host, hva, 3 * 4096, PINNED);
    expect(handle).toBe(DIO_HANDLE);
    expect([m.u32("hostPincount", m.pfnOf(hva)), m.imbalance]).toEqual([3, 0]);
    m.u32("hostDirectEnd", m.host, handle);
    expect([m.u32("hostPincount", m.pfnOf(hva)), m.imbalance]).toEqual([0, 0]);
  });

  test("pins of the shared zero page in a transfer are in the books as well", () => {
    const m = new FileMachine({ options: MachineOption.ZeroPages | MachineOption.SharedZeroPage });
    const hva = m.map(PAGE, { actor: m.host });
    const handle = m.u32("hostDirectBegin", m.host, hva, 8, 0);
    expect(handle).toBeGreaterThanOrEqual(DIO_HANDLE);
    expect([m.refcount(m.u32("hostZeroPfn")), m.imbalance]).toEqual([1 + PIN, 0]);
    expect([m.u32("hostDirectEnd", m.host, handle), m.imbalance]).toEqual([HostStatus.Ok, 0]);
  });

  test("what cannot be pinned as a whole is not pinned in part", () => {
    const m = new FileMachine();
    const hva = m.map(2n * PAGE, { actor: m.host });
    expect(m.u32("hostDirectBegin", m.host, hva, 3 * 4096, PINNED)).toBe(HostStatus.NoVma);
    expect([m.refcount(m.pfnOf(hva)), m.imbalance]).toEqual([1, 0]);
    expect(m.u32("hostDirectBegin", m.host, hva, 0, PINNED)).toBe(HostStatus.Invalid);
    expect(m.u32("hostDirectBegin", m.host, hva, 25 * 4096, PINNED)).toBe(HostStatus.Invalid);
    expect(m.u32("hostDirectRead", m.host, hva, 16385)).toBe(HostStatus.Invalid);
    const handles = Array.from({ length: layout.DIO_MAX }, () => m.u32("hostDirectBegin", m.host, hva, 1, 0));
    expect(new Set(handles).size).toBe(layout.DIO_MAX);
    expect(m.u32("hostDirectBegin", m.host, hva, 1, 0)).toBe(HostStatus.TooManyFiles);
    for (const handle of handles) m.u32("hostDirectEnd", m.host, handle);
    expect(m.imbalance).toBe(0);
  });

  test("a device that writes to a truncated page of the cache writes to nobody's file", () => {
    const m = new FileMachine();
    const file = m.file(1);
    const hva = m.mapFile(file, 1);
    const handle = m.u32("hostDirectBegin", m.host, hva, 8, PINNED);
    const orphan = m.pageOf(file, 0);
    m.truncate(file, 0);
    m.truncate(file, 1);
    m.buffer(m.host, 8).fill(0xdd);
    m.u32("hostDirectTransfer", m.host, handle, 0, 8);
    expect([m.byteAt(orphan), m.load(hva), m.readByte(file, 0)]).toEqual([0xdd, 0n, 0]);
    expect(m.imbalance).toBe(0);
    m.u32("hostDirectEnd", m.host, handle);
    expect([m.refcount(orphan), m.imbalance]).toEqual([0, 0]);
  });
});
