import { actor, hostCalls, mapCalls } from "../explore/calls.js";
import { type Program } from "../explore/program.js";
import { scenario } from "../explore/scenario.js";
import { KvmStatus } from "../core/layout.generated.js";
import { back, GPA, PAGE } from "./ground.js";

/** Maps the page, writes through the map, and unmaps. */
export function useMap(v: number, gpa = GPA): Program {
  const calls = mapCalls(v);
  return function* () {
    const mapped = yield calls.map(gpa);
    if (mapped !== KvmStatus.Ok) return;
    yield calls.write(7n);
    yield calls.unmap();
  };
}

/** The founding question for the user that is told of no invalidation. */
export const vcpuMapVsDontneed = scenario("users-map-vs-dontneed", {
  prose:
    "KVM maps a page of the guest for vcpu0 (kvm_vcpu_map), writes to it by its address, and unmaps it. Meanwhile host0 drops " +
    "the page and takes one for something else, which may be the same frame. No invalidation reaches the map: what keeps " +
    "its page is its reference, or its pin.",
  holds: "The page of a map is not freed before the unmap, and is marked dirty then.",
  decides: ["C2", "Z01", "Z38"],
  brokenWithout: ["VcpuMapHoldsReference", "UnmapMarksDirty"],
  setup(machine) {
    return { hva: back(machine) };
  },
  actors: ({ hva }) => [
    actor("vcpu", "vcpu0", 0, useMap(0)),
    actor("host", "host0", 1, [hostCalls(1).madviseDontneed(hva, PAGE), hostCalls(1).allocPage()]),
  ],
  balanced: false,
});

/** Hardware has no other notion of the page than its address. */
export const vcpuMapHardware = scenario("users-map-hardware", {
  prose:
    "The VMCS of vcpu0 has the physical address of a page that KVM has mapped for it, as of a virtual-APIC page: the " +
    "processor writes there by itself. Meanwhile host0 drops the page, and vcpu0 leaves the inner guest and unmaps.",
  holds: "The processor writes to the page that was mapped, or to none, and the page is marked dirty.",
  decides: ["C4", "Z38"],
  brokenWithout: ["VcpuMapHoldsReference", "UnmapMarksDirty"],
  machine: { hostThreads: 2 },
  setup(machine) {
    return { hva: back(machine) };
  },
  actors: ({ hva }) => [
    actor("vcpu", "vcpu0", 0, function* () {
      const mapped = yield mapCalls(0).map(GPA);
      if (mapped === KvmStatus.Ok) yield mapCalls(0).unmap();
    }),
    actor("hardware", "hardware", 1, [mapCalls(0).hardwareWrite(9n)]),
    actor("host", "host0", 2, [hostCalls(2).madviseDontneed(hva, PAGE)]),
  ],
});

/** What a pin says that a reference does not. */
export const vcpuMapVsFork = scenario("users-map-vs-fork", {
  prose:
    "KVM maps a page of the guest for vcpu0, writes to it, and unmaps it. Meanwhile host0 forks, and writes to the page " +
    "afterwards: the process gets a copy, unless it is known that somebody writes to the page by its address. A reference " +
    "may be anybody's; a pin says so.",
  holds: "What is written through the map is what the process sees.",
  decides: ["Z36"],
  brokenOn: ["v5.3", "v5.4"],
  brokenWithout: ["VcpuMapPins"],
  setup(machine) {
    return { hva: back(machine) };
  },
  actors: ({ hva }) => [
    actor("vcpu", "vcpu0", 0, useMap(0)),
    actor("host", "host0", 1, function* () {
      const child = yield hostCalls(1).fork(hva, PAGE);
      yield hostCalls(1).store(hva, 1n);
      yield hostCalls(1).forkExit(child);
    }),
  ],
});

/** An address that is no frame: there is nothing to give back. */
export const vcpuMapOfDevice = scenario("users-map-of-device", {
  prose:
    "KVM maps an address of a device for vcpu0, which a driver has remapped into the process, and which has no struct page. " +
    "The unmap has to know that: it was told by a sentinel, where once it looked for a page frame number of 0. " +
    "Meanwhile host0 unmaps the range.",
  holds: "What was mapped without a struct page is given back without one.",
  decides: ["Z37"],
  brokenWithout: ["UnmapChecksPage"],
  setup(machine) {
    const hva = machine.mm.remapPfn(machine.configuration.frames, PAGE);
    machine.memslots.add({ gpa: GPA, hva, length: PAGE });
    return { hva };
  },
  actors: ({ hva }) => [
    actor("vcpu", "vcpu0", 0, function* () {
      const mapped = yield mapCalls(0).map(GPA, true);
      if (mapped === KvmStatus.Ok) yield mapCalls(0).unmap();
    }),
    actor("host", "host0", 1, [hostCalls(1).munmap(hva, PAGE)]),
  ],
});
