/**
 * A name for every address of an explored machine, from the layout that the compiler gave it: `kvm.mmu_invalidate_seq`,
 * `page[17].refcount`, `vcpu0.requests`. Words that the kernel has carry the kernel's name; others that of the field in
 * assembly/layout, so that they can be looked up there.
 */

import { FIELDS, type Structure } from "../core/fields.generated.js";
import {
  ACTOR_CONTROL,
  ACTOR_CPU,
  ACTOR_DRIVE,
  ACTOR_FAULT,
  ACTOR_GRACE,
  ACTOR_GUEST,
  ACTOR_INTEGRITY,
  ACTOR_MAPS,
  ACTOR_OWN_SPACE,
  ACTOR_POOL,
  ACTOR_SHIFT,
  ACTOR_SIZE,
  ACTOR_STATS,
  ACTOR_WALK,
  DEVICE_MAX,
  DEVICE_SHIFT,
  DIO_BASE,
  DIO_MAX,
  DIO_PFNS,
  DIO_SHIFT,
  FILE_HEAD_SIZE,
  FILE_INVALIDATE_LOCK,
  FILE_PFNS,
  GATHER_MAX,
  GATHER_PFNS,
  GPC_COUNT,
  GPC_SHIFT,
  GUEST_BASE,
  GUEST_SHARED_SPACE,
  HEADER_BASE,
  HISTOGRAM_SIZE,
  KVM_BASE,
  KVM_GPCS,
  KVM_GPC_LISTED,
  KVM_GPC_LOCK,
  KVM_INVALIDATE_SEQ,
  KVM_MMU_LOCK,
  KVM_MN_INVALIDATE_LOCK,
  KVM_SLOTS_ACTIVE,
  MM_BASE,
  MM_MMAP_LOCK,
  MM_PGD,
  MM_RMAP_LOCK,
  MM_TLB_FLUSHES,
  Note,
  PAGE_SHIFT,
  PAGE_SIZE,
  PAGE_STRUCT_SHIFT,
  POOL_READY,
  POOL_READY_MAX,
  POOL_TABLES,
  POOL_TABLES_MAX,
  PTE_ADDRESS,
  PTE_P,
  PTE_PS,
  SLOTS_HEAD_SIZE,
  SLOT_BY_HVA_SHIFT,
  SLOT_SHIFT,
  SPTE_PS,
  SPTE_SHADOW_PRESENT,
  STAT_COUNT,
  Stat,
  TLB_ENTRY_SHIFT,
  VCPU_MAP_COUNT,
  VCPU_MAP_SHIFT,
  VMA_SHIFT,
  WALK_STEPS,
  WALK_STEP_MAX,
  WALK_STEP_SHIFT,
  ZONE_BASE,
  ZONE_FREE,
  ZONE_LISTS,
  ZONE_LOCK,
  ZONE_MANAGED,
  ZONE_ORDERS,
} from "../core/layout.generated.js";
import { type MachineLayout, type Trace } from "./trace.js";

/** What a frame holds, where somebody knows. */
export type FrameRole =
  /** A table. `shift`: log2 of what an entry spans; `base`: hva or gpa of the first entry. */
  { readonly kind: "host-table" | "tdp-table"; readonly shift: number; readonly base: bigint };

/** Role of a frame, undefined for one that holds data, or that nothing is known of. */
export type FrameRoles = (pfn: number) => FrameRole | undefined;

/** What an address belongs to. */
export interface Place {
  readonly name: string;
  /** What kind of word it is: says how its values are to be read. */
  readonly word: Word;
  /** Index of the actor, or pfn of the page, that it is part of. */
  readonly of?: number;
}

/** Kinds of words whose values have a meaning beyond their number. */
export type Word =
  | "plain"
  | "hex"
  | "owner"
  | "reader"
  | "mode"
  | "requests"
  | "refcount"
  | "page-flags"
  | "slot-flags"
  | "vma-flags"
  | "epoch"
  | "range"
  | "pte"
  | "spte"
  | "data"
  | "statistic"
  | "private";

