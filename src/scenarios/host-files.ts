import { HostStatus } from "../core/layout.generated.js";
import { actor, faultOnce, hostCalls, mapCalls, vcpuCalls } from "../explore/calls.js";
import { scenario } from "../explore/scenario.js";
import { type Machine } from "../machine/machine.js";
import { back, GPA, PAGE, warm } from "./ground.js";
import { useMap } from "./users-vcpu-map.js";

const FILES = { files: 2, filePages: 1 } as const;

/** A file of one page in the page cache, mapped and behind a memslot. */
function cachedFile(machine: Machine) {
  const file = machine.files.create(1);
  const hva = machine.mm.mmap(PAGE, { file });
  machine.memslots.add({ gpa: GPA, hva, length: PAGE });
  machine.mm.populate(hva, PAGE);
  return { file: file.number, hva };
}

/** Two files on a device of one block. The first one has the block, and is behind a memslot; `other` maps the second. */
function daxFiles(machine: Machine) {
  const device = machine.files.createDevice(1);
  const file = machine.files.create(1, { device });
  const hva = machine.mm.mmap(PAGE, { file });
  machine.memslots.add({ gpa: GPA, hva, length: PAGE });
  machine.mm.populate(hva, PAGE);
  const other = machine.mm.mmap(PAGE, { file: machine.files.create(1, { device }) });
  return { file: file.number, hva, other };
}

/** The same, with the page mapped for vcpu0 (kvm_vcpu_map). */
function daxMapped(machine: Machine) {
  const files = daxFiles(machine);
  machine.vcpu(0).map(GPA);
  return files;
}

/** A truncate, and the block goes to the next file that wants one. */
const reuse = (h: number, { file, other }: { file: number; other: bigint }) => [
  hostCalls(h).truncate(file, 0),
  hostCalls(h).touch(other, PAGE),
];

/** A correct reference, and the store is lost. */
export const cachedMapVsTruncate = scenario("host-cached-map-vs-truncate", {
  prose:
    "The memory of the guest is a file in the page cache. KVM maps a page of it for vcpu0, writes to it, and unmaps it. " +
    "Meanwhile host0 truncates the file, which does not ask who holds a page: the page lives on outside of the file.",
  holds: "What is written through the map is in the file.",
  decides: ["C5", "Z03"],
  brokenOn: ["v5.3", "v5.4", "v6.13", "v6.15"],
  machine: FILES,
  setup: cachedFile,
  actors: ({ file }) => [
    actor("vcpu", "vcpu0", 0, useMap(0)),
    actor("host", "host0", 1, [hostCalls(1).truncate(file, 0)]),
  ],
});

/** The fault path needs nothing but the notification, whatever is behind it. */
export const cachedFaultVsTruncate = scenario("host-cached-fault-vs-truncate", {
  prose:
    "The memory of the guest is a file in the page cache. vcpu0 writes to a page of it that is not mapped yet. Meanwhile " +
    "host0 truncates the file.",
  holds: "The guest writes to the page of the file, or gets an error.",
  decides: ["C5"],
  brokenWithout: ["SeqChecked"],
  machine: FILES,
  setup: cachedFile,
  actors: ({ file }) => [
    actor("vcpu", "vcpu0", 0, [vcpuCalls(0).write(GPA, 7n)]),
    actor("host", "host0", 1, [hostCalls(1).truncate(file, 0)]),
  ],
});

/** Truncate of a DAX file waits for whoever holds a page. */
export const daxMapVsTruncate = scenario("host-dax-map-vs-truncate", {
  prose:
    "The memory of the guest is a file on a device with struct pages (DAX), whose only block it has. KVM has mapped the page " +
    "for vcpu0, writes to it, and unmaps it. Meanwhile host0 truncates the file, and touches another one, which gets the " +
    "block. The page is not freed by that: it is idle, and then belongs to another file.",
  holds: "A truncate takes no block away while somebody holds its page.",
  decides: ["C3", "C4", "C5", "Z02", "Z10"],
  // 5.3 does not put the reference at the unmap either: the truncate waits for ever.
  brokenOn: ["v5.3"],
  brokenWithout: [
    "DaxTruncateWaitsIdle",
    { rule: "VcpuMapHoldsReference", profiles: ["v5.4", "v6.13", "v6.15"] },
  ],
  machine: FILES,
  setup: daxMapped,
  actors: (setup) => [
    actor("vcpu", "vcpu0", 0, [mapCalls(0).write(7n), mapCalls(0).unmap()]),
    actor("host", "host0", 1, reuse(1, setup)),
  ],
});

/** A fault drops its use when the invalidation comes: idle is enough. */
export const daxFaultVsTruncate = scenario("host-dax-fault-vs-truncate", {
  prose:
    "The memory of the guest is a file on a device with struct pages (DAX), whose only block it has. vcpu0 writes to the page, " +
    "which is not mapped yet. Meanwhile host0 truncates the file, and touches another one, which gets the block. Linux " +
    "5.3 never puts what the fault has looked up: no truncate succeeds any more.",
  holds: "The guest maps a block only while it belongs to its file, and what the fault has looked up is put.",
  decides: ["C3", "C4", "Z02"],
  brokenOn: ["v5.3"],
  brokenWithout: ["ZoneDeviceNotReserved", "SeqChecked"],
  machine: { ...FILES, slots: 3 },
  setup(machine) {
    back(machine, { gpa: GPA + PAGE });
    warm(machine, 0, GPA + PAGE);
    return daxFiles(machine);
  },
  actors: (setup) => [
    actor("vcpu", "vcpu0", 0, faultOnce(0, GPA)),
    actor("host", "host0", 1, function* () {
      const status = yield hostCalls(1).truncateNow(setup.file, 0);
      if (status === HostStatus.Ok) yield hostCalls(1).touch(setup.other, PAGE);
    }),
  ],
});

