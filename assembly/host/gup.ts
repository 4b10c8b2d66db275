// get_user_pages: hva -> pfn with a reference on the page. Fast without a lock; slow under mmap_lock, faulting.

import { GRACE_MMAP_READER } from "../layout/control";
import { Map } from "../layout/map";
import { MM_MMAP_LOCK, MM_TASK_SIZE, Vma, VmaFlag } from "../layout/mm";
import { Stat, Stats } from "../layout/stats";
import { Rule, Rules } from "../rules";
import { Rcu } from "../sync/grace";
import { RwLock } from "../sync/rwlock";
import { PTE_P, PTE_RW, PTE_US } from "../x86/bits";
import { GUP_NO_REFERENCE, Gup, faultInLocked } from "./fault";
import { WriteProtectSeq } from "./cow";
import { mayGrabDevicePage } from "./device";
import { headOf, tryGetPage } from "./page";
import { FollFlag, dropGrabbed, pinHeld } from "./pin";
import { gupRemapped } from "./remap";
import { HostStatus } from "./status";
import { HostEntry, PMD_SHIFT, PTE_DEVMAP, PTE_SHIFT, PTE_SPECIAL, pmdSlot } from "./tables";
import { findVma } from "./vma";

export { GUP_NO_REFERENCE, GUP_WRITABLE, Gup } from "./fault";

/** get_user_pages_fast_only: the pfn with a reference on its page, 0 if the slow way must be taken. */
export function gupFast(actor: usize, mm: usize, hva: u64, write: bool): u32 {
  return grabFast(actor, mm, hva, write ? FollFlag.Write : 0);
}

/** The same with `FollFlag` bits: a reference, or a pin, which is not taken while a fork is at it. */
export function grabFast(actor: usize, mm: usize, hva: u64, flags: u32): u32 {
  if (hva >= MM_TASK_SIZE) return 0;
  const isPin = (flags & FollFlag.Pin) != 0;
  const seq = isPin ? WriteProtectSeq.read(mm) : 0;
  if (seq & 1) return 0;
  Rcu.readLock(actor);
  const pfn = gupFastInside(actor, mm, hva, flags);
  Rcu.readUnlock(actor);
  if (pfn && isPin && WriteProtectSeq.changed(mm, seq)) {
    dropGrabbed(headOf(Map.page(pfn)), flags, actor);
    return 0;
  }
  if (pfn) Stats.add(actor, Stat.GupFast, 1);
  return pfn;
}

function gupFastInside(actor: usize, mm: usize, hva: u64, flags: u32): u32 {
  const pmd = pmdSlot(mm, hva);
  if (pmd == 0) return 0;
  const pmdEntry = HostEntry.read(pmd);
  let slot = pmd;
  let entry = pmdEntry;
  let offset: u32 = 0;
  if (HostEntry.isTable(pmdEntry)) {
    slot = HostEntry.at(HostEntry.pfn(pmdEntry), hva, PTE_SHIFT);
    entry = HostEntry.read(slot);
  } else offset = (<u32>(hva >> PTE_SHIFT)) & 511;
  // None, PROT_NONE, special, or no write where one is wanted.
  const need = PTE_P | PTE_US | (flags & FollFlag.Write ? PTE_RW : 0);
  if ((entry & (need | PTE_SPECIAL)) != need) return 0;
  const pfn = HostEntry.pfn(entry) + offset;
  if ((entry & PTE_DEVMAP) != 0 && !mayGrabDevicePage(pfn, (flags & FollFlag.Longterm) != 0)) return 0;
  const page = Map.page(pfn);
  const head = headOf(page);
  if (!tryGetPage(head)) return 0;
  if (flags & FollFlag.Pin) pinHeld(head);
  // A split may have made the page its own head since: then the reference is on another page than the one returned, and
  // its entry need not have changed. With the reference on the right head held, no split gets past its freeze.
  if (Rules.hold(Rule.GupRechecksHead) && headOf(page) != head) {
    dropGrabbed(head, flags, actor);
    return 0;
  }
  // Pairs with clear, flush, put in zap.ts: this reader sees the entry cleared, or the zapper's put comes after our
  // get and does not free the page. The page may have been freed and reused before the get: then the entry changed.
  if (Rules.hold(Rule.GupRechecksPte)) {
    if (HostEntry.read(slot) != entry || HostEntry.read(pmd) != pmdEntry) {
      dropGrabbed(head, flags, actor);
      return 0;
    }
  }
  return pfn;
}

/**
 * The page of `hva` with a reference, faulted in if need be: pfn, status and whether the host entry is writable; of a
 * remapped pfn without one (GUP_NO_REFERENCE). A read goes the slow way at once: without FOLL_WRITE, gup-fast might
 * return the side of a copy-on-write that the process is about to leave (docs/protocol.md, Host pages).
 */
export function gup(actor: usize, mm: usize, hva: u64, write: bool): u64 {
  return grab(actor, mm, hva, write ? FollFlag.Write : 0);
}

