/** What became of each claim on each kernel, from what the rows of its table came to. */

import { PROFILES, type ProfileName } from "../core/profiles.js";
import { overlapOf } from "../invariants/retry-overlaps.js";
import { type Claim, type ClaimRow } from "../scenarios/claims.js";
import { type JobResult } from "./jobs.js";
import { unexpected } from "./outcome.js";

/** A row of a claim, and what it came to. */
export interface Decided {
  readonly claim: Claim;
  readonly row: ClaimRow;
  readonly result: JobResult;
}

/**
 * holds: every row speaks for the claim, within the bounds of its scenario. refuted: one does not. open: a row came to no
 * verdict. not applicable: the kernel lacks what the claim is about, and the rows bear that out.
 */
export type Standing = "holds" | "refuted" | "open" | "not applicable";

/** One claim, or a part of one, on one kernel. */
export interface ClaimStanding {
  readonly claim: string;
  readonly part: string | null;
  readonly profile: ProfileName;
  readonly standing: Standing;
  /** Why it is not about that kernel. */
  readonly why: string | null;
}

/** Rows of the retry matrix that a result misses, ascending; null if it came to no verdict. */
export function overlapsOf({ verdict }: JobResult): readonly number[] | null {
  if (verdict === null || verdict.verdict === "inconclusive") return null;
  const rows = verdict.violations.map(({ name }) => overlapOf(name)).filter((row) => row !== undefined);
  return [...new Set(rows)].sort((a, b) => a - b);
}

/** True if a row came out otherwise than it says: another verdict, or other overlaps. */
export function otherwise({ row, result }: Decided): boolean {
  if (unexpected(result)) return true;
  const overlaps = row.overlaps === undefined ? null : overlapsOf(result);
  return overlaps !== null && overlaps.join() !== row.overlaps!.join();
}

function standingOf(claim: Claim, profile: ProfileName, rows: readonly Decided[]): Standing {
  const open = rows.some(({ result: { verdict } }) => verdict === null || verdict.verdict === "inconclusive");
  if (claim.notAbout?.[profile] !== undefined && !open && !rows.some(otherwise)) return "not applicable";
  // What comes out otherwise turns what its row says of the claim round.
  const against = rows.filter(
    ({ result }) => result.verdict !== null && result.verdict.verdict !== "inconclusive",
  );
  if (against.some((one) => (one.row.refutes ?? false) !== otherwise(one))) return "refuted";
  return open ? "open" : "holds";
}

/** All claims on all profiles of which rows were decided. The matrix is a table of guards, and no claim. */
export function standings(decided: readonly Decided[]): ClaimStanding[] {
  const claims = [...new Set(decided.map(({ claim }) => claim))].filter(({ id }) => id !== "matrix");
  return claims.flatMap((claim) => {
    const parts = [...new Set(claim.rows.map(({ part }) => part ?? null))];
    return parts.flatMap((part) =>
      (Object.keys(PROFILES) as ProfileName[]).flatMap((profile): ClaimStanding[] => {
        const rows = decided.filter(
          (one) => one.claim === claim && one.row.profile === profile && (one.row.part ?? null) === part,
        );
        if (rows.length === 0) return [];
        const standing = standingOf(claim, profile, rows);
        const why = standing === "not applicable" ? claim.notAbout![profile]! : null;
        return [{ claim: claim.id, part, profile, standing, why }];
      }),
    );
  });
}
