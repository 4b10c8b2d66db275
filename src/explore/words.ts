/** Values of words, and events of the core, in words: what a reader of a counterexample would write beside them. */

import {
  LockKind,
  Note,
  NotifyEvent,
  PAGE_SHIFT,
  PTE_A,
  PTE_D,
  PTE_P,
  PTE_PROTNONE,
  PTE_PS,
  PTE_RW,
  PTE_XD,
  PageFlag,
  RANGE_SENTINEL,
  Request,
  SPTE_A,
  SPTE_D,
  SPTE_FROZEN,
  SPTE_PS,
  SPTE_R,
  SPTE_SHADOW_PRESENT,
  SPTE_W,
  SPTE_X,
  SlotFlag,
  VcpuMode,
  VmaFlag,
} from "../core/layout.generated.js";
import { actorName, hex, placeOf, spanName, type FrameRoles, type Place } from "./names.js";
import { type MachineLayout, type NoteEvent, type TraceAccess } from "./trace.js";

export type NoteName = keyof typeof Note;

/** What names and values are read with. */
export interface Reading {
  readonly layout: MachineLayout;
  readonly roles?: FrameRoles;
}

/** Host-physical addresses end below 2^44: bits above the pfn are flags. */
const PFN_MASK = 0xffffffffn;
/** Bit 31 of a spin lock's word: somebody may sleep on it. */
const CONTENDED = 0x80000000n;

function inverse(table: Readonly<Record<string, number>>): ReadonlyMap<number, string> {
  return new Map(Object.entries(table).map(([name, value]) => [value, name]));
}

const NOTE_NAMES = inverse(Note) as ReadonlyMap<number, NoteName>;
const MODES = inverse(VcpuMode);
const EVENTS = inverse(NotifyEvent);

/** Name of an event's kind; undefined for one that this version does not know. */
export function noteName(kind: number): NoteName | undefined {
  return NOTE_NAMES.get(kind);
}

/** Names of the bits that are set, the rest as a number: `TlbFlush|Exit`. */
function flags(table: Readonly<Record<string, number>>, value: number): string {
  let rest = value;
  const names = Object.entries(table).flatMap(([name, bit]) => {
    if ((value & bit) === 0) return [];
    rest &= ~bit;
    return [name];
  });
  if (rest !== 0) names.push(hex(rest >>> 0));
  return names.length === 0 ? "none" : names.join("|");
}

function pfnOf(entry: bigint): bigint {
  return (entry >> 12n) & PFN_MASK;
}

/** `pfn 7 RWX D`, `table 7`, `none`, `frozen`. `shift`: log2 of what the entry spans. */
export function spteInWords(spte: bigint, shift: number): string {
  if (spte === SPTE_FROZEN) return "frozen";
  if ((spte & SPTE_SHADOW_PRESENT) === 0n) return spte === 0n ? "none" : `not present (${hex(spte)})`;
  if (shift !== 12 && (spte & SPTE_PS) === 0n) return `table ${pfnOf(spte)}`;
  const rights = (spte & SPTE_R ? "R" : "-") + (spte & SPTE_W ? "W" : "-") + (spte & SPTE_X ? "X" : "-");
  const marks = (spte & SPTE_A ? "A" : "") + (spte & SPTE_D ? "D" : "");
  return `pfn ${pfnOf(spte)} ${rights}${marks && " "}${marks}`;
}

/** `pfn 7 RW- AD`, `table 7`, `none`. */
export function pteInWords(entry: bigint, shift: number): string {
  if (entry === 0n) return "none";
  if ((entry & PTE_P) === 0n) {
    return entry & PTE_PROTNONE ? `pfn ${pfnOf(entry)} PROT_NONE` : `not present (${hex(entry)})`;
  }
  if (shift !== 12 && (entry & PTE_PS) === 0n) return `table ${pfnOf(entry)}`;
  const rights = `R${entry & PTE_RW ? "W" : "-"}${entry & PTE_XD ? "-" : "X"}`;
  const marks = (entry & PTE_A ? "A" : "") + (entry & PTE_D ? "D" : "");
  return `pfn ${pfnOf(entry)} ${rights}${marks && " "}${marks}`;
}

