// A trap ends a machine whose invariants no longer hold: it writes what happened to the header, for the host to turn
// into a sentence, and stops this instance. Misuse by an embedder never gets here: the host checks it first.

import { HEADER_TRAP_ACTOR, HEADER_TRAP_ARGUMENT, HEADER_TRAP_CODE } from "./layout/header";
import { Map } from "./layout/map";

/** Each enumerator names one place in the source; a number is never used for another (12 was). The sentence for it is in src/core/trap.ts. */
export enum Trap {
  None = 0,
  /** A wait was ended by the machine's abort word. */
  Aborted = 1,
  /** put of a page whose refcount was not positive. Argument: pfn. */
  RefcountUnderflow = 2,
  /** The allocator found a free frame with references. Argument: pfn. */
  AllocOfUsedPage = 3,
  /** A free frame no longer holds its poison: somebody wrote to it. Argument: address of the first wrong word. */
  PoisonOverwritten = 4,
  /** A lock was released by an actor that does not hold it. Argument: address of the lock. */
  UnlockByOther = 5,
  /** An actor took a lock that it holds already. Argument: address of the lock. */
  LockTwice = 6,
  /** mmu_invalidate_in_progress would become negative. */
  InProgressUnderflow = 7,
  /** mn_active_invalidate_count would become negative. */
  ActiveUnderflow = 8,
  /** A present leaf would be replaced by one with another pfn. Argument: address of the SPTE. */
  LeafChanged = 9,
  /** An invalidation is open and the range union is the sentinel. */
  RangeSentinel = 10,
  /** A read section was left that had not been entered. */
  GraceUnbalanced = 11,
  /** A per-actor table cache was empty under mmu_lock. */
  TableCacheEmpty = 13,
  /** mapcount would become negative. Argument: pfn. */
  MapcountUnderflow = 14,
  /** A root was put more often than taken. Argument: pfn. */
  RootUnderflow = 15,
  /** A buddy block was freed that is free already. Argument: pfn. */
  DoubleFree = 16,
  /** The gather list was given more pages than it holds. */
  GatherOverflow = 17,
  /** A get of a page whose refcount was 0. Argument: pfn. */
  GetOfFreePage = 18,
  /** A wait was begun in the embed build, whose one thread nobody could wake. Argument: address of the word. */
  WouldWait = 19,
}

/** Records the first trap of the machine and stops the instance. `actor` is an actor's block, or 0. */
export function trap(code: Trap, argument: u64, actor: usize): void {
  const who = actor ? Map.actorIndex(actor) : u32.MAX_VALUE;
  if (EMBED) {
    store<u32>(HEADER_TRAP_CODE, code);
    store<u32>(HEADER_TRAP_ACTOR, who);
    store<u64>(HEADER_TRAP_ARGUMENT, argument);
  } else if (atomic.cmpxchg<u32>(HEADER_TRAP_CODE, 0, code) == 0) {
    atomic.store<u32>(HEADER_TRAP_ACTOR, who);
    atomic.store<u64>(HEADER_TRAP_ARGUMENT, argument);
  }
  unreachable();
}

/** Traps unless `condition` holds. */
export class Ensure {
  @inline static that(condition: bool, code: Trap, argument: u64, actor: usize): void {
    if (!condition) trap(code, argument, actor);
  }
}
