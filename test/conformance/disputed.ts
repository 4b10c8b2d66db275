// Vectors that no emulator confirms, by class: what the emulators do there, what the core answers, and whose word it takes.
// docs/conformance.md is made of this, and of the answers.
import * as layout from "../../src/core/layout.generated.js";
import { type Answer, type Case, CaseRunner, agrees } from "./case.js";
import { CONFIRMED, DISPUTED, type VectorFile, casesOf } from "./files.js";

const { Outcome } = layout;

/** Lines that are disputed for one reason. */
export interface DisputedClass {
  /** Codes of the deviations, as the columns of the emulators have them; a line of the class has one of these. */
  codes: readonly string[];
  title: string;
  /** What an emulator does differently. */
  emulators: string;
  /** What the core answers, and why. */
  answer: string;
  /** Where it is written. */
  source: string;
}

export const CLASSES: readonly DisputedClass[] = [
  {
    codes: ["E4", "E6"],
    title: "RFLAGS.AC and an implicit supervisor-mode access",
    emulators:
      "both let RFLAGS.AC = 1 lift SMAP for the read of a descriptor too (QEMU at CPL below 3, Bochs at CPL 0 and 3)",
    answer:
      "#PF: AC lifts SMAP for explicit supervisor-mode accesses only; a user-mode address is closed to implicit ones whatever AC is",
    source: "SDM vol. 3A, 4.6.1, data reads and writes of supervisor mode: explicit and implicit accesses",
  },
  {
    codes: ["E5"],
    title: "PKRU and accesses of supervisor mode, or to supervisor-mode addresses",
    emulators:
      "Bochs lets supervisor mode read and write what AD closes (it knows WD with CR0.WP only), applies PKRU to supervisor-mode addresses, and so reports PK = 1 for some of them",
    answer:
      "AD closes a user-mode address to data accesses of either mode; PKRU says nothing of a supervisor-mode address, so there the access succeeds, or faults with PK = 0",
    source: "SDM vol. 3A, 4.6.2, PKRU; 4.7, PK flag",
  },
  {
    codes: ["E7", "E2"],
    title: "IA32_PKRS and an access of user mode",
    emulators:
      "QEMU checks U/S first: an access of user mode to a supervisor-mode address that IA32_PKRS closes has PK = 0. Where the access is a misaligned `xchg` (E2), it makes of it a load and a store, and the load may fault first, with W/R = 0",
    answer:
      "#PF with PK = 1: AD and WD of IA32_PKRS close the address to any data access, and PK tells that the key forbids the access, beside whatever else does. The manual does not say which cause hides which; no processor was asked. A read-modify-write needs the right to write and is reported as a write, aligned or not",
    source: "SDM vol. 3A, 4.6.2, IA32_PKRS; 4.7, PK flag and W/R flag",
  },
  {
    codes: ["E9"],
    title: "the guest's accessed and dirty flags, where EPT does not let its tables be written",
    emulators:
      "Bochs with EPTP bit 6 clear updates the flag in the guest's table whatever the EPT write permission, and goes on",
    answer:
      "EPT violation with bits 0 and 1 of the qualification set: the update of an accessed or dirty flag is a data write. Bit 1 is certain; bit 0 the manual leaves to the implementation for a read-modify-write, and guestmmu sets it, as processors do with EPTP bit 6 set",
    source: "SDM vol. 3C, 29.3.3.2, EPT violations; 28.2.1, exit qualification for EPT violations",
  },
  {
    codes: ["E10"],
    title: "bit 12 of a large EPT page",
    emulators: "Bochs ignores bit 12 of an EPT entry that maps 2 MBytes or 1 GByte",
    answer: "EPT misconfiguration: bits 20:12, of 1 GByte 29:12, must be 0. There is no PAT bit in EPT",
    source: "SDM vol. 3C, 29.3.2, formats of an EPT PDE and PDPTE that map a page; 29.3.3.1",
  },
];

/** The codes of the deviations that a line names. */
function codesOf(c: Case): string[] {
  return [...c.origin.line.matchAll(/\/((?:E\d+)+)/g)].flatMap(([, codes]) => codes!.match(/E\d+/g)!);
}

/** The class of a line; a line without one, or with two, is a mistake here. */
export function classOf(c: Case): DisputedClass {
  const codes = codesOf(c);
  const found = CLASSES.filter((one) => codes.some((code) => one.codes.includes(code)));
  if (found.length !== 1)
    throw new Error(
      `${c.origin.file} line ${c.origin.number}: ${found.length} classes for ${codes.join(" ")}`,
    );
  return found[0]!;
}

const KINDS: Readonly<Record<number, string>> = {
  [Outcome.Ok]: "ok",
  [Outcome.PageFault]: "#PF",
  [Outcome.EptViolation]: "EPT violation",
  [Outcome.EptMisconfiguration]: "EPT misconfiguration",
};
const WORDS: Readonly<Record<string, string>> = {
  ok: "ok",
  pf: "#PF",
  viol: "EPT violation",
  misc: "EPT misconfiguration",
};

/** An outcome without its address. */
function shown(kind: string, error: bigint | null): string {
  return error === null || !/#PF|violation/.test(kind) ? kind : `${kind} 0x${error.toString(16)}`;
}

