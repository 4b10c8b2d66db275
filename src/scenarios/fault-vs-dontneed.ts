import { actor, hostCalls, vcpuCalls } from "../explore/calls.js";
import { scenario } from "../explore/scenario.js";

const GPA = 0x10000n;
const PAGE = 4096n;

/** The founding race: one page, one fault, one invalidation. */
export const faultVsDontneed = scenario("fault-vs-dontneed", {
  prose:
    "vcpu0 writes to a page that its VM does not map yet: it looks the page up, and installs it under mmu_lock. Meanwhile " +
    "host0 drops the page with madvise(MADV_DONTNEED): start, clear the PTE, flush, free, end. If the fault installed what it " +
    "had looked up before, the guest would go on with a page that belongs to nobody.",
  holds: "Whatever the order, the guest never uses the page after it was freed.",
  decides: ["C1", "Z01b", "Z13", "Z14", "Z21", "Z23", "Z24"],
  brokenWithout: [
    { rule: "SeqRaisedInEnd", profiles: ["v5.3", "v5.4"] },
    "CountChecked",
    "SeqChecked",
    "SnapshotBeforeGup",
    "RetryUnderLock",
    "LockHeldToInstall",
    "FlushBeforeStartReturns",
    "GetUnlessZero",
    "PutOnRetry",
    { rule: "PutAfterInstall", profiles: ["v5.3", "v5.4"] },
    "StartBeforeClear",
    "HostPteClearedBeforeEnd",
    "HostFlushBeforePut",
  ],
  setup(machine) {
    const hva = machine.mm.mmap(PAGE);
    machine.memslots.add({ gpa: GPA, hva, length: PAGE });
    machine.mm.populate(hva, PAGE);
    return { hva };
  },
  actors: ({ hva }) => [
    actor("vcpu", "vcpu0", 0, [vcpuCalls(0).write(GPA, 7n)]),
    actor("host", "host0", 1, [hostCalls(1).madviseDontneed(hva, PAGE)]),
  ],
});
