/**
 * Guest memory as KVM itself uses it: copies through the memslots (kvm_read_guest), pages mapped for a vCPU
 * (kvm_vcpu_map), and pfn caches (gfn_to_pfn_cache). docs/protocol.md says what keeps each of them right.
 */

import {
  ACTOR_MAPS,
  GPC_ACTIVE,
  GPC_COUNT,
  GPC_GPA,
  GPC_PFN,
  GPC_SHIFT,
  GPC_VALID,
  KVM_GPCS,
  KvmStatus,
  MapFlag,
  PAGE_SIZE,
  VCPU_MAP_ADDRESS,
  VCPU_MAP_COUNT,
  VCPU_MAP_SHIFT,
} from "../core/layout.generated.js";
import { GuestMmuError, type GuestMmuErrorCode } from "../errors.js";
import { outOfFrames } from "./access-result.js";
import { gpa as toGpa, hex, type Gpa, type GpaLike, type Pfn } from "./address.js";
import { checkBytes, checkOptions, flag, integer } from "./arguments.js";
import { type MachineState } from "./state.js";
import { byteWidth, unsignedValue, type Width } from "./width.js";

/** Code, reason and remedy of each status that is an error of the caller's. */
const REFUSALS: Readonly<Record<number, readonly [code: GuestMmuErrorCode, why: string, hint: string]>> = {
  [KvmStatus.NoSlot]: ["SLOT_INVALID", "no memslot holds all of it", "Add one: machine.memslots.add."],
  [KvmStatus.ReadOnly]: [
    "SLOT_INVALID",
    "it is to be written, and is read-only",
    "Read it only, or make the memslot writable: machine.memslots.setReadonly.",
  ],
  [KvmStatus.HostFault]: [
    "VMA_INVALID",
    "nothing that allows the access is mapped behind the memslot",
    "Map it, or change its protection: machine.mm.",
  ],
  [KvmStatus.Invalid]: ["ADDRESS_RANGE", "it leaves its page", "Stay within the 4 KiB of the page."],
  [KvmStatus.Inactive]: ["USAGE", "it has been given back", "Map or activate it again."],
  [KvmStatus.Refused]: [
    "UNSUPPORTED",
    "its page cannot be pinned",
    "Pass { unsafe: true } to map it without (allow_unsafe_mappings).",
  ],
};

function check(status: number, what: string): void {
  if (status === KvmStatus.Ok) return;
  if (status === KvmStatus.OutOfFrames) throw outOfFrames(what);
  const [code, why, hint] = REFUSALS[status]!;
  throw new GuestMmuError(code, { message: `${what}: ${why}.`, hint });
}

/** How to map a page for a vCPU. */
export interface MapOptions {
  /** kvm_vcpu_map_readonly. Default false. */
  readonly readonly?: boolean;
  /** Map also what cannot be pinned, where the profile pins (allow_unsafe_mappings). Default false. */
  readonly unsafe?: boolean;
}

/**
 * A page that KVM has mapped for a vCPU (struct kvm_host_map). No invalidation reaches it: it leads to the page that was
 * there at the time, which its reference or pin keeps, until `unmap`. One thread at a time, as the vCPU.
 */
export class VcpuMapping {
  readonly gpa: Gpa;
  readonly pfn: Pfn;
  readonly readonly: boolean;
  readonly #state: MachineState;
  readonly #vcpu: number;
  readonly #map: number;
  readonly #address: number;

