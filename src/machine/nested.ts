/** Nested tables as an embedder names them: one description for a processor, a walker and the words of a walk. */

import {
  CR4_LA57,
  EFER_NXE,
  NP_ENABLE,
  Register,
  SECONDARY_MBEC,
  SECONDARY_PML,
} from "../core/layout.generated.js";
import { GuestMmuError } from "../errors.js";
import { hpa as toHpa, type HpaLike } from "./address.js";
import { checkOptions, flag, integer, show } from "./arguments.js";

/** Extended page tables of Intel (SDM vol. 3C 29.3). */
export interface EptPaging {
  readonly kind: "ept";
  /**
   * The EPT pointer as the VMCS has it (SDM vol. 3C 25.6.11): bits 2:0 memory type (0 or 6), 5:3 levels less one (3 or 4), 6
   * accessed and dirty flags, 51:12 the top table.
   */
  readonly eptp: bigint;
  /** Mode-based execute control: X for supervisor-mode addresses, XU (bit 10) for user-mode ones. Default false. */
  readonly modeBasedExecute?: boolean;
}

/** Nested paging of AMD (APM vol. 2 15.25). */
export interface NptPaging {
  readonly kind: "npt";
  /** nCR3 of the VMCB: host-physical address of the top table. Bits 11:0 do not matter. */
  readonly ncr3: HpaLike;
  /** Levels of the host's paging, which the nested tables follow (CR4.LA57 of the host). Default 4. */
  readonly levels?: 4 | 5;
  /** EFER.NXE of the host: without it, bit 63 of a nested entry is reserved. Default true. */
  readonly nxe?: boolean;
}

/** Tables of a second dimension: guest-physical to host-physical. */
export type NestedPaging = EptPaging | NptPaging;

/** A page-modification log of EPT (SDM vol. 3C 29.3.6). */
export interface ModificationLog {
  /** Host-physical address of its page. */
  readonly address: HpaLike;
  /** Index of the next entry. Default 511. */
  readonly index?: number;
}

function usage(message: string, hint: string): GuestMmuError {
  return new GuestMmuError("USAGE", { message, hint });
}

/** What `given` says, checked, with defaults filled in. Errors: `USAGE`, `ADDRESS_RANGE`. */
export function nestedFrom(given: unknown): Required<EptPaging> | Required<NptPaging> | null {
  if (given === undefined || given === null) return null;
  const { kind } = given as { readonly kind?: unknown };
  if (kind === "ept") {
    checkOptions("nested paging", given, ["kind", "eptp", "modeBasedExecute"]);
    const { eptp, modeBasedExecute } = given as Partial<EptPaging>;
    if (typeof eptp !== "bigint" || eptp < 0n || eptp >> 64n !== 0n) {
      throw usage(
        `eptp is ${show(eptp)}: it has to be a bigint of at most 64 bits.`,
        "Pass the EPT pointer.",
      );
    }
    if (eptp === 0n) throw usage("eptp is 0: that is no EPT.", "Pass the EPT pointer, or no nested paging.");
    return { kind, eptp, modeBasedExecute: flag("modeBasedExecute", modeBasedExecute, false) };
  }
  if (kind !== "npt") {
    throw usage(
      `Nested paging is ${show(given)} of kind ${show(kind)}.`,
      'Pass { kind: "ept", eptp } or { kind: "npt", ncr3 }, or null for no second dimension.',
    );
  }
  checkOptions("nested paging", given, ["kind", "ncr3", "levels", "nxe"]);
  const { ncr3, levels, nxe } = given as Partial<NptPaging>;
  if (ncr3 === undefined) throw usage("nested paging of AMD has no ncr3.", "Pass nCR3 of the VMCB.");
  return {
    kind,
    ncr3: toHpa(ncr3),
    levels: integer("levels", levels ?? 4, 4, 5) as 4 | 5,
    nxe: flag("nxe", nxe, true),
  };
}

/** The registers that stand for nested tables, in the order in which to write them. Errors: `USAGE`, `ADDRESS_RANGE`. */
export function nestedRegisters(
  nested: NestedPaging | null,
  log: ModificationLog | null = null,
): readonly (readonly [Register, bigint])[] {
  const checked = nestedFrom(nested);
  if (checked?.kind === "npt") {
    const control = NP_ENABLE | (checked.nxe ? EFER_NXE : 0n) | (checked.levels === 5 ? CR4_LA57 : 0n);
    return [
      [Register.Eptp, 0n],
      [Register.SecondaryControls, 0n],
      [Register.Ncr3, BigInt(checked.ncr3)],
      [Register.NestedControl, control],
    ];
  }
  if (log !== null) checkOptions("page-modification log", log, ["address", "index"]);
  const modeBased = checked?.modeBasedExecute ? SECONDARY_MBEC : 0n;
  const tables = [
    [Register.NestedControl, 0n],
    [Register.Eptp, checked?.eptp ?? 0n],
  ] as const;
  if (log === null) return [...tables, [Register.SecondaryControls, modeBased]];
  return [
    ...tables,
    [Register.PmlAddress, toHpa(log.address)],
    [Register.PmlIndex, BigInt(integer("index of the log", log.index ?? 511, 0, 0xffff))],
    [Register.SecondaryControls, modeBased | SECONDARY_PML],
  ];
}
