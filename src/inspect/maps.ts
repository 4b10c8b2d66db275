/** `guestmmu maps`: all that a root maps, row by row as it is found, so that memory does not grow with the listing. */

import { type PageWalker } from "../walker/index.js";
import { ByteWriter, type Sink } from "./byte-writer.js";
import { hex } from "./address-text.js";
import { openDocument } from "./json.js";
import { CsvRows, JsonRows, ROW_WORDS, TextRows, type MappingFold, type RowShape } from "./mapping-rows.js";
import { type Target } from "./target.js";
import { rootInWords, targetJson } from "./target-text.js";

/** Forms of a listing. */
export type MapsFormat = "text" | "csv" | "json";

/** What is listed. */
export interface MapsOptions {
  readonly format: MapsFormat;
  readonly fold: MappingFold;
  /** The first address, and the one after the last. */
  readonly from?: bigint;
  readonly to?: bigint;
}

/** Writes the mappings of one target after the other; returns the number of rows. */
export function writeMaps(
  walker: PageWalker,
  targets: readonly Target[],
  image: string,
  options: MapsOptions,
  sink: Sink,
): number {
  const out = new ByteWriter(sink);
  const write = { text: writeText, csv: writeCsv, json: writeJson }[options.format];
  const rows = write(out, walker, targets, image, options);
  out.flush();
  return rows;
}

type Writer = (
  out: ByteWriter,
  walker: PageWalker,
  targets: readonly Target[],
  image: string,
  options: MapsOptions,
) => number;

function shapeOf({ registers }: Target, { fold }: MapsOptions): RowShape {
  return { fold, nested: registers.nested !== null };
}

const writeText: Writer = (out, walker, targets, _image, options) => {
  let total = 0;
  targets.forEach((target, index) => {
    if (index > 0) out.text("\n");
    out.text(`${rootInWords(target)}\n`);
    for (const remark of target.remarks) out.text(`note: ${remark}\n`);
    const rows = new TextRows(out, shapeOf(target, options));
    rows.begin();
    const count = writeRows(walker, target, options, (words, at) => rows.row(words, at));
    out.text(`${count} ${count === 1 ? "row" : "rows"}\n`);
    total += count;
  });
  return total;
};

const writeCsv: Writer = (out, walker, targets, _image, options) => {
  let total = 0;
  targets.forEach((target, index) => {
    const shape = shapeOf(target, options);
    const rows = new CsvRows(out, targets.length > 1 ? { ...shape, root: hex(target.registers.cr3) } : shape);
    if (index === 0) rows.begin();
    total += writeRows(walker, target, options, (words, at) => rows.row(words, at));
  });
  return total;
};

const writeJson: Writer = (out, walker, targets, image, options) => {
  let total = 0;
  out.utf8(openDocument("maps", { image, fold: options.fold }, "roots"));
  targets.forEach((target, index) => {
    const head = JSON.stringify(targetJson(target), (_, value: unknown) =>
      typeof value === "bigint" ? hex(value) : value,
    );
    out.text(`${index === 0 ? "[" : ","}\n${head.slice(0, -1)},"mappings":`);
    const rows = new JsonRows(out, shapeOf(target, options));
    rows.begin();
    total += writeRows(walker, target, options, (words, at) => rows.row(words, at));
    rows.end();
    out.text("}");
  });
  out.text(targets.length === 0 ? "[]\n}\n" : "]\n}\n");
  return total;
};

/** Calls `row` for each mapping of a target. */
export function writeRows(
  walker: PageWalker,
  target: Target,
  { fold, from, to }: Omit<MapsOptions, "format">,
  row: (words: Uint32Array, at: number) => void,
): number {
  walker.setRegisters(target.registers);
  let count = 0;
  const range = { ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) };
  for (const block of walker.scan({ fold, ...range })) {
    for (let i = 0, at = 0; i < block.count; i++, at += ROW_WORDS) row(block.halves, at);
    count += block.count;
  }
  return count;
}
