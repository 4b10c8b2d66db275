/**
 * A virtual processor: a driver of memory accesses at guest-virtual addresses, not an interpreter. Each access goes
 * through TLB, guest walk and EPT walk; KVM's fault path backs what is missing.
 */

import {
  BATCH_FAILED,
  CPU_GENERATION,
  CPU_KEPT_GENERATION,
  CPU_TLB_BASE,
  CPU_TLB_LARGE_BASE,
  Access,
  Flush,
  Modify,
  Outcome,
  PAGE_SIZE,
  Register,
  RegisterWrite,
  TLB_ENTRY_SHIFT,
  TLB_GENERATION,
  TLB_RIGHTS,
  TRANSLATION_GLOBAL,
} from "../core/layout.generated.js";
import { GuestMmuError } from "../errors.js";
import {
  accessNumber,
  outOfFrames,
  WalkRecord,
  type AccessFault,
  type AccessKind,
  type AccessResult,
  type MmioExit,
} from "./access-result.js";
import { gva as toGva, hex, type Gpa, type GpaLike, type Gva, type GvaLike } from "./address.js";
import { checkOptions, checkWords, choice, flag, show } from "./arguments.js";
import { mapForVcpu, type MapOptions, type VcpuMapping } from "./kvm-memory.js";
import { type GuestTables } from "./guest-tables.js";
import { ACCESS_FORM, countRecords, VALUE_FORM, type PackedAccess, type RecordForm } from "./records.js";
import { VCPU_REGISTERS } from "./registers.js";
import { type MachineState, type Statistics } from "./state.js";
import { stepsOf, type Translated, type Translation } from "./translation.js";
import { byteWidth, unsignedValue, type Width } from "./width.js";

/** Emulates devices: called for guest-physical addresses without a memslot, and for writes to read-only ones. */
export interface MmioHandler {
  /** The value of `size` bytes at `gpa`: 1, 2, 4 or 8, or any number up to 7 for a part of an access that crosses pages. */
  read(gpa: Gpa, size: number): bigint | number;
  write(gpa: Gpa, size: number, value: bigint): void;
}

const FLUSHES = { all: Flush.All, "non-global": Flush.NonGlobal } as const;

/** Those that KVM loads. */
const OF_KVM: ReadonlySet<Register> = new Set([
  Register.Eptp,
  Register.NestedControl,
  Register.Ncr3,
  Register.SecondaryControls,
]);

/** Registers that can be read. `cpl` is 0 to 3; `eptp` is KVM's; `cr2` is kept by the view, not by the core. */
export type RegisterName = keyof typeof VCPU_REGISTERS | "cr2";
/** Registers that can be written. */
export type WritableRegisterName = Exclude<
  RegisterName,
  "eptp" | "nestedControl" | "ncr3" | "secondaryControls"
>;

/** What became of a register write: #GP(0) is the guest's affair, `unsupported` a mode this processor lacks. */
export type RegisterResult = { readonly kind: "ok" | "general-protection" | "unsupported" };

/** Kinds of INVPCID, in the order of their numbers. */
export type InvpcidKind = "address" | "context" | "all-and-global" | "all";

const INVPCID: Readonly<Record<InvpcidKind, bigint>> = {
  address: 0n,
  context: 1n,
  "all-and-global": 2n,
  all: 3n,
};

/** A cached-translation summary of a vCPU. */
export interface TlbInfo {
  readonly entries: number;
  /** Entries in use now. */
  readonly used: number;
  readonly largeEntries: number;
  readonly largeUsed: number;
  readonly walkCacheEntries: number;
}

/** What a batch of accesses is to bring back. */
export interface BatchOptions {
  /** At least one word a record. */
  readonly values?: BigUint64Array;
}

/** How a batch of accesses ended. */
export interface BatchResult {
  /** Accesses completed. */
  readonly done: number;
  /** The fault that stopped the batch at record `done`; null if all were done. */
  readonly fault: AccessFault | null;
}

/** Bytes of an access of `size` bytes at `gva` that lie in its first page. */
function headOf(gva: bigint, size: number): number {
  return Math.min(size, PAGE_SIZE - Number(gva & 0xfffn));
}

