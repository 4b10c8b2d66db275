// The core against the ground truth of two emulators and the manuals (the README of the vectors says how it was made).
import { expect, test } from "vitest";
import { whole } from "./corpus.js";
import { type Case, CaseRunner, agrees } from "./case.js";
import { CONFIRMED, type VectorFile, casesOf } from "./files.js";
import { showCase } from "./show.js";

/** Reports that a failing test prints. */
const SHOWN = 5;

/** Runs all lines of a file; returns how many there were, and the cases that came out otherwise. */
function run(file: VectorFile): { lines: number; wrong: Case[]; runner: CaseRunner } {
  const runner = new CaseRunner(file.model);
  const wrong: Case[] = [];
  let lines = 0;
  runner.run(casesOf(file), (c, answer) => {
    lines = c.origin.number;
    if (!agrees(c, answer)) wrong.push(c);
  });
  return { lines, wrong, runner };
}

function report(runner: CaseRunner, wrong: readonly Case[]): string {
  const shown = wrong.slice(0, SHOWN).map((c) => {
    const { answer, walks } = runner.one(c);
    return showCase(c, answer, walks);
  });
  return wrong.length === 0 ? "" : `${wrong.length} cases differ\n${shown.join("\n\n")}`;
}

for (const file of CONFIRMED) {
  test(`${file.name}: ${whole ? "every line" : "the sample"}`, () => {
    const { lines, wrong, runner } = run(file);
    if (whole) expect(lines, `lines of ${file.name}`).toBe(file.lines);
    else expect(lines, `lines of ${file.name} in the sample`).toBeGreaterThan(0);
    expect(report(runner, wrong)).toBe("");
  });
}
