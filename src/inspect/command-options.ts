/** Options that the commands over images share, from text to what they stand for; and an image for the time of a command. */

import { usageError } from "../errors.js";
import { openImage } from "../images/open.js";
import { type PhysicalImage } from "../images/types.js";
import { parseBytes } from "../report/units.js";
import { parseAddress } from "./address-text.js";
import { type RootLevels } from "./roots.js";
import { SEARCH_LIMIT_BYTES, type SearchOptions } from "./search.js";
import { type TargetOptions } from "./target.js";

/** How far a search for roots goes, as it is typed. */
export interface SearchCommandOptions {
  readonly searchLimit?: string;
  readonly thorough?: boolean;
}

/** What is walked, as it is typed. */
export interface TargetCommandOptions extends SearchCommandOptions {
  readonly cr3?: string;
  readonly cpu?: string;
  readonly nested?: boolean;
  readonly ncr3?: string;
  readonly eptp?: string;
  readonly efer?: string;
  readonly levels?: string;
  readonly maxphyaddr?: string;
  readonly pkru?: string;
}

const CPU_MAX = 65_535;

/** Error: `USAGE` naming option and text. */
export function parseSearch({ searchLimit, thorough }: SearchCommandOptions): SearchOptions {
  const limitBytes =
    searchLimit === undefined ? SEARCH_LIMIT_BYTES : parseBytes("--search-limit", searchLimit);
  return { limitBytes, thorough: thorough === true };
}

/** Error: `USAGE` naming option and text. */
export function parseTarget(options: TargetCommandOptions): TargetOptions {
  const { cr3, cpu, ncr3, eptp, efer, levels, maxphyaddr, pkru } = options;
  return {
    ...given("cr3", cr3, (text) => parseAddress("--cr3", text, "register")),
    ...given("cpu", cpu, (text) => parseOne("--cpu", text, 0, CPU_MAX)),
    ...given("ncr3", ncr3, (text) => parseAddress("--ncr3", text, "physical")),
    ...given("eptp", eptp, (text) => parseAddress("--eptp", text, "physical")),
    ...given("efer", efer, (text) => parseAddress("--efer", text, "register")),
    ...given("levels", levels, (text) => parseOne("--levels", text, 4, 5) as RootLevels),
    ...given("maxphyaddr", maxphyaddr, (text) => parseOne("--maxphyaddr", text, 32, 52)),
    ...given("pkru", pkru, (text) => parseAddress("--pkru", text, "pkru")),
    nested: options.nested === true,
    search: parseSearch(options),
  };
}

/** The property, if there is a text for it. */
function given<Name extends string, Value>(
  name: Name,
  text: string | undefined,
  parse: (text: string) => Value,
): { [name in Name]?: Value } {
  return text === undefined ? {} : ({ [name]: parse(text) } as { [name in Name]: Value });
}

/** One whole number. Error: `USAGE` naming option and text. */
export function parseOne(option: string, text: string, min: number, max: number): number {
  const digits = text.trim();
  const value = /^\d+$/.test(digits) ? Number(digits) : NaN;
  if (value >= min && value <= max) return value;
  throw usageError(
    `${option}: cannot use "${text.slice(0, 60)}".`,
    `${option} takes one whole number from ${min} to ${max}.`,
  );
}

/** Opens an image, and closes it whatever `use` does. */
export async function withImage<T>(path: string, use: (image: PhysicalImage) => T | Promise<T>): Promise<T> {
  const image = await openImage(path);
  try {
    return await use(image);
  } finally {
    image.close();
  }
}
