// The guest's page-fault handler: do_user_addr_fault of a kernel with one region.

import { GuestMapping, GuestStatus } from "../layout/guest";
import { Stat, Stats } from "../layout/stats";
import { PFERR_P, PFERR_RSVD, PFERR_US, PFERR_WR, PTE_RW, PTE_US } from "../x86/bits";
import { tlbInvalidatePage } from "../x86/tlb";
import { keepGuestFrame, takeGuestFrame } from "./allocator";
import { Kernel } from "./memory";
import { Region } from "./region";
import { GuestEntry, mapGuestPage, readGuestLeaf } from "./tables";

/**
 * Handles a #PF at `gva` with this error code, in guest mode. Ok: the access is to be tried again. BadAddress: the
 * process would be killed. Interrupted: the vCPU is outside guest mode.
 */
export function guestPageFault(vcpu: usize, gva: u64, error: u32): GuestStatus {
  Stats.add(vcpu, Stat.GuestFaults, 1);
  if (error & PFERR_RSVD || !Region.holds(Kernel.space(vcpu), gva)) return GuestStatus.BadAddress;
  if (error & PFERR_P) return spuriousFault(vcpu, gva, error);
  return demandPage(vcpu, gva);
}

/** The page was present: the TLB may have been older than the tables (spurious_kernel_fault). */
function spuriousFault(vcpu: usize, gva: u64, error: u32): GuestStatus {
  const status = readGuestLeaf(vcpu, gva);
  if (status != GuestStatus.Ok) return status;
  const leaf = Kernel.value(vcpu);
  if (leaf == 0) return demandPage(vcpu, gva);
  if (error & PFERR_WR && (leaf & PTE_RW) == 0) return GuestStatus.BadAddress;
  if (error & PFERR_US && (leaf & PTE_US) == 0) return GuestStatus.BadAddress;
  tlbInvalidatePage(vcpu, gva);
  return GuestStatus.Ok;
}

function demandPage(vcpu: usize, gva: u64): GuestStatus {
  const space = Kernel.space(vcpu);
  const shift = space.pageShift;
  const page = (gva >> (<u64>shift)) << (<u64>shift);
  if (space.kind != GuestMapping.FirstTouch) {
    return settled(mapGuestPage(vcpu, page, Region.gpa(space, page), shift, GuestEntry.userPage));
  }
  const frame = takeGuestFrame(vcpu, shift);
  if (frame == 0) return GuestStatus.OutOfMemory;
  const status = mapGuestPage(vcpu, page, frame, shift, GuestEntry.userPage);
  if (status != GuestStatus.Ok) keepGuestFrame(vcpu, frame);
  return settled(status);
}

/** That another vCPU has mapped the page meanwhile is as good. */
function settled(status: GuestStatus): GuestStatus {
  return status == GuestStatus.Exists ? GuestStatus.Ok : status;
}
