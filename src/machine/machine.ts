/**
 * A machine: host memory, the VMM's address space, one VM with its vCPUs. Everything is in one shared WebAssembly memory,
 * so that any thread can attach to it; this class is one thread's view. With the embed module there is one thread, and the
 * memory is not shared.
 */

import { Core, type LabImports } from "../core/core.js";
import {
  AttachResult,
  Build,
  HEADER_BASE,
  HEADER_OFFSET_BUILD,
  HEADER_OFFSET_SIZE,
  HEADER_SIZE,
  MACHINE_SIZE_MAX,
  PAGE_SHIFT,
  PAGE_SIZE,
  PTE_ADDRESS,
  SPTE_PS,
  SPTE_W,
} from "../core/layout.generated.js";
import { compileModule, isEmbedModule, isLabModule, openModule, type ModuleSource } from "../core/module.js";
import { type WasmMemory, type WasmModule } from "../core/wasm.js";
import { GuestMmuError } from "../errors.js";
import { gpa as toGpa, type GpaLike, type Pfn } from "./address.js";
import { checkOptions, integer } from "./arguments.js";
import { GuestMemory } from "./guest-memory.js";
import { GuestTables, type GuestTablesOptions } from "./guest-tables.js";
import { DirectIo } from "./direct-io.js";
import { HostFiles } from "./host-files.js";
import { HostMm } from "./host-mm.js";
import { KvmMemory } from "./kvm-memory.js";
import { Lab } from "./lab.js";
import { Memslots } from "./memslots.js";
import {
  checkLabImports,
  checkModuleOptions,
  configure,
  readConfiguration,
  writeConfiguration,
  type MachineConfiguration,
  type MachineOptions,
  type ModuleOptions,
} from "./options.js";
import { checkAtRest, decodeMachine, encodeMachine, fillMemory, nonZeroPages } from "./save.js";
import { MachineState, type Statistics } from "./state.js";
import { Processor } from "./processor.js";
import { Vcpu } from "./vcpu.js";

const WASM_PAGE = 65536;
const WASM_PAGES_MAX = 65536;

/** How a thread attaches. */
export interface AttachOptions {
  /** Which of the machine's host threads this view acts as, from 0. No two threads may act as one. Default 0. */
  readonly hostThread?: number;
  /** Answers to a lab module's questions. */
  readonly labImports?: LabImports;
}

/** A leaf of the secondary MMU. */
export interface SecondaryLeaf {
  /** The SPTE as it is in the table (assembly/kvm/spte.ts draws it). */
  readonly spte: bigint;
  readonly pfn: Pfn;
  readonly writable: boolean;
  /** Maps 2 MiB. */
  readonly huge: boolean;
}

function configError(message: string, hint: string): GuestMmuError {
  return new GuestMmuError("CONFIG_INVALID", { message, hint });
}

/** Refuses a memory that the module cannot have: the embed module wants one that is not shared, the others one that is. */
function checkMemory(memory: unknown, module: WasmModule): asserts memory is WasmMemory {
  if (!(memory instanceof WebAssembly.Memory)) {
    throw configError(
      "The memory is not a WebAssembly.Memory.",
      "Leave it out, or pass a WebAssembly.Memory.",
    );
  }
  const shared = typeof SharedArrayBuffer !== "undefined" && memory.buffer instanceof SharedArrayBuffer;
  if (shared && isEmbedModule(module)) {
    throw configError(
      "The memory is shared, and the embed module is for one thread.",
      'Create it without { shared: true }, or use module: "release".',
    );
  }
  if (!shared && !isEmbedModule(module)) {
    throw new GuestMmuError("MEMORY_NOT_SHARED", {
      hint: 'Create it with { shared: true }, which in a browser takes COOP and COEP headers; or use module: "embed".',
    });
  }
}

/** A memory that a machine of any size can grow in, shared unless the module is the embed build. Error: `MEMORY_TOO_SMALL`. */
export function newMemory(module: WasmModule): WasmMemory {
  const shared = !isEmbedModule(module);
  try {
    return new WebAssembly.Memory({ initial: 1, maximum: WASM_PAGES_MAX, shared });
  } catch (cause) {
    throw new GuestMmuError("MEMORY_TOO_SMALL", {
      message: "This platform gives no WebAssembly memory of 4 GiB of address space.",
      hint: "Close other programs, or raise the limit on address space (ulimit -v).",
      cause,
    });
  }
}

/** A memory for a new machine: the embedder's, which has to be untouched, or a new one. */
function emptyMemory(given: WasmMemory | undefined, module: WasmModule): WasmMemory {
  if (given === undefined) return newMemory(module);
  checkMemory(given, module);
  const front = new Uint8Array(given.buffer, 0, Math.min(given.buffer.byteLength, WASM_PAGE));
  if (front.some((byte) => byte !== 0)) {
    throw configError(
      "The memory has been used already.",
      "Pass one that is all zero, or attach to the machine in it.",
    );
  }
  grow(given, WASM_PAGE);
  return given;
}

