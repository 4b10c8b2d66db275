// Reader-writer lock whose readers do not meet: each actor says in a word of its own block that it reads, and a writer
// looks at all of those. Faults on different vCPUs take mmu_lock and mmap_lock for read at every turn; one shared count
// would move between their caches four times a fault.
//
//   0  state     index + 1 of the writer that has the lock or is about to, 0 for none
//   4  waiters   actors that wait for the state to become 0: `contended` is what a long zap asks before it yields
//   8  drainers  writers that sleep until a reader leaves
//
//   reader    mine := 1 ; state 0? then in, else mine := 0 and wait
//   writer    state 0 -> me ; wait until every reader's word is 0
//
// A Dekker pair: the reader sees the writer, or the writer sees the reader. From the moment that a writer has the state,
// new readers stand back, so that a stream of faults cannot starve an invalidation.

import { Map } from "../layout/map";
import { Trap, trap } from "../trap";
import { LockEvents } from "./lock-events";
import { Ops, Order } from "./ops";
import { Owner } from "./spin";
import { park, relax, wakeAll } from "./wait";

const WAITERS: usize = 4;
const DRAINERS: usize = 8;

/** Waits until nobody has the state, or is about to; the caller is counted among the waiters. */
function awaitFree(lock: usize, actor: usize): void {
  let spins: u32 = 0;
  while (true) {
    const seen = Ops.load<u32>(lock, Order.Relaxed);
    if (seen == 0) return;
    if (++spins > Map.spinLimit) park(lock, seen, actor);
    else relax(actor);
  }
}

/** A reader that met a writer: stands back, waits, and tries again. */
function readLockSlow(lock: usize, reader: usize, actor: usize): void {
  if (Ops.load<u32>(lock, Order.Relaxed) == Owner.of(actor)) trap(Trap.LockTwice, lock, actor);
  Ops.add<u32>(lock + WAITERS, 1, Order.Full);
  do {
    standBack(lock, actor + reader);
    awaitFree(lock, actor);
    Ops.store<u32>(actor + reader, 1, Order.Full);
  } while (Ops.load<u32>(lock, Order.Acquire) != 0);
  LockEvents.taken(lock, 0, LockEvents.kindOf(reader));
  Ops.sub<u32>(lock + WAITERS, 1, Order.Full);
}

/** Wakes the writer that may sleep on a reader's word, which has just been cleared. */
function wakeDrainer(lock: usize, word: usize): void {
  if (Ops.load<u32>(lock + DRAINERS, Order.Relaxed)) wakeAll(word);
}

/** Clears the word of a reader that did not get the lock. */
function standBack(lock: usize, word: usize): void {
  Ops.store<u32>(word, 0, Order.Full); // before the look at the drainers: pairs with announce-then-park in drain
  wakeDrainer(lock, word);
}

/** Likewise, of one that had it. */
function leaveRead(lock: usize, word: usize): void {
  Ops.store<u32>(word, 0, Order.Full);
  LockEvents.dropped(lock);
  wakeDrainer(lock, word);
}

function writeLockSlow(lock: usize, actor: usize): void {
  const me = Owner.of(actor);
  if (Ops.load<u32>(lock, Order.Relaxed) == me) trap(Trap.LockTwice, lock, actor);
  Ops.add<u32>(lock + WAITERS, 1, Order.Full);
  do awaitFree(lock, actor);
  while (
    // Full: half of the Dekker pair with the readers' words, as the fast path's.
    Ops.cas<u32>(lock, 0, me, Order.Full) != 0
  );
  Ops.sub<u32>(lock + WAITERS, 1, Order.Full);
}

/** A writer that has the state waits until the readers that were in before it have left. */
function drain(lock: usize, reader: usize, actor: usize): void {
  if (Ops.load<u32>(actor + reader, Order.Relaxed)) trap(Trap.LockTwice, lock, actor);
  for (let i: u32 = 0, n = Map.actorCount; i < n; i++) {
    const word = Map.actor(i) + reader;
    let spins: u32 = 0;
    while (Ops.load<u32>(word, Order.Acquire)) {
      if (++spins <= Map.spinLimit) {
        relax(actor);
        continue;
      }
      Ops.add<u32>(lock + DRAINERS, 1, Order.Full);
      park(word, 1, actor);
      Ops.sub<u32>(lock + DRAINERS, 1, Order.Full);
    }
  }
}

function unlockByOther(lock: usize, actor: usize): void {
  trap(Trap.UnlockByOther, lock, actor);
}

/** rwlock_t; also stands in for rw_semaphore. `reader` is the offset of the lock's word in an actor's block. */
export class RwLock {
  @inline static readLock(lock: usize, reader: usize, actor: usize): void {
    LockEvents.wanted(lock, 0, LockEvents.kindOf(reader));
    Ops.store<u32>(actor + reader, 1, Order.Full);
    if (Ops.load<u32>(lock, Order.Acquire) != 0) readLockSlow(lock, reader, actor);
    else LockEvents.taken(lock, 0, LockEvents.kindOf(reader));
  }
  @inline static readUnlock(lock: usize, reader: usize, actor: usize): void {
    if (Ops.load<u32>(actor + reader, Order.Relaxed) == 0) unlockByOther(lock, actor);
    leaveRead(lock, actor + reader);
  }
  @inline static writeLock(lock: usize, reader: usize, actor: usize): void {
    LockEvents.wanted(lock, 1, LockEvents.kindOf(reader));
    if (Ops.cas<u32>(lock, 0, Owner.of(actor), Order.Full) != 0) writeLockSlow(lock, actor);
    drain(lock, reader, actor);
    LockEvents.taken(lock, 1, LockEvents.kindOf(reader));
  }
  @inline static writeUnlock(lock: usize, actor: usize): void {
    const found = Ops.swap<u32>(lock, 0, Order.Full);
    LockEvents.dropped(lock);
    if (found != Owner.of(actor)) unlockByOther(lock, actor);
    if (Ops.load<u32>(lock + WAITERS, Order.Relaxed)) wakeAll(lock);
  }
  /** For its writer: true while somebody waits for the lock (rwlock_needbreak). */
  @inline static contended(lock: usize): bool {
    return Ops.load<u32>(lock + WAITERS, Order.Relaxed) != 0;
  }
  /** For a reader: true while a writer waits for the readers to leave. */
  @inline static writerWaits(lock: usize): bool {
    return Ops.load<u32>(lock, Order.Relaxed) != 0;
  }
}
