// Loads, stores, fetches and read-modify-writes of a guest: 1, 2, 4 or 8 bytes at any guest-virtual address. An access
// that crosses a page is one access: both pages are translated before a byte moves, and a fault leaves memory as it was.

import { ACTOR_FAULT, ACTOR_WALK } from "../layout/actor";
import { Fault } from "../layout/fault";
import { Stat, Stats } from "../layout/stats";
import { Access, Outcome, Walk } from "../layout/walk";
import { Ops, Order } from "../sync/ops";
import { Guest, addressMiss } from "./vcpu";

/** Operations of a read-modify-write. */
export enum Modify {
  Exchange = 0,
  Add = 1,
  And = 2,
  Or = 3,
  Xor = 4,
  CompareExchange = 5,
}

/** Reads `size` bytes, little-endian, zero-extended. Plain: it is the guest's own data. */
export function loadSized(address: usize, size: u32): u64 {
  if (size == 8) return load<u64>(address);
  if (size == 4) return load<u32>(address);
  return size == 2 ? load<u16>(address) : load<u8>(address);
}

/** Writes the low `size` bytes of `value`. Plain, likewise. */
export function storeSized(address: usize, size: u32, value: u64): void {
  if (size == 8) store<u64>(address, value);
  else if (size == 4) store<u32>(address, <u32>value);
  else if (size == 2) store<u16>(address, <u16>value);
  else store<u8>(address, <u8>value);
}

/** Bytes of an access that lie in its first page. */
class Crossing {
  @inline static head(gva: u64, size: u32): u32 {
    const room: u32 = 4096 - ((<u32>gva) & 4095);
    return size <= room ? size : room;
  }
}

/** `Guest.address`, with the TLB's hits counted. */
function addressOf(vcpu: usize, gva: u64, access: Access): usize {
  const host = Guest.hit(vcpu, gva, access);
  if (host == 0) return addressMiss(vcpu, gva, access);
  Stats.add(vcpu, Stat.TlbHits, 1);
  return host;
}

function outcome(vcpu: usize): Outcome {
  return changetype<Walk>(vcpu + ACTOR_WALK).outcome;
}

/** Guest load or fetch: `Ok` and the value in the fault record, or why not. In guest mode. */
export function guestLoad(vcpu: usize, gva: u64, size: u32, access: Access): Outcome {
  const head = Crossing.head(gva, size);
  const first = addressOf(vcpu, gva, access);
  if (first == 0) return outcome(vcpu);
  let value: u64;
  if (head == size) {
    Guest.use(vcpu, gva, first, false);
    value = loadSized(first, size);
  } else {
    const crossed = crossedPages(vcpu, gva, head, access);
    if (crossed != Outcome.Ok) return crossed;
    value = loadCrossing(vcpu, gva, size, head);
  }
  changetype<Fault>(vcpu + ACTOR_FAULT).value = value;
  Stats.add(vcpu, Stat.Accesses, 1);
  return Outcome.Ok;
}

/** Guest store. In guest mode. */
export function guestStore(vcpu: usize, gva: u64, size: u32, value: u64): Outcome {
  const head = Crossing.head(gva, size);
  const first = addressOf(vcpu, gva, Access.Write);
  if (first == 0) return outcome(vcpu);
  if (head == size) {
    Guest.use(vcpu, gva, first, true);
    storeSized(first, size, value);
  } else {
    const crossed = crossedPages(vcpu, gva, head, Access.Write);
    if (crossed != Outcome.Ok) return crossed;
    storeCrossing(vcpu, gva, size, head, value);
  }
  Stats.add(vcpu, Stat.Accesses, 1);
  return Outcome.Ok;
}

/**
 * Translates both pages of an access whose first page has just been translated, until both translations stand at once:
 * handling a fault in the second may leave guest mode, and a flush serviced on re-entry takes the first away. The two
 * addresses go to the fault record.
 */
