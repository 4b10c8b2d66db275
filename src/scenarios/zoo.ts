/**
 * The zoo: defects that were in a kernel, or could have been, around the memory of guests. A rule of `RULES` carries the
 * numbers of those that its absence repeats, a scenario those that it decides; what is said here is what they were, and of
 * those that cannot be written down in this machine yet, what is missing. `npm run docs:zoo` makes docs/zoo.md of it.
 */

/** One defect. */
export interface ZooEntry {
  /** "Z31". Never given to another one. */
  readonly id: string;
  /** What was wrong, in a line. */
  readonly title: string;
  /** The commit of Linux that mended it (null: not found), or a guard that never was missing ("guard"), or an argument ("hypothetical"). */
  readonly origin:
    | { readonly commit: string | null; readonly year: number; readonly cve?: string }
    | "guard"
    | "hypothetical";
  /** What the machine would have to have to show it; left out where it can be shown. */
  readonly missing?: string;
  /**
   * What is shown is not the defect but one of its kind: how it differs, as a clause without a full stop. It does not count
   * as found.
   */
  readonly analogue?: string;
}

const linux = (commit: string | null, year: number, cve?: string) => ({
  commit,
  year,
  ...(cve === undefined ? {} : { cve }),
});

const SHADOW = "no shadow paging and no nested guests: only two-dimensional paging";
const DIRTY_LOG = "no dirty log of guest pages";
const KHUGEPAGED = "no collapse of page tables into huge pages";
const FAST_FAULT = "no lockless fault that makes an SPTE writable again";

