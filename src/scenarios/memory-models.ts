// Races whose point is a barrier: the same actors as elsewhere, under a memory model that needs it.
import { scenario } from "../explore/scenario.js";
import { faultVsDontneed } from "./fault-vs-dontneed.js";
import { flushVsGuest } from "./flush-vs-guest.js";
import { cacheRefreshVsDontneed } from "./users-pfn-cache.js";

/** The full barrier of vcpu_enter_guest. */
export const flushVsGuestTso = scenario("flush-vs-guest-tso", {
  ...flushVsGuest,
  prose:
    `${flushVsGuest.prose} On x86 a store waits in a buffer while later loads go ahead: without a full barrier vcpu0 has looked ` +
    "at its requests while its mode still says that it is outside.",
  model: "tso",
  decides: ["Z41"],
  brokenWithout: ["EntryBarrier"],
});

/** The barrier pair between sequence and count, where a lock is held on one side only. */
export const cacheRefreshWeak = scenario("users-cache-refresh-weak", {
  ...cacheRefreshVsDontneed,
  prose:
    `${cacheRefreshVsDontneed.prose} The refresh looks at both signs without mmu_lock: on a machine that reorders it may find ` +
    "the count lowered and the old sequence.",
  model: "weak",
  decides: ["Z14"],
  brokenWithout: ["SeqCountBarriers"],
});

/** The same pair in the fault path: both sides hold mmu_lock, and the barriers order nothing that it does not. */
export const faultVsDontneedWeak = scenario("fault-vs-dontneed-weak", {
  ...faultVsDontneed,
  prose:
    `${faultVsDontneed.prose} On a machine that reorders: the final check is made under mmu_lock, whose holder sees all that ` +
    "was done under it before. It holds without SeqCountBarriers as well. Without SnapshotBarrier too, which says nothing: " +
    "the model lets no read of a host page table find an older value.",
  model: "weak",
  decides: ["Z14"],
  brokenWithout: ["SeqChecked", "CountChecked", "SnapshotBeforeGup"],
});
