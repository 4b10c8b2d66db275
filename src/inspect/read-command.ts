/** `guestmmu read`. */

import { GuestMmuError, usageError } from "../errors.js";
import { hex, parseAddress, parseLength } from "./address-text.js";
import { type Sink } from "./byte-writer.js";
import { parseTarget, withImage, type TargetCommandOptions } from "./command-options.js";
import { document } from "./json.js";
import { hexOf, holeInWords, readPieces, writeHex, type Piece } from "./read.js";
import { targetOf, type Target } from "./target.js";
import { targetJson } from "./target-text.js";
import { withWalker } from "./walking.js";

/** Options as they are typed. */
export interface ReadCommandOptions extends TargetCommandOptions {
  readonly raw?: boolean;
  readonly hex?: boolean;
  readonly json?: boolean;
}

/** What a JSON document holds at most, since it is put together in memory. */
const JSON_BYTES_MAX = 16n << 20n;

/** Writes the bytes to `sink`. Errors: `USAGE`, `IMAGE_MISSING`, and those of `openImage` and `targetOf`. */
export async function runReadCommand(
  path: string,
  gvaText: string,
  lengthText: string,
  options: ReadCommandOptions,
  sink: Sink,
): Promise<void> {
  const gva = parseAddress("GVA", gvaText, "virtual");
  const length = parseLength("LENGTH", lengthText);
  if (gva + length > 1n << 64n)
    throw usageError(
      `LENGTH: ${lengthText} bytes from ${hex(gva)} end beyond 2^64.`,
      `At most ${hex((1n << 64n) - gva)} bytes are left from there.`,
    );
  if ([options.raw, options.hex, options.json].filter(Boolean).length > 1)
    throw usageError("--raw, --hex and --json are forms of the same bytes.", "Give one of them.");
  if (options.json && length > JSON_BYTES_MAX)
    throw usageError(`--json: ${lengthText} bytes are more than 16 MiB.`, "Use --raw for more.");
  const wanted = parseTarget(options);
  await withImage(path, (image) => {
    const target = targetOf(image, wanted);
    withWalker(image, target, (walker) => {
      const pieces = readPieces(walker, gva, length);
      if (options.raw) writeRaw(pieces, sink);
      else if (options.json) writeJson(pieces, image.name, target, sink);
      else writeHex(pieces, sink);
    });
  });
}

/** Bytes without holes: a file that has less than was asked for, silently, would be mistaken for the memory. */
function writeRaw(pieces: Iterable<Piece>, sink: Sink): void {
  for (const piece of pieces) {
    if ("bytes" in piece) sink(piece.bytes);
    else
      throw new GuestMmuError("IMAGE_MISSING", {
        message: `--raw ended at gva ${hex(piece.gva)}: ${holeInWords(piece)} is not there (${piece.why}).`,
        hint: "Ask for less, or leave out --raw to see what is there and what is not.",
      });
  }
}

function writeJson(pieces: Iterable<Piece>, image: string, target: Target, sink: Sink): void {
  const rows = Array.from(pieces, (piece) =>
    "bytes" in piece
      ? { gva: piece.gva, length: piece.bytes.length, bytes: hexOf(piece.bytes) }
      : { gva: piece.gva, last: piece.end - 1n, objection: piece.why },
  );
  sink(new TextEncoder().encode(document("read", { image, ...targetJson(target), pieces: rows })));
}
