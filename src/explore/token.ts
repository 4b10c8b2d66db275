/**
 * Tokens: one execution as a word that can be typed. It names the module, the scenario, the profile, the memory model and
 * the rules left out, then the schedule, counted in accesses, so that it does not depend on what the search had learned.
 *
 *   g1/5f3a9c1e/fault-vs-dontneed/v6.13/sc/5+12/a12b30.1a4
 *                                              |  |     actor a makes 12 accesses, b 30 with choice 1 on the way, a 4
 */

import { PROFILES, type ProfileName } from "../core/profiles.js";
import { RULES, ruleRow, type RuleName } from "../core/rules.js";
import { GuestMmuError } from "../errors.js";
import { type Stretch } from "./replay.js";

/** What a token says. */
export interface TokenContent {
  readonly hash: string;
  readonly scenario: string;
  readonly profile: ProfileName;
  readonly model: "sc" | "tso" | "weak";
  readonly without: readonly RuleName[];
  readonly stretches: readonly Stretch[];
}

const VERSION = "g1";
const MODELS = ["sc", "tso", "weak"] as const;

/** The token of an execution. */
export function tokenOf({ hash, scenario, profile, model, without, stretches }: TokenContent): string {
  const rules = without.map((name) => ruleRow(name).number).sort((a, b) => a - b);
  const schedule = stretches.map(
    ({ actor, accesses, ways }) =>
      String.fromCharCode(97 + actor) + accesses + ways.map((way) => `.${way}`).join(""),
  );
  return [VERSION, hash, scenario, profile, model, rules.join("+") || "-", schedule.join("") || "-"].join(
    "/",
  );
}

function bad(message: string): GuestMmuError {
  return new GuestMmuError("USAGE", {
    message: `The token cannot be used: ${message}.`,
    hint: "Copy it whole from the line that begins with `repeat`.",
  });
}

/** Reads a token. Throws `USAGE` if it is none. */
export function parseToken(token: string): TokenContent {
  const parts = token.trim().split("/");
  if (parts[0] !== VERSION || parts.length !== 7) throw bad("it has another form");
  const [, hash, scenario, profile, model, rules, schedule] = parts as [
    string,
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  if (!Object.hasOwn(PROFILES, profile)) throw bad(`there is no profile ${JSON.stringify(profile)}`);
  if (!(MODELS as readonly string[]).includes(model))
    throw bad(`there is no memory model ${JSON.stringify(model)}`);
  const without = (rules === "-" ? [] : rules.split("+")).map((number) => {
    const row = RULES.find((r) => String(r.number) === number);
    if (!row) throw bad(`there is no rule number ${number}`);
    return row.name;
  });
  if (!/^(-|([a-p]\d+(\.\d+)*)+)$/.test(schedule)) throw bad("its schedule is damaged");
  const stretches = [...schedule.matchAll(/([a-p])(\d+)((?:\.\d+)*)/g)].map(([, actor, accesses, ways]) => ({
    actor: actor!.charCodeAt(0) - 97,
    accesses: Number(accesses),
    ways: ways!.split(".").slice(1).map(Number),
  }));
  return {
    hash,
    scenario,
    profile: profile as ProfileName,
    model: model as TokenContent["model"],
    without,
    stretches,
  };
}
