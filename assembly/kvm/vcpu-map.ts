// kvm_vcpu_map: a page of the guest that KVM, and hardware through a field of the VMCS, uses by its address for a while.
// Nothing of it is told of invalidations: what keeps the page is its reference or pin, and nothing but that.

import { ACTOR_FAULT } from "../layout/actor";
import { Fault } from "../layout/fault";
import { Map, PAGE_SIZE } from "../layout/map";
import { Slot } from "../layout/slot";
import {
  ACTOR_MAPS,
  MAP_NO_PAGE,
  MapFlag,
  MapHold,
  VCPU_MAP_ADDRESS,
  VCPU_MAP_COUNT,
  VCPU_MAP_SHIFT,
  VcpuMap,
} from "../layout/vcpu-map";
import { GUP_NO_REFERENCE, Gup } from "../host/fault";
import { headOf } from "../host/page";
import { FollFlag, unpinPage } from "../host/pin";
import { HostStatus } from "../host/status";
import { Note, Notes } from "../note";
import { Profiles, Switch } from "../profile";
import { Rule, Rules } from "../rules";
import { Srcu } from "../sync/grace";
import { Ops, Order } from "../sync/ops";
import { loadSized, storeSized } from "./access";
import { findSlot } from "./memslots";
import { lookUpWith, markDirty, putFound } from "./release";
import { KvmStatus, Status } from "./status";

function rowOf(vcpu: usize, map: u32): usize {
  return vcpu + ACTOR_MAPS + ((<usize>map) << VCPU_MAP_SHIFT);
}

/** Where the mapping is in this memory; 0 if the row is free. Hardware reads this word too. */
function addressOf(row: usize): usize {
  return Ops.load<u32>(row + VCPU_MAP_ADDRESS, Order.Relaxed);
}

/** What a mapping of this profile holds of its page. */
function holdKind(): MapHold {
  if (!Rules.hold(Rule.VcpuMapHoldsReference)) return MapHold.None;
  return Profiles.has(Switch.VcpuMapPins) && Rules.hold(Rule.VcpuMapPins) ? MapHold.Pin : MapHold.Reference;
}

/**
 * kvm_vcpu_map: maps the page of `gpa` as map `map` of the vCPU, with `MapFlag`s. Ok, NoSlot, ReadOnly, HostFault,
 * OutOfFrames; Busy if the map is in use; Refused for a page that cannot be held where the profile pins. Outside guest mode.
 */
export function mapGuest(vcpu: usize, map: u32, gpa: u64, flags: u32): KvmStatus {
  if (map >= VCPU_MAP_COUNT) return KvmStatus.Invalid;
  const row = rowOf(vcpu, map);
  if (addressOf(row)) return KvmStatus.Busy;
  Srcu.readLock(vcpu);
  const status = mapInSection(vcpu, row, gpa >> 12, flags);
  Srcu.readUnlock(vcpu);
  return status;
}

function mapInSection(vcpu: usize, row: usize, gfn: u64, flags: u32): KvmStatus {
  const write = (flags & MapFlag.ReadOnly) == 0;
  const slotRow = findSlot(vcpu, gfn);
  const status = Status.ofSlot(slotRow, write);
  if (status != KvmStatus.Ok) return status;
  const slot = changetype<Slot>(slotRow);
  const hold = holdKind();
  const wanted = (write ? FollFlag.Write : 0) | (hold == MapHold.Pin ? FollFlag.Pin : 0);
  const found = lookUpWith(vcpu, slot.hva + ((gfn - slot.baseGfn) << 12), wanted);
  if (Gup.status(found) != HostStatus.Ok) return Status.ofHost(Gup.status(found));
  const pfn = Gup.pfn(found);
  const noPage = (found & GUP_NO_REFERENCE) != 0;
  // Whoever pins says that he relies on the pin: a page that has none to give is not for him.
  if (noPage && Profiles.has(Switch.VcpuMapPins) && (flags & MapFlag.Unsafe) == 0) return KvmStatus.Refused;
  const entry = changetype<VcpuMap>(row);
  entry.gfn = gfn;
  entry.pfn = pfn;
  entry.page = noPage ? MAP_NO_PAGE : pfn;
  entry.flags = flags;
  entry.hold = hold;
  // The question that started it: the page is put at once, as a fault may, and the mapping stays.
  if (!noPage && hold == MapHold.None) putFound(Map.page(pfn), vcpu);
  Ops.store<u32>(row + VCPU_MAP_ADDRESS, <u32>Map.frame(pfn), Order.Relaxed);
  Notes.tell(Note.MapTaken | (Map.actorIndex(vcpu) << 16), pfn, gfn);
  return KvmStatus.Ok;
}

