/**
 * ELF notes of memory images: the state of each CPU as QEMU's dump-guest-memory writes it, and the kernel's VMCOREINFO.
 * The notes of other writers, NT_PRSTATUS among them, say nothing of page tables and are passed over.
 */

import { type RemarkLog } from "./limits.js";
import { type ByteSource, bytesAt, fieldsOf } from "./source.js";
import {
  type CpuNote,
  GENERAL_REGISTERS,
  type GeneralRegister,
  SEGMENT_REGISTERS,
  type SegmentNote,
  type SegmentRegister,
} from "./types.js";

/** CPUs of which a note is kept: the most that Linux can be configured for on x86 (NR_CPUS). */
const CPUS_MAX = 8192;

/** Notes of one image that are looked at. A dump has two for each CPU, and a few. */
const NOTES_MAX = 2 ** 16;

/** Bytes of VMCOREINFO that are read. The kernel fills one page, or a few. */
const VMCOREINFO_BYTES_MAX = 2 ** 20;

/** Elf64_Nhdr: n_namesz, n_descsz, n_type. */
const NOTE_HEADER_BYTES = 12;

// QEMU's state of an x86 CPU, version 1, all little-endian:
//   0    u32 version, u32 size
//   8    u64 x 18       rax rbx rcx rdx rsi rdi rsp rbp r8..r15 rip rflags
//   152  24 bytes x 10  cs ds es fs gs ss ldt tr gdt idt: u32 selector, limit, flags, pad; u64 base
//   392  u64 x 5        cr0..cr4
//   432  u64            kernel_gs_base, if `size` reaches so far
const SEGMENTS_AT = 8 + 8 * GENERAL_REGISTERS.length;
const SEGMENT_BYTES = 24;
const CONTROL_AT = SEGMENTS_AT + SEGMENT_BYTES * SEGMENT_REGISTERS.length;
const KERNEL_GS_BASE_AT = CONTROL_AT + 5 * 8;
const CPU_BYTES = KERNEL_GS_BASE_AT + 8;

/** What the notes of one image say. */
export class Notes {
  readonly cpus: CpuNote[] = [];
  vmcoreinfo: ReadonlyMap<string, string> | null = null;
  private looked = 0;

  constructor(
    private readonly source: ByteSource,
    private readonly remarks: RemarkLog,
  ) {}

  /**
   * Reads the notes between `position` and `position + length` of the file. Whatever is damaged ends the reading with a
   * remark: the memory can be used without.
   */
  read(position: number, length: number): void {
    const { source, remarks } = this;
    const end = position + length;
    for (let at = position; at + NOTE_HEADER_BYTES <= end;) {
      if (this.looked++ >= NOTES_MAX) {
        remarks.add(
          `The notes from byte ${at} on are beyond the limit of ${NOTES_MAX} and were passed over.`,
        );
        return;
      }
      const header = bytesAt(source, at, NOTE_HEADER_BYTES);
      if (header.length < NOTE_HEADER_BYTES) {
        remarks.add(`The file ends in the notes, at byte ${at}.`);
        return;
      }
      const fields = fieldsOf(header);
      const nameBytes = fields.getUint32(0, true);
      const contentBytes = fields.getUint32(4, true);
      // An empty note ends a list: the kernel leaves one after the notes of each CPU.
      if (nameBytes === 0 && contentBytes === 0) return;
      const contentAt = at + NOTE_HEADER_BYTES + aligned(nameBytes);
      if (contentAt + contentBytes > Math.min(end, source.size)) {
        remarks.add(`The note at byte ${at} has ${contentBytes} bytes, which go past the end of the notes.`);
        return;
      }
      const name = nameBytes <= 16 ? textOf(bytesAt(source, at + NOTE_HEADER_BYTES, nameBytes)) : "";
      if (name === "QEMU") this.addCpu(contentAt, contentBytes);
      if (name === "VMCOREINFO") this.vmcoreinfo ??= readVmcoreinfo(source, contentAt, contentBytes);
      at = contentAt + aligned(contentBytes);
    }
  }

  private addCpu(position: number, length: number): void {
    const { cpus, remarks } = this;
    if (cpus.length >= CPUS_MAX) {
      remarks.add(`The CPU note at byte ${position} is beyond the limit of ${CPUS_MAX} and was passed over.`);
      return;
    }
    const content = bytesAt(this.source, position, Math.min(length, CPU_BYTES));
    const fields = fieldsOf(content);
    const version = content.length >= 8 ? fields.getUint32(0, true) : 0;
    const size = content.length >= 8 ? Math.min(fields.getUint32(4, true), content.length) : 0;
    if (version !== 1 || size < KERNEL_GS_BASE_AT) {
      const what = `has ${length} bytes and states version ${version}`;
      remarks.add(
        `The CPU note at byte ${position} ${what}: it is none of QEMU's for x86 and was passed over.`,
      );
      return;
    }
    cpus.push(parseCpu(fields, cpus.length, size >= CPU_BYTES));
  }
}

/**
 * VMCOREINFO between `position` and `position + length` of the file: lines `key=value`. Of a key that stands there twice
 * the last value is kept; other lines are passed over.
 */
export function readVmcoreinfo(
  source: ByteSource,
  position: number,
  length: number,
): ReadonlyMap<string, string> {
  const bytes = bytesAt(source, position, Math.min(length, VMCOREINFO_BYTES_MAX));
  const values = new Map<string, string>();
  for (const line of textOf(bytes).split("\n")) {
    const equals = line.indexOf("=");
    if (equals > 0) values.set(line.slice(0, equals), line.slice(equals + 1));
  }
  return values;
}

function parseCpu(fields: DataView, index: number, hasKernelGsBase: boolean): CpuNote {
  const u64 = (at: number) => fields.getBigUint64(at, true);
  const control = (number: number) => u64(CONTROL_AT + 8 * number);
  return {
    index,
    registers: record<GeneralRegister, bigint>(GENERAL_REGISTERS, (register) => u64(8 + 8 * register)),
    segments: record<SegmentRegister, SegmentNote>(SEGMENT_REGISTERS, (register) =>
      readSegment(fields, SEGMENTS_AT + SEGMENT_BYTES * register),
    ),
    cr0: control(0),
    cr2: control(2),
    cr3: control(3),
    cr4: control(4),
    kernelGsBase: hasKernelGsBase ? u64(KERNEL_GS_BASE_AT) : null,
  };
}

function readSegment(fields: DataView, at: number): SegmentNote {
  return {
    selector: fields.getUint32(at, true),
    limit: fields.getUint32(at + 4, true),
    flags: fields.getUint32(at + 8, true),
    base: fields.getBigUint64(at + 16, true),
  };
}

function record<Key extends string, Value>(
  keys: readonly Key[],
  value: (index: number) => Value,
): Record<Key, Value> {
  return Object.fromEntries(keys.map((key, index) => [key, value(index)])) as Record<Key, Value>;
}

/** Names and contents of notes fill multiples of four bytes, in 64-bit cores too. */
function aligned(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}

/** ASCII up to the first NUL, or all of it. */
function textOf(bytes: Uint8Array): string {
  const nul = bytes.indexOf(0);
  return new TextDecoder("latin1").decode(nul < 0 ? bytes : bytes.subarray(0, nul));
}
