// Walks the page tables in a raw file of physical memory (byte N is physical address N), a page at a time: the file may be
// larger than memory.
//
//   node examples/walk-raw.mjs FILE CR3 [GVA]
//
// Without GVA it lists what the root at CR3 maps, ranges of equal rights as one line; with it, it shows the walk.
import { openSync, readSync } from "node:fs";
import { PageWalker, describeFault } from "guestmmu/walker";

const [file, cr3, gva] = process.argv.slice(2);
if (!file || !cr3) {
  console.error("usage: walk-raw.mjs FILE CR3 [GVA]");
  process.exit(2);
}

/** All that a walker wants of memory: page `pfn` into `target`, or false. */
const descriptor = openSync(file, "r");
const memory = {
  readPage: (pfn, target) => readSync(descriptor, target, 0, 4096, pfn * 4096) === 4096,
};

const hex = (value) => `0x${value.toString(16)}`;
const walker = PageWalker.create(memory, { cr3: BigInt(cr3) });

if (gva) {
  const { result, steps } = walker.walk(BigInt(gva));
  for (const { level, table, index, entry, flags } of steps)
    console.log(`level ${level}  table ${hex(table)}  entry ${index}: ${hex(entry)}  ${flags.join(" ")}`);
  console.log(result.kind === "ok" ? `physical address ${hex(result.hpa)}` : describeFault(result));
} else {
  for await (const { gva, length, writable, user, executable, missingTable } of walker.mappings({
    fold: "rights",
  })) {
    const rights = `${user ? "u" : "-"}r${writable ? "w" : "-"}${executable ? "x" : "-"}`;
    console.log(`${hex(gva)} ${hex(length)} ${missingTable ? "table missing" : rights}`);
  }
}
walker.close();
