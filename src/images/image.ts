/** The image that all formats but kdump make: pieces of physical memory that lie in the file as they are. */

import { GuestMmuError, usageError } from "../errors.js";
import { type GapLog, PAGE_BYTES } from "./limits.js";
import { RangeList } from "./ranges.js";
import type { SegmentMap } from "./segments.js";
import type { ByteSource } from "./source.js";
import type {
  CpuNote,
  ImageCompression,
  ImageFormat,
  ImageGap,
  PhysicalImage,
  PhysicalRange,
} from "./types.js";

/** What a reader has found out about an image, beside the memory itself. */
export interface ImageFacts {
  readonly format: ImageFormat;
  readonly cpus: readonly CpuNote[];
  readonly vmcoreinfo: ReadonlyMap<string, string> | null;
  readonly gaps: GapLog;
  readonly remarks: readonly string[];
}

/** The part of an image that does not depend on how its pages are found. */
export abstract class ImageOfSource implements PhysicalImage {
  readonly name: string;
  readonly format: ImageFormat;
  readonly ranges: readonly PhysicalRange[];
  readonly cpus: readonly CpuNote[];
  readonly vmcoreinfo: ReadonlyMap<string, string> | null;
  readonly gaps: readonly ImageGap[];
  readonly remarks: readonly string[];
  private isClosed = false;

  constructor(
    protected readonly source: ByteSource,
    readonly compression: ImageCompression,
    ranges: RangeList,
    facts: ImageFacts,
  ) {
    this.name = source.name;
    this.format = facts.format;
    this.ranges = Array.from(ranges, ([start, end]) => ({ start: BigInt(start), end: BigInt(end) }));
    this.cpus = facts.cpus;
    this.vmcoreinfo = facts.vmcoreinfo;
    this.gaps = facts.gaps.sorted();
    this.remarks = facts.remarks;
  }

  /** `read` with an address that has been checked: a safe integer from 0 to 2^52 - 1. */
  protected abstract copy(from: number, target: Uint8Array): number;

  readPage(pfn: number, target: Uint8Array): boolean {
    if (!(pfn >= 0 && pfn < 2 ** 40) || !Number.isInteger(pfn)) {
      throw usageError(`${pfn} is not a page number.`, "Pass an integer from 0 to 2^40 - 1.");
    }
    if (target.length !== PAGE_BYTES) {
      throw usageError(`The target has ${target.length} bytes.`, `A page takes ${PAGE_BYTES}.`);
    }
    this.refuseClosed();
    return this.copy(pfn * PAGE_BYTES, target) === PAGE_BYTES;
  }

  read(pa: bigint, target: Uint8Array): number {
    if (pa < 0n) throw usageError(`${pa} is not a physical address.`, "Pass a bigint from 0 to 2^52 - 1.");
    this.refuseClosed();
    return pa >> 52n === 0n ? this.copy(Number(pa), target) : 0;
  }

  close(): void {
    this.isClosed = true;
    this.source.close();
  }

  private refuseClosed(): void {
    if (!this.isClosed) return;
    throw new GuestMmuError("DISPOSED", {
      message: `${this.name}: the image was closed.`,
      hint: "Read before close(), or open it again.",
    });
  }
}

/** Memory in pieces of the file. */
export class SegmentedImage extends ImageOfSource {
  constructor(
    source: ByteSource,
    compression: ImageCompression,
    private readonly segments: SegmentMap,
    facts: ImageFacts,
  ) {
    super(source, compression, RangeList.of(segments.ranges()), facts);
  }

  protected override copy(from: number, target: Uint8Array): number {
    return this.segments.copy(from, target.length, (position, offset, length) =>
      this.source.read(position, target.subarray(offset, offset + length)),
    );
  }
}
