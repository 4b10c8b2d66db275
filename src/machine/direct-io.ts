/** Pins (FOLL_PIN), and direct I/O: devices that access the pages of user space themselves. */

import { DIO_HANDLE, FollFlag, HostStatus } from "../core/layout.generated.js";
import { GuestMmuError } from "../errors.js";
import { outOfFrames } from "./access-result.js";
import { hex, hva as toHva, pfn as toPfn, type HvaLike, type Pfn, type PfnLike } from "./address.js";
import { checkBytes, checkOptions, flag, integer } from "./arguments.js";
import { fileRefused } from "./host-files.js";
import { type MachineState } from "./state.js";

/** How to pin. */
export interface PinOptions {
  /** The page will be written to. Default true. */
  readonly write?: boolean;
  /** The pin may last for ever (FOLL_LONGTERM): refused on pages of a DAX file. Default false. */
  readonly longterm?: boolean;
}

/** A page that a pin holds. */
export interface PinnedPage {
  readonly pfn: Pfn;
  readonly writable: boolean;
}

function flagsOf(options: PinOptions): number {
  checkOptions("options of a pin", options, ["write", "longterm"]);
  const write = flag("write", options.write, true) ? FollFlag.Write : 0;
  return write | (flag("longterm", options.longterm, false) ? FollFlag.Longterm : 0);
}

function refused(status: number, what: string): GuestMmuError {
  if (status === HostStatus.OutOfFrames) return outOfFrames(what);
  if (status === HostStatus.NoVma || status === HostStatus.Access) {
    return new GuestMmuError("VMA_INVALID", {
      message: `${what}: ${status === HostStatus.NoVma ? "nothing is mapped there" : "the mapping does not allow it"}.`,
      hint: "Map it first, with that right: machine.mm.mmap.",
    });
  }
  if (status === HostStatus.Pfnmap) {
    return new GuestMmuError("VMA_INVALID", {
      message: `${what}: a remapped pfn is there, which has no page to pin.`,
      hint: "Pin memory of the process, or of a file.",
    });
  }
  if (status === HostStatus.RefcountLimit) {
    return new GuestMmuError("LIMIT_REACHED", {
      message: `${what}: the page has as many references as its count may reach.`,
      hint: "Give references back, or create the machine with a larger `refcountLimit`.",
    });
  }
  return fileRefused(status, what);
}

/** Direct I/O under way: its pages are pinned until `end`. */
export class DirectTransfer {
  readonly #state: MachineState;

  /** Made by `DirectIo`. */
  constructor(
    state: MachineState,
    /** Names the transfer to views of other threads: `machine.direct.transfer(handle, length, write)`. */
    readonly handle: number,
    readonly length: number,
    readonly write: boolean,
  ) {
    this.#state = state;
  }

  /** The device writes `bytes` to memory, `offset` bytes into the transfer. `USAGE` unless it was begun to write. */
  put(bytes: Uint8Array, offset = 0): void {
    checkBytes("bytes", bytes);
    if (!this.write) throw this.#wrong("does not write to memory", "Begin it with { write: true }.");
    this.#move(bytes, offset, true);
  }

  /** The device reads `length` bytes of memory, `offset` bytes into the transfer. `USAGE` if it was begun to write. */
  take(length: number, offset = 0): Uint8Array {
    if (this.write) throw this.#wrong("does not read from memory", "Begin it with { write: false }.");
    const bytes = new Uint8Array(integer("length", length, 0, this.length));
    this.#move(bytes, offset, false);
    return bytes;
  }

  /** Drops the pins. Pages that the device wrote are dirty. `USAGE` if it has ended. */
  end(): void {
    const { calls, actor } = this.#state;
    if (calls.hostDirectEnd(actor, this.handle) !== HostStatus.Ok) throw this.#ended();
  }

  #move(bytes: Uint8Array, offset: number, write: boolean): void {
    const { calls, actor, configuration, u8 } = this.#state;
    const start = integer("offset", offset, 0, this.length);
    if (start + bytes.length > this.length)
      throw this.#wrong(`has ${this.length} bytes`, "Stay within the range that was begun.");
    const buffer = this.#state.batchBase(actor);
    for (let done = 0; done < bytes.length; done += configuration.batchSize) {
      const size = Math.min(configuration.batchSize, bytes.length - done);
      if (write) u8.set(bytes.subarray(done, done + size), buffer);
      if (calls.hostDirectTransfer(actor, this.handle, start + done, size) !== HostStatus.Ok)
        throw this.#ended();
      if (!write) bytes.set(u8.subarray(buffer, buffer + size), done);
    }
  }

  #ended(): GuestMmuError {
    return this.#wrong("has ended", "Begin another one: machine.direct.begin.");
  }

  #wrong(why: string, hint: string): GuestMmuError {
    return new GuestMmuError("USAGE", { message: `The transfer ${this.handle} ${why}.`, hint });
  }
}

