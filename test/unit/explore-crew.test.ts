// What threads that search together tell each other: two of them here, in one thread, as nothing in it waits.
import { describe, expect, test } from "vitest";
import { Crew, ROW, Stop, limitOf, lost, waiting, type Invitation } from "../../src/explore/crew.js";

const LIMITS = { maxStates: 1000, maxDepth: 100, maxTime: 60_000 };
const NONE = { states: 0, steps: 0, ends: 0, depth: 0 };
/** Looks after which the one who leads looks at the clock. */
const LOOKS = 64;

function lead(limits = LIMITS, progress?: () => boolean): { crew: Crew; invited: Invitation[] } {
  const invited: Invitation[] = [];
  const crew = Crew.lead({
    limits,
    helpers: { most: 2, from: 10, invite: (list) => invited.push(...list) },
    progress,
    knowledge: () => ({ cells: [7], touched: Int32Array.of(3, 1) }),
  });
  return { crew, invited };
}

function both(limits = LIMITS): { crew: Crew; helper: Crew; invitation: Invitation } {
  const { crew, invited } = lead(limits);
  crew.look({ ...NONE, states: 10 });
  return { crew, helper: Crew.join(invited[0]!)!, invitation: invited[0]! };
}

const REPORT = {
  result: null,
  cells: [],
  touched: new Int32Array(0),
  learned: [],
  locals: [],
  runs: 5,
  error: null,
};

describe("others are invited", () => {
  test("when the search has gone on for long enough, once, with what they have to know", () => {
    const { crew, invited } = lead();
    expect(crew.look({ ...NONE, states: 9 })).toBe(false);
    expect(invited).toEqual([]);
    expect(crew.look({ ...NONE, states: 10 })).toBe(false);
    crew.look({ ...NONE, states: 11 });
    expect(invited).toHaveLength(1);
    expect(invited[0]).toMatchObject({ place: 1, cells: [7], maxStates: 1000 });
    crew.dismiss();
  });

  test("and may come too late", () => {
    const { crew, invited } = lead();
    crew.look({ ...NONE, states: 10 });
    expect(crew.collect()).toEqual([]);
    expect(Crew.join(invited[0]!)).toBeNull();
  });

  test("not by one who is to be alone", () => {
    const crew = Crew.lead({
      limits: LIMITS,
      helpers: null,
      knowledge: () => ({ cells: [], touched: new Int32Array(0) }),
    });
    expect(crew.look({ ...NONE, states: 999 })).toBe(false);
    expect(crew.threads).toBe(1);
    expect(crew.ask(NONE)).toBeNull();
    expect(crew.stopped).toBe(Stop.Done);
  });
});

describe("a search of two", () => {
  test("is over when one has nothing left and the other has not begun", () => {
    const { crew, helper, invitation } = both();
    expect(waiting(invitation)).toBe(0);
    expect(crew.ask(NONE)).toBeNull();
    expect(helper.begin()).toBeNull();
    helper.report(REPORT);
    expect(crew.collect()).toMatchObject([{ runs: 5 }]);
    expect(crew.stopped).toBe(Stop.Done);
    expect(limitOf(crew.stopped)).toBeNull();
  });

  test("gives nothing to somebody who does not wait", () => {
    const { crew } = both();
    expect(crew.wanted).toBe(false);
    expect(crew.give(1, (branch) => branch.set([-1, 0, 0, 0]))).toBe(false);
    expect(ROW).toBe(4);
    crew.dismiss();
  });

  test("reaches a limit of states together", () => {
    const { crew, helper } = both();
    expect(crew.look({ ...NONE, states: 600 })).toBe(false);
    expect(helper.look({ ...NONE, states: 399 })).toBe(false);
    expect(helper.look({ ...NONE, states: 400 })).toBe(true);
    expect(crew.look({ ...NONE, states: 600 })).toBe(true);
    expect(limitOf(crew.stopped)).toBe("states");
    crew.dismiss();
  });

  test("ends for both when its time is over", () => {
    const { crew, helper } = both({ ...LIMITS, maxTime: 0 });
    for (let i = 0; i < LOOKS; i++) crew.look({ ...NONE, states: 11 });
    expect(helper.look(NONE)).toBe(true);
    expect(limitOf(helper.stopped)).toBe("time");
    crew.dismiss();
  });

  test("keeps the first reason for its end", () => {
    const { crew, helper } = both();
    helper.stop(Stop.Found);
    crew.stop(Stop.Time);
    expect(crew.stopped).toBe(Stop.Found);
    crew.dismiss();
  });

  test("ends with an error if a thread of it dies", () => {
    const { crew, invitation } = both();
    lost(invitation);
    expect(crew.look({ ...NONE, states: 11 })).toBe(true);
    expect(() => crew.collect()).toThrow(/Thread 2 of 2 that searched together died/);
    crew.dismiss();
  });

  test("goes on without a thread that could not be started", () => {
    const { crew, invited } = lead();
    crew.look({ ...NONE, states: 10 });
    lost(invited[0]!);
    expect(crew.look({ ...NONE, states: 11 })).toBe(false);
    expect(crew.ask(NONE)).toBeNull();
    expect(crew.collect()).toEqual([]);
  });
});
