// Random situations: a processor's state, an access, and the words of memory that the walk comes upon, made when it does.
// They are drawn from a list of numbers, in which 0 is what lets the walk go on and a list that ends goes on with 0: so
// shrinking the list shrinks the situation.
import type { Place } from "./memory.js";
import type { Nested } from "./nested.js";
import type { AccessName, Control } from "./paging.js";
import type { State } from "./processor.js";
import { ACCESS_NAMES } from "./tables.js";

export interface Situation {
  state: State;
  address: bigint;
  size: number;
  access: AccessName;
  origin: (pa: bigint, place: Place) => bigint;
}

/** Which situations are wanted. */
export interface Wanted {
  nested: "none" | "ept" | "npt";
  /** Tables lie in frames from 4 on, one after the other, four frames each; absent: anywhere below MAXPHYADDR. */
  inFrames?: boolean;
  /** MAXPHYADDR; absent: any that is drawn. */
  width?: number;
  /** Absent: as drawn. */
  page1G?: boolean;
}

const WIDTHS = [40, 52, 46, 36, 32, 39, 45, 48, 51];
const SIZES = [8, 1, 2, 4, 4096];

/** Draws from the list. */
class Choices {
  #at = 0;
  constructor(private readonly list: readonly number[]) {}
  /** 0 to n - 1. */
  below(n: number): number {
    const value = this.list[this.#at++] ?? 0;
    return value % n;
  }
  /** True once in n. */
  rarely(n: number): boolean {
    return this.below(n) === n - 1;
  }
  flag(): boolean {
    return this.below(2) === 1;
  }
  /** A number of so many bits. */
  bits(count: number): bigint {
    let value = 0n;
    for (let i = 0; i < count; i += 16) value = (value << 16n) | BigInt(this.below(0x1_0000));
    return BigInt.asUintN(count, value);
  }
  bit(index: number, on: boolean): bigint {
    return on ? 1n << BigInt(index) : 0n;
  }
}

/** Uses of physical pages are told apart by the page's number modulo 4, so that the dimensions do not overlap. */
const Use = { guest: 0n, nested: 1n, log: 2n } as const;

class Maker {
  readonly #choices: Choices;
  readonly #wanted: Wanted;
  /** Tables made so far: of the guest at index 0, since an entry may serve at several levels; nested ones by their level. */
  readonly #tables: bigint[][] = [[], [], [], [], [], []];
  #pages = 0n;
  /** Most entries have been used before: their accessed and dirty flags are set, their EPT memory type is write-back. */
  readonly #used: boolean;

  constructor(list: readonly number[], wanted: Wanted) {
    this.#choices = new Choices(list);
    this.#wanted = wanted;
    this.#used = this.#choices.flag();
  }

  /** A page for this use, as an address: without a choice each is one after the other. */
  #page(use: bigint, width: number): bigint {
    this.#pages += 4n;
    const start = this.#wanted.inFrames ? 0n : this.#choices.bits(width - 12);
    const pfn = BigInt.asUintN(width - 12, start + this.#pages);
    return ((pfn & ~3n) | use) << 12n;
  }
  /** A table: a new one, or, rarely, one that is in use already. `level` is that of its entries, 0 in the guest's. */
  #table(level: number, width: number): bigint {
    const known = this.#tables[level]!;
    if (known.length > 0 && this.#choices.rarely(24)) return known[this.#choices.below(known.length)]!;
    const table = this.#page(level === 0 ? Use.guest : Use.nested, width);
    known.push(table);
    return table;
  }

  #control(width: number): Control {
    const c = this.#choices;
    const { page1G } = this.#wanted;
    const register = (): number => (c.rarely(3) ? Number(c.bits(32)) : 0);
    return {
      wp: c.flag(),
      smep: c.flag(),
      smap: c.flag(),
      pke: c.flag(),
      pks: c.flag(),
      nxe: c.below(4) !== 3,
      ac: c.flag(),
      cpl: c.flag() ? 3 : 0,
      la57: c.below(3) === 1,
      pkru: register(),
      pkrs: register(),
      width,
      page1G: page1G ?? c.below(4) !== 3,
    };
  }

