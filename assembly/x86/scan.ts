// A scan: every leaf that the root of a vCPU reaches, in the order of addresses, with the rights of all levels. Tables
// lie in windows; a scan stops when it needs a page that is in none, and goes on once the host has put it there.
//
// What an entry maps is decided by the same tables of bits as in a walk (x86/step.ts). An entry with a reserved bit maps
// nothing: each access by it faults. The depth of a scan is the number of levels, whatever the tables refer to; one that
// refers to itself is one more table on the way down, as for the processor, and ends where the levels end.
//
// A row begins and ends within the range: of a leaf that reaches beyond, only the part inside is told.

import { CPU_CR3, CPU_MODE, CPU_SHAPE, Shape } from "../layout/cpu";
import { Map } from "../layout/map";
import {
  Fold,
  SCAN_BUDGET,
  SCAN_GAP,
  SCAN_NESTED_FAULT,
  SCAN_NESTED_GAP,
  SCAN_NESTED_RIGHTS_SHIFT,
  SCAN_NESTED_SHIFT_SHIFT,
  SCAN_ROWS,
  SCAN_ROW_SIZE,
  SCAN_SHIFT_SHIFT,
  SCAN_WANTED,
  SCAN_WANTED_MAX,
  Scan,
  ScanResult,
  ScanRow,
} from "../layout/scan";
import { Outcome, WALK_OUTCOME, WALK_PA, WALK_STEPS, WALK_STEP_COUNT, WALK_STEP_SHIFT } from "../layout/walk";
import { Ops, Order } from "../sync/ops";
import { PTE_ADDRESS, PTE_P, PTE_RW, PTE_US, PTE_XD } from "./bits";
import { Policy, findWindow, isAbsent } from "./memory";
import { MODE_NONE, Mode } from "./modes";
import { Obstacles, Translation } from "./rights";
import { Found } from "./step";
import { Tables } from "./tables";
import { locateTableEntry, nestedLoop } from "./walk";

const NOWHERE: u64 = u64.MAX_VALUE;
/** What two rows that are folded by rights have in common. */
const RIGHTS: u64 = 0xff | (7 << SCAN_NESTED_RIGHTS_SHIFT);
/** log2 of what a nested walk that did not read one entry leaves untranslated. */
const WHOLE_SPACE_SHIFT: u32 = 52;

/** Begins a scan of the addresses `from` to `last`, both included; both are moved out of the hole of addresses that are not canonical. */
export function startScan(vcpu: usize, from: u64, last: u64, fold: Fold): void {
  const s = changetype<Scan>(Map.batch(vcpu));
  memory.fill(changetype<usize>(s), 0, offsetof<Scan>());
  const mode = load<u32>(vcpu + CPU_MODE);
  const low = lowerHalfEnd(mode);
  s.next = from > low && from < ~low ? ~low : from & ~(<u64>0xfff);
  s.last = last > low && last < ~low ? low : last | 0xfff;
  s.fold = fold;
  s.done = u32(mode == MODE_NONE || s.next > s.last);
}

/** Last address of the lower half: its complement is the first of the upper one. */
function lowerHalfEnd(mode: u32): u64 {
  return mode == MODE_NONE ? u64.MAX_VALUE >> 1 : ((<u64>1) << (Mode.topShift(mode) + 8)) - 1;
}

/** Goes on with the scan until it has written `rowMax` rows, or lacks pages, or has looked at enough. */
export function continueScan(vcpu: usize, rowMax: u32): ScanResult {
  const s = changetype<Scan>(Map.batch(vcpu));
  const room = (Map.batchSize - <u32>SCAN_ROWS) / SCAN_ROW_SIZE;
  s.rowMax = min(rowMax, room);
  s.rows = 0;
  s.wanted = 0;
  s.budget = SCAN_BUDGET;
  if (s.done == 0) {
    if (!scanRoot(s, vcpu)) return s.wanted ? ScanResult.Missing : ScanResult.More;
    s.done = 1;
  }
  if (s.length != 0) {
    if (s.rows == s.rowMax) return ScanResult.More;
    writeOpenRow(s);
    s.length = 0;
  }
  return ScanResult.Done;
}