export class Vcpu {
  readonly index: number;
  readonly #state: MachineState;
  readonly #record: WalkRecord;
  #mmio: MmioHandler | null = null;
  #cr2 = 0n;

  /** Made by `Machine.vcpu`. */
  constructor(state: MachineState, index: number) {
    this.index = index;
    this.#state = state;
    this.#record = new WalkRecord(state, index);
  }

  // --- Accesses. Each is one access of the guest; a fault leaves memory as it was.

  /** Reads a word of `width` bits, little-endian, zero-extended. */
  read(gva: GvaLike, width: Width = 64): AccessResult {
    return this.#load(toGva(gva), byteWidth(width), "read");
  }

  /** Fetches a word of `width` bits as instruction bytes: XD and SMEP apply. */
  fetch(gva: GvaLike, width: Width = 64): AccessResult {
    return this.#load(toGva(gva), byteWidth(width), "fetch");
  }

  /** Writes a word of `width` bits. Negative values are taken in two's complement; what does not fit is `USAGE`. */
  write(gva: GvaLike, value: bigint | number, width: Width = 64): AccessResult {
    return this.#store(toGva(gva), byteWidth(width), unsignedValue(value, width));
  }

  /** XCHG. Results of this and the following carry the value that was there. Alignment has to be natural: else #AC. */
  exchange(gva: GvaLike, value: bigint | number, width: Width = 64): AccessResult {
    return this.#modify(gva, Modify.Exchange, value, 0n, width);
  }
  /** LOCK XADD. */
  add(gva: GvaLike, value: bigint | number, width: Width = 64): AccessResult {
    return this.#modify(gva, Modify.Add, value, 0n, width);
  }
  /** LOCK AND. */
  and(gva: GvaLike, value: bigint | number, width: Width = 64): AccessResult {
    return this.#modify(gva, Modify.And, value, 0n, width);
  }
  /** LOCK OR. */
  or(gva: GvaLike, value: bigint | number, width: Width = 64): AccessResult {
    return this.#modify(gva, Modify.Or, value, 0n, width);
  }
  /** LOCK XOR. */
  xor(gva: GvaLike, value: bigint | number, width: Width = 64): AccessResult {
    return this.#modify(gva, Modify.Xor, value, 0n, width);
  }
  /** LOCK CMPXCHG: writes `value` if the word is `expected`. It succeeded if the result's value is `expected`. */
  compareExchange(
    gva: GvaLike,
    expected: bigint | number,
    value: bigint | number,
    width: Width = 64,
  ): AccessResult {
    return this.#modify(gva, Modify.CompareExchange, value, unsignedValue(expected, width), width);
  }

  /**
   * Makes the accesses of packed records (`encodeAccess`), in order, until one faults. `values[i]` receives what record
   * `i` read, or found before it modified it; that of a write stays as it is. Records drive memory rather than carry data:
   * a store writes a small running number, a read-modify-write adds 1. MMIO goes to the handler, if there is one.
   */
  runRecords(records: Uint8Array, options: BatchOptions = {}): BatchResult {
    return this.#runBatch(ACCESS_FORM, records, options);
  }

  /** The same with records that carry values and operations (`encodeValueAccess`): data moves as by single accesses. */
  runAccesses(records: Uint8Array, options: BatchOptions = {}): BatchResult {
    return this.#runBatch(VALUE_FORM, records, options);
  }

  // --- Translation.