/** The column of an emulator in the same words: "!pf:5/E7", "!viol:GPA:a2/E9", "-". */
function emulatorOf(column: string): string {
  if (column === "-") return "not run";
  const [, kind, rest] = /^!(\w+):?([^/~]*)/.exec(column) ?? [];
  const word = WORDS[kind ?? ""];
  if (word === undefined) throw new Error(`deviation ${column}: expected !outcome/Exx`);
  const error = rest === "" ? undefined : rest!.split(":").at(-1);
  return shown(word, error === undefined ? null : BigInt(`0x${error}`));
}

/** One line of the table of a class: the same answers of all. */
export interface DisputedRow {
  file: string;
  qemu: string;
  bochs: string;
  manual: string;
  core: string;
  agrees: boolean;
  lines: number;
}

function rowOf(c: Case, answer: Answer): DisputedRow {
  const fields = c.origin.line.split(" ");
  const [qemu, bochs] = fields.slice(-3, -1).map(emulatorOf);
  return {
    file: c.origin.file.replace("-disputed", ""),
    qemu: qemu!,
    bochs: bochs!,
    manual: shown(KINDS[c.expected.outcome]!, c.expected.error),
    core: shown(KINDS[answer.outcome] ?? `outcome ${answer.outcome}`, answer.error),
    agrees: agrees(c, answer),
    lines: 1,
  };
}

/** Rows by class, of all lines of these files. */
export function disputedRows(files: readonly VectorFile[] = DISPUTED): Map<DisputedClass, DisputedRow[]> {
  const tables = new Map(CLASSES.map((one) => [one, new Map<string, DisputedRow>()]));
  for (const file of files) {
    new CaseRunner(file.model).run(casesOf(file), (c, answer) => {
      const table = tables.get(classOf(c))!;
      const row = rowOf(c, answer);
      const key = Object.values(row).join("|");
      const there = table.get(key);
      if (there) there.lines++;
      else table.set(key, row);
    });
  }
  const order = (a: DisputedRow, b: DisputedRow): number =>
    a.file.localeCompare(b.file) ||
    b.lines - a.lines ||
    a.manual.localeCompare(b.manual) ||
    a.bochs.localeCompare(b.bochs);
  return new Map([...tables].map(([one, table]) => [one, [...table.values()].sort(order)]));
}

const number = (n: number): string => n.toLocaleString("en-US");
const sum = (rows: readonly { lines: number }[]): number => rows.reduce((all, { lines }) => all + lines, 0);

function tableOf(rows: readonly DisputedRow[]): string[] {
  return [
    "| file | lines | QEMU | Bochs | vector | guestmmu | |",
    "| --- | ---: | --- | --- | --- | --- | --- |",
    ...rows.map(
      (row) =>
        `| ${row.file} | ${number(row.lines)} | ${row.qemu} | ${row.bochs} | ${row.manual} | ${row.core} | ${row.agrees ? "as the vector" : "differs"} |`,
    ),
  ];
}

function classText(one: DisputedClass, rows: readonly DisputedRow[]): string[] {
  return [
    `### ${one.codes.join(", ")}: ${one.title}`,
    "",
    `${number(sum(rows))} lines. The emulators: ${one.emulators}.`,
    "",
    `guestmmu answers: ${one.answer}.`,
    "",
    `Source: ${one.source}.`,
    "",
    ...tableOf(rows),
    "",
  ];
}

/** docs/conformance.md. */
export function conformancePage(): string {
  const tables = disputedRows();
  const rows = [...tables.values()].flat();
  const differ = rows.filter((row) => !row.agrees);
  return [
    "# Conformance",
    "",
    "<!-- Written by `npm run docs:conformance`; a test checks that it is current. -->",
    "",
    "The core is held to single memory accesses that others made: a bare-metal image under QEMU 7.2 (TCG) and Bochs 2.7, each",
    "access with the paging-structure entries before it, the control state, the outcome, and the entries after it. An independent",
    "model of the manuals decided each line, and a line of the main files is confirmed by at least one emulator. What the",
    "tests compare: physical address, or vector, error code and CR2, or kind of exit, guest-physical address and qualification;",
    "and the accessed and dirty flags of every entry, exactly after a success, and within what is legal after a fault.",
    "",
    "`npx vitest run test/conformance` runs the committed sample ([test/data](../test/data/README.md)), or, with",
    "`GUESTMMU_CORPUS` set, every line: one batch call (`runCases`, [abi.md](abi.md)) takes a buffer of cases.",
    "`npm run bench vectors` measures how long all of them take.",
    "",
    "## Lines that an emulator confirms",
    "",
    "| file | lines | differ |",
    "| --- | ---: | ---: |",
    ...CONFIRMED.map(({ name, lines }) => `| ${name} | ${number(lines)} | 0 |`),
    `| **all** | **${number(sum(CONFIRMED))}** | **0** |`,
    "",
    "## Disputed lines",
    "",
    `${number(sum(rows))} lines that no emulator confirms. guestmmu follows the manual: ${number(sum(rows) - sum(differ))} come out as the`,
    `vector has it, ${differ.length === 0 ? "none differs" : `${number(sum(differ))} differ`}. The codes are those of the vectors.`,
    "",
    ...[...tables].flatMap(([one, own]) => classText(one, own)),
  ].join("\n");
}
