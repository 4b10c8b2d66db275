/** The VMM's address space: mappings at host-virtual addresses, and the pages behind them. */

import {
  HEADER_OFFSET_VMAS_BASE,
  HostStatus,
  MM_MMAP_MIN,
  MM_TASK_SIZE,
  PAGE_SHIFT,
  PAGE_SIZE,
  PageFlag,
  PTE_ADDRESS,
  PTE_RW,
  VMA_OFFSET_END,
  VMA_OFFSET_FILE,
  VMA_OFFSET_FLAGS,
  VMA_OFFSET_PAGE_SHIFT,
  VMA_OFFSET_PGOFF,
  VMA_OFFSET_START,
  VMA_PROTECTION,
  VMA_SHIFT,
  VmaFlag,
} from "../core/layout.generated.js";
import { GuestMmuError } from "../errors.js";
import { outOfFrames } from "./access-result.js";
import { aligned, hex, hva as toHva, pageLength, type Hva, type HvaLike, type Pfn } from "./address.js";
import { checkBytes, checkOptions, choice, flag, integer } from "./arguments.js";
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

/** Sizes of pages that the host can map: transparent, or "hugetlb", 2 MiB that are never split and never made do without. */
export type HostPageSize = "4k" | "2m" | "hugetlb";
const PAGE_SHIFTS: Readonly<Record<HostPageSize, number>> = { "4k": 12, "2m": 21, hugetlb: 21 };

/** log2 of the most frames that one allocation can have. */
const ORDER_MAX = 10;

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

/** How to map pfns. */
export interface RemapOptions {
  /** Where; refused if anything is mapped there. Default: where there is room. */
  readonly at?: HvaLike;
  /** Default "rw". */
  readonly protection?: Protection;
  /** Whether the entries allow writes, which the protection has to allow then. Default: as the protection. */
  readonly writable?: boolean;
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
  /** First pfn of a remapped range; null for memory of the process. */
  readonly remapped: Pfn | null;
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
  /** References on the page (on the head of a compound page); 0 if nobody counts them, or there is no page. */
  readonly refcount: number;
  /** Host page-table entries that map it. */
  readonly mapcount: number;
}

function usage(message: string, hint: string): GuestMmuError {
  return new GuestMmuError("USAGE", { message: `mmap: ${message}.`, hint });
}

function protectionOf(flags: number): Protection {
  const rights = flags & VMA_PROTECTION;
  return (Object.keys(PROTECTIONS) as Protection[]).find((name) => PROTECTIONS[name] === rights) ?? "none";
}

function pageSizeOf(flags: number, shift: number): HostPageSize {
  if (flags & VmaFlag.Hugetlb) return "hugetlb";
  return shift === 21 ? "2m" : "4k";
}

/** What a fork gave to a child, until it exits. The child neither writes nor unmaps. */
export class ForkedChild {
  readonly #state: MachineState;
  readonly #handle: number;

  /** Made by `HostMm.fork`. */
  constructor(state: MachineState, handle: number) {
    this.#state = state;
    this.#handle = handle;
  }

  /** The page that the child has at `hva`; null if it has none, or has exited. */
  pfnAt(hva: HvaLike): Pfn | null {
    const entry = this.#state.calls.hostForkPte(this.#handle, toHva(hva));
    return entry === 0n ? null : (Number((entry & PTE_ADDRESS) >> 12n) as Pfn);
  }

