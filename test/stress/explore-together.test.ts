// Several threads search one scenario: what they find is what one finds.
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

// Threads run built JavaScript, and what they share has to be of the same build. Types are those of the source.
const built = (file: string): string => new URL(`../../dist/${file}`, import.meta.url).href;
const { explore } = (await import(
  built("explore/explore.js")
)) as typeof import("../../src/explore/explore.js");
const { waiting } = (await import(built("explore/crew.js"))) as typeof import("../../src/explore/crew.js");
const { Fingerprints } = (await import(
  built("explore/tables.js")
)) as typeof import("../../src/explore/tables.js");
const { namedScenario } = (await import(
  built("verify/sources.js")
)) as typeof import("../../src/verify/sources.js");

import type { ExploreOptions, ExploreProgress, Verdict } from "../../src/explore/explore.js";
import type { Invitation } from "../../src/explore/crew.js";

const HELPERS = 2;
/** Far above what a thread takes to come, on however busy a machine. */
const PATIENCE_MS = 30_000;
/** States after which the others are called here: long before it would pay. */
const FROM = 60;

let threads: Worker[];

beforeAll(async () => {
  const file = new URL("fixtures/assist-worker.mjs", import.meta.url);
  threads = Array.from({ length: HELPERS }, () => new Worker(file));
  await Promise.all(threads.map((thread) => new Promise((resolve) => thread.once("online", resolve))));
});
afterAll(() => Promise.all(threads.map((thread) => thread.terminate())));

/** Explores with so many threads, all of which wait for work before the search goes on. */
function exploreWith(count: number, name: string, options: ExploreOptions = {}): Verdict {
  const invite = (list: readonly Invitation[]): void => {
    list.forEach((invitation, i) => {
      const task = { source: { kind: "named", name }, options, invitation };
      threads[i]!.postMessage(task, [invitation.port]);
    });
    const begin = performance.now();
    while (waiting(list[0]!) < list.length) {
      if (performance.now() - begin > PATIENCE_MS) throw new Error("a thread did not come");
    }
  };
  return explore(namedScenario(name), { ...options, helpers: { most: count, from: FROM, invite } });
}

/** What must not depend on the number of threads. */
function comparable(verdict: Verdict) {
  const { limit, states, steps, ends, outcomes, cells, localStates, liveness, racesChecked, violations } =
    verdict;
  return {
    ...{
      verdict: verdict.verdict,
      limit,
      states,
      steps,
      ends,
      outcomes,
      cells,
      localStates,
      liveness,
      racesChecked,
    },
    violations: violations
      .map(({ kind, name, says, shortest, switches, token }) => ({
        kind,
        name,
        says,
        shortest,
        switches,
        token,
      }))
      .sort((a, b) => (a.says < b.says ? -1 : 1)),
  };
}

describe("one, two and three threads find the same", () => {
  for (const [name, options] of [
    ["fault-vs-dontneed", {}],
    ["fault-vs-dontneed", { without: ["RetryUnderLock"] }],
    ["fault-vs-dontneed", { without: ["SeqChecked"] }],
    ["fault-vs-dontneed", { build: "release" }],
    ["fault-vs-slot-delete", {}],
    ["host-hugetlb-remap", {}],
    ["host-dax-fault-vs-truncate", {}],
    ["prefetch-vs-dontneed", {}],
    ["yield-vs-dontneed", {}],
    ["fault-vs-dontneed-weak", {}],
    ["fault-vs-slot-delete", { model: "tso", races: false }],
  ] as const satisfies readonly (readonly [string, ExploreOptions])[]) {
    test(`of ${name} ${JSON.stringify(options)}`, () => {
      const asked: ExploreOptions = { ...options, all: true };
      const one = exploreWith(1, name, asked);
      expect(one.threads).toBe(1);
      for (const count of [2, 3]) {
        const several = exploreWith(count, name, asked);
        expect(several.threads).toBe(count);
        expect(comparable(several)).toEqual(comparable(one));
      }
    });
  }

  test("where one violation is enough: the same shortest one", () => {
    for (const without of ["CountChecked", "SnapshotBeforeGup", "LockHeldToInstall"] as const) {
      const [one, three] = [1, 3].map((count) =>
        exploreWith(count, "fault-vs-dontneed", { without: [without] }),
      );
      expect(three!.verdict).toBe("violated");
      expect(three!.violations.map(({ token }) => token)).toEqual(one!.violations.map(({ token }) => token));
      expect(three!.violations).toHaveLength(1);
      expect(three!.violations[0]!.shortest).toBe(true);
    }
  });
});

