// `guestmmu explore`, `claims` and `rules` as a user types them.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RULES } from "../../src/core/rules.js";
import { parseToken, tokenOf, type TokenContent } from "../../src/explore/token.js";
import { SCENARIOS } from "../../src/scenarios/index.js";
import { guestmmu } from "./command.js";

const RACE = "fault-vs-dontneed";
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "guestmmu-explore-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface TraceJson {
  repeat: string;
  end: { says: string };
  accesses: { step: number; before: string }[];
}

interface Document {
  schema: string;
  kind: string;
  interrupted: boolean;
  verdicts: {
    claim?: string;
    overlaps?: { expected: number[]; missed: number[] } | null;
    as_expected?: boolean;
    options: { without: string[] };
    scenario: string;
    verdict: string;
    expected: string | null;
    collision_risk: number;
    scope: { actors: string[] };
    detail: {
      limit: string | null;
      states: number;
      steps: number;
      ends: number;
      outcomes: Record<string, number>;
      localStates: number;
      liveness: { kind: string };
      threads: number;
      violations: {
        name: string;
        switches: number;
        token: string;
        trace: TraceJson;
      }[];
    };
  }[];
}

async function json(...args: string[]): Promise<{ code: number | null; document: Document }> {
  const { code, out } = await guestmmu([...args, "--json"]);
  return { code, document: JSON.parse(out) as Document };
}

