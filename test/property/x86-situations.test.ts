// Random situations of both dimensions, beyond those that anybody recorded: the core against the oracle, which is written
// from the manuals, in outcome, error code, addresses, flags, and entries of the page-modification log.
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Case, CaseRunner, agrees } from "../conformance/case.js";
import { showCase } from "../conformance/show.js";
import { caseOf } from "../oracle/question.js";
import { type Wanted, situation } from "../oracle/situation.js";

/** Situations of each kind; more of them with GUESTMMU_RUNS. */
const RUNS = Number(process.env["GUESTMMU_RUNS"] ?? 4000);

const runners = new Map<string, CaseRunner>();

function runnerFor(c: Case): CaseRunner {
  const key = `${c.model.maxphyaddr} ${c.model.page1G}`;
  const runner = runners.get(key) ?? new CaseRunner(c.model);
  runners.set(key, runner);
  return runner;
}

const list = fc.array(fc.nat({ max: 0xffff_ffff }), { maxLength: 600, size: "max" });

/** Outcomes that situations of each kind must have had, if the test is to mean something. */
const KINDS: Record<Wanted["nested"], readonly string[]> = {
  none: ["ok", "page-fault", "general-protection", "stack-fault"],
  ept: ["ok", "page-fault", "general-protection", "ept-violation", "ept-misconfiguration", "pml-full"],
  npt: ["ok", "page-fault", "general-protection", "nested-page-fault"],
};

test.each(["none", "ept", "npt"] as const)("nested tables: %s; the core and the oracle agree", (nested) => {
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(list, (choices) => {
      const { c, ends } = caseOf(situation(choices, { nested }));
      seen.set(ends, (seen.get(ends) ?? 0) + 1);
      const runner = runnerFor(c);
      let right = false;
      runner.run([c], (_, answer) => (right = agrees(c, answer)));
      if (right) return;
      const { answer, walks } = runner.one(c);
      throw new Error(showCase(c, answer, walks));
    }),
    { numRuns: RUNS, includeErrorInReport: true },
  );
  for (const kind of KINDS[nested]) expect(seen.get(kind) ?? 0, kind).toBeGreaterThan(RUNS / 400);
});
