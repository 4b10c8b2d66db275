/** Repeats the execution that a token names. */

import { checkersOf } from "../invariants/index.js";
import { GuestMmuError } from "../errors.js";
import { exploredModule, type ExploredBuild } from "../explore/core.js";
import { Replay } from "../explore/replay.js";
import { type Scenario } from "../explore/scenario.js";
import { Setup } from "../explore/setup.js";
import { type TokenContent } from "../explore/token.js";
import { type Trace, type TraceAccess } from "../explore/trace.js";
import { type Repeated } from "./jobs.js";

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
 * Runs the schedule of a token in the core. Throws `USAGE` if it is of another module or does not fit the scenario.
 *
 * @param repeat the command that does it again
 */
export function repeatToken(scenario: Scenario, token: TokenContent, repeat: string): Repeated {
  const build = buildOf(token.hash);
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
    if (replay.ended) break;
    if (stretch.actor >= setup.actors.length || !replay.stretch(stretch)) throw unfit(scenario);
  }
  // No checker tells of a data race or a livelock: their schedules stop in the middle.
  const unfinished = !replay.ended && setup.actors.some((_, a) => !replay.done(a));
  if (unfinished && setup.actors.some((_, a) => replay.enabled(a))) {
    replay.conclude(
      "violation",
      "",
      "the schedule stops here: a data race or a livelock, as the verdict said",
    );
  }
  const { accesses, stretches, end, outcome } = replay.finish();
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

function unfit(scenario: Scenario): GuestMmuError {
  return new GuestMmuError("USAGE", {
    message: `The schedule does not fit scenario ${scenario.name}: an actor cannot make the accesses that it counts.`,
    hint: "The scenario has changed since, or the token is damaged. Explore it again for a new token.",
  });
}
