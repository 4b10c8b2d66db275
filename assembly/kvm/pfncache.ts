// gfn_to_pfn_cache: a guest page that KVM uses by its address again and again, without a reference. In its place an
// invalidation clears `valid`, and waits for whoever is using the page: uses hold the cache's lock for read.
//
//   use         lock (read) ; check, else unlock, refresh, again ; access ; unlock
//   refresh     refresh_lock ; lock (write) ; hva ; valid := 0 ; loop { seq ; unlock ; gup ; lock } until nothing is
//               open and seq is what it was ; valid := 1 ; put the page ; unlock
//   start       active++ ; per cache: lock (write), valid := 0 if in the range, unlock ; then mmu_lock
//
// The kernel has these since 5.17; here every profile has them, on one set of data structures. Dirty logging and caches
// of a host-virtual address alone are not emulated: a use marks the host's page dirty.

import { ACTOR_FAULT } from "../layout/actor";
import { GRACE_GPC_READER } from "../layout/control";
import { Fault } from "../layout/fault";
import {
  KVM_INVALIDATE_IN_PROGRESS,
  KVM_INVALIDATE_ENDS,
  KVM_INVALIDATE_SEQ,
  KVM_MN_ACTIVE_COUNT,
  KVM_MN_ACTIVE_WAITERS,
} from "../layout/kvm";
import { Map, PAGE_SIZE } from "../layout/map";
import {
  GPC_ACTIVE,
  GPC_COUNT,
  GPC_COUNTED,
  GPC_GENERATION,
  GPC_GPA,
  GPC_KHVA,
  GPC_LISTED,
  GPC_PFN,
  GPC_REFRESH_LOCK,
  GPC_SHIFT,
  GPC_UHVA,
  GPC_VALID,
  KVM_GPCS,
  KVM_GPC_LISTED,
  KVM_GPC_LOCK,
} from "../layout/pfncache";
import { Slot } from "../layout/slot";
import { GUP_NO_REFERENCE, Gup } from "../host/fault";
import { headOf } from "../host/page";
import { HostStatus } from "../host/status";
import { Note, Notes } from "../note";
import { Rule, Rules } from "../rules";
import { Srcu } from "../sync/grace";
import { Barrier, Ops, Order } from "../sync/ops";
import { RwLock } from "../sync/rwlock";
import { Mutex, Spin } from "../sync/spin";
import { waitWhileEqual } from "../sync/wait";
import { loadSized, storeSized } from "./access";
import { waitWhileOpen } from "./fault";
import { Slots, findSlotIn } from "./memslots";
import { lookUp, markDirty, putFound } from "./release";
import { KvmStatus, Status } from "./status";

const OFFSET_MASK: u64 = PAGE_SIZE - 1;

/** A cache by number; its words, and its lock. */
class Gpc {
  @inline static at(cache: u32): usize {
    return KVM_GPCS + ((<usize>cache) << GPC_SHIFT);
  }
  @inline static number(gpc: usize): u32 {
    return <u32>((gpc - KVM_GPCS) >> GPC_SHIFT);
  }
  @inline static word(gpc: usize, field: usize): u32 {
    return Ops.load<u32>(gpc + field, Order.Relaxed);
  }
  @inline static setWord(gpc: usize, field: usize, value: u32): void {
    Ops.store<u32>(gpc + field, value, Order.Relaxed);
  }
  @inline static long(gpc: usize, field: usize): u64 {
    return Ops.load<u64>(gpc + field, Order.Relaxed);
  }
  @inline static setLong(gpc: usize, field: usize, value: u64): void {
    Ops.store<u64>(gpc + field, value, Order.Relaxed);
  }
  @inline static readLock(gpc: usize, actor: usize): void {
    RwLock.readLock(gpc, GRACE_GPC_READER, actor);
  }
  @inline static readUnlock(gpc: usize, actor: usize): void {
    RwLock.readUnlock(gpc, GRACE_GPC_READER, actor);
  }
  @inline static writeLock(gpc: usize, actor: usize): void {
    RwLock.writeLock(gpc, GRACE_GPC_READER, actor);
  }
  @inline static writeUnlock(gpc: usize, actor: usize): void {
    RwLock.writeUnlock(gpc, actor);
  }
}

