// What the lab build tells the checkers (assembly/note.ts), event by event, and the actors that only the lab has.
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { HUGE, MachineOption, PAGE } from "../host-machine.js";
import { labInstance } from "../interleaving.js";
import { Access, KvmMachine, Outcome, QUIET } from "../kvm-machine.js";

const { Note, LockKind } = layout;
const NAMES = Object.fromEntries(Object.entries(Note).map(([name, kind]) => [kind, name]));
/** Told so often that a list of all would be read by nobody; each has a test of its own. */
const QUIET_KINDS: readonly string[] = ["LockWanted", "LockTaken", "LockDropped", "MaySleep"];

interface Told {
  readonly name: string;
  readonly sub: number;
  readonly detail: number;
  readonly a: bigint;
  readonly b: bigint;
}

class Listening {
  readonly told: Told[] = [];
  readonly machine: KvmMachine;

  constructor(options: ConstructorParameters<typeof KvmMachine>[0] = {}) {
    this.machine = new KvmMachine({
      build: "lab",
      ...options,
      onNote: (kind, a, b) =>
        void this.told.push({
          name: NAMES[kind & 0xff]!,
          sub: (kind >> 8) & 0xff,
          detail: kind >>> 16,
          a: BigInt.asUintN(64, a),
          b: BigInt.asUintN(64, b),
        }),
    });
  }

  /** What was told while `action` ran. */
  during(action: () => unknown): Told[] {
    this.told.length = 0;
    action();
    return [...this.told];
  }

  /** The names, without those of locks. */
  names(action: () => unknown): string[] {
    return this.during(action)
      .map(({ name }) => name)
      .filter((name) => !QUIET_KINDS.includes(name));
  }
}

/** Entering guest mode, and an access that leaves it for a fault. */
const ENTER = ["ReadEnter", "GuestEnter", "ReadLeave"];
const EXIT = ["GuestExit", "ReadEnter"];
const ENTER_AGAIN = ["GuestEnter", "ReadLeave"];

