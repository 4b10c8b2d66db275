/** `guestmmu read`: bytes at virtual addresses, page by page, with the holes said. */

import { PFERR_P, PFERR_RSVD } from "../core/layout.generated.js";
import { describeFault } from "../machine/access-result.js";
import { type Translation } from "../machine/translation.js";
import { type PageWalker } from "../walker/index.js";
import { ByteWriter, type Sink } from "./byte-writer.js";
import { hex, hex16 } from "./address-text.js";

/** A piece of what was asked for. */
export type Piece =
  /** Bytes; the array is the reader's own. */
  | { readonly gva: bigint; readonly bytes: Uint8Array }
  /** Addresses that lead to no byte, up to `end` (exclusive), and why. */
  | { readonly gva: bigint; readonly end: bigint; readonly why: string };

const PIECE_BYTES = 1n << 20n;

/**
 * Reads `length` bytes from `gva` on, in pieces, in order, whoever may read them. A hole is passed over in one step as large
 * as what the entry spans that ends the walk, so that a terabyte of nothing costs as much as a page of it.
 */
export function* readPieces(walker: PageWalker, gva: bigint, length: bigint): Generator<Piece, void> {
  const end = gva + length;
  let hole: { gva: bigint; end: bigint; why: string } | null = null;
  for (let at = gva; at < end;) {
    // Pieces end at multiples of their size: no line of a dump is torn in two.
    const bytes = new Uint8Array(Number(minimum(end - at, PIECE_BYTES - (at % PIECE_BYTES))));
    const got = walker.read(at, bytes);
    if (got > 0) {
      if (hole !== null) yield hole;
      hole = null;
      yield { gva: at, bytes: bytes.subarray(0, got) };
      at += BigInt(got);
      if (got === bytes.length) continue;
    }
    if (at >= end) break;
    const { why, next } = holeAt(walker, at);
    const stop = minimum(next, end);
    if (hole !== null && hole.why === why) hole.end = stop;
    else {
      if (hole !== null) yield hole;
      hole = { gva: at, end: stop, why };
    }
    at = stop;
  }
  if (hole !== null) yield hole;
}

function minimum(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

/** Why there is nothing at `gva`, and where that may end. */
function holeAt(walker: PageWalker, gva: bigint): { readonly why: string; readonly next: bigint } {
  const { result, steps } = walker.walk(gva, { access: "read", cpl: 0 });
  if (result.kind === "general-protection") {
    // The first canonical address above, if there is one: the hole lies between the halves.
    const levels = (walker.registers.cr4 >> 12n) & 1n ? 57n : 48n;
    return { why: "not canonical", next: 2n ** 64n - (1n << (levels - 1n)) };
  }
  const last = steps.findLast(({ dimension }) => dimension === "guest");
  const level = isMapped(result) || last === undefined ? 1 : last.level;
  const span = 1n << BigInt(12 + 9 * (level - 1));
  return { why: whyNot(result), next: (gva & ~(span - 1n)) + span };
}

/** True if the guest's tables map the address: then it is about this page, and the next one may be there. */
function isMapped(result: Translation["result"]): boolean {
  if (result.kind === "page-fault") return (result.errorCode & (PFERR_P | PFERR_RSVD)) === PFERR_P;
  return result.kind !== "missing";
}

function whyNot(result: Translation["result"]): string {
  if (result.kind === "ok" || (result.kind === "page-fault" && isMapped(result)))
    return "mapped, but the page is not in the image";
  if (result.kind === "page-fault")
    return (result.errorCode & PFERR_RSVD) === 0 ? "not mapped" : "an entry has reserved bits set";
  if (result.kind === "missing") return "a table is not in the image";
  // One sentence for a whole hole: without the address that it begins at.
  return describeFault(result).replace(/ at gpa 0x[0-9a-f]+/, "");
}

const LINE_BYTES = 16;
const DOT = ".".charCodeAt(0);

/** Writes pieces as lines of sixteen bytes, with their characters; holes as a line each. Returns the bytes written. */
export function writeHex(pieces: Iterable<Piece>, sink: Sink): number {
  const out = new ByteWriter(sink);
  let count = 0;
  for (const piece of pieces) {
    if ("why" in piece) {
      out.text(`${hex16(piece.gva)}  ${piece.why}, up to ${hex16(piece.end - 1n)}\n`);
      continue;
    }
    const { bytes, gva } = piece;
    count += bytes.length;
    for (let from = 0; from < bytes.length;) {
      // Lines begin at multiples of sixteen, so that they look the same wherever the reading began.
      const lead = Number((gva + BigInt(from)) & 15n);
      const to = Math.min(bytes.length, from + LINE_BYTES - lead);
      writeLine(out, gva + BigInt(from), bytes.subarray(from, to));
      from = to;
    }
  }
  out.flush();
  return count;
}

function writeLine(out: ByteWriter, gva: bigint, bytes: Uint8Array): void {
  const lead = Number(gva & 15n);
  const cells = new Array<string>(LINE_BYTES).fill("  ");
  let characters = " ".repeat(lead);
  bytes.forEach((byte, i) => {
    cells[lead + i] = byte.toString(16).padStart(2, "0");
    characters += String.fromCharCode(byte >= 0x20 && byte < 0x7f ? byte : DOT);
  });
  const half = LINE_BYTES / 2;
  out.text(
    `${hex16(gva)}  ${cells.slice(0, half).join(" ")}  ${cells.slice(half).join(" ")}  |${characters}|\n`,
  );
}

/** Bytes as one string of hexadecimal digits. */
export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A hole as a sentence's subject: `0x1000 to 0x1fff`. */
export function holeInWords({ gva, end }: { readonly gva: bigint; readonly end: bigint }): string {
  return `${hex(gva)} to ${hex(end - 1n)}`;
}
