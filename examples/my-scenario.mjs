// A scenario of one's own: what does a guest read back while the host drops the page?
//
//   npm run build && node dist/cli/main.js explore examples/my-scenario.mjs
//   node dist/cli/main.js explore examples/my-scenario.mjs --without FlushBeforeStartReturns
import { actor, hostCalls, scenario, vcpuCalls } from "guestmmu/explore";

const GPA = 0x10000n;
const PAGE = 4096n;

export default scenario("read-back-vs-dontneed", {
  prose:
    "vcpu0 writes 7 and reads it back. In between, host0 may drop the page with madvise(MADV_DONTNEED): then the read " +
    "finds a new page, full of zeros. It must never find anything else.",
  holds: "The guest reads back what it wrote, or zero.",
  // Rules that it does not hold without: `--every-rule` checks that.
  brokenWithout: ["FlushBeforeStartReturns"],

  // Not explored. The vCPU runs once, so that its root is loaded and its tables are there: shorter paths, fewer states.
  setup(machine) {
    const hva = machine.mm.mmap(PAGE);
    machine.memslots.add({ gpa: GPA, hva, length: PAGE });
    machine.vcpu(0).write(GPA, 1n);
    return { hva };
  },

  // vCPUs have the blocks 0 to vcpus - 1 of the machine, host threads those after them.
  actors: ({ hva }) => [
    actor("vcpu", "vcpu0", 0, [vcpuCalls(0).write(GPA, 7n), vcpuCalls(0).read(GPA), vcpuCalls(0).value()]),
    actor("host", "host0", 1, [hostCalls(1).madviseDontneed(hva, PAGE)]),
  ],

  // Called at each different end; `results` are those of the calls above, in order.
  judge({ results }) {
    const value = results.vcpu0[2];
    if (value === 7n) return { outcome: "read back" };
    if (value === 0n) return { outcome: "read zero" };
    return { outcome: "foreign", objection: `the guest read 0x${value.toString(16)}` };
  },
});
