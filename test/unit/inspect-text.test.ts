// What the commands over images take and print, part by part.
import { describe, expect, test } from "vitest";
import { ByteWriter } from "../../src/inspect/byte-writer.js";
import { parseAddress, parseLength, signExtend } from "../../src/inspect/address-text.js";
import { CsvRows, JsonRows, ROW_WORDS, TextRows, type RowShape } from "../../src/inspect/mapping-rows.js";
import { controlBitsOf, pagingModeOf } from "../../src/inspect/paging-mode.js";
import { type CpuNote } from "../../src/images/types.js";

const ALL = 0xffff_ffff_ffff_ffffn;

describe("numbers as they are typed", () => {
  test.each<[string, bigint]>([
    ["0x0", 0n],
    ["0xFFFF888000000000", 0xffff888000000000n],
    ["0xffff_8880_0000_0000", 0xffff888000000000n],
    ["4096", 4096n],
    ["18446744073709551615", ALL],
    [" 0x10 ", 16n],
  ])("%s is an address", (text, value) => expect(parseAddress("GVA", text, "virtual")).toBe(value));

  test.each(["", "0x", "-1", "1.5", "0xg", "ffff", "1e3", "0b1", "0x1_0000_0000_0000_0000"])(
    "%j is none",
    (text) => expect(() => parseAddress("GVA", text, "virtual")).toThrow(/^GVA: /),
  );

  test("physical addresses are below 2^52", () => {
    expect(parseAddress("PA", "0xfffffffffffff", "physical")).toBe((1n << 52n) - 1n);
    expect(() => parseAddress("PA", "0x10000000000000", "physical")).toThrow(
      "PA: 0x10000000000000 is not below 2^52.",
    );
  });

  test.each<[string, bigint]>([
    ["64", 64n],
    ["0x40", 64n],
    ["4k", 4096n],
    ["2MiB", 2n << 20n],
    ["1g", 1n << 30n],
    ["1T", 1n << 40n],
  ])("%s is a length", (text, value) => expect(parseLength("LENGTH", text)).toBe(value));
  test.each(["0", "-1", "k", "0x4k", "1.5m", "18446744073709551617", "1p"])("%j is none", (text) =>
    expect(() => parseLength("LENGTH", text)).toThrow(/^LENGTH: /),
  );

  test("addresses are extended from the highest bit that is translated", () => {
    expect(signExtend(0x8000_0000_0000n, 4)).toBe(0xffff_8000_0000_0000n);
    expect(signExtend(0x8000_0000_0000n, 5)).toBe(0x8000_0000_0000n);
    expect(signExtend(0x0100_0000_0000_0000n, 5)).toBe(0xff00_0000_0000_0000n);
  });
});

describe("rows", () => {
  /** A row of a scan: gva, gpa, hpa, length, entry, effective. */
  const row = (...words: bigint[]): Uint32Array => new Uint32Array(BigUint64Array.from(words).buffer);
  const written = (write: (out: ByteWriter) => void): string => {
    const pieces: Uint8Array[] = [];
    const out = new ByteWriter((piece) => pieces.push(piece));
    write(out);
    out.flush();
    return Buffer.concat(pieces).toString("utf8");
  };
  const PAGE = 12n << 8n;
  const plain: RowShape = { fold: "none", nested: false };
  const last = row(ALL - 0xfffn, 0x1000n, 0x1000n, 0x1000n, 0x8000_0000_0000_1067n, PAGE | 7n);
  const unmapped = row(0x1000n, 0x5000n, ALL, 0x1000n, 0x5067n, PAGE | 3n | 8n);
  const nested: RowShape = { fold: "physical", nested: true };

  test("the last page of all", () => {
    const text = written((out) => new TextRows(out, plain).row(last, 0));
    expect(text).toBe(
      "fffffffffffff000-ffffffffffffffff        4K    4K  urw-  0000000000001000  X--DA--UW\n",
    );
    expect(written((out) => new CsvRows(out, plain).row(last, 0))).toBe(
      "0xfffffffffffff000,0xffffffffffffffff,4096,urw-,4K,0x1000,0x8000000000001067,X--DA--UW,\n",
    );
  });

  test("a page that the nested tables do not map", () => {
    expect(written((out) => new TextRows(out, nested).row(unmapped, 0))).toMatch(
      /urwx {2}--- {5}0000000000005000 {2}- +---DA--UW {2}\(nested tables do not map it\)\n$/,
    );
    const json = written((out) => {
      const rows = new JsonRows(out, nested);
      rows.begin();
      rows.row(unmapped, 0);
      rows.row(unmapped, 0);
      rows.end();
    });
    expect(JSON.parse(json)).toHaveLength(2);
    expect((JSON.parse(json) as object[])[0]).toEqual({
      gva: "0x1000",
      length: 4096,
      rights: "urwx",
      nested: "---",
      page: 4096,
      gpa: "0x5000",
      hpa: null,
      entry: "0x5067",
      flags: "---DA--UW",
      objection: "nested tables do not map it",
    });
  });

  test("lengths are in the largest unit that divides them", () => {
    const lengthOf = (length: bigint): string =>
      written((out) =>
        new TextRows(out, { fold: "rights", nested: false }).row(row(0n, 0n, 0n, length, 0n, PAGE), 0),
      )
        .slice(33)
        .trim()
        .split(/ +/)[0]!;
    expect([0x1000n, 0x5000n, 1n << 21n, 3n << 30n, 1n << 47n, (1n << 56n) - 4096n].map(lengthOf)).toEqual([
      "4K",
      "20K",
      "2M",
      "3G",
      "128T",
      "70368744177660K",
    ]);
  });

  test("many rows come in pieces, whole", () => {
    const words = new Uint32Array(5000 * ROW_WORDS);
    const one = row(0x1000n, 0x2000n, 0x2000n, 0x1000n, 0x2067n, PAGE | 3n);
    for (let i = 0; i < 5000; i++) words.set(one, i * ROW_WORDS);
    const text = written((out) => {
      const rows = new TextRows(out, plain);
      for (let i = 0; i < 5000; i++) rows.row(words, i * ROW_WORDS);
    });
    expect(new Set(text.trimEnd().split("\n")).size).toBe(1);
    expect(text.split("\n")).toHaveLength(5001);
  });

  test("text with other characters stays what it is, in its place", () => {
    const text = written((out) => {
      out.text("a");
      out.utf8("\u00e4\u{1f600}");
      out.hex(0, 0);
      out.text("x".repeat(1000));
      out.hex(0x12345678, 0xab);
    });
    expect(text).toBe(`a\u00e4\u{1f600}0x0${"x".repeat(1000)}0xab12345678`);
  });
});

