// Test module: small classic races whose outcomes are known, for the explorer itself. Compiled and instrumented by
// test/explored-litmus.ts. Every access is atomic: the optimiser leaves each one where it stands.

import { choose } from "../../assembly/env";

/** Words of the test, behind the header page; each in a line of its own. */
const BASE: usize = 16384;
const STEP: usize = 64;

/** What the explorer calls when it binds a module to a memory. */
export function attach(): u32 {
  return 0;
}

function word(i: u32): usize {
  return BASE + <usize>i * STEP;
}

/** Unlocked increments of word 0: two accesses each. */
export function increments(count: u32): u32 {
  for (let i: u32 = 0; i < count; i++) atomic.store<u32>(word(0), atomic.load<u32>(word(0)) + 1);
  return 0;
}

/** Accesses to a word that all share, with nothing to see: for counting interleavings. Returns the sum of what it saw. */
export function touches(count: u32): u32 {
  let sum: u32 = 0;
  for (let i: u32 = 0; i < count; i++) sum += atomic.add<u32>(word(0), 1);
  return sum;
}

/** A lock that sleeps: 0 free, 1 held. */
function lock(at: usize): void {
  while (atomic.cmpxchg<u32>(at, 0, 1) != 0) atomic.wait<i32>(at, 1, -1);
}

function unlock(at: usize): void {
  atomic.store<u32>(at, 0);
  atomic.notify(at, 1);
}

/** An increment of word 0 under the lock in word 1. */
export function lockedIncrement(): u32 {
  lock(word(1));
  const value = atomic.load<u32>(word(0));
  atomic.store<u32>(word(0), value + 1);
  unlock(word(1));
  return value;
}

/** Takes two locks, in the order in which they are given, and gives them up. */
export function twoLocks(first: u32, second: u32): u32 {
  lock(word(first));
  lock(word(second));
  unlock(word(second));
  unlock(word(first));
  return 0;
}

/** Writer of a pair of words: in turn, or with a word that says that it is at work (word 2, odd). */
export function writePair(value: u32, counted: u32): u32 {
  if (counted) atomic.add<u32>(word(2), 1);
  atomic.store<u32>(word(0), value);
  atomic.store<u32>(word(1), value);
  if (counted) atomic.add<u32>(word(2), 1);
  return 0;
}

/** Reader of the pair: 10 * first + second. With the counter: 99 if the writer was at work meanwhile (a seqcount). */
export function readPair(counted: u32): u32 {
  const before = counted ? atomic.load<u32>(word(2)) : 0;
  const first = atomic.load<u32>(word(0));
  const second = atomic.load<u32>(word(1));
  if (counted && ((before & 1) != 0 || atomic.load<u32>(word(2)) != before)) return 99;
  return 10 * first + second;
}

/** Message passing: data in word 0, then the flag in word 1. */
export function send(): u32 {
  atomic.store<u32>(word(0), 7);
  atomic.store<u32>(word(1), 1);
  return 0;
}

/** 10 * flag + data, read in that order. */
export function receive(): u32 {
  const flag = atomic.load<u32>(word(1));
  return 10 * flag + atomic.load<u32>(word(0));
}

/** Store buffering: writes word `mine`, reads word `other`. */
export function storeThenLoad(mine: u32, other: u32): u32 {
  atomic.store<u32>(word(mine), 1);
  return atomic.load<u32>(word(other));
}

/** Drops a reference (word 0), in one access or in two; who finds it the last counts a free in word 1. Returns 1 then. */
export function put(whole: u32): u32 {
  let old: u32;
  if (whole) old = atomic.sub<u32>(word(0), 1);
  else {
    old = atomic.load<u32>(word(0));
    atomic.store<u32>(word(0), old - 1);
  }
  if (old != 1) return 0;
  atomic.add<u32>(word(1), 1);
  return 1;
}

/** Takes a reference on what may be gone: refused at 0 (get_unless_zero), or not. 1 if it has one. */
export function getReference(unlessZero: u32): u32 {
  if (!unlessZero) {
    atomic.add<u32>(word(0), 1);
    return 1;
  }
  let old = atomic.load<u32>(word(0));
  while (old != 0) {
    const found = atomic.cmpxchg<u32>(word(0), old, old + 1);
    if (found == old) return 1;
    old = found;
  }
  return 0;
}

/** Sleeps for the flag in word 0: on the flag itself, or on word 1, which never changes. */
export function awaitFlag(onFlag: u32): u32 {
  if (onFlag) {
    while (atomic.load<u32>(word(0)) == 0) atomic.wait<i32>(word(0), 0, -1);
  } else if (atomic.load<u32>(word(0)) == 0) atomic.wait<i32>(word(1), 0, -1);
  return atomic.load<u32>(word(0));
}

/** Raises the flag and wakes who sleeps on it, or on word 1. */
export function raiseFlag(onFlag: u32): u32 {
  atomic.store<u32>(word(0), 1);
  return atomic.notify(word(onFlag ? 0 : 1), -1);
}

/** One of `n` ways, written to word `at`. */
export function choice(n: u32, at: u32): u32 {
  const way = choose(n);
  atomic.store<u32>(word(at), way + 1);
  return way;
}

/** Traps if word 0 is what `choice` made it for way 1. */
export function trapOnTwo(): u32 {
  if (atomic.load<u32>(word(0)) == 2) unreachable();
  return 0;
}

/** Looks at word `at` until it is `value`, without sleeping. */
export function spinUntil(at: u32, value: u32): u32 {
  let seen = atomic.load<u32>(word(at));
  while (seen != value) seen = atomic.load<u32>(word(at));
  return seen;
}

/** Sets word `at`. */
export function raise(at: u32, value: u32): u32 {
  atomic.store<u32>(word(at), value);
  return value;
}

/** Sets word 0 to 1 and back, until word 1 is set. */
export function swing(): u32 {
  while (atomic.load<u32>(word(1)) == 0) {
    atomic.store<u32>(word(0), 1);
    atomic.store<u32>(word(0), 0);
  }
  return 0;
}
