// The words of a walk against the ground truth: of each vector they find the cause of its fault in the entries and
// registers alone, so that the error code follows from it; and none where the access succeeds.
import { expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import type { AccessFault } from "../../src/machine/access-result.js";
import type { Translated, Translation } from "../../src/machine/translation.js";
import { guestReasons, nestedReasons } from "../../src/report/walk-reasons.js";
import { modelOf, type WalkAccess, type WalkContext } from "../../src/report/walk-model.js";
import { explain } from "../../src/report/walk-words.js";
import type { RecordedWalk } from "../core-instance.js";
import { vectors, whole } from "./corpus.js";
import { parseEpt } from "./ept.js";
import { parsePaging } from "./paging.js";
import { ACCESS, CONTROL, Processor } from "./processor.js";

const { Outcome } = layout;
const MAXPHYADDR = 40;
const NAMES: Record<string, WalkAccess> = {
  r: "read",
  w: "write",
  x: "fetch",
  m: "modify",
  s: "stack-read",
  i: "implicit-read",
};

function resultOf(walk: RecordedWalk): Translated | AccessFault {
  const { outcome, error, gva, gpa, pa, shift } = walk;
  switch (outcome) {
    case Outcome.Ok:
      return { kind: "ok", gpa, hpa: pa, pageShift: shift } as Translated;
    case Outcome.PageFault:
      return { kind: "page-fault", errorCode: error, gva } as AccessFault;
    case Outcome.GeneralProtection:
      return { kind: "general-protection", gva } as AccessFault;
    case Outcome.StackFault:
      return { kind: "stack-fault", gva } as AccessFault;
    case Outcome.EptViolation:
      return { kind: "ept-violation", gpa, qualification: error } as AccessFault;
    case Outcome.EptMisconfiguration:
      return { kind: "ept-misconfiguration", gpa } as AccessFault;
    default:
      throw new Error(`outcome ${outcome}`);
  }
}

function translationOf(walk: RecordedWalk): Translation {
  const steps = walk.steps.map(({ level, nested, pa, entry }) => ({
    dimension: nested ? ("nested" as const) : ("guest" as const),
    level,
    table: pa & ~0xfffn,
    index: Number((pa & 0xfffn) >> 3n),
    entry,
    flags: [],
  }));
  return { result: resultOf(walk), steps };
}

function contextOf(
  c: {
    access: string;
    control: number;
    cr3: bigint;
    gva: bigint;
    pkru?: bigint;
    pkrs?: bigint;
    eptp?: bigint;
  },
  page1GB: boolean,
): WalkContext {
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
      page1GB,
      nested: c.eptp === undefined ? null : { kind: "ept", eptp: c.eptp },
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

function failures(file: string, page1GB: boolean): string {
  const processor = new Processor({ page1G: page1GB });
  const lines = vectors(file);
  expect(lines.length).toBeGreaterThan(0);
  const wrong: string[] = [];
  let count = 0;
  for (const line of lines) {
    const c = file === "ept" ? parseEpt(line) : parsePaging(line);
    processor.load({ eptp: 0n, pkru: 0n, pkrs: 0n, ...c });
    processor.hold("words" in c ? c.words : c.entries);
    const translation = translationOf(processor.access(c.gva, ACCESS[c.access]!));
    const what = check(line, translation, contextOf(c, page1GB));
    if (what !== null && ++count <= 5) wrong.push(what);
  }
  return count ? `${count} of ${lines.length} lines of ${file}:\n${wrong.join("\n")}` : "";
}

const extent = whole ? "every line" : "the sample";
for (const file of ["paging-4level", "paging-5level", "paging-pks", "paging-pcid", "ept"])
  test(`${file}, in words: ${extent}`, { timeout: 300_000 }, () => expect(failures(file, true)).toBe(""));
test(`paging-no1g, in words: ${extent}`, () => expect(failures("paging-no1g", false)).toBe(""));
