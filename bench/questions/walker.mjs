// The walker over any memory: how fast are translations by cached tables, and the list of what a root maps?
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as L from "../../dist/core/layout.generated.js";
import { imageOf } from "../../dist/images/bytes.js";
import { openImage } from "../../dist/images/open.js";
import { MAPPING_WORDS, PageWalker } from "../../dist/walker/index.js";
import { MapsBigInt } from "../javascript/maps-bigint.mjs";
import { Machine } from "../machine.mjs";
import { pageOrder } from "../random.mjs";
import { FIRST_TABLE, mapLinear } from "../tables.mjs";
import { compareRow, limitRow, onProcessor, takeTurns } from "../turns.mjs";

const BASE = 0x5555_4000_0000n;
const CORPUS = process.env.GUESTMMU_CORPUS;
const COMMAND = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

/** The frames of a machine as physical memory, for the library's walker. */
const framesOf = (machine) => ({
  readPage(pfn, target) {
    if (pfn >= machine.frameCount) return false;
    target.set(machine.u8.subarray(machine.frame(pfn), machine.frame(pfn + 1)));
    return true;
  },
});

/** The library's batch call over the same tables, M translations/s of one processor. */
function libraryRow(context, machine, cr3, pages) {
  const count = context.quick ? 1 << 17 : 1 << 20;
  const walker = PageWalker.create(framesOf(machine), { cr3 });
  const addresses = BigUint64Array.from(
    pageOrder(pages, count, context.seed),
    (page) => BASE + (BigInt(page) << 12n),
  );
  const results = new BigUint64Array(count);
  const values = [];
  for (let round = -4; round < context.rounds; round++) {
    const { result, ns } = onProcessor(() => walker.translateMany(addresses, results, "read"));
    if (result !== count) throw new Error("an address was not translated");
    if (round >= 0) values.push((count / ns) * 1000);
  }
  walker.close();
  return limitRow({
    case: `${pages} pages, PageWalker.translateMany`,
    unit: "M/s",
    values,
    reads: "M translations/s",
    target: { atLeast: 50 },
  });
}

export const translateBatch = {
  name: "translate-batch",
  says: "translations by tables in windows whose upper levels are cached: one row, one entry",
  clock: "processor",
  native: true,
  async run(context) {
    const rows = [];
    for (const pages of [64, 1 << 14]) {
      const frames = FIRST_TABLE + 64 + Math.ceil(pages / 512) * 2 + pages;
      const machine = await Machine.create({ frames, windows: 1024, tableCacheEntries: 4096 });
      const { used } = mapLinear(machine, BASE, pages);
      const { calls } = machine;
      for (const pfn of used)
        machine.u8.copyWithin(
          calls.windowPut(BigInt(pfn) << 12n),
          machine.frame(pfn),
          machine.frame(pfn + 1),
        );
      const count = context.quick ? 1 << 16 : 1 << 18;
      const measure = (dependent) =>
        calls.measureWalk(0, L.Measure.Tables, dependent, BASE, pages, count, context.seed);
      // Fills the cache, which the twin then finds in the image.
      if (measure(false) === L.MEASURE_FAILED) throw new Error("a page is not mapped");
      await context.load(machine.save(used));
      for (const dependent of [true, false]) {
        const core = {
          name: "core",
          run() {
            const { result, ns } = onProcessor(() => measure(dependent));
            return { value: ns / count, digest: String(result), counts: { translations: count } };
          },
        };
        const sides = [core];
        if (context.twin) {
          sides.push({
            name: "C",
            async run() {
              const words = [L.Measure.Tables, Number(dependent), BASE, pages, count, context.seed];
              const [digest, ns] = await context.twin.ask("measure", ...words);
              return { value: Number(ns) / count, digest };
            },
          });
        }
        const taken = await takeTurns(sides, context.rounds);
        if (!taken.C) continue;
        rows.push(
          compareRow({
            case: `${pages} pages, ${dependent ? "dependent" : "independent"}`,
            unit: "ns/translation",
            core: taken.core,
            other: taken.C,
            against: "C",
            above: "core",
            reads: "core / C",
            target: { atMost: dependent ? 1.4 : 2.2 },
          }),
        );
      }
      rows.push(libraryRow(context, machine, calls.registerRead(0, L.Register.Cr3), pages));
    }
    return rows;
  },
};

/** Tables as of a guest with 76,000 mappings: a direct map in large pages, processes' pages, and one page many times. */
function syntheticImage() {
  const words = new BigUint64Array(512 * 400);
  const link = L.PTE_P | L.PTE_RW | L.PTE_US | L.PTE_A;
  let next = 2;
  const map = (gva, entry, level) => {
    let table = 1;
    for (let at = 4; ; at--) {
      const place = table * 512 + Number((gva >> BigInt(3 + 9 * at)) & 511n);
      if (at === level) return void (words[place] = entry);
      if (words[place] === 0n) words[place] = (BigInt(next++) << 12n) | link;
      table = Number((words[place] & L.PTE_ADDRESS) >> 12n);
    }
  };
  for (let i = 0n; i < 1664n; i++)
    map(0xffff_8880_0000_0000n + (i << 21n), (i << 21n) | link | L.PTE_PS | L.PTE_XD, 2);
  for (let i = 0n; i < 65536n; i++)
    map(0xffff_ff00_0000_0000n + (i << 12n), 0x1234_5000n | L.PTE_P | L.PTE_A, 1);
  for (let i = 0n; i < 8800n; i++) map(0x5555_5555_0000n + (i << 12n), ((i * 7n) << 12n) | link, 1);
  return { image: imageOf(new Uint8Array(words.buffer), "synthetic"), roots: [0x1000n], name: "synthetic" };
}

