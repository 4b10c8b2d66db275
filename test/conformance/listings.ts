// The sample images and what the emulator and the guests' kernels said of them: in the corpus if it is at hand, else in the
// samples committed with the tests.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { decompress } from "fzstd";

const ROOT = new URL("../../", import.meta.url).pathname;
const CORPUS = `${process.env["GUESTMMU_CORPUS"] ?? `${ROOT}../shared`}/images`;
const SAMPLES = `${ROOT}test/data/images`;

/** True if the tests run over the whole corpus. */
export const whole = existsSync(`${CORPUS}/lin-kpti/truth.json`);
const FOLDER = whole ? CORPUS : SAMPLES;

/** Folders of images whose names begin so. */
export function imagesNamed(prefix: string): string[] {
  return readdirSync(FOLDER)
    .filter((name) => name.startsWith(prefix))
    .sort();
}

/** Path of a file of an image. */
export function pathOf(image: string, file: string): string {
  return `${FOLDER}/${image}/${file}`;
}

/** Whether a file is there: the samples are not complete. */
export function has(image: string, file: string): boolean {
  return existsSync(pathOf(image, file));
}

/** Content of a file that may be compressed: named without `.zst`. */
export function bytesOf(image: string, file: string): Uint8Array {
  const path = pathOf(image, file);
  return existsSync(path) ? readFileSync(path) : decompress(readFileSync(`${path}.zst`));
}

export function textOf(image: string, file: string): string {
  return Buffer.from(bytesOf(image, file)).toString("latin1");
}

export function jsonOf<T>(image: string, file: string): T {
  return JSON.parse(textOf(image, file)) as T;
}

/** What is used of `truth.json`. */
export interface Truth {
  readonly la57: boolean;
  readonly cpus: readonly { readonly CR3: string }[];
  readonly roots: readonly {
    readonly cr3: string;
    readonly rows: number;
    readonly user_rows: number;
    readonly kpti_user_half: boolean;
    readonly file_has: "all rows" | "user half";
  }[];
  readonly processes: readonly {
    readonly pid: number;
    readonly comm: string;
    readonly cr3: string;
    readonly pagemap_rows: number;
    readonly match: number;
    readonly prot_none: number;
    readonly differ: number;
  }[];
}

/** Lines of `info tlb` as `vaddr paddr flags`; whatever else the monitor printed is left out. */
export function tlbLines(text: string): string[] {
  return [...text.matchAll(/^([0-9a-f]{16}): ([0-9a-f]{16}) ([XGPDACTUW-]{9})/gm)].map(
    ([, vaddr, paddr, flags]) => `${vaddr} ${paddr} ${flags}`,
  );
}

/** Lines of `info mem`: `first-end length urw`. */
export function memLines(text: string): string[] {
  return [...text.matchAll(/^([0-9a-f]{16}-[0-9a-f]{16} [0-9a-f]{16} [u-]r[w-])/gm)].map(([, line]) => line!);
}

/** The files of a tar archive (ustar), by name. */
export function tarFiles(archive: Uint8Array): Map<string, string> {
  const files = new Map<string, string>();
  const field = (at: number, length: number): string =>
    Buffer.from(archive.subarray(at, at + length))
      .toString("latin1")
      .replace(/\0.*$/s, "");
  for (let at = 0; at + 512 <= archive.length && archive[at] !== 0;) {
    const size = parseInt(field(at + 124, 12), 8);
    const name = field(at, 100).replace(/^\.\//, "");
    files.set(name, Buffer.from(archive.subarray(at + 512, at + 512 + size)).toString("latin1"));
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}

/** The block `##SECTION name` of what a guest printed, line by line. */
export function sectionOf(guestSide: string, name: string): string[] {
  const begin = guestSide.indexOf(`##SECTION ${name}\n`);
  if (begin < 0) throw new Error(`The guest printed no section ${name}.`);
  const from = guestSide.indexOf("\n", begin) + 1;
  const end = guestSide.indexOf("##SECTION", from);
  return guestSide
    .slice(from, end < 0 ? undefined : end)
    .trimEnd()
    .split("\n");
}
