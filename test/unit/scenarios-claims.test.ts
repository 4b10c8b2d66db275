import { describe, expect, test } from "vitest";
import { type ProfileName } from "../../src/core/profiles.js";
import { type RuleName } from "../../src/core/rules.js";
import { explore } from "../../src/explore/explore.js";
import { CLAIMS, type ClaimRow } from "../../src/scenarios/claims.js";
import { overlapOf } from "../../src/invariants/retry-overlaps.js";
import { standings, type Decided } from "../../src/verify/standings.js";
import { SCENARIOS } from "../../src/scenarios/index.js";

function decide({ scenario, profile, without, overlaps }: ClaimRow, more: readonly RuleName[] = []) {
  // One violation of each overlap; the shortest of one is asked for elsewhere.
  const matrix = overlaps !== undefined;
  const options = { all: matrix, shorten: !matrix, maxTime: 60_000 };
  return explore(scenario, { profile, without: [...without, ...more], ...options });
}

/** The rows of a claim on a profile, decided with rules left out besides. */
function decided(id: string, profile: ProfileName, more: readonly RuleName[] = []): Decided[] {
  const claim = CLAIMS.find((one) => one.id === id)!;
  return claim.rows.flatMap((row, i): Decided[] => {
    if (row.profile !== profile) return [];
    const without = [...row.without, ...more];
    const job = {
      source: { kind: "claim", claim: CLAIMS.indexOf(claim), row: i },
      scenario: row.scenario.name,
      options: { profile, without, build: "lab", strategy: "exhaustive" },
      expected: row.expected,
    } as const;
    return [{ claim, row, result: { job, verdict: decide(row, more), scope: null, holds: "", error: null } }];
  });
}

const standing = (...rows: Parameters<typeof decided>) =>
  standings(decided(...rows)).map(({ part, standing: came }) => [part, came]);

function rowOf(id: string, scenario: string, profile: string, expected: string): ClaimRow {
  const claim = CLAIMS.find((one) => one.id === id)!;
  const found = claim.rows.find(
    (row) => row.scenario.name === scenario && row.profile === profile && row.expected === expected,
  );
  if (!found) throw new Error(`${id} has no row of ${scenario} on ${profile}`);
  return found;
}

describe("claims", () => {
  test("the claims of the thread, the open question and the matrix, each decided by scenarios of the package", () => {
    expect(CLAIMS.map(({ id }) => id)).toEqual(["C1", "C1'", "C2", "C3", "C4", "C5", "C6", "Z25b", "matrix"]);
    const known = new Set(SCENARIOS.map(({ name }) => name));
    for (const { rows } of CLAIMS) {
      expect(rows.length).toBeGreaterThan(0);
      for (const { scenario, shows } of rows) {
        expect(known).toContain(scenario.name);
        expect(shows).not.toMatch(/\.$/);
      }
    }
  });

  test.each(CLAIMS.map((claim) => [claim.id, claim] as const))("%s comes out as expected", (_, claim) => {
    for (const row of claim.rows) {
      const { verdict, violations } = decide(row);
      const what = `${row.scenario.name} ${row.profile} ${row.without.join(",")}`;
      expect({ what, verdict }).toEqual({ what, verdict: row.expected });
      if (row.overlaps)
        expect(violations.map(({ name }) => overlapOf(name)).sort(), what).toEqual(row.overlaps);
    }
  });
});

describe("what becomes of a claim", () => {
  test.each([
    [
      "C1",
      "v5.4",
      [
        ["translations", "holds"],
        ["struct page", "refuted"],
      ],
    ],
    [
      "C1",
      "v6.13",
      [
        ["translations", "holds"],
        ["struct page", "holds"],
      ],
    ],
    ["C1'", "v6.13", [[null, "refuted"]]],
    ["C2", "v5.4", [[null, "holds"]]],
    ["C3", "v5.3", [[null, "refuted"]]],
    ["C3", "v5.4", [[null, "holds"]]],
    [
      "C6",
      "v5.4",
      [
        ["page faults", "refuted"],
        ["kvm_vcpu_map", "refuted"],
      ],
    ],
    [
      "C6",
      "v6.13",
      [
        ["page faults", "not applicable"],
        ["kvm_vcpu_map", "not applicable"],
      ],
    ],
    ["Z25b", "v5.4", [[null, "holds"]]],
    ["Z25b", "v6.13", [[null, "not applicable"]]],
  ] as const)("%s on %s: %j", (id, profile, came) => {
    expect(standing(id, profile)).toEqual(came);
  });
  test("every claim has rows on every profile", () => {
    for (const { id, rows } of CLAIMS)
      expect([...new Set(rows.map(({ profile }) => profile))].sort(), id).toEqual([
        "v5.3",
        "v5.4",
        "v6.13",
        "v6.15",
      ]);
  });
  test("it comes from the rows: without what a claim stands on, it falls", () => {
    expect(standing("C1", "v5.4", ["SeqChecked"])[0]).toEqual(["translations", "refuted"]);
    expect(standing("C2", "v5.4", ["VcpuMapHoldsReference"])).toEqual([[null, "refuted"]]);
    // The kernel is no longer one that the claim is not about.
    expect(standing("C6", "v6.13", ["PfnmapNotRefcounted"])[0]).toEqual(["page faults", "refuted"]);
  });
  test("a row without a verdict leaves it open, unless another one refutes it", () => {
    const cut = (rows: readonly Decided[], at: number) =>
      rows.map((one, i) => (i === at ? { ...one, result: { ...one.result, verdict: null } } : one));
    expect(standings(cut(decided("C2", "v5.4"), 0))[0]!.standing).toBe("open");
    expect(standings(cut(decided("C1'", "v5.4"), 0))[0]!.standing).toBe("refuted");
  });
});

describe("a claim depends on what it says", () => {
  test("C1: the check alone decides, so without it an early put is no longer safe", () => {
    const row = rowOf("C1", "claim-fault-translations", "v5.4", "holds");
    expect(decide(row).verdict).toBe("holds");
    expect(decide(row, ["SeqChecked"]).violations[0]!.name).toBe("sptes-match-the-host");
  });
  test("C1': the counterexample has the whole invalidation in it, and none without the host", () => {
    const row = rowOf("C1'", "claim-reference-vs-invalidation", "v5.4", "violated");
    const [first] = decide(row).violations;
    expect(first).toMatchObject({ shortest: true, switches: 2 });
    const alone = {
      ...row.scenario,
      actors: (s: unknown, m: never) => row.scenario.actors(s, m).slice(0, 1),
    };
    expect(explore(alone, { profile: "v5.4" }).outcomes).toEqual({ "none meanwhile": 1 });
  });
  test("C4: the block has another owner when the map writes to it", () => {
    const row = rowOf("C4", "host-dax-map-vs-truncate", "v6.15", "violated");
    expect(decide(row).violations[0]!.says).toContain("whose block belongs to another file since");
    expect(explore(row.scenario, { profile: "v6.15" }).verdict).toBe("holds");
  });
  test("C6: later kernels hold because they neither get nor put", () => {
    const row = rowOf("C6", "host-remapped-fault", "v6.13", "holds");
    expect(decide(row, ["PfnmapNotRefcounted"]).violations[0]!.says).toContain("which is free");
  });
});
