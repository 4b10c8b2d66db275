// The proof that executions end: it may fail to find one, it must never find a wrong one.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { everyExecutionEnds, type LearnedStep } from "../../src/explore/acyclic.js";

interface Given {
  readonly actor?: number;
  readonly from: string;
  readonly next: string;
  readonly finds?: readonly number[];
  readonly differs?: readonly number[];
  readonly writes?: readonly number[];
}

function stepOf({ actor = 0, from, next, finds = [], differs = [], writes = [] }: Given): LearnedStep {
  return { actor, from, next, finds, differs, writes };
}

const LOCK = 4;
const SLEEP = 2;

/** An actor that takes a lock: a compare-and-swap, or a wait until the word is another, and again. */
const locker: readonly LearnedStep[] = [
  { from: "try", next: "in", finds: [LOCK, 0], writes: [LOCK, 0, 1] },
  { from: "try", next: "wait", finds: [LOCK, 1] },
  { from: "wait", next: "sleep", finds: [LOCK, 1], writes: [SLEEP, 0, 64] },
  { from: "wait", next: "try", finds: [LOCK, 0] },
  { from: "sleep", next: "try", finds: [SLEEP, 0] },
  { from: "sleep", next: "try", finds: [SLEEP, 64], differs: [LOCK, 1], writes: [SLEEP, 64, 0] },
  { from: "in", next: "out", finds: [LOCK, 1], writes: [LOCK, 1, 0] },
].map(stepOf);

describe("that every execution ends is proved", () => {
  test("of automata without a loop", () => {
    expect(everyExecutionEnds([])).toBe(true);
    expect(
      everyExecutionEnds(
        [
          { from: "a", next: "b" },
          { from: "b", next: "c" },
        ].map(stepOf),
      ),
    ).toBe(true);
  });

  test("of a loop that waits for a lock which is left", () => {
    expect(everyExecutionEnds(locker)).toBe(true);
  });

  test("of a loop that counts up", () => {
    const counts = [0, 1, 2].map((value) => ({
      from: "a",
      next: "a",
      finds: [4, value],
      writes: [4, value, value + 1],
    }));
    expect(everyExecutionEnds(counts.map(stepOf))).toBe(true);
  });
});

describe("that every execution ends is not proved", () => {
  test("of a step that leaves everything as it was", () => {
    expect(everyExecutionEnds([stepOf({ from: "a", next: "a" })])).toBe(false);
  });

  test("of two actors that undo what the other does", () => {
    const toggles = [
      { actor: 0, from: "a", next: "a", finds: [4, 0], writes: [4, 0, 1] },
      { actor: 1, from: "b", next: "b", finds: [4, 1], writes: [4, 1, 0] },
    ];
    expect(everyExecutionEnds(toggles.map(stepOf))).toBe(false);
    expect(everyExecutionEnds(toggles.slice(0, 1).map(stepOf))).toBe(true);
  });

  test("of a lock that its owner takes again and again", () => {
    const again = [...locker, stepOf({ from: "out", next: "try" })];
    expect(everyExecutionEnds(again)).toBe(false);
  });
});

/** Two actors of three local states each, two words of three values: each step reads one word and writes one. */
const small = fc.array(
  fc.record({
    actor: fc.nat({ max: 1 }),
    from: fc.nat({ max: 2 }),
    next: fc.nat({ max: 2 }),
    word: fc.nat({ max: 1 }),
    value: fc.nat({ max: 2 }),
    after: fc.nat({ max: 2 }),
    apart: fc.boolean(),
  }),
  { minLength: 1, maxLength: 8 },
);

/** Whether some vector of two local states and two words leads back to itself: all 81 are tried. */
function hasCycle(steps: readonly LearnedStep[]): boolean {
  const successors = (state: string): string[] => {
    const vector = state.split(",").map(Number);
    return steps.flatMap(({ actor, from, next, finds, differs, writes }) => {
      if (from !== `${actor}:${vector[actor]}`) return [];
      if (finds.length > 0 && vector[finds[0]!] !== finds[1]) return [];
      if (differs.length > 0 && vector[differs[0]!] === differs[1]) return [];
      if (writes.length > 0 && vector[writes[0]!] !== writes[1]) return [];
      const after = [...vector];
      after[actor] = Number(next.split(":")[1]);
      if (writes.length > 0) after[writes[0]!] = writes[2]!;
      return [after.join(",")];
    });
  };
  const left = new Map<string, string[]>();
  for (let i = 0; i < 81; i++) {
    const state = [Math.floor(i / 27), Math.floor(i / 9) % 3, Math.floor(i / 3) % 3, i % 3].join(",");
    left.set(state, successors(state));
  }
  // States without a successor that is left lie on no cycle.
  for (let size = -1; size !== left.size;) {
    size = left.size;
    for (const [state, next] of left) if (!next.some((other) => left.has(other))) left.delete(state);
  }
  return left.size > 0;
}

test("what is proved to end has no cycle, whatever state it is in", () => {
  let proved = 0;
  fc.assert(
    fc.property(small, (rows) => {
      const steps = rows.map(({ actor, from, next, word, value, after, apart }) =>
        stepOf({
          actor,
          from: `${actor}:${from}`,
          next: `${actor}:${next}`,
          ...(apart ? { differs: [2 + word, value] } : { finds: [2 + word, value] }),
          writes: apart ? [] : [2 + word, value, after],
        }),
      );
      if (!everyExecutionEnds(steps)) return;
      proved++;
      expect(hasCycle(steps)).toBe(false);
    }),
    { seed: 4, numRuns: 3000 },
  );
  expect(proved).toBeGreaterThan(500);
});
