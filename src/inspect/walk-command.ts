/** `guestmmu walk`. */

import { statSync, writeFileSync } from "node:fs";
import { usageError } from "../errors.js";
import { hex, parseAddress } from "./address-text.js";
import { parseOne, parseTarget, withImage, type TargetCommandOptions } from "./command-options.js";
import { rootInWords } from "./target-text.js";
import { targetOf } from "./target.js";
import { contextOf, walkJson, walkText, type WalkAccessKind, type WalkReport } from "./walk.js";
import { withWalker } from "./walking.js";

/** Options as they are typed. */
export interface WalkCommandOptions extends TargetCommandOptions {
  readonly access?: string;
  readonly cpl?: string;
  readonly html?: string;
  readonly json?: boolean;
}

const ACCESSES: Readonly<Record<string, WalkAccessKind>> = {
  r: "read",
  read: "read",
  w: "write",
  write: "write",
  x: "fetch",
  fetch: "fetch",
  rw: "modify",
};

function parseAccess(text: string): WalkAccessKind {
  if (Object.hasOwn(ACCESSES, text)) return ACCESSES[text]!;
  throw usageError(
    `--access: cannot use "${text.slice(0, 60)}".`,
    "--access takes r (read), w (write), x (instruction fetch) or rw (read-modify-write).",
  );
}

/** What the command prints. Errors: `USAGE`, and those of `openImage` and `targetOf`. */
export async function runWalkCommand(
  path: string,
  gvaText: string,
  options: WalkCommandOptions,
): Promise<string> {
  const gva = parseAddress("GVA", gvaText, "virtual");
  const access = parseAccess(options.access ?? "r");
  // The upper half is the kernel's: an access that is meant to succeed is the kernel's there, and the user's below.
  const cpl = options.cpl === undefined ? (gva >> 63n === 0n ? 3 : 0) : parseOne("--cpl", options.cpl, 0, 3);
  const wanted = parseTarget(options);
  if (options.html !== undefined) refusePage(options.html, path);
  return withImage(path, async (image) => {
    const target = targetOf(image, wanted);
    const translation = withWalker(image, target, (walker) => walker.walk(gva, { access, cpl }));
    const report: WalkReport = { image: image.name, target, gva, access, cpl, translation };
    const printed = options.json ? walkJson(report) : walkText(report);
    if (options.html === undefined) return printed;
    const { walkPage } = await import("../report/walk-page.js");
    const page = walkPage(translation, contextOf(report), {
      title: `${path}: ${rootInWords(target)}`,
      repeat: repeatOf(path, report, options),
    });
    writePage(options.html, page);
    return options.json ? printed : `${printed}written: ${options.html}\n`;
  });
}

/** The command that makes this walk again, for the page. */
function repeatOf(path: string, { gva, access, cpl }: WalkReport, options: WalkCommandOptions): string {
  const letters = { read: "r", write: "w", fetch: "x", modify: "rw" } as const;
  const words = [
    "guestmmu",
    "walk",
    quoted(path),
    hex(gva),
    "--access",
    letters[access],
    "--cpl",
    String(cpl),
  ];
  for (const name of ["cr3", "cpu", "levels", "efer", "maxphyaddr", "pkru", "ncr3", "eptp"] as const)
    if (options[name] !== undefined) words.push(`--${name}`, quoted(options[name]));
  if (options.nested) words.push("--nested");
  return words.join(" ");
}

/** A word as a shell takes it. */
function quoted(word: string): string {
  return /^[\w./:=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** Errors: `USAGE` for a page that would overwrite the image, under whatever name, and for `-`, which would be a file. */
function refusePage(page: string, image: string): void {
  if (page === "-")
    throw usageError(
      "--html: - is not a file, and standard output has the walk as text.",
      "Name a file, such as walk.html.",
    );
  const [a, b] = [fileAt(page), fileAt(image)];
  if (a !== null && b !== null && a.dev === b.dev && a.ino === b.ino)
    throw usageError(
      `--html: ${page} is the image itself (${image}), which the page would overwrite.`,
      "Name another file, such as walk.html.",
    );
}

/** The file that a path leads to; null for none: whether it can be used is found out when it is opened. */
function fileAt(path: string): { readonly dev: bigint; readonly ino: bigint } | null {
  try {
    return statSync(path, { bigint: true });
  } catch {
    return null;
  }
}

function writePage(path: string, page: string): void {
  try {
    writeFileSync(path, page);
  } catch (error) {
    throw usageError(
      `--html: ${path} cannot be written (${(error as NodeJS.ErrnoException).code}).`,
      "Name a file in a folder that exists and can be written to.",
      error,
    );
  }
}
