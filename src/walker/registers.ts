/** The registers that decide a walk: what may be left out, what is refused, and how they get into the core. */

import { type CoreCalls } from "../core/abi.js";
import {
  CR0_PE,
  CR0_PG,
  CR0_WP,
  CR3_NO_FLUSH,
  CR4_LA57,
  CR4_PAE,
  CR4_PGE,
  CR4_PKE,
  CR4_PKS,
  CR4_SMAP,
  CR4_SMEP,
  EFER_LME,
  EFER_NXE,
  HEADER_OFFSET_MAXPHYADDR,
  HEADER_OFFSET_OPTIONS,
  MachineOption,
  NP_ENABLE,
  Register,
  RegisterWrite,
  SECONDARY_MBEC,
} from "../core/layout.generated.js";
import { GuestMmuError } from "../errors.js";
import { hex } from "../machine/address.js";
import { checkOptions, flag, integer, show } from "../machine/arguments.js";
import { type Machine } from "../machine/machine.js";
import { type Vcpu } from "../machine/vcpu.js";
import { nestedFrom, nestedRegisters, type NestedPaging } from "../machine/nested.js";

/** What a processor would have in its registers. Only `cr3` has to be given: the rest is 64-bit mode as kernels set it up. */
export interface WalkerRegisters {
  /** Physical address of the top table in bits 51:12; bits 11:0 (PCID, PWT, PCD) and 63:61 do not matter to a walk. */
  readonly cr3: bigint;
  /** Default PE, WP and PG. Without PG an address is its own translation. */
  readonly cr0?: bigint;
  /** Default PAE and PGE. LA57 means 5 levels; SMEP, SMAP, PKE and PKS are obeyed; other bits do not matter. */
  readonly cr4?: bigint;
  /** IA32_EFER. Default LME and NXE. Without NXE, bit 63 of an entry is reserved. */
  readonly efer?: bigint;
  /** Only AC matters: it lifts SMAP. Default 0. */
  readonly rflags?: bigint;
  /** Default 0: no key denies anything. */
  readonly pkru?: bigint;
  /** IA32_PKRS. Default 0. */
  readonly pkrs?: bigint;
  /** Current privilege level, 0 to 3. Default 0. */
  readonly cpl?: number;
  /** Width of physical addresses, 32 to 52. Default 52: no address bit of an entry is reserved. */
  readonly maxphyaddr?: number;
  /** The processor has 1-GByte pages. Default true. */
  readonly page1GB?: boolean;
  /** A second dimension below; null (default) for none. */
  readonly nested?: NestedPaging | null;
}

/** Every register, as it is in force. */
export type LoadedRegisters = Required<WalkerRegisters>;

/** LAM_U48 and LAM_U57: bits of linear addresses that a walk does not get to see. */
const CR3_LAM = 3n << 61n;

const STANDARD = {
  cr0: CR0_PE | CR0_WP | CR0_PG,
  cr4: CR4_PAE | CR4_PGE,
  efer: EFER_LME | EFER_NXE,
  rflags: 0n,
  pkru: 0n,
  pkrs: 0n,
} as const;

/** Bits of CR4 that a walk depends on. */
const CR4_OF_WALKS = CR4_PAE | CR4_PGE | CR4_LA57 | CR4_SMEP | CR4_SMAP | CR4_PKE | CR4_PKS;

const NAMES = [
  "cr3",
  ...Object.keys(STANDARD),
  "cpl",
  "maxphyaddr",
  "page1GB",
  "nested",
] as readonly (keyof WalkerRegisters)[];

const WIDTHS: Readonly<Record<string, number>> = { pkru: 32, pkrs: 32 };

function usage(message: string, hint: string): GuestMmuError {
  return new GuestMmuError("USAGE", { message, hint });
}

function word(name: string, value: unknown, standard: bigint | undefined): bigint {
  if (value === undefined && standard !== undefined) return standard;
  const bits = WIDTHS[name] ?? 64;
  if (typeof value === "bigint" && value >= 0n && value >> BigInt(bits) === 0n) return value;
  throw usage(
    `${name} is ${show(value)}: it has to be a bigint of at most ${bits} bits.`,
    `Pass ${name} as a bigint.`,
  );
}

function unsupported(message: string): GuestMmuError {
  return new GuestMmuError("UNSUPPORTED", {
    message,
    hint: "Only 64-bit paging with 4 or 5 levels can be walked: CR0.PG, CR4.PAE and EFER.LME have to be set.",
  });
}

/** Modes with paging that are not those of 64-bit mode. */
function checkMode({ cr0, cr4, efer }: LoadedRegisters): void {
  if ((cr0 & CR0_PG) === 0n) return;
  if ((cr4 & CR4_PAE) === 0n) throw unsupported(`CR4 = ${hex(cr4)} says 32-bit paging (PAE is clear).`);
  if ((efer & EFER_LME) === 0n) throw unsupported(`EFER = ${hex(efer)} says PAE paging (LME is clear).`);
}

