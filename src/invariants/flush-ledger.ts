/**
 * The ledger of flushes, for I3 without a TLB that is hit: whoever takes a translation away owes a flush.
 *
 * Holds: from the moment that a present leaf SPTE goes, loses W or changes its pfn, or a link to a table goes, until a
 * remote flush that began afterwards is done, the actor that did it does not give mmu_lock up, start does not return for
 * the range, and neither the page nor the table is freed.
 * Broken by: a zap that yields mmu_lock before it flushed; start that returns without a flush; a huge leaf in the place of
 * a table without a flush.
 * Legal without a flush: what goes under an obsolete root. Its vCPUs were asked to reload in the section that made it
 * obsolete, and have left guest mode (RootInvalid is told there).
 * Does not see: whether the flush reaches the vCPUs (tlb.ts), accessed and dirty flags.
 */

import { KVM_MMU_LOCK, Note } from "../core/layout.generated.js";
import { type CheckedEvent, type Checker, type MachineFacts, type Objection } from "./checker.js";
import { framesOf, gfnsOf, spteOf, sptePfn, WRITABLE, type Leaf } from "./decode.js";
import { drop, EMPTY, excluding, hex, including, object, put, type Numbers, type Table } from "./ghost.js";
import { type Span } from "./spans.js";
import { before, nextSptes, type Sptes } from "./tables.js";
import { rangeOf } from "./windows.js";
import { everyActor, pageTouches, reads, writes } from "./touches.js";

/** gfns, the first frame (of a table: 1 frame), who owes it, actors whose flush began since. */
export type Debt = readonly [
  first: number,
  end: number,
  pfn: number,
  count: number,
  owner: number,
  begun: Numbers,
];

export type Ledger = {
  readonly sptes: Sptes;
  /** Table of each link: key "root gfn shift". */
  readonly links: Table<number>;
  readonly invalid: Numbers;
  readonly debts: readonly Debt[];
};

function owe(debts: readonly Debt[], debt: Debt): readonly Debt[] {
  const text = JSON.stringify(debt);
  if (debts.some((d) => JSON.stringify(d) === text)) return debts;
  return sorted([...debts, debt]);
}

function sorted(debts: readonly Debt[]): readonly Debt[] {
  const texts = new Map(debts.map((d) => [JSON.stringify(d), d]));
  return [...texts.keys()].sort().map((text) => texts.get(text)!);
}

/** What a change of the leaf `old` to `entry` takes away from somebody's TLB. */
function reduces(old: Span, entry: Leaf): boolean {
  if (entry.pfn < 0 || old[2] - old[0] !== entry.pfn - entry.first) return true;
  return (old[3] & WRITABLE) !== 0 && (entry.bits & WRITABLE) === 0;
}

function afterEntry(state: Ledger, event: CheckedEvent): Ledger {
  const entry = spteOf(event);
  const sptes = nextSptes(state.sptes, event, WRITABLE);
  const exempt = state.invalid.includes(event.detail);
  let debts = state.debts;
  const old = before(state.sptes, event, entry);
  if (old && !exempt && !entry.table && reduces(old, entry)) {
    debts = owe(debts, [old[0], old[1], old[2], old[1] - old[0], event.actor, []]);
  }
  const key = `${event.detail} ${entry.first} ${entry.shift}`;
  const linked = state.links[key];
  let links = state.links;
  if (event.kind === Note.SpteLink && entry.table) links = put(links, key, sptePfn(event));
  else if (linked !== undefined && (event.kind === Note.SpteLink || entry.pfn >= 0)) links = drop(links, key);
  if (linked !== undefined && links[key] !== linked && !exempt) {
    debts = owe(debts, [entry.first, entry.end, linked, 1, event.actor, []]);
  }
  return { ...state, sptes, links, debts };
}

