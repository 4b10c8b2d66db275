/** The claims that the explorer decides: each a list of explorations with what must come out. */

import { type ProfileName } from "../core/profiles.js";
import { type RuleName } from "../core/rules.js";
import { type Scenario } from "../explore/scenario.js";
import {
  faultMetadata,
  faultTranslations,
  mapUse,
  referenceVsInvalidation,
  retryMatrix,
} from "./claims-of-2019.js";
import {
  cachedFaultVsTruncate,
  cachedMapVsTruncate,
  daxDirectIo,
  daxFaultVsTruncate,
  daxMapKept,
  daxMapVsTruncate,
} from "./host-files.js";
import { hugetlbRemap } from "./host-hugetlb-remap.js";
import { remappedFault, remappedMap } from "./host-remapped.js";

/** One exploration that bears on a claim. */
export interface ClaimRow {
  readonly scenario: Scenario;
  readonly without: readonly RuleName[];
  readonly profile: ProfileName;
  readonly expected: "holds" | "violated";
  /** What this row shows, as a clause without a full stop. */
  readonly shows: string;
  /** What comes out as expected speaks against the claim. Default: for it. */
  readonly refutes?: boolean;
  /** What of the claim it is about, where that has parts which stand and fall by themselves. */
  readonly part?: string;
  /** Rows of the retry matrix (src/invariants/retry-overlaps.ts) that are missed, and no others: all violations are looked for. */
  readonly overlaps?: readonly number[];
}

/** A claim, and what decides it. */
export interface Claim {
  /** "C1", "Z25b", "matrix". */
  readonly id: string;
  /** The claim as a sentence. */
  readonly says: string;
  /** Who said it, and when. */
  readonly who: string;
  /** Profiles that it is not about, and why: a clause without a full stop. Rows on these bear the reason out. */
  readonly notAbout?: Readonly<Partial<Record<ProfileName, string>>>;
  readonly rows: readonly ClaimRow[];
}

const ALL: readonly ProfileName[] = ["v5.3", "v5.4", "v6.13", "v6.15"];
const E2019: readonly ProfileName[] = ["v5.3", "v5.4"];
const E2025: readonly ProfileName[] = ["v6.13", "v6.15"];
/** Where the reference of a ZONE_DEVICE page is put: before a78986aae9b2 it leaks. */
const NO_LEAK: readonly ProfileName[] = ["v5.4", "v6.13", "v6.15"];

/** A row for each of these profiles. */
function rows(
  scenario: { readonly name: string },
  profiles: readonly ProfileName[],
  expected: ClaimRow["expected"],
  without: readonly RuleName[],
  shows: string,
  more: Pick<ClaimRow, "refutes" | "part" | "overlaps"> = {},
): ClaimRow[] {
  return profiles.map((profile) => ({
    scenario: scenario as Scenario,
    without,
    profile,
    expected,
    shows,
    ...more,
  }));
}

const EARLY: readonly RuleName[] = ["PutAfterInstall"];
const NO_REFERENCE: readonly RuleName[] = ["VcpuMapHoldsReference"];
const NO_WAIT: readonly RuleName[] = ["DaxTruncateWaitsIdle"];
const NO_GET = "no reference is taken on a remapped pfn";
const LATE_LEVEL = "the size is read from the host tables, behind the check";
const AGAINST = { refutes: true } as const;
const TRANSLATION = { part: "translations" } as const;
const METADATA = { part: "struct page" } as const;