  /** The child exits: its references and mappings fall. `USAGE` if it has. */
  exit(): void {
    if (this.#state.calls.hostForkExit(this.#state.actor, this.#handle) === HostStatus.Ok) return;
    throw new GuestMmuError("USAGE", {
      message: "The child has exited already.",
      hint: "Call exit() once for each fork.",
    });
  }
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
    const kind = pageSize === "hugetlb" ? VmaFlag.Hugetlb : 0;
    const flags = choice("protection", PROTECTIONS, protection) | kind;
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

  /**
   * mmap of `length` bytes of pfns from `pfn` on, as a driver does (remap_pfn_range): all of them at once, no reference on
   * any. They may be those of frames (`allocateRaw`), or lie beyond `frames`: memory of a device, where the VMM cannot
   * load or store and a guest's access ends with `missing` and the address. Returns the address.
   */
  remapPfn(pfn: number, length: number | bigint, options: RemapOptions = {}): Hva {
    checkOptions("options of remapPfn", options, ["at", "protection", "writable"]);
    const { at, protection = "rw" } = options;
    const flags = choice("protection", PROTECTIONS, protection);
    const allowed = (flags & VmaFlag.Write) !== 0;
    const writable = flag("writable", options.writable, allowed);
    const bytes = pageLength(length);
    const { calls, actor, configuration } = this.#state;
    const limit = Math.min(2 ** (configuration.maxphyaddr - 12), 2 ** 32);
    const first = integer("pfn", pfn, 1, limit - 1);
    if (BigInt(first) + bytes / BigInt(PAGE_SIZE) > BigInt(limit)) {
      throw new GuestMmuError("ADDRESS_RANGE", {
        message: `${bytes} bytes from pfn ${hex(BigInt(first))} on do not end below pfn ${hex(BigInt(limit))}.`,
        hint: "Map less, or create the machine with a larger maxphyaddr.",
      });
    }
    if (writable && !allowed) {
      throw new GuestMmuError("USAGE", {
        message: `Entries of a range with protection ${JSON.stringify(protection)} cannot be writable.`,
        hint: 'Leave `writable` out, or use the protection "rw".',
      });
    }
    const where = at === undefined ? (0n as Hva) : this.#range(at, bytes);
    const result = calls.hostRemapPfn(actor, where, bytes, first, flags, writable ? 1 : 0);
    if (result < MM_MMAP_MIN) throw this.#refused(Number(result), "mmap", where, bytes);
    return result as Hva;
  }

  /**
   * alloc_pages without __GFP_COMP: 2^order frames, 0 to 10, for a driver to map with `remapPfn`. The first has one
   * reference; the later ones have none, for as long as the block is in use. Returns the first.
   */
  allocateRaw(order = 0): Pfn {
    const pfn = this.#state.calls.hostAllocRaw(this.#state.actor, integer("order", order, 0, ORDER_MAX));
    if (pfn === 0) throw outOfFrames(`A block of ${2 ** order} frames`);
    return pfn as Pfn;
  }

  /** Gives back what `allocateRaw` returned for the same order; the first frame stays with whoever else holds it. */
  freeRaw(pfn: number, order = 0): void {
    const { calls, actor, configuration } = this.#state;
    const frames = 2 ** integer("order", order, 0, ORDER_MAX);
    const first = integer("pfn", pfn, 1, configuration.frames - frames);
    const isTail = (i: number): boolean => (calls.hostPageFlags(first + i) & PageFlag.NotRefcounted) !== 0;
    const tails = Array.from({ length: frames - 1 }, (_, i) => isTail(i + 1));
    const longer = first + frames < configuration.frames && isTail(frames);
    if (calls.hostRefcount(first) === 0 || isTail(0) || longer || !tails.every(Boolean)) {
      throw new GuestMmuError("USAGE", {
        message: `No block of ${frames} frames at pfn ${first} is in use.`,
        hint: "Free what allocateRaw returned, with the order that it was given, once.",
      });
    }
    calls.hostFreeRaw(actor, first, order);
  }

  /** munmap: whatever is mapped in the range goes, and KVM with it; holes are allowed. hugetlb goes in whole pages. */
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

  /**
   * fork: a child gets the anonymous pages of the range as they are. They are write-protected here until a write copies
   * them, or takes them back when the child has exited; a page that may be pinned stays, and the child gets a copy of it.
   */
  fork(hva: HvaLike, length: number | bigint): ForkedChild {
    const bytes = pageLength(length);
    const where = this.#range(hva, bytes);
    const result = this.#state.calls.hostFork(this.#state.actor, where, bytes);
    this.#check(Number(result >> 32n) & 0xff, "fork", where, bytes);
    return new ForkedChild(this.#state, Number(result & 0xffff_ffffn));
  }

  /** split_huge_page: makes the 2 MiB page at `hva` single pages, its mapping too. `VMA_INVALID` if somebody holds it. */
  splitPage(hva: HvaLike): void {
    const where = toHva(hva);
    this.#check(this.#state.calls.hostSplitPage(this.#state.actor, where), "split", where, 1n);
  }

  /** log2 of the page size that the mapping at `hva` stands for: 21 for hugetlb, 12 for other memory; null if there is none. */
  vmaPageShift(hva: HvaLike): number | null {
    return this.#state.calls.hostVmaPageShift(this.#state.actor, toHva(hva)) || null;
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
    const { calls, actor, configuration } = this.#state;
    const shift = calls.hostMappingShiftOf(actor, where);
    if (shift === 0) return null;
    const entry = calls.hostPte(actor, where);
    const offset = (where & ((1n << BigInt(shift)) - 1n)) >> 12n;
    const pfn = Number(((entry & PTE_ADDRESS) >> 12n) + offset) as Pfn;
    const writable = (entry & PTE_RW) !== 0n;
    if (pfn >= configuration.frames) return { pfn, shift, writable, refcount: 0, mapcount: 0 };
    const head = calls.hostHead(pfn);
    return { pfn, shift, writable, refcount: calls.hostRefcount(head), mapcount: calls.hostMapcount(head) };
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
        protection: protectionOf(flags),
        pageSize: pageSizeOf(flags, view.getUint32(row + VMA_OFFSET_PAGE_SHIFT, true)),
        file:
          flags & (VmaFlag.File | VmaFlag.Dax)
            ? {
                number: view.getUint32(row + VMA_OFFSET_FILE, true),
                page: view.getUint32(row + VMA_OFFSET_PGOFF, true),
              }
            : null,
        remapped: flags & VmaFlag.Pfnmap ? (view.getUint32(row + VMA_OFFSET_PGOFF, true) as Pfn) : null,
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
      case HostStatus.RefcountLimit:
        return say(
          "LIMIT_REACHED",
          "the page has as many references as its count may reach",
          "Give references back, or create the machine with a larger `refcountLimit`.",
        );
      case HostStatus.Busy:
        return say(
          "VMA_INVALID",
          "somebody holds the page, or a child shares it",
          "Give the reference back, or let the child exit, and try again.",
        );
      case HostStatus.Device:
        return say(
          "VMA_INVALID",
          "the pfn behind it is no frame, but a device's",
          "Emulate the device: there is no memory.",
        );
      default:
        if (what === "split")
          return say("VMA_INVALID", "no large page that can be split is there", "Map one with 2m pages.");
        return say(
          "ADDRESS_RANGE",
          "that cannot be done with this range",
          "Use whole pages of user space, of 2 MiB in hugetlb, and no remapped pfns with madvise.",
        );
    }
  }
}
