// The TLB of a vCPU: 4-KByte translations, direct mapped, and beside them large ones, from which the former are cut.
//
// An entry is valid if its generation is the vCPU's, so that a flush is an increment. A flush that spares global
// entries is one too: a global entry of an older generation, down to the last full flush, is still good, and is given
// the present generation (and PCID) when a miss finds it. The hit path knows nothing of all this.
//
// A translation of a guest's large page may lie here in many pieces; INVLPG drops all of them.

import {
  CPU_CONTEXT,
  CPU_GENERATION,
  CPU_INVALIDATIONS,
  CPU_KEPT_GENERATION,
  CPU_LARGE_SEEN,
  CPU_NESTED_MODE,
  CPU_TLB_BASE,
  CPU_TLB_LARGE_BASE,
  CPU_TLB_LARGE_MASK,
  CPU_TABLES_GENERATION,
  CPU_TABLES_TAG,
  CPU_TLB_MASK,
  CPU_VPIDS_SEEN,
  CPU_WALK_CACHE_BASE,
  CPU_WALK_CACHE_MASK,
} from "../layout/cpu";
import {
  TLB_ADDEND,
  TLB_CONTEXT,
  TLB_CONTEXT_EP4TA,
  TLB_CONTEXT_EP4TA_SHIFT,
  TLB_CONTEXT_PCID,
  TLB_CONTEXT_VPID,
  TLB_CONTEXT_VPID_SHIFT,
  TLB_ENTRY_SHIFT,
  TLB_GENERATION,
  TLB_RIGHTS,
  TLB_TAG,
} from "../layout/tlb";
import { Map } from "../layout/map";
import { Access } from "../layout/walk";
import {
  WALK_CACHE_ENTRY_SHIFT,
  WALK_CACHE_FLAGS,
  WALK_CACHE_GENERATION,
  WALK_CACHE_ROOT,
  WALK_CACHE_TAG,
} from "../layout/walkcache";
import { EPTP_AD, PTE_ADDRESS } from "./bits";
import { Choice } from "./choice";
import { NOTE_NON_GLOBAL, Note, Notes } from "../note";
import { Memory } from "./memory";
import { Mode } from "./modes";
import {
  OBSTACLE_CLEAN,
  OBSTACLE_EPT_CLEAN,
  OBSTACLE_EPT_NO_WRITE,
  Rights,
  TRANSLATION_GLOBAL,
  Translation,
} from "./rights";
import {
  structuresClear,
  structuresDrop,
  structuresDropAddress,
  structuresDropGpa,
  structuresDropGuestPhysical,
  structuresDropOthers,
} from "./structures";
import { Kind } from "./walk";

/** Size of a large entry, in its tag: above every page number. */
const TAG_SIZE_SHIFT: u64 = 62;
const TAG_SIZE_BITS: u64 = 2;
const ENTRY: u32 = 1 << TLB_ENTRY_SHIFT;

export class Tlb {
  /** Address in this memory of the byte at `gva`; 0 unless the TLB has it and the access is allowed. */
  @inline static hit(vcpu: usize, gva: u64, access: Access): usize {
    const page = gva >> 12;
    const place = ((<u32>page) << TLB_ENTRY_SHIFT) & load<u32>(vcpu + CPU_TLB_MASK);
    const entry: usize = <usize>load<u32>(vcpu + CPU_TLB_BASE) + place;
    if (
      load<u64>(entry + TLB_TAG) != page ||
      load<u64>(entry + TLB_CONTEXT) != load<u64>(vcpu + CPU_CONTEXT) ||
      load<u32>(entry + TLB_GENERATION) != load<u32>(vcpu + CPU_GENERATION) ||
      (load<u64>(entry + TLB_RIGHTS) & Kind.deny(vcpu, access)) != 0
    ) {
      return 0;
    }
    if (LAB && Tlb.forgets(vcpu, entry)) return 0;
    return <usize>load<u32>(entry + TLB_ADDEND) + <usize>gva;
  }
  /** True if the processor drops an entry that it could use. */
  @inline static forgets(vcpu: usize, entry: usize): bool {
    if (!Choice.may()) return false;
    Tlb.clear(vcpu, entry);
    return true;
  }

