import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { GuestMmuError } from "../../src/errors.js";
import {
  formatBytes,
  formatCount,
  formatDurationNs,
  formatPercent,
  formatRate,
  formatRatio,
  parseBytes,
  parseCounts,
  parseDurationMs,
  parsePageSizes,
  parseRates,
} from "../../src/report/units.js";

const GiB = 1024 ** 3;

describe("formatting", () => {
  test.each([
    [0, "0 /s"],
    [0.5, "0.50 /s"],
    [9.996, "10.0 /s"],
    [12, "12 /s"],
    [87.25, "87.3 /s"],
    [999.4, "999 /s"],
    [999.6, "1.00 k/s"],
    [1000, "1.00 k/s"],
    [99_960, "100 k/s"],
    [999_499, "999 k/s"],
    [999_500, "1.00 M/s"],
    [4_123_456, "4.12 M/s"],
    [2.5e9, "2.50 G/s"],
    [1e15, "1000 T/s"],
    [Infinity, "max"],
    [Number.NaN, "n/a /s"],
  ])("rate %d is %s", (rate, text) => {
    expect(formatRate(rate)).toBe(text);
  });

  test.each([
    [0, "0 ns"],
    [87, "87 ns"],
    [87.5, "87.5 ns"],
    [1250, "1.25 us"],
    [12.5e6, "12.5 ms"],
    [2e9, "2.00 s"],
    [7.2e12, "7200 s"],
    [-1500, "-1.50 us"],
  ])("%d nanoseconds are %s", (nanoseconds, text) => {
    expect(formatDurationNs(nanoseconds)).toBe(text);
  });

  test.each<[number | bigint, string]>([
    [0, "0 B"],
    [512, "512 B"],
    [1023, "1023 B"],
    [4096, "4 KiB"],
    [1023 * 1024, "1023 KiB"],
    [1.5 * 1024 ** 2, "1.50 MiB"],
    [1024 ** 2 - 1, "1.00 MiB"],
    [3.9 * GiB, "3.90 GiB"],
    [1024n ** 4n, "1 TiB"],
    [5000 * 1024 ** 5, "5000 PiB"],
  ])("%d bytes are %s", (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  test.each<[number | bigint, string]>([
    [0, "0"],
    [1234, "1234"],
    [-1234, "-1234"],
    [12_345, "12 345"],
    [-123_456, "-123 456"],
    [1_234_567.4, "1 234 567"],
    [1e21, "1 000 000 000 000 000 000 000"],
    [10n ** 18n + 1n, "1 000 000 000 000 000 001"],
  ])("count %d is %s, with narrow no-break spaces", (count, text) => {
    expect(formatCount(count)).toBe(text.replaceAll(" ", "\u202f"));
  });

  test.each([
    [0.87, "0.87 x"],
    [0.999, "1.00 x"],
    [9.995, "10.0 x"],
    [12.44, "12.4 x"],
    [310.4, "310 x"],
    [Infinity, "inf x"],
  ])("ratio %d is %s", (ratio, text) => {
    expect(formatRatio(ratio)).toBe(text);
  });

  test.each([
    [0, "0.0 %"],
    [0.0312, "3.1 %"],
    [-0.02, "-2.0 %"],
    [0.0996, "10 %"],
    [0.25, "25 %"],
    [Infinity, "inf %"],
  ])("fraction %d is %s", (fraction, text) => {
    expect(formatPercent(fraction)).toBe(text);
  });

  test("what is printed is within half a percent of the value, and has at most four digits", () => {
    const units: Record<string, number> = { "/s": 1, "k/s": 1e3, "M/s": 1e6, "G/s": 1e9, "T/s": 1e12 };
    fc.assert(
      fc.property(fc.double({ min: 1, max: 9e14, noNaN: true }), (rate) => {
        const [mantissa, unit] = formatRate(rate).split(" ");
        expect(Math.abs((Number(mantissa) * units[unit!]!) / rate - 1)).toBeLessThan(0.00501);
        expect(mantissa!.replace(".", "").length).toBeLessThanOrEqual(3);
      }),
    );
  });
});

function refusal(action: () => unknown): { message: string; hint: string } {
  try {
    return { message: `returned ${String(action())}`, hint: "" };
  } catch (error) {
    expect(error).toBeInstanceOf(GuestMmuError);
    expect((error as GuestMmuError).code).toBe("USAGE");
    return error as GuestMmuError;
  }
}

describe("parsing", () => {
  test("rates", () => {
    expect(parseRates("--invalidate", "0,1k,10k,100k,max")).toEqual([0, 1e3, 1e4, 1e5, Infinity]);
    expect(parseRates("--invalidate", " 1.5M/s, 500 , MAX,1g")).toEqual([1.5e6, 500, Infinity, 1e9]);
  });

  test("page sizes", () => {
    expect(parsePageSizes("--page-size", "4k,2M,1g")).toEqual([4096, 2 * 1024 ** 2, GiB]);
  });

  test("counts", () => {
    expect(parseCounts("--vcpus", "1,2,64", { min: 1, max: 64 })).toEqual([1, 2, 64]);
    expect(parseCounts("--span", "0")).toEqual([0]);
  });

  test.each([
    ["4096", 4096],
    ["0", 0],
    ["17b", 17],
    ["64m", 64 * 1024 ** 2],
    ["64MiB", 64 * 1024 ** 2],
    ["64 MB", 64 * 1024 ** 2],
    ["1.5g", 1.5 * GiB],
    [" 1t ", 1024 * GiB],
    ["256k", 256 * 1024],
  ])("size %j is %d bytes", (text, bytes) => {
    expect(parseBytes("--memory", text)).toBe(bytes);
  });

  test.each([
    ["500ms", 500],
    ["2s", 2000],
    ["250us", 0.25],
    ["1.5m", 90_000],
    ["2min", 120_000],
    ["8h", 8 * 3600e3],
    ["0s", 0],
  ])("duration %j is %d ms", (text, milliseconds) => {
    expect(parseDurationMs("--duration", text)).toBe(milliseconds);
  });

  test.each<[name: string, action: () => unknown, parts: string[]]>([
    [
      "rate",
      () => parseRates("--rate", "1k,10q"),
      ['--rate: cannot use "1k,10q" (at "10q")', "rates per second"],
    ],
    ["rate without digits", () => parseRates("--rate", ""), ['--rate: cannot use ""', "with commas between"]],
    ["trailing comma", () => parseRates("--rate", "1k,"), ['(at "")']],
    ["negative rate", () => parseRates("--rate", "-1"), ['cannot use "-1"']],
    ["rate out of range", () => parseRates("--rate", "2g"), ['cannot use "2g"', "from 0 to 1G"]],
    ["exponent", () => parseRates("--rate", "1e3"), ['cannot use "1e3"']],
    ["rate twice", () => parseRates("--rate", "1k,1000"), ['(at "1000")', "each value once"]],
    ["page size", () => parsePageSizes("--page-size", "4k,8k"), ['(at "8k")', "4k, 2m and 1g"]],
    ["page size without unit", () => parsePageSizes("--page-size", "4096"), ['cannot use "4096"']],
    ["count below", () => parseCounts("--vcpus", "0", { min: 1, max: 8 }), ["whole numbers from 1 to 8"]],
    ["count above", () => parseCounts("--vcpus", "9", { min: 1, max: 8 }), ['cannot use "9"']],
    ["count with a fraction", () => parseCounts("--vcpus", "1.5"), ['cannot use "1.5"']],
    ["count with a suffix", () => parseCounts("--vcpus", "1k"), ['cannot use "1k"']],
    ["size", () => parseBytes("--memory", "64x"), ['--memory: cannot use "64x"', "such as 4096, 64m"]],
    ["part of a byte", () => parseBytes("--memory", "0.5"), ['cannot use "0.5"']],
    [
      "size above",
      () => parseBytes("--memory", "8g", { min: 65_536, max: 4 * GiB }),
      ["from 64 KiB to 4 GiB"],
    ],
    ["size below", () => parseBytes("--memory", "1k", { min: 65_536 }), ['cannot use "1k"']],
    ["no unit", () => parseDurationMs("--duration", "5"), ['cannot use "5"', "with its unit"]],
    ["unknown unit", () => parseDurationMs("--duration", "5d"), ['cannot use "5d"']],
    [
      "duration below",
      () => parseDurationMs("--duration", "1ms", { min: 10, max: 60e3 }),
      ["from 10.0 ms to 60.0 s"],
    ],
  ])("refuses a bad %s and says what is accepted", (_, action, parts) => {
    const { message, hint } = refusal(action);
    for (const part of parts) expect(`${message} ${hint}`).toContain(part);
  });

  test("a size that was printed can be read back", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1023 }), fc.constantFrom(0, 1, 2, 3, 4), (count, power) => {
        const bytes = count * 1024 ** power;
        expect(parseBytes("--memory", formatBytes(bytes))).toBe(bytes);
      }),
    );
  });

  test("no text is read as anything but a number in bounds or a USAGE error", () => {
    const text = fc.string({ unit: fc.constantFrom(..."0159.,kmgt bisu-+emax/"), maxLength: 12 });
    fc.assert(
      fc.property(text, (input) => {
        for (const parse of [parseRates, parsePageSizes, parseCounts, parseBytes, parseDurationMs]) {
          let values: number[];
          try {
            values = [parse("--option", input)].flat();
          } catch (error) {
            expect((error as GuestMmuError).code).toBe("USAGE");
            continue;
          }
          for (const value of values) expect(value).toBeGreaterThanOrEqual(0);
        }
      }),
    );
  });
});