function plain(value: bigint): string {
  return value < 0x10000n ? value.toString() : hex(value);
}

function owner(layout: MachineLayout, value: bigint): string {
  if (value === 0n) return "free";
  const holder = Number(value & ~CONTENDED) - 1;
  const name = holder < 0 ? "free" : actorName(layout, holder);
  return value & CONTENDED ? `${name}, contended` : name;
}

/** One value of a word. */
function valueInWords(reading: Reading, place: Place, value: bigint): string {
  switch (place.word) {
    case "owner":
      return owner(reading.layout, value);
    case "mode":
      return MODES.get(Number(value)) ?? plain(value);
    case "requests":
      return flags(Request, Number(value));
    case "page-flags":
      return flags(PageFlag, Number(value));
    case "slot-flags":
      return flags(SlotFlag, Number(value));
    case "vma-flags":
      return flags(VmaFlag, Number(value));
    case "refcount":
      return BigInt.asIntN(32, value).toString();
    case "epoch":
      return value === 0n ? "outside" : plain(value);
    case "range":
      return value === RANGE_SENTINEL ? "empty" : hex(value);
    case "pte":
    case "spte": {
      const shift = (place.of === undefined ? undefined : reading.roles?.(place.of)?.shift) ?? 12;
      return place.word === "pte" ? pteInWords(value, shift) : spteInWords(value, shift);
    }
    case "hex":
    case "data":
      return hex(value);
    default:
      return plain(value);
  }
}

/** Bits that were set and cleared: `+ TlbFlush`, `- TlbFlush`. */
function change(table: Readonly<Record<string, number>>, before: bigint, after: bigint): string {
  const set = Number(after & ~before);
  const cleared = Number(before & ~after);
  const parts = [];
  if (set !== 0) parts.push(`+ ${flags(table, set)}`);
  if (cleared !== 0) parts.push(`- ${flags(table, cleared)}`);
  return parts.join(" ");
}

/** What became of a lock's word. */
function lockChange(reading: Reading, access: TraceAccess): string {
  const { before, after } = access;
  if (before === 0n) return `taken by ${owner(reading.layout, after)}`;
  if (after === 0n) return `released by ${owner(reading.layout, before)}`;
  return `${owner(reading.layout, before)} -> ${owner(reading.layout, after)}`;
}

function written(reading: Reading, place: Place, access: TraceAccess): string {
  const { before, after } = access;
  const arrow = `${valueInWords(reading, place, before)} -> ${valueInWords(reading, place, after)}`;
  switch (place.word) {
    case "requests":
      return change(Request, before, after);
    case "page-flags":
      return change(PageFlag, before, after);
    case "owner":
      return lockChange(reading, access);
    case "reader":
      return after ? "0 -> 1" : "1 -> 0";
    case "refcount":
      return after === 0n ? `${arrow}: the last reference` : arrow;
    default:
      return arrow;
  }
}

/** What a memory model other than sequential consistency makes of an access. */
function passageInWords(reading: Reading, access: TraceAccess): string {
  const { address, size, passage, memory } = access;
  if (passage === "buffered") return " (into the store buffer)";
  if (passage === "drained") return " (drained)";
  if (passage === "forwarded") return " (from its own store buffer)";
  if (passage === undefined) return "";
  if (memory === undefined) return " (read late)";
  const place = placeOf(reading.layout, address, size, reading.roles);
  return ` (read late: memory has ${valueInWords(reading, place, memory)})`;
}

/**
 * An access in words: `kvm.mmu_invalidate_seq = 0` for a load, `page[3].refcount 2 -> 1` for a write, with what the values mean
 * where the word has a meaning. Under a memory model: `vcpu0.mode OutsideGuest -> InGuest (into the store buffer)`.
 */
export function accessInWords(reading: Reading, access: TraceAccess): string {
  return ownWords(reading, access) + passageInWords(reading, access);
}

