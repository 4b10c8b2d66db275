/** Which tables are walked, and under which registers: from what was asked for, the image's notes, and a search. */

import {
  CR0_PE,
  CR0_PG,
  CR0_WP,
  CR4_LA57,
  CR4_PAE,
  EFER_LMA,
  EFER_NXE,
  EPTP_LEVELS,
  PTE_ADDRESS,
} from "../core/layout.generated.js";
import { GuestMmuError, usageError } from "../errors.js";
import { type CpuNote, type PhysicalImage } from "../images/types.js";
import { formatBytes } from "../report/units.js";
import { hex } from "./address-text.js";
import { eferOf, levelsOf, pagingModeOf, unwalkable } from "./paging-mode.js";
import {
  findRoots,
  guessLevels,
  holdsRoot,
  type RootHints,
  type RootLevels,
  type RootSearch,
} from "./roots.js";
import { type SearchOptions } from "./search.js";
import { type Vmcb } from "./vmcb.js";

/** What may be asked for; each decides over what an image says. */
export interface TargetOptions {
  /** Root, with or without flags or PCID. */
  readonly cr3?: bigint;
  /** Number of a CPU note. */
  readonly cpu?: number;
  /** Walk two dimensions, with the roots of a VMCB in the image. */
  readonly nested?: boolean;
  /** Root of AMD's nested tables; of Intel's. Each implies `nested`. */
  readonly ncr3?: bigint;
  readonly eptp?: bigint;
  readonly efer?: bigint;
  readonly levels?: RootLevels;
  /** MAXPHYADDR, 32 to 52. Default 52: no address bit is reserved. */
  readonly maxphyaddr?: number;
  readonly pkru?: bigint;
  readonly search?: SearchOptions;
}

/** The second dimension, as `PageWalker` takes it. */
export type NestedTables =
  | { readonly kind: "npt"; readonly ncr3: bigint; readonly levels: RootLevels }
  | { readonly kind: "ept"; readonly eptp: bigint };

/** Registers of a walk, all of them known. */
export interface TargetRegisters {
  readonly cr0: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly efer: bigint;
  readonly rflags?: bigint;
  readonly pkru?: bigint;
  readonly maxphyaddr: number;
  readonly nested: NestedTables | null;
}

/** What is walked. */
export interface Target {
  readonly registers: TargetRegisters;
  readonly levels: RootLevels;
  /** Where the root comes from: `CR3 of CPU 0`. */
  readonly origin: string;
  /** Sentences: what was assumed, or found by a search. */
  readonly remarks: readonly string[];
}

/** Registers that are taken where the image says nothing of them. */
const DEFAULT_CR0 = CR0_PE | CR0_WP | CR0_PG;
const DEFAULT_CR4 = CR4_PAE;

/**
 * Decides what is walked.
 *
 * @throws GuestMmuError `UNSUPPORTED` for paging other than that of long mode; `USAGE` for a CPU that the image does not
 *   have, or options that contradict each other; `IMAGE_ROOT` if there is no root, or the image does not hold its page.
 */
export function targetOf(image: PhysicalImage, options: TargetOptions = {}): Target {
  const { cr3, cpu, ncr3, eptp } = options;
  if (cr3 !== undefined && cpu !== undefined)
    throw usageError("--cr3 and --cpu both name a root.", "Give one of them.");
  if (ncr3 !== undefined && eptp !== undefined)
    throw usageError(
      "--ncr3 and --eptp both name nested tables.",
      "Give one of them: --ncr3 for AMD, --eptp for Intel.",
    );
  const nested = options.nested === true || ncr3 !== undefined || eptp !== undefined;
  return nested ? nestedTarget(image, options) : plainTarget(image, options);
}

/** The note of a CPU; null if none is named and the image has none. */
function noteOf(image: PhysicalImage, cpu: number | undefined): CpuNote | null {
  if (cpu === undefined) return image.cpus[0] ?? null;
  const note = image.cpus.find(({ index }) => index === cpu);
  if (note !== undefined) return note;
  const has =
    image.cpus.length === 0
      ? "The image has no notes of CPUs: name a root with --cr3, or let it be searched for."
      : `The image has notes of CPUs ${image.cpus.map(({ index }) => index).join(", ")}.`;
  throw usageError(`--cpu: ${image.name} has no note of CPU ${cpu}.`, has);
}

