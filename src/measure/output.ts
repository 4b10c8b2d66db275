/** The file that `--output` names: probed before anything is measured, written whole or not at all. */

import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { access, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { usageError, type GuestMmuError } from "../errors.js";

/** A file that results go to. */
export class OutputFile {
  private constructor(
    private readonly path: string,
    /** What `path` leads to, if it exists. */
    private readonly target: string,
    /** null for a device or a pipe, which is written to as it is: nothing may take its place. */
    private readonly temporary: string | null,
    private readonly mode: number,
  ) {}

  /**
   * Makes sure that `path` can be written, and leaves nothing behind.
   *
   * @throws GuestMmuError `USAGE`
   */
  static async at(path: string): Promise<OutputFile> {
    try {
      const target = await realpath(path).catch(() => path);
      const known = await stat(target).catch(() => null);
      if (known?.isDirectory()) throw Object.assign(new Error(), { code: "EISDIR" });
      if (known !== null) await access(target, constants.W_OK);
      if (known !== null && !known.isFile()) return new OutputFile(path, target, null, 0);
      const temporary = `${target}.${randomUUID()}.tmp`;
      const file = new OutputFile(path, target, temporary, known?.mode ?? 0o666);
      await file.writeTemporary(temporary, "");
      await rm(temporary);
      return file;
    } catch (cause) {
      throw unwritable(path, cause);
    }
  }

  /** Writes the file in one step: whoever reads it sees what was there before, or all of `text`. */
  async write(text: string): Promise<void> {
    try {
      if (this.temporary === null) return await writeFile(this.target, text);
      await this.writeTemporary(this.temporary, text);
      await rename(this.temporary, this.target);
    } catch (cause) {
      if (this.temporary !== null) await rm(this.temporary, { force: true });
      throw unwritable(this.path, cause);
    }
  }

  private async writeTemporary(path: string, text: string): Promise<void> {
    await writeFile(path, text, { flag: "wx", mode: this.mode, flush: true });
  }
}

/** Why the file system refused, in a word. */
export function reasonOf(cause: unknown): string {
  return (cause as NodeJS.ErrnoException).code ?? String(cause);
}

function unwritable(path: string, cause: unknown): GuestMmuError {
  return usageError(
    `${path} cannot be written (${reasonOf(cause)}).`,
    "Give --output a file in a directory that is writable and has room.",
    cause,
  );
}