/** Words of the kernel that are called otherwise in assembly/layout, where names are short and in camel case. */
const KERNEL: Partial<Record<Structure, Readonly<Record<string, string>>>> = {
  RetryLine: {
    seq: "mmu_invalidate_seq",
    inProgress: "mmu_invalidate_in_progress",
    rangeStart: "mmu_invalidate_range_start",
    rangeEnd: "mmu_invalidate_range_end",
    waiters: "mmu_invalidate_waiters",
  },
  ActiveLine: {
    lock: "mn_invalidate_lock",
    count: "mn_active_invalidate_count",
    waiters: "mn_active_invalidate_waiters",
    slotsLock: "slots_lock",
    slotsArchLock: "slots_arch_lock",
  },
};

const WORDS: Partial<Record<Structure, Readonly<Record<string, Word>>>> = {
  RetryLine: { rangeStart: "range", rangeEnd: "range" },
  ActiveLine: { lock: "owner", slotsLock: "owner", slotsArchLock: "owner" },
  RootsLine: { deferredLock: "owner", srcuEpoch: "epoch", rcuEpoch: "epoch" },
  Control: { mode: "mode", requests: "requests" },
  Grace: { srcu: "epoch", rcu: "epoch", rcuDepth: "private", srcuDepth: "private" },
  Page: { refcount: "refcount", flags: "page-flags", lock: "owner", index: "hex" },
  Slot: { baseGfn: "hex", npages: "plain", hva: "hex", flags: "slot-flags" },
  SlotByHva: { maxEnd: "hex" },
  Vma: { start: "hex", end: "hex", flags: "vma-flags" },
  File: { inodeLock: "owner" },
  Device: { lock: "owner" },
  PfnCache: { refreshLock: "owner" },
};

/** An rwlock is three words: sync/rwlock.ts. */
const RWLOCK_WORDS = ["", ".waiters", ".drainers"];

const STAT_NAMES = new Map<number, string>(Object.entries(Stat).map(([name, number]) => [number, name]));

/** Level of an entry in the words of the kernel's documents: 4K, 2M, 1G, 512G. */
export function spanName(shift: number): string {
  return ["4K", "2M", "1G", "512G", "256T"][(shift - 12) / 9] ?? `2^${shift}`;
}

export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

/** `vcpu0`, `host0`: an actor by the index of its block, vCPUs first. */
export function actorName(layout: MachineLayout, index: number): string {
  return index < layout.vcpuCount ? `vcpu${index}` : `host${index - layout.vcpuCount}`;
}

/**
 * The field of `structure`, an instance of which is called `prefix` and begins at `base`; undefined if the address is not in
 * one. An access to a part of a field, or to bytes that begin in one, has the distance after the name.
 */
function fieldAt(
  structure: Structure,
  prefix: string,
  base: number,
  address: number,
  word?: Word,
): Place | undefined {
  const at = address - base;
  for (const { name, offset, size } of FIELDS[structure].fields) {
    if (at < offset || at >= offset + size) continue;
    const inside = at === offset ? "" : `+${hex(at - offset)}`;
    return {
      name: `${prefix}.${KERNEL[structure]?.[name] ?? name}${inside}`,
      word: WORDS[structure]?.[name] ?? word ?? (size === 8 ? "hex" : "plain"),
    };
  }
  return undefined;
}

function rwlockAt(name: string, base: number, address: number): Place | undefined {
  const index = (address - base) / 4;
  const part = RWLOCK_WORDS[index];
  return part === undefined ? undefined : { name: name + part, word: index === 0 ? "owner" : "plain" };
}

/** Element of an array of words or structures: its index, or undefined outside. */
function indexIn(base: number, count: number, stride: number, address: number): number | undefined {
  const index = Math.floor((address - base) / stride);
  return index >= 0 && index < count ? index : undefined;
}

/** A gfn_to_pfn_cache: `gpc[0].valid`. Its lock goes by the name alone, as the other rwlocks do. */
function pfnCacheAt(address: number): Place | undefined {
  if (address === KVM_GPC_LOCK) return { name: "kvm.gpc_lock", word: "owner" };
  if (address === KVM_GPC_LISTED) return { name: "kvm.gpcListed", word: "plain" };
  const row = indexIn(KVM_GPCS, GPC_COUNT, 1 << GPC_SHIFT, address);
  if (row === undefined) return undefined;
  const base = KVM_GPCS + (row << GPC_SHIFT);
  const name = `gpc[${row}]`;
  return rwlockAt(`${name}.lock`, base, address) ?? fieldAt("PfnCache", name, base, address);
}