/** The same with `FollFlag` bits: a reference, or a pin. A remapped pfn has neither. */
export function grab(actor: usize, mm: usize, hva: u64, flags: u32): u64 {
  const write = (flags & FollFlag.Write) != 0;
  if (write) {
    const pfn = grabFast(actor, mm, hva, flags);
    if (pfn) return Gup.found(pfn, true);
  }
  while (true) {
    let result = grabSlow(actor, mm, hva, flags);
    if (Gup.status(result) != HostStatus.Pfnmap) return result;
    result = gupRemapped(actor, mm, hva, write);
    if (Gup.status(result) == HostStatus.Pfnmap) continue;
    // Of a kernel that took a reference all the same: then the pin is made of that.
    const isHeld = Gup.status(result) == HostStatus.Ok && (result & GUP_NO_REFERENCE) == 0;
    if (isHeld && flags & FollFlag.Pin) pinHeld(headOf(Map.page(Gup.pfn(result))));
    return result;
  }
}

/**
 * The slow way: mmap_lock, VMA, page-table lock. Not under any spin lock, nor in an RCU section. `Pfnmap`: there is no
 * page to be got, `gup` follows the entry instead.
 */
export function gupSlow(actor: usize, mm: usize, hva: u64, write: bool): u64 {
  return grabSlow(actor, mm, hva, write ? FollFlag.Write : 0);
}

/** The same with `FollFlag` bits. A pin is made with mmap_lock held: no fork comes between. */
function grabSlow(actor: usize, mm: usize, hva: u64, flags: u32): u64 {
  if (hva >= MM_TASK_SIZE) return Gup.failed(HostStatus.NoVma);
  Stats.add(actor, Stat.GupSlow, 1);
  RwLock.readLock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  let result = Gup.failed(HostStatus.LongtermRefused);
  if (!isLongtermRefused(actor, mm, hva, flags)) {
    result = faultInLocked(actor, mm, hva, (flags & FollFlag.Write) != 0, 1);
    const isFound = Gup.status(result) == HostStatus.Ok;
    if (isFound && flags & FollFlag.Pin) pinHeld(headOf(Map.page(Gup.pfn(result))));
  }
  RwLock.readUnlock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  return result;
}

/**
 * pin_user_pages of one page, with FollFlag.Write and Longterm: as gup, and the page is pinned. LongtermRefused if the
 * pin may last for ever and the page is a DAX file's, which truncate would wait for; `Pfnmap`, where there is no page.
 */
export function pinUserPage(actor: usize, mm: usize, hva: u64, flags: u32): u64 {
  if (flags & FollFlag.Write) {
    const pfn = grabFast(actor, mm, hva, flags | FollFlag.Pin);
    if (pfn) return Gup.found(pfn, true);
  }
  return grabSlow(actor, mm, hva, flags | FollFlag.Pin);
}

/** check_vma_flags. mmap_lock held. */
function isLongtermRefused(actor: usize, mm: usize, hva: u64, flags: u32): bool {
  if ((flags & FollFlag.Longterm) == 0 || !Rules.hold(Rule.LongtermRefusedOnDax)) return false;
  const row = findVma(actor, mm, hva);
  return row != 0 && (changetype<Vma>(row).flags & VmaFlag.Dax) != 0;
}

/** host_pfn_mapping_level: log2 of what maps `hva` now, 0 for nothing. Each entry is read once, without a lock. */
export function hostMappingShift(actor: usize, mm: usize, hva: u64): u32 {
  if (hva >= MM_TASK_SIZE) return 0;
  let shift: u32 = 0;
  Rcu.readLock(actor);
  const pmd = pmdSlot(mm, hva);
  if (pmd) {
    const entry = HostEntry.read(pmd);
    if (!HostEntry.isTable(entry)) shift = entry & PTE_P ? <u32>PMD_SHIFT : 0;
    else if (HostEntry.read(HostEntry.at(HostEntry.pfn(entry), hva, PTE_SHIFT)) & PTE_P)
      shift = <u32>PTE_SHIFT;
  }
  Rcu.readUnlock(actor);
  return shift;
}

/**
 * vma_kernel_pagesize, as log2: what size of page the VMA of `hva` stands for, mapped or not; 0 if there is none. True
 * while mmap_lock is held, which it is not when this returns.
 */
export function vmaPageShift(actor: usize, mm: usize, hva: u64): u32 {
  if (hva >= MM_TASK_SIZE) return 0;
  RwLock.readLock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  const row = findVma(actor, mm, hva);
  let shift: u32 = 0;
  if (row) shift = changetype<Vma>(row).flags & VmaFlag.Hugetlb ? <u32>PMD_SHIFT : <u32>PTE_SHIFT;
  RwLock.readUnlock(mm + MM_MMAP_LOCK, GRACE_MMAP_READER, actor);
  return shift;
}