describe("several threads meet a limit together", () => {
  test("of states", () => {
    const {
      verdict,
      limit,
      states,
      threads: count,
    } = exploreWith(3, "host-hugetlb-remap", { maxStates: 20_000 });
    expect({ verdict, limit, count }).toEqual({ verdict: "inconclusive", limit: "states", count: 3 });
    // Each looks at what the others have after 256 steps.
    expect(states).toBeGreaterThan(20_000 - 3 * 256);
    expect(states).toBeLessThan(20_000 + 3 * 256);
  });

  test("of states, only where there are so many", () => {
    const states = exploreWith(1, "fault-vs-dontneed").states;
    expect(exploreWith(2, "fault-vs-dontneed", { maxStates: states + 1 })).toMatchObject({
      limit: null,
      states,
    });
    expect(exploreWith(2, "fault-vs-dontneed", { maxStates: states })).toMatchObject({ limit: "states" });
  });

  test("of depth", () => {
    expect(exploreWith(2, "fault-vs-dontneed", { maxDepth: 40 })).toMatchObject({
      verdict: "inconclusive",
      limit: "depth",
    });
  });

  test("when they are told to stop, with a report of how far they are", () => {
    const searching: ExploreProgress[] = [];
    const { verdict, limit } = explore(namedScenario("two-invalidations"), {
      progress(report) {
        if (report.phase === "searching") searching.push(report);
        return report.states > 20_000;
      },
    });
    expect({ verdict, limit }).toEqual({ verdict: "inconclusive", limit: "stopped" });
    const { depth, frontier } = searching.at(-1)!;
    expect(frontier).toBeGreaterThan(0);
    expect(frontier).toBeLessThanOrEqual(depth + 1);
  });
});

describe("a table of fingerprints that threads share", () => {
  test("tells exactly one of those who add the same that it is new", async () => {
    const most = 200_000;
    const table = new Fingerprints(1_000_000);
    for (let i = 0; i < 1000; i++) table.add(i, i);
    const memory = table.share(1 << 19);
    const gate = new SharedArrayBuffer(4);
    const claims = new SharedArrayBuffer(most);
    const file = new URL("fixtures/table-worker.mjs", import.meta.url);
    const adders = [1, 2, 3].map(
      (salt) => new Worker(file, { workerData: { memory, gate, claims, most, salt } }),
    );
    await Promise.all(adders.map((adder) => new Promise((resolve) => adder.once("message", resolve))));
    const ended = adders.map((adder) => new Promise<number>((resolve) => adder.once("message", resolve)));
    Atomics.store(new Int32Array(gate), 0, 1);
    Atomics.notify(new Int32Array(gate), 0);
    const added = await Promise.all(ended);
    await Promise.all(adders.map((adder) => adder.terminate()));
    // The words of number i: the first thousand are there already, as (i, i), and 0 counts as 1.
    const claimed = new Uint8Array(claims);
    expect(claimed.every((times, i) => times === (i < 1000 ? 0 : 1))).toBe(true);
    expect(added.reduce((sum, one) => sum + one, 0)).toBe(most - 1000);
    expect(table.size).toBe(999);
    for (let i = 0; i < most; i++) if (!table.has(i, i)) throw new Error(`${i} is lost`);
    expect(table.has(most, most)).toBe(false);
  });
});
