// An instance of the core for tests of the machine itself, below the API of src/: a header, a memory, and the exports.
import { readFileSync } from "node:fs";
import * as layout from "../src/core/layout.generated.js";

/** Words of the header that a test may want otherwise. */
export interface Configuration {
  frameCount: number;
  vcpuCount: number;
  hostCount: number;
  slotMax: number;
  vmaMax: number;
  tlbEntries: number;
  tlbLargeEntries: number;
  batchSize: number;
  windowCount: number;
  options: number;
  maxphyaddr: number;
  walkCacheEntries: number;
  structureEntries: number;
  profile: number;
}

const DEFAULTS: Configuration = {
  frameCount: 256,
  vcpuCount: 1,
  hostCount: 0,
  slotMax: 8,
  vmaMax: 8,
  tlbEntries: 64,
  tlbLargeEntries: 16,
  batchSize: 4096,
  windowCount: 0,
  options: layout.MachineOption.Page1GB | layout.MachineOption.EptAccessedDirty,
  maxphyaddr: 40,
  walkCacheEntries: 0,
  structureEntries: 0,
  profile: 0,
};

const HEADER: Record<keyof Configuration, number> = {
  frameCount: layout.HEADER_OFFSET_FRAME_COUNT,
  vcpuCount: layout.HEADER_OFFSET_VCPU_COUNT,
  hostCount: layout.HEADER_OFFSET_HOST_COUNT,
  slotMax: layout.HEADER_OFFSET_SLOT_MAX,
  vmaMax: layout.HEADER_OFFSET_VMA_MAX,
  tlbEntries: layout.HEADER_OFFSET_TLB_ENTRIES,
  tlbLargeEntries: layout.HEADER_OFFSET_TLB_LARGE_ENTRIES,
  batchSize: layout.HEADER_OFFSET_BATCH_SIZE,
  windowCount: layout.HEADER_OFFSET_WINDOW_COUNT,
  options: layout.HEADER_OFFSET_OPTIONS,
  maxphyaddr: layout.HEADER_OFFSET_MAXPHYADDR,
  walkCacheEntries: layout.HEADER_OFFSET_WALK_CACHE_ENTRIES,
  structureEntries: layout.HEADER_OFFSET_STRUCTURE_ENTRIES,
  profile: layout.HEADER_OFFSET_PROFILE,
};

/** Exports of abi/machine.ts and abi/cpu.ts. u32 results arrive signed, u64 ones as signed BigInt. */
export interface CpuExports {
  plan(): number;
  create(): void;
  cpuReset(vcpu: number): void;
  registerWrite(vcpu: number, register: number, value: bigint): number;
  registerRead(vcpu: number, register: number): bigint;
  translate(vcpu: number, gva: bigint, access: number, effects: number): number;
  translateInWindows(vcpu: number, gva: bigint, access: number, effects: number): number;
  runCases(vcpu: number, count: number): number;
  translateBatch(vcpu: number, count: number, access: number): number;
  invlpg(vcpu: number, gva: bigint): number;
  invpcid(vcpu: number, type: bigint, low: bigint, gva: bigint): number;
  invept(vcpu: number, type: bigint, eptp: bigint): number;
  invvpid(vcpu: number, type: bigint, low: bigint, gva: bigint): number;
  vmTransition(vcpu: number): void;
  tlbFlush(vcpu: number, extent: number, argument: bigint): void;
  tlbProbe(vcpu: number, gva: bigint, access: number): number;
  tlbAccess(vcpu: number, gva: bigint, access: number): number;
  windowPut(pa: bigint): number;
  windowFind(pa: bigint): number;
  windowClear(): void;
  measureWalk(
    vcpu: number,
    what: number,
    dependent: number,
    base: bigint,
    pages: number,
    count: number,
    seed: bigint,
  ): bigint;
}

/** One entry of a recorded walk. */
export interface RecordedStep {
  level: number;
  nested: boolean;
  pa: bigint;
  entry: bigint;
}

/** The record of a walk. */
export interface RecordedWalk {
  outcome: number;
  /** #PF error code, exit qualification, or EXITINFO1. */
  error: number;
  gva: bigint;
  gpa: bigint;
  pa: bigint;
  shift: number;
  steps: RecordedStep[];
}

