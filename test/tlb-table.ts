// What each invalidation takes away, as data: docs/tlb.md shows it, test/unit/x86-tlb-table.test.ts runs every cell in the
// core. A cell names what an entry has to have in common with the operation to be dropped:
//
//   V  the VPID      P  the PCID      A  the address      E  the EP4TA
//
// `null`: nothing is dropped. "": everything is, whatever it bears.

import * as layout from "../src/core/layout.generated.js";
import type { CoreInstance } from "./core-instance.js";

const { Access, Register } = layout;

/** Kinds of entries, in the order of the columns. */
export const KINDS = [
  "linear",
  "linear global",
  "linear structure",
  "combined",
  "combined global",
  "combined structure",
  "guest-physical",
  "guest-physical structure",
] as const;
export type Kind = (typeof KINDS)[number];

export type Cell = string | null;

export interface Row {
  readonly name: string;
  /** Where the manual says so: SDM, December 2024, unless another one is named. */
  readonly source: string;
  readonly cells: readonly Cell[];
  /** The cells that the manual asks for, where the core drops more. */
  readonly manual?: readonly Cell[];
  /** The VPID that the operation is about; 1 if not given. */
  readonly vpid?: bigint;
  /** CR4.PCIDE while the entries are made; true if not given. Without, there is PCID 000H only. */
  readonly pcide?: boolean;
  /** Which of the columns this operation can meet; all if not given. */
  readonly only?: "linear" | "nested";
  readonly run: (m: CoreInstance, at: Target) => void;
}

/** What the operation is aimed at. */
export interface Target {
  readonly gva: bigint;
  readonly vpid: bigint;
  readonly pcid: bigint;
  readonly eptp: bigint;
  readonly cr3: bigint;
  /** CR4 while the entries are made. */
  readonly cr4: bigint;
  /** Makes an access to `gva` fault: in the guest's tables, or in EPT. */
  readonly fault: (dimension: "guest" | "nested") => void;
}

const NO_FLUSH = layout.CR3_NO_FLUSH;
const every = (linear: Cell, global: Cell, structure: Cell, guestPhysical: Cell = null): readonly Cell[] => [
  ...[linear, global, structure],
  ...[linear, global, structure],
  ...[guestPhysical, guestPhysical],
];
const INVALIDATE = "vol. 3A 4.10.4.1, vol. 3C 29.4.3.1";
const NOT = "vol. 3A 4.10.4.2, 4.10.4.3";
const VMX = "vol. 3C 29.4.3.1";