function ownWords(reading: Reading, access: TraceAccess): string {
  const place = placeOf(reading.layout, access.address, access.size, reading.roles);
  const { before, after, size } = access;
  switch (access.site.kind) {
    case "choose":
      return `chose ${after} of ${before}`;
    case "wait":
      return `sleeps while ${place.name} = ${valueInWords(reading, place, before)}`;
    case "notify":
      return `wakes sleepers on ${place.name}`;
    case "copy":
      return `${place.name}: ${size} bytes copied here`;
    case "fill":
      return `${place.name}: ${size} bytes filled`;
    case "load":
      return `${place.name} = ${valueInWords(reading, place, after)}`;
    case "compare":
      if (before === after) return `${place.name} = ${valueInWords(reading, place, before)} (compare fails)`;
      break;
    default:
      if (before === after) return `${place.name} = ${valueInWords(reading, place, after)}, unchanged`;
  }
  return `${place.name} ${written(reading, place, access)}`;
}

function eventName(sub: number): string {
  return EVENTS.get(sub) ?? String(sub);
}

/** `hva 0x7f0000010000, 4 pages`. */
function hvas({ a, b }: NoteEvent): string {
  const bytes = b - a;
  if (bytes % 4096n !== 0n) return `hva [${hex(a)}, ${hex(b)})`;
  return `hva ${hex(a)}, ${bytes >> 12n} page${bytes === 4096n ? "" : "s"}`;
}

/** What a host-physical or in-memory address is: `pfn 3+0x8`. */
function pfnAt(layout: MachineLayout, address: bigint): string {
  const at = Number(address) - layout.framesBase;
  return `pfn ${Math.floor(at / 4096)}+${hex(at & 4095)}`;
}

/** In memory << 1 | write, as GuestUse and its like have it. */
function use(layout: MachineLayout, b: bigint): string {
  return `${b & 1n ? "stores to" : "loads from"} ${pfnAt(layout, b >> 1n)}`;
}

function lockName({ layout, roles }: Reading, a: bigint): string {
  return placeOf(layout, Number(a), 4, roles).name;
}

/** gfn in bits 55:0 and shift above, of SpteLeaf and SpteLink. */
function gfnOf(a: bigint): { gfn: bigint; shift: number } {
  return { gfn: a & ((1n << 56n) - 1n), shift: Number(a >> 56n) };
}

function leafInWords({ a, b }: NoteEvent): string {
  const { gfn, shift } = gfnOf(a);
  const span = shift === 12 ? "" : ` (${spanName(shift)})`;
  const spte = spteInWords(b, 12);
  return b === 0n
    ? `translation gfn ${hex(gfn)}${span} gone`
    : `translation gfn ${hex(gfn)}${span} -> ${spte} installed`;
}