/**
 * Pins and direct I/O. A pin says that somebody accesses the content of the page on his own: invalidations do not wait for
 * it, truncate of a DAX file does. Errors: `VMA_INVALID`, `ADDRESS_RANGE` (beyond the end of a file), `UNSUPPORTED`
 * (longterm on DAX), `FRAMES_EXHAUSTED`, `LIMIT_REACHED` (eight transfers, references on a page), `USAGE`.
 */
export class DirectIo {
  readonly #state: MachineState;

  /** Made by `Machine`. */
  constructor(state: MachineState) {
    this.#state = state;
  }

  /** pin_user_pages of the page at `hva`. */
  pin(hva: HvaLike, options: PinOptions = {}): PinnedPage {
    const where = toHva(hva);
    const { calls, actor } = this.#state;
    const result = calls.hostPin(actor, where, flagsOf(options));
    const status = Number((result >> 32n) & 0xffn);
    if (status !== HostStatus.Ok) throw refused(status, `pin of ${hex(where)}`);
    return { pfn: Number(result & 0xffff_ffffn) as Pfn, writable: ((result >> 40n) & 1n) === 1n };
  }

  /** unpin_user_page, marked dirty first if told so. `USAGE` if the page is not pinned. */
  unpin(page: PfnLike, options: { readonly dirty?: boolean } = {}): void {
    checkOptions("options of unpin", options, ["dirty"]);
    const dirty = flag("dirty", options.dirty, false) ? 1 : 0;
    const frame = this.#frame(page);
    const { calls, actor } = this.#state;
    if (calls.hostMaybePinned(frame) === 0) {
      throw new GuestMmuError("USAGE", {
        message: `Page ${frame} is not pinned.`,
        hint: "Unpin what pin returned, once.",
      });
    }
    calls.hostUnpin(actor, frame, dirty);
  }

  /** The page may be pinned (folio_maybe_dma_pinned). */
  maybePinned(page: PfnLike): boolean {
    return this.#state.calls.hostMaybePinned(this.#frame(page)) !== 0;
  }

  /** Pins `length` bytes at `hva` for a device, which writes to them or (`write: false`) reads; at most 24 pages. */
  begin(hva: HvaLike, length: number, options: PinOptions = {}): DirectTransfer {
    const where = toHva(hva);
    const bytes = integer("length", length, 1, 24 * 4096);
    const { calls, actor } = this.#state;
    const flags = flagsOf(options);
    const handle = calls.hostDirectBegin(actor, where, bytes, flags);
    if (handle < DIO_HANDLE) throw refused(handle, `direct I/O of ${bytes} bytes at ${hex(where)}`);
    return new DirectTransfer(this.#state, handle, bytes, (flags & FollFlag.Write) !== 0);
  }

  /** A transfer that another view of the machine has begun. */
  transfer(handle: number, length: number, write: boolean): DirectTransfer {
    return new DirectTransfer(
      this.#state,
      integer("handle", handle, DIO_HANDLE, 0xffff_ffff),
      integer("length", length, 1, 24 * 4096),
      flag("write", write, true),
    );
  }

  /** read(2) with O_DIRECT: the device writes `bytes` to `hva`. */
  read(hva: HvaLike, bytes: Uint8Array): void {
    checkBytes("bytes", bytes);
    const transfer = this.begin(hva, bytes.length);
    transfer.put(bytes);
    transfer.end();
  }

  /** write(2) with O_DIRECT: the device reads `length` bytes at `hva`, which are returned. */
  write(hva: HvaLike, length: number): Uint8Array {
    const transfer = this.begin(hva, length, { write: false });
    const bytes = transfer.take(length);
    transfer.end();
    return bytes;
  }

  #frame(page: PfnLike): number {
    return integer("pfn", toPfn(page), 1, this.#state.configuration.frames - 1);
  }
}
