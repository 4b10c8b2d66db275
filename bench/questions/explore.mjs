// How long does a verdict take, and how fast is the search? Whole commands are timed, start-up included, one exploration at
// a time; rates come from the verdict itself.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { figure, limitRow } from "../turns.mjs";

const COMMAND = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const BUILD = fileURLToPath(new URL("../../scripts/build-core.mjs", import.meta.url));
const MINUTE = 60;

/** What a full run asks, with its limit in seconds; the quick one leaves the long ones out. */
const SCOPES = [
  { scenario: "fault-vs-dontneed", case: "1 vCPU, 1 invalidation, 1 page", atMost: 2 },
  { scenario: "scale-two-vcpus-two-pages", case: "2 vCPUs, 1 invalidation, 2 pages", atMost: 20 },
  {
    scenario: "scale-two-vcpus-one-page",
    case: "2 vCPUs contending, 1 page",
    atMost: 2 * MINUTE,
    long: true,
  },
  {
    scenario: "scale-two-vcpus-one-page-two-hosts",
    case: "2 vCPUs, 2 hosts, 1 page",
    atMost: 10 * MINUTE,
    long: true,
  },
  { scenario: "scale-three-vcpus-three-pages", case: "3 vCPUs, 3 pages", atMost: 10 * MINUTE, long: true },
];

/** The guards of the mutation matrix: without each, the founding race is lost. Later kernels do not miss the first one. */
const GUARDS = [
  { rule: "SeqRaisedInEnd", profile: "v5.4" },
  ...["CountChecked", "SeqChecked", "SnapshotBeforeGup", "RetryUnderLock", "LockHeldToInstall"].map(
    (rule) => ({
      rule,
      profile: "v6.13",
    }),
  ),
];

/** Runs `guestmmu explore` once, in so many threads: seconds on the clock, and the one result. */
function explore(args, workers = 1) {
  const begin = performance.now();
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [COMMAND, "explore", ...args, "--json", "--max-workers", `${workers}`],
    { encoding: "utf8", maxBuffer: 1 << 28 },
  );
  const seconds = (performance.now() - begin) / 1000;
  if (![0, 1, 4].includes(status))
    throw new Error(`guestmmu explore ${args.join(" ")} ended with ${status}: ${stderr.trim()}`);
  return { seconds, result: JSON.parse(stdout).verdicts[0] };
}

export const verdicts = {
  name: "explore",
  says: "verdicts of `guestmmu explore`, whole commands, no bound, every shared access a possible preemption",
  clock: "wall",
  async run(context) {
    if (!existsSync(COMMAND)) return [];
    const rows = [];
    for (const { scenario, case: name, atMost, long } of SCOPES) {
      if (context.quick && long) continue;
      const runs = Array.from({ length: long ? 1 : Math.min(3, context.rounds) }, () =>
        explore([scenario, "--max-time", `${10 * MINUTE}s`]),
      );
      const { verdict, detail } = runs[0].result;
      rows.push(
        limitRow({
          case: `${name}: ${verdict}`,
          unit: "s",
          values: runs.map(({ seconds }) => seconds),
          target: { atMost },
          reads: `${detail.states.toLocaleString("en")} states, ${detail.runs.toLocaleString("en")} steps run in the core`,
          counts: { states: detail.states, steps: detail.steps, runs: detail.runs, bytes: detail.bytes },
        }),
      );
    }
    return rows;
  },
};

export const broken = {
  name: "explore-broken",
  says: "the founding race without each guard, to the shortest schedule, whole commands",
  clock: "wall",
  async run(context) {
    if (!existsSync(COMMAND)) return [];
    return GUARDS.map(({ rule, profile }) => {
      const runs = Array.from({ length: Math.min(3, context.rounds) }, () =>
        explore(["fault-vs-dontneed", "--profile", profile, "--without", rule]),
      );
      const { verdict, detail } = runs[0].result;
      const switches = detail.violations[0]?.switches;
      return limitRow({
        case: `without ${rule}${profile === "v6.13" ? "" : ` (${profile})`}: ${verdict}`,
        unit: "s",
        values: runs.map(({ seconds }) => seconds),
        target: { atMost: 1 },
        reads: `${switches} switches, shortest ${detail.violations[0]?.shortest}`,
        counts: { states: detail.states, switches },
      });
    });
  },
};