describe("events", () => {
  test("of a fault in an empty machine, and of an access that hits", () => {
    const l = new Listening({ options: MachineOption.ZeroPages });
    const hva = l.machine.backed(4n);
    const fault = l.during(() => l.machine.guestStore(0x10n, 1n));
    expect(fault.map(({ name }) => name).filter((name) => !QUIET_KINDS.includes(name))).toEqual([
      ...["ReadEnter", "PageAlloc", "TableAlloc", "TlbFlush", "RootLoaded", "GuestEnter", "ReadLeave"],
      ...EXIT,
      ...["PageAlloc", "PageAlloc", "PageAlloc"], // the table cache
      ...["ReadEnter", "ReadLeave"], // gup-fast
      ...["PageAlloc", "PageAlloc", "PageAlloc", "PageAlloc", "HostLeaf"],
      ...["ReadEnter", "TableAlloc", "SpteLink", "TableAlloc", "SpteLink", "TableAlloc", "SpteLink"],
      ...["SpteLeaf", "ReadLeave", "MetaUse", "PageDirty", "PagePut"],
      ...ENTER_AGAIN,
      ...["TlbFill", "GuestUse", "GuestExit"],
    ]);
    const one = (name: string): Told => fault.findLast((told) => told.name === name)!;
    const pfn = BigInt(l.machine.pfnOf(hva));
    const root = l.machine.u32("kvmVcpuRoot", 0);
    expect(one("RootLoaded")).toMatchObject({ a: BigInt(root), detail: 0 });
    expect(one("HostLeaf")).toMatchObject({ a: hva | 12n, b: l.machine.pte(hva), sub: 0 });
    expect(one("SpteLeaf")).toMatchObject({ a: 12n << 56n, b: l.machine.leaf(0n), detail: root, sub: 0 });
    expect(one("SpteLink")).toMatchObject({ a: 21n << 56n, detail: root });
    expect(one("TlbFill")).toMatchObject({ a: 0n, b: (pfn << 12n) | 1n, sub: 12 });
    const frame = BigInt(l.machine.u32("hostFrame", Number(pfn)));
    expect(one("GuestUse")).toMatchObject({ a: 0x10n, b: ((frame + 0x10n) << 1n) | 1n });
    expect(one("PagePut")).toMatchObject({ a: pfn, b: 1n });
    expect(l.names(() => l.machine.guestLoad(0n))).toEqual([...ENTER, "GuestUse", "GuestExit"]);
    expect(l.machine.quiesce()).toEqual(QUIET);
  });

  test("of a munmap: zapped and flushed, then cleared, then freed", () => {
    const l = new Listening();
    const hva = l.machine.backed(4n);
    l.machine.guestStore(0n, 1n);
    const pfn = BigInt(l.machine.pfnOf(hva));
    const told = l.during(() => l.machine.unmap(hva, PAGE, l.machine.host));
    expect(told.map(({ name }) => name).filter((name) => !QUIET_KINDS.includes(name))).toEqual([
      ...["NotifyStart", "ActiveCount", "ReadEnter", "InProgress", "Range", "Range", "Range"],
      ...["SpteLeaf", "MetaUse", "FlushBegin", "FlushDone", "ReadLeave", "NotifyStarted"],
      ...["HostLeaf", "HostFlush", "PagePut", "PageFree"],
      ...["NotifyEnd", "ReadEnter", "InProgress", "ReadLeave", "ActiveCount"],
    ]);
    const of = (name: string): Told[] => told.filter((t) => t.name === name);
    expect(of("Range").map(({ a, b }) => [a, b])).toEqual([
      [layout.RANGE_SENTINEL, 0n],
      [0n, 0n],
      [0n, 1n],
    ]);
    expect(of("InProgress").map(({ a, b }) => [a, b])).toEqual([
      [1n, 0n],
      [0n, 1n],
    ]);
    expect(of("ActiveCount").map(({ a }) => a)).toEqual([1n, 0n]);
    expect(of("SpteLeaf")[0]).toMatchObject({ a: 12n << 56n, b: 0n });
    expect(of("HostLeaf")[0]).toMatchObject({ a: hva | 12n, b: 0n });
    expect(of("PagePut")[0]).toMatchObject({ a: pfn, b: 0n });
    expect(of("PageFree")[0]).toMatchObject({ a: pfn, b: 0n });
    // The flush that was asked for is made on the way in.
    expect(l.names(() => l.machine.guestLoad(PAGE)).slice(0, 3)).toEqual([
      "ReadEnter",
      "TlbFlush",
      "GuestEnter",
    ]);
    expect(l.machine.quiesce()).toEqual(QUIET);
  });

  test("of a memslot's deletion: the root is invalid before its entries go", () => {
    const l = new Listening({ options: MachineOption.ZeroPages });
    l.machine.backed(4n, { baseGfn: 8n });
    l.machine.guestStore(8n * PAGE, 1n);
    const root = l.machine.u32("kvmVcpuRoot", 0);
    const told = l.during(() => l.machine.deleteSlot(0));
    const freed = ["TableFree", "PagePut", "PageFree"];
    expect(told.map(({ name }) => name).filter((name) => !QUIET_KINDS.includes(name))).toEqual([
      ...["SlotsPublished", "RootInvalid"],
      ...["SpteLink", "SpteLink", "SpteLeaf", "MetaUse", "SpteLink"],
      ...[...freed, ...freed, ...freed],
      ...["SlotsPublished", "SlotDeleted"],
    ]);
    expect(told.find(({ name }) => name === "RootInvalid")!.a).toBe(BigInt(root));
    expect(told.find(({ name }) => name === "SpteLeaf")).toMatchObject({
      a: (12n << 56n) | 8n,
      b: 0n,
      detail: root,
    });
    expect(told.find(({ name }) => name === "SlotDeleted")).toMatchObject({ a: 8n, b: 4n });
    expect(l.machine.quiesce()).toEqual(QUIET);
  });

  test("of a large leaf that is split, in the host's tables and in KVM's", () => {
    const l = new Listening({ frames: 2048, options: MachineOption.ZeroPages | MachineOption.HugePages });
    const hva = l.machine.backed(512n, { shift: 21 });
    const made = l.during(() => l.machine.guestStore(0n, 1n));
    expect(made.find(({ name }) => name === "HostLeaf")).toMatchObject({
      a: hva | 21n,
      b: l.machine.pte(hva),
    });
    expect(made.find(({ name }) => name === "SpteLeaf")).toMatchObject({ a: 21n << 56n, sub: 0 });
    const head = BigInt(l.machine.pfnOf(hva));
    const leaf = l.machine.pte(hva);
    const told = l.during(() => l.machine.unmap(hva, PAGE, l.machine.host));
    const host = told.filter(({ name }) => name === "HostLeaf");
    expect(host).toMatchObject([
      { a: hva | 21n, b: leaf, sub: layout.NOTE_SPLIT >> 8 },
      { a: hva | 12n, b: 0n, sub: 0 },
    ]);
    expect(told.find(({ name }) => name === "PageGet")).toMatchObject({ a: head, b: 512n });
    expect(l.machine.imbalance).toBe(0);
    expect(hva % HUGE).toBe(0n);
  });

  test("of locks: each that is taken was wanted, is dropped, and has its kind", () => {
    const l = new Listening();
    const hva = l.machine.backed(4n);
    const told = l.during(() => {
      l.machine.guestStore(0n, 1n);
      l.machine.unmap(hva, PAGE, l.machine.host);
      l.machine.deleteSlot(0);
    });
    const held = new Map<bigint, number>();
    const kinds = new Map<bigint, Set<number>>();
    for (const [i, { name, a, sub }] of told.entries()) {
      if (name === "LockTaken") {
        expect(told.slice(0, i).some((t) => t.name === "LockWanted" && t.a === a)).toBe(true);
        held.set(a, (held.get(a) ?? 0) + 1);
        kinds.set(a, (kinds.get(a) ?? new Set()).add(sub));
      }
      if (name === "LockDropped") held.set(a, held.get(a)! - 1);
      // Nothing that sleeps under a lock that must not.
      if (name === "MaySleep") {
        for (const [lock, n] of held) if (n) expect([...kinds.get(lock)!]).toEqual([LockKind.Sleeping]);
      }
    }
    expect([...held.values()].every((n) => n === 0)).toBe(true);
    const kind = (at: number): number[] => [...kinds.get(BigInt(at))!];
    expect(kind(layout.KVM_MMU_LOCK)).toEqual([LockKind.RwLock]);
    expect(kind(layout.KVM_SLOTS_LOCK)).toEqual([LockKind.Sleeping]);
    expect(kind(layout.MM_BASE + layout.MM_MMAP_LOCK)).toEqual([LockKind.Sleeping]);
    expect(kind(layout.KVM_MN_INVALIDATE_LOCK)).toEqual([LockKind.Spin]);
  });
});