function kvmAt(address: number): Place {
  return (
    rwlockAt("kvm.mmu_lock", KVM_MMU_LOCK, address) ??
    pfnCacheAt(address) ??
    fieldAt("RetryLine", "kvm", KVM_INVALIDATE_SEQ, address) ??
    fieldAt("ActiveLine", "kvm", KVM_MN_INVALIDATE_LOCK, address) ??
    fieldAt("RootsLine", "kvm", KVM_SLOTS_ACTIVE, address) ??
    fieldAt("GuestRam", "guest", GUEST_BASE, address) ??
    fieldAt("AddressSpace", "guest.space", GUEST_SHARED_SPACE, address) ??
    distance("kvm", KVM_BASE, address)
  );
}

function mmAt(address: number): Place {
  const list = indexIn(ZONE_LISTS, ZONE_ORDERS, 4, address);
  if (address === ZONE_LOCK) return { name: "zone.lock", word: "owner" };
  if (address === ZONE_FREE) return { name: "zone.free", word: "plain" };
  if (address === ZONE_MANAGED) return { name: "zone.managed", word: "plain" };
  if (list !== undefined) return { name: `zone.list[${list}]`, word: "plain" };
  if (address === MM_BASE + MM_TLB_FLUSHES) return { name: "mm.tlbFlushes", word: "plain" };
  return (
    rwlockAt("mm.mmap_lock", MM_BASE + MM_MMAP_LOCK, address) ??
    rwlockAt("mm.rmap_lock", MM_BASE + MM_RMAP_LOCK, address) ??
    transferAt(address) ??
    fieldAt("Mm", "mm", MM_BASE + MM_PGD, address) ??
    distance(address < ZONE_BASE ? "mm" : "zone", address < ZONE_BASE ? MM_BASE : ZONE_BASE, address)
  );
}

/** Direct I/O that is under way. */
function transferAt(address: number): Place | undefined {
  const row = indexIn(DIO_BASE, DIO_MAX, 1 << DIO_SHIFT, address);
  if (row === undefined) return undefined;
  const base = DIO_BASE + (row << DIO_SHIFT);
  const name = `dio[${row}]`;
  if (address < base + DIO_PFNS) return fieldAt("Dio", name, base, address) ?? distance(name, base, address);
  return { name: `${name}.pfn[${(address - base - DIO_PFNS) >> 2}]`, word: "plain" };
}

/** Devices, then files with the pfns of their pages. Files are numbered from 1, as devices are. */
function filesAt(layout: MachineLayout, address: number): Place {
  const device = indexIn(layout.filesBase, DEVICE_MAX, 1 << DEVICE_SHIFT, address);
  if (device !== undefined) {
    const base = layout.filesBase + (device << DEVICE_SHIFT);
    const name = `device[${device + 1}]`;
    return fieldAt("Device", name, base, address) ?? distance(name, base, address);
  }
  const first = layout.filesBase + (DEVICE_MAX << DEVICE_SHIFT);
  const size = (FILE_HEAD_SIZE + 4 * layout.filePages + 63) & ~63;
  const file = Math.floor((address - first) / size);
  const base = first + file * size;
  const name = `file[${file + 1}]`;
  const page = indexIn(base + FILE_PFNS, layout.filePages, 4, address);
  if (page !== undefined) return { name: `${name}.page[${page}]`, word: "plain" };
  return (
    rwlockAt(`${name}.invalidate_lock`, base + FILE_INVALIDATE_LOCK, address) ??
    fieldAt("File", name, base, address) ??
    distance(name, base, address)
  );
}

/** Parts of an actor's block that have their own name in front of the field's. */
const ACTOR_PARTS: readonly (readonly [Structure, string, number])[] = [
  ["Cpu", ".cpu", ACTOR_CPU],
  ["Walk", ".walk", ACTOR_WALK],
  ["Pool", ".pool", ACTOR_POOL],
  ["Drive", ".drive", ACTOR_DRIVE],
  ["Integrity", ".integrity", ACTOR_INTEGRITY],
  ["GuestVcpu", ".guest", ACTOR_GUEST],
  ["AddressSpace", ".space", ACTOR_OWN_SPACE],
  ["Fault", ".fault", ACTOR_FAULT],
];

function actorAt(layout: MachineLayout, address: number): Place {
  const of = (address - layout.actorsBase) >> ACTOR_SHIFT;
  const base = layout.actorsBase + of * ACTOR_SIZE;
  const actor = actorName(layout, of);
  return { of, ...actorPartAt(actor, base, address) };
}

