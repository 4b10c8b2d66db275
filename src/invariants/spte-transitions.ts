/**
 * I16: leaves change in legal steps, and their permission bits imply each other.
 *
 * Holds: a present leaf becomes a present leaf of the same size only with the same pfn; W implies mmu_writable, and that
 * implies host_writable.
 * Broken by: an installation that does not compare with the entry it examined; a change of protection that takes
 * host_writable and leaves mmu_writable, so that the fast path gives W back.
 * Does not see: who froze an entry (the event of a frozen entry does not say whether it was frozen before), MMIO entries.
 */

import { Note } from "../core/layout.generated.js";
import { type Checker } from "./checker.js";
import { HOST_WRITABLE, MMU_WRITABLE, spteOf, WRITABLE } from "./decode.js";
import { EMPTY, hex, object } from "./ghost.js";
import { before, nextSptes, type Sptes } from "./tables.js";
import { pageTouches } from "./touches.js";

export const spteTransitions: Checker<Sptes> = {
  name: "legal-spte-transitions",
  invariants: ["I16"],
  says: "A present leaf never turns into one with another pfn, and W implies mmu_writable implies host_writable.",
  brokenWithout: ["InstallCompares"],
  listens: [Note.SpteLeaf, Note.SpteLink, Note.TableFree],
  initial: () => EMPTY,
  step(state, event) {
    const next = nextSptes(state, event, 0);
    if (event.kind !== Note.SpteLeaf) return next;
    const entry = spteOf(event);
    if (entry.pfn < 0) return next;
    const old = before(state, event, entry);
    const gfn = hex(entry.first);
    if (old && old[2] - old[0] !== entry.pfn - entry.first) {
      return object(
        `the leaf of gfn ${gfn} went from pfn ${old[2]} to pfn ${entry.pfn} without a zap between`,
      );
    }
    if ((entry.bits & WRITABLE) !== 0 && (entry.bits & MMU_WRITABLE) === 0) {
      return object(`the leaf of gfn ${gfn} is writable without mmu_writable`);
    }
    if ((entry.bits & MMU_WRITABLE) !== 0 && (entry.bits & HOST_WRITABLE) === 0) {
      return object(`the leaf of gfn ${gfn} is mmu_writable without host_writable`);
    }
    return next;
  },
  touches: pageTouches,
};
