import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { renderTable, type Cell, type Column } from "../../src/report/table.js";

const columns: Column[] = [{ header: "question" }, { header: "vcpus" }, { header: "faults", unit: "M/s" }];

describe("renderTable", () => {
  test("aligns, rules the header and draws no frame", () => {
    const rows: Cell[][] = [
      ["populate", 1, "4.12"],
      ["cycle, refault", 16, "12.3"],
    ];
    expect(renderTable(columns, rows)).toBe(
      [
        "question        vcpus  faults (M/s)",
        "--------------  -----  ------------",
        "populate            1          4.12",
        "cycle, refault     16          12.3",
      ].join("\n"),
    );
  });

  test("unicode rule, indent, and a dash where there is no value", () => {
    expect(renderTable(columns, [["a", 10n, null]], { unicode: true, indent: 2 }).split("\n")).toEqual([
      "  question  vcpus  faults (M/s)",
      "  \u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500  \u2500\u2500\u2500\u2500\u2500  \u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500",
      "  a            10  -",
    ]);
  });

  test("aligns by content unless told otherwise; a missing value does not decide", () => {
    const lineOf = (cells: Cell[], align?: "left" | "right"): string => {
      const column: Column = { header: "123456789", ...(align === undefined ? {} : { align }) };
      return renderTable(
        [column, { header: "|" }],
        cells.map((cell) => [cell, "|"]),
      )
        .split("\n")
        .at(-1)!;
    };
    expect(lineOf(["7"])).toBe("        7  |");
    expect(lineOf(["x"])).toBe("x          |");
    expect(lineOf([null, "7"])).toBe("        7  |");
    expect(lineOf(["x", "7"])).toBe("7          |");
    expect(lineOf(["\u00b1 3 %"])).toBe("    \u00b1 3 %  |");
    expect(lineOf(["max"])).toBe("      max  |");
    expect(lineOf(["v5.4"])).toBe("v5.4       |");
    expect(lineOf(["7"], "left")).toBe("7          |");
    expect(lineOf(["x"], "right")).toBe("        x  |");
  });

  test("wraps nothing, unless a column asks for it, and then between words only", () => {
    const long = "one two three extraordinarily four";
    const wide = renderTable([{ header: "n" }], [[`${"x".repeat(300)} y`]]);
    expect(wide.split("\n")).toHaveLength(3);
    expect(renderTable([{ header: "n", wrap: 9 }, { header: "v" }], [[long, 1]]).split("\n")).toEqual([
      "n                v",
      "---------------  -",
      "one two three    1",
      "extraordinarily",
      "four",
    ]);
    expect(renderTable([{ header: "n", wrap: 40 }], [["short"]])).toBe("n\n-----\nshort");
  });

  test("header only, where there are no rows", () => {
    expect(renderTable(columns, [])).toBe("question  vcpus  faults (M/s)");
  });

  test("a row that does not fit the columns is a defect of the caller", () => {
    expect(() =>
      renderTable(columns, [
        ["a", 1, 2],
        ["b", 1],
      ]),
    ).toThrow(new RangeError("Row 1 has 2 cells for 3 columns."));
  });

  test("no escape sequences, whatever the environment says", () => {
    const saved = process.env.FORCE_COLOR;
    process.env.FORCE_COLOR = "3";
    try {
      expect(renderTable(columns, [["a", 1, 2]])).toMatch(/^[ -~\n]*$/);
    } finally {
      if (saved === undefined) delete process.env.FORCE_COLOR;
      else process.env.FORCE_COLOR = saved;
    }
  });

  test("any table: one line for each row, cells in place and complete, columns where the rule says", () => {
    const word = fc.string({ unit: fc.constantFrom(..."abc017.%"), minLength: 1, maxLength: 12 });
    const table = fc
      .integer({ min: 1, max: 5 })
      .chain((width) =>
        fc.tuple(
          fc.array(word, { minLength: width, maxLength: width }),
          fc.array(fc.array(word, { minLength: width, maxLength: width }), { minLength: 1, maxLength: 6 }),
        ),
      );
    fc.assert(
      fc.property(table, ([headers, rows]) => {
        const lines = renderTable(
          headers.map((header) => ({ header })),
          rows,
        ).split("\n");
        expect(lines).toHaveLength(rows.length + 2);
        let start = 0;
        for (const [index, dashes] of lines[1]!.split("  ").entries()) {
          const cells = [lines[0]!, ...lines.slice(2)].map((line) =>
            line.slice(start, start + dashes.length).trim(),
          );
          expect(cells).toEqual([headers[index], ...rows.map((row) => row[index])]);
          start += dashes.length + 2;
        }
        for (const line of lines) expect(line).toBe(line.trimEnd());
      }),
    );
  });
});
