// Classic races whose outcomes everybody knows: the search, with each of its options, and a plain walk through every
// interleaving come to the same ends, and these are the right ones.
import { beforeAll, describe, expect, test } from "vitest";
import { compileExploredModule } from "../compile-core.js";
import { LitmusGround, type Litmus, type LitmusOptions } from "../explored-litmus.js";

let ground: LitmusGround;
beforeAll(async () => {
  ground = new LitmusGround(await compileExploredModule("test/assembly/litmus.ts"));
});

/** Ways to search; none may change what is found. */
const OPTION_SETS: readonly LitmusOptions[] = [{}, { seed: 7 }, { reduce: true }, { reduce: true, seed: 99 }];

const LITMUS: Readonly<Record<string, Litmus & { readonly outcomes: readonly string[] }>> = {
  "unlocked increments lose one": {
    actors: [[["increments", 1]], [["increments", 1]]],
    outcomes: ["0 0 | 1 0 0", "0 0 | 2 0 0"],
  },
  // Two each: what is left is anything from 2 on.
  "unlocked increments, two each": {
    actors: [[["increments", 2]], [["increments", 2]]],
    outcomes: ["0 0 | 2 0 0", "0 0 | 3 0 0", "0 0 | 4 0 0"],
  },
  "locked increments lose none": {
    actors: [[["lockedIncrement"]], [["lockedIncrement"]]],
    outcomes: ["0 1 | 2 0 0", "1 0 | 2 0 0"],
  },
  "locks in the same order": {
    actors: [[["twoLocks", 0, 1]], [["twoLocks", 0, 1]]],
    outcomes: ["0 0 | 0 0 0"],
  },
  "locks crossed": {
    actors: [[["twoLocks", 0, 1]], [["twoLocks", 1, 0]]],
    outcomes: ["0 0 | 0 0 0", "deadlock"],
  },
  "a pair written while it is read": {
    actors: [[["writePair", 1, 0]], [["readPair", 0]]],
    outcomes: ["0 0 | 1 1 0", "0 1 | 1 1 0", "0 10 | 1 1 0", "0 11 | 1 1 0"],
  },
  "a pair under a sequence count": {
    actors: [[["writePair", 1, 1]], [["readPair", 1]]],
    outcomes: ["0 0 | 1 1 2", "0 11 | 1 1 2", "0 99 | 1 1 2"],
  },
  "message passing": {
    actors: [[["send"]], [["receive"]]],
    outcomes: ["0 0 | 7 1 0", "0 17 | 7 1 0", "0 7 | 7 1 0"],
  },
  "store buffering": {
    actors: [[["storeThenLoad", 0, 1]], [["storeThenLoad", 1, 0]]],
    outcomes: ["0 1 | 1 1 0", "1 0 | 1 1 0", "1 1 | 1 1 0"],
  },
  "the last reference, dropped in one access": {
    actors: [[["put", 1]], [["put", 1]]],
    start: [2],
    outcomes: ["0 1 | 0 1 0", "1 0 | 0 1 0"],
  },
  // Both read 2: nobody frees. One after the other: one does.
  "the last reference, dropped in two accesses": {
    actors: [[["put", 0]], [["put", 0]]],
    start: [2],
    outcomes: ["0 0 | 1 0 0", "0 1 | 0 1 0", "1 0 | 0 1 0"],
  },
  "a reference on what is gone": {
    actors: [[["put", 1]], [["getReference", 0]]],
    start: [1],
    outcomes: ["0 1 | 1 0 0", "1 1 | 1 1 0"],
  },
  "a reference unless it is gone": {
    actors: [[["put", 1]], [["getReference", 1]]],
    start: [1],
    outcomes: ["0 1 | 1 0 0", "1 0 | 0 1 0"],
  },
  "sleeping on the flag": {
    actors: [[["awaitFlag", 1]], [["raiseFlag", 1]]],
    outcomes: ["1 0 | 1 0 0", "1 1 | 1 0 0"],
  },
  "a wake-up that is lost": {
    actors: [[["awaitFlag", 0]], [["raiseFlag", 0]]],
    outcomes: ["1 0 | 1 0 0", "1 1 | 1 0 0", "deadlock"],
  },
  choices: {
    actors: [[["choice", 3, 0]], [["choice", 2, 0]]],
    outcomes: ["0 0 | 1 0 0", "0 1 | 1 0 0", "0 1 | 2 0 0", "1 0 | 1 0 0", "1 0 | 2 0 0"].concat([
      "1 1 | 2 0 0",
      "2 0 | 1 0 0",
      "2 0 | 3 0 0",
      "2 1 | 2 0 0",
      "2 1 | 3 0 0",
    ]),
  },
  "a trap": {
    actors: [[["choice", 2, 0]], [["trapOnTwo"]]],
    outcomes: ["0 0 | 1 0 0", "1 0 | 2 0 0", "trap"],
  },
  "calls one after the other": {
    actors: [
      [
        ["put", 1],
        ["getReference", 1],
      ],
      [
        ["getReference", 1],
        ["put", 1],
      ],
    ],
    start: [1],
    outcomes: [
      "0,0 1,1 | 0 1 0",
      "0,1 1,0 | 1 0 0",
      // The second puts a reference that it was refused.
      "1,0 0,0 | -1 1 0",
      "1,0 1,0 | 0 1 0",
      "1,1 0,0 | 0 1 0",
    ],
  },
};

