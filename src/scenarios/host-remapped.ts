import { actor, hostCalls, vcpuCalls } from "../explore/calls.js";
import { scenario } from "../explore/scenario.js";
import { type Machine } from "../machine/machine.js";
import { back, GPA, PAGE, warm } from "./ground.js";
import { useMap } from "./users-vcpu-map.js";

const NEXT = GPA + PAGE;

/** A driver's two frames, of which the second one has a struct page that nobody counts; it is remapped, and a memslot. */
function remapSecond(machine: Machine, writable = true) {
  back(machine);
  warm(machine, 0, GPA);
  const pfn = machine.mm.allocateRaw(1);
  const hva = machine.mm.remapPfn(pfn + 1, PAGE, { writable });
  machine.memslots.add({ gpa: NEXT, hva, length: PAGE });
  return { pfn, hva };
}

/** From 0 to 1 and back, and the page is free: what was believed to be harmless. */
export const remappedFault = scenario("host-remapped-fault", {
  prose:
    "A driver has remapped a page of its own into the process (VM_PFNMAP): the later of two frames that are no compound " +
    "page, whose struct page nobody counts. vcpu0 writes there. Linux 5.4 took a reference on it and put it. Meanwhile " +
    "host0 unmaps the range, and the driver frees its frames.",
  holds:
    "The driver alone decides how long its page lives, and the guest uses it no longer than it is mapped.",
  decides: ["C6", "Z04"],
  brokenOn: ["v5.3", "v5.4"],
  brokenWithout: ["PfnmapNotRefcounted"],
  setup: (machine) => remapSecond(machine),
  actors: ({ pfn, hva }) => [
    actor("vcpu", "vcpu0", 0, [vcpuCalls(0).write(NEXT, 7n)]),
    actor("host", "host0", 1, [hostCalls(1).munmap(hva, PAGE), hostCalls(1).freeRaw(pfn, 1)]),
  ],
});

/** The same of kvm_vcpu_map, of which the thread was not sure. */
export const remappedMap = scenario("host-remapped-map", {
  prose:
    "The same page, mapped for vcpu0 by kvm_vcpu_map. Where that takes a reference on it and puts it at the unmap, the page " +
    "of the driver is freed. A kernel that pins refuses such a page. Meanwhile host0 writes to the page, as the process may.",
  holds: "The driver alone decides how long its page lives.",
  decides: ["C6", "Z04"],
  brokenOn: ["v5.3", "v5.4"],
  setup: (machine) => remapSecond(machine),
  actors: ({ hva }) => [
    actor("vcpu", "vcpu0", 0, useMap(0, NEXT)),
    actor("host", "host0", 1, [hostCalls(1).store(hva, 1n)]),
  ],
  balanced: false,
});

/** Rights are those of the PTE. */
export const remappedReadOnly = scenario("host-remapped-read-only", {
  prose:
    "A driver has remapped its page with a PTE that allows no writes, in a VMA that would. vcpu0 reads, and writes.",
  holds: "The guest may write only where the process may.",
  // That 5.4 frees the page besides is another matter.
  checkers: ["writable-only-as-the-host"],
  decides: ["Z05"],
  brokenWithout: ["PfnmapHonoursWrite"],
  setup: (machine) => remapSecond(machine, false),
  actors: ({ hva }) => [
    actor("vcpu", "vcpu0", 0, [vcpuCalls(0).read(NEXT), vcpuCalls(0).write(NEXT, 7n)]),
    actor("host", "host0", 1, [hostCalls(1).munmap(hva, PAGE)]),
  ],
  balanced: false,
});
