/**
 * What a scenario is: a machine, who acts on it, and what must hold whatever the order of their steps. Prose first: a
 * reader should know the race before he sees the code.
 */

import { type ProfileName } from "../core/profiles.js";
import { type RuleName } from "../core/rules.js";
import { type Machine } from "../machine/machine.js";
import { type MachineOptions } from "../machine/options.js";
import { type CallResult, type Program } from "./program.js";
import { type ActorKind } from "./trace.js";
import { checkScenario } from "./user-code.js";

/** One of those who act. */
export interface ScenarioActor {
  /** For reports: `vcpu0`, `host0`, `dma`. Unique in the scenario. */
  readonly name: string;
  readonly kind: ActorKind;
  /** Index of its block in the machine: vCPUs first, then host threads. No two actors share one. */
  readonly index: number;
  readonly program: Program;
}

/** What a scenario may look at when every actor is done. Nothing it does here is explored. */
export interface Ending<T> {
  /** A view of the machine as it is left. */
  readonly machine: Machine;
  /** What `setup` returned. */
  readonly setup: T;
  /** Results of the calls of each actor, by name, in order. */
  readonly results: Readonly<Record<string, readonly CallResult[]>>;
}

/** How an end is judged. */
export interface Judgement {
  /** One word or two for what came out: the set of these is what the tests compare. */
  readonly outcome: string;
  /** A sentence if that must not be. */
  readonly objection?: string | undefined;
}

/** A rule, and the profiles on which something depends on it. Default: those in whose protocol it has a place. */
export interface RuleOnProfiles {
  readonly rule: RuleName;
  readonly profiles?: readonly ProfileName[];
}

/** A scenario as it is written. */
export interface ScenarioSpec<T> {
  /** What happens, and what could go wrong: a paragraph. */
  readonly prose: string;
  /** What must hold, as a sentence. */
  readonly holds: string;
  /** The machine; small is fast. What is left out is as small as it can be (`SMALL_MACHINE`). */
  readonly machine?: MachineOptions;
  /** Profiles that it makes sense on. Default: all. */
  readonly profiles?: readonly ProfileName[];
  /** Profiles on which it is known not to hold, although no rule is left out: what that kernel got wrong. */
  readonly brokenOn?: readonly ProfileName[];
  /** Rules without which it does not hold. */
  readonly brokenWithout?: readonly (RuleName | RuleOnProfiles)[];
  /**
   * Names of the checkers that judge it, where others have a question of their own. Default: every one. `judge` and the
   * books of the machine are asked all the same.
   */
  readonly checkers?: readonly string[];
  /** Number in the list of claims or of defects that it decides: "C2", "Z31". */
  readonly decides?: readonly string[];
  /** Where the actors may differ in what they see of memory: set for scenarios whose point is a barrier. */
  readonly model?: "sc" | "tso" | "weak";
  /** Brings the machine to where the race begins; what it returns is handed to the others. */
  setup(machine: Machine): T;
  actors(setup: T, machine: Machine): readonly ScenarioActor[];
  /** Judges an end of all actors. Default: outcome "done". The books of the machine are checked besides. */
  judge?(ending: Ending<T>): Judgement;
  /** Takes more than a few seconds: explored only if it is named. */
  readonly large?: boolean;
  /** False if actors rightly hold references at the end. Default true: everything has to be given back. */
  readonly balanced?: boolean;
}

/** A scenario. */
export interface Scenario<T = unknown> extends ScenarioSpec<T> {
  readonly name: string;
}

/** The least machine: what a scenario leaves out is as here. */
export const SMALL_MACHINE = {
  frames: 256,
  vcpus: 1,
  hostThreads: 1,
  slots: 2,
  vmas: 4,
  tlb: { entries: 2, largeEntries: 1, walkCacheEntries: 1 },
  batchSize: 4096,
  zeroPages: false,
  hugePages: false,
  spinLimit: 0,
} as const satisfies MachineOptions;

/**
 * Names a scenario. The name is in kebab case: it is typed, and part of the token that repeats an execution. Throws `USAGE`
 * naming what of the specification cannot be used.
 */
export function scenario<T>(name: string, spec: ScenarioSpec<T>): Scenario<T> {
  const made = { ...spec, name };
  checkScenario(made);
  return made;
}
