// mmu_lock as the profile has it: an rwlock that TDP faults take for read, or a spin lock that excludes everybody.

import { GRACE_MMU_READER } from "../layout/control";
import { KVM_MMU_LOCK } from "../layout/kvm";
import { Profiles, Switch } from "../profile";
import { RwLock } from "../sync/rwlock";

export class MmuLock {
  /** For a TDP fault: read where the profile has an rwlock. */
  @inline static lockForFault(actor: usize): void {
    if (Profiles.has(Switch.MmuRwLock)) RwLock.readLock(KVM_MMU_LOCK, GRACE_MMU_READER, actor);
    else RwLock.writeLock(KVM_MMU_LOCK, GRACE_MMU_READER, actor);
  }
  @inline static unlockForFault(actor: usize): void {
    if (Profiles.has(Switch.MmuRwLock)) RwLock.readUnlock(KVM_MMU_LOCK, GRACE_MMU_READER, actor);
    else RwLock.writeUnlock(KVM_MMU_LOCK, actor);
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
