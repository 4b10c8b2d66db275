// The struct page that a lookup returned: looked at, marked and put as its class asks for (docs/protocol.md, Classes of
// pages). Everything that reads or writes it needs the page held, which the lab build tells with Note.MetaUse: a pfn
// stays right as long as the retry check says so, what its struct page says does not.

import { Map } from "../layout/map";
import { PAGE_FLAGS, PageFlag } from "../layout/page";
import { grab } from "../host/gup";
import { Gup } from "../host/fault";
import { headOf, putPage } from "../host/page";
import { FollFlag } from "../host/pin";
import { HostStatus } from "../host/status";
import { MM_BASE } from "../layout/mm";
import { Note, Notes } from "../note";
import { Profiles, Switch } from "../profile";
import { Rule, Rules } from "../rules";
import { Ops, Order } from "../sync/ops";
import { reapTables } from "./tables";

/** Pages whose flags belong to somebody else: KVM marks them neither dirty nor accessed. */
const NOT_TRACKED: u32 = PageFlag.ZoneDevice | PageFlag.Zero | PageFlag.NotRefcounted;

/** Looks the page of `hva` up; short of frames, once more with those of tables whose grace period is over. */
export function lookUp(actor: usize, hva: u64, write: bool): u64 {
  return lookUpWith(actor, hva, write ? FollFlag.Write : 0);
}

/** The same with `FollFlag` bits: FollFlag.Pin for a pin instead of a reference. */
export function lookUpWith(actor: usize, hva: u64, flags: u32): u64 {
  const found = grab(actor, MM_BASE, hva, flags);
  if (Gup.status(found) != HostStatus.OutOfFrames) return found;
  reapTables(actor);
  return grab(actor, MM_BASE, hva, flags);
}

/** Flags of a page, a head, that is held. */
export function readFlags(page: usize): u32 {
  const flags = Ops.load<u32>(page + PAGE_FLAGS, Order.Relaxed);
  Notes.tell(Note.MetaUse, Map.pagePfn(page), 0);
  return flags;
}

/** kvm_is_reserved_pfn: the count of such a page is left alone, whoever raised it. */
function isReserved(flags: u32): bool {
  if (flags & PageFlag.ZoneDevice) {
    return Profiles.has(Switch.ZoneDeviceReserved) || !Rules.hold(Rule.ZoneDeviceNotReserved);
  }
  return (flags & PageFlag.Zero) != 0 && !Rules.hold(Rule.ZeroPageNotReserved);
}

/** True where a put asks struct page whether the page is reserved: later kernels remember what the lookup counted. */
function asksReserved(): bool {
  if (Profiles.has(Switch.PfnmapRefcounted)) return true;
  return !Rules.hold(Rule.ZoneDeviceNotReserved) || !Rules.hold(Rule.ZeroPageNotReserved);
}

/** kvm_release_pfn_clean: gives a looked-up page back, unless it counts as reserved; then the reference leaks. */
export function putFound(page: usize, actor: usize): void {
  if (asksReserved() && isReserved(readFlags(headOf(page)))) return;
  putPage(page, actor);
}

/** Marks a page, a head, dirty, if its flags are KVM's to set. */
export function markDirty(page: usize): void {
  if (readFlags(page) & (PageFlag.Dirty | NOT_TRACKED)) return;
  Ops.or<u32>(page + PAGE_FLAGS, PageFlag.Dirty, Order.None);
  Notes.tell(Note.PageDirty, Map.pagePfn(page), 0);
}
