import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PROFILES, type ProfileName } from "../../src/core/profiles.js";
import { RULES } from "../../src/core/rules.js";
import { parseToken, tokenOf, type TokenContent } from "../../src/explore/token.js";

const content: fc.Arbitrary<TokenContent> = fc.record({
  hash: fc.stringMatching(/^[0-9a-f]{8}$/),
  scenario: fc.stringMatching(/^[a-z0-9]{1,8}(-[a-z0-9]{1,4}){0,3}$/),
  profile: fc.constantFrom(...(Object.keys(PROFILES) as ProfileName[])),
  model: fc.constantFrom("sc", "tso", "weak"),
  // A token has them in order of their numbers.
  without: fc
    .subarray(
      RULES.map(({ number, name }) => ({ number, name })),
      { maxLength: 4 },
    )
    .map((rows) => [...rows].sort((a, b) => a.number - b.number).map(({ name }) => name)),
  stretches: fc.array(
    fc.record({
      actor: fc.nat({ max: 15 }),
      accesses: fc.nat({ max: 1_000_000 }),
      ways: fc.array(fc.nat({ max: 9 }), { maxLength: 3 }),
    }),
    { maxLength: 12 },
  ),
});

const EXAMPLE = "g1/5f3a9c1e/fault-vs-dontneed/v6.13/sc/-/a12b30.1a4";

describe("tokens", () => {
  test("say again what they were made of", () => {
    fc.assert(
      fc.property(content, (made) => {
        expect(parseToken(tokenOf(made))).toEqual(made);
        expect(parseToken(`  ${tokenOf(made)}\n`)).toEqual(made);
      }),
      { seed: 5, numRuns: 500 },
    );
  });

  test("the example of the description", () => {
    expect(parseToken(EXAMPLE)).toEqual({
      hash: "5f3a9c1e",
      scenario: "fault-vs-dontneed",
      profile: "v6.13",
      model: "sc",
      without: [],
      stretches: [
        { actor: 0, accesses: 12, ways: [] },
        { actor: 1, accesses: 30, ways: [1] },
        { actor: 0, accesses: 4, ways: [] },
      ],
    });
  });

  test.each([
    ["", "it has another form"],
    ["g1/5f3a9c1e/fault-vs-dontneed/v6.13/sc/-", "it has another form"],
    [EXAMPLE.replace("g1", "g2"), "it has another form"],
    [EXAMPLE.replace("v6.13", "v6.12"), 'there is no profile "v6.12"'],
    [EXAMPLE.replace("v6.13", "toString"), 'there is no profile "toString"'],
    [EXAMPLE.replace("/sc/", "/arm/"), 'there is no memory model "arm"'],
    [EXAMPLE.replace("/-/", "/9999/"), "there is no rule number 9999"],
    [EXAMPLE.replace("/-/", "/1+/"), "there is no rule number"],
    [EXAMPLE.replace("a12b30", "q12b30"), "its schedule is damaged"],
    [EXAMPLE.replace("b30.1", "b.1"), "its schedule is damaged"],
    [EXAMPLE.replace("b30.1", "b30."), "its schedule is damaged"],
    [`${EXAMPLE}x`, "its schedule is damaged"],
    [EXAMPLE.slice(0, -10), "its schedule is damaged"],
  ])("damaged: %s", (token, says) => {
    expect(() => parseToken(token)).toThrow(says);
  });
});
