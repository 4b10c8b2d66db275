/** Results as JSON for programs. Addresses and values are 64 bits wide: they are written as decimal strings. */

import { readFileSync } from "node:fs";
import { type JobResult, type Repeated } from "./jobs.js";
import { collisionRisk, strategyInWords } from "./words.js";

/** The form of the document; a change that a reader must know of changes it. */
export const EXPLORE_SCHEMA = "guestmmu-explore/1";

/** Text of a document of this schema. */
export function document(kind: string, content: object): string {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  const whole = { schema: EXPLORE_SCHEMA, kind, guestmmu: version, node: process.versions.node, ...content };
  const plain = (_: string, value: unknown): unknown =>
    typeof value === "bigint" ? value.toString() : value;
  return `${JSON.stringify(whole, plain, 2)}\n`;
}

/** One result. */
export function resultJson({ job, verdict, scope, holds, error }: JobResult): object {
  const { source, scenario, options, expected } = job;
  return {
    scenario,
    source,
    holds,
    options,
    expected,
    verdict: verdict?.verdict ?? null,
    scope,
    strategy: verdict === null ? null : strategyInWords(job, verdict),
    collision_risk: verdict === null ? null : collisionRisk(verdict.states),
    detail: verdict,
    error,
  };
}

/** A repeated execution. */
export function repeatedJson({ trace, outcome }: Repeated): object {
  return { outcome, trace };
}
