// Test module: the locks of assembly/sync, driven by real threads. Compiled by test/stress/locks.test.ts.

import { attachRegions, planRegions, Map } from "../../assembly/layout/map";
import { GRACE_MMU_READER } from "../../assembly/layout/control";
import { RwLock } from "../../assembly/sync/rwlock";
import { Spin } from "../../assembly/sync/spin";
import { Srcu, synchronizeSrcu } from "../../assembly/sync/grace";

/** Words of the test, far above the regions of so small a machine. */
const LOCK: usize = 16384 + 65536 * 8;
const A: usize = LOCK + 128;
const B: usize = LOCK + 256;

export function setup(): u32 {
  const size = planRegions();
  attachRegions();
  return size;
}

/** `count` unprotected increments, each in the spin lock. */
export function spinIncrements(actor: u32, count: u32): void {
  const me = Map.actor(actor);
  for (let i: u32 = 0; i < count; i++) {
    Spin.lock(LOCK, me);
    store<u32>(A, load<u32>(A) + 1);
    Spin.unlock(LOCK, me);
  }
}

/** `count` turns of a writer that keeps A and B equal outside of its section, and apart within. */
export function rwWrites(actor: u32, count: u32): void {
  const me = Map.actor(actor);
  for (let i: u32 = 0; i < count; i++) {
    RwLock.writeLock(LOCK, GRACE_MMU_READER, me);
    const next = load<u32>(A) + 1;
    atomic.store<u32>(A, next);
    atomic.store<u32>(B, next);
    RwLock.writeUnlock(LOCK, me);
  }
}

/** `count` turns of a reader; returns how often A and B differed. */
export function rwReads(actor: u32, count: u32): u32 {
  const me = Map.actor(actor);
  let torn: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    RwLock.readLock(LOCK, GRACE_MMU_READER, me);
    if (atomic.load<u32>(A) != atomic.load<u32>(B)) torn++;
    RwLock.readUnlock(LOCK, GRACE_MMU_READER, me);
  }
  return torn;
}

/** Reader of a published word: 0 while it may be in use. Returns how often it saw the retired value. */
export function srcuReads(actor: u32, count: u32): u32 {
  const me = Map.actor(actor);
  let retired: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    Srcu.readLock(me);
    const which: usize = atomic.load<u32>(A) ? B + 8 : B;
    if (atomic.load<u32>(which) == 0xdead) retired++;
    Srcu.readUnlock(me);
  }
  return retired;
}

/** Updater: publishes the other copy, waits for the readers, then spoils the old one and repairs it. */
export function srcuUpdates(actor: u32, count: u32): void {
  const me = Map.actor(actor);
  for (let i: u32 = 0; i < count; i++) {
    const old: usize = atomic.load<u32>(A) ? B + 8 : B;
    atomic.store<u32>(A, atomic.load<u32>(A) ^ 1);
    synchronizeSrcu(me);
    atomic.store<u32>(old, 0xdead);
    atomic.store<u32>(old, 0);
  }
}

export function counterA(): u32 {
  return atomic.load<u32>(A);
}

export function lockTwice(actor: u32): void {
  Spin.lock(LOCK, Map.actor(actor));
  Spin.lock(LOCK, Map.actor(actor));
}

export function unlockOther(actor: u32, other: u32): void {
  Spin.lock(LOCK, Map.actor(actor));
  Spin.unlock(LOCK, Map.actor(other));
}
