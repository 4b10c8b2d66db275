// Host: the address space of the VMM process, its pages, and the books over both.

import { Map } from "../layout/map";
import { MM_BASE, MM_TLB_FLUSHES, MM_VMA_COUNT } from "../layout/mm";
import { PAGE_EPOCH, PAGE_MAPCOUNT, PAGE_REFCOUNT } from "../layout/page";
import { POOL_LOAD_STATUS } from "../layout/pool";
import { copyFromUser, copyToUser, loadUser, storeUser } from "../host/access";
import { checkBalance } from "../host/balance";
import { GUP_NO_REFERENCE, Gup, gup, gupFast, hostMappingShift } from "../host/gup";
import { hostFault } from "../host/fault";
import { flushHostTlb } from "../host/gather";
import {
  hostDontneed as dontneed,
  hostMmap as mmap,
  hostMprotect as mprotect,
  hostMunmap as munmap,
} from "../host/mm";
import { getPage, headOf, putPage } from "../host/page";
import { allocBlock, allocPage, drainAll, freeFrames } from "../host/pool";
import { HostStatus } from "../host/status";
import { hostEntryOf } from "../host/tables";
import { Ops, Order } from "../sync/ops";
import { Zone, countBlocksLocked } from "../host/zone";

/**
 * mmap(MAP_ANONYMOUS) of `length` bytes at `hva`, or where there is room if it is 0; pages of 2^pageShift bytes, 12 or
 * 21. `flags`: protection, and VmaFlag.Hugetlb with 21. Returns the address, or a `HostStatus` (below 65536).
 */
export function hostMmap(actor: u32, hva: u64, length: u64, flags: u32, pageShift: u32): u64 {
  return mmap(Map.actor(actor), MM_BASE, hva, length, flags, pageShift);
}

/** munmap. */
export function hostMunmap(actor: u32, hva: u64, length: u64): HostStatus {
  return munmap(Map.actor(actor), MM_BASE, hva, length);
}

/** mprotect to these `VmaFlag` bits. */
export function hostMprotect(actor: u32, hva: u64, length: u64, flags: u32): HostStatus {
  return mprotect(Map.actor(actor), MM_BASE, hva, length, flags);
}

/** madvise(MADV_DONTNEED). */
export function hostDontneed(actor: u32, hva: u64, length: u64): HostStatus {
  return dontneed(Map.actor(actor), MM_BASE, hva, length);
}

/** Faults every page of [hva, hva + length) in, for a write if `write` is not 0. Stops at the first that fails. */
export function hostTouch(actor: u32, hva: u64, length: u64, write: u32): HostStatus {
  const a = Map.actor(actor);
  for (let at = hva, end = hva + length; at < end;) {
    const status = hostFault(a, MM_BASE, at, write != 0);
    if (status != HostStatus.Ok) return status;
    const shift = hostMappingShift(a, MM_BASE, at);
    const size = (<u64>1) << (shift ? shift : 12);
    at = (at & ~(size - 1)) + size;
  }
  return HostStatus.Ok;
}

/** Gets and puts each of `pages` pages from `hva` on, as a fault handler of KVM does. Returns how many it found. */
export function hostGupEach(actor: u32, hva: u64, pages: u32, write: u32): u32 {
  const a = Map.actor(actor);
  for (let i: u32 = 0; i < pages; i++) {
    const found = gup(a, MM_BASE, hva + ((<u64>i) << 12), write != 0);
    if (Gup.status(found) != HostStatus.Ok) return i;
    if ((found & GUP_NO_REFERENCE) == 0) putPage(Map.page(Gup.pfn(found)), a);
  }
  return pages;
}

/**
 * get_user_pages, and the pfn behind a remapped range: pfn in bits 31:0 with a reference on its page, `HostStatus` in
 * 39:32, bit 40: entry writable, bit 41: no reference was taken.
 */
export function hostGup(actor: u32, hva: u64, write: u32): u64 {
  return gup(Map.actor(actor), MM_BASE, hva, write != 0);
}

/** get_user_pages_fast_only: pfn with a reference on its page, or 0. */
export function hostGupFast(actor: u32, hva: u64, write: u32): u32 {
  return gupFast(Map.actor(actor), MM_BASE, hva, write != 0);
}

/** Drops a reference that hostGup, hostGupFast, hostGetPage or an allocation took. */
export function hostPutPage(actor: u32, pfn: u32): void {
  putPage(Map.page(pfn), Map.actor(actor));
}

/** One more reference on a page that is held. */
export function hostGetPage(actor: u32, pfn: u32): void {
  getPage(Map.page(pfn), Map.actor(actor));
}

