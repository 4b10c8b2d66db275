// The accesses of a walk that a processor makes by itself (x86/hardware.ts): each is made while its vCPU is in guest mode,
// or not at all. A walk does not outlive the VM exit, nor the acknowledgement of a kick that the exit is, so that whoever
// has waited for it may free the tables.
//
// The look at the vCPU and the access are one step of hardware. A walk that the exit finds half done may go on after the
// next entry, as one that begins at a table that a processor has cached: VM entries and exits need not invalidate
// (SDM vol. 3C 29.4.3.1). It ends at whatever does: another generation, another context, an invalidation counted.
//
// Walks of vCPUs, and all walks of the release build, ask nothing.

import { CONTROL_MODE, VcpuMode } from "../layout/control";
import { CPU_CONTEXT, CPU_GENERATION, CPU_INVALIDATIONS, CPU_IN_GUEST, CPU_WALKS_FOR } from "../layout/cpu";
import { Note, Notes } from "../note";
import { Ops, Order } from "../sync/ops";

export class Speculation {
  /** The walk of `block` makes an access next, up to `end`. False: it is over, as if it had not been begun. */
  @inline static begin(block: usize): bool {
    return LAB ? beginAccess(block, load<u32>(block + CPU_WALKS_FOR)) : true;
  }
  /** The access is made. */
  @inline static end(block: usize): void {
    if (LAB && load<u32>(block + CPU_WALKS_FOR)) Notes.tell(Note.AtomicEnd, 0, 0);
  }
}

/**
 * The vCPU runs in guest mode; one that is asked to leave still does, until it has left. The mode is where others come
 * before; it says so a little too early, before the last look at the requests. What the processor does is its own word.
 */
export function runsGuest(vcpu: usize): bool {
  const mode = Ops.load<u32>(vcpu + CONTROL_MODE, Order.Relaxed);
  return mode != VcpuMode.OutsideGuest && load<u32>(vcpu + CPU_IN_GUEST) != 0;
}

/** True if nothing was invalidated since the registers were copied. */
function isCurrent(block: usize, vcpu: usize): bool {
  return (
    load<u32>(block + CPU_GENERATION) == load<u32>(vcpu + CPU_GENERATION) &&
    load<u64>(block + CPU_CONTEXT) == load<u64>(vcpu + CPU_CONTEXT) &&
    load<u32>(block + CPU_INVALIDATIONS) == load<u32>(vcpu + CPU_INVALIDATIONS)
  );
}

function beginAccess(block: usize, vcpu: usize): bool {
  if (vcpu == 0) return true;
  Notes.tell(Note.AtomicBegin, 0, 0);
  if (runsGuest(vcpu) && isCurrent(block, vcpu)) return true;
  Notes.tell(Note.AtomicEnd, 0, 0);
  return false;
}
