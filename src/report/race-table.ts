/**
 * An execution as text, a column for every actor and time downwards, as the kernel's documents draw races: what was
 * accessed, by whom, where, and what each value means; then what went wrong, and the command that repeats it.
 */

import { glue, raceTurns, siteInWords, type RaceLine, type Tone, type Turn } from "./race-lines.js";
import { type Trace } from "../explore/trace.js";

/** Appearance of a race table. */
export interface RaceTableOptions {
  /** Every access and event, instead of those that matter. */
  readonly verbose?: boolean;
  /** ANSI colours. Default false. */
  readonly color?: boolean;
  /** Columns of the terminal. Default 120. */
  readonly width?: number;
}

const GAP = " | ";
/** The narrowest column that an actor's words are wrapped in. */
const COLUMN_MIN = 16;
const SITE_MAX = 34;

const CODES: Partial<Record<Tone | "violation" | "rule", string>> = {
  read: "2",
  window: "33",
  page: "35",
  translation: "36",
  guest: "34",
  quiet: "2",
  violation: "31;1",
  rule: "2",
};

type Paint = (text: string, tone: keyof typeof CODES) => string;

const plain: Paint = (text) => text;
const colored: Paint = (text, tone) => {
  const code = CODES[tone];
  return code === undefined || text.trim() === "" ? text : `\u001b[${code}m${text}\u001b[0m`;
};

/** Words of `text` in lines of at most `width`; the second line and later ones are indented by two. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  const start = (word: string): void => {
    let rest = lines.length > 0 ? `  ${word}` : word;
    while (rest.length > width) {
      lines.push(rest.slice(0, width));
      rest = `  ${rest.slice(width)}`;
    }
    line = rest;
  };
  for (const word of glue(text).split(" ")) {
    if (line === "") start(word);
    else if (line.length + 1 + word.length <= width) line += ` ${word}`;
    else {
      lines.push(line);
      start(word);
    }
  }
  lines.push(line);
  return lines.map((torn) => torn.replaceAll("\u00a0", " "));
}

/** Widths of the columns: step, one for each actor, place. */
interface Shape {
  readonly step: number;
  readonly actor: number;
  readonly site: number;
  readonly actors: number;
}

function shapeOf(trace: Trace, lines: readonly RaceLine[], width: number): Shape {
  const actors = trace.actors.length;
  const step = Math.max(1, String(trace.accesses.at(-1)?.step ?? 0).length);
  const sites = Math.max(5, ...lines.map(({ site }) => siteInWords(site).length));
  const narrow = Math.min(SITE_MAX, Math.max(12, Math.floor(width / (actors + 1))));
  const site = Math.min(sites, narrow);
  const rest = width - step - 2 - site - actors * GAP.length;
  const longest = Math.max(
    ...trace.actors.map(({ name }) => name.length),
    ...lines.map(({ text, depth }) => text.length + 2 * depth),
    COLUMN_MIN,
  );
  return { step, actor: Math.max(COLUMN_MIN, Math.min(longest, Math.floor(rest / actors))), site, actors };
}

/** One line of the table, in as many lines of text as its cells need. */
function row(shape: Shape, cells: RowCells, paint: Paint): string[] {
  const margin = "  ".repeat(Math.min(cells.depth, 3));
  const texts = wrap(cells.text, shape.actor - margin.length);
  const sites = cells.site === "" ? [""] : wrap(cells.site, shape.site);
  return Array.from({ length: Math.max(texts.length, sites.length) }, (_, i) => {
    const step = (i === 0 ? cells.step : "").padStart(shape.step);
    const columns = Array.from({ length: shape.actors }, (_, actor) =>
      actor === cells.actor
        ? paint((texts[i] ? margin + texts[i] : "").padEnd(shape.actor), cells.tone)
        : " ".repeat(shape.actor),
    );
    return `${paint(step, "rule")}  ${columns.join(GAP)}${GAP}${paint(sites[i] ?? "", "rule")}`.trimEnd();
  });
}

interface RowCells {
  readonly step: string;
  readonly actor: number;
  readonly text: string;
  readonly depth: number;
  readonly site: string;
  readonly tone: keyof typeof CODES;
}

function header(trace: Trace, shape: Shape): string[] {
  const names = trace.actors.map(({ name }) => name.padEnd(shape.actor)).join(GAP);
  const rules = trace.actors.map(() => "-".repeat(shape.actor)).join("-+-");
  return [
    `${" ".repeat(shape.step + 2)}${names}${GAP}place`,
    `${"-".repeat(shape.step + 2)}${rules}-+-${"-".repeat(shape.site)}`,
  ];
}

