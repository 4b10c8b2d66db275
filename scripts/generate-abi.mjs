// Prints docs/abi.md from the exports of assembly/abi: one table a group, each export with its signature and the first
// paragraph of its comment. `npm run docs` renews the page; test/unit/repository.test.ts compares.
import { readFile, readdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const root = new URL("..", import.meta.url);
const ORDER = ["machine", "kvm", "vcpu", "users", "host", "maps", "cpu", "walk", "case", "drive", "lab"];

const INTRODUCTION = `# The ABI of the modules

Generated from \`assembly/abi\` by \`npm run docs\`. For those who link the module themselves; the library wraps all of it.

- \`release.wasm\` and \`lab.wasm\` import \`env.memory\`, a shared \`WebAssembly.Memory\`; the lab module also \`env.order(i32)\`,
  \`env.choose(i32): i32\` and \`env.note(i32, i64, i64)\`. \`embed.wasm\` imports \`env.memory\`, which is not shared, and
  exports the global \`UNSHARED_MEMORY\`, so that a host can tell before it makes a memory.
- To make a machine: memory that is zero, the configuration words of the header (\`src/core/layout.generated.ts\`,
  \`HEADER_OFFSET_*\`), \`plan()\` for the bytes it needs, \`memory.grow\` to that, \`create()\`. Every other thread instantiates
  the module on the same memory and calls \`attach()\` once.
- Who acts is the first argument: the index of a vCPU (0 to \`vcpuCount\` - 1) or of a host thread (from \`vcpuCount\` on). One
  thread at a time may act as one actor.
- u32 results arrive signed in JavaScript (\`>>> 0\`), u64 as signed BigInt (\`BigInt.asUintN(64, x)\`).
- Arguments are not checked here: sizes are 1, 2, 4 or 8, indices in range, addresses aligned where it says so.
- A broken invariant ends in a trap: the header then has its code, actor and argument (\`HEADER_TRAP_*\`), and the host must set
  \`HEADER_ABORT\` so that whoever waits for the trapped actor ends too.
- \`ABI_VERSION\` is ABI_VERSION_NUMBER. It rises when the layout, a signature or a meaning changes; \`attach\` refuses another
  version's machine, and the word at \`HEADER_OFFSET_ABI_VERSION\` says which one made it.

## The embed module

\`build/embed.wasm\` (\`guestmmu/wasm/embed.wasm\`) is the same core for one thread. It has no atomic instruction and asks for no
threads: any engine with WebAssembly 2.0 runs it. What would have to wait for another thread traps (\`WouldWait\`); a walk
never waits. Like the others it has no data segment, no table, no start function and no mutable state but the bases of regions,
which \`create\` or \`attach\` sets: everything else lies in the memory that the host gives it.

**Memory ownership.** The machine has the bytes from 0 to what \`plan()\` returned; the first 4 KiB of them are never touched.
Behind that the memory is the host's own. Regions begin where the words \`HEADER_OFFSET_*_BASE\` say. The host writes to
the header before \`plan\`, to the batch buffer of an actor and to pages that \`windowPut\` has returned, all between two
calls; what it reads elsewhere it leaves as it is. An address that \`windowPut\` has returned is good until the next \`windowPut\`
or \`windowClear\`.

**Calling sequence** of a walker over memory that is somewhere else:

1. memory that is zero; header words: \`FRAME_COUNT\` 16, \`VCPU_COUNT\`, \`HOST_COUNT\`, \`SLOT_MAX\`, \`VMA_MAX\` and the three
   sizes of the TLB 1, \`BATCH_SIZE\` (a multiple of 4096), \`WINDOW_COUNT\` (256 or more, so that one walk always fits),
   \`TABLE_CACHE_ENTRIES\` (a power of two, or 0), \`MAXPHYADDR\`, \`OPTIONS\`, \`BUILD\`; \`plan\`, grow, \`create\`;
2. \`cpuReset(0)\`, then \`registerWrite\` of CR3, EFER, CR4 and CR0 in this order, and of what else there is. \`RegisterWrite.Ok\`, or
   the register is what it was;
3. \`translateInWindows(0, gva, access, 0)\`. \`Outcome.Missing\`: the page of \`WALK_PA\` is wanted. Copy it to where
   \`windowPut(pa)\` says and call again; if there is none, that is the answer. Anything else is final, and the actor's
   \`Walk\` (\`WALK_*\`, in its block at \`ACTORS_BASE\`) has addresses, error and steps;
4. many at a time: addresses in the batch buffer (\`BATCHES_BASE\`), \`translateTablesBatch\`; a list of everything: \`scanStart\`, then
   \`scanNext\` until it says \`Done\` (layout in \`assembly/layout/scan.ts\`);
5. \`windowClear\` after the tables have changed. A write of CR0, CR3, CR4, EFER or of a nested register empties the table cache.

An example that does this with nothing but the module is [examples/link.mjs](../examples/link.mjs).
`.replace("ABI_VERSION_NUMBER", await abiVersion());

/** The version, from where it is written. */
async function abiVersion() {
  const header = await readFile(new URL("assembly/layout/header.ts", root), "utf8");
  return /ABI_VERSION: u32 = (\d+)/.exec(header)[1];
}

/** Exports of one file: name, signature, comment. */
function exportsOf(source) {
  const found = [];
  const pattern = /(\/\*\*(?:(?!\*\/)[^])*\*\/\n)?export (function|enum|const) (\w+)([^]*?)(?: \{|;)\n/g;
  for (const [, comment = "", kind, name, rest] of source.matchAll(pattern)) {
    if (kind !== "function") continue;
    const text = comment
      .replace(/^\/\*\*|\*\/$/gm, "")
      .split("\n")
      .map((line) => line.replace(/^\s*\*? ?/, "").trim())
      .filter(Boolean)
      .join(" ");
    const signature = rest.replace(/\s+/g, " ").replace(/\( /, "(").replace(/,? \)/, ")").trim();
    found.push({ name, signature, text });
  }
  return found;
}

/** The page, and the exports that have no comment. */
export async function abiPage() {
  const folder = new URL("assembly/abi/", root);
  const groups = (await readdir(folder)).map((file) => file.replace(/\.ts$/, ""));
  groups.sort((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b));
  const undocumented = [];
  let page = INTRODUCTION;
  for (const group of groups) {
    const source = await readFile(new URL(`${group}.ts`, folder), "utf8");
    const opening = /^((?:\/\/.*\n)+)/.exec(source)?.[1] ?? "";
    page += `\n## ${group}\n\n${opening.replace(/^\/\/ ?/gm, "")}\n| export | does |\n| --- | --- |\n`;
    for (const { name, signature, text } of exportsOf(source)) {
      if (!text) undocumented.push(name);
      page += `| \`${name}${signature}\` | ${text.replaceAll("|", "\\|")} |\n`;
    }
  }
  return { page, undocumented };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { page } = await abiPage();
  await writeFile(new URL("docs/abi.md", root), page);
}
