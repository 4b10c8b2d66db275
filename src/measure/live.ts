/** What runs now, for the lines that are rewritten in place: read from the threads' own counters, which costs them nothing. */

import { formatRate } from "../report/units.js";
import { rowName } from "../report/bench.js";
import { Stat } from "../core/layout.generated.js";
import type { ActorReport, VcpuRun } from "../workers/index.js";
import type { RowConfig } from "./matrix.js";

/** Rates since the last look. */
export class LiveView {
  private last: { readonly atMs: number; readonly actors: readonly ActorReport[] } | null = null;

  constructor(
    private readonly run: VcpuRun,
    private readonly row: RowConfig,
    private readonly position: string,
  ) {}

  /** One line for the row, one for each actor. */
  lines(): string[] {
    const now = { atMs: performance.now(), actors: this.run.progress() };
    const { last } = this;
    this.last = now;
    const seconds = last === null ? 0 : (now.atMs - last.atMs) / 1000;
    const actors = now.actors.map((actor, i) => {
      const before = last?.actors[i];
      if (before === undefined || seconds <= 0 || actor.wallMs === 0) return `  ${actor.name}: starting`;
      const rate = (value: (a: ActorReport) => number): string =>
        formatRate(Math.max(0, value(actor) - value(before)) / seconds);
      return actor.plan.kind === "invalidate"
        ? `  ${actor.name}: ${rate((a) => a.operations)} invalidations`
        : `  ${actor.name}: ${rate((a) => a.counts[Stat.Faults]!)} faults, ${rate((a) => a.counts[Stat.Accesses]!)} accesses`;
    });
    return [`${this.position} ${rowName(this.row)}`, ...actors];
  }
}
