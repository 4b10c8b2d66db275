// Blocks of frames that are not made compound pages (alloc_pages without __GFP_COMP): the first frame has a reference
// count, the later ones have 0 for as long as the block is in use, and nothing leads from them to the first. A driver
// gets such a block and maps it with remap_pfn_range.

import { MachineOption } from "../layout/header";
import { Map } from "../layout/map";
import { PAGE_FLAGS, PAGE_REFCOUNT, PageFlag } from "../layout/page";
import { Note, Notes } from "../note";
import { Ops, Order } from "../sync/ops";
import { Ensure, Trap } from "../trap";
import { poisonFrame } from "./poison";
import { takeVerifiedBlock } from "./pool";
import { Frames, Zone, freeBlockLocked } from "./zone";

/** 2^order frames, the first with one reference, contents arbitrary; 0 if no block is free. */
export function allocRaw(actor: usize, order: u32): u32 {
  const pfn = takeVerifiedBlock(actor, order);
  if (pfn == 0) return 0;
  for (let i: u32 = 1; i < <u32>(1 << order); i++) {
    store<u32>(Map.page(pfn + i) + PAGE_FLAGS, PageFlag.NotRefcounted);
  }
  Frames.claim(Map.page(pfn), 1, order, actor);
  return pfn;
}

/** Frees 2^order frames at `pfn`, whatever the counts of the later ones: nobody looks at them. */
function freeFrames(actor: usize, pfn: u32, order: u32): void {
  for (let i: u32 = 0; i < <u32>(1 << order); i++) {
    const page = Map.page(pfn + i);
    Frames.release(page);
    if (Map.has(MachineOption.Poison)) poisonFrame(page);
  }
  Notes.tell(Note.PageFree, pfn, order);
  Zone.lock(actor);
  freeBlockLocked(pfn, order, actor);
  Zone.unlock(actor);
}

/**
 * __free_pages: drops the reference on the first frame. If it was the last, the block is free; if somebody else holds that
 * frame, it stays with him, and the rest is free.
 */
export function freeRaw(actor: usize, pfn: u32, order: u32): void {
  const old = Ops.sub<i32>(Map.page(pfn) + PAGE_REFCOUNT, 1, Order.Full);
  Ensure.that(old > 0, Trap.RefcountUnderflow, pfn, actor);
  Notes.tell(Note.PagePut, pfn, <u64>(old - 1));
  if (old == 1) freeFrames(actor, pfn, order);
  else while (order > 0) freeFrames(actor, pfn + (1 << --order), order);
}
