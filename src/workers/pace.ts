/** When the next invalidation is due. */

/** Up to this long before a deadline a thread spins: a sleep would end later. */
const SPIN_MS = 0.2;
/** An invalidator that fell behind by more than this (it lost its core) does not catch up: that would be a burst. */
const BACKLOG_MS = 5;
/** Done at a time where there is no pause; the caller looks at the clock in between. */
const FLAT_OUT = 16;
/** Due at a time at most: a long batch would hide a stop. */
const BATCH_MAX = 64;

/** Deadlines at a constant rate. */
export class Pace {
  private done = 0;

  /** @param perSecond above 0; Infinity for no pause */
  constructor(
    private readonly perSecond: number,
    private startMs: number,
  ) {}

  /** Begins anew. */
  restart(nowMs: number): void {
    this.startMs = nowMs;
    this.done = 0;
  }

  /** How many are due now. */
  due(nowMs: number): number {
    if (this.perSecond === Infinity) return FLAT_OUT;
    const behindMs = nowMs - this.deadline(this.done + 1);
    if (behindMs > BACKLOG_MS) this.startMs += behindMs - BACKLOG_MS;
    const wanted = Math.floor(((nowMs - this.startMs) * this.perSecond) / 1000);
    return Math.min(BATCH_MAX, Math.max(0, wanted - this.done));
  }

  did(count: number): void {
    this.done += count;
  }

  /** How long to sleep: 0 where the deadline is so near that one has to spin. */
  waitMs(nowMs: number): number {
    if (this.perSecond === Infinity) return 0;
    const left = this.deadline(this.done + 1) - nowMs;
    return left > SPIN_MS ? left - SPIN_MS / 2 : 0;
  }

  private deadline(n: number): number {
    return this.startMs + (n * 1000) / this.perSecond;
  }
}
