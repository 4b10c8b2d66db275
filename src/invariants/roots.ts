/**
 * I13: nothing is installed under an obsolete root, and no vCPU runs on a root that was freed.
 *
 * Holds: from RootInvalid on, leaves under the root only go away. A root is given back only when no vCPU in guest mode
 * has it loaded.
 * Broken by: a fault that looked its slot up, then a memslot deletion that makes the root obsolete and takes it apart, then
 * the installation.
 * Does not see: a root loaded by a vCPU outside guest mode: whether it still counts as loaded is the core's business until
 * the entry. Reachability of obsolete roots by notifiers shows in translations.ts.
 */

import { Note } from "../core/layout.generated.js";
import { type Checker } from "./checker.js";
import { spteOf } from "./decode.js";
import { drop, EMPTY, excluding, hex, including, object, put, type Numbers, type Table } from "./ghost.js";
import { everyActor, reads, writes } from "./touches.js";

export type Roots = {
  /** Obsolete roots that have not been given back. */
  readonly invalid: Numbers;
  /** Root of each vCPU. */
  readonly loaded: Table<number>;
  readonly inGuest: Numbers;
};

export const roots: Checker<Roots> = {
  name: "no-insertion-under-an-obsolete-root",
  invariants: ["I13"],
  says: "No leaf is installed under an obsolete root, and no root is freed under a vCPU that runs on it.",
  brokenWithout: ["ObsoleteRootChecked", "ReloadRequestedWithInvalidation"],
  listens: [
    Note.SpteLeaf,
    Note.RootInvalid,
    Note.RootLoaded,
    Note.TableFree,
    Note.GuestEnter,
    Note.GuestExit,
  ],
  initial: () => ({ invalid: [], loaded: EMPTY, inGuest: [] }),
  step(state, event) {
    const pfn = Number(event.a);
    const vcpu = event.detail;
    switch (event.kind) {
      case Note.SpteLeaf: {
        const entry = spteOf(event);
        if (entry.pfn < 0 || !state.invalid.includes(event.detail)) return state;
        return object(`gfn ${hex(entry.first)} was installed under root ${event.detail}, which is obsolete`);
      }
      case Note.RootInvalid:
        return { ...state, invalid: including(state.invalid, pfn) };
      case Note.RootLoaded:
        return { ...state, loaded: pfn === 0 ? drop(state.loaded, vcpu) : put(state.loaded, vcpu, pfn) };
      case Note.GuestEnter:
        return { ...state, inGuest: including(state.inGuest, vcpu) };
      case Note.GuestExit:
        return { ...state, inGuest: excluding(state.inGuest, vcpu) };
      default: {
        const user = state.inGuest.find((v) => state.loaded[v] === pfn);
        if (user !== undefined) return object(`root ${pfn} was freed while vCPU ${user} runs on it`);
        return state.invalid.includes(pfn) ? { ...state, invalid: excluding(state.invalid, pfn) } : state;
      }
    }
  },
  touches({ kind, detail }, facts) {
    switch (kind) {
      case Note.SpteLeaf:
        return reads("invalid");
      case Note.RootInvalid:
        return writes("invalid");
      case Note.TableFree:
        return [...reads(...everyActor(facts)), ...writes("invalid")];
      default:
        return writes(`actor ${detail}`);
    }
  },
};
