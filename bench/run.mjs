#!/usr/bin/env node
// npm run bench [question...] [-- --quick --json --rounds N --seed N]
//
// The core beside native code and plain JavaScript: one question a lever, sides in turns, figures as ratios. Nothing is
// a test: the exit code is 1 only if two sides that did the same work did not come to the same result.
import { parseArgs } from "node:util";
import * as L from "../dist/core/layout.generated.js";
import { describeMachine, machineLine } from "../dist/measure/platform.js";
import { Native, compile, compilerFlags, compilerVersion } from "./native.mjs";
import { QUESTIONS } from "./questions/index.mjs";
import { printQuestion, printSummary } from "./report.mjs";

const HELP = `Usage: npm run bench [question...] [-- options]

Questions (all, if none is named):
${QUESTIONS.map(({ name, says }) => `  ${name.padEnd(15)} ${says}`).join("\n")}

Options:
  --quick      fewer rounds of less work: shows that it works, not what is true
  --rounds N   samples a side (default 15, quick 5)
  --seed N     of all random sequences (default 1)
  --json       one JSON object instead of the tables
  --help`;

function usage(message) {
  console.error(`bench: ${message}\n       npm run bench -- --help shows what there is.`);
  process.exit(2);
}

function parse() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        quick: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
        rounds: { type: "string" },
        seed: { type: "string", default: "1" },
      },
    });
    const rounds = values.rounds === undefined ? (values.quick ? 5 : 15) : Number(values.rounds);
    if (!(Number.isInteger(rounds) && rounds >= 1 && rounds <= 10_000))
      usage(`${values.rounds} rounds are not possible`);
    if (!/^[1-9]\d{0,18}$/.test(values.seed)) usage(`${values.seed} is not a seed: a whole number from 1`);
    const unknown = positionals.find((name) => !QUESTIONS.some((question) => question.name === name));
    if (unknown) usage(`there is no question ${unknown}`);
    return { ...values, rounds, seed: BigInt(values.seed), names: positionals };
  } catch (error) {
    return usage(error.message);
  }
}

/** What a question may use. Images and native processes that it opens are closed after it. */
class Context {
  #cleanups = [];
  constructor({ quick, rounds, seed }, compiler) {
    Object.assign(this, { quick, rounds, seed, compiler, twin: null });
  }
  later(cleanup) {
    this.#cleanups.push(cleanup);
  }
  /** Starts a native program, or returns null where there is no compiler. */
  native(name) {
    if (!this.compiler) return null;
    const process = new Native(compile(name, L));
    this.later(() => process.close());
    return process;
  }
  /** Gives the native twin the machine of an image; `region`: first gva and gpa of the guest kernel's region. */
  async load(image, region = { gva: 0n, gpa: 0n }) {
    this.later(() => image.remove());
    this.twin?.close();
    this.twin = this.native("twin");
    await this.twin?.ask("load", image.path, image.bytes, region.gva, region.gpa);
    return this.twin;
  }
  async close() {
    for (const cleanup of this.#cleanups.splice(0).reverse()) await cleanup();
    this.twin = null;
  }
}

async function main() {
  const options = parse();
  if (options.help) return console.log(HELP);
  const compiler = compilerVersion();
  const machine = describeMachine();
  const chosen = QUESTIONS.filter(({ name }) => options.names.length === 0 || options.names.includes(name));
  const results = [];
  if (!options.json) {
    console.log(machineLine(machine));
    console.log(
      compiler
        ? `C: ${compiler}, ${compilerFlags}`
        : "C: no compiler found; what is compared with C is left out",
    );
    console.log(`${options.rounds} rounds, sides in turns; seed ${options.seed}\n`);
  }
  const context = new Context(options, compiler);
  process.on("SIGINT", () => void context.close().finally(() => process.exit(130)));
  for (const question of chosen) {
    const rows = await question.run(context).finally(() => context.close());
    const result = { question: question.name, says: question.says, clock: question.clock, rows };
    results.push(result);
    if (!options.json) printQuestion(result);
  }
  const differ = results.flatMap(({ rows }) => rows).some(({ digest }) => digest === "differ");
  if (options.json) {
    const { rounds, seed, quick } = options;
    console.log(
      JSON.stringify(
        {
          format: "guestmmu-native-comparison",
          version: 1,
          machine,
          compiler,
          flags: compilerFlags,
          rounds,
          seed: Number(seed),
          quick,
          questions: results,
        },
        null,
        2,
      ),
    );
  } else printSummary(results);
  process.exitCode = differ ? 1 : 0;
}

await main();