describe("a retry that would spin sleeps instead", () => {
  test("on the end of an invalidation, on a word that says so", () => {
    const m = new KvmMachine({ build: "lab" });
    const hva = m.backed(4n);
    const before = m.word(layout.KVM_INVALIDATE_ENDS);
    m.raw["labInvalidateStart"]!(m.host, hva, hva + PAGE);
    expect(m.word(layout.KVM_INVALIDATE_ENDS)).toBe(before);
    m.raw["labInvalidateEnd"]!(m.host, hva, hva + PAGE);
    expect(m.word(layout.KVM_INVALIDATE_ENDS)).toBe(before + 1);
    expect(m.word(layout.KVM_INVALIDATE_IN_PROGRESS)).toBe(0);
  });

  test.each([
    ["on the update that has made its slot invalid, and not by faulting again and again", 0, [1, 1]],
    ["but not on a machine that is to spin", MachineOption.SpinOnRetry, [2, Infinity]],
  ] as const)("%s", (_name, option, [least, most]) => {
    const ACCESSES = 600;
    let budget = Infinity;
    let faults = -1;
    const m: KvmMachine = new KvmMachine({
      build: "lab",
      spinLimit: 0,
      options: MachineOption.ZeroPages | option,
      onNote: (kind) => {
        if ((kind & 0xff) !== Note.SlotsPublished || faults >= 0 || !ready) return;
        budget = ACCESSES;
        expect(() => vcpu["vcpuStore"]!(0, PAGE, 8, 1n)).toThrow("enough");
        faults = m.stat(0, layout.Stat.Faults) - before;
        throw new Error("measured"); // the vCPU was left where it stood: nobody could go on
      },
    });
    const vcpu = labInstance(m, {
      order: () => {
        if (budget-- === 0) throw new Error("enough");
        return undefined;
      },
    });
    let ready = false;
    m.backed(4n);
    m.guestStore(0n, 1n);
    const before = m.stat(0, layout.Stat.Faults);
    ready = true;
    expect(() => m.deleteSlot(0)).toThrow("measured");
    expect(faults).toBeGreaterThanOrEqual(least);
    expect(faults).toBeLessThanOrEqual(most);
  });
});

