// Frames for an actor: its stack of ready order-0 frames, its cache of zeroed tables, and whole blocks.
//
// Only the owner pushes and pops, but a word of the stack changes hands by exchange: an actor that finds the zone empty
// takes frames out of the stacks of others, and an owner that pops a 0 pops again. So no frame is out of reach, and
// the fast path takes no lock. Batches move under zone.lock, as does the search through other stacks: whoever searches
// sees each free frame on a list or on a stack, never between the two.

import { MachineOption } from "../layout/header";
import { Map, PAGE_SIZE } from "../layout/map";
import { PAGE_FLAGS, PAGE_MAPCOUNT, PAGE_ORDER, Page, PageFlag } from "../layout/page";
import {
  POOL_BATCH,
  POOL_READY,
  POOL_READY_COUNT,
  POOL_READY_MAX,
  POOL_TABLES,
  POOL_TABLES_MAX,
  POOL_TABLE_COUNT,
} from "../layout/pool";
import { Stat, Stats } from "../layout/stats";
import { Note, Notes } from "../note";
import { Ops, Order } from "../sync/ops";
import { Trap, trap } from "../trap";
import { poisonFrame, verifyPoison } from "./poison";
import { Frames, Zone, freeBlockLocked, takeBlockLocked, takeUpToLocked } from "./zone";

/** log2 of POOL_BATCH: the largest block that a refill takes. */
const BATCH_ORDER: u32 = 6;
if (POOL_BATCH != 1 << BATCH_ORDER) ERROR("a batch must be a block");

class Ready {
  @inline static count(actor: usize): u32 {
    return load<u32>(actor + POOL_READY_COUNT);
  }
  @inline static setCount(actor: usize, count: u32): void {
    store<u32>(actor + POOL_READY_COUNT, count);
  }
  /** Takes what the word at `index` holds: a pfn, or 0 if another actor was first. Acquire: frame and struct page. */
  @inline static take(actor: usize, index: u32): u32 {
    return Ops.swap<u32>(actor + POOL_READY + ((<usize>index) << 2), 0, Order.Acquire);
  }
  @inline static put(actor: usize, index: u32, pfn: u32): void {
    Ops.store<u32>(actor + POOL_READY + ((<usize>index) << 2), pfn, Order.Release);
  }
}

/** A frame with `references` references, contents arbitrary; 0 if no frame is free anywhere. */
export function allocReferences(actor: usize, references: i32): u32 {
  let count = Ready.count(actor);
  let pfn: u32 = 0;
  while (count && pfn == 0) pfn = Ready.take(actor, --count);
  Ready.setCount(actor, count);
  if (pfn == 0) {
    pfn = refill(actor);
    if (pfn == 0) return 0;
  }
  const page = Map.page(pfn);
  if (Map.has(MachineOption.Poison)) verifyPoison(page, actor);
  Frames.claim(page, references, 0, actor);
  return pfn;
}

/** alloc_page: a frame with one reference, contents arbitrary, or 0. */
export function allocPage(actor: usize): u32 {
  return allocReferences(actor, 1);
}

/** A frame with one reference and all zero, or 0. */
export function allocZeroed(actor: usize): u32 {
  const pfn = allocReferences(actor, 1);
  if (pfn) memory.fill(Map.frame(pfn), 0, PAGE_SIZE);
  return pfn;
}

/** Moves a batch from the zone, or from other actors, to the empty stack; returns one of the frames, 0 if none. */
function refill(actor: usize): u32 {
  Stats.add(actor, Stat.PoolRefills, 1);
  Zone.lock(actor);
  let count: u32 = 0;
  while (count < POOL_BATCH) {
    const block = takeUpToLocked(31 - clz(POOL_BATCH - count));
    if (block == 0) break;
    // Highest first, so that the stack hands frames out in ascending order.
    const first = block >> 4;
    for (let i: u32 = 1 << (block & 15); i > 0; i--) Ready.put(actor, count++, first + i - 1);
  }
  if (count == 0) count = stealLocked(actor);
  // Another actor may come for these frames only with zone.lock: the first pop is certain while we hold it.
  const pfn = count ? Ready.take(actor, --count) : 0;
  Ready.setCount(actor, count);
  Zone.unlock(actor);
  return pfn;
}

/** Fills the empty stack, up to a batch, with ready frames of other actors. zone.lock held. */
function stealLocked(actor: usize): u32 {
  let count: u32 = 0;
  for (let i: u32 = 0, n = Map.actorCount; i < n && count < POOL_BATCH; i++) {
    const other = Map.actor(i);
    if (other == actor) continue;
    for (let index: u32 = 0; index < POOL_READY_MAX && count < POOL_BATCH; index++) {
      if (Ops.load<u32>(other + POOL_READY + ((<usize>index) << 2), Order.Relaxed) == 0) continue;
      const pfn = Ready.take(other, index);
      if (pfn) Ready.put(actor, count++, pfn);
    }
  }
  return count;
}

/** Gives a frame back: refcount is 0 and the epoch has advanced. */
export function freeFrame(page: usize, actor: usize): void {
  Notes.tell(Note.PageFree, Map.pagePfn(page), 0);
  Frames.release(page);
  if (Map.has(MachineOption.Poison)) poisonFrame(page);
  if (Ready.count(actor) == POOL_READY_MAX) drainBatch(actor);
  const count = Ready.count(actor);
  Ready.put(actor, count, Map.pagePfn(page));
  Ready.setCount(actor, count + 1);
}

