// What files, devices and pins tell the checkers: whole lives of pages, to which no checker objects.
import { describe, expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { type CheckedEvent, type MachineFacts } from "../../src/invariants/checker.js";
import { CHECKERS } from "../../src/invariants/index.js";
import { FileMachine, PINNED } from "../file-machine.js";
import { HostStatus, PAGE, Rule } from "../host-machine.js";
import { Outcome, Profile } from "../kvm-machine.js";
import { FACTS, judge } from "./invariants-fixture.js";

const { LockKind, Note } = layout;

/** A machine, and what it told; everything is done by its host thread, and what vCPU 0 does is told as its own. */
class Listening {
  readonly told: CheckedEvent[] = [];
  readonly machine: FileMachine;
  actor = 1;

  constructor(configuration: ConstructorParameters<typeof FileMachine>[0]) {
    this.machine = new FileMachine({
      build: "lab",
      ...configuration,
      onNote: (kind, a, b) =>
        void this.told.push({
          kind: kind & 0xff,
          actor: this.actor,
          sub: (kind >> 8) & 0xff,
          detail: kind >>> 16,
          a: BigInt.asUintN(64, a),
          b: BigInt.asUintN(64, b),
        } as CheckedEvent),
    });
  }

  /** Does something as vCPU 0. */
  guest<T>(action: () => T): T {
    this.actor = 0;
    const result = action();
    this.actor = 1;
    return result;
  }

  /** Events of these kinds about one page or lock, in short. */
  about(a: number, ...kinds: number[]): string[] {
    const name = (kind: number): string => Object.entries(Note).find(([, n]) => n === kind)![0];
    return this.told
      .filter((e) => Number(e.a) === a && kinds.includes(e.kind))
      .map((e) => `${name(e.kind)} ${BigInt.asIntN(64, e.b)}`);
  }

  /** The first objection of any checker. */
  get objections(): string[] {
    const { machine: m } = this;
    const facts: MachineFacts = {
      ...FACTS,
      slots: [],
      layout: {
        ...FACTS.layout,
        framesBase: m.word(layout.HEADER_OFFSET_FRAMES_BASE),
        pagesBase: m.word(layout.HEADER_OFFSET_PAGES_BASE),
        frameCount: m.word(layout.HEADER_OFFSET_FRAME_COUNT),
      },
    };
    const own = ["references-balance", "map-holds-its-page", "no-use-after-free", "no-store-lost"];
    const checkers = CHECKERS.filter(
      ({ name, invariants }) => own.includes(name) || invariants.includes("I19"),
    );
    expect(checkers).toHaveLength(own.length + 1);
    return checkers.flatMap((checker) => {
      const objection = judge(checker, this.told, facts);
      return objection === null ? [] : [`${checker.name}: ${objection}`];
    });
  }
}

describe.each([
  ["in the page cache", Profile.V6_13, 0],
  ["on a device that is idle at 1", Profile.V6_13, 1],
  ["on a device that is idle at 0", Profile.V6_15, 1],
] as const)("a file %s", (_name, profile, isDax) => {
  /** A file that was mapped, used, pinned and truncated. */
  function used(without: number[] = []): Listening & { pfn: number; file: number; device: number } {
    const l = new Listening({ profile, without });
    const m = l.machine;
    const device = isDax ? m.device(1) : 0;
    const file = m.file(2, device);
    const hva = m.mapFile(file, 2);
    m.setSlot(0, 0n, 2n, hva);
    expect(l.guest(() => m.guestStore(PAGE, 2n))).toBe(Outcome.Ok); // the first block of the device
    expect(m.store(hva, 1n, 8, m.host)).toBe(HostStatus.Ok);
    const { pfn } = m.pin(hva);
    expect(m.pinFast(hva, PINNED)).toBe(pfn);
    m.unpin(pfn, { dirty: true });
    if (without.length === 0) m.unpin(pfn);
    m.buffer(m.host, 8).fill(7);
    expect(m.u32("hostDirectRead", m.host, hva, 8)).toBe(HostStatus.Ok);
    expect(m.punch(file, 0, 2)).toBe(HostStatus.Ok);
    m.deleteSlot(0);
    m.unmap(hva, 2n * PAGE, m.host);
    return Object.assign(l, { pfn, file, device });
  }

  test("a life without a fault: nobody objects, and each page that is added is removed", () => {
    const l = used();
    const m = l.machine;
    expect(m.destroyFile(l.file)).toBe(HostStatus.Ok);
    if (isDax) expect(m.destroyDevice(l.device)).toBe(HostStatus.Ok);
    m.quiesce();
    expect(l.objections).toEqual([]);
    expect(l.about(l.pfn, Note.FileAdd, Note.FileRemove)).toEqual([
      `FileAdd ${BigInt(l.file) << 40n}`,
      "FileRemove 0",
    ]);
    expect(l.about(l.pfn, Note.PageFree)).toEqual(["PageFree 0"]);
    if (isDax) expect(l.about(l.device, Note.PgmapGone)).toEqual(["PgmapGone 0"]);
  });

  test("locks are told with what may be done while they are held", () => {
    const l = used();
    const row = l.machine.word(layout.HEADER_OFFSET_FILES_BASE) + (layout.DEVICE_MAX << layout.DEVICE_SHIFT);
    const kinds = (lock: number): number[] => [
      ...new Set(
        l.told.filter((e) => e.kind === Note.LockTaken && Number(e.a) === lock).map((e) => e.sub as number),
      ),
    ];
    expect(kinds(row + layout.FILE_INODE_LOCK)).toEqual([LockKind.Sleeping]);
    expect(kinds(row + layout.FILE_INVALIDATE_LOCK)).toEqual([LockKind.Sleeping]);
    expect(kinds(layout.MM_BASE + layout.MM_RMAP_LOCK)).toEqual([LockKind.Sleeping]);
  });

  if (!isDax) return;
  test("the end of a device that is refused gives the counts back that it had taken", () => {
    const l = used([Rule.DaxTruncateWaitsIdle]);
    const m = l.machine;
    const other = m.u32("hostDevicePfn", l.device);
    const held = l.pfn; // still pinned
    expect(held).toBe(other + 1);
    expect(m.destroyFile(l.file)).toBe(HostStatus.Ok);
    l.told.splice(0, l.told.length);
    expect(m.destroyDevice(l.device)).toBe(HostStatus.Busy);
    const isCounted = profile === Profile.V6_13;
    expect(l.about(other, Note.PagePut, Note.PageGet)).toEqual(isCounted ? ["PagePut 0", "PageGet 1"] : []);
    m.unpin(held);
    l.told.splice(0, l.told.length);
    expect(m.destroyDevice(l.device)).toBe(HostStatus.Ok);
    const kinds = [Note.PagePut, Note.PageFree];
    const own = isCounted ? ["PagePut 0"] : [];
    expect(l.about(held, ...kinds)).toEqual([...own, "PageFree 0"]);
    expect(l.about(other, ...kinds)).toEqual([...own, "PageFree 0"]);
    expect(m.imbalance).toBe(0);
  });
});
