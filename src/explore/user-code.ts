/**
 * What users write, checked: the specification of a scenario when it is made and loaded, what its functions return when they
 * are called, and what they throw. All of it ends as `USAGE` with the scenario, the place in it, and the line of the file.
 */

import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { PROFILES, isProfileName } from "../core/profiles.js";
import { RULES, isRuleName } from "../core/rules.js";
import { GuestMmuError, usageError } from "../errors.js";
import { checkersOf } from "../invariants/index.js";
import { didYouMean } from "../nearest.js";
import { type Call, type CallResult, type Program } from "./program.js";
import { type Judgement, type Scenario, type ScenarioActor } from "./scenario.js";
import { type ActorKind } from "./trace.js";

/** Parameters of the exports that programs may call, by name. */
export type CallTable = Readonly<Record<string, { readonly parameters: readonly string[] }>>;

// What is thrown.

/** Directory of this package's code: lines in it are not the user's. */
const OURS = fileURLToPath(new URL("../", import.meta.url));

/** `file:line` of the first frame of a stack that is neither ours nor Node's. */
export function lineOf(error: unknown): string | null {
  if (!(error instanceof Error) || typeof error.stack !== "string") return null;
  for (const line of error.stack.split("\n")) {
    const found = /(?:\(|at )(?:async )?((?:file:\/\/)?\/[^()]*?):(\d+):\d+\)?$/.exec(line.trimEnd());
    if (!found) continue;
    const path = found[1]!.startsWith("file://") ? fileURLToPath(found[1]!) : found[1]!;
    if (path.startsWith(OURS) || path.includes("/node_modules/")) continue;
    const near = relative(process.cwd(), path);
    return `${near.startsWith("..") ? path : near}:${found[2]!}`;
  }
  return null;
}

/** An error of a user's code as one of ours. `place`: where it was, for example "its set-up". */
export function userError(scenario: string, place: string, error: unknown): GuestMmuError {
  const line = lineOf(error);
  const says = (error instanceof Error ? error.message : String(error)).replace(/\.$/, "");
  const kind = error instanceof Error && error.name !== "Error" ? `${error.name}: ` : "";
  const hint = error instanceof GuestMmuError ? error.hint : "Correct the file that the scenario is in.";
  return usageError(
    `Scenario ${scenario}: ${place} threw: ${error instanceof GuestMmuError ? "" : kind}${says}${line ? ` (${line})` : ""}.`,
    hint,
    error,
  );
}

/** What `body` returns; what it throws becomes an error of the scenario. */
export function guarded<T>(scenario: string, place: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw userError(scenario, place, error);
  }
}

// The specification.

const FUNCTIONS = ["setup", "actors", "judge"];
const FIELDS = [
  ...["name", "prose", "holds", "machine", "profiles", "brokenOn", "brokenWithout", "checkers", "decides"],
  ...["model", "large", "balanced", ...FUNCTIONS],
];
const MODELS = ["sc", "tso", "weak"];

