// A vector as the core is asked it, and as its answer is judged: the same for all files. The formats of the files are
// read in paging.ts, cross.ts and nested.ts; format and meaning of the fields: the README of the vectors.
import * as layout from "../../src/core/layout.generated.js";
import { CoreInstance, type RecordedWalk } from "../core-instance.js";

const { Access, MachineOption, Register } = layout;
const REGISTER_COUNT = Object.keys(Register).length;

/** What a register is called, by its number: the short names are those of the manual, CR3 and the like. */
export const REGISTER_NAMES: readonly string[] = Object.keys(Register).map((name) =>
  name.length <= 6 ? name.toUpperCase() : name,
);

/** The processor that the cases of a file need; the rest is the same for all. */
export interface ProcessorModel {
  page1G: boolean;
  maxphyaddr: number;
}

/** A word of memory: where, what is there, and what it is to the walk. */
export interface Word {
  pa: bigint;
  value: bigint;
  /** 4 for a PML4 entry, 1 for one of a page table. */
  level: number;
  /** An entry of EPT or of AMD's nested tables. */
  nested: boolean;
  /** Bits that the access has to change. */
  must: bigint;
  /** Bits that it may change; those of `must` among them. */
  may: bigint;
}

/** What the case must come to. Fields that are null are not told, and not looked at. */
export interface Expected {
  outcome: number;
  /** #PF error code, exit qualification, EXITINFO1. */
  error: bigint | null;
  /** CR2. */
  cr2: bigint | null;
  /** Guest-physical address that the exit reports. */
  gpa: bigint | null;
  /** Physical address of the first byte. */
  pa: bigint | null;
  /** Of the first byte in the second page. */
  secondPa: bigint | null;
  /** PML index after the access. */
  pmlIndex?: number;
}

/** Where a case comes from: a file, the number of the line in it, from 1, and the line. */
export interface Origin {
  file: string;
  number: number;
  line: string;
}

export interface Case {
  origin: Origin;
  model: ProcessorModel;
  /** `Access`. */
  access: number;
  /** Bytes. */
  size: number;
  gva: bigint;
  /** Values by `Register`; the others are 0. */
  registers: ReadonlyMap<number, bigint>;
  words: readonly Word[];
  expected: Expected;
}

/** What the core answered. */
export interface Answer {
  outcome: number;
  error: bigint;
  /** `Register` + 1 of one that was refused, or 0. */
  refused: number;
  cr2: bigint;
  gpa: bigint;
  pa: bigint;
  secondPa: bigint;
  /** PML index after the access. */
  pmlIndex: number;
  /** Per word of the case: value after XOR value before. */
  changed: readonly bigint[];
}

/** Bits of the vectors' control field. */
export const CONTROL = {
  wp: 0x1,
  smep: 0x2,
  smap: 0x4,
  pke: 0x8,
  pks: 0x10,
  pge: 0x20,
  pcide: 0x40,
  nxe: 0x80,
  ac: 0x100,
  user: 0x200,
  la57: 0x400,
} as const;

/** Letters of the vectors' access field. */
const ACCESS: Readonly<Record<string, number>> = {
  r: Access.Read,
  w: Access.Write,
  x: Access.Fetch,
  m: Access.Modify,
  s: Access.StackRead,
  i: Access.ImplicitRead,
};

/** The `Access` of a letter; a letter that is none of them is a mistake in the file. */
export function accessOf(letter: string): number {
  const access = ACCESS[letter];
  if (access === undefined)
    throw new Error(`access ${letter}: expected one of ${Object.keys(ACCESS).join(" ")}`);
  return access;
}

export const hex = (text: string): bigint => BigInt(`0x${text}`);

/** The fields of a line; a line with another number of them is a mistake in the file. */
export function fieldsOf(line: string, count: number): string[] {
  const fields = line.split(" ");
  if (fields.length !== count) throw new Error(`${fields.length} fields, expected ${count}: ${line}`);
  return fields;
}

/** Registers for the control field of a vector, and those that have fields of their own. */
export function registersOf(control: number, others: readonly [number, bigint][]): Map<number, bigint> {
  const has = (bit: number, value: bigint): bigint => ((control & bit) !== 0 ? value : 0n);
  return new Map([
    [Register.Cr0, layout.CR0_PE | layout.CR0_PG | has(CONTROL.wp, layout.CR0_WP)],
    [
      Register.Cr4,
      layout.CR4_PAE |
        has(CONTROL.la57, layout.CR4_LA57) |
        has(CONTROL.smep, layout.CR4_SMEP) |
        has(CONTROL.smap, layout.CR4_SMAP) |
        has(CONTROL.pke, layout.CR4_PKE) |
        has(CONTROL.pks, layout.CR4_PKS) |
        has(CONTROL.pge, layout.CR4_PGE) |
        has(CONTROL.pcide, layout.CR4_PCIDE),
    ],
    [Register.Efer, layout.EFER_LME | has(CONTROL.nxe, layout.EFER_NXE)],
    [Register.Rflags, has(CONTROL.ac, layout.RFLAGS_AC)],
    [Register.Cpl, has(CONTROL.user, 3n)],
    ...others,
  ]);
}

