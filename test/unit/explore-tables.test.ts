// The tables below the search against the collections of the language, and the parts of the explorer that are plain data.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Histories, type Call, type CallResult } from "../../src/explore/program.js";
import { Fingerprints, Ints, TripleTable, mixHigh, mixLow } from "../../src/explore/tables.js";

const word = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.integer());

describe("tables", () => {
  test("a table of triples is a map", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(word, word, word), { maxLength: 400 }), (keys) => {
        const table = new TripleTable(2);
        const model = new Map<string, number>();
        for (const [a, b, c] of keys) {
          const key = `${a} ${b} ${c}`;
          expect(table.find(a, b, c)).toBe(model.get(key) ?? -1);
          if (!model.has(key)) model.set(key, table.add(a, b, c));
        }
        expect(table.size).toBe(model.size);
        for (const [key, number] of model) {
          expect([0, 1, 2].map((i) => table.key(number, i as 0 | 1 | 2)).join(" ")).toBe(key);
        }
      }),
      { seed: 1, numRuns: 100 },
    );
  });

  test("a set of fingerprints is a set, also after it has grown", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(word, word), { maxLength: 300 }), fc.integer(), (some, salt) => {
        const set = new Fingerprints(1_000_000);
        const model = new Set<string>();
        const many = Array.from({ length: 4000 }, (_, i) => [Math.imul(i, salt | 1), i % 7] as const);
        for (const [low, high] of [...some, ...many, ...some]) {
          // A word of 0 counts as 1: a slot of zeroes is a free one.
          const key = `${low || 1} ${high || 1}`;
          expect(set.has(low, high)).toBe(model.has(key));
          expect(set.add(low, high)).toBe(!model.has(key));
          model.add(key);
        }
        expect(set.size).toBe(model.size);
      }),
      { seed: 2, numRuns: 20 },
    );
  });

  // Where it grows, the new one has to be called new, and its slot given.
  test("the fingerprint that makes the set grow is new", () => {
    const set = new Fingerprints(100_000);
    for (let i = 1; i <= 50_000; i++) expect(set.add(i, 0)).toBe(true);
    for (let i = 1; i <= 50_000; i++) expect(set.add(i, 0)).toBe(false);
    expect(set.size).toBe(50_000);
  });

  test("a set of fingerprints says when it is full", () => {
    const set = new Fingerprints(3);
    for (let i = 1; i <= 3; i++) {
      expect(set.full).toBe(false);
      set.add(i, i);
    }
    set.add(1, 1);
    expect(set.full).toBe(true);
  });

  test("a list of integers grows and keeps what it has", () => {
    const list = new Ints(1);
    for (let i = 0; i < 1000; i++) expect(list.push(i - 500)).toBe(i);
    expect([...list.data.subarray(0, list.length)]).toEqual(Array.from({ length: 1000 }, (_, i) => i - 500));
  });

  test("the hash of a vector does not depend on the way to it", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat({ max: 5 }), word), { maxLength: 50 }), (writes) => {
        const vector = [0, 0, 0, 0, 0, 0];
        const full = (mix: typeof mixLow) => vector.reduce((h, value, i) => h ^ mix(i, value), 0);
        let [low, high] = [full(mixLow), full(mixHigh)];
        for (const [i, value] of writes) {
          low ^= mixLow(i, vector[i]!) ^ mixLow(i, value);
          high ^= mixHigh(i, vector[i]!) ^ mixHigh(i, value);
          vector[i] = value;
        }
        expect([low, high]).toEqual([full(mixLow), full(mixHigh)]);
      }),
      { seed: 3, numRuns: 100 },
    );
  });

  test("the two halves of a hash are not one", () => {
    const pairs = new Set<string>();
    const lows = new Set<number>();
    for (let i = 0; i < 50; i++) {
      for (let value = -500; value < 500; value++) {
        pairs.add(`${mixLow(i, value)} ${mixHigh(i, value)}`);
        lows.add(mixLow(i, value));
      }
    }
    expect(pairs.size).toBe(50_000);
    // 50,000 numbers of 32 bits: less than one collision is expected.
    expect(lows.size).toBeGreaterThan(49_990);
  });
});

describe("programs", () => {
  const call = (text: string): Call => ({ name: "x", args: [], text });
  function* guess(): Generator<Call, void, CallResult> {
    let low = 0;
    while ((yield call(`is it ${low}`)) === 0) low++;
    yield call("done");
  }

  test("what comes next depends on the results, and equal results are one history", () => {
    const histories = new Histories(guess);
    expect(histories.next(0)!.text).toBe("is it 0");
    const no = histories.extend(0, 0);
    expect(histories.next(no)!.text).toBe("is it 1");
    expect(histories.extend(0, 0)).toBe(no);
    const yes = histories.extend(no, 1);
    expect(histories.next(yes)!.text).toBe("done");
    const end = histories.extend(yes, 5);
    expect(histories.next(end)).toBe(null);
    expect(histories.results(end)).toEqual([0, 1, 5]);
  });
  test("1 and 1n are different results", () => {
    const histories = new Histories(guess);
    expect(histories.extend(0, 1)).not.toBe(histories.extend(0, 1n));
  });
  test("a program that depends on something else is refused", () => {
    let runs = 0;
    const histories = new Histories(function* () {
      if (runs++ === 0) yield call("only the first time");
    });
    expect(() => histories.next(0)).toThrow("and another time nothing more");
  });
});