/** Fills in what was left out of `given`, from `before` or from the defaults. Errors: `USAGE`, `UNSUPPORTED`. */
export function registersFrom(given: Partial<WalkerRegisters>, before?: LoadedRegisters): LoadedRegisters {
  checkOptions("registers of the walker", given, NAMES);
  const or = <Name extends keyof typeof STANDARD>(name: Name): bigint =>
    word(name, given[name], before?.[name] ?? STANDARD[name]);
  const loaded: LoadedRegisters = {
    cr3: word("cr3", given.cr3, before?.cr3),
    cr0: or("cr0"),
    cr4: or("cr4"),
    efer: or("efer"),
    rflags: or("rflags"),
    pkru: or("pkru"),
    pkrs: or("pkrs"),
    cpl: integer("cpl", given.cpl ?? before?.cpl ?? 0, 0, 3),
    maxphyaddr: integer("maxphyaddr", given.maxphyaddr ?? before?.maxphyaddr ?? 52, 32, 52),
    page1GB: flag("page1GB", given.page1GB, before?.page1GB ?? true),
    nested: given.nested === undefined ? (before?.nested ?? null) : nestedFrom(given.nested),
  };
  checkMode(loaded);
  return loaded;
}

/** The nested tables that a vCPU has loaded. */
function nestedRegistersOf(vcpu: Vcpu): NestedPaging | null {
  const control = vcpu.get("nestedControl");
  if ((control & NP_ENABLE) !== 0n) {
    const levels = (control & CR4_LA57) !== 0n ? 5 : 4;
    return { kind: "npt", ncr3: vcpu.get("ncr3"), levels, nxe: (control & EFER_NXE) !== 0n };
  }
  const eptp = vcpu.get("eptp");
  if (eptp === 0n) return null;
  return { kind: "ept", eptp, modeBasedExecute: (vcpu.get("secondaryControls") & SECONDARY_MBEC) !== 0n };
}

/**
 * The registers of a vCPU, for a walker over its machine: the guest's tables over the EPT that KVM has loaded, or over what a
 * `Processor` of the same index was given. A vCPU that has not run yet has none: `nested` is null then.
 */
export function registersOf(machine: Machine, index = 0): WalkerRegisters {
  const { maxphyaddr, page1GB } = machine.configuration;
  const vcpu = machine.vcpu(index);
  return {
    cr3: vcpu.get("cr3"),
    cr0: vcpu.get("cr0"),
    cr4: vcpu.get("cr4"),
    efer: vcpu.get("efer"),
    rflags: vcpu.get("rflags"),
    pkru: vcpu.get("pkru"),
    pkrs: vcpu.get("pkrs"),
    cpl: Number(vcpu.get("cpl")),
    maxphyaddr,
    page1GB,
    nested: nestedRegistersOf(vcpu),
  };
}

function write(calls: CoreCalls, register: Register, name: string, value: bigint): void {
  if (calls.registerWrite(0, register, value) === RegisterWrite.Ok) return;
  throw new GuestMmuError("USAGE", {
    message: `${name} = ${hex(value)} is a value that no processor takes.`,
    hint: "Its reserved bits have to be clear, and so have the bits of an address from maxphyaddr on.",
  });
}

/** Puts the registers into vCPU 0 of the core. Errors: `USAGE`. */
export function loadRegisters(calls: CoreCalls, view: DataView, r: LoadedRegisters): void {
  view.setUint32(HEADER_OFFSET_MAXPHYADDR, r.maxphyaddr, true);
  const options = view.getUint32(HEADER_OFFSET_OPTIONS, true) & ~MachineOption.Page1GB;
  view.setUint32(HEADER_OFFSET_OPTIONS, r.page1GB ? options | MachineOption.Page1GB : options, true);
  // The instance has copies of the header's words.
  calls.attach();
  calls.cpuReset(0);
  write(calls, Register.Cr3, "cr3", r.cr3 & ~(CR3_NO_FLUSH | CR3_LAM));
  if ((r.cr0 & CR0_PG) !== 0n) {
    write(calls, Register.Efer, "efer", r.efer & (EFER_LME | EFER_NXE));
    write(calls, Register.Cr4, "cr4", r.cr4 & CR4_OF_WALKS);
    write(calls, Register.Cr0, "cr0", CR0_PE | CR0_PG | (r.cr0 & CR0_WP));
  }
  write(calls, Register.Rflags, "rflags", r.rflags & 0xffff_ffffn);
  write(calls, Register.Cpl, "cpl", BigInt(r.cpl));
  write(calls, Register.Pkru, "pkru", r.pkru);
  write(calls, Register.Pkrs, "pkrs", r.pkrs);
  for (const [register, value] of nestedRegisters(r.nested)) write(calls, register, "nested paging", value);
}
