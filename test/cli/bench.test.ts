// `guestmmu bench` as a user types it.
import { chmod, cp, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseBenchDocument, type BenchDocument, type BenchRow } from "../../src/measure/results.js";
import { guestmmu } from "./command.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "guestmmu-bench-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** A row that takes a tenth of a second. */
const ONE_ROW = [
  "bench",
  "--quick",
  "--question",
  "cycle",
  "--vcpus",
  "1",
  "--invalidate",
  "0",
  "--memory",
  "2m",
];

const json = (text: string): BenchDocument => parseBenchDocument(text, "standard output");

describe("what cannot be done is refused", () => {
  test.each<[string[], RegExp]>([
    [["bench", "--question", "fast"], /--question: cannot use "fast"[^]*populate, cycle, hit, miss/],
    [["bench", "--vcpus", "none"], /--vcpus[^]*1 to 32/],
    [["bench", "--trace", "no/such/file"], /no\/such\/file: no such file/],
    [["bench", "--trace", "package.json"], /package\.json:1: expected "I {2}"[^]*--skip-malformed/],
    [["bench", "--compare", "no/such/file"], /no\/such\/file cannot be read/],
    [["bench", "--compare", "package.json"], /not a result of guestmmu bench/],
    [["bench", "--output", "no/such/folder/file"], /cannot be written/],
    [["bench", "--memory", "4g", "--question", "miss", "--quick"], /more than a machine has room for/],
    [["bench", "--nonsense"], /unknown option '--nonsense'/],
    [["bench", "surplus"], /too many arguments/],
    [["nonsense"], /unknown command 'nonsense'/],
  ])("%j", async (args, message) => {
    const { code, out, err } = await guestmmu(args);
    expect(err).toMatch(message);
    expect(err).not.toMatch(/\n +at /); // no stack trace for a user's mistake
    expect(out).toBe("");
    expect(code).toBe(2);
  });
});

describe("--help", () => {
  test.each([[[]], [["bench"]], [["doctor"]]])("of %j", async (args) => {
    const { code, out } = await guestmmu([...args, "--help"]);
    expect(code).toBe(0);
    expect(out).toMatch(/Usage: guestmmu/);
    expect(Math.max(...out.split("\n").map((line) => line.length))).toBeLessThanOrEqual(120);
  });

  test("names every option of bench, and examples", async () => {
    const { out } = await guestmmu(["bench", "--help"]);
    const options =
      "question trace skip-malformed vcpus invalidate span profile page-size memory region zero retry poison";
    const rest = "workload write-mix duration samples seed quick json output compare threshold";
    for (const name of `${options} ${rest}`.split(" ")) expect(out).toContain(`--${name}`);
    expect(out).toMatch(/Examples:\n +guestmmu bench --quick/);
    expect(out).toMatch(/--quick measures the same questions and vCPUs/);
    expect(out).toMatch(/Exit codes: 0 done[^]*4 threshold inconclusive[^]*130 interrupted/);
  });

  test("--version is that of the package", async () => {
    const { version } = JSON.parse(await readFile("package.json", "utf8")) as { version: string };
    expect((await guestmmu(["--version"])).out.trim()).toBe(version);
  });
});