function invalidLocked(gpc: usize): void {
  Gpc.setWord(gpc, GPC_VALID, 0);
  Notes.tell(Note.GpcInvalid | (Gpc.number(gpc) << 16), 0, 0);
}

/** [gpa, gpa + length) lies in one page. */
function fits(gpa: u64, length: u32): bool {
  return length <= PAGE_SIZE && <u32>(gpa & OFFSET_MASK) + length <= PAGE_SIZE;
}

/** kvm_gpc_check: what is cached may be used for `length` bytes. Its lock is held, SRCU too. */
function checkLocked(gpc: usize, length: u32): bool {
  if (Rules.hold(Rule.GpcActiveChecked) && Gpc.word(gpc, GPC_ACTIVE) == 0) return false;
  if (Gpc.word(gpc, GPC_GENERATION) != Slots.generation(Slots.active())) return false;
  if (Gpc.long(gpc, GPC_UHVA) == 0) return false;
  return fits(Gpc.long(gpc, GPC_GPA), length) && Gpc.word(gpc, GPC_VALID) != 0;
}

/**
 * The invalidation's part, before mmu_lock: hva [start, end) is cached by nobody when this returns, and nobody who
 * found it cached uses it any more.
 */
export function invalidateCaches(actor: usize, start: u64, end: u64): void {
  // mn_active_invalidate_count was raised, now the list: pairs with list-then-count in activate and refresh. Either this
  // sees the cache, or its refresh the count. The kernel takes the lock for a list that is empty, too.
  Ops.barrier(Barrier.Mb);
  if (Ops.load<u32>(KVM_GPC_LISTED, Order.Acquire) == 0) return;
  Spin.lock(KVM_GPC_LOCK, actor);
  for (let i: u32 = 0; i < GPC_COUNT; i++) {
    if (Gpc.word(Gpc.at(i), GPC_LISTED)) invalidateCache(actor, Gpc.at(i), start, end);
  }
  Spin.unlock(KVM_GPC_LOCK, actor);
}

function isInRangeLocked(gpc: usize, start: u64, end: u64): bool {
  if (Gpc.word(gpc, GPC_VALID) == 0 || Gpc.word(gpc, GPC_PFN) == 0) return false;
  const uhva = Gpc.long(gpc, GPC_UHVA);
  return uhva >= start && uhva < end;
}

function invalidateCache(actor: usize, gpc: usize, start: u64, end: u64): void {
  Gpc.readLock(gpc, actor);
  const met = isInRangeLocked(gpc, start, end);
  Gpc.readUnlock(gpc, actor);
  if (!met) return;
  // The cache may have changed between the two locks: looked at again.
  Gpc.writeLock(gpc, actor);
  if (isInRangeLocked(gpc, start, end)) invalidLocked(gpc);
  Gpc.writeUnlock(gpc, actor);
}

/**
 * mmu_notifier_retry_cache. Not mmu_invalidate_in_progress: caches are invalidated before it rises. The count is raised
 * before the cache's lock is taken for that, and lowered after the sequence is raised.
 */
function isRetryLocked(seq: u32): bool {
  const count = Rules.hold(Rule.GpcRetriesOnActiveCount) ? KVM_MN_ACTIVE_COUNT : KVM_INVALIDATE_IN_PROGRESS;
  if (Ops.load<u32>(count, Order.Relaxed) != 0) return true;
  // Pairs with sequence-then-count in invalidateEnd.
  if (Rules.hold(Rule.SeqCountBarriers)) Ops.barrier(Barrier.Rmb);
  return Ops.load<u32>(KVM_INVALIDATE_SEQ, Order.Relaxed) != seq;
}

