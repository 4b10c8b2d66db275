// Who is told of what. A notifier registration is a word (kind, instance), because a function value would make a
// table, a data segment and an indirect call. The only file that knows both the host and its listeners.

import { MM_NOTIFIERS, MM_NOTIFIER_SLOTS, Notifier } from "./layout/mm";
import { invalidateEnd, invalidateStart } from "./kvm/invalidate";
import { Note, Notes } from "./note";
import { Ops, Order } from "./sync/ops";

/** Why a range is invalidated (enum mmu_notifier_event). */
export enum NotifyEvent {
  Unmap = 0,
  Clear = 1,
  ProtectionVma = 2,
  ProtectionPage = 3,
}

/** Calls invalidate_range_start of every registered notifier: returns after their translations and TLBs are gone. */
export function notifyStart(actor: usize, mm: usize, start: u64, end: u64, event: NotifyEvent): void {
  Notes.tell(Note.NotifyStart | (event << 8), start, end);
  for (let i: u32 = 0; i < MM_NOTIFIER_SLOTS; i++) {
    switch (Ops.load<u32>(mm + MM_NOTIFIERS + i * 4, Order.Acquire) & 0xff) {
      case Notifier.Kvm:
        invalidateStart(actor, start, end);
        break;
      default:
        break;
    }
  }
  Notes.tell(Note.NotifyStarted | (event << 8), start, end);
}

/** Calls invalidate_range_end of every registered notifier. */
export function notifyEnd(actor: usize, mm: usize, start: u64, end: u64, event: NotifyEvent): void {
  Notes.tell(Note.NotifyEnd | (event << 8), start, end);
  for (let i: u32 = 0; i < MM_NOTIFIER_SLOTS; i++) {
    switch (Ops.load<u32>(mm + MM_NOTIFIERS + i * 4, Order.Acquire) & 0xff) {
      case Notifier.Kvm:
        invalidateEnd(actor, start, end);
        break;
      default:
        break;
    }
  }
}