function crossedPages(vcpu: usize, gva: u64, head: u32, access: Access): Outcome {
  const fault = changetype<Fault>(vcpu + ACTOR_FAULT);
  while (true) {
    fault.left = 0;
    const first = Guest.address(vcpu, gva, access);
    if (first == 0) return outcome(vcpu);
    const second = Guest.address(vcpu, gva + head, access);
    if (second == 0) return outcome(vcpu);
    if (fault.left) continue;
    fault.crossFirst = <u32>first;
    fault.crossSecond = <u32>second;
    return Outcome.Ok;
  }
}

function loadCrossing(vcpu: usize, gva: u64, size: u32, head: u32): u64 {
  const fault = changetype<Fault>(vcpu + ACTOR_FAULT);
  let value: u64 = 0;
  for (let i: u32 = 0; i < size; i++) {
    const address: usize = i < head ? fault.crossFirst + i : fault.crossSecond + i - head;
    if (i == 0 || i == head) Guest.use(vcpu, gva + i, address, false);
    value |= (<u64>load<u8>(address)) << (i << 3);
  }
  return value;
}

function storeCrossing(vcpu: usize, gva: u64, size: u32, head: u32, value: u64): void {
  const fault = changetype<Fault>(vcpu + ACTOR_FAULT);
  for (let i: u32 = 0; i < size; i++) {
    const address: usize = i < head ? fault.crossFirst + i : fault.crossSecond + i - head;
    if (i == 0 || i == head) Guest.use(vcpu, gva + i, address, true);
    store<u8>(address, <u8>(value >> (i << 3)));
  }
}

function combine(op: Modify, old: u64, value: u64, expected: u64): u64 {
  switch (op) {
    case Modify.Exchange:
      return value;
    case Modify.Add:
      return old + value;
    case Modify.And:
      return old & value;
    case Modify.Or:
      return old | value;
    case Modify.Xor:
      return old ^ value;
    default:
      return old == expected ? value : old;
  }
}

/** One attempt at `found` -> `next` on an aligned word; the value that was there. */
function casSized(address: usize, size: u32, found: u64, next: u64): u64 {
  if (size == 8) return Ops.cas<u64>(address, found, next, Order.Full);
  if (size == 4) return Ops.cas<u32>(address, <u32>found, <u32>next, Order.Full);
  if (size == 2) return Ops.cas<u16>(address, <u16>found, <u16>next, Order.Full);
  return Ops.cas<u8>(address, <u8>found, <u8>next, Order.Full);
}

/** #AC(0) at `gva`, as split-lock detection raises it. */
function alignmentCheck(vcpu: usize, gva: u64): Outcome {
  const walk = changetype<Walk>(vcpu + ACTOR_WALK);
  walk.outcome = Outcome.AlignmentCheck;
  walk.gva = gva;
  return Outcome.AlignmentCheck;
}

/** Guest LOCK-prefixed read-modify-write of a naturally aligned word; the old value is left in the fault record. */
export function guestModify(
  vcpu: usize,
  gva: u64,
  size: u32,
  op: Modify,
  value: u64,
  expected: u64,
): Outcome {
  if (gva & (size - 1)) return alignmentCheck(vcpu, gva);
  const address = addressOf(vcpu, gva, Access.Modify);
  if (address == 0) return outcome(vcpu);
  const mask: u64 = size == 8 ? u64.MAX_VALUE : ((<u64>1) << (size << 3)) - 1;
  Guest.use(vcpu, gva, address, true);
  let found = loadSized(address, size);
  while (true) {
    const next = combine(op, found, value, expected & mask) & mask;
    const seen = casSized(address, size, found, next);
    if (seen == found) break;
    found = seen;
  }
  changetype<Fault>(vcpu + ACTOR_FAULT).value = found;
  Stats.add(vcpu, Stat.Accesses, 1);
  return Outcome.Ok;
}
