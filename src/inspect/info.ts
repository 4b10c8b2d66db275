/** `guestmmu info`: what an image is, what its notes say, and which page-table roots are in it. */

import { type CpuNote, type PhysicalImage, type PhysicalRange } from "../images/types.js";
import { renderTable } from "../report/table.js";
import { formatBytes, formatCounted } from "../report/units.js";
import { hex, hex16 } from "./address-text.js";
import { document } from "./json.js";
import { controlBitsOf, eferOf, levelsOf, pagingModeOf, type PagingMode } from "./paging-mode.js";
import { findRoots, holdsRoot, type Root, type RootSearch } from "./roots.js";
import { type SearchOptions } from "./search.js";
import { hintsOf, kernelRootOf, searchInWords } from "./target.js";
import { type Vmcb } from "./vmcb.js";

/** What `info` is asked for besides the image. */
export interface InfoOptions {
  readonly efer?: bigint;
  readonly search?: SearchOptions;
}

/** A CPU's note, and what follows from it. */
export interface CpuInfo {
  readonly cpu: number;
  readonly mode: PagingMode;
  readonly because: string;
  readonly cpl: number;
  readonly rip: bigint;
  readonly rsp: bigint;
  readonly cr0: bigint;
  readonly cr2: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
  /** EFER as assumed or given; null outside of long mode. */
  readonly efer: bigint | null;
  readonly efer_assumed: boolean;
  readonly control: readonly string[];
  /** False: the root that CR3 names is not in the image. */
  readonly root_in_image: boolean;
}

/** All that `info` finds out. */
export interface ImageInfo {
  readonly image: PhysicalImage;
  readonly cpus: readonly CpuInfo[];
  readonly kernelRoot: bigint | null;
  readonly search: RootSearch;
}

export function infoOf(image: PhysicalImage, { efer, search }: InfoOptions = {}): ImageInfo {
  return {
    image,
    cpus: image.cpus.map((note) => cpuInfo(image, note, efer)),
    kernelRoot: kernelRootOf(image),
    search: findRoots(image, hintsOf(image, undefined, efer), search),
  };
}

function cpuInfo(image: PhysicalImage, note: CpuNote, given: bigint | undefined): CpuInfo {
  const { index, registers, segments, cr0, cr2, cr3, cr4 } = note;
  const { mode, because } = pagingModeOf(note, given);
  const long = levelsOf(mode) !== null;
  const efer = eferOf(given);
  return {
    cpu: index,
    mode,
    because,
    // SS.DPL is the CPL (SDM vol. 3A 5.5); the selector of CS agrees with it but for a moment of a far transfer.
    cpl: segments.cs.selector & 3,
    rip: registers.rip,
    rsp: registers.rsp,
    cr0,
    cr2,
    cr3,
    cr4,
    efer: long ? efer.value : null,
    efer_assumed: long && efer.assumed,
    control: controlBitsOf(note),
    root_in_image: mode !== "none" && holdsRoot(image, cr3),
  };
}

/** For programs. */
export function infoJson({ image, cpus, kernelRoot, search }: ImageInfo): string {
  const { roots, vmcbs, extent, truncated } = search;
  const { name, format, compression, ranges, gaps, remarks, vmcoreinfo } = image;
  return document("info", {
    image: { name, format, compression, ranges, gaps, remarks, vmcoreinfo },
    cpus,
    kernel_root: kernelRoot,
    roots: roots.map(({ lowerEntries, upperEntries, ...root }) => ({
      ...root,
      lower_entries: lowerEntries,
      upper_entries: upperEntries,
    })),
    vmcbs,
    search: {
      read_bytes: extent.readBytes,
      skipped_bytes: extent.skippedBytes,
      left_bytes: extent.leftBytes,
      truncated,
    },
  });
}

const FORMATS = {
  raw: "raw: byte N of the file is physical address N",
  elf: "ELF64 core",
  kdump: "kdump-compressed",
  lime: "LiME",
} as const;

/** Ranges, gaps and VMCOREINFO lines that are printed; --json has them all. */
const LINES_MAX = 24;

/** To be read. */
export function infoText(info: ImageInfo): string {
  const { image, cpus, kernelRoot, search } = info;
  const sections = [
    about(image),
    rangeLines(image),
    ...(image.gaps.length === 0 ? [] : [gapLines(image)]),
    ...cpus.map((cpu) => cpuLines(cpu, search)),
    ...(image.vmcoreinfo === null ? [] : [vmcoreinfoLines(image, kernelRoot)]),
    rootLines(search),
    ...search.vmcbs.map((vmcb) => vmcbLines(vmcb)),
  ];
  return `${sections.join("\n\n")}\n`;
}

const labelled = (label: string, text: string): string => `${label.padEnd(12)}${text}`;

function bytesOf(ranges: readonly PhysicalRange[]): bigint {
  return ranges.reduce((sum, { start, end }) => sum + (end - start), 0n);
}

function about({ name, format, compression, ranges, cpus, remarks }: PhysicalImage): string {
  const packed = compression === "none" ? "" : `, compressed with ${compression}`;
  return [
    labelled("image", name),
    labelled("format", FORMATS[format] + packed),
    labelled("memory", `${formatBytes(bytesOf(ranges))} in ${formatCounted(ranges.length, "range")}`),
    labelled("CPUs", cpus.length === 0 ? "the image has no notes of them" : `notes of ${cpus.length}`),
    ...remarks.map((remark) => labelled("note", remark)),
  ].join("\n");
}