/** A device that writes by physical addresses, and knows nothing of page tables. */
export const daxDirectIo = scenario("host-dax-direct-io", {
  prose:
    "host0 has begun to read with O_DIRECT into memory that is a file on a DAX device: the page is pinned, another device " +
    "writes to the block by its physical address, and the page is unpinned. Meanwhile host1 truncates the file, and " +
    "touches another one, which gets the block.",
  holds: "A truncate takes no block away while a device writes to it.",
  decides: ["C3", "Z10"],
  brokenWithout: ["DaxTruncateWaitsIdle"],
  machine: { ...FILES, hostThreads: 2 },
  setup(machine) {
    const files = daxFiles(machine);
    return { ...files, handle: machine.direct.begin(files.hva, 8, { write: true }).handle };
  },
  actors: (setup) => [
    actor("device", "dma", 1, [
      hostCalls(1).transfer(setup.handle, 8),
      hostCalls(1).endTransfer(setup.handle),
    ]),
    actor("host", "host1", 2, reuse(2, setup)),
  ],
});

/** The lookup without a lock against the scan of truncate: reference, then PTE again; PTE cleared, then the counts. */
export const daxGupVsTruncate = scenario("host-dax-gup-vs-truncate", {
  prose:
    "host0 pins a page of a file on a DAX device without a lock, and looks whose block it is before it unpins. Meanwhile " +
    "host1 truncates the file: it clears the PTE, and looks for pages that somebody holds.",
  holds: "A block that is pinned belongs to its file.",
  decides: ["C3", "Z10"],
  // Where a block that nobody maps has a count of 0, no lookup gets a reference on it.
  brokenWithout: ["DaxTruncateWaitsIdle", { rule: "GupRechecksPte", profiles: ["v5.3", "v5.4", "v6.13"] }],
  machine: { ...FILES, hostThreads: 2 },
  setup: daxFiles,
  actors: ({ file, hva }) => [
    actor("host", "host0", 1, function* () {
      const pfn = Number(yield hostCalls(1).pinFast(hva));
      if (pfn === 0) return;
      yield hostCalls(1).fileOf(pfn);
      yield hostCalls(1).unpin(pfn, false);
    }),
    actor("host", "host1", 2, [hostCalls(2).truncate(file, 0)]),
  ],
  judge({ setup, results }) {
    const [pfn, file] = results.host0!;
    if (pfn === 0) return { outcome: "nothing" };
    if (file === setup.file) return { outcome: "pinned" };
    return { outcome: "taken", objection: `pfn ${pfn} was pinned while it belonged to file ${file}` };
  },
});

/** A pin that nobody bounds. */
export const daxLongtermPin = scenario("host-dax-longterm-pin", {
  prose:
    "host0 pins a page of a file on a DAX device for as long as it likes, as RDMA does (FOLL_LONGTERM), and keeps it. " +
    "Meanwhile host1 truncates the file, which waits for whoever holds a page.",
  holds: "The truncate ends.",
  decides: ["Z10"],
  brokenWithout: ["LongtermRefusedOnDax"],
  machine: { ...FILES, hostThreads: 2 },
  setup: daxFiles,
  actors: ({ file, hva }) => [
    actor("host", "host0", 1, [hostCalls(1).pin(hva, true)]),
    actor("host", "host1", 2, [hostCalls(2).truncate(file, 0)]),
  ],
});

/** What a map that lives as long as its guest does to a truncate. */
export const daxMapKept = scenario("host-dax-map-kept", {
  prose:
    "The memory of the guest is a file on a DAX device. KVM maps a page of it for vcpu0 and keeps the map, as it does " +
    "while the inner guest runs. Meanwhile host0 truncates the file.",
  holds: "The truncate ends.",
  decides: ["C5"],
  brokenOn: ["v5.3", "v5.4", "v6.13", "v6.15"],
  machine: FILES,
  setup: daxFiles,
  actors: ({ file }) => [
    actor("vcpu", "vcpu0", 0, [mapCalls(0).map(GPA)]),
    actor("host", "host0", 1, [hostCalls(1).truncate(file, 0)]),
  ],
  balanced: false,
});

/** A truncate that sleeps while a fault maps the page again. */
export const daxFaultVsWaitingTruncate = scenario("host-dax-fault-vs-waiting-truncate", {
  prose:
    "vcpu0 faults on the page of a DAX file: it holds the page while it maps it. Meanwhile host0 truncates the file: it " +
    "unmaps the page, finds it held, and sleeps until nobody holds it; vcpu0 may map it again in its process before the " +
    "truncate sleeps. In 6.15 such a mapping holds the page as well, and truncate waits for that too: that profile is left out.",
  holds: "The truncate ends: whatever makes the page idle wakes it.",
  decides: ["Z10"],
  profiles: ["v5.4", "v6.13"],
  machine: { ...FILES, slots: 3 },
  setup(machine) {
    back(machine, { gpa: GPA + PAGE });
    warm(machine, 0, GPA + PAGE);
    return daxFiles(machine);
  },
  actors: ({ file }) => [
    actor("vcpu", "vcpu0", 0, faultOnce(0, GPA)),
    actor("host", "host0", 1, [hostCalls(1).truncate(file, 0)]),
  ],
});
