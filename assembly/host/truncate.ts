// Taking pages out of a file: truncate, punching holes, and the end of a file (docs/protocol.md, Files).
//
//   page cache   lock ; size ; unmap in every mapper ; remove: mapping gone, the cache's reference falls
//   DAX          lock ; unmap ; is a page held? unlock, sleep until it is not, from the start ; size ; free the blocks
//
// The count of a page in the cache is not looked at: who holds the page keeps it, outside of the file.

import { NotifyEvent } from "../dispatch";
import { FILE_INODE_LOCK, FILE_INVALIDATE_LOCK, FILE_KIND, FILE_PAGE_COUNT, FileKind } from "../layout/file";
import { GRACE_INVALIDATE_READER, GRACE_MMAP_READER } from "../layout/control";
import { Map } from "../layout/map";
import { MM_MMAP_LOCK } from "../layout/mm";
import { Rule, Rules } from "../rules";
import { Ops, Order } from "../sync/ops";
import { RwLock } from "../sync/rwlock";
import { Mutex } from "../sync/spin";
import { isBusy, waitIdle } from "./device";
import { Files, Inode, removePage } from "./file";
import { unmapNotified } from "./mm";
import { Rmap } from "./rmap";
import { HostStatus } from "./status";
import { PTE_SHIFT } from "./tables";
import { Vmas, vmaPages } from "./vma";

/** ftruncate to `pages` pages; what is added is a hole. Busy instead of waiting for a DAX page, if `wait` is false. */
export function truncateFile(actor: usize, mm: usize, file: u32, pages: u32, wait: bool): HostStatus {
  if (!Inode.lock(actor, file)) return HostStatus.NoFile;
  let status = HostStatus.FileTooLarge;
  if (pages <= Map.filePages) {
    const end = Files.pages(Map.file(file));
    const isDax = Files.kindOf(file) == FileKind.Dax;
    status = removeRange(actor, mm, file, min(pages, end), end, pages, isDax, wait);
  }
  Inode.unlock(actor, file);
  return status;
}

/** fallocate(FALLOC_FL_PUNCH_HOLE) of pages [first, first + count), as far as the file goes. `wait` as above. */
export function punchHole(
  actor: usize,
  mm: usize,
  file: u32,
  first: u32,
  count: u32,
  wait: bool,
): HostStatus {
  if (!Inode.lock(actor, file)) return HostStatus.NoFile;
  const size = Files.pages(Map.file(file));
  const from = min(first, size);
  const to = from + min(count, size - from);
  const isDax = Files.kindOf(file) == FileKind.Dax;
  const status = removeRange(actor, mm, file, from, to, size, isDax, wait);
  Inode.unlock(actor, file);
  return status;
}

/** Empties pages [from, to) and sets the size. The inode lock is held. */
function removeRange(
  actor: usize,
  mm: usize,
  file: u32,
  from: u32,
  to: u32,
  size: u32,
  isDax: bool,
  wait: bool,
): HostStatus {
  const row = Map.file(file);
  while (true) {
    RwLock.writeLock(row + FILE_INVALIDATE_LOCK, GRACE_INVALIDATE_READER, actor);
    if (!isDax) Ops.store<u32>(row + FILE_PAGE_COUNT, size, Order.Relaxed);
    unmapMapping(actor, mm, file, from, to);
    const busy = isDax && Rules.hold(Rule.DaxTruncateWaitsIdle) ? findBusy(row, from, to) : 0;
    if (busy == 0) break;
    RwLock.writeUnlock(row + FILE_INVALIDATE_LOCK, actor);
    if (!wait) return HostStatus.Busy;
    waitIdle(actor, busy);
  }
  if (isDax) Ops.store<u32>(row + FILE_PAGE_COUNT, size, Order.Relaxed);
  for (let index = from; index < to; index++) removePage(actor, row, index, isDax);
  RwLock.writeUnlock(row + FILE_INVALIDATE_LOCK, actor);
  return HostStatus.Ok;
}

/** dax_layout_busy_page: a struct page of [from, to) that somebody holds, or 0. Nothing of the range is mapped. */
function findBusy(row: usize, from: u32, to: u32): usize {
  for (let index = from; index < to; index++) {
    const pfn = Ops.load<u32>(Files.slot(row, index), Order.Relaxed);
    // Pairs with gup-fast: count, then PTE again; here PTE cleared, then the count. Either it is seen held, or it is not.
    if (pfn != 0 && isBusy(Map.page(pfn))) return Map.page(pfn);
  }
  return 0;
}

/** unmap_mapping_range: unmaps pages [from, to) of a file wherever they are mapped. */
function unmapMapping(actor: usize, mm: usize, file: u32, from: u32, to: u32): void {
  if (from == to) return;
  Rmap.lockShared(actor, mm);
  for (let i: u32 = 0; i < Vmas.count(mm); i++) {
    const row = Vmas.row(i);
    if (row.file != file) continue;
    const first = max(from, row.pgoff);
    const after = min(to, row.pgoff + vmaPages(row));
    if (first >= after) continue;
    const start = row.start + ((<u64>(first - row.pgoff)) << PTE_SHIFT);
    unmapNotified(actor, mm, start, start + ((<u64>(after - first)) << PTE_SHIFT), NotifyEvent.Clear);
  }
  Rmap.unlockShared(actor, mm);
}

function isMapped(mm: usize, file: u32): bool {
  for (let i: u32 = 0; i < Vmas.count(mm); i++) if (Vmas.row(i).file == file) return true;
  return false;
}

/** Takes a file away, with what it holds. Busy while it is mapped; `wait` as above. */
export function destroyFile(actor: usize, mm: usize, file: u32, wait: bool): HostStatus {
  const kind = closeFile(actor, mm, file);
  if (kind == FileKind.None) return HostStatus.NoFile;
  if (kind == FileKind.Closing) return HostStatus.Busy;
  const row = Map.file(file);
  Mutex.lock(row + FILE_INODE_LOCK, actor); // who writes or truncates is let finish; nobody else begins to
  const status = removeRange(actor, mm, file, 0, Files.pages(row), 0, kind == FileKind.Dax, wait);
  Ops.store<u32>(row + FILE_KIND, status == HostStatus.Ok ? FileKind.None : kind, Order.Release);
  Mutex.unlock(row + FILE_INODE_LOCK, actor);
  return status;
}

/** From here on nobody can open, map or change the file: its kind so far; None if there is no such file, Closing if busy. */
function closeFile(actor: usize, mm: usize, file: u32): u32 {
  RwLock.writeLock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  let kind = Files.kindOf(file);
  if (kind == FileKind.Cached || kind == FileKind.Dax) {
    if (isMapped(mm, file)) kind = FileKind.Closing;
    else Ops.store<u32>(Map.file(file) + FILE_KIND, FileKind.Closing, Order.Release);
  }
  RwLock.writeUnlock(mm + MM_MMAP_LOCK, actor);
  return kind;
}
