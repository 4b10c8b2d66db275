// The address space of the VMM process: mmap, munmap, mprotect, madvise(MADV_DONTNEED), in the order of the
// mmu_notifier contract (docs/protocol.md, Invalidations):
//
//   mmap_lock ; start(range) ; page-table locks: clear or change PTEs ; host TLB flush ; drop references ; end(range)
//
// start returns when no listener translates the range any more. Large ranges go in batches of one gather list, inside
// one start/end pair. `createHost` makes all of it.

import { NotifyEvent } from "../dispatch";
import { GRACE_MMAP_READER } from "../layout/control";
import { FileKind } from "../layout/file";
import { MachineOption } from "../layout/header";
import { KVM_RCU_EPOCH } from "../layout/kvm";
import { Map, PAGE_SIZE } from "../layout/map";
import {
  MM_BASE,
  MM_MMAP_LOCK,
  MM_MMAP_MIN,
  MM_PGD,
  MM_TASK_SIZE,
  VMA_PROTECTION,
  VmaFlag,
} from "../layout/mm";
import { Ops, Order } from "../sync/ops";
import { RwLock } from "../sync/rwlock";
import { createZeroPage } from "./cow";
import { Files } from "./file";
import { flushHostTlb, freeTablesAfterGrace, releaseGathered } from "./gather";
import { notifyAfter, notifyBefore } from "./notify";
import { remapRange } from "./remap";
import { Rmap } from "./rmap";
import { HostStatus } from "./status";
import { PGD_SHIFT, PMD_SHIFT, PTE_SHIFT, newHostTable } from "./tables";
import {
  Vmas,
  addVma,
  cutAt,
  cutsNeeded,
  findFreeRange,
  firstEndingAbove,
  hasFlagged,
  isCovered,
  isInsideHugetlbPage,
  isOverlapped,
  mergeVmas,
  removeRows,
} from "./vma";
import { protectRange, unlinkTables, zapRange } from "./zap";
import { createZone } from "./zone";

/** Makes the zone and an empty address space. The machine has no other actors yet. */
export function createHost(): void {
  const actor = Map.actor(0);
  createZone(actor);
  // Epoch 0 means "outside of a read section": a reader must never enter at it.
  if (Ops.load<u32>(KVM_RCU_EPOCH, Order.Relaxed) == 0) Ops.store<u32>(KVM_RCU_EPOCH, 1, Order.Relaxed);
  store<u32>(MM_BASE + MM_PGD, newHostTable(actor, 4));
  if (Map.has(MachineOption.SharedZeroPage)) createZeroPage(actor, MM_BASE);
}

/** Page aligned, not empty, within user space. */
export function isRange(start: u64, length: u64): bool {
  if (((start | length) & (<u64>(PAGE_SIZE - 1))) != 0 || length == 0) return false;
  return start >= MM_MMAP_MIN && start < MM_TASK_SIZE && length <= MM_TASK_SIZE - start;
}

/** What may be written or executed may be read: the processor knows no other way. */
function effectiveFlags(flags: u32): u32 {
  const known = flags & VMA_PROTECTION;
  return known & (VmaFlag.Write | VmaFlag.Exec) ? known | VmaFlag.Read : known;
}

/**
 * mmap(MAP_ANONYMOUS): `length` bytes at `hva` (MAP_FIXED_NOREPLACE), or at an address of its choice if `hva` is 0.
 * Faults install pages of 2^pageShift bytes: 12, or 21, which asks for that alignment. With VmaFlag.Hugetlb they install
 * those or none, and never split one. Returns the address, or a `HostStatus`, which is below any address that can be
 * mapped.
 */
export function hostMmap(actor: usize, mm: usize, hva: u64, length: u64, flags: u32, pageShift: u32): u64 {
  if (pageShift != <u32>PTE_SHIFT && pageShift != <u32>PMD_SHIFT) return HostStatus.Invalid;
  const align = (<u64>1) << pageShift;
  if (((hva | length) & (align - 1)) != 0) return HostStatus.Invalid;
  const kind = flags & VmaFlag.Hugetlb;
  if (kind && pageShift != <u32>PMD_SHIFT) return HostStatus.Invalid;
  if (!isRange(hva ? hva : MM_MMAP_MIN, length)) return HostStatus.Invalid;
  RwLock.writeLock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  const result = mmapLocked(actor, mm, hva, length, effectiveFlags(flags) | kind, pageShift, 0, 0);
  RwLock.writeUnlock(mm + MM_MMAP_LOCK, actor);
  return result;
}

