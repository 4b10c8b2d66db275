/**
 * Physical memory as it was at one moment: what a page walk reads, and what an image file says besides.
 *
 * Addresses are physical, in bytes, as bigints. Memory that can be read is below 2^52, whatever the image claims; only a
 * gap may be beyond.
 */

/** Physical memory to walk. */
export interface PhysicalMemory {
  /**
   * Copies the 4-KByte page with number `pfn` (physical address >> 12, below 2^40) into `target` (4096 bytes).
   *
   * @returns false if the memory does not hold that page as a whole; `target` is then undefined.
   */
  readPage(pfn: number, target: Uint8Array): boolean;
}

/** Consecutive bytes of physical memory; `end` is exclusive. */
export interface PhysicalRange {
  readonly start: bigint;
  readonly end: bigint;
}

/**
 * Bytes that the image should hold and does not, or holds twice. Memory that no header speaks of, such as the hole below
 * 4 GiB, is not a gap.
 */
export interface ImageGap extends PhysicalRange {
  /** A sentence: what is wrong, with the number and the place of the header in the file. */
  readonly why: string;
}

/** How the file as a whole is stored. */
export type ImageCompression = "none" | "gzip" | "zstd";

/**
 * raw: byte N of the file is physical address N. elf: ELF64 core, as of QEMU's dump-guest-memory or /proc/vmcore.
 * kdump: kdump-compressed, as of makedumpfile. lime: Linux Memory Extractor.
 */
export type ImageFormat = "raw" | "elf" | "kdump" | "lime";

/** Physical memory in a file or in bytes, read in windows. */
export interface PhysicalImage extends PhysicalMemory {
  /** The name as the user gave it. */
  readonly name: string;
  readonly format: ImageFormat;
  readonly compression: ImageCompression;
  /**
   * Memory that can be read: ascending, disjoint, and with neighbours merged. At most 2^18: where there would be more,
   * the smallest holes are counted in. `readPage` and `read` know them all the same.
   */
  readonly ranges: readonly PhysicalRange[];
  /** State of each CPU; empty if the format has none. */
  readonly cpus: readonly CpuNote[];
  /** The kernel's VMCOREINFO by key, such as `SYMBOL(swapper_pg_dir)`; null if the image has none. */
  readonly vmcoreinfo: ReadonlyMap<string, string> | null;
  /** Truncation, overlaps, and memory that is declared without being stored: marked here, not fatal. */
  readonly gaps: readonly ImageGap[];
  /** What else was passed over or is unusual, in sentences: notes of an unknown kind, pages excluded from the dump. */
  readonly remarks: readonly string[];
  /**
   * Copies the bytes from `pa` on into `target`.
   *
   * @returns how many bytes there are from `pa` up to the first hole, at most the length of `target`; 0 if there is
   *   no memory at `pa`.
   * @throws GuestMmuError `IMAGE_INVALID` if the page's compressed data are damaged; `IMAGE_UNREADABLE` if the file
   *   cannot be read; `DISPOSED` after `close`. `readPage` throws the same.
   */
  read(pa: bigint, target: Uint8Array): number;
  /** Closes the file, and removes what was unpacked. Closing again does nothing. */
  close(): void;
}

/** The registers of a CPU note that have a word of their own. */
export const GENERAL_REGISTERS = [
  "rax",
  "rbx",
  "rcx",
  "rdx",
  "rsi",
  "rdi",
  "rsp",
  "rbp",
  "r8",
  "r9",
  "r10",
  "r11",
  "r12",
  "r13",
  "r14",
  "r15",
  "rip",
  "rflags",
] as const;

/** The segment registers of a CPU note. Of gdt and idt only base and limit have a meaning. */
export const SEGMENT_REGISTERS = ["cs", "ds", "es", "fs", "gs", "ss", "ldt", "tr", "gdt", "idt"] as const;

export type GeneralRegister = (typeof GENERAL_REGISTERS)[number];
export type SegmentRegister = (typeof SEGMENT_REGISTERS)[number];

/** One segment register with its hidden part. */
export interface SegmentNote {
  readonly selector: number;
  readonly limit: number;
  /** Bits 23:8 are bits 55:40 of the segment descriptor: type, S, DPL, P, limit 19:16, AVL, L, D/B, G. */
  readonly flags: number;
  readonly base: bigint;
}

/** One CPU's state (QEMU's note of type 0, by dump-guest-memory). EFER is not part of it. */
export interface CpuNote {
  /** Number of the note among those of its kind, from 0: QEMU writes them in the order of its CPUs. */
  readonly index: number;
  readonly registers: Readonly<Record<GeneralRegister, bigint>>;
  readonly segments: Readonly<Record<SegmentRegister, SegmentNote>>;
  readonly cr0: bigint;
  readonly cr2: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
  /** MSR IA32_KERNEL_GS_BASE; null in the shorter note of old versions of QEMU. */
  readonly kernelGsBase: bigint | null;
}
