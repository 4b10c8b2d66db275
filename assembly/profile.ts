// Profiles: the protocol rules of a kernel, named by its release tag, as a set of switches over one set of data
// structures. A profile is not that kernel's data structures.

import { HEADER_BASE, Header } from "./layout/header";

export enum Profile {
  /** Linux 5.4: with a78986aae9b2, ZONE_DEVICE pages are refcounted like any. */
  V5_4 = 0,
  /** Linux 6.13. */
  V6_13 = 1,
}
export const PROFILE_COUNT: u32 = 2;

/** Where profiles differ. */
export enum Switch {
  /** mmu_lock is an rwlock and TDP faults take it for read; off: a spin lock. */
  MmuRwLock = 1 << 0,
  /** The retry check looks at the gfn range of open invalidations; off: any open invalidation means retry. */
  RangeRetry = 1 << 1,
  /** begin and end are skipped if no memslot overlaps; off: they always run. */
  BeginOnlyOnOverlap = 1 << 2,
  /** A fault looks at the retry state before gup and again before mmu_lock. */
  PreCheck = 1 << 3,
}

let SWITCHES: u32 = 0;

/** Takes the profile of the attached machine over. */
export function attachProfile(): void {
  const profile = changetype<Header>(HEADER_BASE).profile;
  SWITCHES =
    profile == Profile.V6_13
      ? Switch.MmuRwLock | Switch.RangeRetry | Switch.BeginOnlyOnOverlap | Switch.PreCheck
      : 0;
}

export class Profiles {
  @inline static has(s: Switch): bool {
    return (SWITCHES & s) != 0;
  }
}
