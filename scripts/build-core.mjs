// Builds the core: release, embed, lab and constants modules into build/, checks them, instruments release and lab for the
// explorer, and compares the generated TypeScript with the committed copy. `--write` renews that copy; `--fast` builds
// nothing but `release`, `--lab` nothing but `lab` and what the explorer needs of it.
import { fork } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";
import KeepWaitAlone from "./keep-wait-alone.mjs";
import { checkModule } from "./check-module.mjs";
import { generateConstants } from "./generate-constants.mjs";
import { FieldTable } from "./generate-fields.mjs";

/** The modules that browsers download stay small. */
const BYTES_MAX = { release: 128 * 1024, embed: 96 * 1024 };

const write = process.argv.includes("--write");
/** Build this one module alone, for a quick look; null: all, and the tables that are generated from them. */
const only = process.argv.includes("--fast") ? "release" : process.argv.includes("--lab") ? "lab" : null;

async function compile(entry, target, transforms = []) {
  const { error, stderr, stdout } = await asc.main([`assembly/${entry}.ts`, "--target", target], {
    transforms: [new KeepWaitAlone(), ...transforms],
  });
  const text = stdout.toString() + stderr.toString();
  if (text) process.stderr.write(text);
  if (error) process.exit(1);
}

/** Writes a generated file, or says that the committed one is not what it would be. */
async function keep(path, generated) {
  const committed = await readFile(path, "utf8").catch(() => "");
  if (write || committed === "") await writeFile(path, generated);
  else if (generated !== committed) {
    problems.push(`${path} is not what assembly/ says: run \`npm run build:core -- --write\` and commit it`);
  }
}

/**
 * Starts a process that will instrument module `name`, so that it loads what it needs while the module is compiled.
 * Returns what tells it that the module is there: resolves to what is wrong.
 */
function instrumenter(name) {
  const child = fork(fileURLToPath(new URL("instrument.mjs", import.meta.url)));
  const answer = new Promise((resolve) => {
    child.once("message", resolve);
    child.once("exit", (code) => resolve([`instrumenting ${name} ended with exit code ${code}`]));
  });
  return () => {
    child.send(name);
    return answer;
  };
}

/** Removes names and the address of the source map: needed to instrument a module, not to ship it. */
async function strip(path) {
  const bytes = await readFile(path);
  const kept = [bytes.subarray(0, 8)];
  for (let at = 8; at < bytes.length;) {
    const start = at;
    const id = bytes[at++];
    let size = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      size |= (byte & 0x7f) << shift;
      if ((byte & 0x80) === 0) break;
    }
    at += size;
    if (id !== 0) kept.push(bytes.subarray(start, at));
  }
  await writeFile(path, Buffer.concat(kept));
}

const LAB_IMPORTS = ["env.memory", "env.order", "env.choose", "env.note"];

await mkdir("build", { recursive: true });
const modules = [...(only === "lab" ? [] : ["release"]), ...(only === "release" ? [] : ["lab"])];
const instrumented = [];
for (const name of modules) {
  const instrument = only === "release" ? () => [] : instrumenter(name);
  await compile(name === "release" ? "index" : name, name);
  instrumented.push(instrument());
}
const problems = (await Promise.all(instrumented)).flat();
if (modules.includes("release")) {
  await strip("build/release.wasm");
  problems.push(
    ...(await checkModule("build/release.wasm", { imports: ["env.memory"], bytes: BYTES_MAX.release })),
  );
}
if (only === null) {
  await compile("embed", "embed");
  await strip("build/embed.wasm");
  const allowed = { imports: ["env.memory"], bytes: BYTES_MAX.embed, threads: false };
  problems.push(...(await checkModule("build/embed.wasm", allowed)));
}
if (modules.includes("lab"))
  problems.push(...(await checkModule("build/lab.wasm", { imports: LAB_IMPORTS })));
if (only === null) {
  const fields = new FieldTable();
  await compile("constants", "constants", [fields]);
  await keep("src/core/layout.generated.ts", await generateConstants("build/constants.wasm"));
  await keep("src/core/fields.generated.ts", fields.text());
}
for (const problem of problems) console.error(`build: ${problem}`);
process.exitCode = problems.length ? 1 : 0;
