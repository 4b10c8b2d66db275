// The core against the ground truth of two emulators and the manuals (the README of the vectors says how it was made).
import { expect, test } from "vitest";
import { vectors, whole } from "./corpus.js";
import { checkCross } from "./cross.js";
import { checkEpt, parseEpt } from "./ept.js";
import { checkPaging, parsePaging } from "./paging.js";
import { Processor } from "./processor.js";

const SHOWN = 5;

/** Runs every line of a file; the first failures are what a failing test prints. */
function failures(
  file: string,
  page1G: boolean,
  check: (processor: Processor, line: string) => string | null,
): string {
  const processor = new Processor({ page1G });
  const lines = vectors(file);
  expect(lines.length, `${file} has lines`).toBeGreaterThan(0);
  const wrong: string[] = [];
  let count = 0;
  for (const line of lines) {
    const what = check(processor, line);
    if (what !== null && ++count <= SHOWN) wrong.push(what);
  }
  return count ? `${count} of ${lines.length} lines of ${file}:\n${wrong.join("\n")}` : "";
}

const paging = (processor: Processor, line: string): string | null =>
  checkPaging(processor, parsePaging(line));
const ept = (processor: Processor, line: string): string | null => checkEpt(processor, parseEpt(line));
const extent = whole ? "every line" : "the sample";

for (const file of ["paging-4level", "paging-5level", "paging-pks", "paging-pcid"]) {
  test(`${file}: ${extent}`, { timeout: 300_000 }, () => expect(failures(file, true, paging)).toBe(""));
}
test(`paging-no1g: ${extent}`, () => expect(failures("paging-no1g", false, paging)).toBe(""));
test(`paging-cross: ${extent}`, () => expect(failures("paging-cross", true, checkCross)).toBe(""));
test(`ept: ${extent}`, { timeout: 300_000 }, () => expect(failures("ept", true, ept)).toBe(""));