/** One dimension. */
function plainTarget(image: PhysicalImage, options: TargetOptions): Target {
  const note = noteOf(image, options.cpu);
  const told = note === null ? null : pagingModeOf(note, options.efer);
  if (options.cr3 !== undefined) {
    // A CPU without paging has no tables of its own to be mistaken about; other modes are those of the tables.
    if (note !== null && told !== null && told.mode !== "none" && levelsOf(told.mode) === null)
      throw unwalkable(image.name, note, told);
    return namedTarget(image, options, options.cr3, note, "as given");
  }
  if (note !== null && told !== null) {
    if (levelsOf(told.mode) === null) throw unwalkable(image.name, note, told);
    if (!holdsRoot(image, note.cr3)) throw rootNotHeld(image, note, options);
    return namedTarget(image, options, note.cr3, note, `CR3 of CPU ${note.index}`);
  }
  return searchedTarget(image, options);
}

/** A root by its address, under the registers of a CPU's note, if there is one. */
function namedTarget(
  image: PhysicalImage,
  options: TargetOptions,
  cr3: bigint,
  note: CpuNote | null,
  origin: string,
): Target {
  if (!holdsRoot(image, cr3))
    throw new GuestMmuError("IMAGE_ROOT", {
      message: `${image.name}: the image does not hold the page of the root ${hex(cr3 & PTE_ADDRESS)} (${origin}).`,
      hint: "guestmmu info IMAGE lists the roots that are in it, and its ranges.",
    });
  const { levels, remark } = levelsFor(image, options, cr3, note);
  return assemble(options, {
    cr3,
    levels,
    note,
    origin,
    nested: null,
    remarks: remark === null ? [] : [remark],
  });
}

/** The best root of a search. */
function searchedTarget(image: PhysicalImage, options: TargetOptions): Target {
  const search = findRoots(image, hintsOf(image, options.levels), options.search);
  const [root, ...others] = search.roots;
  if (root === undefined)
    throw new GuestMmuError("IMAGE_ROOT", {
      message: `${image.name}: no page-table root of 4 or 5 levels was found.`,
      hint: `Name one with --cr3.${searchInWords(search)}`,
    });
  const doubt = root.supported ? "" : ", but nothing besides speaks for it";
  const remark =
    `Root ${hex(root.pa)} is the best of ${others.length + 1} found: ${root.evidence.join("; ")}${doubt}. ` +
    "--cr3 names another; guestmmu info lists them.";
  return assemble(options, {
    cr3: root.pa,
    levels: root.levels,
    note: null,
    origin: "found in the image",
    nested: null,
    remarks: [remark],
  });
}

/**
 * All roots that are known of an image: those that a search finds and that something speaks for, each under the registers
 * of the first CPU's note.
 *
 * @throws GuestMmuError as `targetOf`; `IMAGE_ROOT` if there is none.
 */
export function knownRoots(image: PhysicalImage, options: TargetOptions = {}): readonly Target[] {
  const note = image.cpus[0] ?? null;
  const told = note === null ? null : pagingModeOf(note, options.efer);
  if (note !== null && told !== null && told.mode !== "none" && levelsOf(told.mode) === null)
    throw unwalkable(image.name, note, told);
  const search = findRoots(image, hintsOf(image, options.levels, options.efer), options.search);
  const roots = search.roots.filter(({ supported }) => supported);
  if (roots.length === 0)
    throw new GuestMmuError("IMAGE_ROOT", {
      message: `${image.name}: no page-table root was found that something speaks for.`,
      hint: `Name one with --cr3; guestmmu info lists candidates.${searchInWords(search)}`,
    });
  return roots.map(({ pa, levels, evidence }, index) => {
    const remarks = index === 0 ? [`${roots.length} roots found.${searchInWords(search)}`] : [];
    return assemble(options, { cr3: pa, levels, note, origin: evidence[0]!, nested: null, remarks });
  });
}

/** What is known of roots beforehand. */
export function hintsOf(image: PhysicalImage, levels?: RootLevels, efer?: bigint): RootHints {
  const walked = image.cpus.flatMap((note) => {
    const of = levelsOf(pagingModeOf(note, efer).mode);
    return of === null ? [] : [{ cpu: note.index, cr3: note.cr3, levels: of }];
  });
  const known = levels ?? walked[0]?.levels ?? vmcoreinfoLevels(image) ?? undefined;
  return {
    ...(known === undefined ? {} : { levels: known }),
    cr3s: walked,
    kernelRoot: kernelRootOf(image),
  };
}

/** Linux: the physical address of swapper_pg_dir, from VMCOREINFO; null if that has not all that it takes. */
export function kernelRootOf({ vmcoreinfo }: PhysicalImage): bigint | null {
  const symbol = vmcoreinfo?.get("SYMBOL(swapper_pg_dir)");
  const physBase = vmcoreinfo?.get("NUMBER(phys_base)");
  if (symbol === undefined || physBase === undefined) return null;
  if (!/^(0x)?[0-9a-f]{1,16}$/i.test(symbol) || !/^-?[0-9]{1,20}$/.test(physBase)) return null;
  const pa = BigInt(`0x${symbol.replace(/^0x/i, "")}`) - KERNEL_IMAGE_BASE + BigInt(physBase);
  return pa > 0n && pa >> 52n === 0n ? pa : null;
}