/** Stops the scan, to go on at `gva`. */
function stop(s: Scan, gva: u64): bool {
  s.next = gva;
  return false;
}

function writeRow(s: Scan, gva: u64, gpa: u64, hpa: u64, length: u64, entry: u64, effective: u64): void {
  const row = changetype<ScanRow>(changetype<usize>(s) + SCAN_ROWS + <usize>(s.rows * SCAN_ROW_SIZE));
  row.gva = gva;
  row.gpa = gpa;
  row.hpa = hpa;
  row.length = length;
  row.entry = entry;
  row.effective = effective;
  s.rows++;
}

/** The row that may still grow is complete. */
function writeOpenRow(s: Scan): void {
  writeRow(s, s.gva, s.gpa, s.hpa, s.length, s.entry, s.effective);
}

/** Bits of an entry other than the address of the page that it maps. */
function flagsOf(entry: u64, effective: u64): u64 {
  const span: u64 = ((<u64>1) << ((effective >> SCAN_SHIFT_SHIFT) & 0xff)) - 1;
  return entry & ~(PTE_ADDRESS & ~span);
}

/** True if the row that begins at `gva` continues the open one. */
function continues(s: Scan, gva: u64, gpa: u64, hpa: u64, entry: u64, effective: u64): bool {
  if (s.length == 0 || s.gva + s.length != gva) return false;
  if (s.fold == Fold.Rights) return ((s.effective ^ effective) & RIGHTS) == 0;
  if (s.fold != Fold.Physical || s.effective != effective || effective & SCAN_GAP) return false;
  if (s.gpa + s.length != gpa || (s.hpa == NOWHERE ? hpa != NOWHERE : s.hpa + s.length != hpa)) return false;
  return flagsOf(s.entry, effective) == flagsOf(entry, effective);
}

/** Tells of a row. False, and the scan is stopped, if there is no place for it, or for what came before it. */
function tell(s: Scan, gva: u64, length: u64, gpa: u64, hpa: u64, entry: u64, effective: u64): bool {
  if (s.fold == Fold.None) {
    if (s.rows == s.rowMax) return stop(s, gva);
    writeRow(s, gva, gpa, hpa, length, entry, effective);
    return true;
  }
  if (continues(s, gva, gpa, hpa, entry, effective)) {
    s.length += length;
    return true;
  }
  if (s.length != 0) {
    if (s.rows == s.rowMax) return stop(s, gva);
    writeOpenRow(s);
  }
  s.gva = gva;
  s.gpa = gpa;
  s.hpa = hpa;
  s.length = length;
  s.entry = entry;
  s.effective = effective;
  return true;
}

/** R/W, U/S and XD of all levels, and the span of the last, as a row has them. */
function effectiveOf(all: u64, any: u64, shift: u32): u64 {
  return ((all & (PTE_RW | PTE_US)) >> 1) | ((any & PTE_XD) >> 61) | ((<u64>shift) << SCAN_SHIFT_SHIFT);
}

/** Asks for the page of `pa`. */
function want(s: Scan, pa: u64): void {
  if (s.wanted == SCAN_WANTED_MAX) return;
  store<u64>(changetype<usize>(s) + SCAN_WANTED + ((<usize>s.wanted) << 3), pa & ~(<u64>0xfff));
  s.wanted++;
}

/** Tells of a gap: `table` would map what the entry at `gva` spans, and cannot be read for the reason `why`. */
function tellGap(s: Scan, gva: u64, end: u64, table: u64, entry: u64, effective: u64, why: u64): bool {
  const first = max(gva, s.next);
  const last = min(end, s.last);
  return tell(s, first, last - first + 1, table, NOWHERE, entry, effective | SCAN_GAP | why);
}

