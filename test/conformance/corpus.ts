// Where the vectors are: the whole corpus if it is at hand, else the sample committed with the tests.
import { existsSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

const ROOT = new URL("../../", import.meta.url).pathname;
const CORPUS = `${process.env["GUESTMMU_CORPUS"] ?? `${ROOT}../shared`}/vectors`;
const SAMPLE = `${ROOT}test/data/vectors-sample.txt.gz`;

/** True if the tests run over the whole corpus. */
export const whole = existsSync(`${CORPUS}/paging-4level.txt.gz`);

let sample: Map<string, string[]> | undefined;

function unpack(path: string): string[] {
  return gunzipSync(readFileSync(path)).toString("ascii").trimEnd().split("\n");
}

/** The sample is lines of all files, each after the name of its file: of disputed ones every line. */
function sampleOf(file: string): string[] {
  if (!sample) {
    sample = new Map();
    for (const line of unpack(SAMPLE)) {
      const space = line.indexOf(" ");
      const lines = sample.get(line.slice(0, space)) ?? [];
      lines.push(line.slice(space + 1));
      sample.set(line.slice(0, space), lines);
    }
  }
  return sample.get(file) ?? [];
}

/** Lines of a file of vectors, named without its extension. */
export function vectors(file: string): string[] {
  return whole ? unpack(`${CORPUS}/${file}.txt.gz`) : sampleOf(file);
}
