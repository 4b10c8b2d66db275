// Devices whose memory has struct pages (dev_pagemap, MEMORY_DEVICE_FS_DAX): frames taken out of the pool when the
// device is made. Their blocks are handed to files and taken back; a reference never frees one. A block is idle when
// nobody holds its page: at a count of 1, or of 0 in the kernels with Switch.DaxIdleZero. Whoever makes a page idle
// wakes those that sleep on its count.

import { DEVICE_MAX, DEVICE_PUTS, DEVICE_LOCK, DEVICE_STATE, Device, DeviceState } from "../layout/file";
import { MachineOption } from "../layout/header";
import { Map, PAGE_SIZE } from "../layout/map";
import {
  GUP_PIN_COUNTING_BIAS,
  PAGE_EPOCH,
  PAGE_FLAGS,
  PAGE_MAPCOUNT,
  PAGE_MAPPING,
  PAGE_PGMAP,
  PAGE_REFCOUNT,
  Page,
  PageFlag,
} from "../layout/page";
import { ZONE_ORDERS } from "../layout/mm";
import { Note, Notes } from "../note";
import { Profiles, Switch } from "../profile";
import { Rule, Rules } from "../rules";
import { Ops, Order } from "../sync/ops";
import { Spin } from "../sync/spin";
import { park, wakeAll } from "../sync/wait";
import { Ensure, Trap } from "../trap";
import { poisonFrame } from "./poison";
import { takeVerifiedBlock } from "./pool";
import { HostStatus } from "./status";
import { Frames, Zone, freeBlockLocked } from "./zone";

/** Count of a page of a device that nobody holds. */
export function idleCount(): i32 {
  return Profiles.has(Switch.DaxIdleZero) ? 0 : 1;
}

/** is_zone_device_page of a head. Costs nothing in a machine without devices (devmap_managed_key). */
export function isDevicePage(head: usize): bool {
  if (Map.fileMax == 0) return false;
  return (Ops.load<u32>(head + PAGE_FLAGS, Order.Relaxed) & PageFlag.ZoneDevice) != 0;
}

/** put of `references` references (1, or a pin's) on a page of a device. */
export function putDevicePage(page: usize, references: i32, actor: usize): void {
  const pfn = Map.pagePfn(page);
  // Before the count falls: afterwards the page may be another device's.
  const puts = putsOf(page);
  const left = Ops.sub<i32>(page + PAGE_REFCOUNT, references, Order.Full) - references;
  if (references == GUP_PIN_COUNTING_BIAS) Notes.tell(Note.PinDropped, pfn, left);
  Notes.tell(Note.PagePut, pfn, left);
  Ensure.that(left >= idleCount(), Trap.RefcountUnderflow, pfn, actor);
  // Pairs with waitIdle: the count, then `puts`; there `puts`, then the count.
  if (left == idleCount() || !mappingsCount()) {
    Ops.add<u32>(puts, 1, Order.Full);
    wakeAll(puts);
  }
}

/** Address of the word that counts the puts on the device of a page. */
function putsOf(page: usize): usize {
  return Map.device(Ops.load<u32>(page + PAGE_PGMAP, Order.Relaxed)) + DEVICE_PUTS;
}

/** A mapped page is not idle. Where the idle count is 1 no PTE of a device counts: here one does, and is taken off. */
function mappingsCount(): bool {
  return Profiles.has(Switch.DaxIdleZero);
}

/** The reference of a mapping, the first one if the page was idle. The invalidate lock of its file is held. */
export function getDevicePage(page: usize): void {
  const count = Ops.add<i32>(page + PAGE_REFCOUNT, 1, Order.None) + 1;
  Notes.tell(Note.PageGet, Map.pagePfn(page), count);
}

/** A lockless lookup that met a PTE of a device: refused if it may hold the page for ever, or if the device goes. */
export function mayGrabDevicePage(pfn: u32, longterm: bool): bool {
  if (longterm && Rules.hold(Rule.LongtermRefusedOnDax)) return false;
  const pgmap = Ops.load<u32>(Map.page(pfn) + PAGE_PGMAP, Order.Relaxed);
  return pgmap != 0 && stateOf(pgmap) == DeviceState.Live;
}

