/** The VMM's address space: mappings at host-virtual addresses, and the pages behind them. */

import {
  HEADER_OFFSET_VMAS_BASE,
  HostStatus,
  MM_MMAP_MIN,
  MM_TASK_SIZE,
  PAGE_SHIFT,
  PAGE_SIZE,
  PTE_ADDRESS,
  PTE_RW,
  VMA_OFFSET_END,
  VMA_OFFSET_FILE,
  VMA_OFFSET_FLAGS,
  VMA_OFFSET_PAGE_SHIFT,
  VMA_OFFSET_PGOFF,
  VMA_OFFSET_START,
  VMA_SHIFT,
  VmaFlag,
} from "../core/layout.generated.js";
import { GuestMmuError } from "../errors.js";
import { outOfFrames } from "./access-result.js";
import { aligned, hex, hva as toHva, pageLength, type Hva, type HvaLike, type Pfn } from "./address.js";
import { checkBytes, checkOptions, choice, integer } from "./arguments.js";
import { type MachineState } from "./state.js";
import { fileNumber, fileRefused, type HostFile } from "./host-files.js";
import { byteWidth, unsignedValue, type Width } from "./width.js";

/** What a mapping allows. What may be written or executed may be read: x86 knows no other way. */
export type Protection = "none" | "r" | "rw" | "rx" | "rwx";

const PROTECTIONS: Readonly<Record<Protection, number>> = {
  none: 0,
  r: VmaFlag.Read,
  rw: VmaFlag.Read | VmaFlag.Write,
  rx: VmaFlag.Read | VmaFlag.Exec,
  rwx: VmaFlag.Read | VmaFlag.Write | VmaFlag.Exec,
};

/** Sizes of pages that the host can map. */
export type HostPageSize = "4k" | "2m";
const PAGE_SHIFTS: Readonly<Record<HostPageSize, number>> = { "4k": 12, "2m": 21 };

/** How to map. */
export interface MmapOptions {
  /** Where; refused if anything is mapped there (MAP_FIXED_NOREPLACE). Default: where there is room. */
  readonly at?: HvaLike;
  /** Default "rw". */
  readonly protection?: Protection;
  /** Size of the pages that faults install; "2m" asks for that alignment of address and length. Default "4k". */
  readonly pageSize?: HostPageSize;
  /** The file to map, shared, in pages of 4 KiB. Default: anonymous memory. */
  readonly file?: HostFile;
  /** First page of the file to map. Default 0. Only with `file`. */
  readonly page?: number;
}

/** One mapped range of the address space. */
export interface HostVma {
  readonly hva: Hva;
  /** Bytes. */
  readonly length: bigint;
  readonly protection: Protection;
  readonly pageSize: HostPageSize;
  /** The file that is mapped, and its page at `hva`; null for anonymous memory. */
  readonly file: { readonly number: number; readonly page: number } | null;
}

/** Counts of the host. */
export interface HostStatistics {
  /** Frames that may be handed out: all but the null frame. */
  readonly managedFrames: number;
  /** Frames that nobody holds. */
  readonly freeFrames: number;
  readonly vmaCount: number;
  /** Host TLB flushes done. */
  readonly tlbFlushes: bigint;
}

/** Where a host-virtual address leads now. */
export interface HostMapping {
  readonly pfn: Pfn;
  /** log2 of the size of what maps it: 12 or 21. */
  readonly shift: number;
  readonly writable: boolean;
  /** References on the page (on the head of a compound page). */
  readonly refcount: number;
  /** Host page-table entries that map it. */
  readonly mapcount: number;
}

function usage(message: string, hint: string): GuestMmuError {
  return new GuestMmuError("USAGE", { message: `mmap: ${message}.`, hint });
}

/** What `populate` does to each page. */
const TOUCHES = { read: 0, write: 1 } as const;

/**
 * The address space of the VMM process (mm_struct). Calls act as the host thread of the machine's view; each notifies
 * KVM as the kernel does (Documentation/mm/mmu_notifier.rst) and returns when it is done.
 *
 * Errors: `ADDRESS_UNALIGNED`, `ADDRESS_RANGE`, `VMA_INVALID` (nothing mapped there, not with that right, or already
 * something), `LIMIT_REACHED` (VMAs, room), `FRAMES_EXHAUSTED`.
 */
export class HostMm {
  readonly #state: MachineState;

  /** Made by `Machine`. */
  constructor(state: MachineState) {
    this.#state = state;
  }

