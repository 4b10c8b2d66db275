/**
 * Page tables of a guest, built from outside: 4-level tables (SDM vol. 3A 4.5) in guest memory, as a loader would set
 * them up before the guest runs.
 */

import {
  CR0_PE,
  CR0_PG,
  CR0_WP,
  CR4_PAE,
  EFER_LME,
  EFER_NXE,
  PTE_A,
  PTE_ADDRESS,
  PTE_D,
  PTE_G,
  PTE_KEY_SHIFT,
  PTE_P,
  PTE_PS,
  PTE_RW,
  PTE_US,
  PTE_XD,
} from "../core/layout.generated.js";
import { GuestMmuError } from "../errors.js";
import {
  aligned,
  gpa as toGpa,
  gva as toGva,
  hex,
  pageLength,
  type Gpa,
  type GpaLike,
  type GvaLike,
} from "./address.js";
import { checkOptions, choice, flag, integer } from "./arguments.js";
import { type GuestMemory } from "./guest-memory.js";
import { type MachineConfiguration } from "./options.js";

/** Sizes of guest pages. */
export type GuestPageSize = "4k" | "2m" | "1g";
const SHIFTS: Readonly<Record<GuestPageSize, number>> = { "4k": 12, "2m": 21, "1g": 30 };

/** Rights and attributes of a mapping. */
export interface GuestPageAttributes {
  /** Default true. */
  readonly writable?: boolean;
  /** Accessible in user mode. Default false. */
  readonly user?: boolean;
  /** Default true; false sets XD, which is reserved while EFER.NXE is clear. */
  readonly executable?: boolean;
  /** Kept in the TLB across loads of CR3, if CR4.PGE is set. Default false. */
  readonly global?: boolean;
  /** Protection key, 0 to 15. Default 0. */
  readonly key?: number;
  /** Set the accessed flag, and the dirty flag if writable, in advance. Default false. */
  readonly touched?: boolean;
}

/** A range to be mapped. */
export interface GuestMapping extends GuestPageAttributes {
  readonly gva: GvaLike;
  readonly gpa: GpaLike;
  /** Bytes: a multiple of the page size. */
  readonly length: number | bigint;
  /** Default "4k". */
  readonly pageSize?: GuestPageSize;
}

/** Where the tables go. */
export interface GuestTablesOptions {
  /** First guest-physical address for tables, page-aligned, in a memslot; the root comes first. */
  readonly at: GpaLike;
  /** Bytes that tables may take. Default 1 MiB. */
  readonly length?: number | bigint;
}

/** Registers of a guest in long mode with paging on these tables: in the order in which they have to be loaded. */
export type LongModeRegisters = readonly (readonly [name: "cr4" | "efer" | "cr3" | "cr0", value: bigint])[];

const ATTRIBUTES = ["writable", "user", "executable", "global", "key", "touched"] as const;

const LEVELS = 4;
/** log2 of what one entry of a level spans. */
const shiftOf = (level: number): number => 3 + 9 * level;
const TABLE_RIGHTS = PTE_P | PTE_RW | PTE_US;

export class GuestTables {
  readonly #memory: GuestMemory;
  readonly #limit: bigint;
  readonly #page1GB: boolean;
  readonly #end: bigint;
  #next: bigint;

  /** Guest-physical address of the PML4 table: what CR3 has to hold. */
  readonly root: Gpa;

  /** Made by `Machine.guestTables`. */
  constructor(memory: GuestMemory, configuration: MachineConfiguration, options: GuestTablesOptions) {
    checkOptions("options of guestTables", options, ["at", "length"]);
    this.#memory = memory;
    this.#limit = 1n << BigInt(configuration.maxphyaddr);
    this.#page1GB = configuration.page1GB;
    this.#next = aligned(toGpa(options.at), 4096n, "The address of the tables");
    this.#end = this.#next + pageLength(options.length ?? 1 << 20);
    this.root = this.#table();
  }

  /** Bytes of guest memory that the tables take so far. */
  get size(): bigint {
    return this.#next - this.root;
  }

  /**
   * Maps [gva, gva + length) to [gpa, gpa + length), in place of what was mapped there. Errors: `ADDRESS_UNALIGNED`,
   * `ADDRESS_RANGE` (not canonical, above MAXPHYADDR), `LIMIT_REACHED` (no room for a table), `USAGE`.
   */
  map(mapping: GuestMapping): void {
    checkOptions("mapping", mapping, ["gva", "gpa", "length", "pageSize", ...ATTRIBUTES]);
    const shift = this.#shift(mapping.pageSize ?? "4k");
    const size = 1n << BigInt(shift);
    const length = pageLength(mapping.length, size);
    const from = aligned(toGva(mapping.gva), size, "The guest-virtual address");
    const to = aligned(toGpa(mapping.gpa), size, "The guest-physical address");
    this.#checkRange(from, to, length);
    const attributes = this.#attributes(mapping) | (shift === 12 ? 0n : PTE_PS);
    for (let offset = 0n; offset < length; offset += size) {
      const entry = this.#entry(from + offset, shift);
      this.#memory.store(entry, (to + offset) | attributes);
    }
  }