export const editToVerdict = {
  name: "explore-edit",
  says: "from an edit of the core to the verdict of the founding race: `npm run build:lab`, then `guestmmu explore`",
  clock: "wall",
  async run(context) {
    if (!existsSync(COMMAND)) return [];
    let verdict = "";
    const values = Array.from({ length: context.quick ? 1 : Math.min(3, context.rounds) }, () => {
      const begin = performance.now();
      const { status, stderr } = spawnSync(process.execPath, [BUILD, "--lab"], {
        cwd: fileURLToPath(new URL("../..", import.meta.url)),
        encoding: "utf8",
      });
      const built = (performance.now() - begin) / 1000;
      if (status !== 0) throw new Error(`the lab module was not built: ${stderr.trim()}`);
      const { seconds, result } = explore(["fault-vs-dontneed"]);
      verdict = result.verdict;
      return built + seconds;
    });
    return [
      limitRow({
        case: `edit to verdict: ${verdict}`,
        unit: "s",
        values,
        target: { atMost: 15 },
        reads: "build included",
      }),
    ];
  },
};

export const searchRate = {
  name: "explore-rate",
  says: "states/s of the exhaustive search with state matching and all checkers, and of executions at random",
  clock: "wall",
  async run(context) {
    if (!existsSync(COMMAND)) return [];
    const states = Array.from({ length: Math.min(3, context.rounds) }, () => {
      const { detail } = explore(["scale-two-vcpus-two-pages"]).result;
      return detail.states / (detail.milliseconds / 1000) / 1e6;
    });
    const rows = [
      limitRow({
        case: "exhaustive, two vCPUs, two pages",
        unit: "M states/s",
        values: states,
        target: { atLeast: 1 },
        reads: "learning included",
      }),
    ];
    for (const scenario of ["two-slots-zapped", "fault-vs-dontneed"]) {
      const executions = Array.from({ length: Math.min(3, context.rounds) }, () => {
        const count = context.quick ? 20_000 : 400_000;
        const args = [scenario, "--strategy", "random", "--executions", `${count}`];
        const { detail } = explore(args).result;
        return {
          rate: detail.ends / (detail.milliseconds / 1000) / 1000,
          points: detail.steps / detail.ends,
        };
      });
      const points = figure(executions.map((e) => e.points)).median;
      rows.push(
        limitRow({
          case: `at random, ${scenario}, ${points.toFixed(0)} scheduling points each`,
          unit: "k executions/s",
          values: executions.map((e) => e.rate),
          target: { atLeast: Math.round((100 * 60) / points) },
          reads: "100 k/s at 60 points",
        }),
      );
    }
    return rows;
  },
};

/** Scopes that are searched by one thread and by two, from the smallest that is worth it. */
const TOGETHER = [
  { scenario: "two-invalidations", case: "1 vCPU, 2 invalidations" },
  { scenario: "scale-two-vcpus-two-pages", case: "2 vCPUs, 1 invalidation, 2 pages", quick: true },
  { scenario: "scale-two-vcpus-one-page", case: "2 vCPUs contending, 1 page", target: { atLeast: 1.3 } },
];

export const together = {
  name: "explore-together",
  says: "the search of one scenario by two threads beside one, whole commands in turns: how many times as fast",
  clock: "wall",
  async run(context) {
    if (!existsSync(COMMAND) || availableParallelism() < 2) return [];
    const rows = [];
    for (const { scenario, case: name, target, quick } of TOGETHER) {
      if (context.quick && !quick) continue;
      const pairs = Array.from({ length: Math.min(context.quick ? 1 : 5, context.rounds) }, () =>
        [1, 2].map((workers) => explore([scenario], workers)),
      );
      const [one, two] = [0, 1].map((i) => pairs[0][i].result.detail);
      const same = ["states", "steps", "ends", "localStates"].every((key) => one[key] === two[key]);
      const [alone, both] = [0, 1].map((i) => figure(pairs.map((pair) => pair[i].seconds)).median.toFixed(2));
      rows.push(
        limitRow({
          case: name,
          unit: "times",
          values: pairs.map(([a, b]) => a.seconds / b.seconds),
          target,
          reads: `${one.states.toLocaleString("en")} states; ${alone} s, ${both} s`,
          counts: { states: two.states, threads: two.threads, runs_one: one.runs, runs_two: two.runs },
          digest: same ? "same" : "differ",
        }),
      );
    }
    return rows;
  },
};
