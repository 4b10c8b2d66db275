// Compiles a test module against the sources of the core, with the options of the release build.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ExploredModule, type ExploredSite } from "../src/explore/core.js";
import { type AccessKind } from "../src/explore/trace.js";

/** Compiles `entry` into a folder of its own and hands the path of the module, its source map beside it, to `use`. */
async function compiled<T>(entry: string, use: (path: string) => Promise<T>): Promise<T> {
  const asc = (await import("assemblyscript/asc")).default;
  const KeepWaitAlone = (await import("../scripts/keep-wait-alone.mjs")).default;
  const folder = await mkdtemp(join(tmpdir(), "guestmmu-test-"));
  try {
    const out = join(folder, "module.wasm");
    const { error, stderr } = await asc.main(
      [entry, "--target", "release", "--textFile", "", "--outFile", out, "--sourceMap", "module.wasm.map"],
      {
        transforms: [new KeepWaitAlone() as never],
      },
    );
    if (error) throw new Error(stderr.toString());
    return await use(out);
  } finally {
    await rm(folder, { recursive: true });
  }
}

export function compileTestModule(entry: string): Promise<WebAssembly.Module> {
  return compiled(entry, async (path) => new WebAssembly.Module(await readFile(path)));
}

/** The same, instrumented as the modules of the explorer are. */
export function compileExploredModule(entry: string): Promise<ExploredModule> {
  return compiled(entry, async (path) => {
    const { instrumentModule } = await import("../scripts/instrument.mjs");
    const map = await readFile(`${path}.map`, "utf8");
    const { problems, bytes, sites } = await instrumentModule(entry, await readFile(path), map);
    if (problems.length > 0) throw new Error(problems.join("\n"));
    return { build: "release", module: new WebAssembly.Module(bytes), sites: unpacked(sites), hash: "test" };
  });
}

type Row = readonly [
  kind: number,
  atomic: number,
  size: number,
  offset: number,
  file: number,
  line: number,
  name: number,
];

function unpacked(table: object): ExploredSite[] {
  const { strings, rows } = table as { strings: readonly string[]; rows: readonly Row[] };
  return rows.map(([kind, atomic, size, offset, file, line, name]) => ({
    kind: strings[kind] as AccessKind,
    atomic: atomic === 1,
    size,
    offset,
    file: strings[file]!,
    line,
    function: strings[name]!,
  }));
}
