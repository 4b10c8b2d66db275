// Tables for the tests that compare the core with the oracle: where the walk of one address finds its entries, and the
// control state as the core's registers hold it.
import * as layout from "../../src/core/layout.generated.js";
import type { CoreInstance } from "../core-instance.js";
import type { AccessName, Control } from "./paging.js";

const { Access, Register } = layout;

export const ACCESS: Record<AccessName, number> = {
  read: Access.Read,
  write: Access.Write,
  fetch: Access.Fetch,
  modify: Access.Modify,
  "implicit-read": Access.ImplicitRead,
  "implicit-write": Access.ImplicitWrite,
  "stack-read": Access.StackRead,
  "stack-write": Access.StackWrite,
};
export const ACCESS_NAMES = Object.keys(ACCESS) as AccessName[];

export const CONTROL: Control = {
  wp: false,
  smep: false,
  smap: false,
  pke: false,
  pks: false,
  nxe: false,
  ac: false,
  cpl: 0,
  la57: false,
  pkru: 0,
  pkrs: 0,
  width: 40,
  page1G: true,
};

/** Puts the vCPU into this control state, its TLB empty. */
export function enter(machine: CoreInstance, control: Control, cr3: bigint): void {
  const on = (condition: boolean, value: bigint): bigint => (condition ? value : 0n);
  machine.core.cpuReset(0);
  machine.set(Register.Efer, layout.EFER_LME | on(control.nxe, layout.EFER_NXE));
  machine.set(
    Register.Cr4,
    layout.CR4_PAE |
      on(control.la57, layout.CR4_LA57) |
      on(control.smep, layout.CR4_SMEP) |
      on(control.smap, layout.CR4_SMAP) |
      on(control.pke, layout.CR4_PKE) |
      on(control.pks, layout.CR4_PKS),
  );
  machine.set(Register.Cr0, layout.CR0_PE | layout.CR0_PG | on(control.wp, layout.CR0_WP));
  machine.set(Register.Cr3, cr3);
  machine.set(Register.Rflags, on(control.ac, layout.RFLAGS_AC));
  machine.set(Register.Cpl, BigInt(control.cpl));
  machine.set(Register.Pkru, BigInt(control.pkru >>> 0));
  machine.set(Register.Pkrs, BigInt(control.pkrs >>> 0));
}

/** The control state in a line. */
export function showControl(control: Control): string {
  const names = (["wp", "smep", "smap", "pke", "pks", "nxe", "ac", "la57"] as const).filter(
    (n) => control[n],
  );
  return [control.cpl === 3 ? "user" : "supervisor", ...names].join(" ");
}

/** The bits of a guest's entry that decide, by name. */
export const ENTRY_BITS: readonly [string, bigint][] = [
  ["p", layout.PTE_P],
  ["rw", layout.PTE_RW],
  ["us", layout.PTE_US],
  ["a", layout.PTE_A],
  ["d", layout.PTE_D],
  ["ps", layout.PTE_PS],
  ["g", layout.PTE_G],
  ["xd", layout.PTE_XD],
];

/** An entry's bits: "pte.p pte.rw". */
export function showEntry(name: string, entry: bigint): string {
  return ENTRY_BITS.filter(([, mask]) => entry & mask)
    .map(([bit]) => `${name}.${bit}`)
    .join(" ");
}
