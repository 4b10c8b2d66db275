// Races against a page walker that acts by itself: while its vCPU is in guest mode it may walk for any access at any moment,
// set accessed and dirty flags, and fill the TLB, whatever the guest's own instructions do.
import { actor, faultOnce, graceCalls, hardwareCalls, hostCalls, vcpuCalls } from "../explore/calls.js";
import { SMALL_MACHINE, scenario } from "../explore/scenario.js";
import { back, GPA, LARGE, PAGE, warm } from "./ground.js";

const NEIGHBOUR = GPA + PAGE;
/** A processor that may forget what it cached, and has paging-structure caches. */
const FORGETFUL = {
  tlbMode: "architectural",
  tlb: { ...SMALL_MACHINE.tlb, structureEntries: 8 },
} as const;
const HVA = 0x1000_0020_0000n;

/** The walker is in the tables of a root that is taken apart. */
export const hardwareWalkVsSlotDelete = scenario("hardware-walk-vs-slot-delete", {
  prose:
    "vcpu0 enters guest mode and writes to a page that its TLB has. Its page walker walks for an access that the guest never " +
    "makes, and reads the tables one after the other. Meanwhile host0 deletes the only memslot: it requests that vcpu0 " +
    "reload its root, waits until it has left guest mode, takes the root apart, and frees its tables. The walk takes no " +
    "lock and is in no RCU section: what keeps the tables is that nobody frees them while a processor may be in them.",
  holds: "The walker reads no table that is free.",
  decides: ["Z41", "Z42"],
  brokenWithout: ["FlushWaitsForAck", "RequestBeforeModeCheck", "EntryChecksRequests"],
  machine: { hostThreads: 2 },
  setup(machine) {
    back(machine);
    warm(machine, 0, GPA);
    return {};
  },
  actors: () => [
    actor("vcpu", "vcpu0", 0, [vcpuCalls(0).write(GPA, 7n)]),
    actor("host", "host0", 1, [hostCalls(1).deleteMemslot(0)]),
    actor("hardware", "walker0", 2, [hardwareCalls(2, 0).speculate(GPA, "read")]),
  ],
});

/** The same, by a processor whose own walks may begin in the middle as well. */
export const hardwareWalkVsSlotDeleteForgetful = scenario("hardware-walk-vs-slot-delete-forgetful", {
  ...hardwareWalkVsSlotDelete,
  prose:
    `${hardwareWalkVsSlotDelete.prose} The processor may forget any entry of the TLB at any time, and has paging-structure caches ` +
    "that the walks of the guest's own accesses may begin at: in a table of the root that is taken apart.",
  machine: { ...hardwareWalkVsSlotDelete.machine, ...FORGETFUL },
});

/** The walker fills the TLB while the page is being dropped. */
export const hardwareWalkVsDontneed = scenario("hardware-walk-vs-dontneed", {
  prose:
    "vcpu0 writes to a page. Its page walker walks for another write to it, whenever it likes, and fills the TLB: before the " +
    "zap, between the zap and the flush, with an entry that it read before the zap. Meanwhile host0 drops the page. A flush " +
    "that came before the zap, or that did not wait for vcpu0, would leave an entry of a page that is free.",
  holds: "After the flush no TLB has an entry of the page, whoever made it.",
  decides: ["Z42"],
  brokenWithout: ["FlushBeforeStartReturns", "FlushWaitsForAck"],
  machine: { hostThreads: 2 },
  setup(machine) {
    const hva = back(machine);
    warm(machine, 0, GPA);
    return { hva };
  },
  actors: ({ hva }) => [
    actor("vcpu", "vcpu0", 0, [vcpuCalls(0).write(GPA, 7n)]),
    actor("host", "host0", 1, [hostCalls(1).madviseDontneed(hva, PAGE)]),
    actor("hardware", "walker0", 2, [hardwareCalls(2, 0).speculate(GPA, "write")]),
  ],
});

/** The same, by a processor that may forget what it cached. */
export const hardwareWalkVsDontneedForgetful = scenario("hardware-walk-vs-dontneed-forgetful", {
  ...hardwareWalkVsDontneed,
  prose:
    `${hardwareWalkVsDontneed.prose} The processor may forget any entry at any time, and has paging-structure caches that the ` +
    "vCPU's own walks may begin at.",
  machine: { ...hardwareWalkVsDontneed.machine, ...FORGETFUL },
});

