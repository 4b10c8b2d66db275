// Events as the core would tell them, by name and number, and a run of checkers over a list of them.
import { expect } from "vitest";
import {
  LockKind,
  Note,
  PTE_P,
  PTE_PS,
  PTE_RW,
  SPTE_HOST_WRITABLE,
  SPTE_MMU_WRITABLE,
  SPTE_PS,
  SPTE_R,
  SPTE_SHADOW_PRESENT,
  SPTE_W,
} from "../../src/core/layout.generated.js";
import {
  ACCESS,
  objects,
  type CheckedEvent,
  type Checker,
  type Ghost,
  type MachineFacts,
} from "../../src/invariants/checker.js";

export const FRAMES_BASE = 0x100000;
export const PAGES_BASE = 0x80000;
/** hva page and gfn of the first page of slot 0; slot 1 follows with a gap. */
export const HVA = 0x10000;
export const GFN = 0x100;

export const FACTS: MachineFacts = {
  layout: {
    actorsBase: 0x10000,
    histogramsBase: 0,
    slotsBase: 0,
    vmasBase: 0,
    filesBase: 0,
    tlbsBase: 0,
    walkCachesBase: 0,
    batchesBase: 0,
    pagesBase: PAGES_BASE,
    framesBase: FRAMES_BASE,
    frameCount: 2048,
    vcpuCount: 2,
    hostCount: 2,
    slotMax: 4,
    filePages: 0,
    tlbEntries: 2,
    tlbLargeEntries: 2,
    size: 0x1000000,
  },
  profile: "v6.13",
  switches: ["MmuRwLock", "RangeRetry", "BeginOnlyOnOverlap", "PreCheck"],
  rulesOff: [],
  generation: 2,
  slots: [
    { id: 0, baseGfn: BigInt(GFN), npages: 8n, hva: BigInt(HVA) << 12n },
    { id: 1, baseGfn: 0x200n, npages: 1024n, hva: 0x20000n << 12n },
  ],
};

type Where = { actor?: number; sub?: number; detail?: number };
type Kind = CheckedEvent["kind"];

export function event(kind: Kind, a: number | bigint, b: number | bigint, where: Where = {}): CheckedEvent {
  const { actor = 0, sub = 0, detail = 0 } = where;
  return { kind, actor, sub, detail, a: BigInt(a), b: BigInt.asUintN(64, BigInt(b)) };
}

const H = 2; // the first host thread

/** Root of the tests. */
export const ROOT = 50;

export const start = (page: number, n = 1, actor = H) =>
  event(Note.NotifyStart, page * 4096, (page + n) * 4096, { actor });
export const started = (page: number, n = 1, actor = H) =>
  event(Note.NotifyStarted, page * 4096, (page + n) * 4096, { actor });
export const end = (page: number, n = 1, actor = H) =>
  event(Note.NotifyEnd, page * 4096, (page + n) * 4096, { actor });

function hostEntry(pfn: number, write: boolean, shift: number): bigint {
  return (BigInt(pfn) << 12n) | PTE_P | (write ? PTE_RW : 0n) | (shift > 12 ? PTE_PS : 0n);
}
export const hostLeaf = (page: number, pfn: number, write = true, shift = 12) =>
  event(Note.HostLeaf, page * 4096 + shift, hostEntry(pfn, write, shift), { actor: H });
export const hostClear = (page: number, shift = 12) =>
  event(Note.HostLeaf, page * 4096 + shift, 0, { actor: H });
/** The host flushes its TLBs. */
export const hostFlushed = (actor = H) => event(Note.HostFlush, 0, 0, { actor });
/** The leaf gives way to a table of the same pages. */
export const hostSplit = (page: number, table: number) =>
  event(Note.HostLeaf, page * 4096 + 21, (BigInt(table) << 12n) | PTE_P, { actor: H });

function spteEntry(pfn: number, write: boolean, shift: number): bigint {
  const rights = write ? SPTE_W | SPTE_MMU_WRITABLE | SPTE_HOST_WRITABLE : 0n;
  return (BigInt(pfn) << 12n) | SPTE_R | SPTE_SHADOW_PRESENT | rights | (shift > 12 ? SPTE_PS : 0n);
}
const spteAt = (gfn: number, shift: number) => BigInt(gfn) | (BigInt(shift) << 56n);
export const spte = (gfn: number, pfn: number, write = true, shift = 12, root = ROOT) =>
  event(Note.SpteLeaf, spteAt(gfn, shift), spteEntry(pfn, write, shift), { detail: root });
export const zap = (gfn: number, shift = 12, root = ROOT, actor = H) =>
  event(Note.SpteLeaf, spteAt(gfn, shift), 0, { detail: root, actor });
export const link = (gfn: number, shift: number, table: number, root = ROOT) =>
  event(Note.SpteLink, spteAt(gfn, shift), (BigInt(table) << 12n) | SPTE_R | SPTE_SHADOW_PRESENT, {
    detail: root,
  });
export const unlink = (gfn: number, shift: number, root = ROOT, actor = H) =>
  event(Note.SpteLink, spteAt(gfn, shift), 0, { detail: root, actor });

export const address = (pfn: number, offset = 0) => FRAMES_BASE + pfn * 4096 + offset;
const useArgument = (pfn: number, write: boolean) => (BigInt(address(pfn)) << 1n) | (write ? 1n : 0n);
export const guestUse = (gfn: number, pfn: number, write = false, vcpu = 0) =>
  event(Note.GuestUse, gfn * 4096, useArgument(pfn, write), { actor: vcpu, detail: vcpu });