  /** Made by `Vcpu.map`. */
  constructor(state: MachineState, vcpu: number, map: number, gpa: Gpa, readonly: boolean) {
    this.#state = state;
    this.#vcpu = vcpu;
    this.#map = map;
    this.#address = addressIn(state, vcpu, map);
    this.gpa = gpa;
    this.pfn = Math.floor((this.#address - state.framesBase) / PAGE_SIZE) as Pfn;
    this.readonly = readonly;
  }

  /** True until the mapping is given back, by `unmap` or `machine.unloadGuest`. */
  get mapped(): boolean {
    this.#state.checkNotDisposed();
    return this.#address !== 0 && addressIn(this.#state, this.#vcpu, this.#map) === this.#address;
  }

  /** KVM's load of a word at byte `offset` of the page. Errors: `ADDRESS_RANGE`, `USAGE` after the unmap. */
  read(offset: number, width: Width = 64): bigint {
    const size = byteWidth(width);
    const calls = this.#calls(offset);
    check(calls.kvmMapRead(this.#vcpu, this.#map, offset, size), this.#name(offset, size));
    return calls.vcpuValue(this.#vcpu);
  }

  /** KVM's store. Errors as of `read`, and `SLOT_INVALID` if it was mapped read-only. */
  write(offset: number, value: bigint | number, width: Width = 64): void {
    const size = byteWidth(width);
    const calls = this.#calls(offset);
    const bits = unsignedValue(value, width);
    check(calls.kvmMapWrite(this.#vcpu, this.#map, offset, size, bits), this.#name(offset, size));
  }

  /** A store that the processor makes by itself, through the address that the VMCS has of the page (a virtual-APIC page). */
  hardwareWrite(offset: number, value: bigint | number, width: Width = 64): void {
    const size = byteWidth(width);
    const calls = this.#calls(offset);
    const bits = unsignedValue(value, width);
    check(calls.kvmHwWrite(this.#vcpu, this.#map, offset, size, bits), this.#name(offset, size));
  }

  /** kvm_vcpu_unmap: marks the page dirty if it may have been written, and lets it go. */
  unmap(): void {
    check(this.#calls(0).kvmVcpuUnmap(this.#vcpu, this.#map), this.#name(0, PAGE_SIZE));
  }

  #calls(offset: number): MachineState["calls"] {
    const { calls } = this.#state;
    integer("offset", offset, 0, PAGE_SIZE - 1);
    if (!this.mapped) check(KvmStatus.Inactive, this.#name(0, PAGE_SIZE));
    return calls;
  }

  #name(offset: number, size: number): string {
    const at = this.gpa + BigInt(offset);
    return `The mapping of guest-physical [${hex(at)}, ${hex(at + BigInt(size))}) for vCPU ${this.#vcpu}`;
  }
}

/** Where map `map` of a vCPU is in the memory, 0 if it is free. */
function addressIn(state: MachineState, vcpu: number, map: number): number {
  const row = state.actorBlock(vcpu) + ACTOR_MAPS + (map << VCPU_MAP_SHIFT);
  return Atomics.load(state.u32, (row + VCPU_MAP_ADDRESS) / 4);
}

/** kvm_vcpu_map for `Vcpu.map`. */
export function mapForVcpu(
  state: MachineState,
  vcpu: number,
  gpa: GpaLike,
  options: MapOptions,
): VcpuMapping {
  checkOptions("options of a mapping", options, ["readonly", "unsafe"]);
  const readonly = flag("readonly", options.readonly, false);
  const unsafe = flag("unsafe", options.unsafe, false);
  const at = (toGpa(gpa) & ~0xfffn) as Gpa;
  const { calls } = state;
  let map = 0;
  while (map < VCPU_MAP_COUNT && addressIn(state, vcpu, map) !== 0) map++;
  if (map === VCPU_MAP_COUNT) {
    throw new GuestMmuError("LIMIT_REACHED", {
      message: `All ${VCPU_MAP_COUNT} maps of vCPU ${vcpu} are in use.`,
      hint: "Unmap one.",
    });
  }
  const flags = (readonly ? MapFlag.ReadOnly : 0) | (unsafe ? MapFlag.Unsafe : 0);
  check(calls.kvmVcpuMap(vcpu, map, at, flags), `The page at guest-physical ${hex(at)}`);
  return new VcpuMapping(state, vcpu, map, at, readonly);
}

/**
 * A gfn_to_pfn_cache. Reads and writes find the page again when an invalidation or a change of the memslots has taken it;
 * they wait while any invalidation is open. Any thread's view may use it.
 */
export class PfnCache {
  /** Its number, 0 to 7. */
  readonly index: number;
  readonly #state: MachineState;

  /** Made by `KvmMemory.cache`. */
  constructor(state: MachineState, index: number) {
    this.index = index;
    this.#state = state;
  }

  get active(): boolean {
    return this.#word(GPC_ACTIVE) !== 0;
  }
  /** The page is cached; a change of the memslots may have outdated it all the same: see `check`. */
  get valid(): boolean {
    return this.#word(GPC_VALID) !== 0;
  }
  get gpa(): Gpa {
    this.#state.checkNotDisposed();
    return Atomics.load(this.#state.u64, (this.#row + GPC_GPA) / 8) as Gpa;
  }
  /** The page that is cached, null if none is. */
  get pfn(): Pfn | null {
    return this.valid ? (this.#word(GPC_PFN) as Pfn) : null;
  }

  /** kvm_gpc_activate, also of a cache that is active: it is for [gpa, gpa + length) of one page from now on. */
  activate(gpa: GpaLike, length = 8): void {
    const at = toGpa(gpa);
    const { calls, actor } = this.#waiting();
    const bytes = integer("length", length, 1, PAGE_SIZE);
    check(calls.kvmGpcActivate(actor, this.index, at, bytes), this.#name(at));
  }

  /** kvm_gpc_deactivate: nobody uses the cache when it returns. Error: `USAGE` if it is not active. */
  deactivate(): void {
    const { calls, actor } = this.#state;
    check(calls.kvmGpcDeactivate(actor, this.index), this.#name(this.gpa));
  }

  /** kvm_gpc_check: true if `length` bytes from its gpa could be used as they are cached. */
  check(length = 8): boolean {
    const { calls, actor } = this.#state;
    return calls.kvmGpcCheck(actor, this.index, integer("length", length, 1, PAGE_SIZE));
  }

  /** kvm_gpc_refresh. Errors as of `read`. */
  refresh(length = 8): void {
    const { calls, actor } = this.#waiting();
    const bytes = integer("length", length, 1, PAGE_SIZE);
    check(calls.kvmGpcRefresh(actor, this.index, bytes), this.#name(this.gpa));
  }

  /** A word at byte `offset` from its gpa. Errors: `ADDRESS_RANGE`, `SLOT_INVALID`, `VMA_INVALID`, `FRAMES_EXHAUSTED`. */
  read(offset = 0, width: Width = 64): bigint {
    const size = byteWidth(width);
    const { calls, actor } = this.#waiting();
    const at = integer("offset", offset, 0, PAGE_SIZE - 1);
    check(calls.kvmGpcRead(actor, this.index, at, size), this.#name(this.gpa + BigInt(offset)));
    return calls.vcpuValue(actor);
  }

  /** Writes a word at byte `offset` from its gpa. Errors as of `read`. */
  write(offset: number, value: bigint | number, width: Width = 64): void {
    const size = byteWidth(width);
    const { calls, actor } = this.#waiting();
    const at = integer("offset", offset, 0, PAGE_SIZE - 1);
    const bits = unsignedValue(value, width);
    check(calls.kvmGpcWrite(actor, this.index, at, size, bits), this.#name(this.gpa + BigInt(offset)));
  }

  get #row(): number {
    return KVM_GPCS + (this.index << GPC_SHIFT);
  }

  #word(field: number): number {
    this.#state.checkNotDisposed();
    return Atomics.load(this.#state.u32, (this.#row + field) / 4);
  }

  #waiting(): MachineState {
    this.#state.checkNoInvalidationOpen("A refresh of a pfn cache");
    return this.#state;
  }

  #name(at: bigint): string {
    return `Pfn cache ${this.index} at guest-physical ${hex(at)}`;
  }
}

/** `machine.kvm`: guest memory as KVM uses it. */
export class KvmMemory {
  readonly #state: MachineState;
  /** All pfn caches of the VM. None is active at first. */
  readonly caches: readonly PfnCache[];

  /** Made by `Machine`. */
  constructor(state: MachineState) {
    this.#state = state;
    this.caches = Array.from({ length: GPC_COUNT }, (_, index) => new PfnCache(state, index));
  }

  /**
   * kvm_read_guest: copies `length` bytes at `gpa`, across slots that touch. Errors: `SLOT_INVALID`, `VMA_INVALID`,
   * `FRAMES_EXHAUSTED`.
   */
  read(gpa: GpaLike, length: number): Uint8Array {
    const at = toGpa(gpa);
    const bytes = new Uint8Array(integer("length", length, 0, 0x7fff_ffff));
    this.#chunks(at, bytes.length, (where, offset, size, buffer) => {
      const { calls, actor, u8 } = this.#state;
      check(calls.kvmReadGuest(actor, where, size), rangeName("Reading", where, size));
      bytes.set(u8.subarray(buffer, buffer + size), offset);
    });
    return bytes;
  }

  /** kvm_write_guest. Unlike `machine.guestMemory`, which is the VMM's, it respects read-only slots. Errors as of `read`. */
  write(gpa: GpaLike, bytes: Uint8Array): void {
    checkBytes("bytes", bytes);
    this.#chunks(toGpa(gpa), bytes.length, (where, offset, size, buffer) => {
      const { calls, actor, u8 } = this.#state;
      u8.set(bytes.subarray(offset, offset + size), buffer);
      check(calls.kvmWriteGuest(actor, where, size), rangeName("Writing", where, size));
    });
  }

  /** Activates the lowest cache that is free for [gpa, gpa + length) of one page. Error: `LIMIT_REACHED` if none is. */
  cache(gpa: GpaLike, length = 8): PfnCache {
    const free = this.caches.find((cache) => !cache.active);
    if (!free) {
      throw new GuestMmuError("LIMIT_REACHED", {
        message: `All ${GPC_COUNT} pfn caches are active.`,
        hint: "Deactivate one.",
      });
    }
    free.activate(gpa, length);
    return free;
  }

  #chunks(
    gpa: Gpa,
    length: number,
    copy: (where: bigint, offset: number, size: number, buffer: number) => void,
  ): void {
    this.#state.checkUsable();
    const { configuration, actor } = this.#state;
    const buffer = this.#state.batchBase(actor);
    for (let offset = 0; offset < length; offset += configuration.batchSize) {
      copy(gpa + BigInt(offset), offset, Math.min(configuration.batchSize, length - offset), buffer);
    }
  }
}

function rangeName(what: string, gpa: bigint, size: number): string {
  return `${what} guest-physical [${hex(gpa)}, ${hex(gpa + BigInt(size))})`;
}
