// A machine for tests of the host part: the raw exports of abi/host.ts, u32 and u64 results made unsigned, from the
// release module or, to leave rules out, from the lab module.
import { readFileSync } from "node:fs";
import * as layout from "../src/core/layout.generated.js";

const PATHS = {
  release: process.env["GUESTMMU_CORE"] ?? new URL("../build/release.wasm", import.meta.url).pathname,
  lab: process.env["GUESTMMU_LAB"] ?? new URL("../build/lab.wasm", import.meta.url).pathname,
};
const modules = new Map<string, WebAssembly.Module>();

export const LAB_IMPORTS = { order: () => undefined, choose: () => 0, note: () => undefined };

export function coreModule(build: "release" | "lab"): WebAssembly.Module {
  let module = modules.get(build);
  if (!module) modules.set(build, (module = new WebAssembly.Module(readFileSync(PATHS[build]))));
  return module;
}

export const PAGE = 4096n;
export const HUGE = 2n << 20n;
export const { Read: READ, Write: WRITE, Exec: EXEC } = layout.VmaFlag;
export const { HostStatus, MachineOption, Rule, Trap, Stat } = layout;

export interface HostConfiguration {
  frames?: number;
  vcpus?: number;
  hosts?: number;
  vmas?: number;
  slots?: number;
  files?: number;
  filePages?: number;
  profile?: number;
  options?: number;
  /** Group of SPTEs that a fault fills. */
  prefetch?: number;
  refcountLimit?: number;
  build?: "release" | "lab";
  /** Looks before an actor sleeps: as many as in an ordinary machine if left out. */
  spinLimit?: number;
  /** Rules that do not hold; lab build only. */
  without?: number[];
  /** Called before every access to a shared word; lab build only. */
  onAccess?: () => void;
  /** Called for every event; lab build only. */
  onNote?: (kind: number, a: bigint, b: bigint) => void;
  /** Answers a choice of the architecture; lab build only. */
  choose?: (n: number) => number;
}

type Raw = Record<string, (...args: (number | bigint)[]) => number | bigint>;

export class HostMachine {
  readonly memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
  readonly module: WebAssembly.Module;
  readonly raw: Raw;
  /** Told of every event of this instance; lab build only. */
  listener: ((kind: number, a: bigint, b: bigint) => void) | null = null;
  readonly view: DataView;

  constructor(configuration: HostConfiguration = {}) {
    const {
      frames = 512,
      vcpus = 1,
      hosts = 1,
      vmas = 16,
      slots = 8,
      options = MachineOption.ZeroPages,
    } = configuration;
    this.module = coreModule(configuration.build ?? "release");
    const instance = new WebAssembly.Instance(this.module, {
      env: {
        memory: this.memory,
        ...LAB_IMPORTS,
        order: configuration.onAccess ?? LAB_IMPORTS.order,
        note: configuration.onNote ?? ((kind: number, a: bigint, b: bigint) => this.listener?.(kind, a, b)),
        choose: configuration.choose ?? LAB_IMPORTS.choose,
      },
    });
    this.raw = instance.exports as unknown as Raw;
    const header = new DataView(this.memory.buffer);
    const set = (at: number, value: number): void => header.setUint32(at, value, true);
    set(layout.HEADER_OFFSET_FRAME_COUNT, frames);
    set(layout.HEADER_OFFSET_VCPU_COUNT, vcpus);
    set(layout.HEADER_OFFSET_HOST_COUNT, hosts);
    set(layout.HEADER_OFFSET_SLOT_MAX, slots);
    set(layout.HEADER_OFFSET_PROFILE, configuration.profile ?? layout.Profile.V5_4);
    set(layout.HEADER_OFFSET_VMA_MAX, vmas);
    set(layout.HEADER_OFFSET_FILE_MAX, configuration.files ?? 0);
    set(layout.HEADER_OFFSET_FILE_PAGES, configuration.filePages ?? 0);
    set(layout.HEADER_OFFSET_TLB_ENTRIES, 64);
    set(layout.HEADER_OFFSET_TLB_LARGE_ENTRIES, 16);
    set(layout.HEADER_OFFSET_BATCH_SIZE, 16384);
    set(layout.HEADER_OFFSET_OPTIONS, options);
    set(layout.HEADER_OFFSET_MAXPHYADDR, 40);
    set(layout.HEADER_OFFSET_SPIN_LIMIT, configuration.spinLimit ?? layout.SPIN_LIMIT_DEFAULT);
    set(layout.HEADER_OFFSET_PREFETCH_GROUP, configuration.prefetch ?? 0);
    set(layout.HEADER_OFFSET_REFCOUNT_LIMIT, configuration.refcountLimit ?? 0);
    let off = 0n;
    for (const rule of configuration.without ?? []) off |= 1n << BigInt(rule);
    header.setBigUint64(layout.HEADER_OFFSET_RULES_OFF0, off, true);
    const size = this.u32("plan");
    this.memory.grow(Math.ceil(size / 65536) - 1);
    this.view = new DataView(this.memory.buffer);
    this.raw["create"]!();
  }