describe("a scenario", () => {
  test("that holds is told with its bounds", async () => {
    const { code, out, err } = await guestmmu(["explore", RACE]);
    expect(out).toMatch(new RegExp(`^HOLDS {3}scenario ${RACE} {3}profile v6.13 {3}all rules$`, "m"));
    for (const label of [
      "claim",
      "profile",
      "rules",
      "module",
      "model",
      "scope",
      "strategy",
      "limits",
      "work",
      "memory",
    ])
      expect(out).toMatch(new RegExp(`^${label} +\\S`, "m"));
    expect(out).toMatch(/2 actors \(vcpu0, host0\), 1 guest page in 1 memslot/);
    expect(out).toMatch(/risk that one was taken for\s+another\s+is\s+below\s+1e-1\d/);
    // No progress where there is no terminal.
    expect(err).toBe("");
    expect(code).toBe(0);
  });

  test("that does not is told with an execution, and the command that repeats it", async () => {
    const found = await guestmmu(["explore", RACE, "--without", "RetryUnderLock"]);
    expect(found.code).toBe(1);
    expect(found.out).toMatch(/^VIOLATED {2}\S+ {3}scenario/m);
    const token = /^repeat +guestmmu explore --replay (\S+)$/m.exec(found.out)![1]!;
    const says = /\n\n(.*)\n\nshown/.exec(found.out)![1]!;

    const again = await guestmmu(["explore", "--replay", token]);
    expect(again.code).toBe(1);
    expect(again.out).toMatch(/^VIOLATED {2}\S+ {3}scenario/m);
    expect(again.out).toContain(says);

    // Cut off or changed in any place.
    const parts = token.split("/");
    const mangled = [
      token.slice(0, -1),
      token.slice(0, token.lastIndexOf("/")),
      token.replace(/[a-z0-9]+\/([0-9a-f]+)$/, "a247/$1"),
      `${token}b1000000`,
      parts.with(5, `${parts[5]!}+${parts[5]!}`).join("/"),
      parts.with(2, "fault-vs-split").join("/"),
    ];
    for (const text of mangled) {
      const { code, out, err } = await guestmmu(["explore", "--replay", text]);
      expect(err, text).toMatch(/token cannot be used/);
      expect([code, out]).toEqual([2, ""]);
    }
  });

  test("a token that is whole, and does not fit, is refused with the reason", async () => {
    const found = await json("explore", RACE, "--without", "RetryUnderLock");
    const token = parseToken(found.document.verdicts[0]!.detail.violations[0]!.token);
    const [first, ...rest] = token.stretches;
    const cases: readonly [Partial<TokenContent>, RegExp][] = [
      [{ hash: "00000000" }, /token is stale: it is of the module 00000000/],
      [{ scenarioHash: "000000" }, /token is stale: scenario fault-vs-dontneed has changed/],
      [{ kind: "deadlock" }, /does not end in the deadlock that the token is of, but in: /],
      // What the schedule shows no longer, or not yet; what it goes on with after its end; what an actor cannot do.
      [{ stretches: [first!] }, /token is stale|does not end in the violation/],
      [{ stretches: [...token.stretches, { actor: 1, accesses: 3, ways: [] }] }, /ends earlier than/],
      [{ stretches: [{ ...first!, accesses: 999_999 }, ...rest] }, /token is stale/],
      [{ stretches: [{ actor: 9, accesses: 1, ways: [] }] }, /token is stale/],
      [{ scenario: "nobodys" }, /scenario nobodys, which the package has not.\n +Give the file/],
      [{ model: "tso" }, /memory model tso cannot be repeated/],
    ];
    for (const [change, message] of cases) {
      const { code, out, err } = await guestmmu(["explore", "--replay", tokenOf({ ...token, ...change })]);
      expect(err).toMatch(message);
      expect([code, out]).toEqual([2, ""]);
    }
  });

  test("what a token says itself cannot be said beside it", async () => {
    const token = "g2/whatever";
    for (const option of [
      ...[
        "--profile=v5.4",
        "--without=5",
        "--build=lab",
        "--strategy=pct",
        "--model=sc",
        "--reduce",
        "--all",
      ],
      ...[
        "--max-states=9",
        "--max-depth=9",
        "--max-time=1s",
        "--max-workers=1",
        "--max-switches=1",
        "--seed=1",
      ],
      ...["--executions=9", "--orderings=2", "--every-rule", "--random-scenarios=2", "--list"],
    ]) {
      const { code, err } = await guestmmu(["explore", "--replay", token, option]);
      expect(err).toContain(`${option.split("=")[0]!} cannot be used with --replay`);
      expect(code).toBe(2);
    }
  });

  test("--json says the same to programs, 64-bit values as strings", async () => {
    const { code, document } = await json("explore", RACE, "--without", "SeqChecked");
    expect(document).toMatchObject({ schema: "guestmmu-explore/1", kind: "explore", interrupted: false });
    const [verdict] = document.verdicts;
    expect(verdict).toMatchObject({ scenario: RACE, verdict: "violated", expected: null });
    const [violation] = verdict!.detail.violations;
    const again = await guestmmu(["explore", "--replay", violation!.token, "--json"]);
    const { trace } = JSON.parse(again.out) as { trace: TraceJson };
    const plain = ({ accesses }: TraceJson) => accesses.map((access) => ({ ...access, step: 0 }));
    expect(plain(trace)).toEqual(plain(violation!.trace));
    expect(trace.end).toEqual(violation!.trace.end);
    expect(violation!.trace.repeat).toBe(`guestmmu explore --replay ${violation!.token}`);
    expect(violation!.trace.accesses.every(({ before }) => /^\d+$/.test(before))).toBe(true);
    expect(code).toBe(1);
  });

  test("a limit makes it inconclusive, and says which", async () => {
    for (const limit of [
      ["--max-states", "100"],
      ["--max-depth", "20"],
    ]) {
      const { code, out } = await guestmmu(["explore", RACE, ...limit]);
      expect(out).toMatch(/^INCONCLUSIVE/m);
      expect(out).toContain(`(${limit[0]})`);
      expect(code).toBe(4);
    }
  });

  test("that takes long is searched by several threads, with the same result", async () => {
    const long = ["explore", "two-invalidations", "--max-workers"];
    const [one, two] = [await json(...long, "1"), await json(...long, "2")];
    const of = ({ document }: typeof one) => document.verdicts[0]!.detail;
    expect([one.code, two.code]).toEqual([0, 0]);
    expect(of(one).threads).toBe(1);
    expect(of(two).threads).toBeGreaterThanOrEqual(1);
    expect(of(two).threads).toBeLessThanOrEqual(2);
    for (const name of [
      "states",
      "steps",
      "ends",
      "outcomes",
      "localStates",
      "liveness",
      "violations",
    ] as const) {
      expect(of(two)[name], name).toEqual(of(one)[name]);
    }
    expect(of(one).states).toBeGreaterThan(1_000_000);
  });

  test("that several threads search meets a limit as well", async () => {
    const { code, document } = await json(
      "explore",
      "two-invalidations",
      "--max-workers",
      "2",
      "--max-states",
      "600000",
    );
    const [verdict] = document.verdicts;
    expect(verdict).toMatchObject({ verdict: "inconclusive", detail: { limit: "states" } });
    expect(verdict!.detail.states).toBeGreaterThan(599_000);
    expect(verdict!.detail.states).toBeLessThan(601_000);
    expect(code).toBe(4);
  });

  test("on several profiles is a table", async () => {
    const { code, out } = await guestmmu(["explore", RACE, "--profile", "v5.4,v6.13"]);
    expect(out).toMatch(/^fault-vs-dontneed +v5\.4 +sc +all rules +holds +\d/m);
    expect(out).toMatch(/^fault-vs-dontneed +v6\.13 +sc +all rules +holds +\d/m);
    expect(out).toMatch(/2 verdicts in .*: 0 other than expected, 0 inconclusive/);
    expect(code).toBe(0);
  });

  test("the shipped module is explored too", async () => {
    const { code, out } = await guestmmu(["explore", RACE, "--build", "release"]);
    expect(out).toMatch(/^module +release, as shipped$/m);
    expect(code).toBe(0);
  });

  test("the counterexample is written as a page and as a trace", async () => {
    const html = join(folder, "race.html");
    const trace = join(folder, "race.json");
    const files = ["--html", html, "--trace", trace];
    expect((await guestmmu(["explore", RACE, "--without", "CountChecked", ...files])).code).toBe(1);
    expect(await readFile(html, "utf8")).toMatch(/^<!doctype html>[^]*fault-vs-dontneed/i);
    const { traceEvents } = JSON.parse(await readFile(trace, "utf8")) as { traceEvents: unknown[] };
    expect(traceEvents.length).toBeGreaterThan(10);
  });

  test("Ctrl-C ends it, and what is known is printed", async () => {
    const { code, out, ms } = await guestmmu(["explore", "--random-scenarios", "2000", "--json"], {
      interruptAfterMs: 3_000,
    });
    expect((JSON.parse(out) as Document).interrupted).toBe(true);
    expect(code).toBe(130);
    expect(ms).toBeLessThan(30_000);
  });
});