/**
 * mmap(MAP_SHARED) of a file from its page `pgoff` on, of `length` bytes; the rest as hostMmap. What lies beyond the end
 * of the file can be mapped, not touched.
 */
export function hostMmapFile(
  actor: usize,
  mm: usize,
  hva: u64,
  length: u64,
  flags: u32,
  file: u32,
  pgoff: u32,
): u64 {
  if (!isRange(hva ? hva : MM_MMAP_MIN, length)) return HostStatus.Invalid;
  if (<u64>pgoff + (length >> PTE_SHIFT) > <u64>u32.MAX_VALUE) return HostStatus.Invalid;
  let result: u64 = HostStatus.NoFile;
  RwLock.writeLock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  // A file is taken away with mmap_lock held for write: it stays one from here on.
  const kind = Files.kindOf(file);
  if (kind == FileKind.Cached || kind == FileKind.Dax) {
    const backing = kind == FileKind.Dax ? VmaFlag.Dax : VmaFlag.File;
    const all = effectiveFlags(flags) | backing;
    result = mmapLocked(actor, mm, hva, length, all, <u32>PTE_SHIFT, file, pgoff);
  }
  RwLock.writeUnlock(mm + MM_MMAP_LOCK, actor);
  return result;
}

/**
 * mmap of `length` bytes by a driver that remaps pfns from `pfn` on, all of them at once, with PTEs that allow writes
 * only if `writable`, whatever the VMA allows. `hva` and the result as for hostMmap; `OutOfFrames` for want of a table.
 */
export function hostRemapPfn(
  actor: usize,
  mm: usize,
  hva: u64,
  length: u64,
  pfn: u32,
  flags: u32,
  writable: bool,
): u64 {
  if (!isRange(hva ? hva : MM_MMAP_MIN, length)) return HostStatus.Invalid;
  if (<u64>pfn + (length >> PTE_SHIFT) > Map.pfnLimit) return HostStatus.Invalid;
  const kind = effectiveFlags(flags) | VmaFlag.Pfnmap;
  if (writable && (kind & VmaFlag.Write) == 0) return HostStatus.Invalid;
  RwLock.writeLock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  const at = mmapLocked(actor, mm, hva, length, kind, <u32>PTE_SHIFT, 0, pfn);
  let tables: u32 = 0;
  let result = at;
  if (at >= MM_MMAP_MIN && !remapRange(actor, mm, at, at + length, pfn, kind, writable)) {
    tables = munmapLocked(actor, mm, at, at + length);
    result = HostStatus.OutOfFrames;
  }
  RwLock.writeUnlock(mm + MM_MMAP_LOCK, actor);
  freeTablesAfterGrace(actor, tables);
  return result;
}

function mmapLocked(
  actor: usize,
  mm: usize,
  hva: u64,
  length: u64,
  flags: u32,
  pageShift: u32,
  file: u32,
  pgoff: u32,
): u64 {
  if (Vmas.count(mm) == Map.vmaMax) return HostStatus.TooManyVmas;
  if (hva == 0) {
    hva = findFreeRange(mm, length, (<u64>1) << pageShift);
    if (hva == 0) return HostStatus.NoRange;
  } else if (isOverlapped(mm, hva, hva + length)) return HostStatus.Overlap;
  // Nothing was mapped here, so that there is nothing to invalidate (R4: none to present is not notified).
  Rmap.lock(actor, mm);
  addVma(mm, hva, hva + length, flags, pageShift, file, pgoff);
  mergeVmas(mm, hva, hva + length);
  Rmap.unlock(actor, mm);
  return hva;
}

/** start, clear, flush, put, end for all that is mapped in [start, end). mmap_lock or the rmap lock held. */
export function unmapNotified(actor: usize, mm: usize, start: u64, end: u64, event: NotifyEvent): void {
  notifyBefore(actor, mm, start, end, event);
  zapRange(actor, mm, start, end);
  releaseGathered(actor, mm);
  notifyAfter(actor, mm, start, end, event);
}

/** Whether the VMAs can be cut at both ends: Ok, Invalid within a hugetlb page, TooManyVmas. mmap_lock held. */
function canCut(mm: usize, start: u64, end: u64): HostStatus {
  if (isInsideHugetlbPage(mm, start) || isInsideHugetlbPage(mm, end)) return HostStatus.Invalid;
  return Vmas.count(mm) + cutsNeeded(mm, start, end) > Map.vmaMax ? HostStatus.TooManyVmas : HostStatus.Ok;
}

