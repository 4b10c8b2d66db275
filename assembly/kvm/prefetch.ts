// direct_pte_prefetch: a fault that has installed a 4 KiB leaf fills the entries beside it, as far as the host has pages
// there. No snapshot is taken for them: mmu_lock is held from a moment at which no invalidation was open, so that one
// that begins now waits for the lock and then zaps them. The page lookup is the lockless one, the only one that may run
// under mmu_lock, and asks for a writable page, as a read could keep a side of a copy-on-write that is being left.

import { Fault } from "../layout/fault";
import { MachineOption } from "../layout/header";
import { KVM_INVALIDATE_IN_PROGRESS } from "../layout/kvm";
import { Map } from "../layout/map";
import { MM_BASE } from "../layout/mm";
import { Slot, SlotFlag } from "../layout/slot";
import { Stat, Stats } from "../layout/stats";
import { gupFast } from "../host/gup";
import { putPage } from "../host/page";
import { Note, Notes } from "../note";
import { Rule, Rules } from "../rules";
import { Ops, Order } from "../sync/ops";
import { Index, SPTE_A, SPTE_NONPRESENT, Spte } from "./spte";

/**
 * Fills the group around the entry that `fault` installed in `table`. mmu_lock is held, in an RCU section. Needs accessed
 * flags: without them a leaf that nobody used could not be told from one in use.
 */
export function prefetchLocked(actor: usize, fault: Fault, table: usize): void {
  if (!Map.has(MachineOption.EptAccessedDirty)) return;
  // The fault's own gfn is outside of the open ranges; its neighbours may be inside (Z16).
  const open = Ops.load<u32>(KVM_INVALIDATE_IN_PROGRESS, Order.Relaxed) != 0;
  if (open && Rules.hold(Rule.PrefetchSkipsOpenRange)) return;
  const slot = changetype<Slot>(<usize>fault.slot);
  if (slot.flags & SlotFlag.ReadOnly) return;
  const group = <u64>Map.prefetchGroup;
  const first = fault.gfn & ~(group - 1);
  for (let gfn = first; gfn < first + group; gfn++) {
    if (gfn != fault.gfn && gfn - slot.baseGfn < slot.npages)
      prefetchOne(actor, fault.root, table, slot, gfn);
  }
}

function prefetchOne(actor: usize, root: u32, table: usize, slot: Slot, gfn: u64): void {
  const sptep = table + Index.of(gfn, 12);
  if (Ops.load<u64>(sptep, Order.Acquire) != SPTE_NONPRESENT) return;
  const pfn = gupFast(actor, MM_BASE, slot.hva + ((gfn - slot.baseGfn) << 12), true);
  if (pfn == 0) return;
  const spte = Spte.make(pfn, 12, true, true, false) & ~SPTE_A;
  if (Ops.cas<u64>(sptep, SPTE_NONPRESENT, spte, Order.Full) == SPTE_NONPRESENT) {
    Notes.tell(Note.SpteLeaf | (root << 16), gfn | ((<u64>12) << 56), spte);
    Stats.add(actor, Stat.Prefetched, 1);
  }
  putPage(Map.page(pfn), actor);
}