function grow(memory: WasmMemory, bytes: number): void {
  const missing = Math.ceil((bytes - memory.buffer.byteLength) / WASM_PAGE);
  if (missing <= 0) return;
  try {
    memory.grow(missing);
  } catch (cause) {
    throw new GuestMmuError("MEMORY_TOO_SMALL", {
      message: `The machine takes ${bytes} bytes; the memory cannot grow to that.`,
      hint: "Create fewer frames, or pass a memory with a larger maximum.",
      cause,
    });
  }
}

/** The build that a module is, as the header of its machines names it. */
function buildOf(module: WasmModule): Build {
  if (isLabModule(module)) return Build.Lab;
  return isEmbedModule(module) ? Build.Embed : Build.Release;
}

const BUILD_NAMES: Readonly<Record<number, string>> = {
  [Build.Release]: "release",
  [Build.Lab]: "lab",
  [Build.Embed]: "embed",
};

function checkBuild(configuration: MachineConfiguration, module: WasmModule): void {
  if (isLabModule(module)) return;
  if (configuration.tlbMode !== "strict") {
    throw configError(
      `A release module cannot ask anybody what its TLB does (tlbMode ${configuration.tlbMode}).`,
      'Create the machine with module: "lab".',
    );
  }
  if (configuration.rulesOff.length === 0) return;
  throw configError(
    `Rules (${configuration.rulesOff.join(", ")}) cannot be left out with a release module: it has them built in.`,
    'Create the machine with module: "lab".',
  );
}

export class Machine {
  readonly #state: MachineState;
  readonly #vcpus: (Vcpu | undefined)[] = [];
  readonly #processors: (Processor | undefined)[] = [];

  /** The VMM's address space. */
  readonly mm: HostMm;
  /** Files of the host, in the page cache and on devices. */
  readonly files: HostFiles;
  /** Pins, and devices that access user space themselves. */
  readonly direct: DirectIo;
  /** Which guest-physical addresses are memory. */
  readonly memslots: Memslots;
  /** Guest-physical memory, as the VMM reads and writes it. */
  readonly guestMemory: GuestMemory;
  /** Guest memory as KVM itself uses it: copies, and pfn caches. */
  readonly kvm: KvmMemory;
  /** The protocol step by step; null unless the module is a lab build. */
  readonly lab: Lab | null;