describe("the page walker as an actor", () => {
  const HARDWARE = 3; // the second host thread, behind two vCPUs

  /** A machine whose walker acts once, before access `at` of the vCPU's run. */
  function speculating(at: number, gva: bigint) {
    let left = Infinity;
    let filled: number | undefined;
    const listening = new Listening({
      hosts: 2,
      onAccess: () => {
        if (left-- === 0) filled = hardware["labSpeculate"]!(HARDWARE, 0, gva, Access.Read) as number;
      },
    });
    const hardware = labInstance(listening.machine, {});
    return {
      m: listening.machine,
      run: (action: () => unknown) => {
        left = at;
        action();
        left = Infinity;
        return filled;
      },
    };
  }

  test("fills the TLB in guest mode only, and leaves the vCPU's record alone", () => {
    const filled = new Set<number | undefined>();
    for (let at = 0; at < 40; at++) {
      const { m, run } = speculating(at, PAGE);
      m.backed(4n);
      m.guestStore(PAGE, 1n);
      m.guestStore(0n, 1n);
      m.raw["tlbFlush"]!(0, 0, 0n);
      const walk = m.actor(0) + layout.ACTOR_WALK;
      const record = (): string => String(new Uint8Array(m.memory.buffer.slice(walk, walk + 48)));
      const before = record();
      const result = run(() => m.guestLoad(0n));
      if (result !== undefined)
        expect(m.u32("tlbProbe", 0, PAGE, Access.Read) !== 0, `at ${at}`).toBe(result === 1);
      expect(record()).toBe(before);
      filled.add(result);
      expect(m.quiesce()).toEqual(QUIET);
    }
    expect(filled).toEqual(new Set([0, 1, undefined]));
  });

  test("does not fill for a vCPU that is outside", () => {
    const m = new KvmMachine({ build: "lab", hosts: 2 });
    m.backed(4n);
    m.guestStore(0n, 1n);
    m.raw["tlbFlush"]!(0, 0, 0n);
    expect(m.u32("labSpeculate", HARDWARE, 0, 0n, Access.Read)).toBe(0);
    expect(m.u32("tlbProbe", 0, 0n, Access.Read)).toBe(0);
  });

  test.each([
    ["a flush", "tlbFlush", [0, 0, 0n]],
    ["INVLPG", "invlpg", [0, 0n]],
  ] as const)("does not fill by a walk that began before %s", (_name, call, args) => {
    // The invalidation comes before each access of the walk in turn.
    const results: number[] = [];
    for (let at = 0; at < 12; at++) {
      const m = new KvmMachine({ build: "lab", hosts: 2 });
      m.backed(4n);
      m.guestStore(0n, 1n);
      m.raw["tlbFlush"]!(0, 0, 0n);
      const mode = m.actor(0) + layout.CONTROL_MODE;
      let left = at;
      const hardware = labInstance(m, {
        order: () => {
          if (left-- === 0) m.raw[call]!(...args);
          return undefined;
        },
      });
      m.view.setUint32(mode, layout.VcpuMode.InGuest, true);
      m.view.setUint32(m.actor(0) + layout.CPU_IN_GUEST, 1, true);
      results.push(hardware["labSpeculate"]!(HARDWARE, 0, 0n, Access.Read) as number);
      const cached = m.u32("tlbProbe", 0, 0n, Access.Read) !== 0;
      expect(cached, `before access ${at}`).toBe(results.at(-1) === 1);
      m.view.setUint32(mode, layout.VcpuMode.OutsideGuest, true);
    }
    // Before its first look, and behind its last, an invalidation does not hinder it; in between it does.
    expect(results[0]).toBe(1);
    expect(results.slice(1, 5)).toEqual([0, 0, 0, 0]);
    expect(results.at(-1)).toBe(1);
  });

  test.each([
    ["the VM exit", { inGuest: 0, mode: layout.VcpuMode.OutsideGuest }],
    [
      "the look at the requests that comes before the VM entry",
      { inGuest: 0, mode: layout.VcpuMode.InGuest },
    ],
  ])("makes no access after %s", (_name, { inGuest, mode }) => {
    // The vCPU is taken out of guest mode after each access of the walk in turn: the walk looks at its mode, and ends.
    const made: number[] = [];
    for (let at = 0; at < 12; at++) {
      const m = new KvmMachine({ build: "lab", hosts: 2 });
      m.backed(4n);
      m.guestStore(0n, 1n);
      m.raw["tlbFlush"]!(0, 0, 0n);
      const vcpu = m.actor(0);
      let accesses = 0;
      const hardware = labInstance(m, {
        order: () => {
          if (accesses++ === at) {
            m.view.setUint32(vcpu + layout.CONTROL_MODE, mode, true);
            m.view.setUint32(vcpu + layout.CPU_IN_GUEST, inGuest, true);
          }
          return undefined;
        },
      });
      m.view.setUint32(vcpu + layout.CONTROL_MODE, layout.VcpuMode.InGuest, true);
      m.view.setUint32(vcpu + layout.CPU_IN_GUEST, 1, true);
      hardware["labSpeculate"]!(HARDWARE, 0, 0n, Access.Read);
      made.push(accesses - at - 1);
      m.view.setUint32(vcpu + layout.CONTROL_MODE, layout.VcpuMode.OutsideGuest, true);
    }
    // Looks and accesses take turns. Told before a look, that is the last; told between look and access, one step of
    // hardware, the access is made and the next look is the last.
    expect(made.slice(0, 10)).toEqual([0, 0, 1, 0, 1, 0, 1, 0, 1, 0]);
  });
});

