// Fills the marked places of README.md with what the commands print: the table of claims, and one counterexample.
// Needs the host in dist/: npm run build && npm run docs:claims
import { spawnSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";

const main = new URL("../dist/cli/main.js", import.meta.url).pathname;
const readme = new URL("../README.md", import.meta.url);

/** What the command prints, as it would be on a wide terminal without colours. */
function printed(...args) {
  const { stdout, stderr, status } = spawnSync(process.execPath, [main, ...args], { encoding: "utf8" });
  if (status !== 0 && status !== 1)
    throw new Error(`guestmmu ${args.join(" ")} ended with ${status}: ${stderr}`);
  return { text: stdout.trimEnd(), status };
}

function fill(text, name, console) {
  const place = new RegExp(`(<!-- ${name} -->\n\n)[^]*?(\n\n<!-- ${name} end -->)`);
  if (!place.test(text)) throw new Error(`README.md has no place for ${name}.`);
  return text.replace(place, (_, begin, end) => `${begin}\`\`\`console\n${console}\n\`\`\`${end}`);
}

const claims = printed("claims");
if (claims.status !== 0) throw new Error(`A verdict is not the expected one:\n${claims.text}`);
const [table] = claims.text.split("\n\nWhat the rows show\n");
const sum = /^\d+ of \d+ verdicts.*$/m.exec(claims.text)[0];
const race = printed("explore", "fault-vs-dontneed", "--without", "RetryUnderLock").text;
const counterexample = race.slice(race.lastIndexOf("\nVIOLATED ") + 1);

let text = await readFile(readme, "utf8");
text = fill(text, "claims", `$ guestmmu claims\n${table}\n\n${sum}`);
text = fill(
  text,
  "race",
  `$ guestmmu explore fault-vs-dontneed --without RetryUnderLock\n...\n${counterexample}`,
);
await writeFile(readme, text);
