// vCPU: single accesses at guest-virtual addresses, and a batch of them. Each call enters guest mode and leaves it.
// A call returns an `Outcome`; where that is not `Ok`, the actor's walk record tells the rest (error code, gva, gpa).

import { ACTOR_FAULT, ACTOR_WALK } from "../layout/actor";
import { CONTROL_REQUESTS, Request } from "../layout/control";
import { FAULT_OFFSET_VALUE } from "../layout/fault";
import { Map } from "../layout/map";
import { Access, Outcome, Walk } from "../layout/walk";
import { Modify, guestLoad, guestModify, guestStore } from "../kvm/access";
import { beginRun, endRun } from "../kvm/vcpu";
import { Ops, Order } from "../sync/ops";

/** beginRun, or the outcome that says why not. */
function enter(vcpu: usize): Outcome {
  return beginRun(vcpu) ? Outcome.Ok : changetype<Walk>(vcpu + ACTOR_WALK).outcome;
}

function leave(vcpu: usize, outcome: Outcome): Outcome {
  endRun(vcpu);
  return outcome;
}

/** Reads `size` (1, 2, 4, 8) bytes at `gva`; `access` is Read or Fetch. The value: `vcpuValue`. */
export function vcpuLoad(index: u32, gva: u64, size: u32, access: Access): Outcome {
  const vcpu = Map.actor(index);
  const entered = enter(vcpu);
  return entered == Outcome.Ok ? leave(vcpu, guestLoad(vcpu, gva, size, access)) : entered;
}

/** Writes the low `size` (1, 2, 4, 8) bytes of `value` at `gva`. */
export function vcpuStore(index: u32, gva: u64, size: u32, value: u64): Outcome {
  const vcpu = Map.actor(index);
  const entered = enter(vcpu);
  return entered == Outcome.Ok ? leave(vcpu, guestStore(vcpu, gva, size, value)) : entered;
}

/** LOCK read-modify-write of a naturally aligned word; `vcpuValue` is what was there. `expected`: CompareExchange only. */
export function vcpuModify(index: u32, gva: u64, size: u32, op: Modify, value: u64, expected: u64): Outcome {
  const vcpu = Map.actor(index);
  const entered = enter(vcpu);
  return entered == Outcome.Ok ? leave(vcpu, guestModify(vcpu, gva, size, op, value, expected)) : entered;
}

/** Value of the vCPU's last load or read-modify-write. */
export function vcpuValue(index: u32): u64 {
  return load<u64>(Map.actor(index) + ACTOR_FAULT + FAULT_OFFSET_VALUE);
}

/**
 * Runs the access records in the vCPU's batch buffer: 16 bytes each, u64 gva, u32 size, u32 `Access`. Loads and
 * read-modify-writes (which add 1) leave what they found in the record's first word if `keep` is set; stores write the
 * record's own number. Returns how many were done: fewer than `count` if one did not end `Ok`, whose outcome is in the
 * walk record.
 */
export function vcpuRunRecords(index: u32, count: u32, keep: u32): u32 {
  const vcpu = Map.actor(index);
  if (enter(vcpu) != Outcome.Ok) return 0;
  let at = Map.batch(vcpu);
  count = min(count, Map.batchSize >> 4);
  for (let i: u32 = 0; i < count; i++, at += 16) {
    const outcome = runRecord(vcpu, at, i, keep != 0);
    if (outcome != Outcome.Ok) {
      leave(vcpu, outcome);
      return i;
    }
  }
  endRun(vcpu);
  return count;
}

function runRecord(vcpu: usize, record: usize, i: u32, keep: bool): Outcome {
  const gva = load<u64>(record);
  const size = load<u32>(record, 8);
  const access = load<u32>(record, 12);
  if (access == Access.Write) return guestStore(vcpu, gva, size, i);
  const outcome =
    access == Access.Modify
      ? guestModify(vcpu, gva, size, Modify.Add, 1, 0)
      : guestLoad(vcpu, gva, size, access);
  if (keep && outcome == Outcome.Ok) store<u64>(record, load<u64>(vcpu + ACTOR_FAULT + FAULT_OFFSET_VALUE));
  return outcome;
}

/**
 * Runs the access records with values in the vCPU's batch buffer: 32 bytes each, u64 gva, u32 size, u16 `Access`, u16
 * `Modify`, u64 value, u64 expected (CompareExchange only). A load or a read-modify-write leaves what it found in place of
 * its value. Returns how many were done, as `vcpuRunRecords`.
 */
export function vcpuRunAccesses(index: u32, count: u32): u32 {
  const vcpu = Map.actor(index);
  if (enter(vcpu) != Outcome.Ok) return 0;
  let at = Map.batch(vcpu);
  count = min(count, Map.batchSize >> 5);
  for (let i: u32 = 0; i < count; i++, at += 32) {
    if (runAccess(vcpu, at) != Outcome.Ok) {
      endRun(vcpu);
      return i;
    }
  }
  endRun(vcpu);
  return count;
}

function runAccess(vcpu: usize, record: usize): Outcome {
  const gva = load<u64>(record);
  const size = load<u32>(record, 8);
  const access: Access = load<u16>(record, 12);
  const value = load<u64>(record, 16);
  if (access == Access.Write) return guestStore(vcpu, gva, size, value);
  const outcome =
    access == Access.Modify
      ? guestModify(vcpu, gva, size, load<u16>(record, 14), value, load<u64>(record, 24))
      : guestLoad(vcpu, gva, size, access);
  if (outcome == Outcome.Ok) store<u64>(record, load<u64>(vcpu + ACTOR_FAULT + FAULT_OFFSET_VALUE), 16);
  return outcome;
}

/** Asks a vCPU to leave guest mode and return `Interrupted`; `vcpuResume` withdraws it. Any thread may call both. */
export function vcpuInterrupt(index: u32): void {
  Ops.or<u32>(Map.actor(index) + CONTROL_REQUESTS, Request.Exit, Order.Full);
}

/** Withdraws `vcpuInterrupt`. */
export function vcpuResume(index: u32): void {
  Ops.and<u32>(Map.actor(index) + CONTROL_REQUESTS, ~(<u32>Request.Exit), Order.Full);
}
