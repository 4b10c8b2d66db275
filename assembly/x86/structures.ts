// Paging-structure caches. A walk that uses a row leaves out the entries above it: it may be led by what they said before
// they were changed, and that is allowed until an invalidation covers the row. Lab build, architectural mode, and only
// where the machine has rows: then the host is asked at each row that could be used (x86/choice.ts).
//
//   linear          EPT is not in use; the table's address is a physical one
//   combined        EPT is in use; the row knows where the guest's table lies, and EPT is not asked again
//   guest-physical  an EPT table (or one of AMD's), by guest-physical address
//
// A row is made of entries whose accessed flags are set (SDM vol. 3A 4.10.3.1), and none while a walk can still fail to set
// them. Where a walk loses a race for a flag it begins again at the top.

import {
  CPU_CONTEXT,
  CPU_GENERATION,
  CPU_MODE,
  CPU_NESTED_MODE,
  CPU_STRUCTURES_BASE,
  CPU_STRUCTURES_MASK,
  CPU_TABLES_GENERATION,
} from "../layout/cpu";
import {
  STRUCTURE_CONTEXT,
  STRUCTURE_GENERATION,
  STRUCTURE_GUEST_PHYSICAL,
  STRUCTURE_HOST,
  STRUCTURE_LEVEL,
  STRUCTURE_SHIFT,
  STRUCTURE_TAG,
  STRUCTURE_VALUE,
} from "../layout/structures";
import { TLB_CONTEXT_EP4TA } from "../layout/tlb";
import { EPT_RWX, EPT_XU, PTE_ADDRESS, PTE_RW, PTE_US, PTE_XD } from "./bits";
import { Choice } from "./choice";
import { Memory } from "./memory";
import { Mode } from "./modes";

/** Which address a row is found by. */
export enum By {
  Linear = 0,
  GuestPhysical = 1,
}

export class Structures {
  /** True if the vCPU has rows. A constant in the release build. */
  @inline static on(vcpu: usize): bool {
    return LAB ? load<u32>(vcpu + CPU_STRUCTURES_BASE) != 0 : false;
  }
  /** Level of the entry that a row stands for: the walk goes on one below. */
  @inline static level(row: usize): u32 {
    return <u32>(load<u64>(row + STRUCTURE_TAG) & STRUCTURE_LEVEL);
  }
  @inline static table(row: usize): u64 {
    return load<u64>(row + STRUCTURE_VALUE) & PTE_ADDRESS;
  }
  @inline static host(row: usize): usize {
    return load<u32>(row + STRUCTURE_HOST);
  }
  /** AND of the entries, as far as rights go, of the ordinary format or of EPT's. */
  @inline static all(row: usize, rights: u64): u64 {
    return load<u64>(row + STRUCTURE_VALUE) | ~rights;
  }
  /** OR of the entries, as far as XD goes. */
  @inline static any(row: usize): u64 {
    return load<u64>(row + STRUCTURE_VALUE) & PTE_XD;
  }
}

/** Bits of an entry that a row keeps of all entries. */
export const STRUCTURE_RIGHTS_ORDINARY: u64 = PTE_RW | PTE_US;
export const STRUCTURE_RIGHTS_EPT: u64 = EPT_RWX | EPT_XU;

function contextOf(vcpu: usize, by: By): u64 {
  const context = load<u64>(vcpu + CPU_CONTEXT);
  return by == By.GuestPhysical ? context & TLB_CONTEXT_EP4TA : context;
}

function generationOf(vcpu: usize, tag: u64): u32 {
  return load<u32>(vcpu + (tag & STRUCTURE_GUEST_PHYSICAL ? CPU_TABLES_GENERATION : CPU_GENERATION));
}

function tagOf(address: u64, by: By, level: u32): u64 {
  const shift = Mode.shift(level);
  return ((address >> shift) << shift) | (by == By.GuestPhysical ? STRUCTURE_GUEST_PHYSICAL : 0) | level;
}

/** Place of the row for `address`: kinds and levels lie apart, and indices of all tables and the context count. */
function placeOf(vcpu: usize, address: u64, by: By, level: u32): usize {
  const upper = address >> Mode.shift(level);
  const context = contextOf(vcpu, by);
  const mixed = <u32>(upper ^ (upper >> 9) ^ (upper >> 18) ^ context ^ (context >> 12) ^ (context >> 28));
  const index = (mixed << 3) | ((<u32>by) << 2) | (level - 2);
  return (
    <usize>load<u32>(vcpu + CPU_STRUCTURES_BASE) +
    ((index << STRUCTURE_SHIFT) & load<u32>(vcpu + CPU_STRUCTURES_MASK))
  );
}

function isValid(vcpu: usize, row: usize): bool {
  return load<u32>(row + STRUCTURE_GENERATION) == generationOf(vcpu, load<u64>(row + STRUCTURE_TAG));
}

