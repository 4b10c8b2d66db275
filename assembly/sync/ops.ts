// Every access to a word that another actor may write goes through here. Two reasons: the optimiser may merge two
// plain loads even of shared memory, and a re-check then silently disappears; and the lab build tells its host the
// ordering that the kernel has at each place. WebAssembly's atomics are sequentially consistent, so in the release
// build `order` costs and changes nothing; weaker behaviour can only be simulated (docs/locking.md). In the embed build
// there is one thread and nobody else: the same operations are plain ones.

import { order as noteOrder } from "../env";

/** Memory orderings of the kernel's operations (Documentation/atomic_t.txt, memory-barriers.txt). */
export enum Order {
  /** READ_ONCE, WRITE_ONCE, atomic_read: no ordering. */
  Relaxed = 0,
  /** smp_load_acquire, the success of a lock. */
  Acquire = 1,
  /** smp_store_release, an unlock. */
  Release = 2,
  /**
   * Value-returning read-modify-writes: ordered with everything before and after. Likewise a store, which stands for one
   * (smp_store_mb). A load has no such order: a barrier says it.
   */
  Full = 3,
  /** Read-modify-writes that return nothing: unordered. */
  None = 4,
}

/** Named barriers. */
export enum Barrier {
  Rmb = 8,
  Wmb = 9,
  Mb = 10,
}

export class Ops {
  @inline static load<T>(address: usize, order: Order): T {
    if (LAB) noteOrder(order);
    return EMBED ? load<T>(address) : atomic.load<T>(address);
  }
  @inline static store<T>(address: usize, value: T, order: Order): void {
    if (LAB) noteOrder(order);
    if (EMBED) store<T>(address, value);
    else atomic.store<T>(address, value);
  }
  /** Adds; returns the old value. */
  @inline static add<T>(address: usize, value: T, order: Order): T {
    if (LAB) noteOrder(order);
    if (EMBED) {
      const old = load<T>(address);
      store<T>(address, <T>(<u64>old + <u64>value));
      return old;
    }
    return atomic.add<T>(address, value);
  }
  /** Subtracts; returns the old value. */
  @inline static sub<T>(address: usize, value: T, order: Order): T {
    if (LAB) noteOrder(order);
    if (EMBED) {
      const old = load<T>(address);
      store<T>(address, <T>(<u64>old - <u64>value));
      return old;
    }
    return atomic.sub<T>(address, value);
  }
  @inline static or<T>(address: usize, value: T, order: Order): T {
    if (LAB) noteOrder(order);
    if (EMBED) {
      const old = load<T>(address);
      store<T>(address, <T>((<u64>old) | (<u64>value)));
      return old;
    }
    return atomic.or<T>(address, value);
  }
  @inline static and<T>(address: usize, value: T, order: Order): T {
    if (LAB) noteOrder(order);
    if (EMBED) {
      const old = load<T>(address);
      store<T>(address, <T>((<u64>old) & (<u64>value)));
      return old;
    }
    return atomic.and<T>(address, value);
  }
  /** Exchanges; returns the old value. */
  @inline static swap<T>(address: usize, value: T, order: Order): T {
    if (LAB) noteOrder(order);
    if (EMBED) {
      const old = load<T>(address);
      store<T>(address, value);
      return old;
    }
    return atomic.xchg<T>(address, value);
  }
  /** Compares and swaps; returns the value found, which equals `expected` on success. */
  @inline static cas<T>(address: usize, expected: T, value: T, order: Order): T {
    if (LAB) noteOrder(order);
    if (EMBED) {
      const old = load<T>(address);
      if (old == expected) store<T>(address, value);
      return old;
    }
    return atomic.cmpxchg<T>(address, expected, value);
  }
  /** A barrier between two accesses. An order of its own only in the explorer's memory models. */
  @inline static barrier(barrier: Barrier): void {
    if (LAB) noteOrder(barrier);
  }
}
