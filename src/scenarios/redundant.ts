/**
 * Where a rule is not missed: a scenario that comes near what the rule protects, and holds without it. `guestmmu explore
 * --every-rule` explores each of these with the rule left out, and objects if it does not hold. That a guard is redundant
 * is a finding about the memory model and the actors of that scenario, and about nothing else.
 */

import { type ProfileName } from "../core/profiles.js";
import { type RuleName } from "../core/rules.js";

/** One place where a rule is not missed. The memory model is that of the scenario. */
export interface Redundancy {
  readonly rule: RuleName;
  /** Name of a scenario of the package. */
  readonly scenario: string;
  readonly profiles: readonly ProfileName[];
  /** What else does the work of the rule there: a clause without a full stop. */
  readonly why: string;
}

const ALL: readonly ProfileName[] = ["v5.3", "v5.4", "v6.13", "v6.15"];
const E2019: readonly ProfileName[] = ["v5.3", "v5.4"];
const SINCE_RWLOCK: readonly ProfileName[] = ["v6.13", "v6.15"];

/** All that are known, by rule and then by scenario. */
export const REDUNDANT: readonly Redundancy[] = [
  {
    rule: "SeqRaisedInEnd",
    scenario: "fault-vs-dontneed",
    profiles: SINCE_RWLOCK,
    why: "the unlocked look at the retry state, before the page lookup, finds what an early raise would hide",
  },
  {
    rule: "SeqBeforeCount",
    scenario: "fault-vs-dontneed",
    profiles: SINCE_RWLOCK,
    why: "sequence and count are changed under mmu_lock, and what decides is read under it: their order is nobody's business",
  },
  {
    rule: "SeqBeforeCount",
    scenario: "fault-vs-dontneed-weak",
    profiles: SINCE_RWLOCK,
    why: "whoever holds mmu_lock sees both changes or none, on a machine that reorders as well",
  },
  {
    rule: "UpdaterWaitsForInvalidations",
    scenario: "slot-add-vs-dontneed",
    profiles: E2019,
    why: "every invalidation raises the count, whatever slots there are",
  },
  {
    rule: "RemovedTableFrozen",
    scenario: "fault-vs-slot-delete",
    profiles: SINCE_RWLOCK,
    why: "the fault looks whether its root is obsolete under mmu_lock, and does not come to the removed table",
  },
  {
    rule: "PutAfterInstall",
    scenario: "fault-vs-dontneed",
    profiles: SINCE_RWLOCK,
    why: "the retry check decides, and struct page is marked under mmu_lock, while the host still maps the page",
  },
  {
    rule: "EntryChecksRequests",
    scenario: "flush-vs-guest",
    profiles: ALL,
    why: "a vCPU of this machine looks at its requests at every access, as an interrupt would make it; its page walker does not",
  },
  {
    rule: "EntryChecksRequests",
    scenario: "flush-vs-guest-tso",
    profiles: ALL,
    why: "the look at every access makes up for it where stores are seen late as well",
  },
  {
    rule: "ReloadRequestedWithInvalidation",
    scenario: "fault-vs-slot-delete",
    profiles: ALL,
    why: "the request comes late, and still before the root is taken apart",
  },
  {
    rule: "InstallCompares",
    scenario: "faults-side-by-side",
    profiles: E2019,
    why: "mmu_lock is a spin lock: faults exclude each other",
  },
  {
    rule: "PrefetchSkipsOpenRange",
    scenario: "prefetch-vs-dontneed",
    profiles: E2019,
    why: "any open invalidation turns a fault away, whatever its range",
  },
  {
    rule: "SeqCountBarriers",
    scenario: "fault-vs-dontneed",
    profiles: ALL,
    why: "accesses are seen in order: a barrier has nothing to order",
  },
  {
    rule: "SeqCountBarriers",
    scenario: "fault-vs-dontneed-weak",
    profiles: ALL,
    why: "both sides hold mmu_lock, which orders sequence and count by itself; the unlocked look decides nothing",
  },
  {
    rule: "SnapshotBarrier",
    scenario: "fault-vs-dontneed",
    profiles: ALL,
    why: "accesses are seen in order: a barrier has nothing to order",
  },
  {
    rule: "SnapshotBarrier",
    scenario: "fault-vs-dontneed-weak",
    profiles: ALL,
    why: "this model reads only words of struct kvm late: an old snapshot makes a fault retry, and a page lookup ahead of its snapshot, which would need the barrier, is not simulated",
  },
  {
    rule: "EntryBarrier",
    scenario: "flush-vs-guest",
    profiles: ALL,
    why: "a store is seen by all at once: nothing is left for the barrier to wait for",
  },
];

/** The entry for this rule in this scenario on this profile, if there is one. */
export function redundancyOf(rule: RuleName, scenario: string, profile: ProfileName): Redundancy | undefined {
  return REDUNDANT.find(
    (one) => one.rule === rule && one.scenario === scenario && one.profiles.includes(profile),
  );
}
