/**
 * Live progress: a few lines on a terminal that are rewritten in place. Where there is no terminal there is
 * no progress at all, so logs and pipes hold results only. Drawing happens inside `update`; there is no
 * timer, and nothing here keeps the process alive.
 */

import { stderr } from "node:process";

/** What progress is written to; `process.stderr` is one. */
export interface ProgressStream {
  readonly isTTY?: boolean;
  /** Width and height of the terminal in characters; undefined where they are not known. */
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
  write(text: string): unknown;
}

/** Options of `startProgress`; the defaults are right outside tests. */
export interface ProgressOptions {
  /** Default `process.stderr`: standard output is for results. */
  readonly stream?: ProgressStream;
  /** Least time between two drawings in milliseconds. Default 100. */
  readonly intervalMs?: number;
  /** Monotonic time in milliseconds. Default `performance.now`. */
  readonly now?: () => number;
  /**
   * `NO_COLOR` (set and not empty) turns dimming off, `TERM=dumb` progress as a whole. Default `process.env`.
   */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** Progress that has been started. */
export interface Progress {
  /** False where there is no terminal: then nothing is ever written. Stays true after `stop`. */
  readonly active: boolean;
  /**
   * Shows `lines()` instead of the lines before, unless that was less than `intervalMs` ago. The function is
   * called only when they are drawn, so reading counters costs nothing in between. Ignored after `stop`.
   */
  update(lines: () => readonly string[]): void;
  /** Removes the lines, so that what is printed next stands in their place. Harmless when repeated. */
  stop(): void;
}

const CLEAR_TO_END_OF_SCREEN = "\x1b[0J";
const DIM = "\x1b[2m";
const NORMAL = "\x1b[22m";

/** Size that is assumed where a terminal does not tell its own. */
const DEFAULT_COLUMNS = 80;
const DEFAULT_ROWS = 24;

const SILENT: Progress = { active: false, update: () => undefined, stop: () => undefined };

/**
 * Starts progress on a terminal; elsewhere the result does nothing. Nothing is written before the first
 * `update`.
 */
export function startProgress(options: ProgressOptions = {}): Progress {
  const { stream = stderr, intervalMs = 100, now = () => performance.now(), env = process.env } = options;
  if (stream.isTTY !== true || env.TERM === "dumb") return SILENT;
  const withColor = (env.NO_COLOR ?? "") === "";
  return new TerminalProgress(stream, intervalMs, now, withColor);
}

class TerminalProgress implements Progress {
  readonly active = true;
  private shown: readonly string[] = [];
  private drawnAtMs = -Infinity;
  private stopped = false;

  constructor(
    private readonly stream: ProgressStream,
    private readonly intervalMs: number,
    private readonly now: () => number,
    private readonly withColor: boolean,
  ) {}

  update(lines: () => readonly string[]): void {
    const time = this.now();
    if (this.stopped || time - this.drawnAtMs < this.intervalMs) return;
    this.drawnAtMs = time;
    const columns = this.stream.columns || DEFAULT_COLUMNS;
    const rows = this.stream.rows || DEFAULT_ROWS;
    // The line below the last one stays free for the cursor; a terminal of one row still shows one line.
    const fitting = lines()
      .slice(0, Math.max(1, rows - 1))
      .map((line) => cut(line, columns));
    const text = fitting.map((line) => `${this.withColor ? DIM + line + NORMAL : line}\n`).join("");
    // One write, so that the terminal never shows a moment without lines.
    this.stream.write(this.eraser() + text);
    this.shown = fitting;
  }

  stop(): void {
    if (this.stopped) return;
    this.stopped = true;
    if (this.shown.length > 0) this.stream.write(this.eraser());
  }

  /**
   * Moves to the first line on show and clears from there. Counts rows anew: the terminal may have become
   * narrower.
   */
  private eraser(): string {
    const columns = Math.max(1, this.stream.columns || DEFAULT_COLUMNS);
    const rows = this.shown.reduce(
      (sum, line) => sum + Math.max(1, Math.ceil([...line].length / columns)),
      0,
    );
    return rows === 0 ? "" : `\x1b[${rows}A\r${CLEAR_TO_END_OF_SCREEN}`;
  }
}

/**
 * One line of at most `columns - 1` characters: in the last column some terminals break the line at once,
 * some only at the next character. Control characters would move the cursor; they become spaces.
 */
function cut(line: string, columns: number): string {
  const characters = [...line.replace(/\p{Cc}/gu, " ")];
  return characters.slice(0, Math.max(1, columns - 1)).join("");
}
