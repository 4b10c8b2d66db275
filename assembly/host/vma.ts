// The VMA table: rows sorted by start, disjoint, [start, end) each. Plain data under mmap_lock: read with it held for
// read, changed with it held for write. Lookups are a glance at the row found last, then a binary search.

import { Map, PAGE_SHIFT } from "../layout/map";
import { MM_MMAP_BASE, MM_TASK_SIZE, MM_VMA_COUNT, VMA_SHIFT, Vma, VmaFlag } from "../layout/mm";
import { POOL_VMA_HINT } from "../layout/pool";

/** VMAs whose `pgoff` says what is at their start. */
const VMA_HAS_OFFSET: u32 = VmaFlag.File | VmaFlag.Dax | VmaFlag.Pfnmap;

export class Vmas {
  @inline static count(mm: usize): u32 {
    return load<u32>(mm + MM_VMA_COUNT);
  }
  @inline static row(index: u32): Vma {
    return changetype<Vma>(Map.vma(index));
  }
}

/** Index of the first VMA that ends above `hva`; the count if there is none. */
export function firstEndingAbove(mm: usize, hva: u64): u32 {
  let low: u32 = 0;
  let high = Vmas.count(mm);
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (Vmas.row(middle).end > hva) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The VMA that holds `hva`, 0 if none. mmap_lock held. */
export function findVma(actor: usize, mm: usize, hva: u64): usize {
  const count = Vmas.count(mm);
  const hint = load<u32>(actor + POOL_VMA_HINT);
  if (hint < count) {
    const row = Vmas.row(hint);
    if (hva >= row.start && hva < row.end) return Map.vma(hint);
  }
  const index = firstEndingAbove(mm, hva);
  if (index == count || Vmas.row(index).start > hva) return 0;
  store<u32>(actor + POOL_VMA_HINT, index);
  return Map.vma(index);
}

/** True if VMAs cover all of [start, end). mmap_lock held. */
export function isCovered(mm: usize, start: u64, end: u64): bool {
  const count = Vmas.count(mm);
  let at = start;
  for (let i = firstEndingAbove(mm, start); at < end; i++) {
    if (i == count || Vmas.row(i).start > at) return false;
    at = Vmas.row(i).end;
  }
  return true;
}

/** True if a VMA overlaps [start, end). mmap_lock held. */
export function isOverlapped(mm: usize, start: u64, end: u64): bool {
  const index = firstEndingAbove(mm, start);
  return index < Vmas.count(mm) && Vmas.row(index).start < end;
}

/** Lowest free range of `length` from MM_MMAP_BASE, aligned to `align`; 0 if there is none. mmap_lock held. */
export function findFreeRange(mm: usize, length: u64, align: u64): u64 {
  let at = MM_MMAP_BASE;
  const count = Vmas.count(mm);
  for (let i = firstEndingAbove(mm, at); i < count; i++) {
    const row = Vmas.row(i);
    if (at < row.start && row.start - at >= length) break;
    at = (row.end + align - 1) & ~(align - 1);
  }
  return at < MM_TASK_SIZE && MM_TASK_SIZE - at >= length ? at : 0;
}

/** Makes room for a row at `index`. */
function openRow(mm: usize, index: u32): void {
  const count = Vmas.count(mm);
  memory.copy(Map.vma(index + 1), Map.vma(index), (<usize>(count - index)) << VMA_SHIFT);
  store<u32>(mm + MM_VMA_COUNT, count + 1);
}

/** Removes rows [from, to). */
export function removeRows(mm: usize, from: u32, to: u32): void {
  const count = Vmas.count(mm);
  memory.copy(Map.vma(from), Map.vma(to), (<usize>(count - to)) << VMA_SHIFT);
  store<u32>(mm + MM_VMA_COUNT, count - (to - from));
}

/** True if `at` lies within a VMA of huge pages, but not between two of them. mmap_lock held. */
export function isInsideHugetlbPage(mm: usize, at: u64): bool {
  if ((at & (((<u64>1) << 21) - 1)) == 0 || !isInside(mm, at)) return false;
  return (Vmas.row(firstEndingAbove(mm, at)).flags & VmaFlag.Hugetlb) != 0;
}

/** True if a VMA with one of these `VmaFlag` bits overlaps [start, end). mmap_lock held. */
export function hasFlagged(mm: usize, start: u64, end: u64, flags: u32): bool {
  for (let i = firstEndingAbove(mm, start), n = Vmas.count(mm); i < n && Vmas.row(i).start < end; i++) {
    if (Vmas.row(i).flags & flags) return true;
  }
  return false;
}

function isInside(mm: usize, at: u64): bool {
  const index = firstEndingAbove(mm, at);
  return index < Vmas.count(mm) && Vmas.row(index).start < at;
}

/** Rows that cutting the VMAs at both ends of a range adds. mmap_lock held. */
export function cutsNeeded(mm: usize, start: u64, end: u64): u32 {
  return u32(isInside(mm, start)) + u32(isInside(mm, end));
}

/** Cuts the VMA that `at` lies within, if any, in two. There is room for a row. mmap_lock held for write. */
export function cutAt(mm: usize, at: u64): void {
  if (!isInside(mm, at)) return;
  const index = firstEndingAbove(mm, at);
  openRow(mm, index);
  memory.copy(Map.vma(index), Map.vma(index + 1), 1 << VMA_SHIFT);
  Vmas.row(index).end = at;
  const behind = Vmas.row(index + 1);
  if (behind.flags & VMA_HAS_OFFSET) behind.pgoff += <u32>((at - behind.start) >> PAGE_SHIFT);
  behind.start = at;
}

/** Adds a VMA; the range is free and there is room for a row. mmap_lock held for write. */
export function addVma(
  mm: usize,
  start: u64,
  end: u64,
  flags: u32,
  pageShift: u32,
  file: u32,
  pgoff: u32,
): void {
  const index = firstEndingAbove(mm, start);
  openRow(mm, index);
  const row = Vmas.row(index);
  row.start = start;
  row.end = end;
  row.flags = flags;
  row.pageShift = pageShift;
  row.file = file;
  row.pgoff = pgoff;
}

/** Pages of a VMA. */
export function vmaPages(row: Vma): u32 {
  return <u32>((row.end - row.start) >> PAGE_SHIFT);
}

/**
 * The two may be one VMA: equal, and in the same file, if in any, at consecutive pages. Remapped ranges stay apart, each
 * the work of one call.
 */
function canMerge(row: Vma, next: Vma): bool {
  if (row.end != next.start || row.flags != next.flags || row.pageShift != next.pageShift) return false;
  if (row.file != next.file || row.flags & VmaFlag.Pfnmap) return false;
  return row.file == 0 || row.pgoff + vmaPages(row) == next.pgoff;
}

/** Merges the VMAs that touch [start, end] with equal neighbours. mmap_lock held for write. */
export function mergeVmas(mm: usize, start: u64, end: u64): void {
  // From the VMA that ends at `start`, if one does.
  let i = firstEndingAbove(mm, start - 1);
  while (i + 1 < Vmas.count(mm)) {
    const row = Vmas.row(i);
    const next = Vmas.row(i + 1);
    if (row.end > end) break;
    if (canMerge(row, next)) {
      row.end = next.end;
      removeRows(mm, i + 1, i + 2);
    } else i++;
  }
}