/** The walker sets a dirty flag that a zap must not lose. */
export const hardwareDirtyFlagVsZap = scenario("hardware-dirty-flag-vs-zap", {
  prose:
    "A page was mapped beside another one that faulted: nobody has written to it, and its struct page is clean. The page " +
    "walker of vcpu0 walks for a store in flight, sets the dirty flag in the SPTE, and fills the TLB with an entry that may be " +
    "written through: the store of vcpu0 that follows sets no flag any more. Meanwhile host0 drops the page: a zap that reads " +
    "the SPTE and then stores over it loses the flag.",
  holds: "A page that was stored to is marked dirty before it is freed.",
  decides: ["Z50"],
  brokenWithout: ["ZapExchanges"],
  machine: { hostThreads: 2, prefetch: 2 },
  setup(machine) {
    const hva = back(machine, { length: 2n * PAGE });
    warm(machine, 0, GPA);
    return { hva };
  },
  actors: ({ hva }) => [
    actor("vcpu", "vcpu0", 0, [vcpuCalls(0).write(NEIGHBOUR, 7n)]),
    actor("host", "host0", 1, [hostCalls(1).madviseDontneed(hva + PAGE, PAGE)]),
    actor("hardware", "walker0", 2, [hardwareCalls(2, 0).speculate(NEIGHBOUR, "write")]),
  ],
});

/** The walker of one vCPU is in the table that the fault of another takes out. */
export const hardwareWalkVsHugeLeaf = scenario("hardware-walk-vs-huge-leaf", {
  prose:
    "The VM has mapped a region with small pages, and the VMM has put a 2 MiB page in their place: the leaves are zapped, the " +
    "table stays. vcpu0 faults there, puts one large leaf where the table was, and hands the table to RCU, whose thread frees " +
    "it. Meanwhile vcpu1 is in guest mode, and its page walker may be in the table: it is in no RCU section, and nothing but " +
    "the flush, which waits for vcpu1, keeps the table from it.",
  holds: "The walker reads no table that is free.",
  decides: ["Z49"],
  brokenWithout: ["FlushOnTableReplaced", "FlushWaitsForAck", "TableFreeWaitsForRcu"],
  // What a walker reads in the end, and not that a flush is owed, which huge-leaf-over-table asks.
  checkers: ["no-use-after-free"],
  machine: { frames: 2048, vcpus: 2, hostThreads: 2, hugePages: true },
  setup(machine) {
    machine.mm.mmap(LARGE, { at: HVA });
    machine.memslots.add({ gpa: LARGE, hva: HVA, length: LARGE });
    warm(machine, 0, LARGE);
    machine.mm.munmap(HVA, LARGE);
    machine.mm.mmap(LARGE, { at: HVA, pageSize: "2m" });
    machine.mm.populate(HVA, LARGE);
    back(machine);
    warm(machine, 1, GPA);
    return {};
  },
  actors: () => [
    actor("vcpu", "vcpu0", 0, faultOnce(0, LARGE)),
    actor("vcpu", "vcpu1", 1, [vcpuCalls(1).write(GPA, 7n)]),
    actor("hardware", "walker1", 2, [hardwareCalls(2, 1).speculate(LARGE, "read")]),
    actor("grace", "rcu", 3, [graceCalls(3).free()]),
  ],
});

/** The thread that ends grace periods frees tables while a lockless reader may be in them. */
export const graceVsReader = scenario("grace-vs-reader", {
  prose:
    "host0 deletes the only memslot: the root is taken apart, and its tables are handed to RCU. The thread of RCU waits for " +
    "the grace period and frees what it finds, at whatever moment; host0 frees what is left. Meanwhile host1 looks for an SPTE " +
    "as the lockless parts of KVM do: it holds no lock, and descends from table to table in an RCU read section.",
  holds: "No table is freed while somebody may be in it, and each is freed once.",
  decides: ["Z49"],
  brokenWithout: ["TableFreeWaitsForRcu"],
  machine: { hostThreads: 3 },
  setup(machine) {
    back(machine);
    warm(machine, 0, GPA);
    return {};
  },
  actors: () => [
    actor("host", "host0", 1, [hostCalls(1).deleteMemslot(0)]),
    actor("host", "host1", 2, [hostCalls(2).leaf(GPA)]),
    actor("grace", "rcu", 3, [graceCalls(3).free()]),
  ],
});