  /** Place of the 4-KByte entry for `gva`. */
  @inline static slot(vcpu: usize, gva: u64): usize {
    return (
      load<u32>(vcpu + CPU_TLB_BASE) +
      (((<u32>(gva >> 12)) << TLB_ENTRY_SHIFT) & load<u32>(vcpu + CPU_TLB_MASK))
    );
  }
  /** Place of the entry for `gva` in a large page of size 1 (2 MByte) or 2 (1 GByte). */
  @inline static largeSlot(vcpu: usize, gva: u64, size: u32): usize {
    const index = (<u32>(gva >> (12 + 9 * size))) << TLB_ENTRY_SHIFT;
    return load<u32>(vcpu + CPU_TLB_LARGE_BASE) + (index & load<u32>(vcpu + CPU_TLB_LARGE_MASK));
  }
  @inline static largeTag(gva: u64, size: u32): u64 {
    return (gva >> (12 + 9 * size)) | ((<u64>size) << TAG_SIZE_SHIFT);
  }
  @inline static clear(vcpu: usize, entry: usize): void {
    if (LAB) tellDropped(vcpu, entry);
    store<u32>(entry + TLB_GENERATION, 0);
  }
  /** See `tlbFlushAll`. */
  @inline static flushAll(vcpu: usize): void {
    tlbFlushAll(vcpu);
  }
}

/** Which address an entry's tag stands for, and log2 of how much. */
class Tag {
  @inline static shift(tag: u64): u64 {
    return 12 + 9 * (tag >> TAG_SIZE_SHIFT);
  }
  @inline static gva(tag: u64): u64 {
    return ((tag << TAG_SIZE_BITS) >> TAG_SIZE_BITS) << Tag.shift(tag);
  }
}

/** Tells the checkers that a valid entry goes: dropped, or replaced. */
function tellDropped(vcpu: usize, entry: usize): void {
  if (load<u32>(entry + TLB_GENERATION) < load<u32>(vcpu + CPU_KEPT_GENERATION)) return;
  const tag = load<u64>(entry + TLB_TAG);
  Notes.tell(Note.TlbDrop | ((<i32>Tag.shift(tag)) << 8) | (Map.actorIndex(vcpu) << 16), Tag.gva(tag), 0);
}

/** A walk that is under way may not fill after this. */
function countInvalidation(vcpu: usize): void {
  store<u32>(vcpu + CPU_INVALIDATIONS, load<u32>(vcpu + CPU_INVALIDATIONS) + 1);
}

/** Tells them of an entry made. */
function tellFilled(vcpu: usize, tag: u64, rights: u64, addend: u32): void {
  const gva = Tag.gva(tag);
  const page = <u64>(addend + <u32>gva - <u32>Memory.frame(0));
  const writable = u64((rights & OBSTACLE_EPT_NO_WRITE) == 0);
  Notes.tell(
    Note.TlbFill | ((<i32>Tag.shift(tag)) << 8) | (Map.actorIndex(vcpu) << 16),
    gva,
    page | writable,
  );
}

/** True if the entry may be used in the present context, as it is or because it is global. */
function usable(vcpu: usize, entry: usize): bool {
  const other = load<u64>(entry + TLB_CONTEXT) ^ load<u64>(vcpu + CPU_CONTEXT);
  const generation = load<u32>(entry + TLB_GENERATION);
  if (other == 0 && generation == load<u32>(vcpu + CPU_GENERATION)) return true;
  if ((load<u64>(entry + TLB_RIGHTS) & TRANSLATION_GLOBAL) == 0) return false;
  return (other & ~TLB_CONTEXT_PCID) == 0 && generation >= load<u32>(vcpu + CPU_KEPT_GENERATION);
}

/** Makes an entry one of the present context and generation. */
function write(vcpu: usize, entry: usize, tag: u64, rights: u64, addend: u32): void {
  if (LAB && load<u64>(entry + TLB_TAG) != tag) tellDropped(vcpu, entry);
  store<u64>(entry + TLB_TAG, tag);
  store<u64>(entry + TLB_CONTEXT, load<u64>(vcpu + CPU_CONTEXT));
  store<u64>(entry + TLB_RIGHTS, rights);
  store<u32>(entry + TLB_ADDEND, addend);
  store<u32>(entry + TLB_GENERATION, load<u32>(vcpu + CPU_GENERATION));
  if (LAB) tellFilled(vcpu, tag, rights, addend);
}

