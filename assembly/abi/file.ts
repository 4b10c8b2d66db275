// Files and devices of the host, pins, direct I/O.

import { DEVICE_MAX, Device, DeviceState, FileKind } from "../layout/file";
import { Map } from "../layout/map";
import { MM_BASE } from "../layout/mm";
import { PAGE_MAPPING, PAGE_PINCOUNT } from "../layout/page";
import { createDevice, destroyDevice, stateOf } from "../host/device";
import { DIO_HANDLE, beginDirect, endDirect, transferDirect } from "../host/direct";
import { Files, createFile, readFile, writeFile } from "../host/file";
import { grabFast, pinUserPage } from "../host/gup";
import { hostMmapFile as mmapFile } from "../host/mm";
import { headOf, markPageDirty } from "../host/page";
import { FollFlag, maybePinned, unpinPage } from "../host/pin";
import { HostStatus } from "../host/status";
import { destroyFile, punchHole, truncateFile } from "../host/truncate";
import { Ops, Order } from "../sync/ops";

/** A file of `pages` pages, all holes, in the page cache, or on DAX device `device` if that is not 0. Its number, from 1, in bits 31:0, `HostStatus` in 39:32. */
export function hostFileCreate(pages: u32, device: u32): u64 {
  return createFile(pages, device);
}

/** Takes a file away. Busy while it is mapped; Busy, or waits if `wait` is not 0, while a page of a DAX file is held. */
export function hostFileDestroy(actor: u32, file: u32, wait: u32): HostStatus {
  return destroyFile(Map.actor(actor), MM_BASE, file, wait != 0);
}

/** mmap(MAP_SHARED) of a file from its page `pgoff` on; the rest as hostMmap. */
export function hostMmapFile(actor: u32, hva: u64, length: u64, flags: u32, file: u32, pgoff: u32): u64 {
  return mmapFile(Map.actor(actor), MM_BASE, hva, length, flags, file, pgoff);
}

/** read(2): copies `length` bytes at `offset` to the start of the actor's batch buffer. */
export function hostFileRead(actor: u32, file: u32, offset: u64, length: u32): HostStatus {
  if (length > Map.batchSize) return HostStatus.Invalid;
  const a = Map.actor(actor);
  return readFile(a, file, offset, Map.batch(a), length);
}

/** write(2): copies `length` bytes from the start of the actor's batch buffer to `offset`. The file does not grow. */
export function hostFileWrite(actor: u32, file: u32, offset: u64, length: u32): HostStatus {
  if (length > Map.batchSize) return HostStatus.Invalid;
  const a = Map.actor(actor);
  return writeFile(a, file, offset, Map.batch(a), length);
}

/** ftruncate to `pages` pages. Busy, or waits if `wait` is not 0, while a page of a DAX file is held. */
export function hostFileTruncate(actor: u32, file: u32, pages: u32, wait: u32): HostStatus {
  return truncateFile(Map.actor(actor), MM_BASE, file, pages, wait != 0);
}

/** fallocate(FALLOC_FL_PUNCH_HOLE) of `count` pages from page `first` on. `wait` as of hostFileTruncate. */
export function hostFilePunch(actor: u32, file: u32, first: u32, count: u32, wait: u32): HostStatus {
  return punchHole(Map.actor(actor), MM_BASE, file, first, count, wait != 0);
}

/** `FileKind` of a file. */
export function hostFileKind(file: u32): u32 {
  return Files.kindOf(file);
}

/** Pages of a file; 0 if there is no such file. */
export function hostFileSize(file: u32): u32 {
  return Files.kindOf(file) == FileKind.None ? 0 : Files.pages(Map.file(file));
}

/** pfn of page `index` of a file: in the page cache, or its block; 0 for a hole. */
export function hostFilePage(file: u32, index: u32): u32 {
  if (Files.kindOf(file) == FileKind.None || index >= Map.filePages) return 0;
  return Ops.load<u32>(Files.slot(Map.file(file), index), Order.Acquire);
}

/** A device of 2^order blocks for DAX files, its memory taken from the pool. Its number, from 1, in bits 31:0, `HostStatus` in 39:32. */
export function hostDeviceCreate(actor: u32, order: u32): u64 {
  return createDevice(Map.actor(actor), order);
}

