/**
 * Packed access records, which a vCPU runs in batches. Little-endian:
 *
 *      access record, 16 bytes      value record, 32 bytes
 *      0  u64  gva                  0  u64  gva
 *      8  u32  size                 8  u32  size         1, 2, 4 or 8
 *     12  u32  kind                12  u16  kind         `Access` of the core
 *                                  14  u16  operation    `Modify` of the core, for the kind modify
 *                                  16  u64  value        what is written, or the operand: its low `size` bytes
 *                                  24  u64  expected     for compareExchange
 *
 * An access record drives memory, as a recording of accesses does; a value record carries data.
 */

import { Access, Modify } from "../core/layout.generated.js";
import { GuestMmuError } from "../errors.js";
import { accessNumber, type AccessKind } from "./access-result.js";
import { gva as toGva, type Gva, type GvaLike } from "./address.js";
import { checkBytes, checkOptions, choice, integer, show } from "./arguments.js";
import { byteWidth, unsignedValue, type Width } from "./width.js";

/** Bytes of one access record. */
export const ACCESS_RECORD_SIZE = 16;
/** Bytes of one value record. */
export const VALUE_RECORD_SIZE = 32;

/** One access of a batch with values. `width`: default 64. */
export type ValueAccess = { readonly gva: GvaLike; readonly width?: Width } & (
  | { readonly kind: "read" | "fetch" }
  | {
      readonly kind: "write" | "exchange" | "add" | "and" | "or" | "xor";
      readonly value: bigint | number;
    }
  | {
      readonly kind: "compareExchange";
      readonly expected: bigint | number;
      readonly value: bigint | number;
    }
);

const VALUE_KINDS: Readonly<Record<ValueAccess["kind"], readonly [kind: Access, operation: Modify]>> = {
  read: [Access.Read, 0],
  fetch: [Access.Fetch, 0],
  write: [Access.Write, 0],
  exchange: [Access.Modify, Modify.Exchange],
  add: [Access.Modify, Modify.Add],
  and: [Access.Modify, Modify.And],
  or: [Access.Modify, Modify.Or],
  xor: [Access.Modify, Modify.Xor],
  compareExchange: [Access.Modify, Modify.CompareExchange],
};

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Where record `index` begins. */
function placeOf(records: Uint8Array, index: number, size: number): number {
  checkBytes("records", records);
  return integer("index", index, 0, Math.floor(records.length / size) - 1) * size;
}

/** Writes access record `index` to `records`, for `vcpu.runRecords`. */
export function encodeAccess(
  records: Uint8Array,
  index: number,
  gva: GvaLike,
  width: Width,
  kind: AccessKind,
): void {
  const at = placeOf(records, index, ACCESS_RECORD_SIZE);
  const view = viewOf(records);
  const [where, size, number] = [toGva(gva), byteWidth(width), accessNumber(kind)];
  view.setBigUint64(at, where, true);
  view.setUint32(at + 8, size, true);
  view.setUint32(at + 12, number, true);
}

/** The `name` of an access, which has to be there just where its kind takes it. */
function operand(name: "value" | "expected", access: ValueAccess, width: Width, taken: boolean): bigint {
  const given = (access as { readonly value?: bigint | number; readonly expected?: bigint | number })[name];
  if (taken) return unsignedValue(given!, width);
  if (given === undefined) return 0n;
  throw new GuestMmuError("USAGE", {
    message: `An access of kind ${show(access.kind)} takes no \`${name}\`.`,
    hint: "Leave it out.",
  });
}

