/**
 * Profiles in words: the protocol rules of a kernel, named by its release tag, over one set of data structures. A
 * profile says how that kernel's page faults and invalidations agree; it does not have that kernel's data structures.
 */

import { Profile, Switch } from "./layout.generated.js";

/** Name of a profile: the release tag of the kernel whose protocol it follows. */
export type ProfileName = "v5.3" | "v5.4" | "v6.13" | "v6.15";

/** What a profile is. */
export interface ProfileRow {
  readonly name: ProfileName;
  /** `Profile` of the core. */
  readonly number: Profile;
  /** The state of the kernel it names. */
  readonly says: string;
  /** Its switches that are on. */
  readonly switches: readonly (keyof typeof Switch)[];
}

/** The switches in words: how it is where the switch is on, and where it is off. */
export const SWITCH_SENTENCES: Readonly<
  Record<keyof typeof Switch, { readonly on: string; readonly off: string }>
> = {
  MmuRwLock: {
    on: "mmu_lock is a reader-writer lock, and page faults of the TDP MMU take it for read",
    off: "mmu_lock is a spin lock: page faults exclude each other",
  },
  RangeRetry: {
    on: "a fault retries if its gfn is in the range union of the open invalidations",
    off: "a fault retries while any invalidation of the VM is open",
  },
  BeginOnlyOnOverlap: {
    on: "an invalidation that meets no memslot leaves mmu_lock and the retry state alone",
    off: "every invalidation takes mmu_lock and counts",
  },
  PreCheck: {
    on: "a fault looks at the retry state before the page lookup and again before mmu_lock",
    off: "a fault looks at the retry state under mmu_lock only",
  },
  ZoneDeviceReserved: {
    on: "a ZONE_DEVICE page counts as reserved, and the reference of a lookup is never put",
    off: "a ZONE_DEVICE page is got and put like any other",
  },
  DaxIdleZero: {
    on: "a page of a DAX file is idle at a reference count of 0",
    off: "a page of a DAX file is idle at a reference count of 1",
  },
  VcpuMapPins: {
    on: "kvm_vcpu_map pins its page (FOLL_PIN)",
    off: "kvm_vcpu_map holds a plain reference",
  },
  PfnmapRefcounted: {
    on: "a remapped pfn is got and put unless its page is reserved",
    off: "a remapped pfn is neither got nor put",
  },
  LevelFromVma: {
    on: "the size of a hugetlb mapping is taken from the VMA, before the snapshot",
    off: "the size of a mapping is read from the host tables, after the retry check",
  },
};

/** One row for each profile. */
export const PROFILES: Readonly<Record<ProfileName, ProfileRow>> = {
  "v5.3": {
    name: "v5.3",
    number: Profile.V5_3,
    says: "Linux 5.3, September 2019: ZONE_DEVICE pages count as reserved",
    switches: ["ZoneDeviceReserved", "PfnmapRefcounted", "LevelFromVma"],
  },
  "v5.4": {
    name: "v5.4",
    number: Profile.V5_4,
    says: "Linux 5.4, November 2019: ZONE_DEVICE pages are counted like any other (a78986aae9b2)",
    switches: ["PfnmapRefcounted", "LevelFromVma"],
  },
  "v6.13": {
    name: "v6.13",
    number: Profile.V6_13,
    says: "Linux 6.13, January 2025: TDP MMU, retry limited to the invalidated range",
    switches: ["MmuRwLock", "RangeRetry", "BeginOnlyOnOverlap", "PreCheck", "VcpuMapPins"],
  },
  "v6.15": {
    name: "v6.15",
    number: Profile.V6_15,
    says: "Linux 6.15, May 2025: as 6.13, and pages of DAX files are refcounted from 0 (38607c62b34b)",
    switches: ["MmuRwLock", "RangeRetry", "BeginOnlyOnOverlap", "PreCheck", "VcpuMapPins", "DaxIdleZero"],
  },
};

/** True for the names that `PROFILES` has. */
export function isProfileName(value: unknown): value is ProfileName {
  return typeof value === "string" && Object.hasOwn(PROFILES, value);
}
