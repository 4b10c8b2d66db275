// mmu_lock as the profile has it: an rwlock that TDP faults take for read, or a spin lock that excludes everybody.

import { GRACE_MMU_READER } from "../layout/control";
import { KVM_MMU_LOCK } from "../layout/kvm";
import { Profiles, Switch } from "../profile";
import { RwLock } from "../sync/rwlock";

export class MmuLock {
  /** For faults, and for taking an obsolete root apart: read where the profile has an rwlock. */
  @inline static lockShared(actor: usize): void {
    if (Profiles.has(Switch.MmuRwLock)) RwLock.readLock(KVM_MMU_LOCK, GRACE_MMU_READER, actor);
    else RwLock.writeLock(KVM_MMU_LOCK, GRACE_MMU_READER, actor);
  }
  @inline static unlockShared(actor: usize): void {
    if (Profiles.has(Switch.MmuRwLock)) RwLock.readUnlock(KVM_MMU_LOCK, GRACE_MMU_READER, actor);
    else RwLock.writeUnlock(KVM_MMU_LOCK, actor);
  }
  /** For its shared holder: true while somebody waits for it to leave. */
  @inline static sharedContended(): bool {
    if (!Profiles.has(Switch.MmuRwLock)) return RwLock.contended(KVM_MMU_LOCK);
    return RwLock.writerWaits(KVM_MMU_LOCK);
  }
  @inline static lock(actor: usize): void {
    RwLock.writeLock(KVM_MMU_LOCK, GRACE_MMU_READER, actor);
  }
  @inline static unlock(actor: usize): void {
    RwLock.writeUnlock(KVM_MMU_LOCK, actor);
  }
  @inline static contended(): bool {
    return RwLock.contended(KVM_MMU_LOCK);
  }
}
