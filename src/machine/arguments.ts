/** What callers pass, checked in one way: a name that no option has, or a value of another type, is refused in words. */

import { GuestMmuError, type GuestMmuErrorCode } from "../errors.js";

/** Codes of a refusal: the configuration of a machine has its own. */
type RefusalCode = Extract<GuestMmuErrorCode, "USAGE" | "CONFIG_INVALID">;

const SHOWN_MAX = 60;

/** A value in a message: strings quoted, objects by what they are. */
export function show(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value.length > SHOWN_MAX ? `${value.slice(0, SHOWN_MAX)}...` : value);
    case "object":
      return value === null ? "null" : Array.isArray(value) ? "an array" : "an object";
    case "function":
      return "a function";
    default:
      return String(value);
  }
}

function refused(message: string, hint: string, code: RefusalCode = "USAGE"): GuestMmuError {
  return new GuestMmuError(code, { message, hint });
}

/** Refuses what is no object, and names that no option has: a misspelt one would silently be a default. */
export function checkOptions(
  what: string,
  given: unknown,
  known: readonly string[],
  code: RefusalCode = "USAGE",
): void {
  const names = known.join(", ");
  if (typeof given !== "object" || given === null || Array.isArray(given) || ArrayBuffer.isView(given)) {
    throw refused(
      `The ${what} is ${show(given)}: it has to be an object.`,
      `Its properties: ${names}.`,
      code,
    );
  }
  for (const name of Object.keys(given)) {
    if (!known.includes(name))
      throw refused(`There is no property "${name}" of the ${what}.`, `Use one of: ${names}.`, code);
  }
}

/** `value` as an integer from `minimum` to `maximum`. */
export function integer(name: string, value: unknown, minimum: number, maximum: number): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= minimum && value <= maximum)
    return value;
  throw refused(
    `${name} is ${show(value)}: it has to be a number, an integer from ${minimum} to ${maximum}.`,
    `Pass another ${name}.`,
  );
}

/** `value` as true or false; `standard` if it is left out. */
export function flag(name: string, value: unknown, standard: boolean, code: RefusalCode = "USAGE"): boolean {
  if (value === undefined) return standard;
  if (typeof value === "boolean") return value;
  throw refused(`${name} is ${show(value)}: it has to be true or false.`, `Change ${name}.`, code);
}

/** The row of `table` that `name` names. */
export function choice<Name extends string, Row>(
  what: string,
  table: Readonly<Record<Name, Row>>,
  name: Name,
): Row {
  if (typeof name === "string" && Object.hasOwn(table, name)) return table[name];
  throw refused(`There is no ${what} ${show(name)}.`, `Use one of: ${Object.keys(table).join(", ")}.`);
}

/** Refuses what is no Uint8Array. */
export function checkBytes(what: string, value: unknown): asserts value is Uint8Array {
  if (value instanceof Uint8Array) return;
  throw refused(`The ${what} are ${show(value)}: they have to be a Uint8Array.`, "Pass a Uint8Array.");
}

/** Refuses what is no BigUint64Array. */
export function checkWords(what: string, value: unknown): asserts value is BigUint64Array {
  if (value instanceof BigUint64Array) return;
  throw refused(
    `The ${what} are ${show(value)}: they have to be a BigUint64Array.`,
    "Pass a BigUint64Array.",
  );
}
