// mmu_gather: pages whose host PTEs are cleared, kept on the actor's list until the host TLB is flushed; only then do
// their references fall. And host tables that were unlinked, freed after a grace period.

import { Map } from "../layout/map";
import { MM_TLB_FLUSHES } from "../layout/mm";
import { PAGE_NEXT } from "../layout/page";
import { GATHER_MAX, GATHER_PFNS, POOL_GATHER_COUNT } from "../layout/pool";
import { Stat, Stats } from "../layout/stats";
import { Note, Notes } from "../note";
import { Rule, Rules } from "../rules";
import { synchronizeRcu } from "../sync/grace";
import { Ops, Order } from "../sync/ops";
import { Trap, trap } from "../trap";
import { putPage } from "./page";

export class Gather {
  @inline static count(actor: usize): u32 {
    return load<u32>(actor + POOL_GATHER_COUNT);
  }
  @inline static full(actor: usize): bool {
    return Gather.count(actor) == GATHER_MAX;
  }
  /** Adds one mapping's reference on a page; pfn 0 stands for a mapping without one, for which only a flush is owed. */
  @inline static add(actor: usize, pfn: u32): void {
    const count = Gather.count(actor);
    if (count == GATHER_MAX) trap(Trap.GatherOverflow, pfn, actor);
    store<u32>(actor + GATHER_PFNS + ((<usize>count) << 2), pfn);
    store<u32>(actor + POOL_GATHER_COUNT, count + 1);
  }
}

/** flush_tlb_mm: no processor of the host uses a translation that the tables no longer hold. */
export function flushHostTlb(actor: usize, mm: usize): void {
  // The accesses of user space (access.ts) hold a reference instead of a TLB entry: the flush is its own event.
  Ops.add<u64>(mm + MM_TLB_FLUSHES, 1, Order.Full);
  Notes.tell(Note.HostFlush, 0, 0);
}

function putGathered(actor: usize): void {
  const count = Gather.count(actor);
  for (let i: u32 = 0; i < count; i++) {
    const pfn = load<u32>(actor + GATHER_PFNS + ((<usize>i) << 2));
    if (pfn) putPage(Map.page(pfn), actor);
  }
  store<u32>(actor + POOL_GATHER_COUNT, 0);
  Stats.add(actor, Stat.HostUnmaps, count);
}

/** tlb_flush_mmu: flush, then drop the references. Pages without further holders are free from here on. */
export function releaseGathered(actor: usize, mm: usize): void {
  if (Gather.count(actor) == 0) return;
  if (Rules.hold(Rule.HostFlushBeforePut)) {
    flushHostTlb(actor, mm);
    putGathered(actor);
  } else {
    putGathered(actor);
    flushHostTlb(actor, mm);
  }
}

/** Frees a list of unlinked tables, linked by page.next, when no lockless walker can be in them. */
export function freeTablesAfterGrace(actor: usize, first: u32): void {
  if (first == 0) return;
  synchronizeRcu(actor);
  for (let pfn = first; pfn;) {
    const page = Map.page(pfn);
    pfn = load<u32>(page + PAGE_NEXT);
    putPage(page, actor);
  }
}
