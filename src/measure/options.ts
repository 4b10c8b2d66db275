/**
 * From the words of the command line to a plan: every value checked, every combination either planned or refused.
 */

import { usageError } from "../errors.js";
import { INTERVAL_SAMPLES_MIN } from "../report/statistics.js";
import { parseBytes, parseCounts, parseDurationMs, parsePageSizes, parseRates } from "../report/units.js";
import { expandMatrix, type MatrixAxes, type RowConfig } from "./matrix.js";
import {
  PROFILE_NAMES,
  QUESTIONS,
  QUESTION_NAMES,
  REGION_NAMES,
  RETRY_NAMES,
  WORKLOAD_NAMES,
  type PartialOption,
  type QuestionName,
} from "./questions.js";

/** Options of `guestmmu bench` as they were typed; undefined where they were not. */
export interface BenchOptionTexts {
  readonly question?: string;
  readonly vcpus?: string;
  readonly invalidate?: string;
  readonly span?: string;
  readonly pageSize?: string;
  readonly profile?: string;
  readonly workload?: string;
  readonly writeMix?: string;
  readonly region?: string;
  readonly memory?: string;
  readonly duration?: string;
  readonly samples?: string;
  readonly seed?: string;
  readonly zero?: string;
  readonly retry?: string;
  readonly poison?: boolean;
  readonly quick?: boolean;
  readonly trace?: string;
  readonly skipMalformed?: boolean;
  readonly compare?: string;
  readonly threshold?: string;
}

/** A run of the bench, ready to be carried out. */
export interface BenchPlan {
  readonly rows: readonly RowConfig[];
  /** Wall time of the timed part of a row, and how many intervals it is cut into. */
  readonly durationMs: number;
  readonly samples: number;
  /** Untimed running before each row, for V8 to compile what it will run. */
  readonly warmupMs: number;
  readonly seed: number;
  /** The matrix is the default one, the small one, or was named by the user. */
  readonly label: "default" | "quick" | "chosen";
  readonly trace: string | null;
  readonly skipMalformed: boolean;
  readonly compare: string | null;
  readonly threshold: number | null;
}

/** vCPUs that one measurement may have. */
export const VCPUS_MAX = 32;

/** Values that stand where the user gave none. */
export const DEFAULTS = {
  question: "populate,cycle,hit,miss",
  invalidate: "0,100k",
  span: "1",
  pageSize: "4k",
  profile: "v6.13",
  region: "per-vcpu",
  duration: "800ms",
  samples: "10",
  seed: "1",
  zero: "on",
  retry: "wait",
} as const;

const QUICK = { invalidate: "0,10k", duration: "120ms", samples: "6" } as const;

/** The axes that make a matrix the user's own. */
const AXIS_OPTIONS = [
  "question",
  "vcpus",
  "invalidate",
  "span",
  "pageSize",
  "profile",
  "workload",
  "writeMix",
  "region",
  "memory",
  "zero",
  "retry",
  "trace",
] as const;

/**
 * Plans a run.
 *
 * @param cores processors of this machine: by default one and two vCPUs are measured where it has two.
 * @throws GuestMmuError `USAGE` for a value or a combination that cannot be measured.
 */
export function planBench(texts: BenchOptionTexts, cores: number): BenchPlan {
  const quick = texts.quick === true;
  const text = (name: keyof typeof DEFAULTS): string =>
    texts[name] ?? (quick && name in QUICK ? QUICK[name as keyof typeof QUICK] : DEFAULTS[name]);
  const questions = questionsOf(texts);
  const axes: MatrixAxes = {
    questions,
    vcpus: parseCounts("--vcpus", texts.vcpus ?? (cores >= 2 ? "1,2" : "1"), { min: 1, max: VCPUS_MAX }),
    invalidate: parseRates("--invalidate", text("invalidate")),
    span: parseCounts("--span", text("span"), { min: 1, max: 1 << 20 }),
    pageSize: pageSizesOf(text("pageSize")),
    profile: parseNames("--profile", text("profile"), PROFILE_NAMES),
    workload: texts.workload === undefined ? null : parseNames("--workload", texts.workload, WORKLOAD_NAMES),
    writePercent:
      texts.writeMix === undefined
        ? null
        : parseNumber("--write-mix", texts.writeMix, 0, 100, "stores in percent"),
    region: parseNames("--region", text("region"), REGION_NAMES),
    memory:
      texts.memory === undefined ? null : parseBytes("--memory", texts.memory, { min: 4096, max: 2 ** 32 }),
    zero: parseNames("--zero", text("zero"), ["on", "off"]).map((value) => value === "on"),
    retry: parseNames("--retry", text("retry"), RETRY_NAMES),
    poison: texts.poison === true,
    small: quick,
  };
  refuseUnused(texts, axes);
  const samples = parseNumber("--samples", text("samples"), 1, 10_000, "intervals");
  const durationMs = parseDurationMs("--duration", text("duration"), { min: 10, max: 24 * 3600e3 });
  if (durationMs / samples < 1) {
    throw usageError(
      `--duration ${text("duration")} is less than a millisecond for each of ${samples} samples.`,
      "Give a longer duration, or fewer samples.",
    );
  }
  const seed = parseNumber("--seed", text("seed"), 0, 2 ** 32 - 1, "the start of all random sequences");
  return {
    rows: expandMatrix(axes),
    durationMs,
    samples,
    warmupMs: quick ? 25 : 100,
    seed,
    label: AXIS_OPTIONS.some((name) => texts[name] !== undefined) ? "chosen" : quick ? "quick" : "default",
    trace: texts.trace ?? null,
    skipMalformed: texts.skipMalformed === true,
    compare: texts.compare ?? null,
    threshold: thresholdOf(texts, samples),
  };
}

