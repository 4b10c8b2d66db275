// The address space of the VMM process: mmap, munmap, mprotect, madvise(MADV_DONTNEED), in the order of the
// mmu_notifier contract (docs/protocol.md, Invalidations):
//
//   mmap_lock ; start(range) ; page-table locks: clear or change PTEs ; host TLB flush ; drop references ; end(range)
//
// start returns when no listener translates the range any more. Large ranges go in batches of one gather list, inside
// one start/end pair. `createHost` makes all of it.

import { notifyEnd, notifyStart, NotifyEvent } from "../dispatch";
import { GRACE_MMAP_READER } from "../layout/control";
import { FileKind } from "../layout/file";
import { KVM_RCU_EPOCH } from "../layout/kvm";
import { Map, PAGE_SIZE } from "../layout/map";
import { MM_BASE, MM_MMAP_LOCK, MM_MMAP_MIN, MM_PGD, MM_TASK_SIZE, VmaFlag } from "../layout/mm";
import { Rule, Rules } from "../rules";
import { Ops, Order } from "../sync/ops";
import { RwLock } from "../sync/rwlock";
import { Files } from "./file";
import { flushHostTlb, freeTablesAfterGrace, releaseGathered } from "./gather";
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
  isCovered,
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
}

/** Page aligned, not empty, within user space. */
function isRange(start: u64, length: u64): bool {
  if (((start | length) & (<u64>(PAGE_SIZE - 1))) != 0 || length == 0) return false;
  return start >= MM_MMAP_MIN && start < MM_TASK_SIZE && length <= MM_TASK_SIZE - start;
}

const PROTECTION_FLAGS: u32 = VmaFlag.Read | VmaFlag.Write | VmaFlag.Exec;

/** What may be written or executed may be read: the processor knows no other way. */
function effectiveFlags(flags: u32): u32 {
  const known = flags & PROTECTION_FLAGS;
  return known & (VmaFlag.Write | VmaFlag.Exec) ? known | VmaFlag.Read : known;
}

/**
 * mmap(MAP_ANONYMOUS): `length` bytes at `hva` (MAP_FIXED_NOREPLACE), or at an address of its choice if `hva` is 0.
 * Faults install pages of 2^pageShift bytes: 12, or 21, which asks for that alignment. Returns the address, or a
 * `HostStatus`, which is below any address that can be mapped.
 */
export function hostMmap(actor: usize, mm: usize, hva: u64, length: u64, flags: u32, pageShift: u32): u64 {
  if (pageShift != <u32>PTE_SHIFT && pageShift != <u32>PMD_SHIFT) return HostStatus.Invalid;
  const align = (<u64>1) << pageShift;
  if (((hva | length) & (align - 1)) != 0) return HostStatus.Invalid;
  if (!isRange(hva ? hva : MM_MMAP_MIN, length)) return HostStatus.Invalid;
  RwLock.writeLock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  const result = mmapLocked(actor, mm, hva, length, effectiveFlags(flags), pageShift, 0, 0);
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
  if (((hva | length) & (<u64>(PAGE_SIZE - 1))) != 0) return HostStatus.Invalid;
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

/** What is told before the tables change: start; without Rule.HostPteClearedBeforeEnd, end as well. */
function notifyBefore(actor: usize, mm: usize, start: u64, end: u64, event: NotifyEvent): void {
  if (!Rules.hold(Rule.StartBeforeClear)) return;
  notifyStart(actor, mm, start, end, event);
  if (!Rules.hold(Rule.HostPteClearedBeforeEnd)) notifyEnd(actor, mm, start, end, event);
}

/** What is told after they have changed: end; without Rule.StartBeforeClear, start only now. */
function notifyAfter(actor: usize, mm: usize, start: u64, end: u64, event: NotifyEvent): void {
  if (!Rules.hold(Rule.StartBeforeClear)) notifyStart(actor, mm, start, end, event);
  else if (!Rules.hold(Rule.HostPteClearedBeforeEnd)) return;
  notifyEnd(actor, mm, start, end, event);
}

/** start, clear, flush, put, end for all that is mapped in [start, end). mmap_lock or the rmap lock held. */
export function unmapNotified(actor: usize, mm: usize, start: u64, end: u64, event: NotifyEvent): void {
  notifyBefore(actor, mm, start, end, event);
  zapRange(actor, mm, start, end);
  releaseGathered(actor, mm);
  notifyAfter(actor, mm, start, end, event);
}

/** munmap: whatever is mapped in the range goes; holes are allowed. Ok, Invalid or TooManyVmas. */
export function hostMunmap(actor: usize, mm: usize, hva: u64, length: u64): HostStatus {
  if (!isRange(hva, length)) return HostStatus.Invalid;
  RwLock.writeLock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  if (Vmas.count(mm) + cutsNeeded(mm, hva, hva + length) > Map.vmaMax) {
    RwLock.writeUnlock(mm + MM_MMAP_LOCK, actor);
    return HostStatus.TooManyVmas;
  }
  const tables = munmapLocked(actor, mm, hva, hva + length);
  RwLock.writeUnlock(mm + MM_MMAP_LOCK, actor);
  freeTablesAfterGrace(actor, tables);
  return HostStatus.Ok;
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
  else if (Vmas.count(mm) + cutsNeeded(mm, hva, end) > Map.vmaMax) status = HostStatus.TooManyVmas;
  else mprotectLocked(actor, mm, hva, end, effectiveFlags(flags));
  RwLock.writeUnlock(mm + MM_MMAP_LOCK, actor);
  return status;
}

function mprotectLocked(actor: usize, mm: usize, start: u64, end: u64, flags: u32): void {
  Rmap.lock(actor, mm);
  cutAt(mm, start);
  cutAt(mm, end);
  for (let i = firstEndingAbove(mm, start), n = Vmas.count(mm); i < n && Vmas.row(i).start < end; i++) {
    Vmas.row(i).flags = (Vmas.row(i).flags & ~PROTECTION_FLAGS) | flags;
  }
  mergeVmas(mm, start, end);
  Rmap.unlock(actor, mm);
  notifyBefore(actor, mm, start, end, NotifyEvent.ProtectionVma);
  protectRange(actor, mm, start, end, flags);
  flushHostTlb(actor, mm);
  notifyAfter(actor, mm, start, end, NotifyEvent.ProtectionVma);
}

/** madvise(MADV_DONTNEED): the pages go, the VMAs stay. NoVma if the range has holes: the rest was done. */
export function hostDontneed(actor: usize, mm: usize, hva: u64, length: u64): HostStatus {
  if (!isRange(hva, length)) return HostStatus.Invalid;
  RwLock.readLock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  const covered = isCovered(mm, hva, hva + length);
  unmapNotified(actor, mm, hva, hva + length, NotifyEvent.Clear);
  RwLock.readUnlock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  return covered ? HostStatus.Ok : HostStatus.NoVma;
}
