// A token repeats what it is of, whatever that is, and is refused when the scenario is no longer the same.
import { describe, expect, test } from "vitest";
import { actor, hostCalls, vcpuCalls } from "../../src/explore/calls.js";
import { explore, type Counterexample } from "../../src/explore/explore.js";
import { scenario, type Scenario } from "../../src/explore/scenario.js";
import { parseToken, type TokenKind } from "../../src/explore/token.js";
import { type RuleName } from "../../src/core/rules.js";
import { back, GPA, PAGE, warm } from "../../src/scenarios/ground.js";
import { SCENARIOS } from "../../src/scenarios/index.js";
import { repeatToken } from "../../src/verify/replay.js";

const named = (name: string): Scenario => SCENARIOS.find((one) => one.name === name)!;

/** The checkers but one would object to the missing end itself. */
const endless = scenario("never-ended", {
  prose: "host0 begins an invalidation and does not end it; vcpu0 spins for ever.",
  holds: "The vCPU gets its page.",
  checkers: ["no-use-after-free"],
  balanced: false,
  machine: { spinOnRetry: true },
  setup(machine) {
    const hva = back(machine);
    warm(machine, 0, GPA);
    machine.mm.madviseDontneed(hva, PAGE);
    machine.mm.populate(hva, PAGE);
    return { hva };
  },
  actors: ({ hva }) => [
    actor("vcpu", "vcpu0", 0, [vcpuCalls(0).write(GPA, 7n)]),
    actor("host", "host0", 1, [hostCalls(1).invalidateStart(hva, PAGE)]),
  ],
}) as Scenario;

function found(one: Scenario, without: readonly RuleName[], kind: TokenKind): Counterexample {
  const { violations } = explore(one, { without, all: true });
  const first = violations.find(({ token }) => parseToken(token).kind === kind);
  expect(violations.map(({ token }) => parseToken(token).kind)).toContain(kind);
  return first!;
}

describe("a token", () => {
  const CASES: readonly [TokenKind, Scenario, readonly RuleName[]][] = [
    ["violation", named("fault-vs-dontneed"), ["SeqChecked"]],
    ["race", named("gup-vs-reuse"), ["GetUnlessZero"]],
    ["trap", named("slot-add-vs-dontneed"), ["UpdaterWaitsForInvalidations"]],
    ["deadlock", named("host-dax-longterm-pin"), ["LongtermRefusedOnDax"]],
    ["livelock", endless, []],
  ];
  test.each(CASES)("of a %s ends in it again", (kind, one, without) => {
    const first = found(one, without, kind);
    const { trace, outcome } = repeatToken(one, parseToken(first.token), "again");
    expect(trace.end).toMatchObject({ kind: first.trace.end.kind, name: first.name });
    expect(trace.accesses).toHaveLength(first.trace.accesses.length);
    expect([trace.repeat, outcome]).toEqual(["again", null]);
    if (kind !== "race" && kind !== "livelock") expect(trace.end).toEqual(first.trace.end);
  });

  test("is of one scenario", () => {
    const { token } = found(endless, [], "livelock");
    expect(() => repeatToken(named("gup-vs-reuse"), parseToken(token), "")).toThrow(
      "The token is of the scenario never-ended, and this one is gup-vs-reuse.",
    );
  });
});

describe("a scenario that changes behind its own text", () => {
  let written = 5n;
  let frames = 1n;
  let objects = true;
  const shifting = scenario("shifting", {
    prose: "vcpu0 writes.",
    holds: "Nobody objects.",
    setup(machine) {
      const hva = back(machine, { length: frames * PAGE });
      warm(machine, 0, GPA);
      return hva;
    },
    actors: () => [actor("vcpu", "vcpu0", 0, [vcpuCalls(0).write(GPA, written)])],
    judge: () => ({ outcome: "written", objection: objects ? "it was written" : undefined }),
  }) as Scenario;
  const { token } = explore(shifting).violations[0]!;
  const repeat = () => repeatToken(shifting, parseToken(token), "");

  test("is the same as long as nothing has", () => {
    expect(repeat().trace.end).toMatchObject({ kind: "violation", says: "it was written" });
  });

  test("in a call, or in what its set-up leaves: the token is stale", () => {
    written = 6n;
    expect(repeat).toThrow("The token is stale: scenario shifting has changed");
    written = 5n;
    frames = 2n;
    expect(repeat).toThrow("The token is stale: scenario shifting has changed");
    frames = 1n;
    expect(repeat().trace.end.kind).toBe("violation");
  });

  test("in its judge: nothing is reported that is not there", () => {
    objects = false;
    expect(repeat).toThrow("The schedule does not end in the violation that the token is of.");
    objects = true;
  });

  test("in its text: the token is stale", () => {
    const other = { ...shifting, prose: "vcpu0 writes once." };
    expect(() => repeatToken(other, parseToken(token), "")).toThrow("scenario shifting has changed");
  });
});
