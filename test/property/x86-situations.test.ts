// Random situations of both dimensions, beyond those that anybody recorded: the core against the oracle, which is written
// from the manuals, in outcome, error code, addresses, flags, and entries of the page-modification log.
import fc from "fast-check";
import { expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { type Case, CaseRunner, type Expected, agrees } from "../conformance/case.js";
import { showCase } from "../conformance/show.js";
import { OracleMemory } from "../oracle/memory.js";
import type { Nested } from "../oracle/nested.js";
import { type Answer, type State, access } from "../oracle/processor.js";
import { type Situation, type Wanted, situation } from "../oracle/situation.js";
import { ACCESS } from "../oracle/tables.js";

const { Outcome, Register } = layout;

/** Situations of each kind; more of them with GUESTMMU_RUNS. */
const RUNS = Number(process.env["GUESTMMU_RUNS"] ?? 4000);

const when = (condition: boolean, bits: bigint): bigint => (condition ? bits : 0n);

function nestedRegisters(nested: Nested | null): [number, bigint][] {
  if (nested === null) return [];
  if (nested.kind === "npt") {
    const control =
      layout.NP_ENABLE | when(nested.nxe, layout.EFER_NXE) | when(nested.levels === 5, layout.CR4_LA57);
    return [
      [Register.NestedControl, control],
      [Register.Ncr3, nested.ncr3],
    ];
  }
  return [
    [Register.Eptp, nested.eptp],
    [
      Register.EptVpidCap,
      layout.EPT_CAP_5LEVEL |
        when(nested.executeOnly, layout.EPT_CAP_EXECUTE_ONLY) |
        when(nested.advanced, layout.EPT_CAP_ADVANCED),
    ],
    [
      Register.SecondaryControls,
      when(nested.modeBased, layout.SECONDARY_MBEC) | when(nested.log !== null, layout.SECONDARY_PML),
    ],
    [Register.PmlAddress, nested.log?.address ?? 0n],
    [Register.PmlIndex, BigInt(nested.log?.index ?? 0)],
  ];
}

function registersOf({ control, paging, cr3, nested }: State): Map<number, bigint> {
  return new Map([
    [Register.Cr0, layout.CR0_PE | when(paging, layout.CR0_PG) | when(control.wp, layout.CR0_WP)],
    [Register.Cr3, cr3],
    [
      Register.Cr4,
      layout.CR4_PAE |
        when(control.la57, layout.CR4_LA57) |
        when(control.smep, layout.CR4_SMEP) |
        when(control.smap, layout.CR4_SMAP) |
        when(control.pke, layout.CR4_PKE) |
        when(control.pks, layout.CR4_PKS),
    ],
    [Register.Efer, layout.EFER_LME | when(control.nxe, layout.EFER_NXE)],
    [Register.Rflags, when(control.ac, layout.RFLAGS_AC)],
    [Register.Cpl, BigInt(control.cpl)],
    [Register.Pkru, BigInt(control.pkru)],
    [Register.Pkrs, BigInt(control.pkrs)],
    ...nestedRegisters(nested),
  ]);
}

const NOTHING: Expected = { outcome: 0, error: null, cr2: null, gpa: null, pa: null, secondPa: null };

function expectedOf(answer: Answer): Expected {
  switch (answer.kind) {
    case "ok":
      return { ...NOTHING, outcome: Outcome.Ok, pa: answer.pa, secondPa: answer.secondPa };
    case "page-fault":
      return {
        ...NOTHING,
        outcome: Outcome.PageFault,
        error: BigInt(answer.error),
        cr2: answer.cr2,
      };
    case "general-protection":
      return { ...NOTHING, outcome: Outcome.GeneralProtection, error: 0n };
    case "stack-fault":
      return { ...NOTHING, outcome: Outcome.StackFault, error: 0n };
    case "ept-violation":
      return { ...NOTHING, outcome: Outcome.EptViolation, gpa: answer.gpa, error: answer.qualification };
    case "ept-misconfiguration":
      return { ...NOTHING, outcome: Outcome.EptMisconfiguration, gpa: answer.gpa };
    case "pml-full":
      return { ...NOTHING, outcome: Outcome.PmlFull, gpa: answer.gpa };
    case "nested-page-fault":
      return { ...NOTHING, outcome: Outcome.NestedPageFault, gpa: answer.gpa, error: answer.info };
  }
}

/** The situation as a case, with what the oracle says of it. */
function caseOf({ state, address, size, access: name, origin }: Situation): { c: Case; kind: string } {
  const memory = new OracleMemory(origin);
  const registers = registersOf(state);
  const answer = access(state, address, size, name, memory);
  const expected = expectedOf(answer);
  if (state.nested?.kind === "ept") expected.pmlIndex = state.nested.log?.index ?? 0;
  const words = [...memory.words.values()].map(({ pa, place, value, must, may }) => ({
    pa,
    value,
    ...place,
    must,
    may,
  }));
  const model = { page1G: state.control.page1G, maxphyaddr: state.control.width };
  const origin_ = { file: "situation", number: 0, line: "" };
  return {
    c: { origin: origin_, model, access: ACCESS[name], size, gva: address, registers, words, expected },
    kind: answer.kind,
  };
}

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
      const { c, kind } = caseOf(situation(choices, { nested }));
      seen.set(kind, (seen.get(kind) ?? 0) + 1);
      const runner = runnerFor(c);
      let right = false;
      runner.run([c], (_, answer) => (right = agrees(c, answer)));
      if (right) return;
      const { answer, walks } = runner.one(c);
      throw new Error(showCase(c, answer, walks));
    }),
    { numRuns: RUNS, includeErrorInReport: true } as fc.Parameters<[number[]]>,
  );
  for (const kind of KINDS[nested]) expect(seen.get(kind) ?? 0, kind).toBeGreaterThan(RUNS / 400);
});
