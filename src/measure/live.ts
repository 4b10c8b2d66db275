/** What runs now, for the lines that are rewritten in place: read from the threads' own counters, which costs them nothing. */

import { formatRate } from "../report/units.js";
import { rowName } from "./bench-text.js";
import { Stat } from "../core/layout.generated.js";
import type { ActorReport, VcpuRun } from "../workers/index.js";
import type { RowConfig } from "./matrix.js";

/** Rates since the last look, over the part of it that is timed. */
export class LiveView {
  private last: readonly ActorReport[] = [];

  constructor(
    private readonly run: Pick<VcpuRun, "progress">,
    private readonly row: RowConfig,
    private readonly position: string,
  ) {}

  /** One line for the row, one for each actor. */
  lines(): string[] {
    const { last } = this;
    this.last = this.run.progress();
    const actors = this.last.map((now, i) => `  ${nameOf(now)}: ${since(last[i], now)}`);
    return [`${this.position} ${rowName(this.row)}`, ...actors];
  }
}

function nameOf({ plan, name }: ActorReport): string {
  return plan.kind === "invalidate" ? "invalidator" : name;
}

function since(before: ActorReport | undefined, now: ActorReport): string {
  const seconds = (now.wallMs - (before?.wallMs ?? 0)) / 1000;
  if (seconds <= 0) return now.wallMs === 0 ? "warming up" : "done";
  const rate = (value: (actor: ActorReport) => number): string =>
    formatRate(Math.max(0, value(now) - (before === undefined ? 0 : value(before))) / seconds);
  return now.plan.kind === "invalidate"
    ? `${rate(({ operations }) => operations)} invalidations`
    : `${rate(({ counts }) => counts[Stat.Faults]!)} faults, ${rate(({ counts }) => counts[Stat.Accesses]!)} accesses`;
}
