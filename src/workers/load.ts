/**
 * A guest under load: boots the small guest kernel of the core, backs one region with pages, and says what each vCPU and
 * invalidator is to do, so that `VcpuPool` can let them do it.
 */

import type { CoreCalls } from "../core/abi.js";
import {
  ACTOR_SIZE,
  DriveStatus,
  GATHER_MAX,
  GuestMapping,
  GuestStatus,
  HEADER_OFFSET_ACTORS_BASE,
  PAGE_SIZE,
  POOL_READY_MAX,
  POOL_TABLE_COUNT,
  Workload,
} from "../core/layout.generated.js";
import { GuestMmuError, usageError } from "../errors.js";
import { checkOptions, choice, integer } from "../machine/arguments.js";
import type { Machine } from "../machine/machine.js";
import { MACHINE_LIMITS } from "../machine/options.js";
import { checkMachine, oneOf, SEED_MAX } from "./check.js";
import type { HostRange } from "./plan.js";

/** Sizes of pages that host and guest map the region with. */
export type LoadPageSize = 4096 | 2097152;

/** A guest and its region. */
export interface GuestSpec {
  /** Bytes of the region: whole pages. */
  readonly memory: number;
  /** Default 4096. */
  readonly pageSize?: LoadPageSize;
}

/** Orders of access. */
export type WorkloadName = "sequential" | "uniform" | "zipf" | "chase" | "shift";

/** What a vCPU works on. */
export interface WindowSpec {
  /** Pages of the region, from `first`. Default: all. */
  readonly first?: number;
  readonly pages?: number;
  /** Default "uniform"; the order of first touches is sequential for "sequential", else permuted. */
  readonly workload?: WorkloadName;
  /** Stores among 100 accesses. Default 100. */
  readonly writePercent?: number;
  /** A 32-bit unsigned integer. Default 1; each vCPU has its own random numbers of the same seed. */
  readonly seed?: number;
}

/** What an invalidator works on. */
export interface InvalidateSpec {
  /** Pages of the region in one invalidation. Default 1. */
  readonly span?: number;
  readonly first?: number;
  readonly pages?: number;
  readonly seed?: number;
}

const WORKLOADS: Readonly<Record<WorkloadName, Workload>> = {
  sequential: Workload.Sequential,
  uniform: Workload.Uniform,
  zipf: Workload.Zipf,
  chase: Workload.Chase,
  shift: Workload.Shifting,
};

/** gva of the region: the same in every guest. */
const REGION_GVA = 1n << 46n;
const LARGE_PAGE = 2 ** 21;
/** Frames that a vCPU or a host thread keeps for itself, and pages whose references have yet to fall. */
const FRAMES_PER_ACTOR = POOL_READY_MAX + GATHER_MAX;
/** A shifting working set is this part of its window, and moves on by a quarter of itself. */
const SHIFT_SET = 16;

/** Bytes of a region: more than any machine can back. */
const MEMORY_MAX = 2 ** 40;

/** A guest's spec with its default filled in. */
function checkGuest(spec: GuestSpec): Required<GuestSpec> {
  checkOptions("guest", spec, ["memory", "pageSize"]);
  const { memory, pageSize = PAGE_SIZE } = spec;
  oneOf("pageSize", pageSize, [PAGE_SIZE, LARGE_PAGE]);
  integer("memory", memory, pageSize, MEMORY_MAX);
  if (memory % pageSize === 0) return { memory, pageSize };
  throw usageError(`memory is ${memory}: it has to be whole pages of ${pageSize} bytes.`, "Give a multiple.");
}

/** Bytes of guest RAM behind a region: the region, the guest's own tables, and room to align. */
function ramSizeFor(spec: GuestSpec): number {
  const bytes = spec.memory + spec.memory / 64 + 2 * LARGE_PAGE;
  return Math.ceil(bytes / LARGE_PAGE) * LARGE_PAGE;
}

/** A guest that has booted, and what its vCPUs and invalidators have been told to do. */
export class LoadedGuest {
  /** Where the host has the region. */
  readonly region: HostRange;
  /** Where the host has all of the guest's RAM. */
  readonly ram: HostRange;
  readonly pages: number;
  readonly pageSize: LoadPageSize;
  readonly #calls: CoreCalls;
  readonly #machine: Machine;
  readonly #freeBefore: number;

