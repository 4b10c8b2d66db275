import { actor, cacheCalls, hostCalls } from "../explore/calls.js";
import { scenario } from "../explore/scenario.js";
import { back, GPA, PAGE } from "./ground.js";

/** A refresh in the gap between the two signs of an invalidation. */
export const cacheRefreshVsDontneed = scenario("users-cache-refresh-vs-dontneed", {
  prose:
    "KVM writes for vcpu0 through a pfn cache (gfn_to_pfn_cache) that has to be refreshed first: it looks the page up and asks " +
    "whether an invalidation is open. Meanwhile host0 drops the page. Its invalidation takes the caches before it raises " +
    "mmu_invalidate_in_progress; mn_active_invalidate_count is up by then.",
  holds: "A cache is valid only for the page that the host has, and is used only while it is valid.",
  decides: ["Z31"],
  brokenWithout: ["GpcRetriesOnActiveCount"],
  setup(machine) {
    const hva = back(machine);
    machine.kvm.cache(GPA);
    machine.mm.madviseDontneed(hva, PAGE);
    machine.mm.populate(hva, PAGE);
    return { hva };
  },
  actors: ({ hva }) => [
    actor("vcpu", "vcpu0", 0, [cacheCalls(0).write(7n)]),
    actor("host", "host0", 1, [hostCalls(1).madviseDontneed(hva, PAGE)]),
  ],
});

/** The lock of a cache is what an invalidation waits for. */
export const cacheUseVsDontneed = scenario("users-cache-use-vs-dontneed", {
  prose:
    "KVM writes for vcpu0 through a pfn cache that is valid. Meanwhile host0 drops the page: its invalidation takes the " +
    "lock of the cache for write, and so waits for whoever has checked it and uses it.",
  holds: "Nobody uses the page once the start of the invalidation has returned.",
  decides: ["Z31"],
  brokenWithout: ["GpcHeldWhileUsed"],
  setup(machine) {
    const hva = back(machine);
    machine.kvm.cache(GPA);
    return { hva };
  },
  actors: ({ hva }) => [
    actor("vcpu", "vcpu0", 0, [cacheCalls(0).write(7n)]),
    actor("host", "host0", 1, [hostCalls(1).madviseDontneed(hva, PAGE)]),
  ],
});

/** A cache that goes elsewhere while it is refreshed. */
export const cacheMovedInRefresh = scenario("users-cache-moved-in-refresh", {
  prose:
    "vcpu0 refreshes a pfn cache: it drops the lock to look its page up. Meanwhile vcpu1 points the cache at another " +
    "page, as a guest may that moves the structure behind it. Without a mutex around the whole, the first refresh " +
    "comes back with its page and finds the address of the other.",
  holds: "The page of a cache is that of its address.",
  decides: ["Z32"],
  brokenWithout: ["GpcRefreshSerialised"],
  machine: { vcpus: 2 },
  setup(machine) {
    const hva = back(machine, { length: 2n * PAGE });
    machine.kvm.cache(GPA);
    machine.mm.madviseDontneed(hva, PAGE);
    machine.mm.populate(hva, PAGE);
    return {};
  },
  actors: () => [
    actor("vcpu", "vcpu0", 0, [cacheCalls(0).refresh()]),
    actor("vcpu", "vcpu1", 1, [cacheCalls(1).activate(GPA + PAGE)]),
  ],
});

/** A cache that no invalidation looks at any more. */
export const cacheDeactivated = scenario("users-cache-deactivated", {
  prose:
    "vcpu0 writes through a pfn cache. Meanwhile host0 deactivates it, which takes it off the list of those that " +
    "invalidations look at, and then drops the page.",
  holds: "A cache that is not active is neither refreshed nor used.",
  decides: ["Z34"],
  brokenWithout: ["GpcActiveChecked"],
  setup(machine) {
    const hva = back(machine);
    machine.kvm.cache(GPA);
    return { hva };
  },
  actors: ({ hva }) => [
    actor("vcpu", "vcpu0", 0, [cacheCalls(0).write(7n)]),
    actor("host", "host0", 1, [cacheCalls(1).deactivate(), hostCalls(1).madviseDontneed(hva, PAGE)]),
  ],
});
