/**
 * Which overlap of a fault with an invalidation the retry protocol missed: a row of the matrix of docs/protocol.md.
 *
 * S is the snapshot of a fault, C its retry check; A raises the count in start, Z lowers it in end. Rows:
 *   1  Z < S          the page lookup sees what the host maps now
 *   2  A < S < Z < C  the sequence moved at Z
 *   3  A < S, C < Z   the count is raised at C
 *   4  S < A < Z < C  the sequence moved
 *   5  S < A < C < Z  the count is raised
 *   6  C < A          A waits for mmu_lock until the leaf is installed, and zaps it
 *
 * Holds: no leaf names another page than the host does, or stands after the return of start and before the call of end.
 * What it objects to is what translations.ts objects to; it remembers besides in which order A, Z, S and C came, so that
 * `--all` finds one execution for each row that is broken: a checker for each.
 * For a scenario with one vCPU that faults, one page and one invalidation, which names it: of others it has no idea.
 * Does not see: the snapshot itself, which no event tells. It stands between the last event of an attempt before the page
 * lookup and the first one of the lookup; an execution in which A or Z falls between these two is not judged, as moving
 * the two next to the snapshot gives one in which neither does. A check without the lock
 * stands between the end of the lookup and the request for the lock: there the same goes for A, and Z counts as before C,
 * as a check before Z finds the count raised. Without Rule.SnapshotBeforeGup S is where it should be.
 */

import { type RuleName } from "../core/rules.js";
import { KVM_MMU_LOCK, Note } from "../core/layout.generated.js";
import { type CheckedEvent, type Checker, type MachineFacts, type Objection } from "./checker.js";
import { hostLeafOf, spteOf } from "./decode.js";
import { object } from "./ghost.js";

/** How far the invalidation is: not begun, the count is raised, the count is lowered. */
const BEFORE = 0;
const OPEN = 1;
const OVER = 2;
/** Not reached yet, or not known. */
const NONE = -1;

/** RCU, as ReadEnter names it: the lockless page lookup begins. */
const RCU = 1n;

export type RetryOverlaps = {
  /** BEFORE, OPEN, OVER. */
  readonly phase: number;
  /** Start has returned and end was not called; before start is called and after it is called and not returned: -1, 0. */
  readonly window: number;
  /** pfn that the host maps, that the VM maps; -1: none. */
  readonly host: number;
  readonly leaf: number;
  /** Phase at the last event of the attempt before the lookup; at S; at the end of the lookup; at C. */
  readonly before: number;
  readonly snapshot: number;
  readonly looked: number;
  readonly check: number;
  /** Row of the attempt that installed the leaf; 0 if it is not known. */
  readonly row: number;
};

const IN_START = 0;
const IN_WINDOW = 1;

/** Rows of the matrix by their numbers: the order, and the guards without which it goes wrong. */
const ROWS: Readonly<Record<number, { readonly order: string; readonly guards: readonly RuleName[] }>> = {
  1: { order: "Z < S", guards: [] },
  2: { order: "A < S < Z < C", guards: ["SeqRaisedInEnd", "SeqChecked", "SnapshotBeforeGup"] },
  3: { order: "A < S, C < Z", guards: ["CountChecked"] },
  4: { order: "S < A < Z < C", guards: ["SeqChecked", "SnapshotBeforeGup"] },
  5: { order: "S < A < C < Z", guards: ["CountChecked"] },
  6: { order: "C < A", guards: ["RetryUnderLock", "LockHeldToInstall"] },
};

/** Row of an attempt by the phases at its snapshot and its check. */
function rowOf(snapshot: number, check: number): number {
  if (snapshot === NONE || check === NONE) return 0;
  if (snapshot === OVER) return 1;
  if (snapshot === OPEN) return check === OVER ? 2 : 3;
  return check === OVER ? 4 : check === OPEN ? 5 : 6;
}