  /**
   * Walks for one access and shows every entry that it read. Without side effects (the default) nothing changes: no
   * accessed or dirty flag, no TLB entry, no page; what KVM has not mapped yet shows as an EPT violation. With them, the
   * access is made first (a write changes no data), so that the walk shows what it leaves.
   */
  translate(
    gva: GvaLike,
    options: { readonly access?: AccessKind; readonly sideEffects?: boolean } = {},
  ): Translation {
    checkOptions("options of translate", options, ["access", "sideEffects"]);
    const { access = "read" } = options;
    const sideEffects = flag("sideEffects", options.sideEffects, false);
    const at = toGva(gva);
    const kind = accessNumber(access);
    const notReady = this.#prepare();
    if (notReady) return { result: notReady, steps: [] };
    const exit = sideEffects ? this.#probe(at, access) : null;
    const outcome = this.#state.calls.translate(this.index, at, kind, false);
    const steps = stepsOf(this.#record);
    // The exit of the access itself says more than the EPT violation that the quiet walk stops at.
    if (exit) return { result: exit, steps };
    return {
      result: outcome === Outcome.Ok ? this.#translated() : this.#record.fault(outcome, access, 1),
      steps,
    };
  }

  /**
   * Translates many addresses through the TLB, as accesses of this kind would, with all side effects. `results[i]` is a
   * host-physical address, or what `failureOf` takes apart. Returns how many were translated.
   */
  translateMany(
    addresses: BigUint64Array,
    results: BigUint64Array = addresses,
    access: AccessKind = "read",
  ): number {
    const kind = accessNumber(access);
    checkWords("addresses", addresses);
    checkWords("results", results);
    if (results.length < addresses.length) {
      throw new GuestMmuError("USAGE", {
        message: `${addresses.length} addresses do not fit ${results.length} results.`,
        hint: "Pass an array of the same length.",
      });
    }
    const notReady = this.#prepare();
    if (notReady) {
      results.fill(BATCH_FAILED | BigInt(Outcome.Interrupted), 0, addresses.length);
      return 0;
    }
    const { calls, configuration, u64 } = this.#state;
    const slice = configuration.batchSize / 8;
    const buffer = this.#state.batchBase(this.index) / 8;
    let translated = 0;
    for (let first = 0; first < addresses.length; first += slice) {
      const part = addresses.subarray(first, first + slice);
      u64.set(part, buffer);
      translated += calls.translateBatch(this.index, part.length, kind);
      // In place of `part`, if the results are to replace the addresses: keep those for a second try.
      const found = u64.slice(buffer, buffer + part.length);
      for (let i = 0; i < found.length; i++) {
        if (found[i]! >> 63n && Number(found[i]! & 0xffn) === Outcome.EptViolation) {
          found[i] = this.#translateAgain(part[i]! as Gva, access);
          if (!(found[i]! >> 63n)) translated++;
        }
      }
      results.set(found, first);
    }
    return translated;
  }

  // --- Registers.

  /** A register's value. `cr2` is the address of the last #PF that this view delivered, or what was written to it. */
  get(name: RegisterName): bigint {
    this.#state.checkNotDisposed();
    if (name === "cr2") return this.#cr2;
    return this.#state.calls.registerRead(this.index, this.#register(name));
  }

  /** Writes a register as the instruction that loads it would: checks, and flushes, of SDM vol. 3A 2.5 and 4.10.4. */
  set(name: WritableRegisterName, value: bigint | number): RegisterResult {
    this.#state.checkUsable();
    const bits = unsignedValue(value, 64);
    if (name === "cr2") {
      this.#cr2 = bits;
      return { kind: "ok" };
    }
    const register = this.#register(name);
    if (OF_KVM.has(register)) {
      throw new GuestMmuError("USAGE", {
        message: `The nested tables belong to KVM: ${name} cannot be written.`,
        hint: "Change the memslots instead; KVM loads its root itself.",
      });
    }
    return registerResult(this.#state.calls.registerWrite(this.index, register, bits));
  }

  /** Turns on 4-level paging with these tables: CR4.PAE, EFER.LME and NXE, CR3, CR0.PG and WP; CPL 0. */
  enterLongMode(tables: GuestTables): void {
    if (typeof (tables as Partial<GuestTables> | null | undefined)?.longModeRegisters !== "function") {
      throw new GuestMmuError("USAGE", {
        message: `The tables are ${show(tables)}: they have to be what machine.guestTables made.`,
        hint: "Make them first: machine.guestTables({ at }).",
      });
    }
    for (const [name, value] of tables.longModeRegisters()) {
      const keep = name === "cr3" ? 0n : this.get(name);
      if (this.set(name, keep | value).kind !== "ok") {
        throw new GuestMmuError("USAGE", {
          message: `${name} = ${hex(keep | value)} draws #GP(0) on vCPU ${this.index}.`,
          hint: "Turn paging off first, or set the registers one by one.",
        });
      }
    }
  }

  // --- What KVM maps for it.

  /**
   * kvm_vcpu_map: the page of `gpa`, for KVM's own use and that of hardware until its `unmap`, whatever the host does
   * meanwhile. Errors: `SLOT_INVALID`, `VMA_INVALID`, `FRAMES_EXHAUSTED`, `LIMIT_REACHED` (4 at a time), `UNSUPPORTED`.
   */
  map(gpa: GpaLike, options: MapOptions = {}): VcpuMapping {
    return mapForVcpu(this.#state, this.index, gpa, options);
  }

  // --- TLB and control.

  /** INVLPG: #GP(0) at a CPL other than 0. */
  invlpg(gva: GvaLike): RegisterResult {
    return registerResult(this.#state.calls.invlpg(this.index, toGva(gva)));
  }

  /**
   * INVPCID (SDM vol. 2A): "address" drops what is cached of `gva` for `pcid`, "context" all of `pcid`, "all" everything but
   * global translations, "all-and-global" those too. #GP(0) at a CPL other than 0; for a PCID above FFFH, or other than 0
   * while CR4.PCIDE is clear ("address" and "context"); for a `gva` that is not canonical ("address").
   */
  invpcid(
    kind: InvpcidKind,
    operand: { readonly pcid?: bigint | number; readonly gva?: GvaLike } = {},
  ): RegisterResult {
    const type = choice("kind of INVPCID", INVPCID, kind);
    checkOptions("operand of invpcid", operand, ["pcid", "gva"]);
    const pcid = unsignedValue(operand.pcid ?? 0n, 64);
    const gva = toGva(operand.gva ?? 0n);
    return registerResult(this.#state.calls.invpcid(this.index, type, pcid, gva));
  }

  /** Empties the TLB, or all of it but global entries. */
  flushTlb(extent: "all" | "non-global" = "all"): void {
    this.#state.calls.tlbFlush(this.index, choice("extent of a flush", FLUSHES, extent), 0n);
  }

  /** Sizes of the translation caches, and how much of them is in use. */
  tlb(): TlbInfo {
    this.#state.checkNotDisposed();
    const { view } = this.#state;
    const { entries, largeEntries, walkCacheEntries } = this.#state.configuration.tlb;
    const block = this.#state.actorBlock(this.index);
    return {
      entries,
      used: this.#used(view.getUint32(block + CPU_TLB_BASE, true), entries),
      largeEntries,
      largeUsed: this.#used(view.getUint32(block + CPU_TLB_LARGE_BASE, true), largeEntries),
      walkCacheEntries,
    };
  }

  /** Where accesses without a memslot go; null (the default) makes them results of kind "mmio". Error: `USAGE`. */
  onMmio(handler: MmioHandler | null): void {
    this.#state.checkUsable();
    if (handler !== null) checkHandler(handler);
    this.#mmio = handler;
  }

  /** Makes the vCPU leave guest mode and answer "interrupted" until `resume`. Any thread may call it. */
  interrupt(): void {
    this.#state.calls.vcpuInterrupt(this.index);
  }

  /** Withdraws `interrupt`. */
  resume(): void {
    this.#state.calls.vcpuResume(this.index);
  }

  /** What this vCPU has done since the machine was made. */
  statistics(): Statistics {
    this.#state.checkNotDisposed();
    return this.#state.statistics(this.index, 1);
  }

  // --- The rest is how.

  #calls() {
    if (this.#state.openFaults || this.#state.openInvalidations)
      this.#state.checkNothingOpen("A guest access");
    return this.#state.calls;
  }

  #register(name: Exclude<RegisterName, "cr2">): Register {
    if (typeof name === "string" && Object.hasOwn(VCPU_REGISTERS, name)) return VCPU_REGISTERS[name];
    throw new GuestMmuError("USAGE", {
      message: `There is no register ${show(name)}.`,
      hint: `Use one of: cr2, ${Object.keys(VCPU_REGISTERS).join(", ")}.`,
    });
  }

  #load(gva: Gva, size: number, kind: "read" | "fetch"): AccessResult {
    const calls = this.#calls();
    const outcome = calls.vcpuLoad(this.index, gva, size, kind === "fetch" ? Access.Fetch : Access.Read);
    if (outcome === Outcome.Ok) return { kind: "ok", value: calls.vcpuValue(this.index) };
    const fault = this.#fault(outcome, kind, gva, size);
    // Devices hold no instructions that KVM would fetch: that exit is always the caller's.
    return fault.kind === "mmio" && kind === "read" ? this.#emulate(fault, gva, size, null) : fault;
  }

  #store(gva: Gva, size: number, value: bigint): AccessResult {
    const outcome = this.#calls().vcpuStore(this.index, gva, size, value);
    if (outcome === Outcome.Ok) return { kind: "ok", value: 0n };
    const fault = this.#fault(outcome, "write", gva, size);
    return fault.kind === "mmio" ? this.#emulate(fault, gva, size, value) : fault;
  }

  #modify(gva: GvaLike, op: Modify, value: bigint | number, expected: bigint, width: Width): AccessResult {
    const at = toGva(gva);
    const size = byteWidth(width);
    const operand = unsignedValue(value, width);
    if (at & BigInt(size - 1)) return { kind: "alignment-check", gva: at };
    const calls = this.#calls();
    const outcome = calls.vcpuModify(this.index, at, size, op, operand, expected);
    if (outcome === Outcome.Ok) return { kind: "ok", value: calls.vcpuValue(this.index) };
    const fault = this.#fault(outcome, "modify", at, size);
    if (fault.kind !== "mmio" || fault.target === "table" || !this.#mmio) return fault;
    // As KVM does: a read, then a write, not atomic. Of a read-only slot the old value comes from memory.
    const old = this.#load(at, size, "read");
    if (old.kind !== "ok") return old;
    this.#mmio.write(fault.gpa, size, combine(op, old.value, operand, expected, size));
    return old;
  }

  /** The fault of an access, and its consequences: CR2, and which part of an access that crosses pages it is. */
  #fault(outcome: number, kind: AccessKind, gva: Gva, size: number): AccessFault {
    const head = headOf(gva, size);
    const part = outcome === Outcome.Mmio && this.#record.gva !== gva ? size - head : head;
    const fault = this.#record.fault(outcome, kind, part);
    if (fault.kind === "page-fault") this.#cr2 = fault.gva;
    return fault;
  }

  /** Has the handler make an access that met MMIO; `value` null reads. One that crosses pages is made in two parts. */
  #emulate(exit: MmioExit, gva: Gva, size: number, value: bigint | null): AccessResult {
    const handler = this.#mmio;
    if (!handler || exit.target === "table") return exit;
    const head = headOf(gva, size);
    if (head === size) return this.#emulatePart(handler, exit.gpa, size, value);
    const kind = value === null ? "read" : "write";
    // Both pages before a byte moves: a fault in the second leaves the first as it was.
    const first = this.#probe(gva, kind);
    if (first && (first.kind !== "mmio" || first.target === "table")) return first;
    const second = this.#probe((gva + BigInt(head)) as Gva, kind);
    if (second && (second.kind !== "mmio" || second.target === "table")) return second;
    const shift = BigInt(head * 8);
    const low = value === null ? null : BigInt.asUintN(head * 8, value);
    const a = this.#part(handler, gva, head, first, low);
    if (a.kind !== "ok") return a;
    const b = this.#part(
      handler,
      (gva + BigInt(head)) as Gva,
      size - head,
      second,
      value === null ? null : value >> shift,
    );
    return b.kind === "ok" ? { kind: "ok", value: value === null ? a.value | (b.value << shift) : 0n } : b;
  }

  #emulatePart(handler: MmioHandler, gpa: Gpa, size: number, value: bigint | null): AccessResult {
    if (value === null) return { kind: "ok", value: answerOf(handler.read(gpa, size), gpa, size) };
    handler.write(gpa, size, value);
    return { kind: "ok", value: 0n };
  }

  /** One page's part of an access: by the handler if it is MMIO, else byte by byte. */
  #part(
    handler: MmioHandler,
    gva: Gva,
    size: number,
    exit: AccessFault | null,
    value: bigint | null,
  ): AccessResult {
    if (exit?.kind === "mmio") return this.#emulatePart(handler, exit.gpa, size, value);
    let result = 0n;
    for (let i = 0; i < size; i++) {
      const at = (gva + BigInt(i)) as Gva;
      const shift = BigInt(i * 8);
      const byte = value === null ? this.#load(at, 1, "read") : this.#store(at, 1, (value >> shift) & 0xffn);
      if (byte.kind !== "ok") return byte;
      result |= byte.value << shift;
    }
    return { kind: "ok", value: result };
  }

  /** Makes an access of one byte that changes no data, for its effects; null, or how it failed. MMIO is not emulated. */
  #probe(gva: Gva, kind: AccessKind): AccessFault | null {
    const calls = this.#calls();
    const writes = kind === "write" || kind === "modify";
    const outcome = writes
      ? calls.vcpuModify(this.index, gva, 1, Modify.Or, 0n, 0n)
      : calls.vcpuLoad(this.index, gva, 1, accessNumber(kind));
    return outcome === Outcome.Ok ? null : this.#record.fault(outcome, kind, 1);
  }

  /** Services requests and loads a root, as an entry into guest mode does; the reason if it cannot enter. */
  #prepare(): AccessFault | null {
    const calls = this.#calls();
    calls.vcpuRunRecords(this.index, 0, 0);
    if (calls.kvmVcpuRoot(this.index) !== 0) return null;
    if (this.#record.outcome === Outcome.Interrupted) return { kind: "interrupted" };
    throw outOfFrames(`vCPU ${this.index} cannot enter guest mode`);
  }

  #translated(): Translated {
    const { gpa, hpa, shift } = this.#record;
    return { kind: "ok", gpa, hpa, pageShift: shift };
  }

  /** An address of a batch that met an EPT violation: through KVM's fault path, then once more. */
  #translateAgain(gva: Gva, access: AccessKind): bigint {
    const exit = this.#probe(gva, access);
    const kind = accessNumber(access);
    const outcome = exit ? this.#record.outcome : this.#state.calls.translate(this.index, gva, kind, true);
    if (outcome === Outcome.Ok) return this.#record.hpa;
    return BATCH_FAILED | BigInt(outcome) | (BigInt(this.#record.error) << 16n);
  }

  #runBatch(form: RecordForm, records: Uint8Array, options: BatchOptions): BatchResult {
    this.#calls();
    checkOptions("options of a batch", options, ["values"]);
    const { values } = options;
    const total = countRecords(form, records);
    if (values !== undefined) checkWords("values", values);
    if (values && values.length < total) {
      throw new GuestMmuError("USAGE", {
        message: `${total} values do not fit ${values.length} words.`,
        hint: "Pass a longer array.",
      });
    }
    const slice = Math.floor(this.#state.configuration.batchSize / form.size);
    for (let first = 0; first < total; first += slice) {
      const count = Math.min(slice, total - first);
      const { done, fault } = this.#runSlice(form, records, first, count, values);
      if (fault) return { done: first + done, fault };
    }
    return { done: total, fault: null };
  }

  #runSlice(
    form: RecordForm,
    records: Uint8Array,
    first: number,
    count: number,
    values: BigUint64Array | undefined,
  ): BatchResult {
    const { u8 } = this.#state;
    const buffer = this.#state.batchBase(this.index);
    const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
    for (let done = 0; done < count;) {
      const from = (first + done) * form.size;
      u8.set(records.subarray(from, (first + count) * form.size), buffer);
      const ran = this.#runBuffer(form, count - done, values !== undefined);
      if (values) this.#takeFound(form, values, first + done, ran);
      done += ran;
      if (done === count) break;
      const access = form.read(view, (first + done) * form.size, done);
      const result = this.#finish(access);
      if (result.kind !== "ok") return { done, fault: result };
      if (values && access.kind !== "write") values[first + done] = result.value;
      done++;
    }
    return { done: count, fault: null };
  }

  #runBuffer(form: RecordForm, count: number, keep: boolean): number {
    const calls = this.#calls();
    return form === VALUE_FORM
      ? calls.vcpuRunAccesses(this.index, count)
      : calls.vcpuRunRecords(this.index, count, keep ? 1 : 0);
  }

  /** What `count` records of the batch buffer found, into `values` from `first` on. */
  #takeFound(form: RecordForm, values: BigUint64Array, first: number, count: number): void {
    const { u32, u64 } = this.#state;
    const step = form.size / 8;
    const found = form.found / 8;
    let word = this.#state.batchBase(this.index) / 8;
    for (let i = 0; i < count; i++, word += step) {
      if ((u32[word * 2 + 3]! & 0xffff) !== Access.Write) values[first + i] = u64[word + found]!;
    }
  }

  /** A record that the core could not finish: by the handler if it met MMIO, else the fault. */
  #finish({ gva, size, kind, operation, value, expected }: PackedAccess): AccessResult {
    const outcome = this.#record.outcome;
    if (outcome !== Outcome.Mmio || !this.#mmio) return this.#fault(outcome, kind, gva, size);
    const width = (size * 8) as Width;
    if (kind === "write") return this.#store(gva, size, value);
    return kind === "modify"
      ? this.#modify(gva, operation, value, expected, width)
      : this.#load(gva, size, kind);
  }

  #used(base: number, entries: number): number {
    const { view } = this.#state;
    const block = this.#state.actorBlock(this.index);
    const generation = view.getUint32(block + CPU_GENERATION, true);
    const kept = view.getUint32(block + CPU_KEPT_GENERATION, true);
    let used = 0;
    for (let i = 0; i < entries; i++) {
      const entry = base + (i << TLB_ENTRY_SHIFT);
      const made = view.getUint32(entry + TLB_GENERATION, true);
      if (made === generation) used++;
      else if (made >= kept && made !== 0 && view.getBigUint64(entry + TLB_RIGHTS, true) & TRANSLATION_GLOBAL)
        used++;
    }
    return used;
  }
}

