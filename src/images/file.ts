/** A file as a source of bytes. Node only. */

import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { GuestMmuError } from "../errors.js";
import type { ByteSource } from "./source.js";

/** An open file. Reads wait for the disk: a page walk is synchronous. */
export class FileSource implements ByteSource {
  private isOpen = true;

  /** @param descriptor is closed with the source. */
  constructor(
    private readonly descriptor: number,
    readonly name: string,
    readonly size: number,
  ) {}

  /**
   * @throws GuestMmuError `IMAGE_UNREADABLE` if there is no such file, it may not be read, or it is not a regular file.
   */
  static open(path: string): FileSource {
    let descriptor: number;
    try {
      // Without waiting: a pipe that nobody writes to is refused as well.
      descriptor = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    } catch (error) {
      throw unreadable(path, error);
    }
    const stat = fstatSync(descriptor);
    if (stat.isFile()) return new FileSource(descriptor, path, stat.size);
    closeSync(descriptor);
    throw new GuestMmuError("IMAGE_UNREADABLE", {
      message: `${path}: is ${stat.isDirectory() ? "a directory" : "no regular file"}, not a memory image.`,
      hint: "Save the memory to a file, and name that: images are read in any order.",
    });
  }

  read(position: number, target: Uint8Array): number {
    if (position >= this.size) return 0;
    let done = 0;
    const wanted = Math.min(target.length, this.size - position);
    while (done < wanted) {
      const found = this.readOnce(position + done, target, done, wanted - done);
      if (found === 0) break;
      done += found;
    }
    return done;
  }

  close(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    closeSync(this.descriptor);
  }

  private readOnce(position: number, target: Uint8Array, offset: number, length: number): number {
    try {
      return readSync(this.descriptor, target, offset, length, position);
    } catch (error) {
      throw unreadable(this.name, error);
    }
  }
}

/** `IMAGE_UNREADABLE`, with what the system said. */
export function unreadable(path: string, cause: unknown): GuestMmuError {
  const reasons: Record<string, readonly [what: string, hint: string]> = {
    ENOENT: ["no such file", "Check the path; relative paths start at the current directory."],
    EACCES: ["permission denied", "Make the file readable for this user."],
  };
  const [what, hint] = reasons[(cause as NodeJS.ErrnoException).code ?? ""] ?? [
    cause instanceof Error ? cause.message : String(cause),
    "Check that the file can be read, for example with `cat`.",
  ];
  return new GuestMmuError("IMAGE_UNREADABLE", { message: `${path}: ${what}.`, hint, cause });
}
