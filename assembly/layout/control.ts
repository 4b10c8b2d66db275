import { ACTOR_CONTROL, ACTOR_GRACE } from "./actor";

/** First line of an actor: the words that others write. */
@unmanaged
export class Control {
  /** `VcpuMode`. Stored by the owner; others may only compare-and-swap InGuest to Exiting. */
  mode: u32;
  /** `Request` bits: set by anyone, consumed by the owner. Polled at every guest access. */
  requests: u32;
  /** Actors that sleep until `mode` changes. */
  modeWaiters: u32;
  /** `ActorState`: set by the host as threads come and go. */
  state: u32;
}

/** Second line: read by those who wait for a grace period or for readers of a lock, written by the owner only. */
@unmanaged
export class Grace {
  /** SRCU (memslots): epoch in which the owner entered its read section, 0 outside. */
  srcu: u32;
  /** RCU (page-table pages): likewise. */
  rcu: u32;
  /** Depth of nested RCU sections; private. */
  rcuDepth: u32;
  /** Depth of nested SRCU sections; private. */
  srcuDepth: u32;
  /** 1 while the owner holds mmu_lock for read (sync/rwlock.ts); read by writers of that lock. */
  mmuReader: u32;
  /** 1 while it holds mmap_lock for read. */
  mmapReader: u32;
  /** 1 while it holds the lock of a gfn_to_pfn_cache for read. */
  gpcReader: u32;
  /** 1 while it holds a file's invalidate lock for read. One at a time: a writer of any file's waits for it. */
  invalidateReader: u32;
  /** 1 while it holds the rmap lock (i_mmap) for read. */
  rmapReader: u32;
}

export const CONTROL_MODE: usize = ACTOR_CONTROL + offsetof<Control>("mode");
export const CONTROL_REQUESTS: usize = ACTOR_CONTROL + offsetof<Control>("requests");
export const CONTROL_MODE_WAITERS: usize = ACTOR_CONTROL + offsetof<Control>("modeWaiters");
export const CONTROL_STATE: usize = ACTOR_CONTROL + offsetof<Control>("state");
export const GRACE_SRCU: usize = ACTOR_GRACE + offsetof<Grace>("srcu");
export const GRACE_RCU: usize = ACTOR_GRACE + offsetof<Grace>("rcu");
export const GRACE_RCU_DEPTH: usize = ACTOR_GRACE + offsetof<Grace>("rcuDepth");
export const GRACE_MMU_READER: usize = ACTOR_GRACE + offsetof<Grace>("mmuReader");
export const GRACE_MMAP_READER: usize = ACTOR_GRACE + offsetof<Grace>("mmapReader");
export const GRACE_GPC_READER: usize = ACTOR_GRACE + offsetof<Grace>("gpcReader");
export const GRACE_INVALIDATE_READER: usize = ACTOR_GRACE + offsetof<Grace>("invalidateReader");
export const GRACE_RMAP_READER: usize = ACTOR_GRACE + offsetof<Grace>("rmapReader");
export const GRACE_SRCU_DEPTH: usize = ACTOR_GRACE + offsetof<Grace>("srcuDepth");

/** vcpu.mode (Documentation/virt/kvm/vcpu-requests.rst). */
export enum VcpuMode {
  OutsideGuest = 0,
  InGuest = 1,
  ExitingGuest = 2,
  ReadingShadowPageTables = 3,
}

/** vcpu.requests bits. */
export enum Request {
  /** Empty the TLB before the next entry. */
  TlbFlush = 1 << 0,
  /** Drop roots that a memslot update has made obsolete, and load a new one. */
  FreeObsoleteRoots = 1 << 1,
  /** Leave guest mode and return to the embedder. */
  Exit = 1 << 2,
}

export enum ActorState {
  Idle = 0,
  Running = 1,
  Dead = 2,
}

if (offsetof<Control>() > 128) ERROR("Control must fit its line pair");
if (offsetof<Grace>() > 128) ERROR("Grace must fit its line pair");
