/** Walks in words: each entry that a translation read, where it lay, and its flags by the names of the manuals. */

import {
  BATCH_FAILED,
  EPT_A,
  EPT_D,
  EPT_IPAT,
  EPT_PS,
  EPT_R,
  EPT_SUPPRESS_VE,
  EPT_W,
  EPT_X,
  EPT_XU,
  MODE_EPT4,
  MODE_EPT5,
  Outcome,
  PTE_A,
  PTE_D,
  PTE_G,
  PTE_P,
  PTE_PCD,
  PTE_PS,
  PTE_PWT,
  PTE_RW,
  PTE_US,
  PTE_XD,
} from "../core/layout.generated.js";
import { type AccessFault, type WalkRecord } from "./access-result.js";
import { type Gpa, type Hpa } from "./address.js";

/** Flags of an entry of the ordinary format (SDM vol. 3A 4.5) and of an EPT entry (vol. 3C 29.3.2), highest last. */
export type GuestFlag = "P" | "RW" | "US" | "PWT" | "PCD" | "A" | "D" | "PS" | "G" | "XD";
export type EptFlag = "R" | "W" | "X" | "IPAT" | "PS" | "A" | "D" | "XU" | "SVE";

const GUEST_FLAGS: readonly (readonly [bigint, GuestFlag])[] = [
  [PTE_P, "P"],
  [PTE_RW, "RW"],
  [PTE_US, "US"],
  [PTE_PWT, "PWT"],
  [PTE_PCD, "PCD"],
  [PTE_A, "A"],
  [PTE_D, "D"],
  [PTE_PS, "PS"],
  [PTE_G, "G"],
  [PTE_XD, "XD"],
];
const EPT_FLAGS: readonly (readonly [bigint, EptFlag])[] = [
  [EPT_R, "R"],
  [EPT_W, "W"],
  [EPT_X, "X"],
  [EPT_IPAT, "IPAT"],
  [EPT_PS, "PS"],
  [EPT_A, "A"],
  [EPT_D, "D"],
  [EPT_XU, "XU"],
  [EPT_SUPPRESS_VE, "SVE"],
];

interface Step {
  /** 4 for a PML4 entry, 1 for one of a page table. */
  readonly level: number;
  /** Address of the table: guest-physical in the guest's dimension, host-physical in the nested one. */
  readonly table: bigint;
  /** Index of the entry in the table, 0 to 511. */
  readonly index: number;
  readonly entry: bigint;
}
interface OrdinaryStep extends Step {
  readonly format: "ordinary";
  readonly flags: readonly GuestFlag[];
}
interface EptStep extends Step {
  readonly format: "ept";
  readonly flags: readonly EptFlag[];
}
/** One entry that a walk read. Nested tables have EPT's format, or with AMD nested paging the ordinary one. */
export type WalkStep =
  (OrdinaryStep & { readonly dimension: "guest" | "nested" }) | (EptStep & { readonly dimension: "nested" });

/** Where an address leads. */
export interface Translated {
  readonly kind: "ok";
  readonly gpa: Gpa;
  readonly hpa: Hpa;
  /** log2 of the size of the translation, the smaller of both dimensions: 12, 21 or 30. */
  readonly pageShift: number;
}

/** A translation, level by level. */
export interface Translation {
  readonly result: Translated | AccessFault;
  /** In the order in which a processor reads them; a nested walk comes before the entry it is needed for. */
  readonly steps: readonly WalkStep[];
}

function namesOf<T>(entry: bigint, table: readonly (readonly [bigint, T])[]): readonly T[] {
  return table.filter(([bit]) => (entry & bit) !== 0n).map(([, name]) => name);
}

/** The steps of the last recorded walk. */
export function stepsOf(record: WalkRecord): readonly WalkStep[] {
  const ept = record.nestedMode === MODE_EPT4 || record.nestedMode === MODE_EPT5;
  return [...record.steps()].map(({ entry, address, level, nested }) => {
    const step = { level, table: address & ~0xfffn, index: Number((address & 0xfffn) >> 3n), entry };
    if (nested && ept) {
      return { ...step, dimension: "nested", format: "ept", flags: namesOf(entry, EPT_FLAGS) };
    }
    const dimension = nested ? "nested" : "guest";
    return { ...step, dimension, format: "ordinary", flags: namesOf(entry, GUEST_FLAGS) };
  });
}

/** Why an address of a batch has no translation. */
export interface BatchFailure {
  readonly kind:
    | "page-fault"
    | "general-protection"
    | "stack-fault"
    | "mmio"
    | "ept-violation"
    | "ept-misconfiguration"
    | "nested-page-fault"
    | "pml-full"
    | "missing"
    | "other";
  /** #PF error code, exit qualification, or EXITINFO1 (up to bit 33). */
  readonly error: number;
}

const FAILURE_KINDS: Readonly<Record<number, BatchFailure["kind"]>> = {
  [Outcome.PageFault]: "page-fault",
  [Outcome.GeneralProtection]: "general-protection",
  [Outcome.StackFault]: "stack-fault",
  [Outcome.Mmio]: "mmio",
  [Outcome.EptViolation]: "ept-violation",
  [Outcome.EptMisconfiguration]: "ept-misconfiguration",
  [Outcome.NestedPageFault]: "nested-page-fault",
  [Outcome.PmlFull]: "pml-full",
  [Outcome.Missing]: "missing",
};

/** Takes one result of `vcpu.translateMany` apart: null if it is a host-physical address. */
export function failureOf(result: bigint): BatchFailure | null {
  if ((result & BATCH_FAILED) === 0n) return null;
  const kind = FAILURE_KINDS[Number(result & 0xffn)] ?? "other";
  return { kind, error: Number((result & ~BATCH_FAILED) >> 16n) };
}