/** A value as a reader would write it, short. */
function shown(value: unknown): string {
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return "a function";
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "a list" : "an object";
  return JSON.stringify(value) ?? String(value);
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** True for what somebody may have meant to be a scenario. */
export function looksLikeScenario(value: unknown): boolean {
  return isObject(value) && FIELDS.filter((field) => field !== "name" && field in value).length >= 2;
}

/** Checks the specification of a scenario. Throws `USAGE` naming the field and what it takes. */
export function checkScenario(value: unknown): asserts value is Scenario {
  const hint = (text: string): string =>
    `${text} \`ScenarioSpec\` of guestmmu/explore says what each field means.`;
  if (!isObject(value))
    throw usageError(
      `A scenario is an object, and not ${shown(value)}.`,
      'Take what `scenario("my-name", { ... })` of guestmmu/explore returns.',
    );
  const { name } = value;
  if (typeof name !== "string" || !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name))
    throw usageError(
      `The name of a scenario is in kebab case, and ${shown(name)} is not.`,
      'It is typed, and part of a token: take one such as "fault-vs-munmap".',
    );
  const wrong = (field: string, accepted: string, found: unknown = value[field]): never => {
    throw usageError(`Scenario ${name}: ${field} is ${shown(found)}.`, hint(`${field} takes ${accepted}.`));
  };
  for (const field of Object.keys(value))
    if (!FIELDS.includes(field))
      throw usageError(
        `Scenario ${name} has a field ${JSON.stringify(field)}, which no scenario has.`,
        hint(didYouMean(field, FIELDS).trim() || "Leave it out."),
      );
  for (const field of ["prose", "holds"])
    if (typeof value[field] !== "string") wrong(field, "a text for readers");
  for (const field of FUNCTIONS)
    if (typeof value[field] !== "function" && (field !== "judge" || value[field] !== undefined))
      wrong(field, "a function");
  for (const field of ["large", "balanced"])
    if (value[field] !== undefined && typeof value[field] !== "boolean") wrong(field, "true or false");
  if (value["machine"] !== undefined && !isObject(value["machine"])) wrong("machine", "options of a machine");
  if (value["model"] !== undefined && !MODELS.includes(value["model"] as string))
    wrong("model", MODELS.join(", "));
  const listIn = (field: string, list: unknown): readonly unknown[] =>
    list === undefined ? [] : Array.isArray(list) ? (list as unknown[]) : wrong(field, "a list", list);
  const profilesIn = (field: string, list: unknown): void => {
    for (const profile of listIn(field, list))
      if (typeof profile !== "string" || !isProfileName(profile))
        throw usageError(
          `Scenario ${name}: ${field}: there is no profile ${shown(profile)}.`,
          `Use ${Object.keys(PROFILES).join(", ")}.`,
        );
  };
  profilesIn("profiles", value["profiles"]);
  profilesIn("brokenOn", value["brokenOn"]);
  if (Array.isArray(value["profiles"]) && value["profiles"].length === 0)
    throw usageError(`Scenario ${name}: profiles is empty.`, "Leave it out for all of them.");
  for (const entry of listIn("brokenWithout", value["brokenWithout"])) {
    const rule = isObject(entry) ? entry["rule"] : entry;
    if (typeof rule !== "string" || !isRuleName(rule))
      throw usageError(
        `Scenario ${name}: brokenWithout: there is no rule ${shown(rule)}.`,
        `${didYouMean(
          String(rule),
          RULES.map((row) => row.name),
        )}\`guestmmu rules\` lists them.`,
      );
    if (isObject(entry)) profilesIn(`brokenWithout: ${rule}`, entry["profiles"]);
  }
  for (const field of ["decides", "checkers"])
    for (const item of listIn(field, value[field]))
      if (typeof item !== "string") wrong(field, "a list of texts", item);
  checkersOf(value as unknown as Scenario);
}

// Who acts.

const KINDS: readonly ActorKind[] = ["vcpu", "host", "device", "hardware", "grace"];

/** Checks what `actors` returned, for a machine with so many `blocks` of actors. Throws `USAGE`. */
export function checkActors(
  scenario: string,
  actors: unknown,
  blocks: number,
): asserts actors is readonly ScenarioActor[] {
  const misuse = (message: string, hint: string): never => {
    throw usageError(`Scenario ${scenario}: ${message}`, hint);
  };
  if (!Array.isArray(actors))
    return misuse(`actors returned ${shown(actors)}.`, "It returns a list of what `actor(...)` returns.");
  if (actors.length === 0 || actors.length > 16) misuse(`${actors.length} actors.`, "Give it 1 to 16.");
  const indices = new Set<number>();
  const names = new Set<string>();
  for (const [i, one] of (actors as unknown[]).entries()) {
    if (!isObject(one))
      return misuse(`number ${i} of its actors is ${shown(one)}.`, "Take what `actor(...)` returns.");
    const { name, kind, index, program } = one as unknown as ScenarioActor;
    if (typeof name !== "string" || name === "")
      misuse(`number ${i} of its actors is called ${shown(name)}.`, "Give it a name, such as vcpu0.");
    if (!KINDS.includes(kind)) misuse(`${name} is of kind ${shown(kind)}.`, `Use ${KINDS.join(", ")}.`);
    if (typeof program !== "function")
      misuse(
        `the program of ${name} is ${shown(program)}.`,
        "Give a list of calls, or a generator function.",
      );
    if (!Number.isInteger(index) || index < 0 || index >= blocks)
      misuse(
        `${name} acts as ${shown(index)}, and the machine has ${blocks} actors.`,
        "Raise vcpus or hostThreads.",
      );
    if (indices.has(index)) misuse(`two actors act as ${index}.`, "Give each a block of its own.");
    if (names.has(name)) misuse(`two actors are called ${name}.`, "Give each a name of its own.");
    indices.add(index);
    names.add(name);
  }
}