/** The sequence, before the page is looked up. */
function snapshot(): u32 {
  const seq = Ops.load<u32>(KVM_INVALIDATE_SEQ, Order.Relaxed);
  if (Rules.hold(Rule.SnapshotBarrier)) Ops.barrier(Barrier.Rmb);
  return seq;
}

/** Where the kernel looks up again and again while an invalidation is open, this one sleeps. Without a lock but refresh_lock. */
function waitForQuiet(actor: usize): void {
  if (!Rules.hold(Rule.GpcRetriesOnActiveCount)) {
    waitWhileOpen(actor, Ops.load<u32>(KVM_INVALIDATE_ENDS, Order.Acquire));
    return;
  }
  let open = Ops.load<u32>(KVM_MN_ACTIVE_COUNT, Order.Acquire);
  while (open != 0) open = waitWhileEqual(KVM_MN_ACTIVE_COUNT, open, KVM_MN_ACTIVE_WAITERS, actor);
}

function putUnlessUncounted(found: u64, actor: usize): void {
  if ((found & GUP_NO_REFERENCE) == 0) putFound(Map.page(Gup.pfn(found)), actor);
}

/** hva_to_pfn_retry: the cache's lock is held for write, and is again on return; between, it is not. */
function lookUpLocked(actor: usize, gpc: usize): KvmStatus {
  const uhva = Gpc.long(gpc, GPC_UHVA);
  // Before the lock goes: address and generation are new already, and would pass a check.
  invalidLocked(gpc);
  let found: u64 = 0;
  let seq = snapshot();
  while (true) {
    Gpc.writeUnlock(gpc, actor);
    if (found) {
      putUnlessUncounted(found, actor);
      waitForQuiet(actor);
      seq = snapshot();
    }
    found = lookUp(actor, uhva & ~OFFSET_MASK, true);
    Gpc.writeLock(gpc, actor);
    if (Gup.status(found) != HostStatus.Ok) return Status.ofHost(Gup.status(found));
    if (!isRetryLocked(seq)) break;
  }
  const pfn = Gup.pfn(found);
  Gpc.setWord(gpc, GPC_PFN, pfn);
  Gpc.setWord(gpc, GPC_COUNTED, u32((found & GUP_NO_REFERENCE) == 0));
  // The offset is that of now: without refresh_lock somebody may have changed it.
  const offset = <usize>(Gpc.long(gpc, GPC_UHVA) & OFFSET_MASK);
  Gpc.setWord(gpc, GPC_KHVA, <u32>(Map.frame(pfn) + offset));
  Gpc.setWord(gpc, GPC_VALID, 1);
  Notes.tell(Note.GpcValid | (Gpc.number(gpc) << 16), Gpc.long(gpc, GPC_UHVA), pfn);
  // From here on invalidations are what keeps the page.
  putUnlessUncounted(found, actor);
  return KvmStatus.Ok;
}

/** gpa -> uhva anew, from one copy of the memslots. */
function locateLocked(actor: usize, gpc: usize, gpa: u64, slots: usize): KvmStatus {
  const row = findSlotIn(actor, slots, gpa >> 12);
  const status = Status.ofSlot(row, true);
  Gpc.setLong(gpc, GPC_GPA, gpa);
  Gpc.setWord(gpc, GPC_GENERATION, Slots.generation(slots));
  const slot = changetype<Slot>(row);
  Gpc.setLong(gpc, GPC_UHVA, status == KvmStatus.Ok ? slot.hva + (gpa - (slot.baseGfn << 12)) : 0);
  return status;
}

