// Has an invalidation run, or is one running, since the snapshot? The heart of the protocol (docs/protocol.md).

import { ACTOR_FAULT } from "../layout/actor";
import { Fault } from "../layout/fault";
import {
  KVM_INVALIDATE_ENDS,
  KVM_INVALIDATE_IN_PROGRESS,
  KVM_INVALIDATE_RANGE_END,
  KVM_INVALIDATE_RANGE_START,
  KVM_INVALIDATE_SEQ,
} from "../layout/kvm";
import { Profiles, Switch } from "../profile";
import { Rule, Rules } from "../rules";
import { Barrier, Ops, Order } from "../sync/ops";

/** Why a fault must start again. */
export enum RetryReason {
  None = 0,
  /** An invalidation that may concern the gfn is open. */
  Count = 1,
  /** One has completed since the snapshot. seq is global: it may have been any gfn's. */
  Seq = 2,
}

/**
 * mmu_invalidate_retry_gfn. Final under mmu_lock; before it, a hint that may be wrong either way. Count first: it is
 * lowered after the sequence is raised, so a reader that misses the count finds the new sequence.
 */
export function retryReason(actor: usize): RetryReason {
  const fault = changetype<Fault>(actor + ACTOR_FAULT);
  if (Rules.hold(Rule.CountChecked)) {
    // Before the count: whatever this check finds open raises it when it ends.
    fault.waitEnds = Ops.load<u32>(KVM_INVALIDATE_ENDS, Order.Acquire);
    if (Ops.load<u32>(KVM_INVALIDATE_IN_PROGRESS, Order.Relaxed) != 0 && inOpenRange(fault.gfn)) {
      return RetryReason.Count;
    }
  }
  // Pairs with the write barrier between seq and count in invalidateEnd.
  if (Rules.hold(Rule.SeqCountBarriers)) Ops.barrier(Barrier.Rmb);
  if (Rules.hold(Rule.SeqChecked) && Ops.load<u32>(KVM_INVALIDATE_SEQ, Order.Relaxed) != fault.seq) {
    return RetryReason.Seq;
  }
  return RetryReason.None;
}

/** An invalidation is open: may it concern `gfn`? An empty union (the sentinel) says nothing, so it may. */
function inOpenRange(gfn: u64): bool {
  if (!Profiles.has(Switch.RangeRetry)) return true;
  const start = Ops.load<u64>(KVM_INVALIDATE_RANGE_START, Order.Relaxed);
  const end = Ops.load<u64>(KVM_INVALIDATE_RANGE_END, Order.Relaxed);
  return start >= end || (gfn >= start && gfn < end);
}
