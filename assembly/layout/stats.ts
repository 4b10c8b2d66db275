import { ACTOR_STATS, ACTOR_WALK } from "./actor";

/**
 * What an actor has done, counted by itself with plain stores and read by the host at any time. One u64 each, in
 * the order of this enum, from `ACTOR_STATS`.
 */
export enum Stat {
  /** Guest accesses (loads, stores, fetches, read-modify-writes) completed. */
  Accesses = 0,
  TlbHits = 1,
  /** Walks of the guest tables. */
  Walks = 2,
  /** Guest page faults delivered to the guest kernel. */
  GuestFaults = 3,
  /** EPT violations that entered the KVM fault path. */
  Faults = 4,
  /** Faults that ended with a leaf installed. */
  FaultsFixed = 5,
  /** Faults that found their leaf already there. */
  FaultsSpurious = 6,
  /** Retries because an invalidation completed since the snapshot. */
  RetriesSeq = 7,
  /** Retries because an invalidation of the gfn was open. */
  RetriesCount = 8,
  /** Retries because the root was obsolete or the slot invalid. */
  RetriesRoot = 9,
  /** Retries because a compare-and-swap lost, or a frozen entry was met. */
  RetriesRace = 10,
  /** Times that a retry slept on an open invalidation. */
  RetryWaits = 11,
  /** Accesses handed to the embedder: no memslot, or a write to a read-only slot. */
  Mmio = 12,
  /** TLB flush requests serviced at entry. */
  TlbFlushes = 13,
  /** Pages the host faulted in on behalf of this actor. */
  HostFaults = 14,
  GupFast = 15,
  GupSlow = 16,
  /** Huge leaves installed. */
  HugeLeaves = 17,
  /** Table pages linked into the secondary MMU. */
  TablesLinked = 18,
  /** Invalidations begun by this actor. */
  Invalidations = 19,
  /** Leaves zapped. */
  LeavesZapped = 20,
  /** Remote flushes sent. */
  RemoteFlushes = 21,
  /** IPIs sent: vCPUs found in guest mode. */
  Ipis = 22,
  /** Times mmu_lock was given up in a zap because others waited. */
  Yields = 23,
  /** Pages unmapped from the host tables. */
  HostUnmaps = 24,
  /** Steps to which the workload's own checks objected: always 0 in a correct machine. */
  IntegrityErrors = 25,
  /** Frames taken from and returned to the buddy allocator. */
  PoolRefills = 26,
  /** Guest exits of any kind. */
  Exits = 27,
  /** Accesses that drew an architectural fault and were given up. */
  AccessFaults = 28,
  /** Faults that failed for good: no memory, no VMA. */
  FaultErrors = 29,
  /** Leaves installed beside the one that a fault asked for. */
  Prefetched = 30,
}
export const STAT_COUNT: u32 = 56;
if (ACTOR_STATS + ((<usize>STAT_COUNT) << 3) > ACTOR_WALK) ERROR("the counters must end before the walk");

/** Adds `n` to a counter of the acting actor. */
export class Stats {
  @inline static add(actor: usize, stat: Stat, n: u64): void {
    store<u64>(
      actor + ACTOR_STATS + ((<usize>stat) << 3),
      load<u64>(actor + ACTOR_STATS + ((<usize>stat) << 3)) + n,
    );
  }
  @inline static read(actor: usize, stat: Stat): u64 {
    return load<u64>(actor + ACTOR_STATS + ((<usize>stat) << 3));
  }
}