/** Lines up to a limit, and how many are left out. */
function capped(lines: readonly string[], what: string): string {
  const left = lines.length - LINES_MAX;
  if (left <= 1) return lines.join("\n");
  return [
    ...lines.slice(0, LINES_MAX),
    `... and ${formatCounted(left, `more ${what}`)} (--json lists all)`,
  ].join("\n");
}

function rangeLines({ ranges }: PhysicalImage): string {
  const lines = ranges.map(
    ({ start, end }) => `${hex16(start)}-${hex16(end - 1n)}  ${formatBytes(end - start)}`,
  );
  return `physical memory in the image\n${lines.length === 0 ? "none" : capped(lines, "range")}`;
}

function gapLines({ gaps }: PhysicalImage): string {
  const lines = gaps.map(({ start, end, why }) => `${hex16(start)}-${hex16(end - 1n)}  ${why}`);
  return `gaps: memory that the image should have\n${capped(lines, "gap")}`;
}

function cpuLines(cpu: CpuInfo, { vmcbs }: RootSearch): string {
  const lines = [
    labelled(`CPU ${cpu.cpu}`, `${cpu.mode === "none" ? "no" : cpu.mode} paging: ${cpu.because}`),
    labelled("", `CPL ${cpu.cpl}, RIP ${hex(cpu.rip)}, RSP ${hex(cpu.rsp)}`),
    labelled("", `CR0 ${hex(cpu.cr0)}, CR2 ${hex(cpu.cr2)}, CR3 ${hex(cpu.cr3)}, CR4 ${hex(cpu.cr4)}`),
  ];
  if (cpu.control.length > 0) lines.push(labelled("", `set: ${cpu.control.join(", ")}`));
  if (cpu.efer !== null)
    lines.push(
      labelled(
        "",
        `EFER ${hex(cpu.efer)}${cpu.efer_assumed ? ", assumed with NXE set: the note has none (--efer)" : ", as given"}`,
      ),
    );
  if (cpu.mode !== "none" && !cpu.root_in_image) {
    const guest = vmcbs.find(({ cr3 }) => cr3 === cpu.cr3);
    const why =
      guest === undefined ? "" : `: it is that of a nested guest, by the VMCB at ${hex(guest.pa)} (--nested)`;
    lines.push(labelled("", `the page that CR3 names is not in the image${why}`));
  }
  return lines.join("\n");
}

function vmcoreinfoLines({ vmcoreinfo }: PhysicalImage, kernelRoot: bigint | null): string {
  const wanted = [
    "OSRELEASE",
    "KERNELOFFSET",
    "NUMBER(phys_base)",
    "NUMBER(pgtable_l5_enabled)",
    "SYMBOL(swapper_pg_dir)",
  ];
  const lines = wanted.flatMap((key) => {
    const value = vmcoreinfo!.get(key);
    return value === undefined ? [] : [`${key}=${value}`];
  });
  const root = kernelRoot === null ? [] : [`the kernel's root is at ${hex(kernelRoot)}`];
  return `VMCOREINFO, ${formatCounted(vmcoreinfo!.size, "line")}\n${[...lines, ...root].join("\n")}`;
}

function rootLines(search: RootSearch): string {
  const nested = new Set(search.vmcbs.map(({ ncr3 }) => ncr3 >> 12n));
  const shown = search.roots.filter(({ supported }) => supported);
  const weak = search.roots.filter(({ supported, pa }) => !supported && !nested.has(pa >> 12n));
  const heading = `page-table roots: ${shown.length} found.${searchInWords(search)}`;
  const columns = [
    { header: "root", align: "right" as const },
    { header: "levels" },
    { header: "lower" },
    { header: "upper" },
    { header: "evidence", wrap: 84 },
  ];
  const rows = shown.map(({ pa, levels, lowerEntries, upperEntries, evidence }: Root) => [
    hex(pa),
    levels,
    lowerEntries,
    upperEntries,
    evidence.join("; "),
  ]);
  const lines = [heading];
  if (rows.length > 0) {
    lines.push(renderTable(columns, rows));
    lines.push("lower, upper: present entries for user space and for the kernel");
  }
  if (weak.length > 0) {
    const list = weak.slice(0, 8).map(({ pa }) => hex(pa));
    const more = weak.length > list.length ? ", ..." : "";
    lines.push(
      `${formatCounted(weak.length, "page")} more would be consistent as a root, and nothing else speaks for it: ${list.join(", ")}${more}`,
    );
  }
  return lines.join("\n");
}

function vmcbLines(vmcb: Vmcb): string {
  const { pa, ncr3, asid, cr0, cr3, cr4, efer, cpl, evidence } = vmcb;
  return [
    labelled("VMCB", `at ${hex(pa)}, ASID ${asid}: a guest with nested paging (--nested)`),
    labelled("", `N_CR3 ${hex(ncr3)}`),
    labelled(
      "",
      `saved at its last exit: CPL ${cpl}, CR0 ${hex(cr0)}, CR3 ${hex(cr3)}, CR4 ${hex(cr4)}, EFER ${hex(efer)}`,
    ),
    ...evidence.map((says) => labelled("", says)),
  ].join("\n");
}
