// An actor's own frames: taken and given back without a lock, so that faults on different vCPUs do not meet; and the
// list of pages whose references fall after the next host TLB flush.
//
//     0  Pool        counts, private to the actor
//    32  TABLES      zeroed frames for tables, private
//    96  READY       ready order-0 frames: a stack whose words an actor that finds the zone empty may take
//  2560  GATHER      pfns, private

import { ACTOR_GATHER, ACTOR_POOL, ACTOR_SIZE } from "./actor";

@unmanaged
export class Pool {
  /** Words of the ready stack in use; some may be 0, taken by another actor. */
  readyCount: u32;
  /** Zeroed frames for tables, topped up before a lock is taken (kvm_mmu_topup_memory_cache). */
  tableCount: u32;
  /** pfns at `GATHER_PFNS`. */
  gatherCount: u32;
  /** Row of the VMA that was found last. */
  vmaHint: u32;
  /** `HostStatus` of the last `hostLoad`. */
  loadStatus: u32;
  /** Page-table lock that the actor's present access of user space holds. */
  accessLock: u32;
}
export const POOL_READY_COUNT: usize = ACTOR_POOL + offsetof<Pool>("readyCount");
export const POOL_TABLE_COUNT: usize = ACTOR_POOL + offsetof<Pool>("tableCount");
export const POOL_GATHER_COUNT: usize = ACTOR_POOL + offsetof<Pool>("gatherCount");
export const POOL_VMA_HINT: usize = ACTOR_POOL + offsetof<Pool>("vmaHint");
export const POOL_LOAD_STATUS: usize = ACTOR_POOL + offsetof<Pool>("loadStatus");

export const POOL_ACCESS_LOCK: usize = ACTOR_POOL + offsetof<Pool>("accessLock");

export const POOL_TABLES: usize = ACTOR_POOL + 32;
/** The most tables that one fault can need, with one to spare: five levels, split in two dimensions. */
export const POOL_TABLES_MAX: u32 = 12;

export const POOL_READY: usize = ACTOR_POOL + 96;
export const POOL_READY_MAX: u32 = 192;
/** Frames moved between an actor's stack and the buddy allocator at a time. */
export const POOL_BATCH: u32 = 64;

export const GATHER_PFNS: usize = ACTOR_GATHER;
export const GATHER_MAX: u32 = (ACTOR_SIZE - <u32>ACTOR_GATHER) / 4;

if (ACTOR_POOL + offsetof<Pool>() > POOL_TABLES) ERROR("Pool must end before the table cache");
if (POOL_TABLES + POOL_TABLES_MAX * 4 > POOL_READY) ERROR("the table cache must end before the ready stack");
if (POOL_READY + POOL_READY_MAX * 4 > 2560) ERROR("the ready stack must end before the drive part");
