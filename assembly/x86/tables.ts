// Translation in windows, for many addresses: without TLB, flags or record. What the upper levels come to is kept for each
// 2 MiB (layout/tablecache.ts), so that a translation is one row and one entry, and one row and one entry more below
// nested paging.
//
// Only what can be translated is found here; why an address cannot be is for the loop form to say (x86/translate.ts).

import {
  CPU_CR3,
  CPU_EPTP,
  CPU_MODE,
  CPU_NESTED_RESERVED,
  CPU_RESERVED,
  CPU_SHAPE,
  CPU_DENY_TABLE,
  Shape,
} from "../layout/cpu";
import { Map } from "../layout/map";
import {
  TABLE_ENTRY,
  TABLE_HOST,
  TABLE_LEVEL,
  TABLE_RIGHTS,
  TABLE_ROW_SHIFT,
  TABLE_SPAN_SHIFT,
  TABLE_TAG,
} from "../layout/tablecache";
import { Access } from "../layout/walk";
import { Ops, Order } from "../sync/ops";
import { EPT_RWX, PTE_ADDRESS, PTE_P, PTE_RW, PTE_US, PTE_XD } from "./bits";
import { findWindow } from "./memory";
import { MODE_4LEVEL, MODE_EPT4, MODE_NONE, Mode } from "./modes";
import { OBSTACLE_CLEAN, OBSTACLE_EPT_CLEAN, Obstacles, Translation } from "./rights";
import { Step } from "./step";
import { Kind } from "./walk";

/** Bits of entries that all levels must have set for a right to hold, and those that one level sets for all. */
const GUEST_ALL: u64 = PTE_RW | PTE_US;
const GUEST_ANY: u64 = PTE_XD;

export class Tables {
  /** True if a present entry of the guest refers to something: no reserved bit. `common`: those of every level. */
  @inline static sound(level: u32, leaf: bool, common: u64, entry: u64): bool {
    return (entry & (PTE_P | common | Step.reserved(MODE_4LEVEL, level, leaf))) == PTE_P;
  }
  /** Likewise for an entry of EPT. */
  @inline static nestedSound(level: u32, leaf: bool, common: u64, entry: u64): bool {
    return (entry & EPT_RWX) != 0 && !Step.misconfigured(MODE_EPT4, level, leaf, common, entry);
  }

  /** The row of the guest's half for `gva`, filled; 0 if its tables do not map it, or cannot be read. */
  @inline static row(vcpu: usize, gva: u64): usize {
    const row = Tables.place(Map.tableCache(vcpu), gva);
    return load<u64>(row + TABLE_TAG) == Tables.tag(gva) ? row : fillRow(vcpu, gva, row);
  }
  /** The row of the nested half for `gpa`. */
  @inline static nestedRow(vcpu: usize, gpa: u64): usize {
    const row = Tables.place(Map.tableCache(vcpu) + (Map.tableCacheSize >> 1), gpa);
    return load<u64>(row + TABLE_TAG) == Tables.tag(gpa) ? row : fillNestedRow(vcpu, gpa, row);
  }
  @inline static tag(address: u64): u64 {
    return (address >> TABLE_SPAN_SHIFT) + 1;
  }
  @inline static place(rows: usize, address: u64): usize {
    const index = (<u32>(address >> TABLE_SPAN_SHIFT)) << TABLE_ROW_SHIFT;
    return rows + (index & (<u32>(Map.tableCacheSize >> 1) - (1 << TABLE_ROW_SHIFT)));
  }

  /** The guest's translation of `gva`, 0 if there is none: its address is guest-physical below nested paging. */
  @inline static guest(vcpu: usize, gva: u64): u64 {
    const row = Tables.row(vcpu, gva);
    if (row == 0) return 0;
    const rights = load<u64>(row + TABLE_RIGHTS);
    const level = load<u32>(row + TABLE_LEVEL);
    if (level == 1) {
      const at: usize = <usize>load<u32>(row + TABLE_HOST) + Mode.offset(1, gva);
      const entry = Ops.load<u64>(at, Order.Relaxed);
      if (!Tables.sound(1, true, load<u64>(vcpu + CPU_RESERVED), entry)) return 0;
      const obstacles = Obstacles.ordinary(rights & entry, rights | entry, entry);
      return Translation.make(entry & PTE_ADDRESS, obstacles, 0, entry);
    }
    return largePage(row, level, rights, gva);
  }
  /** The nested translation of `gpa`, 0 if there is none. */
  @inline static nested(vcpu: usize, gpa: u64): u64 {
    const row = Tables.nestedRow(vcpu, gpa);
    if (row == 0) return 0;
    const rights = load<u64>(row + TABLE_RIGHTS);
    const level = load<u32>(row + TABLE_LEVEL);
    let entry = load<u64>(row + TABLE_ENTRY);
    if (level == 1) {
      entry = Ops.load<u64>(<usize>load<u32>(row + TABLE_HOST) + Mode.offset(1, gpa), Order.Relaxed);
      if (!Tables.nestedSound(1, true, load<u64>(vcpu + CPU_NESTED_RESERVED), entry)) return 0;
    }
    return Translation.make(
      Step.page(level, entry, gpa),
      Obstacles.nested(rights & entry, entry),
      level - 1,
      0,
    );
  }
}

