import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PROFILES, type ProfileName } from "../../src/core/profiles.js";
import { RULES } from "../../src/core/rules.js";
import { TOKEN_KINDS, parseToken, tokenOf, type TokenContent } from "../../src/explore/token.js";

const content: fc.Arbitrary<TokenContent> = fc.record({
  hash: fc.stringMatching(/^[0-9a-f]{8}$/),
  scenarioHash: fc.stringMatching(/^[0-9a-f]{6}$/),
  kind: fc.constantFrom(...TOKEN_KINDS),
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

const BODY = "g2/5f3a9c1e-07b1c2/fault-vs-dontneed/v6.13/sc/-/violation/a12b30.1a4";
const sum = (text: string): string =>
  `${text}/${createHash("sha256").update(text).digest("hex").slice(0, 6)}`;
const EXAMPLE = sum(BODY);

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
      scenarioHash: "07b1c2",
      kind: "violation",
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

  test("mangled in any place, cut off anywhere or added to, are refused", () => {
    const token = fc.record({
      made: content,
      at: fc.nat(),
      letter: fc.constantFrom(..."0123456789abc/+-.g"),
    });
    fc.assert(
      fc.property(token, ({ made, at, letter }) => {
        const text = tokenOf(made);
        const i = at % text.length;
        for (const other of [text.slice(0, i), text.slice(0, i) + letter + text.slice(i + 1), text + letter])
          if (other !== text) expect(() => parseToken(other)).toThrow("The token cannot be used");
      }),
      { seed: 6, numRuns: 500 },
    );
  });

  test.each([
    ["", "it has another form"],
    ["guestmmu", "it has another form"],
    [BODY, "it is cut off"],
    [EXAMPLE.replace("g2", "g1"), "it is of another version of guestmmu (g1)"],
    ["g1/d1987ad3/fault-vs-dontneed/v6.13/sc/5/a247b75a64", "it is of another version"],
    [EXAMPLE.replace("a12b30", "a12b3"), "its checksum is of another one"],
    [EXAMPLE.slice(0, -1), "its checksum is of another one"],
    [sum(BODY.replace("-07b1c2", "")), "it has another form"],
    [sum(BODY.replace("v6.13", "v6.12")), 'there is no profile "v6.12"'],
    [sum(BODY.replace("v6.13", "toString")), 'there is no profile "toString"'],
    [sum(BODY.replace("/sc/", "/arm/")), 'there is no memory model "arm"'],
    [sum(BODY.replace("/violation/", "/done/")), 'nothing ends in "done"'],
    [sum(BODY.replace("/-/", "/9999/")), "there is no rule number 9999"],
    [sum(BODY.replace("/-/", "/1+/")), "there is no rule number"],
    [sum(BODY.replace("/-/", "/5+5/")), "its rules are not in order"],
    [sum(BODY.replace("a12b30", "q12b30")), "its schedule is damaged"],
    [sum(BODY.replace("b30.1", "b.1")), "its schedule is damaged"],
    [sum(BODY.replace("b30.1", "b30.")), "its schedule is damaged"],
  ])("damaged: %s", (token, says) => {
    expect(() => parseToken(token)).toThrow(says);
  });
});