  /** Exports of another instance on the same memory: another thread's, without the thread. */
  another(): Raw {
    const instance = new WebAssembly.Instance(this.module, { env: { memory: this.memory, ...LAB_IMPORTS } });
    const raw = instance.exports as unknown as Raw;
    raw["attach"]!();
    return raw;
  }

  u32(name: string, ...args: (number | bigint)[]): number {
    return (this.raw[name]!(...args) as number) >>> 0;
  }
  u64(name: string, ...args: (number | bigint)[]): bigint {
    return BigInt.asUintN(64, this.raw[name]!(...args) as bigint);
  }

  word(at: number): number {
    return this.view.getUint32(at, true);
  }
  actor(index: number): number {
    return this.word(layout.HEADER_OFFSET_ACTORS_BASE) + index * layout.ACTOR_SIZE;
  }
  stat(actor: number, stat: number): number {
    return Number(this.view.getBigUint64(this.actor(actor) + layout.ACTOR_STATS + stat * 8, true));
  }
  /** Code of the trap that ended the machine, 0 for none. */
  get trap(): number {
    return this.word(layout.HEADER_TRAP_CODE);
  }

  /** Maps anonymous memory; fails the test unless it is mapped. */
  map(length: bigint, { hva = 0n, flags = READ | WRITE, shift = 12, actor = 0 } = {}): bigint {
    const result = this.u64("hostMmap", actor, hva, length, flags, shift);
    if (result < 65536n) throw new Error(`mmap: status ${result}`);
    return result;
  }
  tryMap(hva: bigint, length: bigint, flags = READ | WRITE, shift = 12): bigint {
    return this.u64("hostMmap", 0, hva, length, flags, shift);
  }
  unmap(hva: bigint, length: bigint, actor = 0): number {
    return this.u32("hostMunmap", actor, hva, length);
  }
  protect(hva: bigint, length: bigint, flags: number): number {
    return this.u32("hostMprotect", 0, hva, length, flags);
  }
  dontneed(hva: bigint, length: bigint, actor = 0): number {
    return this.u32("hostDontneed", actor, hva, length);
  }
  touch(hva: bigint, length: bigint, write = true, actor = 0): number {
    return this.u32("hostTouch", actor, hva, length, write ? 1 : 0);
  }
  load(hva: bigint, size = 8, actor = 0): bigint {
    const value = this.u64("hostLoad", actor, hva, size);
    const status = this.u32("hostLoadStatus", actor);
    if (status !== HostStatus.Ok) throw new Error(`load: status ${status}`);
    return value;
  }
  store(hva: bigint, value: bigint, size = 8, actor = 0): number {
    return this.u32("hostStore", actor, hva, size, value);
  }
  gup(
    hva: bigint,
    write = true,
    actor = 0,
  ): { pfn: number; status: number; writable: boolean; referenced: boolean } {
    const result = this.u64("hostGup", actor, hva, write ? 1 : 0);
    return {
      pfn: Number(result & 0xffffffffn),
      status: Number((result >> 32n) & 0xffn),
      writable: (result & layout.GUP_WRITABLE) !== 0n,
      referenced: (result & layout.GUP_NO_REFERENCE) === 0n,
    };
  }
  /** Remaps pfns; fails the test unless they are mapped. */
  remap(pfn: number, pages: bigint, { hva = 0n, flags = READ | WRITE, writable = true } = {}): bigint {
    const result = this.tryRemap(pfn, pages, { hva, flags, writable });
    if (result < 65536n) throw new Error(`remap: status ${result}`);
    return result;
  }
  tryRemap(pfn: number, pages: bigint, { hva = 0n, flags = READ | WRITE, writable = true } = {}): bigint {
    return this.u64("hostRemapPfn", 0, hva, pages << 12n, pfn, flags, writable ? 1 : 0);
  }
  /** Forks the range; fails the test unless there is a child, whose handle it returns. */
  fork(hva: bigint, length: bigint, actor = 0): number {
    const result = this.u64("hostFork", actor, hva, length);
    if (result >> 32n !== 0n) throw new Error(`fork: status ${result >> 32n}`);
    return Number(result);
  }
  forkExit(child: number): number {
    return this.u32("hostForkExit", 0, child);
  }
  /** pfn that the child has at `hva`; 0 for none. */
  childPfn(child: number, hva: bigint): number {
    return Number((this.u64("hostForkPte", child, hva) & layout.PTE_ADDRESS) >> 12n);
  }
  /** First 8 bytes of a frame. */
  frameWord(pfn: number): bigint {
    return this.view.getBigUint64(this.u32("hostFrame", pfn), true);
  }
  pageFlags(pfn: number): number {
    return this.u32("hostPageFlags", pfn);
  }
  gupFast(hva: bigint, write = true, actor = 0): number {
    return this.u32("hostGupFast", actor, hva, write ? 1 : 0);
  }
  put(pfn: number, actor = 0): void {
    this.raw["hostPutPage"]!(actor, pfn);
  }
  pte(hva: bigint): bigint {
    return this.u64("hostPte", 0, hva);
  }
  pfnOf(hva: bigint): number {
    return Number((this.pte(hva) & layout.PTE_ADDRESS) >> 12n);
  }
  shiftOf(hva: bigint): number {
    return this.u32("hostMappingShiftOf", 0, hva);
  }
  refcount(pfn: number): number {
    return this.u32("hostRefcount", pfn);
  }
  mapcount(pfn: number): number {
    return this.u32("hostMapcount", pfn);
  }
  epoch(pfn: number): number {
    return this.u32("hostEpoch", pfn);
  }
  get free(): number {
    return this.u32("hostFreeFrames");
  }
  get flushes(): number {
    return Number(this.u64("hostTlbFlushes"));
  }
  /** Pages whose counts are wrong: 0 at the end of every test. */
  get imbalance(): number {
    return this.u32("hostCheckBalance", 0);
  }
  /** Rows of the VMA table. */
  get vmas(): { start: bigint; end: bigint; flags: number; shift: number }[] {
    const base = this.word(layout.HEADER_OFFSET_VMAS_BASE);
    return Array.from({ length: this.u32("hostVmaCount") }, (_, i) => {
      const at = base + (i << layout.VMA_SHIFT);
      return {
        start: this.view.getBigUint64(at, true),
        end: this.view.getBigUint64(at + 8, true),
        flags: this.view.getUint32(at + 16, true),
        shift: this.view.getUint32(at + 20, true),
      };
    });
  }
}
