/** Guest-physical memory as the VMM sees it: through the memslots, at the addresses behind them (kvm_read_guest). */

import { GuestMmuError } from "../errors.js";
import { gpa as toGpa, hex, type Gpa, type GpaLike, type Hva } from "./address.js";
import { checkBytes, integer } from "./arguments.js";
import { type HostMm } from "./host-mm.js";
import { type Memslot, type Memslots } from "./memslots.js";
import { byteWidth, unsignedValue, type Width } from "./width.js";

/** Little-endian words and bytes at guest-physical addresses. What lies in no slot is `SLOT_INVALID`. */
export class GuestMemory {
  readonly #mm: HostMm;
  readonly #memslots: Memslots;
  /** The slot of the last access, good while the generation is. */
  #last: { slot: Memslot; generation: number } | null = null;

  /** Made by `Machine`. */
  constructor(mm: HostMm, memslots: Memslots) {
    this.#mm = mm;
    this.#memslots = memslots;
  }

  /** Copies `length` bytes from guest-physical `gpa` on, across slots that touch. */
  read(gpa: GpaLike, length: number): Uint8Array {
    integer("length", length, 0, 0x7fff_ffff);
    const at = toGpa(gpa);
    const first = this.#slotOf(at);
    if (at + BigInt(length) <= first.gpa + first.length) return this.#mm.read(this.#hvaIn(first, at), length);
    const bytes = new Uint8Array(length);
    this.#pieces(at, length, (hva, offset, size) => bytes.set(this.#mm.read(hva, size), offset));
    return bytes;
  }

  /** Copies `bytes` to guest-physical `gpa` on. Ignores read-only flags, as a VMM that loads a ROM does. */
  write(gpa: GpaLike, bytes: Uint8Array): void {
    checkBytes("bytes", bytes);
    this.#pieces(toGpa(gpa), bytes.length, (hva, offset, size) => {
      this.#mm.write(hva, bytes.subarray(offset, offset + size));
    });
  }

  /** Loads one word. It may not cross the end of a slot. */
  load(gpa: GpaLike, width: Width = 64): bigint {
    const at = toGpa(gpa);
    return this.#mm.load(this.#word(at, byteWidth(width)), width);
  }

  /** Stores one word. It may not cross the end of a slot. */
  store(gpa: GpaLike, value: bigint | number, width: Width = 64): void {
    const at = toGpa(gpa);
    this.#mm.store(this.#word(at, byteWidth(width)), unsignedValue(value, width), width);
  }

  /** The VMM's address behind a guest-physical one (gfn_to_hva). */
  hvaOf(gpa: GpaLike): Hva {
    const at = toGpa(gpa);
    return this.#hvaIn(this.#slotOf(at), at);
  }

  #word(at: Gpa, size: number): Hva {
    const slot = this.#slotOf(at);
    if (at + BigInt(size) > slot.gpa + slot.length) this.#slotOf((slot.gpa + slot.length) as Gpa);
    return this.#hvaIn(slot, at);
  }

  #hvaIn(slot: Memslot, at: Gpa): Hva {
    return (slot.hva + (at - slot.gpa)) as Hva;
  }

  #pieces(gpa: Gpa, length: number, copy: (hva: Hva, offset: number, size: number) => void): void {
    // Nothing at all is also somewhere: the address is looked up even then, as of a read.
    let offset = 0;
    do {
      const at = (gpa + BigInt(offset)) as Gpa;
      const slot = this.#slotOf(at);
      const size = Number(
        slot.gpa + slot.length - at < BigInt(length - offset) ? slot.gpa + slot.length - at : length - offset,
      );
      copy(this.#hvaIn(slot, at), offset, size);
      offset += size;
    } while (offset < length);
  }

  #slotOf(at: Gpa): Memslot {
    const generation = this.#memslots.generation;
    if (this.#last?.generation === generation) {
      const { slot } = this.#last;
      if (at >= slot.gpa && at < slot.gpa + slot.length) return slot;
    }
    const slot = this.#memslots.find(at);
    if (slot === null) {
      throw new GuestMmuError("SLOT_INVALID", {
        message: `No memslot holds guest-physical ${hex(at)}.`,
        hint: "Add one: machine.memslots.add.",
      });
    }
    this.#last = { slot, generation };
    return slot;
  }
}
