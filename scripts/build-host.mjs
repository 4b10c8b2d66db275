// Builds src/ into dist/, from nothing, so that no file of an earlier layout stays behind; makes the command executable.
import { spawnSync } from "node:child_process";
import { chmod, rm } from "node:fs/promises";

await rm("dist", { recursive: true, force: true });
const tsc = new URL("../node_modules/typescript/bin/tsc", import.meta.url).pathname;
const { status } = spawnSync(process.execPath, [tsc, "-p", "tsconfig.build.json"], { stdio: "inherit" });
if (status !== 0) process.exit(1);
await chmod("dist/cli/main.js", 0o755);
