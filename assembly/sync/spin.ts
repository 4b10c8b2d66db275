// Spin lock: a word, 0 or the owner's index + 1. On a machine with fewer cores than threads a spinner may wait for
// a holder that is not running, so after a short spin it sleeps in slices; the unlock does not pay for a wake-up.

import { Map } from "../layout/map";
import { LockKind } from "../note";
import { Trap, trap } from "../trap";
import { LockEvents } from "./lock-events";
import { Ops, Order } from "./ops";
import { park, wake } from "./wait";

/** The word that names `actor` as the owner of a lock. */
export class Owner {
  @inline static of(actor: usize): u32 {
    return Map.actorIndex(actor) + 1;
  }
}

/** Sleeping word of a contended spin lock: bit 31 says that somebody may sleep on it. */
const CONTENDED: u32 = 0x80000000;

function lockSlow(lock: usize, actor: usize): void {
  const me = Owner.of(actor);
  if ((Ops.load<u32>(lock, Order.Relaxed) & ~CONTENDED) == me) trap(Trap.LockTwice, lock, actor);
  for (let i: u32 = 0; i < Map.spinLimit; i++) {
    if (Ops.load<u32>(lock, Order.Relaxed) == 0 && Ops.cas<u32>(lock, 0, me, Order.Acquire) == 0) return;
  }
  // From here on the lock is taken with CONTENDED set, so that its release wakes the next sleeper, if there is one.
  while (true) {
    const seen = Ops.load<u32>(lock, Order.Relaxed);
    if (seen == 0) {
      if (Ops.cas<u32>(lock, 0, me | CONTENDED, Order.Acquire) == 0) return;
    } else if (seen & CONTENDED || Ops.cas<u32>(lock, seen, seen | CONTENDED, Order.Relaxed) == seen) {
      park(lock, seen | CONTENDED, actor);
    }
  }
}

function unlockSlow(lock: usize, found: u32, actor: usize): void {
  if ((found & ~CONTENDED) != Owner.of(actor)) trap(Trap.UnlockByOther, lock, actor);
  wake(lock, 1);
}

/** What spinlock_t and struct mutex have in common here: both exclude, both sleep when it takes long. */
class Exclusive {
  @inline static lock(lock: usize, actor: usize, kind: LockKind): void {
    LockEvents.wanted(lock, 1, kind);
    if (Ops.cas<u32>(lock, 0, Owner.of(actor), Order.Acquire) != 0) lockSlow(lock, actor);
    LockEvents.taken(lock, 1, kind);
  }
  @inline static unlock(lock: usize, actor: usize): void {
    const found = Ops.swap<u32>(lock, 0, Order.Release);
    LockEvents.dropped(lock);
    if (found != Owner.of(actor)) unlockSlow(lock, found, actor);
  }
}

/** spinlock_t: its holder does nothing that may sleep. */
export class Spin {
  @inline static lock(lock: usize, actor: usize): void {
    Exclusive.lock(lock, actor, LockKind.Spin);
  }
  @inline static unlock(lock: usize, actor: usize): void {
    Exclusive.unlock(lock, actor);
  }
}

/** struct mutex: its holder may sleep, and so may who wants it. */
export class Mutex {
  @inline static lock(lock: usize, actor: usize): void {
    Exclusive.lock(lock, actor, LockKind.Sleeping);
  }
  @inline static unlock(lock: usize, actor: usize): void {
    Exclusive.unlock(lock, actor);
  }
}