/** kvm_vcpu_unmap: nobody uses the mapping any more. Inactive if nothing is mapped. */
export function unmapGuest(vcpu: usize, map: u32): KvmStatus {
  if (map >= VCPU_MAP_COUNT) return KvmStatus.Invalid;
  const row = rowOf(vcpu, map);
  if (addressOf(row) == 0) return KvmStatus.Inactive;
  Ops.store<u32>(row + VCPU_MAP_ADDRESS, 0, Order.Relaxed);
  const entry = changetype<VcpuMap>(row);
  Notes.tell(Note.MapDropped | (Map.actorIndex(vcpu) << 16), entry.pfn, entry.gfn);
  if (hasPage(entry)) giveBack(vcpu, entry);
  return KvmStatus.Ok;
}

/** The sentinel of map, or the test that was once made in its place (Z37). */
function hasPage(entry: VcpuMap): bool {
  return Rules.hold(Rule.UnmapChecksPage) ? entry.page != MAP_NO_PAGE : entry.page != 0;
}

function giveBack(vcpu: usize, entry: VcpuMap): void {
  const page = headOf(Map.page(entry.pfn));
  if ((entry.flags & MapFlag.ReadOnly) == 0 && Rules.hold(Rule.UnmapMarksDirty)) markDirty(page);
  if (entry.hold == MapHold.Pin) unpinPage(page, vcpu);
  else if (entry.hold == MapHold.Reference) putFound(page, vcpu);
}

/** The vCPU goes: gives every mapping back. */
export function unmapAll(vcpu: usize): void {
  for (let map: u32 = 0; map < VCPU_MAP_COUNT; map++) unmapGuest(vcpu, map);
}

/** Address of [offset, offset + size) in the mapping; 0 if nothing is mapped. */
function placeIn(vcpu: usize, map: u32, offset: u32): usize {
  const address = addressOf(rowOf(vcpu, map));
  return address ? address + offset : 0;
}

function isWithin(map: u32, offset: u32, size: u32): bool {
  return map < VCPU_MAP_COUNT && size <= PAGE_SIZE && offset <= PAGE_SIZE - size;
}

function tellUse(vcpu: usize, at: usize, write: u64): void {
  const detail = Note.MapUse | (Map.actorIndex(vcpu) << 16);
  Notes.tell(detail, Map.pfnOf(at), ((<u64>at) << 1) | write);
}

/** A load of KVM's own through the mapping: `size` 1, 2, 4 or 8; the value goes to the fault record. */
export function loadMapped(vcpu: usize, map: u32, offset: u32, size: u32): KvmStatus {
  if (!isWithin(map, offset, size)) return KvmStatus.Invalid;
  const at = placeIn(vcpu, map, offset);
  if (at == 0) return KvmStatus.Inactive;
  changetype<Fault>(vcpu + ACTOR_FAULT).value = loadSized(at, size);
  tellUse(vcpu, at, 0);
  return KvmStatus.Ok;
}

/** A store of KVM's own through the mapping. ReadOnly if it was mapped so. */
export function storeMapped(vcpu: usize, map: u32, offset: u32, size: u32, value: u64): KvmStatus {
  if (!isWithin(map, offset, size)) return KvmStatus.Invalid;
  const at = placeIn(vcpu, map, offset);
  if (at == 0) return KvmStatus.Inactive;
  if (changetype<VcpuMap>(rowOf(vcpu, map)).flags & MapFlag.ReadOnly) return KvmStatus.ReadOnly;
  storeSized(at, size, value);
  tellUse(vcpu, at, 1);
  return KvmStatus.Ok;
}

/**
 * Hardware stores through the address that the VMCS of the vCPU has from this mapping (a virtual-APIC page, a posted
 * interrupt): in one step, of an actor of its own.
 */
export function storeByHardware(vcpu: usize, map: u32, offset: u32, size: u32, value: u64): KvmStatus {
  if (!isWithin(map, offset, size)) return KvmStatus.Invalid;
  Notes.tell(Note.AtomicBegin, 0, 0);
  const at = placeIn(vcpu, map, offset);
  if (at) {
    storeSized(at, size, value);
    tellUse(vcpu, at, 1);
  }
  Notes.tell(Note.AtomicEnd, 0, 0);
  return at ? KvmStatus.Ok : KvmStatus.Inactive;
}
