// The walk without the library's JavaScript: embed.wasm linked by hand, as a module in another language would. docs/abi.md
// describes each step; the numbers are `src/core/layout.generated.ts`.
//
//   node examples/link.mjs
import { readFile } from "node:fs/promises";
import * as L from "guestmmu/layout";

const bytes = await readFile(new URL(import.meta.resolve("guestmmu/wasm/embed.wasm")));
const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 });
const { instance } = await WebAssembly.instantiate(bytes, { env: { memory } });
const core = instance.exports;

// A machine with windows, and nothing else worth mentioning.
const header = new DataView(memory.buffer);
for (const [offset, value] of [
  [L.HEADER_OFFSET_FRAME_COUNT, 16],
  [L.HEADER_OFFSET_VCPU_COUNT, 1],
  [L.HEADER_OFFSET_HOST_COUNT, 1],
  [L.HEADER_OFFSET_SLOT_MAX, 1],
  [L.HEADER_OFFSET_VMA_MAX, 1],
  [L.HEADER_OFFSET_TLB_ENTRIES, 1],
  [L.HEADER_OFFSET_TLB_LARGE_ENTRIES, 1],
  [L.HEADER_OFFSET_WALK_CACHE_ENTRIES, 1],
  [L.HEADER_OFFSET_TABLE_CACHE_ENTRIES, 64],
  [L.HEADER_OFFSET_BATCH_SIZE, 4096],
  [L.HEADER_OFFSET_WINDOW_COUNT, 256],
  [L.HEADER_OFFSET_MAXPHYADDR, 46],
  [L.HEADER_OFFSET_OPTIONS, L.MachineOption.Page1GB],
  [L.HEADER_OFFSET_BUILD, L.Build.Embed],
])
  header.setUint32(offset, value, true);
const size = core.plan() >>> 0;
memory.grow(Math.ceil(size / 65536) - 1);
core.create();

// From here on the memory does not grow, and views of it stay.
const view = new DataView(memory.buffer);
const u64 = (at) => view.getBigUint64(at, true);
const actor = view.getUint32(L.HEADER_OFFSET_ACTORS_BASE, true);
console.log(`ABI version ${view.getUint32(L.HEADER_OFFSET_ABI_VERSION, true)}, ${size} bytes`);

// The guest's memory, wherever it is: here, tables at 0x1000, 0x2000 and 0x3000, and a 2-MByte page.
const guest = new Map([
  [0x1n, { 0: 0x2007n }],
  [0x2n, { 1: 0x3007n }],
  [0x3n, { 0: 0x20_0087n }],
]);

/** Copies the page of `pa` into a window; false if there is none. */
function bring(pa) {
  const page = guest.get(pa >> 12n);
  if (!page) return false;
  const at = core.windowPut(pa) >>> 0;
  new Uint8Array(memory.buffer, at, 4096).fill(0);
  for (const [index, entry] of Object.entries(page)) view.setBigUint64(at + 8 * index, entry, true);
  return true;
}

core.cpuReset(0);
for (const [register, value] of [
  [L.Register.Cr3, 0x1000n],
  [L.Register.Efer, L.EFER_LME | L.EFER_NXE],
  [L.Register.Cr4, L.CR4_PAE],
  [L.Register.Cr0, L.CR0_PE | L.CR0_WP | L.CR0_PG],
])
  if (core.registerWrite(0, register, value) !== L.RegisterWrite.Ok)
    throw new Error("a register was refused");

/** One walk: brings what it needs, and returns the outcome. */
function walk(gva, access) {
  for (;;) {
    const outcome = core.translateInWindows(0, gva, access, 0);
    if (outcome !== L.Outcome.Missing || !bring(u64(actor + L.WALK_PA))) return outcome;
  }
}

if (walk(0x4000_1234n, L.Access.Read) === L.Outcome.Ok)
  console.log(`0x${u64(actor + L.WALK_PA).toString(16)}`);
if (walk(0x8000_0000n, L.Access.Write) === L.Outcome.PageFault)
  console.log(`#PF, error code ${u64(actor + L.WALK_ERROR)}`);

// Many at a time.
const batch = view.getUint32(L.HEADER_OFFSET_BATCHES_BASE, true);
for (let i = 0; i < 4; i++) view.setBigUint64(batch + 8 * i, 0x4000_0000n + BigInt(i << 12), true);
const result = core.translateTablesBatch(0, 0, 4, L.ACCESS_ANY);
console.log(`${result >> 32n} translated, the last to 0x${u64(batch + 24).toString(16)}`);