/** __START_KERNEL_map: where Linux maps its image, whatever KASLR adds. */
const KERNEL_IMAGE_BASE = 0xffff_ffff_8000_0000n;

function vmcoreinfoLevels({ vmcoreinfo }: PhysicalImage): RootLevels | null {
  const five = vmcoreinfo?.get("NUMBER(pgtable_l5_enabled)");
  return five === "1" ? 5 : five === "0" ? 4 : null;
}

/** Levels of a root's tables: as asked for, of the CPU, of VMCOREINFO, or guessed. */
function levelsFor(
  image: PhysicalImage,
  { levels, efer }: TargetOptions,
  cr3: bigint,
  note: CpuNote | null,
): { readonly levels: RootLevels; readonly remark: string | null } {
  const known =
    levels ?? (note === null ? null : levelsOf(pagingModeOf(note, efer).mode)) ?? vmcoreinfoLevels(image);
  if (known !== null) return { levels: known, remark: null };
  const guess = guessLevels(image, cr3);
  const why = guess.sure ? "as its tables make sense" : "which nothing confirms";
  return {
    levels: guess.levels,
    remark: `Root ${hex(cr3 & PTE_ADDRESS)} is taken to have ${guess.levels} levels, ${why} (--levels).`,
  };
}

/** The root of a CPU is not in the image: in one of a host, that CPU may run a guest. */
function rootNotHeld(image: PhysicalImage, note: CpuNote, options: TargetOptions): GuestMmuError {
  const { vmcbs } = findRoots(image, {}, options.search);
  const guest = vmcbs.find(({ cr3 }) => (cr3 & PTE_ADDRESS) === (note.cr3 & PTE_ADDRESS));
  const message = `${image.name}: the image does not hold the page of CR3 of CPU ${note.index}, ${hex(note.cr3)}.`;
  const hint =
    guest === undefined
      ? "Name a root with --cr3; guestmmu info IMAGE lists what is found."
      : `The VMCB at ${hex(guest.pa)} has the same CR3: the CPU was in a nested guest. Walk both dimensions with --nested.`;
  return new GuestMmuError("IMAGE_ROOT", { message, hint });
}

/** Two dimensions: the nested tables by name or by a VMCB, and the guest's root by name or by the same VMCB. */
function nestedTarget(image: PhysicalImage, options: TargetOptions): Target {
  const { cr3, cpu, ncr3, eptp } = options;
  const remarks: string[] = [];
  const note = cpu === undefined ? null : noteOf(image, cpu);
  let vmcb: Vmcb | null = null;
  if (eptp === undefined) vmcb = vmcbFor(image, options, remarks);
  const root = ncr3 ?? vmcb?.ncr3;
  const nested: NestedTables =
    eptp !== undefined
      ? { kind: "ept", eptp: checkedEptp(eptp) }
      : { kind: "npt", ncr3: root!, levels: guessLevels(image, root!).levels };
  const nestedRoot = (eptp ?? root!) & PTE_ADDRESS;
  if (!holdsRoot(image, nestedRoot))
    throw new GuestMmuError("IMAGE_ROOT", {
      message: `${image.name}: the image does not hold the page of the nested root ${hex(nestedRoot)}.`,
      hint: "guestmmu info IMAGE lists the VMCBs that are in it, and its ranges.",
    });
  const guestCr3 = cr3 ?? note?.cr3 ?? vmcb?.cr3;
  if (guestCr3 === undefined)
    throw usageError(
      "The root of the guest is not known: no VMCB in the image has these nested tables.",
      "Name it: --cr3 for an address, --cpu for the CR3 of a CPU's note.",
    );
  const state = note ?? vmcb;
  const levels = options.levels ?? (state !== null && (state.cr4 & CR4_LA57) !== 0n ? 5 : 4);
  if (note === null && vmcb !== null && cr3 === undefined) checkGuestMode(image, vmcb);
  const origin =
    cr3 !== undefined
      ? "as given"
      : note !== null
        ? `CR3 of CPU ${note.index}`
        : `CR3 of the VMCB at ${hex(vmcb!.pa)}`;
  return assemble(options, { cr3: guestCr3, levels, note: state, origin, nested, remarks });
}

