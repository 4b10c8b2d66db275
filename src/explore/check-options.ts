/** Options of an exploration: their bounds, the same for the library and for the command, and which go together. */

import { isRuleName, RULES, type RuleName } from "../core/rules.js";
import { usageError } from "../errors.js";
import { didYouMean } from "../nearest.js";
import { type ExploreOptions } from "./explore.js";
import { type Strategy } from "./strategies/index.js";

/** Least and greatest value of each option that is a number; all but `maxTime` are whole. */
export const BOUNDS = {
  maxStates: [1, 2e9],
  maxDepth: [1, 1e9],
  /** Milliseconds. */
  maxTime: [1, 3600e6],
  maxSwitches: [0, 1000],
  executions: [1, 1e12],
  depth: [1, 100],
  seed: [0, 2 ** 32 - 1],
} as const satisfies Partial<Record<keyof ExploreOptions, readonly [number, number]>>;

/** Options that are for some strategies only. */
const FOR: readonly (readonly [option: keyof ExploreOptions, strategies: readonly Strategy[]])[] = [
  ["maxSwitches", ["bounded"]],
  ["executions", ["pct", "random"]],
  ["depth", ["pct"]],
];

const NAMES: Readonly<Record<keyof ExploreOptions, "number" | "boolean" | "function" | "other">> = {
  profile: "other",
  without: "other",
  build: "other",
  checkers: "other",
  maxStates: "number",
  maxDepth: "number",
  maxTime: "number",
  all: "boolean",
  shorten: "boolean",
  model: "other",
  strategy: "other",
  maxSwitches: "number",
  executions: "number",
  depth: "number",
  reduce: "boolean",
  match: "boolean",
  races: "boolean",
  seed: "number",
  progress: "function",
  helpers: "other",
};

const BUILDS: readonly unknown[] = ["lab", "release"];

/** A value of an option as it was written. */
function written(value: unknown): string {
  if (typeof value === "bigint") return `${value}n`;
  return (typeof value === "number" ? String(value) : JSON.stringify(value)) ?? typeof value;
}

/** Checks options as a caller gave them, whatever their type. Throws `USAGE` naming the option and what it takes. */
export function checkOptions(options: unknown): asserts options is ExploreOptions {
  if (typeof options !== "object" || options === null || Array.isArray(options))
    throw usageError(`The options of an exploration are ${written(options)}.`, "Give an object of options.");
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(NAMES, name)) {
      const near = didYouMean(name, Object.keys(NAMES));
      throw usageError(
        `An exploration has no option ${JSON.stringify(name)}.`,
        near.trim() || "Leave it out.",
      );
    }
    if (value !== undefined) checkOne(name as keyof ExploreOptions, value);
  }
  const given = options as ExploreOptions;
  const strategy = given.strategy ?? defaultStrategy(given);
  for (const [name, strategies] of FOR)
    if (given[name] !== undefined && !strategies.includes(strategy))
      throw usageError(
        `${name} does not go with strategy ${strategy}.`,
        `It is for ${strategies.join(" and ")}.`,
      );
}

/** The strategy where none was named: a bound of switches asks for the one that has it. */
export function defaultStrategy({ maxSwitches }: Pick<ExploreOptions, "maxSwitches">): Strategy {
  return maxSwitches === undefined ? "exhaustive" : "bounded";
}

function checkOne(name: keyof ExploreOptions, value: unknown): void {
  const wrong = (accepted: string): never => {
    throw usageError(`${name}: cannot use ${written(value)}.`, `${name} takes ${accepted}.`);
  };
  switch (NAMES[name]) {
    case "number": {
      const [min, max] = BOUNDS[name as keyof typeof BOUNDS];
      const whole = name !== "maxTime";
      if (typeof value !== "number" || !(value >= min && value <= max) || (whole && !Number.isInteger(value)))
        wrong(`${whole ? "a whole number" : "milliseconds, a number"} from ${min} to ${max}`);
      return;
    }
    case "boolean":
      if (typeof value !== "boolean") wrong("true or false");
      return;
    case "function":
      if (typeof value !== "function") wrong("a function");
      return;
    default:
  }
  if (name === "build" && !BUILDS.includes(value)) wrong(BUILDS.join(", "));
  if (name === "without") {
    if (!Array.isArray(value)) return wrong("a list of rules");
    for (const rule of value as RuleName[])
      if (!isRuleName(rule))
        throw usageError(
          `There is no rule ${written(rule)}.`,
          `${didYouMean(
            String(rule),
            RULES.map((row) => row.name),
          )}\`guestmmu rules\` lists them.`,
        );
  }
  if (name === "checkers") {
    const isChecker = (one: unknown): boolean =>
      typeof one === "object" && one !== null && "step" in one && typeof one.step === "function";
    if (!Array.isArray(value) || !value.every(isChecker))
      wrong("a list of checkers, such as some of CHECKERS");
  }
}
