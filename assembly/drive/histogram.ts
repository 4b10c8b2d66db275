// Recording in a log-linear histogram: one addition to a bucket of the actor's own (layout/histogram.ts).

import {
  HISTOGRAM_BUCKETS,
  HISTOGRAM_OFFSET_COUNT,
  HISTOGRAM_OFFSET_MAX,
  HISTOGRAM_OFFSET_SUM,
  HISTOGRAM_SIZE,
  HISTOGRAM_SUB_SHIFT,
} from "../layout/histogram";
import { Map } from "../layout/map";

/** Bucket that counts `value`. */
export function histogramBucket(value: u64): u32 {
  const low: u32 = 1 << HISTOGRAM_SUB_SHIFT;
  if (value < <u64>low) return <u32>value;
  const top = 63 - <u32>clz<u64>(value);
  const octave = top - HISTOGRAM_SUB_SHIFT;
  const bucket = ((octave + 1) << HISTOGRAM_SUB_SHIFT) + ((<u32>(value >> (<u64>octave))) & (low - 1));
  return min<u32>(bucket, HISTOGRAM_BUCKETS - 1);
}

/** Smallest value that counts in `bucket`. */
export function histogramLowest(bucket: u32): u64 {
  const low: u32 = 1 << HISTOGRAM_SUB_SHIFT;
  if (bucket < low) return bucket;
  const octave = (bucket >> HISTOGRAM_SUB_SHIFT) - 1;
  return (<u64>(low + (bucket & (low - 1)))) << (<u64>octave);
}

function raise(word: usize, by: u64): void {
  store<u64>(word, load<u64>(word) + by);
}

export function recordLatency(actor: usize, ns: u64): void {
  const histogram = Map.histogram(actor);
  raise(histogram + ((<usize>histogramBucket(ns)) << 3), 1);
  raise(histogram + HISTOGRAM_OFFSET_COUNT, 1);
  raise(histogram + HISTOGRAM_OFFSET_SUM, ns);
  if (ns > load<u64>(histogram + HISTOGRAM_OFFSET_MAX)) store<u64>(histogram + HISTOGRAM_OFFSET_MAX, ns);
}

export function clearHistogram(actor: usize): void {
  memory.fill(Map.histogram(actor), 0, HISTOGRAM_SIZE);
}
