// Guest RAM, handed out from the bottom up and never taken back: one cursor for table pages, one for user frames.

import { GUEST_BASE, GUEST_FRAME_CURSOR, GUEST_TABLE_CURSOR, GuestRam, GuestStatus } from "../layout/guest";
import { PAGE_SIZE } from "../layout/map";
import { Ops, Order } from "../sync/ops";
import { Kernel, kernelClear } from "./memory";

/** Frames of 4 KiB that a vCPU takes at a time: its faults then fill guest RAM in runs, and rarely meet another's. */
const FRAME_BATCH: u64 = 64;

/** Tells the kernel how much RAM it has. A 128th of it, and 128 KiB, are kept for tables. */
export function createGuestRam(ramSize: u64, options: u32): void {
  const ram = changetype<GuestRam>(GUEST_BASE);
  const tables = ((ramSize >> 7) & ~(<u64>PAGE_SIZE - 1)) + 0x20000;
  ram.ramSize = ramSize;
  ram.tableEnd = min<u64>(tables, ramSize);
  ram.options = options;
  Ops.store<u64>(GUEST_TABLE_CURSOR, PAGE_SIZE, Order.Relaxed);
  Ops.store<u64>(GUEST_FRAME_CURSOR, ram.tableEnd, Order.Relaxed);
}

/** Advances a cursor by `size` bytes, aligned to `align` (a power of two); 0 if it would pass `end`. */
function takeRange(cursor: usize, size: u64, align: u64, end: u64): u64 {
  let seen = Ops.load<u64>(cursor, Order.Relaxed);
  while (true) {
    const start = (seen + align - 1) & ~(align - 1);
    if (start > end || size > end - start) return 0;
    const found = Ops.cas<u64>(cursor, seen, start + size, Order.Full);
    if (found == seen) return start;
    seen = found;
  }
}

/** Reserves `size` bytes of user frames; 0 if guest RAM does not have them in one piece. */
export function reserveFrames(size: u64, align: u64): u64 {
  return takeRange(GUEST_FRAME_CURSOR, size, align, changetype<GuestRam>(GUEST_BASE).ramSize);
}

/** A cleared table page: its gpa is in `Kernel.value`. */
export function takeGuestTable(vcpu: usize): GuestStatus {
  const kernel = Kernel.of(vcpu);
  let gpa = kernel.spareTable;
  if (gpa == 0) {
    gpa = kernel.unclearedTable;
    if (gpa == 0)
      gpa = takeRange(GUEST_TABLE_CURSOR, PAGE_SIZE, PAGE_SIZE, changetype<GuestRam>(GUEST_BASE).tableEnd);
    if (gpa == 0) gpa = reserveFrames(PAGE_SIZE, PAGE_SIZE);
    if (gpa == 0) return GuestStatus.OutOfMemory;
    kernel.unclearedTable = gpa; // kept if the vCPU is interrupted before it is clear
    const status = kernelClear(vcpu, gpa);
    if (status != GuestStatus.Ok) return status;
    kernel.unclearedTable = 0;
  }
  kernel.spareTable = 0;
  Kernel.setValue(vcpu, gpa);
  return GuestStatus.Ok;
}

/** Keeps a table page that another vCPU was faster than: it is still clear. */
export function keepGuestTable(vcpu: usize, gpa: u64): void {
  Kernel.of(vcpu).spareTable = gpa;
}

/** A frame of the size of the region's pages, contents arbitrary; 0 if guest RAM is used up. */
export function takeGuestFrame(vcpu: usize, shift: u32): u64 {
  const kernel = Kernel.of(vcpu);
  const spare = kernel.spareFrame;
  if (spare) {
    kernel.spareFrame = 0;
    return spare;
  }
  const size = (<u64>1) << shift;
  if (shift != 12) return reserveFrames(size, size);
  if (kernel.frameNext == kernel.frameEnd) {
    let bytes = size * FRAME_BATCH;
    let gpa = reserveFrames(bytes, size);
    if (gpa == 0) gpa = reserveFrames((bytes = size), size);
    if (gpa == 0) return 0;
    kernel.frameNext = gpa;
    kernel.frameEnd = gpa + bytes;
  }
  const gpa = kernel.frameNext;
  kernel.frameNext = gpa + size;
  return gpa;
}

/** Keeps a frame that was not mapped after all. */
export function keepGuestFrame(vcpu: usize, gpa: u64): void {
  Kernel.of(vcpu).spareFrame = gpa;
}