/** Enough for two walks of both dimensions with five levels: 70 words, and three quarters of the windows are used. */
const WINDOWS = 128;
const BATCH_BYTES = 1 << 20;

/** A processor of one model, to be asked cases by the batch. */
export class CaseRunner {
  readonly machine: CoreInstance;
  readonly #words: BigUint64Array;
  readonly #halves: Uint32Array;

  constructor(model: ProcessorModel) {
    this.machine = new CoreInstance({
      frameCount: 16,
      windowCount: WINDOWS,
      batchSize: BATCH_BYTES,
      maxphyaddr: model.maxphyaddr,
      options: model.page1G ? MachineOption.Page1GB : 0,
    });
    const base = this.machine.word(layout.HEADER_OFFSET_BATCHES_BASE);
    this.#words = new BigUint64Array(this.machine.view.buffer, base, BATCH_BYTES / 8);
    this.#halves = new Uint32Array(this.machine.view.buffer, base, BATCH_BYTES / 4);
  }

  /** Runs the cases, as many in a call as the buffer takes, and hands out each answer in turn. */
  run(cases: Iterable<Case>, take: (c: Case, answer: Answer) => void): void {
    let batch: Case[] = [];
    let at = 0;
    const flush = (): void => {
      const done = this.machine.core.runCases(0, batch.length);
      if (done !== batch.length) throw new Error(`${batch.length} cases asked, ${done} run`);
      let from = 0;
      for (const c of batch) {
        take(c, this.#answer(c, from));
        from += sizeOf(c);
      }
      batch = [];
      at = 0;
    };
    for (const c of cases) {
      if (at + sizeOf(c) > BATCH_BYTES) flush();
      this.#put(c, at);
      at += sizeOf(c);
      batch.push(c);
    }
    if (batch.length > 0) flush();
  }

  /** Runs one case; returns the answer, and the record of each translation that it took: two, if it went on in a second page. */
  one(c: Case): { answer: Answer; walks: RecordedWalk[] } {
    const head = Number((c.gva | 0xfffn) + 1n - c.gva);
    const first = c.size > head ? this.one({ ...c, size: head }).walks : [];
    let answer: Answer | undefined;
    this.run([c], (_, got) => (answer = got));
    const last = this.machine.walk();
    return { answer: answer!, walks: last.gva === c.gva ? [last] : [...first, last] };
  }

  #put(c: Case, at: number): void {
    const [words, halves] = [this.#words, this.#halves];
    words.fill(0n, at >> 3, (at + layout.CASE_SIZE) >> 3);
    words[(at + layout.CASE_GVA) >> 3] = c.gva;
    halves[(at + layout.CASE_ACCESS) >> 2] = c.access;
    halves[(at + layout.CASE_BYTES) >> 2] = c.size;
    halves[(at + layout.CASE_WORDS) >> 2] = c.words.length;
    for (const [register, value] of c.registers)
      words[((at + layout.CASE_REGISTERS) >> 3) + register] = value;
    let word = (at + layout.CASE_SIZE) >> 3;
    for (const { pa, value } of c.words) {
      words[word] = pa;
      words[word + 1] = value;
      word += layout.CASE_WORD_SIZE >> 3;
    }
  }

  #answer(c: Case, at: number): Answer {
    const u64 = (offset: number): bigint => this.#words[(at + offset) >> 3]!;
    const u32 = (offset: number): number => this.#halves[(at + offset) >> 2]!;
    return {
      outcome: u32(layout.CASE_OUTCOME),
      error: u64(layout.CASE_ERROR),
      refused: u32(layout.CASE_REFUSED),
      cr2: u64(layout.CASE_FAULT_GVA),
      gpa: u64(layout.CASE_GPA),
      pa: u64(layout.CASE_PA),
      secondPa: u64(layout.CASE_SECOND_PA),
      pmlIndex: u32(layout.CASE_PML_INDEX),
      changed: c.words.map((_, i) => u64(layout.CASE_SIZE + i * layout.CASE_WORD_SIZE + 16)),
    };
  }
}

function sizeOf(c: Case): number {
  return layout.CASE_SIZE + c.words.length * layout.CASE_WORD_SIZE;
}

/** True if the answer is right in every field that the case tells. */
export function agrees(c: Case, answer: Answer): boolean {
  const { expected } = c;
  const is = (told: bigint | null, got: bigint): boolean => told === null || told === got;
  return (
    answer.refused === 0 &&
    answer.outcome === expected.outcome &&
    is(expected.error, answer.error) &&
    is(expected.cr2, answer.cr2) &&
    is(expected.gpa, answer.gpa) &&
    is(expected.pa, answer.pa) &&
    is(expected.secondPa, answer.secondPa) &&
    (expected.pmlIndex === undefined || expected.pmlIndex === answer.pmlIndex) &&
    c.words.every(
      ({ must, may }, i) => (answer.changed[i]! & must) === must && (answer.changed[i]! & ~may) === 0n,
    )
  );
}

if (REGISTER_COUNT > layout.CASE_REGISTER_COUNT) throw new Error("a case has no place for some registers");
