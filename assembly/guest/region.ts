// The region of an address space that the guest kernel backs, and where in guest RAM its pages are.

import { AddressSpace, GuestMapping, GuestStatus } from "../layout/guest";
import { MachineOption } from "../layout/header";
import { Map } from "../layout/map";
import { reserveFrames } from "./allocator";
import { Kernel } from "./memory";
import { Permutation } from "./permutation";
import { GuestEntry, mapGuestPage } from "./tables";

/** End of the user half. */
const USER_END: u64 = 1 << 47;

export class Region {
  @inline static holds(space: AddressSpace, gva: u64): bool {
    return gva - space.start < space.size;
  }
  /** gpa of `gva`, which the region holds: of every kind but FirstTouch. */
  @inline static gpa(space: AddressSpace, gva: u64): u64 {
    const distance = gva - space.start;
    if (space.kind != GuestMapping.Random) return space.gpa + distance;
    const shift = <u64>space.pageShift;
    const page = Permutation.of(distance >> shift, space.pages, Permutation.bits(space.pages), space.key);
    return space.gpa + (page << shift) + (distance & (((<u64>1) << shift) - 1));
  }
  /** Neighbours in gva are neighbours in gpa. */
  @inline static linear(space: AddressSpace): bool {
    return space.kind == GuestMapping.Identity || space.kind == GuestMapping.Offset;
  }
}

/** True if this processor maps pages of that size. */
function knownPageSize(shift: u32): bool {
  return shift == 12 || shift == 21 || (shift == 30 && Map.has(MachineOption.Page1GB));
}

/**
 * Makes [gva, gva + size) the region of the vCPU's address space, in place of the one it had, whose pages stay mapped.
 * Nothing is mapped yet. Identity chooses the gva itself.
 */
export function setRegion(
  vcpu: usize,
  kind: GuestMapping,
  gva: u64,
  size: u64,
  shift: u32,
  key: u64,
): GuestStatus {
  const space = Kernel.space(vcpu);
  if (!knownPageSize(shift)) return GuestStatus.Unsupported;
  const align = (<u64>1) << shift;
  let gpa: u64 = 0;
  if (kind != GuestMapping.FirstTouch) {
    gpa = reserveFrames(size, align);
    if (gpa == 0) return GuestStatus.OutOfMemory;
    if (kind == GuestMapping.Identity) gva = gpa;
  }
  if ((gva | size) & (align - 1)) return GuestStatus.Unsupported;
  if (gva >= USER_END || size > USER_END - gva) return GuestStatus.BadAddress;
  space.kind = kind;
  space.start = gva;
  space.size = size;
  space.gpa = gpa;
  space.key = key;
  space.pageShift = shift;
  space.pages = size >> shift;
  // A frame of the old region's page size is of no use in the new one.
  Kernel.of(vcpu).spareFrame = 0;
  return GuestStatus.Ok;
}

/** Maps up to `count` pages of the region, from page `first`; a page that is mapped already is left alone. */
export function populateRegion(vcpu: usize, first: u64, count: u64): GuestStatus {
  const space = Kernel.space(vcpu);
  if (space.kind == GuestMapping.FirstTouch) return GuestStatus.Unsupported;
  const end = min<u64>(space.pages, first + count);
  for (let page = first; page < end; page++) {
    const gva = space.start + (page << (<u64>space.pageShift));
    const status = mapGuestPage(vcpu, gva, Region.gpa(space, gva), space.pageShift, GuestEntry.userPage);
    if (status != GuestStatus.Ok && status != GuestStatus.Exists) return status;
  }
  return GuestStatus.Ok;
}