/** The change to another actor: where the one that stops will go on. */
function switchLine(trace: Trace, shape: Shape, turn: Turn, paint: Paint): string {
  const { name } = trace.actors[turn.actor]!;
  const where =
    turn.next === undefined ? "does not run again" : `stops before ${siteInWords(turn.next.site)}`;
  const width = shape.step + 2 + (shape.actor + GAP.length) * shape.actors + shape.site;
  return paint(`${"-".repeat(shape.step + 1)} ${name} ${where} `.padEnd(width, "-"), "rule");
}

/** How an execution ended, as a heading. */
export const END_TITLES: Readonly<Record<Trace["end"]["kind"], string>> = {
  done: "DONE",
  violation: "VIOLATED",
  trap: "TRAPPED",
  deadlock: "DEADLOCK",
  livelock: "LIVELOCK",
  error: "ERROR",
};

/** `VIOLATED  no-use-after-free   scenario fault-vs-munmap   profile v6.13   without RetryUnderLock   2 switches`. */
export function titleOf(trace: Trace): string {
  const { end, scenario, profile, model, rulesOff, switches } = trace;
  const parts = [
    `${END_TITLES[end.kind]}${end.name ? `  ${end.name}` : ""}`,
    `scenario ${scenario}`,
    `profile ${profile}`,
  ];
  if (model !== "" && model !== "sc") parts.push(`memory model ${model}`);
  if (rulesOff.length > 0) parts.push(`without ${rulesOff.join(", ")}`);
  parts.push(`${switches} switch${switches === 1 ? "" : "es"}`);
  return parts.join("   ");
}

/** What stands in the column of the actor that acted last. */
function endLine(trace: Trace): string | undefined {
  if (trace.end.kind === "done") return undefined;
  return `*** ${END_TITLES[trace.end.kind]}${trace.end.name ? `: ${trace.end.name}` : ""}`;
}

/** Control characters of names that a user chose must not reach the terminal. */
function printable(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, "?");
}

function withPrintableNames(trace: Trace): Trace {
  const { scenario, actors, end, repeat } = trace;
  return {
    ...trace,
    scenario: printable(scenario),
    actors: actors.map((actor) => ({ ...actor, name: printable(actor.name) })),
    end: { ...end, name: printable(end.name), says: printable(end.says) },
    repeat: printable(repeat),
  };
}

/** Renders an execution. Lines end without spaces, the last one without a line end. */
export function raceTable(execution: Trace, options: RaceTableOptions = {}): string {
  const { verbose = false, color = false, width = 120 } = options;
  const paint = color ? colored : plain;
  const trace = withPrintableNames(execution);
  const turns = raceTurns(trace, verbose);
  const lines = turns.flatMap((turn) => turn.lines);
  const shape = shapeOf(trace, lines, width);
  const out = [paint(titleOf(trace), trace.end.kind === "done" ? "rule" : "violation"), ""];
  out.push(...header(trace, shape));
  turns.forEach((turn, index) => {
    if (index > 0) out.push(switchLine(trace, shape, turns[index - 1]!, paint));
    let before: RaceLine | undefined;
    for (const line of turn.lines) {
      const same = before?.index === line.index;
      const site =
        before !== undefined && siteInWords(before.site) === siteInWords(line.site)
          ? ""
          : siteInWords(line.site);
      out.push(...row(shape, { ...line, step: same ? "" : String(line.step), site }, paint));
      before = line;
    }
  });
  const last = trace.accesses.at(-1);
  const verdict = endLine(trace);
  if (verdict !== undefined) {
    const cells = { step: "", actor: last?.actor ?? 0, text: verdict, depth: 0, site: "" };
    out.push(...row(shape, { ...cells, tone: "violation" }, paint));
  }
  out.push("");
  if (trace.end.says !== "") out.push(...wrap(trace.end.says, width), "");
  if (!verbose) out.push(paint(hiddenInWords(trace, lines), "quiet"));
  out.push(`repeat    ${trace.repeat}`);
  return out.join("\n");
}

function hiddenInWords(trace: Trace, lines: readonly RaceLine[]): string {
  const shown = new Set(lines.map(({ index }) => index)).size;
  return `shown     ${shown} of ${trace.accesses.length} accesses; step numbers count all of them`;
}
