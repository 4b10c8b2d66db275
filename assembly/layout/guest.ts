// State of the small guest kernel, as far as it is not in guest memory itself: where its RAM ends, what of it has been
// handed out, and which region of the address space it backs. The shared part lies in the upper half of struct kvm's
// page, each vCPU's own part behind its load generator's.
//
//   KVM_BASE + 2048  GuestRam       cursors of the two allocators: words that all vCPUs raise
//              2176  AddressSpace   the one that vCPUs share
//
// Guest-physical memory, as the kernel divides it:
//
//   0        4096                tableEnd                          ramSize
//   | unused | table pages  ->   | frames of user pages  ->        |
//
// A table that finds no room below `tableEnd` comes from the frames.

import { ACTOR_DRIVE, ACTOR_FAULT } from "./actor";
import { KVM_BASE, KVM_SIZE } from "./kvm";

export const GUEST_BASE: usize = KVM_BASE + 2048;

/** Where the kernel maps all of guest RAM, supervisor only: page_offset_base of 64-bit Linux. */
export const GUEST_DIRECT_MAP: u64 = 0xffff_8880_0000_0000;
/** The most RAM that the direct map covers: 64 TiB, 128 entries of a PML4. */
export const GUEST_RAM_MAX: u64 = 1 << 46;

@unmanaged
export class GuestRam {
  /** Next gpa for a table page. Raised by any vCPU. */
  tableCursor: u64;
  /** Next gpa for a user frame. Raised by any vCPU. */
  frameCursor: u64;
  /** End of the part for tables. Constant after boot, as is what follows. */
  tableEnd: u64;
  /** Bytes of guest RAM, from gpa 0. */
  ramSize: u64;
  /** `GuestOption` bits. */
  options: u32;
}
export const GUEST_TABLE_CURSOR: usize = GUEST_BASE + offsetof<GuestRam>("tableCursor");
export const GUEST_FRAME_CURSOR: usize = GUEST_BASE + offsetof<GuestRam>("frameCursor");

/** One address space and the region that the kernel backs in it. Constant while vCPUs run. */
@unmanaged
export class AddressSpace {
  /** gpa of the PML4. */
  cr3: u64;
  /** First gva of the region. */
  start: u64;
  /** Bytes of the region; 0 for none. */
  size: u64;
  /** First gpa behind the region, for the kinds that reserve it as a whole. */
  gpa: u64;
  /** Key of the permutation of `GuestMapping.Random`. */
  key: u64;
  /** `GuestMapping`. */
  kind: u32;
  /** log2 of the size of its pages: 12, 21 or 30. */
  pageShift: u32;
  /** Pages of the region. */
  pages: u64;
}
export const GUEST_SHARED_SPACE: usize = GUEST_BASE + 128;

/** How the pages of a region get their gpa. */
export enum GuestMapping {
  /** gva = gpa: the region begins where its frames do. */
  Identity = 0,
  /** A constant distance apart. */
  Offset = 1,
  /** A permutation of the region's pages. */
  Random = 2,
  /** In the order of the first touches: a process and its anonymous memory. */
  FirstTouch = 3,
}

/** Choices at boot. */
export enum GuestOption {
  /** CR4.SMEP. */
  Smep = 1 << 0,
  /** CR4.SMAP. */
  Smap = 1 << 1,
  /** Leave A and D of user pages clear, for the page walker to set. */
  LazyAccessedDirty = 1 << 2,
}

/** How a request to the guest kernel ended. */
export enum GuestStatus {
  Ok = 0,
  /** The vCPU was asked to leave before it was done; it is outside guest mode. To be called again. */
  Interrupted = 1,
  /** Guest RAM is used up. */
  OutOfMemory = 2,
  /** Nothing is to be mapped there: SIGSEGV. */
  BadAddress = 3,
  /** Another translation is in place. */
  Exists = 4,
  /** A page of that size cannot be mapped by this processor, or not at that address. */
  Unsupported = 5,
  /** The host could not back the kernel's own access: its outcome is in the walk record. */
  HostError = 6,
}

/** The guest kernel's words of one vCPU; private. */
@unmanaged
export class GuestVcpu {
  /** What the kernel adds to a gpa to reach it: 0 without paging, `GUEST_DIRECT_MAP` with it. */
  directMap: u64;
  /** gpa of a cleared table page at hand, 0 for none. */
  spareTable: u64;
  /** gpa of a table page that is being cleared, 0 for none. */
  unclearedTable: u64;
  /** Frames of 4 KiB at hand: [frameNext, frameEnd). */
  frameNext: u64;
  frameEnd: u64;
  /** gpa of a frame that another vCPU was faster than, 0 for none; of the region's page size. */
  spareFrame: u64;
  /** Address of the `AddressSpace` in use. */
  space: u32;
}
export const ACTOR_GUEST: usize = ACTOR_DRIVE + 960;
/** The vCPU's own address space, if it has one. */
export const ACTOR_OWN_SPACE: usize = ACTOR_DRIVE + 1088;

if (offsetof<GuestRam>() > 128) ERROR("GuestRam must fit its line pair");
if (GUEST_SHARED_SPACE + offsetof<AddressSpace>() > KVM_BASE + KVM_SIZE)
  ERROR("the guest kernel must end with its page");
if (ACTOR_GUEST + offsetof<GuestVcpu>() > ACTOR_OWN_SPACE) ERROR("GuestVcpu must end before the own space");
if (ACTOR_OWN_SPACE + offsetof<AddressSpace>() > ACTOR_FAULT)
  ERROR("the own space must end before the fault part");
