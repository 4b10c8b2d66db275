// Reader-writer lock: three words.
//
//   0  state     bit 31 a writer holds it, bit 30 a writer waits (new readers stand back), bits 15:0 readers
//   4  owner     index + 1 of the writer, for the host to see who died with it
//   8  waiters   actors that wait: `contended` is what a long zap asks before it yields
//
// A waiting writer keeps new readers out, as the kernel's qrwlock does, so that a stream of faults cannot starve an
// invalidation.

import { Trap, trap } from "../trap";
import { Ops, Order } from "./ops";
import { Owner } from "./spin";
import { SPIN_LIMIT, park } from "./wait";

const WRITER: u32 = 1 << 31;
const WRITER_WAITS: u32 = 1 << 30;
const READERS: u32 = 0xffff;
const OWNER: usize = 4;
const WAITERS: usize = 8;

/** A reader that came while a writer holds the lock or waits for it: takes its count back, and queues. */
function readLockSlow(lock: usize, actor: usize): void {
  dropReader(lock, actor);
  if (Ops.load<u32>(lock + OWNER, Order.Relaxed) == Owner.of(actor)) trap(Trap.LockTwice, lock, actor);
  Ops.add<u32>(lock + WAITERS, 1, Order.Full);
  let spins: u32 = 0;
  while (true) {
    const seen = Ops.load<u32>(lock, Order.Relaxed);
    if ((seen & (WRITER | WRITER_WAITS)) == 0) {
      if (Ops.cas<u32>(lock, seen, seen + 1, Order.Acquire) == seen) break;
    } else if (++spins > SPIN_LIMIT) park(lock, seen, actor);
  }
  Ops.sub<u32>(lock + WAITERS, 1, Order.Full);
}

function dropReader(lock: usize, actor: usize): void {
  const found = Ops.sub<u32>(lock, 1, Order.Release);
  if ((found & READERS) == 0) unlockByOther(lock, actor);
  // The last reader wakes a writer; a reader that stood back for the writer wakes with it.
  if (found & WRITER_WAITS && (found & READERS) == 1) wake(lock);
}

function writeLockSlow(lock: usize, actor: usize): void {
  const me = Owner.of(actor);
  if (Ops.load<u32>(lock + OWNER, Order.Relaxed) == me) trap(Trap.LockTwice, lock, actor);
  Ops.add<u32>(lock + WAITERS, 1, Order.Full);
  let spins: u32 = 0;
  while (true) {
    const seen = Ops.load<u32>(lock, Order.Relaxed);
    if ((seen & (WRITER | READERS)) == 0) {
      // Taking it clears WRITER_WAITS; another writer that waits sets it again when it next looks.
      if (Ops.cas<u32>(lock, seen, WRITER, Order.Acquire) == seen) break;
    } else if ((seen & WRITER_WAITS) == 0) {
      Ops.cas<u32>(lock, seen, seen | WRITER_WAITS, Order.Relaxed);
    } else if (++spins > SPIN_LIMIT) park(lock, seen, actor);
  }
  Ops.sub<u32>(lock + WAITERS, 1, Order.Full);
}

function wake(lock: usize): void {
  if (Ops.load<u32>(lock + WAITERS, Order.Full)) atomic.notify(lock, -1);
}

function unlockByOther(lock: usize, actor: usize): void {
  trap(Trap.UnlockByOther, lock, actor);
}

/** rwlock_t; also stands in for rw_semaphore, as its waits sleep when they take long. */
export class RwLock {
  /** By addition, not by compare-and-swap: readers that come at once do not turn each other away. */
  @inline static readLock(lock: usize, actor: usize): void {
    if (Ops.add<u32>(lock, 1, Order.Acquire) & (WRITER | WRITER_WAITS)) readLockSlow(lock, actor);
  }
  @inline static readUnlock(lock: usize, actor: usize): void {
    dropReader(lock, actor);
  }
  @inline static writeLock(lock: usize, actor: usize): void {
    if (Ops.cas<u32>(lock, 0, WRITER, Order.Acquire) != 0) writeLockSlow(lock, actor);
    Ops.store<u32>(lock + OWNER, Owner.of(actor), Order.Relaxed);
  }
  @inline static writeUnlock(lock: usize, actor: usize): void {
    if (Ops.load<u32>(lock + OWNER, Order.Relaxed) != Owner.of(actor)) unlockByOther(lock, actor);
    Ops.store<u32>(lock + OWNER, 0, Order.Relaxed);
    // Bit 30 may have been set meanwhile: it stays, for the writer that set it.
    Ops.and<u32>(lock, ~WRITER, Order.Release);
    wake(lock);
  }
  /** True while somebody waits for the lock: rwlock_needbreak. */
  @inline static contended(lock: usize): bool {
    return Ops.load<u32>(lock + WAITERS, Order.Relaxed) != 0;
  }
  /** True if `actor` holds the lock for write. */
  @inline static writeHeldBy(lock: usize, actor: usize): bool {
    return Ops.load<u32>(lock + OWNER, Order.Relaxed) == Owner.of(actor);
  }
}