/** After a miss of `Tlb.hit`: looks for a global entry of another PCID, and for a large one; enters what it finds. */
export function tlbSecondLook(vcpu: usize, gva: u64, access: Access): usize {
  const deny = Kind.deny(vcpu, access);
  const slot = Tlb.slot(vcpu, gva);
  if (load<u64>(slot + TLB_TAG) == gva >> 12 && usable(vcpu, slot)) {
    const rights = load<u64>(slot + TLB_RIGHTS);
    if (rights & deny || (LAB && Tlb.forgets(vcpu, slot))) return 0;
    write(vcpu, slot, gva >> 12, rights, load<u32>(slot + TLB_ADDEND));
    return load<u32>(slot + TLB_ADDEND) + <u32>gva;
  }
  if (load<u32>(vcpu + CPU_LARGE_SEEN) == 0 || load<u32>(vcpu + CPU_TLB_LARGE_BASE) == 0) return 0;
  for (let size: u32 = 1; size <= 2; size++) {
    const large = Tlb.largeSlot(vcpu, gva, size);
    if (load<u64>(large + TLB_TAG) != Tlb.largeTag(gva, size) || !usable(vcpu, large)) continue;
    const rights = load<u64>(large + TLB_RIGHTS);
    if (rights & deny) return 0;
    if (LAB && Tlb.forgets(vcpu, large)) continue;
    write(vcpu, slot, gva >> 12, rights, load<u32>(large + TLB_ADDEND));
    return load<u32>(large + TLB_ADDEND) + <u32>gva;
  }
  return 0;
}

/** Obstacles of the entry that translates `gva` now, if it would fault this access; else 0. For x86/choice.ts. */
export function tlbStaleRights(vcpu: usize, gva: u64, access: Access): u64 {
  const slot = Tlb.slot(vcpu, gva);
  if (load<u64>(slot + TLB_TAG) != gva >> 12 || !usable(vcpu, slot)) return 0;
  const rights = load<u64>(slot + TLB_RIGHTS);
  // Dirty flags that are to be set are no faults.
  return rights & Kind.deny(vcpu, access) & ~(OBSTACLE_CLEAN | OBSTACLE_EPT_CLEAN) ? rights : 0;
}

/** Enters a translation; returns the address of the byte at `gva`. */
export function tlbFill(vcpu: usize, gva: u64, t: u64): usize {
  const host = Memory.frame(Translation.page(t));
  const addend = <u32>host - <u32>(gva & ~(<u64>0xfff));
  const rights = Translation.rights(t);
  write(vcpu, Tlb.slot(vcpu, gva), gva >> 12, rights, addend);
  if (Translation.guestSize(t)) {
    store<u32>(vcpu + CPU_LARGE_SEEN, 1);
    fillLarge(vcpu, gva, t, rights, addend);
  }
  return addend + <u32>gva;
}

/** A large entry, if the translation is large in all dimensions and the page lies in memory as a whole. */
function fillLarge(vcpu: usize, gva: u64, t: u64, rights: u64, addend: u32): void {
  const size = Translation.size(t);
  if (size == 0 || load<u32>(vcpu + CPU_TLB_LARGE_BASE) == 0) return;
  const span: u64 = (<u64>1) << (12 + 9 * size);
  if ((Translation.page(t) & ~(span - 1)) + span > Memory.limit) return;
  write(vcpu, Tlb.largeSlot(vcpu, gva, size), Tlb.largeTag(gva, size), rights, addend);
}

/** First byte after the entries of the vCPU: the large ones follow the others. */
function endOfTlb(vcpu: usize): usize {
  const small = load<u32>(vcpu + CPU_TLB_BASE) + load<u32>(vcpu + CPU_TLB_MASK) + ENTRY;
  return load<u32>(vcpu + CPU_TLB_LARGE_BASE) ? small + load<u32>(vcpu + CPU_TLB_LARGE_MASK) + ENTRY : small;
}

/** A new generation; when the numbers are used up, the entries are really cleared and counting begins anew. */
function nextGeneration(vcpu: usize): u32 {
  let generation = load<u32>(vcpu + CPU_GENERATION) + 1;
  if (generation == 0) {
    const base = load<u32>(vcpu + CPU_TLB_BASE);
    memory.fill(base, 0, endOfTlb(vcpu) - base);
    tlbDropTablePages(vcpu);
    if (LAB) structuresClear(vcpu);
    store<u32>(vcpu + CPU_KEPT_GENERATION, 1);
    store<u32>(vcpu + CPU_TABLES_GENERATION, 1);
    generation = 1;
  }
  store<u32>(vcpu + CPU_GENERATION, generation);
  return generation;
}

