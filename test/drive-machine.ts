// A machine with a booted guest, for tests of the guest kernel and of the drivers: RAM behind one memslot, the raw
// exports with u32 and u64 results made unsigned.
import * as layout from "../src/core/layout.generated.js";
import { LAB_IMPORTS, coreModule } from "./host-machine.js";

const {
  GuestStatus,
  DriveStatus,
  GuestMapping,
  GuestOption,
  MachineOption,
  Outcome,
  Profile,
  Stat,
  VmaFlag,
  Workload,
} = layout;
export {
  DriveStatus,
  GuestMapping,
  GuestOption,
  GuestStatus,
  MachineOption,
  Outcome,
  Profile,
  Stat,
  Workload,
};

export const PAGE = 4096n;
export const MIB = 1n << 20n;
export const GIB = 1n << 30n;
/** A user address that no test's RAM reaches. */
export const USER = 0x5000_0000_0000n;
/** Where the guest kernel sees guest-physical 0. */
export const DIRECT = layout.GUEST_DIRECT_MAP;

export interface DriveConfiguration {
  frames?: number;
  vcpus?: number;
  hosts?: number;
  options?: number;
  profile?: number;
  tlbEntries?: number;
  batchSize?: number;
  /** Bytes of guest RAM. */
  ram?: bigint;
  /** `GuestOption` bits. */
  guestOptions?: number;
  /** Page size of the VMA behind the memslot: 12 or 21. */
  vmaShift?: number;
  /** Leaves the guest without a kernel. */
  boot?: boolean;
  /** Rules that do not hold: takes the lab module. */
  without?: readonly number[];
}

type Raw = Record<string, (...args: (number | bigint)[]) => number | bigint>;

/** What a vCPU's end-to-end checks found. */
export interface Integrity {
  pass: bigint;
  discarded: bigint;
  kept: bigint;
  errors: bigint;
  gva: bigint;
  expected: bigint;
  found: bigint;
  additions: bigint;
  sum: bigint;
}

export class DriveMachine {
  readonly memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
  readonly module: WebAssembly.Module;
  readonly raw: Raw;
  readonly view: DataView;
  readonly ram: bigint;
  /** hva of gpa 0. */
  readonly hva: bigint;

  constructor(configuration: DriveConfiguration = {}) {
    const { frames = 4096, vcpus = 2, hosts = 1, tlbEntries = 64, batchSize = 16384 } = configuration;
    const { options = MachineOption.ZeroPages | MachineOption.Poison | MachineOption.Page1GB } =
      configuration;
    this.module = coreModule(configuration.without ? "lab" : "release");
    const instance = new WebAssembly.Instance(this.module, { env: { memory: this.memory, ...LAB_IMPORTS } });
    this.raw = instance.exports as unknown as Raw;
    const header = new DataView(this.memory.buffer);
    const set = (at: number, value: number): void => header.setUint32(at, value, true);
    set(layout.HEADER_OFFSET_FRAME_COUNT, frames);
    set(layout.HEADER_OFFSET_VCPU_COUNT, vcpus);
    set(layout.HEADER_OFFSET_HOST_COUNT, hosts);
    set(layout.HEADER_OFFSET_SLOT_MAX, 8);
    set(layout.HEADER_OFFSET_VMA_MAX, 16);
    set(layout.HEADER_OFFSET_TLB_ENTRIES, tlbEntries);
    set(layout.HEADER_OFFSET_TLB_LARGE_ENTRIES, 16);
    set(layout.HEADER_OFFSET_WALK_CACHE_ENTRIES, 64);
    set(layout.HEADER_OFFSET_BATCH_SIZE, batchSize);
    set(layout.HEADER_OFFSET_OPTIONS, options);
    set(layout.HEADER_OFFSET_MAXPHYADDR, 46);
    set(layout.HEADER_OFFSET_PROFILE, configuration.profile ?? Profile.V6_13);
    const off = (configuration.without ?? []).reduce((bits, rule) => bits | (1n << BigInt(rule)), 0n);
    header.setBigUint64(layout.HEADER_OFFSET_RULES_OFF0, off, true);
    const size = this.u32("plan");
    if (size === 0) throw new Error("the configuration does not fit");
    this.memory.grow(Math.ceil(size / 65536) - 1);
    this.view = new DataView(this.memory.buffer);
    this.raw["create"]!();

    this.ram = configuration.ram ?? 64n * MIB;
    const shift = configuration.vmaShift ?? 12;
    this.hva = this.u64("hostMmap", 0, 0n, this.ram, VmaFlag.Read | VmaFlag.Write, shift);
    if (this.hva < 65536n) throw new Error(`mmap: status ${this.hva}`);
    this.expectOk(this.u32("kvmSetMemslot", 0, 1, 0n, this.ram / PAGE, this.hva, 0), "kvmSetMemslot");
    if (configuration.boot === false) return;
    this.expectOk(this.u32("guestBoot", 0, this.ram, configuration.guestOptions ?? 0), "guestBoot");
    for (let vcpu = 1; vcpu < vcpus; vcpu++) this.expectOk(this.u32("guestJoin", vcpu, 0), "guestJoin");
  }

