/** The claims that the explorer decides: each a list of explorations with what must come out. */

import { type ProfileName } from "../core/profiles.js";
import { type RuleName } from "../core/rules.js";
import { type Scenario } from "../explore/scenario.js";
import { faultVsDontneed } from "./fault-vs-dontneed.js";

/** One exploration that bears on a claim. */
export interface ClaimRow {
  readonly scenario: Scenario;
  readonly without: readonly RuleName[];
  readonly profile: ProfileName;
  readonly expected: "holds" | "violated";
  /** What this row shows, as a clause without a full stop. */
  readonly shows: string;
}

/** A claim, and what decides it. */
export interface Claim {
  /** "C1", "Z25b", "matrix". */
  readonly id: string;
  /** The claim as a sentence. */
  readonly says: string;
  /** Who said it, and when. */
  readonly who: string;
  readonly rows: readonly ClaimRow[];
}

const fault: Scenario = faultVsDontneed;

function row(
  shows: string,
  expected: ClaimRow["expected"],
  without: readonly RuleName[] = [],
  profile: ProfileName = "v6.13",
): ClaimRow {
  return { scenario: fault, without, profile, expected, shows };
}

export const CLAIMS: readonly Claim[] = [
  {
    id: "C1'",
    says: "The reference that a page fault holds keeps an invalidation away until the page is mapped.",
    who: "Sean Christopherson, 7 November 2019; retracted on the 9th",
    rows: [
      row(
        "the fault holds its reference, and the check alone decides: without it the page is used after it was freed",
        "violated",
        ["CountChecked", "SeqChecked"],
        "v5.4",
      ),
    ],
  },
  {
    id: "matrix",
    says: "Sequence number and count are both needed, in this order, checked under the lock that is held until the leaf is installed.",
    who: "the retry protocol, one guard left out in each row",
    rows: [
      row("all guards in place", "holds"),
      row(
        "the number moves at the start only: a fault within the invalidation is missed",
        "violated",
        ["SeqRaisedInEnd"],
        "v5.4",
      ),
      row("no count: a fault that checks before the end is missed", "violated", ["CountChecked"]),
      row("no number: a fault that checks after the end is missed", "violated", ["SeqChecked"]),
      row("the snapshot comes after the lookup: an invalidation in between is missed", "violated", [
        "SnapshotBeforeGup",
      ]),
      row("checked before the lock only: a zap fits between check and installation", "violated", [
        "RetryUnderLock",
      ]),
      row("the lock is dropped between check and installation: a zap fits in", "violated", [
        "LockHeldToInstall",
      ]),
    ],
  },
];