/** A debt that the event does not allow, as a sentence; null if there is none. */
function unpaid(state: Ledger, event: CheckedEvent, facts: MachineFacts): Objection | null {
  const says = (debt: Debt | undefined, what: string): Objection | null =>
    debt
      ? object(
          `${what} while a flush is owed for gfn ${hex(debt[0])} (pfn ${debt[2]}), changed by actor ${debt[4]}`,
        )
      : null;
  switch (event.kind) {
    case Note.LockDropped:
      if (Number(event.a) !== KVM_MMU_LOCK) return null;
      return says(
        state.debts.find((d) => d[4] === event.actor),
        `actor ${event.actor} gave mmu_lock up`,
      );
    case Note.NotifyStarted: {
      const { first, end } = rangeOf(event);
      const ranges = gfnsOf(facts, first, end);
      return says(
        state.debts.find((d) => ranges.some((r) => d[0] < r.end && r.first < d[1])),
        `start returned for hva pages ${hex(first)} to ${hex(end)}`,
      );
    }
    default: {
      const freed = event.kind === Note.PageFree ? framesOf(event) : { first: Number(event.a), count: 1 };
      return says(
        state.debts.find((d) => d[2] < freed.first + freed.count && freed.first < d[2] + d[3]),
        `pfn ${freed.first} was freed`,
      );
    }
  }
}

export const flushLedger: Checker<Ledger> = {
  name: "flush-paid-before-unlock",
  invariants: ["I3"],
  says: "Who takes a translation away flushes before giving mmu_lock up, before start returns, and before the page is freed.",
  brokenWithout: ["FlushBeforeStartReturns", "FlushBeforeYield", "FlushOnTableReplaced"],
  listens: [
    Note.SpteLeaf,
    Note.SpteLink,
    Note.RootInvalid,
    Note.FlushBegin,
    Note.FlushDone,
    Note.LockDropped,
    Note.NotifyStarted,
    Note.PageFree,
    Note.TableFree,
  ],
  initial: () => ({ sptes: EMPTY, links: EMPTY, invalid: [], debts: [] }),
  step(state, event, facts) {
    switch (event.kind) {
      case Note.SpteLeaf:
      case Note.SpteLink:
        return afterEntry(state, event);
      case Note.RootInvalid:
        return { ...state, invalid: including(state.invalid, Number(event.a)) };
      case Note.FlushBegin: {
        if (state.debts.length === 0) return state;
        const debts = state.debts.map(
          (d) => [d[0], d[1], d[2], d[3], d[4], including(d[5], event.actor)] as const,
        );
        return { ...state, debts: sorted(debts) };
      }
      case Note.FlushDone: {
        const debts = state.debts.filter((d) => !d[5].includes(event.actor));
        return debts.length === state.debts.length ? state : { ...state, debts };
      }
      case Note.TableFree: {
        const found = unpaid(state, event, facts);
        if (found) return found;
        const root = Number(event.a);
        const sptes = nextSptes(state.sptes, event, WRITABLE);
        let links = state.links;
        for (const key of Object.keys(links)) if (key.startsWith(`${root} `)) links = drop(links, key);
        const invalid = excluding(state.invalid, root);
        const same = sptes === state.sptes && links === state.links && invalid === state.invalid;
        return same ? state : { ...state, sptes, links, invalid };
      }
      default:
        return unpaid(state, event, facts) ?? state;
    }
  },
  touches(event, facts) {
    const debts = everyActor(facts);
    const own = `actor ${event.actor}`;
    switch (event.kind) {
      case Note.SpteLeaf:
      case Note.SpteLink:
        return [...pageTouches(event, facts), ...reads("invalid"), ...writes(own)];
      case Note.RootInvalid:
        return writes("invalid");
      case Note.LockDropped:
        return Number(event.a) === KVM_MMU_LOCK ? reads(own) : [];
      case Note.NotifyStarted:
      case Note.PageFree:
        return reads(...debts);
      case Note.TableFree:
        return [...pageTouches(event, facts), ...reads(...debts), ...writes("invalid")];
      default:
        return writes(...debts);
    }
  },
  final(state) {
    const debt = state.debts[0];
    return debt
      ? object(`a flush is still owed for gfn ${hex(debt[0])} (pfn ${debt[2]}), changed by actor ${debt[4]}`)
      : null;
  },
};