/** True while somebody holds the page. */
export function isBusy(page: usize): bool {
  return Ops.load<i32>(page + PAGE_REFCOUNT, Order.Acquire) > idleCount();
}

/**
 * Sleeps until nobody holds the page; whoever maps it again meanwhile holds it only where mappings count. What a caller
 * does next must be right at any count. No lock but a mutex may be held: there is no saying how long it takes. */
export function waitIdle(actor: usize, page: usize): void {
  // Not on the count of the page: it may fall and rise again before this actor sleeps.
  const puts = putsOf(page);
  while (true) {
    const seen = Ops.load<u32>(puts, Order.Acquire);
    const count = Ops.load<i32>(page + PAGE_REFCOUNT, Order.Acquire);
    const mapped = mappingsCount() ? 0 : Ops.load<i32>(page + PAGE_MAPCOUNT, Order.Relaxed);
    if (count - mapped <= idleCount()) return;
    Notes.tell(Note.MaySleep, puts, 0);
    park(puts, seen, actor);
  }
}

/** `DeviceState` of a device, None for a number that none has. */
export function stateOf(device: u32): u32 {
  if (Map.fileMax == 0 || device == 0 || device > DEVICE_MAX) return DeviceState.None;
  return Ops.load<u32>(Map.device(device) + DEVICE_STATE, Order.Acquire);
}

/** A device of 2^order blocks: its number, from 1, in bits 31:0; `HostStatus` in 39:32. */
export function createDevice(actor: usize, order: u32): u64 {
  if (order >= ZONE_ORDERS) return (<u64>HostStatus.Invalid) << 32;
  for (let i: u32 = 1; i <= DEVICE_MAX && Map.fileMax != 0; i++) {
    const row = Map.device(i);
    // Not live before its pages are: nobody can use the number yet.
    if (Ops.cas<u32>(row + DEVICE_STATE, DeviceState.None, DeviceState.Dying, Order.Acquire) != 0) continue;
    const first = takeVerifiedBlock(actor, order);
    if (first) {
      const device = changetype<Device>(row);
      device.firstPfn = first;
      device.order = order;
      for (let pfn = first; pfn < first + (1 << order); pfn++) addPage(actor, i, pfn);
    }
    Ops.store<u32>(row + DEVICE_STATE, first ? DeviceState.Live : DeviceState.None, Order.Release);
    return first ? i : (<u64>HostStatus.OutOfFrames) << 32;
  }
  return (<u64>HostStatus.TooManyFiles) << 32;
}

/** memremap_pages of one frame, which is free and on no list. */
function addPage(actor: usize, device: u32, pfn: u32): void {
  const page = changetype<Page>(Map.page(pfn));
  page.pgmap = device;
  page.mapping = 0;
  page.flags = PageFlag.ZoneDevice;
  Frames.claim(Map.page(pfn), idleCount(), 0, actor);
}

/**
 * memunmap_pages: waits until nobody holds a page of the device (Busy instead of waiting, if `wait` is false), then gives
 * its frames back. Busy as well while a file has blocks of it. A reference that was lost makes it wait for ever.
 */
export function destroyDevice(actor: usize, device: u32, wait: bool): HostStatus {
  if (stateOf(device) == DeviceState.None) return HostStatus.NoFile;
  if (!stopDevice(actor, device)) return HostStatus.Busy;
  const row = Map.device(device);
  const first = changetype<Device>(row).firstPfn;
  const frames: u32 = 1 << changetype<Device>(row).order;
  // Frozen one by one: from then on no lookup takes a reference.
  for (let i: u32 = 0; i < frames;) {
    const page = Map.page(first + i);
    if (freeze(page)) {
      i++;
      continue;
    }
    if (!wait) {
      thaw(first, i);
      Ops.store<u32>(row + DEVICE_STATE, DeviceState.Live, Order.Release);
      return HostStatus.Busy;
    }
    waitIdle(actor, page);
  }
  Notes.tell(Note.PgmapGone, device, 0);
  removePages(actor, first, changetype<Device>(row).order);
  Ops.store<u32>(row + DEVICE_STATE, DeviceState.None, Order.Release);
  return HostStatus.Ok;
}