  /** Maps guest-virtual [0, length) to the same guest-physical addresses. */
  mapIdentity(
    length: number | bigint,
    options: GuestPageAttributes & { readonly pageSize?: GuestPageSize } = {},
  ): void {
    checkOptions("options of mapIdentity", options, ["pageSize", ...ATTRIBUTES]);
    this.map({ ...options, gva: 0, gpa: 0, length });
  }

  /** Removes what is mapped in [gva, gva + length): entries of the given size become not present. The TLB is not told. */
  unmap(gva: GvaLike, length: number | bigint, pageSize: GuestPageSize = "4k"): void {
    const shift = this.#shift(pageSize);
    const size = 1n << BigInt(shift);
    const bytes = pageLength(length, size);
    const from = aligned(toGva(gva), size, "The guest-virtual address");
    for (let offset = 0n; offset < bytes; offset += size) {
      const entry = this.#find(from + offset, shift);
      if (entry !== null) this.#memory.store(entry, 0n);
    }
  }

  /** The entry that translates `gva` at the level of this page size, or null if a table above it is missing. */
  entry(gva: GvaLike, pageSize: GuestPageSize = "4k"): bigint | null {
    const entry = this.#find(toGva(gva), this.#shift(pageSize));
    return entry === null ? null : this.#memory.load(entry);
  }

  /** Registers for long mode with paging on, in the order in which they have to be written. */
  longModeRegisters(): LongModeRegisters {
    return [
      ["cr4", CR4_PAE],
      ["efer", EFER_LME | EFER_NXE],
      ["cr3", this.root],
      ["cr0", CR0_PG | CR0_WP | CR0_PE],
    ];
  }

  /** A zeroed table. */
  #table(): Gpa {
    if (this.#next >= this.#end) {
      throw new GuestMmuError("LIMIT_REACHED", {
        message: `The guest's page tables fill the ${this.#end - this.root} bytes they were given.`,
        hint: "Give guestTables a larger `length`, or map larger pages.",
      });
    }
    const table = this.#next as Gpa;
    this.#memory.write(table, new Uint8Array(4096));
    this.#next += 4096n;
    return table;
  }

  /** Guest-physical address of the entry that maps `gva` with pages of 2^shift bytes; tables above it are made. */
  #entry(gva: bigint, shift: number): Gpa {
    let table: bigint = this.root;
    for (let level = LEVELS; ; level--) {
      const at = (table + this.#offset(level, gva)) as Gpa;
      if (shiftOf(level) === shift) return at;
      const found = this.#memory.load(at);
      const isTable = (found & PTE_P) !== 0n && (found & PTE_PS) === 0n;
      const below = isTable ? found & PTE_ADDRESS : this.#table();
      if (!isTable) this.#memory.store(at, below | TABLE_RIGHTS);
      table = below;
    }
  }

  #find(gva: bigint, shift: number): Gpa | null {
    let table: bigint = this.root;
    for (let level = LEVELS; ; level--) {
      const at = (table + this.#offset(level, gva)) as Gpa;
      if (shiftOf(level) === shift) return at;
      const found = this.#memory.load(at);
      if ((found & PTE_P) === 0n || (found & PTE_PS) !== 0n) return null;
      table = found & PTE_ADDRESS;
    }
  }

  #offset(level: number, gva: bigint): bigint {
    return ((gva >> BigInt(shiftOf(level))) & 511n) << 3n;
  }

  #attributes(mapping: GuestPageAttributes): bigint {
    const key = integer("key", mapping.key ?? 0, 0, 15);
    const writable = flag("writable", mapping.writable, true);
    let bits = PTE_P | (BigInt(key) << BigInt(PTE_KEY_SHIFT));
    if (writable) bits |= PTE_RW;
    if (flag("user", mapping.user, false)) bits |= PTE_US;
    if (!flag("executable", mapping.executable, true)) bits |= PTE_XD;
    if (flag("global", mapping.global, false)) bits |= PTE_G;
    if (flag("touched", mapping.touched, false)) bits |= PTE_A | (writable ? PTE_D : 0n);
    return bits;
  }

  #shift(pageSize: GuestPageSize): number {
    const shift = choice("page size", SHIFTS, pageSize);
    if (pageSize === "1g" && !this.#page1GB) {
      throw new GuestMmuError("UNSUPPORTED", {
        message: "The processor of this machine has no 1 GiB pages.",
        hint: "Create the machine with page1GB: true, or use 2 MiB pages.",
      });
    }
    return shift;
  }

  #checkRange(gva: bigint, gpa: bigint, length: bigint): void {
    const last = gva + length - 1n;
    const canonical = (address: bigint): boolean =>
      BigInt.asUintN(64, BigInt.asIntN(48, address)) === address;
    if (!canonical(gva) || !canonical(last) || gva >> 47n !== last >> 47n) {
      throw new GuestMmuError("ADDRESS_RANGE", {
        message: `Guest-virtual [${hex(gva)}, ${hex(last + 1n)}) is not canonical throughout.`,
        hint: "Use 0 to 2^47, or the upper half from 0xffff800000000000 on.",
      });
    }
    if (gpa + length > this.#limit) {
      throw new GuestMmuError("ADDRESS_RANGE", {
        message: `Guest-physical [${hex(gpa)}, ${hex(gpa + length)}) ends above the processor's ${hex(this.#limit)}.`,
        hint: "Use lower addresses, or a machine with a larger maxphyaddr.",
      });
    }
  }
}