/** Writes value record `index` to `records`, for `vcpu.runAccesses`. */
export function encodeValueAccess(records: Uint8Array, index: number, access: ValueAccess): void {
  const at = placeOf(records, index, VALUE_RECORD_SIZE);
  checkOptions("access", access, ["gva", "width", "kind", "value", "expected"]);
  const { width = 64 } = access;
  const [kind, operation] = choice("kind of access", VALUE_KINDS, access.kind);
  const where = toGva(access.gva);
  const value = operand("value", access, width, kind === Access.Write || kind === Access.Modify);
  const expected = operand("expected", access, width, access.kind === "compareExchange");
  const view = viewOf(records);
  view.setBigUint64(at, where, true);
  view.setUint32(at + 8, byteWidth(width), true);
  view.setUint16(at + 12, kind, true);
  view.setUint16(at + 14, operation, true);
  view.setBigUint64(at + 16, value, true);
  view.setBigUint64(at + 24, expected, true);
}

const KIND_NAMES: Readonly<Record<number, AccessKind>> = {
  [Access.Read]: "read",
  [Access.Write]: "write",
  [Access.Fetch]: "fetch",
  [Access.Modify]: "modify",
};

/** One record, read back. */
export interface PackedAccess {
  readonly gva: Gva;
  readonly size: number;
  readonly kind: AccessKind;
  readonly operation: Modify;
  readonly value: bigint;
  readonly expected: bigint;
}

/** A form of records: how large one is, and what it means. Kinds are 16 bits at byte 12 in both. */
export interface RecordForm {
  readonly size: number;
  /** Byte at which the core leaves what a record found. */
  readonly found: number;
  readonly encoder: string;
  /** The record at byte `at`, which is number `number` of its batch. */
  read(view: DataView, at: number, number: number): PackedAccess;
}

/** A store writes the number of its record, a read-modify-write adds 1. */
export const ACCESS_FORM: RecordForm = {
  size: ACCESS_RECORD_SIZE,
  found: 0,
  encoder: "encodeAccess",
  read(view, at, number) {
    const kind = KIND_NAMES[view.getUint32(at + 12, true)]!;
    const size = view.getUint32(at + 8, true);
    const value = kind === "modify" ? 1n : BigInt.asUintN(size * 8, BigInt(number));
    const gva = view.getBigUint64(at, true) as Gva;
    return { gva, size, kind, operation: Modify.Add, value, expected: 0n };
  },
};

export const VALUE_FORM: RecordForm = {
  size: VALUE_RECORD_SIZE,
  found: 16,
  encoder: "encodeValueAccess",
  read(view, at) {
    const size = view.getUint32(at + 8, true);
    return {
      gva: view.getBigUint64(at, true) as Gva,
      size,
      kind: KIND_NAMES[view.getUint16(at + 12, true)]!,
      operation: view.getUint16(at + 14, true) as Modify,
      value: BigInt.asUintN(size * 8, view.getBigUint64(at + 16, true)),
      expected: BigInt.asUintN(size * 8, view.getBigUint64(at + 24, true)),
    };
  },
};

/** Checks records before the first of them runs; how many there are. Throws `USAGE`. */
export function countRecords(form: RecordForm, records: Uint8Array): number {
  const refuse = (message: string, hint = `Write records with ${form.encoder}.`): never => {
    throw new GuestMmuError("USAGE", { message, hint });
  };
  checkBytes("records", records);
  if (records.length % form.size !== 0) {
    refuse(`${records.length} bytes are no whole number of records.`, `A record has ${form.size} bytes.`);
  }
  const view = viewOf(records);
  const total = records.length / form.size;
  for (let i = 0, at = 0; i < total; i++, at += form.size) {
    const size = view.getUint32(at + 8, true);
    const kind = view.getUint16(at + 12, true);
    const operation = view.getUint16(at + 14, true);
    const modifies = form === VALUE_FORM && kind === Access.Modify;
    const right = (size === 1 || size === 2 || size === 4 || size === 8) && KIND_NAMES[kind] !== undefined;
    if (!right || operation > (modifies ? Modify.CompareExchange : 0))
      refuse(`Record ${i} has size ${size}, kind ${kind} and operation ${operation}.`);
    if (kind === Access.Modify && view.getUint32(at, true) % size !== 0) {
      refuse(`Record ${i} is a read-modify-write that is not aligned.`, "Align it naturally.");
    }
  }
  return total;
}
