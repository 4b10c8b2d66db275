/**
 * I14: the words that a fault compares with say what invalidations are open.
 *
 * Holds: mmu_invalidate_in_progress is the number of invalidations that raised it and have not lowered it; who raised it in
 * start lowers it in end, and nobody else does; mn_active_invalidate_count likewise, for every invalidation. Neither falls
 * below 0, both are 0 at the end. Whenever mmu_lock is given up with the count raised, the range union has every gfn of the
 * invalidations whose start has returned, and the gfns of some memslot of each whose start is under way.
 * Broken by: memslots that change between start and end; a range added after the zap, which may yield; a range that is
 * overwritten instead of extended.
 * Does not see: the sequence number (its effect shows in translations.ts), memslots that were not there when the
 * exploration began, the range of an invalidation during whose start they change, or that starts after that.
 */

import { KVM_MMU_LOCK, Note } from "../core/layout.generated.js";
import { type CheckedEvent, type Checker, type MachineFacts, type Objection } from "./checker.js";
import { gfnsOf, signed } from "./decode.js";
import { drop, EMPTY, hex, object, put, remap, type Table } from "./ghost.js";
import { rangeOf } from "./windows.js";
import { reads, writes } from "./touches.js";

const STARTING = 0;
const OPEN = 1;
const ENDING = 2;

const RAISED = 3;
const ACTIVE = 4;
const KNOWN = 5;

/** hva pages, phase, whether in_progress and the active count are raised for it, whether its memslots are known. */
export type Pair = readonly [
  first: number,
  end: number,
  phase: number,
  raised: number,
  active: number,
  known: number,
];

export type RetryState = {
  /** Invalidations of each actor, the innermost last. */
  readonly pairs: Table<readonly Pair[]>;
  /** Range union while something is open: first gfn and the one behind the last; null: sentinel. */
  readonly range: readonly [first: number, end: number] | null;
  /** Memslots have changed since the exploration began. */
  readonly changed: boolean;
};

function all(state: RetryState): Pair[] {
  return Object.values(state.pairs).flat();
}

/** The pairs of an actor with its last one in `phase` replaced; null if it has none. */
function change(
  state: RetryState,
  actor: number,
  is: (pair: Pair) => boolean,
  next: (pair: Pair) => Pair | null,
): RetryState | null {
  const pairs = state.pairs[actor] ?? [];
  const at = pairs.findLastIndex(is);
  if (at < 0) return null;
  const changed = next(pairs[at]!);
  const left = changed ? pairs.with(at, changed) : pairs.toSpliced(at, 1);
  return { ...state, pairs: left.length === 0 ? drop(state.pairs, actor) : put(state.pairs, actor, left) };
}

function notified(state: RetryState, event: CheckedEvent): RetryState | Objection {
  const { first, end } = rangeOf(event);
  const same = (pair: Pair, phase: number): boolean =>
    pair[0] === first && pair[1] === end && pair[2] === phase;
  switch (event.kind) {
    case Note.NotifyStart: {
      const pairs = [
        ...(state.pairs[event.actor] ?? []),
        [first, end, STARTING, 0, 0, state.changed ? 0 : 1] as const,
      ];
      return { ...state, pairs: put(state.pairs, event.actor, pairs) };
    }
    case Note.NotifyStarted:
      return (
        change(
          state,
          event.actor,
          (p) => same(p, STARTING),
          (p) => p.with(2, OPEN) as unknown as Pair,
        ) ?? state
      );
    default: {
      // An end of a pair that nobody counted is over as soon as it is called.
      const next = change(
        state,
        event.actor,
        (p) => same(p, OPEN),
        (p) => (p[RAISED] || p[ACTIVE] ? (p.with(2, ENDING) as unknown as Pair) : null),
      );
      return (
        next ??
        object(
          `actor ${event.actor} ended an invalidation of hva pages ${hex(first)} to ${hex(end)} that it had not started`,
        )
      );
    }
  }
}

