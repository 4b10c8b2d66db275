/**
 * kdump-compressed dumps, as QEMU and makedumpfile write them for x86-64. In blocks of a page:
 *
 *   0                     disk_dump_header
 *   1                     kdump_sub_header
 *   1 + sub               bitmaps: pages that there are, then pages that the dump holds
 *   1 + sub + bitmaps     page descriptors, one for each page held, by pfn
 *                         notes, VMCOREINFO, pages: where header and descriptors say
 */

import { PageBitmap } from "./bitmap.js";
import { CachedSource } from "./cache.js";
import type { Codecs } from "./codecs.js";
import { type ImageFacts, ImageOfSource } from "./image.js";
import { GapLog, PAGE_BYTES, type RemarkLog, invalid, showNumber, truncated, unsupported } from "./limits.js";
import { Notes, readVmcoreinfo } from "./notes.js";
import { RangeList } from "./ranges.js";
import { type ByteSource, bytesAt, fieldNumber, fieldsOf } from "./source.js";
import type { ImageCompression, PhysicalImage } from "./types.js";

export const KDUMP_SIGNATURE = "KDUMP   ";

const HEADER_BYTES = 464;
const SUB_HEADER_BYTES = 104;
const DESCRIPTOR_BYTES = 24;

/** Versions of the header: 3 brought VMCOREINFO, 4 notes, 6 the 64-bit number of pages. */
const VERSION_MIN = 1;
const VERSION_MAX = 6;

/** Pages that a dump may declare: 64 TiB. Their bitmaps, of 2 GiB each, are read when it is opened. */
const PAGES_MAX = 2 ** 34;

/** Page descriptors that are searched for what a truncation took: those of 256 GiB. */
const SEARCH_MAX = 2 ** 26;
/** Runs of missing pages that are told apart. */
const MISSING_MAX = 1000;

/** disk_dump_header.status and page_desc.flags. */
const COMPRESSED_ZLIB = 0x1;
const COMPRESSED_LZO = 0x2;
const COMPRESSED_SNAPPY = 0x4;
const COMPRESSED_ZSTD = 0x20;
/** status only: the writer ran out of room. */
const STATUS_INCOMPLETE = 0x8;

/** What is used of the two headers. */
interface Header {
  readonly version: number;
  readonly status: number;
  readonly pages: number;
  readonly bitmapAt: number;
  readonly bitmapBytes: number;
  readonly descriptorsAt: number;
  readonly dumpLevel: number;
  readonly vmcoreinfo: Extent;
  readonly notes: Extent;
}

interface Extent {
  readonly position: number;
  readonly length: number;
}

interface Descriptor extends Extent {
  readonly flags: number;
}

/** True if a kdump in `source` has pages compressed with zstd, for which `kdumpImage` needs the decoder. */
export function needsZstd(source: ByteSource): boolean {
  const header = bytesAt(source, 0, HEADER_BYTES);
  return header.length === HEADER_BYTES && (fieldsOf(header).getUint32(424, true) & COMPRESSED_ZSTD) !== 0;
}

/**
 * @throws GuestMmuError `IMAGE_TRUNCATED` if the file ends in its headers or bitmaps; `IMAGE_INVALID` for headers that no
 *   writer makes; `UNSUPPORTED` for other machines, split dumps, and pages compressed with LZO or snappy, or zstd
 *   without its decoder.
 */
export function kdumpImage(
  source: ByteSource,
  compression: ImageCompression,
  remarks: RemarkLog,
  codecs: Codecs,
): PhysicalImage {
  const header = parseHeaders(source);
  refuseCompressions(source.name, header.status, codecs);
  if ((header.status & STATUS_INCOMPLETE) !== 0) {
    remarks.add("The header says that the writer ran out of room: pages are missing.");
  }
  const { pages, bitmapAt, bitmapBytes } = header;
  const halfBytes = bitmapBytes / 2;
  const hasTwo = halfBytes * 8 >= pages;
  const gaps = new GapLog();
  let ranges = new RangeList();
  const held = new PageBitmap(source, hasTwo ? bitmapAt + halfBytes : bitmapAt, pages, (first, end) =>
    ranges.add(first * PAGE_BYTES, end * PAGE_BYTES),
  );
  if (hasTwo) markExcluded(held, header, gaps, remarks);
  const descriptors = new Descriptors(source, header.descriptorsAt);
  const isCut = held.count > 0 && descriptors.isMissing(descriptors.read(held.count - 1));
  const areMissingMarked = isCut && held.count <= SEARCH_MAX;
  if (isCut) {
    const rest = areMissingMarked ? "" : `; which pages are missing is not searched for beyond ${SEARCH_MAX}`;
    remarks.add(`The file was cut off: it does not hold the last page of the dump${rest}.`);
  }
  if (areMissingMarked) ranges = markMissing(held, descriptors, gaps);
  const notes = new Notes(source, remarks);
  notes.read(header.notes.position, header.notes.length);
  const { position, length } = header.vmcoreinfo;
  const vmcoreinfo = length > 0 ? readVmcoreinfo(source, position, length) : notes.vmcoreinfo;
  const facts = { format: "kdump", cpus: notes.cpus, vmcoreinfo, gaps, remarks: remarks.all() } as const;
  return new KdumpImage(source, compression, ranges, facts, held, descriptors, areMissingMarked, codecs);
}

