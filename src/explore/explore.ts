/** Explores a scenario: brings it to its start, chooses the search, confirms and shortens what it finds. */

import { PROFILES, type ProfileName } from "../core/profiles.js";
import { type RuleName } from "../core/rules.js";
import { GuestMmuError } from "../errors.js";
import { type Checker } from "../invariants/checker.js";
import { checkersOf } from "../invariants/index.js";
import { Automata, OutOfTime, Reclassified } from "./automata.js";
import { checkOptions, defaultStrategy } from "./check-options.js";
import { type ExploredBuild } from "./core.js";
import { Crew, Stop, type Helpers, type Invitation, type Report } from "./crew.js";
import { Ghosts } from "./ghosts.js";
import {
  ModelWorld,
  helpModel,
  memoryModel,
  searchModel,
  shortestModel,
  type MemoryModel,
} from "./memory-model.js";
import { livenessOf, type Liveness } from "./liveness.js";
import { nameOf } from "./names.js";
import { DATA_RACE, Races } from "./races.js";
import { Replay, type Replayed } from "./replay.js";
import { type Scenario } from "./scenario.js";
import {
  type Counts,
  type FinalCheck,
  type SearchLimits,
  type SearchResult,
  type Violation,
} from "./result.js";
import { Search } from "./search.js";
import { Setup } from "./setup.js";
import { shortest } from "./shortest.js";
import { together } from "./together.js";
import { STRATEGIES, searchBy, type Strategy, type StrategyResult } from "./strategies/index.js";
import { tokenOf } from "./token.js";
import { type Trace } from "./trace.js";
import { checkScenario } from "./user-code.js";
import { warmUp } from "./walk.js";

/** How a scenario is explored. What is left out has a default. */
export interface ExploreOptions {
  /** Protocol rules of a kernel. Default "v6.13". */
  readonly profile?: ProfileName;
  /** Rules that do not hold. */
  readonly without?: readonly RuleName[];
  /** "release" explores the shipped module: no rule can be left out, and no events are told. Default "lab". */
  readonly build?: ExploredBuild;
  /** Who watches. Default: those that the scenario names, else every checker; of a release build, none. */
  readonly checkers?: readonly Checker[];
  /** States after which the search gives up, 1 to 2e9. Default 50,000,000 (about 1 GiB of memory). */
  readonly maxStates?: number;
  /** Steps of one execution, 1 to 1e9. Default 100,000. */
  readonly maxDepth?: number;
  /** Milliseconds, 1 to 3.6e9. Default 600,000. */
  readonly maxTime?: number;
  /** Stop at the first violation (default), or collect one of each. */
  readonly all?: boolean;
  /** Look for the shortest violation once one is found. Default true. */
  readonly shorten?: boolean;
  /** What actors see of each other's stores: src/explore/memory-model.ts. Default: the scenario's, else "sc". */
  readonly model?: MemoryModel;
  /** Which executions are looked at: src/explore/strategies. Default "bounded" if `maxSwitches` is given, else "exhaustive". */
  readonly strategy?: Strategy;
  /** Strategy "bounded": most changes of the running actor, 0 to 1000. Default 2. */
  readonly maxSwitches?: number;
  /** Strategies "pct" and "random": how many, 1 to 1e12. Default 100,000. */
  readonly executions?: number;
  /** Strategy "pct": orderings that a violation may need, 1 to 100. Default 3. */
  readonly depth?: number;
  /** Strategy "exhaustive": leave out orders of steps that commute (src/explore/reduce.ts). Default false. */
  readonly reduce?: boolean;
  /** Strategy "exhaustive", not reduced: go on from each state once. Without, `states` counts visits. Default true. */
  readonly match?: boolean;
  /** Look for data races of the core (src/explore/races.ts). Default: of a lab build, unless the scenario names checkers. */
  readonly races?: boolean;
  /** Start of random sequences, 0 to 2^32 - 1. Default 1. */
  readonly seed?: number;
  /** Called now and then; returns true to stop. */
  readonly progress?: (report: ExploreProgress) => boolean;
  /** Threads that can help with a long exhaustive search (src/explore/crew.ts). Default: none. */
  readonly helpers?: Helpers;
}