describe("paging modes", () => {
  const segment = { selector: 0, limit: 0, flags: 0, base: 0n };
  const names = ["cs", "ds", "es", "fs", "gs", "ss", "ldt", "tr", "gdt", "idt"] as const;
  function note(change: {
    cr0?: bigint;
    cr3?: bigint;
    cr4?: bigint;
    rip?: bigint;
    csFlags?: number;
    gdt?: bigint;
  }): CpuNote {
    const segments = Object.fromEntries(
      names.map((name) => [name, segment]),
    ) as unknown as CpuNote["segments"];
    return {
      index: 0,
      registers: { rip: change.rip ?? 0x1000n } as CpuNote["registers"],
      segments: {
        ...segments,
        cs: { ...segment, flags: change.csFlags ?? 0 },
        gdt: { ...segment, base: change.gdt ?? 0n },
      },
      cr0: change.cr0 ?? 0x8000_0011n,
      cr2: 0n,
      cr3: change.cr3 ?? 0x1000n,
      cr4: change.cr4 ?? 0x20n,
      kernelGsBase: 0n,
    };
  }

  test.each<[string, CpuNote, bigint | undefined, string]>([
    ["paging off", note({ cr0: 0x11n }), undefined, "none"],
    ["32-bit", note({ cr4: 0n }), undefined, "32-bit"],
    ["PAE, and nothing of long mode", note({}), undefined, "PAE"],
    ["CS.L", note({ csFlags: 1 << 21 }), undefined, "4-level"],
    ["compatibility mode, by PCIDE", note({ cr4: 0x2_0020n }), undefined, "4-level"],
    ["compatibility mode, by a wide CR3", note({ cr3: 1n << 32n }), undefined, "4-level"],
    ["compatibility mode, by a wide GDTR", note({ gdt: 0xffff_fe00_0000_1000n }), undefined, "4-level"],
    ["compatibility mode, by a wide RIP", note({ rip: 1n << 32n }), undefined, "4-level"],
    ["LA57", note({ cr4: 0x1020n }), undefined, "5-level"],
    ["PAE, and EFER as given has LMA", note({}), 0x500n, "4-level"],
    ["CS.L, and EFER as given has no LMA", note({ csFlags: 1 << 21 }), 0n, "PAE"],
  ])("%s", (_, cpu, efer, mode) => {
    expect(pagingModeOf(cpu, efer)).toMatchObject({ mode });
    expect(pagingModeOf(cpu, efer).because).not.toBe("");
  });

  test("control bits by name", () => {
    expect(controlBitsOf(note({ cr0: 0x8001_0011n, cr4: 0x30_0020n }))).toEqual([
      "CR0.WP",
      "CR4.SMEP",
      "CR4.SMAP",
    ]);
  });
});
