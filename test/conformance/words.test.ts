// The words of a walk against the ground truth: of each vector they find the cause of its fault in the entries and
// registers alone, so that the error code follows from it; and none where the access succeeds.
import { expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import type { Translation } from "../../src/machine/translation.js";
import { guestReasons, nestedReasons } from "../../src/report/walk-reasons.js";
import { modelOf, type NestedRoot, type WalkAccess, type WalkContext } from "../../src/report/walk-model.js";
import { explain } from "../../src/report/walk-words.js";
import { MAXPHYADDR, walked, Words } from "../walked.js";
import { vectors, whole } from "./corpus.js";
import { parseEpt } from "./ept.js";
import { parsePaging } from "./paging.js";
import { CONTROL } from "./processor.js";

const NAMES: Record<string, WalkAccess> = {
  r: "read",
  w: "write",
  x: "fetch",
  m: "modify",
  s: "stack-read",
  i: "implicit-read",
};

interface Case {
  access: string;
  control: number;
  cr3: bigint;
  gva: bigint;
  pkru?: bigint;
  pkrs?: bigint;
  /** EPTP, or nCR3. */
  eptp?: bigint;
}

function nestedOf(file: string, root: bigint | undefined): NestedRoot | null {
  if (root === undefined) return null;
  return file === "npt" ? { kind: "npt", ncr3: root } : { kind: "ept", eptp: root };
}

function contextOf(c: Case, file: string): WalkContext {
  const on = (bit: number, value: bigint): bigint => (c.control & bit ? value : 0n);
  return {
    gva: c.gva,
    access: NAMES[c.access]!,
    registers: {
      cr3: c.cr3,
      cr0: layout.CR0_PE | layout.CR0_PG | on(CONTROL.wp, layout.CR0_WP),
      cr4:
        layout.CR4_PAE |
        on(CONTROL.smep, layout.CR4_SMEP) |
        on(CONTROL.smap, layout.CR4_SMAP) |
        on(CONTROL.pke, layout.CR4_PKE) |
        on(CONTROL.pks, layout.CR4_PKS) |
        on(CONTROL.la57, layout.CR4_LA57),
      efer: layout.EFER_LME | layout.EFER_LMA | on(CONTROL.nxe, layout.EFER_NXE),
      rflags: on(CONTROL.ac, layout.RFLAGS_AC),
      pkru: c.pkru ?? 0n,
      pkrs: c.pkrs ?? 0n,
      cpl: c.control & CONTROL.user ? 3 : 0,
      maxphyaddr: MAXPHYADDR,
      page1GB: file !== "paging-no1g",
      nested: nestedOf(file, c.eptp),
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

function failures(file: string): string {
  const lines = vectors(file);
  expect(lines.length).toBeGreaterThan(0);
  const wrong: string[] = [];
  let count = 0;
  for (const line of lines) {
    const c = file === "ept" || file === "npt" ? parseEpt(line) : parsePaging(line);
    const words = new Words(("words" in c ? c.words : c.entries).map(({ pa, value }) => [pa, value]));
    const context = contextOf(c, file);
    const what = check(line, walked(words, context, true), context);
    if (what !== null && ++count <= 5) wrong.push(what);
  }
  return count ? `${count} of ${lines.length} lines of ${file}:\n${wrong.join("\n")}` : "";
}

const FILES = ["paging-4level", "paging-5level", "paging-pks", "paging-pcid", "paging-no1g", "ept", "npt"];
for (const file of FILES)
  test(`${file}, in words: ${whole ? "every line" : "the sample"}`, { timeout: 300_000 }, () =>
    expect(failures(file)).toBe(""),
  );