/** All defects, by number. */
export const ZOO: readonly ZooEntry[] = [
  {
    id: "Z01",
    title: "kvm_vcpu_map puts its page right after the lookup and goes on using the mapping",
    origin: "hypothetical",
  },
  { id: "Z01b", title: "a page fault puts its page right after the lookup", origin: "hypothetical" },
  {
    id: "Z02",
    title: "a ZONE_DEVICE page counts as reserved, so the reference of each lookup leaks",
    origin: linux("a78986aae9b2", 2019),
  },
  {
    id: "Z03",
    title: "a write through a counted reference goes to a page that truncate took out of its file",
    origin: "hypothetical",
  },
  {
    id: "Z04",
    title: "get and put of a remapped pfn whose page is not counted frees it while it is in use",
    origin: linux("f8be156be163", 2021, "CVE-2021-22543"),
  },
  {
    id: "Z05",
    title: "a remapped pfn is taken for writable whatever its host PTE says",
    origin: linux("bd2fae8da794", 2021),
  },
  {
    id: "Z06",
    title: "the zero page counts as reserved, so its count grows until it overflows",
    origin: linux("7df003c85218", 2020),
  },
  {
    id: "Z07",
    title: "references without bound wrap the count of a page to 0",
    origin: linux("8fde12ca79af", 2019),
  },
  {
    id: "Z08",
    title:
      "the lockless lookup takes its reference on a page that is no longer the head of the one it returns",
    origin: linux("c24d37322548", 2021),
  },
  {
    id: "Z10",
    title: "truncate of a DAX file gives blocks away that somebody still writes to, or waits for ever",
    origin: linux("5fac7408d828", 2018),
  },
  {
    id: "Z11",
    title: "a host fault uses a device page without a reference, and free device pages have a count of 1",
    origin: linux("16ce101db85d", 2022),
    missing: "no device-private memory",
  },
  { id: "Z13", title: "a fault that retries keeps the reference of its lookup", origin: "guard" },
  {
    id: "Z14",
    title: "one guard of sequence number, count and lock is missing in the retry protocol",
    origin: "guard",
  },
  {
    id: "Z15",
    title: "memslots change between start and end of an invalidation, and the count is out of balance",
    origin: linux("52ac8b358b0c", 2021),
  },
  {
    id: "Z16",
    title: "a neighbour is mapped in advance while its own invalidation is open",
    origin: linux("4a42d848db95", 2021),
  },
  {
    id: "Z19",
    title: "a collapse takes a page table of a file away without telling the secondary MMU",
    origin: linux("f268f6cf875f", 2022, "CVE-2022-48991"),
    missing: KHUGEPAGED,
  },
  {
    id: "Z20",
    title: "a page table is freed and used anew under a lockless walker of host tables",
    origin: linux("2ba99c5e0881", 2022),
    missing: "host tables are not freed while their process lives",
  },
  {
    id: "Z21",
    title: "host pages are freed before the host's own TLB is flushed",
    origin: linux("eb66ae030829", 2018, "CVE-2018-18281"),
    analogue:
      "what frees too early here is an unmap, whose flush comes after the put; the defect was in mremap, which this machine does not have",
  },
  {
    id: "Z23",
    title: "a page is copied elsewhere before its secondary mapping is taken away",
    origin: linux("7066f0f933a1", 2018),
    analogue:
      "nothing is copied: an unmap clears its PTE before start, as that migration did; no write to an old copy is lost",
  },
  {
    id: "Z24",
    title: "the secondary MMU is told once, after the PTE is cleared, with no window around it",
    origin: linux("fb1522e099f0", 2017),
  },
  {
    id: "Z25",
    title: "the size of a mapping is taken from the VMA before the snapshot (arm64)",
    origin: linux("13ec9308a857", 2023),
  },
  {
    id: "Z25b",
    title: "the same order in x86 of 2019: an open question that the explorer answers",
    origin: "hypothetical",
  },
  {
    id: "Z26",
    title: "the APIC access page is loaded again before the host PTE has changed, and never after",
    origin: linux("e649b3f0188f", 2020),
    missing: "no APIC access page",
  },
  {
    id: "Z27",
    title: "a notifier is unlinked before its release, and pages are freed while they are mapped",
    origin: linux("d34883d4e35c", 2013),
    missing: "no end of a VM while its process lives on",
  },
  {
    id: "Z28",
    title: "the worker of an asynchronous page fault outlives its vCPU",
    origin: linux("3d75b8aa5c29", 2024),
    missing: "no asynchronous page faults",
  },
  {
    id: "Z29",
    title: "the token 0 of an asynchronous page fault means that there is none",
    origin: linux("6f3c1fc53d86", 2022),
    missing: "no asynchronous page faults",
  },
  {
    id: "Z30",
    title: "faults that retry keep mmu_lock from the invalidation that they wait for",
    origin: linux("d02c357e5bfa", 2024),
    missing:
      "no scheduler: a cycle is told if a fair one stays in it for ever, not if a vCPU merely waits long",
  },
  {
    id: "Z31",
    title: "a pfn cache is refreshed between its invalidation and the moment the count rises",
    origin: linux("58cd407ca4c6", 2022),
  },
  {
    id: "Z32",
    title: "two refreshes of a pfn cache interleave, and one goes on with the other's old mapping",
    origin: linux("93984f19e7bc", 2022),
  },
  {
    id: "Z34",
    title: "a pfn cache that is not active is refreshed, where no invalidation finds it",
    origin: linux("ecbcf030b456", 2022, "CVE-2022-49882"),
  },
  {
    id: "Z36",
    title: "kvm_vcpu_map holds a plain reference, and fork leaves it with a page that its owner left",
    origin: linux("2bcb52a3602b", 2024),
  },
  {
    id: "Z37",
    title: "kvm_vcpu_unmap takes a mapping without struct page for one with",
    origin: linux("b614c6027896", 2019),
  },
  {
    id: "Z38",
    title: "a page that was written through kvm_vcpu_map is not marked dirty",
    origin: linux("7afe79f5734a", 2024),
  },
  {
    id: "Z39",
    title: "the pfn of a guest page-table entry is computed from its VMA, and bits are set in foreign memory",
    origin: linux("2a8859f373b0", 2022),
    missing: SHADOW,
  },
  {
    id: "Z40",
    title:
      "an address without memory drops a control silently, and the inner guest reaches a device of the outer one",
    origin: linux("671ddc700fd0", 2019),
    missing: SHADOW,
  },
  {
    id: "Z41",
    title: "a request to flush is lost by a read-modify-write that is not atomic",
    origin: linux("b043138246a4", 2020, "CVE-2019-3016"),
    analogue:
      "the request is made too late or looked for too early here; the defect was a plain load and store of the guest's steal-time byte, which this machine does not have",
  },
  {
    id: "Z42",
    title: "a flush is left out although the vCPU is in the middle of an access with the old translation",
    origin: linux("6cd88243c7e0", 2022, "CVE-2022-39189"),
    analogue:
      "the flusher does not wait for a vCPU in the middle of an access; the defect was in a flush that the guest leaves out as a steal-time byte says preempted, which this machine does not have",
  },
  {
    id: "Z43",
    title: "faults on a shadow root take mmu_lock for read",
    origin: linux("47b0c2e4c220", 2022, "CVE-2022-45869"),
    missing: SHADOW,
  },
  {
    id: "Z44",
    title: "a fault installs under a root that was zapped and is obsolete",
    origin: linux("a955cad84cda", 2021),
  },
  {
    id: "Z45",
    title: "a notifier passes over obsolete roots, which still map pages",
    origin: linux("d62007edf01f", 2022),
  },
  {
    id: "Z47",
    title: "a zap gives mmu_lock up with a flush outstanding",
    origin: linux("a835429cda91", 2021),
  },
  {
    id: "Z49",
    title: "a fault replaces a table by a huge page without a flush, and the table is freed",
    origin: linux("08f07c800e9d", 2021),
  },
  {
    id: "Z50",
    title: "a plain store to an SPTE loses a bit that the processor has set since",
    origin: linux("ba3a6120a4e7", 2022),
  },
  {
    id: "Z51",
    title: "write protection skips entries that are read-only already but may become writable",
    origin: linux("7c8a4742c4ab", 2022),
    missing: FAST_FAULT,
  },
  {
    id: "Z52",
    title: "a page changed by the host keeps the right to become writable",
    origin: linux("f082d86ea685", 2022),
    missing: FAST_FAULT,
  },
  {
    id: "Z53",
    title: "a slot that is being deleted is taken for an address without memory",
    origin: linux("e0c378684b65", 2022),
  },
  {
    id: "Z55",
    title: "only the pages of a removed slot are zapped; what went wrong was never found",
    origin: linux("d012a06ab1d2", 2019),
    missing: "no zap of a single slot: a removal makes all roots obsolete",
  },
  {
    id: "Z56",
    title: "a huge page is installed while a part of it changes between private and shared",
    origin: linux("9129633d568e", 2025),
    missing: "no private memory (guest_memfd)",
  },
  {
    id: "Z58",
    title: "the recovery of huge pages looks a slot up in the wrong address space",
    origin: linux(null, 2023),
    missing: "one address space of slots, and no recovery of huge pages",
  },
  {
    id: "Z59",
    title: "upper shadow pages are shared by paths with different permissions",
    origin: linux("b1bd5cba3306", 2021, "CVE-2021-38198"),
    missing: SHADOW,
  },
  {
    id: "Z60",
    title: "a child shadow page is used again although its gfn differs",
    origin: linux("0cb2af2ea66a", 2026, "CVE-2026-46113"),
    missing: SHADOW,
  },
  {
    id: "Z61",
    title: "a child shadow page is used again although its role differs",
    origin: linux("81ccda30b4e8", 2026, "CVE-2026-53359"),
    missing: SHADOW,
  },
  {
    id: "Z62",
    title: "an MMIO entry is written over a present one, which stays in the reverse map",
    origin: linux("aad885e77496", 2026),
    missing: SHADOW,
  },
  {
    id: "Z64",
    title: "a guest page table is write-protected without a flush",
    origin: linux("f81602958c11", 2021),
    missing: SHADOW,
  },
  {
    id: "Z66",
    title: "a guest page table becomes writable before it is marked as out of step",
    origin: linux("578e1c4db221", 2018),
    missing: SHADOW,
  },
  {
    id: "Z68",
    title: "the emulator checks permissions with an old CR0.WP",
    origin: linux("cf9f4c0eb169", 2023),
    missing: "no emulation of instructions",
  },
  {
    id: "Z69",
    title: "the mask of protection keys is ORed onto the one before",
    origin: linux("a3ca5281bb77", 2021),
    missing: "no cached permission masks: walks read the registers",
  },
  {
    id: "Z70",
    title: "INVPCID without guest paging calls what is not there",
    origin: linux("9f46c187e2e6", 2022, "CVE-2022-1789"),
    missing: SHADOW,
  },
  {
    id: "Z71",
    title: "a huge page that this process maps by small PTEs is mapped as a huge one",
    origin: linux("127393fbe597", 2016),
    missing: "no transparent huge pages: only hugetlb, which is mapped as a whole",
  },
  {
    id: "Z71b",
    title: "a hugetlb page is taken for a transparent huge page",
    origin: linux(null, 2020),
    missing: "no transparent huge pages: only hugetlb, which is mapped as a whole",
  },
  {
    id: "Z73",
    title: "a huge SPTE of a logged slot becomes writable, and one small page of it is logged",
    origin: "guard",
    missing: FAST_FAULT,
  },
  {
    id: "Z74",
    title: "dirty bits are relied upon while the logging hardware is off",
    origin: linux("44ac5958a6c1", 2021),
    missing: DIRTY_LOG,
  },
  {
    id: "Z75",
    title: "an entry of the dirty ring is seen before its content",
    origin: linux("8929bc965964", 2022),
    missing: DIRTY_LOG,
  },
  {
    id: "Z77",
    title: "a page is logged as dirty before it becomes writable",
    origin: "guard",
    missing: DIRTY_LOG,
  },
  {
    id: "Z78",
    title: "the parts of a split huge page are writable in a logged slot",
    origin: "guard",
    missing: DIRTY_LOG,
  },
];
