// Remapped pfns (remap_pfn_range, VM_PFNMAP): a driver maps pfns of its own into the process. Such a pfn may be that of
//
//   a page that somebody else holds,
//   a page that nobody counts: a later frame of a block that was allocated without making it a compound page,
//   no frame at all: memory of a device, from `frameCount` on.
//
// The PTEs are special: they hold no reference, lookups without a lock refuse them, and the slow lookup answers
// `Pfnmap`. Who wants the pfn follows the PTE under its lock, and may use what it found until the range is invalidated.

import { GRACE_MMAP_READER } from "../layout/control";
import { Map, PAGE_SIZE } from "../layout/map";
import { MM_MMAP_LOCK, Vma, VmaFlag } from "../layout/mm";
import { PAGE_FLAGS, PAGE_REFCOUNT, PageFlag } from "../layout/page";
import { Note, Notes } from "../note";
import { Profiles, Switch } from "../profile";
import { Rule, Rules } from "../rules";
import { Ops, Order } from "../sync/ops";
import { RwLock } from "../sync/rwlock";
import { Spin } from "../sync/spin";
import { PTE_A, PTE_D, PTE_P, PTE_RW, PTE_US, PTE_XD } from "../x86/bits";
import { GUP_NO_REFERENCE, GUP_WRITABLE, Gup } from "./fault";
import { HostStatus } from "./status";
import { HostEntry, PTE_SHIFT, PTE_SPECIAL, linkTable, pmdSlot, pmdSlotAlloc } from "./tables";
import { findVma } from "./vma";

/** PTE of a remapped pfn in a VMA with these flags. */
function remappedEntry(pfn: u32, flags: u32, writable: bool): u64 {
  let bits: u64 = PTE_US | PTE_SPECIAL | PTE_A | PTE_P;
  if (writable) bits |= PTE_RW | PTE_D;
  if ((flags & VmaFlag.Exec) == 0) bits |= PTE_XD;
  return ((<u64>pfn) << PTE_SHIFT) | bits;
}

/** Maps `pfn` on at [start, end), where nothing is mapped. False if out of frames for tables. mmap_lock (write). */
export function remapRange(
  actor: usize,
  mm: usize,
  start: u64,
  end: u64,
  pfn: u32,
  flags: u32,
  writable: bool,
): bool {
  for (let at = start; at < end; at += PAGE_SIZE, pfn++) {
    const pmd = pmdSlotAlloc(actor, mm, at);
    if (pmd == 0) return false;
    if (HostEntry.read(pmd) == 0 && !linkTable(actor, pmd, 1)) return false;
    const slot = HostEntry.at(HostEntry.pfn(HostEntry.read(pmd)), at, PTE_SHIFT);
    const entry = remappedEntry(pfn, flags, writable);
    Ops.store<u64>(slot, entry, Order.Release);
    Notes.tell(Note.HostLeaf, at | PTE_SHIFT, entry);
  }
  return true;
}

/** follow_pte: the PTE for `hva`, read under its lock; 0 for none, and for one that nobody may access. mmap_lock held. */
function followEntry(actor: usize, mm: usize, hva: u64): u64 {
  const pmd = pmdSlot(mm, hva);
  if (pmd == 0) return 0;
  const table = HostEntry.read(pmd);
  if (!HostEntry.isTable(table)) return 0;
  const slot = HostEntry.at(HostEntry.pfn(table), hva, PTE_SHIFT);
  const lock = HostEntry.lockOf(slot);
  Spin.lock(lock, actor);
  const entry = HostEntry.read(slot);
  Spin.unlock(lock, actor);
  return entry & PTE_P ? entry : 0;
}

/**
 * What a remapped VMA maps at `hva`, without a reference. `NoVma`: nothing; it is mapped as a whole when it is made, and
 * no fault adds to it. `Access`: a write, and the PTE is read-only. mmap_lock held.
 */
export function followRemapped(actor: usize, mm: usize, hva: u64, write: bool): u64 {
  const entry = followEntry(actor, mm, hva);
  if (entry == 0) return Gup.failed(HostStatus.NoVma);
  const writable = (entry & PTE_RW) != 0;
  if (write && !writable) return Gup.failed(HostStatus.Access);
  return Gup.found(HostEntry.pfn(entry), writable) | GUP_NO_REFERENCE;
}

/** As an access of user space meets it: the rights are the PTE's, whatever the rules of KVM. Takes mmap_lock. */
export function userRemapped(actor: usize, mm: usize, hva: u64, write: bool): u64 {
  RwLock.readLock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  let result = Gup.failed(HostStatus.Pfnmap);
  const row = findVma(actor, mm, hva);
  // It may be another mapping by now: the caller faults again.
  if (row && changetype<Vma>(row).flags & VmaFlag.Pfnmap) result = followRemapped(actor, mm, hva, write);
  RwLock.readUnlock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  return result;
}

/**
 * hva_to_pfn_remapped: the pfn for KVM. 5.4 took it to be writable, and took a reference on it as if its page were
 * refcounted. `Pfnmap`: the mapping is another one by now, look again.
 */
export function gupRemapped(actor: usize, mm: usize, hva: u64, write: bool): u64 {
  RwLock.readLock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  let result = Gup.failed(HostStatus.Pfnmap);
  const row = findVma(actor, mm, hva);
  if (row && changetype<Vma>(row).flags & VmaFlag.Pfnmap) {
    if (Rules.hold(Rule.PfnmapHonoursWrite)) result = followRemapped(actor, mm, hva, write);
    else {
      result = followRemapped(actor, mm, hva, false);
      if (Gup.status(result) == HostStatus.Ok) result |= GUP_WRITABLE;
    }
    if (Gup.status(result) == HostStatus.Ok) result = referenceRemapped(result);
  }
  RwLock.readUnlock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  return result;
}

/** kvm_get_pfn of 5.4, in whose profiles alone it has an effect: the caller will put what it takes. */
function referenceRemapped(found: u64): u64 {
  if (!Profiles.has(Switch.PfnmapRefcounted) && Rules.hold(Rule.PfnmapNotRefcounted)) return found;
  const pfn = Gup.pfn(found);
  if (pfn >= Map.frameCount) return found;
  const page = Map.page(pfn);
  if (Ops.load<u32>(page + PAGE_FLAGS, Order.Relaxed) & PageFlag.Reserved) return found;
  // From 0 to 1, if nobody counts the page: CVE-2021-22543.
  const old = Ops.add<i32>(page + PAGE_REFCOUNT, 1, Order.None);
  Notes.tell(Note.PageGet, pfn, <u64>(old + 1));
  return found & ~GUP_NO_REFERENCE;
}
