// The number streams of the drivers: their distributions on fixed seeds, and permutations on any size and key.
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import {
  HEADER_OFFSET_FRAME_COUNT,
  HEADER_OFFSET_HOST_COUNT,
  HEADER_OFFSET_VCPU_COUNT,
} from "../../src/core/layout.generated.js";
import { compileTestModule } from "../compile-core.js";

interface Streams {
  setup(): number;
  start(actor: number, seed: bigint, steps: number): void;
  zipf(actor: number): number;
  draw(actor: number): bigint;
  below(draw: bigint, n: number): number;
  share(draw: bigint): number;
  permute(i: bigint, n: bigint, key: bigint): bigint;
}

let core: Streams;

beforeAll(async () => {
  const module = await compileTestModule("test/assembly/drive.ts");
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 65536, shared: true });
  const words = new Uint32Array(memory.buffer);
  words[HEADER_OFFSET_VCPU_COUNT >> 2] = 4;
  words[HEADER_OFFSET_HOST_COUNT >> 2] = 1;
  words[HEADER_OFFSET_FRAME_COUNT >> 2] = 16;
  core = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Streams;
  core.setup();
});

/** Chi-square statistic of counts against expected counts, per degree of freedom: near 1 if they agree. */
function chiSquare(counts: readonly number[], expected: readonly number[]): number {
  const sum = counts.reduce((total, count, i) => total + (count - expected[i]!) ** 2 / expected[i]!, 0);
  return sum / (counts.length - 1);
}

test.each([1, 2, 3, 1000])("uniform in [0, %i)", (n) => {
  core.start(0, 11n, 1);
  const draws = 200_000;
  const counts = new Array<number>(n).fill(0);
  for (let i = 0; i < draws; i++) counts[core.below(core.draw(0), n)]!++;
  if (n > 1) expect(chiSquare(counts, new Array<number>(n).fill(draws / n))).toBeLessThan(n < 10 ? 4 : 1.2);
});

test("the write share is independent of the step", () => {
  core.start(0, 5n, 1);
  const writes = new Array<number>(16).fill(0);
  const visits = new Array<number>(16).fill(0);
  for (let i = 0; i < 160_000; i++) {
    const draw = core.draw(0);
    const step = core.below(draw, 16);
    visits[step]!++;
    if (core.share(draw) < 19660) writes[step]!++; // 300 permille
  }
  for (let i = 0; i < 16; i++) expect(writes[i]! / visits[i]!).toBeCloseTo(0.3, 1);
});

test.each([1, 2, 3, 7, 100, 1000])("zipf over %i ranks: the k-th with probability 1 / (k H)", (n) => {
  core.start(0, 3n, n);
  const draws = 300_000;
  const counts = new Array<number>(n).fill(0);
  for (let i = 0; i < draws; i++) counts[core.zipf(0)]!++;
  const harmonic = counts.reduce((sum, _, i) => sum + 1 / (i + 1), 0);
  const expected = counts.map((_, i) => draws / (i + 1) / harmonic);
  if (n > 1) expect(chiSquare(counts, expected)).toBeLessThan(n < 10 ? 4 : 1.3);
});

test("zipf over 2^24 ranks stays in range, and each octave weighs the same", () => {
  core.start(0, 9n, 1 << 24);
  const octaves = new Array<number>(25).fill(0);
  for (let i = 0; i < 200_000; i++) {
    const rank = core.zipf(0) + 1;
    expect(rank).toBeLessThanOrEqual(1 << 24);
    octaves[31 - Math.clz32(rank)]!++;
  }
  // ln 2 each but for the first few: 1, 5/6, ...
  for (let j = 4; j < 24; j++) expect(octaves[j]! / octaves[12]!).toBeCloseTo(1, 0);
});

test("actors of one seed have streams of their own, the same each time", () => {
  const first = (actor: number, seed: bigint): bigint => {
    core.start(actor, seed, 1);
    return core.draw(actor);
  };
  const draws = [0, 1, 2, 3, 4].flatMap((actor) => [0n, 1n, 2n].map((seed) => first(actor, seed)));
  expect(new Set(draws).size).toBe(draws.length);
  expect(first(2, 1n)).toBe(draws[7]);
});

test("a permutation is one: every image in range, none twice", () => {
  const size = fc.integer({ min: 1, max: 700 });
  fc.assert(
    fc.property(size, fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), (n, key) => {
      const seen = new Set<bigint>();
      for (let i = 0; i < n; i++) seen.add(core.permute(BigInt(i), BigInt(n), key));
      expect(seen.size).toBe(n);
      for (const image of seen) if (image < 0n || image >= BigInt(n)) throw new Error(`${image} of ${n}`);
    }),
  );
});

test("a permutation scatters: neighbours rarely stay neighbours", () => {
  let near = 0;
  let last = core.permute(0n, 4096n, 12345n);
  for (let i = 1n; i < 4096n; i++) {
    const image = core.permute(i, 4096n, 12345n);
    const distance = image > last ? image - last : last - image;
    if (distance <= 8n) near++;
    last = image;
  }
  expect(near).toBeLessThan(64); // 16 of 4,096 by chance
});