  /**
   * mmap of `length` bytes: anonymous memory (MAP_ANONYMOUS), or a file (MAP_SHARED). Takes no frame until something is
   * touched. Returns the address.
   */
  mmap(length: number | bigint, options: MmapOptions = {}): Hva {
    checkOptions("options of mmap", options, ["at", "protection", "pageSize", "file", "page"]);
    const { at, protection = "rw", pageSize = "4k", file, page } = options;
    const shift = choice("page size", PAGE_SHIFTS, pageSize);
    const size = 1n << BigInt(shift);
    const bytes = pageLength(length, size);
    const where = at === undefined ? (0n as Hva) : this.#range(at, bytes, size);
    const flags = choice("protection", PROTECTIONS, protection);
    const { calls, actor } = this.#state;
    let result: bigint;
    if (file === undefined) {
      if (page !== undefined) throw usage("page is given without file", "Give the file as well.");
      result = calls.hostMmap(actor, where, bytes, flags, shift);
    } else {
      if (shift !== PAGE_SHIFT) throw usage("a file is mapped in pages of 4 KiB", "Leave pageSize out.");
      const number = fileNumber(file, this.#state);
      result = calls.hostMmapFile(
        actor,
        where,
        bytes,
        flags,
        number,
        integer("page", page ?? 0, 0, 0xffff_ffff),
      );
    }
    if (result < MM_MMAP_MIN) throw this.#refused(Number(result), "mmap", where, bytes);
    return result as Hva;
  }

  /** munmap: whatever is mapped in the range goes, and KVM with it; holes are allowed. */
  munmap(hva: HvaLike, length: number | bigint): void {
    const bytes = pageLength(length);
    const where = this.#range(hva, bytes);
    this.#check(this.#state.calls.hostMunmap(this.#state.actor, where, bytes), "munmap", where, bytes);
  }

  /** mprotect. The whole range has to be mapped; if it is not, nothing changes. */
  mprotect(hva: HvaLike, length: number | bigint, protection: Protection): void {
    const bytes = pageLength(length);
    const where = this.#range(hva, bytes);
    const flags = choice("protection", PROTECTIONS, protection);
    const status = this.#state.calls.hostMprotect(this.#state.actor, where, bytes, flags);
    this.#check(status, "mprotect", where, bytes);
  }

  /** madvise(MADV_DONTNEED): the pages go, the mapping stays; the next touch finds a new, zeroed page. */
  madviseDontneed(hva: HvaLike, length: number | bigint): void {
    const bytes = pageLength(length);
    const where = this.#range(hva, bytes);
    const status = this.#state.calls.hostDontneed(this.#state.actor, where, bytes);
    this.#check(status, "madvise", where, bytes);
  }

  /** Faults every page of the range in, for writing or for reading. */
  populate(hva: HvaLike, length: number | bigint, access: "read" | "write" = "write"): void {
    const bytes = pageLength(length);
    const where = this.#range(hva, bytes);
    const { calls, actor } = this.#state;
    const touch = choice("kind of access to populate for", TOUCHES, access);
    this.#check(calls.hostTouch(actor, where, bytes, touch), "touch", where, bytes);
  }

  /** Copies `length` bytes from `hva`, as the VMM itself reads. */
  read(hva: HvaLike, length: number): Uint8Array {
    const where = toHva(hva);
    const bytes = new Uint8Array(integer("length", length, 0, 0x7fff_ffff));
    this.#chunks(where, bytes.length, (at, offset, size, buffer) => {
      const { calls, actor } = this.#state;
      this.#check(calls.hostRead(actor, at, size), "read", at, BigInt(size));
      bytes.set(this.#state.u8.subarray(buffer, buffer + size), offset);
    });
    return bytes;
  }

