/**
 * I4: every access lands in the page that its translation was made for; nobody touches a free page.
 *
 * Holds: what a TLB entry, a mapping of kvm_vcpu_map, a pfn cache or a pin gives access to has not been freed, nor (a page of
 * a DAX file) been given to another file, since it was made. And no access at all goes to the frame of a free page. Its
 * struct page is the business of metadata.ts: claim C1 parts the two.
 * Broken by: a reference put straight after gup in kvm_vcpu_map; start that returns with the page still in a TLB; a
 * truncate of a DAX file that does not wait for pins; a put too many.
 * Does not see: pages that were never handed out, machines with the Poison option (the allocator then writes to free frames),
 * a stale access by a way that has no event of its own after the frame has a new owner. A page that was never allocated but
 * belongs to a file counts as one of a DAX file.
 * The state has no epochs: a holder is current or stale, and a page that nobody refers to is forgotten.
 */

import { Note } from "../core/layout.generated.js";
import { ACCESS, type CheckedEvent, type Checker, type MachineFacts, type Objection } from "./checker.js";
import { accessOf, framesOf, pfnOf, useOf, isLarge, sparesGlobal } from "./decode.js";
import {
  drop,
  EMPTY,
  excluding,
  hex,
  including,
  object,
  put,
  remap,
  type Numbers,
  type Table,
} from "./ghost.js";

const CURRENT = 0;
const FREED = 1;
const REFILED = 2;

export type Holders = {
  /** Frames that were handed out and given back. */
  readonly free: Numbers;
  /** Key "tlb vcpu page", "map vcpu pfn", "gpc cache", "pin actor pfn": frame, and what has become of it since. */
  readonly holders: Table<readonly [pfn: number, fate: number]>;
};

function mark(holders: Holders["holders"], first: number, count: number, fate: number): Holders["holders"] {
  return remap(holders, (holder) =>
    holder[1] === CURRENT && holder[0] >= first && holder[0] < first + count
      ? ([holder[0], fate] as const)
      : holder,
  );
}

function held(state: Holders, key: string, pfn: number): Holders {
  const fate = state.free.includes(pfn) ? FREED : CURRENT;
  return { ...state, holders: put(state.holders, key, [pfn, fate]) };
}

/** A use by `who` of a frame, through the holder `key`. */
function used(state: Holders, key: string, pfn: number, who: string, write: boolean): Holders | Objection {
  const how = write ? "wrote to" : "read";
  if (state.free.includes(pfn)) return object(`${who} ${how} pfn ${pfn}, which is free`);
  const holder = state.holders[key];
  if (!holder || holder[0] !== pfn || holder[1] === CURRENT) return state;
  if (holder[1] === FREED)
    return object(`${who} ${how} pfn ${pfn}, which has been freed since and has a new owner`);
  return object(`${who} ${how} pfn ${pfn}, whose block belongs to another file since`);
}

function useEvent(state: Holders, event: CheckedEvent, facts: MachineFacts): Holders | Objection {
  const { address, write } = useOf(event);
  const pfn = Number(event.a);
  switch (event.kind) {
    case Note.GuestUse: {
      const key = `tlb ${event.detail} ${event.a >> 12n}`;
      return used(state, key, pfnOf(facts, address), `vCPU ${event.detail}`, write);
    }
    case Note.MapUse:
      return used(state, `map ${event.detail} ${pfn}`, pfn, `the map of vCPU ${event.detail}`, write);
    case Note.GpcUse:
      return used(state, `gpc ${event.detail}`, pfn, `pfn cache ${event.detail}`, write);
    case Note.DmaUse:
      return used(state, `pin ${event.actor} ${pfn}`, pfn, `the device of actor ${event.actor}`, write);
    default:
      return used(state, "", pfn, `the host's actor ${event.actor}`, write);
  }
}

/** The address sanitizer. */
function access(state: Holders, event: CheckedEvent, facts: MachineFacts): Objection | null {
  if (state.free.length === 0) return null;
  const { address, write } = accessOf(event);
  const frame = pfnOf(facts, address);
  const how = write ? "wrote to" : "read";
  if (frame < 0 || !state.free.includes(frame)) return null;
  return object(`actor ${event.actor} ${how} address ${hex(address)} in pfn ${frame}, which is free`);
}

