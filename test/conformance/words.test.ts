// The words of a walk against the ground truth: of each vector they find the cause of its fault in the entries and
// registers alone, so that the error code follows from it; and none where the access succeeds.
import { expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import type { Translation } from "../../src/machine/translation.js";
import { modelOf, type NestedRoot, type WalkContext } from "../../src/report/walk-model.js";
import { guestReasons, nestedReasons } from "../../src/report/walk-reasons.js";
import { explain } from "../../src/report/walk-words.js";
import { accessNamed, walked, Words } from "../walked.js";
import type { Case } from "./case.js";
import { whole } from "./corpus.js";
import { casesOf, CONFIRMED, DISPUTED, type VectorFile } from "./files.js";

const { Register } = layout;

function nestedOf(registers: Case["registers"]): NestedRoot | null {
  const eptp = registers.get(Register.Eptp);
  if (eptp) return { kind: "ept", eptp };
  const ncr3 = registers.get(Register.Ncr3);
  return ncr3 === undefined ? null : { kind: "npt", ncr3 };
}

function contextOf({ registers, access, gva, model }: Case): WalkContext {
  const of = (register: number): bigint => registers.get(register) ?? 0n;
  return {
    gva,
    access: accessNamed(access),
    registers: {
      cr3: of(Register.Cr3),
      cr0: of(Register.Cr0),
      cr4: of(Register.Cr4),
      efer: of(Register.Efer),
      rflags: of(Register.Rflags),
      pkru: of(Register.Pkru),
      pkrs: of(Register.Pkrs),
      cpl: Number(of(Register.Cpl)),
      maxphyaddr: model.maxphyaddr,
      page1GB: model.page1G,
      nested: nestedOf(registers),
    },
  };
}

/** What is wrong with the words for one walk, or null. */
function check(line: string, translation: Translation, context: WalkContext): string | null {
  const model = modelOf(translation, context);
  const { sentence, reasons } = explain(model);
  const wrong = (what: string): string => `${what}: ${sentence}\n  ${line}`;
  if (sentence.includes("do not account for")) return wrong("no reason");
  if (!/^An? .*[^.]\.$/.test(sentence) || /\. |undefined|NaN|null|object/.test(sentence))
    return wrong("not one sentence");
  const { kind } = translation.result;
  if (kind === "ok") {
    const denied = [
      ...guestReasons(model),
      ...model.rows.flatMap((row) => nestedReasons(model, row).reasons),
    ];
    if (denied.length > 0) return wrong(`denied, ${denied.map(({ says }) => says).join("; ")}`);
  } else if (kind !== "general-protection" && kind !== "stack-fault" && reasons.length === 0) {
    return wrong("no reason");
  }
  return null;
}

function failures(file: VectorFile): string {
  const wrong: string[] = [];
  let cases = 0;
  let count = 0;
  for (const one of casesOf(file)) {
    const words = new Words(one.words.map(({ pa, value }) => [pa, value]));
    const context = contextOf(one);
    const what = check(one.origin.line, walked(words, context, true), context);
    cases++;
    if (what !== null && ++count <= 5) wrong.push(what);
  }
  expect(cases).toBeGreaterThan(0);
  return count ? `${count} of ${cases} cases of ${file.name}:\n${wrong.join("\n")}` : "";
}

for (const file of [...CONFIRMED, ...DISPUTED])
  test(`${file.name}, in words: ${whole ? "every line" : "the sample"}`, { timeout: 300_000 }, () =>
    expect(failures(file)).toBe(""),
  );
