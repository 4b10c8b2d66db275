// kvm_read_guest and kvm_write_guest: KVM's copies from and to guest-physical memory, page by page through the memslots
// and the addresses of user space. They hold no page and need no notifier: each access faults as user space does.

import { Map, PAGE_SIZE } from "../layout/map";
import { MM_BASE } from "../layout/mm";
import { Slot } from "../layout/slot";
import { copyFromUser, copyToUser } from "../host/access";
import { Srcu } from "../sync/grace";
import { findSlot } from "./memslots";
import { KvmStatus, Status } from "./status";

/** Copies between the actor's batch buffer and [gpa, gpa + length). */
function copyGuest(actor: usize, gpa: u64, length: u32, write: bool): KvmStatus {
  if (length > Map.batchSize) return KvmStatus.Invalid;
  let at = Map.batch(actor);
  let status = KvmStatus.Ok;
  Srcu.readLock(actor);
  while (length && status == KvmStatus.Ok) {
    const chunk = min<u32>(length, PAGE_SIZE - ((<u32>gpa) & (PAGE_SIZE - 1)));
    const row = findSlot(actor, gpa >> 12);
    status = Status.ofSlot(row, write);
    if (status != KvmStatus.Ok) break;
    const slot = changetype<Slot>(row);
    const hva = slot.hva + (gpa - (slot.baseGfn << 12));
    status = Status.ofHost(
      write ? copyToUser(actor, MM_BASE, hva, at, chunk) : copyFromUser(actor, MM_BASE, hva, at, chunk),
    );
    gpa += chunk;
    at += chunk;
    length -= chunk;
  }
  Srcu.readUnlock(actor);
  return status;
}

/** Copies `length` bytes at `gpa` to the start of the actor's batch buffer. On an error, what came before was copied. */
export function readGuest(actor: usize, gpa: u64, length: u32): KvmStatus {
  return copyGuest(actor, gpa, length, false);
}

/** Copies `length` bytes from the start of the actor's batch buffer to `gpa`. Likewise. */
export function writeGuest(actor: usize, gpa: u64, length: u32): KvmStatus {
  return copyGuest(actor, gpa, length, true);
}
