// Writes docs/zoo.md: explores whatever shows a defect of the zoo (minutes), and formats the page as the repository has it.
// Needs the host in dist/: npm run build && npm run docs:zoo
import { writeFile } from "node:fs/promises";
import { format, resolveConfig } from "prettier";

const { zooPage } = await import("../dist/verify/zoo-page.js").catch((cause) => {
  throw new Error("dist/ is not there: run `npm run build` first.", { cause });
});
const file = new URL("../docs/zoo.md", import.meta.url);
const options = await resolveConfig(file);
await writeFile(file, await format(await zooPage(), { ...options, parser: "markdown" }));
