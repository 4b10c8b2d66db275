// Executions that need not end, on litmus programs where it can be said by hand, and on the machine whose vCPUs spin.
import { beforeAll, describe, expect, test } from "vitest";
import { actor, hostCalls, vcpuCalls } from "../../src/explore/calls.js";
import { explore } from "../../src/explore/explore.js";
import { scenario } from "../../src/explore/scenario.js";
import { faultVsDontneed } from "../../src/scenarios/fault-vs-dontneed.js";
import { back, GPA, PAGE, warm } from "../../src/scenarios/ground.js";
import { compileExploredModule } from "../compile-core.js";
import { LitmusGround, type Litmus } from "../explored-litmus.js";

describe("litmus programs", () => {
  let ground: LitmusGround;
  beforeAll(async () => {
    ground = new LitmusGround(await compileExploredModule("test/assembly/litmus.ts"));
  });
  const PROGRAMS: Readonly<
    Record<string, Litmus & { readonly is: string; readonly loop?: readonly number[] }>
  > = {
    "no loop": { actors: [[["increments", 1]], [["increments", 1]]], is: "ends" },
    "a loop that sleeps": { actors: [[["awaitFlag", 1]], [["raiseFlag", 1]]], is: "ends" },
    "a spinner whose flag is raised": { actors: [[["spinUntil", 0, 1]], [["raise", 0, 1]]], is: "unfair" },
    // The flag may be overwritten before the spinner looks.
    "a flag that is taken back": {
      actors: [
        [["spinUntil", 0, 1]],
        [
          ["raise", 0, 1],
          ["raise", 0, 2],
        ],
      ],
      is: "livelock",
      loop: [0],
    },
    // Neither loop is fair by itself: the other could go on. Both in turn are.
    "two who spin on each other": {
      actors: [
        [
          ["spinUntil", 0, 1],
          ["raise", 1, 1],
        ],
        [
          ["spinUntil", 1, 1],
          ["raise", 0, 1],
        ],
      ],
      is: "livelock",
      loop: [0, 1],
    },
    // The spinner may look whenever the word is 0: a weakly fair scheduler can keep it so, as it goes on looking.
    "a flag that swings": {
      actors: [
        [
          ["spinUntil", 0, 1],
          ["raise", 1, 1],
        ],
        [["swing"]],
      ],
      is: "livelock",
      loop: [0, 1],
    },
  };
  test.each(Object.entries(PROGRAMS))("%s", (_, { is, loop, ...litmus }) => {
    const { liveness, violation } = ground.liveness(litmus);
    expect(liveness.kind).toBe(is);
    expect(liveness.cycles > 0).toBe(is !== "ends");
    expect(ground.search(litmus).result.cycles > 0).toBe(is !== "ends");
    const round = violation?.schedule.slice(violation.loopFrom).map((move) => move.actor) ?? [];
    expect([...new Set(round)].sort()).toEqual(loop ?? []);
  });
});

describe("the machine", () => {
  const spinning = (host: "dontneed" | "start") =>
    scenario(`spin-${host}`, {
      prose: "A vCPU that does not sleep faults while a page is dropped.",
      holds: "Every execution ends.",
      machine: { spinOnRetry: true },
      balanced: false,
      setup(machine) {
        const hva = back(machine);
        warm(machine, 0, GPA);
        machine.mm.madviseDontneed(hva, PAGE);
        machine.mm.populate(hva, PAGE);
        return { hva };
      },
      actors: ({ hva }) => [
        actor("vcpu", "vcpu0", 0, [vcpuCalls(0).write(GPA, 7n)]),
        actor("host", "host0", 1, [
          host === "start"
            ? hostCalls(1).invalidateStart(hva, PAGE)
            : hostCalls(1).madviseDontneed(hva, PAGE),
        ]),
      ],
    });
  test("without spinning every execution ends", () => {
    expect(explore(faultVsDontneed).liveness).toEqual({
      kind: "ends",
      cycles: 0,
      says: "every execution ends, under any scheduler",
    });
  });
  test("a vCPU spins as long as an invalidation is open: it ends if the host ever goes on", () => {
    const { verdict, liveness } = explore(spinning("dontneed") as never);
    expect(verdict).toBe("holds");
    expect(liveness).toMatchObject({
      kind: "unfair",
      says: expect.stringMatching(/^\d+ cycles of states, none of them fair/) as string,
    });
  });
  test("an invalidation that is never ended is a livelock, confirmed in the core", () => {
    // The checkers would object to the missing end itself.
    const { verdict, violations, liveness } = explore(spinning("start") as never, { checkers: [] });
    expect(verdict).toBe("violated");
    expect(liveness.kind).toBe("livelock");
    const [found] = violations;
    expect(found).toMatchObject({ kind: "livelock", name: "livelock", trace: { end: { kind: "livelock" } } });
    // The loop is the vCPU's.
    expect(found!.trace.accesses.at(-1)!.actor).toBe(0);
  });
});
