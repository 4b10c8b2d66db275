import { ACTOR_GATHER, ACTOR_POOL, ACTOR_SIZE } from "./actor";

/** An actor's own frames: taken and given back without a lock, so that faults on different vCPUs do not meet. */
@unmanaged
export class Pool {
  /** Ready order-0 frames, a stack of pfns at `POOL_READY`. */
  readyCount: u32;
  /** Zeroed frames for tables, topped up before a lock is taken (kvm_mmu_topup_memory_cache). */
  tableCount: u32;
  /** pfns at `GATHER_PFNS`. */
  gatherCount: u32;
}
export const POOL_READY: usize = ACTOR_POOL + 64;
export const POOL_READY_MAX: u32 = 192;
/** Frames moved between an actor's stack and the buddy allocator at a time. */
export const POOL_BATCH: u32 = 64;
export const POOL_TABLES: usize = ACTOR_POOL + 16;
/** The most tables that one fault can need, with one to spare: five levels, split in two dimensions. */
export const POOL_TABLES_MAX: u32 = 12;

export const GATHER_PFNS: usize = ACTOR_GATHER;
export const GATHER_MAX: u32 = (ACTOR_SIZE - <u32>ACTOR_GATHER) / 4;
if (POOL_READY + POOL_READY_MAX * 4 > 2560) ERROR("the ready stack must end before the drive part");
if (POOL_TABLES + POOL_TABLES_MAX * 4 > POOL_READY) ERROR("the table cache must end before the ready stack");
