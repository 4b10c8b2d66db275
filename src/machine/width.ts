/** Widths of words, in bits, and the values that fit them. */

import { GuestMmuError } from "../errors.js";
import { show } from "./arguments.js";

/** Bits of a word that a processor reads or writes at once. */
export type Width = 8 | 16 | 32 | 64;

/** Bytes of a word of `width` bits, or `USAGE`. */
export function byteWidth(width: Width): 1 | 2 | 4 | 8 {
  if (width === 64) return 8;
  if (width === 32) return 4;
  if (width === 16) return 2;
  if (width === 8) return 1;
  throw new GuestMmuError("USAGE", {
    message: `The width is ${show(width)}: it has to be one of the numbers 8, 16, 32 and 64.`,
    hint: "Use 8, 16, 32 or 64.",
  });
}

/** `value` as an unsigned number of `width` bits: negative numbers in two's complement, what does not fit refused. */
export function unsignedValue(value: bigint | number, width: Width): bigint {
  const bits = byteWidth(width) * 8;
  if (typeof value === "number" && Number.isSafeInteger(value)) value = BigInt(value);
  if (typeof value === "bigint") {
    const fits = value < 0n ? BigInt.asIntN(bits, value) === value : BigInt.asUintN(bits, value) === value;
    if (fits) return BigInt.asUintN(bits, value);
  }
  throw new GuestMmuError("USAGE", {
    message: `The value is ${show(value)}: it has to be a bigint or a number, an integer of ${bits} bits.`,
    hint: "Pass a bigint, or a number that is a safe integer, of that width.",
  });
}