/** The row that the walk of `address` is to begin with, the lowest first; 0: at the top. */
export function structureFor(vcpu: usize, address: u64, by: By): usize {
  const mode = load<u32>(vcpu + (by == By.GuestPhysical ? CPU_NESTED_MODE : CPU_MODE));
  const context = contextOf(vcpu, by);
  for (let level: u32 = 2; level <= Mode.levels(mode); level++) {
    const row = placeOf(vcpu, address, by, level);
    if (load<u64>(row + STRUCTURE_TAG) != tagOf(address, by, level)) continue;
    if (load<u64>(row + STRUCTURE_CONTEXT) != context || !isValid(vcpu, row)) continue;
    if (Choice.may()) return row;
  }
  return 0;
}

/**
 * Enters what the entry of `level` and those above it say: `all` and `any` of them, and the table it refers to, which lies at
 * physical address `table` and, in this memory, at `host` (0: not in a frame, no row).
 */
export function structureFill(
  vcpu: usize,
  address: u64,
  by: By,
  level: u32,
  table: u64,
  host: usize,
  all: u64,
  any: u64,
): void {
  if (host == 0) return;
  const row = placeOf(vcpu, address, by, level);
  const tag = tagOf(address, by, level);
  store<u64>(row + STRUCTURE_TAG, tag);
  store<u64>(row + STRUCTURE_CONTEXT, contextOf(vcpu, by));
  store<u64>(row + STRUCTURE_VALUE, table | (all & STRUCTURE_RIGHTS_EPT) | (any & PTE_XD));
  store<u32>(row + STRUCTURE_HOST, <u32>host);
  store<u32>(row + STRUCTURE_GENERATION, generationOf(vcpu, tag));
}

/** Where table `pa` lies in this memory, 0 if not in a frame. */
export function structureFrame(pa: u64): usize {
  return pa < Memory.limit ? Memory.frame(pa) : 0;
}

/** True if the row's entry is on the way to `address`. */
function leadsTo(row: usize, address: u64): bool {
  const tag = load<u64>(row + STRUCTURE_TAG);
  const shift = Mode.shift(<u32>(tag & STRUCTURE_LEVEL));
  return tag >> shift == address >> shift;
}

/**
 * Drops the rows of one kind whose context equals `context` in the bits of `mask`; those that lead to `address` alone,
 * unless `everywhere`.
 */
function drop(vcpu: usize, by: By, context: u64, mask: u64, everywhere: bool, address: u64): void {
  if (!Structures.on(vcpu)) return;
  const kind = by == By.GuestPhysical ? STRUCTURE_GUEST_PHYSICAL : 0;
  const base: usize = load<u32>(vcpu + CPU_STRUCTURES_BASE);
  const last = base + load<u32>(vcpu + CPU_STRUCTURES_MASK);
  for (let row = base; row <= last; row += 1 << STRUCTURE_SHIFT) {
    if ((load<u64>(row + STRUCTURE_TAG) & STRUCTURE_GUEST_PHYSICAL) != kind) continue;
    if ((load<u64>(row + STRUCTURE_CONTEXT) ^ context) & mask) continue;
    if (everywhere || leadsTo(row, address)) store<u32>(row + STRUCTURE_GENERATION, 0);
  }
}

/** Drops linear and combined rows whose context equals `context` in the bits of `mask`. */
export function structuresDrop(vcpu: usize, context: u64, mask: u64): void {
  drop(vcpu, By.Linear, context, mask, true, 0);
}

/** Likewise, of those that lead to linear address `gva`. */
export function structuresDropAddress(vcpu: usize, gva: u64, context: u64, mask: u64): void {
  drop(vcpu, By.Linear, context, mask, false, gva);
}

/** Drops linear and combined rows whose context has any bit of `mask`. */
export function structuresDropOthers(vcpu: usize, mask: u64): void {
  if (!Structures.on(vcpu)) return;
  const base: usize = load<u32>(vcpu + CPU_STRUCTURES_BASE);
  const last = base + load<u32>(vcpu + CPU_STRUCTURES_MASK);
  for (let row = base; row <= last; row += 1 << STRUCTURE_SHIFT) {
    if (load<u64>(row + STRUCTURE_TAG) & STRUCTURE_GUEST_PHYSICAL) continue;
    if (load<u64>(row + STRUCTURE_CONTEXT) & mask) store<u32>(row + STRUCTURE_GENERATION, 0);
  }
}

/** Drops guest-physical rows whose EP4TA equals that of `context` in the bits of `mask`. */
export function structuresDropGuestPhysical(vcpu: usize, context: u64, mask: u64): void {
  drop(vcpu, By.GuestPhysical, context, mask & TLB_CONTEXT_EP4TA, true, 0);
}

/** Drops the guest-physical rows of the present EP4TA that lead to `gpa`. */
export function structuresDropGpa(vcpu: usize, gpa: u64): void {
  drop(vcpu, By.GuestPhysical, contextOf(vcpu, By.GuestPhysical), TLB_CONTEXT_EP4TA, false, gpa);
}

/** Empties the rows, as numbers of generations begin anew. */
export function structuresClear(vcpu: usize): void {
  if (!Structures.on(vcpu)) return;
  const base: usize = load<u32>(vcpu + CPU_STRUCTURES_BASE);
  memory.fill(base, 0, load<u32>(vcpu + CPU_STRUCTURES_MASK) + (1 << STRUCTURE_SHIFT));
}
