// Translation in windows, for many addresses: without TLB, flags or record. What the upper levels come to is kept for each
// 2 MiB (layout/tablecache.ts), so that a translation is one row and one entry, and one row and one entry more below
// nested paging.
//
// Only what can be translated is found here; why an address cannot be is for the loop form to say (x86/translate.ts).

import {
  CPU_CR3,
  CPU_DENY_TABLE,
  CPU_EPTP,
  CPU_EPT_VPID_CAP,
  CPU_MODE,
  CPU_NCR3,
  CPU_NESTED_MODE,
  CPU_NESTED_RESERVED,
  CPU_RESERVED,
  CPU_SECONDARY_CONTROLS,
  CPU_SHAPE,
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
import {
  EPT_CAP_EXECUTE_ONLY,
  EPT_RWX,
  EPT_XU,
  PTE_ADDRESS,
  PTE_P,
  PTE_RW,
  PTE_US,
  PTE_XD,
  SECONDARY_MBEC,
} from "./bits";
import { findWindow } from "./memory";
import { MODE_4LEVEL, MODE_EPT4, MODE_NONE, MODE_NPT4, Mode } from "./modes";
import { OBSTACLE_CLEAN, OBSTACLE_EPT_CLEAN, OBSTACLE_EPT_NO_READ, Obstacles, Translation } from "./rights";
import { Found, Step } from "./step";
import { Kind } from "./walk";

export class Tables {
  /** Bits that all entries of a walk must have set for a right to hold. */
  @inline static ands(mode: u32): u64 {
    return Mode.ept(mode) ? EPT_RWX : PTE_RW | PTE_US;
  }
  /** Bits that hold for the walk if any entry has them set. */
  @inline static ors(mode: u32): u64 {
    return Mode.ept(mode) ? 0 : PTE_XD;
  }
  @inline static tag(address: u64): u64 {
    return (address >> TABLE_SPAN_SHIFT) + 1;
  }
  /** The row for `address` among those from `rows` on. */
  @inline static place(rows: usize, address: u64): usize {
    const index = (<u32>(address >> TABLE_SPAN_SHIFT)) << TABLE_ROW_SHIFT;
    return rows + (index & (<u32>(Map.tableCacheSize >> 1) - (1 << TABLE_ROW_SHIFT)));
  }

  /** What an entry of the guest's tables is. */
  @inline static guestFound(vcpu: usize, level: u32, entry: u64): Found {
    return Step.find(MODE_4LEVEL, level, PTE_P, load<u64>(vcpu + CPU_RESERVED), entry);
  }
  /** True with mode-based execute control: rows know nothing of XU, and so of no right but where they lead. */
  @inline static modeBased(vcpu: usize): bool {
    return (load<u32>(vcpu + CPU_SECONDARY_CONTROLS) & (<u32>SECONDARY_MBEC)) != 0;
  }
  /** What an entry of the nested tables is. `mode` is a constant. */
  @inline static nestedFound(mode: u32, vcpu: usize, level: u32, entry: u64): Found {
    const present = Mode.ept(mode) ? EPT_RWX | (Tables.modeBased(vcpu) ? EPT_XU : 0) : PTE_P;
    const found = Step.find(mode, level, present, load<u64>(vcpu + CPU_NESTED_RESERVED), entry);
    if (Mode.ept(mode) && found >= Found.Table && !Step.readable(entry)) {
      if (!(load<u64>(vcpu + CPU_EPT_VPID_CAP) & EPT_CAP_EXECUTE_ONLY)) return Found.Invalid;
    }
    return found;
  }

  /** The guest's translation of `gva`, 0 if there is none: its address is guest-physical below nested paging. */
  @inline static guest(vcpu: usize, gva: u64): u64 {
    let row = Tables.place(Map.tableCache(vcpu), gva);
    if (load<u64>(row + TABLE_TAG) != Tables.tag(gva)) {
      row = fillRow(vcpu, gva, row);
      if (row == 0) return 0;
    }
    if (load<u32>(row + TABLE_LEVEL) != 1) return largePage(row, gva);
    const at: usize = <usize>load<u32>(row + TABLE_HOST) + Mode.offset(1, gva);
    const entry = Ops.load<u64>(at, Order.Relaxed);
    if (Tables.guestFound(vcpu, 1, entry) != Found.Page) return 0;
    const rights = load<u64>(row + TABLE_RIGHTS);
    const obstacles = Obstacles.ordinary(rights & entry, rights | entry, entry);
    return Translation.make(entry & PTE_ADDRESS, obstacles, 0, entry);
  }

  /** The nested translation of `gpa`, 0 if there is none. `mode` is a constant. */
  @inline static nested(mode: u32, vcpu: usize, gpa: u64): u64 {
    let row = Tables.place(Map.tableCache(vcpu) + (Map.tableCacheSize >> 1), gpa);
    if (load<u64>(row + TABLE_TAG) != Tables.tag(gpa)) {
      row = Tables.fillNested(mode, vcpu, gpa, row);
      if (row == 0) return 0;
    }
    const level = load<u32>(row + TABLE_LEVEL);
    const rights = load<u64>(row + TABLE_RIGHTS);
    let entry = load<u64>(row + TABLE_ENTRY);
    if (level == 1) {
      entry = Ops.load<u64>(<usize>load<u32>(row + TABLE_HOST) + Mode.offset(1, gpa), Order.Relaxed);
      if (Tables.nestedFound(mode, vcpu, 1, entry) != Found.Page) return 0;
    }
    const obstacles = Mode.ept(mode)
      ? Obstacles.nested(rights & entry, entry)
      : Obstacles.nestedOrdinary(rights & entry, rights | entry, entry);
    // A page of AMD's nested tables that is not user mode's is out of reach for every access.
    if (Mode.asUser(mode) && obstacles & OBSTACLE_EPT_NO_READ) return 0;
    return Translation.make(Step.page(level, entry, gpa), obstacles, level - 1, 0);
  }

  /** Walks the upper levels of the nested tables into `row`; returns it, or 0. */
  @inline static fillNested(mode: u32, vcpu: usize, gpa: u64, row: usize): usize {
    const now = load<u32>(vcpu + CPU_NESTED_MODE);
    if (gpa >> Mode.width(now)) return 0;
    let table = (Mode.ept(mode) ? load<u64>(vcpu + CPU_EPTP) : load<u64>(vcpu + CPU_NCR3)) & PTE_ADDRESS;
    let rights = Tables.ands(mode);
    let level = Mode.levels(now);
    while (true) {
      const page = findWindow(table);
      if (page == 0) return 0;
      if (level == 1) return writeRow(row, gpa, rights, 1, page, 0);
      const entry = Ops.load<u64>(page + Mode.offset(level, gpa), Order.Relaxed);
      const found = Tables.nestedFound(mode, vcpu, level, entry);
      if (found < Found.Table) return 0;
      if (found == Found.Page) return writeRow(row, gpa, rights, level, 0, entry);
      rights = (rights & entry & Tables.ands(mode)) | ((rights | entry) & Tables.ors(mode));
      table = entry & PTE_ADDRESS;
      level--;
    }
  }
}

/** A translation by a large page that a row of the guest's half holds. */
function largePage(row: usize, gva: u64): u64 {
  const level = load<u32>(row + TABLE_LEVEL);
  const rights = load<u64>(row + TABLE_RIGHTS);
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
  let table = load<u64>(vcpu + CPU_CR3) & PTE_ADDRESS;
  let rights = Tables.ands(MODE_4LEVEL);
  let level = Mode.levels(mode);
  while (true) {
    const page = guestTablePage(vcpu, table);
    if (page == 0) return 0;
    if (level == 1) return writeRow(row, gva, rights, 1, page, 0);
    const entry = Ops.load<u64>(page + Mode.offset(level, gva), Order.Relaxed);
    const found = Tables.guestFound(vcpu, level, entry);
    if (found < Found.Table) return 0;
    if (found == Found.Page) return writeRow(row, gva, rights, level, 0, entry);
    rights = (rights & entry & Tables.ands(MODE_4LEVEL)) | ((rights | entry) & Tables.ors(MODE_4LEVEL));
    table = entry & PTE_ADDRESS;
    level--;
  }
}

/** Where a page of the guest's tables lies in this memory; 0 if it is in no window, or may not be read. */
function guestTablePage(vcpu: usize, pa: u64): usize {
  if (!(load<u32>(vcpu + CPU_SHAPE) & Shape.Nested)) return findWindow(pa);
  const t = nestedInWindows(vcpu, pa);
  const deny = load<u64>(vcpu + CPU_DENY_TABLE) & ~OBSTACLE_EPT_CLEAN;
  return t == 0 || t & deny ? 0 : findWindow(Translation.page(t));
}

/** The nested translation of `gpa` by whichever nested tables there are, 0 if there is none. */
function nestedInWindows(vcpu: usize, gpa: u64): u64 {
  return Mode.ept(load<u32>(vcpu + CPU_NESTED_MODE))
    ? Tables.nested(MODE_EPT4, vcpu, gpa)
    : nestedInWindowsOrdinary(vcpu, gpa);
}
function nestedInWindowsOrdinary(vcpu: usize, gpa: u64): u64 {
  return Tables.nested(MODE_NPT4, vcpu, gpa);
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
