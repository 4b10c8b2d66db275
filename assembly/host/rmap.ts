// The rmap lock (i_mmap_rwsem), one an mm: whoever looks for the mappings of a file holds it for read, whoever changes
// the VMA table for write. Its order: mmap_lock, a file's invalidate lock, this, then the notifiers. A machine without
// files has nothing to look for, and no lock.

import { GRACE_RMAP_READER } from "../layout/control";
import { Map } from "../layout/map";
import { MM_RMAP_LOCK } from "../layout/mm";
import { RwLock } from "../sync/rwlock";

export class Rmap {
  static lock(actor: usize, mm: usize): void {
    if (Map.fileMax) RwLock.writeLock(mm + MM_RMAP_LOCK, GRACE_RMAP_READER, actor);
  }
  static unlock(actor: usize, mm: usize): void {
    if (Map.fileMax) RwLock.writeUnlock(mm + MM_RMAP_LOCK, actor);
  }
  static lockShared(actor: usize, mm: usize): void {
    RwLock.readLock(mm + MM_RMAP_LOCK, GRACE_RMAP_READER, actor);
  }
  static unlockShared(actor: usize, mm: usize): void {
    RwLock.readUnlock(mm + MM_RMAP_LOCK, GRACE_RMAP_READER, actor);
  }
}
