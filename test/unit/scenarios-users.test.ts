import { describe, expect, test } from "vitest";
import { PROFILES, type ProfileName } from "../../src/core/profiles.js";
import { RULES, ruleRow, type RuleName } from "../../src/core/rules.js";
import { explore } from "../../src/explore/explore.js";
import { type Scenario } from "../../src/explore/scenario.js";
import { SCENARIOS } from "../../src/scenarios/index.js";

const ALL = Object.keys(PROFILES) as ProfileName[];
/** Those under a memory model have tests of their own. */
const MINE = SCENARIOS.filter(({ name, model }) => /^(users|host|claim)-/.test(name) && model === undefined);

function verdictOf(scenario: Scenario, profile: ProfileName, without: readonly RuleName[] = []) {
  const { verdict, violations } = explore(scenario, { profile, without, maxTime: 30_000 });
  return { verdict, name: violations[0]?.name ?? "" };
}

/** What objects where each rule is left out, on the profiles that the scenario names for it. */
const OBJECTS: Readonly<Record<string, Readonly<Partial<Record<RuleName, RegExp>>>>> = {
  "users-map-vs-dontneed": {
    VcpuMapHoldsReference: /^(map-holds-its-page|no-use-after-free|no-store-lost)$/,
    UnmapMarksDirty: /^no-store-lost$/,
  },
  "users-map-hardware": {
    VcpuMapHoldsReference: /^(map-holds-its-page|no-use-after-free|no-store-lost)$/,
    UnmapMarksDirty: /^no-store-lost$/,
  },
  "users-map-vs-fork": { VcpuMapPins: /^one-backing-page$/ },
  "users-map-of-device": { UnmapChecksPage: /^(references-balance|map-holds-its-page)$/ },
  "users-cache-refresh-vs-dontneed": { GpcRetriesOnActiveCount: /^valid-cache-names-the-host-page$/ },
  "users-cache-use-vs-dontneed": {
    GpcHeldWhileUsed: /^(valid-cache-names-the-host-page|no-store-lost|no-use-after-free)$/,
  },
  "users-cache-moved-in-refresh": { GpcRefreshSerialised: /^valid-cache-names-the-host-page$/ },
  "users-cache-deactivated": { GpcActiveChecked: /^valid-cache-names-the-host-page$/ },
  "host-remapped-fault": { PfnmapNotRefcounted: /^no-use-after-free$/ },
  "host-remapped-read-only": { PfnmapHonoursWrite: /^writable-only-as-the-host$/ },
  "host-zero-page": { ZeroPageNotReserved: /^(balance|references-balance)$/ },
  "host-refcount-limit": { RefcountOverflowRefused: /^references-balance$/ },
  "host-gup-vs-split": { GupRechecksHead: /^references-balance$/ },
  "host-cached-fault-vs-truncate": { SeqChecked: /^sptes-match-the-host$/ },
  "host-dax-map-vs-truncate": {
    DaxTruncateWaitsIdle: /^(no-use-after-free|no-store-lost)$/,
    VcpuMapHoldsReference: /^(no-use-after-free|no-store-lost)$/,
  },
  "host-dax-fault-vs-truncate": {
    ZoneDeviceNotReserved: /^references-balance$/,
    SeqChecked: /^sptes-match-the-host$/,
  },
  "host-dax-direct-io": { DaxTruncateWaitsIdle: /^(no-use-after-free|no-store-lost)$/ },
  "host-dax-gup-vs-truncate": {
    DaxTruncateWaitsIdle: /^host-dax-gup-vs-truncate$/,
    GupRechecksPte: /^host-dax-gup-vs-truncate$/,
  },
  "host-dax-longterm-pin": { LongtermRefusedOnDax: /^deadlock$/ },
  "claim-fault-translations": {
    SeqChecked: /^sptes-match-the-host$/,
    CountChecked: /^sptes-match-the-host$/,
  },
  "claim-fault-metadata": { PutAfterInstall: /^metadata-of-held-pages$/ },
  "claim-map-use": { VcpuMapHoldsReference: /^no-use-after-free$/ },
  // Which overlaps, and no others: scenarios-fault.test.ts.
  "claim-retry-matrix": {
    SeqRaisedInEnd: /^overlap-2-is-guarded$/,
    CountChecked: /^overlap-[35]-is-guarded$/,
    SeqChecked: /^overlap-[24]-is-guarded$/,
    SnapshotBeforeGup: /^overlap-[24]-is-guarded$/,
    RetryUnderLock: /^overlap-6-is-guarded$/,
    LockHeldToInstall: /^overlap-6-is-guarded$/,
  },
};

describe("KVM's other users and pages of the host", () => {
  test.each(MINE.map((one) => [one.name, one] as const))(
    "%s holds, but where it is known not to",
    (_, one) => {
      for (const profile of one.profiles ?? ALL) {
        const expected = one.brokenOn?.includes(profile) ? "violated" : "holds";
        expect({ profile, verdict: verdictOf(one, profile).verdict }).toEqual({ profile, verdict: expected });
      }
    },
  );

  const cases = MINE.flatMap((one) =>
    (one.brokenWithout ?? []).map((broken) => {
      const { rule, profiles } = typeof broken === "string" ? { rule: broken } : broken;
      return [one.name, rule, one, profiles ?? ruleRow(rule).profiles] as const;
    }),
  );
  test.each(cases)("%s does not hold without %s", (name, rule, one, profiles) => {
    for (const profile of profiles) {
      const { verdict, name: who } = verdictOf(one, profile, [rule]);
      expect({ profile, verdict }).toEqual({ profile, verdict: "violated" });
      if (!one.brokenOn?.includes(profile)) expect(who).toMatch(OBJECTS[name]?.[rule] ?? /never/);
    }
  });

  test("every rule of these users has a scenario that depends on it", () => {
    const known = new Set<RuleName>(cases.map(([, rule]) => rule));
    const first = ruleRow("VcpuMapHoldsReference").number;
    const last = ruleRow("GpcHeldWhileUsed").number;
    const missing = RULES.filter(({ number, name }) => number >= first && number <= last && !known.has(name));
    // It is about mapping neighbours in advance: prefetch-vs-dontneed.
    expect(missing.map(({ name }) => name)).toEqual(["PrefetchSkipsOpenRange"]);
  });
});

describe("which checkers judge", () => {
  const quiet: Scenario = {
    ...MINE.find(({ name }) => name === "claim-map-use")!,
    checkers: ["roots-balance-x"],
  };
  test("those that the scenario names, and no others", () => {
    const one = MINE.find(({ name }) => name === "claim-map-use")!;
    const without = ["VcpuMapHoldsReference"] as const;
    expect(explore(one, { without }).violations[0]!.name).toBe("no-use-after-free");
    expect(explore({ ...one, checkers: ["writable-only-as-the-host"] }, { without }).verdict).toBe("holds");
  });
  test("a name that no checker has is refused", () => {
    expect(() => explore(quiet)).toThrow('there is no checker "roots-balance-x"');
  });
});
