/** Repeats the execution that a token names. */

import { checkersOf } from "../invariants/index.js";
import { GuestMmuError, usageError } from "../errors.js";
import { exploredModule, type ExploredBuild } from "../explore/core.js";
import { DATA_RACE } from "../explore/races.js";
import { Replay } from "../explore/replay.js";
import { type Scenario } from "../explore/scenario.js";
import { Setup } from "../explore/setup.js";
import { type TokenContent } from "../explore/token.js";
import { type Trace, type TraceAccess } from "../explore/trace.js";
import { checkScenario } from "../explore/user-code.js";
import { type Repeated } from "./jobs.js";

const STOPS_AT_RACE =
  "the schedule stops at a data race: the last access, and one beside it of another actor, with nothing to order them";
const STOPS_AT_LIVELOCK = "the schedule stops where a loop has come around that need never end";

const BUILDS: readonly ExploredBuild[] = ["lab", "release"];

function buildOf(hash: string): ExploredBuild {
  const build = BUILDS.find((candidate) => exploredModule(candidate).hash === hash);
  if (build) return build;
  throw new GuestMmuError("USAGE", {
    message: `The token is stale: it is of the module ${hash}, and the modules here are ${BUILDS.map(
      (candidate) => `${exploredModule(candidate).hash} (${candidate})`,
    ).join(" and ")}.`,
    hint: "A schedule counts the accesses of one build. Explore the scenario again for a token of this one.",
  });
}

/** Throws `USAGE` for a token of another module, without looking at the rest of it. */
export function requireFresh({ hash }: TokenContent): void {
  buildOf(hash);
}

/**
 * Runs the schedule of a token in the core. Throws `USAGE` if it is of another module or of another scenario, or of this one
 * as it no longer is, and if it does not end in what the token says.
 *
 * @param repeat the command that does it again
 */
export function repeatToken(scenario: Scenario, token: TokenContent, repeat: string): Repeated {
  const build = buildOf(token.hash);
  checkScenario(scenario);
  if (token.scenario !== scenario.name) {
    throw usageError(
      `The token is of the scenario ${token.scenario}, and this one is ${scenario.name}.`,
      "Give the scenario that the token came from.",
    );
  }
  if (token.model !== "sc") {
    throw new GuestMmuError("UNSUPPORTED", {
      message: `An execution of the memory model ${token.model} cannot be repeated from its token.`,
      hint: "Explore the scenario again with --model and look at the counterexample there.",
    });
  }
  const { profile, without } = token;
  const setup = new Setup(scenario, { profile, without, build });
  const replay = new Replay(setup, build === "lab" ? checkersOf(scenario) : []);
  for (const stretch of token.stretches) {
    if (replay.ended) throw endsEarlier(replay.ended.says);
    if (stretch.actor >= setup.actors.length || !replay.stretch(stretch)) throw changed(scenario);
  }
  const total = token.stretches.reduce((sum, stretch) => sum + stretch.accesses, 0);
  if (replay.ended && replay.made < total) throw endsEarlier(replay.ended.says);
  const unfinished = !replay.ended && setup.actors.some((_, a) => !replay.done(a));
  if (unfinished && setup.actors.some((_, a) => replay.enabled(a))) {
    // No checker tells of a data race or a livelock: their schedules stop in the middle.
    if (token.kind === "race") replay.conclude("violation", DATA_RACE, STOPS_AT_RACE);
    if (token.kind === "livelock") replay.conclude("livelock", "livelock", STOPS_AT_LIVELOCK);
  }
  const { accesses, stretches, calls, end, outcome } = replay.finish();
  if (setup.fingerprint(calls) !== token.scenarioHash) throw changed(scenario);
  const kind = end.name === DATA_RACE ? "race" : end.kind;
  if (kind !== token.kind) {
    throw usageError(
      `The schedule does not end in the ${token.kind} that the token is of` +
        `${end.kind === "done" ? "" : `, but in: ${end.says}`}.`,
      "Whoever judges it has changed since. Explore the scenario again for a new token.",
    );
  }
  const trace: Trace = {
    scenario: scenario.name,
    profile,
    model: token.model,
    rulesOff: without,
    actors: setup.actors.map(({ name, kind, index }) => ({ name, kind, index })),
    accesses: numbered(accesses),
    end,
    layout: setup.facts.layout,
    switches: Math.max(0, stretches.length - 1),
    repeat,
  };
  return { trace, outcome };
}

/** A token counts accesses: a step begins where the actor changes, and at each word that another one touches. */
function numbered(accesses: readonly TraceAccess[]): TraceAccess[] {
  let step = -1;
  return accesses.map((access, i) => {
    if (i === 0 || access.shared || access.actor !== accesses[i - 1]!.actor) step++;
    return { ...access, step };
  });
}

function endsEarlier(says: string): GuestMmuError {
  return usageError(
    `The schedule ends earlier than the token says, in: ${says}.`,
    "The scenario has changed since, or was explored with other checkers than its own. Explore it again for a new token.",
  );
}

function changed({ name }: Scenario): GuestMmuError {
  return usageError(
    `The token is stale: scenario ${name} has changed since it was made (its text, what its set-up leaves, or the calls of its actors).`,
    "Explore it again for a token of the scenario as it is now.",
  );
}
