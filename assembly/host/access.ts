// Loads and stores of user space at an hva, through the host tables, faulting as the processor does. In place of a TLB
// entry the access holds the lock of the page-table entry, and a reference on the page, while it lasts. Guest data is
// plain data.

import { Map, PAGE_SIZE } from "../layout/map";
import { POOL_ACCESS_LOCK, POOL_LOAD_STATUS } from "../layout/pool";
import { Note, Notes } from "../note";
import { Rcu } from "../sync/grace";
import { Ops, Order } from "../sync/ops";
import { Spin } from "../sync/spin";
import { PTE_A, PTE_D, PTE_P, PTE_RW } from "../x86/bits";
import { GUP_NO_REFERENCE, Gup } from "./fault";
import { gupFast, gupSlow } from "./gup";
import { putPage } from "./page";
import { userRemapped } from "./remap";
import { HostStatus } from "./status";
import { HostEntry, PTE_SHIFT, pmdSlot } from "./tables";

/** The entry maps the page with the right that is wanted. */
function allows(entry: u64, pfn: u32, hva: u64, huge: bool, write: bool): bool {
  const need = PTE_P | (write ? PTE_RW : 0);
  const offset: u32 = huge ? (<u32>(hva >> PTE_SHIFT)) & 511 : 0;
  return (entry & need) == need && HostEntry.pfn(entry) + offset == pfn;
}

/**
 * Locks the leaf for `hva` and sets the processor's A and D bits in it. False, and nothing locked, if it does not map the
 * page any more, or not with that right. In an RCU section.
 */
function lockLeaf(actor: usize, mm: usize, hva: u64, pfn: u32, write: bool): bool {
  while (true) {
    // From the PMD entry at each attempt: a leaf that has just been split is a table now.
    let slot = pmdSlot(mm, hva);
    if (slot == 0) return false;
    const table = HostEntry.read(slot);
    const huge = !HostEntry.isTable(table);
    if (!huge) slot = HostEntry.at(HostEntry.pfn(table), hva, PTE_SHIFT);
    const lock = HostEntry.lockOf(slot);
    Spin.lock(lock, actor);
    const entry = HostEntry.read(slot);
    if (!(huge && HostEntry.isTable(entry))) {
      if (allows(entry, pfn, hva, huge, write)) {
        const bits = write ? PTE_A | PTE_D : PTE_A;
        if ((entry & bits) != bits) Ops.or<u64>(slot, bits, Order.None);
        store<u32>(actor + POOL_ACCESS_LOCK, <u32>lock);
        return true;
      }
      Spin.unlock(lock, actor);
      return false;
    }
    Spin.unlock(lock, actor);
  }
}

/** The page behind `hva`, faulted in if need be, with a reference if it is counted. */
function findPage(actor: usize, mm: usize, hva: u64, write: bool): u64 {
  const pfn = gupFast(actor, mm, hva, write);
  let result = pfn ? Gup.found(pfn, write) : gupSlow(actor, mm, hva, write);
  while (Gup.status(result) == HostStatus.Pfnmap) {
    result = userRemapped(actor, mm, hva, write);
    if (Gup.status(result) == HostStatus.Pfnmap) result = gupSlow(actor, mm, hva, write);
  }
  return result;
}

/** Gives back what `findPage` took. A remapped pfn was not held: the driver answers for it. */
function putFound(found: u64, actor: usize): void {
  if ((found & GUP_NO_REFERENCE) == 0) putPage(Map.page(Gup.pfn(found)), actor);
}

/**
 * Begins an access of the page behind `hva`: until `releasePage` its entry stays as it is. A change of the entry waits for
 * the access, as it would in its TLB flush for a processor that is in the middle of an instruction: else a store could go
 * to a page that has been copied meanwhile.
 */
function holdPage(actor: usize, mm: usize, hva: u64, write: bool): u64 {
  while (true) {
    const found = findPage(actor, mm, hva, write);
    if (Gup.status(found) != HostStatus.Ok) return found;
    if (Gup.pfn(found) >= Map.frameCount) return Gup.failed(HostStatus.Device);
    Rcu.readLock(actor);
    if (lockLeaf(actor, mm, hva, Gup.pfn(found), write)) return found;
    Rcu.readUnlock(actor);
    putFound(found, actor);
  }
}

/** The access is over. */
function releasePage(held: u64, actor: usize): void {
  Spin.unlock(load<u32>(actor + POOL_ACCESS_LOCK), actor);
  Rcu.readUnlock(actor);
  putFound(held, actor);
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
    const at = Map.frame(pfn) + ((<usize>hva) & (PAGE_SIZE - 1));
    Notes.tell(Note.HostUse, pfn, ((<u64>at) << 1) | 1);
    memory.copy(at, from, chunk);
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
    Notes.tell(Note.HostUse, pfn, ((<u64>at) << 1) | 1);
    if (chunk == 8) store<u64>(at, value);
    else if (chunk == 4 && size == 4) store<u32>(at, <u32>value);
    else for (let i: u32 = 0; i < chunk; i++) store<u8>(at + i, <u8>(value >> ((done + i) << 3)));
    releasePage(held, actor);
    done += chunk;
  }
  return HostStatus.Ok;
}