/** A frame with one reference, or 0: for devices and tests. Contents arbitrary. */
export function hostAllocPage(actor: u32): u32 {
  return allocPage(Map.actor(actor));
}

/** A compound page of 2^order frames, 1 to 10, with one reference; 0 if no block is free. */
export function hostAllocBlock(actor: u32, order: u32): u32 {
  return allocBlock(Map.actor(actor), order);
}

/** Load of `size` bytes (1, 2, 4, 8) as user space does, zero-extended; `hostLoadStatus` says how it ended. */
export function hostLoad(actor: u32, hva: u64, size: u32): u64 {
  return loadUser(Map.actor(actor), MM_BASE, hva, size);
}

/** How the actor's last hostLoad ended. */
export function hostLoadStatus(actor: u32): HostStatus {
  return load<u32>(Map.actor(actor) + POOL_LOAD_STATUS);
}

/** Store of `size` bytes (1, 2, 4, 8) as user space does. */
export function hostStore(actor: u32, hva: u64, size: u32, value: u64): HostStatus {
  return storeUser(Map.actor(actor), MM_BASE, hva, size, value);
}

/** Copies `length` bytes from hva to the start of the actor's batch buffer. */
export function hostRead(actor: u32, hva: u64, length: u32): HostStatus {
  if (length > Map.batchSize) return HostStatus.Invalid;
  const a = Map.actor(actor);
  return copyFromUser(a, MM_BASE, hva, Map.batch(a), length);
}

/** Copies `length` bytes from the start of the actor's batch buffer to hva. */
export function hostWrite(actor: u32, hva: u64, length: u32): HostStatus {
  if (length > Map.batchSize) return HostStatus.Invalid;
  const a = Map.actor(actor);
  return copyToUser(a, MM_BASE, hva, Map.batch(a), length);
}

/** log2 of the size of what maps `hva` now: 12, 21, 0 for nothing. */
export function hostMappingShiftOf(actor: u32, hva: u64): u32 {
  return hostMappingShift(Map.actor(actor), MM_BASE, hva);
}

/** Leaf entry of the host tables for `hva`, 0 for none. */
export function hostPte(actor: u32, hva: u64): u64 {
  return hostEntryOf(Map.actor(actor), MM_BASE, hva);
}

/** VMAs in the table; rows from `vmasBase`. */
export function hostVmaCount(): u32 {
  return load<u32>(MM_BASE + MM_VMA_COUNT);
}

/** Flushes the host TLB. */
export function hostFlushTlb(actor: u32): void {
  flushHostTlb(Map.actor(actor), MM_BASE);
}

/** Host TLB flushes done. */
export function hostTlbFlushes(): u64 {
  return Ops.load<u64>(MM_BASE + MM_TLB_FLUSHES, Order.Relaxed);
}

/** Frames that nobody holds. */
export function hostFreeFrames(): u32 {
  return freeFrames();
}

/** Moves every actor's ready frames back to the buddy allocator, where they merge. */
export function hostDrain(actor: u32): void {
  drainAll(Map.actor(actor));
}

/** Free blocks of 2^order frames in the buddy allocator. */
export function hostFreeBlocks(actor: u32, order: u32): u32 {
  const a = Map.actor(actor);
  Zone.lock(a);
  const n = countBlocksLocked(order);
  Zone.unlock(a);
  return n;
}

/** Address of frame `pfn` in this memory. */
export function hostFrame(pfn: u32): usize {
  return Map.frame(pfn);
}

/** pfn of the head of the compound page that `pfn` belongs to; itself for a single page. */
export function hostHead(pfn: u32): u32 {
  return Map.pagePfn(headOf(Map.page(pfn)));
}

/** refcount of a page; 0 for a tail. */
export function hostRefcount(pfn: u32): i32 {
  return Ops.load<i32>(Map.page(pfn) + PAGE_REFCOUNT, Order.Relaxed);
}

/** mapcount of a page: host entries that map it. */
export function hostMapcount(pfn: u32): i32 {
  return Ops.load<i32>(Map.page(pfn) + PAGE_MAPCOUNT, Order.Relaxed);
}

/** Times the frame has changed hands. */
export function hostEpoch(pfn: u32): u32 {
  return Ops.load<u32>(Map.page(pfn) + PAGE_EPOCH, Order.Relaxed);
}

/** Pages whose counts are not what the host tables say: 0 for a machine at rest without outstanding gups. */
export function hostCheckBalance(actor: u32): u32 {
  return checkBalance(Map.actor(actor), MM_BASE);
}
