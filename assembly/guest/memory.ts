// How the guest kernel reaches guest-physical memory: at gva = gpa before it has turned paging on, through its direct
// map afterwards. Its accesses are supervisor-mode accesses whatever the CPL of the code that it interrupts, so that a
// page fault costs no change of CPL. All of it goes the way of every guest access: TLB, walks, EPT violations.

import { ACTOR_FAULT, ACTOR_WALK } from "../layout/actor";
import { FAULT_OFFSET_VALUE } from "../layout/fault";
import { ACTOR_GUEST, AddressSpace, GuestStatus, GuestVcpu } from "../layout/guest";
import { PAGE_SIZE } from "../layout/map";
import { Access, Outcome, Walk } from "../layout/walk";
import { Guest } from "../kvm/vcpu";
import { Ops, Order } from "../sync/ops";

export class Kernel {
  @inline static of(vcpu: usize): GuestVcpu {
    return changetype<GuestVcpu>(vcpu + ACTOR_GUEST);
  }
  /** The address space that the vCPU runs in. */
  @inline static space(vcpu: usize): AddressSpace {
    return changetype<AddressSpace>(<usize>Kernel.of(vcpu).space);
  }
  /** What the last `kernelLoad` read, or `kernelCas` found. */
  @inline static value(vcpu: usize): u64 {
    return load<u64>(vcpu + ACTOR_FAULT + FAULT_OFFSET_VALUE);
  }
  @inline static setValue(vcpu: usize, value: u64): void {
    store<u64>(vcpu + ACTOR_FAULT + FAULT_OFFSET_VALUE, value);
  }
}

/** Address in this memory of guest-physical `gpa`, or 0: see `kernelFailure`. */
function reach(vcpu: usize, gpa: u64, access: Access): usize {
  const gva = Kernel.of(vcpu).directMap + gpa;
  const address = Guest.address(vcpu, gva, access);
  // The one access that the caller makes comes next.
  if (LAB && address) Guest.use(vcpu, gva, address, access == Access.ImplicitWrite);
  return address;
}

/** Why an access of the kernel did not happen. */
function kernelFailure(vcpu: usize): GuestStatus {
  const outcome = changetype<Walk>(vcpu + ACTOR_WALK).outcome;
  return outcome == Outcome.Interrupted ? GuestStatus.Interrupted : GuestStatus.HostError;
}

/** Reads a word that another vCPU may write, to `Kernel.value`. */
export function kernelLoad(vcpu: usize, gpa: u64): GuestStatus {
  const address = reach(vcpu, gpa, Access.ImplicitRead);
  if (address == 0) return kernelFailure(vcpu);
  Kernel.setValue(vcpu, Ops.load<u64>(address, Order.Acquire));
  return GuestStatus.Ok;
}

export function kernelStore(vcpu: usize, gpa: u64, value: u64): GuestStatus {
  const address = reach(vcpu, gpa, Access.ImplicitWrite);
  if (address == 0) return kernelFailure(vcpu);
  Ops.store<u64>(address, value, Order.Release);
  return GuestStatus.Ok;
}

/** LOCK CMPXCHG: what was there is in `Kernel.value`, and equals `expected` if the word was written. */
export function kernelCas(vcpu: usize, gpa: u64, expected: u64, value: u64): GuestStatus {
  const address = reach(vcpu, gpa, Access.ImplicitWrite);
  if (address == 0) return kernelFailure(vcpu);
  Kernel.setValue(vcpu, Ops.cas<u64>(address, expected, value, Order.Full));
  return GuestStatus.Ok;
}

/** clear_page. Nobody else knows the page yet. */
export function kernelClear(vcpu: usize, gpa: u64): GuestStatus {
  const address = reach(vcpu, gpa, Access.ImplicitWrite);
  if (address == 0) return kernelFailure(vcpu);
  memory.fill(address, 0, PAGE_SIZE);
  return GuestStatus.Ok;
}
