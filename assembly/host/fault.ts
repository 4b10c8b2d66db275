// Host page faults: demand-zero anonymous memory, and copy-on-write (cow.ts). mmap_lock is held for read from the lookup of the VMA to the end,
// so that the VMA, and every table once it is linked, stay as they are.

import { GRACE_INVALIDATE_READER, GRACE_MMAP_READER } from "../layout/control";
import { FILE_INVALIDATE_LOCK } from "../layout/file";
import { MachineOption } from "../layout/header";
import { Map, PAGE_SIZE } from "../layout/map";
import { MM_MMAP_LOCK, Vma, VmaFlag } from "../layout/mm";
import { PAGE_FLAGS, PAGE_MAPCOUNT, PAGE_OWN, PageFlag } from "../layout/page";
import { Stat, Stats } from "../layout/stats";
import { Note, Notes } from "../note";
import { Ops, Order } from "../sync/ops";
import { RwLock } from "../sync/rwlock";
import { Spin } from "../sync/spin";
import { PTE_A, PTE_D, PTE_P, PTE_PS, PTE_RW, PTE_US, PTE_XD } from "../x86/bits";
import { COW_AGAIN, COW_NO_FRAME, breakCow, canReuse, holdForCopy, zeroEntry } from "./cow";
import { getDevicePage } from "./device";
import { Files, cachedPage, daxBlock } from "./file";
import { getMappedPage, getPage, putPage } from "./page";
import { allocBlock, allocReferences } from "./pool";
import { followRemapped } from "./remap";
import { HostStatus } from "./status";
import {
  HostEntry,
  PMD_ORDER,
  PMD_SHIFT,
  PMD_SIZE,
  PTE_DEVMAP,
  PTE_SHIFT,
  linkTable,
  newHostTable,
  pmdSlotAlloc,
} from "./tables";
import { findVma } from "./vma";

/** The host entry allowed writes when the page was found. */
export const GUP_WRITABLE: u64 = 1 << 40;

/** The pfn was found without a reference: a remapped one, or one without struct page. Neither get nor put it. */
export const GUP_NO_REFERENCE: u64 = 1 << 41;

/** A page looked up: pfn in bits 31:0, `HostStatus` in bits 39:32, GUP_WRITABLE, GUP_NO_REFERENCE. */
export class Gup {
  @inline static pfn(result: u64): u32 {
    return <u32>result;
  }
  @inline static status(result: u64): HostStatus {
    return (<i32>(result >> 32)) & 0xff;
  }
  @inline static writable(result: u64): bool {
    return (result & GUP_WRITABLE) != 0;
  }
  @inline static found(pfn: u32, writable: bool): u64 {
    return (<u64>pfn) | (u64(writable) << 40);
  }
  @inline static failed(status: HostStatus): u64 {
    return (<u64>status) << 32;
  }
}

/** No result yet: the entry changed, look again. */
const AGAIN: u64 = u64.MAX_VALUE;

/** Protection bits of a page of this VMA that is mapped by a read, or by a write. */
function protectionOf(flags: u32, write: bool): u64 {
  let bits = PTE_P | PTE_US | PTE_A;
  if (flags & VmaFlag.Write) bits |= PTE_RW;
  if (write) bits |= PTE_D;
  if ((flags & VmaFlag.Exec) == 0) bits |= PTE_XD;
  return bits;
}

/** Faults the page in, as an access of user space does. */
export function hostFault(actor: usize, mm: usize, hva: u64, write: bool): HostStatus {
  RwLock.readLock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  let result = faultInLocked(actor, mm, hva, write, 0);
  if (Gup.status(result) == HostStatus.Pfnmap) result = followRemapped(actor, mm, hva, write);
  RwLock.readUnlock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  return Gup.status(result);
}

/**
 * Looks the page of `hva` up, faulting it in if need be, and takes `references` (0 or 1) on it. The kernel looks a page
 * up again after it has run the fault handler; here a new page starts with the reference of the caller as well as that
 * of its mapping. `Pfnmap`: the VMA has no pages to be got (remap.ts). mmap_lock held for read; a write to a page that is
 * shared invalidates, so that no lock that a notifier takes may be held.
 */
