import { describe, expect, test } from "vitest";
import { type RuleName } from "../../src/core/rules.js";
import { explore } from "../../src/explore/explore.js";
import { CLAIMS, type ClaimRow } from "../../src/scenarios/claims.js";
import { SCENARIOS } from "../../src/scenarios/index.js";

function decide({ scenario, profile, without }: ClaimRow, more: readonly RuleName[] = []) {
  return explore(scenario, { profile, without: [...without, ...more], maxTime: 60_000 });
}

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
      const { verdict } = decide(row);
      const what = `${row.scenario.name} ${row.profile} ${row.without.join(",")}`;
      expect({ what, verdict }).toEqual({ what, verdict: row.expected });
    }
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
