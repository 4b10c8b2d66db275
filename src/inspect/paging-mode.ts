/** Which kind of paging a CPU was in, from what an image's note says of it; and which of them are walked here. */

import {
  CR0_PG,
  CR0_WP,
  CR4_LA57,
  CR4_PAE,
  CR4_PCIDE,
  CR4_PKE,
  CR4_PKS,
  CR4_SMAP,
  CR4_SMEP,
  EFER_LMA,
  EFER_LME,
  EFER_NXE,
} from "../core/layout.generated.js";
import { GuestMmuError } from "../errors.js";
import { type CpuNote } from "../images/types.js";
import { hex } from "./address-text.js";

/** The paging modes of SDM vol. 3A, table 4-1. */
export type PagingMode = "none" | "32-bit" | "PAE" | "4-level" | "5-level";

/** A mode, and how it was told. */
export interface ToldMode {
  readonly mode: PagingMode;
  /** A clause: `CR0.PG and CR4.PAE are set, CS.L is set: long mode`. */
  readonly because: string;
}

/** L of a code segment: bit 53 of the descriptor, which the note keeps as bits 23:8 for 55:40. */
const SEGMENT_L = 1 << 21;
/** Bits of EFER while long mode is active and data can be not executable; the note has no EFER. */
const LONG_MODE_EFER = EFER_LME | EFER_LMA;

const has = (value: bigint, bit: bigint): boolean => (value & bit) !== 0n;

/**
 * Why the CPU of a note must be in long mode; null if nothing says so. The note has no EFER. CS.L does not exist outside
 * of long mode; CR4.LA57 and PCIDE cannot be set outside of it (SDM vol. 3A 4.1.2), and there registers have 32 bits.
 */
function longModeEvidence({ cr3, cr4, segments, registers }: CpuNote): string | null {
  if (segments.cs.flags & SEGMENT_L) return "CS.L is set";
  if (has(cr4, CR4_LA57)) return "CR4.LA57 is set";
  if (has(cr4, CR4_PCIDE)) return "CR4.PCIDE is set";
  if (cr3 >> 32n !== 0n) return "CR3 has more than 32 bits";
  const wide = (["gdt", "idt", "tr"] as const).find((name) => segments[name].base >> 32n !== 0n);
  if (wide !== undefined) return `the base of ${wide.toUpperCase()} has more than 32 bits`;
  return registers.rip >> 32n !== 0n ? "RIP has more than 32 bits" : null;
}

/**
 * The paging mode of a CPU.
 *
 * @param efer what `--efer` gives; its LMA then decides between PAE paging and the modes of long mode.
 */
export function pagingModeOf(note: CpuNote, efer?: bigint): ToldMode {
  const { cr0, cr4 } = note;
  if (!has(cr0, CR0_PG)) return { mode: "none", because: "CR0.PG is clear" };
  if (!has(cr4, CR4_PAE)) return { mode: "32-bit", because: "CR0.PG is set, CR4.PAE is clear" };
  const evidence =
    efer === undefined ? longModeEvidence(note) : has(efer, EFER_LMA) ? "EFER.LMA is set as given" : null;
  if (evidence === null) {
    const not = efer === undefined ? "nothing shows long mode (CS.L is clear)" : "EFER.LMA is clear as given";
    return { mode: "PAE", because: `CR0.PG and CR4.PAE are set, ${not}` };
  }
  const five = has(cr4, CR4_LA57);
  return {
    mode: five ? "5-level" : "4-level",
    because: `CR0.PG and CR4.PAE are set, ${evidence}: long mode; CR4.LA57 is ${five ? "set" : "clear"}`,
  };
}

/** Levels of a mode that is walked here; null for the others. */
export function levelsOf(mode: PagingMode): 4 | 5 | null {
  return mode === "5-level" ? 5 : mode === "4-level" ? 4 : null;
}

/** EFER of a CPU in long mode: as given, else LME and LMA, and NXE assumed. */
export function eferOf(efer?: bigint): { readonly value: bigint; readonly assumed: boolean } {
  return efer === undefined
    ? { value: LONG_MODE_EFER | EFER_NXE, assumed: true }
    : { value: efer, assumed: false };
}

/** The control bits that decide rights, by name, as far as they are set. */
export function controlBitsOf({ cr0, cr4 }: Pick<CpuNote, "cr0" | "cr4">): readonly string[] {
  const bits: readonly (readonly [bigint, bigint, string])[] = [
    [cr0, CR0_WP, "CR0.WP"],
    [cr4, CR4_SMEP, "CR4.SMEP"],
    [cr4, CR4_SMAP, "CR4.SMAP"],
    [cr4, CR4_PKE, "CR4.PKE"],
    [cr4, CR4_PKS, "CR4.PKS"],
    [cr4, CR4_PCIDE, "CR4.PCIDE"],
  ];
  return bits.filter(([value, bit]) => has(value, bit)).map(([, , name]) => name);
}

/** `UNSUPPORTED`: the CPU's paging is none that is walked here. */
export function unwalkable(image: string, note: CpuNote, told: ToldMode): GuestMmuError {
  const message = `${image}: CPU ${note.index} ${
    told.mode === "none" ? "has paging off" : `uses ${told.mode} paging`
  }: ${told.because}.`;
  if (told.mode === "none")
    return new GuestMmuError("UNSUPPORTED", {
      message,
      hint: "There are no tables to walk: virtual addresses are physical ones. --cr3 names tables all the same.",
    });
  const hint =
    told.mode === "PAE"
      ? `Tables of 4 and 5 levels are walked. If the CPU was in compatibility mode, say so: --efer ${hex(LONG_MODE_EFER | EFER_NXE)}.`
      : "Tables of 4 and 5 levels are walked: those of a CPU in long mode.";
  return new GuestMmuError("UNSUPPORTED", { message, hint });
}
