/** Files of the host: in the page cache, or on devices whose memory has struct pages (DAX). */

import { FileKind, HostStatus, PAGE_SIZE } from "../core/layout.generated.js";
import { GuestMmuError } from "../errors.js";
import { outOfFrames } from "./access-result.js";
import { type Pfn } from "./address.js";
import { checkBytes, checkOptions, flag, integer } from "./arguments.js";
import { type MachineState } from "./state.js";

/** Where a file has its pages. */
export interface FileOptions {
  /** The device that has its blocks. Default: none, its pages are in the page cache. */
  readonly device?: HostDevice;
}

/** What a call does that would wait for whoever holds a page. */
interface WaitOptions {
  /** Sleep until nobody holds a page of the range, which another thread has to see to. Default false: `MACHINE_BUSY`. */
  readonly wait?: boolean;
}

/** The error that a status of a call on files is. */
export function fileRefused(status: number, what: string): GuestMmuError {
  const say = (
    code: "VMA_INVALID" | "LIMIT_REACHED" | "ADDRESS_RANGE" | "MACHINE_BUSY" | "USAGE" | "UNSUPPORTED",
    why: string,
    hint: string,
  ) => new GuestMmuError(code, { message: `${what}: ${why}.`, hint });
  switch (status) {
    case HostStatus.OutOfFrames:
      return outOfFrames(what);
    case HostStatus.BeyondEnd:
      return say(
        "ADDRESS_RANGE",
        "it is beyond the end of the file (SIGBUS)",
        "Truncate the file to more pages.",
      );
    case HostStatus.NoFile:
      return say("USAGE", "there is no such file or device, or it is gone", "Create it: machine.files.");
    case HostStatus.FileTooLarge:
      return say(
        "LIMIT_REACHED",
        "a file may not have so many pages",
        "Create the machine with larger `filePages`.",
      );
    case HostStatus.TooManyFiles:
      return say(
        "LIMIT_REACHED",
        "no place is free for another one",
        "Take one away, or create the machine with more `files`.",
      );
    case HostStatus.NoBlocks:
      return say("LIMIT_REACHED", "the device has no free block", "Truncate a file on it, or punch a hole.");
    case HostStatus.Busy:
      return say(
        "MACHINE_BUSY",
        "it is in use: mapped, or a page of it is held",
        "Unmap it and put or unpin its pages first, or let another thread do so with { wait: true }.",
      );
    case HostStatus.LongtermRefused:
      return say(
        "UNSUPPORTED",
        "a long-term pin is refused on pages of a DAX file",
        "Pin without longterm: truncate would wait for such a pin for ever.",
      );
    default:
      return say("USAGE", "the range is empty or too long", "Use a shorter one.");
  }
}

function check(status: number, what: string): void {
  if (status !== HostStatus.Ok) throw fileRefused(status, what);
}

/** A number in bits 31:0 of a result, unless its status says otherwise. */
function numberOf(result: bigint, what: string): number {
  check(Number(result >> 32n), what);
  return Number(result & 0xffff_ffffn);
}

function waitOf(options: WaitOptions): number {
  checkOptions("options", options, ["wait"]);
  return flag("wait", options.wait, false) ? 1 : 0;
}

/** Device with struct pages (dev_pagemap): its blocks are the pages of DAX files. */
export class HostDevice {
  readonly #state: MachineState;

  /** Made by `HostFiles`. `blocks` is a power of two. */
  constructor(
    state: MachineState,
    readonly number: number,
    readonly blocks: number,
  ) {
    this.#state = state;
  }

  /** The first frame of the device. */
  get firstPfn(): Pfn {
    return this.#state.calls.hostDevicePfn(this.number) as Pfn;
  }

  /**
   * Takes the device away (memunmap_pages) and gives its frames back. Errors: `MACHINE_BUSY` while a file has blocks of
   * it, and, unless told to wait, while a page of it is held; `USAGE` if it is gone.
   */
  destroy(options: WaitOptions = {}): void {
    const { calls, actor } = this.#state;
    check(calls.hostDeviceDestroy(actor, this.number, waitOf(options)), `destroy of device ${this.number}`);
  }
}

/** A file. Offsets and lengths of `read` and `write` are bytes, everything else counts pages of 4 KiB. */
export class HostFile {
  readonly #state: MachineState;

  /** Made by `HostFiles`. */
  constructor(
    state: MachineState,
    readonly number: number,
  ) {
    this.#state = state;
  }

  /** @internal */
  belongsTo(state: MachineState): boolean {
    return state.memory === this.#state.memory;
  }

  /** Its pages are blocks of a device. */
  get dax(): boolean {
    return this.#state.calls.hostFileKind(this.number) === FileKind.Dax;
  }

  /** Size in pages. */
  get pages(): number {
    return this.#state.calls.hostFileSize(this.number);
  }

  /** The frame that has page `index`, in the page cache or on the device; null for a hole, and beyond the end. */
  page(index: number): Pfn | null {
    const pfn = this.#state.calls.hostFilePage(this.number, integer("index", index, 0, 0xffff_ffff));
    return pfn === 0 ? null : (pfn as Pfn);
  }

  /** read(2): `length` bytes at `offset`; holes are zeros. Error: `ADDRESS_RANGE` beyond the end. */
  read(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(integer("length", length, 0, 0x7fff_ffff));
    this.#chunks(offset, bytes.length, (at, from, size, buffer) => {
      const { calls, actor } = this.#state;
      check(calls.hostFileRead(actor, this.number, BigInt(at), size), this.#what("read", at));
      bytes.set(this.#state.u8.subarray(buffer, buffer + size), from);
    });
    return bytes;
  }

