// A case that did not come out as it should, as a person reads it:
//
//   paging-4level line 17: pml4e.p pml4e.us pdpte.p pte.rw ... user write cr0.wp -> #PF 0x7, expected #PF 0x3
//
// then the state, the walk level by level, and what differed.
import * as layout from "../../src/core/layout.generated.js";
import type { RecordedStep, RecordedWalk } from "../core-instance.js";
import { ENTRY_BITS } from "../oracle/tables.js";
import { type Answer, type Case, type Expected, REGISTER_NAMES, type Word } from "./case.js";

const { Access, Outcome, Register } = layout;

const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

/** Names of the entries, by level; 0 is a word of the page-modification log. */
const ENTRIES = ["pml", "pte", "pde", "pdpte", "pml4e", "pml5e"];

type Bits = readonly (readonly [name: string, mask: bigint])[];

const EPT_BITS: Bits = [
  ["r", layout.EPT_R],
  ["w", layout.EPT_W],
  ["x", layout.EPT_X],
  ["ps", layout.EPT_PS],
  ["a", layout.EPT_A],
  ["d", layout.EPT_D],
  ["xu", layout.EPT_XU],
];
const CR0_BITS: Bits = [["cr0.wp", layout.CR0_WP]];
const CR4_BITS: Bits = [
  ["cr4.la57", layout.CR4_LA57],
  ["cr4.smep", layout.CR4_SMEP],
  ["cr4.smap", layout.CR4_SMAP],
  ["cr4.pke", layout.CR4_PKE],
  ["cr4.pks", layout.CR4_PKS],
  ["cr4.pge", layout.CR4_PGE],
  ["cr4.pcide", layout.CR4_PCIDE],
];
const EFER_BITS: Bits = [["efer.nxe", layout.EFER_NXE]];
const RFLAGS_BITS: Bits = [["rflags.ac", layout.RFLAGS_AC]];

const setOf = (bits: Bits, value: bigint): string[] =>
  bits.filter(([, mask]) => (value & mask) !== 0n).map(([name]) => name);

const ACCESS_WORDS: Readonly<Record<number, string>> = {
  [Access.Read]: "read",
  [Access.Write]: "write",
  [Access.Fetch]: "fetch",
  [Access.Modify]: "modify",
  [Access.ImplicitRead]: "implicit read",
  [Access.ImplicitWrite]: "implicit write",
  [Access.StackRead]: "stack read",
  [Access.StackWrite]: "stack write",
};

/** Bits in which the words of one dimension are read: those of EPT, or the ordinary ones. */
function bitsOf(c: Case, nested: boolean): Bits {
  const bits = nested && c.registers.get(Register.Eptp) ? EPT_BITS : ENTRY_BITS;
  return [...bits, ["beyond-maxphyaddr", layout.PTE_ADDRESS & -(1n << BigInt(c.model.maxphyaddr))]];
}

/** The access and the control state: "user write cr0.wp efer.nxe". */
function showAccess(c: Case): string {
  const register = (r: number): bigint => c.registers.get(r) ?? 0n;
  return [
    register(Register.Cpl) === 3n ? "user" : "supervisor",
    ACCESS_WORDS[c.access]!,
    ...setOf(CR0_BITS, register(Register.Cr0)),
    ...setOf(CR4_BITS, register(Register.Cr4)),
    ...setOf(EFER_BITS, register(Register.Efer)),
    ...setOf(RFLAGS_BITS, register(Register.Rflags)),
  ].join(" ");
}

/** Bits of the guest's entries: "pde.p pde.rw pte.p". */
function showBits(c: Case): string {
  return c.words
    .filter(({ nested }) => !nested)
    .flatMap(({ level, value }) => setOf(bitsOf(c, false), value).map((bit) => `${ENTRIES[level]}.${bit}`))
    .join(" ");
}

/** An outcome in a few words. Fields that are null are left out. */
export function showOutcome(o: Expected): string {
  const at = (name: string, value: bigint | null): string => (value === null ? "" : ` ${name} ${hex(value)}`);
  switch (o.outcome) {
    case Outcome.Ok:
      return `ok${at("at", o.pa)}${o.secondPa ? at("and", o.secondPa) : ""}`;
    case Outcome.PageFault:
      return `#PF${o.error === null ? "" : ` ${hex(o.error)}`}${at("CR2", o.cr2)}`;
    case Outcome.GeneralProtection:
      return "#GP(0)";
    case Outcome.StackFault:
      return "#SS(0)";
    case Outcome.EptViolation:
      return `EPT violation${at("gpa", o.gpa)}${at("qualification", o.error)}`;
    case Outcome.EptMisconfiguration:
      return `EPT misconfiguration${at("gpa", o.gpa)}`;
    case Outcome.NestedPageFault:
      return `nested page fault${at("gpa", o.gpa)}${at("EXITINFO1", o.error)}`;
    case Outcome.PmlFull:
      return `page-modification log full${at("gpa", o.gpa)}`;
    case Outcome.Missing:
      return `a word that the case does not have${at("at", o.pa)}`;
    default:
      return `outcome ${o.outcome}`;
  }
}

