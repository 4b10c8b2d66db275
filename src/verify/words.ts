/** What a verdict is worth, in words: what was explored, how, and within which bounds. */

import { PROFILES } from "../core/profiles.js";
import { type Verdict } from "../explore/explore.js";
import { formatBytes, formatCount, formatCounted, formatDurationNs } from "../report/units.js";
import { type Job, type JobResult, type Scope } from "./jobs.js";

const LIMITS: Readonly<Record<string, string>> = {
  states: "the limit of states was reached (--max-states)",
  depth: "the limit of depth was reached (--max-depth)",
  time: "the time was over (--max-time)",
  stopped: "it was interrupted",
  executions: "the executions that were asked for are done (--executions)",
  switches: "more switches between actors would lead further (--max-switches)",
};

/** Why a verdict is not conclusive; null for one that is. */
export function limitInWords({ limit }: Verdict): string | null {
  return limit === null ? null : (LIMITS[limit] ?? limit);
}

/** `without RetryUnderLock, SeqChecked`, or `all rules`. */
export function rulesInWords(without: readonly string[]): string {
  return without.length === 0 ? "all rules" : `without ${without.join(", ")}`;
}

/** The probability that two different states had the same 64-bit fingerprint: at most n (n - 1) / 2^65. */
export function collisionRisk(states: number): number {
  return (states * Math.max(0, states - 1)) / 2 ** 65;
}

/** A probability as a power of ten: `below 1e-11`. */
function riskInWords(states: number): string {
  const risk = collisionRisk(states);
  return risk === 0 ? "none" : `below 1e${Math.floor(Math.log10(risk)) + 1}`;
}

const MODELS: Readonly<Record<string, string>> = {
  sc: "sequential consistency: an access is seen by all at once",
  tso: "total store order: a store may be seen late by others",
  weak:
    "weak: stores may be seen late and out of order, and plain reads of struct kvm may find an older value: " +
    'less than the kernel\'s memory model allows, so that "holds" is no proof for it',
};

/** Names of the profile, the rules, the model: what all depends on. */
function settingLines(verdict: Verdict): [string, string][] {
  const { profile, without, build, model } = verdict;
  return [
    ["profile", `${profile}, ${PROFILES[profile].says}`],
    ["rules", without.length === 0 ? "all in force" : `${without.join(", ")} left out, all others in force`],
    [
      "module",
      build === "lab"
        ? "lab (the same source as the release module, with rules and events)"
        : "release, as shipped",
    ],
    ["model", MODELS[model] ?? model],
  ];
}

/** `vcpu0, host0; 1 page in 1 memslot; 256 frames`. */
export function scopeInWords({ actors, pages, memslots, frames }: Scope): string {
  return [
    `${formatCounted(actors.length, "actor")} (${actors.join(", ")})`,
    `${formatCounted(pages, "guest page")} in ${formatCounted(memslots, "memslot")}`,
    `${formatCounted(frames, "host frame")}`,
  ].join(", ");
}

/** How executions were chosen, and what follows from that. */
export function strategyInWords({ options }: Job, verdict: Verdict): string {
  switch (verdict.strategy) {
    case "exhaustive": {
      const reduced = options.reduce ? "orders of steps that commute left out, " : "";
      const all = `exhaustive: every order of the accesses to shared words, at every access, ${reduced}${options.match === false ? "each execution to its end" : "each state once"}`;
      if (verdict.verdict === "holds") return `${all}; ${formatCounted(verdict.cells, "word")} are shared`;
      if (verdict.limit !== null) return `${all}, as far as it came`;
      return options.all ? all : `${all}, up to the first violation`;
    }
    case "bounded":
      return verdict.bound === null
        ? "bounded: and more switches between actors would lead to no other state"
        : `bounded: every execution with at most ${formatCounted(verdict.bound, "switch", "switches")} between actors; what takes more is not known`;
    case "pct":
      return "pct: executions by random priorities; a violation is one, and no violation proves nothing";
    case "random":
      return "random: executions at random; a violation is one, and no violation proves nothing";
  }
}

/** Whether plain accesses of two actors were looked for that could happen at once. */
function racesInWords({ racesChecked, violations, limit }: Verdict): string {
  if (!racesChecked) return "not looked for";
  if (violations.some(({ name }) => name === "data-race"))
    return "a plain access of one actor beside one of another, see below";
  const none = "no plain access of one actor stands beside one of another";
  return limit === null ? none : `${none}, as far as it came`;
}

function workLine(verdict: Verdict): string {
  const { states, steps, ends, depth, runs, localStates, threads, milliseconds } = verdict;
  return (
    `${formatCounted(states, "state")}, ${formatCounted(steps, "step")}, ${formatCounted(ends, "end")} of executions, ` +
    `longest ${formatCounted(depth, "step")}; ${formatCounted(localStates, "local state")} of the actors learned in ` +
    `${formatCounted(runs, "run")} of the core; ${formatDurationNs(milliseconds * 1e6)}` +
    (threads > 1 ? `, ${threads} threads` : "")
  );
}

function memoryLine({ bytes, states }: Verdict): string {
  if (bytes === 0) return "no visited states are kept";
  return (
    `${formatBytes(bytes)} for the visited states, kept as 64-bit fingerprints: the risk that one was taken for ` +
    `another is ${riskInWords(states)}`
  );
}

/** Lines under a verdict, each with its label. */
export function boundLines({ job, verdict, scope }: JobResult): [string, string][] {
  if (verdict === null) return [];
  const lines = settingLines(verdict);
  if (scope !== null) lines.push(["scope", scopeInWords(scope)]);
  lines.push(["strategy", strategyInWords(job, verdict)]);
  lines.push(["limits", limitInWords(verdict) ?? "none was reached"]);
  lines.push(["endings", verdict.liveness.says]);
  lines.push(["races", racesInWords(verdict)]);
  const outcomes = Object.entries(verdict.outcomes);
  if (outcomes.length > 0) {
    const texts = outcomes.map(([outcome, finals]) => `${outcome} (${formatCounted(finals, "final state")})`);
    lines.push(["outcomes", texts.join(", ")]);
  }
  lines.push(["work", workLine(verdict)], ["memory", memoryLine(verdict)]);
  return lines;
}

/** The verdict as a word, with what is to be thought of it. */
export function verdictInWords({ job, verdict, error }: JobResult): string {
  if (verdict === null) return error === null ? "not explored" : "error";
  const { verdict: word } = verdict;
  if (word === "inconclusive") return "inconclusive";
  if (job.expected === null || word === job.expected) {
    return word === "violated" && job.expected === "violated" ? "violated, as expected" : word;
  }
  return `${word.toUpperCase()}, expected: ${job.expected}`;
}

/** Number of states as a cell of a table. */
export function statesCell(verdict: Verdict | null): string | null {
  return verdict === null ? null : formatCount(verdict.states);
}
