// What a user can get wrong through the library: options, specifications, and programs that are not the same each time.
import { describe, expect, test } from "vitest";
import { GuestMmuError } from "../../src/errors.js";
import { actor, vcpuCalls } from "../../src/explore/calls.js";
import { BOUNDS } from "../../src/explore/check-options.js";
import { explore, type ExploreOptions } from "../../src/explore/explore.js";
import { Histories, type Program } from "../../src/explore/program.js";
import { scenario, type Scenario } from "../../src/explore/scenario.js";
import { SCENARIOS } from "../../src/scenarios/index.js";
import { CLAIMS } from "../../src/scenarios/claims.js";
import { checkScenario, checkedProgram } from "../../src/explore/user-code.js";
import { ABI, LAB_ABI } from "../../src/core/abi.js";
import * as families from "../../src/explore/calls.js";

const GPA = 0x10000n;
const SPEC = {
  prose: "vcpu0 writes.",
  holds: "It does.",
  setup(machine: Parameters<Scenario["setup"]>[0]) {
    machine.memslots.add({ gpa: GPA, hva: machine.mm.mmap(4096n), length: 4096n });
  },
  actors: () => [actor("vcpu", "vcpu0", 0, [vcpuCalls(0).write(GPA, 1n)])],
};
const GOOD = scenario("good", SPEC) as Scenario;

function refused(body: () => unknown): GuestMmuError {
  try {
    body();
  } catch (error) {
    expect(error).toBeInstanceOf(GuestMmuError);
    return error as GuestMmuError;
  }
  throw new Error("nothing was refused");
}

describe("options", () => {
  const wrong: readonly [object, RegExp][] = [
    [{ maxTime: "3s" }, /maxTime: cannot use "3s"/],
    [{ maxTime: NaN }, /maxTime: cannot use NaN/],
    [{ maxStates: 0 }, /maxStates: cannot use 0/],
    [{ maxDepth: 1.5 }, /maxDepth: cannot use 1.5/],
    [{ seed: 2 ** 32 }, /seed: cannot use 4294967296/],
    [{ maxstates: 7 }, /no option "maxstates"/],
    [{ helper: {} }, /no option "helper"/],
    [{ all: "yes" }, /all: cannot use "yes"/],
    [{ progress: 1 }, /progress: cannot use 1/],
    [{ without: "SeqChecked" }, /without: cannot use "SeqChecked"/],
    [{ without: ["SeqCheckd"] }, /no rule "SeqCheckd"/],
    [{ build: "debug" }, /build: cannot use "debug"/],
    [{ profile: "v4.0" }, /no profile "v4.0"/],
    [{ checkers: ["no-use-after-free"] }, /checkers: cannot use/],
    [{ strategy: "pct", maxSwitches: 2 }, /maxSwitches does not go with strategy pct/],
    [{ executions: 5 }, /executions does not go with strategy exhaustive/],
    [{ strategy: "random", depth: 2 }, /depth does not go with strategy random/],
    [[], /options of an exploration are \[\]/],
  ];
  test.each(wrong)("%j", (options, message) => {
    const error = refused(() => explore(GOOD, options as ExploreOptions));
    expect(error.message).toMatch(message);
    expect(error.code).toBe("USAGE");
  });

  test("of a good one, both ends of each bound are good too", () => {
    for (const [name, ends] of Object.entries(BOUNDS)) {
      const strategy = { maxSwitches: "bounded", executions: "random", depth: "pct" }[name];
      for (const value of ends) {
        // A trillion executions take their time; that they are begun says enough.
        const progress = name === "executions" ? { progress: () => true } : {};
        const options = { ...progress, ...(strategy && { strategy }), [name]: value } as ExploreOptions;
        expect(["holds", "inconclusive"], name).toContain(explore(GOOD, options).verdict);
      }
    }
  });

  test("a bound of switches asks for the strategy that has it", () => {
    expect(explore(GOOD, { maxSwitches: 1 }).strategy).toBe("bounded");
  });
});

