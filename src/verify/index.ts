/**
 * guestmmu/explore: scenarios, and the exploration of every interleaving of their actors in the compiled core. Runs in
 * Node only: the explored modules are read from the package.
 */

export {
  assist,
  explore,
  type Counterexample,
  type ExploreOptions,
  type ExploreProgress,
  type Verdict,
} from "../explore/explore.js";
export { lost, type Helpers, type Invitation } from "../explore/crew.js";
export {
  actor,
  cacheCalls,
  faultCalls,
  faultOnce,
  foundPfn,
  graceCalls,
  hardwareCalls,
  hostCalls,
  mapCalls,
  stateCalls,
  vcpuCalls,
} from "../explore/calls.js";
export { type ExploredBuild } from "../explore/core.js";
export { type Liveness } from "../explore/liveness.js";
export { MEMORY_MODELS, type MemoryModel } from "../explore/memory-model.js";
export { STRATEGIES, type Strategy } from "../explore/strategies/index.js";
export { type Call, type CallResult, type Program } from "../explore/program.js";
export { randomScenario } from "../explore/random-scenario.js";
export {
  scenario,
  SMALL_MACHINE,
  type Ending,
  type Judgement,
  type RuleOnProfiles,
  type Scenario,
  type ScenarioActor,
  type ScenarioSpec,
} from "../explore/scenario.js";
export { TOKEN_KINDS, parseToken, tokenOf, type TokenContent, type TokenKind } from "../explore/token.js";
export { type Stretch } from "../explore/replay.js";
export {
  type AccessKind,
  type ActorKind,
  type MachineLayout,
  type NoteEvent,
  type Site,
  type Trace,
  type TraceAccess,
  type TraceActor,
  type TraceEnd,
} from "../explore/trace.js";
export { CHECKERS, checkerNamed, checkersFor } from "../invariants/index.js";
export {
  ACCESS,
  objects,
  type CheckedEvent,
  type Checker,
  type Ghost,
  type MachineFacts,
  type Objection,
  type SlotFacts,
} from "../invariants/checker.js";
export { perfettoTrace, type PerfettoTrace, type TraceEvent } from "../report/perfetto.js";
export { raceHtml, type RaceHtmlOptions } from "../report/race-html.js";
export { raceTable, type RaceTableOptions } from "../report/race-table.js";
export { CLAIMS, type Claim, type ClaimRow } from "../scenarios/claims.js";
export { SCENARIOS } from "../scenarios/index.js";
export { ZOO, type ZooEntry } from "../scenarios/zoo.js";
export { repeatToken } from "./replay.js";
export { type Repeated } from "./jobs.js";
