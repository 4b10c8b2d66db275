/** Addresses and lengths as they are typed, and as they are printed. */

import { usageError } from "../errors.js";

/** Highest bit of each kind of address, and what it is called in a message. */
const SPACES = {
  virtual: { bits: 64, name: "a virtual address", example: "0xffff888000000000" },
  physical: { bits: 52, name: "a physical address", example: "0x1062000" },
  register: { bits: 64, name: "a value of a register", example: "0xd01" },
  pkru: { bits: 32, name: "a value of PKRU", example: "0x55555554" },
} as const;

/** What a number on the command line stands for. */
export type AddressSpace = keyof typeof SPACES;

/**
 * An address: hexadecimal after `0x`, else decimal. Underscores may group digits.
 *
 * @param what the option or argument, as it is named in a message.
 * @throws GuestMmuError `USAGE` naming `what` and the text, with the bare hexadecimal number written as it is taken.
 */
export function parseAddress(what: string, text: string, space: AddressSpace): bigint {
  const { bits, name, example } = SPACES[space];
  const digits = text.trim().replaceAll("_", "").toLowerCase();
  const accepted = `${what} takes ${name} below 2^${bits}, as ${example} or in decimal digits.`;
  if (!/^(0x[0-9a-f]+|[0-9]+)$/.test(digits)) {
    const bare = /^[0-9a-f]+h?$/.test(digits)
      ? ` Write hexadecimal digits as 0x${digits.replace(/h$/, "")}.`
      : "";
    throw usageError(`${what}: "${shorten(text)}" is not a number.`, accepted + bare);
  }
  // Sixty-six digits hold more than any address: nobody's megabyte of digits becomes a number.
  const value = digits.length <= 66 ? BigInt(digits) : 1n << 64n;
  if (value >> BigInt(bits) === 0n) return value;
  throw usageError(`${what}: ${shorten(text)} is not below 2^${bits}.`, accepted);
}

/**
 * A length in bytes: hexadecimal after `0x`, or decimal with k, m, g, t for powers of 1024.
 *
 * @throws GuestMmuError `USAGE` naming `what` and the text; a length is 1 to 2^64 bytes.
 */
export function parseLength(what: string, text: string): bigint {
  const match = /^(0x[0-9a-f]+|[0-9]+)([kmgt](?:i?b)?)?$/.exec(text.trim().replaceAll("_", "").toLowerCase());
  const [, digits = "", unit = ""] = match ?? [];
  const shift = unit === "" ? 0n : BigInt("kmgt".indexOf(unit[0]!) + 1) * 10n;
  const value = digits.length > 0 && digits.length <= 66 ? BigInt(digits) << shift : 0n;
  if (value > 0n && value <= 1n << 64n && !(digits.startsWith("0x") && unit !== "")) return value;
  throw usageError(
    `${what}: "${shorten(text)}" is not a length.`,
    `${what} takes a number of bytes, at least 1, such as 64, 0x1000, 4k or 2m.`,
  );
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}

/** `0x` and the digits. */
export function hex(value: bigint | number): string {
  return `0x${value.toString(16)}`;
}

/** Sixteen digits, as in the listings of emulators and kernels. */
export function hex16(value: bigint): string {
  return value.toString(16).padStart(16, "0");
}

/** The canonical address of which `address` has the bits that `levels` tables translate (SDM vol. 1, 3.3.7.1). */
export function signExtend(address: bigint, levels: 4 | 5): bigint {
  return BigInt.asUintN(64, BigInt.asIntN(levels === 5 ? 57 : 48, address));
}
