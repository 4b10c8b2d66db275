// Writes docs/conformance.md: runs the disputed vectors through the core, and formats the page as the repository has it.
// Needs the core in build/: npm run build:core && npm run docs:conformance
import { writeFile } from "node:fs/promises";
import { register } from "node:module";
import { format, resolveConfig } from "prettier";

register("./typescript-hooks.mjs", import.meta.url);
const { conformancePage } = await import("../test/conformance/disputed.ts");
const file = new URL("../docs/conformance.md", import.meta.url);
const options = await resolveConfig(file);
await writeFile(file, await format(conformancePage(), { ...options, parser: "markdown" }));