/** A translation by a large page that a row of the guest's half holds. */
function largePage(row: usize, level: u32, rights: u64, gva: u64): u64 {
  const entry = load<u64>(row + TABLE_ENTRY);
  const obstacles = Obstacles.ordinary(rights & entry, rights | entry, entry);
  return Translation.make(Step.page(level, entry, gva), obstacles, level - 1, entry);
}

function writeRow(row: usize, address: u64, rights: u64, level: u32, host: usize, entry: u64): usize {
  store<u64>(row + TABLE_TAG, Tables.tag(address));
  store<u64>(row + TABLE_RIGHTS, rights);
  store<u64>(row + TABLE_ENTRY, entry);
  store<u32>(row + TABLE_HOST, <u32>host);
  store<u32>(row + TABLE_LEVEL, level);
  return row;
}

/** Walks the guest's upper levels into `row`; returns it, or 0. */
function fillRow(vcpu: usize, gva: u64, row: usize): usize {
  const mode = load<u32>(vcpu + CPU_MODE);
  if (mode == MODE_NONE || !Mode.canonical(mode, gva)) return 0;
  const common = load<u64>(vcpu + CPU_RESERVED);
  let table = load<u64>(vcpu + CPU_CR3) & PTE_ADDRESS;
  let all: u64 = GUEST_ALL;
  let any: u64 = 0;
  let level = Mode.levels(mode);
  while (true) {
    const page = guestTablePage(vcpu, table);
    if (page == 0) return 0;
    if (level == 1) return writeRow(row, gva, all | (any & GUEST_ANY), 1, page, 0);
    const entry = Ops.load<u64>(page + Mode.offset(level, gva), Order.Relaxed);
    const leaf = Step.isLeaf(MODE_4LEVEL, level, entry);
    if (!Tables.sound(level, leaf, common, entry)) return 0;
    if (leaf) return writeRow(row, gva, all | (any & GUEST_ANY), level, 0, entry);
    all &= entry;
    any |= entry;
    table = entry & PTE_ADDRESS;
    level--;
  }
}

/** Where a page of the guest's tables lies in this memory; 0 if it is in no window, or may not be read. */
function guestTablePage(vcpu: usize, pa: u64): usize {
  if (!(load<u32>(vcpu + CPU_SHAPE) & Shape.Ept)) return findWindow(pa);
  const t = nestedInWindows(vcpu, pa);
  const deny = load<u64>(vcpu + CPU_DENY_TABLE) & ~(OBSTACLE_CLEAN | OBSTACLE_EPT_CLEAN);
  return t == 0 || t & deny ? 0 : findWindow(Translation.page(t));
}

function nestedInWindows(vcpu: usize, gpa: u64): u64 {
  return Tables.nested(vcpu, gpa);
}

/** Walks the upper levels of EPT into `row`; returns it, or 0. */
function fillNestedRow(vcpu: usize, gpa: u64, row: usize): usize {
  if (gpa >> 48) return 0;
  const common = load<u64>(vcpu + CPU_NESTED_RESERVED);
  let table = load<u64>(vcpu + CPU_EPTP) & PTE_ADDRESS;
  let all: u64 = EPT_RWX;
  let level = Mode.levels(MODE_EPT4);
  while (true) {
    const page = findWindow(table);
    if (page == 0) return 0;
    if (level == 1) return writeRow(row, gpa, all, 1, page, 0);
    const entry = Ops.load<u64>(page + Mode.offset(level, gpa), Order.Relaxed);
    const leaf = Step.isLeaf(MODE_EPT4, level, entry);
    if (!Tables.nestedSound(level, leaf, common, entry)) return 0;
    if (leaf) return writeRow(row, gpa, all, level, 0, entry);
    all &= entry;
    table = entry & PTE_ADDRESS;
    level--;
  }
}

/** Translation of `gva` by the tables in windows, through all dimensions; 0 if there is none, or not yet. */
export function translateTables(vcpu: usize, gva: u64): u64 {
  if (Map.tableCacheSize == 0) return 0;
  const shape = load<u32>(vcpu + CPU_SHAPE);
  if (shape == Shape.Guest) return Tables.guest(vcpu, gva);
  return shape == Shape.None ? 0 : translateNestedTables(vcpu, gva, shape == Shape.Both);
}

function translateNestedTables(vcpu: usize, gva: u64, both: bool): u64 {
  if (!both) return nestedInWindows(vcpu, gva);
  const guest = Tables.guest(vcpu, gva);
  if (guest == 0) return 0;
  const nested = nestedInWindows(vcpu, Translation.page(guest));
  return nested ? Translation.combine(guest, nested) : 0;
}

/** Obstacles that stop an access which sets no flag. */
export function denyQuiet(vcpu: usize, access: Access): u64 {
  return Kind.deny(vcpu, access) & ~(OBSTACLE_CLEAN | OBSTACLE_EPT_CLEAN);
}
