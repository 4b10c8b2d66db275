import { actor, foundPfn, hostCalls, vcpuCalls } from "../explore/calls.js";
import { type Program } from "../explore/program.js";
import { scenario } from "../explore/scenario.js";
import { back, GPA, LARGE, PAGE } from "./ground.js";

const AT = 0x7000_0000_0000n;

/** The one page of zeros has one count for all. */
export const zeroPageFaults = scenario("host-zero-page", {
  prose:
    "The pages of the guest are not there yet: vcpu0 reads one, and the host maps the shared page of zeros. Its struct page says " +
    "reserved, as that of a page which has no count would; the lookup has taken a reference all the same. Meanwhile host0 " +
    "drops what is mapped.",
  holds: "Every reference of a lookup is given back.",
  decides: ["Z06"],
  brokenWithout: ["ZeroPageNotReserved"],
  machine: { sharedZeroPage: true },
  setup(machine) {
    return { hva: back(machine, { populated: false }) };
  },
  actors: ({ hva }) => [
    actor("vcpu", "vcpu0", 0, [vcpuCalls(0).read(GPA)]),
    actor("host", "host0", 1, [hostCalls(1).madviseDontneed(hva, PAGE)]),
  ],
});

function getAndPut(h: number, hva: bigint): Program {
  return function* () {
    const pfn = foundPfn(yield hostCalls(h).gup(hva));
    if (pfn !== null) yield hostCalls(h).putPage(pfn);
  };
}

/** A count has an end. */
export const refcountLimit = scenario("host-refcount-limit", {
  prose:
    "A count of this machine ends at 2, where that of a kernel ends at 2^31 and is reached by leaking. host0 and host1 look the same " +
    "page up and put it again. The PTE has one reference, the first lookup takes the second, and the next one would " +
    "wrap the count to 0.",
  holds: "A count does not wrap: a lookup that would make it is refused.",
  decides: ["Z07"],
  brokenWithout: ["RefcountOverflowRefused"],
  machine: { hostThreads: 2, refcountLimit: 2 },
  setup(machine) {
    return { hva: back(machine) };
  },
  actors: ({ hva }) => [
    actor("host", "host0", 1, getAndPut(1, hva)),
    actor("host", "host1", 2, getAndPut(2, hva)),
  ],
});

/** A head that is none any more. */
export const gupVsSplit = scenario("host-gup-vs-split", {
  prose:
    "host0 looks up the second page of a large one without a lock: it finds the head, takes a reference on that, and puts " +
    "it again later. Meanwhile host1 splits the large page into single ones: the PTE stays as it is, and the page looked up is " +
    "its own head.",
  holds: "The reference is on the page that the lookup returned.",
  decides: ["Z08"],
  brokenWithout: ["GupRechecksHead"],
  machine: { frames: 2048, hugePages: true, hostThreads: 2, vmas: 8 },
  setup(machine) {
    const hva = machine.mm.mmap(LARGE, { pageSize: "2m", at: AT });
    machine.mm.populate(hva, LARGE);
    // Its mapping is split already: the race is about the page.
    machine.mm.mprotect(hva, PAGE, "r");
    machine.mm.mprotect(hva, PAGE, "rw");
    return { hva };
  },
  actors: ({ hva }) => [
    actor("host", "host0", 1, function* () {
      const pfn = yield hostCalls(1).gupFast(hva + PAGE);
      if (pfn !== 0) yield hostCalls(1).putPage(Number(pfn));
    }),
    actor("host", "host1", 2, [hostCalls(2).splitPage(hva)]),
  ],
});
