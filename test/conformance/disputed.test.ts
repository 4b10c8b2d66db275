// Lines that no emulator confirms: the core keeps to the manuals, and docs/conformance.md says what it answers.
import { readFile } from "node:fs/promises";
import { format, resolveConfig } from "prettier";
import { expect, test } from "vitest";
import { casesOf, DISPUTED } from "./files.js";
import { CLASSES, conformancePage, disputedRows } from "./disputed.js";

test("every disputed line is at hand, of one class, and answered as the manuals have it", () => {
  for (const file of DISPUTED) expect([...casesOf(file)].length, file.name).toBe(file.lines);
  const rows = disputedRows();
  for (const one of CLASSES) expect(rows.get(one)!.length, one.title).toBeGreaterThan(0);
  expect([...rows.values()].flat().filter((row) => !row.agrees)).toEqual([]);
});

test("docs/conformance.md is what `npm run docs:conformance` writes", async () => {
  const file = "docs/conformance.md";
  const options = { ...(await resolveConfig(file)), parser: "markdown" as const };
  expect(await readFile(file, "utf8")).toBe(await format(conformancePage(), options));
});
