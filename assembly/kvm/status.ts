// How KVM's own use of guest memory ended.

import { HostStatus } from "../host/status";
import { Slot, SlotFlag } from "../layout/slot";

/** What kvm_read_guest, kvm_vcpu_map, a pfn cache and their likes answer. */
export enum KvmStatus {
  Ok = 0,
  /** No memslot holds the address, or the one that does is being deleted or moved. */
  NoSlot = 1,
  /** A write, and the memslot is read-only. */
  ReadOnly = 2,
  /** No VMA behind the memslot, or one that does not allow the access: -EFAULT. */
  HostFault = 3,
  /** No frame to be had. */
  OutOfFrames = 4,
  /** There is no map or cache of that number, or the access leaves its page. */
  Invalid = 5,
  /** The map is in use. */
  Busy = 6,
  /** Nothing is mapped there, or the cache is not active. */
  Inactive = 7,
  /** The page cannot be held, and MapFlag.Unsafe was not given. */
  Refused = 8,
}

export class Status {
  @inline static ofHost(status: HostStatus): KvmStatus {
    if (status == HostStatus.Ok) return KvmStatus.Ok;
    return status == HostStatus.OutOfFrames ? KvmStatus.OutOfFrames : KvmStatus.HostFault;
  }
  /** Whether the slot in `row`, 0 for none, allows the access: what gfn_to_hva tests. */
  @inline static ofSlot(row: usize, write: bool): KvmStatus {
    if (row == 0) return KvmStatus.NoSlot;
    const flags = changetype<Slot>(row).flags;
    if (flags & SlotFlag.Invalid) return KvmStatus.NoSlot;
    return write && flags & SlotFlag.ReadOnly ? KvmStatus.ReadOnly : KvmStatus.Ok;
  }
}