/** munmap: whatever is mapped in the range goes; holes are allowed. Ok, Invalid or TooManyVmas. */
export function hostMunmap(actor: usize, mm: usize, hva: u64, length: u64): HostStatus {
  if (!isRange(hva, length)) return HostStatus.Invalid;
  RwLock.writeLock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  const status = canCut(mm, hva, hva + length);
  const tables = status == HostStatus.Ok ? munmapLocked(actor, mm, hva, hva + length) : 0;
  RwLock.writeUnlock(mm + MM_MMAP_LOCK, actor);
  freeTablesAfterGrace(actor, tables);
  return status;
}

/** Returns the tables that were unlinked, as a list. */
function munmapLocked(actor: usize, mm: usize, start: u64, end: u64): u32 {
  Rmap.lock(actor, mm);
  cutAt(mm, start);
  cutAt(mm, end);
  Rmap.unlock(actor, mm);
  const first = firstEndingAbove(mm, start);
  const after = firstEndingAbove(mm, end);
  if (first == after) return 0;
  const floor = first ? Vmas.row(first - 1).end : 0;
  const ceiling = after < Vmas.count(mm) ? Vmas.row(after).start : MM_TASK_SIZE + PAGE_SIZE;
  unmapNotified(actor, mm, start, end, NotifyEvent.Unmap);
  // A truncate finds the VMAs as long as something may be mapped in them; once they are gone it is in none of the
  // tables that go now (unlink_file_vma, then free_pgtables).
  Rmap.lock(actor, mm);
  removeRows(mm, first, after);
  Rmap.unlock(actor, mm);
  return unlinkTables(load<u32>(mm + MM_PGD), PGD_SHIFT, start, end, floor, ceiling, 0);
}

/** mprotect. NoVma if the range has holes; then, as with TooManyVmas, nothing was changed. */
export function hostMprotect(actor: usize, mm: usize, hva: u64, length: u64, flags: u32): HostStatus {
  if (!isRange(hva, length)) return HostStatus.Invalid;
  const end = hva + length;
  let status = HostStatus.Ok;
  RwLock.writeLock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  if (!isCovered(mm, hva, end)) status = HostStatus.NoVma;
  else {
    status = canCut(mm, hva, end);
    if (status == HostStatus.Ok) mprotectLocked(actor, mm, hva, end, effectiveFlags(flags));
  }
  RwLock.writeUnlock(mm + MM_MMAP_LOCK, actor);
  return status;
}

function mprotectLocked(actor: usize, mm: usize, start: u64, end: u64, flags: u32): void {
  Rmap.lock(actor, mm);
  cutAt(mm, start);
  cutAt(mm, end);
  for (let i = firstEndingAbove(mm, start), n = Vmas.count(mm); i < n && Vmas.row(i).start < end; i++) {
    const row = Vmas.row(i);
    row.flags = (row.flags & ~VMA_PROTECTION) | flags;
  }
  mergeVmas(mm, start, end);
  Rmap.unlock(actor, mm);
  notifyBefore(actor, mm, start, end, NotifyEvent.ProtectionVma);
  protectRange(actor, mm, start, end, flags);
  flushHostTlb(actor, mm);
  notifyAfter(actor, mm, start, end, NotifyEvent.ProtectionVma);
}

/**
 * madvise(MADV_DONTNEED): the pages go, the VMAs stay. NoVma if the range has holes: the rest was done. Invalid, and
 * nothing was done, with remapped pfns in the range, which no fault could bring back, or a part of a hugetlb page.
 */
export function hostDontneed(actor: usize, mm: usize, hva: u64, length: u64): HostStatus {
  if (!isRange(hva, length)) return HostStatus.Invalid;
  RwLock.readLock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  const end = hva + length;
  let status = isCovered(mm, hva, end) ? HostStatus.Ok : HostStatus.NoVma;
  if (
    isInsideHugetlbPage(mm, hva) ||
    isInsideHugetlbPage(mm, end) ||
    hasFlagged(mm, hva, end, VmaFlag.Pfnmap)
  ) {
    status = HostStatus.Invalid;
  } else unmapNotified(actor, mm, hva, end, NotifyEvent.Clear);
  RwLock.readUnlock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  return status;
}