function actorPartAt(actor: string, base: number, address: number): Place {
  const grace = fieldAt("Grace", actor, base + ACTOR_GRACE, address);
  // The lock is what a reader of the table looks for; that its readers' words lie in their own lines is a detail.
  if (grace?.name === `${actor}.mmuReader`) return { name: `kvm.mmu_lock.reader[${actor}]`, word: "reader" };
  if (grace?.name === `${actor}.mmapReader`) return { name: `mm.mmap_lock.reader[${actor}]`, word: "reader" };
  if (grace?.name === `${actor}.rmapReader`) return { name: `mm.rmap_lock.reader[${actor}]`, word: "reader" };
  if (grace?.name === `${actor}.gpcReader`) return { name: `gpc.lock.reader[${actor}]`, word: "reader" };
  if (grace?.name === `${actor}.invalidateReader`)
    return { name: `invalidate_lock.reader[${actor}]`, word: "reader" };
  if (grace) return grace;
  const control = fieldAt("Control", actor, base + ACTOR_CONTROL, address);
  if (control) return control;
  const stat = indexIn(base + ACTOR_STATS, STAT_COUNT, 8, address);
  if (stat !== undefined)
    return { name: `${actor}.stats.${STAT_NAMES.get(stat) ?? stat}`, word: "statistic" };
  const step = indexIn(base + WALK_STEPS, WALK_STEP_MAX, 1 << WALK_STEP_SHIFT, address);
  const stepPlace =
    step === undefined
      ? undefined
      : fieldAt("WalkStep", `${actor}.walk.step[${step}]`, base + WALK_STEPS + step * 16, address, "private");
  if (stepPlace) return stepPlace;
  const ready = indexIn(base + POOL_READY, POOL_READY_MAX, 4, address);
  if (ready !== undefined) return { name: `${actor}.pool.ready[${ready}]`, word: "plain" };
  const table = indexIn(base + POOL_TABLES, POOL_TABLES_MAX, 4, address);
  if (table !== undefined) return { name: `${actor}.pool.table[${table}]`, word: "private" };
  const gathered = indexIn(base + GATHER_PFNS, GATHER_MAX, 4, address);
  if (gathered !== undefined) return { name: `${actor}.gather[${gathered}]`, word: "private" };
  const map = indexIn(base + ACTOR_MAPS, VCPU_MAP_COUNT, 1 << VCPU_MAP_SHIFT, address);
  const mapPlace =
    map === undefined
      ? undefined
      : fieldAt(
          "VcpuMap",
          `${actor}.map[${map}]`,
          base + ACTOR_MAPS + (map << VCPU_MAP_SHIFT),
          address,
          "private",
        );
  if (mapPlace) return mapPlace;
  for (const [structure, part, offset] of ACTOR_PARTS) {
    const place = fieldAt(structure, actor + part, base + offset, address, "private");
    if (place) return place;
  }
  return distance(actor, base, address);
}

function slotsAt(layout: MachineLayout, address: number): Place {
  const rows = layout.slotMax << SLOT_SHIFT;
  const copySize = (SLOTS_HEAD_SIZE + rows + (layout.slotMax << SLOT_BY_HVA_SHIFT) + 63) & ~63;
  const copy = Math.floor((address - layout.slotsBase) / copySize);
  const base = layout.slotsBase + copy * copySize;
  const name = `slots[${copy}]`;
  if (copy > 1) return distance("slots", layout.slotsBase, address);
  if (address === base) return { name: `${name}.count`, word: "plain" };
  const row = indexIn(base + SLOTS_HEAD_SIZE, layout.slotMax, 1 << SLOT_SHIFT, address);
  if (row !== undefined) {
    const at = base + SLOTS_HEAD_SIZE + (row << SLOT_SHIFT);
    return fieldAt("Slot", `${name}.row[${row}]`, at, address) ?? distance(name, base, address);
  }
  const byHva = base + SLOTS_HEAD_SIZE + rows;
  const index = indexIn(byHva, layout.slotMax, 1 << SLOT_BY_HVA_SHIFT, address);
  const at = byHva + ((index ?? 0) << SLOT_BY_HVA_SHIFT);
  const place =
    index === undefined ? undefined : fieldAt("SlotByHva", `${name}.byHva[${index}]`, at, address);
  return place ?? distance(name, base, address);
}

