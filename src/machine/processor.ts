/**
 * A processor without KVM: registers, page tables in frames of the machine, TLB and nested tables of the embedder's own, as
 * hardware has them. For studies of translation itself; a guest with memslots is a `Vcpu`.
 */

import { Flush, FAULT_MANAGED, Outcome, Register, RegisterWrite } from "../core/layout.generated.js";
import { GuestMmuError } from "../errors.js";
import { accessNumber, WalkRecord, type AccessFault, type AccessKind } from "./access-result.js";
import { aligned, gva as toGva, hex, hpa as toHpa, type GvaLike, type Hpa, type HpaLike } from "./address.js";
import { checkOptions, choice, flag, show } from "./arguments.js";
import {
  nestedRegisters,
  type EptPaging,
  type ModificationLog,
  type NestedPaging,
  type NptPaging,
} from "./nested.js";
import { VCPU_REGISTERS } from "./registers.js";
import { type MachineState } from "./state.js";
import { stepsOf, type Translated, type Translation } from "./translation.js";
import { unsignedValue } from "./width.js";

const REGISTERS = {
  ...VCPU_REGISTERS,
  pmlAddress: Register.PmlAddress,
  pmlIndex: Register.PmlIndex,
  eptVpidCap: Register.EptVpidCap,
} as const;

/** Registers of a processor; docs/paging.md says what those beside the architectural ones hold. */
export type ProcessorRegister = keyof typeof REGISTERS;

/** Nested tables of a processor: EPT may log the pages that are written. */
export type ProcessorNesting = (EptPaging & { readonly log?: ModificationLog | null }) | NptPaging;

/** What became of an instruction: #GP(0), VMfail, and `unsupported` for what this processor does not have. */
export interface InstructionResult {
  readonly kind: "ok" | "general-protection" | "unsupported" | "vm-fail";
}

const RESULTS: Readonly<Record<number, InstructionResult["kind"]>> = {
  [RegisterWrite.Ok]: "ok",
  [RegisterWrite.GeneralProtection]: "general-protection",
  [RegisterWrite.Unsupported]: "unsupported",
  [RegisterWrite.VmFail]: "vm-fail",
};

/** Kinds of INVPCID, INVEPT and INVVPID, and their numbers. */
const INVPCID = { address: 0n, context: 1n, "all-and-global": 2n, all: 3n } as const;
const INVEPT = { context: 1n, all: 2n } as const;
const INVVPID = { address: 0n, context: 1n, all: 2n, "context-but-global": 3n } as const;

export class Processor {
  readonly index: number;
  readonly #state: MachineState;
  readonly #record: WalkRecord;

  /** Made by `Machine.processor`. */
  constructor(state: MachineState, index: number) {
    this.index = index;
    this.#state = state;
    this.#record = new WalkRecord(state, index);
  }

  // --- Registers.

  /** As after INIT: protected mode, no paging, no nested tables, nothing cached. */
  reset(): void {
    this.#calls().cpuReset(this.index);
  }

  /** A register's value. */
  get(name: ProcessorRegister): bigint {
    return this.#calls().registerRead(this.index, this.#register(name));
  }

  /** Writes a register as the instruction, VM entry or VMRUN that loads it would; what it drops is in docs/tlb.md. */
  set(name: ProcessorRegister, value: bigint | number): InstructionResult {
    const calls = this.#calls();
    return this.#result(calls.registerWrite(this.index, this.#register(name), unsignedValue(value, 64)));
  }

  /** Loads nested tables, or takes them away (null). The first register that is refused ends it. Drops nothing cached. */
  nest(nested: ProcessorNesting | null): InstructionResult {
    const { log = null, ...tables } = nested?.kind === "ept" ? nested : { log: null, ...nested };
    for (const [register, value] of nestedRegisters(nested && (tables as NestedPaging), log)) {
      const result = this.#result(this.#calls().registerWrite(this.index, register, value));
      if (result.kind !== "ok") return result;
    }
    return { kind: "ok" };
  }

  // --- Translation.

