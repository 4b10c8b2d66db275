// The repository checks itself: what is generated is current, and no table has rows that nothing uses.
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import * as layout from "../../src/core/layout.generated.js";
import { abiPage } from "../../scripts/generate-abi.mjs";

/** Text of every source file of the core, by path. */
async function core(): Promise<Map<string, string>> {
  const files = await readdir("assembly", { recursive: true });
  const sources = files.filter((file) => file.endsWith(".ts"));
  return new Map(
    await Promise.all(
      sources.map(async (file) => [file, await readFile(join("assembly", file), "utf8")] as const),
    ),
  );
}

test("docs/abi.md is what assembly/abi says, and every export is documented", async () => {
  const { page, undocumented } = (await abiPage()) as { page: string; undocumented: string[] };
  expect(undocumented).toEqual([]);
  expect(await readFile("docs/abi.md", "utf8")).toBe(page);
});

test("every rule, profile switch and trap is asked for in the core", async () => {
  const text = [...(await core()).values()].join("\n");
  const unused = (name: string, members: object) =>
    Object.keys(members).filter((member) => !text.includes(`${name}.${member}`));
  expect(unused("Rule", layout.Rule)).toEqual([]);
  expect(unused("Switch", layout.Switch)).toEqual([]);
  expect(unused("Trap", layout.Trap)).toEqual(["None"]);
});

test("rule numbers are 1 to RULE_COUNT, each once", () => {
  const numbers = Object.values(layout.Rule).sort((a, b) => a - b);
  expect(numbers).toEqual(Array.from({ length: layout.RULE_COUNT }, (_, i) => i + 1));
});

test("outside of sync, no word is accessed by a bare atomic, and atomic.wait occurs once", async () => {
  const files = await core();
  const bare = [...files].filter(
    ([file, text]) =>
      !/^(sync\/|trap\.ts)/.test(file) && /\batomic\./.test(text.replace(/\/\/.*|\/\*[^]*?\*\//g, "")),
  );
  expect(bare.map(([file]) => file)).toEqual([]);
  const waits = [...files].filter(([, text]) => /atomic\.wait</.test(text));
  expect(waits.map(([file]) => file)).toEqual(["sync/wait.ts"]);
});

test("no function but the set-up of a workload divides 64-bit numbers", async () => {
  const text = await readFile("build/release.wat", "utf8");
  const dividing = text.split(/^ \(func /m).filter((body) => /i64\.(div|rem)_[su]/.test(body));
  expect(dividing.map((body) => body.slice(0, body.indexOf(" ")))).toEqual([
    "$assembly/abi/drive/driveWorkload",
  ]);
});

test("no function calls through a table", async () => {
  expect(await readFile("build/release.wat", "utf8")).not.toContain("call_indirect");
});

test("docs/paging.md names tests that exist", async () => {
  const page = await readFile("docs/paging.md", "utf8");
  const named = [...page.matchAll(/`(test\/[\w./-]+\.test\.ts)`/g)].map(([, path]) => path!);
  expect(named.length).toBeGreaterThan(15);
  const missing: string[] = [];
  for (const path of named) if (!(await readFile(path, "utf8").catch(() => ""))) missing.push(path);
  expect(missing).toEqual([]);
});
