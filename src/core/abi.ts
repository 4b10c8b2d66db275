/**
 * The exports of the core as data: parameters and result of each, in the order of assembly/abi/. The typed calls of
 * `Core` are derived from this table, and test/unit/core-abi.test.ts compares it, name by name and both ways, with the
 * built modules and with the declarations that the compiler emits.
 */

/** A 32-bit integer, unsigned unless the table says otherwise; enumerators and counts. */
type Kind = "u32" | "u64" | "bool";
type ResultKind = Kind | "void";

interface Signature {
  readonly parameters: readonly Kind[];
  readonly result: ResultKind;
}

function signature<const P extends readonly Kind[], const R extends ResultKind>(parameters: P, result: R) {
  return { parameters, result } as const satisfies Signature;
}

type Value<K extends ResultKind> = K extends "u64"
  ? bigint
  : K extends "u32"
    ? number
    : K extends "bool"
      ? boolean
      : void;

type Parameters<P extends readonly Kind[]> = { -readonly [I in keyof P]: P[I] extends "bool" ? boolean : Value<P[I]> };

/** A table of signatures as an object of functions. */
export type Calls<T extends Record<string, Signature>> = {
  readonly [K in keyof T]: (...values: Parameters<T[K]["parameters"]>) => Value<T[K]["result"]>;
};

/** What every module of the core exports. */
export const ABI = {
  // machine
  plan: signature([], "u32"),
  create: signature([], "void"),
  attach: signature([], "u32"),
  // kvm
  kvmSetMemslot: signature(["u32", "u32", "u64", "u64", "u64", "u32"], "u32"),
  kvmSlotCount: signature([], "u32"),
  kvmSlotAt: signature(["u32"], "u32"),
  kvmGeneration: signature([], "u32"),
  kvmInvalidateSeq: signature([], "u32"),
  kvmInvalidateInProgress: signature([], "u32"),
  kvmActiveInvalidations: signature([], "u32"),
  kvmTableCount: signature([], "u32"),
  kvmLeafCount: signature(["u32"], "u64"),
  kvmLeaf: signature(["u32", "u64"], "u64"),
  kvmVcpuRoot: signature(["u32"], "u32"),
  kvmUnloadAll: signature(["u32"], "void"),
  // vcpu
  vcpuLoad: signature(["u32", "u64", "u32", "u32"], "u32"),
  vcpuStore: signature(["u32", "u64", "u32", "u64"], "u32"),
  vcpuModify: signature(["u32", "u64", "u32", "u32", "u64", "u64"], "u32"),
  vcpuValue: signature(["u32"], "u64"),
  vcpuRunRecords: signature(["u32", "u32", "u32"], "u32"),
  vcpuInterrupt: signature(["u32"], "void"),
  vcpuResume: signature(["u32"], "void"),
} as const;

/** What the lab module exports beside `ABI`: the parts of the protocol one by one. */
export const LAB_ABI = {
  labFaultBegin: signature(["u32", "u64", "u32"], "bool"),
  labSnapshot: signature(["u32"], "void"),
  labResolve: signature(["u32"], "u32"),
  labCommit: signature(["u32"], "u32"),
  labFaultEnd: signature(["u32"], "void"),
  labInvalidateStart: signature(["u32", "u64", "u64"], "void"),
  labInvalidateEnd: signature(["u32", "u64", "u64"], "void"),
} as const;

export type CoreCalls = Calls<typeof ABI>;
export type LabCalls = Calls<typeof LAB_ABI>;