/** Takes a device away. Busy while a file has blocks of it; Busy, or waits if `wait` is not 0, while a page is held. */
export function hostDeviceDestroy(actor: u32, device: u32, wait: u32): HostStatus {
  return destroyDevice(Map.actor(actor), device, wait != 0);
}

/** First pfn of a device; 0 if there is no such device. */
export function hostDevicePfn(device: u32): u32 {
  if (device > DEVICE_MAX || stateOf(device) == DeviceState.None) return 0;
  return changetype<Device>(Map.device(device)).firstPfn;
}

/** pin_user_pages of one page, with FollFlag.Write and Longterm in `flags`: result as hostGup. */
export function hostPin(actor: u32, hva: u64, flags: u32): u64 {
  return pinUserPage(Map.actor(actor), MM_BASE, hva, flags & (FollFlag.Write | FollFlag.Longterm));
}

/** pin_user_pages_fast_only: pfn, its page pinned, or 0. */
export function hostPinFast(actor: u32, hva: u64, flags: u32): u32 {
  return grabFast(Map.actor(actor), MM_BASE, hva, flags | FollFlag.Pin);
}

/** unpin_user_page of what hostPin returned, marked dirty first if `dirty` is not 0. */
export function hostUnpin(actor: u32, pfn: u32, dirty: u32): void {
  if (dirty) markPageDirty(Map.page(pfn));
  unpinPage(Map.page(pfn), Map.actor(actor));
}

/** 1 if the page may be pinned. */
export function hostMaybePinned(pfn: u32): u32 {
  return u32(maybePinned(Map.page(pfn)));
}

/** Pins of a compound page; 0 of a single one, whose count has them. */
export function hostPincount(pfn: u32): i32 {
  return Ops.load<i32>(headOf(Map.page(pfn)) + PAGE_PINCOUNT, Order.Relaxed);
}

/** File that a page belongs to, 0 for none. */
export function hostPageMapping(pfn: u32): u32 {
  return Ops.load<u32>(Map.page(pfn) + PAGE_MAPPING, Order.Relaxed);
}

/** Begins direct I/O: pins [hva, hva + length), to be written by the device if FollFlag.Write is in `flags`. Returns a handle, 256 or more, or a `HostStatus`. */
export function hostDirectBegin(actor: u32, hva: u64, length: u32, flags: u32): u32 {
  const write = (flags & FollFlag.Write) != 0;
  return beginDirect(Map.actor(actor), MM_BASE, hva, length, write, (flags & FollFlag.Longterm) != 0);
}

/** The device, which acts as `actor`, moves `length` bytes at `offset` of the transfer between the start of its batch buffer and memory. */
export function hostDirectTransfer(actor: u32, handle: u32, offset: u32, length: u32): HostStatus {
  if (length > Map.batchSize) return HostStatus.Invalid;
  return transferDirect(handle, offset, Map.batch(Map.actor(actor)), length);
}

/** Ends direct I/O: drops its pins; pages that the device wrote are dirty. */
export function hostDirectEnd(actor: u32, handle: u32): HostStatus {
  return endDirect(Map.actor(actor), handle);
}

/** read(2) with O_DIRECT: the device writes `length` bytes of the actor's batch buffer to hva. */
export function hostDirectRead(actor: u32, hva: u64, length: u32): HostStatus {
  return direct(actor, hva, length, FollFlag.Write);
}

/** write(2) with O_DIRECT: the device reads `length` bytes at hva into the actor's batch buffer. */
export function hostDirectWrite(actor: u32, hva: u64, length: u32): HostStatus {
  return direct(actor, hva, length, 0);
}

function direct(actor: u32, hva: u64, length: u32, flags: u32): HostStatus {
  if (length > Map.batchSize) return HostStatus.Invalid;
  const handle = hostDirectBegin(actor, hva, length, flags);
  if (handle < DIO_HANDLE) return handle;
  const status = hostDirectTransfer(actor, handle, 0, length);
  hostDirectEnd(actor, handle);
  return status;
}
