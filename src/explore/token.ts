/**
 * Tokens: one execution as a word that can be typed. It names the module, the scenario, the profile, the memory model and the
 * rules left out, and what the execution shows; then the schedule, counted in accesses, so that it does not depend on what
 * the search had learned; and a checksum over all that.
 *
 *   g2/5f3a9c1e-07b1c2/fault-vs-dontneed/v6.13/sc/5+12/violation/a12b30.1a4/9a0f3e
 *      |        |                                  |             |  |     actor a makes 12 accesses, b 30 with choice 1
 *      module   scenario as it was                 rules                  on the way, a 4
 */

import { createHash } from "node:crypto";
import { PROFILES, type ProfileName } from "../core/profiles.js";
import { RULES, ruleRow, type RuleName } from "../core/rules.js";
import { GuestMmuError } from "../errors.js";
import { type Stretch } from "./replay.js";

/** What an execution shows. No checker tells of a data race: the schedule stops where two accesses stand beside each other. */
export const TOKEN_KINDS = ["violation", "trap", "deadlock", "livelock", "race"] as const;
/** One of `TOKEN_KINDS`. */
export type TokenKind = (typeof TOKEN_KINDS)[number];

/** What a token says. */
export interface TokenContent {
  /** Hash of the explored module. */
  readonly hash: string;
  /** Hash of the scenario as it was explored: `Setup.fingerprint`. */
  readonly scenarioHash: string;
  readonly scenario: string;
  readonly profile: ProfileName;
  readonly model: "sc" | "tso" | "weak";
  readonly without: readonly RuleName[];
  /** What the schedule ends in. */
  readonly kind: TokenKind;
  readonly stretches: readonly Stretch[];
}

const VERSION = "g2";
const FIELDS = 9;
const CHECKSUM_DIGITS = 6;
const MODELS = ["sc", "tso", "weak"] as const;

/** The token of an execution. */
export function tokenOf(content: TokenContent): string {
  const { hash, scenarioHash, scenario, profile, model, without, kind, stretches } = content;
  const rules = without.map((name) => ruleRow(name).number).sort((a, b) => a - b);
  const schedule = stretches.map(
    ({ actor, accesses, ways }) =>
      String.fromCharCode(97 + actor) + accesses + ways.map((way) => `.${way}`).join(""),
  );
  const text = [
    ...[VERSION, `${hash}-${scenarioHash}`, scenario, profile, model, rules.join("+") || "-", kind],
    schedule.join("") || "-",
  ].join("/");
  return `${text}/${checksumOf(text)}`;
}

function checksumOf(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, CHECKSUM_DIGITS);
}

function bad(
  message: string,
  hint = "Copy it whole from the line that begins with `repeat`.",
): GuestMmuError {
  return new GuestMmuError("USAGE", { message: `The token cannot be used: ${message}.`, hint });
}

/** Reads a token. Throws `USAGE` if it is none, is cut off or was changed. */
export function parseToken(token: string): TokenContent {
  const text = token.trim();
  const parts = text.split("/");
  if (/^g\d+$/.test(parts[0]!) && parts[0] !== VERSION)
    throw bad(
      `it is of another version of guestmmu (${parts[0]})`,
      "Explore the scenario again for a new one.",
    );
  if (parts[0] !== VERSION) throw bad("it has another form");
  if (parts.length !== FIELDS) throw bad("it is cut off, or has something beside it");
  const [, hashes, scenario, profile, model, rules, kind, schedule, checksum] = parts as [
    ...[string, string, string, string, string, string, string, string, string],
  ];
  if (checksum !== checksumOf(text.slice(0, text.lastIndexOf("/"))))
    throw bad("its checksum is of another one, so that it is cut off or was changed");
  const [hash, scenarioHash] = hashes.split("-");
  if (hash === undefined || scenarioHash === undefined) throw bad("it has another form");
  if (!Object.hasOwn(PROFILES, profile)) throw bad(`there is no profile ${JSON.stringify(profile)}`);
  if (!(MODELS as readonly string[]).includes(model))
    throw bad(`there is no memory model ${JSON.stringify(model)}`);
  if (!(TOKEN_KINDS as readonly string[]).includes(kind))
    throw bad(`nothing ends in ${JSON.stringify(kind)}`);
  const without = (rules === "-" ? [] : rules.split("+")).map((number) => {
    const row = RULES.find((r) => String(r.number) === number);
    if (!row) throw bad(`there is no rule number ${number}`);
    return row.name;
  });
  const inOrder = without.every(
    (name, i) => i === 0 || ruleRow(without[i - 1]!).number < ruleRow(name).number,
  );
  if (!inOrder) throw bad("its rules are not in order, each once");
  if (!/^(-|([a-p]\d+(\.\d+)*)+)$/.test(schedule)) throw bad("its schedule is damaged");
  const stretches = [...schedule.matchAll(/([a-p])(\d+)((?:\.\d+)*)/g)].map(([, actor, accesses, ways]) => ({
    actor: actor!.charCodeAt(0) - 97,
    accesses: Number(accesses),
    ways: ways!.split(".").slice(1).map(Number),
  }));
  return {
    hash,
    scenarioHash,
    scenario,
    profile: profile as ProfileName,
    model: model as TokenContent["model"],
    without,
    kind: kind as TokenKind,
    stretches,
  };
}