test("--list names every scenario and what must hold", async () => {
  const { code, out } = await guestmmu(["explore", "--list"]);
  for (const { name } of SCENARIOS) expect(out).toMatch(new RegExp(`^${name} `, "m"));
  expect(code).toBe(0);
});

test("random scenarios hold with all rules", async () => {
  const { code, document } = await json("explore", "--random-scenarios", "3", "--seed", "1");
  expect(document.verdicts.map(({ scenario }) => scenario)).toEqual(["random-1", "random-2", "random-3"]);
  expect(document.verdicts.every(({ verdict }) => verdict === "holds")).toBe(true);
  expect(code).toBe(0);
});

describe("what cannot be done is said, with exit code 2", () => {
  const cases: readonly [string, readonly string[], RegExp][] = [
    [
      "a name that is not there",
      ["explore", "fault-vs-dontned"],
      /no scenario "fault-vs-dontned"\.\n.*Did you mean fault-vs-dontneed/,
    ],
    [
      "a rule that is not there",
      ["explore", RACE, "--without", "SeqCheckd"],
      /no rule "SeqCheckd"\.\n.*Did you mean SeqChecked/,
    ],
    ["a profile that is not there", ["explore", RACE, "--profile", "v4.0"], /no profile "v4.0"/],
    [
      "a strategy that is not there",
      ["explore", RACE, "--strategy", "lucky"],
      /--strategy: cannot use "lucky"/,
    ],
    ["a number that is none", ["explore", RACE, "--max-states", "many"], /--max-states: cannot use "many"/],
    ["a duration without a unit", ["explore", RACE, "--max-time", "5"], /--max-time/],
    [
      "rules of the release module",
      ["explore", RACE, "--build", "release", "--without", "SeqChecked"],
      /built in/,
    ],
    ["what is no token", ["explore", "--replay", "g1/abc"], /token cannot be used/],
    ["a file that is not there", ["explore", "./nowhere.mjs"], /no file \.\/nowhere\.mjs/],
    ["a file that is no module", ["explore", "./README.md/"], /no file|no module/],
    [
      "a switch bound of another strategy",
      ["explore", RACE, "--strategy", "pct", "--max-switches", "2"],
      /--max-switches/,
    ],
    [
      "several numbers for one",
      ["explore", RACE, "--max-switches", "2,3"],
      /--max-switches takes one whole number from 0 to 1000\./,
    ],
    [
      "a number out of bounds, which are readable",
      ["explore", RACE, "--max-states", "0"],
      /from 1 to 2.000.000.000\./,
    ],
    [
      "rules of random scenarios",
      ["explore", "--random-scenarios", "3", "--every-rule"],
      /cannot be used together/,
    ],
    [
      "a token of a version before",
      ["explore", "--replay", "g1/d1/x/v6.13/sc/5/a1"],
      /another version of guestmmu/,
    ],
    ["a claim that is not there", ["claims", "C99"], /no claim "C99"/],
  ];
  test.each(cases)("%s", async (_, args, message) => {
    const { code, out, err } = await guestmmu(args);
    expect(err).toMatch(message);
    expect(out).toBe("");
    expect(code).toBe(2);
  });
});