/** How far an exploration is. */
export interface ExploreProgress extends Counts {
  readonly phase: "learning" | "searching" | "shortening";
  readonly milliseconds: number;
}

/** What an exploration came to. */
export interface Verdict {
  readonly scenario: string;
  readonly profile: ProfileName;
  readonly without: readonly RuleName[];
  readonly build: ExploredBuild;
  readonly model: MemoryModel;
  readonly strategy: Strategy;
  /**
   * Changes of the running actor up to which a verdict of "bounded" goes: with more, nothing is known. Null where that is
   * not how it was looked, or where more would lead to no other state.
   */
  readonly bound: number | null;
  /** Whether executions end. */
  readonly liveness: Liveness;
  /** True if every state met was looked at for data races. */
  readonly racesChecked: boolean;
  readonly verdict: "holds" | "violated" | "inconclusive";
  /** Which limit made it inconclusive. */
  readonly limit: SearchResult["limit"];
  readonly violations: readonly Counterexample[];
  /** Outcomes of finished executions, with the number of different final states of each. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** States met; of "pct" and "random", different final ones. */
  readonly states: number;
  readonly steps: number;
  /** Ends of executions met. */
  readonly ends: number;
  readonly depth: number;
  readonly cells: number;
  /** Threads that searched. */
  readonly threads: number;
  readonly localStates: number;
  /** Steps run in the core; all others were looked up. */
  readonly runs: number;
  readonly milliseconds: number;
  readonly bytes: number;
}

/** A violation, as short as it can be, confirmed in the core without tables. */
export interface Counterexample {
  readonly kind: Violation["kind"];
  readonly name: string;
  readonly says: string;
  /** True if it is known that no execution with fewer changes of the running actor shows it. */
  readonly shortest: boolean;
  readonly switches: number;
  readonly token: string;
  readonly trace: Trace;
}

const DEFAULTS = { maxStates: 50_000_000, maxDepth: 100_000, maxTime: 600_000 } as const;
/** States looked at for a shorter violation. */
const SHORTEST_NODES = 400_000;
const SHORTEST_NODES_MODEL = 100_000;
/** Milliseconds that looking for a shorter violation may take to learn. */
const SHORTEN_TIME = 30_000;
/** Executions at random before a search, so that it knows which words are shared. */
const WARM_UP = 200;

function checked(
  options: ExploreOptions,
  scenario: Scenario,
): Required<Omit<ExploreOptions, "progress" | "helpers">> {
  checkScenario(scenario);
  checkOptions(options);
  const { profile = "v6.13", without = [], build = "lab" } = options;
  const usage = (message: string, hint: string): GuestMmuError =>
    new GuestMmuError("USAGE", { message, hint });
  if (!Object.hasOwn(PROFILES, profile))
    throw usage(
      `There is no profile ${JSON.stringify(profile)}.`,
      `Use ${Object.keys(PROFILES).join(", ")}.`,
    );
  if (build === "release" && without.length > 0)
    throw usage("The release module has its rules built in.", "Leave rules out with the lab build.");
  const model = memoryModel(options.model ?? scenario.model ?? "sc");
  return {
    profile,
    without,
    build,
    checkers: options.checkers ?? (build === "lab" ? checkersOf(scenario) : []),
    maxStates: options.maxStates ?? DEFAULTS.maxStates,
    maxDepth: options.maxDepth ?? DEFAULTS.maxDepth,
    maxTime: options.maxTime ?? DEFAULTS.maxTime,
    all: options.all ?? false,
    shorten: options.shorten ?? true,
    seed: options.seed ?? 1,
    strategy: strategyOf(options, model),
    maxSwitches: options.maxSwitches ?? 2,
    executions: options.executions ?? 100_000,
    depth: options.depth ?? 3,
    reduce: options.reduce ?? false,
    match: options.match ?? true,
    races: (options.races ?? (build === "lab" && !scenario.checkers)) && model === "sc",
    model,
  };
}

