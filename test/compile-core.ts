// Compiles a test module against the sources of the core, with the options of the release build.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export async function compileTestModule(entry: string): Promise<WebAssembly.Module> {
  const asc = (await import("assemblyscript/asc")).default;
  const KeepWaitAlone = (await import("../scripts/keep-wait-alone.mjs")).default;
  const folder = await mkdtemp(join(tmpdir(), "guestmmu-test-"));
  try {
    const out = join(folder, "module.wasm");
    const { error, stderr } = await asc.main(
      [entry, "--target", "release", "--textFile", "", "--outFile", out],
      {
        transforms: [new KeepWaitAlone() as never],
      },
    );
    if (error) throw new Error(stderr.toString());
    return new WebAssembly.Module(await readFile(out));
  } finally {
    await rm(folder, { recursive: true });
  }
}
