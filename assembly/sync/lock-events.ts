// What the lab build tells of locks; nothing in the release build. A lock that may sleep tells that as well.

import { GRACE_INVALIDATE_READER, GRACE_MMAP_READER, GRACE_RMAP_READER } from "../layout/control";
import { LockKind, Note, Notes } from "../note";

export class LockEvents {
  /** Kind of an rwlock, by the word of its readers: those of the host are rw_semaphores, KVM's are rwlock_t. */
  @inline static kindOf(reader: usize): LockKind {
    return reader == GRACE_MMAP_READER || reader == GRACE_INVALIDATE_READER || reader == GRACE_RMAP_READER
      ? LockKind.Sleeping
      : LockKind.RwLock;
  }
  @inline static wanted(lock: usize, write: u64, kind: LockKind): void {
    if (kind == LockKind.Sleeping) Notes.tell(Note.MaySleep, lock, 0);
    Notes.tell(Note.LockWanted | (kind << 8), lock, write);
  }
  /** Directly after the access that won it. */
  @inline static taken(lock: usize, write: u64, kind: LockKind): void {
    Notes.tell(Note.LockTaken | (kind << 8), lock, write);
  }
  /** Directly after the access that gives it up. */
  @inline static dropped(lock: usize): void {
    Notes.tell(Note.LockDropped, lock, 0);
  }
}