function strategyOf(options: ExploreOptions, model: MemoryModel): Strategy {
  const { strategy = defaultStrategy(options), reduce, match = true } = options;
  const usage = (message: string, hint: string): GuestMmuError =>
    new GuestMmuError("USAGE", { message, hint });
  if (!STRATEGIES.includes(strategy))
    throw usage(`There is no strategy ${JSON.stringify(strategy)}.`, `Use ${STRATEGIES.join(", ")}.`);
  if (model !== "sc" && (strategy !== "exhaustive" || reduce))
    throw usage(
      `Memory model ${model} is explored exhaustively and without reduction only.`,
      "Leave strategy and reduce out, or take model sc.",
    );
  if (!match && (strategy !== "exhaustive" || reduce || model !== "sc"))
    throw usage(
      "Only an exhaustive search without reduction, of model sc, can do without matching states.",
      "Leave --no-match (match: false) out.",
    );
  if (reduce && strategy !== "exhaustive")
    throw usage(`Strategy ${strategy} has no reduction.`, "Leave reduce out, or take strategy exhaustive.");
  return strategy;
}

/**
 * Explores every interleaving of a scenario. Throws `USAGE` for options and scenarios that cannot be used: the message names
 * the option, or the place in the scenario and the line that threw.
 */
export function explore(scenario: Scenario, options: ExploreOptions = {}): Verdict {
  return new Exploration(scenario, checked(options, scenario), options).run();
}

/**
 * Helps another thread that explores the same scenario with the same options, until the search is over. What was found is
 * told to that thread.
 */
export function assist(scenario: Scenario, options: ExploreOptions, invitation: Invitation): void {
  const crew = Crew.join(invitation);
  if (crew) new Exploration(scenario, checked(options, scenario), {}).assist(crew, invitation);
}

/** A schedule of accesses does not say when stores reach memory: under a memory model the search is repeated. */
function searchAgain(
  scenario: string,
  profile: ProfileName,
  without: readonly RuleName[],
  model: MemoryModel,
): string {
  const rules = without.length ? ` --without ${without.join(",")}` : "";
  return `guestmmu explore ${scenario} --profile ${profile} --model ${model}${rules}`;
}

/** What is known when time was up before the search began. */
const NOTHING_SEEN: StrategyResult = {
  limit: "time",
  violations: [],
  outcomes: new Map(),
  states: 0,
  steps: 0,
  ends: 0,
  depth: 0,
  cycles: 0,
  bytes: 0,
  bound: null,
  liveness: livenessOf("unknown", 0),
  racesChecked: false,
};

class Exploration {
  readonly #options: ReturnType<typeof checked>;
  readonly #progress: ExploreOptions["progress"];
  readonly #helpers: Helpers | null;
  readonly #setup: Setup;
  readonly #ghosts: Ghosts;
  readonly #automata: Automata;
  readonly #final: FinalCheck;
  readonly #began = performance.now();
  readonly #races: Races | null;
  #initial: readonly number[] = [];