function judged(state: RetryOverlaps, mine: number): RetryOverlaps | Objection {
  const { leaf, host, window, row } = state;
  if (leaf < 0 || row !== mine || window === IN_START) return state;
  if (window !== IN_WINDOW && leaf === host) return state;
  const { order } = ROWS[row]!;
  return object(
    `a fault and an invalidation in the order ${order} left a page mapped that the host takes away`,
  );
}

/** Events of the vCPU before it has looked the page up, and after. */
function ofFault(state: RetryOverlaps, event: CheckedEvent, facts: MachineFacts): RetryOverlaps {
  const { phase, before, snapshot, looked, check } = state;
  // The attempt begins: it makes sure of memory, and may sleep.
  if (event.kind === Note.MaySleep)
    return { ...state, before: phase, snapshot: NONE, looked: NONE, check: NONE };
  if (event.kind === Note.ReadEnter) {
    if (event.a !== RCU || snapshot !== NONE || before === NONE) return state;
    return { ...state, before: NONE, snapshot: before === phase ? phase : NONE };
  }
  if (snapshot === NONE) return before === NONE ? state : { ...state, before: phase };
  if (event.kind === Note.ReadLeave)
    return event.a === RCU && looked === NONE ? { ...state, looked: phase } : state;
  if (check !== NONE || event.a !== BigInt(KVM_MMU_LOCK)) return state;
  // Under the lock the check comes first; without the rule it stands right before the lock is asked for.
  if (!facts.rulesOff.includes("RetryUnderLock"))
    return event.kind === Note.LockTaken ? { ...state, check: phase } : state;
  const known = looked === phase || looked === OPEN;
  return event.kind === Note.LockWanted && known ? { ...state, check: phase } : state;
}

const isVcpu = ({ actor }: CheckedEvent, { layout }: MachineFacts): boolean => actor < layout.vcpuCount;

const forRow = (row: number): Checker<RetryOverlaps> => ({
  name: `overlap-${row}-is-guarded`,
  invariants: ["I1", "I2"],
  says: `A fault and an invalidation in the order ${ROWS[row]!.order} leave no translation of the page that is taken away.`,
  brokenWithout: ROWS[row]!.guards,
  listens: [
    Note.NotifyStart,
    Note.NotifyStarted,
    Note.NotifyEnd,
    Note.InProgress,
    Note.HostLeaf,
    Note.SpteLeaf,
    Note.MaySleep,
    Note.PageAlloc,
    Note.ReadEnter,
    Note.ReadLeave,
    Note.LockWanted,
    Note.LockTaken,
  ],
  initial: () => ({
    phase: BEFORE,
    window: NONE,
    host: NONE,
    leaf: NONE,
    before: NONE,
    snapshot: NONE,
    looked: NONE,
    check: NONE,
    row: 0,
  }),
  step(state, event, facts) {
    switch (event.kind) {
      case Note.NotifyStart:
        return { ...state, window: IN_START };
      case Note.NotifyStarted:
        return judged({ ...state, window: IN_WINDOW }, row);
      case Note.NotifyEnd:
        return judged({ ...state, window: NONE }, row);
      case Note.InProgress:
        return { ...state, phase: event.a === 0n ? OVER : OPEN };
      case Note.HostLeaf:
        return judged({ ...state, host: hostLeafOf(event).pfn }, row);
      case Note.SpteLeaf: {
        const { pfn } = spteOf(event);
        const at = pfn < 0 ? 0 : rowOf(state.snapshot, state.check);
        return judged({ ...state, leaf: pfn, row: at }, row);
      }
      default:
        return isVcpu(event, facts) ? ofFault(state, event, facts) : state;
    }
  },
});

/** A checker for each row. */
export const retryOverlaps: readonly Checker<RetryOverlaps>[] = Object.keys(ROWS).map((row) =>
  forRow(Number(row)),
);

/** The row whose checker has this name; undefined for other checkers. */
export function overlapOf(name: string): number | undefined {
  const at = retryOverlaps.findIndex((checker) => checker.name === name);
  return at < 0 ? undefined : at + 1;
}