/** Moves the upper batch of the full stack to the zone. */
function drainBatch(actor: usize): void {
  Stats.add(actor, Stat.PoolRefills, 1);
  let count = Ready.count(actor);
  Zone.lock(actor);
  for (let i: u32 = 0; i < POOL_BATCH; i++) {
    const pfn = Ready.take(actor, --count);
    if (pfn) freeBlockLocked(pfn, 0, actor);
  }
  Zone.unlock(actor);
  Ready.setCount(actor, count);
}

/** drain_all_pages: moves every ready frame of every actor to the zone, where they merge to blocks. zone.lock held. */
function drainAllLocked(actor: usize): void {
  for (let i: u32 = 0, n = Map.actorCount; i < n; i++) {
    const other = Map.actor(i);
    for (let index: u32 = 0; index < POOL_READY_MAX; index++) {
      if (Ops.load<u32>(other + POOL_READY + ((<usize>index) << 2), Order.Relaxed) == 0) continue;
      const pfn = Ready.take(other, index);
      if (pfn) freeBlockLocked(pfn, 0, actor);
    }
  }
}

/** Moves every ready frame to the zone. */
export function drainAll(actor: usize): void {
  Zone.lock(actor);
  drainAllLocked(actor);
  Zone.unlock(actor);
}

/** Frames that nobody holds: those of the zone and those that are ready. */
export function freeFrames(): u32 {
  let n = Zone.free;
  for (let i: u32 = 0, actors = Map.actorCount; i < actors; i++) {
    const ready = Map.actor(i) + POOL_READY;
    for (let index: u32 = 0; index < POOL_READY_MAX; index++) {
      n += u32(Ops.load<u32>(ready + ((<usize>index) << 2), Order.Relaxed) != 0);
    }
  }
  return n;
}

/** 2^order frames off the free lists, their poison verified; 0 if no block is free. */
export function takeVerifiedBlock(actor: usize, order: u32): u32 {
  Zone.lock(actor);
  let pfn = takeBlockLocked(order);
  if (pfn == 0) {
    drainAllLocked(actor);
    pfn = takeBlockLocked(order);
  }
  Zone.unlock(actor);
  if (pfn && Map.has(MachineOption.Poison)) {
    for (let i: u32 = 0; i < <u32>(1 << order); i++) verifyPoison(Map.page(pfn + i), actor);
  }
  return pfn;
}

/** A compound page of 2^order frames with one reference on its head, contents arbitrary; 0 if no block is free. */
export function allocBlock(actor: usize, order: u32): u32 {
  const pfn = takeVerifiedBlock(actor, order);
  if (pfn == 0) return 0;
  const frames: u32 = 1 << order;
  for (let i: u32 = 1; i < frames; i++) {
    const tail = changetype<Page>(Map.page(pfn + i));
    tail.flags = PageFlag.Tail;
    tail.head = pfn;
  }
  const page = Map.page(pfn);
  store<u32>(page + PAGE_ORDER, order);
  if (order) store<u32>(page + PAGE_FLAGS, PageFlag.Head);
  Frames.claim(page, 1, order, actor);
  return pfn;
}

/** Gives a compound page back: the refcount of its head is 0. Every frame of it changes hands. */
export function freeCompound(page: usize, actor: usize): void {
  const pfn = Map.pagePfn(page);
  const order = load<u32>(page + PAGE_ORDER);
  Notes.tell(Note.PageFree, pfn, order);
  for (let i: u32 = 0, frames: u32 = 1 << order; i < frames; i++) {
    const part = Map.page(pfn + i);
    changetype<Page>(part).head = 0;
    Frames.release(part);
    if (Map.has(MachineOption.Poison)) poisonFrame(part);
  }
  store<u32>(page + PAGE_ORDER, 0);
  Zone.lock(actor);
  freeBlockLocked(pfn, order, actor);
  Zone.unlock(actor);
}

/** Makes sure that `n` tables can be taken without an allocation. False if out of frames. */
export function topUpTables(actor: usize, n: u32): bool {
  let count = load<u32>(actor + POOL_TABLE_COUNT);
  while (count < n) {
    const pfn = allocZeroed(actor);
    if (pfn == 0) return false;
    store<u32>(Map.page(pfn) + PAGE_FLAGS, PageFlag.KvmTable);
    store<u32>(actor + POOL_TABLES + ((<usize>count) << 2), pfn);
    store<u32>(actor + POOL_TABLE_COUNT, ++count);
  }
  return true;
}

/** A zeroed frame with one reference from the actor's cache, which the caller has topped up. */
export function takeTable(actor: usize): u32 {
  const count = load<u32>(actor + POOL_TABLE_COUNT);
  if (count == 0) trap(Trap.TableCacheEmpty, 0, actor);
  store<u32>(actor + POOL_TABLE_COUNT, count - 1);
  return load<u32>(actor + POOL_TABLES + ((<usize>(count - 1)) << 2));
}

/** Returns a table that was not used and is still zero. */
export function giveTable(actor: usize, pfn: u32): void {
  const count = load<u32>(actor + POOL_TABLE_COUNT);
  const page = Map.page(pfn);
  if (count < POOL_TABLES_MAX) {
    store<u32>(page + PAGE_FLAGS, PageFlag.KvmTable);
    store<u32>(actor + POOL_TABLES + ((<usize>count) << 2), pfn);
    store<u32>(actor + POOL_TABLE_COUNT, count + 1);
    return;
  }
  store<i32>(page + PAGE_MAPCOUNT, 0);
  dropTable(page, actor);
}

/** The one reference on a table that nobody else can have seen. */
function dropTable(page: usize, actor: usize): void {
  const old = Ops.sub<i32>(page, 1, Order.Full);
  Notes.tell(Note.PagePut, Map.pagePfn(page), old - 1);
  if (old != 1) trap(Trap.RefcountUnderflow, Map.pagePfn(page), actor);
  freeFrame(page, actor);
}
