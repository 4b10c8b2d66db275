// Direct I/O: a device reads or writes the pages of user space itself. The pages of the range are pinned, the device
// accesses their frames by physical address, knowing nothing of page tables, and the pins are dropped. A transfer is a
// row of a table, so that the device can be an actor of its own.

import { DIO_MAX, DIO_PAGES, DIO_PFNS, Dio, DioState, Dios } from "../layout/mm";
import { Map, PAGE_SHIFT, PAGE_SIZE } from "../layout/map";
import { Note, Notes } from "../note";
import { Ops, Order } from "../sync/ops";
import { Gup, pinUserPage } from "./gup";
import { markPageDirty } from "./page";
import { FollFlag, unpinPage } from "./pin";
import { HostStatus } from "./status";

/** Handles are this and above: what is below is a `HostStatus`. */
export const DIO_HANDLE: u32 = 256;

class Transfer {
  @inline static stateAt(row: usize): usize {
    return row + offsetof<Dio>("state");
  }
  @inline static pfnAt(row: usize, page: u32): usize {
    return row + DIO_PFNS + ((<usize>page) << 2);
  }
  /** Row of a handle whose transfer is ready; 0 if it is none. */
  static ready(handle: u32): usize {
    const index = handle - DIO_HANDLE;
    if (index >= DIO_MAX) return 0;
    const row = Dios.row(index);
    return Ops.load<u32>(Transfer.stateAt(row), Order.Acquire) == DioState.Ready ? row : 0;
  }
}

/**
 * Pins the pages of [hva, hva + length) for a device, which will write to memory if `write`, with FollFlag.Longterm in
 * `flags` for as long as it likes. Returns a handle, or the `HostStatus` of the page that could not be pinned; then none
 * is. Invalid if the range is empty or touches more than DIO_PAGES pages.
 */
export function beginDirect(
  actor: usize,
  mm: usize,
  hva: u64,
  length: u32,
  write: bool,
  longterm: bool,
): u32 {
  const offset = (<u32>hva) & (PAGE_SIZE - 1);
  const pages = (<u64>offset + length + PAGE_SIZE - 1) >> PAGE_SHIFT;
  if (length == 0 || pages > DIO_PAGES) return HostStatus.Invalid;
  for (let i: u32 = 0; i < DIO_MAX; i++) {
    const row = Dios.row(i);
    if (Ops.cas<u32>(Transfer.stateAt(row), DioState.Free, DioState.Claimed, Order.Acquire) != 0) continue;
    const dio = changetype<Dio>(row);
    dio.offset = offset;
    dio.length = length;
    dio.write = u32(write);
    dio.pages = 0;
    const flags = (write ? FollFlag.Write : 0) | (longterm ? FollFlag.Longterm : 0);
    const status = pinPages(actor, mm, row, hva - offset, <u32>pages, flags);
    if (status != HostStatus.Ok) unpinPages(actor, row, false);
    const state = status == HostStatus.Ok ? DioState.Ready : DioState.Free;
    Ops.store<u32>(Transfer.stateAt(row), state, Order.Release);
    return status == HostStatus.Ok ? DIO_HANDLE + i : status;
  }
  return HostStatus.TooManyFiles;
}

function pinPages(actor: usize, mm: usize, row: usize, hva: u64, pages: u32, flags: u32): HostStatus {
  const dio = changetype<Dio>(row);
  while (dio.pages < pages) {
    const found = pinUserPage(actor, mm, hva + ((<u64>dio.pages) << PAGE_SHIFT), flags);
    if (Gup.status(found) != HostStatus.Ok) return Gup.status(found);
    store<u32>(Transfer.pfnAt(row, dio.pages), Gup.pfn(found));
    dio.pages++;
  }
  return HostStatus.Ok;
}

/** unpin_user_pages_dirty_lock. */
function unpinPages(actor: usize, row: usize, dirty: bool): void {
  for (let i: u32 = 0, n = changetype<Dio>(row).pages; i < n; i++) {
    const page = Map.page(load<u32>(Transfer.pfnAt(row, i)));
    if (dirty) markPageDirty(page);
    unpinPage(page, actor);
  }
}

/**
 * The device moves `length` bytes at `offset` of the transfer, between `buffer` and the pinned pages, word by word: each
 * word is a step of its own. Invalid if there is no such transfer, or it has fewer bytes.
 */
export function transferDirect(handle: u32, offset: u32, buffer: usize, length: u32): HostStatus {
  const row = Transfer.ready(handle);
  if (row == 0) return HostStatus.Invalid;
  const dio = changetype<Dio>(row);
  if (offset > dio.length || length > dio.length - offset) return HostStatus.Invalid;
  for (let done: u32 = 0; done < length;) {
    const at = dio.offset + offset + done;
    const pfn = load<u32>(Transfer.pfnAt(row, at >> PAGE_SHIFT));
    const address = Map.frame(pfn) + (at & (PAGE_SIZE - 1));
    const isWord = (at & 7) == 0 && length - done >= 8;
    if (dio.write) storePart(address, buffer + done, isWord);
    else loadPart(address, buffer + done, isWord);
    Notes.tell(Note.DmaUse, pfn, ((<u64>address) << 1) | dio.write);
    done += isWord ? 8 : 1;
  }
  return HostStatus.Ok;
}

function storePart(address: usize, from: usize, isWord: bool): void {
  if (isWord) Ops.store<u64>(address, load<u64>(from), Order.Relaxed);
  else Ops.store<u8>(address, load<u8>(from), Order.Relaxed);
}

function loadPart(address: usize, to: usize, isWord: bool): void {
  if (isWord) store<u64>(to, Ops.load<u64>(address, Order.Relaxed));
  else store<u8>(to, Ops.load<u8>(address, Order.Relaxed));
}

/** Ends a transfer: unpins its pages, dirty if the device wrote. Invalid if there is no such transfer. */
export function endDirect(actor: usize, handle: u32): HostStatus {
  const row = Transfer.ready(handle);
  if (row == 0) return HostStatus.Invalid;
  if (Ops.cas<u32>(Transfer.stateAt(row), DioState.Ready, DioState.Claimed, Order.Acquire) != DioState.Ready)
    return HostStatus.Invalid;
  unpinPages(actor, row, changetype<Dio>(row).write != 0);
  Ops.store<u32>(Transfer.stateAt(row), DioState.Free, Order.Release);
  return HostStatus.Ok;
}
