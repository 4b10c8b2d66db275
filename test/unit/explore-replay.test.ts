// A schedule that was recorded comes to the same end when it is run again, by its stretches as by its steps; and what the
// tables of the search say is what the core does.
import { describe, expect, test } from "vitest";
import { Automata, Reclassified } from "../../src/explore/automata.js";
import { explore } from "../../src/explore/explore.js";
import { Ghosts } from "../../src/explore/ghosts.js";
import { randomScenario } from "../../src/explore/random-scenario.js";
import { Replay, type Replayed } from "../../src/explore/replay.js";
import { type Scenario } from "../../src/explore/scenario.js";
import { type Move } from "../../src/explore/result.js";
import { forcedActor } from "../../src/explore/search.js";
import { Setup } from "../../src/explore/setup.js";
import { parseToken } from "../../src/explore/token.js";
import { Random, apply, warmUp } from "../../src/explore/walk.js";
import { type RuleName } from "../../src/core/rules.js";
import { type ProfileName } from "../../src/core/profiles.js";
import { CHECKERS } from "../../src/invariants/index.js";
import { faultVsDontneed } from "../../src/scenarios/fault-vs-dontneed.js";

function setUp(scenario: Scenario, profile: ProfileName, without: readonly RuleName[] = []): Setup {
  return new Setup(scenario, { profile, without, build: "lab" });
}

function learned(setup: Setup): Automata {
  return learnedAgain(new Automata(setup.actors, setup.ground, new Ghosts([], setup.facts)));
}

function learnedAgain(automata: Automata): Automata {
  while (true) {
    try {
      automata.begin([]);
      warmUp(automata, 100, 1);
      return automata;
    } catch (error) {
      if (!(error instanceof Reclassified)) throw error;
    }
  }
}

/** An execution at random through the tables: its moves, and the results and cells at its end. */
function walkTables(automata: Automata, seed: number) {
  const random = new Random(seed);
  const state = automata.start.state.slice();
  const moves: Move[] = [];
  while (true) {
    const only = forcedActor(automata, state);
    const able = automata.actors.flatMap((_, a) =>
      automata.enabled(state, a) && (only < 0 || a === only) ? [a] : [],
    );
    if (able.length === 0) break;
    const actor = able[random.below(able.length)]!;
    const way = random.below(automata.ways(state, actor));
    moves.push({ actor, way });
    apply(automata, state, automata.transition(state, actor, way));
  }
  const results = automata.histories.map((histories, a) =>
    histories.results(automata.local[state[a]!]!.history),
  );
  return { moves, state, results };
}

/** Runs moves in the core; `cells` are the words of the automata as the core has them at the end. */
function inCore(setup: Setup, automata: Automata, moves: readonly Move[]): Replayed & { cells: number[] } {
  const replay = new Replay(setup, [], (address, length) => automata.suspends(address, length));
  replay.begin();
  for (const { actor, way } of moves) replay.step(actor, way);
  const cells = automata.cells.map((word) => setup.ground.runner.words[word]!);
  return { ...replay.finish(), cells };
}

function again(setup: Setup, { stretches }: Pick<Replayed, "stretches">): Replayed {
  const replay = new Replay(setup, []);
  for (const stretch of stretches) expect(replay.stretch(stretch)).toBe(true);
  return replay.finish();
}

const essence = ({ accesses }: Replayed) =>
  accesses.map(({ actor, site, address, before, after }) => ({
    actor,
    line: site.line,
    address,
    before,
    after,
  }));

const SCENARIOS: readonly (readonly [string, Scenario, ProfileName])[] = [
  ["fault-vs-dontneed", faultVsDontneed as Scenario, "v6.13"],
  ["fault-vs-dontneed", faultVsDontneed as Scenario, "v5.4"],
  ["pfn cache", randomScenario(18), "v6.13"],
  ["three actors", randomScenario(24), "v5.4"],
];

describe("executions at random", () => {
  test.each(SCENARIOS)("%s: the tables say what the core does (%#)", (_, scenario, profile) => {
    const setup = setUp(scenario, profile);
    const automata = learned(setup);
    const n = automata.actors.length;
    for (let seed = 1; seed <= 60; seed++) {
      let walked;
      try {
        walked = walkTables(automata, seed);
      } catch (error) {
        if (!(error instanceof Reclassified)) throw error;
        learnedAgain(automata);
        seed--;
        continue;
      }
      const replayed = inCore(setup, automata, walked.moves);
      const { results } = walked;
      expect(replayed.end.kind, `seed ${seed}`).toBe("done");
      expect(replayed.outcome).toBe(setup.judge(results).outcome);
      expect(replayed.cells).toEqual([...walked.state.subarray(2 * n, 2 * n + automata.cells.length)]);
    }
  });

  test.each(SCENARIOS)("%s: stretches repeat an execution access by access (%#)", (_, scenario, profile) => {
    const setup = setUp(scenario, profile);
    const automata = learned(setup);
    for (let seed = 1; seed <= 10; seed++) {
      const { moves } = walkTables(automata, seed);
      const recorded = inCore(setup, automata, moves);
      const repeated = again(setup, recorded);
      expect(repeated.end).toEqual(recorded.end);
      expect(repeated.stretches).toEqual(recorded.stretches);
      expect(essence(repeated)).toEqual(essence(recorded));
    }
  });
});

describe("counterexamples", () => {
  const without = ["SeqChecked"] as const;
  const { violations } = explore(faultVsDontneed as Scenario, { without });
  test("the token of one leads to the same objection, after the same accesses", () => {
    const [violation] = violations;
    const { stretches } = parseToken(violation!.token);
    const replay = new Replay(setUp(faultVsDontneed as Scenario, "v6.13", without), CHECKERS);
    for (const stretch of stretches) replay.stretch(stretch);
    const { end, accesses } = replay.finish();
    expect(end).toMatchObject({ kind: violation!.kind, name: violation!.name, says: violation!.says });
    expect(accesses.length).toBe(violation!.trace.accesses.length);
  });
  test("the same schedule does no harm with the rule in force", () => {
    const { stretches } = parseToken(violations[0]!.token);
    const replay = new Replay(setUp(faultVsDontneed as Scenario, "v6.13"), CHECKERS);
    for (const stretch of stretches) replay.stretch(stretch);
    expect(replay.ended).toBe(null);
  });
});
