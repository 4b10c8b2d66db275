/** Memslots: which guest-physical addresses are memory, and where in the VMM's address space it lies. */

import {
  MM_TASK_SIZE,
  PAGE_SIZE,
  SLOT_OFFSET_BASE_GFN,
  SLOT_OFFSET_FLAGS,
  SLOT_OFFSET_HVA,
  SLOT_OFFSET_ID,
  SLOT_OFFSET_NPAGES,
  SlotFlag,
  SlotStatus,
} from "../core/layout.generated.js";
import { GuestMmuError } from "../errors.js";
import {
  aligned,
  gpa as toGpa,
  hex,
  hva as toHva,
  pageLength,
  type Gpa,
  type GpaLike,
  type Hva,
  type HvaLike,
} from "./address.js";
import { checkOptions, flag, integer, show } from "./arguments.js";
import { type MachineState } from "./state.js";

/** A memslot: guest-physical [gpa, gpa + length) is the VMM's [hva, hva + length). A copy: it does not follow changes. */
export interface Memslot {
  /** Below the machine's number of slots; unique. */
  readonly id: number;
  readonly gpa: Gpa;
  readonly hva: Hva;
  /** Bytes, whole pages. */
  readonly length: bigint;
  /** Guest writes are MMIO exits (KVM_MEM_READONLY). */
  readonly readonly: boolean;
}

/** A memslot to be added. */
export interface MemslotSpec {
  /** Default: the lowest that is free. */
  readonly id?: number;
  readonly gpa: GpaLike;
  readonly hva: HvaLike;
  readonly length: number | bigint;
  /** Default false. */
  readonly readonly?: boolean;
}

/** KVM_MEM_MAX_NR_PAGES: the most pages of one slot. */
const SLOT_PAGES_MAX = (1n << 31n) - 1n;
/** What 4-level EPT can map. */
const EPT_ADDRESS_BITS = 48;

function unknownSlot(id: number): GuestMmuError {
  return new GuestMmuError("SLOT_INVALID", {
    message: `There is no memslot ${id}.`,
    hint: "machine.memslots.list() says which there are.",
  });
}

/**
 * The memslots of the VM (KVM_SET_USER_MEMORY_REGION). A change waits for invalidations and faults that other threads
 * have under way; deleting or moving a slot drops everything the secondary MMU maps.
 */
export class Memslots implements Iterable<Memslot> {
  readonly #state: MachineState;

  /** Made by `Machine`. */
  constructor(state: MachineState) {
    this.#state = state;
  }

  /**
   * Adds a slot. Errors: `SLOT_OVERLAP`, `SLOT_INVALID` (the id is taken, or too high), `LIMIT_REACHED`,
   * `ADDRESS_UNALIGNED`, `ADDRESS_RANGE`.
   */
  add(spec: MemslotSpec): Memslot {
    checkOptions("memslot", spec, ["id", "gpa", "hva", "length", "readonly"]);
    const readonly = flag("readonly", spec.readonly, false);
    const id = spec.id === undefined ? this.#freeId() : this.#id(spec.id);
    if (this.get(id)) {
      throw new GuestMmuError("SLOT_INVALID", {
        message: `Memslot ${id} is there already.`,
        hint: "Delete it, move it, or leave the id out.",
      });
    }
    const length = pageLength(spec.length);
    const gpa = this.#gpaRange(spec.gpa, length);
    const hva = this.#hvaRange(spec.hva, length);
    const slot: Memslot = { id, gpa, hva, length, readonly };
    this.#set(slot);
    return slot;
  }

