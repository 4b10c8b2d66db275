// Pins (FOLL_PIN): references of somebody who reads or writes the page's content on its own, as a device does. A pin of
// a single page is 1,024 references, so that its count tells; a compound page has a count of pins beside one reference
// each (Documentation/core-api/pin_user_pages.rst). gup.ts takes them.

import { Map } from "../layout/map";
import { GUP_PIN_COUNTING_BIAS, PAGE_FLAGS, PAGE_PINCOUNT, PAGE_REFCOUNT, PageFlag } from "../layout/page";
import { Note, Notes } from "../note";
import { Ops, Order } from "../sync/ops";
import { Ensure, Trap } from "../trap";
import { isDevicePage, putDevicePage } from "./device";
import { freePage, headOf, putPage } from "./page";

/** How a page is looked up. */
export enum FollFlag {
  /** The page will be written to. */
  Write = 1 << 0,
  /** A pin instead of a reference. */
  Pin = 1 << 1,
  /** The pin may last for ever. */
  Longterm = 1 << 2,
}

function isLarge(head: usize): bool {
  return (Ops.load<u32>(head + PAGE_FLAGS, Order.Relaxed) & PageFlag.Head) != 0;
}

/** Makes one reference of the caller on a head a pin. */
export function pinHeld(head: usize): void {
  let count: i32;
  if (isLarge(head)) count = Ops.add<i32>(head + PAGE_PINCOUNT, 1, Order.Full) + 1;
  else {
    const more = GUP_PIN_COUNTING_BIAS - 1;
    count = Ops.add<i32>(head + PAGE_REFCOUNT, more, Order.Full) + more;
  }
  Notes.tell(Note.PinTaken, Map.pagePfn(head), count);
}

/** unpin_user_page: drops a pin, on any page of a compound one. */
export function unpinPage(page: usize, actor: usize): void {
  const head = headOf(page);
  if (isLarge(head)) {
    const old = Ops.sub<i32>(head + PAGE_PINCOUNT, 1, Order.Full);
    Notes.tell(Note.PinDropped, Map.pagePfn(head), old - 1);
    Ensure.that(old > 0, Trap.RefcountUnderflow, Map.pagePfn(head), actor);
    putPage(head, actor);
  } else if (isDevicePage(head)) putDevicePage(head, GUP_PIN_COUNTING_BIAS, actor);
  else {
    const old = Ops.sub<i32>(head + PAGE_REFCOUNT, GUP_PIN_COUNTING_BIAS, Order.Full);
    const left = old - GUP_PIN_COUNTING_BIAS;
    Notes.tell(Note.PinDropped, Map.pagePfn(head), left);
    Notes.tell(Note.PagePut, Map.pagePfn(head), left);
    Ensure.that(left >= 0, Trap.RefcountUnderflow, Map.pagePfn(head), actor);
    if (left == 0) freePage(head, actor);
  }
}

/** gup_put_folio: drops what a lookup with these flags took. */
export function dropGrabbed(head: usize, flags: u32, actor: usize): void {
  if (flags & FollFlag.Pin) unpinPage(head, actor);
  else putPage(head, actor);
}

/** folio_maybe_dma_pinned: the page may be pinned; 1,024 references of other kinds look the same. Any page of it. */
export function maybePinned(page: usize): bool {
  const head = headOf(page);
  if (isLarge(head)) return Ops.load<i32>(head + PAGE_PINCOUNT, Order.Relaxed) > 0;
  return Ops.load<i32>(head + PAGE_REFCOUNT, Order.Relaxed) >= GUP_PIN_COUNTING_BIAS;
}
