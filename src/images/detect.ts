/** Which format a file has, by its first bytes. A name says nothing. */

import { isZstd } from "../compression/zstd.js";
import { ELF_MAGIC } from "./elf.js";
import { invalid, unsupported } from "./limits.js";
import type { ImageCompression, ImageFormat } from "./types.js";

/** Bytes that are looked at: the longest magic here. */
export const MAGIC_BYTES = 16;

/** A file as a whole: an image, or something that holds one. */
export type FileKind = ImageFormat | "flattened" | Exclude<ImageCompression, "none">;

interface Magic {
  readonly kind: FileKind;
  readonly name: string;
  readonly bytes: readonly number[];
}

interface OtherMagic {
  readonly name: string;
  readonly bytes: readonly number[];
  readonly hint: string;
}

const FLATTENED_MAGIC = ascii("makedumpfile");

const MAGICS: readonly Magic[] = [
  { kind: "elf", name: "ELF", bytes: ELF_MAGIC },
  { kind: "kdump", name: "kdump-compressed", bytes: ascii("KDUMP   ") },
  { kind: "flattened", name: "flattened", bytes: FLATTENED_MAGIC },
  { kind: "lime", name: "LiME", bytes: ascii("EMiL") },
  // RFC 1952: magic, and deflate as the compression method.
  { kind: "gzip", name: "gzip", bytes: [0x1f, 0x8b, 0x08] },
  { kind: "zstd", name: "zstd", bytes: [0x28, 0xb5, 0x2f, 0xfd] },
];

/** Kinds of files that hold memory, or a compressed image, and that other programs turn into one of the above. */
const OTHERS: readonly OtherMagic[] = [
  { name: "xz", bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], hint: "Decompress it first: xz -dk FILE" },
  { name: "bzip2", bytes: ascii("BZh"), hint: "Decompress it first: bzip2 -dk FILE" },
  { name: "lz4", bytes: [0x04, 0x22, 0x4d, 0x18], hint: "Decompress it first: lz4 -d FILE" },
  { name: "zip", bytes: [0x50, 0x4b, 0x03, 0x04], hint: "Unpack it first: unzip FILE" },
  { name: "7z", bytes: [0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c], hint: "Unpack it first: 7z x FILE" },
  { name: "AVML", bytes: ascii("AVML"), hint: "Convert it to LiME first: avml-convert FILE OUT" },
  { name: "diskdump", bytes: ascii("DISKDUMP"), hint: "Take the dump as kdump-compressed or ELF." },
  { name: "Windows crash dump", bytes: ascii("PAGEDU"), hint: "Take the dump as raw memory or ELF." },
  {
    name: "QEMU migration stream (savevm)",
    bytes: ascii("QEVM"),
    hint: "Load it in QEMU, stop it, and take the dump with dump-guest-memory.",
  },
  {
    name: "qcow2 disk image",
    bytes: ascii("QFI\u00fb"),
    hint: "A disk holds no memory; name a dump, such as dump-guest-memory of QEMU makes.",
  },
];

/** True for the beginning of a flattened dump, which holds another file. */
export function isFlattened(head: Uint8Array): boolean {
  return matches(head, FLATTENED_MAGIC) === FLATTENED_MAGIC.length;
}

/** How a file that begins with `head` (up to `MAGIC_BYTES`) is compressed. */
export function detectCompression(head: Uint8Array): ImageCompression {
  if (isZstd(head)) return "zstd";
  const gzip = MAGICS.find(({ kind }) => kind === "gzip")!.bytes;
  return matches(head, gzip) === gzip.length ? "gzip" : "none";
}

/**
 * The format of a file that begins with `head` (up to `MAGIC_BYTES`). What has no magic is raw memory.
 *
 * @throws GuestMmuError `UNSUPPORTED` for a format that is known and not read; `IMAGE_INVALID` for a magic of which more
 *   than half the bytes are right: a damaged file would otherwise be read as raw memory.
 */
export function detectKind(name: string, head: Uint8Array): FileKind {
  const compression = detectCompression(head);
  if (compression !== "none") return compression;
  for (const magic of MAGICS) if (matches(head, magic.bytes) === magic.bytes.length) return magic.kind;
  for (const other of OTHERS) {
    if (matches(head, other.bytes) === other.bytes.length) {
      throw unsupported(name, `is a file of another kind: ${other.name}`, other.hint);
    }
  }
  for (const magic of MAGICS) {
    const matching = matches(head, magic.bytes);
    if (matching > magic.bytes.length / 2) {
      throw invalid(
        name,
        `has ${matching} of the ${magic.bytes.length} bytes by which ${magic.name} files begin, and is no such file`,
        'Copy or take the dump again; if it is raw memory that only happens to begin so, open it with format "raw".',
      );
    }
  }
  return "raw";
}

function matches(head: Uint8Array, magic: readonly number[]): number {
  return magic.filter((byte, index) => head[index] === byte).length;
}

function ascii(text: string): readonly number[] {
  return Array.from(text, (letter) => letter.charCodeAt(0));
}