/** __kvm_gpc_refresh: refresh_lock is held. */
function refreshSerialised(actor: usize, gpc: usize, gpa: u64): KvmStatus {
  Gpc.writeLock(gpc, actor);
  let status = KvmStatus.Ok;
  if (Rules.hold(Rule.GpcActiveChecked) && Gpc.word(gpc, GPC_ACTIVE) == 0) {
    Gpc.writeUnlock(gpc, actor);
    return KvmStatus.Inactive;
  }
  const oldPage = Gpc.long(gpc, GPC_UHVA) & ~OFFSET_MASK;
  const slots = Slots.active();
  const stale = Gpc.word(gpc, GPC_GENERATION) != Slots.generation(slots);
  if (stale || Gpc.long(gpc, GPC_GPA) != gpa || oldPage == 0) status = locateLocked(actor, gpc, gpa, slots);
  if (status == KvmStatus.Ok) {
    const uhva = Gpc.long(gpc, GPC_UHVA);
    if (Gpc.word(gpc, GPC_VALID) == 0 || (uhva & ~OFFSET_MASK) != oldPage) status = lookUpLocked(actor, gpc);
    else {
      const page = Gpc.word(gpc, GPC_KHVA) & ~(<u32>OFFSET_MASK);
      Gpc.setWord(gpc, GPC_KHVA, page | (<u32>(uhva & OFFSET_MASK)));
    }
  }
  if (status != KvmStatus.Ok) forgetLocked(gpc);
  Gpc.writeUnlock(gpc, actor);
  return status;
}

/** No page is cached any more; gpa and uhva stay, which the generation guards. */
function forgetLocked(gpc: usize): void {
  invalidLocked(gpc);
  Gpc.setWord(gpc, GPC_PFN, 0);
  Gpc.setWord(gpc, GPC_KHVA, 0);
}

function lockRefresh(gpc: usize, actor: usize): void {
  if (Rules.hold(Rule.GpcRefreshSerialised)) Mutex.lock(gpc + GPC_REFRESH_LOCK, actor);
}

function unlockRefresh(gpc: usize, actor: usize): void {
  if (Rules.hold(Rule.GpcRefreshSerialised)) Mutex.unlock(gpc + GPC_REFRESH_LOCK, actor);
}

/** Takes a cache on the list of those that invalidations look at, or off it. */
function setListed(actor: usize, gpc: usize, listed: u32): void {
  Spin.lock(KVM_GPC_LOCK, actor);
  Gpc.setWord(gpc, GPC_LISTED, listed);
  if (listed) Ops.add<u32>(KVM_GPC_LISTED, 1, Order.Full);
  else Ops.sub<u32>(KVM_GPC_LISTED, 1, Order.Full);
  Spin.unlock(KVM_GPC_LOCK, actor);
}

/**
 * kvm_gpc_activate: from now on the cache is for `gpa`, of which [gpa, gpa + length) is wanted; refreshed at once. What
 * refresh answers; the cache is active even then, for a later refresh.
 */
export function activateCache(actor: usize, cache: u32, gpa: u64, length: u32): KvmStatus {
  if (cache >= GPC_COUNT || !fits(gpa, length)) return KvmStatus.Invalid;
  const gpc = Gpc.at(cache);
  Srcu.readLock(actor);
  lockRefresh(gpc, actor);
  if (Gpc.word(gpc, GPC_ACTIVE) == 0) {
    // On the list before it can be refreshed: an invalidation must reach whatever a refresh finds.
    setListed(actor, gpc, 1);
    Gpc.writeLock(gpc, actor);
    Gpc.setWord(gpc, GPC_ACTIVE, 1);
    Gpc.writeUnlock(gpc, actor);
  }
  const status = refreshSerialised(actor, gpc, gpa);
  unlockRefresh(gpc, actor);
  Srcu.readUnlock(actor);
  return status;
}

/** kvm_gpc_deactivate: when it returns, nobody uses the cache. Inactive if it was so already. */
export function deactivateCache(actor: usize, cache: u32): KvmStatus {
  if (cache >= GPC_COUNT) return KvmStatus.Invalid;
  const gpc = Gpc.at(cache);
  lockRefresh(gpc, actor);
  const active = Gpc.word(gpc, GPC_ACTIVE) != 0;
  if (active) {
    // Off the list last: an invalidation has to wait until users are gone and a refresh is certain to fail.
    Gpc.writeLock(gpc, actor);
    Gpc.setWord(gpc, GPC_ACTIVE, 0);
    forgetLocked(gpc);
    Gpc.writeUnlock(gpc, actor);
    setListed(actor, gpc, 0);
  }
  unlockRefresh(gpc, actor);
  return active ? KvmStatus.Ok : KvmStatus.Inactive;
}