  /**
   * Walks for one access, past the TLB, and shows every entry that it read. With `sideEffects` it sets flags, logs, and enters
   * the TLB as the access would; without (the default) nothing changes.
   */
  translate(
    gva: GvaLike,
    options: { readonly access?: AccessKind; readonly sideEffects?: boolean } = {},
  ): Translation {
    checkOptions("options of translate", options, ["access", "sideEffects"]);
    const { access = "read" } = options;
    const effects = flag("sideEffects", options.sideEffects, false);
    const outcome = this.#calls().translate(this.index, toGva(gva), accessNumber(access), effects);
    return { result: this.#ended(outcome, access), steps: stepsOf(this.#record) };
  }

  /** The host-physical address that an access goes to, through the TLB; how it faults otherwise. */
  access(
    gva: GvaLike,
    access: AccessKind = "read",
  ): { readonly kind: "ok"; readonly hpa: Hpa } | AccessFault {
    const calls = this.#calls();
    const host = calls.tlbAccess(this.index, toGva(gva), accessNumber(access));
    if (host !== 0) return { kind: "ok", hpa: BigInt(host - this.#state.framesBase) as Hpa };
    return this.#record.fault(this.#record.outcome, access, 1);
  }

  // --- Invalidation (docs/tlb.md).

  /** INVLPG. */
  invlpg(gva: GvaLike): InstructionResult {
    return this.#result(this.#calls().invlpg(this.index, toGva(gva)));
  }
  /** INVPCID. "context" and "address" are those of `pcid`. */
  invpcid(kind: keyof typeof INVPCID, pcid: bigint | number = 0, gva: GvaLike = 0): InstructionResult {
    const type = choice("kind of INVPCID", INVPCID, kind);
    return this.#result(this.#calls().invpcid(this.index, type, unsignedValue(pcid, 64), toGva(gva)));
  }
  /** INVEPT. "context" is that of `eptp`. */
  invept(kind: keyof typeof INVEPT, eptp: bigint = this.get("eptp")): InstructionResult {
    return this.#result(
      this.#calls().invept(this.index, choice("kind of INVEPT", INVEPT, kind), unsignedValue(eptp, 64)),
    );
  }
  /** INVVPID; of an ASID, AMD's INVLPGA and TLB_CONTROL. */
  invvpid(kind: keyof typeof INVVPID, vpid: bigint | number = 0, gva: GvaLike = 0): InstructionResult {
    const type = choice("kind of INVVPID", INVVPID, kind);
    return this.#result(this.#calls().invvpid(this.index, type, unsignedValue(vpid, 64), toGva(gva)));
  }
  /** A VM entry or VM exit with "enable VPID" 0: VPID 0000H is dropped. */
  vmTransition(): void {
    this.#calls().vmTransition(this.index);
  }
  /** Drops everything. */
  flushTlb(): void {
    this.#calls().tlbFlush(this.index, Flush.All, 0n);
  }

  // --- Physical memory: frames of the machine (`machine.mm.allocateRaw` hands them out).

  /** The 8 bytes at `hpa`, a multiple of 8 within the machine's frames; `ADDRESS_UNALIGNED`, `ADDRESS_RANGE`. */
  readPhysical(hpa: HpaLike): bigint {
    this.#state.checkNotDisposed();
    return this.#state.view.getBigUint64(this.#frameAt(hpa), true);
  }
  /** Writes 8 bytes; as `readPhysical`. */
  writePhysical(hpa: HpaLike, value: bigint | number): void {
    this.#state.checkUsable();
    this.#state.view.setBigUint64(this.#frameAt(hpa), unsignedValue(value, 64), true);
  }

  // --- The rest is how.

  #frameAt(hpa: HpaLike): number {
    const at = aligned(toHpa(hpa), 8n, "The host-physical address");
    const size = BigInt(this.#state.configuration.frames) << 12n;
    if (at < size) return this.#state.framesBase + Number(at);
    throw new GuestMmuError("ADDRESS_RANGE", {
      message: `hpa ${hex(at)} is beyond the machine's ${this.#state.configuration.frames} frames (${hex(size)}).`,
      hint: "Create the machine with more frames.",
    });
  }

  /** The core, if no KVM runs this vCPU. */
  #calls() {
    this.#state.checkUsable();
    const block = this.#state.actorBlock(this.index);
    if (this.#state.view.getUint32(block + FAULT_MANAGED, true) !== 0) {
      throw new GuestMmuError("USAGE", {
        message: `vCPU ${this.index} has run under KVM: its nested tables are KVM's.`,
        hint: "Use machine.vcpu for it, and another vCPU for this.",
      });
    }
    return this.#state.calls;
  }

  #register(name: ProcessorRegister): Register {
    if (typeof name === "string" && Object.hasOwn(REGISTERS, name)) return REGISTERS[name];
    throw new GuestMmuError("USAGE", {
      message: `There is no register ${show(name)}.`,
      hint: `Use one of: ${Object.keys(REGISTERS).join(", ")}.`,
    });
  }

  #result(status: number): InstructionResult {
    return { kind: RESULTS[status]! };
  }

  #ended(outcome: number, access: AccessKind): Translated | AccessFault {
    if (outcome !== Outcome.Ok) return this.#record.fault(outcome, access, 1);
    const { gpa, hpa, shift } = this.#record;
    return { kind: "ok", gpa, hpa, pageShift: shift };
  }
}