function questionsOf(texts: BenchOptionTexts): QuestionName[] {
  const { question, trace } = texts;
  const accepted = QUESTION_NAMES.filter((name) => name !== "trace" || trace !== undefined);
  if (question !== undefined && trace === undefined && question.split(",").includes("trace")) {
    throw usageError(
      "--question trace needs a trace.",
      "Add --trace FILE, for example --trace examples/ls.lackey.",
    );
  }
  const given =
    question !== undefined
      ? parseNames("--question", question, accepted)
      : trace !== undefined
        ? []
        : parseNames("--question", DEFAULTS.question, accepted);
  return trace === undefined || given.includes("trace") ? given : [...given, "trace"];
}

function pageSizesOf(text: string): number[] {
  const sizes = parsePageSizes("--page-size", text);
  if (sizes.some((size) => size > 2 ** 21)) {
    throw usageError(
      "--page-size: 1g pages cannot be measured: the host maps 4k and 2m pages.",
      "Give 4k, 2m, or 4k,2m.",
    );
  }
  return sizes;
}

/** An option that none of the chosen questions looks at was given for a reason: say that it does nothing. */
function refuseUnused(texts: BenchOptionTexts, axes: MatrixAxes): void {
  const check = (given: boolean, option: string, use: PartialOption): void => {
    if (!given || axes.questions.some((name) => QUESTIONS[name].uses.has(use))) return;
    const users = QUESTION_NAMES.filter((name) => QUESTIONS[name].uses.has(use));
    throw usageError(
      `${option} has no effect on ${axes.questions.join(", ")}.`,
      `Leave it out, or ask one of: ${users.join(", ")}.`,
    );
  };
  check(texts.workload !== undefined, "--workload", "workload");
  check(texts.writeMix !== undefined, "--write-mix", "writePercent");
  check(texts.memory !== undefined, "--memory", "memory");
  if (texts.skipMalformed === true && texts.trace === undefined) {
    throw usageError("--skip-malformed has no effect without a trace.", "Add --trace FILE, or leave it out.");
  }
  const quiet = axes.invalidate.every((rate) => rate === 0);
  for (const [value, option] of [
    [texts.span, "--span"],
    [texts.retry, "--retry"],
  ] as const) {
    if (value === undefined || !quiet) continue;
    throw usageError(`${option} has no effect without invalidations.`, "Add --invalidate 10k, for example.");
  }
}

function thresholdOf(texts: BenchOptionTexts, samples: number): number | null {
  const { threshold, compare } = texts;
  if (threshold === undefined) return null;
  if (compare === undefined) {
    throw usageError(
      "--threshold needs something to compare with.",
      "Add --compare FILE, the JSON of an earlier run.",
    );
  }
  const value = /^\d*\.?\d+$/.test(threshold) ? Number(threshold) : Number.NaN;
  if (!(value > 0 && value <= 100)) {
    throw usageError(
      `--threshold: cannot use "${threshold}".`,
      "--threshold takes a ratio above 0 such as 0.9.",
    );
  }
  if (samples < INTERVAL_SAMPLES_MIN) {
    throw usageError(
      `--threshold with ${samples} samples would never fail: fewer than ${INTERVAL_SAMPLES_MIN} show nothing.`,
      `Give --samples ${INTERVAL_SAMPLES_MIN} or more.`,
    );
  }
  return value;
}

/** A list of names; unknown ones list what is accepted. */
function parseNames<const Name extends string>(
  option: string,
  text: string,
  accepted: readonly Name[],
): Name[] {
  const names: Name[] = [];
  for (const item of text.split(",").map((part) => part.trim().toLowerCase())) {
    const name = accepted.find((candidate) => candidate === item);
    if (name === undefined) {
      throw usageError(
        `${option}: cannot use "${text}"${item === text ? "" : ` (at "${item}")`}.`,
        `${option} takes ${accepted.join(", ")}, with commas between them.`,
      );
    }
    if (names.includes(name))
      throw usageError(`${option}: "${name}" is there twice.`, "Give each value once.");
    names.push(name);
  }
  return names;
}

function parseNumber(option: string, text: string, min: number, max: number, what: string): number {
  const value = /^\d+$/.test(text.trim()) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw usageError(
    `${option}: cannot use "${text}".`,
    `${option} takes a whole number from ${min} to ${max} (${what}).`,
  );
}
