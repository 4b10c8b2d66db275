/** `guestmmu maps`: all that a root maps, row by row as it is found, so that memory does not grow with the listing. */

import { type PageWalker } from "../walker/index.js";
import { ByteWriter, type Sink } from "./byte-writer.js";
import { hex } from "./address-text.js";
import { openDocument } from "./json.js";
import {
  CsvRows,
  JsonRows,
  ROW_WORDS,
  TextRows,
  type MappingFold,
  type RowShape,
  type RowWriter,
} from "./mapping-rows.js";
import { type Target } from "./target.js";
import { rootInWords, targetJson } from "./target-text.js";

/** Forms of a listing. */
export type MapsFormat = "text" | "csv" | "json";

/** Writes the mappings of one target after the other; false if `maxRows` has cut one of them. */
export function writeMaps(
  walker: PageWalker,
  targets: readonly Target[],
  image: string,
  format: MapsFormat,
  options: RowsOptions,
  sink: Sink,
): boolean {
  const out = new ByteWriter(sink);
  const write = { text: writeText, csv: writeCsv, json: writeJson }[format];
  const isWhole = write(out, walker, targets, image, options);
  out.flush();
  return isWhole;
}

type Writer = (
  out: ByteWriter,
  walker: PageWalker,
  targets: readonly Target[],
  image: string,
  options: RowsOptions,
) => boolean;

function shapeOf({ registers }: Target, { fold }: RowsOptions): RowShape {
  return { fold, nested: registers.nested !== null };
}

/** The rows of one target through a writer of rows. */
function rowsThrough(rows: RowWriter, walker: PageWalker, target: Target, options: RowsOptions): RowsEnd {
  return writeRows(walker, target, options, (words, at) => rows.row(words, at));
}

const writeText: Writer = (out, walker, targets, _image, options) => {
  let isWhole = true;
  targets.forEach((target, index) => {
    if (index > 0) out.text("\n");
    out.text(`${rootInWords(target)}\n`);
    for (const remark of target.remarks) out.text(`note: ${remark}\n`);
    const rows = new TextRows(out, shapeOf(target, options));
    rows.begin();
    const { count, next } = rowsThrough(rows, walker, target, options);
    out.text(`${count} ${count === 1 ? "row" : "rows"}\n`);
    if (next === null) return;
    out.text(`note: There are more (--max-rows): go on with --from ${hex(next)}.\n`);
    isWhole = false;
  });
  return isWhole;
};

const writeCsv: Writer = (out, walker, targets, _image, options) => {
  let isWhole = true;
  targets.forEach((target, index) => {
    const shape = shapeOf(target, options);
    const rows = new CsvRows(out, targets.length > 1 ? { ...shape, root: hex(target.registers.cr3) } : shape);
    if (index === 0) rows.begin();
    if (rowsThrough(rows, walker, target, options).next !== null) isWhole = false;
  });
  return isWhole;
};

const writeJson: Writer = (out, walker, targets, image, options) => {
  let isWhole = true;
  out.utf8(openDocument("maps", { image, fold: options.fold }, "roots"));
  targets.forEach((target, index) => {
    const head = JSON.stringify(targetJson(target), (_, value: unknown) =>
      typeof value === "bigint" ? hex(value) : value,
    );
    out.text(`${index === 0 ? "[" : ","}\n`);
    out.utf8(`${head.slice(0, -1)},"mappings":`);
    const rows = new JsonRows(out, shapeOf(target, options));
    rows.begin();
    const { next } = rowsThrough(rows, walker, target, options);
    rows.end();
    out.text(`,"next":${next === null ? "null" : `"${hex(next)}"`}}`);
    if (next !== null) isWhole = false;
  });
  out.text("]\n}\n");
  return isWhole;
};

/** Which rows of a target are told. */
export interface RowsOptions {
  readonly fold: MappingFold;
  /** The first address, and the one after the last. */
  readonly from?: bigint;
  readonly to?: bigint;
  readonly maxRows?: number;
}

/** How many rows there were; `next` is where to go on if `maxRows` has ended it, else null. */
export interface RowsEnd {
  readonly count: number;
  readonly next: bigint | null;
}

/** Calls `row` for each mapping of a target, until it returns false. Error: `LIMIT_REACHED` for tables that refer to themselves without end. */
export function writeRows(
  walker: PageWalker,
  target: Target,
  options: RowsOptions,
  row: (words: Uint32Array, at: number) => boolean | void,
): RowsEnd {
  walker.setRegisters(target.registers);
  const rows = walker.scan(options);
  for (let count = 0; ;) {
    const { value, done } = rows.next();
    if (done) return { count, next: value.next };
    for (let i = 0, at = 0; i < value.count; i++, at += ROW_WORDS)
      if (row(value.halves, at) === false) return { count: count + i + 1, next: null };
    count += value.count;
  }
}