const modules = new Map<string, WebAssembly.Module>();

function moduleAt(path: string): WebAssembly.Module {
  let module = modules.get(path);
  if (!module) modules.set(path, (module = new WebAssembly.Module(readFileSync(path))));
  return module;
}

const RELEASE = process.env["GUESTMMU_CORE"] ?? new URL("../build/release.wasm", import.meta.url).pathname;

const LAB = new URL("../build/lab.wasm", import.meta.url).pathname;

/** What answers a lab module's questions. */
export interface LabAnswers {
  choose: (n: number) => number;
}

/** A machine of one's own, made by the release module, or by the lab module if its questions are answered. */
export class CoreInstance {
  readonly core: CpuExports;
  readonly view: DataView;
  private readonly header: Uint32Array;

  constructor(configuration: Partial<Configuration> = {}, lab?: LabAnswers) {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
    const env = lab
      ? { memory, order: () => {}, note: () => {}, choose: (n: number) => lab.choose(n) }
      : { memory };
    const instance = new WebAssembly.Instance(moduleAt(lab ? LAB : RELEASE), { env });
    this.core = instance.exports as unknown as CpuExports;
    const words = { ...DEFAULTS, ...configuration };
    const header = new DataView(memory.buffer);
    for (const [name, at] of Object.entries(HEADER))
      header.setUint32(at, words[name as keyof Configuration], true);
    const size = this.core.plan() >>> 0;
    if (size === 0) throw new Error("the configuration does not fit");
    memory.grow(Math.ceil(size / 65536) - 1);
    this.view = new DataView(memory.buffer);
    this.header = new Uint32Array(memory.buffer, 0, 2048);
    this.core.create();
    this.core.cpuReset(0);
  }

  word(at: number): number {
    return this.header[at >> 2]!;
  }
  /** Address in memory of host-physical address `pa`. */
  frame(pa: bigint): number {
    return this.word(layout.HEADER_OFFSET_FRAMES_BASE) + Number(pa);
  }
  readPhysical(pa: bigint): bigint {
    return this.view.getBigUint64(this.frame(pa), true);
  }
  writePhysical(pa: bigint, value: bigint): void {
    this.view.setBigUint64(this.frame(pa), value, true);
  }
  /** Address of a vCPU's block. */
  actor(vcpu: number): number {
    return this.word(layout.HEADER_OFFSET_ACTORS_BASE) + vcpu * layout.ACTOR_SIZE;
  }

  /** The record of the vCPU's last walk. */
  walk(vcpu = 0): RecordedWalk {
    const at = this.actor(vcpu);
    const count = this.view.getUint32(at + layout.WALK_STEP_COUNT, true);
    const steps: RecordedStep[] = [];
    for (let i = 0; i < count; i++) {
      const step = at + layout.WALK_STEPS + (i << layout.WALK_STEP_SHIFT);
      const where = this.view.getBigUint64(step + 8, true);
      steps.push({
        level: Number(where & 7n),
        nested: (where & layout.WALK_STEP_NESTED) !== 0n,
        pa: (where >> 4n) << 3n,
        entry: this.view.getBigUint64(step, true),
      });
    }
    return {
      outcome: this.view.getUint32(at + layout.WALK_OUTCOME, true),
      error: Number(this.view.getBigUint64(at + layout.WALK_ERROR, true)),
      gva: this.view.getBigUint64(at + layout.WALK_GVA, true),
      gpa: this.view.getBigUint64(at + layout.WALK_GPA, true),
      pa: this.view.getBigUint64(at + layout.WALK_PA, true),
      shift: this.view.getUint32(at + layout.WALK_SHIFT, true),
      steps,
    };
  }

  /** Writes a register; throws unless the processor takes the value. */
  set(register: number, value: bigint, vcpu = 0): void {
    const status = this.core.registerWrite(vcpu, register, value);
    if (status !== 0)
      throw new Error(`register ${register} refused 0x${value.toString(16)}: status ${status}`);
  }
}
