// A machine for a question: made through the package's `Core`, filled by the question, written to a file for the native
// twin, put back as it was before every round.
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Core } from "../dist/core/core.js";
import { openModule } from "../dist/core/module.js";
import * as L from "../dist/core/layout.generated.js";

const WASM_PAGE = 65536;

/** Configuration words of the header, by the names that questions use. */
const WORDS = {
  frames: L.HEADER_OFFSET_FRAME_COUNT,
  vcpus: L.HEADER_OFFSET_VCPU_COUNT,
  hosts: L.HEADER_OFFSET_HOST_COUNT,
  slots: L.HEADER_OFFSET_SLOT_MAX,
  vmas: L.HEADER_OFFSET_VMA_MAX,
  tlbEntries: L.HEADER_OFFSET_TLB_ENTRIES,
  tlbLargeEntries: L.HEADER_OFFSET_TLB_LARGE_ENTRIES,
  walkCacheEntries: L.HEADER_OFFSET_WALK_CACHE_ENTRIES,
  tableCacheEntries: L.HEADER_OFFSET_TABLE_CACHE_ENTRIES,
  batchBytes: L.HEADER_OFFSET_BATCH_SIZE,
  windows: L.HEADER_OFFSET_WINDOW_COUNT,
  options: L.HEADER_OFFSET_OPTIONS,
  profile: L.HEADER_OFFSET_PROFILE,
  maxphyaddr: L.HEADER_OFFSET_MAXPHYADDR,
  spinLimit: L.HEADER_OFFSET_SPIN_LIMIT,
};

const DEFAULTS = {
  frames: 16384,
  vcpus: 1,
  hosts: 1,
  slots: 8,
  vmas: 16,
  tlbEntries: 1024,
  tlbLargeEntries: 64,
  walkCacheEntries: 64,
  tableCacheEntries: 0,
  batchBytes: 4096,
  windows: 0,
  options: L.MachineOption.EptAccessedDirty | L.MachineOption.Page1GB,
  profile: L.Profile.V6_13,
  maxphyaddr: 46,
  spinLimit: L.SPIN_LIMIT_DEFAULT,
};

export class Machine {
  #saved = null;

  constructor(core) {
    this.module = core.module;
    this.memory = core.memory;
    this.calls = core.calls;
    const { buffer } = core.memory;
    this.u8 = new Uint8Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.u64 = new BigUint64Array(buffer);
    this.size = this.word(L.HEADER_OFFSET_SIZE);
    this.actors = this.word(L.HEADER_OFFSET_ACTORS_BASE);
    this.actorsEnd = this.word(L.HEADER_OFFSET_HISTOGRAMS_BASE);
    this.pages = this.word(L.HEADER_OFFSET_PAGES_BASE);
    this.frames = this.word(L.HEADER_OFFSET_FRAMES_BASE);
    this.frameCount = this.word(L.HEADER_OFFSET_FRAME_COUNT);
  }

  /** @param {Partial<typeof DEFAULTS>} configuration */
  static async create(configuration = {}) {
    const module = await openModule("release");
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
    const core = Core.on(module, memory);
    const header = new Uint32Array(memory.buffer);
    for (const [name, value] of Object.entries({ ...DEFAULTS, ...configuration }))
      header[WORDS[name] / 4] = value;
    const size = core.calls.plan();
    if (size === 0) throw new Error(`a machine of ${configuration.frames} frames does not fit a memory`);
    memory.grow(Math.ceil(size / WASM_PAGE) - 1);
    core.calls.create();
    return new Machine(core);
  }

  word(address) {
    return this.u32[address / 4];
  }
  /** Address of frame `pfn`. */
  frame(pfn) {
    return this.frames + pfn * L.PAGE_SIZE;
  }
  stat(actor, stat) {
    return Number(this.u64[(this.actors + actor * L.ACTOR_SIZE + L.ACTOR_STATS) / 8 + stat]);
  }

  /** pfns of the frames that are not all zero. */
  usedFrames() {
    const used = [];
    for (let pfn = 0; pfn < this.frameCount; pfn++) {
      const at = this.frame(pfn) / 8;
      for (let i = 0; i < 512; i++) {
        if (this.u64[at + i] !== 0n) {
          used.push(pfn);
          break;
        }
      }
    }
    return used;
  }