  constructor(
    scenario: Scenario,
    options: ReturnType<typeof checked>,
    { progress, helpers }: Pick<ExploreOptions, "progress" | "helpers">,
  ) {
    this.#options = options;
    this.#progress = progress;
    this.#helpers = helpers ?? null;
    this.#setup = new Setup(scenario, options);
    this.#ghosts = new Ghosts(options.checkers, this.#setup.facts);
    const { actors, ground } = this.#setup;
    this.#automata = new Automata(actors, ground, this.#ghosts);
    const { sites } = this.#setup.explored;
    this.#races = options.races ? new Races(this.#automata, sites, this.#describe) : null;
    this.#final = (state) => {
      const automata = this.#automata;
      this.#setup.enter(automata, state);
      return this.#setup.judge(
        automata.histories.map((histories, a) => histories.results(automata.local[state[a]!]!.history)),
      );
    };
  }

  readonly #describe = (address: number): string => nameOf(this.#setup.facts.layout, address, 4);

  /** States of the checkers at the start. Throws `USAGE` if one objects already. */
  #begin(): readonly number[] {
    const initial = this.#ghosts.initial(this.#setup.events);
    const atStart = initial.find((ghost) => ghost < 0);
    if (atStart !== undefined) {
      const { name, says } = this.#ghosts.findings[~atStart]!;
      throw new GuestMmuError("USAGE", {
        message: `Scenario ${this.#setup.scenario.name}: before anybody acts, ${name} objects: ${says}.`,
        hint: "The set-up of a scenario has to leave a machine that is in order.",
      });
    }
    return initial;
  }

  run(): Verdict {
    this.#initial = this.#begin();
    this.#automata.deadline = this.#began + this.#options.maxTime;
    const result = this.#inTime(() => {
      this.#learn();
      return this.#repeat(() => this.#search());
    }, NOTHING_SEEN);
    const violations = result.violations.map((violation) => this.#confirm(violation));
    const { scenario } = this.#setup;
    const { profile, without, build, strategy } = this.#options;
    return {
      scenario: scenario.name,
      profile,
      without,
      build,
      model: this.#options.model,
      strategy,
      bound: result.bound,
      liveness: result.liveness,
      racesChecked: result.racesChecked,
      verdict: violations.length > 0 ? "violated" : result.limit === null ? "holds" : "inconclusive",
      limit: result.limit,
      violations,
      outcomes: Object.fromEntries([...result.outcomes].sort()),
      states: result.states,
      steps: result.steps,
      ends: result.ends,
      depth: result.depth,
      cells: this.#automata.cells.length,
      threads: result.threads ?? 1,
      localStates: result.localStates ?? this.#automata.local.length,
      runs: this.#automata.runs + (result.helperRuns ?? 0),
      milliseconds: performance.now() - this.#began,
      bytes: result.bytes,
    };
  }

  /** What `body` returns, or `otherwise` if there is no time left for what it has to learn. */
  #inTime<T>(body: () => T, otherwise: T): T {
    try {
      return body();
    } catch (error) {
      if (error instanceof OutOfTime) return otherwise;
      throw error;
    }
  }

  /** Learns which words are shared, and what the actors do, from executions at random. */
  #learn(): void {
    const automata = this.#automata;
    while (true) {
      try {
        automata.begin(this.#initial);
        warmUp(automata, WARM_UP, this.#options.seed);
        break;
      } catch (error) {
        if (!(error instanceof Reclassified)) throw error;
      }
    }
  }

  /** Does it again as long as something turns out to be otherwise than it was taken for. */
  #repeat<T>(body: () => T): T {
    while (true) {
      try {
        return body();
      } catch (error) {
        if (!(error instanceof Reclassified)) throw error;
        this.#learn();
      }
    }
  }

  #search(): StrategyResult {
    const { maxStates, maxDepth, maxTime, all } = this.#options;
    const left = maxTime - (performance.now() - this.#began);
    const limits: SearchLimits = { maxStates, maxDepth, maxTime: Math.max(0, left) };
    const crew = this.#crew(limits);
    if (this.#options.model !== "sc") {
      const result = together(crew, this.#automata, () =>
        searchModel(
          this.#world(),
          this.#automata.start.events,
          { limits, stopAtFirst: !all, final: this.#final, crew },
          this.#describe,
        ),
      );
      return { ...result, bound: null, liveness: livenessOf("unknown", 0), racesChecked: false };
    }
    return searchBy(this.#options, this.#automata, {
      crew,
      limits,
      stopAtFirst: !all,
      final: this.#final,
      describe: this.#describe,
      isLoad: (site) => this.#setup.explored.sites[site]?.kind === "load",
      races: this.#races,
      progress: (report) => this.#tell("searching", report),
    });
  }

  #crew(limits: SearchLimits): Crew {
    const automata = this.#automata;
    return Crew.lead({
      limits,
      helpers: this.#options.match ? this.#helpers : null,
      progress: (counts) => this.#tell("searching", counts),
      knowledge: () => ({ cells: automata.cells, touched: automata.touchedWords() }),
    });
  }

  /** Searches what the thread that leads has left over, until the search is over, and reports. */
  assist(crew: Crew, { cells, touched }: Invitation): void {
    const automata = this.#automata;
    let result: Report["result"] = null;
    let error: Report["error"] = null;
    try {
      this.#initial = this.#begin();
      automata.deadline = crew.deadline;
      automata.takeOver(cells, touched);
      automata.begin(this.#initial);
      const found = this.#searchBranches(crew);
      if (found) result = { ...found, outcomes: [...found.outcomes] };
    } catch (cause) {
      if (cause instanceof Reclassified) crew.stop(Stop.Reclassified);
      else if (cause instanceof OutOfTime) crew.stop(Stop.Time);
      else if (cause instanceof GuestMmuError) {
        crew.stop(Stop.Failed);
        error = cause.toJSON();
      } else throw cause;
    }
    crew.report({
      result,
      cells: automata.cells,
      touched: automata.touchedWords(),
      learned: crew.stopped === Stop.Done ? automata.learnedSteps() : [],
      locals: automata.local.map((_, l) => automata.nameOfLocal(l)),
      runs: automata.runs,
      error,
    });
  }

  /** Null: there was nothing left to do. */
  #searchBranches(crew: Crew): SearchResult | null {
    const { maxStates, maxDepth, all, model } = this.#options;
    const automata = this.#automata;
    const first = crew.begin();
    if (first === null) return null;
    const limits: SearchLimits = { maxStates, maxDepth, maxTime: Infinity };
    const options = { limits, stopAtFirst: !all, final: this.#final, crew };
    if (model !== "sc")
      return helpModel(this.#world(), automata.start.events, options, this.#describe, first);
    this.#races?.forget();
    const inspect = this.#races?.inspect;
    return new Search(automata, { ...options, inspect }, this.#describe).help(automata.start, first);
  }

  #world(): ModelWorld {
    const { explored } = this.#setup;
    return new ModelWorld(this.#automata, this.#automata.start.state, this.#options.model, explored.sites);
  }

  /** As `#confirm`, under a memory model. */
  #confirmUnderModel(violation: Violation): Counterexample {
    const { maxStates, maxDepth } = this.#options;
    const limits = { maxStates, maxDepth, maxTime: Infinity };
    const options = { limits, stopAtFirst: true, final: this.#final, maxNodes: SHORTEST_NODES_MODEL };
    const name = this.#options.all ? violation.name : "";
    this.#automata.deadline = performance.now() + SHORTEN_TIME;
    const shorter = () =>
      shortestModel(this.#world(), this.#automata.start.events, { ...options, name }, this.#describe);
    const found = this.#options.shorten ? this.#inTime(() => this.#repeat(shorter), null) : null;
    this.#automata.deadline = Infinity;
    const best = found ?? violation;
    let replayed = this.#replayUnderModel(best, false);
    if (replayed.end.name !== best.name) replayed = this.#replayUnderModel(best, true);
    this.#expectSame(replayed, best);
    return this.#counterexample(replayed, found !== null);
  }

  #replayUnderModel({ schedule }: Violation, early: boolean): Replayed {
    const automata = this.#automata;
    const world = this.#world();
    world.begin(automata.start.events);
    const n = automata.actors.length;
    const replay = new Replay(this.#setup, this.#options.checkers, (address, length) =>
      automata.suspends(address, length),
    );
    if (early) replay.begin();
    for (const move of schedule) {
      if (replay.ended) break;
      const { actor, way } = move;
      if (actor >= n) {
        const drained = world.drained(move);
        world.take(move);
        replay.drain(actor - n, drained, world.memory());
        continue;
      }
      const own = way % automata.ways(world.state, actor);
      replay.stepUnder(actor, own, world.view(move), world.passage(move), () => {
        world.take(move);
        return world.memory();
      });
    }
    return replay.finish();
  }

  #expectSame(replayed: Replayed, { kind: found, name }: Violation): void {
    if (replayed.end.kind !== "done" && replayed.end.name === name) return;
    // Of two checkers that object within one step the tables name one, the core whichever did so first.
    if (found === "violation" && replayed.end.kind === "violation") return;
    const { kind, name: other, says } = replayed.end;
    throw new GuestMmuError("CORE_TRAP", {
      message: `${name} was found in the tables, and the core ends the same schedule otherwise: ${kind} ${other} (${says}).`,
      hint: "This is a defect of the explorer: please report it.",
    });
  }

  #tell(phase: ExploreProgress["phase"], { states, steps, ends, depth, frontier }: Counts): boolean {
    const milliseconds = performance.now() - this.#began;
    return this.#progress?.({ phase, states, steps, ends, depth, frontier, milliseconds }) ?? false;
  }

  /** Shortens a violation and runs it in the core. */
  #confirm(violation: Violation): Counterexample {
    if (this.#options.model !== "sc") return this.#confirmUnderModel(violation);
    if (violation.kind === "livelock") return this.#confirmLivelock(violation);
    let best = violation;
    let isShortest = false;
    if (this.#options.shorten) {
      const race = violation.name === DATA_RACE;
      this.#automata.deadline = performance.now() + SHORTEN_TIME;
      const shorter = () => {
        return shortest(this.#automata, this.#automata.start, {
          maxNodes: SHORTEST_NODES,
          maxSwitches: Infinity,
          final: this.#final,
          describe: this.#describe,
          name: this.#options.all || race ? violation.name : "",
          goal: (state) => {
            const finding = race ? (this.#races?.find(state, violation.says) ?? null) : null;
            return finding && { kind: "violation", ...finding };
          },
        });
      };
      const found = this.#inTime(() => this.#repeat(shorter), null);
      if (found?.violation) {
        best = found.violation;
        isShortest = found.complete;
      }
    }
    if (best.name === DATA_RACE) return this.#counterexample(this.#replayRace(best), isShortest);
    // An actor's way to its first step is nobody else's business: it reads better where the step is. A checker may have
    // objected to its having begun early, though.
    let replayed = this.#replay(best, false);
    if (replayed.end.name !== best.name) replayed = this.#replay(best, true);
    this.#expectSame(replayed, best);
    return this.#counterexample(replayed, isShortest);
  }

  #replay(violation: Violation, early: boolean): Replayed {
    const automata = this.#automata;
    const replay = new Replay(this.#setup, this.#options.checkers, (address, length) =>
      automata.suspends(address, length),
    );
    if (early) replay.begin();
    for (const { actor, way } of violation.schedule) if (!replay.ended) replay.step(actor, way);
    return replay.finish();
  }

  /**
   * Runs a race in the core. No checker objects to it: that its two accesses stand beside each other is what the schedule
   * shows. One of them may be wrong for another reason as well; it is left out then.
   */
  #replayRace(violation: Violation): Replayed {
    const automata = this.#automata;
    const { schedule, says } = violation;
    for (let moves = schedule.length; ; moves--) {
      const replay = new Replay(this.#setup, this.#options.checkers, (address, length) =>
        automata.suspends(address, length),
      );
      for (const { actor, way } of schedule.slice(0, moves)) if (!replay.ended) replay.step(actor, way);
      const over = replay.ended !== null;
      if (!over) replay.conclude("violation", DATA_RACE, says);
      const replayed = replay.finish();
      if (!over) return replayed;
      if (moves <= schedule.length - 2) this.#expectSame(replayed, violation);
    }
  }

  /** Runs a livelock in the core: to the loop, and once around it. */
  #confirmLivelock(violation: Violation): Counterexample {
    const { schedule, loopFrom = 0, name, says } = violation;
    const automata = this.#automata;
    const replay = new Replay(this.#setup, this.#options.checkers, (address, length) =>
      automata.suspends(address, length),
    );
    replay.begin();
    let before = replay.standing(automata.cells);
    schedule.forEach(({ actor, way }, i) => {
      if (i === loopFrom) before = replay.standing(automata.cells);
      if (!replay.ended) replay.step(actor, way);
    });
    if (replay.standing(automata.cells) === before) replay.conclude("livelock", name, says);
    const replayed = replay.finish();
    this.#expectSame(replayed, violation);
    return this.#counterexample(replayed, false);
  }

  #counterexample(replayed: Replayed, isShortest: boolean): Counterexample {
    const { scenario, actors, facts, explored } = this.#setup;
    const { profile, without, model } = this.#options;
    const { kind, name, says } = replayed.end;
    const token = tokenOf({
      hash: explored.hash,
      scenarioHash: this.#setup.fingerprint(replayed.calls),
      scenario: scenario.name,
      profile,
      model,
      without,
      kind: name === DATA_RACE ? "race" : (kind as Violation["kind"]),
      stretches: replayed.stretches,
    });
    const switches = replayed.stretches.length - 1;
    const trace: Trace = {
      scenario: scenario.name,
      profile,
      model,
      rulesOff: without,
      actors: actors.map(({ name, kind, index }) => ({ name, kind, index })),
      accesses: replayed.accesses,
      end: replayed.end,
      layout: facts.layout,
      switches,
      repeat:
        model === "sc"
          ? `guestmmu explore --replay ${token}`
          : searchAgain(scenario.name, profile, without, model),
    };
    return { kind: kind as Violation["kind"], name, says, shortest: isShortest, switches, token, trace };
  }
}
