// Malformed images: whatever the bytes, an image of which every read ends and stays in bounds, or a clear error. More runs
// than in the ordinary tests: npm run fuzz:images -- --runs 100000

import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type PhysicalImage, imageOf, loadZstd } from "../../src/images/bytes.js";
import { openImage } from "../../src/images/open.js";
import { addresses, expectClearError, expectSound, malformedImage } from "../image-fuzz.js";

const RUNS = Number(process.env["GUESTMMU_FUZZ_RUNS"] ?? 2000);
const SEED = process.env["GUESTMMU_FUZZ_SEED"];
const parameters = (numRuns: number) => ({ numRuns, ...(SEED === undefined ? {} : { seed: Number(SEED) }) });

/** Room for what compressed images unpack to: a few times that of any image here. */
const maxUnpackedBytes = 2 ** 24;

/** A hang is caught by the limit of the test: some 2 ms a run are usual. */
const limitMs = 60_000 + 30 * RUNS;

test(
  `${RUNS} malformed images in memory`,
  async () => {
    const zstd = await loadZstd();
    const before = process.memoryUsage();
    const outcomes: Record<string, number> = {};
    fc.assert(
      fc.property(malformedImage, addresses, (bytes, others) => {
        let image: PhysicalImage;
        try {
          image = imageOf(bytes, "fuzz", { zstd, maxUnpackedBytes });
        } catch (error) {
          expectClearError(error);
          const { code } = error as { code: string };
          outcomes[code] = (outcomes[code] ?? 0) + 1;
          return;
        }
        expectSound(image, others);
        const kind = `${image.format}${image.gaps.length > 0 ? ", gaps" : ""}`;
        outcomes[kind] = (outcomes[kind] ?? 0) + 1;
      }),
      parameters(RUNS),
    );
    const held = process.memoryUsage().arrayBuffers - before.arrayBuffers;
    if (process.env["GUESTMMU_FUZZ_RUNS"] !== undefined) {
      console.log(outcomes, `${Math.round(process.memoryUsage.rss() / 2 ** 20)} MBytes resident`);
    }
    // The decoder's memory for damaged zstd streams has a limit of its own, of 1 GiB.
    expect(held).toBeLessThan(2 ** 31);
    // The files are not all refused, and not all taken.
    for (const kind of [
      "elf",
      "kdump",
      "lime",
      "raw",
      "elf, gaps",
      "lime, gaps",
      "IMAGE_INVALID",
      "IMAGE_TRUNCATED",
    ]) {
      expect(outcomes[kind] ?? 0, kind).toBeGreaterThan(0);
    }
  },
  limitMs,
);

test(
  `${Math.ceil(RUNS / 50)} malformed images in files`,
  async () => {
    const directory = await mkdtemp(join(tmpdir(), "guestmmu-fuzz-"));
    const path = join(directory, "image");
    try {
      await fc.assert(
        fc.asyncProperty(malformedImage, addresses, async (bytes, others) => {
          await writeFile(path, bytes);
          let image: PhysicalImage;
          try {
            image = await openImage(path, { temporaryDirectory: directory, maxUnpackedBytes });
          } catch (error) {
            expectClearError(error);
            return;
          }
          try {
            expectSound(image, others);
          } finally {
            image.close();
          }
        }),
        parameters(Math.ceil(RUNS / 50)),
      );
      expect(await readdir(directory)).toEqual(["image"]);
    } finally {
      await rm(directory, { recursive: true });
    }
  },
  limitMs,
);
