/**
 * ELF64 core images of physical memory: QEMU's dump-guest-memory, /proc/vmcore, makedumpfile -E. PT_LOAD segments
 * give memory by physical address, PT_NOTE segments the state of the CPUs. Layouts: System V ABI, chapters 4 and 5.
 */

import { SegmentedImage } from "./image.js";
import {
  GapLog,
  type RemarkLog,
  SEGMENTS_MAX,
  invalid,
  showNumber,
  truncated,
  unsupported,
} from "./limits.js";
import { Notes } from "./notes.js";
import { type DeclaredSegment, SegmentMap } from "./segments.js";
import { type ByteSource, bytesAt, fieldNumber, fieldsOf } from "./source.js";
import type { ImageCompression, PhysicalImage } from "./types.js";

export const ELF_MAGIC = [0x7f, 0x45, 0x4c, 0x46] as const;

/** Elf64_Ehdr and Elf64_Phdr. */
const HEADER_BYTES = 64;
const PROGRAM_HEADER_BYTES = 56;
/** Elf64_Shdr. */
const SECTION_HEADER_BYTES = 64;

const ELFCLASS32 = 1;
const ELFCLASS64 = 2;
const ELFDATA2LSB = 1;
const ET_CORE = 4;
const EM_386 = 3;
const EM_X86_64 = 62;
const PT_LOAD = 1;
const PT_NOTE = 4;
/** e_phnum of a file with more program headers than fit: their number is sh_info of section header 0. */
const PN_XNUM = 0xffff;

/** Program headers read at a time. */
const CHUNK_HEADERS = 1024;

/** Machines that dumps are mistaken for this one's, by e_machine. */
const OTHER_MACHINES: Readonly<Record<number, string>> = {
  8: "MIPS",
  21: "64-bit PowerPC",
  22: "S/390",
  40: "32-bit ARM",
  183: "AArch64",
  243: "RISC-V",
  258: "LoongArch",
};

/**
 * @throws GuestMmuError `IMAGE_TRUNCATED` if the file ends in its headers; `IMAGE_INVALID` for headers that no writer
 *   makes, and for cores of processes; `UNSUPPORTED` for 32-bit cores and other machines.
 */
export function elfImage(
  source: ByteSource,
  compression: ImageCompression,
  remarks: RemarkLog,
): PhysicalImage {
  const header = bytesAt(source, 0, HEADER_BYTES);
  refuseOthers(source.name, header);
  const notes = new Notes(source, remarks);
  const loads: DeclaredSegment[] = [];
  const addresses = new Set<number>();
  for (const { type, declared, virtual } of programHeaders(source, fieldsOf(header))) {
    if (type === PT_NOTE) notes.read(declared.position, declared.stored);
    if (type !== PT_LOAD || declared.length === 0) continue;
    loads.push(declared);
    if (addresses.size < 2 && declared.start === 0) addresses.add(virtual);
  }
  if (loads.length === 0) {
    throw invalid(source.name, "has no PT_LOAD segment: it holds no memory", "Take the dump again.");
  }
  refuseProcess(source.name, loads, addresses);
  const gaps = new GapLog();
  const segments = SegmentMap.of(loads, source.size, "The program header", gaps);
  return new SegmentedImage(source, compression, segments, {
    format: "elf",
    cpus: notes.cpus,
    vmcoreinfo: notes.vmcoreinfo,
    gaps,
    remarks: remarks.all(),
  });
}