/** The VMCB whose nested tables are walked; null if these are named and no VMCB has them. */
function vmcbFor(image: PhysicalImage, { ncr3, search }: TargetOptions, remarks: string[]): Vmcb | null {
  const found = findRoots(image, {}, search);
  const { vmcbs } = found;
  const fitting =
    ncr3 === undefined ? vmcbs : vmcbs.filter((vmcb) => vmcb.ncr3 >> 12n === (ncr3 & PTE_ADDRESS) >> 12n);
  const live = fitting.find(({ cr3 }) => image.cpus.some((note) => note.cr3 === cr3));
  const vmcb = live ?? fitting[0] ?? null;
  if (vmcb === null) {
    if (ncr3 !== undefined) return null;
    throw new GuestMmuError("IMAGE_ROOT", {
      message: `${image.name}: --nested found no VMCB with nested paging.`,
      hint: `Name the nested tables: --ncr3 of AMD's, or --eptp of Intel's, whose VMCS cannot be recognised.${searchInWords(found)}`,
    });
  }
  const others = fitting.length === 1 ? "" : `, one of ${fitting.length} found (--ncr3 names another)`;
  remarks.push(
    `VMCB at ${hex(vmcb.pa)}${others}: N_CR3 ${hex(vmcb.ncr3)}, ASID ${vmcb.asid}; its guest's CR3 ${hex(vmcb.cr3)} is that of the last exit.`,
  );
  return vmcb;
}

/** Refuses a guest whose paging is none that is walked. */
function checkGuestMode(image: PhysicalImage, { pa, cr0, cr4, efer }: Vmcb): void {
  const long = (efer & EFER_LMA) !== 0n;
  if ((cr0 & CR0_PG) !== 0n && (cr4 & CR4_PAE) !== 0n && long) return;
  const mode = (cr0 & CR0_PG) === 0n ? "paging off" : (cr4 & CR4_PAE) === 0n ? "32-bit paging" : "PAE paging";
  throw new GuestMmuError("UNSUPPORTED", {
    message: `${image.name}: the guest of the VMCB at ${hex(pa)} has ${mode}.`,
    hint: "Tables of 4 and 5 levels are walked: those of long mode. --cr3 names tables all the same.",
  });
}

/** EPTP without the levels of a walk is a bare address: 4 levels and write-back are meant then. */
function checkedEptp(eptp: bigint): bigint {
  const levels = ((eptp & EPTP_LEVELS) >> 3n) + 1n;
  if ((eptp & 0xfffn) === 0n) return eptp | (3n << 3n) | 6n;
  if (levels === 4n || levels === 5n) return eptp;
  throw usageError(
    `--eptp: ${hex(eptp)} has ${levels} levels in bits 5:3.`,
    "Give the EPT pointer of the VMCS, with 3 (or 4, for five levels) in bits 5:3; or the address of the root alone.",
  );
}

interface Parts {
  readonly cr3: bigint;
  readonly levels: RootLevels;
  readonly note: Pick<CpuNote, "cr0" | "cr4"> | Vmcb | null;
  readonly origin: string;
  readonly nested: NestedTables | null;
  readonly remarks: readonly string[];
}

/** Registers from the note where there is one, with what `--levels` and `--efer` say put over it. */
function assemble(options: TargetOptions, { cr3, levels, note, origin, nested, remarks }: Parts): Target {
  const efer =
    options.efer === undefined && note !== null && "efer" in note
      ? { value: note.efer, assumed: false }
      : eferOf(options.efer);
  const said = efer.assumed
    ? "EFER is not in the image: NXE is assumed set (--efer)."
    : (efer.value & EFER_NXE) === 0n
      ? "EFER.NXE is clear: bit 63 of an entry is reserved."
      : null;
  const la57 = levels === 5 ? CR4_LA57 : 0n;
  const isLive = note !== null && (note.cr0 & CR0_PG) !== 0n;
  return {
    registers: {
      cr0: isLive ? note.cr0 : DEFAULT_CR0,
      cr3,
      cr4: ((isLive ? note.cr4 : DEFAULT_CR4) & ~CR4_LA57) | CR4_PAE | la57,
      efer: efer.value,
      ...(options.pkru === undefined ? {} : { pkru: options.pkru }),
      maxphyaddr: options.maxphyaddr ?? 52,
      nested,
    },
    levels,
    origin,
    remarks: said === null ? remarks : [...remarks, said],
  };
}

/** What a search left out, as a sentence; nothing if it left out nothing. */
export function searchInWords({ extent, truncated }: Pick<RootSearch, "extent" | "truncated">): string {
  const { skippedBytes, leftBytes } = extent;
  const parts = [
    leftBytes > 0 && `${formatBytes(leftBytes)} beyond the limit (--search-limit) were not searched`,
    skippedBytes > 0 && `${formatBytes(skippedBytes)} that seem to be holes were passed over (--thorough)`,
    truncated && "there were more candidates than are looked at",
  ].filter((part) => part !== false);
  return parts.length === 0 ? "" : ` Of the image, ${parts.join("; ")}.`;
}
