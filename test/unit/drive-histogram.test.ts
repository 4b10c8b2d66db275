// Histograms as a reader of shared memory finds them.
import { expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { DriveMachine } from "../drive-machine.js";

test("each actor records into a histogram of its own, with count, sum and maximum", () => {
  const m = new DriveMachine({ vcpus: 2, hosts: 1 });
  const record = (actor: number, ...values: bigint[]): void =>
    values.forEach((ns) => m.raw["histogramRecord"]!(actor, ns));
  record(0, 0n, 31n, 32n, 1000n);
  record(2, 5n);
  const word = (actor: number, offset: number): bigint =>
    m.view.getBigUint64(m.u32("histogramAddress", actor) + offset, true);
  expect(word(0, layout.HISTOGRAM_OFFSET_COUNT)).toBe(4n);
  expect(word(0, layout.HISTOGRAM_OFFSET_SUM)).toBe(1063n);
  expect(word(0, layout.HISTOGRAM_OFFSET_MAX)).toBe(1000n);
  expect(word(0, 8 * m.u32("histogramBucketOf", 1000n))).toBe(1n);
  expect(word(1, layout.HISTOGRAM_OFFSET_COUNT)).toBe(0n);
  expect(word(2, 8 * 5)).toBe(1n);
  m.raw["histogramClear"]!(0);
  expect(word(0, layout.HISTOGRAM_OFFSET_COUNT)).toBe(0n);
  expect(word(2, layout.HISTOGRAM_OFFSET_COUNT)).toBe(1n);
});
