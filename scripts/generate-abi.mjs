// Prints docs/abi.md from the exports of assembly/abi: one table a group, each export with its signature and the first
// paragraph of its comment. `npm run docs` renews the page; test/unit/repository.test.ts compares.
import { readFile, readdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const root = new URL("..", import.meta.url);
const ORDER = ["machine", "kvm", "vcpu", "users", "host", "maps", "cpu", "case", "drive", "lab"];

const INTRODUCTION = `# The ABI of the modules

Generated from \`assembly/abi\` by \`npm run docs\`. For those who link the module themselves; the library wraps all of it.

- The module imports \`env.memory\`, a shared \`WebAssembly.Memory\`; the lab module also \`env.order(i32)\`,
  \`env.choose(i32): i32\` and \`env.note(i32, i64, i64)\`.
- To make a machine: memory that is zero, the configuration words of the header (\`src/core/layout.generated.ts\`,
  \`HEADER_OFFSET_*\`), \`plan()\` for the bytes it needs, \`memory.grow\` to that, \`create()\`. Every other thread instantiates
  the module on the same memory and calls \`attach()\` once.
- Who acts is the first argument: the index of a vCPU (0 to \`vcpuCount\` - 1) or of a host thread (from \`vcpuCount\` on). One
  thread at a time may act as one actor.
- u32 results arrive signed in JavaScript (\`>>> 0\`), u64 as signed BigInt (\`BigInt.asUintN(64, x)\`).
- Arguments are not checked here: sizes are 1, 2, 4 or 8, indices in range, addresses aligned where it says so.
- A broken invariant ends in a trap: the header then has its code, actor and argument (\`HEADER_TRAP_*\`), and the host must set
  \`HEADER_ABORT\` so that whoever waits for the trapped actor ends too.
- \`ABI_VERSION\` rises when the layout, a signature or a meaning changes; \`attach\` refuses another version's machine.
`;

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
