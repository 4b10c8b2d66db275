// A situation in the terms of the core: register values, and the case that the harness of the vectors runs.
import * as layout from "../../src/core/layout.generated.js";
import type { Case, Expected } from "../conformance/case.js";
import { OracleMemory } from "./memory.js";
import type { Nested } from "./nested.js";
import { type Answer, type State, access } from "./processor.js";
import type { Situation } from "./situation.js";
import { ACCESS } from "./tables.js";

const { Outcome, Register } = layout;

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

/** Register values that make the state. */
export function registersOf({ control, paging, cr3, nested }: State): Map<number, bigint> {
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

/** The oracle's answer as the harness compares it. */
export function expectedOf(answer: Answer): Expected {
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

/** What was asked, and what the oracle found. */
export interface Asked {
  state: State;
  gva: bigint;
  size: number;
  /** `Access`. */
  kind: number;
  /** As before the access. */
  registers: Map<number, bigint>;
  memory: OracleMemory;
  verdict: Answer;
}

export function caseOfAnswer({ state, gva, size, kind, registers, memory, verdict }: Asked): Case {
  const expected = expectedOf(verdict);
  if (state.nested?.kind === "ept") expected.pmlIndex = state.nested.log?.index ?? 0;
  return {
    origin: { file: "situation", number: 0, line: "" },
    model: { page1G: state.control.page1G, maxphyaddr: state.control.width },
    access: kind,
    size,
    gva,
    registers,
    words: [...memory.words.values()].map(({ place, ...word }) => ({ ...word, ...place })),
    expected,
  };
}

/** The situation as a case, with what the oracle says of it, and in which way it ends. */
export function caseOf({ state, address, size, access: name, origin }: Situation): {
  c: Case;
  ends: Answer["kind"];
} {
  const memory = new OracleMemory(origin);
  const registers = registersOf(state);
  const verdict = access(state, address, size, name, memory);
  const kind = ACCESS[name];
  return {
    c: caseOfAnswer({ state, gva: address, size, kind, registers, memory, verdict }),
    ends: verdict.kind,
  };
}