/** Why a quiet nested walk ended, from its record: SCAN_* bits; NOWHERE: a page of its tables is not loaded. */
function whyNot(vcpu: usize): u64 {
  if (load<u32>(vcpu + WALK_OUTCOME) != Outcome.Missing) return SCAN_NESTED_FAULT;
  return isAbsent(load<u64>(vcpu + WALK_PA)) ? SCAN_NESTED_GAP : NOWHERE;
}

/** Why the page of the guest's table at `table` was not found: likewise, and 0 if it is that page which is absent. */
function whyNoTable(vcpu: usize, table: u64): u64 {
  const why = whyNot(vcpu);
  if (why != SCAN_NESTED_GAP) return why;
  if (!(load<u32>(vcpu + CPU_SHAPE) & Shape.Nested)) return 0;
  return nestedLoop(Policy.Windows, vcpu, table, 0, 0, false, false) ? 0 : why;
}

function scanRoot(s: Scan, vcpu: usize): bool {
  const mode = load<u32>(vcpu + CPU_MODE);
  const table = load<u64>(vcpu + CPU_CR3) & PTE_ADDRESS;
  const host = locateTableEntry(Policy.Windows, vcpu, table);
  if (host) return scanTable(s, vcpu, Mode.levels(mode), host, 0, u64.MAX_VALUE, 0);
  const why = whyNoTable(vcpu, table);
  if (why == NOWHERE) {
    want(s, load<u64>(vcpu + WALK_PA));
    return stop(s, s.next);
  }
  // A gap in either half.
  const low = lowerHalfEnd(mode);
  const effective = effectiveOf(u64.MAX_VALUE, 0, Mode.topShift(mode) + 8);
  if (s.next <= low && !tellGap(s, 0, low, table, 0, effective, why)) return false;
  if (s.last > low) {
    if (s.next <= low) s.next = ~low;
    if (!tellGap(s, ~low, u64.MAX_VALUE, table, 0, effective, why)) return false;
  }
  return true;
}

/** Sign-extends the address that an entry of the top level spans. */
function topAddress(mode: u32, index: u32): u64 {
  const unused: u64 = 64 - 9 - Mode.topShift(mode);
  const address = (<u64>index) << Mode.topShift(mode);
  return <u64>((<i64>(address << unused)) >> unused);
}

/** Scans the table at `host`, whose first entry stands for `base`; `all` and `any` are what the levels above come to. */
function scanTable(s: Scan, vcpu: usize, level: u32, host: usize, base: u64, all: u64, any: u64): bool {
  const mode = load<u32>(vcpu + CPU_MODE);
  const top = level == Mode.levels(mode);
  const shift = Mode.shift(level);
  let index: u32 = s.next > base ? (<u32>(s.next >> shift)) & 511 : 0;
  s.entries += 512 - index;
  s.budget -= <i32>(512 - index);
  for (; index < 512; index++) {
    const entry = Ops.load<u64>(host + ((<usize>index) << 3), Order.Relaxed);
    if ((entry & PTE_P) == 0) continue;
    const found = Tables.guestFound(vcpu, level, entry);
    if (found < Found.Table) continue;
    const gva = top ? topAddress(mode, index) : base | ((<u64>index) << shift);
    if (gva > s.last) return true;
    if (found == Found.Page) {
      if (!scanLeaf(s, vcpu, level, entry, gva, all & entry, any | entry)) return false;
      continue;
    }
    if (s.budget < 0) return stop(s, max(gva, s.next));
    const table = entry & PTE_ADDRESS;
    const child = locateTableEntry(Policy.Windows, vcpu, table);
    if (child) {
      if (!scanTable(s, vcpu, level - 1, child, gva, all & entry, any | entry)) return false;
      continue;
    }
    const why = whyNoTable(vcpu, table);
    if (why == NOWHERE) {
      want(s, load<u64>(vcpu + WALK_PA));
      wantFollowing(s, vcpu, level, host, index + 1);
      return stop(s, max(gva, s.next));
    }
    const end = gva | (((<u64>1) << shift) - 1);
    const effective = effectiveOf(all & entry, any | entry, shift);
    if (!tellGap(s, gva, end, table, entry, effective, why)) return false;
  }
  return true;
}

