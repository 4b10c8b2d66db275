// Walks for tests of their words and pictures: tables built word by word, walked by the core, as a `Translation`.
import * as layout from "../src/core/layout.generated.js";
import type { AccessFault } from "../src/machine/access-result.js";
import { nestedRegisters, type NestedPaging } from "../src/machine/nested.js";
import type { Translated, Translation, WalkStep } from "../src/machine/translation.js";
import type { WalkAccess, WalkContext, WalkContextRegisters } from "../src/report/walk-model.js";
import { CoreInstance, type RecordedWalk } from "./core-instance.js";
import { ACCESS } from "./oracle/tables.js";

const { MachineOption, Outcome, Register } = layout;

/** The name of a kind of access, by the core's number. */
export function accessNamed(number: number): WalkAccess {
  const found = Object.entries(ACCESS).find(([, value]) => value === number);
  if (!found) throw new Error(`there is no access ${number}`);
  return found[0] as WalkAccess;
}

/** MAXPHYADDR of the processor that walks. */
export const MAXPHYADDR = 40;

function resultOf(walk: RecordedWalk): Translated | AccessFault {
  const { outcome, error, gva, gpa, pa, shift } = walk;
  switch (outcome) {
    case Outcome.Ok:
      return { kind: "ok", gpa, hpa: pa, pageShift: shift } as Translated;
    case Outcome.PageFault:
      return { kind: "page-fault", errorCode: error, gva } as AccessFault;
    case Outcome.GeneralProtection:
      return { kind: "general-protection", gva } as AccessFault;
    case Outcome.StackFault:
      return { kind: "stack-fault", gva } as AccessFault;
    case Outcome.EptViolation:
      return { kind: "ept-violation", gpa, qualification: error } as AccessFault;
    case Outcome.EptMisconfiguration:
      return { kind: "ept-misconfiguration", gpa } as AccessFault;
    case Outcome.NestedPageFault:
      return { kind: "nested-page-fault", gpa, exitInfo1: BigInt(error) } as AccessFault;
    case Outcome.Missing:
      return { kind: "missing", hpa: pa } as AccessFault;
    default:
      throw new Error(`outcome ${outcome}`);
  }
}

/** A recorded walk as `translate` and `walk` give it; `format` is that of nested entries. */
function translationOf(walk: RecordedWalk, format: "ept" | "ordinary"): Translation {
  const steps = walk.steps.map(({ level, nested, pa, entry }): WalkStep => {
    const step = { level, table: pa & ~0xfffn, index: Number((pa & 0xfffn) >> 3n), entry, flags: [] };
    if (nested && format === "ept") return { ...step, dimension: "nested", format };
    return { ...step, dimension: nested ? "nested" : "guest", format: "ordinary" };
  });
  return { result: resultOf(walk), steps };
}

/** Physical memory of which only some words are set; pages that were removed are missing. */
export class Words {
  readonly #words = new Map<bigint, bigint>();
  readonly #missing = new Set<bigint>();

  constructor(words: Iterable<readonly [bigint, bigint]> = []) {
    for (const [pa, value] of words) this.set(pa, value);
  }
  get(pa: bigint): bigint {
    return this.#words.get(pa) ?? 0n;
  }
  set(pa: bigint, value: bigint): void {
    this.#words.set(pa, value);
  }
  remove(pa: bigint): void {
    this.#missing.add(pa >> 12n);
  }
  isMissing(pa: bigint): boolean {
    return this.#missing.has(pa >> 12n);
  }
  /** Words of the page that `pa` lies in. */
  *page(pa: bigint): Generator<[bigint, bigint]> {
    for (const [at, value] of this.#words) if (at >> 12n === pa >> 12n) yield [at & 0xfffn, value];
  }
}

/** Page tables in `Words`: entries are made as mappings ask for them, with `upper` flags above the leaf. */
export class Tables {
  readonly root: bigint;
  readonly #words: Words;
  readonly #levels: number;
  readonly #upper: bigint;
  readonly #page: () => bigint;
  readonly #at: (address: bigint) => bigint;

  /** `page` gives the address of a fresh page for a table; `at` tells where its address lies in `words`. */
  constructor(
    words: Words,
    {
      levels,
      upper,
      page,
      at,
    }: {
      levels: number;
      upper: bigint;
      page: () => bigint;
      at?: (address: bigint) => bigint;
    },
  ) {
    this.#words = words;
    this.#levels = levels;
    this.#upper = upper;
    this.#page = page;
    this.#at = at ?? ((address) => address);
    this.root = page();
  }