/** Drops all entries of linear addresses. */
function flushLinear(vcpu: usize): u32 {
  const generation = nextGeneration(vcpu);
  store<u32>(vcpu + CPU_KEPT_GENERATION, generation);
  Notes.tell(Note.TlbFlush | (Map.actorIndex(vcpu) << 16), 0, 0);
  store<u32>(vcpu + CPU_LARGE_SEEN, 0);
  return generation;
}

/** Empties the TLB and what else was cached of the tables: global entries, all contexts, guest-physical addresses. */
export function tlbFlushAll(vcpu: usize): void {
  store<u32>(vcpu + CPU_TABLES_GENERATION, flushLinear(vcpu));
  store<u32>(vcpu + CPU_VPIDS_SEEN, 0);
}

/** Drops all but global entries, of every context. */
export function tlbFlushNonGlobal(vcpu: usize): void {
  nextGeneration(vcpu);
  Notes.tell(Note.TlbFlush | NOTE_NON_GLOBAL | (Map.actorIndex(vcpu) << 16), 0, 0);
}

/** Drops the entries whose context equals `context` in the bits of `mask`; with `spareGlobal` not the global ones. */
function flushMatching(vcpu: usize, context: u64, mask: u64, spareGlobal: bool): void {
  if (LAB) countInvalidation(vcpu);
  if (LAB) structuresDrop(vcpu, context, mask);
  for (let entry: usize = load<u32>(vcpu + CPU_TLB_BASE), end = endOfTlb(vcpu); entry < end; entry += ENTRY) {
    if ((load<u64>(entry + TLB_CONTEXT) ^ context) & mask) continue;
    if (spareGlobal && load<u64>(entry + TLB_RIGHTS) & TRANSLATION_GLOBAL) continue;
    Tlb.clear(vcpu, entry);
  }
}

/** Which entries of the present VPID are dropped. Combined ones go for every EP4TA (SDM vol. 3C 29.4.3.1). */
export enum Pcids {
  /** Of one PCID. */
  One = 0,
  /** Of all of them. */
  All = 1,
}

/**
 * Drops what is cached for the present VPID: for `pcid` or for all, but global entries if `spareGlobal`. This is what MOV to
 * CR0, CR3 and CR4 and three kinds of INVPCID come to.
 */
export function tlbFlushContext(vcpu: usize, pcids: Pcids, pcid: u64, spareGlobal: bool): void {
  // Of one VPID, and so of one PCID where there is no PCIDE, a new generation drops the same at no cost.
  if (load<u32>(vcpu + CPU_VPIDS_SEEN) == 0 && pcids == Pcids.All) {
    if (spareGlobal) tlbFlushNonGlobal(vcpu);
    else flushLinear(vcpu);
    return;
  }
  const vpid = load<u64>(vcpu + CPU_CONTEXT) & TLB_CONTEXT_VPID;
  const mask = pcids == Pcids.All ? TLB_CONTEXT_VPID : TLB_CONTEXT_VPID | TLB_CONTEXT_PCID;
  flushMatching(vcpu, vpid | pcid, mask, spareGlobal);
}

/** INVVPID of one VPID, all PCIDs and EP4TAs. Of AMD's ASID it drops what is guest-physical as well. */
export function tlbFlushVpid(vcpu: usize, vpid: u32, spareGlobal: bool): void {
  flushMatching(vcpu, (<u64>vpid) << TLB_CONTEXT_VPID_SHIFT, TLB_CONTEXT_VPID, spareGlobal);
  if (Mode.asUser(load<u32>(vcpu + CPU_NESTED_MODE))) dropOfAsids(vcpu);
}

/** INVVPID of all VPIDs but 0000H. */
export function tlbFlushVpids(vcpu: usize): void {
  if (LAB) countInvalidation(vcpu);
  for (let entry: usize = load<u32>(vcpu + CPU_TLB_BASE), end = endOfTlb(vcpu); entry < end; entry += ENTRY) {
    if (load<u64>(entry + TLB_CONTEXT) & TLB_CONTEXT_VPID) Tlb.clear(vcpu, entry);
  }
  if (LAB) structuresDropOthers(vcpu, TLB_CONTEXT_VPID);
  if (Mode.asUser(load<u32>(vcpu + CPU_NESTED_MODE))) dropOfAsids(vcpu);
}

/** What is guest-physical, of AMD's ASIDs. */
function dropOfAsids(vcpu: usize): void {
  tlbDropTablePages(vcpu);
  if (LAB) structuresDropGuestPhysical(vcpu, TLB_CONTEXT_EP4TA, u64.MAX_VALUE);
}

