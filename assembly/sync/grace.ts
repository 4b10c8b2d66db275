// Grace periods. A reader publishes the epoch in which it entered; whoever must outlast the readers raises the epoch
// and waits until no reader of an older one is left. One pair of words for SRCU (memslots) and one for RCU
// (page-table pages); docs/locking.md says what each protects.
//
//   reader    e := epoch ; mine := e ; ... dereference ... ; mine := 0
//   updater   unpublish ; epoch++ ; wait for every `mine` to be 0 or >= the new epoch
//
// A reader that loaded the old epoch but had not stored it when the updater looked dereferences after its store, hence
// after the unpublishing: it finds the new state. It delays a later grace period, never escapes an earlier one.

import { GRACE_RCU, GRACE_RCU_DEPTH, GRACE_SRCU, GRACE_SRCU_DEPTH } from "../layout/control";
import { KVM_RCU_EPOCH, KVM_SRCU_EPOCH } from "../layout/kvm";
import { Map } from "../layout/map";
import { Note, Notes } from "../note";
import { Trap, trap } from "../trap";
import { Ops, Order } from "./ops";
import { park } from "./wait";

/** Waits until every actor is outside, or has entered at `epoch` or later. */
function waitForReaders(word: usize, epoch: u32, actor: usize): void {
  for (let i: u32 = 0, n = Map.actorCount; i < n; i++) {
    const other = Map.actor(i);
    if (other == actor) continue;
    let spins: u32 = 0;
    while (true) {
      const seen = Ops.load<u32>(other + word, Order.Acquire);
      if (seen == 0 || <i32>(seen - epoch) >= 0) break;
      // Nobody notifies this word: readers leave without looking. The slice bounds the delay.
      if (++spins > Map.spinLimit) park(other + word, seen, actor);
    }
  }
}

/** Begins a grace period: returns the epoch that no reader may be older than when it ends. */
function beginGrace(epochWord: usize): u32 {
  // Odd from the start, and by twos: never 0, which means "outside", however often it wraps.
  return Ops.add<u32>(epochWord, 2, Order.Full) + 2;
}

/** True if no actor is still inside a section older than `epoch`. */
function graceElapsed(word: usize, epoch: u32): bool {
  for (let i: u32 = 0, n = Map.actorCount; i < n; i++) {
    const seen = Ops.load<u32>(Map.actor(i) + word, Order.Acquire);
    if (seen != 0 && <i32>(seen - epoch) < 0) return false;
  }
  return true;
}

function unbalanced(actor: usize): void {
  trap(Trap.GraceUnbalanced, 0, actor);
}

/** First argument of the events of read sections. */
const SRCU: u64 = 0;
const RCU: u64 = 1;

/** A read section of either kind: its words are `word` and `depth` of the actor's block, and the epoch. */
class Section {
  @inline static enter(actor: usize, word: usize, depth: usize, epoch: usize, kind: u64): void {
    const before = load<u32>(actor + depth);
    store<u32>(actor + depth, before + 1);
    if (before != 0) return;
    Ops.store<u32>(actor + word, Ops.load<u32>(epoch, Order.Relaxed), Order.Full);
    Notes.tell(Note.ReadEnter, kind, 0);
  }
  @inline static leave(actor: usize, word: usize, depth: usize, kind: u64): void {
    const after = load<u32>(actor + depth) - 1;
    if (<i32>after < 0) unbalanced(actor);
    store<u32>(actor + depth, after);
    if (after != 0) return;
    Ops.store<u32>(actor + word, 0, Order.Release);
    Notes.tell(Note.ReadLeave, kind, 0);
  }
}

/** kvm.srcu: held by a vCPU whenever it is outside guest mode and may look at memslots. */
export class Srcu {
  @inline static readLock(actor: usize): void {
    Section.enter(actor, GRACE_SRCU, GRACE_SRCU_DEPTH, KVM_SRCU_EPOCH, SRCU);
  }
  @inline static readUnlock(actor: usize): void {
    Section.leave(actor, GRACE_SRCU, GRACE_SRCU_DEPTH, SRCU);
  }
}

/** synchronize_srcu(&kvm.srcu). Not to be called inside a section: it would wait for itself. */
export function synchronizeSrcu(actor: usize): void {
  if (load<u32>(actor + GRACE_SRCU_DEPTH)) unbalanced(actor);
  Notes.tell(Note.MaySleep, KVM_SRCU_EPOCH, 0);
  waitForReaders(GRACE_SRCU, beginGrace(KVM_SRCU_EPOCH), actor);
}

/** RCU for page-table pages: held by lockless walkers of host and TDP tables. */
export class Rcu {
  @inline static readLock(actor: usize): void {
    Section.enter(actor, GRACE_RCU, GRACE_RCU_DEPTH, KVM_RCU_EPOCH, RCU);
  }
  @inline static readUnlock(actor: usize): void {
    Section.leave(actor, GRACE_RCU, GRACE_RCU_DEPTH, RCU);
  }
}

/** For a deferred free: the epoch that every reader must have reached before the free. */
export function rcuBegin(): u32 {
  return beginGrace(KVM_RCU_EPOCH);
}

/** True if the grace period that began with `epoch` is over. */
export function rcuElapsed(epoch: u32): bool {
  return graceElapsed(GRACE_RCU, epoch);
}

/** synchronize_rcu. */
export function synchronizeRcu(actor: usize): void {
  if (load<u32>(actor + GRACE_RCU_DEPTH)) unbalanced(actor);
  Notes.tell(Note.MaySleep, KVM_RCU_EPOCH, 0);
  waitForReaders(GRACE_RCU, beginGrace(KVM_RCU_EPOCH), actor);
}
