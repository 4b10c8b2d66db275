// Sides of a question take turns, A B A B, in one process and the same seconds, so that whatever else the machine does
// slows all of them. What is compared is paired, round by round.
import { ratio, summary } from "../dist/report/statistics.js";

/**
 * @typedef {object} Side
 * @property {string} name
 * @property {(round: number) => Promise<Sample> | Sample} run one sample; a negative round is not counted (warm-up)
 *
 * @typedef {object} Sample
 * @property {number} value in the unit of the question
 * @property {string} digest of what was computed; equal on all sides that did the same work
 * @property {Record<string, number>} [counts] work done
 * @property {number} [processors] time of processors that its threads had, as a share of the clock's
 */

/** Calls after which V8 has compiled a loop for good, with time for its compiler thread. */
const WARM_CALLS = 4;
const WARM_PAUSE_MS = 15;

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Runs all sides `rounds` times.
 * @param {Side[]} sides @param {number} rounds
 * @returns {Promise<Record<string, {values: number[], digests: string[], counts: Record<string, number>}>>}
 */
export async function takeTurns(sides, rounds) {
  const taken = {};
  for (const { name } of sides) taken[name] = { values: [], digests: [], counts: {}, processors: [] };
  for (let warm = -WARM_CALLS; warm < 0; warm++) {
    for (const side of sides) {
      await side.run(warm);
      await pause(WARM_PAUSE_MS);
    }
  }
  for (let round = 0; round < rounds; round++) {
    for (const side of sides) {
      const { value, digest, counts = {}, processors } = await side.run(round);
      taken[side.name].values.push(value);
      taken[side.name].digests.push(digest);
      taken[side.name].counts = counts;
      if (processors !== undefined) taken[side.name].processors.push(processors);
    }
  }
  return taken;
}

/** True if both sides did the same work in every round. */
export const agree = (a, b) => a.digests.every((digest, round) => digest === b.digests[round]);

/**
 * One row: `above` over `below`, which are sides as `takeTurns` returns them.
 * @param {{case: string, core: object, other: object, against: string, unit: string, reads: string,
 *   above: "core" | "other", target?: {atMost?: number, atLeast?: number}, context?: boolean, digests?: boolean,
 *   processors?: number}} row
 *   `reads`: what the ratio is, in words; `digests` false: the sides do not do the same work, and the row says so itself;
 *   `processors`: the target is not judged if the threads of the side with the most had less, as this machine was busy
 */
export function compareRow({ core, other, above, target = null, digests = true, processors = 0, ...row }) {
  const agreed = !digests || agree(core, other);
  const [a, b] = above === "core" ? [core, other] : [other, core];
  const estimate = agreed ? ratio(a.values, b.values) : null;
  const sides = { core: figures(core), other: figures(other) };
  const starved = Math.max(sides.core.processors ?? 0, sides.other.processors ?? 0) < processors;
  return {
    ...row,
    ...sides,
    note: starved ? `not judged: fewer than ${processors} processors` : null,
    digest: digests ? (agreed ? core.digests[0] : "differ") : null,
    ratio: estimate && { median: estimate.ratio, low: estimate.low, high: estimate.high, rounds: estimate.n },
    target,
    reached: estimate && target && !starved ? isReached(estimate.ratio, target) : null,
    counts: core.counts,
  };
}

export const isReached = (value, { atMost = Infinity, atLeast = -Infinity }) =>
  value <= atMost && value >= atLeast;

/**
 * One row of a side that stands alone, against a limit if there is one.
 * @param {{case: string, unit: string, values: number[], reads: string, target?: {atMost?: number, atLeast?: number},
 *   counts?: Record<string, number>, digest?: string}} row `values`: its samples; `reads`: what they are, in words
 */
export function limitRow({ values, target = null, counts = {}, digest = null, ...row }) {
  const core = figure(values);
  return {
    ...row,
    core,
    other: null,
    digest,
    ratio: { median: core.median },
    target,
    reached: target && isReached(core.median, target),
    counts,
  };
}

/** `spread` as everywhere: half of what the middle half of the samples spans, over their median; null for one sample. */
export function figure(values) {
  const { n, median, spread, min, max } = summary(values);
  return { n, median, spread: n > 1 ? spread : null, min, max };
}

function figures({ values, processors }) {
  return { ...figure(values), processors: processors.length > 0 ? summary(processors).median : null };
}

/** Runs `work` and returns its result and the processor time of this process, ns: what others do is not in it. */
export function onProcessor(work) {
  const before = process.cpuUsage();
  const result = work();
  const { user, system } = process.cpuUsage(before);
  return { result, ns: (user + system) * 1000 };
}
