// KVM's own users of guest memory: a page that it has mapped (kvm_vcpu_map), and a pfn cache (gfn_to_pfn_cache).
//
//   npm run build && node dist/cli/main.js explore examples/cache-scenario.mjs
//   node dist/cli/main.js explore examples/cache-scenario.mjs --every-rule
import { actor, cacheCalls, hostCalls, mapCalls, scenario } from "guestmmu/explore";
import { KvmStatus } from "guestmmu/layout";

const GPA = 0x10000n;
const PAGE = 4096n;

export default scenario("map-and-cache-vs-dontneed", {
  prose:
    "KVM maps a page for vcpu0, writes there and unmaps it, then writes through a pfn cache to the same page. Meanwhile " +
    "host0 drops the page. An invalidation reaches the cache; of the map it knows nothing: its page is held.",
  holds: "Both writes land in a page that nobody has freed.",
  brokenWithout: ["VcpuMapHoldsReference", "GpcHeldWhileUsed"],

  setup(machine) {
    const hva = machine.mm.mmap(PAGE);
    machine.memslots.add({ gpa: GPA, hva, length: PAGE });
    machine.mm.populate(hva, PAGE);
    machine.kvm.cache(GPA);
    return { hva };
  },

  actors: ({ hva }) => [
    actor("vcpu", "vcpu0", 0, function* () {
      // A status: a program may go on by what its calls return, and by nothing else.
      if ((yield mapCalls(0).map(GPA)) === KvmStatus.Ok) {
        yield mapCalls(0).write(7n);
        yield mapCalls(0).unmap();
      }
      yield cacheCalls(0).write(9n);
    }),
    actor("host", "host0", 1, [hostCalls(1).madviseDontneed(hva, PAGE)]),
  ],
});
