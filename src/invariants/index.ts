/** The checkers of the explorer. A file each, with what it holds, what breaks it, and what it does not see. */

import { GuestMmuError } from "../errors.js";
import { type Checker } from "./checker.js";
import { data } from "./data.js";
import { flushLedger } from "./flush-ledger.js";
import { gpc } from "./gpc.js";
import { hostDirty } from "./host-dirty.js";
import { hostFlush } from "./host-flush.js";
import { huge } from "./huge.js";
import { locks } from "./locks.js";
import { memslots } from "./memslots.js";
import { metadata } from "./metadata.js";
import { pins } from "./pins.js";
import { refcount } from "./refcount.js";
import { retryOverlaps } from "./retry-overlaps.js";
import { retryState } from "./retry-state.js";
import { roots } from "./roots.js";
import { spteTransitions } from "./spte-transitions.js";
import { tableLifetime } from "./table-lifetime.js";
import { tlb } from "./tlb.js";
import { translations } from "./translations.js";
import { useAfterFree } from "./use-after-free.js";
import { writePermission } from "./write-permission.js";

/** All checkers, the most telling first: of two that object to one event, the first is reported. */
export const CHECKERS: readonly Checker[] = [
  useAfterFree,
  translations,
  tlb,
  flushLedger,
  gpc,
  roots,
  memslots,
  retryState,
  writePermission,
  spteTransitions,
  huge,
  tableLifetime,
  refcount,
  pins,
  metadata,
  hostDirty,
  hostFlush,
  data,
  locks,
] as readonly Checker[];

/** Checkers that understand some scenarios only, which name them. */
const BY_NAME: readonly Checker[] = retryOverlaps as unknown as readonly Checker[];

/** The checker of this name. */
export function checkerNamed(name: string): Checker | undefined {
  return [...CHECKERS, ...BY_NAME].find((checker) => checker.name === name);
}

/** The checkers that judge a scenario: those that it names, all if it names none. `USAGE` for a name that none has. */
export function checkersOf(scenario: {
  readonly name: string;
  readonly checkers?: readonly string[];
}): readonly Checker[] {
  return (
    scenario.checkers?.map((name) => {
      const found = checkerNamed(name);
      if (found) return found;
      throw new GuestMmuError("USAGE", {
        message: `Scenario ${scenario.name}: there is no checker ${JSON.stringify(name)}.`,
        hint: `Name some of ${CHECKERS.map((checker) => checker.name).join(", ")}.`,
      });
    }) ?? CHECKERS
  );
}

/** Checkers that have nothing to look at under a profile: gfn_to_pfn_cache came with Linux 5.17. */
const ABSENT: Readonly<Record<string, readonly string[]>> = {
  "v5.3": [gpc.name],
  "v5.4": [gpc.name],
};

/**
 * The checkers that apply to a profile ("v6.13"). That a kernel is known to break one is no reason to leave it out: the
 * scenario that shows it expects the objection.
 */
export function checkersFor(profile: string): readonly Checker[] {
  const absent = ABSENT[profile] ?? [];
  return CHECKERS.filter((checker) => !absent.includes(checker.name));
}
