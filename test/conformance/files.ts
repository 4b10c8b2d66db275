// The files of vectors: which processor each was made on, and who reads its lines.
import { type Case, type Origin, type ProcessorModel } from "./case.js";
import { vectors } from "./corpus.js";
import { parseCross } from "./cross.js";
import { parseEpt, parseNpt } from "./nested.js";
import { parsePaging } from "./paging.js";

export interface VectorFile {
  /** Name in the corpus, without extension. */
  name: string;
  /** Lines that the corpus has. */
  lines: number;
  model: ProcessorModel;
  /** The cases of a line. The line holds if all of them do. */
  parse: (origin: Origin, model: ProcessorModel) => Case[];
}

const WIDE: ProcessorModel = { page1G: true, maxphyaddr: 40 };
const NARROW: ProcessorModel = { page1G: false, maxphyaddr: 40 };

/** Files whose every line at least one emulator confirms. */
export const CONFIRMED: readonly VectorFile[] = [
  { name: "paging-4level", lines: 86_960, model: WIDE, parse: parsePaging },
  { name: "paging-5level", lines: 18_850, model: WIDE, parse: parsePaging },
  { name: "paging-pks", lines: 8420, model: WIDE, parse: parsePaging },
  { name: "paging-pcid", lines: 4587, model: WIDE, parse: parsePaging },
  { name: "paging-no1g", lines: 8680, model: NARROW, parse: parsePaging },
  { name: "paging-cross", lines: 6000, model: WIDE, parse: parseCross },
  { name: "ept", lines: 14_340, model: WIDE, parse: parseEpt },
  { name: "npt", lines: 8088, model: WIDE, parse: parseNpt },
];

/** Files of lines that no emulator confirms. */
export const DISPUTED: readonly VectorFile[] = [
  { name: "paging-4level-disputed", lines: 73, model: WIDE, parse: parsePaging },
  { name: "paging-5level-disputed", lines: 15, model: WIDE, parse: parsePaging },
  { name: "paging-pks-disputed", lines: 355, model: WIDE, parse: parsePaging },
  { name: "paging-pcid-disputed", lines: 246, model: WIDE, parse: parsePaging },
  { name: "ept-disputed", lines: 462, model: WIDE, parse: parseEpt },
];

/** All cases of a file, in order: those of the corpus, or of the sample. */
export function* casesOf({ name, model, parse }: VectorFile): Generator<Case> {
  let number = 0;
  for (const line of vectors(name)) yield* parse({ file: name, number: ++number, line }, model);
}