/** What a program is called in messages. */
export function labelOf(scenario: string, { name }: ScenarioActor): string {
  return `Scenario ${scenario}: the program of ${name}`;
}

/**
 * The program of an actor, each of its calls checked against the exports of the core. What it throws is an error of the
 * scenario.
 */
export function checkedProgram(scenario: string, actor: ScenarioActor, exports: CallTable): Program {
  const label = labelOf(scenario, actor);
  const place = `the program of ${actor.name}`;
  return function* () {
    const running: unknown = guarded(scenario, place, () => withoutChance(() => actor.program()));
    if (!isObject(running) || typeof running["next"] !== "function")
      throw usageError(
        `${label} returned ${shown(running)}.`,
        "A program is a list of calls, or a generator function (`function* () { ... }`).",
      );
    const generator = running as unknown as Generator<Call, void, CallResult>;
    let step = guarded(scenario, place, () => withoutChance(() => generator.next()));
    while (true) {
      if (step instanceof Promise)
        throw usageError(`${label} is asynchronous.`, "Leave `async` and `await` out: calls are yielded.");
      if (step.done) return;
      checkCall(label, step.value, exports);
      const result = yield step.value;
      step = guarded(scenario, place, () => withoutChance(() => generator.next(result)));
    }
  };
}

/**
 * Runs `body`, in which nothing may depend on chance or on time. That a program says the same each time is looked at as well
 * (`Histories`), but what seldom differs would not be seen there.
 */
function withoutChance<T>(body: () => T): T {
  const { random } = Math;
  const { now } = Date;
  const refuse = (name: string) => () => {
    throw usageError(
      `a program may not call ${name}`,
      "It is run again and again, and has to say the same each time: it may depend on the results of its calls only.",
    );
  };
  Math.random = refuse("Math.random");
  Date.now = refuse("Date.now");
  try {
    return body();
  } finally {
    Math.random = random;
    Date.now = now;
  }
}

function checkCall(label: string, call: unknown, exports: CallTable): void {
  const says = (message: string, hint: string): GuestMmuError => usageError(`${label} ${message}`, hint);
  if (!isObject(call) || typeof call["name"] !== "string" || !Array.isArray(call["args"]))
    throw says(
      `yields ${shown(call)} instead of a call.`,
      "Yield what vcpuCalls, hostCalls and their like return, or { name, args, text }.",
    );
  const { name, args, text } = call as unknown as Call;
  if (!Object.hasOwn(exports, name))
    throw says(
      `calls ${JSON.stringify(name)}, which this module of the core does not export.`,
      `${didYouMean(name, Object.keys(exports))}What begins with lab is in the lab build only.`,
    );
  if (typeof text !== "string")
    throw says(
      `calls ${name} without a text.`,
      "Give the call a `text`: what a reader of a race table is told.",
    );
  const { parameters } = exports[name]!;
  const signature = `${name} takes (${parameters.join(", ")}): a bigint for u64, a whole number for the others.`;
  if (args.length !== parameters.length)
    throw says(`calls ${name} with ${args.length} arguments.`, signature);
  parameters.forEach((kind, i) => {
    const arg: unknown = args[i];
    const fits =
      kind === "u64"
        ? typeof arg === "bigint" && arg >= -(1n << 63n) && arg < 1n << 64n
        : Number.isInteger(arg) && (arg as number) >= -(2 ** 31) && (arg as number) < 2 ** 32;
    if (!fits) throw says(`calls ${name} with ${shown(arg)} as argument ${i + 1} (${kind}).`, signature);
  });
}

// How it is judged.

/** Checks what `judge` returned. Throws `USAGE`. */
export function checkJudgement(scenario: string, value: unknown): asserts value is Judgement {
  const { outcome, objection } = isObject(value) ? value : { outcome: undefined, objection: undefined };
  if (typeof outcome === "string" && (objection === undefined || typeof objection === "string")) return;
  const what = isObject(value)
    ? `an object with outcome ${shown(outcome)} and objection ${shown(objection)}`
    : shown(value);
  throw usageError(
    `Scenario ${scenario}: judge returned ${what}.`,
    'It returns { outcome: "a word" }, and with it `objection`, a sentence, if that must not be.',
  );
}