describe("a user's file", () => {
  test.each(["examples/my-scenario.mjs", "examples/my-scenario.ts"])(
    "%s holds, and its rule is needed",
    async (file) => {
      const { code, out } = await guestmmu(["explore", file]);
      expect(out).toMatch(/^HOLDS/m);
      expect(code).toBe(0);
      const every = await guestmmu(["explore", file, "--every-rule", "--profile", "v6.13"]);
      expect(every.out).toMatch(/ needed +\S+ +v6\.13/);
      expect(every.out).toMatch(/1 of 1 rules are shown to be needed/);
      expect(every.code).toBe(0);
    },
  );

  test.each([".mjs", ".ts"])(
    "%s: maps, pfn caches and enums are at hand, wherever the file lies",
    async (ending) => {
      const file = join(folder, `cache${ending}`);
      await writeFile(file, await readFile("examples/cache-scenario.mjs", "utf8"));
      const { code, document } = await json("explore", file);
      expect(document.verdicts[0]).toMatchObject({
        verdict: "holds",
        detail: { liveness: { kind: "ends" } },
      });
      expect(code).toBe(0);
      const every = await guestmmu(["explore", file, "--every-rule", "--profile", "v6.13"]);
      expect(every.out).toMatch(/2 of 2 rules are shown to be needed/);
    },
  );

  test.each([".mjs", ".ts"])(
    "%s outside of any package finds guestmmu/explore, and its token repeats",
    async (ending) => {
      const file = join(folder, `elsewhere${ending}`);
      await writeFile(file, await readFile(`examples/my-scenario${ending}`, "utf8"));
      const rule = ending === ".ts" ? "GetUnlessZero" : "FlushBeforeStartReturns";
      const found = await guestmmu(["explore", file, "--without", rule]);
      expect(found.code).toBe(1);
      const [, repeat] = /^repeat +guestmmu (.*)$/m.exec(found.out)!;
      expect(repeat).toContain(file);
      const again = await guestmmu(repeat!.split(" "));
      expect(again.out).toMatch(/^VIOLATED/m);
      expect(again.code).toBe(1);

      // One page, or one more actor's call: the token is of the scenario as it was.
      const text = await readFile(file, "utf8");
      for (const [from, to] of [
        ["madviseDontneed(hva, PAGE)", "madviseDontneed(hva, PAGE), hostCalls(1).touch(hva, PAGE)"],
        ["munmap(hva, PAGE)", "munmap(hva, PAGE), hostCalls(2).touch(hva, PAGE)"],
        ["const PAGE = 4096n", "const PAGE = 8192n"],
        ["yield calls.gupFast(hva)", "yield calls.gupFast(hva + 0x1000n)"],
      ] as const) {
        if (!text.includes(from)) continue;
        await writeFile(file, text.replace(from, to));
        const stale = await guestmmu(repeat!.split(" "));
        expect(stale.err, to).toMatch(/token is stale: scenario \S+ has changed/);
        expect([stale.code, stale.out]).toEqual([2, ""]);
      }
      await writeFile(file, `\n// Nothing that it does has changed.\n${text}`);
      expect((await guestmmu(repeat!.split(" "))).code).toBe(1);
    },
  );

  test("a scenario that says it needs a rule, and does not, is told", async () => {
    const file = join(folder, "wrong.mjs");
    const text = await readFile("examples/my-scenario.mjs", "utf8");
    await writeFile(
      file,
      text.replace('brokenWithout: ["FlushBeforeStartReturns"]', 'brokenWithout: ["PfnmapHonoursWrite"]'),
    );
    const { code, out } = await guestmmu(["explore", file, "--every-rule", "--profile", "v6.13"]);
    expect(out).toMatch(/PfnmapHonoursWrite is not missed by read-back-vs-dontneed on v6\.13/);
    expect(out).toMatch(/redundant/);
    expect(code).toBe(1);
  });

  // Each: what its specification has beside a set-up and two actors that are in order.
  const BROKEN: readonly [string, string, RegExp][] = [
    [
      "a set-up that throws",
      `setup() { throw new Error("boom"); }`,
      /its set-up threw: boom \(.*broken-\d+\.mjs:9\)/,
    ],
    [
      "a program that throws",
      `actors: () => [actor("vcpu", "vcpu0", 0, function* () { yield vcpuCalls(0).read(0x10000n); nothing.there(); })]`,
      /the program of vcpu0 threw: ReferenceError: nothing is not defined \(.*broken-\d+\.mjs:9\)/,
    ],
    [
      "a judge that throws",
      `judge({ results }) { return results.vcpu7[0]; }`,
      /judge threw: TypeError: .*\.mjs:9\)/,
    ],
    ["a judge without an outcome", `judge: () => 3`, /broken-\d+\.mjs: Scenario x: judge returned 3\./],
    [
      "a rule that is not there",
      `brokenWithout: ["SeqCheckd"]`,
      /no rule "SeqCheckd"\.\n +Did you mean SeqChecked/,
    ],
    [
      "a field that is not there",
      `brokenwithout: []`,
      /field "brokenwithout".*\n +Did you mean brokenWithout/,
    ],
    ["no set-up", `setup: undefined`, /broken-\d+\.mjs: Scenario x: setup is undefined\./],
    [
      "a call that is not there",
      `actors: () => [actor("vcpu", "vcpu0", 0, [{ name: "vcpuLod", args: [0, 1n], text: "reads" }])]`,
      /vcpu0 calls "vcpuLod", which .*\n +Did you mean vcpuLoad/,
    ],
    [
      "a call with a number for a u64",
      `actors: () => [actor("vcpu", "vcpu0", 0, [vcpuCalls(0).write(0x10000n, 3)])]`,
      /calls vcpuStore with 3 as argument 4 \(u64\)/,
    ],
    [
      "a call without all of its arguments",
      `actors: () => [actor("vcpu", "vcpu0", 0, [{ name: "vcpuLoad", args: [0, 1n], text: "reads" }])]`,
      /calls vcpuLoad with 2 arguments/,
    ],
    [
      "a program that draws lots",
      `actors: () => [actor("vcpu", "vcpu0", 0, function* () { if (Math.random() < 0.5) yield vcpuCalls(0).value(); })]`,
      /may not call Math\.random/,
    ],
    [
      "a program that keeps count",
      `actors: () => [actor("vcpu", "vcpu0", 0, function* () { yield vcpuCalls(0).write(0x10000n, count++); })]`,
      /vcpu0 is not the same each time: .*vcpuStore\(0, 65536, 8, 0\).*another time/,
    ],
  ];
  test.each(BROKEN.map((row, i) => [...row, i] as const))(
    "with %s is an error of the user that names the place",
    async (_, field, message, i) => {
      const file = join(folder, `broken-${i}.mjs`);
      await writeFile(
        file,
        `import { actor, hostCalls, scenario, vcpuCalls } from "guestmmu/explore";
         let count = 0n;
         export default scenario("x", {
           prose: "p",
           holds: "h",
           setup(m) { const hva = m.mm.mmap(4096n); m.memslots.add({ gpa: 0x10000n, hva, length: 4096n }); return hva; },
           actors: (hva) => [actor("vcpu", "vcpu0", 0, [vcpuCalls(0).write(0x10000n, 3n)]),
             actor("host", "host0", 1, [hostCalls(1).touch(hva, 4096n)])],
           ${field},
         });`,
      );
      const { code, out, err } = await guestmmu(["explore", file]);
      expect(err).toMatch(message);
      expect(err).not.toMatch(/^ +at |died/m);
      expect(out).toBe("");
      expect(code).toBe(2);
    },
  );

  test("one that does not load, and one without a scenario, are errors of the user", async () => {
    const broken = join(folder, "broken.mjs");
    await writeFile(broken, "export default = 1;");
    expect(await guestmmu(["explore", broken])).toMatchObject({ code: 2, out: "" });
    const typed = join(folder, "broken.ts");
    await writeFile(typed, "export const x: number =");
    const compiled = await guestmmu(["explore", typed]);
    expect(compiled.err).toMatch(/cannot be compiled: line 1/);
    expect(compiled.code).toBe(2);
    const empty = join(folder, "empty.mjs");
    await writeFile(empty, "export const name = 1;");
    const without = await guestmmu(["explore", empty]);
    expect(without.err).toMatch(/exports no scenario/);
    expect(without.code).toBe(2);
  });
});

