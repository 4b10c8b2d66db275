/** Results as JSON for programs: addresses, entries and registers are strings in hexadecimal, since they have 64 bits. */

import { readFileSync } from "node:fs";
import { hex } from "./address-text.js";

/** The form of the documents; a change that a reader must know of changes it. */
export const INSPECT_SCHEMA = "guestmmu-inspect/1";

/** Properties that every document begins with. */
export function documentHead(kind: string): object {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  return { schema: INSPECT_SCHEMA, kind, guestmmu: version };
}

/** Text of a document of this schema. */
export function document(kind: string, content: object): string {
  return `${JSON.stringify({ ...documentHead(kind), ...content }, plain, 2)}\n`;
}

/**
 * The beginning of a document whose last property is a long array that is written row by row: up to the name of that
 * array. `}` and a line end are still to follow the array.
 */
export function openDocument(kind: string, content: object, array: string): string {
  const head = JSON.stringify({ ...documentHead(kind), ...content }, plain, 2);
  return `${head.slice(0, -2)},\n  ${JSON.stringify(array)}: `;
}

function plain(_: string, value: unknown): unknown {
  if (typeof value === "bigint") return hex(value);
  return value instanceof Map ? Object.fromEntries(value) : value;
}
