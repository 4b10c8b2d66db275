// Files and the devices of DAX files, for machines that have any (`Header.fileMax`). A file is a head and one word a
// page: the pfn that its page cache holds there, or the block of the device; 0 is a hole, which reads as zeros.
//
//   devices   DEVICE_MAX rows of 32 B
//   files     head of 64 B, then 4 B a page: `fileMax` rows

@unmanaged
export class File {
  /** invalidate_lock, an rwlock (sync/rwlock.ts): for read while a fault maps a page, for write by truncate. */
  invalidateLock: u32;
  invalidateWaiters: u32;
  invalidateDrainers: u32;
  /** i_rwsem, as a mutex: write(2) and truncate, one at a time. */
  inodeLock: u32;
  /** `FileKind`. */
  kind: u32;
  /** Device of a DAX file, 0 for one in the page cache. */
  device: u32;
  /** i_size in pages. Written with the invalidate lock held for write. */
  pages: u32;
}
export const FILE_HEAD_SIZE: u32 = 64;

export enum FileKind {
  None = 0,
  /** Its pages are in the page cache. */
  Cached = 1,
  /** Its pages are blocks of a device. */
  Dax = 2,
  /** Being made, or taken away: nobody may use it. */
  Closing = 3,
}

/** dev_pagemap: a device whose memory has struct pages of its own (MEMORY_DEVICE_FS_DAX). */
@unmanaged
export class Device {
  /** Guards which blocks are in use. Spin lock. */
  lock: u32;
  /** `DeviceState`. */
  state: u32;
  firstPfn: u32;
  /** log2 of its frames. */
  order: u32;
  /** Puts that may have made a page idle: who waits for one sleeps on this. */
  puts: u32;
}
export const DEVICE_MAX: u32 = 4;
export const DEVICE_SHIFT: u32 = 5;

export enum DeviceState {
  None = 0,
  Live = 1,
  /** Being taken away: no new references (pgmap dying). */
  Dying = 2,
}

export const FILE_KIND: usize = offsetof<File>("kind");
export const FILE_PAGE_COUNT: usize = offsetof<File>("pages");
export const FILE_INODE_LOCK: usize = offsetof<File>("inodeLock");
export const FILE_INVALIDATE_LOCK: usize = offsetof<File>("invalidateLock");
export const FILE_DEVICE: usize = offsetof<File>("device");
export const FILE_PFNS: usize = <usize>FILE_HEAD_SIZE;
export const DEVICE_LOCK: usize = offsetof<Device>("lock");
export const DEVICE_PUTS: usize = offsetof<Device>("puts");
export const DEVICE_STATE: usize = offsetof<Device>("state");

if (offsetof<File>() > <usize>FILE_HEAD_SIZE) ERROR("a file's head must fit its line");
if (offsetof<Device>() > (<usize>1) << DEVICE_SHIFT) ERROR("a device must fit its row");