/** INVEPT, single context: combined entries, and what is guest-physical, of this EP4TA. */
export function tlbFlushEpt(vcpu: usize, eptp: u64): void {
  const ep4ta = Ep4ta.of(eptp);
  flushMatching(vcpu, ep4ta, TLB_CONTEXT_EP4TA, false);
  const tag = WalkCache.rootTag(eptp, 0);
  const rows: usize = load<u32>(vcpu + CPU_WALK_CACHE_BASE);
  const last = rows + load<u32>(vcpu + CPU_WALK_CACHE_MASK);
  for (let row = rows; row <= last; row += 1 << WALK_CACHE_ENTRY_SHIFT) {
    if ((load<u64>(row + WALK_CACHE_TAG) & (WALK_CACHE_ROOT & ~WALK_CACHE_FLAGS)) == tag)
      store<u32>(row + WALK_CACHE_GENERATION, 0);
  }
  if (LAB) structuresDropGuestPhysical(vcpu, ep4ta, u64.MAX_VALUE);
}

/** INVEPT, all contexts: combined entries, and all that is guest-physical; linear ones, made without EPT, stay. */
export function tlbFlushEpts(vcpu: usize): void {
  if (LAB) countInvalidation(vcpu);
  for (let entry: usize = load<u32>(vcpu + CPU_TLB_BASE), end = endOfTlb(vcpu); entry < end; entry += ENTRY) {
    if (load<u64>(entry + TLB_CONTEXT) & TLB_CONTEXT_EP4TA) Tlb.clear(vcpu, entry);
  }
  tlbDropTablePages(vcpu);
  if (LAB) structuresDropOthers(vcpu, TLB_CONTEXT_EP4TA);
  if (LAB) structuresDropGuestPhysical(vcpu, 0, 0);
}

/** What of an EPT pointer its translations bear (SDM vol. 3C 29.4.1). */
export class Ep4ta {
  /** In the place that it has in a context: the pfn of the top table, counted from 1, as 0 stands for no EPT. */
  @inline static of(eptp: u64): u64 {
    return eptp ? (((eptp & PTE_ADDRESS) >> 12) + 1) << TLB_CONTEXT_EP4TA_SHIFT : 0;
  }
}

/** Where the walk cache knows a page of, and by which tag. */
export class WalkCache {
  /** The bits of a tag that name the nested tables: `pointer` is an EPTP or nCR3, `flags` are `WALK_CACHE_FLAGS`. */
  @inline static rootTag(pointer: u64, flags: u64): u64 {
    const pfn = (pointer & PTE_ADDRESS) >> 12;
    return (pfn & 0xfff) | (((pfn >> 12) & 0x3ff) << 52) | flags;
  }
  /** How an EPT pointer says that its tables are walked: as 5 levels, with accessed and dirty flags. */
  @inline static flags(eptp: u64): u64 {
    return (eptp & EPTP_AD ? (<u64>1) << 63 : 0) | (((eptp >> 5) & 1) << 62);
  }
  @inline static tag(vcpu: usize, gpa: u64): u64 {
    return (gpa & PTE_ADDRESS) | load<u64>(vcpu + CPU_TABLES_TAG);
  }
  /** The row for the page of `gpa`. A vCPU without a cache has one that is never filled. */
  @inline static row(vcpu: usize, gpa: u64): usize {
    const place = ((<u32>(gpa >> 12)) << WALK_CACHE_ENTRY_SHIFT) & load<u32>(vcpu + CPU_WALK_CACHE_MASK);
    return <usize>load<u32>(vcpu + CPU_WALK_CACHE_BASE) + place;
  }
}

/** Empties the walk cache alone. */
export function tlbDropTablePages(vcpu: usize): void {
  const rows = load<u32>(vcpu + CPU_WALK_CACHE_BASE);
  memory.fill(rows, 0, load<u32>(vcpu + CPU_WALK_CACHE_MASK) + (1 << WALK_CACHE_ENTRY_SHIFT));
}

/** Which entries of an address are dropped. */
class Scope {
  /** True if `entry` translates the guest page of `gva` in a context like `context`. */
  @inline static covers(entry: usize, gva: u64, context: u64, pcids: u64, globals: bool): bool {
    const rights = load<u64>(entry + TLB_RIGHTS);
    const other = load<u64>(entry + TLB_CONTEXT) ^ context;
    if (other & TLB_CONTEXT_VPID) return false;
    if (rights & TRANSLATION_GLOBAL ? !globals : (other & pcids) != 0) return false;
    const address = Tag.gva(load<u64>(entry + TLB_TAG));
    const guestShift = Rights.guestShift(rights);
    return address >> guestShift == gva >> guestShift;
  }
}

