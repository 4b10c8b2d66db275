// Builds src/ into dist/, from nothing, so that no file of an earlier layout stays behind; puts the embed module into
// guestmmu/inline; makes the command executable.
import { spawnSync } from "node:child_process";
import { chmod, readFile, rm, writeFile } from "node:fs/promises";

await rm("dist", { recursive: true, force: true });
const tsc = new URL("../node_modules/typescript/bin/tsc", import.meta.url).pathname;
const { status } = spawnSync(process.execPath, [tsc, "-p", "tsconfig.build.json"], { stdio: "inherit" });
if (status !== 0) process.exit(1);
const inline = "dist/inline/base64.js";
const script = await readFile(inline, "utf8");
const embed = (await readFile("build/embed.wasm")).toString("base64");
const filled = script.replace('EMBED_BASE64 = ""', `EMBED_BASE64 = "${embed}"`);
if (filled === script) throw new Error(`${inline} has no place for the module`);
await writeFile(inline, filled);
await chmod("dist/cli/main.js", 0o755);