function tlbAt(layout: MachineLayout, address: number): Place {
  const entries = layout.tlbEntries + layout.tlbLargeEntries;
  const entry = (address - layout.tlbsBase) >> TLB_ENTRY_SHIFT;
  const vcpu = Math.floor(entry / entries);
  const place = entry % entries;
  const name =
    place < layout.tlbEntries ? `tlb${vcpu}[${place}]` : `tlb${vcpu}.large[${place - layout.tlbEntries}]`;
  const base = layout.tlbsBase + (entry << TLB_ENTRY_SHIFT);
  if (vcpu >= layout.vcpuCount) return distance("tlbs", layout.tlbsBase, address);
  return fieldAt("TlbEntry", name, base, address, "private") ?? distance(name, base, address);
}

function frameAt(layout: MachineLayout, address: number, size: number, roles?: FrameRoles): Place {
  const of = (address - layout.framesBase) >>> PAGE_SHIFT;
  const offset = (address - layout.framesBase) & (PAGE_SIZE - 1);
  const role = size <= 8 ? roles?.(of) : undefined;
  if (role === undefined) {
    return {
      name: offset === 0 && size >= PAGE_SIZE ? `frame ${of}` : `frame ${of}+${hex(offset)}`,
      word: "data",
      of,
    };
  }
  const entry = role.base + (BigInt(offset >> 3) << BigInt(role.shift));
  const inside = offset % 8 === 0 ? "" : `+${offset % 8}`;
  return role.kind === "host-table"
    ? { name: `pte[hva ${hex(entry)} ${spanName(role.shift)}]${inside}`, word: "pte", of }
    : { name: `spte[gfn ${hex(entry >> 12n)} ${spanName(role.shift)}]${inside}`, word: "spte", of };
}

/** What no structure is known at: the distance from the beginning of what surrounds it. */
function distance(name: string, base: number, address: number): Place {
  return { name: `${name}+${hex(address - base)}`, word: "plain" };
}

/**
 * What the bytes at `address` are. `size` decides only whether a whole frame is meant. An address that is in no part of the
 * machine is named by its number.
 */
export function placeOf(layout: MachineLayout, address: number, size: number, roles?: FrameRoles): Place {
  if (address < HEADER_BASE || address >= layout.size) return { name: hex(address), word: "hex" };
  if (address < KVM_BASE)
    return fieldAt("Header", "header", HEADER_BASE, address) ?? distance("header", HEADER_BASE, address);
  if (address < MM_BASE) return kvmAt(address);
  if (address < layout.actorsBase) return mmAt(address);
  if (address < layout.histogramsBase) return actorAt(layout, address);
  if (address < layout.slotsBase) {
    const of = Math.floor((address - layout.histogramsBase) / HISTOGRAM_SIZE);
    const name = `${actorName(layout, of)}.histogram`;
    return { ...distance(name, layout.histogramsBase + of * HISTOGRAM_SIZE, address), word: "statistic" };
  }
  if (address < layout.vmasBase) return slotsAt(layout, address);
  if (address >= layout.filesBase && address < layout.tlbsBase) return filesAt(layout, address);
  if (address < layout.tlbsBase) {
    const row = (address - layout.vmasBase) >> VMA_SHIFT;
    const base = layout.vmasBase + (row << VMA_SHIFT);
    return fieldAt("Vma", `vma[${row}]`, base, address) ?? distance(`vma[${row}]`, base, address);
  }
  if (address < layout.walkCachesBase) return tlbAt(layout, address);
  if (address < layout.batchesBase)
    return { ...distance("walkcaches", layout.walkCachesBase, address), word: "private" };
  if (address < layout.pagesBase) return distance("batches", layout.batchesBase, address);
  if (address < layout.framesBase) {
    const of = (address - layout.pagesBase) >> PAGE_STRUCT_SHIFT;
    const base = layout.pagesBase + (of << PAGE_STRUCT_SHIFT);
    return {
      of,
      ...(fieldAt("Page", `page[${of}]`, base, address) ?? distance(`page[${of}]`, base, address)),
    };
  }
  return frameAt(layout, address, size, roles);
}

/**
 * The name of the bytes at `address`, for example `vcpu0.requests`, `slots[1].row[0].flags`, `tlb0[3].tag`, `frame 17+0x10`,
 * and, where `roles` knows that the frame holds a table, `pte[hva 0x7f0000010000 4K]` or `spte[gfn 0x10 4K]`.
 */
