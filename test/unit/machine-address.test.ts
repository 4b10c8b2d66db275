import { describe, expect, test } from "vitest";
import {
  gfn,
  gfnOf,
  gpa,
  gpaOf,
  gva,
  hpa,
  hva,
  pfn,
  type Gpa,
  type Gva,
  type GvaLike,
  type Pfn,
} from "../../src/index.js";
import { refused } from "./machine-fixture.js";

const spaces = [
  ["gva", gva, 64n],
  ["gpa", gpa, 52n],
  ["hva", hva, 47n],
  ["hpa", hpa, 52n],
  ["gfn", gfn, 40n],
] as const;

describe.each(spaces)("%s", (_, make, bits) => {
  test("takes 0, numbers and bigints up to the end of the space", () => {
    expect(make(0)).toBe(0n);
    expect(make(0x1234)).toBe(0x1234n);
    expect(make((1n << bits) - 1n)).toBe((1n << bits) - 1n);
  });

  test("refuses what is beyond it, and what is no integer", () => {
    for (const value of [1n << bits, -1n, -1, 0.5, NaN, Infinity, 2 ** 53, "0", null, undefined, {}]) {
      refused("ADDRESS_RANGE", () => make(value as number));
    }
  });
});

test("pfns are numbers", () => {
  expect(pfn(7)).toBe(7);
  for (const value of [-1, 2 ** 32, 0.5]) refused("ADDRESS_RANGE", () => pfn(value));
});

test("a frame and its address", () => {
  expect(gfnOf(gpa(0x12345))).toBe(0x12n);
  expect(gpaOf(gfn(0x12))).toBe(0x12000n);
});

test("address spaces do not mix; plain numbers serve as any (checked by tsc)", () => {
  const take = (at: GvaLike): Gva => gva(at);
  const physical: Gpa = gpa(1);
  const frame: Pfn = pfn(1);
  take(gva(1));
  take(1n);
  take(1);
  // @ts-expect-error a guest-physical address is not a guest-virtual one
  take(physical);
  // @ts-expect-error nor is a Gpa a Gva
  const wrong: Gva = physical;
  // @ts-expect-error a plain bigint has not been checked to be one
  const unchecked: Gva = 5n;
  expect([wrong, unchecked, frame]).toEqual([1n, 5n, 1]);
});