class KdumpImage extends ImageOfSource {
  /** The page that was read last, decoded: reads that are smaller than a page come in rows. */
  private readonly page = new Uint8Array(PAGE_BYTES);
  private pagePfn = -1;

  constructor(
    source: ByteSource,
    compression: ImageCompression,
    ranges: RangeList,
    facts: ImageFacts,
    private readonly held: PageBitmap,
    private readonly descriptors: Descriptors,
    private readonly areMissingMarked: boolean,
    private readonly codecs: Codecs,
  ) {
    super(source, compression, ranges, facts);
  }

  protected override copy(from: number, target: Uint8Array): number {
    let done = 0;
    while (done < target.length) {
      const offset = (from + done) % PAGE_BYTES;
      if (!this.load((from + done - offset) / PAGE_BYTES)) break;
      const found = this.page.subarray(offset, offset + target.length - done);
      target.set(found, done);
      done += found.length;
    }
    return done;
  }

  /** Decodes the page `pfn` into `page`; false if the dump does not hold it. */
  private load(pfn: number): boolean {
    if (pfn === this.pagePfn) return true;
    const rank = this.held.rank(pfn);
    if (rank < 0) return false;
    const descriptor = this.descriptors.read(rank);
    if (this.areMissingMarked && this.descriptors.isMissing(descriptor)) return false;
    this.pagePfn = -1;
    const fault = this.decode(descriptor);
    if (fault !== null) {
      const { position, length } = descriptor;
      const where = `its descriptor at byte ${this.descriptors.position(rank)} says ${length} bytes at ${showNumber(position)}`;
      throw invalid(
        this.name,
        `pfn 0x${pfn.toString(16)} cannot be decoded: ${fault}; ${where}`,
        "Copy or take the dump again, if this page matters.",
      );
    }
    this.pagePfn = pfn;
    return true;
  }

  /** Fills `page`, or says why that cannot be done. */
  private decode({ position, length, flags }: Descriptor): string | null {
    const { page, codecs } = this;
    // No page takes more room than it has bytes: one that does not become smaller is stored as it is.
    if (length === 0 || length > PAGE_BYTES) return "its length is none that a page can have";
    const stored = bytesAt(this.source, position, length);
    if (stored.length < length) return "it lies beyond the end of the file";
    if (flags === 0) {
      if (length < PAGE_BYTES) return "it is not compressed, and shorter than a page";
      page.set(stored);
      return null;
    }
    if (flags === COMPRESSED_ZLIB) return codecs.inflate(stored, page) ? null : "its zlib data are damaged";
    if (flags === COMPRESSED_ZSTD && codecs.zstd !== null) {
      return codecs.zstd.decodePage(stored, page) ? null : "its zstd data are damaged";
    }
    return `its flags are 0x${flags.toString(16)}, which the header does not announce`;
  }
}

/** The table of page descriptors: i64 position, u32 length, u32 flags, u64 page flags. */
class Descriptors {
  private readonly cached: CachedSource;
  private readonly bytes = new Uint8Array(DESCRIPTOR_BYTES);
  private readonly fields = fieldsOf(this.bytes);

  constructor(
    source: ByteSource,
    private readonly tableAt: number,
  ) {
    this.cached = new CachedSource(source);
  }

  /** Position in the file of the descriptor of the page of that rank. */
  position(rank: number): number {
    return this.tableAt + rank * DESCRIPTOR_BYTES;
  }

  /** All zero where the file has ended. */
  read(rank: number): Descriptor {
    const { bytes, fields } = this;
    bytes.fill(0, this.cached.read(this.position(rank), bytes));
    return {
      position: fieldNumber(fields, 0),
      length: fields.getUint32(8, true),
      flags: fields.getUint32(12, true),
    };
  }

  /** True if the page or its descriptor is where the file has ended, or never was written. */
  isMissing({ position, length }: Descriptor): boolean {
    return length === 0 || position + length > this.cached.size;
  }
}

/** Marks the pages that a file which was cut off lacks; the ranges of those that it has. */
function markMissing(held: PageBitmap, descriptors: Descriptors, gaps: GapLog): RangeList {
  const ranges = new RangeList();
  const missing = new RangeList(MISSING_MAX);
  let rank = 0;
  held.forEachRun((first, end) => {
    for (let pfn = first; pfn < end; pfn++, rank++) {
      const list = descriptors.isMissing(descriptors.read(rank)) ? missing : ranges;
      list.add(pfn * PAGE_BYTES, (pfn + 1) * PAGE_BYTES);
    }
  });
  for (const [start, end] of missing) gaps.add(start, end, "The file was cut off before these pages.");
  return ranges;
}

