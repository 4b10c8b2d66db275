// The virtual machine as a whole: made with the machine, taken apart for good or for a check that nothing leaked.

import { KVM_RCU_EPOCH, KVM_SLOTS_LOCK, KVM_SRCU_EPOCH } from "../layout/kvm";
import { Map } from "../layout/map";
import { MM_BASE, MM_NOTIFIERS, Notifier } from "../layout/mm";
import { Ops, Order } from "../sync/ops";
import { synchronizeRcu } from "../sync/grace";
import { Mutex } from "../sync/spin";
import { resetCpu } from "../x86/cpu";
import { deactivateAll } from "./pfncache";
import { zapAllFast } from "./roots";
import { reapTables } from "./tables";
import { releaseVcpu } from "./vcpu";

/** KVM_CREATE_VM and its vCPUs, in memory that is zero. */
export function createKvm(): void {
  Ops.store<u32>(KVM_SRCU_EPOCH, 1, Order.Relaxed);
  Ops.store<u32>(KVM_RCU_EPOCH, 1, Order.Relaxed);
  Ops.store<u32>(MM_BASE + MM_NOTIFIERS, Notifier.Kvm, Order.Release);
  for (let i: u32 = 0, n = Map.vcpuCount; i < n; i++) resetCpu(Map.actor(i));
}

/**
 * Gives back what the VM holds of the host: pfn caches, mappings of vCPUs, and every table of the secondary MMU: vCPUs
 * drop their roots, the roots are taken apart, grace periods awaited.
 * No vCPU may be running. The VM can be used again afterwards; what is left in the pool then is what leaked.
 */
export function unloadAll(actor: usize): void {
  deactivateAll(actor);
  for (let i: u32 = 0, n = Map.vcpuCount; i < n; i++) releaseVcpu(Map.actor(i));
  Mutex.lock(KVM_SLOTS_LOCK, actor);
  zapAllFast(actor);
  Mutex.unlock(KVM_SLOTS_LOCK, actor);
  synchronizeRcu(actor);
  while (reapTables(actor) != 0) synchronizeRcu(actor);
}
