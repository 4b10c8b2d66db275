// Fuzzes the readers of memory images: npm run fuzz:images -- [--runs N] [--seed N]
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { runs: { type: "string" }, seed: { type: "string" } } });
const { runs = "100000", seed } = values;
if (![runs, seed ?? "0"].every((value) => /^-?\d+$/.test(value)) || Number(runs) < 1) {
  console.error("--runs and --seed take a whole number, and there is at least one run.");
  process.exit(2);
}
const vitest = new URL("../node_modules/vitest/vitest.mjs", import.meta.url).pathname;
const { status } = spawnSync(process.execPath, [vitest, "run", "test/property/images-fuzz.test.ts"], {
  cwd: new URL("..", import.meta.url).pathname,
  stdio: "inherit",
  env: {
    ...process.env,
    GUESTMMU_FUZZ_RUNS: runs,
    ...(seed === undefined ? {} : { GUESTMMU_FUZZ_SEED: seed }),
  },
});
process.exit(status ?? 1);