/** Asks for the tables that the entries from `index` on refer to as well: a host has them at hand, as a rule. */
function wantFollowing(s: Scan, vcpu: usize, level: u32, host: usize, index: u32): void {
  if (load<u32>(vcpu + CPU_SHAPE) & Shape.Nested) return;
  // No more than leaves room for as many of each level: what came before must not be dropped for it.
  const most = min(SCAN_WANTED_MAX, Map.windowCount >> 4);
  for (; index < 512 && s.wanted < most; index++) {
    const entry = Ops.load<u64>(host + ((<usize>index) << 3), Order.Relaxed);
    if (Tables.guestFound(vcpu, level, entry) != Found.Table) continue;
    const table = entry & PTE_ADDRESS;
    if (findWindow(table) == 0 && !isAbsent(table)) want(s, table);
  }
}

/** Tells of a leaf: in one row, or in as many as nested leaves map it. */
function scanLeaf(s: Scan, vcpu: usize, level: u32, entry: u64, gva: u64, all: u64, any: u64): bool {
  const shift = Mode.shift(level);
  const span: u64 = (<u64>1) << shift;
  const effective = effectiveOf(all, any, shift);
  const page = entry & PTE_ADDRESS & ~(span - 1);
  const end = min(gva + (span - 1), s.last);
  let at = max(gva, s.next);
  if (!(load<u32>(vcpu + CPU_SHAPE) & Shape.Nested)) {
    const pa = page + (at - gva);
    return tell(s, at, end - at + 1, pa, pa, entry, effective);
  }
  const guest = Translation.make(page, Obstacles.ordinary(all, any, entry), level - 1, entry);
  while (true) {
    const gpa = page + (at - gva);
    store<u32>(vcpu + WALK_STEP_COUNT, 0);
    const t = nestedLoop(Policy.Windows, vcpu, gpa, 0, guest, false, true);
    let hpa = NOWHERE;
    let nested: u64 = 0;
    let nestedShift: u32;
    if (t) {
      hpa = Translation.page(t);
      nestedShift = 12 + 9 * Translation.size(t);
      nested = Obstacles.entryRights(Translation.obstacles(t), false) << SCAN_NESTED_RIGHTS_SHIFT;
      nested |= (<u64>nestedShift) << SCAN_NESTED_SHIFT_SHIFT;
    } else {
      nested = whyNot(vcpu);
      if (nested == NOWHERE) {
        want(s, load<u64>(vcpu + WALK_PA));
        return stop(s, at);
      }
      nested |= SCAN_NESTED_FAULT;
      nestedShift = lastShift(vcpu);
    }
    const nestedEnd = gpa | (((<u64>1) << nestedShift) - 1);
    const length = min(nestedEnd - gpa, end - at) + 1;
    if (!tell(s, at, length, gpa, hpa, entry, effective | nested)) return false;
    if (end - at < length) return true;
    at += length;
    if (--s.budget < 0) return stop(s, at);
  }
}

/** log2 of what the last entry of the recorded nested walk spans. */
function lastShift(vcpu: usize): u32 {
  const count = load<u32>(vcpu + WALK_STEP_COUNT);
  if (count == 0) return WHOLE_SPACE_SHIFT;
  const step = vcpu + WALK_STEPS + ((<usize>(count - 1)) << WALK_STEP_SHIFT);
  return Mode.shift((<u32>load<u64>(step, 8)) & 7);
}