/** Pages that the machine had and the dump left out are a gap each run, and counted in a remark. */
function markExcluded(
  held: PageBitmap,
  { bitmapAt, dumpLevel }: Header,
  gaps: GapLog,
  remarks: RemarkLog,
): void {
  const why = `Left out of the dump (dump level ${dumpLevel}).`;
  let count = 0;
  held.forEachRunMissing(bitmapAt, (first, end) => {
    count += end - first;
    gaps.add(first * PAGE_BYTES, end * PAGE_BYTES, why);
  });
  if (count > 0) remarks.add(`${count} pages were left out of the dump (dump level ${dumpLevel}).`);
}

function parseHeaders(source: ByteSource): Header {
  const { name } = source;
  const bytes = bytesAt(source, 0, HEADER_BYTES);
  if (bytes.length < HEADER_BYTES) {
    throw truncated(name, `has ${bytes.length} bytes; the header of a kdump takes ${HEADER_BYTES}`);
  }
  const header = fieldsOf(bytes);
  const text = (from: number, length: number) =>
    new TextDecoder("latin1").decode(bytes.subarray(from, from + length)).split("\0", 1)[0]!;
  if (text(0, 8) !== KDUMP_SIGNATURE) {
    throw invalid(name, `does not begin with "${KDUMP_SIGNATURE}"`, "Leave the format to be detected.");
  }
  // new_utsname has six fields of 65 bytes from 12 on; the fifth is the machine.
  const machine = text(12 + 4 * 65, 65);
  if (machine !== "x86_64" && machine !== "") {
    throw unsupported(
      name,
      `was taken on ${JSON.stringify(machine)}`,
      "Only memory of x86_64 machines is read.",
    );
  }
  const version = header.getInt32(8, true);
  const blockBytes = header.getInt32(428, true);
  const subHeaderBlocks = header.getInt32(432, true);
  const bitmapBlocks = header.getUint32(436, true);
  if (version < VERSION_MIN || version > VERSION_MAX) {
    throw unsupported(
      name,
      `has a kdump header of version ${version} at byte 8; ${VERSION_MIN} to ${VERSION_MAX} are read`,
      "Convert it: makedumpfile -E FILE OUT",
    );
  }
  if (blockBytes !== PAGE_BYTES || subHeaderBlocks < 1) {
    throw invalid(
      name,
      `has blocks of ${blockBytes} bytes at byte 428, of which ${subHeaderBlocks} are its sub-header`,
      `Take the dump again: blocks of x86-64 dumps have ${PAGE_BYTES} bytes, and there is a sub-header.`,
    );
  }
  const subBytes = new Uint8Array(SUB_HEADER_BYTES);
  source.read(blockBytes, subBytes);
  const sub = fieldsOf(subBytes);
  if (version >= 2 && sub.getInt32(12, true) !== 0) {
    throw unsupported(
      name,
      "is one part of a split dump",
      "Join the parts: makedumpfile --reassemble PARTS OUT",
    );
  }
  const extent = (at: number): Extent => ({
    position: fieldNumber(sub, at),
    length: fieldNumber(sub, at + 8),
  });
  const none: Extent = { position: 0, length: 0 };
  const bitmapAt = (1 + subHeaderBlocks) * blockBytes;
  const bitmapBytes = bitmapBlocks * blockBytes;
  const pages = version >= 6 ? fieldNumber(sub, 96) : header.getUint32(440, true);
  if (pages > PAGES_MAX || bitmapBytes * 8 < pages) {
    throw invalid(
      name,
      `declares ${showNumber(pages)} pages, and bitmaps of ${bitmapBytes} bytes at byte 436`,
      `Take the dump again: each page needs its bit, and the limit is ${PAGES_MAX} pages.`,
    );
  }
  if (bitmapAt + bitmapBytes > source.size) {
    throw truncated(name, `has ${source.size} bytes; its bitmaps reach to byte ${bitmapAt + bitmapBytes}`);
  }
  return {
    version,
    status: header.getUint32(424, true),
    pages,
    bitmapAt,
    bitmapBytes,
    descriptorsAt: bitmapAt + bitmapBytes,
    dumpLevel: sub.getInt32(8, true),
    vmcoreinfo: version >= 3 ? extent(32) : none,
    notes: version >= 4 ? extent(48) : none,
  };
}

function refuseCompressions(name: string, status: number, codecs: Codecs): void {
  const what = (status & COMPRESSED_LZO) !== 0 ? "LZO" : (status & COMPRESSED_SNAPPY) !== 0 ? "snappy" : null;
  if (what !== null) {
    throw unsupported(
      name,
      `has pages compressed with ${what}; zlib and zstd are read`,
      "Convert it (makedumpfile -c FILE OUT), or take the dump with zlib (QEMU: dump-guest-memory -z).",
    );
  }
  if ((status & COMPRESSED_ZSTD) !== 0 && codecs.zstd === null) {
    throw unsupported(
      name,
      "has pages compressed with zstd, and the decoder is not loaded",
      "Pass `zstd: await loadZstd()` with the options.",
    );
  }
}