  /** Copies `bytes` to `hva`, as the VMM itself writes. On an error, what came before it has been written. */
  write(hva: HvaLike, bytes: Uint8Array): void {
    checkBytes("bytes", bytes);
    this.#chunks(toHva(hva), bytes.length, (at, offset, size, buffer) => {
      const { calls, actor } = this.#state;
      this.#state.u8.set(bytes.subarray(offset, offset + size), buffer);
      this.#check(calls.hostWrite(actor, at, size), "write", at, BigInt(size));
    });
  }

  /** Loads one word, little-endian, of `width` bits. */
  load(hva: HvaLike, width: Width = 64): bigint {
    const where = toHva(hva);
    const size = byteWidth(width);
    const { calls, actor } = this.#state;
    const value = calls.hostLoad(actor, where, size);
    this.#check(calls.hostLoadStatus(actor), "read", where, BigInt(size));
    return value;
  }

  /** Stores one word, little-endian, of `width` bits. */
  store(hva: HvaLike, value: bigint | number, width: Width = 64): void {
    const where = toHva(hva);
    const size = byteWidth(width);
    const { calls, actor } = this.#state;
    this.#check(
      calls.hostStore(actor, where, size, unsignedValue(value, width)),
      "write",
      where,
      BigInt(size),
    );
  }

  /** What maps `hva` now, or null. */
  mapping(hva: HvaLike): HostMapping | null {
    const where = toHva(hva);
    const { calls, actor } = this.#state;
    const shift = calls.hostMappingShiftOf(actor, where);
    if (shift === 0) return null;
    const entry = calls.hostPte(actor, where);
    const offset = (where & ((1n << BigInt(shift)) - 1n)) >> 12n;
    const pfn = Number(((entry & PTE_ADDRESS) >> 12n) + offset) as Pfn;
    const head = calls.hostHead(pfn);
    return {
      pfn,
      shift,
      writable: (entry & PTE_RW) !== 0n,
      refcount: calls.hostRefcount(head),
      mapcount: calls.hostMapcount(head),
    };
  }

  /** What is mapped, in order of address: a row for each VMA, as in /proc/PID/maps. */
  list(): HostVma[] {
    const { calls, view } = this.#state;
    const base = view.getUint32(HEADER_OFFSET_VMAS_BASE, true);
    return Array.from({ length: calls.hostVmaCount() }, (_, i) => {
      const row = base + (i << VMA_SHIFT);
      const flags = view.getUint32(row + VMA_OFFSET_FLAGS, true);
      const start = view.getBigUint64(row + VMA_OFFSET_START, true);
      return {
        hva: start as Hva,
        length: view.getBigUint64(row + VMA_OFFSET_END, true) - start,
        protection:
          (Object.keys(PROTECTIONS) as Protection[]).find(
            (name) => PROTECTIONS[name] === (flags & PROTECTIONS.rwx),
          ) ?? "none",
        pageSize: view.getUint32(row + VMA_OFFSET_PAGE_SHIFT, true) === 21 ? "2m" : "4k",
        file:
          flags & (VmaFlag.File | VmaFlag.Dax)
            ? {
                number: view.getUint32(row + VMA_OFFSET_FILE, true),
                page: view.getUint32(row + VMA_OFFSET_PGOFF, true),
              }
            : null,
      };
    });
  }

  /** Counts of now. */
  statistics(): HostStatistics {
    const { calls, configuration } = this.#state;
    return {
      managedFrames: configuration.frames - 1,
      freeFrames: calls.hostFreeFrames(),
      vmaCount: calls.hostVmaCount(),
      tlbFlushes: calls.hostTlbFlushes(),
    };
  }

  /**
   * Counts references and mappings again from the host tables: pages whose counts differ. 0 for a machine at rest.
   * Tables of the secondary MMU hold frames of their own: `machine.unloadGuest()` gives them back first.
   */
  countImbalances(): number {
    return this.#state.calls.hostCheckBalance(this.#state.actor);
  }

  #range(hva: HvaLike, bytes: bigint, size = BigInt(PAGE_SIZE)): Hva {
    const where = aligned(toHva(hva), size, "The host-virtual address");
    if (where >= MM_MMAP_MIN && where + bytes <= MM_TASK_SIZE) return where;
    throw new GuestMmuError("ADDRESS_RANGE", {
      message: `[${hex(where)}, ${hex(where + bytes)}) is not in user space.`,
      hint: `User space is [${hex(MM_MMAP_MIN)}, ${hex(MM_TASK_SIZE)}).`,
    });
  }

  /** Splits a copy in pieces that fit the batch buffer of this actor. */
  #chunks(
    hva: Hva,
    length: number,
    copy: (at: Hva, offset: number, size: number, buffer: number) => void,
  ): void {
    this.#state.checkUsable();
    const { configuration, actor } = this.#state;
    if (hva + BigInt(length) > MM_TASK_SIZE) this.#range((hva & ~0xfffn) as Hva, BigInt(length) + 0x1000n);
    const buffer = this.#state.batchBase(actor);
    for (let offset = 0; offset < length; offset += configuration.batchSize) {
      copy((hva + BigInt(offset)) as Hva, offset, Math.min(configuration.batchSize, length - offset), buffer);
    }
  }

  #check(status: number, what: string, hva: bigint, bytes: bigint): void {
    if (status !== HostStatus.Ok) throw this.#refused(status, what, hva, bytes);
  }

  #refused(status: number, what: string, hva: bigint, bytes: bigint): GuestMmuError {
    if (status >= HostStatus.BeyondEnd) return fileRefused(status, `${what} at ${hex(hva)}`);
    const range = hva === 0n ? `of ${bytes} bytes` : `of [${hex(hva)}, ${hex(hva + bytes)})`;
    const say = (code: "VMA_INVALID" | "LIMIT_REACHED" | "ADDRESS_RANGE", why: string, hint: string) =>
      new GuestMmuError(code, { message: `${what} ${range}: ${why}.`, hint });
    switch (status) {
      case HostStatus.NoVma:
        return say("VMA_INVALID", "not all of it is mapped", "Map it first: machine.mm.mmap.");
      case HostStatus.Access:
        return say(
          "VMA_INVALID",
          "the mapping does not allow that access",
          "Change it: machine.mm.mprotect.",
        );
      case HostStatus.OutOfFrames:
        return outOfFrames(`${what} ${range}`);
      case HostStatus.TooManyVmas:
        return say("LIMIT_REACHED", "the table of VMAs is full", "Create the machine with a larger `vmas`.");
      case HostStatus.Overlap:
        return say("VMA_INVALID", "something is mapped there", "Unmap it first, or leave the address out.");
      case HostStatus.NoRange:
        return say(
          "LIMIT_REACHED",
          "user space has no free range of this length",
          "Unmap something, or map less.",
        );
      default:
        return say("ADDRESS_RANGE", "no such range can be mapped", "Use whole pages of user space.");
    }
  }
}