/** What the core answered to an instruction that loads a register or invalidates. */
function registerResult(status: number): RegisterResult {
  if (status === RegisterWrite.Ok) return { kind: "ok" };
  return { kind: status === RegisterWrite.Unsupported ? "unsupported" : "general-protection" };
}

/** What a read-modify-write leaves. */
function combine(op: Modify, old: bigint, value: bigint, expected: bigint, size: number): bigint {
  const next = {
    [Modify.Exchange]: () => value,
    [Modify.Add]: () => old + value,
    [Modify.And]: () => old & value,
    [Modify.Or]: () => old | value,
    [Modify.Xor]: () => old ^ value,
    [Modify.CompareExchange]: () => (old === expected ? value : old),
  }[op]();
  return BigInt.asUintN(size * 8, next);
}

/** Refuses what cannot emulate a device, before it is asked to. */
function checkHandler(handler: unknown): void {
  const { read, write } = (
    typeof handler === "object" && handler !== null ? handler : {}
  ) as Partial<MmioHandler>;
  if (typeof read === "function" && typeof write === "function") return;
  const lacks =
    typeof handler !== "object"
      ? show(handler)
      : `an object without ${typeof read === "function" ? "write" : "read"}()`;
  throw new GuestMmuError("USAGE", {
    message: `The MMIO handler is ${lacks}: it has to have read(gpa, size) and write(gpa, size, value).`,
    hint: "Pass such an object, or null for none.",
  });
}

/** What a handler's read answered, cut to the size of the access. */
function answerOf(answer: unknown, gpa: Gpa, size: number): bigint {
  if (typeof answer === "bigint") return BigInt.asUintN(size * 8, answer);
  if (typeof answer === "number" && Number.isSafeInteger(answer))
    return BigInt.asUintN(size * 8, BigInt(answer));
  throw new GuestMmuError("USAGE", {
    message: `The MMIO handler's read of ${size} bytes at gpa ${hex(gpa)} returned ${show(answer)}: it has to be a bigint or a safe integer.`,
    hint: "Return the value of those bytes; 0, or all ones, where no device is.",
  });
}