const TELL: Readonly<Record<NoteName, (event: NoteEvent, reading: Reading) => string>> = {
  NotifyStart: (e) => `invalidate start ${hvas(e)}, ${eventName(e.sub)}`,
  NotifyStarted: (e) => `start returns, hva ${hex(e.a)}`,
  NotifyEnd: (e) => `invalidate end, hva ${hex(e.a)}`,
  HostLeaf: ({ a, b }) =>
    `host entry of hva ${hex(a & ~0x3fn)} ${b === 0n ? "cleared" : `now ${pteInWords(b, 12)}`}`,
  HostFlush: () => "host TLB flushed",
  PageAlloc: ({ a, b }) => `page ${a} handed out, ${b >> 8n} reference${b >> 8n === 1n ? "" : "s"}`,
  PageFree: ({ a }) => `page ${a} is free`,
  PageGet: ({ a, b }) => `page ${a} taken: ${b} reference${b === 1n ? "" : "s"}`,
  PagePut: ({ a, b }) => `page ${a} put: ${b} reference${b === 1n ? "" : "s"}`,
  SpteLeaf: leafInWords,
  SpteLink: ({ a, b }) => {
    const { gfn, shift } = gfnOf(a);
    return `table of gfn ${hex(gfn)} (${spanName(shift)}) ${b === 0n ? "unlinked" : `linked: pfn ${pfnOf(b)}`}`;
  },
  TableAlloc: ({ a, b }) => `pfn ${a} is a table of ${spanName(Number(b))} entries`,
  TableFree: ({ a }) => `table pfn ${a} given back`,
  TlbFill: ({ a, b, detail }) =>
    `tlb${detail}: gva ${hex(a)} -> pfn ${(b & ~1n) >> BigInt(PAGE_SHIFT)}${b & 1n ? "" : " read-only"}`,
  TlbFlush: ({ detail }) => `tlb${detail} emptied`,
  TlbDrop: ({ a, detail }) => `tlb${detail}: gva ${hex(a)} dropped`,
  GuestUse: ({ a, b }, { layout }) => `gva ${hex(a)}: guest ${use(layout, b)}`,
  GuestEnter: ({ detail }) => `vcpu${detail} enters guest mode`,
  GuestExit: ({ detail }) => `vcpu${detail} leaves guest mode`,
  FlushBegin: () => "remote TLB flush begins",
  FlushDone: () => "remote TLB flush done",
  LockWanted: ({ a, b, sub }, reading) => `wants ${lockName(reading, a)}${lockMode(sub, b)}`,
  LockTaken: ({ a, b, sub }, reading) => `takes ${lockName(reading, a)}${lockMode(sub, b)}`,
  LockDropped: ({ a }, reading) => `drops ${lockName(reading, a)}`,
  MaySleep: () => "may sleep here",
  ReadEnter: ({ a }) => `${a === 0n ? "srcu" : "rcu"}_read_lock`,
  ReadLeave: ({ a }) => `${a === 0n ? "srcu" : "rcu"}_read_unlock`,
  InProgress: ({ a, b }) => `mmu_invalidate_in_progress is ${a}, seq ${b}`,
  ActiveCount: ({ a }) => `mn_active_invalidate_count is ${a}`,
  Range: ({ a, b }) => `open range is gfn [${hex(a)}, ${hex(b)})`,
  MapTaken: ({ a, b, detail }) => `vcpu${detail}: kvm_vcpu_map gfn ${hex(b)} -> pfn ${a}`,
  MapUse: ({ b, detail }, { layout }) => `vcpu${detail} through its map ${use(layout, b)}`,
  MapDropped: ({ a, b, detail }) => `vcpu${detail}: kvm_vcpu_unmap gfn ${hex(b)}, pfn ${a}`,
  GpcValid: ({ a, b, detail }) => `gpc${detail} valid: uhva ${hex(a)} -> pfn ${b}`,
  GpcInvalid: ({ detail }) => `gpc${detail} invalid`,
  GpcUse: ({ b, detail }, { layout }) => `gpc${detail} ${use(layout, b)}`,
  MetaUse: ({ a }) => `struct page of pfn ${a} used`,
  FileAdd: ({ a, b }) => `pfn ${a} is page ${b & ((1n << 40n) - 1n)} of file ${b >> 40n}`,
  FileRemove: ({ a }) => `pfn ${a} truncated from its file`,
  DmaUse: ({ b }, { layout }) => `device ${use(layout, b)}`,
  SlotsPublished: ({ a }) => `memslots of generation ${a} in force`,
  SlotDeleted: ({ a, b }) => `memslot gfn [${hex(a)}, ${hex(a + b)}) deleted`,
  RootInvalid: ({ a }) => `root pfn ${a} obsolete`,
  RootLoaded: ({ a, detail }) => `vcpu${detail} loads root pfn ${a}`,
  PageDirty: ({ a }) => `page ${a} dirty`,
  AtomicBegin: () => "one step of hardware begins",
  AtomicEnd: () => "one step of hardware ends",
  PinTaken: ({ a }) => `page ${a} pinned`,
  PinDropped: ({ a }) => `page ${a} unpinned`,
  PgmapGone: ({ a }) => `device memory ${a} is gone`,
  HostUse: ({ b }, { layout }) => `host ${use(layout, b)}`,
};

function lockMode(kind: number, b: bigint): string {
  if (kind === LockKind.Spin) return "";
  return b ? " (write)" : " (read)";
}

/** An event in words: `translation gfn 0x10 -> pfn 7 RWX AD installed`. */
export function noteInWords(reading: Reading, event: NoteEvent): string {
  const name = noteName(event.kind);
  const tell = name === undefined ? undefined : TELL[name];
  return tell?.(event, reading) ?? `event ${event.kind} (${hex(event.a)}, ${hex(event.b)})`;
}