  private expectOk(status: number, name: string): void {
    if (status !== 0) throw new Error(`${name}: status ${status}`);
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
  status(actor = 0): number {
    return this.u32("driveStatus", actor);
  }
  get trap(): number {
    return this.word(layout.HEADER_TRAP_CODE);
  }

  /** Makes a region; its first gva. Eager regions are populated at once. */
  map(
    size: bigint,
    {
      mapping = GuestMapping.Offset as number,
      gva = USER,
      shift = 12,
      key = 7n,
      eager = false,
      vcpu = 0,
    } = {},
  ): bigint {
    this.expectOk(this.u32("guestMap", vcpu, mapping, gva, size, shift, key), "guestMap");
    if (eager) this.expectOk(this.u32("guestPopulate", vcpu, 0n, size >> BigInt(shift)), "guestPopulate");
    return this.u64("guestRegionStart", vcpu);
  }
  tryMap(mapping: number, gva: bigint, size: bigint, shift: number): number {
    return this.u32("guestMap", 0, mapping, gva, size, shift, 7n);
  }

  /** Makes an access, its page faults handled by the guest kernel; throws unless it succeeds. */
  private access(name: string, vcpu: number, gva: bigint, ...rest: (number | bigint)[]): void {
    for (;;) {
      const outcome = this.u32(name, vcpu, gva, ...rest);
      if (outcome !== Outcome.PageFault) return this.expectOk(outcome, name);
      const at = this.actor(vcpu);
      const error = this.view.getUint32(at + layout.WALK_ERROR, true);
      this.expectOk(
        this.u32("guestFault", vcpu, this.view.getBigUint64(at + layout.WALK_GVA, true), error),
        "#PF",
      );
    }
  }
  load(gva: bigint, size = 8, vcpu = 0): bigint {
    this.access("vcpuLoad", vcpu, gva, size, layout.Access.Read);
    return this.u64("vcpuValue", vcpu);
  }
  store(gva: bigint, value: bigint, size = 8, vcpu = 0): void {
    this.access("vcpuStore", vcpu, gva, size, value);
  }
  leaf(gva: bigint, vcpu = 0): bigint {
    return this.u64("guestLeaf", vcpu, gva);
  }
  /** Reads guest-physical memory as the host sees it. */
  physical(gpa: bigint): bigint {
    const value = this.u64("hostLoad", 0, this.hva + gpa, 8);
    this.expectOk(this.u32("hostLoadStatus", 0), "hostLoad");
    return value;
  }
  /** Writes guest-physical memory behind the guest's back. */
  corrupt(gpa: bigint, value: bigint): void {
    this.expectOk(this.u32("hostStore", 0, this.hva + gpa, 8, value), "hostStore");
  }
  dontneed(gpa: bigint, length: bigint, actor = 0): void {
    this.expectOk(this.u32("hostDontneed", actor, this.hva + gpa, length), "hostDontneed");
  }

  /** Sets a window of `steps` pages (or of another stride) and its workload. */
  drive(
    actor: number,
    {
      gva = USER,
      steps = 256,
      stride = 12,
      workload = Workload.Sequential as number,
      write = 0,
      seed = 1n,
      set = [1, 1, 1] as [steps: number, move: number, period: number],
      chunk = 0,
    } = {},
  ): void {
    this.raw["driveWindow"]!(actor, seed, gva, steps, stride);
    this.raw["driveWorkload"]!(actor, workload, write, ...set);
    if (chunk) this.raw["driveCycleChunk"]!(actor, chunk, this.hva);
  }
  integrity(actor = 0): Integrity {
    const at = this.actor(actor);
    const word = (offset: number): bigint => this.view.getBigUint64(at + offset, true);
    return {
      pass: word(layout.INTEGRITY_OFFSET_PASS),
      discarded: word(layout.INTEGRITY_OFFSET_DISCARDED),
      kept: word(layout.INTEGRITY_OFFSET_KEPT),
      errors: word(layout.INTEGRITY_OFFSET_ERRORS),
      gva: word(layout.INTEGRITY_OFFSET_GVA),
      expected: word(layout.INTEGRITY_OFFSET_EXPECTED),
      found: word(layout.INTEGRITY_OFFSET_FOUND),
      additions: word(layout.INTEGRITY_OFFSET_ADDITIONS),
      sum: word(layout.INTEGRITY_OFFSET_SUM),
    };
  }

  /** Writes records of a trace to the actor's batch buffer. */
  records(records: readonly { gva: bigint; size: number; access: number }[], actor = 0): void {
    let at =
      this.word(layout.HEADER_OFFSET_BATCHES_BASE) + actor * this.word(layout.HEADER_OFFSET_BATCH_SIZE);
    for (const { gva, size, access } of records) {
      this.view.setBigUint64(at, gva, true);
      this.view.setUint32(at + 8, size, true);
      this.view.setUint32(at + 12, access, true);
      at += 16;
    }
  }
  /** Sets or clears the word that makes drivers leave their loops. */
  set stop(value: boolean) {
    Atomics.store(new Int32Array(this.memory.buffer), layout.HEADER_STOP >> 2, value ? 1 : 0);
  }

  /** Gives the VM's tables back and counts every reference again: 0 at the end of every test. */
  get imbalance(): number {
    this.raw["kvmUnloadAll"]!(0);
    return this.u32("hostCheckBalance", 0) + this.u32("kvmTableCount");
  }
}