  /** Address of the entry of `level` for `address`, tables above made as needed. */
  entry(address: bigint, level: number): bigint {
    let table = this.root;
    for (let l = this.#levels; ; l--) {
      const entry = table + (((address >> BigInt(3 + 9 * l)) & 0x1ffn) << 3n);
      if (l === level) return entry;
      if (this.#words.get(this.#at(entry)) === 0n)
        this.#words.set(this.#at(entry), this.#page() | this.#upper);
      table = this.#words.get(this.#at(entry)) & layout.PTE_ADDRESS;
    }
  }
  map(address: bigint, leaf: bigint, level = 1): void {
    this.#words.set(this.#at(this.entry(address, level)), leaf);
  }
  /** Changes the entry of `level` for `address`. */
  change(address: bigint, level: number, to: (entry: bigint) => bigint): void {
    const at = this.#at(this.entry(address, level));
    this.#words.set(at, to(this.#words.get(at)));
  }
}

const machines = new Map<string, CoreInstance>();

function machineFor(page1GB: boolean): CoreInstance {
  const key = String(page1GB);
  let machine = machines.get(key);
  if (!machine) {
    const options = (page1GB ? MachineOption.Page1GB : 0) | MachineOption.EptAccessedDirty;
    machine = new CoreInstance({ frameCount: 16, windowCount: 128, options, maxphyaddr: MAXPHYADDR });
    machines.set(key, machine);
  }
  return machine;
}

/** Loads the registers in the order that an operating system would. */
function enter(machine: CoreInstance, registers: WalkContextRegisters): void {
  const { cr3, cr0 = 0n, cr4 = 0n, efer = 0n, nested } = registers;
  machine.core.cpuReset(0);
  machine.set(Register.Efer, efer & ~layout.EFER_LMA);
  machine.set(Register.Cr4, cr4 & (layout.CR4_PAE | layout.CR4_LA57));
  machine.set(Register.Cr0, cr0);
  machine.set(Register.Cr4, cr4);
  machine.set(Register.Cr3, cr3);
  machine.set(Register.Pkru, BigInt(registers.pkru ?? 0));
  machine.set(Register.Pkrs, BigInt(registers.pkrs ?? 0));
  machine.set(Register.Rflags, registers.rflags ?? 0n);
  machine.set(Register.Cpl, BigInt(registers.cpl ?? 0));
  if (nested?.kind === "ept") {
    machine.set(
      Register.EptVpidCap,
      layout.EPT_CAP_5LEVEL | (nested.executeOnly === false ? 0n : layout.EPT_CAP_EXECUTE_ONLY),
    );
  }
  if (!nested) return;
  const tables: Record<string, unknown> = { ...nested };
  delete tables.executeOnly;
  for (const [register, value] of nestedRegisters(tables as unknown as NestedPaging))
    machine.set(register, value);
}

/** Registers of 64-bit mode, all protections of the supervisor on; `more` over them. */
export function registers(
  more: Partial<WalkContextRegisters> & { readonly cr3: bigint },
): WalkContextRegisters {
  return {
    cr0: layout.CR0_PE | layout.CR0_PG | layout.CR0_WP,
    cr4: layout.CR4_PAE | layout.CR4_SMEP | layout.CR4_SMAP,
    efer: layout.EFER_LME | layout.EFER_LMA | layout.EFER_NXE,
    maxphyaddr: MAXPHYADDR,
    ...more,
  };
}

/** Walks through `words` as the core does it, which leaves them as they are; with `effects`, as an access would. */
export function walked(words: Words, context: WalkContext, effects = false): Translation {
  const { registers: given, gva, access = "read" } = context;
  const machine = machineFor(given.page1GB ?? true);
  enter(machine, given);
  const { core, view } = machine;
  core.windowClear();
  while (core.translateInWindows(0, gva, ACCESS[access], effects ? 1 : 0) === Outcome.Missing) {
    const { pa } = machine.walk();
    if (words.isMissing(pa)) break;
    const at = core.windowPut(pa) >>> 0;
    new Uint8Array(view.buffer, at, 4096).fill(0);
    for (const [offset, value] of words.page(pa)) view.setBigUint64(at + Number(offset), value, true);
  }
  return translationOf(machine.walk(), given.nested?.kind === "npt" ? "ordinary" : "ept");
}

/** A guest below EPT: its tables in guest-physical pages from 0x100000 on, those of EPT in host pages from 0x8000000. */
export class NestedGuest {
  readonly words = new Words();
  readonly ept: Tables;
  readonly guest: Tables;
  readonly #levels: number;
  readonly #eptLevels: number;
  #host = 0x800_0000n;
  #tables = 0x10_0000n;

  constructor({ levels = 4, eptLevels = 4 }: { levels?: 4 | 5; eptLevels?: 4 | 5 } = {}) {
    this.#levels = levels;
    this.#eptLevels = eptLevels;
    const flags = layout.EPT_RWX | layout.EPT_A;
    this.ept = new Tables(this.words, {
      levels: eptLevels,
      upper: flags,
      page: () => (this.#host += 0x3000n),
    });
    this.guest = new Tables(this.words, {
      levels,
      upper: layout.PTE_P | layout.PTE_RW | layout.PTE_US | layout.PTE_A,
      page: () => this.#tablePage(),
      at: (gpa) => this.hpa(gpa),
    });
  }

  /** A guest-physical page for a table of the guest, mapped by EPT. */
  #tablePage(): bigint {
    // Far apart, so that each has nested entries of its own.
    const gpa = (this.#tables += 0x40_2030_5000n & 0x3f_ffff_f000n);
    this.mapNested(gpa, this.#host * 2n + (gpa & 0xf000n));
    return gpa;
  }
  mapNested(gpa: bigint, hpa: bigint, level = 1): void {
    const rights = layout.EPT_RWX | layout.EPT_MEMTYPE_WB | layout.EPT_A | layout.EPT_D;
    this.ept.map(gpa, hpa | rights | (level > 1 ? layout.EPT_PS : 0n), level);
  }
  hpa(gpa: bigint): bigint {
    return (this.words.get(this.ept.entry(gpa, 1)) & layout.PTE_ADDRESS) | (gpa & 0xfffn);
  }
  context(gva: bigint, access: WalkAccess = "read", more: Partial<WalkContextRegisters> = {}): WalkContext {
    const cr4 = layout.CR4_PAE | (this.#levels === 5 ? layout.CR4_LA57 : 0n);
    const walk = this.#eptLevels === 5 ? layout.EPTP_WB_5LEVEL : layout.EPTP_WB_4LEVEL;
    const nested = { kind: "ept", eptp: this.ept.root | walk | layout.EPTP_AD } as const;
    return { gva, access, registers: registers({ cr3: this.guest.root, cr4, nested, ...more }) };
  }
  walk(context: WalkContext): Translation {
    return walked(this.words, context);
  }
}
