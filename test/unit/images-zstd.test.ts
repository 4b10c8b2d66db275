// What damaged zstd streams cost. A file of its own: the decoder's memory is one for all who use it.

import { expect, test } from "vitest";
import { imageOf, loadZstd } from "../../src/images/bytes.js";
import { rawFile, piece } from "../image-writer.js";
import { zstdFrame } from "../zstd-frames.js";

test("streams that were given up are added up, and the one too many is refused", async () => {
  const zstd = await loadZstd();
  const sound = rawFile([piece(0, 40)]);
  const damaged = zstdFrame(sound, { windowLog: 27 });
  // The second block gets the type that there is not.
  damaged[6 + 3 + 100_000]! |= 6;
  const open = (bytes: Uint8Array) => imageOf(bytes, "image.zst", { zstd });
  const codes: string[] = [];
  for (let stream = 0; stream < 9; stream++) {
    try {
      open(damaged);
    } catch (error) {
      codes.push((error as { code: string }).code);
    }
  }
  // 128 MiB of window and 1 MiB beside it, until 1 GiB is exceeded.
  expect(codes).toEqual([...new Array<string>(8).fill("IMAGE_UNREADABLE"), "UNSUPPORTED"]);
  expect(() => open(zstdFrame(sound))).toThrow(/one too many after damaged zstd data/);
});

test("pages of kdump need no stream", async () => {
  const zstd = await loadZstd();
  const page = new Uint8Array(4096);
  expect(zstd.decodePage(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0x10, 0x03, 0x80, 0, 7), page)).toBe(true);
  expect(page.every((byte) => byte === 7)).toBe(true);
  expect(zstd.decodePage(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0x10, 0x0b, 0x80, 0, 7), page)).toBe(false);
  expect(zstd.decodePage(page, page)).toBe(false);
});
