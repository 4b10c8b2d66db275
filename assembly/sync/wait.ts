// Sleeping on a word. A wait is sliced: each slice ends with a look at the machine's abort word, so that a thread
// whose lock holder has died ends with a trap instead of hanging.

import { ACTOR_CPU } from "../layout/actor";
import { HEADER_ABORT } from "../layout/header";
import { Map } from "../layout/map";
import { Trap, trap } from "../trap";
import { Ops, Order } from "./ops";

/** Length of one slice, ns. An abort is noticed at most this much later. */
const SLICE_NS: i64 = 2_000_000;

/**
 * One sleep while the word equals `value`. Alone in a function that is kept from being inlined, with nothing live
 * after the instruction: Node 20's baseline compiler may corrupt locals across it (docs/decisions/0004-wait-alone.md).
 */
function parkOnce(address: usize, value: u32): void {
  if (!EMBED) atomic.wait<i32>(address, <i32>value, SLICE_NS);
}

/** Traps if the machine was aborted. For loops that wait for somebody else. */
export function checkAbort(actor: usize): void {
  if (Ops.load<u32>(HEADER_ABORT, Order.Relaxed)) trap(Trap.Aborted, 0, actor);
}

/**
 * Sleeps until woken, at most a slice, while the word at `address` equals `value`; the caller re-checks and repeats. In the
 * embed build nobody could wake it: a trap.
 */
export function park(address: usize, value: u32, actor: usize): void {
  checkAbort(actor);
  if (EMBED) trap(Trap.WouldWait, address, actor);
  parkOnce(address, value);
  checkAbort(actor);
}

/** Wakes at most `count` of those that sleep on the word. */
export function wake(address: usize, count: i32): void {
  if (!EMBED) atomic.notify(address, count);
}

/** Wakes all that sleep on the word. */
export function wakeAll(address: usize): void {
  wake(address, -1);
}

/** Looks at a private word between two looks at a shared one: a spinner's looks slow the writer that it waits for. */
const RELAX: u32 = 24;

/** What a spinner does between two looks (cpu_relax). */
export function relax(actor: usize): void {
  for (let i: u32 = 0; i < RELAX; i++) Ops.load<u32>(actor + ACTOR_CPU, Order.Relaxed);
}

/** Spins, then sleeps, until the word no longer equals `value`; returns what it holds then. */
export function waitWhileEqual(address: usize, value: u32, waiters: usize, actor: usize): u32 {
  let now = Ops.load<u32>(address, Order.Acquire);
  for (let i: u32 = 0; now == value && i < Map.spinLimit; i++) {
    relax(actor);
    now = Ops.load<u32>(address, Order.Acquire);
  }
  if (now != value) return now;
  // Announce, then look again in `park`'s own compare: the writer stores the word, then looks at the waiters.
  Ops.add<u32>(waiters, 1, Order.Full);
  do {
    park(address, value, actor);
    now = Ops.load<u32>(address, Order.Acquire);
  } while (now == value);
  Ops.sub<u32>(waiters, 1, Order.Full);
  return now;
}