  #nested(width: number): Nested | null {
    const c = this.#choices;
    if (this.#wanted.nested === "none") return null;
    const five = c.rarely(3);
    const root = this.#table(five ? 5 : 4, width);
    if (this.#wanted.nested === "npt")
      return { kind: "npt", ncr3: root, levels: five ? 5 : 4, nxe: c.below(4) !== 3 };
    const flags = c.flag();
    const type = c.rarely(8) ? 0n : 6n;
    const logs = flags && c.rarely(3);
    const index = c.rarely(3) ? [0, 512, 0xffff, 511, 513][c.below(5)]! : c.below(512);
    return {
      kind: "ept",
      eptp: root | type | (five ? 4n << 3n : 3n << 3n) | c.bit(6, flags),
      executeOnly: c.below(4) !== 3,
      advanced: c.flag(),
      modeBased: c.rarely(3),
      log: logs ? { address: this.#page(Use.log, width), index } : null,
    };
  }

  #address(control: Control): bigint {
    const c = this.#choices;
    const bits = control.la57 ? 57 : 48;
    let address = 0n;
    for (let level = control.la57 ? 5 : 4; level >= 1; level--) {
      const index = c.rarely(4) ? [0n, 511n, 255n, 256n][c.below(4)]! : c.bits(9);
      address = (address << 9n) | index;
    }
    const offset = c.rarely(3) ? 4096n - BigInt(1 + c.below(8)) : c.bits(12);
    address = (address << 12n) | offset;
    const canonical = BigInt.asUintN(64, BigInt.asIntN(bits, address));
    return c.rarely(24) ? canonical ^ (1n << BigInt(bits - 1 + c.below(65 - bits))) : canonical;
  }

  make(): Situation {
    const c = this.#choices;
    const width = this.#wanted.width ?? WIDTHS[c.below(WIDTHS.length)]!;
    const control = this.#control(width);
    const nested = this.#nested(width);
    const paging = nested === null || !c.rarely(16);
    // Without paging an address has 32 bits (3.3.1), and the guest-physical one is the same.
    const address = paging ? this.#address(control) : c.bits(32);
    return {
      state: { control, paging, cr3: this.#table(0, width), nested },
      address,
      size: SIZES[c.below(SIZES.length)]!,
      access: ACCESS_NAMES[c.below(ACCESS_NAMES.length)]!,
      origin: (_pa, place) => this.#word(place, control, nested),
    };
  }

  #word({ nested, level }: Place, control: Control, dimension: Nested | null): bigint {
    if (level === 0) return this.#choices.bits(64);
    const leaf = level === 1 || (level <= 3 && this.#choices.rarely(level === 2 ? 4 : 8));
    if (nested && dimension!.kind === "ept") return this.#eptEntry(level, leaf, control.width);
    return this.#entry(level, leaf, nested, control.width);
  }

  /** Address bits of an entry: of a page with its low bits clear, but for a mistake now and then. */
  #addressOf(level: number, leaf: boolean, nested: boolean, width: number): bigint {
    const c = this.#choices;
    if (!leaf) return this.#table(nested ? level - 1 : 0, width);
    const size = BigInt(3 + 9 * level);
    const page = (this.#page(Use.guest, width) >> size) << size;
    return level > 1 && c.rarely(nested ? 120 : 24)
      ? page | (1n << BigInt(12 + c.below(Number(size) - 12)))
      : page;
  }
  /** A bit above MAXPHYADDR, once in `n`. */
  #beyond(width: number, n: number): bigint {
    const c = this.#choices;
    return width < 52 && c.rarely(n) ? 1n << BigInt(width + c.below(52 - width)) : 0n;
  }

  // What ends a walk is rarer in nested entries: there are up to 25 of them before the last five.
  #entry(level: number, leaf: boolean, nested: boolean, width: number): bigint {
    const c = this.#choices;
    const large = level > 1 && leaf;
    const rare = nested ? 160 : 24;
    let entry = this.#addressOf(level, leaf, nested, width) | this.#beyond(width, rare);
    entry |= c.bit(0, !c.rarely(rare));
    entry |= c.bit(1, !c.rarely(nested ? 40 : 5));
    entry |= c.bit(2, !c.rarely(nested ? 160 : 5));
    entry |= c.bits(4) << 3n;
    entry |= c.bit(7, large || (level === 1 && c.flag()) || (level >= 4 && c.rarely(rare)));
    entry |= c.bits(4) << 8n;
    entry |= c.bit(12, large && c.rarely(4));
    if (this.#used && !c.rarely(32)) entry |= 0x60n;
    return entry | (c.bits(11) << 52n) | c.bit(63, c.rarely(nested ? 40 : 6));
  }

  #eptEntry(level: number, leaf: boolean, width: number): bigint {
    const c = this.#choices;
    let entry = this.#addressOf(level, leaf, true, width) | this.#beyond(width, 160);
    const [read, write, fetch] = [!c.rarely(80), !c.rarely(24), !c.rarely(24)];
    entry |= c.bit(0, read) | c.bit(1, write && (read || c.flag())) | c.bit(2, fetch);
    if (c.rarely(160)) entry &= ~7n;
    if (leaf) {
      const sound = this.#used && !c.rarely(32) ? [6n] : [6n, 6n, 6n, 0n, 1n, 4n, 5n];
      const types = c.rarely(100) ? [2n, 3n, 7n] : sound;
      entry |= (types[c.below(types.length)]! << 3n) | c.bit(6, c.flag());
      entry |= c.bit(7, level > 1 || c.flag());
    } else if (c.rarely(120)) entry |= 1n << BigInt(3 + c.below(level >= 4 ? 5 : 4));
    entry |= c.bits(2) << 8n;
    if (this.#used && !c.rarely(32)) entry |= 0x300n;
    // User-mode execute: on, where the walk shall go on.
    entry |= c.bit(10, !c.rarely(24)) | c.bit(11, c.flag());
    return entry | (c.bits(12) << 52n);
  }
}

export function situation(list: readonly number[], wanted: Wanted): Situation {
  return new Maker(list, wanted).make();
}
