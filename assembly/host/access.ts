// Loads and stores of user space at an hva, through the host tables, faulting as the processor does. In place of a TLB
// entry the access holds a reference on the page while it lasts. Guest data is plain data.

import { Map, PAGE_SIZE } from "../layout/map";
import { POOL_LOAD_STATUS } from "../layout/pool";
import { Rcu } from "../sync/grace";
import { Ops, Order } from "../sync/ops";
import { PTE_A, PTE_D, PTE_P } from "../x86/bits";
import { GUP_NO_REFERENCE, Gup } from "./fault";
import { gupFast, gupSlow } from "./gup";
import { putPage } from "./page";
import { userRemapped } from "./remap";
import { HostStatus } from "./status";
import { HostEntry, PTE_SHIFT, pmdSlot } from "./tables";

/** The processor's A and D bits in the leaf for `hva`; a leaf that was zapped meanwhile is left alone. */
function markLeaf(actor: usize, mm: usize, hva: u64, write: bool): void {
  const bits = write ? PTE_A | PTE_D : PTE_A;
  Rcu.readLock(actor);
  while (true) {
    // From the PMD entry at each attempt: a leaf that has just been split is a table now.
    let slot = pmdSlot(mm, hva);
    let entry = slot ? HostEntry.read(slot) : 0;
    if (HostEntry.isTable(entry)) {
      slot = HostEntry.at(HostEntry.pfn(entry), hva, PTE_SHIFT);
      entry = HostEntry.read(slot);
    }
    if ((entry & PTE_P) == 0 || (entry & bits) == bits) break;
    if (Ops.cas<u64>(slot, entry, entry | bits, Order.Full) == entry) break;
  }
  Rcu.readUnlock(actor);
}

/** The page behind `hva`, held, faulted in if need be. */
function holdPage(actor: usize, mm: usize, hva: u64, write: bool): u64 {
  const pfn = gupFast(actor, mm, hva, write);
  let result = pfn ? Gup.found(pfn, write) : gupSlow(actor, mm, hva, write);
  while (Gup.status(result) == HostStatus.Pfnmap) {
    result = userRemapped(actor, mm, hva, write);
    if (Gup.status(result) == HostStatus.Pfnmap) result = gupSlow(actor, mm, hva, write);
  }
  if (Gup.status(result) != HostStatus.Ok) return result;
  markLeaf(actor, mm, hva, write);
  return Gup.pfn(result) < Map.frameCount ? result : Gup.failed(HostStatus.Device);
}

/** The access is over. A remapped pfn was not held: the driver answers for it. */
function releasePage(held: u64, actor: usize): void {
  if ((held & GUP_NO_REFERENCE) == 0) putPage(Map.page(Gup.pfn(held)), actor);
}

/** Bytes from `hva` to the end of its page, at most `length`. */
function chunkAt(hva: u64, length: u32): u32 {
  return min(length, PAGE_SIZE - ((<u32>hva) & (PAGE_SIZE - 1)));
}

/** Copies `length` bytes from hva to `to`. On a fault that cannot be served the bytes before it have been copied. */
export function copyFromUser(actor: usize, mm: usize, hva: u64, to: usize, length: u32): HostStatus {
  while (length) {
    const chunk = chunkAt(hva, length);
    const held = holdPage(actor, mm, hva, false);
    if (Gup.status(held) != HostStatus.Ok) return Gup.status(held);
    const pfn = Gup.pfn(held);
    memory.copy(to, Map.frame(pfn) + ((<usize>hva) & (PAGE_SIZE - 1)), chunk);
    releasePage(held, actor);
    hva += chunk;
    to += chunk;
    length -= chunk;
  }
  return HostStatus.Ok;
}

/** Copies `length` bytes from `from` to hva. */
export function copyToUser(actor: usize, mm: usize, hva: u64, from: usize, length: u32): HostStatus {
  while (length) {
    const chunk = chunkAt(hva, length);
    const held = holdPage(actor, mm, hva, true);
    if (Gup.status(held) != HostStatus.Ok) return Gup.status(held);
    const pfn = Gup.pfn(held);
    memory.copy(Map.frame(pfn) + ((<usize>hva) & (PAGE_SIZE - 1)), from, chunk);
    releasePage(held, actor);
    hva += chunk;
    from += chunk;
    length -= chunk;
  }
  return HostStatus.Ok;
}

/** Load of 1, 2, 4 or 8 bytes, zero-extended. How it ended is in `loadStatus`. */
export function loadUser(actor: usize, mm: usize, hva: u64, size: u32): u64 {
  let value: u64 = 0;
  let status = HostStatus.Ok;
  for (let done: u32 = 0; done < size && status == HostStatus.Ok;) {
    const chunk = chunkAt(hva + done, size - done);
    const held = holdPage(actor, mm, hva + done, false);
    status = Gup.status(held);
    if (status != HostStatus.Ok) break;
    const pfn = Gup.pfn(held);
    const at = Map.frame(pfn) + ((<usize>(hva + done)) & (PAGE_SIZE - 1));
    if (chunk == 8) value = load<u64>(at);
    else if (chunk == 4 && size == 4) value = load<u32>(at);
    else for (let i: u32 = 0; i < chunk; i++) value |= (<u64>load<u8>(at + i)) << ((done + i) << 3);
    releasePage(held, actor);
    done += chunk;
  }
  store<u32>(actor + POOL_LOAD_STATUS, status);
  return status == HostStatus.Ok ? value : 0;
}

/** Store of 1, 2, 4 or 8 bytes. */
export function storeUser(actor: usize, mm: usize, hva: u64, size: u32, value: u64): HostStatus {
  for (let done: u32 = 0; done < size;) {
    const chunk = chunkAt(hva + done, size - done);
    const held = holdPage(actor, mm, hva + done, true);
    if (Gup.status(held) != HostStatus.Ok) return Gup.status(held);
    const pfn = Gup.pfn(held);
    const at = Map.frame(pfn) + ((<usize>(hva + done)) & (PAGE_SIZE - 1));
    if (chunk == 8) store<u64>(at, value);
    else if (chunk == 4 && size == 4) store<u32>(at, <u32>value);
    else for (let i: u32 = 0; i < chunk; i++) store<u8>(at + i, <u8>(value >> ((done + i) << 3)));
    releasePage(held, actor);
    done += chunk;
  }
  return HostStatus.Ok;
}
