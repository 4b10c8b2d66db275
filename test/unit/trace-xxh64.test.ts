import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Xxh64 } from "../../src/trace/xxh64.js";

function hashOf(...pieces: Uint8Array[]): bigint {
  const hash = new Xxh64();
  for (const piece of pieces) hash.update(piece);
  return hash.digest();
}

const MASK = (1n << 64n) - 1n;
const [P1, P2, P3, P4, P5] = [
  11400714785074694791n,
  14029467366897019727n,
  1609587929392839161n,
  9650029242287828579n,
  2870177450012600261n,
] as const;

/** The specification, word for word and all in bigints; slow, and written without a look at the other one. */
function oracle(data: Uint8Array): bigint {
  const rotate = (x: bigint, n: number): bigint => ((x << BigInt(n)) | (x >> BigInt(64 - n))) & MASK;
  const word = (at: number, bytes: number): bigint => {
    let value = 0n;
    for (let i = bytes - 1; i >= 0; i--) value = value * 256n + BigInt(data[at + i]!);
    return value;
  };
  const round = (acc: bigint, lane: bigint): bigint => (rotate((acc + lane * P2) & MASK, 31) * P1) & MASK;
  let at = 0;
  let acc: bigint = P5;
  if (data.length >= 32) {
    const lanes = [(P1 + P2) & MASK, P2, 0n, (MASK + 1n - P1) & MASK];
    for (; at + 32 <= data.length; at += 32) {
      for (let i = 0; i < 4; i++) lanes[i] = round(lanes[i]!, word(at + i * 8, 8));
    }
    acc = [1, 7, 12, 18].map((n, i) => rotate(lanes[i]!, n)).reduce((a, b) => a + b) & MASK;
    for (const lane of lanes) acc = ((acc ^ round(0n, lane)) * P1 + P4) & MASK;
  }
  acc = (acc + BigInt(data.length)) & MASK;
  for (; at + 8 <= data.length; at += 8) acc = (rotate(acc ^ round(0n, word(at, 8)), 27) * P1 + P4) & MASK;
  for (; at + 4 <= data.length; at += 4)
    acc = (rotate(acc ^ ((word(at, 4) * P1) & MASK), 23) * P2 + P3) & MASK;
  for (; at < data.length; at++) acc = (rotate(acc ^ ((word(at, 1) * P5) & MASK), 11) * P1) & MASK;
  acc = ((acc ^ (acc >> 33n)) * P2) & MASK;
  acc = ((acc ^ (acc >> 29n)) * P3) & MASK;
  return acc ^ (acc >> 32n);
}

describe("Xxh64", () => {
  test.each([
    ["", 0xef46db3751d8e999n],
    ["a", 0xd24ec4f1a98c6e5bn],
    ["abc", 0x44bc2cf5ad770999n],
    ["Nobody inspects the spammish repetition", 0xfbcea83c8a378bf1n],
  ])("published value of %j", (text, expected) => {
    expect(hashOf(Buffer.from(text))).toBe(expected);
  });

  test("every length across three stripes, with bytes that carry into every digit", () => {
    for (let length = 0; length <= 100; length++) {
      const ones = new Uint8Array(length).fill(0xff);
      const mixed = Uint8Array.from({ length }, (_, index) => index * 151 + length);
      expect(hashOf(ones)).toBe(oracle(ones));
      expect(hashOf(mixed)).toBe(oracle(mixed));
    }
  });

  test("does not depend on where the data are cut, nor on their place in memory", () => {
    const data = fc.uint8Array({ maxLength: 300 });
    const cuts = fc.array(fc.nat(300), { maxLength: 8 });
    fc.assert(
      fc.property(data, cuts, (bytes, offsets) => {
        const ends = [...offsets, bytes.length].sort((a, b) => a - b);
        const pieces = ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
        const expected = oracle(bytes);
        expect(hashOf(...pieces)).toBe(expected);
        const shifted = new Uint8Array(bytes.length + 3);
        shifted.set(bytes, 3);
        expect(hashOf(shifted.subarray(3))).toBe(expected);
      }),
      { numRuns: 500 },
    );
  });

  test("digest may be asked for in between", () => {
    const hash = new Xxh64();
    const bytes = Uint8Array.from({ length: 70 }, (_, index) => index);
    hash.update(bytes.subarray(0, 40));
    expect(hash.digest()).toBe(oracle(bytes.subarray(0, 40)));
    hash.update(bytes.subarray(40));
    expect(hash.digest()).toBe(oracle(bytes));
  });
});
