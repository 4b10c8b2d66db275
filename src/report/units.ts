/**
 * Quantities as kernel engineers write them: printed for reports, and parsed from the command line.
 *
 * Decimal prefixes (k, M, G) count events; binary ones (KiB, MiB, `4k` as a page size) measure memory.
 */

import { usageError, type GuestMmuError } from "../errors.js";

/** U+202F groups digits without ending a word: `awk` still sees one field, and no line breaks inside. */
const GROUP_SEPARATOR = "\u202f";

/**
 * A rate in events per second, three significant digits and at most two decimals: `4.12 M/s`, `87.0 k/s`, `12
 * /s`. Infinity is `max`, the word for "as fast as it goes" on the command line.
 */
export function formatRate(perSecond: number): string {
  if (perSecond === Infinity) return "max";
  return scaled(perSecond, 1000, ["/s", "k/s", "M/s", "G/s", "T/s"]);
}

/** A duration given in nanoseconds: `87 ns`, `1.25 us`, `12.5 ms`, `2.00 s`. */
export function formatDurationNs(nanoseconds: number): string {
  return scaled(nanoseconds, 1000, ["ns", "us", "ms", "s"]);
}

/** A size in bytes: `512 B`, `4 KiB`, `1.50 MiB`, `3.90 GiB`. Whole multiples have no decimals. */
export function formatBytes(bytes: number | bigint): string {
  return scaled(Number(bytes), 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"], true);
}

/**
 * A count in full, in groups of three digits from five digits on: `1234`, `12 345`. The separator is a narrow
 * no-break space (U+202F). A number that is not whole is rounded first.
 */
export function formatCount(count: number | bigint): string {
  const digits = typeof count === "bigint" ? count.toString() : BigInt(Math.round(count)).toString();
  const length = digits.startsWith("-") ? digits.length - 1 : digits.length;
  return length < 5 ? digits : digits.replace(/\B(?=(?:\d{3})+$)/g, GROUP_SEPARATOR);
}

/** A count with its noun: `1 row`, `12 345 rows`. */
export function formatCounted(count: number, singular: string, plural = `${singular}s`): string {
  return `${formatCount(count)} ${count === 1 ? singular : plural}`;
}

/** A ratio: `0.87 x`, `12.4 x`, `310 x`. Infinity (no upper bound) is `inf x`. */
export function formatRatio(ratio: number): string {
  return `${significant(ratio)} x`;
}

/** A fraction as a percentage: 0.0312 is `3.1 %`, 0.25 is `25 %`. */
export function formatPercent(fraction: number): string {
  const percent = fraction * 100;
  if (!Number.isFinite(percent)) return `${significant(percent)} %`;
  const rounded = Math.abs(percent) < 9.95 ? percent.toFixed(1) : percent.toFixed(0);
  return `${rounded} %`;
}

/**
 * Divides by `base` until the rounded mantissa is below it, or the names run out.
 *
 * @param trimWhole print an exact multiple without decimals, as sizes are.
 */
function scaled(value: number, base: number, names: readonly string[], trimWhole = false): string {
  if (!Number.isFinite(value)) return `${significant(value)} ${names[0]!}`;
  let mantissa = value;
  let step = 0;
  // What counts is the number that is shown: 999.6 would be printed as 1000.
  while (step < names.length - 1 && Math.abs(Number(significant(mantissa))) >= base) {
    mantissa /= base;
    step++;
  }
  const isWhole = Number.isInteger(mantissa) && (trimWhole || step === 0);
  return `${isWhole ? mantissa.toFixed(0) : significant(mantissa)} ${names[step]!}`;
}

/** Three significant digits without an exponent, and all digits left of the point. */
function significant(value: number): string {
  if (Number.isNaN(value)) return "n/a";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const magnitude = Math.abs(value);
  // Rounding may carry into the next decade: 9.996 has to become 10.0, not 10.00.
  if (magnitude < 9.995) return value.toFixed(2);
  return magnitude < 99.95 ? value.toFixed(1) : value.toFixed(0);
}

/** Bounds of a parsed quantity, both inclusive. */
export interface Bounds {
  readonly min?: number;
  readonly max?: number;
}

const RATE_SUFFIXES: Suffixes = new Map([
  ["", 1],
  ["k", 1e3],
  ["m", 1e6],
  ["g", 1e9],
]);

const BYTE_SUFFIXES: Suffixes = new Map(
  ["", "k", "m", "g", "t"].flatMap((prefix, power): [string, number][] =>
    prefix === ""
      ? [
          ["", 1],
          ["b", 1],
        ]
      : [prefix, `${prefix}b`, `${prefix}ib`].map((suffix): [string, number] => [suffix, 1024 ** power]),
  ),
);

const MILLISECONDS: Suffixes = new Map([
  ["us", 1e-3],
  ["ms", 1],
  ["s", 1e3],
  ["m", 60e3],
  ["min", 60e3],
  ["h", 3600e3],
]);

const PAGE_SIZES: ReadonlyMap<string, number> = new Map([
  ["4k", 4096],
  ["2m", 2 * 1024 ** 2],
  ["1g", 1024 ** 3],
]);

type Suffixes = ReadonlyMap<string, number>;

/**
 * A list of rates in events per second: `0,1k,10k,100k,max`. `max` is Infinity: without a pause. An optional
 * `/s` may follow each rate.
 *
 * @throws GuestMmuError `USAGE` naming the option and the text.
 */
export function parseRates(option: string, text: string): number[] {
  const accepted =
    "rates per second from 0 to 1G such as 0, 500, 10k, 1.5M, or max, with commas between them";
  return parseList(option, text, accepted, (item) =>
    item === "max" ? Infinity : quantity(item.replace(/\/s$/, ""), RATE_SUFFIXES, { min: 0, max: 1e9 }),
  );
}

/**
 * A list of page sizes, `4k,2m,1g`, in bytes.
 *
 * @throws GuestMmuError `USAGE` naming the option and the text.
 */
export function parsePageSizes(option: string, text: string): number[] {
  const accepted = "page sizes 4k, 2m and 1g, with commas between them";
  return parseList(option, text, accepted, (item) => PAGE_SIZES.get(item));
}

/**
 * A list of whole numbers, `1,2,64`, within `bounds` (default 0 to 2^53 - 1).
 *
 * @throws GuestMmuError `USAGE` naming the option and the text.
 */
export function parseCounts(option: string, text: string, bounds: Bounds = {}): number[] {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = bounds;
  const accepted = `whole numbers from ${min} to ${max}, with commas between them`;
  return parseList(option, text, accepted, (item) =>
    /^\d+$/.test(item) ? quantity(item, RATE_SUFFIXES, { min, max }) : undefined,
  );
}

/**
 * One size in bytes: `4096`, `64m`, `1.5GiB`, `1t`; k, m, g, t are powers of 1024, with or without `B` or
 * `iB`. The result is a whole number within `bounds` (default 0 to 2^53 - 1).
 *
 * @throws GuestMmuError `USAGE` naming the option and the text.
 */
export function parseBytes(option: string, text: string, bounds: Bounds = {}): number {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = bounds;
  const bytes = quantity(text.trim().toLowerCase(), BYTE_SUFFIXES, { min, max });
  if (bytes !== undefined && Number.isInteger(bytes)) return bytes;
  throw rejected(
    option,
    text,
    `a size from ${formatBytes(min)} to ${formatBytes(max)} such as 4096, 64m, 1.5g or 1t`,
  );
}

/**
 * One duration in milliseconds: `500ms`, `2s`, `250us`, `1.5m`, `8h`. The unit is required: `5` could be
 * five of anything.
 *
 * @throws GuestMmuError `USAGE` naming the option and the text.
 */
export function parseDurationMs(option: string, text: string, bounds: Bounds = {}): number {
  const { min = 0, max = 1e3 * 3600e3 } = bounds;
  const milliseconds = quantity(text.trim().toLowerCase(), MILLISECONDS, { min, max });
  if (milliseconds !== undefined) return milliseconds;
  const range = `from ${formatDurationNs(min * 1e6)} to ${formatDurationNs(max * 1e6)}`;
  throw rejected(option, text, `a duration ${range} with its unit (us, ms, s, m, h) such as 500ms or 2s`);
}

/** Items between commas, in their order; undefined from `parseItem` rejects the whole list. */
function parseList(
  option: string,
  text: string,
  accepted: string,
  parseItem: (item: string) => number | undefined,
): number[] {
  const values: number[] = [];
  for (const item of text.split(",")) {
    const value = parseItem(item.trim().toLowerCase());
    if (value === undefined) throw rejected(option, text, accepted, item);
    if (values.includes(value)) throw rejected(option, text, "each value once", item);
    values.push(value);
  }
  return values;
}

/** Number and suffix, or undefined when it is neither in form nor in bounds. */
function quantity(text: string, suffixes: Suffixes, bounds: Required<Bounds>): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/.exec(text);
  const factor = suffixes.get(match?.[2] ?? "?");
  if (match === null || factor === undefined) return undefined;
  const value = Number(match[1]) * factor;
  return value >= bounds.min && value <= bounds.max ? value : undefined;
}

function rejected(option: string, text: string, accepted: string, item?: string): GuestMmuError {
  const part = item === undefined || item === text ? "" : ` (at "${item.trim()}")`;
  return usageError(`${option}: cannot use "${text}"${part}.`, `${option} takes ${accepted}.`);
}