  private constructor(core: Core, actor: number) {
    this.#state = new MachineState(core, actor);
    this.mm = new HostMm(this.#state);
    this.files = new HostFiles(this.#state);
    this.direct = new DirectIo(this.#state);
    this.memslots = new Memslots(this.#state);
    this.guestMemory = new GuestMemory(this.mm, this.memslots);
    this.kvm = new KvmMemory(this.#state);
    this.lab = core.lab ? new Lab(this.#state, core.lab) : null;
  }

  /**
   * Makes a machine, at once. In a browser the module has to be given compiled; `open` fetches it. Errors:
   * `CONFIG_INVALID`, `MEMORY_NOT_SHARED`, `MEMORY_TOO_SMALL`, `MODULE_MISMATCH`, `UNSUPPORTED`.
   */
  static create(options: MachineOptions = {}): Machine {
    const configuration = configure(options);
    return Machine.#make(configuration, compileModule(options.module ?? "release"), options);
  }

  /** Makes a machine; fetches the module if need be. Rejects as `create` throws. */
  static async open(options: MachineOptions = {}): Promise<Machine> {
    const configuration = configure(options);
    return Machine.#make(configuration, await openModule(options.module ?? "release"), options);
  }

  static #make(configuration: MachineConfiguration, module: WasmModule, options: ModuleOptions): Machine {
    checkBuild(configuration, module);
    const memory = emptyMemory(options.memory, module);
    const core = Core.on(module, memory, options.labImports);
    const view = new DataView(memory.buffer);
    writeConfiguration(view, configuration);
    view.setUint32(HEADER_OFFSET_BUILD, buildOf(module), true);
    const size = core.calls.plan();
    if (size === 0) {
      new Uint8Array(memory.buffer, HEADER_BASE, HEADER_SIZE).fill(0);
      throw configError(
        `The machine would take more than the ${MACHINE_SIZE_MAX} bytes (3.9 GiB) that a WebAssembly memory has room for.`,
        "Lower frames, or hostMemory; then batchSize, slots and windows.",
      );
    }
    grow(memory, size);
    core.calls.create();
    return new Machine(core, configuration.vcpus);
  }

  /**
   * A view for another thread, or a second one on this, of the machine in `memory`. The module has to be that of the
   * machine. Errors: `MODULE_MISMATCH` (no machine there, of another ABI version, or made by another build),
   * `MEMORY_NOT_SHARED`, `CONFIG_INVALID`, `USAGE`.
   */
  static attach(memory: WasmMemory, module: ModuleSource = "release", options: AttachOptions = {}): Machine {
    checkOptions("options of attach", options, ["hostThread", "labImports"]);
    checkLabImports(options.labImports);
    const compiled = compileModule(module);
    checkMemory(memory, compiled);
    const core = Core.on(compiled, memory, options.labImports);
    const configuration = Machine.#attachCore(core);
    const hostThread = integer("hostThread", options.hostThread ?? 0, 0, configuration.hostThreads - 1);
    return new Machine(core, configuration.vcpus + hostThread);
  }

  /** Binds the instance to the machine in its memory, and says what that is made of. */
  static #attachCore(core: Core): MachineConfiguration {
    const bytes = core.memory.buffer.byteLength;
    const result = bytes >= HEADER_BASE + HEADER_SIZE ? core.calls.attach() : AttachResult.NoMachine;
    const view = new DataView(core.memory.buffer);
    if (result === AttachResult.Ok && view.getUint32(HEADER_OFFSET_SIZE, true) <= bytes) {
      const configuration = readConfiguration(view);
      Machine.#checkBuild(view, core.module);
      checkBuild(configuration, core.module);
      return configuration;
    }
    const message =
      result === AttachResult.OtherVersion
        ? "The machine in this memory was made by a core of another ABI version."
        : "There is no machine in this memory.";
    throw new GuestMmuError("MODULE_MISMATCH", {
      message,
      hint: "Attach with the module that made the machine: machine.module.",
    });
  }

  /** Refuses a module of another build than that which made the machine: they do not tell their hosts the same. */
  static #checkBuild(view: DataView, module: WasmModule): void {
    const made = view.getUint32(HEADER_OFFSET_BUILD, true);
    const build = buildOf(module);
    if (made === build) return;
    throw new GuestMmuError("MODULE_MISMATCH", {
      message: `The machine was made by a ${BUILD_NAMES[made] ?? "foreign"} module; this is a ${BUILD_NAMES[build]} module.`,
      hint: "Attach with the module that made the machine: machine.module.",
    });
  }

  /**
   * A machine from what `save` returned. Options: module and memory, as of `create`; a machine with rules off needs a lab
   * module. Errors: `SAVE_INVALID` (cut off, changed, another version), and those of `create`.
   */
  static restore(bytes: Uint8Array, options: ModuleOptions = {}): Machine {
    const saved = decodeMachine(bytes);
    checkModuleOptions("options of restore", options);
    const module = compileModule(options.module ?? "release");
    const memory = emptyMemory(options.memory, module);
    const core = Core.on(module, memory, options.labImports);
    Machine.#checkPlan(core, saved.header, saved.size);
    grow(memory, saved.size);
    fillMemory(new Uint8Array(memory.buffer), saved);
    // A machine at rest suits either build; from here on it is that of this module.
    new DataView(memory.buffer).setUint32(HEADER_OFFSET_BUILD, buildOf(module), true);
    return Machine.#reopen(core);
  }

  /** Refuses a header that is not what `create` would have written for its configuration. */
  static #checkPlan(core: Core, header: DataView, size: number): void {
    const front = new Uint8Array(core.memory.buffer, HEADER_BASE, HEADER_SIZE);
    const saved = new Uint8Array(header.buffer, HEADER_BASE, HEADER_SIZE);
    const refuse = (message: string, cause?: unknown): never => {
      front.fill(0);
      const hint = "Restore it with the version of guestmmu that saved it.";
      throw new GuestMmuError("SAVE_INVALID", { message, hint, cause });
    };
    front.set(saved);
    try {
      writeConfiguration(new DataView(core.memory.buffer), readConfiguration(header));
    } catch (cause) {
      refuse("The saved machine has a configuration that this version does not accept.", cause);
    }
    if (BUILD_NAMES[header.getUint32(HEADER_OFFSET_BUILD, true)] === undefined)
      refuse("The saved machine was made by a build that this version does not know.");
    if (core.calls.plan() !== size || saved.some((byte, i) => front[i] !== byte)) {
      refuse("The saved machine is laid out in a way that its configuration does not lead to.");
    }
    front.fill(0);
  }

  static #reopen(core: Core): Machine {
    return new Machine(core, Machine.#attachCore(core).vcpus);
  }

  /** What the machine is made of. */
  get configuration(): MachineConfiguration {
    this.#state.checkNotDisposed();
    return this.#state.configuration;
  }

  /** The compiled module: what `attach` in another thread needs, with `memory`. */
  get module(): WasmModule {
    return this.#state.core.module;
  }

  /** The memory that holds the machine. */
  get memory(): WasmMemory {
    return this.#state.core.memory;
  }

  /** The instance of the core, for what has no view yet (drivers, workers). */
  get core(): Core {
    return this.#state.core;
  }

  /** Bytes of memory that the machine takes at most; what is not touched takes none from the operating system. */
  get size(): number {
    this.#state.checkNotDisposed();
    return this.#state.size;
  }

  get disposed(): boolean {
    return this.#state.disposed;
  }

  /** A vCPU. One thread at a time may drive it. Error: `USAGE` if there is none of this number. */
  vcpu(index = 0): Vcpu {
    const at = integer("vcpu", index, 0, this.configuration.vcpus - 1);
    return (this.#vcpus[at] ??= new Vcpu(this.#state, at));
  }

  /** The processor of a vCPU that KVM does not run: registers, TLB, and nested tables of the embedder's own. */
  processor(index = 0): Processor {
    const at = integer("processor", index, 0, this.configuration.vcpus - 1);
    return (this.#processors[at] ??= new Processor(this.#state, at));
  }

  /** All vCPUs. */
  get vcpus(): readonly Vcpu[] {
    return Array.from({ length: this.configuration.vcpus }, (_, i) => this.vcpu(i));
  }

  /** Page tables for a guest, built in its memory from outside. */
  guestTables(options: GuestTablesOptions): GuestTables {
    this.#state.checkUsable();
    return new GuestTables(this.guestMemory, this.configuration, options);
  }

  /** Counters of all actors, added up. */
  statistics(): Statistics {
    const { vcpus, hostThreads } = this.configuration;
    return this.#state.statistics(0, vcpus + hostThreads);
  }

  /** What the secondary MMU has for a guest-physical address under the current root, or null. */
  secondaryLeaf(gpa: GpaLike): SecondaryLeaf | null {
    const { calls, actor } = this.#state;
    const spte = calls.kvmLeaf(actor, toGpa(gpa) >> 12n);
    return spte === 0n ? null : decodeLeaf(spte);
  }

  /** Leaves, and table pages, of the secondary MMU. */
  secondaryCounts(): { readonly leaves: bigint; readonly tables: number } {
    this.#state.checkNothingOpen("Counting leaves");
    const { calls, actor } = this.#state;
    return { leaves: calls.kvmLeafCount(actor), tables: calls.kvmTableCount() };
  }

  /**
   * Gives back what KVM holds: pfn caches, mappings of vCPUs, and all tables of the secondary MMU, which faults build
   * anew. No vCPU may be running on any thread.
   */
  unloadGuest(): void {
    this.#state.checkUsable();
    checkAtRest(this.#state, "unloadGuest");
    this.#state.calls.kvmUnloadAll(this.#state.actor);
  }

  /**
   * The machine as bytes, to be given to `restore`: every page that is not zero, and a checksum. Refused with
   * `MACHINE_BUSY` while anything is under way on any thread.
   */
  save(): Uint8Array {
    this.#state.checkUsable();
    checkAtRest(this.#state, "save");
    return encodeMachine(this.#state);
  }

  /** A copy of the machine, at rest, in a memory of its own. Refused as `save` is. */
  clone(options: Pick<ModuleOptions, "memory" | "labImports"> = {}): Machine {
    checkOptions("options of clone", options, ["memory", "labImports"], "CONFIG_INVALID");
    checkLabImports(options.labImports);
    this.#state.checkUsable();
    const { core, u8, u64, size } = this.#state;
    checkAtRest(this.#state, "clone");
    const memory = emptyMemory(options.memory, this.module);
    const copy = Core.on(core.module, memory, options.labImports);
    grow(memory, size);
    const to = new Uint8Array(memory.buffer);
    for (const page of nonZeroPages(u64, size)) {
      to.set(u8.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE), page * PAGE_SIZE);
    }
    return Machine.#reopen(copy);
  }

  /**
   * Ends this view. From now on whatever is asked of it, but `disposed`, and of what was made from it throws `DISPOSED`;
   * constants that name a thing (`vcpu.index`, `tables.root`) stay. Other threads' views are not touched.
   */
  dispose(): void {
    this.#state.dispose();
  }
}

function decodeLeaf(spte: bigint): SecondaryLeaf {
  return {
    spte,
    pfn: Number((spte & PTE_ADDRESS) >> BigInt(PAGE_SHIFT)) as Pfn,
    writable: (spte & SPTE_W) !== 0n,
    huge: (spte & SPTE_PS) !== 0n,
  };
}
