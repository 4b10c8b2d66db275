/**
 * I5: a page's count is what its holders took.
 *
 * Holds: no count is negative; a count leaves 0 only by an allocation; a page is given back only at 0 and while no host leaf
 * maps it; and when all is done, each page that the process has mapped, or that belongs to no allocation (device memory),
 * has as many references as host leaves and files account for: KVM and gup have put what they took.
 * Broken by: get on a page of count 0 (0, 1, 0 frees it a second time); a fault that retries without putting its page; a
 * put that is skipped because the page counts as reserved.
 * Does not see: who holds a reference (pins.ts); pages that were never mapped, such as tables, at the end; that the
 * references of a page in the gather list are late.
 */

import { Note } from "../core/layout.generated.js";
import { type CheckedEvent, type Checker, type MachineFacts, type Objection } from "./checker.js";
import { framesOf, hostLeafOf, SHIFT_AT, signed } from "./decode.js";
import { drop, EMPTY, including, excluding, object, put, type Numbers, type Table } from "./ghost.js";
import { maps, type Spans } from "./spans.js";
import { nextHost } from "./tables.js";

export type Refcounts = {
  readonly host: Spans;
  /** By pfn of the head: count, frames. A page of device memory is known from its first get on: frames 0. */
  readonly pages: Table<readonly [count: number, frames: number]>;
  /** Count of a page of device memory before its first get that was seen. */
  readonly idle: Table<number>;
  /** Pages that a host leaf maps or has mapped, and pages that belong to a file, by pfn of the head. */
  readonly mapped: Numbers;
  readonly files: Numbers;
};

/** Head of the allocated block that a frame belongs to; itself if none. */
function headOf(state: Refcounts, pfn: number): number {
  for (const [head, [, frames]] of Object.entries(state.pages)) {
    const first = Number(head);
    if (pfn >= first && pfn < first + frames) return first;
  }
  return pfn;
}

function counted(state: Refcounts, event: CheckedEvent): Refcounts | Objection {
  const pfn = Number(event.a);
  const count = signed(event.b);
  const page = state.pages[pfn];
  const got = event.kind === Note.PageGet || event.kind === Note.PinTaken;
  if (count < 0) return object(`the count of pfn ${pfn} fell to ${count}`);
  if (got && page && page[0] === 0 && page[1] > 0) {
    return object(`actor ${event.actor} took a reference on pfn ${pfn}, whose count was 0`);
  }
  if (got && count <= 0) return object(`the count of pfn ${pfn} is ${count} after a get`);
  if (page) {
    return { ...state, pages: put(state.pages, pfn, [count, page[1]]) };
  }
  const idle = got ? count - 1 : count + 1;
  return { ...state, pages: put(state.pages, pfn, [count, 0]), idle: put(state.idle, pfn, idle) };
}

function freed(state: Refcounts, event: CheckedEvent): Refcounts | Objection {
  const { first, count } = framesOf(event);
  const page = state.pages[first];
  if (page && page[0] !== 0) return object(`pfn ${first} was freed with a count of ${page[0]}`);
  if (maps(state.host, first, count)) return object(`pfn ${first} was freed while the host maps it`);
  return {
    ...state,
    pages: drop(state.pages, first),
    idle: drop(state.idle, first),
    mapped: excluding(state.mapped, first),
    files: excluding(state.files, first),
  };
}

/** Host leaves that map the block. A leaf of 2 MiB holds one reference. */
function leavesOf(host: Spans, first: number, frames: number): number {
  let n = 0;
  for (const [from, to, pfn, bits] of host) {
    const low = Math.max(pfn, first);
    const high = Math.min(pfn + to - from, first + Math.max(frames, 1));
    if (low < high) n += Math.ceil((high - low) / 2 ** ((bits >> SHIFT_AT) - 12));
  }
  return n;
}

export const refcount: Checker<Refcounts> = {
  name: "references-balance",
  invariants: ["I5"],
  says: "A page's count is never negative, leaves 0 only by allocation, and is accounted for by host leaves and files when all is done.",
  brokenWithout: ["GetUnlessZero", "PutOnRetry", "PutAfterInstall"],
  listens: [
    Note.HostLeaf,
    Note.PageAlloc,
    Note.PageFree,
    Note.PageGet,
    Note.PagePut,
    Note.FileAdd,
    Note.FileRemove,
  ],
  initial: () => ({ host: [], pages: EMPTY, idle: EMPTY, mapped: [], files: [] }),
  step(state, event, _facts: MachineFacts) {
    const pfn = Number(event.a);
    switch (event.kind) {
      case Note.PageAlloc: {
        const { first, count, references } = framesOf(event);
        const page = state.pages[first];
        if (page && page[0] !== 0) return object(`pfn ${first} was handed out with a count of ${page[0]}`);
        if (maps(state.host, first, count))
          return object(`pfn ${first} was handed out while the host maps it`);
        return { ...state, pages: put(state.pages, first, [references, count]) };
      }
      case Note.PageFree:
        return freed(state, event);
      case Note.PageGet:
      case Note.PagePut:
        return counted(state, event);
      case Note.FileAdd:
        return { ...state, files: including(state.files, headOf(state, pfn)) };
      case Note.FileRemove:
        return { ...state, files: excluding(state.files, headOf(state, pfn)) };
      default: {
        const leaf = hostLeafOf(event);
        const next = { ...state, host: nextHost(state.host, event, 0) };
        if (leaf.pfn < 0) return next;
        const head = headOf(state, leaf.pfn);
        const page = state.pages[head];
        if (page && page[0] === 0 && page[1] > 0)
          return object(`the host maps pfn ${leaf.pfn}, whose count is 0`);
        return { ...next, mapped: including(state.mapped, head) };
      }
    }
  },
  final(state) {
    for (const [name, [count, frames]] of Object.entries(state.pages)) {
      const pfn = Number(name);
      const idle = state.idle[pfn];
      if (idle !== undefined) {
        if (count === idle) continue;
        return object(`pfn ${pfn} ends with a count of ${count} instead of ${idle}`);
      }
      if (!state.mapped.includes(pfn)) continue;
      const leaves = leavesOf(state.host, pfn, frames);
      const file = state.files.includes(pfn) ? 1 : 0;
      if (count !== leaves + file) {
        return object(
          `pfn ${pfn} ends with a count of ${count} while ${leaves} host leaves and ${file} files hold it`,
        );
      }
    }
    return null;
  },
};