/** A count was written: it moved by one, for the right invalidation of this actor. */
function counted(
  state: RetryState,
  event: CheckedEvent,
  which: typeof RAISED | typeof ACTIVE,
): RetryState | Objection {
  const name = which === RAISED ? "mmu_invalidate_in_progress" : "mn_active_invalidate_count";
  const value = signed(event.a);
  const known = all(state).filter((pair) => pair[which] === 1).length;
  if (value < 0) return object(`${name} fell to ${value}`);
  if (value === known) return state;
  const set = (pair: Pair, to: number): Pair => pair.with(which, to) as unknown as Pair;
  if (value === known + 1) {
    const next = change(
      state,
      event.actor,
      (p) => p[2] === STARTING && p[which] === 0,
      (p) => set(p, 1),
    );
    return next ?? object(`actor ${event.actor} raised ${name} to ${value} outside of a start`);
  }
  if (value === known - 1) {
    const next = change(
      state,
      event.actor,
      (p) => p[2] === ENDING && p[which] === 1,
      (p) => (which === ACTIVE ? null : set(p, 0)),
    );
    if (!next)
      return object(
        `actor ${event.actor} lowered ${name} to ${value} for an invalidation that had not raised it`,
      );
    const stuck = (state.pairs[event.actor] ?? []).findLast((p) => p[2] === ENDING && p[ACTIVE] === 1);
    if (which === ACTIVE && stuck?.[RAISED] === 1) {
      return object(
        `actor ${event.actor} has ended an invalidation and mmu_invalidate_in_progress is still raised for it`,
      );
    }
    return all(next).some((pair) => pair[RAISED] === 1) ? next : { ...next, range: null };
  }
  return object(`${name} is ${value} while ${known} invalidations have raised it`);
}

/** mmu_lock is given up: the union has what faults must not map. */
function uncovered(state: RetryState, facts: MachineFacts): Objection | null {
  for (const [first, end, phase, raised, , known] of all(state)) {
    if (raised === 0 || phase === ENDING || known === 0) continue;
    const ranges = gfnsOf(facts, first, end);
    if (ranges.length === 0) continue;
    const out = ranges.find(
      (r) => state.range === null || r.first < state.range[0] || r.end > state.range[1],
    );
    const some = ranges.some((r) => state.range && r.first >= state.range[0] && r.end <= state.range[1]);
    if (!out || (phase === STARTING && some)) continue;
    const union = state.range ? `${hex(state.range[0])} to ${hex(state.range[1])}` : "empty";
    return object(
      `mmu_lock was given up while gfns ${hex(out.first)} to ${hex(out.end)} are being invalidated and the range is ${union}`,
    );
  }
  return null;
}

/** Memslots were published: which ones an invalidation that is starting meets, nobody can say from here on. */
function republished(state: RetryState, event: CheckedEvent, facts: MachineFacts): RetryState {
  if (Number(event.a) < facts.generation) return state; // while the machine was set up
  const pairs = remap(state.pairs, (list) =>
    list.map((pair) => (pair[2] === STARTING ? (pair.with(KNOWN, 0) as unknown as Pair) : pair)),
  );
  return { ...state, pairs, changed: true };
}

export const retryState: Checker<RetryState> = {
  name: "open-invalidations-are-counted",
  invariants: ["I14"],
  says: "The counts of open invalidations are exact, and whenever mmu_lock is given up the range union has what is open.",
  brokenWithout: ["UpdaterWaitsForInvalidations", "RangeAddedBeforeZap", "RangeOfAllOpen"],
  listens: [
    Note.NotifyStart,
    Note.NotifyStarted,
    Note.NotifyEnd,
    Note.InProgress,
    Note.ActiveCount,
    Note.Range,
    Note.LockDropped,
    Note.SlotsPublished,
  ],
  initial: () => ({ pairs: EMPTY, range: null, changed: false }),
  step(state, event, facts) {
    switch (event.kind) {
      case Note.InProgress:
        return counted(state, event, RAISED);
      case Note.ActiveCount:
        return counted(state, event, ACTIVE);
      case Note.SlotsPublished:
        return republished(state, event, facts);
      case Note.Range:
        return { ...state, range: event.a < event.b ? [Number(event.a), Number(event.b)] : null };
      case Note.LockDropped:
        return (Number(event.a) === KVM_MMU_LOCK ? uncovered(state, facts) : null) ?? state;
      default:
        return notified(state, event);
    }
  },
  touches({ kind, a }) {
    if (kind !== Note.LockDropped) return writes("counts");
    return Number(a) === KVM_MMU_LOCK ? reads("counts") : [];
  },
  final(state) {
    const pair = all(state)[0];
    if (!pair) return null;
    return object(
      `the invalidation of hva pages ${hex(pair[0])} to ${hex(pair[1])} is still open or counted`,
    );
  },
};
