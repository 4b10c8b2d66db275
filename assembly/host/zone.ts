// The buddy allocator: blocks of 2^0 to 2^10 frames, each aligned to its size. A free block is a struct page with the
// Buddy flag, its order, and links to its neighbours on the free list of that order. The lists, and those fields of
// free frames, are plain data of whoever holds zone.lock.
//
// A frame that was never handed out has an all-zero struct page: making a machine touches one line a block.

import { PAGE_EPOCH, PAGE_FLAGS, PAGE_ORDER, PAGE_REFCOUNT, Page, PageFlag } from "../layout/page";
import { Map } from "../layout/map";
import { ZONE_FREE, ZONE_LISTS, ZONE_LOCK, ZONE_MANAGED, ZONE_ORDERS } from "../layout/mm";
import { Note, Notes } from "../note";
import { Ops, Order } from "../sync/ops";
import { Spin } from "../sync/spin";
import { Ensure, Trap } from "../trap";

class FreeList {
  @inline static head(order: u32): u32 {
    return load<u32>(ZONE_LISTS + ((<usize>order) << 2));
  }
  @inline static setHead(order: u32, pfn: u32): void {
    store<u32>(ZONE_LISTS + ((<usize>order) << 2), pfn);
  }
}

export class Zone {
  /** Frames in the buddy lists; exact under zone.lock. */
  @inline static get free(): u32 {
    return Ops.load<u32>(ZONE_FREE, Order.Relaxed);
  }
  @inline static lock(actor: usize): void {
    Spin.lock(ZONE_LOCK, actor);
  }
  @inline static unlock(actor: usize): void {
    Spin.unlock(ZONE_LOCK, actor);
  }
}

function pushBlock(pfn: u32, order: u32): void {
  const page = changetype<Page>(Map.page(pfn));
  const head = FreeList.head(order);
  page.flags |= PageFlag.Buddy;
  page.order = order;
  page.previous = 0;
  page.next = head;
  if (head) changetype<Page>(Map.page(head)).previous = pfn;
  FreeList.setHead(order, pfn);
}

function unlinkBlock(pfn: u32, order: u32): void {
  const page = changetype<Page>(Map.page(pfn));
  if (page.previous) changetype<Page>(Map.page(page.previous)).next = page.next;
  else FreeList.setHead(order, page.next);
  if (page.next) changetype<Page>(Map.page(page.next)).previous = page.previous;
  page.flags &= ~PageFlag.Buddy;
  page.order = 0;
}

/** True if the block of `order` at `pfn` is free as a whole, and not part of a larger one. */
function isFreeBlock(pfn: u32, order: u32): bool {
  if (pfn + (1 << order) > Map.frameCount) return false;
  const page = Map.page(pfn);
  // The frame may belong to anybody, who may change other flags meanwhile: Buddy changes under zone.lock only.
  if ((Ops.load<u32>(page + PAGE_FLAGS, Order.Relaxed) & PageFlag.Buddy) == 0) return false;
  return load<u32>(page + PAGE_ORDER) == order;
}

/** Returns a block to the free lists, merged with its buddies. Refcounts are 0. zone.lock held. */
export function freeBlockLocked(pfn: u32, order: u32, actor: usize): void {
  const flags = Ops.load<u32>(Map.page(pfn) + PAGE_FLAGS, Order.Relaxed);
  Ensure.that((flags & PageFlag.Buddy) == 0, Trap.DoubleFree, pfn, actor);
  Ops.store<u32>(ZONE_FREE, Zone.free + (1 << order), Order.Relaxed);
  while (order < ZONE_ORDERS - 1) {
    const buddy = pfn ^ (1 << order);
    if (!isFreeBlock(buddy, order)) break;
    unlinkBlock(buddy, order);
    pfn &= ~(1 << order);
    order++;
  }
  pushBlock(pfn, order);
}

/** Takes a block off the free lists, split from a larger one if need be; 0 if there is none. zone.lock held. */
export function takeBlockLocked(order: u32): u32 {
  let found = order;
  while (found < ZONE_ORDERS && FreeList.head(found) == 0) found++;
  if (found == ZONE_ORDERS) return 0;
  const pfn = FreeList.head(found);
  unlinkBlock(pfn, found);
  while (found > order) {
    found--;
    pushBlock(pfn + (1 << found), found);
  }
  Ops.store<u32>(ZONE_FREE, Zone.free - (1 << order), Order.Relaxed);
  return pfn;
}

/** Takes the largest block of at most `order`, else splits one: pfn << 4 | its order, or 0. zone.lock held. */
export function takeUpToLocked(order: u32): u32 {
  for (let o = order; <i32>o >= 0; o--) {
    const pfn = FreeList.head(o);
    if (pfn == 0) continue;
    unlinkBlock(pfn, o);
    Ops.store<u32>(ZONE_FREE, Zone.free - (1 << o), Order.Relaxed);
    return (pfn << 4) | o;
  }
  const pfn = takeBlockLocked(order);
  return pfn ? (pfn << 4) | order : 0;
}

/** Puts every frame but the null frame on the free lists. */
export function createZone(actor: usize): void {
  const count = Map.frameCount;
  changetype<Page>(Map.page(0)).flags = PageFlag.Reserved;
  Ops.store<u32>(ZONE_MANAGED, count - 1, Order.Relaxed);
  Zone.lock(actor);
  for (let pfn: u32 = 1; pfn < count;) {
    let order = min<u32>(ctz(pfn), ZONE_ORDERS - 1);
    while (pfn + (1 << order) > count) order--;
    freeBlockLocked(pfn, order, actor);
    pfn += 1 << order;
  }
  Zone.unlock(actor);
}

/** Number of blocks on the free list of `order`, for reports. zone.lock held. */
export function countBlocksLocked(order: u32): u32 {
  let n: u32 = 0;
  for (let pfn = FreeList.head(order); pfn; pfn = changetype<Page>(Map.page(pfn)).next) n++;
  return n;
}

/** The frame changes hands. */
export class Frames {
  /** It is free: translations to it that anybody kept are stale from now on. */
  @inline static release(page: usize): void {
    store<u32>(page + PAGE_EPOCH, load<u32>(page + PAGE_EPOCH) + 1);
    store<u32>(page + PAGE_FLAGS, 0);
  }
  /** Refcount from 0 to `references`: a store, as only the owner of a free frame raises its count; try_get may look on. */
  @inline static claim(page: usize, references: i32, order: u32, actor: usize): void {
    Ensure.that(
      Ops.load<i32>(page + PAGE_REFCOUNT, Order.Relaxed) == 0,
      Trap.AllocOfUsedPage,
      Map.pagePfn(page),
      actor,
    );
    Ops.store<i32>(page + PAGE_REFCOUNT, references, Order.Relaxed);
    Notes.tell(Note.PageAlloc, Map.pagePfn(page), ((<u64>references) << 8) | order);
  }
}
