/**
 * The address spaces, as types. A bigint of one space cannot be passed where another is wanted; a plain bigint, or a
 * number, can: it is checked against the range of the space where it arrives. Results are always of a space.
 *
 * ```ts
 * const at: Gva = gva(0x7fff_0000);
 * vcpu.read(at, 64);
 * vcpu.read(0x7fff_0000, 64);    // the same
 * vcpu.read(gpa(0x1000), 64);    // does not compile
 * ```
 */

import { PAGE_SHIFT } from "../core/layout.generated.js";
import { GuestMmuError } from "../errors.js";
import { show } from "./arguments.js";

/** Guest-virtual (linear) address: any 64-bit number; one that is not canonical faults when it is used. */
export type Gva = bigint & { readonly space: "gva" };
/** Guest-physical address, below 2^52. */
export type Gpa = bigint & { readonly space: "gpa" };
/** Host-virtual address: an address of the VMM's user space, below 2^47. */
export type Hva = bigint & { readonly space: "hva" };
/** Host-physical address, below 2^52. */
export type Hpa = bigint & { readonly space: "hpa" };
/** Guest frame number: a guest-physical address >> 12. */
export type Gfn = bigint & { readonly space: "gfn" };
/** Host frame number, an index into the frames of the machine. */
export type Pfn = number & { readonly space: "pfn" };

/** A value that may stand for one of `Space`: of that space, a plain bigint, or a safe integer. */
type Like<Space extends string> =
  number | (bigint & { readonly space?: Space; toString(radix?: number): string });

export type GvaLike = Like<"gva">;
export type GpaLike = Like<"gpa">;
export type HvaLike = Like<"hva">;
export type HpaLike = Like<"hpa">;
export type GfnLike = Like<"gfn">;
export type PfnLike = number & { readonly space?: "pfn"; toFixed(digits?: number): string };

function outOfRange(space: string, shown: string, bits: number): GuestMmuError {
  return new GuestMmuError("ADDRESS_RANGE", {
    message: `${shown} is not a ${space}: it has to be a bigint or a number, an integer from 0 to 2^${bits} - 1.`,
    hint: "Pass a bigint, or a number that is a safe integer.",
  });
}

/** `value` as a bigint of at most `bits` bits, or `ADDRESS_RANGE`. */
function checked(space: string, value: unknown, bits: number): bigint {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) value = BigInt(value);
  if (typeof value === "bigint" && value >= 0n && value >> BigInt(bits) === 0n) return value;
  const shown = typeof value === "bigint" && value >= 0n ? `0x${value.toString(16)}` : show(value);
  throw outOfRange(space, shown, bits);
}

/** Widths of the spaces in bits. */
const GVA_BITS = 64;
const PHYSICAL_BITS = 52;
const HVA_BITS = 47;
const PFN_BITS = 32;

/** A guest-virtual address. Throws `ADDRESS_RANGE` beyond 64 bits; whether it is canonical is for the walk to say. */
export function gva(value: GvaLike): Gva {
  return checked("guest-virtual address", value, GVA_BITS) as Gva;
}

/** A guest-physical address, below 2^52, or `ADDRESS_RANGE`. */
export function gpa(value: GpaLike): Gpa {
  return checked("guest-physical address", value, PHYSICAL_BITS) as Gpa;
}

/** A host-virtual address, below 2^47, or `ADDRESS_RANGE`. */
export function hva(value: HvaLike): Hva {
  return checked("host-virtual address", value, HVA_BITS) as Hva;
}

/** A host-physical address, below 2^52, or `ADDRESS_RANGE`. */
export function hpa(value: HpaLike): Hpa {
  return checked("host-physical address", value, PHYSICAL_BITS) as Hpa;
}

/** A guest frame number, below 2^40, or `ADDRESS_RANGE`. */
export function gfn(value: GfnLike): Gfn {
  return checked("guest frame number", value, PHYSICAL_BITS - PAGE_SHIFT) as Gfn;
}

/** A host frame number, below 2^32, or `ADDRESS_RANGE`. */
export function pfn(value: PfnLike): Pfn {
  return Number(checked("host frame number", value, PFN_BITS)) as Pfn;
}

/** The frame that a guest-physical address lies in. */
export function gfnOf(address: Gpa): Gfn {
  return (address >> BigInt(PAGE_SHIFT)) as Gfn;
}

/** The first address of a guest frame. */
export function gpaOf(frame: Gfn): Gpa {
  return (frame << BigInt(PAGE_SHIFT)) as Gpa;
}

/** `value`, a positive number of bytes in whole pages of `pageSize`. */
export function pageLength(value: number | bigint, pageSize = 4096n): bigint {
  const length = checked("length", value, PHYSICAL_BITS);
  if (length === 0n || length % pageSize !== 0n) {
    throw new GuestMmuError("ADDRESS_UNALIGNED", {
      message: `A length of ${length} bytes is not a positive number of ${pageSize}-byte pages.`,
      hint: "Round it to whole pages.",
    });
  }
  return length;
}

/** `address`, which has to be a multiple of `size`. */
export function aligned<T extends bigint>(address: T, size: bigint, what: string): T {
  if (address % size === 0n) return address;
  throw new GuestMmuError("ADDRESS_UNALIGNED", {
    message: `${what} 0x${address.toString(16)} is not a multiple of ${size}.`,
    hint: `Use an address that is a multiple of 0x${size.toString(16)}.`,
  });
}

/** Hexadecimal, for messages and reports. */
export function hex(value: bigint | number): string {
  return `0x${value.toString(16)}`;
}