function showAnswer(c: Case, answer: Answer): string {
  if (answer.refused !== 0) {
    const register = answer.refused - 1;
    return `${REGISTER_NAMES[register]} ${hex(c.registers.get(register) ?? 0n)} refused`;
  }
  return showOutcome(answer);
}

function showEntry(bits: Bits, entry: bigint): string {
  return `${hex(entry).padEnd(18)} ${setOf(bits, entry).join(" ") || "nothing set"}`;
}

function showStep(c: Case, step: RecordedStep): string {
  const name = `${step.nested ? "  nested " : ""}${ENTRIES[step.level]}`;
  return `    ${name.padEnd(14)} at ${hex(step.pa).padEnd(14)} ${showEntry(bitsOf(c, step.nested), step.entry)}`;
}

function showWalk(c: Case, walk: RecordedWalk): string[] {
  const head = `  walk of ${hex(walk.gva)}:`;
  return [
    head,
    ...(walk.steps.length > 0 ? walk.steps.map((s) => showStep(c, s)) : ["    no entry was read"]),
  ];
}

function showRegisters(c: Case): string {
  // Those that the access and the control state are made of have been told.
  const told: number[] = [Register.Cr0, Register.Cr4, Register.Efer, Register.Rflags, Register.Cpl];
  const shown = [...c.registers].filter(([r, value]) => !told.includes(r) && value !== 0n);
  return [
    ...shown.map(([r, value]) => `${REGISTER_NAMES[r]} ${hex(value)}`),
    `MAXPHYADDR ${c.model.maxphyaddr}`,
    ...(c.model.page1G ? [] : ["no 1-GByte pages"]),
  ].join(", ");
}

/** "changed by 0x60 (a d)" */
function showChange(bits: Bits, changed: bigint): string {
  return changed === 0n ? "nothing" : `${hex(changed)} (${setOf(bits, changed).join(" ") || "no flag"})`;
}

function wordDiffers(c: Case, word: Word, changed: bigint): string | null {
  if ((changed & word.must) === word.must && (changed & ~word.may) === 0n) return null;
  const bits = bitsOf(c, word.nested);
  const name = `${word.nested ? "nested " : ""}${ENTRIES[word.level]} at ${hex(word.pa)}`;
  const wanted =
    word.must === word.may
      ? showChange(bits, word.must)
      : `at least ${showChange(bits, word.must)}, at most ${showChange(bits, word.may)}`;
  return `${name} changed by ${showChange(bits, changed)}, expected ${wanted}`;
}

/** What is not as expected, a sentence each; empty if the answer is right. */
export function differences(c: Case, answer: Answer): string[] {
  const { expected } = c;
  if (answer.refused !== 0) return [`a register was refused: ${showAnswer(c, answer)}`];
  if (answer.outcome !== expected.outcome) {
    return [`outcome: ${showAnswer(c, answer)}, expected ${showOutcome(expected)}`];
  }
  const wrong: string[] = [];
  const field = (name: string, got: bigint, told: bigint | null): void => {
    if (told !== null && told !== got) wrong.push(`${name}: ${hex(got)}, expected ${hex(told)}`);
  };
  field("error", answer.error, expected.error);
  field("CR2", answer.cr2, expected.cr2);
  field("gpa", answer.gpa, expected.gpa);
  field("physical address", answer.pa, expected.pa);
  field("physical address in the second page", answer.secondPa, expected.secondPa);
  if (expected.pmlIndex !== undefined && expected.pmlIndex !== answer.pmlIndex)
    wrong.push(`PML index: ${hex(answer.pmlIndex)}, expected ${hex(expected.pmlIndex)}`);
  for (const [i, word] of c.words.entries()) {
    const what = wordDiffers(c, word, answer.changed[i]!);
    if (what !== null) wrong.push(what);
  }
  return wrong;
}

/** The whole report of a case. */
export function showCase(c: Case, answer: Answer, walks: readonly RecordedWalk[]): string {
  const expected = showOutcome(c.expected);
  const got = showAnswer(c, answer);
  const verdict = got === expected ? got : `${got}, expected ${expected}`;
  return [
    `${c.origin.file} line ${c.origin.number}: ${showBits(c)} ${showAccess(c)} -> ${verdict}`,
    `  ${c.size} byte${c.size === 1 ? "" : "s"} at ${hex(c.gva)}; ${showRegisters(c)}`,
    ...walks.flatMap((walk) => showWalk(c, walk)),
    ...differences(c, answer).map((what) => `  differs: ${what}`),
    ...(c.origin.line === "" ? [] : [`  vector: ${c.origin.line}`]),
  ].join("\n");
}
