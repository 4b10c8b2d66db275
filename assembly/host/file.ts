// Files: the page cache, one word a page, and the blocks of DAX files, in the same words. Pages come and go with the
// file's invalidate lock held, for read where one is added, for write where one is removed (truncate.ts). A lookup
// needs no lock: take a reference, then look again, as gup-fast does with a PTE.

import {
  FILE_DEVICE,
  FILE_INODE_LOCK,
  FILE_INVALIDATE_LOCK,
  FILE_KIND,
  FILE_PAGE_COUNT,
  FILE_PFNS,
  DeviceState,
  FileKind,
} from "../layout/file";
import { GRACE_INVALIDATE_READER } from "../layout/control";
import { MachineOption } from "../layout/header";
import { Map, PAGE_SIZE } from "../layout/map";
import { PAGE_INDEX, PAGE_MAPPING } from "../layout/page";
import { Note, Notes } from "../note";
import { Ops, Order } from "../sync/ops";
import { RwLock } from "../sync/rwlock";
import { Mutex } from "../sync/spin";
import { freeDeviceBlock, stateOf, takeDeviceBlock } from "./device";
import { getUnlessZero, markPageDirty, putPage } from "./page";
import { allocReferences } from "./pool";
import { HostStatus } from "./status";

export class Files {
  /** `FileKind`; None for a number that no file has. */
  @inline static kindOf(file: u32): u32 {
    if (file == 0 || file > Map.fileMax) return FileKind.None;
    return Ops.load<u32>(Map.file(file) + FILE_KIND, Order.Acquire);
  }
  /** i_size in pages. */
  @inline static pages(row: usize): u32 {
    return Ops.load<u32>(row + FILE_PAGE_COUNT, Order.Relaxed);
  }
  /** The word of page `index`. */
  @inline static slot(row: usize, index: u32): usize {
    return row + FILE_PFNS + ((<usize>index) << 2);
  }
}

/** i_rwsem of a file, held by those that write or truncate; they may sleep with it. */
export class Inode {
  /** Takes it. False, and not taken, if there is no such file. */
  static lock(actor: usize, file: u32): bool {
    if (file == 0 || file > Map.fileMax) return false;
    const row = Map.file(file);
    Mutex.lock(row + FILE_INODE_LOCK, actor);
    const kind = Files.kindOf(file);
    if (kind == FileKind.Cached || kind == FileKind.Dax) return true;
    Mutex.unlock(row + FILE_INODE_LOCK, actor);
    return false;
  }
  static unlock(actor: usize, file: u32): void {
    Mutex.unlock(Map.file(file) + FILE_INODE_LOCK, actor);
  }
}

/**
 * An empty file of `pages` pages, all holes: in the page cache, or on `device` if that is not 0. Its number, from 1, in
 * bits 31:0; `HostStatus` in 39:32.
 */
export function createFile(pages: u32, device: u32): u64 {
  if (pages > Map.filePages && Map.fileMax != 0) return (<u64>HostStatus.FileTooLarge) << 32;
  if (device != 0 && stateOf(device) != DeviceState.Live) return (<u64>HostStatus.NoFile) << 32;
  for (let file: u32 = 1; file <= Map.fileMax; file++) {
    const row = Map.file(file);
    if (Ops.cas<u32>(row + FILE_KIND, FileKind.None, FileKind.Closing, Order.Acquire) != 0) continue;
    store<u32>(row + FILE_DEVICE, device);
    Ops.store<u32>(row + FILE_PAGE_COUNT, pages, Order.Relaxed);
    Ops.store<u32>(row + FILE_KIND, device ? FileKind.Dax : FileKind.Cached, Order.Release);
    return file;
  }
  return (<u64>HostStatus.TooManyFiles) << 32;
}

/** filemap_get_folio: the page in the cache, with a reference, or 0. Without a lock. */
export function findCachedPage(row: usize, index: u32, actor: usize): u32 {
  const slot = Files.slot(row, index);
  let pfn = Ops.load<u32>(slot, Order.Acquire);
  while (pfn) {
    const page = Map.page(pfn);
    const held = getUnlessZero(page);
    // Pairs with removePage: word, then the cache's reference. Either the word is seen changed, or the page is held.
    const now = Ops.load<u32>(slot, Order.Acquire);
    if (held && now == pfn) return pfn;
    if (held) putPage(page, actor);
    pfn = now;
  }
  return 0;
}

/** The page in the cache, added if need be, with a reference; 0 if out of frames. Invalidate lock held for read. */
export function cachedPage(actor: usize, file: u32, index: u32): u32 {
  const row = Map.file(file);
  while (true) {
    const found = findCachedPage(row, index, actor);
    if (found) return found;
    const pfn = allocReferences(actor, 1);
    if (pfn == 0) return 0;
    if (Map.has(MachineOption.ZeroPages)) memory.fill(Map.frame(pfn), 0, PAGE_SIZE);
    const page = Map.page(pfn);
    store<u64>(page + PAGE_INDEX, index);
    Ops.store<u32>(page + PAGE_MAPPING, file, Order.Relaxed);
    if (Ops.cas<u32>(Files.slot(row, index), 0, pfn, Order.Release) == 0) {
      Notes.tell(Note.FileAdd, pfn, ((<u64>file) << 40) | index);
      continue;
    }
    Ops.store<u32>(page + PAGE_MAPPING, 0, Order.Relaxed);
    putPage(page, actor); // another actor's is there
  }
}