describe("specifications", () => {
  const wrong: readonly [object, RegExp][] = [
    [{ prose: undefined }, /prose is undefined/],
    [{ holds: 3 }, /holds is 3/],
    [{ setup: undefined }, /setup is undefined/],
    [{ judge: "done" }, /judge is "done"/],
    [{ profiles: ["v6.12"] }, /profiles: there is no profile "v6.12"/],
    [{ profiles: [] }, /profiles is empty/],
    [{ brokenOn: "v5.4" }, /brokenOn is "v5.4"/],
    [{ brokenWithout: ["Foo"] }, /no rule "Foo"/],
    [{ brokenWithout: [{ rule: "SeqChecked", profiles: ["v1"] }] }, /no profile "v1"/],
    [{ checkers: ["none"] }, /no checker "none"/],
    [{ model: "arm" }, /model is "arm"/],
    [{ large: 1 }, /large is 1/],
    [{ balance: false }, /field "balance"/],
  ];
  test.each(wrong)("%j", (fields, message) => {
    const made = () => scenario("bad", { ...SPEC, ...fields } as typeof SPEC);
    expect(refused(made).message).toMatch(message);
    // One that was put together without `scenario`.
    expect(refused(() => explore({ ...GOOD, ...fields } as Scenario)).message).toMatch(message);
  });

  test("the package's own are in order", () => {
    for (const one of [...SCENARIOS, ...CLAIMS.flatMap(({ rows }) => rows.map((row) => row.scenario))])
      expect(() => checkScenario(one)).not.toThrow();
  });

  test("machines, set-ups and actors", () => {
    const message = (fields: object) => refused(() => explore({ ...GOOD, ...fields } as Scenario)).message;
    expect(message({ machine: { frames: -1 } })).toMatch(/Scenario good: its machine threw/);
    expect(message({ setup: async () => Promise.resolve() })).toMatch(/set-up is asynchronous/);
    expect(message({ actors: () => undefined })).toMatch(/actors returned undefined/);
    expect(message({ actors: () => [{}] })).toMatch(/number 0 of its actors is called undefined/);
    expect(message({ actors: () => [actor("cpu" as "vcpu", "a", 0, [])] })).toMatch(/a is of kind "cpu"/);
    expect(message({ actors: () => [actor("vcpu", "a", 7, [])] })).toMatch(/a acts as 7/);
    expect(message({ actors: () => [actor("vcpu", "a", 0, 7 as never)] })).toMatch(/program of a is 7/);
    expect(message({ actors: () => [actor("vcpu", "a", 0, (() => 7) as never)] })).toMatch(/returned 7/);
    const lab = [{ name: "labSnapshot", args: [0], text: "takes its snapshot" }];
    const actors = () => [actor("vcpu", "a", 0, lab)];
    expect(refused(() => explore({ ...GOOD, actors }, { build: "release" })).message).toMatch(/labSnapshot/);
  });
});

describe("programs", () => {
  const call = (name: string) => ({ name, args: [0], text: name });

  test("are refused when they differ between two runs, and when they differ only later", () => {
    let runs = 0;
    const ever: Program = function* () {
      yield call(`${runs++}`);
    };
    expect(refused(() => new Histories(ever, "P").next(0)).message).toMatch(/^P is not the same each time/);

    // The same for longer than one history is looked at: seen when the next one passes the same place.
    let later = 0;
    const late: Program = function* () {
      yield call(later++ < 8 ? "a" : "b");
      yield call("c");
    };
    const histories = new Histories(late, "P");
    expect(histories.next(0)).toMatchObject({ name: "a" });
    expect(refused(() => histories.next(histories.extend(0, 1))).message).toMatch(
      /after the same 0 results it does "a\(0\)", and another time "b\(0\)"/,
    );
  });

  test("may depend on results", () => {
    const program: Program = function* () {
      const found = yield call("a");
      if (found === 1) yield call("b");
    };
    const histories = new Histories(program);
    expect([0, 1].map((result) => histories.next(histories.extend(0, result)))).toEqual([null, call("b")]);
  });

  test("of every family of calls have exports with as many arguments", () => {
    const { vcpuCalls, faultCalls, hostCalls, mapCalls, cacheCalls, stateCalls, hardwareCalls, graceCalls } =
      families;
    const [v, f, h, m, c] = [vcpuCalls(0), faultCalls(0), hostCalls(1), mapCalls(0), cacheCalls(0)];
    const calls = [
      ...[v.read(GPA), v.value(), v.write(GPA, 1n)],
      ...[f.begin(GPA), f.snapshot(), f.resolve(), f.commit(), f.end()],
      ...[h.madviseDontneed(0n, 1n), h.munmap(0n, 1n), h.mmap(0n, 1n), h.mprotect(0n, 1n, "r--")],
      ...[h.touch(0n, 1n), h.store(0n, 1n), h.load(0n), h.gup(0n), h.gupFast(0n), h.putPage(1)],
      ...[h.allocPage(), h.freeRaw(1, 0), h.splitPage(0n), h.fork(0n, 1n), h.forkExit(1n)],
      ...[h.truncate(0, 1), h.truncateNow(0, 1), h.pin(0n), h.pinFast(0n), h.unpin(1), h.fileOf(1)],
      ...[h.transfer(0, 1), h.endTransfer(0), h.addMemslot(0, GPA, 4096n, 0n), h.deleteMemslot(0)],
      ...[h.moveMemslot(0, GPA, 4096n, 0n), h.leaf(GPA), h.invalidateStart(0n, 1n), h.invalidateEnd(0n, 1n)],
      ...[m.map(GPA), m.write(1n), m.unmap(), m.hardwareWrite(1n)],
      ...[c.activate(GPA), c.deactivate(), c.refresh(), c.write(1n)],
      ...[stateCalls.seq(), stateCalls.active(), hardwareCalls(1, 0).speculate(GPA, "read")],
      graceCalls(1).free(),
    ];
    const made = [v, f, h, m, c, stateCalls, hardwareCalls(1, 0), graceCalls(1)];
    expect(calls).toHaveLength(made.reduce((sum, family) => sum + Object.keys(family).length, 0));
    for (const one of calls) {
      const program = checkedProgram("s", actor("host", "h", 1, [one]), { ...ABI, ...LAB_ABI });
      expect(program().next().value).toBe(one);
    }
  });
});
