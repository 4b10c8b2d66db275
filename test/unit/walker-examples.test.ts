// examples/walk-raw.mjs as a user runs it, and every example of docs/walker.md as it stands there.
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Pages, PTE_P, PTE_PS, PTE_RW, PTE_US, PTE_XD } from "./walker-fixture.js";

const run = promisify(execFile);
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "guestmmu-walk-"));
});
afterAll(() => rm(folder, { recursive: true }));

describe("examples/walk-raw.mjs", () => {
  test("lists a root, shows a walk, and says why an access faults", async () => {
    const memory = new Pages();
    let table = 0x1000n;
    const next = (): bigint => (table += 0x1000n);
    memory.map(0x1000n, 0x40_0000n, 0x9000n | PTE_P | PTE_US, { next });
    memory.map(0x1000n, 0x40_1000n, 0xa000n | PTE_P | PTE_US, { next });
    memory.map(0x1000n, 0xffff_8880_0000_0000n, PTE_P | PTE_RW | PTE_PS | PTE_XD, { level: 2, next });
    const bytes = new Uint8Array(0x8000);
    for (const [pfn, page] of memory.pages) bytes.set(new Uint8Array(page.buffer), pfn * 4096);
    const file = join(folder, "memory.raw");
    await writeFile(file, bytes);
    const script = (...args: string[]) =>
      run(process.execPath, ["examples/walk-raw.mjs", file, "0x1000", ...args]);
    expect((await script()).stdout.trim().split("\n")).toEqual([
      "0x400000 0x2000 ur-x",
      "0xffff888000000000 0x200000 -rw-",
    ]);
    const { stdout } = await script("0x401234");
    expect(stdout.trim().split("\n")).toEqual([
      "level 4  table 0x1000  entry 0: 0x2007  P RW US",
      "level 3  table 0x2000  entry 0: 0x3007  P RW US",
      "level 2  table 0x3000  entry 2: 0x4007  P RW US",
      "level 1  table 0x4000  entry 1: 0xa005  P US",
      "physical address 0xa234",
    ]);
    expect((await script("0x500000")).stdout).toMatch(/#PF at gva 0x500000, error code 0x0$/m);
  });
});

describe("docs/walker.md", () => {
  test("every example prints what stands below it", async () => {
    const text = await readFile("docs/walker.md", "utf8");
    const examples = [...text.matchAll(/```js\n([^]*?)```\n\n```text\n([^]*?)```/g)];
    expect(examples.length).toBe([...text.matchAll(/^```js$/gm)].length);
    expect(examples.length).toBeGreaterThan(4);
    for (const [, code, printed] of examples) {
      const { stdout } = await run(process.execPath, ["--input-type=module", "-e", code!]);
      expect(stdout).toBe(printed);
    }
  });
});

test("examples/link.mjs links the module by hand", async () => {
  const { stdout } = await run(process.execPath, ["examples/link.mjs"]);
  expect(stdout.replace(/version \d+, \d+ bytes/, "version")).toBe(
    "ABI version\n0x201234\n#PF, error code 2\n4 translated, the last to 0x203000\n",
  );
});