describe("a run", () => {
  test("--quick prints a table, counts, machine, seed, and what a profile means", async () => {
    const { code, out } = await guestmmu(["bench", "--quick", "--vcpus", "1", "--seed", "42"]);
    expect(code).toBe(0);
    for (const question of ["populate", "cycle", "hit", "miss"])
      expect(out).toMatch(new RegExp(`^${question} +1 `, "m"));
    expect(out).toMatch(/retries seq\/count\/root\/race/);
    expect(out).toMatch(/seed 42/);
    expect(out).toMatch(/Node v\d+/);
    expect(out).toMatch(/not that kernel's data structures/);
    expect(out).not.toMatch(/PROBLEM|PARTIAL/);
  });

  test("--quick --json is one document, whose counts fit together", async () => {
    const { code, out, err } = await guestmmu(["bench", "--quick", "--json"]);
    expect(code).toBe(0);
    expect(err).toBe("");
    const document = json(out);
    expect(document).toMatchObject({ complete: true, matrix: "quick", seed: 1 });
    for (const row of document.rows) {
      expect(row.problems).toEqual([]);
      expect(row.frames_leaked).toBe(0);
      expect(row.counts.integrity_errors).toBe(0);
      expect(row.rate_per_s.median).toBeGreaterThan(0);
      expect(row.latency_ns!.p50).toBeLessThanOrEqual(row.latency_ns!.p90!);
    }
    const of = (question: string, quiet: boolean): BenchRow[] =>
      document.rows.filter(
        ({ config }) => config.question === question && (config.invalidate === 0) === quiet,
      );
    for (const { counts } of of("hit", true)) expect(counts.tlb_hits).toBe(counts.accesses);
    for (const { counts } of of("miss", true)) expect(counts.tlb_hits / counts.accesses).toBeLessThan(0.5);
    for (const { counts } of of("populate", true))
      expect(counts.faults_fixed).toBeGreaterThanOrEqual(counts.operations);
    for (const row of of("cycle", false)) expect(row.invalidations_per_s).toBeGreaterThan(0);
  });

  test("combines profiles, page sizes, zeroing and poison", async () => {
    const { code, out } = await guestmmu([
      ...[
        "bench",
        "--quick",
        "--json",
        "--question",
        "populate,cycle",
        "--vcpus",
        "2",
        "--invalidate",
        "max",
      ],
      ...[
        "--profile",
        "v5.4,v6.13",
        "--page-size",
        "4k,2m",
        "--zero",
        "on,off",
        "--poison",
        "--duration",
        "40ms",
      ],
      ...["--memory", "16m", "--span", "2"],
    ]);
    expect(code).toBe(0);
    const { rows } = json(out);
    expect(rows).toHaveLength(2 * 2 * 2 * 2);
    expect(rows.flatMap(({ problems }) => problems)).toEqual([]);
    for (const row of rows) expect(row.counts.huge_leaves > 0).toBe(row.config.pageSize > 4096);
  });

  test("runs every workload, on shared regions too, while invalidators run", async () => {
    const { code, out } = await guestmmu([
      ...[
        "bench",
        "--quick",
        "--json",
        "--question",
        "miss",
        "--vcpus",
        "2",
        "--invalidate",
        "10k",
        "--region",
        "shared",
      ],
      ...["--workload", "sequential,uniform,zipf,chase,shift", "--write-mix", "30", "--duration", "60ms"],
    ]);
    expect(code).toBe(0);
    const { rows } = json(out);
    expect(rows.map(({ config }) => config.workload)).toEqual([
      "sequential",
      "uniform",
      "zipf",
      "chase",
      "shift",
    ]);
    for (const row of rows)
      expect([row.config.workload, row.problems, row.counts.operations > 0]).toEqual([
        row.config.workload,
        [],
        true,
      ]);
  });

  test("waits or spins on an open invalidation", async () => {
    const { code, out } = await guestmmu([
      ...[
        "bench",
        "--quick",
        "--json",
        "--question",
        "cycle",
        "--vcpus",
        "1",
        "--invalidate",
        "max",
        "--span",
        "64",
      ],
      ...["--retry", "wait,spin"],
    ]);
    expect(code).toBe(0);
    const [wait, spin] = json(out).rows;
    expect(spin!.counts.retry_waits).toBe(0);
    expect(wait!.config.retry).toBe("wait");
  });

  test("that its reader leaves ends quietly", async () => {
    const { code, err } = await guestmmu(["bench", "--quick"], { closeAfter: 10 });
    expect(err).toBe("");
    expect(code).toBe(0);
  });
});

describe("--output", () => {
  /** A folder with nothing else in it. */
  const fresh = (): Promise<string> => mkdtemp(join(folder, "output-"));

  test("is written although the reader of standard output has left", async () => {
    const at = await fresh();
    const args = [
      "bench",
      "--quick",
      "--question",
      "hit,cycle",
      "--vcpus",
      "1",
      "--output",
      join(at, "o.json"),
    ];
    expect(await guestmmu(args, { closeAfter: 10 })).toMatchObject({ code: 0, err: "" });
    expect(json(await readFile(join(at, "o.json"), "utf8")).complete).toBe(true);
    expect(await readdir(at)).toEqual(["o.json"]);
  });

  test.each([[["--threshold", "2"]], [["--trace", "no/such/file"]], [["--memory", "4g", "--vcpus", "32"]]])(
    "leaves nothing behind where a run is refused: %j",
    async (args) => {
      const at = await fresh();
      expect((await guestmmu([...ONE_ROW, "--output", join(at, "o.json"), ...args])).code).toBe(2);
      expect(await readdir(at)).toEqual([]);
    },
  );

  test("keeps the mode of a file, and what a link leads to", async () => {
    const at = await fresh();
    await writeFile(join(at, "real.json"), "old");
    await chmod(join(at, "real.json"), 0o600);
    await symlink("real.json", join(at, "link.json"));
    expect((await guestmmu([...ONE_ROW, "--output", join(at, "link.json")])).code).toBe(0);
    expect(json(await readFile(join(at, "real.json"), "utf8")).rows).toHaveLength(1);
    expect((await stat(join(at, "real.json"))).mode & 0o777).toBe(0o600);
    expect(await readdir(at)).toEqual(["link.json", "real.json"]);
  });

  test.runIf(existsSync("/dev/full"))("to a full disk is an error in words", async () => {
    const { code, out, err } = await guestmmu([...ONE_ROW, "--output", "/dev/full"]);
    expect(err).toMatch(/^guestmmu: \/dev\/full cannot be written \(ENOSPC\)\.\n.*--output.*\n$/);
    expect(out).toMatch(/^cycle +1 /m);
    expect(code).toBe(2);
    expect((await stat("/dev/full")).isCharacterDevice()).toBe(true);
  });

  test("to a folder is refused", async () => {
    expect((await guestmmu([...ONE_ROW, "--output", folder])).err).toMatch(/cannot be written \(EISDIR\)/);
  });
});

describe.runIf(existsSync("/dev/full"))("standard output on a full disk", () => {
  const WORDS = /^guestmmu: Standard output cannot be written \(ENOSPC\)\.\n.*\n$/;

  test.each([[["--json"]], [[]]])("is an error in words: %j", async (args) => {
    expect(await guestmmu([...ONE_ROW, ...args], { stdout: "/dev/full" })).toMatchObject({
      code: 2,
      err: expect.stringMatching(WORDS) as string,
    });
  });

  test("is one even where --output has it all", async () => {
    const file = join(folder, "full.json");
    const { code, err } = await guestmmu([...ONE_ROW, "--output", file], { stdout: "/dev/full" });
    expect(err).toMatch(WORDS);
    expect(code).toBe(2);
    expect(json(await readFile(file, "utf8")).complete).toBe(true);
  });
});

test("a module that is missing is said before anything is printed", async () => {
  const copy = await mkdtemp(join(folder, "package-"));
  for (const part of ["dist", "package.json"]) await cp(part, join(copy, part), { recursive: true });
  await symlink(resolve("node_modules"), join(copy, "node_modules"));
  const main = join(copy, "dist/cli/main.js");
  const bench = await guestmmu(ONE_ROW, { main });
  expect(bench.out).toBe("");
  expect(bench.err).toMatch(/cannot be read from .*release\.wasm\.\n +Install the package again/);
  expect(bench.code).toBe(2);
  const doctor = await guestmmu(["doctor"], { main });
  expect(doctor.out).toMatch(
    /FAIL +release module [^]*Nothing runs without it\.\n +Install the package again/,
  );
  expect(doctor.code).toBe(2);
});

test("--samples 1 has no spread", async () => {
  const { out } = await guestmmu([...ONE_ROW, "--samples", "1"]);
  expect(out).toMatch(/in 1 sample, /);
  expect(out).toMatch(/^cycle +1 .*\/s +- /m);
});

describe("--trace", () => {
  test("faults a real process in on demand", async () => {
    const { code, out } = await guestmmu([
      "bench",
      "--quick",
      "--trace",
      "examples/ls.lackey",
      "--vcpus",
      "1,2",
    ]);
    expect(code).toBe(0);
    expect(out).toMatch(/trace examples\/ls\.lackey: 4001 lines, \d+ records on \d+ pages/);
    expect(out).toMatch(/distinct pages +guest faults +EPT faults +TLB hits/);
    expect(out).not.toMatch(/PROBLEM/);
  });

  test("has a guest fault for every page of every pass", async () => {
    const { out } = await guestmmu([
      ...["bench", "--quick", "--json", "--trace", "examples/ls.lackey", "--vcpus", "1", "--invalidate", "0"],
    ]);
    const { rows, trace } = json(out);
    const { counts } = rows[0]!;
    const passes = counts.operations / trace!.records.total;
    expect(passes).toBeGreaterThan(1);
    expect(counts.guest_faults / trace!.pages).toBeGreaterThan(passes - 1);
    expect(counts.faults).toBeGreaterThanOrEqual(counts.guest_faults);
  });

  test("says how many accesses could not be made", async () => {
    const file = join(folder, "vsyscall.lackey");
    await writeFile(file, "I  0401ab70,3\n L ffffffffff600000,8\n S 1fff000738,8\n");
    const { code, out } = await guestmmu([
      ...["bench", "--quick", "--trace", file, "--vcpus", "1", "--invalidate", "0"],
    ]);
    expect(code).toBe(0);
    expect(out).toMatch(/TLB hits +not made\n/);
    expect(out).toMatch(/^trace +1 +- .*% +[1-9]\S*\nAccesses not made drew a fault/m);
  });

  test("is compared with the same trace alone", async () => {
    const [one, two, kept] = ["one.lackey", "two.lackey", "trace.json"].map((name) => join(folder, name));
    await writeFile(one!, "I  0401ab70,3\n S 1fff000738,8\n");
    await writeFile(two!, "I  0401ab70,3\n S 1fff001738,8\n");
    const run = (file: string, ...rest: string[]): ReturnType<typeof guestmmu> =>
      guestmmu(["bench", "--quick", "--trace", file, "--vcpus", "1", "--invalidate", "0", ...rest]);
    expect((await run(one!, "--output", kept!)).code).toBe(0);
    const same = await run(one!, "--seed", "2", "--compare", kept!);
    expect(same.out).toMatch(/note: Another seed: 1 then, 2 now\./);
    expect(same.code).toBe(0);
    const other = await run(two!, "--compare", kept!);
    expect(other.err).toMatch(/driven by another trace/);
    expect(other.code).toBe(2);
  });

  test("stops at a malformed line, or leaves it out and names it", async () => {
    const file = join(folder, "bad.lackey");
    await writeFile(file, "I  0401ab70,3\n L zz,8\n S 1fff000738,8\n");
    const args = ["bench", "--quick", "--trace", file, "--vcpus", "1", "--invalidate", "0"];
    const strict = await guestmmu(args);
    expect(strict.code).toBe(2);
    expect(strict.err).toMatch(/bad\.lackey:2: expected a hexadecimal address/);
    const lenient = await guestmmu([...args, "--skip-malformed"]);
    expect(lenient.code).toBe(0);
    expect(lenient.out).toMatch(/1 malformed line left out:\n +.*bad\.lackey:2: /);
  });
});

describe("--compare", () => {
  test("gives ratios, and exit code 3 for what is shown to be below the threshold", async () => {
    const file = join(folder, "before.json");
    const first = await guestmmu([...ONE_ROW, "--output", file]);
    expect(first.code).toBe(0);
    const same = await guestmmu([...ONE_ROW, "--compare", file, "--threshold", "0.05"]);
    expect(same.out).toMatch(/threshold 0\.05: no row is shown to be below/);
    expect(same.code).toBe(0);
    // Before, everything was a hundred times as fast.
    const document = json(await readFile(file, "utf8"));
    const faster = document.rows.map((row) => {
      const samples = row.rate_per_s.samples.map((rate) => rate * 100);
      return { ...row, rate_per_s: { ...row.rate_per_s, samples, median: row.rate_per_s.median! * 100 } };
    });
    await writeFile(file, JSON.stringify({ ...document, rows: faster }));
    const slower = await guestmmu([...ONE_ROW, "--compare", file, "--threshold", "0.9"]);
    expect(slower.out).toMatch(/below 0\.9/);
    expect(slower.code).toBe(3);
    const asJson = await guestmmu([...ONE_ROW, "--json", "--compare", file, "--threshold", "0.9"]);
    expect(asJson.code).toBe(3);
    expect(json(asJson.out).comparison).toMatchObject({
      file,
      rows: [{ verdict: "slower", below_threshold: true }],
    });
    expect((await guestmmu([...ONE_ROW, "--compare", file])).code).toBe(0);
    const other = await guestmmu([...ONE_ROW, "--zero", "off", "--compare", file]);
    expect(other.err).toMatch(/no row that this run would measure/);
    expect(other.code).toBe(2);
  });

  test("has no opinion on what could not be compared: exit code 4", async () => {
    const file = join(folder, "few.json");
    expect((await guestmmu([...ONE_ROW, "--samples", "2", "--output", file])).code).toBe(0);
    const { code, out } = await guestmmu([...ONE_ROW, "--compare", file, "--threshold", "0.9"]);
    expect(out).toMatch(/^INCONCLUSIVE +threshold 0\.9: nothing can be said of 1 row/m);
    expect(code).toBe(4);
  });

  test("with a run that was interrupted in its only row is refused", async () => {
    const file = join(folder, "cut.json");
    await guestmmu([...ONE_ROW, "--duration", "30s", "--output", file], { interruptAfterMs: 1000 });
    const { code, err } = await guestmmu([...ONE_ROW, "--compare", file, "--threshold", "0.9"]);
    expect(err).toMatch(/was interrupted before it had a row/);
    expect(code).toBe(2);
  });
});

describe("Ctrl-C", () => {
  test("prints what was measured, marked as partial, and exits with 130", async () => {
    const args = [
      "bench",
      "--question",
      "cycle",
      "--invalidate",
      "max",
      "--duration",
      "20s",
      "--samples",
      "200",
    ];
    const { code, out, ms } = await guestmmu(args, { interruptAfterMs: 2000 });
    expect(code).toBe(130);
    expect(out).toMatch(/^cycle +1 .*partial$/m);
    expect(out).toMatch(/PARTIAL +interrupted/);
    expect(ms).toBeLessThan(15_000);
  });

  test("with --json gives a document that says so", async () => {
    const args = [...ONE_ROW, "--json", "--duration", "30s", "--samples", "300"];
    const { code, out } = await guestmmu(args, { interruptAfterMs: 1500 });
    expect(code).toBe(130);
    const document = json(out);
    expect(document.complete).toBe(false);
    expect(document.rows[0]).toMatchObject({ status: "partial", problems: [] });
    expect(document.rows[0]!.rate_per_s.samples.length).toBeGreaterThan(0);
  });
});
