// struct page references. A compound page has one count, on its head; every function but tryGetPage takes any of its
// pages. A reference delays the free of a page and nothing else: it never keeps an invalidation away.

import { Map } from "../layout/map";
import { PAGE_FLAGS, PAGE_HEAD, PAGE_REFCOUNT, PageFlag } from "../layout/page";
import { Note, Notes } from "../note";
import { Rule, Rules } from "../rules";
import { Ops, Order } from "../sync/ops";
import { Ensure, Trap } from "../trap";
import { isDevicePage, putDevicePage } from "./device";
import { freeCompound, freeFrame } from "./pool";

/** compound_head. */
export function headOf(page: usize): usize {
  const head = Ops.load<u32>(page + PAGE_HEAD, Order.Relaxed);
  return head ? Map.page(head) : page;
}

/** get_page: one more reference, by an actor that knows of one. */
export function getPage(page: usize, actor: usize): void {
  const head = headOf(page);
  const old = Ops.add<i32>(head + PAGE_REFCOUNT, 1, Order.None);
  Notes.tell(Note.PageGet, Map.pagePfn(head), old + 1);
  Ensure.that(old > 0, Trap.GetOfFreePage, Map.pagePfn(head), actor);
}

/** folio_try_get on a head, for a lookup that user space cannot make as often as it likes: unless the page is free. */
export function getUnlessZero(page: usize): bool {
  let seen = Ops.load<i32>(page + PAGE_REFCOUNT, Order.Relaxed);
  while (seen > 0) {
    const found = Ops.cas<i32>(page + PAGE_REFCOUNT, seen, seen + 1, Order.Full);
    if (found == seen) {
      Notes.tell(Note.PageGet, Map.pagePfn(page), seen + 1);
      return true;
    }
    seen = found;
  }
  return false;
}

/** try_get_page on a head: takes a reference unless the page is free, or its count is near overflow. */
export function tryGetPage(page: usize): bool {
  if (!Rules.hold(Rule.GetUnlessZero)) {
    const old = Ops.add<i32>(page + PAGE_REFCOUNT, 1, Order.Full);
    Notes.tell(Note.PageGet, Map.pagePfn(page), old + 1);
    return true;
  }
  let seen = Ops.load<i32>(page + PAGE_REFCOUNT, Order.Relaxed);
  while (seen > 0) {
    let next = seen + 1;
    if (seen >= Map.refcountLimit) {
      // A leak must not wrap the count (CVE-2019-11487): a counter that ends here would go on at 0.
      if (Rules.hold(Rule.RefcountOverflowRefused)) return false;
      next = 0;
    }
    const found = Ops.cas<i32>(page + PAGE_REFCOUNT, seen, next, Order.Full);
    if (found == seen) {
      Notes.tell(Note.PageGet, Map.pagePfn(page), next);
      return true;
    }
    seen = found;
  }
  return false;
}

/**
 * The reference of a page that is known to be mapped, its PTL held. False if its count is at its limit: the caller fails
 * as with no memory.
 */
export function getMappedPage(page: usize, actor: usize): bool {
  const head = headOf(page);
  if (tryGetPage(head)) return true;
  Ensure.that(
    Ops.load<i32>(head + PAGE_REFCOUNT, Order.Relaxed) > 0,
    Trap.GetOfFreePage,
    Map.pagePfn(head),
    actor,
  );
  return false;
}

/** put_page: drops a reference; the last one frees the page, whose frame may be reused at once. */
export function putPage(page: usize, actor: usize): void {
  const head = headOf(page);
  if (isDevicePage(head)) {
    putDevicePage(head, 1, actor);
    return;
  }
  const old = Ops.sub<i32>(head + PAGE_REFCOUNT, 1, Order.Full);
  Notes.tell(Note.PagePut, Map.pagePfn(head), old - 1);
  Ensure.that(old > 0, Trap.RefcountUnderflow, Map.pagePfn(head), actor);
  if (old == 1) freePage(head, actor);
}

/** folio_mark_dirty: its content is not to be dropped. By an actor that holds the page, or the lock of a PTE of it. */
export function markPageDirty(page: usize): void {
  const head = headOf(page);
  Ops.or<u32>(head + PAGE_FLAGS, PageFlag.Dirty, Order.None);
  Notes.tell(Note.PageDirty, Map.pagePfn(head), 0);
}

/** The last reference on the head `page` is gone. Not a device's. */
export function freePage(page: usize, actor: usize): void {
  // Last reference: flags are ours alone. Acquire against holders that set Dirty before they put.
  if (Ops.load<u32>(page + PAGE_FLAGS, Order.Acquire) & PageFlag.Head) freeCompound(page, actor);
  else freeFrame(page, actor);
}