  /**
   * write(2) at `offset`. The file does not grow by it: `ADDRESS_RANGE` beyond the end. Other errors:
   * `FRAMES_EXHAUSTED`, `LIMIT_REACHED` (no free block). What came before an error has been written.
   */
  write(offset: number, bytes: Uint8Array): void {
    checkBytes("bytes", bytes);
    this.#chunks(offset, bytes.length, (at, from, size, buffer) => {
      const { calls, actor } = this.#state;
      this.#state.u8.set(bytes.subarray(from, from + size), buffer);
      check(calls.hostFileWrite(actor, this.number, BigInt(at), size), this.#what("write", at));
    });
  }

  /**
   * ftruncate: unmaps what goes wherever it is mapped, KVM included, then takes it out of the file. A page in the page cache
   * that somebody holds is his alone from then on; one of a DAX file has to be put first: `MACHINE_BUSY`, or waits.
   */
  truncate(pages: number, options: WaitOptions = {}): void {
    const { calls, actor } = this.#state;
    const count = integer("pages", pages, 0, 0xffff_ffff);
    check(calls.hostFileTruncate(actor, this.number, count, waitOf(options)), this.#what("truncate"));
  }

  /** fallocate(FALLOC_FL_PUNCH_HOLE) of `count` pages from `first` on, as truncate. */
  punchHole(first: number, count: number, options: WaitOptions = {}): void {
    const { calls, actor } = this.#state;
    const from = integer("first", first, 0, 0xffff_ffff);
    const n = integer("count", count, 0, 0xffff_ffff);
    check(calls.hostFilePunch(actor, this.number, from, n, waitOf(options)), this.#what("punch of a hole"));
  }

  /** Takes the file away. `MACHINE_BUSY` while it is mapped; else as truncate to nothing. */
  destroy(options: WaitOptions = {}): void {
    const { calls, actor } = this.#state;
    check(calls.hostFileDestroy(actor, this.number, waitOf(options)), this.#what("destroy"));
  }

  #what(call: string, offset?: number): string {
    return `${call} of file ${this.number}${offset === undefined ? "" : ` at byte ${offset}`}`;
  }

  /** Splits a copy in pieces that fit the batch buffer of this actor. */
  #chunks(
    offset: number,
    length: number,
    copy: (at: number, from: number, size: number, buffer: number) => void,
  ): void {
    this.#state.checkUsable();
    const { configuration, actor } = this.#state;
    const at = integer("offset", offset, 0, Number.MAX_SAFE_INTEGER);
    if (at + length > this.pages * PAGE_SIZE) {
      throw fileRefused(
        this.pages === 0 && this.#state.calls.hostFileKind(this.number) === FileKind.None
          ? HostStatus.NoFile
          : HostStatus.BeyondEnd,
        this.#what("access", at),
      );
    }
    const buffer = this.#state.batchBase(actor);
    for (let done = 0; done < length; done += configuration.batchSize) {
      copy(at + done, done, Math.min(configuration.batchSize, length - done), buffer);
    }
  }
}

/** The core's number of a file of this machine, or `USAGE`. */
export function fileNumber(file: unknown, state: MachineState): number {
  if (file instanceof HostFile && file.belongsTo(state)) return file.number;
  throw new GuestMmuError("USAGE", {
    message: "The file is not one of this machine.",
    hint: "Use what machine.files.create returned.",
  });
}

/**
 * The files of the host. A machine has as many as its option `files` says, none by default. They have no disk: a page that
 * was never written is a hole.
 */
export class HostFiles {
  readonly #state: MachineState;

  /** Made by `Machine`. */
  constructor(state: MachineState) {
    this.#state = state;
  }

  /** A file of `pages` pages. Errors: `LIMIT_REACHED` (files, pages a file), `USAGE` (the device is gone). */
  create(pages: number, options: FileOptions = {}): HostFile {
    checkOptions("options of a file", options, ["device"]);
    const count = integer("pages", pages, 0, 0xffff_ffff);
    const device = options.device?.number ?? 0;
    const result = this.#state.calls.hostFileCreate(count, device);
    return new HostFile(this.#state, numberOf(result, `create of a file of ${count} pages`));
  }

  /** File `number` of the machine, which another view of it may have made. `USAGE` if there is none. */
  open(number: number): HostFile {
    const { calls, configuration } = this.#state;
    const file = integer("number of the file", number, 1, Math.max(1, configuration.files));
    const kind = calls.hostFileKind(file);
    if (kind === FileKind.None || kind === FileKind.Closing)
      throw fileRefused(HostStatus.NoFile, `open of file ${file}`);
    return new HostFile(this.#state, file);
  }

  /**
   * A device of `blocks` blocks, a power of two from 1 to 1,024, its memory taken out of the pool. Errors:
   * `LIMIT_REACHED` (four devices, and none in a machine without files), `FRAMES_EXHAUSTED`, `USAGE`.
   */
  createDevice(blocks: number): HostDevice {
    const count = integer("blocks", blocks, 1, 1024);
    const order = Math.log2(count);
    if (!Number.isInteger(order)) {
      throw new GuestMmuError("USAGE", {
        message: `blocks is ${count}: it has to be a power of two.`,
        hint: `Use ${1 << Math.ceil(order)}.`,
      });
    }
    const { calls, actor } = this.#state;
    const number = numberOf(calls.hostDeviceCreate(actor, order), `create of a device of ${count} blocks`);
    return new HostDevice(this.#state, number, count);
  }
}
