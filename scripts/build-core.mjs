// Builds the core: release, lab and constants modules into build/, checks them, and compares the generated
// TypeScript with the committed copy. `--write` renews that copy; `--fast` leaves out everything but `release`.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import asc from "assemblyscript/asc";
import KeepWaitAlone from "./keep-wait-alone.mjs";
import { checkModule } from "./check-module.mjs";
import { generateConstants } from "./generate-constants.mjs";

const GENERATED = "src/core/layout.generated.ts";
const write = process.argv.includes("--write");
const fast = process.argv.includes("--fast");

async function compile(entry, target) {
  const { error, stderr, stdout } = await asc.main([`assembly/${entry}.ts`, "--target", target], {
    transforms: [new KeepWaitAlone()],
  });
  const text = stdout.toString() + stderr.toString();
  if (text) process.stderr.write(text);
  if (error) process.exit(1);
}

await mkdir("build", { recursive: true });
await compile("index", "release");
const problems = await checkModule("build/release.wasm", { imports: ["env.memory"], bytes: 128 * 1024 });
if (!fast) {
  await compile("lab", "lab");
  problems.push(
    ...(await checkModule("build/lab.wasm", {
      imports: ["env.memory", "env.order", "env.choose", "env.note"],
    })),
  );
  await compile("constants", "constants");
  const generated = await generateConstants("build/constants.wasm");
  const committed = await readFile(GENERATED, "utf8").catch(() => "");
  if (write || committed === "") await writeFile(GENERATED, generated);
  else if (generated !== committed) {
    problems.push(
      `${GENERATED} is not what assembly/ says: run \`npm run build:core -- --write\` and commit it`,
    );
  }
}
for (const problem of problems) console.error(`build: ${problem}`);
process.exitCode = problems.length ? 1 : 0;