function refuseOthers(name: string, header: Uint8Array): void {
  if (header.length < HEADER_BYTES) {
    throw truncated(name, `is an ELF file of ${header.length} bytes; its header alone takes ${HEADER_BYTES}`);
  }
  const fields = fieldsOf(header);
  if (!ELF_MAGIC.every((byte, index) => header[index] === byte)) {
    throw invalid(name, "does not begin with the magic of ELF files", "Leave the format to be detected.");
  }
  const [elfClass, order] = [fields.getUint8(4), fields.getUint8(5)];
  if (elfClass === ELFCLASS32) {
    throw unsupported(
      name,
      "is a 32-bit ELF file (EI_CLASS is 1 at byte 4): its guest ran without 64-bit paging",
      "Only 64-bit guests are walked. For the memory alone, take a raw dump (QEMU: pmemsave).",
    );
  }
  if (elfClass !== ELFCLASS64 || order > 2 || order === 0) {
    throw invalid(
      name,
      `begins like an ELF file, but EI_CLASS is ${elfClass} and EI_DATA is ${order} at bytes 4 and 5`,
      'Take the dump again; if it is raw memory that only happens to begin so, open it with format "raw".',
    );
  }
  if (order !== ELFDATA2LSB) {
    throw unsupported(name, "is a big-endian ELF file", "Only memory of x86-64 machines is read.");
  }
  const machine = fields.getUint16(18, true);
  // QEMU states EM_386 for a guest that is not in long mode; the layout is the 64-bit one all the same.
  if (machine !== EM_X86_64 && machine !== EM_386) {
    const what = OTHER_MACHINES[machine] ?? "another machine";
    throw unsupported(
      name,
      `is a core of ${what} (e_machine is ${machine} at byte 18)`,
      "Only memory of x86-64 machines is read (e_machine 62, or 3).",
    );
  }
  const type = fields.getUint16(16, true);
  if (type !== ET_CORE) {
    throw invalid(
      name,
      `is an ELF file, but no core: e_type is ${type} at byte 16, not ${ET_CORE}`,
      "Name a memory dump, not a program or a kernel.",
    );
  }
}

interface ProgramHeader {
  readonly type: number;
  readonly virtual: number;
  readonly declared: DeclaredSegment;
}

function* programHeaders(source: ByteSource, header: DataView): Generator<ProgramHeader> {
  const { name } = source;
  const tableAt = fieldNumber(header, 32);
  const bytes = header.getUint16(54, true);
  const count = programHeaderCount(source, header);
  if (count === 0) throw invalid(name, "has no program headers", "Take the dump again.");
  if (bytes !== PROGRAM_HEADER_BYTES) {
    throw invalid(
      name,
      `e_phentsize is ${bytes} at byte 54; a 64-bit program header has ${PROGRAM_HEADER_BYTES} bytes`,
      "Take the dump again.",
    );
  }
  if (count > SEGMENTS_MAX) {
    throw invalid(
      name,
      `declares ${count} program headers; the limit is ${SEGMENTS_MAX}`,
      "Take the dump as kdump-compressed or raw.",
    );
  }
  if (tableAt + count * bytes > source.size) {
    throw truncated(
      name,
      `has ${source.size} bytes; its ${count} program headers take up to byte ${showNumber(tableAt + count * bytes)}`,
    );
  }
  for (let first = 0; first < count; first += CHUNK_HEADERS) {
    const chunk = Math.min(CHUNK_HEADERS, count - first);
    const fields = fieldsOf(bytesAt(source, tableAt + first * bytes, chunk * bytes));
    for (let at = 0; at + bytes <= fields.byteLength; at += bytes) {
      yield {
        type: fields.getUint32(at, true),
        virtual: fieldNumber(fields, at + 16),
        declared: {
          start: fieldNumber(fields, at + 24),
          length: fieldNumber(fields, at + 40),
          stored: fieldNumber(fields, at + 32),
          position: fieldNumber(fields, at + 8),
          header: tableAt + first * bytes + at,
        },
      };
    }
  }
}

function programHeaderCount(source: ByteSource, header: DataView): number {
  const count = header.getUint16(56, true);
  if (count !== PN_XNUM) return count;
  const sectionAt = fieldNumber(header, 40);
  const section = bytesAt(source, sectionAt, SECTION_HEADER_BYTES);
  if (sectionAt === 0 || section.length < SECTION_HEADER_BYTES) {
    throw truncated(
      source.name,
      `e_phnum is 65535 at byte 56, which leaves the count to section header 0; byte ${showNumber(sectionAt)} has none`,
    );
  }
  return fieldsOf(section).getUint32(44, true);
}

/** A core of a process has no physical addresses: p_paddr is 0 in all its segments. */
function refuseProcess(name: string, loads: readonly DeclaredSegment[], virtual: ReadonlySet<number>): void {
  if (loads.length < 2 || virtual.size < 2 || loads.some((load) => load.start !== 0)) return;
  throw invalid(
    name,
    `is a core of a process: p_paddr is 0 in all ${loads.length} PT_LOAD segments`,
    "Name a dump of a machine's physical memory, such as dump-guest-memory of QEMU makes.",
  );
}
