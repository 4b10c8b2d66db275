/** What is walked, in words and for documents. */

import { hex } from "./address-text.js";
import { type Target } from "./target.js";

/** "4-level tables of CR3 0x2691000 (CR3 of CPU 0)" */
export function rootInWords({ registers, levels, origin }: Target): string {
  const { nested } = registers;
  const below =
    nested === null
      ? ""
      : nested.kind === "npt"
        ? `, through the nested tables at ${hex(nested.ncr3)}`
        : `, through the EPT tables of EPTP ${hex(nested.eptp)}`;
  return `${levels}-level tables of CR3 ${hex(registers.cr3)} (${origin})${below}`;
}

/** What was walked, for documents of every command. */
export function targetJson({ registers, levels, origin, remarks }: Target): object {
  return { root: { levels, origin, registers }, remarks };
}

/** The remarks of all targets, each once. */
export function remarksOf(targets: readonly Target[]): readonly string[] {
  return [...new Set(targets.flatMap(({ remarks }) => remarks))];
}
