// The log-linear histogram against a model that divides: buckets cover all values, in order, 1/32 of their value wide.
import fc from "fast-check";
import { expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { DriveMachine } from "../drive-machine.js";

const LIMIT = 1n << 41n;
const m = new DriveMachine({ vcpus: 1, hosts: 0, frames: 64, boot: false });
const bucketOf = (ns: bigint): number => m.u32("histogramBucketOf", ns);
const lowest = (bucket: number): bigint => m.u64("histogramBucketLow", bucket);

/** Bucket by repeated halving. */
function model(ns: bigint): number {
  let octave = 0;
  while (ns >> BigInt(octave) >= 64n) octave++;
  return ns < 32n ? Number(ns) : 32 * (octave + 1) + Number(ns >> BigInt(octave)) - 32;
}

test("bucket edges", () => {
  for (let bucket = 0; bucket < layout.HISTOGRAM_BUCKETS; bucket++) {
    expect(bucketOf(lowest(bucket))).toBe(bucket);
    if (bucket) expect(bucketOf(lowest(bucket) - 1n)).toBe(bucket - 1);
  }
  expect(lowest(layout.HISTOGRAM_BUCKETS)).toBe(LIMIT);
  expect(bucketOf(LIMIT - 1n)).toBe(layout.HISTOGRAM_BUCKETS - 1);
  expect(bucketOf((1n << 64n) - 1n)).toBe(layout.HISTOGRAM_BUCKETS - 1);
});

test("any value lies in its bucket, which is at most a 32nd of it wide", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: LIMIT - 1n }), fc.integer({ min: 0, max: 41 }), (wide, shift) => {
      const ns = wide >> BigInt(shift);
      const bucket = bucketOf(ns);
      expect(bucket).toBe(model(ns));
      const low = lowest(bucket);
      const next = lowest(bucket + 1);
      expect(low <= ns && ns < next).toBe(true);
      expect((next - low) * 32n <= (ns < 32n ? 32n : ns)).toBe(true);
    }),
  );
});

test("what was recorded is what is read", () => {
  fc.assert(
    fc.property(fc.array(fc.bigInt({ min: 0n, max: LIMIT }), { maxLength: 50 }), (values) => {
      m.raw["histogramClear"]!(0);
      const counts = new Map<number, bigint>();
      for (const ns of values) {
        m.raw["histogramRecord"]!(0, ns);
        counts.set(bucketOf(ns), (counts.get(bucketOf(ns)) ?? 0n) + 1n);
      }
      const at = m.u32("histogramAddress", 0);
      const found = new Map<number, bigint>();
      for (let i = 0; i < layout.HISTOGRAM_BUCKETS; i++) {
        const count = m.view.getBigUint64(at + 8 * i, true);
        if (count !== 0n) found.set(i, count);
      }
      expect([...found].sort()).toEqual([...counts].sort());
      const total = m.view.getBigUint64(at + layout.HISTOGRAM_OFFSET_COUNT, true);
      expect(total).toBe(BigInt(values.length));
      const sum = m.view.getBigUint64(at + layout.HISTOGRAM_OFFSET_SUM, true);
      expect(sum).toBe(values.reduce((a, b) => a + b, 0n));
    }),
  );
});