describe("claims", () => {
  test("a rule left out besides changes the table and the exit code", async () => {
    const whole = await json("claims", "matrix", "--profile", "v6.13");
    expect(whole.document.verdicts.length).toBeGreaterThan(3);
    expect(whole.document.verdicts.filter(({ verdict, expected }) => verdict !== expected)).toEqual([]);
    expect(whole.code).toBe(0);
    const flipped = await json("claims", "matrix", "--profile", "v6.13", "--without", "CountChecked");
    const changed = flipped.document.verdicts.filter(({ verdict, expected }) => verdict !== expected);
    expect(changed.length).toBeGreaterThan(0);
    expect(changed.every(({ verdict }) => verdict === "violated")).toBe(true);
    expect(flipped.code).toBe(1);
  });

  test("what becomes of a claim is said for each kernel, and changes with a rule", async () => {
    const whole = await guestmmu(["claims", "C1", "--profile", "v5.4"]);
    expect(whole.out).toMatch(/^ +C1, translations +holds$/m);
    expect(whole.out).toMatch(/^ +C1, struct page +refuted$/m);
    expect(whole.code).toBe(0);
    const flipped = await guestmmu(["claims", "C1", "--profile", "v5.4", "--without", "SeqChecked"]);
    expect(flipped.out).toMatch(/^ +C1, translations +refuted$/m);
    expect(flipped.out).toMatch(/ VIOLATED|violated/);
    expect(flipped.code).toBe(1);
  });

  test("other overlaps than those foreseen count, although the verdict is the expected one", async () => {
    const { document, code } = await json(
      "claims",
      "matrix",
      "--profile",
      "v5.4",
      "--without",
      "SeqRaisedInEnd",
    );
    const count = document.verdicts.find(({ options }) => options.without[0] === "CountChecked")!;
    expect(count).toMatchObject({ verdict: "violated", expected: "violated", as_expected: false });
    // A number that moves at the start tells of overlap 5.
    expect(count.overlaps).toEqual({ expected: [3, 5], missed: [2, 3] });
    expect(code).toBe(1);
  });

  test("each refuted one has its counterexample below the table", async () => {
    const { code, out } = await guestmmu(["claims", "C1'"]);
    expect(out).toMatch(/^C1': /m);
    expect(out).toMatch(/^ +\S+ +v\S+ +.* violated +violated +/m);
    expect(out).toMatch(/^Counterexample for C1'$/m);
    expect(out).toMatch(/^ +repeat +guestmmu explore --replay g2\//m);
    expect(out).toMatch(/(\d+) of \1 verdicts are as expected/);
    expect(code).toBe(0);
  });
});

test("rules lists every rule, and --json gives reasons and sources", async () => {
  const { out } = await guestmmu(["rules"]);
  for (const { number, name } of RULES) expect(out).toMatch(new RegExp(`^ *${number} +${name} `, "m"));
  const { rules } = JSON.parse((await guestmmu(["rules", "--json"])).out) as { rules: { reason: string }[] };
  expect(rules.map(({ reason }) => reason)).toEqual(RULES.map(({ reason }) => reason));
});