async function corpusImage() {
  if (!CORPUS) return null;
  const folder = join(CORPUS, "images/lin-1g");
  const path = join(folder, "vmcore-pt.elf.zst");
  if (!existsSync(path)) return null;
  const { readFileSync } = await import("node:fs");
  const truth = JSON.parse(readFileSync(join(folder, "truth.json"), "utf8"));
  return {
    image: await openImage(path),
    roots: truth.roots.map(({ cr3 }) => BigInt(cr3)),
    name: "lin-1g",
    path,
  };
}

const rowCount = (blocks) => blocks.reduce((sum, { count }) => sum + count, 0);

/** Sum over all rows of the core: addresses, sizes and entries. */
function digestBlocks(blocks) {
  let sum = 0n;
  for (const { count, words } of blocks) {
    for (let i = 0; i < count * MAPPING_WORDS; i += MAPPING_WORDS)
      sum += words[i] * 3n + words[i + 1] + words[i + 3] * 5n + words[i + 4] + (words[i + 5] & 7n) * 11n;
  }
  return String(BigInt.asUintN(64, sum));
}
function digestRows(rows) {
  let sum = 0n;
  for (const { gva, pa, length, entry, writable, user, executable } of rows)
    sum +=
      gva * 3n +
      pa +
      length * 5n +
      entry +
      BigInt((writable ? 1 : 0) | (user ? 2 : 0) | (executable ? 0 : 4)) * 11n;
  return String(BigInt.asUintN(64, sum));
}

/** A program that opens the image, makes a walker and lists one root; prints how many rows. */
const SCRIPT = `
  import { openImage } from ${JSON.stringify(new URL("../../dist/images/open.js", import.meta.url).href)};
  import { PageWalker } from ${JSON.stringify(new URL("../../dist/walker/index.js", import.meta.url).href)};
  const [path, cr3] = process.argv.slice(1);
  const image = await openImage(path);
  let rows = 0;
  for (const { count } of PageWalker.create(image, { cr3: BigInt(cr3) }).scan()) rows += count;
  image.close();
  console.log(rows);
`;

/** Loaded before a program: leaves the processor time of all of its threads, from its start to its end, on stderr. */
const CLOCK = `data:text/javascript,${encodeURIComponent(
  `process.on("exit", () => { const { user, system } = process.cpuUsage(); process.stderr.write("\\ncpu " + (user + system)); });`,
)}`;

/** Seconds of processor time of a process from start to end, for the slowest root. */
function processRows(context, { path, roots, name }) {
  if (!path) return [];
  const time = (args) => {
    const { status, stderr } = spawnSync(process.execPath, ["--import", CLOCK, ...args], {
      stdio: ["ignore", "ignore", "pipe"],
      encoding: "utf8",
    });
    const cpu = /^cpu (\d+)$/m.exec(stderr);
    if (status !== 0 || !cpu) throw new Error(stderr);
    return Number(cpu[1]) / 1e6;
  };
  const rows = [];
  const add = (label, argsOf) =>
    rows.push(
      limitRow({
        case: `${name}, ${label}, slowest root`,
        unit: "s",
        values: Array.from({ length: Math.min(context.rounds, 3) }, () =>
          Math.max(...roots.map((cr3) => time(argsOf(cr3)))),
        ),
        reads: "seconds",
        target: { atMost: 0.4 },
      }),
    );
  add("a program of its own", (cr3) => ["--input-type=module", "-e", SCRIPT, path, String(cr3)]);
  if (existsSync(fileURLToPath(new URL("../../dist/cli/maps.js", import.meta.url))))
    add("guestmmu maps --csv", (cr3) => [COMMAND, "maps", path, "--cr3", `0x${cr3.toString(16)}`, "--csv"]);
  return rows;
}

export const maps = {
  name: "maps",
  says: "every mapping of a root, as rows: all roots of an image with 76,000 rows each, and from the start of a process",
  clock: "processor",
  async run(context) {
    const sample = (await corpusImage()) ?? syntheticImage();
    const { image, roots, name } = sample;
    context.later(() => image.close());
    const walker = PageWalker.create(image, { cr3: roots[0] });
    const simple = new MapsBigInt(image);
    context.later(() => walker.close());
    let rows = 0;
    const core = {
      name: "core",
      run() {
        const { result, ns } = onProcessor(() =>
          roots.map((cr3) => {
            walker.setRegisters({ cr3 });
            return [...walker.scan()];
          }),
        );
        rows = result.reduce((sum, blocks) => sum + rowCount(blocks), 0);
        return { value: ns / 1e6 / roots.length, digest: result.map(digestBlocks).join(), counts: { rows } };
      },
    };
    const other = {
      name: "JS BigInt",
      run() {
        const { result, ns } = onProcessor(() => roots.map((cr3) => simple.list(cr3)));
        return { value: ns / 1e6 / roots.length, digest: result.map(digestRows).join() };
      },
    };
    const taken = await takeTurns([core, other], Math.min(context.rounds, 7));
    const row = compareRow({
      case: `${name}, ${roots.length} roots, ${Math.round(rows / roots.length)} rows each`,
      unit: "ms/root",
      core: taken.core,
      other: taken["JS BigInt"],
      against: "JS BigInt",
      above: "other",
      reads: "JS BigInt / core",
      // The target is that of the sample, whose tables are mostly empty, as tables are.
      target: sample.path ? { atLeast: 20 } : null,
    });
    return [row, ...processRows(context, sample)];
  },
};
