/** Bounds of what is believed of a header, and the sentences for what was not. */

import { GuestMmuError } from "../errors.js";
import type { ImageGap } from "./types.js";

export const PAGE_BYTES = 4096;

/** First address beyond the physical address space of x86-64 (MAXPHYADDR is at most 52). */
export const PHYSICAL_END = 2 ** 52;

/** Pieces of memory that one image may have: program headers, LiME ranges. 400 bytes each, while the file is opened. */
export const SEGMENTS_MAX = 2 ** 18;

/** Ranges that an image lists at most. */
export const RANGES_MAX = 2 ** 18;

/** Gaps that are described one by one; further ones are only counted. */
const GAPS_MAX = 1000;

/** Remarks that are kept of one image. */
const REMARKS_MAX = 100;

/** Collects the gaps of one image, up to a limit. */
export class GapLog {
  private readonly gaps: ImageGap[] = [];
  private dropped = 0;
  private droppedStart = Infinity;
  private droppedEnd = 0;

  /** True if further gaps are only counted. */
  get isFull(): boolean {
    return this.gaps.length >= GAPS_MAX;
  }

  /**
   * Marks the bytes from `start` to `end` (exclusive); without any bytes, nothing. Above 2^53, where no memory is, the
   * two are as near to what the header says as a double gets.
   */
  add(start: number, end: number, why: string): void {
    if (end <= start) return;
    if (!this.isFull) {
      this.gaps.push({ start: BigInt(start), end: BigInt(end), why });
      return;
    }
    this.dropped++;
    this.droppedStart = Math.min(this.droppedStart, start);
    this.droppedEnd = Math.max(this.droppedEnd, end);
  }

  /** All gaps by address; the ones beyond the limit are one, which covers them all. */
  sorted(): readonly ImageGap[] {
    const gaps = [...this.gaps];
    if (this.dropped > 0) {
      const why = `${this.dropped} more gaps, between these addresses.`;
      gaps.push({ start: BigInt(this.droppedStart), end: BigInt(this.droppedEnd), why });
    }
    return gaps.sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  }
}

/** Collects what is said about an image as a whole, up to a limit: a damaged file may give rise to any number. */
export class RemarkLog {
  private readonly remarks: string[] = [];

  add(remark: string): void {
    if (this.remarks.length < REMARKS_MAX) this.remarks.push(remark);
    else if (this.remarks.length === REMARKS_MAX) this.remarks.push("There is more of this kind.");
  }

  all(): readonly string[] {
    return this.remarks;
  }
}

/** A physical address, or a length, in messages. */
export function showAddress(address: number | bigint): string {
  return `0x${BigInt(address).toString(16)}`;
}

/** A number of a header in messages. Above 2^53 a double would print with zeros that are not its own. */
export function showNumber(number: number): string {
  return BigInt(number).toString();
}

/** `IMAGE_INVALID`: `name` has a header that no writer of the format makes. */
export function invalid(name: string, what: string, hint: string, cause?: unknown): GuestMmuError {
  return new GuestMmuError("IMAGE_INVALID", { message: `${name}: ${what}.`, hint, cause });
}

/** `IMAGE_TRUNCATED`: `name` ends before its headers do, so that nothing of it can be used. */
export function truncated(name: string, what: string): GuestMmuError {
  return new GuestMmuError("IMAGE_TRUNCATED", {
    message: `${name}: ${what}.`,
    hint: "Copy or take the dump again, and compare the sizes of the two files.",
  });
}

/** `UNSUPPORTED`: `name` is sound, but of a kind that is not read here. */
export function unsupported(name: string, what: string, hint: string): GuestMmuError {
  return new GuestMmuError("UNSUPPORTED", { message: `${name}: ${what}.`, hint });
}