/** Takes the device's own reference, where there is one, off an idle page: nobody gets another. False: it is held. */
function freeze(page: usize): bool {
  const idle = idleCount();
  if (Ops.cas<i32>(page + PAGE_REFCOUNT, idle, 0, Order.Full) != idle) return false;
  if (idle) Notes.tell(Note.PagePut, Map.pagePfn(page), 0);
  return true;
}

/** The first `n` pages from `first` are not frozen any more. */
function thaw(first: u32, n: u32): void {
  const idle = idleCount();
  if (idle == 0) return;
  for (let pfn = first; pfn < first + n; pfn++) {
    Ops.store<i32>(Map.page(pfn) + PAGE_REFCOUNT, idle, Order.Release);
    Notes.tell(Note.PageGet, pfn, idle);
  }
}

function removePages(actor: usize, first: u32, order: u32): void {
  for (let pfn = first; pfn < first + (1 << order); pfn++) {
    const page = Map.page(pfn);
    Notes.tell(Note.PageFree, pfn, 0);
    Ops.store<u32>(page + PAGE_PGMAP, 0, Order.Relaxed); // a lookup with an old entry may ask (mayGrabDevicePage)
    Frames.release(page);
    if (Map.has(MachineOption.Poison)) poisonFrame(page);
  }
  Zone.lock(actor);
  freeBlockLocked(first, order, actor);
  Zone.unlock(actor);
}

/** A live device none of whose blocks belongs to a file hands out no more blocks, and no references. False otherwise. */
function stopDevice(actor: usize, device: u32): bool {
  const row = Map.device(device);
  Spin.lock(row + DEVICE_LOCK, actor);
  const first = changetype<Device>(row).firstPfn;
  let stop = stateOf(device) == DeviceState.Live;
  for (let i: u32 = 0; i < (<u32>1) << changetype<Device>(row).order; i++) {
    if (Ops.load<u32>(Map.page(first + i) + PAGE_MAPPING, Order.Relaxed)) stop = false;
  }
  if (stop) Ops.store<u32>(row + DEVICE_STATE, DeviceState.Dying, Order.Relaxed);
  Spin.unlock(row + DEVICE_LOCK, actor);
  return stop;
}

/** Gives the lowest free block of a live device to a file: its pfn, or 0 if there is none. Zero, if pages are zeroed. */
export function takeDeviceBlock(actor: usize, device: u32, file: u32, index: u32): u32 {
  const row = changetype<Device>(Map.device(device));
  let found: u32 = 0;
  Spin.lock(Map.device(device) + DEVICE_LOCK, actor);
  const frames: u32 = stateOf(device) == DeviceState.Live ? 1 << row.order : 0;
  for (let pfn = row.firstPfn; pfn < row.firstPfn + frames && found == 0; pfn++) {
    if (Ops.load<u32>(Map.page(pfn) + PAGE_MAPPING, Order.Relaxed) == 0) found = pfn;
  }
  if (found) {
    Ops.store<u32>(Map.page(found) + PAGE_MAPPING, file, Order.Relaxed);
    changetype<Page>(Map.page(found)).index = index;
  }
  Spin.unlock(Map.device(device) + DEVICE_LOCK, actor);
  if (found && Map.has(MachineOption.ZeroPages)) memory.fill(Map.frame(found), 0, PAGE_SIZE);
  return found;
}

/** Takes a block back, for any file to have. Translations to it that somebody kept are stale from now on. */
export function freeDeviceBlock(actor: usize, page: usize): void {
  const lock = Map.device(Ops.load<u32>(page + PAGE_PGMAP, Order.Relaxed)) + DEVICE_LOCK;
  Ops.and<u32>(page + PAGE_FLAGS, ~(<u32>PageFlag.Dirty), Order.None);
  Ops.add<u32>(page + PAGE_EPOCH, 1, Order.None);
  Notes.tell(Note.FileRemove, Map.pagePfn(page), 0);
  Spin.lock(lock, actor);
  Ops.store<u32>(page + PAGE_MAPPING, 0, Order.Relaxed);
  Spin.unlock(lock, actor);
}
