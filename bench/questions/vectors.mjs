// How long do all vectors take, in one process: read, unpacked, parsed, run, and every field compared?
import { register } from "node:module";
import { limitRow } from "../turns.mjs";

/** @returns {Promise<{seconds: number, lines: number, differ: number}>} */
async function runFile(file, { CaseRunner, agrees, casesOf }) {
  const begin = performance.now();
  let lines = 0;
  let differ = 0;
  new CaseRunner(file.model).run(casesOf(file), (c, answer) => {
    lines = c.origin.number;
    if (!agrees(c, answer)) differ++;
  });
  return { seconds: (performance.now() - begin) / 1000, lines, differ };
}

export const vectors = {
  name: "vectors",
  says: "all vectors that an emulator confirms, from the compressed files to the last comparison, in one process",
  clock: "wall",
  async run() {
    register("../../scripts/typescript-hooks.mjs", import.meta.url);
    const [{ CaseRunner, agrees }, { CONFIRMED, casesOf }, { whole }] = await Promise.all([
      import("../../test/conformance/case.ts"),
      import("../../test/conformance/files.ts"),
      import("../../test/conformance/corpus.ts"),
    ]);
    // The sample says nothing of the time that the corpus takes.
    if (!whole) return [];
    const rows = [];
    const total = { seconds: 0, lines: 0, differ: 0 };
    const before = process.cpuUsage();
    for (const file of CONFIRMED) {
      const { seconds, lines, differ } = await runFile(file, { CaseRunner, agrees, casesOf });
      total.seconds += seconds;
      total.lines += lines;
      total.differ += differ;
      const counts = { lines, differ };
      rows.push(limitRow({ case: file.name, unit: "s", values: [seconds], reads: "seconds", counts }));
    }
    rows.push(
      limitRow({
        case: "all files",
        unit: "s",
        values: [total.seconds],
        reads: "seconds",
        target: { atMost: 10 },
        counts: { lines: total.lines, differ: total.differ },
      }),
    );
    // What it takes of a processor that others use as well.
    const { user, system } = process.cpuUsage(before);
    const values = [(user + system) / 1e6];
    rows.push(limitRow({ case: "all, of a processor", unit: "s", values, reads: "seconds" }));
    return rows;
  },
};