describe("outcomes", () => {
  test.each(Object.entries(LITMUS))("%s", (_, { outcomes, ...litmus }) => {
    expect(ground.walk(litmus).outcomes).toEqual([...outcomes].sort());
    for (const options of OPTION_SETS) {
      expect(ground.search(litmus, options).outcomes, JSON.stringify(options)).toEqual([...outcomes].sort());
    }
  });
});

test("three locked increments, which have too many interleavings for a walk", () => {
  const orders = ["0 1 2", "0 2 1", "1 0 2", "1 2 0", "2 0 1", "2 1 0"].map((order) => `${order} | 3 0 0`);
  const litmus = { actors: Array.from({ length: 3 }, () => [["lockedIncrement"] as const]) };
  for (const options of OPTION_SETS) expect(ground.search(litmus, options).outcomes).toEqual(orders);
});

describe("counts", () => {
  const touching = (...counts: number[]): Litmus => ({ actors: counts.map((n) => [["touches", n]]) });
  // (a + b)! / (a! b!), likewise for three.
  test.each([
    [touching(1, 1), 2],
    [touching(3, 3), 20],
    [touching(6, 6), 924],
    [touching(2, 2, 2), 90],
  ])("interleavings %#", (litmus, executions) => {
    expect(ground.walk(litmus).count).toBe(executions);
  });
  test("each interleaving leaves results of its own", () => {
    // Sums of what each saw do not tell all 20 apart: the search finds the same sets.
    const litmus = touching(3, 3);
    expect(ground.search(litmus).outcomes).toEqual(ground.walk(litmus).outcomes);
  });
  test("states of unlocked increments", () => {
    // (actor, actor, word), each before its load (L), before its store of what it saw plus one (S0, S1), or done (D):
    // LL0; S0L0 LS00; DL1 LD1 S0S00; DS01 S0D1 DS11 S1D1; DD1 DD2.
    expect(ground.search({ actors: [[["increments", 1]], [["increments", 1]]] }).count).toBe(12);
  });
  test("neither the seed of the warm-up nor its order changes the states", () => {
    for (const [name, litmus] of Object.entries(LITMUS)) {
      const counts = new Set([1, 2, 3, 40].map((seed) => ground.search(litmus, { seed }).count));
      expect(counts.size, name).toBe(1);
    }
  });
});

describe("the shortest violation", () => {
  const forbidden: Readonly<Record<string, Litmus>> = {
    "an increment lost": {
      actors: [[["increments", 1]], [["increments", 1]]],
      forbids: (outcome) => outcome.endsWith("| 1 0 0"),
    },
    "two of four increments lost": {
      actors: [[["increments", 2]], [["increments", 2]]],
      forbids: (outcome) => outcome.endsWith("| 2 0 0"),
    },
    "a torn pair": {
      actors: [[["writePair", 1, 0]], [["readPair", 0]]],
      forbids: (outcome) => /^0 (1|10) /.test(outcome),
    },
    "both stores seen": {
      actors: [[["storeThenLoad", 0, 1]], [["storeThenLoad", 1, 0]]],
      forbids: (outcome) => outcome.startsWith("1 1"),
    },
    "nobody frees": {
      actors: [[["put", 0]], [["put", 0]], [["put", 1]]],
      start: [3],
      forbids: (outcome) => !/ 1 0$/.test(outcome),
    },
    "locks crossed": { actors: [[["twoLocks", 0, 1]], [["twoLocks", 1, 0]]] },
    "a wake-up that is lost": { actors: [[["awaitFlag", 0]], [["raiseFlag", 0]]] },
    "a trap": { actors: [[["choice", 2, 0]], [["trapOnTwo"]]] },
  };
  test.each(Object.entries(forbidden))("%s", (_, litmus) => {
    const { fewest } = ground.walk(litmus);
    for (const options of OPTION_SETS) {
      const { violation, switches, complete } = ground.shortest(litmus, options);
      expect(complete).toBe(true);
      expect({ switches, steps: violation!.schedule.length }).toEqual(fewest);
    }
  });
  test("none where nothing is wrong", () => {
    const found = ground.shortest({ actors: [[["lockedIncrement"]], [["lockedIncrement"]]] });
    expect(found).toMatchObject({ violation: null, complete: true });
  });
});
