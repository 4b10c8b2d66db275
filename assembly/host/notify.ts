// The two ends of a change of the host tables, as listeners are told of it. Where the rules say so, in the wrong order.

import { notifyEnd, notifyStart, NotifyEvent } from "../dispatch";
import { Rule, Rules } from "../rules";

/** What is told before the tables change: start; without Rule.HostPteClearedBeforeEnd, end as well. */
export function notifyBefore(actor: usize, mm: usize, start: u64, end: u64, event: NotifyEvent): void {
  if (!Rules.hold(Rule.StartBeforeClear)) return;
  notifyStart(actor, mm, start, end, event);
  if (!Rules.hold(Rule.HostPteClearedBeforeEnd)) notifyEnd(actor, mm, start, end, event);
}

/** What is told after they have changed: end; without Rule.StartBeforeClear, start only now. */
export function notifyAfter(actor: usize, mm: usize, start: u64, end: u64, event: NotifyEvent): void {
  if (!Rules.hold(Rule.StartBeforeClear)) notifyStart(actor, mm, start, end, event);
  else if (!Rules.hold(Rule.HostPteClearedBeforeEnd)) return;
  notifyEnd(actor, mm, start, end, event);
}