export const CLAIMS: readonly Claim[] = [
  {
    id: "C1",
    says: "A page fault may put its page straight after the lookup: the retry check alone keeps its translation right.",
    who: "Sean Christopherson, 9 November 2019",
    rows: [
      ...rows(
        faultTranslations,
        ALL,
        "holds",
        EARLY,
        "with the page put early, no translation is stale",
        TRANSLATION,
      ),
      ...rows(
        faultMetadata,
        E2019,
        "violated",
        EARLY,
        "the fault of 2019 goes on to mark struct page after it has dropped mmu_lock, and the page is free",
        { ...METADATA, ...AGAINST },
      ),
      ...rows(
        faultMetadata,
        E2025,
        "holds",
        EARLY,
        "later kernels mark it under mmu_lock, behind the check: the host cannot have freed it",
        METADATA,
      ),
      ...rows(
        faultMetadata,
        ["v5.4"],
        "holds",
        [],
        "with the page put late, struct page is that of a page held",
        METADATA,
      ),
    ],
  },
  {
    id: "C1'",
    says: "The reference that a page fault holds keeps an invalidation away until the page is mapped.",
    who: "Sean Christopherson, 7 November 2019; retracted on the 9th",
    rows: [
      ...rows(
        referenceVsInvalidation,
        ALL,
        "violated",
        [],
        "start, clear, flush and end go by while the reference is held: it delays the free and nothing else",
        AGAINST,
      ),
      ...rows(
        faultTranslations,
        ["v5.4"],
        "violated",
        ["CountChecked", "SeqChecked"],
        "the reference without the check: what is mapped is a page that the host has taken away",
        AGAINST,
      ),
    ],
  },
  {
    id: "C2",
    says: "Other users of a page that was looked up may not put it early: kvm_vcpu_map goes on using it across invalidations.",
    who: "Sean Christopherson, 9 November 2019",
    rows: [
      ...rows(mapUse, ALL, "violated", NO_REFERENCE, "with the page put early, a store goes to a free page"),
      ...rows(mapUse, ALL, "holds", [], "the reference, or the pin, keeps the page until the unmap"),
    ],
  },
  {
    id: "C3",
    says: "Pages of ZONE_DEVICE go idle instead of being freed, and using them is fine for whoever drops his use on an invalidation.",
    who: "Dan Williams, 9 November 2019",
    rows: [
      ...rows(
        daxFaultVsTruncate,
        NO_LEAK,
        "holds",
        EARLY,
        "a fault that puts its page early maps a block only while it belongs to the file, and its struct page is never free",
      ),
      ...rows(
        daxFaultVsTruncate,
        ["v5.3"],
        "violated",
        [],
        "before a78986aae9b2 such a page counts as reserved, and the reference of the lookup leaks: it never goes idle",
        AGAINST,
      ),
      ...rows(
        daxDirectIo,
        ALL,
        "holds",
        [],
        "direct I/O drops nothing on an invalidation, and marks the page busy by its pin: truncate waits",
      ),
    ],
  },
  {
    id: "C4",
    says: "Only the MMU of KVM drops its use when a notifier tells it to: kvm_vcpu_map goes on, and depends on its reference.",
    who: "Sean Christopherson, 11 November 2019",
    rows: [
      ...rows(
        daxMapVsTruncate,
        NO_LEAK,
        "violated",
        NO_REFERENCE,
        "without it, the block goes to another file, and the map writes there",
      ),
      ...rows(daxMapVsTruncate, NO_LEAK, "holds", [], "with it, truncate waits for the unmap"),
      ...rows(daxFaultVsTruncate, NO_LEAK, "holds", [], "the fault path needs no more than the notification"),
      ...rows(
        mapUse,
        ["v5.3"],
        "violated",
        NO_REFERENCE,
        "there the references of DAX pages leak; of an ordinary page, a map without its reference writes to a free one",
      ),
      ...rows(mapUse, ["v5.3"], "holds", [], "and with it the page stays until the unmap"),
      ...rows(
        faultTranslations,
        ["v5.3"],
        "holds",
        EARLY,
        "the fault path needs no more than the notification",
      ),
    ],
  },
  {
    id: "C5",
    says: "Truncate of a DAX file waits for pages with an elevated count; truncate of the page cache takes them out of the file.",
    who: "Dan Williams, 12 November 2019",
    rows: [
      ...rows(
        daxMapVsTruncate,
        ALL,
        "violated",
        NO_WAIT,
        "if it did not wait, a map with its reference would write to another file's block",
      ),
      ...rows(daxDirectIo, ALL, "violated", NO_WAIT, "and so would a device"),
      ...rows(daxDirectIo, ALL, "holds", [], "a device that marks its page busy is waited for"),
      ...rows(
        daxMapKept,
        NO_LEAK,
        "violated",
        [],
        "the price: a map that lives as long as the inner guest keeps the truncate waiting as long",
      ),
      ...rows(
        cachedMapVsTruncate,
        ALL,
        "violated",
        [],
        "in the page cache a correct reference, or pin, does not help: the store is lost with the page",
      ),
      ...rows(cachedFaultVsTruncate, ALL, "holds", [], "the fault path loses no store"),
    ],
  },
  {
    id: "C6",
    says: "The reference that KVM takes on a remapped pfn may prolong the life of its page, and is harmless for page faults.",
    who: "Sean Christopherson, November 2019; refuted by CVE-2021-22543",
    notAbout: { "v6.13": NO_GET, "v6.15": NO_GET },
    rows: [
      ...rows(
        remappedFault,
        E2019,
        "violated",
        [],
        "the count of a page that nobody counts goes from 0 to 1 and back, and frees it while the guest uses it",
        { ...AGAINST, part: "page faults" },
      ),
      ...rows(remappedMap, E2019, "violated", [], "kvm_vcpu_map does the same to the process", {
        ...AGAINST,
        part: "kvm_vcpu_map",
      }),
      ...rows(
        remappedFault,
        E2025,
        "holds",
        [],
        "a remapped pfn is neither got nor put: the notification is enough",
        { part: "page faults" },
      ),
      ...rows(remappedMap, E2025, "holds", [], "a page that cannot be pinned is refused", {
        part: "kvm_vcpu_map",
      }),
    ],
  },
  {
    id: "Z25b",
    says: "A large leaf may be installed over a small page where the size comes from the VMA before the snapshot, as in Linux 5.4.",
    who: "an open question of ours; the order was read in the source of 5.4",
    notAbout: { "v6.13": LATE_LEVEL, "v6.15": LATE_LEVEL },
    rows: [
      ...rows(
        hugetlbRemap,
        E2019,
        "violated",
        [],
        "hugetlb memory replaced by small pages: an entry of 2 MiB names one of 4 KiB",
      ),
      ...rows(hugetlbRemap, E2025, "holds", [], "the size is read from the host tables, behind the check"),
    ],
  },
  {
    id: "matrix",
    says: "Sequence number and count are both needed, in this order, checked under the lock that is held until the leaf is installed.",
    who: "the retry protocol, one guard left out in each row",
    rows: [
      ...rows(retryMatrix, ALL, "holds", [], "all guards in place", { overlaps: [] }),
      ...rows(
        retryMatrix,
        E2019,
        "violated",
        ["SeqRaisedInEnd"],
        "the number moves at the start only: a fault within the invalidation is missed",
        { overlaps: [2] },
      ),
      ...rows(
        retryMatrix,
        E2025,
        "holds",
        ["SeqRaisedInEnd"],
        "later kernels look at the count before the lookup as well, and do not begin such a fault",
        { overlaps: [] },
      ),
      ...rows(
        retryMatrix,
        ["v5.4", "v6.13"],
        "violated",
        ["CountChecked"],
        "no count: a fault that checks before the end is missed",
        { overlaps: [3, 5] },
      ),
      ...rows(
        retryMatrix,
        ["v5.4"],
        "violated",
        ["SeqChecked"],
        "no number: a fault that checks after the end is missed",
        { overlaps: [2, 4] },
      ),
      ...rows(
        retryMatrix,
        ["v6.13"],
        "violated",
        ["SeqChecked"],
        "no number: the look at the count before the lookup guards overlap 2, and nothing guards 4",
        { overlaps: [4] },
      ),
      ...rows(
        retryMatrix,
        ["v5.4"],
        "violated",
        ["SnapshotBeforeGup"],
        "the snapshot comes after the lookup: an invalidation that ends in between is missed",
        { overlaps: [2, 4] },
      ),
      ...rows(
        retryMatrix,
        ["v6.13"],
        "violated",
        ["SnapshotBeforeGup"],
        "the same, but for overlap 2, which the look before the lookup guards",
        { overlaps: [4] },
      ),
      ...rows(
        retryMatrix,
        ["v5.4", "v6.13"],
        "violated",
        ["RetryUnderLock"],
        "checked before the lock only: a zap fits between check and installation",
        { overlaps: [6] },
      ),
      ...rows(
        retryMatrix,
        ["v5.4", "v6.13"],
        "violated",
        ["LockHeldToInstall"],
        "the lock is dropped between check and installation: a zap fits in",
        { overlaps: [6] },
      ),
    ],
  },
];