  /**
   * Keeps the present state for `restore`, and writes it to a sparse file. Frames are kept if they are not zero:
   * `used`, or a search for them.
   * @returns {{path: string, bytes: number, remove(): void}}
   */
  save(used = this.usedFrames()) {
    const directory = mkdtempSync(join(tmpdir(), "guestmmu-bench-"));
    const path = join(directory, "machine");
    const file = openSync(path, "w");
    ftruncateSync(file, this.size);
    // A copy: what is written may not lie in shared memory.
    const prefix = this.u8.slice(0, this.frames);
    writeSync(file, prefix, 0, prefix.length, 0);
    const frames = used.map((pfn) => ({
      at: this.frame(pfn),
      bytes: this.u8.slice(this.frame(pfn), this.frame(pfn + 1)),
    }));
    for (const { at, bytes } of frames) writeSync(file, bytes, 0, bytes.length, at);
    closeSync(file);
    this.#saved = { prefix, frames };
    return { path, bytes: this.size, remove: () => rmSync(directory, { recursive: true, force: true }) };
  }

  /**
   * Puts the saved state back. Frames that were free then keep what is in them: nobody reads a free frame. Those of the
   * table caches count as zero.
   */
  restore() {
    this.u8.set(this.#saved.prefix, 0);
    for (const { at, bytes } of this.#saved.frames) this.u8.set(bytes, at);
    for (let block = this.actors; block < this.actorsEnd; block += L.ACTOR_SIZE) {
      for (let i = 0; i < this.word(block + L.POOL_TABLE_COUNT); i++) {
        const pfn = this.word(block + L.POOL_TABLES + i * 4);
        this.u8.fill(0, this.frame(pfn), this.frame(pfn + 1));
      }
    }
  }

  // --- digest: the same as in native/twin.c ---

  #entry(table, address, shift) {
    return this.u64[(this.frame(table) + Number((address >> BigInt(shift - 3)) & 0xff8n)) / 8];
  }
  /** Leaf of four levels of tables below pfn `top`, or 0; `present` says whether an entry leads on. */
  #leaf(top, address, present) {
    let table = top;
    for (let shift = 39; ; shift -= 9) {
      if (table === 0) return 0n;
      const entry = this.#entry(table, address, shift);
      if (shift === 12 || !present(entry)) return entry;
      table = Number((entry & L.PTE_ADDRESS) >> 12n);
    }
  }
  spte(gfn) {
    const root = this.word(L.KVM_CURRENT_ROOT);
    const entry = this.#leaf(root, gfn << 12n, (e) => (e & L.SPTE_SHADOW_PRESENT) !== 0n);
    return (entry & L.SPTE_SHADOW_PRESENT) !== 0n ? entry : 0n;
  }
  pte(hva) {
    return this.#leaf(this.word(L.MM_BASE + L.MM_PGD), hva, (e) => (e & L.PTE_P) !== 0n);
  }

  /**
   * Everything that maps `pages` pages: SPTE, host PTE, whether they agree, struct page, and the word that the drive wrote.
   * Without pfns it does not depend on who was first.
   */
  digest(pages, baseGfn, hva, withPfns) {
    const keep = withPfns ? 0xffff_ffff_ffff_ffffn : BigInt.asUintN(64, ~L.PTE_ADDRESS);
    let h1 = 2166136261;
    let h2 = 1;
    const feed = (word) => {
      h1 = Math.imul(h1 ^ word, 16777619);
      h2 = Math.imul(h2 ^ word, 0x85ebca6b);
      h2 ^= h2 >>> 13;
    };
    const feed64 = (word) => {
      feed(Number(word & 0xffff_ffffn) | 0);
      feed(Number(word >> 32n) | 0);
    };
    const pfnOf = (entry) => Number((entry & L.PTE_ADDRESS) >> 12n);
    for (let i = 0; i < pages; i++) {
      const leaf = this.spte(baseGfn + BigInt(i));
      const pte = this.pte(hva + BigInt(i) * 4096n);
      feed64(leaf & keep);
      feed64(pte & keep);
      feed(leaf && pte ? Number(pfnOf(leaf) === pfnOf(pte)) : 2);
      if (!pte) continue;
      const page = this.pages + pfnOf(pte) * L.PAGE_STRUCT_SIZE;
      feed(this.word(page + L.PAGE_REFCOUNT) | 0);
      feed(this.word(page + L.PAGE_MAPCOUNT) | 0);
      feed(this.word(page + L.PAGE_FLAGS) | 0);
      if (leaf) feed64(this.u64[(this.frame(pfnOf(leaf)) + ((i << 6) & 0xfc0)) / 8]);
    }
    const hex = (h) => (h >>> 0).toString(16).padStart(8, "0");
    return hex(h1) + hex(h2);
  }
}