export const ROWS: readonly Row[] = [
  {
    name: "MOV to CR3, CR4.PCIDE = 0",
    source: INVALIDATE,
    cells: every("V", null, "V"),
    pcide: false,
    run: (m, { cr3 }) => m.set(Register.Cr3, cr3),
  },
  {
    name: "MOV to CR3, CR4.PCIDE = 1, bit 63 = 0",
    source: INVALIDATE,
    cells: every("VP", null, "VP"),
    run: (m, { cr3, pcid }) => m.set(Register.Cr3, cr3 | pcid),
  },
  {
    name: "MOV to CR3, CR4.PCIDE = 1, bit 63 = 1",
    source: INVALIDATE,
    cells: every(null, null, null),
    run: (m, { cr3, pcid }) => m.set(Register.Cr3, cr3 | pcid | NO_FLUSH),
  },
  {
    name: "MOV to CR4 that changes PGE",
    source: INVALIDATE,
    cells: every("V", "V", "V"),
    run: (m, { cr4 }) => m.set(Register.Cr4, cr4 & ~layout.CR4_PGE),
  },
  {
    name: "MOV to CR4 that clears PCIDE",
    source: INVALIDATE,
    cells: every("V", "V", "V"),
    run: (m, { cr4 }) => m.set(Register.Cr4, cr4 & ~layout.CR4_PCIDE),
  },
  {
    name: "MOV to CR4 that sets SMEP",
    source: INVALIDATE,
    cells: every("VP", "VP", "VP"),
    run: (m, { cr4 }) => m.set(Register.Cr4, cr4 | layout.CR4_SMEP),
  },
  {
    name: "MOV to CR4 that changes SMAP, PKE or PKS, or clears SMEP",
    source: INVALIDATE,
    cells: every(null, null, null),
    run: (m, { cr4 }) => m.set(Register.Cr4, cr4 | layout.CR4_SMAP | layout.CR4_PKE | layout.CR4_PKS),
  },
  {
    name: "MOV to CR0 that clears PG",
    source: INVALIDATE,
    cells: every("V", "V", "V"),
    pcide: false,
    run: (m) => m.set(Register.Cr0, layout.CR0_PE),
  },
  {
    name: "MOV to CR0 that changes WP; WRMSR to EFER; WRPKRU; WRMSR to IA32_PKRS; RFLAGS.AC; CPL",
    source: INVALIDATE,
    cells: every(null, null, null),
    run: (m) => {
      m.set(Register.Cr0, layout.CR0_PE | layout.CR0_PG | layout.CR0_WP);
      m.set(Register.Efer, layout.EFER_LME);
      m.set(Register.Pkru, 0x5555_5555n);
      m.set(Register.Pkrs, 0x5555_5555n);
      m.set(Register.Rflags, layout.RFLAGS_AC);
      m.set(Register.Cpl, 3n);
    },
  },
  {
    name: "INVLPG",
    source: INVALIDATE,
    cells: every("VPA", "VA", "VP"),
    run: (m, { gva }) => m.core.invlpg(0, gva),
  },
  {
    name: "INVPCID 0, individual address",
    source: INVALIDATE,
    cells: every("VPA", null, "VPA"),
    run: (m, { pcid, gva }) => m.core.invpcid(0, 0n, pcid, gva),
  },
  {
    name: "INVPCID 1, single context",
    source: INVALIDATE,
    cells: every("VP", null, "VP"),
    run: (m, { pcid }) => m.core.invpcid(0, 1n, pcid, 0n),
  },
  {
    name: "INVPCID 2, all contexts with global translations",
    source: INVALIDATE,
    cells: every("V", "V", "V"),
    run: (m) => m.core.invpcid(0, 2n, 0n, 0n),
  },
  {
    name: "INVPCID 3, all contexts",
    source: INVALIDATE,
    cells: every("V", null, "V"),
    run: (m) => m.core.invpcid(0, 3n, 0n, 0n),
  },
  {
    name: "INVVPID 0, individual address",
    source: VMX,
    cells: every("VA", "VA", "VA"),
    run: (m, { vpid, gva }) => m.core.invvpid(0, 0n, vpid, gva),
  },
  {
    name: "INVVPID 1, single context",
    source: VMX,
    cells: every("V", "V", "V"),
    run: (m, { vpid }) => m.core.invvpid(0, 1n, vpid, 0n),
  },
  {
    name: "INVVPID 2, all contexts (VPID 0000H aside)",
    source: VMX,
    cells: every("", "", ""),
    run: (m) => m.core.invvpid(0, 2n, 0n, 0n),
  },
  {
    name: "INVVPID 3, single context without global translations",
    source: VMX,
    cells: every("V", null, "V"),
    run: (m, { vpid }) => m.core.invvpid(0, 3n, vpid, 0n),
  },
  {
    name: "INVEPT 1, single context",
    source: VMX,
    cells: [null, null, null, "E", "E", "E", "E", "E"],
    run: (m, { eptp }) => m.core.invept(0, 1n, eptp),
  },
  {
    name: "INVEPT 2, all contexts",
    source: VMX,
    cells: [null, null, null, "", "", "", "", ""],
    run: (m) => m.core.invept(0, 2n, 0n),
  },
  {
    name: 'VM entry, VM exit with "enable VPID" 0: VPID 0000H',
    source: VMX,
    cells: every("V", "V", "V"),
    vpid: 0n,
    run: (m) => m.core.vmTransition(0),
  },
  {
    name: 'VM entry, VM exit with "enable VPID" 1; another VPID',
    source: "vol. 3C 29.4.3.2",
    cells: every(null, null, null),
    run: (m) => m.set(Register.Vpid, 7n),
  },
  {
    name: "VM entry with another EPT pointer",
    source: "vol. 3C 29.4.3.2",
    cells: every(null, null, null),
    only: "nested",
    run: (m) => m.set(Register.Eptp, 0x3f_0000n | layout.EPTP_WB_4LEVEL | layout.EPTP_AD),
  },
  {
    name: "#PF at the address",
    source: INVALIDATE,
    cells: every("VPA", "VA", "VPA"),
    run: (m, { fault, gva }) => {
      fault("guest");
      m.core.translate(0, gva, Access.Write, 1);
    },
  },
  {
    name: "EPT violation at the address",
    source: VMX,
    cells: [null, null, null, "VPA", "VA", "VPA", "AE", "AE"],
    manual: [null, null, null, "VPAE", "VAE", "VPAE", "AE", "AE"],
    only: "nested",
    run: (m, { fault, gva }) => {
      fault("nested");
      m.core.translate(0, gva, Access.Read, 1);
    },
  },
  {
    name: "A change of an entry in memory",
    source: NOT,
    cells: every(null, null, null),
    run: (_m, { fault }) => fault("guest"),
  },
  {
    name: "KVM's flush (KVM_REQ_TLB_FLUSH, as `tlbFlush(All)`)",
    source: "INVEPT 2 and INVVPID of all",
    cells: every("", "", "", ""),
    run: (m) => m.core.tlbFlush(0, layout.Flush.All, 0n),
  },
];

/** A cell for readers. */
export function cellText(cell: Cell): string {
  if (cell === null) return "-";
  return cell === "" ? "all" : cell;
}

/** The table of docs/tlb.md. */
export function tableText(): string {
  const head = ["Operation", ...KINDS.map((k) => k.replace("structure", "struct.")), "Source"];
  const lines = ROWS.map(({ name, cells, manual, source }) => [
    name,
    ...cells.map((cell, i) => {
      const asked = manual ? manual[i]! : cell;
      return asked === cell ? cellText(cell) : `${cellText(asked)} (core: ${cellText(cell)})`;
    }),
    source,
  ]);
  const widths = head.map((text, i) => Math.max(text.length, 3, ...lines.map((line) => line[i]!.length)));
  const show = (line: readonly string[]): string =>
    `| ${line.map((text, i) => text.padEnd(widths[i]!)).join(" | ")} |`;
  return [show(head), show(widths.map((n) => "-".repeat(n))), ...lines.map(show)].join("\n");
}