export function faultInLocked(actor: usize, mm: usize, hva: u64, write: bool, references: i32): u64 {
  Notes.tell(Note.MaySleep, hva, 0);
  const row = findVma(actor, mm, hva);
  if (row == 0) return Gup.failed(HostStatus.NoVma);
  const vma = changetype<Vma>(row);
  if ((vma.flags & (write ? VmaFlag.Write : VmaFlag.Read)) == 0) return Gup.failed(HostStatus.Access);
  if (vma.flags & VmaFlag.Pfnmap) return Gup.failed(HostStatus.Pfnmap);
  const pmd = pmdSlotAlloc(actor, mm, hva);
  if (pmd == 0) return Gup.failed(HostStatus.OutOfFrames);
  while (true) {
    const entry = HostEntry.read(pmd);
    let result = AGAIN;
    if (HostEntry.isTable(entry)) {
      const slot = HostEntry.at(HostEntry.pfn(entry), hva, PTE_SHIFT);
      result = HostEntry.read(slot)
        ? useLeaf(actor, mm, slot, hva, vma.flags, false, write, references)
        : vma.file
          ? installFilePage(actor, slot, vma, hva, write, references)
          : installPage(actor, mm, slot, hva, vma.flags, write, references);
    } else if (entry) {
      result = useLeaf(actor, mm, pmd, hva, vma.flags, true, write, references);
    } else if (
      !fitsHuge(vma, hva) ||
      (result = installHuge(actor, pmd, hva, vma.flags, write, references)) == AGAIN
    ) {
      if (HostEntry.read(pmd)) continue;
      if (vma.flags & VmaFlag.Hugetlb || !linkTable(actor, pmd, 1)) return Gup.failed(HostStatus.OutOfFrames);
    }
    if (result != AGAIN) return result;
  }
}

/**
 * Uses the page that the entry at `slot` maps. For a write, which the VMA allows, the entry is made writable: to the same
 * page, or to a copy if somebody else may be looking at it.
 */
function useLeaf(
  actor: usize,
  mm: usize,
  slot: usize,
  hva: u64,
  flags: u32,
  huge: bool,
  write: bool,
  references: i32,
): u64 {
  const lock = HostEntry.lockOf(slot);
  Spin.lock(lock, actor);
  let entry = HostEntry.read(slot);
  // It may have become none, or a PMD entry a table by a split.
  if (entry == 0 || (huge && HostEntry.isTable(entry))) {
    Spin.unlock(lock, actor);
    return AGAIN;
  }
  if (write && (entry & PTE_RW) == 0) {
    // A fork splits what it shares: a page mapped by a PMD entry is the process's own.
    if (!huge && !canReuse(entry, flags)) {
      holdForCopy(entry, actor);
      Spin.unlock(lock, actor);
      return useCopy(actor, mm, slot, hva, entry, flags, references);
    }
    entry = Ops.or<u64>(slot, PTE_RW | PTE_D | PTE_A, Order.None) | PTE_RW;
    HostEntry.tell(hva, huge ? PMD_SHIFT : PTE_SHIFT, entry | PTE_D | PTE_A);
    Stats.add(actor, Stat.HostFaults, 1);
  }
  const pfn = HostEntry.pfn(entry) + (huge ? (<u32>(hva >> PTE_SHIFT)) & 511 : 0);
  const held = references == 0 || getMappedPage(Map.page(pfn), actor);
  Spin.unlock(lock, actor);
  return held ? Gup.found(pfn, (entry & PTE_RW) != 0) : Gup.failed(HostStatus.RefcountLimit);
}

/** Puts a copy in the place of the page that `entry` maps, and uses that. */
function useCopy(
  actor: usize,
  mm: usize,
  slot: usize,
  hva: u64,
  entry: u64,
  flags: u32,
  references: i32,
): u64 {
  const pfn = breakCow(actor, mm, slot, hva, entry, protectionOf(flags, true), references);
  if (pfn == COW_AGAIN) return AGAIN;
  return pfn == COW_NO_FRAME ? Gup.failed(HostStatus.OutOfFrames) : Gup.found(pfn, true);
}

/** Maps a new 4 KiB page at the PTE `slot` of `hva`. */
function installPage(
  actor: usize,
  mm: usize,
  slot: usize,
  hva: u64,
  flags: u32,
  write: bool,
  references: i32,
): u64 {
  if (!write && Map.has(MachineOption.SharedZeroPage)) return installZero(actor, mm, slot, hva, flags);
  const pfn = allocReferences(actor, 1 + references);
  if (pfn == 0) return Gup.failed(HostStatus.OutOfFrames);
  if (Map.has(MachineOption.ZeroPages)) memory.fill(Map.frame(pfn), 0, PAGE_SIZE);
  // Nobody else counts mappings of a page that is not mapped yet.
  const page = Map.page(pfn);
  store<i32>(page + PAGE_MAPCOUNT, 1);
  store<u32>(page + PAGE_FLAGS, PageFlag.AnonExclusive);
  const entry = ((<u64>pfn) << 12) | protectionOf(flags, write);
  if (Ops.cas<u64>(slot, 0, entry, Order.Release) != 0) {
    dropUnmapped(page, references, actor);
    return AGAIN;
  }
  HostEntry.tell(hva, PTE_SHIFT, entry);
  Stats.add(actor, Stat.HostFaults, 1);
  return Gup.found(pfn, (flags & VmaFlag.Write) != 0);
}

/** Maps the shared zero page at the PTE `slot`; it is used, as whatever else is mapped then, by looking again. */
function installZero(actor: usize, mm: usize, slot: usize, hva: u64, flags: u32): u64 {
  const entry = zeroEntry(mm, (flags & VmaFlag.Exec) != 0);
  if (Ops.cas<u64>(slot, 0, entry, Order.Release) == 0) {
    HostEntry.tell(hva, PTE_SHIFT, entry);
    Stats.add(actor, Stat.HostFaults, 1);
  }
  return AGAIN;
}