/** Deactivates every cache. */
export function deactivateAll(actor: usize): void {
  for (let cache: u32 = 0; cache < GPC_COUNT; cache++) deactivateCache(actor, cache);
}

/** kvm_gpc_check: true if the cache could be used for `length` bytes now. */
export function checkCache(actor: usize, cache: u32, length: u32): bool {
  if (cache >= GPC_COUNT) return false;
  const gpc = Gpc.at(cache);
  Srcu.readLock(actor);
  Gpc.readLock(gpc, actor);
  const good = checkLocked(gpc, length);
  Gpc.readUnlock(gpc, actor);
  Srcu.readUnlock(actor);
  return good;
}

/** kvm_gpc_refresh: looks the page up again if it has to. */
export function refreshCache(actor: usize, cache: u32, length: u32): KvmStatus {
  if (cache >= GPC_COUNT) return KvmStatus.Invalid;
  Srcu.readLock(actor);
  const status = refreshInSection(actor, Gpc.at(cache), length);
  Srcu.readUnlock(actor);
  return status;
}

function refreshInSection(actor: usize, gpc: usize, length: u32): KvmStatus {
  lockRefresh(gpc, actor);
  const gpa = Gpc.long(gpc, GPC_GPA);
  const status = fits(gpa, length) ? refreshSerialised(actor, gpc, gpa) : KvmStatus.Invalid;
  unlockRefresh(gpc, actor);
  return status;
}

/** Takes the lock of a cache that passes its check, refreshing it as often as need be. Ok: locked for read. */
function lockForUse(actor: usize, gpc: usize, length: u32): KvmStatus {
  Gpc.readLock(gpc, actor);
  while (!checkLocked(gpc, length)) {
    Gpc.readUnlock(gpc, actor);
    const status = refreshInSection(actor, gpc, length);
    if (status != KvmStatus.Ok) return status;
    Gpc.readLock(gpc, actor);
  }
  return KvmStatus.Ok;
}

/** One access of KVM's own, `size` 1, 2, 4 or 8, at `offset` from the cache's gpa. */
function useCache(actor: usize, cache: u32, offset: u32, size: u32, write: bool, value: u64): KvmStatus {
  if (cache >= GPC_COUNT || offset >= PAGE_SIZE) return KvmStatus.Invalid;
  const gpc = Gpc.at(cache);
  Srcu.readLock(actor);
  const status = lockForUse(actor, gpc, offset + size);
  if (status == KvmStatus.Ok) {
    const pfn = Gpc.word(gpc, GPC_PFN);
    const at: usize = Gpc.word(gpc, GPC_KHVA) + offset;
    const mark = write && Gpc.word(gpc, GPC_COUNTED) != 0;
    // Whoever invalidates waits for this lock; without it the page may go between check and access.
    if (!Rules.hold(Rule.GpcHeldWhileUsed)) Gpc.readUnlock(gpc, actor);
    if (write) storeSized(at, size, value);
    else changetype<Fault>(actor + ACTOR_FAULT).value = loadSized(at, size);
    Notes.tell(Note.GpcUse | (cache << 16), pfn, ((<u64>at) << 1) | u64(write));
    if (mark) markDirty(headOf(Map.page(pfn)));
    if (Rules.hold(Rule.GpcHeldWhileUsed)) Gpc.readUnlock(gpc, actor);
  }
  Srcu.readUnlock(actor);
  return status;
}

/** Loads through the cache; the value goes to the fault record. Inactive, or what a refresh answered. */
export function loadCached(actor: usize, cache: u32, offset: u32, size: u32): KvmStatus {
  return useCache(actor, cache, offset, size, false, 0);
}

/** Stores through the cache, and marks the page dirty. */
export function storeCached(actor: usize, cache: u32, offset: u32, size: u32, value: u64): KvmStatus {
  return useCache(actor, cache, offset, size, true, value);
}