export const useAfterFree: Checker<Holders> = {
  name: "no-use-after-free",
  invariants: ["I4"],
  says: "Every access lands in a page that has not been freed, nor given to another file, since the translation was made.",
  brokenWithout: [
    "RetryUnderLock",
    "SnapshotBeforeGup",
    "SeqChecked",
    "CountChecked",
    "FlushBeforeStartReturns",
    "FlushBeforeYield",
    "GetUnlessZero",
    "GupRechecksPte",
    "ZapInvalidRoots",
    "TableFreeWaitsForRcu",
    "VcpuMapHoldsReference",
    "PfnmapNotRefcounted",
    "DaxTruncateWaitsIdle",
  ],
  listens: [
    ACCESS,
    Note.PageAlloc,
    Note.PageFree,
    Note.FileAdd,
    Note.TlbFill,
    Note.TlbDrop,
    Note.TlbFlush,
    Note.MapTaken,
    Note.MapDropped,
    Note.GpcValid,
    Note.PinTaken,
    Note.PinDropped,
    Note.GuestUse,
    Note.MapUse,
    Note.GpcUse,
    Note.DmaUse,
    Note.HostUse,
  ],
  initial: () => ({ free: [], holders: EMPTY }),
  step(state, event, facts) {
    const pfn = Number(event.a);
    switch (event.kind) {
      case ACCESS:
        return access(state, event, facts) ?? state;
      case Note.PageAlloc: {
        let { free } = state;
        const { first, count } = framesOf(event);
        for (let n = first; n < first + count; n++) {
          free = excluding(free, n);
        }
        return { ...state, free };
      }
      case Note.PageFree: {
        let { free } = state;
        const { first, count } = framesOf(event);
        for (let n = first; n < first + count; n++) {
          free = including(free, n);
        }
        return { free, holders: mark(state.holders, first, count, FREED) };
      }
      case Note.FileAdd: {
        // Whoever had access before has it to another file's page now: a block of a DAX file is reused without a free.
        const holders = mark(state.holders, pfn, 1, REFILED);
        return holders === state.holders ? state : { ...state, holders };
      }
      case Note.TlbFill:
        if (isLarge(event)) return state;
        return held(state, `tlb ${event.detail} ${event.a >> 12n}`, Number(event.b >> 12n));
      case Note.TlbDrop:
        if (isLarge(event)) return state;
        return { ...state, holders: drop(state.holders, `tlb ${event.detail} ${event.a >> 12n}`) };
      case Note.TlbFlush: {
        if (sparesGlobal(event)) return state;
        const own = `tlb ${event.detail} `;
        return { ...state, holders: remap(state.holders, (h, key) => (key.startsWith(own) ? undefined : h)) };
      }
      case Note.MapTaken:
        return held(state, `map ${event.detail} ${pfn}`, pfn);
      case Note.MapDropped:
        return { ...state, holders: drop(state.holders, `map ${event.detail} ${pfn}`) };
      case Note.GpcValid:
        return held(state, `gpc ${event.detail}`, Number(event.b));
      case Note.PinTaken:
        return held(state, `pin ${event.actor} ${pfn}`, pfn);
      case Note.PinDropped:
        return { ...state, holders: drop(state.holders, `pin ${event.actor} ${pfn}`) };
      default:
        return useEvent(state, event, facts);
    }
  },
  touches(event, facts) {
    switch (event.kind) {
      case ACCESS: {
        const { address } = accessOf(event);
        const pfn = pfnOf(facts, address);
        return pfn < 0 ? [] : [{ key: `pfn ${pfn}`, write: false }];
      }
      case Note.PageAlloc:
      case Note.PageFree: {
        const { first, count } = framesOf(event);
        return Array.from({ length: count }, (_, i) => ({ key: `pfn ${first + i}`, write: true }));
      }
      case Note.GuestUse:
        return [
          { key: `pfn ${pfnOf(facts, useOf(event).address)}`, write: false },
          { key: `tlb ${event.detail}`, write: false },
        ];
      case Note.TlbFill:
        return [
          { key: `pfn ${event.b >> 12n}`, write: true },
          { key: `tlb ${event.detail}`, write: true },
        ];
      case Note.TlbDrop:
      case Note.TlbFlush:
        return [{ key: `tlb ${event.detail}`, write: true }];
      case Note.GpcValid:
        return [
          { key: `pfn ${event.b}`, write: true },
          { key: `gpc ${event.detail}`, write: true },
        ];
      case Note.GpcUse:
        return [
          { key: `pfn ${event.a}`, write: false },
          { key: `gpc ${event.detail}`, write: false },
        ];
      case Note.MapUse:
      case Note.DmaUse:
      case Note.HostUse:
        return [{ key: `pfn ${event.a}`, write: false }];
      default:
        return [{ key: `pfn ${event.a}`, write: true }];
    }
  },
};
