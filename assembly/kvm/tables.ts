// Table pages of the TDP MMU: frames whose struct page carries what a kvm_mmu_page would. refcount is the link (or
// the root) that holds the table; `own` is the level's shift, `index` the first gfn it translates.

import { KVM_DEFERRED_COUNT, KVM_DEFERRED_HEAD, KVM_DEFERRED_LOCK, KVM_TABLE_COUNT } from "../layout/kvm";
import { Map } from "../layout/map";
import { Page, PageFlag } from "../layout/page";
import { putPage } from "../host/page";
import { giveTable, takeTable, topUpTables } from "../host/pool";
import { Note, Notes } from "../note";
import { Rule, Rules } from "../rules";
import { rcuBegin, rcuElapsed, synchronizeRcu } from "../sync/grace";
import { Ops, Order } from "../sync/ops";
import { Spin } from "../sync/spin";

/** A zeroed table whose entries span `1 << shift` bytes, for gfns from `gfn`; from the actor's cache. */
export function newTable(actor: usize, gfn: u64, shift: u32): u32 {
  const pfn = takeTable(actor);
  const page = changetype<Page>(Map.page(pfn));
  page.flags = PageFlag.KvmTable;
  page.own = shift;
  page.index = gfn;
  page.mapcount = 0;
  Ops.add<u32>(KVM_TABLE_COUNT, 1, Order.None);
  Notes.tell(Note.TableAlloc, pfn, shift);
  return pfn;
}

/** Gives a table back that was never linked: it is still zero. */
export function dropUnusedTable(actor: usize, pfn: u32): void {
  Ops.sub<u32>(KVM_TABLE_COUNT, 1, Order.None);
  Notes.tell(Note.TableFree, pfn, 0);
  changetype<Page>(Map.page(pfn)).flags = 0;
  giveTable(actor, pfn);
}

function freeTable(actor: usize, pfn: u32): void {
  Ops.sub<u32>(KVM_TABLE_COUNT, 1, Order.None);
  Notes.tell(Note.TableFree, pfn, 0);
  changetype<Page>(Map.page(pfn)).flags = 0;
  putPage(Map.page(pfn), actor);
}

/** call_rcu of a table that has been unlinked: it is freed when no lockless walker can be in it. */
export function freeTableAfterGrace(actor: usize, pfn: u32): void {
  if (!Rules.hold(Rule.TableFreeWaitsForRcu)) {
    freeTable(actor, pfn);
    return;
  }
  const page = changetype<Page>(Map.page(pfn));
  Spin.lock(KVM_DEFERRED_LOCK, actor);
  page.own = rcuBegin();
  page.next = Ops.load<u32>(KVM_DEFERRED_HEAD, Order.Relaxed);
  Ops.store<u32>(KVM_DEFERRED_HEAD, pfn, Order.Relaxed);
  Ops.add<u32>(KVM_DEFERRED_COUNT, 1, Order.None);
  Spin.unlock(KVM_DEFERRED_LOCK, actor);
}

/** Frees the tables whose grace period is over. Returns how many still wait. Outside of read sections. */
export function reapTables(actor: usize): u32 {
  if (Ops.load<u32>(KVM_DEFERRED_COUNT, Order.Relaxed) == 0) return 0;
  // Newest first: the first whose period is over ends the search, as all behind it are older.
  Spin.lock(KVM_DEFERRED_LOCK, actor);
  let previous: u32 = 0;
  let pfn = Ops.load<u32>(KVM_DEFERRED_HEAD, Order.Relaxed);
  let waiting: u32 = 0;
  while (pfn && !rcuElapsed(changetype<Page>(Map.page(pfn)).own)) {
    previous = pfn;
    pfn = changetype<Page>(Map.page(pfn)).next;
    waiting++;
  }
  if (previous) changetype<Page>(Map.page(previous)).next = 0;
  else Ops.store<u32>(KVM_DEFERRED_HEAD, 0, Order.Relaxed);
  Ops.store<u32>(KVM_DEFERRED_COUNT, waiting, Order.Relaxed);
  Spin.unlock(KVM_DEFERRED_LOCK, actor);
  while (pfn) {
    const next = changetype<Page>(Map.page(pfn)).next;
    freeTable(actor, pfn);
    pfn = next;
  }
  return waiting;
}

/** Waits until the grace period of every table that was deferred before the call is over, and frees those tables. */
export function awaitTables(actor: usize): void {
  if (Ops.load<u32>(KVM_DEFERRED_COUNT, Order.Acquire) == 0) return;
  synchronizeRcu(actor);
  reapTables(actor);
}

/** Tops the actor's table cache up; short of frames, from tables whose grace period has ended meanwhile. */
export function topUpOrReap(actor: usize, n: u32): bool {
  Notes.tell(Note.MaySleep, 0, 0);
  if (topUpTables(actor, n)) return true;
  reapTables(actor);
  return topUpTables(actor, n);
}