  /**
   * Frames that a machine needs for such a guest: `Machine.create({ frames, ... })`.
   *
   * @throws GuestMmuError `USAGE` for a region that is not whole pages, and for counts that no machine has.
   */
  static frames(spec: GuestSpec, vcpus: number, hostThreads: number): number {
    const checked = checkGuest(spec);
    integer("vcpus", vcpus, 1, MACHINE_LIMITS.vcpus.maximum);
    integer("hostThreads", hostThreads, 1, MACHINE_LIMITS.hostThreads.maximum);
    const ram = ramSizeFor(checked) / PAGE_SIZE;
    const perActor = FRAMES_PER_ACTOR + (checked.pageSize === LARGE_PAGE ? 4 * 512 : 0);
    // Tables of the host and of EPT: an entry each for every page, and a few above them.
    return Math.ceil(ram + 2 * (ram / 512) + 256 + (vcpus + hostThreads) * perActor);
  }

  /**
   * Maps RAM, adds the memslot, boots all vCPUs of the machine and builds the guest's page tables for the region. The
   * region's own pages are not touched yet.
   *
   * @throws GuestMmuError `USAGE` for a region that is not whole pages, and what the machine throws.
   */
  static boot(machine: Machine, spec: GuestSpec): LoadedGuest {
    checkMachine(machine);
    const { memory, pageSize } = checkGuest(spec);
    const { calls } = machine.core;
    const free = calls.hostFreeFrames();
    const length = BigInt(ramSizeFor(spec));
    const hva = machine.mm.mmap(length, { pageSize: pageSize === 4096 ? "4k" : "2m" });
    machine.memslots.add({ gpa: 0n, hva, length });
    check("boot", calls.guestBoot(0, length, 0));
    for (let vcpu = 1; vcpu < machine.configuration.vcpus; vcpu++) {
      check("start a vCPU", calls.guestJoin(vcpu, 0));
    }
    const shift = Math.log2(pageSize);
    const pages = memory / pageSize;
    check("map the region", calls.guestMap(0, GuestMapping.Offset, REGION_GVA, BigInt(memory), shift, 0n));
    check("build its tables", calls.guestPopulate(0, 0n, BigInt(pages)));
    const gpa = calls.guestRegionGpa(0, REGION_GVA);
    return new LoadedGuest(machine, calls, { hva, length }, hva + gpa, pages, pageSize, free);
  }

  private constructor(
    machine: Machine,
    calls: CoreCalls,
    ram: HostRange,
    regionHva: bigint,
    pages: number,
    pageSize: LoadPageSize,
    freeBefore: number,
  ) {
    this.#machine = machine;
    this.#calls = calls;
    this.#freeBefore = freeBefore;
    this.ram = ram;
    this.pages = pages;
    this.pageSize = pageSize;
    this.region = { hva: regionHva, length: BigInt(pages * pageSize) };
  }

  /**
   * Gives a vCPU its window, order and mix, for plans `run`, `populate` and `cycle`.
   *
   * @throws GuestMmuError `USAGE` for a vCPU, pages or a mix that are not there.
   */
  configure(vcpu: number, spec: WindowSpec = {}): void {
    this.#checkVcpu(vcpu);
    checkOptions("window", spec, ["first", "pages", "workload", "writePercent", "seed"]);
    const { first, pages, seed } = this.#checkWindow(spec);
    const { workload = "uniform", writePercent = 100 } = spec;
    const order = choice("workload", WORKLOADS, workload);
    integer("writePercent", writePercent, 0, 100);
    const gva = REGION_GVA + BigInt(first) * BigInt(this.pageSize);
    const calls = this.#calls;
    calls.driveWindow(vcpu, BigInt(seed), gva, pages, Math.log2(this.pageSize));
    const set = Math.max(1, Math.floor(pages / SHIFT_SET));
    calls.driveWorkload(vcpu, order, writePercent * 10, set, Math.max(1, set >> 2), set * SHIFT_SET);
    calls.driveCycleChunk(vcpu, 1, this.ram.hva);
    if (workload === "chase") this.#toEnd(vcpu, (count) => calls.driveBuildChase(vcpu, count));
  }

