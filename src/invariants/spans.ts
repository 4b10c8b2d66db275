/**
 * Translations as runs: pages [first, end) map to frames from pfn on, all with the same attributes. A leaf of 2 MiB is one
 * run of 512 pages, so that leaves of different sizes compare page by page without 512 entries in a state.
 */

/** first page, page behind the last, pfn of the first, attributes. */
export type Span = readonly [first: number, end: number, pfn: number, bits: number];

/** Ascending, disjoint, merged where one run continues another: equal mappings, equal text. */
export type Spans = readonly Span[];

/** What `page` maps to. */
export function spanAt(spans: Spans, page: number): { pfn: number; bits: number } | null {
  for (const [first, end, pfn, bits] of spans) {
    if (page >= first && page < end) return { pfn: pfn + page - first, bits };
  }
  return null;
}

/** The parts of runs within [first, end). */
export function within(spans: Spans, first: number, end: number): Spans {
  const parts: Span[] = [];
  for (const [a, b, pfn, bits] of spans) {
    const from = Math.max(a, first);
    const to = Math.min(b, end);
    if (from < to) parts.push([from, to, pfn + from - a, bits]);
  }
  return parts;
}

/** Without [first, end): the same array if nothing was there. */
export function cut(spans: Spans, first: number, end: number): Spans {
  if (!spans.some(([a, b]) => a < end && first < b)) return spans;
  return [...within(spans, 0, first), ...within(spans, end, Infinity)];
}

/** With [first, end) mapped to frames from pfn on. */
export function cover(spans: Spans, first: number, end: number, pfn: number, bits: number): Spans {
  const rest = [...cut(spans, first, end), [first, end, pfn, bits] as Span].sort((a, b) => a[0] - b[0]);
  const merged: Span[] = [];
  for (const span of rest) {
    const last = merged.at(-1);
    const continues =
      last !== undefined &&
      last[1] === span[0] &&
      last[2] + last[1] - last[0] === span[2] &&
      last[3] === span[3];
    if (continues) merged[merged.length - 1] = [last[0], span[1], last[2], last[3]];
    else merged.push(span);
  }
  return merged;
}

/** True if some page maps to a frame of [pfn, pfn + count) and its attributes satisfy `wanted`. */
export function maps(spans: Spans, pfn: number, count = 1, wanted = 0): boolean {
  return spans.some(([a, b, p, bits]) => p < pfn + count && pfn < p + b - a && (bits & wanted) === wanted);
}