export const fill = (gfn: number, pfn: number, write = true, vcpu = 0) =>
  event(Note.TlbFill, gfn * 4096, pfn * 4096 + (write ? 1 : 0), { actor: vcpu, detail: vcpu });
export const tlbFlush = (vcpu = 0) => event(Note.TlbFlush, 0, 0, { actor: vcpu, detail: vcpu });
export const flushBegin = (actor = H) => event(Note.FlushBegin, 0, 0, { actor });
export const flushDone = (actor = H) => event(Note.FlushDone, 0, 0, { actor });

export const alloc = (pfn: number, references = 1, order = 0) =>
  event(Note.PageAlloc, pfn, (references << 8) | order, { actor: H });
export const free = (pfn: number, order = 0) => event(Note.PageFree, pfn, order, { actor: H });
export const get = (pfn: number, count: number, actor = 0) => event(Note.PageGet, pfn, count, { actor });
export const putRef = (pfn: number, count: number, actor = 0) => event(Note.PagePut, pfn, count, { actor });
export const dirty = (pfn: number) => event(Note.PageDirty, pfn, 0);
export const metaUse = (pfn: number) => event(Note.MetaUse, pfn, 0);
export const fileAdd = (pfn: number) => event(Note.FileAdd, pfn, 1n << 40n);
export const fileRemove = (pfn: number) => event(Note.FileRemove, pfn, 0, { actor: H });

export const mapTaken = (pfn: number, gfn: number, vcpu = 0) =>
  event(Note.MapTaken, pfn, gfn, { actor: vcpu, detail: vcpu });
export const mapUse = (pfn: number, write = true, vcpu = 0) =>
  event(Note.MapUse, pfn, useArgument(pfn, write), { actor: vcpu, detail: vcpu });
export const mapDropped = (pfn: number, gfn: number, vcpu = 0) =>
  event(Note.MapDropped, pfn, gfn, { actor: vcpu, detail: vcpu });
export const pinTaken = (pfn: number, actor = 0) => event(Note.PinTaken, pfn, 0, { actor });
export const pinDropped = (pfn: number, actor = 0) => event(Note.PinDropped, pfn, 0, { actor });
export const dma = (pfn: number, actor = 0) => event(Note.DmaUse, pfn, useArgument(pfn, true), { actor });
export const gpcValid = (page: number, pfn: number) => event(Note.GpcValid, page * 4096, pfn);
export const gpcInvalid = () => event(Note.GpcInvalid, 0, 0);
export const gpcUse = (pfn: number) => event(Note.GpcUse, pfn, useArgument(pfn, true));

export const access = (at: number, write: boolean, atomic: boolean, actor = 0) =>
  event(ACCESS, at, (8 << 2) | (atomic ? 2 : 0) | (write ? 1 : 0), { actor });

export const rootInvalid = (root = ROOT) => event(Note.RootInvalid, root, 0, { actor: 3 });
export const rootLoaded = (root: number, vcpu = 0) =>
  event(Note.RootLoaded, root, 0, { actor: vcpu, detail: vcpu });
export const enter = (vcpu = 0) => event(Note.GuestEnter, 0, 0, { actor: vcpu, detail: vcpu });
export const leave = (vcpu = 0) => event(Note.GuestExit, 0, 0, { actor: vcpu, detail: vcpu });
export const tableAlloc = (pfn: number) => event(Note.TableAlloc, pfn, 12);
export const tableFree = (pfn: number) => event(Note.TableFree, pfn, 0, { actor: H });
export const readEnter = (kind: "srcu" | "rcu", actor = 0) =>
  event(Note.ReadEnter, kind === "rcu" ? 1 : 0, 0, { actor });
export const readLeave = (kind: "srcu" | "rcu", actor = 0) =>
  event(Note.ReadLeave, kind === "rcu" ? 1 : 0, 0, { actor });

export const wanted = (lock: number, kind: LockKind = LockKind.Spin, actor = H) =>
  event(Note.LockWanted, lock, 1, { actor, sub: kind });
export const lock = (at: number, kind: LockKind = LockKind.Spin, actor = H): CheckedEvent[] => [
  wanted(at, kind, actor),
  event(Note.LockTaken, at, 1, { actor, sub: kind }),
];
export const unlock = (at: number, actor = H) => event(Note.LockDropped, at, 0, { actor });

export const inProgress = (value: number, actor = H) => event(Note.InProgress, value, 0, { actor });
export const active = (value: number, actor = H) => event(Note.ActiveCount, value, 0, { actor });
export const range = (first: number, last: number) => event(Note.Range, first, last, { actor: H });

/** The objection of a checker to a list of events, final included; null if there is none. */
export function judge(checker: Checker, events: readonly CheckedEvent[], facts = FACTS): string | null {
  let state = checker.initial(facts);
  for (const e of events) {
    if (!checker.listens.includes(e.kind)) continue;
    const next = checker.step(state, e, facts);
    if (objects(next)) return next.objection;
    // Plain data: what the search keeps as text comes back the same.
    expect(JSON.parse(JSON.stringify(next))).toEqual(next);
    state = next;
  }
  return checker.final?.(state, facts)?.objection ?? null;
}

/** The state after events that are all legal. */
export function stateAfter(checker: Checker, events: readonly CheckedEvent[], facts = FACTS): Ghost {
  let state = checker.initial(facts);
  for (const e of events) {
    if (!checker.listens.includes(e.kind)) continue;
    const next = checker.step(state, e, facts);
    if (objects(next)) throw new Error(next.objection);
    state = next;
  }
  return state;
}

/** As the checkers are listed: of any state. */
export const any = (checker: unknown): Checker => checker as Checker;
