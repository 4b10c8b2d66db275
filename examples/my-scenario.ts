// A scenario in TypeScript, with a program whose next call depends on what the last one returned.
//
//   npm run build && node dist/cli/main.js explore examples/my-scenario.ts      (esbuild has to be installed)
import { actor, hostCalls, scenario, type Program } from "guestmmu/explore";

const PAGE = 4096n;

/** Looks a page up without a lock, as get_user_pages_fast does, and puts it if there was one. */
function lookup(h: number, hva: bigint): Program {
  const calls = hostCalls(h);
  return function* () {
    const pfn = Number(yield calls.gupFast(hva));
    if (pfn !== 0) yield calls.putPage(pfn);
  };
}

export const lookupVsMunmap = scenario("lookup-vs-munmap", {
  prose:
    "host0 looks a page up without a lock and puts it again, while host1 unmaps it. Whoever drops the last reference " +
    "frees the page; if the lookup took one on a page that had none any more, it would be freed twice.",
  holds: "The page is freed once.",
  brokenWithout: ["GetUnlessZero"],
  machine: { hostThreads: 2 },
  setup(machine) {
    const hva = machine.mm.mmap(PAGE);
    machine.mm.populate(hva, PAGE);
    return { hva };
  },
  actors: ({ hva }) => [
    actor("host", "host0", 1, lookup(1, hva)),
    actor("host", "host1", 2, [hostCalls(2).munmap(hva, PAGE)]),
  ],
  judge: ({ results }) => ({ outcome: results.host0![0] === 0 ? "nothing found" : "found" }),
});
