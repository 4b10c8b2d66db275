/**
 * Invalidations that are under way, by hva page. `Starting`: start was called and has not returned. `Open`: it has, and
 * end was not called. Equal windows are interchangeable, so that who opened them is not part of the state.
 */

import { Note } from "../core/layout.generated.js";
import { type CheckedEvent } from "./checker.js";

export const STARTING = 0;
export const OPEN = 1;

export type Window = readonly [first: number, end: number, phase: number];
export type Windows = readonly Window[];

/** hva pages [first, end) of a notifier event. */
export function rangeOf(event: CheckedEvent): { first: number; end: number } {
  return { first: Number(event.a >> 12n), end: Number((event.b + 4095n) >> 12n) };
}

function without(windows: Windows, first: number, end: number, phase: number): Windows {
  const at = windows.findIndex((w) => w[0] === first && w[1] === end && w[2] === phase);
  return at < 0 ? windows : windows.toSpliced(at, 1);
}

function including(windows: Windows, window: Window): Windows {
  return [...windows, window].sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]);
}

/** The windows after a notifier event; the same array after any other. */
export function nextWindows(windows: Windows, event: CheckedEvent): Windows {
  const { first, end } = rangeOf(event);
  switch (event.kind) {
    case Note.NotifyStart:
      return including(windows, [first, end, STARTING]);
    case Note.NotifyStarted:
      return including(without(windows, first, end, STARTING), [first, end, OPEN]);
    case Note.NotifyEnd:
      return without(windows, first, end, OPEN);
    default:
      return windows;
  }
}

/** A window of this phase has the page. */
export function inWindow(windows: Windows, page: number, phase: number): boolean {
  return windows.some(([first, end, p]) => p === phase && page >= first && page < end);
}
