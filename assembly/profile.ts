// Profiles: the protocol rules of a kernel, named by its release tag, as a set of switches over one set of data
// structures. A profile is not that kernel's data structures.

import { HEADER_BASE, Header } from "./layout/header";

export enum Profile {
  /** Linux 5.4: with a78986aae9b2, ZONE_DEVICE pages are refcounted like any. */
  V5_4 = 0,
  /** Linux 6.13. */
  V6_13 = 1,
  /** Linux 5.3: before a78986aae9b2, ZONE_DEVICE pages count as reserved and are never put. */
  V5_3 = 2,
  /** Linux 6.15: pages of DAX files are idle at a count of 0 (38607c62b34b). */
  V6_15 = 3,
}
export const PROFILE_COUNT: u32 = 4;

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
  /** A ZONE_DEVICE page counts as reserved: what gup took on it is never put. */
  ZoneDeviceReserved = 1 << 4,
  /** A page of a DAX file is idle at a count of 0; off: at 1. */
  DaxIdleZero = 1 << 5,
  /** kvm_vcpu_map pins (FOLL_PIN); off: it takes a reference. */
  VcpuMapPins = 1 << 6,
  /** A remapped pfn is got and put as if its page were refcounted, unless it is reserved; off: never. */
  PfnmapRefcounted = 1 << 7,
  /** The level of a hugetlb mapping is taken from the VMA before the snapshot; off: from the host tables after the check. */
  LevelFromVma = 1 << 8,
}

const SINCE_RWLOCK: u32 =
  Switch.MmuRwLock | Switch.RangeRetry | Switch.BeginOnlyOnOverlap | Switch.PreCheck | Switch.VcpuMapPins;
const E2019: u32 = Switch.PfnmapRefcounted | Switch.LevelFromVma;

function switchesOf(profile: u32): u32 {
  switch (profile) {
    case Profile.V5_3:
      return E2019 | Switch.ZoneDeviceReserved;
    case Profile.V5_4:
      return E2019;
    case Profile.V6_15:
      return SINCE_RWLOCK | Switch.DaxIdleZero;
    default:
      return SINCE_RWLOCK;
  }
}

let SWITCHES: u32 = 0;

/** Takes the profile of the attached machine over. */
export function attachProfile(): void {
  SWITCHES = switchesOf(changetype<Header>(HEADER_BASE).profile);
}

export class Profiles {
  @inline static has(s: Switch): bool {
    return (SWITCHES & s) != 0;
  }
}