/**
 * Drops what the TLB has of the page at `gva`, in however many pieces: of the VPID of `context`, and of its PCID in the bits
 * of `pcids` (none: of all); global entries, whatever their PCID, if `globals`.
 */
function invalidatePage(vcpu: usize, gva: u64, context: u64, pcids: u64, globals: bool): void {
  if (LAB) countInvalidation(vcpu);
  if (load<u32>(vcpu + CPU_LARGE_SEEN) == 0) {
    const slot = Tlb.slot(vcpu, gva);
    if (load<u64>(slot + TLB_TAG) == gva >> 12 && Scope.covers(slot, gva, context, pcids, globals)) {
      Tlb.clear(vcpu, slot);
    }
    return;
  }
  for (let entry: usize = load<u32>(vcpu + CPU_TLB_BASE), end = endOfTlb(vcpu); entry < end; entry += ENTRY) {
    if (Scope.covers(entry, gva, context, pcids, globals)) Tlb.clear(vcpu, entry);
  }
}

/** INVLPG: the page's entries, global or not; of the paging-structure caches all of the present PCID (4.10.4.1). */
export function tlbInvalidatePage(vcpu: usize, gva: u64): void {
  const context = load<u64>(vcpu + CPU_CONTEXT);
  invalidatePage(vcpu, gva, context, TLB_CONTEXT_PCID, true);
  if (LAB) structuresDrop(vcpu, context, TLB_CONTEXT_VPID | TLB_CONTEXT_PCID);
}

/** INVPCID of an individual address: not global ones. */
export function tlbInvalidatePcid(vcpu: usize, gva: u64, pcid: u64): void {
  const context = (load<u64>(vcpu + CPU_CONTEXT) & TLB_CONTEXT_VPID) | pcid;
  invalidatePage(vcpu, gva, context, TLB_CONTEXT_PCID, false);
  if (LAB) structuresDropAddress(vcpu, gva, context, TLB_CONTEXT_VPID | TLB_CONTEXT_PCID);
}

/** INVVPID of an individual address: of all PCIDs, global or not. */
export function tlbInvalidateVpid(vcpu: usize, gva: u64, vpid: u32): void {
  const context = (<u64>vpid) << TLB_CONTEXT_VPID_SHIFT;
  invalidatePage(vcpu, gva, context, 0, true);
  if (LAB) structuresDropAddress(vcpu, gva, context, TLB_CONTEXT_VPID);
}

/**
 * After a fault (4.10.4.1): drops the entries that would translate `gva` itself. Those of other pieces of a large page
 * stay: each is at most what the tables said when it was made, and a fault of its own will drop it.
 */
export function tlbDropAddress(vcpu: usize, gva: u64): void {
  if (LAB) countInvalidation(vcpu);
  if (LAB) {
    const mask = TLB_CONTEXT_VPID | TLB_CONTEXT_PCID;
    structuresDropAddress(vcpu, gva, load<u64>(vcpu + CPU_CONTEXT), mask);
  }
  const context = load<u64>(vcpu + CPU_CONTEXT);
  const slot = Tlb.slot(vcpu, gva);
  if (load<u64>(slot + TLB_TAG) == gva >> 12 && Scope.covers(slot, gva, context, TLB_CONTEXT_PCID, true)) {
    Tlb.clear(vcpu, slot);
  }
  if (load<u32>(vcpu + CPU_LARGE_SEEN) == 0 || load<u32>(vcpu + CPU_TLB_LARGE_BASE) == 0) return;
  for (let size: u32 = 1; size <= 2; size++) {
    const large = Tlb.largeSlot(vcpu, gva, size);
    if (load<u64>(large + TLB_TAG) != Tlb.largeTag(gva, size)) continue;
    if (Scope.covers(large, gva, context, TLB_CONTEXT_PCID, true)) Tlb.clear(vcpu, large);
  }
}

/** After an exit that the nested tables caused (29.4.3.1): drops what is cached of guest-physical address `gpa`. */
export function tlbDropGpa(vcpu: usize, gpa: u64): void {
  const row = WalkCache.row(vcpu, gpa);
  if (load<u64>(row + WALK_CACHE_TAG) == WalkCache.tag(vcpu, gpa)) store<u32>(row + WALK_CACHE_GENERATION, 0);
  if (LAB) structuresDropGpa(vcpu, gpa);
}