describe("RCU as an actor", () => {
  test("frees what was deferred", () => {
    const m = new KvmMachine({ build: "lab", hosts: 2, options: MachineOption.ZeroPages });
    m.backed(4n);
    m.guestStore(0n, 1n);
    const { tables } = m;
    const raw = labInstance(m, {});
    // A reader that has not left keeps the tables of the deleted slot.
    const reader = m.actor(1) + layout.GRACE_RCU;
    m.view.setUint32(reader, m.word(layout.KVM_RCU_EPOCH), true);
    m.deleteSlot(0);
    expect(m.tables).toBe(tables);
    m.view.setUint32(reader, 0, true);
    raw["labRcuGrace"]!(3);
    expect(m.tables).toBeLessThan(tables);
    expect(m.quiesce()).toEqual(QUIET);
  });
});

describe("an architectural TLB", () => {
  const ARCHITECTURAL = MachineOption.ZeroPages | MachineOption.ArchitecturalTlb;

  test("may have forgotten what it held", () => {
    let asked = 0;
    let answer = 0;
    const l = new Listening({
      options: ARCHITECTURAL,
      choose: (n) => {
        expect(n).toBe(2);
        asked++;
        return answer;
      },
    });
    l.machine.backed(4n);
    l.machine.guestStore(0n, 7n);
    expect(l.names(() => l.machine.guestLoad(0n))).toEqual([...ENTER, "GuestUse", "GuestExit"]);
    expect(asked).toBe(1);
    answer = 1;
    const names = l.names(() => l.machine.guestLoad(0n));
    expect(names).toEqual([...ENTER, "TlbDrop", "TlbFill", "GuestUse", "GuestExit"]);
    expect(l.machine.guestLoad(0n).value).toBe(7n);
  });

  test("may fault by an entry that says less than the tables", () => {
    const faults = (answer: number): number => {
      const m = new KvmMachine({ build: "lab", options: ARCHITECTURAL, choose: () => answer });
      const hva = m.backed(4n, { flags: 0 });
      m.protect(hva, 4n * PAGE, 1);
      m.guestLoad(0n);
      expect(m.leaf(0n) & 2n).toBe(0n);
      m.protect(hva, 4n * PAGE, 3);
      // vCPU 0 has the page read-only in its TLB; vCPU 1 makes the SPTE writable, which nobody is told of.
      m.guestLoad(0n);
      expect(m.leaf(0n) & 2n).toBe(0n);
      m.guestStore(0n, 1n, 8, 1);
      expect(m.leaf(0n) & 2n).toBe(2n);
      const before = m.stat(0, layout.Stat.FaultsSpurious);
      expect(m.guestStore(0n, 2n)).toBe(Outcome.Ok);
      expect(m.load(hva)).toBe(2n);
      return m.stat(0, layout.Stat.FaultsSpurious) - before;
    };
    expect(faults(0)).toBe(0);
    expect(faults(1)).toBe(1);
  });

  test("a strict one is not asked", () => {
    const m = new KvmMachine({
      build: "lab",
      choose: () => {
        throw new Error("asked");
      },
    });
    m.backed(4n);
    for (let i = 0; i < 3; i++) expect(m.guestStore(0n, 1n)).toBe(Outcome.Ok);
  });
});
