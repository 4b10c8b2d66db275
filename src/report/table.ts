/**
 * Plain tables for terminals, logs and diffs: no frame, no colour, one rule under the header. The same cells
 * always give the same text; nothing depends on the terminal, so output that is piped is what was seen.
 */

import Table from "cli-table3";

/** What a cell may hold. Numbers are printed as they are: format quantities with `units` first. */
export type Cell = string | number | bigint | null;

/** One column. */
export interface Column {
  readonly header: string;
  /** Unit of all cells, shown once, after the header: `faults (M/s)`. */
  readonly unit?: string;
  /** Default: right if every cell that is not empty starts like a number, else left. */
  readonly align?: "left" | "right";
  /** Wrap cells at this many characters, or at the longest word if that is longer. Default: never. */
  readonly wrap?: number;
}

/** Appearance of a table. */
export interface TableOptions {
  /** Draw the rule with U+2500 instead of `-`. Default false. */
  readonly unicode?: boolean;
  /** Spaces in front of each line. Default 0. */
  readonly indent?: number;
}

/** Between two columns. */
const GAP = "  ";

/** What stands where there is no value. An empty cell could also be a mistake. */
const NO_VALUE = "-";

/**
 * Renders rows under a header. Lines end without spaces, the last one without a line end; `null` is shown as
 * `-`.
 *
 * @throws RangeError when a row has more or fewer cells than there are columns: a defect of the caller.
 */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  options: TableOptions = {},
): string {
  const texts = rows.map((row, index) => {
    if (row.length === columns.length) return row.map((cell) => (cell === null ? NO_VALUE : String(cell)));
    throw new RangeError(`Row ${index} has ${row.length} cells for ${columns.length} columns.`);
  });
  const heads = columns.map(({ header, unit }) => (unit === undefined ? header : `${header} (${unit})`));
  const table = new Table({
    head: heads,
    chars: borderless(options.unicode === true ? "\u2500" : "-"),
    style: { "padding-left": 0, "padding-right": 0, head: [], border: [], compact: true },
    colAligns: columns.map((column, index) => column.align ?? alignOf(texts.map((row) => row[index]!))),
    colWidths: columns.map(({ wrap }, index) =>
      wrap === undefined ? null : wrappedWidth(wrap, heads, texts, index),
    ),
    wordWrap: true,
  });
  table.push(...texts);
  const margin = " ".repeat(options.indent ?? 0);
  return table
    .toString()
    .split("\n")
    .map((line) => (margin + line).trimEnd())
    .join("\n");
}

/** In the compact style cli-table3 draws `mid` only below the header. The rest of the frame is empty. */
function borderless(rule: string): Record<string, string> {
  const nothing = ["top", "bottom", "left", "right"].flatMap((side) => [
    side,
    `${side}-mid`,
    `${side}-left`,
    `${side}-right`,
  ]);
  return {
    ...Object.fromEntries(nothing.map((name) => [name, ""])),
    mid: rule,
    "mid-mid": GAP,
    middle: GAP,
  };
}

function alignOf(cells: readonly string[]): "left" | "right" {
  const filled = cells.filter((cell) => cell !== "" && cell !== NO_VALUE);
  return filled.length > 0 && filled.every((cell) => /^[-+\u00b1<>~]? ?(\d|inf|max|n\/a)/.test(cell))
    ? "right"
    : "left";
}

/** A column that wraps is as wide as its longest cell, up to `wrap`, but never cuts a word. */
function wrappedWidth(
  wrap: number,
  heads: readonly string[],
  rows: readonly (readonly string[])[],
  column: number,
): number {
  const cells = [heads, ...rows].map((row) => row[column]!);
  const longestCell = Math.max(...cells.map(lengthOf));
  const longestWord = Math.max(...cells.flatMap((cell) => cell.split(/\s+/)).map(lengthOf));
  return Math.max(1, longestWord, Math.min(wrap, longestCell));
}

function lengthOf(text: string): number {
  return [...text].length;
}