/** The block of a DAX file at `index`, allocated if need be; 0 if the device is full. Invalidate lock held for read. */
export function daxBlock(actor: usize, file: u32, index: u32): u32 {
  const row = Map.file(file);
  const slot = Files.slot(row, index);
  const pfn = Ops.load<u32>(slot, Order.Acquire);
  if (pfn) return pfn;
  const taken = takeDeviceBlock(actor, load<u32>(row + FILE_DEVICE), file, index);
  if (taken == 0) return Ops.load<u32>(slot, Order.Acquire); // the last one may have gone to this page
  const there = Ops.cas<u32>(slot, 0, taken, Order.Full);
  if (there == 0) {
    Notes.tell(Note.FileAdd, taken, ((<u64>file) << 40) | index);
    return taken;
  }
  freeDeviceBlock(actor, Map.page(taken));
  return there;
}

/** Takes page `index` out of the file, if it has one. Nothing maps it; the invalidate lock is held for write. */
export function removePage(actor: usize, row: usize, index: u32, isDax: bool): void {
  const slot = Files.slot(row, index);
  const pfn = Ops.load<u32>(slot, Order.Relaxed);
  if (pfn == 0) return;
  const page = Map.page(pfn);
  Ops.store<u32>(slot, 0, Order.Release);
  if (isDax) {
    freeDeviceBlock(actor, page);
    return;
  }
  // Whoever holds the page goes on with it: what is written to it from now on is in no file (claim C5).
  Ops.store<u32>(page + PAGE_MAPPING, 0, Order.Relaxed);
  Notes.tell(Note.FileRemove, pfn, 0);
  putPage(page, actor);
}

/** Bytes from `offset` to the end of its page, at most `length`. */
function chunkAt(offset: u64, length: u32): u32 {
  return min(length, PAGE_SIZE - ((<u32>offset) & (PAGE_SIZE - 1)));
}

/** [offset, offset + length) lies in the file. */
function isWithin(row: usize, offset: u64, length: u32): bool {
  const size = (<u64>Files.pages(row)) << 12;
  return offset <= size && length <= size - offset;
}

/** read(2): copies bytes of the file to `to`. BeyondEnd, with nothing copied, if it does not have them all. */
export function readFile(actor: usize, file: u32, offset: u64, to: usize, length: u32): HostStatus {
  const kind = Files.kindOf(file);
  if (kind != FileKind.Cached && kind != FileKind.Dax) return HostStatus.NoFile;
  const row = Map.file(file);
  if (!isWithin(row, offset, length)) return HostStatus.BeyondEnd;
  while (length) {
    const chunk = chunkAt(offset, length);
    if (kind == FileKind.Dax) readBlock(actor, row, offset, to, chunk);
    else readCached(actor, row, offset, to, chunk);
    offset += chunk;
    to += chunk;
    length -= chunk;
  }
  return HostStatus.Ok;
}

function readCached(actor: usize, row: usize, offset: u64, to: usize, length: u32): void {
  const pfn = findCachedPage(row, <u32>(offset >> 12), actor);
  copyFromPage(pfn, offset, to, length);
  if (pfn) putPage(Map.page(pfn), actor);
}

/** dax_iomap_rw takes no reference: the lock keeps the block the file's. */
function readBlock(actor: usize, row: usize, offset: u64, to: usize, length: u32): void {
  RwLock.readLock(row + FILE_INVALIDATE_LOCK, GRACE_INVALIDATE_READER, actor);
  const pfn = Ops.load<u32>(Files.slot(row, <u32>(offset >> 12)), Order.Acquire);
  copyFromPage(pfn, offset, to, length);
  RwLock.readUnlock(row + FILE_INVALIDATE_LOCK, GRACE_INVALIDATE_READER, actor);
}

/** A hole reads as zeros. */
function copyFromPage(pfn: u32, offset: u64, to: usize, length: u32): void {
  if (pfn == 0) {
    memory.fill(to, 0, length);
    return;
  }
  const from = Map.frame(pfn) + ((<usize>offset) & (PAGE_SIZE - 1));
  Notes.tell(Note.HostUse, pfn, (<u64>from) << 1);
  memory.copy(to, from, length);
}

/**
 * write(2): copies bytes to the file, which does not grow by it. BeyondEnd if it has not got the place; OutOfFrames or
 * NoBlocks: the bytes before have been written.
 */
export function writeFile(actor: usize, file: u32, offset: u64, from: usize, length: u32): HostStatus {
  if (!Inode.lock(actor, file)) return HostStatus.NoFile;
  const row = Map.file(file);
  let status = isWithin(row, offset, length) ? HostStatus.Ok : HostStatus.BeyondEnd;
  while (length && status == HostStatus.Ok) {
    const chunk = chunkAt(offset, length);
    status = writePage(actor, file, offset, from, chunk);
    offset += chunk;
    from += chunk;
    length -= chunk;
  }
  Inode.unlock(actor, file);
  return status;
}

/** Writes within one page. The inode lock is held: no truncate comes between. */
function writePage(actor: usize, file: u32, offset: u64, from: usize, length: u32): HostStatus {
  const row = Map.file(file);
  const index = <u32>(offset >> 12);
  const isDax = Files.kindOf(file) == FileKind.Dax;
  RwLock.readLock(row + FILE_INVALIDATE_LOCK, GRACE_INVALIDATE_READER, actor);
  const pfn = isDax ? daxBlock(actor, file, index) : cachedPage(actor, file, index);
  RwLock.readUnlock(row + FILE_INVALIDATE_LOCK, GRACE_INVALIDATE_READER, actor);
  if (pfn == 0) return isDax ? HostStatus.NoBlocks : HostStatus.OutOfFrames;
  const to = Map.frame(pfn) + ((<usize>offset) & (PAGE_SIZE - 1));
  Notes.tell(Note.HostUse, pfn, ((<u64>to) << 1) | 1);
  memory.copy(to, from, length);
  markPageDirty(Map.page(pfn));
  if (!isDax) putPage(Map.page(pfn), actor);
  return HostStatus.Ok;
}
