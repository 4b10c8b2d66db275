/** A thread that explores: Piscina calls the default export with each task. */

import { GuestMmuError } from "../errors.js";
import {
  assist as assistWith,
  explore,
  type Counterexample,
  type ExploreOptions,
} from "../explore/explore.js";
import { type Scenario } from "../explore/scenario.js";
import { Setup } from "../explore/setup.js";
import { writeProgress, type Answer, type AssistTask, type Job, type Scope, type Task } from "./jobs.js";
import { inFile, scenarioOf } from "./sources.js";

/** Answers that the thread has loaded this file. */
export function ready(): true {
  return true;
}

/** Helps a thread that explores a job. What it finds, it tells to that one. */
export async function assist({ job, invitation }: AssistTask): Promise<void> {
  assistWith(await scenarioOf(job.source), job.options, invitation);
}

export default async function work({ job, progress, stop, threads, invitations }: Task): Promise<Answer> {
  const stopped = new Int32Array(stop);
  if (Atomics.load(stopped, 0) !== 0) return { error: null };
  try {
    const scenario = await scenarioOf(job.source);
    const options = {
      ...job.options,
      progress: (report) => {
        writeProgress(progress, report);
        return Atomics.load(stopped, 0) !== 0;
      },
      helpers: {
        most: threads,
        invite: (list) =>
          invitations.postMessage(
            list,
            list.map(({ port }) => port),
          ),
      },
    } satisfies ExploreOptions & Job["options"];
    const scope = scopeOf(scenario, job);
    const verdict = explore(scenario, options);
    return {
      verdict: { ...verdict, violations: verdict.violations.map((one) => repeatable(one, job)) },
      scope,
      holds: scenario.holds,
    };
  } catch (error) {
    const { source } = job;
    const told = source.kind === "file" ? inFile(source.path, error) : error;
    if (told instanceof GuestMmuError) return { error: told.toJSON() };
    throw told;
  } finally {
    invitations.close();
  }
}

/** The command that repeats it names the file that the scenario is in. */
function repeatable(one: Counterexample, { source }: Job): Counterexample {
  if (source.kind !== "file") return one;
  // Under a memory model the command is another search, which names the scenario.
  const repeat = one.trace.repeat
    .replace(/ --replay /, ` ${source.path} --replay `)
    .replace(` ${source.name} `, ` ${source.path} `);
  return { ...one, trace: { ...one.trace, repeat } };
}

function scopeOf(scenario: Scenario, { options }: Job): Scope {
  const { machine, actors } = new Setup(scenario, options);
  const slots = machine.memslots.list();
  const scope = {
    actors: actors.map(({ name }) => name),
    frames: machine.configuration.frames,
    memslots: slots.length,
    pages: slots.reduce((sum, { length }) => sum + Number(length >> 12n), 0),
  };
  return scope;
}