  /** Deletes a slot. When it returns, nothing of it is mapped or cached. Error: `SLOT_INVALID`. */
  delete(id: number): void {
    const { calls, actor } = this.#changing();
    if (calls.kvmSetMemslot(actor, this.#id(id), 0n, 0n, 0n, 0) !== SlotStatus.Ok) throw unknownSlot(id);
  }

  /** Moves a slot to another guest-physical address. Errors as of `add`. */
  move(id: number, gpa: GpaLike): Memslot {
    const old = this.#known(id);
    const slot = { ...old, gpa: this.#gpaRange(gpa, old.length) };
    this.#set(slot);
    return slot;
  }

  /**
   * Makes a slot read-only or writable. KVM does not let that flag change in place (kvm_set_memory_region: EINVAL), so the
   * slot is deleted and added again: for a moment the guest has no memory there, as with a real VMM.
   */
  setReadonly(id: number, readonly: boolean): Memslot {
    const wanted = flag("readonly", readonly, false);
    const old = this.#known(id);
    if (old.readonly === wanted) return old;
    const slot = { ...old, readonly: wanted };
    this.delete(id);
    this.#set(slot);
    return slot;
  }

  /** The slot with this id, or null. */
  get(id: number): Memslot | null {
    for (const slot of this) if (slot.id === id) return slot;
    return null;
  }

  /** The slot that holds a guest-physical address, or null. */
  find(gpa: GpaLike): Memslot | null {
    const at = toGpa(gpa);
    const { calls } = this.#state;
    let low = 0;
    let high = calls.kvmSlotCount();
    while (low < high) {
      const middle = (low + high) >>> 1;
      const slot = this.#at(middle);
      if (at < slot.gpa) high = middle;
      else if (at >= slot.gpa + slot.length) low = middle + 1;
      else return slot;
    }
    return null;
  }

  /** All slots in the order of their guest-physical addresses. */
  list(): Memslot[] {
    return [...this];
  }

  *[Symbol.iterator](): Generator<Memslot> {
    for (let i = 0, count = this.count; i < count; i++) yield this.#at(i);
  }

  get count(): number {
    return this.#state.calls.kvmSlotCount();
  }

  /** memslots.generation: rises with every change, even when stable. */
  get generation(): number {
    return this.#state.calls.kvmGeneration();
  }

  #at(position: number): Memslot {
    const { calls, view } = this.#state;
    const row = calls.kvmSlotAt(position);
    return {
      id: view.getUint32(row + SLOT_OFFSET_ID, true),
      gpa: (view.getBigUint64(row + SLOT_OFFSET_BASE_GFN, true) << 12n) as Gpa,
      hva: view.getBigUint64(row + SLOT_OFFSET_HVA, true) as Hva,
      length: view.getBigUint64(row + SLOT_OFFSET_NPAGES, true) << 12n,
      readonly: (view.getUint32(row + SLOT_OFFSET_FLAGS, true) & SlotFlag.ReadOnly) !== 0,
    };
  }

  #changing(): MachineState {
    this.#state.checkNothingOpen("A change of the memslots");
    return this.#state;
  }

  #known(id: number): Memslot {
    const slot = this.get(this.#id(id));
    if (slot) return slot;
    throw unknownSlot(id);
  }

  #id(id: number): number {
    const { slots } = this.#state.configuration;
    if (Number.isInteger(id) && id >= 0 && id < slots) return id;
    throw new GuestMmuError("SLOT_INVALID", {
      message: `${show(id)} is not the id of a memslot: this machine has the numbers 0 to ${slots - 1}.`,
      hint: "Create the machine with a larger `slots`, or use a lower id.",
    });
  }

  #freeId(): number {
    const taken = new Set<number>();
    for (const slot of this) taken.add(slot.id);
    let id = 0;
    while (taken.has(id)) id++;
    if (id < this.#state.configuration.slots) return id;
    throw new GuestMmuError("LIMIT_REACHED", {
      message: `All ${id} memslots are in use.`,
      hint: "Create the machine with a larger `slots`.",
    });
  }

  #gpaRange(gpa: GpaLike, length: bigint): Gpa {
    const at = aligned(toGpa(gpa), BigInt(PAGE_SIZE), "The guest-physical address");
    const bits = Math.min(this.#state.configuration.maxphyaddr, EPT_ADDRESS_BITS);
    if (length >> 12n > SLOT_PAGES_MAX) {
      throw new GuestMmuError("SLOT_INVALID", {
        message: `A memslot of ${length >> 12n} pages is larger than the 2^31 - 1 that KVM allows.`,
        hint: "Use several slots.",
      });
    }
    if (at + length <= 1n << BigInt(bits)) return at;
    throw new GuestMmuError("ADDRESS_RANGE", {
      message: `Guest-physical [${hex(at)}, ${hex(at + length)}) ends above 2^${bits}.`,
      hint: "The limit is the machine's maxphyaddr, and 48 bits with 4-level EPT.",
    });
  }

  #hvaRange(hva: HvaLike, length: bigint): Hva {
    const at = aligned(toHva(hva), BigInt(PAGE_SIZE), "The host-virtual address");
    if (at + length <= MM_TASK_SIZE) return at;
    throw new GuestMmuError("ADDRESS_RANGE", {
      message: `[${hex(at)}, ${hex(at + length)}) is not in user space, which ends at ${hex(MM_TASK_SIZE)}.`,
      hint: "Use addresses that machine.mm.mmap returned.",
    });
  }

  #set(slot: Memslot): void {
    const { calls, actor, configuration } = this.#changing();
    const id = integer("id", slot.id, 0, configuration.slots - 1);
    const flags = slot.readonly ? SlotFlag.ReadOnly : 0;
    const status = calls.kvmSetMemslot(actor, id, slot.gpa >> 12n, slot.length >> 12n, slot.hva, flags);
    if (status === SlotStatus.Ok) return;
    const range = `Guest-physical [${hex(slot.gpa)}, ${hex(slot.gpa + slot.length)})`;
    if (status === SlotStatus.Overlap) {
      const other = this.list().find(
        (s) => s.id !== id && s.gpa < slot.gpa + slot.length && slot.gpa < s.gpa + s.length,
      );
      throw new GuestMmuError("SLOT_OVERLAP", {
        message: `${range} overlaps memslot ${other?.id}, [${hex(other?.gpa ?? 0)}, ${hex((other?.gpa ?? 0n) + (other?.length ?? 0n))}).`,
        hint: "Delete or move that slot first, or use other addresses.",
      });
    }
    if (status === SlotStatus.Full) {
      throw new GuestMmuError("LIMIT_REACHED", {
        message: `All ${configuration.slots} memslots are in use.`,
        hint: "Create the machine with a larger `slots`.",
      });
    }
    throw new GuestMmuError("SLOT_INVALID", {
      message: `${range}: size and backing of memslot ${id} cannot change.`,
      hint: "Delete it and add it again.",
    });
  }
}