  /** Touches every page of a vCPU's window: what a steady state begins from. */
  touch(vcpu: number): void {
    this.#checkVcpu(vcpu);
    this.#calls.driveRewind(vcpu);
    this.#toEnd(vcpu, (count) => this.#calls.drivePopulate(vcpu, count));
  }

  /**
   * Tells a host thread what to invalidate. Single spans of small pages are drawn at random; spans of large pages come
   * one after another, so that none begins in the middle of a page.
   *
   * @throws GuestMmuError `USAGE` for a host thread or pages that are not there.
   */
  configureInvalidator(host: number, spec: InvalidateSpec = {}): void {
    integer("host", host, 0, this.#machine.configuration.hostThreads - 1);
    checkOptions("span", spec, ["span", "first", "pages", "seed"]);
    const { first, pages, seed } = this.#checkWindow(spec);
    const span = integer("span", spec.span ?? 1, 1, pages);
    const small = this.pageSize / PAGE_SIZE;
    const actor = this.#machine.configuration.vcpus + host;
    const order = small === 1 ? Workload.Uniform : Workload.Sequential;
    const hva = this.region.hva + BigInt(first) * BigInt(this.pageSize);
    this.#calls.driveSpan(actor, BigInt(seed), hva, pages * small, span * small, order);
  }

  /** Frames in use now beyond those of the empty machine. */
  get framesInUse(): number {
    return this.#freeBefore - this.#calls.hostFreeFrames();
  }

  /**
   * Deletes the memslot, unmaps the RAM and gives all tables of the secondary MMU back. Returns the frames that are then
   * missing: 0, or something has leaked.
   */
  unload(): number {
    const { memslots, mm, configuration } = this.#machine;
    const actor = configuration.vcpus;
    for (const slot of [...memslots]) memslots.delete(slot.id);
    mm.munmap(this.ram.hva, this.ram.length);
    this.#calls.kvmUnloadAll(actor);
    this.#calls.hostDrain(actor);
    return this.framesInUse - this.#cachedTables();
  }

  /** Zeroed frames that actors keep for tables: in use, and lost to nobody. */
  #cachedTables(): number {
    const { core, configuration } = this.#machine;
    const view = new DataView(core.memory.buffer);
    const base = view.getUint32(HEADER_OFFSET_ACTORS_BASE, true) + POOL_TABLE_COUNT;
    let count = 0;
    for (let i = 0; i < configuration.vcpus + configuration.hostThreads; i++) {
      count += view.getUint32(base + i * ACTOR_SIZE, true);
    }
    return count;
  }

  #checkVcpu(vcpu: number): void {
    integer("vcpu", vcpu, 0, this.#machine.configuration.vcpus - 1);
  }

  /** Pages of the region, and a seed. */
  #checkWindow(spec: WindowSpec | InvalidateSpec): { first: number; pages: number; seed: number } {
    const { first = 0, pages, seed = 1 } = spec;
    integer("first", first, 0, this.pages - 1);
    const rest = this.pages - first;
    integer("seed", seed, 0, SEED_MAX);
    return { first, pages: integer("pages", pages ?? rest, 1, rest), seed };
  }

  #toEnd(vcpu: number, slice: (count: number) => number): void {
    let status: number = DriveStatus.Ok;
    while (status === DriveStatus.Ok) {
      slice(65_536);
      status = this.#calls.driveStatus(vcpu);
    }
    if (status === DriveStatus.Finished) return;
    throw new GuestMmuError(status === DriveStatus.OutOfFrames ? "FRAMES_EXHAUSTED" : "CONFIG_INVALID", {
      message: `vCPU ${vcpu} could not touch its window (drive status ${status}).`,
      hint: "Create the machine with LoadedGuest.frames(...) frames or more.",
    });
  }
}

function check(what: string, status: number): void {
  if (status === GuestStatus.Ok) return;
  throw new GuestMmuError(status === GuestStatus.OutOfMemory ? "FRAMES_EXHAUSTED" : "CONFIG_INVALID", {
    message: `The guest could not ${what} (guest status ${status}).`,
    hint: "Create the machine with LoadedGuest.frames(...) frames or more.",
  });
}
