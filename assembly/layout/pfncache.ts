// gfn_to_pfn_cache: a fixed table in struct kvm's page. Each row has lines of its own, as vCPUs and invalidations meet
// in its lock.
//
//   KVM_BASE + 512   gpc_lock, number of rows on the list
//              1024  the rows, 128 bytes each

import { GUEST_BASE } from "./guest";
import { KVM_BASE } from "./kvm";

/** One cache. All but the locks and `listed` is written with `lock` held for write. */
@unmanaged
export class PfnCache {
  /** An rwlock (sync/rwlock.ts). Readers share the word `gpcReader` of their block: nobody uses two caches at a time. */
  lock: u32;
  lockWaiters: u32;
  lockDrainers: u32;
  /** refresh_lock, a mutex: held across the page lookup. */
  refreshLock: u32;
  gpa: u64;
  /** Address of user space behind `gpa`, offset in the page included; 0 if there is none. */
  uhva: u64;
  /** Generation of the memslots that `uhva` comes from. */
  generation: u32;
  /** pfn that was found, 0 for none. */
  pfn: u32;
  /** Where the byte at `gpa` is in this memory, 0 for nowhere. */
  khva: u32;
  active: u32;
  valid: u32;
  /** 1 if the page was found with a reference: only then is its struct page KVM's to mark. */
  counted: u32;
  /** On the list that invalidations look at: gpc_lock. */
  listed: u32;
}
export const GPC_REFRESH_LOCK: usize = offsetof<PfnCache>("refreshLock");
export const GPC_GPA: usize = offsetof<PfnCache>("gpa");
export const GPC_UHVA: usize = offsetof<PfnCache>("uhva");
export const GPC_GENERATION: usize = offsetof<PfnCache>("generation");
export const GPC_PFN: usize = offsetof<PfnCache>("pfn");
export const GPC_KHVA: usize = offsetof<PfnCache>("khva");
export const GPC_ACTIVE: usize = offsetof<PfnCache>("active");
export const GPC_VALID: usize = offsetof<PfnCache>("valid");
export const GPC_COUNTED: usize = offsetof<PfnCache>("counted");
export const GPC_LISTED: usize = offsetof<PfnCache>("listed");

/** gpc_lock, a spin lock: guards which caches are on the list. */
export const KVM_GPC_LOCK: usize = KVM_BASE + 512;
/** Caches on the list. Written with gpc_lock, read by anyone. */
export const KVM_GPC_LISTED: usize = KVM_BASE + 516;

export const KVM_GPCS: usize = KVM_BASE + 1024;
export const GPC_COUNT: u32 = 8;
export const GPC_SHIFT: u32 = 7;

if (offsetof<PfnCache>() > (<usize>1) << GPC_SHIFT) ERROR("a pfn cache must fit its row");
if (KVM_GPCS + ((<usize>GPC_COUNT) << GPC_SHIFT) > GUEST_BASE)
  ERROR("the pfn caches must end before the guest kernel");