/**
 * Maps the page of a file at the PTE `slot`: out of its cache, or added to it (filemap_fault, dax_iomap_fault). The
 * file's invalidate lock, held for read until the PTE is in place, keeps truncate away.
 */
function installFilePage(actor: usize, slot: usize, vma: Vma, hva: u64, write: bool, references: i32): u64 {
  const row = Map.file(vma.file);
  RwLock.readLock(row + FILE_INVALIDATE_LOCK, GRACE_INVALIDATE_READER, actor);
  const result = mapFilePageLocked(actor, slot, vma, hva, write, references);
  RwLock.readUnlock(row + FILE_INVALIDATE_LOCK, GRACE_INVALIDATE_READER, actor);
  return result;
}

function mapFilePageLocked(actor: usize, slot: usize, vma: Vma, hva: u64, write: bool, references: i32): u64 {
  const index = vma.pgoff + <u32>((hva - vma.start) >> PTE_SHIFT);
  if (index >= Files.pages(Map.file(vma.file))) return Gup.failed(HostStatus.BeyondEnd);
  const isDax = (vma.flags & VmaFlag.Dax) != 0;
  const pfn = isDax ? daxBlock(actor, vma.file, index) : cachedPage(actor, vma.file, index);
  if (pfn == 0) return Gup.failed(isDax ? HostStatus.NoBlocks : HostStatus.OutOfFrames);
  const page = Map.page(pfn);
  // First this count: a truncate that sleeps on the other one takes it off (waitIdle), and may not wait for a mapping.
  Ops.add<i32>(page + PAGE_MAPCOUNT, 1, Order.None);
  if (isDax) getDevicePage(page);
  const held = references == 0 || getMappedPage(page, actor);
  const entry = ((<u64>pfn) << 12) | protectionOf(vma.flags, write) | (isDax ? PTE_DEVMAP : 0);
  if (!held || Ops.cas<u64>(slot, 0, entry, Order.Release) != 0) {
    Ops.sub<i32>(page + PAGE_MAPCOUNT, 1, Order.None);
    if (held && references) putPage(page, actor);
    putPage(page, actor);
    return held ? AGAIN : Gup.failed(HostStatus.RefcountLimit);
  }
  HostEntry.tell(hva, PTE_SHIFT, entry);
  Stats.add(actor, Stat.HostFaults, 1);
  return Gup.found(pfn, (vma.flags & VmaFlag.Write) != 0);
}

/** Gives a page back that another actor's was preferred to: its mapping's reference, and those of the caller. */
function dropUnmapped(page: usize, references: i32, actor: usize): void {
  store<i32>(page + PAGE_MAPCOUNT, 0);
  for (let i = -1; i < references; i++) putPage(page, actor);
}

/** A 2 MiB page is wanted, and the 2 MiB around `hva` lie within the VMA. */
function fitsHuge(vma: Vma, hva: u64): bool {
  if (vma.pageShift != <u32>PMD_SHIFT) return false;
  const first = hva & ~(PMD_SIZE - 1);
  return first >= vma.start && first + PMD_SIZE <= vma.end;
}

/** Maps a new 2 MiB page at the PMD entry `slot`. AGAIN if there is no block, or another actor was first. */
function installHuge(actor: usize, slot: usize, hva: u64, flags: u32, write: bool, references: i32): u64 {
  // The table that a split of the leaf will need is put by now, so that a split cannot fail. hugetlb is never split.
  const splits = (flags & VmaFlag.Hugetlb) == 0;
  const table = splits ? newHostTable(actor, 1) : 0;
  if (splits && table == 0) return AGAIN;
  const pfn = allocBlock(actor, PMD_ORDER);
  if (pfn == 0) {
    if (table) putPage(Map.page(table), actor);
    return AGAIN;
  }
  if (Map.has(MachineOption.ZeroPages)) memory.fill(Map.frame(pfn), 0, <usize>PMD_SIZE);
  const head = Map.page(pfn);
  store<u32>(head + PAGE_OWN, table);
  store<i32>(head + PAGE_MAPCOUNT, 1);
  store<u32>(head + PAGE_FLAGS, PageFlag.Head | PageFlag.AnonExclusive);
  if (references) getPage(head, actor);
  const entry = ((<u64>pfn) << 12) | PTE_PS | protectionOf(flags, write);
  if (Ops.cas<u64>(slot, 0, entry, Order.Release) != 0) {
    if (table) putPage(Map.page(table), actor);
    dropUnmapped(head, references, actor);
    return AGAIN;
  }
  HostEntry.tell(hva, PMD_SHIFT, entry);
  Stats.add(actor, Stat.HostFaults, 1);
  return Gup.found(pfn + ((<u32>(hva >> PTE_SHIFT)) & 511), (flags & VmaFlag.Write) != 0);
}
