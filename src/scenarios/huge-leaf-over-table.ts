import { actor, vcpuCalls } from "../explore/calls.js";
import { scenario } from "../explore/scenario.js";
import { warm } from "./ground.js";

const LARGE = 2n << 20n;
const HVA = 0x1000_0020_0000n;

/** A table that a fault takes out: nobody may walk it any more. */
export const hugeLeafOverTable = scenario("huge-leaf-over-table", {
  prose:
    "The VM has mapped a region with small pages: a table is linked. The VMM puts 2 MiB pages in their place: the leaves are " +
    "zapped, the table stays. The next fault of vcpu0 puts one large leaf where the table was, and frees the table. " +
    "Processors keep the entries that lead to tables: until they are flushed, they go on walking it.",
  holds: "Whoever takes a table out flushes before it gives mmu_lock up, and before the table is freed.",
  decides: ["Z49"],
  brokenWithout: ["FlushOnTableReplaced", "TableFreeWaitsForRcu"],
  machine: { frames: 2048, vcpus: 1, hugePages: true },
  setup(machine) {
    machine.mm.mmap(LARGE, { at: HVA });
    machine.memslots.add({ gpa: LARGE, hva: HVA, length: LARGE });
    warm(machine, 0, LARGE);
    machine.mm.munmap(HVA, LARGE);
    machine.mm.mmap(LARGE, { at: HVA, pageSize: "2m" });
    machine.mm.populate(HVA, LARGE);
    return {};
  },
  actors: () => [actor("vcpu", "vcpu0", 0, [vcpuCalls(0).write(LARGE, 7n)])],
});