export function nameOf(layout: MachineLayout, address: number, size: number, roles?: FrameRoles): string {
  return placeOf(layout, address, size, roles).name;
}

/** Bytes below the entries of a table: what is below the first of them. */
function tableBase(of: bigint, index: number, shift: number): bigint {
  const span = BigInt(shift);
  return ((of >> span) - BigInt(index)) << span;
}

/** log2 of what an entry of the top table spans, of four levels. */
const TOP_SHIFT = 39;

/**
 * Roles of the frames of an execution, from what it told: a leaf or link that changed gives away its table, and an entry
 * found in a frame that leads to a table gives away the table above. What nobody changed is known from above: mm.pgd is
 * the host's top table, and a link found in a table gives away the one below. A frame that was two tables one after the
 * other has the role it had last.
 */
export function rolesOf(trace: Pick<Trace, "accesses" | "layout">): FrameRoles {
  const { framesBase, frameCount } = trace.layout;
  const roles = new Map<number, FrameRole>();
  const inFrames = (address: number): boolean =>
    address >= framesBase && address < framesBase + frameCount * PAGE_SIZE;
  const frames = trace.accesses.filter(({ address, size }) => size === 8 && inFrames(address));
  const set = (address: number, kind: FrameRole["kind"], of: bigint, shift: number): boolean => {
    const pfn = (address - framesBase) >>> PAGE_SHIFT;
    const role = { kind, shift, base: tableBase(of, ((address - framesBase) & (PAGE_SIZE - 1)) >> 3, shift) };
    const known = roles.get(pfn);
    if (known !== undefined && known.kind === kind && known.shift === shift && known.base === role.base)
      return false;
    roles.set(pfn, role);
    return known === undefined;
  };
  let last: number | undefined;
  const lastOf = new Map<number, number>();
  for (const { actor, address, size, site, before, after, notes } of trace.accesses) {
    if (size === 8 && inFrames(address) && site.kind !== "load" && before !== after)
      lastOf.set(actor, address);
    last = lastOf.get(actor);
    if (last === undefined) continue;
    for (const note of notes) {
      if (note.kind === Note.HostLeaf && note.a >> 6n) {
        set(last, "host-table", note.a & ~0x3fn, Number(note.a & 0x3fn));
      } else if (note.kind === Note.SpteLeaf || note.kind === Note.SpteLink) {
        const shift = Number(note.a >> 56n);
        set(last, "tdp-table", (note.a & ((1n << 56n) - 1n)) << 12n, shift);
      }
    }
  }
  // Upwards, a level at a time: four levels, so four times is enough.
  for (let level = 0; level < 4; level++) {
    for (const { address, after } of frames) {
      if (roles.has((address - framesBase) >>> PAGE_SHIFT)) continue;
      const below = roles.get(Number((after & PTE_ADDRESS) >> 12n));
      if (below !== undefined && isLink(below.kind, after)) {
        set(address, below.kind, below.base, below.shift + 9);
      }
    }
  }
  for (const { address, after } of trace.accesses) {
    const pfn = Number(after);
    if (address !== MM_BASE + MM_PGD || roles.has(pfn)) continue;
    roles.set(pfn, { kind: "host-table", shift: TOP_SHIFT, base: 0n });
  }
  // Downwards, in the order of the walks; before is what the first access found, whatever it wrote.
  for (const { address, before, after } of frames) {
    const above = roles.get((address - framesBase) >>> PAGE_SHIFT);
    if (above === undefined || above.shift === PAGE_SHIFT) continue;
    const index = BigInt((address - framesBase) & (PAGE_SIZE - 1)) >> 3n;
    for (const entry of [before, after]) {
      const pfn = Number((entry & PTE_ADDRESS) >> 12n);
      if (roles.has(pfn) || !isLink(above.kind, entry)) continue;
      roles.set(pfn, {
        kind: above.kind,
        shift: above.shift - 9,
        base: above.base + (index << BigInt(above.shift)),
      });
    }
  }
  return (pfn) => roles.get(pfn);
}

function isLink(kind: FrameRole["kind"], entry: bigint): boolean {
  return kind === "host-table"
    ? (entry & (PTE_P | PTE_PS)) === PTE_P
    : (entry & SPTE_SHADOW_PRESENT) !== 0n && (entry & SPTE_PS) === 0n;
}
