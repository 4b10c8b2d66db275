// Runs tests of the core on the instrumented modules: what the explorer runs has to be the core, not something like it.
// The calls of the explorer are replaced by functions that do nothing but what the access itself did, so that the
// modules can be used in place of the plain ones. `node scripts/test-instrumented.mjs [what vitest is to run]`
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import binaryen from "binaryen";

/** Name that the memory has once names are gone. */
const MEMORY = "mimport$0";

/** Nanoseconds of one wait, as in assembly/sync/wait.ts. */
const SLICE_NS = 2_000_000n;

/** What stands for each call of the explorer. */
const BODIES = {
  access: (m) => m.local.get(0, binaryen.i32),
  copy: (m) => m.nop(),
  fill: (m) => m.nop(),
  wait: (m) =>
    m.memory.atomic.wait32(
      m.local.get(0, binaryen.i32),
      m.local.get(1, binaryen.i32),
      m.i64.const(SLICE_NS),
      MEMORY,
    ),
  notify: (m) => m.memory.atomic.notify(m.local.get(0, binaryen.i32), m.local.get(1, binaryen.i32), MEMORY),
};

/** Tests of the core itself, which no thread runs: everything below the classes of src/machine, which load a module of their own. */
const SINGLE_THREADED = [
  ...["host", "x86", "guest", "kvm", "drive"].flatMap((part) => [
    `test/unit/${part}-`,
    `test/property/${part}-`,
  ]),
  // A call before each access makes 32,768 memslots slow.
  "--testTimeout=240000",
];

/** The instrumented module with functions of its own in place of the explorer's. */
function selfContained(bytes) {
  const module = binaryen.readBinary(bytes);
  module.setFeatures(binaryen.Features.All);
  const imports = [];
  for (let i = 0; i < module.getNumFunctions(); i++) {
    const info = binaryen.getFunctionInfo(module.getFunctionByIndex(i));
    if (info.module === "explore") imports.push(info);
  }
  if (imports.length !== Object.keys(BODIES).length)
    throw new Error(`the module imports ${imports.length} functions of the explorer`);
  for (const { name, base, params, results } of imports) {
    module.removeFunction(name);
    module.addFunction(name, params, results, [], BODIES[base](module));
  }
  if (!module.validate()) throw new Error("the module is not valid");
  const made = module.emitBinary();
  module.dispose();
  return made;
}

const folder = mkdtempSync(join(tmpdir(), "guestmmu-instrumented-"));
try {
  const env = { ...process.env };
  for (const [build, variable] of [
    ["release", "GUESTMMU_CORE"],
    ["lab", "GUESTMMU_LAB"],
  ]) {
    env[variable] = join(folder, `${build}.wasm`);
    writeFileSync(env[variable], selfContained(readFileSync(`build/${build}-explore.wasm`)));
  }
  const what = process.argv.slice(2);
  const { status } = spawnSync("npx", ["vitest", "run", ...(what.length ? what : SINGLE_THREADED)], {
    env,
    stdio: "inherit",
  });
  process.exitCode = status ?? 1;
} finally {
  rmSync(folder, { recursive: true });
}
